"""Networks that write notes, as they are trained: all notes of an excerpt at once.

The forms that write note by note are graphs of `msr_utils.generation.graph`, which take the weights
that `named_weights` gives.
"""

from __future__ import annotations

import keras_hub
import numpy as np

from msr_utils.generation.codes import ATTRIBUTES, PITCH, SIZES
from msr_utils.generation.condition import CONDITION_SIZE
from msr_utils.generation.graph import NORM_EPSILON, GeneratorConfig, pitch_classes, weight_shapes
from msr_utils.models.backend import keras
from msr_utils.models.transformer import gelu_tanh
from msr_utils.symbolic.words import N_SPECIAL


def generator_network(config: GeneratorConfig, length: int, dropout: float = 0.1) -> keras.Model:
    """Build a network that predicts every attribute of the next note.

    Each attribute is predicted from the notes before, from the condition, and from the attributes
    of the next note that stand before it in `msr_utils.generation.codes.ATTRIBUTES`, so that the
    parts of a note fit each other.

    Parameters
    ----------
    config : GeneratorConfig
    length : int > 0
        Notes of an excerpt.
    dropout : float in [0, 1)

    Returns
    -------
    keras.Model
        Codes of the notes before (N, length, 4), codes of the notes themselves (N, length, 4) and
        conditions (N, length, C) -> logits (N, length, codes), one output an attribute.
    """
    before = keras.Input((length, len(ATTRIBUTES)), dtype="int32", name="before")
    notes = keras.Input((length, len(ATTRIBUTES)), dtype="int32", name="notes")
    conditions = keras.Input((length, CONDITION_SIZE), name="conditions")
    codes = {name: (before[..., k], SIZES[k]) for k, name in enumerate(ATTRIBUTES)}
    classes = keras.ops.take(keras.ops.convert_to_tensor(pitch_classes()), before[..., PITCH])
    codes["pitch_class"] = (classes, N_SPECIAL + 12)
    embedded = [
        keras.layers.Embedding(size, config.embedding, name=f"note_{name}")(column)
        for name, (column, size) in codes.items()
    ]
    told = keras.layers.Dense(config.embedding, "relu", name="condition")(conditions)
    hidden = keras.layers.Dropout(dropout)(keras.layers.Add()([*embedded, told]))
    body = _lstm if config.kind == "lstm" else _gpt
    hidden = body(hidden, config, dropout)
    context = keras.layers.Dropout(dropout)(keras.layers.Concatenate()([hidden, told]))
    outputs = []
    for k, (name, size) in enumerate(zip(ATTRIBUTES, SIZES, strict=True)):
        parts = [keras.layers.Dense(config.head, name=f"{name}_base")(context)]
        for j in range(k):
            layer = keras.layers.Embedding(SIZES[j], config.head, name=f"{name}_{ATTRIBUTES[j]}")
            parts.append(layer(notes[..., j]))
        x = keras.layers.Add()(parts) if k else parts[0]
        x = keras.layers.Activation("relu")(x)
        outputs.append(keras.layers.Dense(size, name=name)(x))
    return keras.Model([before, notes, conditions], outputs, name=f"{config.kind}_generator")


def _lstm(x: keras.KerasTensor, config: GeneratorConfig, dropout: float) -> keras.KerasTensor:
    """The paper's idea: LSTMs one above the other."""
    for i in range(config.layers):
        if i:
            x = keras.layers.Dropout(dropout)(x)
        x = keras.layers.LSTM(config.hidden, return_sequences=True, name=f"layer_{i}")(x)
    return x


def _gpt(x: keras.KerasTensor, config: GeneratorConfig, dropout: float) -> keras.KerasTensor:
    """The decoder of GPT-2, as in `msr_utils.models.note_networks`."""
    positions = keras_hub.layers.PositionEmbedding(config.context, name="positions")
    x = keras.layers.Add()([x, positions(x)])
    for i in range(config.layers):
        x = keras_hub.layers.TransformerDecoder(
            intermediate_dim=4 * config.hidden,
            num_heads=config.heads,
            dropout=dropout,
            activation=gelu_tanh,
            layer_norm_epsilon=NORM_EPSILON,
            normalize_first=True,
            name=f"layer_{i}",
        )(x)
    return keras.layers.LayerNormalization(epsilon=NORM_EPSILON, name="norm")(x)


def named_weights(network: keras.Model, config: GeneratorConfig) -> dict[str, np.ndarray]:
    """Weights of a trained network under the names that `weight_shapes` gives them.

    Raises
    ------
    ValueError
        If the network has another shape than `config`.
    """
    layers = {layer.name: layer.get_weights() for layer in network.layers}
    found: list[np.ndarray] = []
    for name in (*ATTRIBUTES, "pitch_class"):
        found += layers[f"note_{name}"]
    found += layers["condition"]
    for i in range(config.layers):
        layer = layers[f"layer_{i}"]
        found += layer if config.kind == "lstm" else _decoder(layer, config.hidden)
    if config.kind == "gpt":
        found += [layers["positions"][0], *layers["norm"]]
    for k, name in enumerate(ATTRIBUTES):
        found += layers[f"{name}_base"]
        for j in range(k):
            found += layers[f"{name}_{ATTRIBUTES[j]}"]
        found += layers[name]
    shapes = weight_shapes(config)
    wrong = [name for (name, s), w in zip(shapes.items(), found, strict=True) if w.shape != s]
    if wrong:
        raise ValueError(f"network: {wrong[0]!r} has another shape than the configuration says")
    return dict(zip(shapes, found, strict=True))


def _decoder(weights: list[np.ndarray], width: int) -> list[np.ndarray]:
    """Weights of a decoder layer in the order of `weight_shapes`."""
    (q, qb, k, kb, v, vb, o, ob), rest = weights[:8], weights[8:]
    norm_1, (up, up_bias, down, down_bias), norm_2 = rest[:2], rest[2:6], rest[6:8]
    flat = [
        part.reshape(width, width) if part.ndim == 3 else part.reshape(width)
        for part in (q, qb, k, kb, v, vb, o, ob)
    ]
    return [*norm_1, *norm_2, *flat, up, up_bias, down, down_bias]

"""The paper's planned model: a BERT encoder over flattened spectrogram tokens.

The encoder layers are KerasHub's, which compute what BERT computes (post-norm, learned
positions); Hugging Face's `BertConfig` names the sizes. A token is the flattened
log-mel patch of one 500 ms frame, projected to the encoder's width in place of a word
embedding. The encoder starts from random weights or from a pretrained checkpoint.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import keras_hub
import numpy as np
from transformers import BertConfig

from msr_utils.models.backend import keras
from msr_utils.models.lstm import normalise
from msr_utils.models.pretrained import checkpoint_config, load_encoder, word_embeddings

TUNED = ("none", "part", "all")
"""How much of a pretrained encoder is trained."""


@keras.saving.register_keras_serializable("msr")
def gelu_tanh(x: object) -> object:
    """GELU by its tanh approximation: the exact form exports to an invalid ONNX graph."""
    return keras.activations.gelu(x, approximate=True)


@dataclass(frozen=True)
class TransformerConfig:
    """Shape of the network.

    Parameters
    ----------
    layers, hidden, heads : int > 0
        Depth, width and attention heads. `heads` divides `hidden`; the feed-forward part is
        four times as wide, as in BERT.
    dropout : float in [0, 1)
    max_frames : int > 0
        Longest sequence: the number of positions. Longer tracks are predicted in windows of so
        many frames. Must not exceed the training windows, or the last positions are never
        trained.
    learning_rate : float > 0
        Of Adam; the paper has 1e-5.
    pretrained : str
        Checkpoint that the encoder starts from, see `pretrained.checkpoint_folder`. It determines
        `layers`, `hidden` and `heads`. Empty: random weights.
    tuned : str
        How much of a pretrained encoder is trained: ``none``, ``part`` (the uppermost layers) or
        ``all``. The projection of tokens and the linear unit are always trained.
    tuned_layers : int > 0
        How many layers ``part`` is.

    Raises
    ------
    PretrainedError
        If the checkpoint is not there or is no BERT.
    ValueError
        Naming the parameter that is not right.
    """

    layers: int = 4
    hidden: int = 128
    heads: int = 4
    dropout: float = 0.1
    max_frames: int = 90
    learning_rate: float = 1e-5
    pretrained: str = ""
    tuned: str = "all"
    tuned_layers: int = 2

    def __post_init__(self) -> None:
        if self.tuned not in TUNED:
            raise ValueError(f"tuned: must be one of {', '.join(TUNED)}, not {self.tuned!r}")
        if self.pretrained:
            stored = checkpoint_config(self.pretrained)
            sizes = (stored.num_hidden_layers, stored.hidden_size, stored.num_attention_heads)
            for name, size in zip(("layers", "hidden", "heads"), sizes, strict=True):
                object.__setattr__(self, name, size)
            if self.max_frames > stored.max_position_embeddings:
                raise ValueError(
                    f"max_frames: {self.max_frames}, but {self.pretrained} has only "
                    f"{stored.max_position_embeddings} positions; shorten the windows"
                )
        elif self.tuned != "all":
            raise ValueError(f"tuned: {self.tuned!r} needs a pretrained encoder; name one")
        for name in ("layers", "hidden", "heads", "max_frames", "tuned_layers"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name}: must be at least 1, not {getattr(self, name)}")
        if self.hidden % self.heads:
            raise ValueError(f"heads: {self.heads} does not divide hidden {self.hidden}")
        if not 0 <= self.dropout < 1:
            raise ValueError(f"dropout: must be in [0, 1), not {self.dropout}")
        if self.learning_rate <= 0:
            raise ValueError(f"learning_rate: must be positive, not {self.learning_rate}")

    def bert(self) -> BertConfig:
        """The same sizes as Hugging Face writes them."""
        ours: dict[str, Any] = {
            "hidden_dropout_prob": self.dropout,
            "attention_probs_dropout_prob": self.dropout,
            "max_position_embeddings": self.max_frames,
            "hidden_act": "gelu_new",
        }
        if self.pretrained:
            return checkpoint_config(self.pretrained, **ours)
        return BertConfig(
            hidden_size=self.hidden,
            num_hidden_layers=self.layers,
            num_attention_heads=self.heads,
            intermediate_size=4 * self.hidden,
            **ours,
        )


def bert_encoder(
    tokens: keras.KerasTensor, config: BertConfig, real: keras.KerasTensor | None = None
) -> keras.KerasTensor:
    """BERT from its embedding sum on: positions, normalisation, encoder layers.

    Parameters
    ----------
    tokens : keras.KerasTensor [shape=(N, T, hidden_size)]
        What stands in for word embeddings; T at most ``max_position_embeddings``.
    config : transformers.BertConfig
        With ``hidden_act`` "gelu", the exact form, the network cannot be exported.
    real : keras.KerasTensor [shape=(N, T), dtype=bool], optional
        False on padding, which no frame may attend to.

    Returns
    -------
    keras.KerasTensor [shape=(N, T, hidden_size)]

    Notes
    -----
    Devlin, Chang, Lee and Toutanova (2019), "BERT", https://arxiv.org/abs/1810.04805
    """
    activation = keras.activations.gelu if config.hidden_act == "gelu" else gelu_tanh
    positions = keras_hub.layers.PositionEmbedding(
        config.max_position_embeddings, initializer=_initializer(config), name="positions"
    )
    epsilon = config.layer_norm_eps
    hidden = keras.layers.Add(name="embeddings")([tokens, positions(tokens)])
    hidden = keras.layers.LayerNormalization(epsilon=epsilon, name="embeddings_norm")(hidden)
    hidden = keras.layers.Dropout(config.hidden_dropout_prob, name="embeddings_dropout")(hidden)
    for i in range(config.num_hidden_layers):
        hidden = keras_hub.layers.TransformerEncoder(
            intermediate_dim=config.intermediate_size,
            num_heads=config.num_attention_heads,
            dropout=config.hidden_dropout_prob,
            activation=activation,
            layer_norm_epsilon=epsilon,
            kernel_initializer=_initializer(config),
            name=f"encoder_{i + 1}",
        )(hidden, padding_mask=real)
    return hidden


def _initializer(config: BertConfig) -> keras.initializers.Initializer:
    return keras.initializers.TruncatedNormal(stddev=config.initializer_range)


def build_transformer(config: TransformerConfig, mean: np.ndarray, sd: np.ndarray) -> keras.Model:
    """Build the network for one target.

    Parameters
    ----------
    config : TransformerConfig
    mean, sd : np.ndarray [shape=(D,)]
        Normalisation fitted on training tracks; it becomes part of the network.

    Returns
    -------
    keras.Model
        Features (N, T, D) -> curve (N, T, 1), T at most ``config.max_frames``. Attention
        reaches both ways: unlike the LSTM it is not causal.
    """
    features = keras.Input((None, len(mean)), name="features")
    hidden = normalise(mean, sd)(features)
    bert = config.bert()
    tokens = keras.layers.Dense(config.hidden, name="tokens")(hidden)
    # Windows are padded with frames of zeros. Real frames, in dB, are never all zero.
    real = keras.ops.any(keras.ops.not_equal(features, 0), axis=-1)
    hidden = bert_encoder(tokens, bert, real)
    # As in BERT, new layers start near zero. A wide first guess would take thousands of steps to
    # unlearn at a learning rate of 1e-5.
    curve = keras.layers.Dense(1, kernel_initializer=_initializer(bert), name="curve")(hidden)
    model = keras.Model(features, curve, name="transformer")
    if config.pretrained:
        # Last, so that loading does not change the random draws above.
        load_encoder(model, config.pretrained)
        _match_word_embeddings(model.get_layer("tokens"), word_embeddings(config.pretrained))
        for layer in _frozen_layers(model, config):
            layer.trainable = False
    return model


def _match_word_embeddings(tokens: keras.layers.Dense, words: np.ndarray) -> None:
    """Give tokens the mean and spread of the checkpoint's word embeddings.

    The encoder was trained on inputs of that size. Larger ones would drown its positions.
    """
    mean, kernel = words.mean(axis=0), np.asarray(tokens.kernel)
    spread = np.sqrt(np.mean((words - mean) ** 2))
    # Normalised features have a variance of 1 each.
    tokens.set_weights([kernel * spread / np.sqrt(np.mean(kernel**2) * len(kernel)), mean])


def _frozen_layers(model: keras.Model, config: TransformerConfig) -> list[keras.layers.Layer]:
    """Layers of a pretrained encoder that keep its weights."""
    if config.tuned == "all":
        return []
    kept = config.layers - (config.tuned_layers if config.tuned == "part" else 0)
    encoder = [f"encoder_{i}" for i in range(1, kept + 1)]
    return [model.get_layer(name) for name in ("positions", "embeddings_norm", *encoder)]


def joined_form(models: list[keras.Model]) -> keras.Model:
    """Join one model a target into one network with the curves side by side, (N, T, targets)."""
    features = keras.Input(models[0].input_shape[1:], name="features")
    # Renamed: a network may not hold two networks of the same name.
    members = [
        keras.Model(model.input, model.output, name=f"member_{i}")
        for i, model in enumerate(models, 1)
    ]
    curves = [member(features) for member in members]
    curve = keras.layers.Concatenate(name="curves")(curves) if len(curves) > 1 else curves[0]
    return keras.Model(features, curve)

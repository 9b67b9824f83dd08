"""Weights of pretrained BERT encoders, in the format of Hugging Face.

They are read straight into the layers of `msr_utils.models.families.transformer.bert_encoder`: the
loader of KerasHub fills word embeddings and pooler as well and takes seconds, and a model is
built anew for every fold.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import numpy as np
from safetensors import SafetensorError, safe_open
from transformers import BertConfig

from msr_utils.io import read_json
from msr_utils.models.backend import keras
from msr_utils.models.checkpoints import (
    CONFIG,
    MINILM,
    PACKAGES,
    WEIGHTS,
    PretrainedError,
    checkpoint_folder,
)

__all__ = [
    "MINILM",
    "PACKAGES",
    "PretrainedError",
    "checkpoint_config",
    "checkpoint_folder",
    "load_encoder",
    "word_embeddings",
]

ACTIVATIONS = ("gelu", "gelu_new", "gelu_pytorch_tanh")
"""What the layers can compute; the exact form is approximated where a model is exported."""


def checkpoint_config(name: str, **changes: object) -> BertConfig:
    """Sizes of a checkpoint, some of them changed.

    Raises
    ------
    PretrainedError
        If the checkpoint is not there, or is not the BERT that the layers compute.
    """
    folder = checkpoint_folder(name)
    for file in (CONFIG, WEIGHTS):
        if not (folder / file).is_file():
            raise PretrainedError(
                f"pretrained: {name!r} has no {file}; give a BERT saved by save_pretrained"
            )
    stored = read_json(folder / CONFIG)
    asked = {
        "model_type": ("bert",),
        "hidden_act": ACTIVATIONS,
        "position_embedding_type": ("absolute",),
    }
    for key, known in asked.items():
        if stored.get(key, known[0]) not in known:
            raise PretrainedError(
                f"pretrained: {key} of {name!r} is {stored[key]!r}; only {', '.join(known)} will do"
            )
    return BertConfig(**{**stored, **changes})


def word_embeddings(name: str) -> np.ndarray:
    """What a checkpoint has in place of our tokens, (vocabulary, hidden_size) float32."""
    with _tensors(name) as read:
        return read("embeddings.word_embeddings.weight")


def load_encoder(model: keras.Model, name: str) -> None:
    """Put a checkpoint's positions, norms and encoder layers into a model.

    Parameters
    ----------
    model : keras.Model
        With the layers of `bert_encoder`; it may have fewer positions than the checkpoint.
    name : str
        See `checkpoint_folder`.

    Raises
    ------
    PretrainedError
        If the checkpoint is not there, damaged or of other sizes.
    """
    config = checkpoint_config(name)
    with _tensors(name) as read:

        def norm(part: str) -> list[np.ndarray]:
            return [read(f"{part}.LayerNorm.{own}") for own in ("weight", "bias")]

        def dense(part: str) -> list[np.ndarray]:
            return [read(f"{part}.weight").T, read(f"{part}.bias")]

        positions = model.get_layer("positions")
        # Every token is of the first type: its embedding rides on the positions.
        both = (
            read("embeddings.position_embeddings.weight")
            + read("embeddings.token_type_embeddings.weight")[0]
        )
        positions.set_weights([both[: positions.sequence_length]])
        model.get_layer("embeddings_norm").set_weights(norm("embeddings"))
        for i in range(config.num_hidden_layers):
            part = f"encoder.layer.{i}"
            attention = [f"{part}.attention.self.{one}" for one in ("query", "key", "value")]
            arrays = [array for one in attention for array in dense(one)]
            arrays += dense(f"{part}.attention.output.dense") + norm(f"{part}.attention.output")
            # KerasHub keeps both norms before the feed-forward part.
            arrays += norm(f"{part}.output")
            arrays += dense(f"{part}.intermediate.dense") + dense(f"{part}.output.dense")
            layer = model.get_layer(f"encoder_{i + 1}")
            # Keras keeps (in, heads, width of a head) where BERT keeps (in, out).
            layer.set_weights(
                [a.reshape(v.shape) for a, v in zip(arrays, layer.weights, strict=True)]
            )


@contextmanager
def _tensors(name: str) -> Iterator[Callable[[str], np.ndarray]]:
    """Open a checkpoint; give what reads its tensors by their names in `transformers.BertModel`.

    Checkpoints saved with a head prefix them with ``bert.``; old ones call the norms' weights
    gamma and beta.
    """
    try:
        opened = safe_open(checkpoint_folder(name) / WEIGHTS, framework="np")
    except (OSError, SafetensorError) as error:
        raise PretrainedError(f"pretrained: {WEIGHTS} of {name!r}: {error}") from error
    with opened as file:
        known = set(file.keys())

        def read(tensor: str) -> np.ndarray:
            old = tensor.replace("LayerNorm.weight", "LayerNorm.gamma")
            old = old.replace("LayerNorm.bias", "LayerNorm.beta")
            for key in (tensor, f"bert.{tensor}", old, f"bert.{old}"):
                if key in known:
                    return file.get_tensor(key).astype(np.float32, copy=False)
            raise PretrainedError(f"pretrained: {WEIGHTS} of {name!r} has no tensor {tensor}")

        yield read

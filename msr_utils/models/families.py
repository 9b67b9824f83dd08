"""Model families by name."""

from __future__ import annotations

from collections.abc import Callable

from msr_utils.models.backend import keras
from msr_utils.models.linear import LinearConfig, build_linear
from msr_utils.models.lstm import LSTMConfig, build_lstm
from msr_utils.models.transformer import TransformerConfig, build_transformer

ModelConfig = LinearConfig | LSTMConfig | TransformerConfig
"""Shape of a network; its type says of which family."""

FAMILIES: dict[str, Callable[..., keras.Model]] = {
    "linear": build_linear,
    "lstm": build_lstm,
    "transformer": build_transformer,
}
"""Builders: (config, mean, sd) -> keras.Model, features (N, T, D) in, curve (N, T, 1) out."""


def family_of(config: ModelConfig) -> str:
    """Key of `FAMILIES` of a configuration."""
    return {LinearConfig: "linear", LSTMConfig: "lstm", TransformerConfig: "transformer"}[
        type(config)
    ]


FAMILY_TABLES = ("families.FAMILIES", "families.family_of")
"""What names all families at once. A cache that one family made does not depend on the others:
its key leaves these out and counts the family's builder; see `msr_utils.provenance.cache_keys`."""

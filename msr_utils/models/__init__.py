"""Model families by name."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from msr_utils.models.linear import LinearConfig, build_linear
from msr_utils.models.lstm import LSTMConfig, build_lstm
from msr_utils.models.transformer import TransformerConfig, build_transformer

FAMILIES: dict[str, Callable[..., Any]] = {
    "linear": build_linear,
    "lstm": build_lstm,
    "transformer": build_transformer,
}
"""Builders: (config, mean, sd) -> keras.Model, features (N, T, D) in, curve (N, T, 1) out."""

__all__ = [
    "FAMILIES",
    "LSTMConfig",
    "LinearConfig",
    "TransformerConfig",
    "build_linear",
    "build_lstm",
    "build_transformer",
]

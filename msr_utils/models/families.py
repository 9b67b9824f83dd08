"""Model families by name."""

from __future__ import annotations

from collections.abc import Callable
from msr_utils.models.linear import build_linear
from msr_utils.models.lstm import build_lstm
from msr_utils.models.transformer import build_transformer
from typing import Any


FAMILIES: dict[str, Callable[..., Any]] = {
    "linear": build_linear,
    "lstm": build_lstm,
    "transformer": build_transformer,
}
"""Builders: (config, mean, sd) -> keras.Model, features (N, T, D) in, curve (N, T, 1) out."""

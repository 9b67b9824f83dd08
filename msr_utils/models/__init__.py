"""Model families by name: how each is configured, built and fed."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from msr_utils.models.lstm import LSTMConfig, build_lstm
from msr_utils.models.transformer import TransformerConfig, build_transformer


@dataclass(frozen=True)
class Family:
    """A kind of sequence model.

    Parameters
    ----------
    config : type
        Dataclass with the shape of the network and its learning rate.
    build : callable
        (config, mean, sd) -> keras.Model with features (N, T, D) in, curve (N, T, 1) out.
    features : tuple of str
        Feature blocks it reads.
    """

    config: type
    build: Callable[..., Any]
    features: tuple[str, ...]


FAMILIES: dict[str, Family] = {
    "lstm": Family(LSTMConfig, build_lstm, ("logmel", "logmel_sd")),
    "transformer": Family(TransformerConfig, build_transformer, ("patch",)),
}

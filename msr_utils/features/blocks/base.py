"""The description of a feature block."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from msr_utils.features.frame import BlockState, Frames, stft_context_samples
from msr_utils.features.spectrum import SpectrumConfig


def _no_state(config: SpectrumConfig) -> BlockState:
    return {}


def _accept(config: SpectrumConfig) -> None:
    pass


@dataclass(frozen=True)
class Block:
    """A named group of features of a frame.

    Parameters
    ----------
    name : str
        Name in `msr_utils.features.config.FeatureConfig`.
    dim : callable
        SpectrumConfig -> number of features.
    unit : str
    what : str
        One line for a table.
    source : str
        Paper, standard or URL.
    compute : callable
        Frames -> np.ndarray [shape=(count, dim)]. It also carries the block's state on.
    initial_state : callable
        SpectrumConfig -> state before the first frame. Names must differ from those of other
        blocks, unless both blocks use the same state of `Frames`.
    context_samples : callable
        SpectrumConfig -> samples before the frame that the block's windows cover.
    check : callable
        Takes a SpectrumConfig and raises FeatureConfigError if the block cannot be computed
        with it.
    version : int
        Increase it when the block's numbers change. Caches and bundles made with the old numbers
        are then refused. Other blocks are not affected.
    weights : str
        Name and SHA-256 of the pretrained network that the block runs; empty if there is none.
    former_name : str
        Name in earlier versions. It is still accepted, with a warning.
    """

    name: str
    dim: Callable[[SpectrumConfig], int]
    unit: str
    what: str
    source: str
    compute: Callable[[Frames], np.ndarray]
    initial_state: Callable[[SpectrumConfig], BlockState] = _no_state
    context_samples: Callable[[SpectrumConfig], int] = stft_context_samples
    check: Callable[[SpectrumConfig], None] = _accept
    version: int = 1
    weights: str = ""
    former_name: str = ""

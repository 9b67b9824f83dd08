"""What a feature block is."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from msr_utils.features.frame import BlockState, Frame, context_samples

if TYPE_CHECKING:
    from msr_utils.features.config import FeatureConfig


@dataclass(frozen=True)
class Block:
    """A named group of features of a frame.

    Parameters
    ----------
    name : str
    dim : callable
        FeatureConfig -> number of features.
    unit : str
    what : str
        One line for a table.
    source : str
        Paper, standard or URL.
    compute : callable
        Frame -> np.ndarray [shape=(dim,)].
    memory : callable
        FeatureConfig -> what the block remembers before the first frame.
    heard : callable
        FeatureConfig -> samples before the frame that the block's windows cover.
    version : int
        Raised when the block's numbers change: what was cached or trained on the old ones is
        then refused, what other blocks gave stays good.
    weights : str
        Name and SHA-256 of the pretrained network that the block runs; empty if it runs none.
    """

    name: str
    dim: Callable[[FeatureConfig], int]
    unit: str
    what: str
    source: str
    compute: Callable[[Frame], np.ndarray]
    memory: Callable[[FeatureConfig], BlockState] = lambda config: {}
    heard: Callable[[FeatureConfig], int] = context_samples
    version: int = 1
    weights: str = ""

"""Training windows cut from sequences."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from msr_utils.constants import TARGETS
from msr_utils.dataset.sequences import Sequence2Hz


@dataclass(frozen=True)
class Windows:
    """Equal-length excerpts for training.

    Parameters
    ----------
    features : np.ndarray [shape=(N, L, D), dtype=float32]
    labels : np.ndarray [shape=(N, L, K), dtype=float32]
        The target; if joint, the other one after it.
    weights : np.ndarray [shape=(N, L), dtype=float32]
        1 where the label counts, 0 elsewhere and on padding.
    """

    features: np.ndarray
    labels: np.ndarray
    weights: np.ndarray

    def __len__(self) -> int:
        return len(self.features)


def make_windows(
    sequences: Sequence[Sequence2Hz],
    target: str,
    length: int,
    hop: int | None = None,
    joint: bool = False,
) -> Windows:
    """Cut sequences into windows of `length` frames, the last one zero-padded.

    Parameters
    ----------
    sequences : sequence of Sequence2Hz
    target : str
        "valence" or "arousal".
    length : int > 0
        Frames in a window.
    hop : int > 0, optional
        Frames between starts; `length` by default, so that no frame counts twice.
    joint : bool
        Give the labels of the other target as well.
    """
    hop = hop or length
    columns = [TARGETS.index(target)]
    columns += [k for k in range(len(TARGETS)) if joint and k not in columns]
    starts = [
        (sequence, start)
        for sequence in sequences
        for start in range(0, max(1, len(sequence.mask) - (length - hop)), hop)
        if sequence.mask[start : start + length].any()
    ]
    features = np.zeros((len(starts), length, sequences[0].features.shape[1]), np.float32)
    labels = np.zeros((len(starts), length, len(columns)), np.float32)
    weights = np.zeros((len(starts), length), np.float32)
    for i, (sequence, start) in enumerate(starts):
        n = len(sequence.mask[start : start + length])
        features[i, :n] = sequence.features[start : start + n]
        labels[i, :n] = sequence.labels[start : start + n, columns]
        weights[i, :n] = sequence.mask[start : start + n]
    return Windows(features, labels, weights)

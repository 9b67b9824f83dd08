"""Settings of the synthetic corpus, its time grid and its random streams."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from msr_utils.constants import FRAME_RATE_HZ, FRAME_SECONDS

MIN_DURATION_S = 5.0
"""Shortest track in seconds."""

COMPOSER_STREAM, RATER_STREAM = 1, 2
"""Third word of the random seed, so that no two kinds of draw share a stream.

It is not 0, because numpy pads the ``[seed, index]`` of the tracks with zeros.
"""


@dataclass(frozen=True)
class SyntheticConfig:
    """Size and seed of a synthetic corpus.

    Parameters
    ----------
    n_tracks : int
        Number of tracks, at least 2.
    duration_s : float
        Length of every track in seconds: a multiple of 0.5 s, at least 5 s.
    n_groups : int
        Number of composers, from 2 to `n_tracks`; they alternate.
    n_raters : int
        Number of simulated raters, at least 2; each rates every track.
    seed : int
        Seed of every random draw, at least 0.
    """

    n_tracks: int = 64
    duration_s: float = 45.0
    n_groups: int = 16
    n_raters: int = 12
    seed: int = 7

    def __post_init__(self) -> None:
        duration_s = self.duration_s
        rules = {
            "n_tracks must be at least 2": self.n_tracks >= 2,
            "n_groups must be from 2 to n_tracks": 2 <= self.n_groups <= self.n_tracks,
            "n_raters must be at least 2": self.n_raters >= 2,
            "seed must be at least 0": self.seed >= 0,
            # NaN fails both comparisons, infinity the second one.
            "duration_s must be a multiple of 0.5 s and at least 5 s": (
                duration_s >= MIN_DURATION_S and duration_s * FRAME_RATE_HZ % 1 == 0
            ),
        }
        for rule, satisfied in rules.items():
            if not satisfied:
                raise ValueError(f"{rule}, not as in {self}")
        object.__setattr__(self, "duration_s", float(self.duration_s))  # 45 and 45.0 get one hash

    @property
    def n_frames(self) -> int:
        """Labels per track."""
        return int(self.duration_s * FRAME_RATE_HZ)


def frame_ends(n_frames: int) -> np.ndarray:
    """Times in seconds that name the frames: 0.5, 1.0, ..., shape (T,)."""
    return np.arange(1, n_frames + 1) * FRAME_SECONDS


def frame_centres(n_frames: int) -> np.ndarray:
    """Centres in seconds of the windows that the labels describe, shape (T,)."""
    return frame_ends(n_frames) - FRAME_SECONDS / 2

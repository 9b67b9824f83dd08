"""How far raters agree, and how well a perfect model could score."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from msr_utils.metrics.scores import score

CEILING = "raters' ceiling"
"""Name of the row, in every table and figure, that holds the best possible score."""


@dataclass(frozen=True)
class Reliability:
    """How far raters agree, and the best scores that a model can reach with their mean.

    Parameters
    ----------
    reliability : float
        Of the mean over all raters, in [0, 1]. All fields are NaN where no song has two raters.
    r : float
        Highest Pearson r with the noisy mean: the square root of `reliability`.
    rmse : float
        Lowest RMSE: the error that the noise of the mean alone leaves.
    within_r : float
        Agreement on the course of a song: r of two halves of the raters, averaged over songs.
    """

    reliability: float = math.nan
    r: float = math.nan
    rmse: float = math.nan
    within_r: float = math.nan


def rater_ceiling(ratings: Sequence[np.ndarray], n_splits: int = 100, seed: int = 7) -> Reliability:
    """How well a perfect model could do, given that raters disagree.

    Each song's raters are split at random into halves; the halves' mean curves, pooled over
    songs, are correlated, and the Spearman-Brown formula gives the reliability of the mean
    over all raters.

    Parameters
    ----------
    ratings : sequence of np.ndarray [shape=(raters, T)]
        One array a song, NaN where missing; songs with fewer than two raters are left out.
    n_splits : int > 0
        Random splits that are averaged.
    seed : int

    Returns
    -------
    Reliability

    Notes
    -----
    Spearman (1910) and Brown (1910), British Journal of Psychology 3(3).
    """
    songs = [r for r in ratings if len(r) >= 2]
    if not songs:
        return Reliability()
    rng = np.random.default_rng(seed)
    mean = np.concatenate([_nanmean(r) for r in songs])
    correlations: list[float] = []
    within: list[float] = []
    for _ in range(n_splits):
        halves: tuple[list[np.ndarray], list[np.ndarray]] = ([], [])
        for song in songs:
            order = rng.permutation(len(song))
            middle = len(song) // 2
            halves[0].append(_nanmean(song[order[:middle]]))
            halves[1].append(_nanmean(song[order[middle:]]))
            within.append(_correlation(halves[0][-1], halves[1][-1]))
        correlations.append(_correlation(*(np.concatenate(half) for half in halves)))
    half = float(np.mean(correlations))
    reliability = 2 * half / (1 + half)
    return Reliability(
        reliability=reliability,
        r=float(np.sqrt(max(reliability, 0))),
        rmse=float(np.nanstd(mean) * np.sqrt(max(1 - reliability, 0))),
        within_r=float(np.nanmean(within)) if np.isfinite(within).any() else math.nan,
    )


def _correlation(first: np.ndarray, second: np.ndarray) -> float:
    """Pearson's r where both are known; NaN where one does not vary."""
    both = np.isfinite(first) & np.isfinite(second)
    return score(first[both], second[both])["r"] if both.any() else float("nan")


def _nanmean(values: np.ndarray) -> np.ndarray:
    """Mean over raters, NaN (without a warning) where nobody rated."""
    known = np.isfinite(values)
    count = known.sum(axis=0)
    return np.where(count, np.where(known, values, 0).sum(axis=0) / np.maximum(count, 1), np.nan)

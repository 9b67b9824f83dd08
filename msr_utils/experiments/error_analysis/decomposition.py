"""The squared error divided into corpus, series, piece and within-piece components."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd

from msr_utils.constants import TARGETS
from msr_utils.corpora.base import Track
from msr_utils.metrics.bootstrap import N_BOOT, SEED, draw_counts
from msr_utils.metrics.curves import Curve, Predictions
from msr_utils.metrics.estimate import Estimate
from msr_utils.metrics.scores import evaluate
from msr_utils.models.ridge import causal_average

WITHIN_PIECE = "within piece"

VARIANCE_COMPONENTS = ("corpus", "series", "piece", WITHIN_PIECE)
"""Where an error lies: in all frames alike, in a series, in a piece, or in the frames of a piece.

A series is a group of tracks, such as the music of one game or of one artist.
"""


@dataclass(frozen=True)
class Component:
    """One component of the mean squared error.

    Parameters
    ----------
    mse : float
    share : Estimate
        Of the whole mean squared error. The interval resamples songs.
    """

    mse: float
    share: Estimate

    def to_json(self) -> dict[str, float]:
        """With the interval's ends beside the share."""
        share = self.share
        return {"mse": self.mse, "share": share.value, "low": share.low, "high": share.high}


@dataclass(frozen=True)
class RaterNoise:
    """Mean squared error of a perfect model, because labels are means over a few raters.

    Parameters
    ----------
    level : float
        In the mean of a piece.
    within_piece : float
        In the frames about that mean.
    """

    level: float
    within_piece: float

    def to_json(self) -> dict[str, float]:
        """With the keys of ``metrics.json``."""
        return {"level": self.level, "course": self.within_piece}


@dataclass(frozen=True)
class Decomposition:
    """The mean squared error and its components.

    Parameters
    ----------
    mse : float
        Pooled over all frames.
    components : mapping of str to Component
        By name, see `VARIANCE_COMPONENTS`. Their mean squares add up to `mse`.
    noise : RaterNoise
        NaN where the corpus has no single ratings. Noise in the level is a part of the first three
        components together.
    """

    mse: float
    components: Mapping[str, Component]
    noise: RaterNoise

    def to_json(self) -> dict[str, Any]:
        """With the keys of ``metrics.json``."""
        keys = {WITHIN_PIECE: "course"}
        layers = {keys.get(name, name): part for name, part in self.components.items()}
        return {"mse": self.mse, "layers": layers, "noise": self.noise}


@dataclass(frozen=True)
class SmoothingScores:
    """Scores of predictions that a causal average has smoothed.

    Parameters
    ----------
    seconds : float
        Time constant of the average; 0: none.
    rmse, r : float
        Pooled over all frames.
    within_r : float
        Mean of r over pieces.
    """

    seconds: float
    rmse: float
    r: float
    within_r: float


def level_error(curve: Curve) -> float:
    """Mean of predicted minus true. Above 0 the whole piece is predicted too high."""
    return float(np.mean(curve.predicted - curve.true))


def decompose(
    predictions: Predictions,
    tracks: Sequence[Track],
    target: str,
    n_boot: int = N_BOOT,
    seed: int = SEED,
) -> Decomposition:
    """Divide the pooled squared error, without a rest, into `VARIANCE_COMPONENTS`.

    An error is the sum of four parts: the mean error of all frames, the deviation of its series'
    mean from that, the deviation of its piece's mean from its series' mean, and the rest within
    the piece. The parts are uncorrelated over the frames, so their mean squares add up to the mean
    squared error (analysis of variance).

    Parameters
    ----------
    predictions : mapping of song id to Curve
    tracks : sequence of Track
    target : str
        "valence" or "arousal".
    n_boot : int >= 0
        Bootstrap samples of songs for the 95 % intervals of the shares; 0: none.
    seed : int
    """
    by_id = {t.id: t for t in tracks}
    sums = _error_sums(predictions)
    groups = pd.factorize(np.array([by_id[i].group for i in predictions]))[0]
    membership = np.eye(groups.max() + 1)[groups]
    # Row by row in memory: the order of sums decides the last digits.
    counts = np.ascontiguousarray(draw_counts(np.arange(len(sums)), n_boot, seed))
    mse = _components(counts[:1], sums, membership)[0]
    sampled = _components(counts[1:], sums, membership)
    sampled = sampled / sampled.sum(axis=1, keepdims=True)
    components = {
        name: Component(float(mse[k]), Estimate.from_samples(mse[k] / mse.sum(), sampled[:, k]))
        for k, name in enumerate(VARIANCE_COMPONENTS)
    }
    noise = [label_noise(by_id[i], target) for i in predictions]
    level, within_piece = np.average(
        np.array([[n.level, n.within_piece] for n in noise]), axis=0, weights=sums[:, 0]
    )
    return Decomposition(
        float(mse.sum()), components, RaterNoise(float(level), float(within_piece))
    )


def _error_sums(predictions: Predictions) -> np.ndarray:
    """Frames of each song, and the sums of its errors and squared errors, (songs, 3)."""
    errors = [c.predicted - c.true for c in predictions.values()]
    return np.array([[len(e), e.sum(), (e**2).sum()] for e in errors], np.float64)


def _components(counts: np.ndarray, sums: np.ndarray, membership: np.ndarray) -> np.ndarray:
    """Mean squares of the components in bootstrap samples, (B, 4).

    Parameters
    ----------
    counts : np.ndarray [shape=(B, songs)]
        How often each song lies in each sample.
    sums : np.ndarray [shape=(songs, 3)]
    membership : np.ndarray [shape=(songs, groups)]
        1 where a song is in a group.
    """
    n, error, square = sums.T
    frames = counts @ n
    group_errors = (counts * error) @ membership
    sizes = (counts * n) @ membership
    corpus = (counts @ error) ** 2 / frames
    groups = np.divide(group_errors**2, sizes, where=sizes > 0, out=np.zeros_like(sizes))
    pieces = counts @ (error**2 / n)
    cumulative = np.stack([corpus, groups.sum(axis=1), pieces, counts @ square])
    # Rounding may leave less than 0.
    return (np.maximum(np.diff(cumulative, axis=0, prepend=0), 0) / frames).T


def label_noise(track: Track, target: str) -> RaterNoise:
    """Variance of the mean over raters: of the piece's mean, and of frames about it.

    NaN where the track has no single ratings, or those of one rater.

    Notes
    -----
    Each is the variance between raters over their number. That takes raters as independent of one
    another and of the model.
    """
    unknown = RaterNoise(np.nan, np.nan)
    if track.ratings is None:
        return unknown
    ratings = track.ratings[:, track.mask, TARGETS.index(target)]
    ratings = ratings[np.isfinite(ratings).any(axis=1)]
    if len(ratings) < 2:
        return unknown
    level = np.nanmean(ratings, axis=1).var(ddof=1) / len(ratings)
    count = np.isfinite(ratings).sum(axis=0)
    frames = np.nanvar(ratings[:, count > 1], axis=0, ddof=1) / count[count > 1]
    return RaterNoise(level, frames.mean() - level)


def causally_smoothed(predictions: Predictions, seconds: float) -> dict[str, Curve]:
    """Predictions after an exponential average over the past, see `causal_average`."""
    return {
        i: replace(c, predicted=causal_average(c.predicted[:, None], seconds)[:, 0])
        for i, c in predictions.items()
    }


def oracle_corrections(
    predictions: Predictions, tracks: Sequence[Track], n_boot: int = N_BOOT, seed: int = SEED
) -> dict[str, Mapping[str, Estimate]]:
    """Pooled scores if one component of the error were zero, or if the curve did not move.

    All rows but the first two use the labels. They show where something can be gained, and they
    are not results.

    Returns
    -------
    dict of str to mapping of metric to Estimate
    """
    group = {t.id: t.group for t in tracks}
    bias = _group_bias(predictions, group)
    corrections: dict[str, Callable[[str, Curve], np.ndarray]] = {
        "as predicted": lambda i, c: c.predicted,
        "the piece's predicted mean throughout": lambda i, c: np.full(
            len(c.true), c.predicted.mean()
        ),
        "level of the series known": lambda i, c: c.predicted - bias[group[i]],
        "level of the piece known": lambda i, c: c.predicted - level_error(c),
        "course in the piece known": lambda i, c: c.true + level_error(c),
    }
    return {
        name: evaluate(
            {i: replace(c, predicted=correct(i, c)) for i, c in predictions.items()}, n_boot, seed
        ).pooled
        for name, correct in corrections.items()
    }


def _group_bias(predictions: Predictions, group: Mapping[str, str]) -> dict[str, float]:
    """Mean of predicted minus true over the frames of each group."""
    sums: dict[str, list[float]] = {}
    for i, c in predictions.items():
        total = sums.setdefault(group[i], [0.0, 0.0])
        total[0] += float((c.predicted - c.true).sum())
        total[1] += len(c.true)
    return {name: error / n for name, (error, n) in sums.items()}


def smoothing(predictions: Predictions, seconds: Sequence[float]) -> list[SmoothingScores]:
    """Scores of the predictions after a causal average with each time constant; 0: none."""
    rows = []
    for tau in seconds:
        scores = evaluate(causally_smoothed(predictions, tau) if tau else predictions, n_boot=0)
        pooled = {metric: scores.pooled[metric].value for metric in ("rmse", "r")}
        rows.append(SmoothingScores(float(tau), **pooled, within_r=scores.per_song["r"].mean))
    return rows

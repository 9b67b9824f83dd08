"""The squared error divided into corpus, group, piece and within-piece parts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd

from msr_utils.constants import TARGETS
from msr_utils.corpora.base import Track
from msr_utils.metrics.curves import Curve, Predictions
from msr_utils.metrics.estimate import Estimate
from msr_utils.metrics.scores import evaluate
from msr_utils.models.ridge import causal_average

VARIANCE_COMPONENTS = ("corpus", "series", "piece", "course")
"""Where an error lies: of all frames alike, of a group, of a piece, of frames within it."""


def level_error(curve: Curve) -> float:
    """Mean of predicted minus true: above 0 the whole piece is predicted too high."""
    return float(np.mean(curve.predicted - curve.true))


def decompose(
    predictions: Predictions,
    tracks: Sequence[Track],
    target: str,
    n_boot: int = 2000,
    seed: int = 7,
) -> dict:
    """Divide the pooled squared error, without a rest, into `LAYERS`.

    An error is the mean error of all frames, plus what its group's mean adds to that, plus what
    its piece's mean adds to its group's, plus what is left within the piece. The four do not
    correlate over the frames, so their mean squares add up to the mean squared error (analysis
    of variance).

    Parameters
    ----------
    predictions : mapping of song id to Curve
    tracks : sequence of Track
    target : str
    n_boot : int >= 0
        Bootstrap samples of songs for the 95 % intervals of the shares.
    seed : int

    Returns
    -------
    dict
        ``mse``; ``layers[name]``: ``mse, share, low, high``; ``noise``: ``level, course``, the
        mean squared error that a perfect model would have because the labels are means over a
        few raters, in the first three layers together and in the last (NaN without single
        ratings).

    Notes
    -----
    Noise is the variance between raters over their number, of a piece's mean and of frames; it
    takes raters for independent of one another and of the model.
    """
    by_id = {t.id: t for t in tracks}
    errors = [c.predicted - c.true for c in predictions.values()]
    sums = np.array([[len(e), e.sum(), (e**2).sum()] for e in errors], np.float64)
    groups = pd.factorize(np.array([by_id[i].group for i in predictions]))[0]
    member = np.eye(groups.max() + 1)[groups]
    parts = _components(np.ones((1, len(sums))), sums, member)[0]
    total = parts.sum()
    rng = np.random.default_rng(seed)
    draws = rng.multinomial(len(sums), np.full(len(sums), 1 / len(sums)), size=n_boot)
    shares = _components(draws, sums, member)
    shares = shares / shares.sum(axis=1, keepdims=True)
    low, high = np.quantile(shares, [0.025, 0.975], axis=0) if n_boot else np.full((2, 4), np.nan)
    noise = np.array([_noise(by_id[i], target) for i in predictions])
    return {
        "mse": float(total),
        "layers": {
            name: {
                "mse": float(parts[k]),
                "share": float(parts[k] / total),
                "low": float(low[k]),
                "high": float(high[k]),
            }
            for k, name in enumerate(VARIANCE_COMPONENTS)
        },
        "noise": dict(
            zip(
                ("level", "course"),
                map(float, np.average(noise, axis=0, weights=sums[:, 0])),
                strict=True,
            )
        ),
    }


def _components(counts: np.ndarray, sums: np.ndarray, member: np.ndarray) -> np.ndarray:
    """Mean squares of the `LAYERS`, (draws, 4), where songs count so often, (draws, songs)."""
    n, error, square = sums.T
    frames = counts @ n
    of_groups = (counts * error) @ member
    sizes = (counts * n) @ member
    corpus = (counts @ error) ** 2 / frames
    groups = np.divide(of_groups**2, sizes, where=sizes > 0, out=np.zeros_like(sizes)).sum(axis=1)
    pieces = counts @ (error**2 / n)
    steps = np.stack([corpus, groups, pieces, counts @ square])
    return (
        np.maximum(np.diff(steps, axis=0, prepend=0), 0) / frames
    ).T  # rounding, not less than 0


def _noise(track: Track, target: str) -> tuple[float, float]:
    """Variance of the mean over raters: of the piece's level, and of frames about it."""
    if track.ratings is None:
        return np.nan, np.nan
    ratings = track.ratings[:, track.mask, TARGETS.index(target)]
    ratings = ratings[np.isfinite(ratings).any(axis=1)]
    if len(ratings) < 2:
        return np.nan, np.nan
    level = np.nanmean(ratings, axis=1).var(ddof=1) / len(ratings)
    count = np.isfinite(ratings).sum(axis=0)
    frames = np.nanvar(ratings[:, count > 1], axis=0, ddof=1) / count[count > 1]
    return level, frames.mean() - level


def causally_smoothed(predictions: Predictions, seconds: float) -> dict[str, Curve]:
    """Predictions through the exponential average over the past, see `causal_average`."""
    return {
        i: Curve(c.times_s, c.true, causal_average(c.predicted[:, None], seconds)[:, 0])
        for i, c in predictions.items()
    }


def oracle_corrections(
    predictions: Predictions, tracks: Sequence[Track], n_boot: int = 2000, seed: int = 7
) -> dict[str, Mapping[str, Estimate]]:
    """Pooled scores if one part of the error went away, or if the curve did not move.

    All but the first and the second row use the labels: they say where there is something to
    gain, and are no results.

    Returns
    -------
    dict of str to dict
        Name to ``pooled`` of `msr_utils.metrics.scores.evaluate`.
    """
    group = {t.id: t.group for t in tracks}
    sums: dict[str, list[float]] = {}
    for i, c in predictions.items():
        own = sums.setdefault(group[i], [0.0, 0.0])
        own[0] += float((c.predicted - c.true).sum())
        own[1] += len(c.true)
    bias = {name: error / n for name, (error, n) in sums.items()}
    changes = {
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
            {i: Curve(c.times_s, c.true, change(i, c)) for i, c in predictions.items()},
            n_boot,
            seed,
        ).pooled
        for name, change in changes.items()
    }


def smoothing(predictions: Predictions, seconds: Sequence[float]) -> list[dict]:
    """Scores of the predictions through a causal average with each time constant; 0 is none.

    Returns
    -------
    list of dict
        ``seconds, rmse, r`` (pooled) and ``within_r`` (mean over pieces).
    """
    rows = []
    for tau in seconds:
        curves = causally_smoothed(predictions, tau) if tau else predictions
        result = evaluate(curves, 0)
        pooled = {m: result.pooled[m].value for m in ("rmse", "r")}
        within = result.per_song["r"].mean
        rows.append({"seconds": float(tau), **pooled, "within_r": within})
    return rows

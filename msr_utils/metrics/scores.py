"""Errors and agreement of predicted curves: per song, pooled, with intervals."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self

import numpy as np

from msr_utils.metrics.bootstrap import N_BOOT, SEED, draw_units
from msr_utils.metrics.correlation import correlation
from msr_utils.metrics.curves import Predictions
from msr_utils.metrics.estimate import Estimate, Spread

METRICS = ("rmse", "mae", "r", "ccc")
"""Root mean squared error, mean absolute error, Pearson's r and the concordance coefficient."""

TITLES = {"rmse": "RMSE", "mae": "MAE", "ccc": "CCC", "auc": "AUC"}
"""How a metric is written in tables and figures, where it differs from its key."""


def metric_title(metric: str) -> str:
    """How a metric is written in tables and figures."""
    return TITLES.get(metric, metric)


@dataclass(frozen=True)
class Scores:
    """Scores of the predictions of one target.

    Parameters
    ----------
    songs, frames : int
        That were predicted.
    pooled : mapping of metric to Estimate
        Over all frames.
    per_song : mapping of metric to Spread
        Over the songs for which the metric is defined.
    """

    songs: int
    frames: int
    pooled: Mapping[str, Estimate]
    per_song: Mapping[str, Spread]

    @classmethod
    def from_json(cls, stored: Mapping[str, Any]) -> Self:
        """Read what `msr_utils.io.write_json` wrote."""
        return cls(
            songs=stored["songs"],
            frames=stored["frames"],
            pooled={m: Estimate.from_json(value) for m, value in stored["pooled"].items()},
            per_song={m: Spread.from_json(value) for m, value in stored["per_song"].items()},
        )


def _sums(true: np.ndarray, predicted: np.ndarray) -> np.ndarray:
    """Sums from which every metric follows: n, y, p, yy, pp, yp, |y - p|."""
    y, p = np.asarray(true, np.float64), np.asarray(predicted, np.float64)
    if y.shape != p.shape or y.ndim != 1:
        raise ValueError(f"true and predicted must be equally long, not {y.shape} and {p.shape}")
    if not len(y):
        raise ValueError("true and predicted hold no frame")
    if not (np.isfinite(y).all() and np.isfinite(p).all()):
        raise ValueError("true and predicted must be finite: mask missing frames first")
    return np.array(
        [len(y), y.sum(), p.sum(), (y * y).sum(), (p * p).sum(), (y * p).sum(), abs(y - p).sum()]
    )


def _from_sums(sums: np.ndarray) -> dict[str, np.ndarray]:
    """Metrics from sums, (..., 7) -> one (...) array a metric."""
    n, y, p, yy, pp, yp, absolute = np.moveaxis(sums, -1, 0)
    mean_y, mean_p = y / n, p / n
    var_y, var_p = yy / n - mean_y**2, pp / n - mean_p**2
    cov = yp / n - mean_y * mean_p
    with np.errstate(invalid="ignore", divide="ignore"):
        ccc = 2 * cov / (var_y + var_p + (mean_y - mean_p) ** 2)
    return {
        "rmse": np.sqrt(np.maximum((yy - 2 * yp + pp) / n, 0)),
        "mae": absolute / n,
        "r": correlation(cov, var_y, var_p),
        "ccc": np.clip(ccc, -1, 1),
    }


def score(true: np.ndarray, predicted: np.ndarray) -> dict[str, float]:
    """RMSE, MAE, Pearson's r and CCC of one pair of curves.

    Parameters
    ----------
    true, predicted : np.ndarray [shape=(T,)]

    Returns
    -------
    dict of str to float
        ``r`` is NaN where one curve is constant; CCC is 0 there, and NaN where both are
        the same constant.

    Raises
    ------
    ValueError
        If the lengths differ, nothing is given or a value is not finite.

    Notes
    -----
    CCC: Lin (1989), "A concordance correlation coefficient to evaluate reproducibility",
    Biometrics 45(1), with population variances.
    """
    return {name: float(value) for name, value in _from_sums(_sums(true, predicted)).items()}


def evaluate(predictions: Predictions, n_boot: int = N_BOOT, seed: int = SEED) -> Scores:
    """Score predictions per song and pooled over all frames.

    Parameters
    ----------
    predictions : mapping of song id to Curve
    n_boot : int >= 0
        Bootstrap samples of songs for the 95 % intervals of the pooled metrics; 0: none.
    seed : int

    Returns
    -------
    Scores

    Raises
    ------
    ValueError
        If a curve cannot be scored, see `score`.
    """
    sums = _song_sums(predictions)
    pooled, songs = _from_sums(sums.sum(axis=0)), _from_sums(sums)
    samples = _samples(sums, draw_units(len(sums), n_boot, seed))
    return Scores(
        songs=len(sums),
        frames=int(sums[:, 0].sum()),
        pooled={m: Estimate.from_samples(pooled[m], samples.get(m)) for m in METRICS},
        per_song={m: Spread.of(songs[m]) for m in METRICS},
    )


def paired_difference(
    first: Predictions, second: Predictions, n_boot: int = N_BOOT, seed: int = SEED
) -> dict[str, Estimate]:
    """How much the first model's pooled scores exceed the second's, on the same songs.

    Both are scored on each bootstrap sample of songs: what makes a song hard for both drops out.

    Parameters
    ----------
    first, second : mapping of song id to Curve
    n_boot, seed : int
        As in `evaluate`.

    Returns
    -------
    dict of metric to Estimate
        The difference with its 95 % interval.

    Raises
    ------
    ValueError
        If the two do not predict the same songs and frames.
    """
    frames = [{i: len(c.true) for i, c in p.items()} for p in (first, second)]
    if frames[0] != frames[1]:
        raise ValueError("paired difference: the two predict other songs or frames")
    sums = [_song_sums({i: p[i] for i in first}) for p in (first, second)]
    draws = draw_units(len(first), n_boot, seed)
    pooled = [_from_sums(s.sum(axis=0)) for s in sums]
    samples = [_samples(s, draws) for s in sums]
    return {
        m: Estimate.from_samples(
            pooled[0][m] - pooled[1][m], samples[0][m] - samples[1][m] if n_boot else None
        )
        for m in METRICS
    }


def pooled_draws(
    predictions: Predictions, unit: Mapping[str, str], n_boot: int = N_BOOT, seed: int = SEED
) -> dict[str, np.ndarray]:
    """Pooled scores, and those of bootstrap samples of units that may hold several songs.

    Parameters
    ----------
    predictions : mapping of song id to Curve
    unit : mapping of str to str
        Song id to what is drawn, such as its artist or series.
    n_boot, seed : int
        As in `evaluate`. Predictions of the same songs get the same samples, so that differences
        are paired.

    Returns
    -------
    dict of metric to np.ndarray [shape=(1 + n_boot,)]
        The value and then its samples, as `Estimate.of_draws` reads them.

    Raises
    ------
    ValueError
        If a curve cannot be scored, see `score`.
    """
    names = sorted({unit[i] for i in predictions})
    sums = np.zeros((len(names), 7))
    for i, curve in predictions.items():
        sums[names.index(unit[i])] += _sums(curve.true, curve.predicted)
    samples = sums[draw_units(len(names), n_boot, seed)].sum(axis=1)
    return _from_sums(np.concatenate([sums.sum(axis=0)[None], samples]))


def _song_sums(predictions: Predictions) -> np.ndarray:
    return np.stack([_sums(c.true, c.predicted) for c in predictions.values()])


def _samples(sums: np.ndarray, draws: np.ndarray) -> dict[str, np.ndarray]:
    """Pooled metrics of each bootstrap sample of songs, (n_boot,) each; empty without samples."""
    return _from_sums(sums[draws].sum(axis=1)) if len(draws) else {}

"""Errors and agreement of predicted curves: per song, pooled, with intervals."""

from __future__ import annotations

import numpy as np

from msr_utils.metrics.curves import Predictions

METRICS = ("rmse", "mae", "r", "ccc")
"""Root mean squared error, mean absolute error, Pearson's r and the concordance coefficient."""


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
    # Rounding leaves a constant curve with a variance of about 1e-17, not 0.
    varies = (var_y > 1e-12) & (var_p > 1e-12)
    with np.errstate(invalid="ignore", divide="ignore"):
        r = np.where(varies, cov / np.sqrt(np.abs(var_y * var_p)), np.nan)
        ccc = 2 * cov / (var_y + var_p + (mean_y - mean_p) ** 2)
    return {
        "rmse": np.sqrt(np.maximum((yy - 2 * yp + pp) / n, 0)),
        "mae": absolute / n,
        "r": np.clip(r, -1, 1),
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


def evaluate(predictions: Predictions, n_boot: int = 2000, seed: int = 7) -> dict:
    """Score predictions per song and pooled over all frames.

    Parameters
    ----------
    predictions : mapping of song id to Curve
    n_boot : int >= 0
        Bootstrap samples of songs for the 95 % intervals of the pooled metrics.
    seed : int

    Returns
    -------
    dict
        ``pooled[metric]``: ``value, low, high``; ``per_song[metric]``: ``mean, sd, n``, where
        ``n`` counts the songs for which the metric is defined; ``songs``, ``frames``.
    """
    sums = np.stack([_sums(c.true, c.predicted) for c in predictions.values()])
    pooled = _from_sums(sums.sum(axis=0))
    songs = _from_sums(sums)
    draws = np.random.default_rng(seed).integers(len(sums), size=(n_boot, len(sums)))
    boot = _from_sums(sums[draws].sum(axis=1)) if n_boot else {}
    result: dict = {
        "songs": len(sums),
        "frames": int(sums[:, 0].sum()),
        "pooled": {},
        "per_song": {},
    }
    for name in METRICS:
        low, high = _interval(boot.get(name))
        result["pooled"][name] = {"value": float(pooled[name]), "low": low, "high": high}
        defined = songs[name][np.isfinite(songs[name])]
        result["per_song"][name] = {
            "mean": float(defined.mean()) if len(defined) else float("nan"),
            "sd": float(defined.std(ddof=1)) if len(defined) > 1 else float("nan"),
            "n": len(defined),
        }
    return result


def paired_difference(
    first: Predictions, second: Predictions, n_boot: int = 2000, seed: int = 7
) -> dict[str, dict[str, float]]:
    """How much the first model's pooled scores exceed the second's, on the same songs.

    Both are scored on each bootstrap sample of songs: what makes a song hard for both drops out.

    Parameters
    ----------
    first, second : mapping of song id to Curve
    n_boot, seed : int
        As in `evaluate`.

    Returns
    -------
    dict of str to dict
        By metric ``value, low, high``: the difference with its 95 % interval.

    Raises
    ------
    ValueError
        If the two do not predict the same songs and frames.
    """
    frames = [{i: len(c.true) for i, c in p.items()} for p in (first, second)]
    if frames[0] != frames[1]:
        raise ValueError("paired difference: the two predict other songs or frames")
    sums = [np.stack([_sums(p[i].true, p[i].predicted) for i in first]) for p in (first, second)]
    draws = np.random.default_rng(seed).integers(len(first), size=(n_boot, len(first)))
    pooled = [_from_sums(s.sum(axis=0)) for s in sums]
    boot = [_from_sums(s[draws].sum(axis=1)) for s in sums] if n_boot else [{}, {}]
    result = {}
    for name in METRICS:
        low, high = _interval(boot[0][name] - boot[1][name] if n_boot else None)
        value = float(pooled[0][name] - pooled[1][name])
        result[name] = {"value": value, "low": low, "high": high}
    return result


def _interval(samples: np.ndarray | None) -> tuple[float, float]:
    samples = samples[np.isfinite(samples)] if samples is not None else np.zeros(0)
    if not len(samples):
        return float("nan"), float("nan")
    low, high = np.quantile(samples, [0.025, 0.975])
    return float(low), float(high)

"""Pearson's r and the area under the ROC curve.

Both exist once. Pearson's r has three ways to the same moments, because published numbers are kept
to the last digit and floating-point sums depend on their order: `pearson` for rows of values,
`weighted_pearson` for rows that count several times in a bootstrap sample, and
`msr_utils.metrics.scores.score` for sums over frames that are added up song by song. All three
end in `correlation`, which alone decides what is constant.
"""

from __future__ import annotations

import numpy as np

CONSTANT_VARIANCE = 1e-12
"""Smaller variances are those of a constant: rounding leaves about 1e-17, not 0."""


def correlation(
    covariance: np.ndarray, variance_x: np.ndarray, variance_y: np.ndarray
) -> np.ndarray:
    """Pearson's r from moments, or from sums of squares and products about the means.

    Parameters
    ----------
    covariance, variance_x, variance_y : np.ndarray [shape=(...)]

    Returns
    -------
    np.ndarray [shape=(...)]
        In [-1, 1]; NaN where one side does not vary.
    """
    varies = (variance_x > CONSTANT_VARIANCE) & (variance_y > CONSTANT_VARIANCE)
    product = np.where(varies, variance_x * variance_y, 1)
    return np.where(varies, np.clip(covariance / np.sqrt(product), -1, 1), np.nan)


def pearson(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Pearson's r of each row.

    Parameters
    ----------
    x : np.ndarray [shape=(M, N)]
    y : np.ndarray [shape=(M, N) or (N,)]
        A row for each row of `x`, or one for all.

    Returns
    -------
    np.ndarray [shape=(M,)]
        NaN where one side does not vary.
    """
    x, y = (v - v.mean(axis=-1, keepdims=True) for v in (x, y))
    # One row for all is a matrix product, which is several times as fast.
    covariance = x @ y if y.ndim == 1 else (x * y).sum(axis=-1)
    variance_y = y @ y if y.ndim == 1 else (y * y).sum(axis=-1)
    return correlation(covariance, (x * x).sum(axis=-1), variance_y)


def weighted_pearson(counts: np.ndarray, true: np.ndarray, predicted: np.ndarray) -> np.ndarray:
    """Pearson's r of each column in each bootstrap sample.

    Parameters
    ----------
    counts : np.ndarray [shape=(B, N)]
        How often each row lies in each sample, see `msr_utils.metrics.bootstrap.draw_counts`.
    true, predicted : np.ndarray [shape=(N, K)]

    Returns
    -------
    np.ndarray [shape=(B, K)]
        NaN where one side does not vary.
    """
    # About a common level: else the variance is a small difference of large numbers.
    y, p = true - true.mean(axis=0), predicted - predicted.mean(axis=0)
    n = counts.sum(axis=1, keepdims=True)
    mean_y, mean_p = counts @ y / n, counts @ p / n
    var_y, var_p = counts @ y**2 / n - mean_y**2, counts @ p**2 / n - mean_p**2
    return correlation(counts @ (y * p) / n - mean_y * mean_p, var_y, var_p)


def weighted_auc(counts: np.ndarray, positive: np.ndarray, scores: np.ndarray) -> np.ndarray:
    """Area under the ROC curve in each bootstrap sample.

    It is the probability that a positive row scores above a negative one.

    Parameters
    ----------
    counts : np.ndarray [shape=(B, N)]
        How often each row lies in each sample. Ones give the area of the data as they are.
    positive : np.ndarray [shape=(N,), dtype=bool]
    scores : np.ndarray [shape=(N,)]
        Ties count half.

    Returns
    -------
    np.ndarray [shape=(B,)]
        NaN where a sample has only positive or only negative rows.

    Notes
    -----
    Mann and Whitney (1947), "On a test of whether one of two random variables is
    stochastically larger than the other", Annals of Mathematical Statistics 18(1).
    """
    high, low = scores[positive][:, None], scores[~positive]
    above = (high > low) + 0.5 * (high == low)
    first, second = counts[:, positive], counts[:, ~positive]
    pairs = first.sum(axis=1) * second.sum(axis=1)
    won = ((first @ above) * second).sum(axis=1)
    return np.where(pairs > 0, won / np.maximum(pairs, 1), np.nan)


def auc(positive: np.ndarray, scores: np.ndarray) -> float:
    """Area under the ROC curve of the data as they are, see `weighted_auc`."""
    return float(weighted_auc(np.ones((1, len(scores))), positive, scores)[0])

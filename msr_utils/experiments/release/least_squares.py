"""Ridge regression on several corpora at once, solved from sums over rows.

The loss weighs each kind of labels. Two penalties join the ridge penalty: one on changes of the
curve with loudness, and, by a small weight, differences between the means of corpora.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import reduce
from operator import add

import numpy as np

from msr_utils.least_squares import solve_normal_equations

GAIN_PENALTY = 30.0
"""Weight of the squared change of the curve with 1 dB of gain. It was chosen in trials at 12 dB.
Every release measures what 12 dB still change on music that was not used in training."""

BETWEEN_CORPORA_WEIGHT = 0.05
"""Weight of the differences between corpora, relative to differences within a corpus. Differences
between corpora mostly encode genre, so they get a small weight. With no weight, the level of the
curves would be arbitrary in each corpus."""


@dataclass(frozen=True)
class LossWeights:
    """Weights of the training loss, chosen by inner cross-validation.

    Parameters
    ----------
    curves, quadrants, gems : float >= 0
        Weight of each kind of labels. Corpora of one kind share it evenly.
    alpha : float > 0
        Ridge penalty on standardised features.
    """

    curves: float
    quadrants: float
    gems: float
    alpha: float

    def of(self, label_kind: str) -> float:
        """Weight of a kind of labels."""
        return {"curves": self.curves, "quadrants": self.quadrants, "gems": self.gems}[label_kind]


LOSS_WEIGHTS = (
    LossWeights(0.6, 0.25, 0.15, 1.0),
    LossWeights(0.5, 0.3, 0.2, 1.0),
    LossWeights(0.6, 0.4, 0.0, 1.0),
)
"""The weights that are tried. The last ones do not use emotions."""

N_CONFIGS_TRIED = 60
"""About this many configurations (features, time constants, penalties, weights) were scored on the
outer folds before the constants above and `BUNDLES` were fixed. Only `LOSS_WEIGHTS` are chosen
without the tested fold. So the scores are somewhat optimistic."""


@dataclass(frozen=True)
class SufficientStatistics:
    """Sums over rows that determine the least-squares solution. Sums of parts add up.

    Parameters
    ----------
    n : int
        Rows.
    x, y : np.ndarray [shape=(D,)], [shape=(2,)]
        Sums of the features, and of valence and arousal.
    xx, xy : np.ndarray [shape=(D, D)], [shape=(D, 2)]
        Sums of products.
    """

    n: int
    x: np.ndarray
    y: np.ndarray
    xx: np.ndarray
    xy: np.ndarray

    @classmethod
    def of(cls, x: np.ndarray, y: np.ndarray) -> SufficientStatistics:
        """Sums over the rows of features, (n, D), and labels, (n, 2)."""
        # The products are in single precision. The caller subtracts a common origin from `x`
        # first, so they lose little.
        return cls(
            len(x), x.sum(axis=0, dtype=np.float64), y.sum(axis=0), x.T @ x, x.T @ y.astype(x.dtype)
        )

    def __add__(self, other: SufficientStatistics) -> SufficientStatistics:
        return SufficientStatistics(
            self.n + other.n,
            self.x + other.x,
            self.y + other.y,
            self.xx + other.xx,
            self.xy + other.xy,
        )

    def moments(self) -> Moments:
        """Means and covariances."""
        x, y = self.x / self.n, self.y / self.n
        return Moments(x, y, self.xx / self.n - np.outer(x, x), self.xy / self.n - np.outer(x, y))


@dataclass(frozen=True)
class Moments:
    """Means of the features and labels, covariance of the features, and of features and labels.

    Parameters
    ----------
    mean_x, mean_y : np.ndarray [shape=(D,)], [shape=(2,)]
    cov_xx, cov_xy : np.ndarray [shape=(D, D)], [shape=(D, 2)]
    """

    mean_x: np.ndarray
    mean_y: np.ndarray
    cov_xx: np.ndarray
    cov_xy: np.ndarray


@dataclass(frozen=True)
class LinearModel:
    """Maps frame features to (valence, arousal): ``x @ slope + intercept``.

    Parameters
    ----------
    slope : np.ndarray [shape=(D, 2)]
    intercept : np.ndarray [shape=(2,)]
    """

    slope: np.ndarray
    intercept: np.ndarray

    def __call__(self, x: np.ndarray) -> np.ndarray:
        """Predict the rows of `x`, (n, D) -> (n, 2)."""
        return x @ self.slope + self.intercept


def solve(
    statistics: Mapping[str, SufficientStatistics],
    label_kinds: Mapping[str, str],
    weights: LossWeights,
    gain_products: np.ndarray,
) -> LinearModel:
    """Fit the linear model.

    Parameters
    ----------
    statistics, label_kinds : mapping of corpus to SufficientStatistics, and to its kind of labels
    weights : LossWeights
    gain_products : np.ndarray [shape=(D, D)]
        Mean products of the changes that 1 dB of gain makes to the features.
    """
    share = corpus_weights(label_kinds, weights)
    moments = {name: statistics[name].moments() for name in share}
    gram = reduce(add, (share[name] * m.cov_xx for name, m in moments.items()))
    moment = reduce(add, (share[name] * m.cov_xy for name, m in moments.items()))
    # Rounding can leave the variance of a constant feature slightly below 0.
    sd = np.sqrt(np.maximum(np.diag(gram), 0))
    sd[sd < 1e-6] = 1
    # Emotion labels rank clips but have no scale, so they do not enter the level of the curves.
    with_level = {n: w for n, w in share.items() if label_kinds[n] != "gems"} or share
    # Here every corpus counts the same: the weights are about the slope.
    mean_x = np.mean([moments[name].mean_x for name in with_level], axis=0)
    mean_y = np.mean([moments[name].mean_y for name in with_level], axis=0)
    for name, weight in with_level.items():
        offset = moments[name].mean_x - mean_x
        gram = gram + BETWEEN_CORPORA_WEIGHT * weight * np.outer(offset, offset)
        moment = moment + BETWEEN_CORPORA_WEIGHT * weight * np.outer(
            offset, moments[name].mean_y - mean_y
        )
    ridge_gram = gram / np.outer(sd, sd) + weights.alpha * np.eye(len(sd))
    gain_penalty = GAIN_PENALTY * gain_products / np.outer(sd, sd)
    slope = solve_normal_equations(ridge_gram, moment / sd[:, None], gain_penalty) / sd[:, None]
    return LinearModel(slope, mean_y - mean_x @ slope)


def corpus_weights(label_kinds: Mapping[str, str], weights: LossWeights) -> dict[str, float]:
    """Weight of each corpus with a weight above 0; they sum to 1."""
    kinds = list(label_kinds.values())
    share = {name: weights.of(kind) / kinds.count(kind) for name, kind in label_kinds.items()}
    total = sum(share.values())
    return {name: value / total for name, value in share.items() if value}

"""Weighted least squares from sums over rows."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

LEVEL_PENALTY = 30.0
"""Weight of the squared change of the curve with 1 dB of level, settled in trials at 12 dB. What
12 dB still do to music that no map saw is measured with every release."""

DOMAIN_SHARE = 0.05
"""Weight of differences between corpora's means, against those within a corpus. They tell piano
from pop more than feelings, but without them a curve's level would be arbitrary in either."""


@dataclass(frozen=True)
class LossWeights:
    """What is chosen by cross-validation within the tracks that are not tested.

    Parameters
    ----------
    curves, quadrants, gems : float >= 0
        Share of each kind of labels in the loss; corpora of one kind share it evenly.
    alpha : float > 0
        Ridge penalty on standardised features.
    """

    curves: float
    quadrants: float
    gems: float
    alpha: float


LOSS_WEIGHTS = (
    LossWeights(0.6, 0.25, 0.15, 1.0),
    LossWeights(0.5, 0.3, 0.2, 1.0),
    LossWeights(0.6, 0.4, 0.0, 1.0),
)
"""What is tried. The last does without emotions."""

N_CONFIGS_TRIED = 60
"""About so many configurations (features, memories, penalties, weights) had been scored on the
outer folds when the constants above and `BUNDLES` were settled. Only `SETTINGS` are chosen
without the tested fold, so that the scores are somewhat optimistic."""


@dataclass(frozen=True)
class SufficientStatistics:
    """Sums over rows from which least squares follows; they add up over parts of a corpus.

    Parameters
    ----------
    n : int
    x, y : np.ndarray [shape=(D,)], [shape=(2,)]
    xx, xy : np.ndarray [shape=(D, D)], [shape=(D, 2)]
    """

    n: int
    x: np.ndarray
    y: np.ndarray
    xx: np.ndarray
    xy: np.ndarray

    @classmethod
    def of(cls, x: np.ndarray, y: np.ndarray) -> SufficientStatistics:
        """Sums of features (n, D) and labels (n, 2)."""
        # In single precision: rows are moved near zero first, see `Material`.
        return cls(
            len(x), x.sum(axis=0, dtype=np.float64), y.sum(axis=0), x.T @ x, x.T @ y.astype(x.dtype)
        )

    def __add__(self, other: SufficientStatistics) -> SufficientStatistics:
        return SufficientStatistics(
            *(a + b for a, b in zip(vars(self).values(), vars(other).values(), strict=True))
        )

    def centred(self) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
        """Means of x and y, covariance of x, and of x with y."""
        x, y = self.x / self.n, self.y / self.n
        return x, y, self.xx / self.n - np.outer(x, x), self.xy / self.n - np.outer(x, y)


@dataclass(frozen=True)
class LinearModel:
    """Frame features (D,) to (valence, arousal): ``x @ slope + level``."""

    slope: np.ndarray
    level: np.ndarray

    def __call__(self, x: np.ndarray) -> np.ndarray:
        return x @ self.slope + self.level


def solve(
    moments: Mapping[str, SufficientStatistics],
    kinds: Mapping[str, str],
    setting: LossWeights,
    level: np.ndarray,
) -> LinearModel:
    """Fit the map.

    Parameters
    ----------
    moments, kinds : mapping of str to Moments, and to a kind of labels
        By corpus.
    setting : Setting
    level : np.ndarray [shape=(D, D)]
        Mean products of what 1 dB does to the features.
    """
    share = {
        name: getattr(setting, kind) / list(kinds.values()).count(kind)
        for name, kind in kinds.items()
    }
    share = {name: value / sum(share.values()) for name, value in share.items() if value}
    centred = {name: moments[name].centred() for name in share}
    sd = np.sqrt(sum(share[n] * np.diag(c[2]) for n, c in centred.items()))
    sd[sd < 1e-6] = 1
    gram = sum(share[n] * c[2] for n, c in centred.items())
    moment = sum(share[n] * c[3] for n, c in centred.items())
    # Shares of emotions say which clip has more, not how much.
    known = {n: w for n, w in share.items() if kinds[n] != "gems"} or share
    # Each counts the same for the level: a share is about the slope.
    x, y = (np.mean([centred[n][k] for n in known], axis=0) for k in (0, 1))
    for name, weight in known.items():
        off = centred[name][0] - x
        gram = gram + DOMAIN_SHARE * weight * np.outer(off, off)
        moment = moment + DOMAIN_SHARE * weight * np.outer(off, centred[name][1] - y)
    gram = gram / np.outer(sd, sd) + setting.alpha * np.eye(len(sd))
    gram += LEVEL_PENALTY * level / np.outer(sd, sd)
    slope = np.linalg.solve(gram, moment / sd[:, None]) / sd[:, None]
    return LinearModel(slope, y - x @ slope)

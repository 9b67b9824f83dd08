"""Ridge regression on frames and their causal average."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from scipy.signal import lfilter

from msr_utils.constants import FRAME_RATE_HZ
from msr_utils.dataset.sequences import Sequence2Hz
from msr_utils.least_squares import solve_normal_equations

RIDGE_MEMORY_S = 6.0
"""Time constant of the causal average that gives ridge regression more than one frame."""

RIDGE_ALPHAS = tuple(10.0**k for k in range(1, 8))
"""Penalties tried on the validation part."""

Curves = dict[str, np.ndarray]
"""Track id to predicted values, (T,)."""


def causal_average(features: np.ndarray, seconds: float = RIDGE_MEMORY_S) -> np.ndarray:
    """Exponential average over the past, divided by the sum of the weights so far.

    So it does not start near zero.

    Parameters
    ----------
    features : np.ndarray [shape=(T, D)]
    seconds : float > 0
        Time constant.

    Returns
    -------
    np.ndarray [shape=(T, D)]
    """
    keep = np.exp(-1 / (seconds * FRAME_RATE_HZ))
    summed = lfilter([1], [1, -keep], features, axis=0)
    return summed / lfilter([1], [1, -keep], np.ones((len(features), 1)), axis=0)


def ridge(
    parts: Sequence[tuple[Sequence[Sequence2Hz], Sequence[Sequence2Hz]]],
    test: Sequence[Sequence2Hz],
    target: str,
) -> Curves:
    """Ridge regression of each frame on its features and their causal average.

    Parameters
    ----------
    parts : sequence of (train, validation)
        See `solve_ridge`.
    test : sequence of Sequence2Hz
    target : str
    """

    def widened(s: Sequence2Hz) -> Sequence2Hz:
        both = [s.features, causal_average(s.features)]
        return replace(s, features=np.concatenate(both, axis=1, dtype=np.float32))

    known = {s.id: widened(s) for s in [*parts[0][0], *parts[0][1]]}
    wide = [([known[s.id] for s in train], [known[s.id] for s in held]) for train, held in parts]
    fit = solve_ridge(wide, target)
    return {s.id: widened(s).features @ fit.slope + fit.level for s in test}


@dataclass(frozen=True)
class RidgeFit:
    """A fitted ridge regression.

    Parameters
    ----------
    slope : np.ndarray [shape=(D,)]
        Weights of the features before standardisation.
    level : float
        Intercept.
    tried : list of dict
        A row for each penalty: ``alpha, val_loss`` (mean squared error).
    """

    slope: np.ndarray
    level: float
    tried: list[dict[str, float]]


def solve_ridge(
    parts: Sequence[tuple[Sequence[Sequence2Hz], Sequence[Sequence2Hz]]],
    target: str,
    alphas: Sequence[float] = RIDGE_ALPHAS,
) -> RidgeFit:
    """Choose the penalty on the validation parts, then fit all tracks.

    Parameters
    ----------
    parts : sequence of (train, validation)
        Each pair holds all the tracks that are not tested. The penalty with the lowest mean error
        over the validation parts is chosen.
    target : str
        "valence" or "arousal".
    alphas : sequence of float > 0
    """

    def stacked(part: Sequence[Sequence2Hz]) -> tuple[np.ndarray, np.ndarray]:
        return (
            np.concatenate([s.features[s.mask] for s in part]),
            np.concatenate([s.target(target)[s.mask] for s in part]),
        )

    errors = np.zeros(len(alphas))
    for train, held in parts:
        x, y = stacked(held)
        fits = _ridge_path(*stacked(train), alphas)
        errors += [np.mean((x @ slope + level - y) ** 2) for slope, level in fits]
    errors /= len(parts)
    best = alphas[int(np.argmin(errors))]
    ((slope, level),) = _ridge_path(*stacked([*parts[0][0], *parts[0][1]]), (best,))
    tried = [{"alpha": a, "val_loss": float(e)} for a, e in zip(alphas, errors, strict=True)]
    return RidgeFit(slope, level, tried)


def _ridge_path(
    x: np.ndarray, y: np.ndarray, alphas: Sequence[float]
) -> list[tuple[np.ndarray, float]]:
    """Slope (D,) and level for each penalty; features are standardised first, and overwritten.

    scikit-learn would compute the product of the features again for each penalty, which takes
    almost all of the time.
    """
    mean, sd = x.mean(axis=0, dtype=np.float64), x.std(axis=0, dtype=np.float64)
    sd[sd == 0] = 1
    # In place and in single precision: a copy of all blocks of a large corpus is a gigabyte.
    x -= mean.astype(np.float32)
    x /= sd.astype(np.float32)
    gram, moment = (x.T @ x).astype(np.float64), x.T @ (y - y.mean())
    slopes = [solve_normal_equations(gram, moment, a) / sd for a in alphas]
    return [(slope, float(y.mean() - mean @ slope)) for slope in slopes]

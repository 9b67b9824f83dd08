"""A compact Gaussian kernel machine on the rows that the linear model is trained on.

It is kernel ridge regression on principal components of the standardised features. Before that,
directions in which features change with gain are shrunk as much as the penalty of the linear model
shrinks them: with a linear kernel, this machine would be that model.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from scipy.linalg import cholesky, solve, solve_triangular
from scipy.sparse.linalg import svds

from msr_utils.experiments.release.least_squares import (
    GAIN_PENALTY,
    LossWeights,
    corpus_weights,
)


@dataclass(frozen=True)
class KernelSetting:
    """Hyperparameters of a kernel machine.

    Parameters
    ----------
    components : int > 0
        Principal components.
    gamma : float > 0
        Inverse squared width of the kernel; squared distances are averaged over the features.
    penalty : float > 0
        Of kernel ridge regression, with training rows of mean weight 1.
    """

    components: int
    gamma: float
    penalty: float


@dataclass(frozen=True)
class KernelMachine:
    """Maps frame features to (valence, arousal).

    Parameters
    ----------
    center : np.ndarray [shape=(D,)]
    projection : np.ndarray [shape=(D, d)]
        From centred features to coordinates. The kernel of two rows of coordinates is
        ``exp(-squared distance)``.
    landmarks : np.ndarray [shape=(m, d)]
        Coordinates of the training rows.
    dual : np.ndarray [shape=(m, 2)]
    level : np.ndarray [shape=(2,)]
        What is predicted far from all landmarks.
    """

    center: np.ndarray
    projection: np.ndarray
    landmarks: np.ndarray
    dual: np.ndarray
    level: np.ndarray

    def __call__(self, x: np.ndarray) -> np.ndarray:
        """Predict the rows of `x`, (n, D) -> (n, 2)."""
        coordinates = (x - self.center) @ self.projection
        return _kernel(_squared_distances(coordinates, self.landmarks)) @ self.dual + self.level


@dataclass(frozen=True)
class KernelRows:
    """Training rows of several corpora.

    Parameters
    ----------
    x : mapping of corpus to np.ndarray [shape=(n, D), dtype=float32]
    y : mapping of corpus to np.ndarray [shape=(n, 2)]
        Valence and arousal.
    kinds : mapping of corpus to str
        Kind of its labels.
    gain_products : np.ndarray [shape=(D, D)]
        Mean products of the changes that 1 dB of gain makes to the features.
    """

    x: Mapping[str, np.ndarray]
    y: Mapping[str, np.ndarray]
    kinds: Mapping[str, str]
    gain_products: np.ndarray


class KernelProblem:
    """Rows with their weights and coordinates: all that settings have in common.

    Parameters
    ----------
    rows : KernelRows
    weights : LossWeights
        A corpus without weight is not used.
    components : int > 0
        Most principal components of a setting.
    """

    def __init__(self, rows: KernelRows, weights: LossWeights, components: int) -> None:
        share = corpus_weights(rows.kinds, weights)
        parts = [(rows.x[title], np.asarray(rows.y[title], float)) for title in share]
        each = [
            np.full(len(x), weight / len(x))
            for (x, _), weight in zip(parts, share.values(), strict=True)
        ]
        # Emotion labels rank clips but have no scale: their mean stands for the level.
        with_level = [rows.kinds[title] != "gems" for title in share]
        if not any(with_level):
            with_level = [True] * len(parts)
        means = [y.mean(axis=0) for _, y in parts]
        total = [w.sum() for w in each]
        self._level = np.average(
            [m for m, known in zip(means, with_level, strict=True) if known],
            axis=0,
            weights=[w for w, known in zip(total, with_level, strict=True) if known],
        )
        self._target = np.concatenate(
            [
                y - (self._level if known else mean)
                for (_, y), mean, known in zip(parts, means, with_level, strict=True)
            ]
        )
        weight = np.concatenate(each)
        self._weight = weight / weight.mean()
        self._center = np.sum([w @ x for (x, _), w in zip(parts, each, strict=True)], axis=0)
        # Within corpora: differences between them mostly encode genre.
        variance = np.sum(
            [w * x.var(axis=0, dtype=np.float64) for (x, _), w in zip(parts, total, strict=True)],
            axis=0,
        )
        sd = np.sqrt(variance)
        sd[sd < 1e-6] = 1
        x = (np.concatenate([x for x, _ in parts]) - self._center) / sd
        self._projection = _components(x, self._weight, sd, rows.gain_products, components)
        self._coordinates = (x * sd) @ self._projection
        self._width = len(sd)

    def fit(self, setting: KernelSetting) -> KernelMachine:
        """Fit a machine to all rows."""
        scale = np.sqrt(setting.gamma / self._width)
        used = self._coordinates[:, : setting.components] * scale
        gram = _kernel(_squared_distances(used, used))
        gram[np.diag_indices_from(gram)] += setting.penalty / self._weight
        dual = solve(gram, self._target, assume_a="pos", check_finite=False, overwrite_a=True)
        projection = self._projection[:, : setting.components] * scale
        return KernelMachine(self._center, projection, used, dual, self._level)


def _components(
    x: np.ndarray, weight: np.ndarray, sd: np.ndarray, gain_products: np.ndarray, count: int
) -> np.ndarray:
    """Projection of centred features onto principal components, (D, count).

    Parameters
    ----------
    x : np.ndarray [shape=(n, D)]
        Standardised features.
    weight : np.ndarray [shape=(n,)]
    sd : np.ndarray [shape=(D,)]
    gain_products : np.ndarray [shape=(D, D)]
        Before standardisation.
    count : int
    """
    penalty = np.eye(len(sd)) + GAIN_PENALTY * gain_products / np.outer(sd, sd)
    root = cholesky(penalty, lower=True, check_finite=False, overwrite_a=True)
    shrunk = solve_triangular(
        root, (x * np.sqrt(weight)[:, None]).T, lower=True, check_finite=False
    )
    # A start of ones: a random one would give other last bits each time.
    directions, strength, _ = svds(shrunk, k=min(count, min(shrunk.shape) - 1), v0=_start(shrunk))
    directions = directions[:, np.argsort(-strength)]
    return (
        solve_triangular(root, directions, lower=True, trans="T", check_finite=False) / sd[:, None]
    )


def _start(matrix: np.ndarray) -> np.ndarray:
    return np.ones(min(matrix.shape), matrix.dtype)


def _squared_distances(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Squared distances of rows, (n, m)."""
    products = (a**2).sum(axis=1)[:, None] + (b**2).sum(axis=1) - 2 * a @ b.T
    distances: np.ndarray = np.maximum(products, 0)
    return distances


def _kernel(squared_distances: np.ndarray) -> np.ndarray:
    """The Gaussian kernel."""
    values: np.ndarray = np.exp(-squared_distances)
    return values

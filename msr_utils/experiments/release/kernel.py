"""A compact Gaussian kernel machine on the rows that the linear model is trained on.

It is kernel ridge regression on principal components of the standardised features. Before that,
directions in which features change with gain are shrunk as much as the penalty of the linear model
shrinks them: with a linear kernel, this machine would be that model.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from scipy.linalg import cholesky, solve, solve_triangular, svd
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
        weight = np.concatenate(
            [np.full(len(rows.x[t]), w / len(rows.x[t])) for t, w in share.items()]
        )
        self._weight = weight / weight.mean()
        self._level, self._target = _targets(rows, share)
        x = np.concatenate([rows.x[title] for title in share])
        self._center = np.average(x, axis=0, weights=weight)
        # Within corpora: differences between them mostly encode genre.
        variances = [w * rows.x[t].var(axis=0, dtype=np.float64) for t, w in share.items()]
        sd = np.sqrt(np.sum(variances, axis=0))
        sd[sd < 1e-6] = 1
        centred = x - self._center
        gain = rows.gain_products / np.outer(sd, sd)
        shape = _components(centred / sd, self._weight, gain, components)
        self._projection = shape / sd[:, None]
        self._coordinates = centred @ self._projection

    def fit(self, setting: KernelSetting) -> KernelMachine:
        """Fit a machine to all rows."""
        scale = np.sqrt(setting.gamma / len(self._center))
        used = self._coordinates[:, : setting.components] * scale
        gram = _kernel(_squared_distances(used, used))
        gram[np.diag_indices_from(gram)] += setting.penalty / self._weight
        dual = solve(gram, self._target, assume_a="pos", check_finite=False, overwrite_a=True)
        projection = self._projection[:, : setting.components] * scale
        return KernelMachine(self._center, projection, used, dual, self._level)


def _targets(rows: KernelRows, share: Mapping[str, float]) -> tuple[np.ndarray, np.ndarray]:
    """Level of the curves, (2,), and labels minus their level, (n, 2), of corpora with a weight."""
    # Emotion labels rank clips but have no scale, so they do not enter the level of the curves.
    with_level = [title for title in share if rows.kinds[title] != "gems"] or [*share]
    means = {title: np.mean(rows.y[title], axis=0) for title in share}
    level = np.average(
        [means[t] for t in with_level], axis=0, weights=[share[t] for t in with_level]
    )
    targets = [rows.y[t] - (level if t in with_level else means[t]) for t in share]
    return level, np.concatenate(targets)


def _components(
    x: np.ndarray, weight: np.ndarray, gain_products: np.ndarray, count: int
) -> np.ndarray:
    """Projection of standardised features onto principal components, (D, count).

    Parameters
    ----------
    x : np.ndarray [shape=(n, D)]
        Standardised features.
    weight : np.ndarray [shape=(n,)]
    gain_products : np.ndarray [shape=(D, D)]
        Of standardised features.
    count : int
    """
    penalty = np.eye(x.shape[1]) + GAIN_PENALTY * gain_products
    root = cholesky(penalty, lower=True, check_finite=False, overwrite_a=True)
    shrunk = solve_triangular(
        root, (x * np.sqrt(weight)[:, None]).T, lower=True, check_finite=False
    )
    directions = _left_singular_vectors(shrunk, count)
    found: np.ndarray = solve_triangular(
        root, directions, lower=True, trans="T", check_finite=False
    )
    return found


def _left_singular_vectors(matrix: np.ndarray, count: int) -> np.ndarray:
    """Those of the largest singular values, strongest first; all, if there are fewer."""
    if 4 * count > min(matrix.shape):
        return svd(matrix, full_matrices=False, check_finite=False)[0][:, :count]
    # A start of ones: a random one would give other last bits each time.
    vectors, strength, _ = svds(matrix, k=count, v0=np.ones(min(matrix.shape)))
    ordered: np.ndarray = vectors[:, np.argsort(-strength)]
    return ordered


def _squared_distances(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Squared distances of rows, (n, m)."""
    products = (a**2).sum(axis=1)[:, None] + (b**2).sum(axis=1) - 2 * a @ b.T
    distances: np.ndarray = np.maximum(products, 0)
    return distances


def _kernel(squared_distances: np.ndarray) -> np.ndarray:
    """The Gaussian kernel."""
    values: np.ndarray = np.exp(-squared_distances)
    return values

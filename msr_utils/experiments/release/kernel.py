"""A compact Gaussian kernel machine on the rows that the linear model is trained on.

It is kernel ridge regression on principal components of the standardised features. Before that,
directions in which features change with gain are shrunk as much as the penalty of the linear model
shrinks them: with a linear kernel, this machine would be that model.

The kernel is a product of random Fourier features (Rahimi and Recht, 2007) with orthogonal
frequencies (Yu et al., 2016). So the machine holds weights, and no row that it was trained on.

References
----------
Rahimi, A. and Recht, B. (2007). Random features for large-scale kernel machines. *NIPS*.

Yu, F. X. et al. (2016). Orthogonal random features. *NIPS*.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from scipy.linalg import cholesky, solve, solve_triangular, svd
from scipy.sparse.linalg import svds

from msr_utils.experiments.release.least_squares import (
    GAIN_PENALTY,
    LossWeights,
    corpus_weights,
)

N_FREQUENCIES = 2048
"""Each gives a cosine and a sine. The standard deviation of the kernel's error is about .01."""


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
        From centred features to coordinates. The kernel of two rows of coordinates is about
        ``exp(-squared distance)``.
    frequencies : np.ndarray [shape=(d, m)]
    slope : np.ndarray [shape=(2 m, 2)]
        Of the cosines, then of the sines.
    level : np.ndarray [shape=(2,)]
        About what is predicted far from all training rows.
    """

    center: np.ndarray
    projection: np.ndarray
    frequencies: np.ndarray
    slope: np.ndarray
    level: np.ndarray

    def __call__(self, x: np.ndarray) -> np.ndarray:
        """Predict the rows of `x`, (n, D) -> (n, 2)."""
        coordinates = (x - self.center) @ self.projection
        return fourier_features(coordinates, self.frequencies) @ self.slope + self.level


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
        self._centred = centred

    def fit(self, settings: Sequence[KernelSetting]) -> list[KernelMachine]:
        """Fit a machine for each setting to all rows. Penalties of one kernel share the work."""
        found = {}
        for components, gamma in dict.fromkeys((s.components, s.gamma) for s in settings):
            projection = self._projection[:, :components] * np.sqrt(gamma / len(self._center))
            frequencies = orthogonal_frequencies(projection.shape[1])
            features = fourier_features(self._centred @ projection, frequencies)
            weighted = features * self._weight[:, None]
            products, moments = features.T @ weighted, weighted.T @ self._target
            for setting in settings:
                if (setting.components, setting.gamma) == (components, gamma):
                    penalised = products + setting.penalty * np.eye(len(products))
                    slope = solve(
                        penalised, moments, assume_a="pos", check_finite=False, overwrite_a=True
                    )
                    found[setting] = KernelMachine(
                        self._center, projection, frequencies, slope, self._level
                    )
        return [found[setting] for setting in settings]


@functools.lru_cache(maxsize=4)
def orthogonal_frequencies(n_dims: int) -> np.ndarray:
    """Random frequencies of the kernel ``exp(-squared distance)``, orthogonal in blocks.

    Parameters
    ----------
    n_dims : int > 0

    Returns
    -------
    np.ndarray [shape=(n_dims, N_FREQUENCIES)]
        The same at each call.
    """
    rng = np.random.default_rng(0)
    blocks = [
        np.linalg.qr(rng.normal(size=(n_dims, n_dims)))[0]
        for _ in range(math.ceil(N_FREQUENCIES / n_dims))
    ]
    directions = np.concatenate(blocks, axis=1)[:, :N_FREQUENCIES]
    lengths = np.sqrt(2 * rng.chisquare(n_dims, N_FREQUENCIES))
    frequencies: np.ndarray = directions * lengths
    return frequencies


def fourier_features(coordinates: np.ndarray, frequencies: np.ndarray) -> np.ndarray:
    """Features whose products are about the kernel of rows, (n, d) -> (n, 2 m)."""
    phases = coordinates @ frequencies
    features: np.ndarray = np.concatenate([np.cos(phases), np.sin(phases)], axis=1)
    return features / np.sqrt(frequencies.shape[1])


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

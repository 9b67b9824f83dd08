"""Scores of ranked results: precision and nDCG of the first ten, variety, hubs.

References
----------
Järvelin, K. and Kekäläinen, J. (2002). Cumulated gain-based evaluation of IR techniques. *ACM
Transactions on Information Systems*, 20(4), 422-446.

Radovanović, M., Nanopoulos, A. and Ivanović, M. (2010). Hubs in space: popular nearest neighbors in
high-dimensional data. *Journal of Machine Learning Research*, 11, 2487-2531.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.stats import skew

K = 10
"""Results that are looked at."""


def first_k(
    counts: np.ndarray, ranking: np.ndarray, relevant: np.ndarray, k: int = K
) -> tuple[np.ndarray, np.ndarray]:
    """Precision and nDCG of the first results in bootstrap samples of the collection.

    A row that was drawn twice is in the collection twice, and its copies follow each other.

    Parameters
    ----------
    counts : np.ndarray [shape=(B, N)]
        How often each row lies in each sample, see `msr_utils.metrics.bootstrap.draw_counts`.
    ranking : np.ndarray [shape=(n,), dtype=int]
        Rows that were found, the best first. It may have fewer than all.
    relevant : np.ndarray [shape=(N,), dtype=bool]
    k : int > 0

    Returns
    -------
    precision, ndcg : np.ndarray [shape=(B,)]
        A place that is not filled is a wrong one. NaN where a sample has nothing relevant.
    """
    gain = np.concatenate([[0.0], np.cumsum(1 / np.log2(np.arange(k) + 2))])
    after = np.minimum(np.cumsum(counts[:, ranking], axis=1), k).astype(int)
    before = np.concatenate([np.zeros((len(counts), 1), int), after[:, :-1]], axis=1)
    right = relevant[ranking]
    precision = ((after - before) @ right) / k
    dcg = (gain[after] - gain[before]) @ right
    return _scored(counts, relevant, precision, dcg, gain)


def chance(counts: np.ndarray, relevant: np.ndarray, k: int = K) -> tuple[np.ndarray, np.ndarray]:
    """Expected precision and nDCG of a random ranking, as `first_k` gives them."""
    gain = np.concatenate([[0.0], np.cumsum(1 / np.log2(np.arange(k) + 2))])
    share = (counts @ relevant) / counts.sum(axis=1)
    return _scored(counts, relevant, share, share * gain[-1], gain)


def _scored(
    counts: np.ndarray,
    relevant: np.ndarray,
    precision: np.ndarray,
    dcg: np.ndarray,
    gain: np.ndarray,
) -> tuple[np.ndarray, np.ndarray]:
    there = counts @ relevant
    ideal = gain[np.minimum(there, len(gain) - 1).astype(int)]
    possible = there > 0
    return (
        np.where(possible, precision, np.nan),
        np.where(possible, dcg / np.where(possible, ideal, 1), np.nan),
    )


@dataclass(frozen=True)
class Variety:
    """How various the first results of many queries are.

    Parameters
    ----------
    queries : int
    artist_entropy : float
        Of the artists among the first ten, 0 (one artist) to 1 (ten artists); the mean.
    coverage : float
        Share of the collection that is among the first ten of at least one query.
    hubness : float
        Skewness of how often each track is among the first ten. 0 without hubs.
    largest_share : float
        Share of the queries in whose first ten the most frequent track is.
    """

    queries: int
    artist_entropy: float
    coverage: float
    hubness: float
    largest_share: float


def variety(rankings: Sequence[np.ndarray], artists: np.ndarray, k: int = K) -> Variety:
    """Variety of the first results of some queries.

    Parameters
    ----------
    rankings : sequence of np.ndarray [shape=(n,), dtype=int]
        Rows, the best first.
    artists : np.ndarray [shape=(N,)]
        Of each row of the collection.
    k : int > 1
    """
    often = np.zeros(len(artists))
    entropies = []
    for ranking in rankings:
        first = ranking[:k]
        often[first] += 1
        entropies.append(_entropy(artists[first]) / np.log(k) if len(first) else 0.0)
    return Variety(
        queries=len(rankings),
        artist_entropy=float(np.mean(entropies)),
        coverage=float((often > 0).mean()),
        hubness=float(skew(often)) if np.ptp(often) else 0.0,
        largest_share=float(often.max() / len(rankings)),
    )


def _entropy(names: np.ndarray) -> float:
    """Entropy of how often each name is there, in nats."""
    _, counts = np.unique(names, return_counts=True)
    shares = counts / counts.sum()
    return float(-(shares * np.log(shares)).sum())

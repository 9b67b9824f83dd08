"""How similar tracks sound, by the embedding that the model computes anyway."""

from __future__ import annotations

from functools import lru_cache

import numpy as np

from msr_utils.library.library import View

SAMPLE = 20_000
"""Tracks that tell the mean and the deviation of each dimension."""

CHUNK = 8_192
"""Tracks that are compared at a time. It bounds memory."""


class Similarity:
    """Embeddings of a view with each dimension standardised over the library, at unit length.

    Parameters
    ----------
    view : View
    """

    def __init__(self, view: View) -> None:
        self._view = view
        step = max(len(view) // SAMPLE, 1)
        sample = view.embeddings(np.arange(0, len(view), step))
        self._mean = sample.mean(axis=0) if len(sample) else np.zeros(view.embedding_dim)
        sd = sample.std(axis=0) if len(sample) else np.ones(view.embedding_dim)
        self._sd = np.maximum(sd, 1e-6)

    def vectors(self, rows: np.ndarray) -> np.ndarray:
        """Unit vectors of some rows, (n, D) float32."""
        values = self._view.embeddings(rows)
        values -= self._mean
        values /= self._sd
        norms = np.sqrt(np.einsum("nd,nd->n", values, values))
        values /= np.maximum(norms, 1e-6)[:, None]
        return values

    def to(self, rows: np.ndarray, vectors: np.ndarray) -> np.ndarray:
        """Products of the unit vectors of some rows with other vectors.

        Parameters
        ----------
        rows : np.ndarray [shape=(n,)]
        vectors : np.ndarray [shape=(m, D)]

        Returns
        -------
        np.ndarray [shape=(n, m), dtype=float32]
        """
        result = np.empty((len(rows), len(vectors)), np.float32)
        for start in range(0, len(rows), CHUNK):
            part = slice(start, start + CHUNK)
            result[part] = self.vectors(rows[part]) @ vectors.T
        return result

    def direction(self, like: np.ndarray, unlike: np.ndarray) -> np.ndarray:
        """Unit vector from what is unwanted to what is wanted, (D,)."""
        wanted = self.vectors(like).sum(axis=0) / max(len(like), 1)
        unwanted = self.vectors(unlike).sum(axis=0) / max(len(unlike), 1)
        direction = wanted - unwanted
        result: np.ndarray = direction / max(float(np.linalg.norm(direction)), 1e-6)
        return result


@lru_cache(maxsize=1)
def similarity_of(view: View) -> Similarity:
    """The similarity of a view, computed once."""
    return Similarity(view)

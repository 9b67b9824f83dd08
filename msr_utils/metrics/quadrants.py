"""Scores of quadrants: how well the signs of valence and arousal are told."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from msr_utils.constants import TARGETS
from msr_utils.metrics.correlation import weighted_auc


@dataclass(frozen=True)
class QuadrantSamples:
    """Scores on the data as they are, then on each bootstrap sample.

    Parameters
    ----------
    auc : dict of target to np.ndarray [shape=(1 + n_boot,)]
        Area under the ROC curve of the target's sign.
    accuracy : np.ndarray [shape=(1 + n_boot,)]
        Share of clips in the right quadrant.
    """

    auc: dict[str, np.ndarray]
    accuracy: np.ndarray


def quadrant_samples(
    counts: np.ndarray, true: np.ndarray, scores: np.ndarray, is_right: np.ndarray | None = None
) -> QuadrantSamples:
    """Score valence and arousal as tellers of their signs.

    Parameters
    ----------
    counts : np.ndarray [shape=(1 + n_boot, N)]
        How often each clip was drawn, see `msr_utils.metrics.bootstrap.draw_counts`.
    true, scores : np.ndarray [shape=(N, K >= 2)]
        (valence, arousal, ...). Of `true`, only the signs count.
    is_right : np.ndarray [shape=(N,), dtype=bool], optional
        Whether the quadrant of each clip is right. By default it is if both signs are.
    """
    if is_right is None:
        is_right = ((true[:, :2] > 0) == (scores[:, :2] > 0)).all(axis=1)
    return QuadrantSamples(
        {
            target: weighted_auc(counts, true[:, k] > 0, scores[:, k])
            for k, target in enumerate(TARGETS)
        },
        counts @ is_right / counts.sum(axis=1),
    )

"""Conformal prediction intervals of the released models."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from msr_utils.metrics.curves import Curve

COVERAGE = 0.9
"""Share of the frames of a track that an interval is meant to cover."""


def margin(curves: Sequence[Curve], coverage: float = COVERAGE) -> float:
    """Half-width of an interval that covers a given share of the frames of the next track.

    Parameters
    ----------
    curves : sequence of Curve
        Tracks that the model was not trained on. Each track counts the same.
    coverage : float in (0, 1)

    Returns
    -------
    float
        The largest error if there are too few tracks for `coverage`.

    Notes
    -----
    Split-conformal prediction with tracks as units: Dunn, Wasserman and Ramdas (2023),
    "Distribution-free prediction sets for two-layer hierarchical models", JASA 118(544).
    """
    errors = np.concatenate([abs(c.true - c.predicted) for c in curves])
    weight = np.concatenate([np.full(len(c.true), 1 / len(c.true)) for c in curves])
    order = np.argsort(errors)
    reached = np.cumsum(weight[order]) / len(curves)
    wanted = coverage * (1 + 1 / len(curves))
    place = min(int(np.searchsorted(reached, wanted)), len(errors) - 1)
    return float(errors[order[place]])


def share_covered(curve: Curve, half_width: float) -> float:
    """Share of the frames whose true value lies within `half_width` of the predicted one."""
    return float((abs(curve.true - curve.predicted) <= half_width).mean())

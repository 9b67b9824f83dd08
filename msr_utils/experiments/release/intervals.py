"""Conformal intervals of the released models."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from msr_utils.metrics.curves import Curve

COVERAGE = 0.9
"""Share of frames that the intervals of a curve are meant to cover."""


def margin(curves: Sequence[Curve], share: float = COVERAGE) -> float:
    """Half-width of an interval that covers this share of the frames of the next track.

    Split-conformal with tracks as units, each of which counts the same: Dunn, Wasserman and
    Ramdas (2023), "Distribution-free prediction sets for two-layer hierarchical models",
    JASA 118(544). Too few tracks for `share` give the largest error.
    """
    errors = np.concatenate([abs(c.true - c.predicted) for c in curves])
    weight = np.concatenate([np.full(len(c.true), 1 / len(c.true)) for c in curves])
    order = np.argsort(errors)
    reached = np.cumsum(weight[order]) / len(curves)
    wanted = share * (1 + 1 / len(curves))
    return float(errors[order][min(np.searchsorted(reached, wanted), len(errors) - 1)])


def covered(curve: Curve, width: float) -> float:
    """Share of the frames whose true value lies within `width` of the predicted one."""
    return float((abs(curve.true - curve.predicted) <= width).mean())

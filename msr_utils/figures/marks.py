"""Marks that several figures share."""

from __future__ import annotations

from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.typing import ColorType

from msr_utils.metrics.estimate import Estimate


def mark_estimate(
    ax: Axes,
    estimate: Estimate,
    y: float,
    colour: ColorType,
    marker: str = "o",
    line_width: float | None = None,
    line_alpha: float | None = 0.5,
    **style: Any,
) -> None:
    """Draw a value as a dot at height `y`, and its interval as a line.

    Parameters
    ----------
    ax : Axes
    estimate : Estimate
    y : float
    colour : ColorType
    marker : str
    line_width, line_alpha : float, optional
    **style
        Of the dot.
    """
    if np.isfinite(estimate.low):
        ax.plot(
            [estimate.low, estimate.high], [y, y], color=colour, lw=line_width, alpha=line_alpha
        )
    ax.plot(estimate.value, y, marker, color=colour, **style)

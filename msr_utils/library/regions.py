"""Regions of the valence-arousal plane, and the probability that a track lies in one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from scipy.special import ndtr

from msr_utils.constants import SCALE
from msr_utils.library.numbers import Z_COVERAGE
from msr_utils.library.shards import UsageError

if TYPE_CHECKING:
    from msr_utils.library.library import View

WITHIN = 0.25
"""Half of the side of the region around a point."""


@dataclass(frozen=True)
class Region:
    """A rectangle in the plane.

    Parameters
    ----------
    valence, arousal : (float, float)
        Lowest and highest value. The whole of [-1, 1] means that any value will do.
    centre : (float, float)
        The wanted place: valence, arousal.
    label : str
        What the listener asked for.
    """

    valence: tuple[float, float]
    arousal: tuple[float, float]
    centre: tuple[float, float]
    label: str = ""

    def common(self, other: Region) -> Region:
        """What two regions have in common.

        Raises
        ------
        LibraryError
            If that is nothing.
        """
        sides = []
        for mine, theirs in ((self.valence, other.valence), (self.arousal, other.arousal)):
            sides.append((max(mine[0], theirs[0]), min(mine[1], theirs[1])))
        if any(low >= high for low, high in sides):
            raise UsageError(
                f"library: {self.label!r} and {other.label!r} have no place in common; ask for "
                "one of them"
            )
        centre = (
            (self.centre[0] + other.centre[0]) / 2,
            (self.centre[1] + other.centre[1]) / 2,
        )
        return Region(sides[0], sides[1], centre, f"{self.label}, {other.label}")

    def contains(self, valence: np.ndarray, arousal: np.ndarray) -> np.ndarray:
        """Whether points lie in the region."""
        inside: np.ndarray = (
            (valence >= self.valence[0])
            & (valence <= self.valence[1])
            & (arousal >= self.arousal[0])
            & (arousal <= self.arousal[1])
        )
        return inside


def point_region(valence: float | None, arousal: float | None, within: float = WITHIN) -> Region:
    """Region around a point. A coordinate that is None may have any value.

    Raises
    ------
    LibraryError
        If a value lies outside of [-1, 1], or `within` is not positive.
    """
    sides, label = [], []
    for name, value in (("valence", valence), ("arousal", arousal)):
        if value is None:
            sides.append(SCALE)
            continue
        if not SCALE[0] <= value <= SCALE[1]:
            raise UsageError(f"library: {name} must lie in [-1, 1], not {value:g}")
        sides.append((max(value - within, SCALE[0]), min(value + within, SCALE[1])))
        label.append(f"{name} {value:+.2f}")
    if not within > 0:
        raise UsageError(f"library: --within must be positive, not {within:g}")
    return Region(sides[0], sides[1], (valence or 0.0, arousal or 0.0), ", ".join(label))


def probability(view: View, region: Region, rows: np.ndarray) -> np.ndarray:
    """Probability that a moment of a track, taken at random, truly lies in a region.

    A moment is taken as normal around the track's mean. Its variance is that of the curve within
    the track, plus the variance of the model's error that the interval implies. The dimensions
    are taken as independent.

    Parameters
    ----------
    view : View
    region : Region
    rows : np.ndarray [shape=(n,), dtype=int64]

    Returns
    -------
    np.ndarray [shape=(n,), dtype=float64]
    """
    spread = {
        target: tuple(
            view.numbers(f"{name}_{target}")[rows].astype(np.float64)
            for name in ("mean", "sd", "half_width")
        )
        for target, side in (("valence", region.valence), ("arousal", region.arousal))
        if side != SCALE
    }
    return np.broadcast_to(lies_in(region, spread), (len(rows),))


def lies_in(region: Region, spread: Mapping[str, Sequence[np.ndarray]]) -> np.ndarray:
    """The same as `probability`, of tracks that need not be in a view.

    Parameters
    ----------
    region : Region
    spread : mapping of str to (mean, sd, half_width)
        By target, each of shape (n,): mean and deviation of the curve, and half-width of the
        model's interval. A target that may have any value is not read.

    Returns
    -------
    np.ndarray [shape=(n,), dtype=float64]
        A single 1 if both targets may have any value.
    """
    result: np.ndarray = np.ones(1)
    for target, side in (("valence", region.valence), ("arousal", region.arousal)):
        if side == SCALE:
            continue
        mean, within, half = spread[target]
        sigma = np.maximum(np.hypot(within, half / Z_COVERAGE), 1e-6)
        # Values are clipped to the scale, so its ends include all beyond.
        low = -np.inf if side[0] <= SCALE[0] else side[0]
        high = np.inf if side[1] >= SCALE[1] else side[1]
        result = result * (ndtr((high - mean) / sigma) - ndtr((low - mean) / sigma))
    return result

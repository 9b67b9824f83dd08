"""The valence-arousal plane: its axes, its four quadrants, and words for them.

Every table, figure, answer of the service and chart of its page takes these from here.

References
----------
Russell, J. A. (1980). A circumplex model of affect. *Journal of Personality and Social
Psychology*, 39(6), 1161-1178.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Quadrant:
    """One quarter of the valence-arousal plane.

    Parameters
    ----------
    name : str
        ``"Q1"`` to ``"Q4"``, counterclockwise from the quadrant where both values are positive.
    valence_positive, arousal_positive : bool
        Signs of the two dimensions.
    words : str
        Two feelings that are typical of the quadrant.
    """

    name: str
    valence_positive: bool
    arousal_positive: bool
    words: str

    @property
    def signs(self) -> tuple[int, int]:
        """Signs of (valence, arousal), each 1 or -1."""
        return (1 if self.valence_positive else -1, 1 if self.arousal_positive else -1)


QUADRANTS = (
    Quadrant("Q1", True, True, "happy, excited"),
    Quadrant("Q2", False, True, "tense, angry"),
    Quadrant("Q3", False, False, "sad, gloomy"),
    Quadrant("Q4", True, False, "calm, content"),
)
"""The quadrants in the order of their names."""

QUADRANT_NAMES = tuple(quadrant.name for quadrant in QUADRANTS)

SIGNS = {quadrant.name: quadrant.signs for quadrant in QUADRANTS}
"""Name of a quadrant -> signs of (valence, arousal)."""

AXIS_ENDS = {"valence": ("unpleasant", "pleasant"), "arousal": ("calm", "energetic")}
"""Dimension -> words for its ends, -1 and 1."""


def quadrant(valence: float, arousal: float) -> Quadrant:
    """Find the quadrant of a point in the valence-arousal plane.

    Parameters
    ----------
    valence, arousal : float
        In [-1, 1]. Zero counts as positive.

    Examples
    --------
    >>> quadrant(-0.4, 0.3).words
    'tense, angry'
    """
    signs = (valence >= 0, arousal >= 0)
    return next(q for q in QUADRANTS if (q.valence_positive, q.arousal_positive) == signs)

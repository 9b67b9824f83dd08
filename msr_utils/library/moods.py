"""What is said about a track outside of the library: in its tags, and in other programs."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from msr_utils.constants import TARGETS
from msr_utils.library.numbers import COLUMNS, interval
from msr_utils.library.search import CONFIDENT
from msr_utils.library.words import fitting_word

VALUES = tuple(f"MSR_{target.upper()}{end}" for target in TARGETS for end in ("", "_LOW", "_HIGH"))
"""Names of the numbers: mean, and ends of the interval."""

WORD, MODEL = "MSR_MOOD", "MSR_MODEL"
"""Names of the mood word and of the model."""

NAMES = (*VALUES, WORD, MODEL)
"""All names that are ours."""


@dataclass(frozen=True)
class TrackMood:
    """Mood of a track, as it is written elsewhere.

    Parameters
    ----------
    mean : dict of str to float
        Mean valence and arousal.
    interval : dict of str to (float, float)
        Ends of the model's interval around each mean.
    word : str
        The mood word that fits, see `fitting_word`; empty if none is probable enough.
    model : str
        Network and features that the numbers come from.
    silent : bool
        True if there was nothing to hear. The other values then say nothing.
    """

    mean: dict[str, float]
    interval: dict[str, tuple[float, float]]
    word: str
    model: str
    silent: bool

    def fields(self) -> dict[str, list[str]]:
        """Values by name, see `NAMES`, as texts. Without a word, `WORD` is missing."""
        numbers = [number for t in TARGETS for number in (self.mean[t], *self.interval[t])]
        # 0.0 is added so that nothing becomes -0.000.
        fields = {
            name: [f"{round(n, 3) + 0.0:.3f}"] for name, n in zip(VALUES, numbers, strict=True)
        }
        word = {WORD: [self.word]} if self.word else {}
        return {**fields, **word, MODEL: [self.model]}


def track_mood(numbers: np.ndarray, model: str, least: float = CONFIDENT) -> TrackMood:
    """Mood of a track by its numbers.

    Parameters
    ----------
    numbers : np.ndarray [shape=(len(COLUMNS),)]
        See `msr_utils.library.numbers.summarise`.
    model : str
    least : float in (0, 1)
        Least probability of a word. With the default, a word is given to the tracks that
        'msr library find --words' calls confident matches.
    """

    def column(name: str) -> float:
        return float(numbers[COLUMNS.index(name)])

    spread = {
        target: tuple(
            np.array([column(f"{name}_{target}")]) for name in ("mean", "sd", "half_width")
        )
        for target in TARGETS
    }
    return TrackMood(
        {t: column(f"mean_{t}") for t in TARGETS},
        {t: interval(column(f"mean_{t}"), column(f"half_width_{t}")) for t in TARGETS},
        fitting_word(spread, least),
        model,
        bool(column("silent")),
    )

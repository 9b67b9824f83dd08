"""What a generator is asked for: a course of valence and arousal, a length and a seed."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from numbers import Integral, Real
from typing import Self

import numpy as np

from msr_utils.generation.limits import (
    MAX_CURVE_POINTS,
    MAX_SECONDS,
    MAX_SEED,
    TEMPERATURE_RANGE,
)


class GenerationError(ValueError):
    """A request that cannot be met.

    Parameters
    ----------
    message : str
        Begins with the name of the field.
    field : str
    """

    def __init__(self, message: str, field: str = "") -> None:
        super().__init__(message)
        self.field = field


@dataclass(frozen=True, eq=False)
class EmotionCurve:
    """Wanted course of emotion: linear between points, constant before and after them.

    Parameters
    ----------
    times_s : sequence of float [length P]
        From 0 on, rising. One point stands for a constant emotion.
    valence, arousal : sequence of float [length P]
        In [-1, 1].

    Raises
    ------
    GenerationError
        If a value is missing, not finite or out of range, or times do not rise.
    """

    times_s: Sequence[float] | np.ndarray
    valence: Sequence[float] | np.ndarray
    arousal: Sequence[float] | np.ndarray

    def __post_init__(self) -> None:
        for name in ("times_s", "valence", "arousal"):
            object.__setattr__(self, name, _numbers(getattr(self, name), name))
        count = len(self.times_s)
        for name in ("valence", "arousal"):
            values = getattr(self, name)
            if len(values) != count:
                raise GenerationError(
                    f"{name}: has {len(values)} values for {count} times; give one for each", name
                )
            if np.abs(values).max() > 1:
                raise GenerationError(f"{name}: must lie in [-1, 1]", name)
        if self.times_s[0] < 0 or (np.diff(self.times_s) <= 0).any():
            raise GenerationError("times_s: must rise from 0 or later", "times_s")

    @classmethod
    def constant(cls, valence: float, arousal: float) -> Self:
        """One emotion throughout."""
        return cls((0.0,), (valence,), (arousal,))

    def at(self, time_s: float) -> tuple[float, float]:
        """Valence and arousal that are wanted at a time."""
        return (
            float(np.interp(time_s, self.times_s, self.valence)),
            float(np.interp(time_s, self.times_s, self.arousal)),
        )


@dataclass(frozen=True)
class MusicRequest:
    """A piece that is wanted.

    Parameters
    ----------
    curve : EmotionCurve
    seconds : float
        Length, above 0 and up to `msr_utils.generation.limits.MAX_SECONDS`.
    seed : int
        From 0 on. The same seed gives the same notes.
    temperature : float
        In `msr_utils.generation.limits.TEMPERATURE_RANGE`. Below 1, probable notes are chosen more
        often.

    Raises
    ------
    GenerationError
        If a value is out of range.
    """

    curve: EmotionCurve
    seconds: float
    seed: int
    temperature: float = 1.0

    def __post_init__(self) -> None:
        if not _is_number(self.seconds) or not 0 < self.seconds <= MAX_SECONDS:
            raise GenerationError(
                f"seconds: must be above 0 and at most {MAX_SECONDS:g}, not {self.seconds!r}",
                "seconds",
            )
        if (
            not isinstance(self.seed, Integral)
            or isinstance(self.seed, bool)
            or not 0 <= self.seed <= MAX_SEED
        ):
            raise GenerationError(
                f"seed: must be a whole number from 0 to {MAX_SEED}, not {self.seed!r}", "seed"
            )
        low, high = TEMPERATURE_RANGE
        if not _is_number(self.temperature) or not low <= self.temperature <= high:
            raise GenerationError(
                f"temperature: must lie in [{low:g}, {high:g}], not {self.temperature!r}",
                "temperature",
            )


def _is_number(value: object) -> bool:
    return isinstance(value, Real) and not isinstance(value, bool) and math.isfinite(value)


def _numbers(values: object, name: str) -> np.ndarray:
    """Values as a read-only array (P,) of finite numbers."""
    try:
        array = np.array(values, np.float64)
    except (TypeError, ValueError) as error:
        raise GenerationError(f"{name}: must be a list of numbers", name) from error
    if array.ndim != 1 or not len(array):
        raise GenerationError(f"{name}: must be a list of at least one number", name)
    if len(array) > MAX_CURVE_POINTS:
        raise GenerationError(
            f"{name}: has {len(array)} values; at most {MAX_CURVE_POINTS} are allowed", name
        )
    if not np.isfinite(array).all():
        raise GenerationError(f"{name}: must be finite", name)
    array.flags.writeable = False
    return array

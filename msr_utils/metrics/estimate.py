"""A measured value with its interval, a mean with its spread, and how both are written."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self

import numpy as np

LEVEL = 0.95
"""Coverage of every interval in the study, unless a function says otherwise."""

QUANTILES = (0.025, 0.975)
"""Ends of an interval of that coverage. (1 - LEVEL) / 2 is not exactly 0.025 in floating point."""

MISSING = "–"
"""What stands in a table where there is no value."""


@dataclass(frozen=True)
class Estimate:
    """A value and its interval.

    Parameters
    ----------
    value : float
        NaN where it is not defined.
    low, high : float
        Ends of the interval; NaN where none was computed.

    Examples
    --------
    >>> f"{Estimate(0.5, 0.25, 0.75)}"
    '0.500 [0.250, 0.750]'
    >>> f"{Estimate(0.5):+.2f}"
    '+0.50'
    """

    value: float
    low: float = math.nan
    high: float = math.nan

    @classmethod
    def from_samples(cls, value: float | np.ndarray, samples: np.ndarray | None) -> Self:
        """The percentile interval of bootstrap samples, [shape=(n,)]; NaNs among them are left out.

        Notes
        -----
        Efron (1979), "Bootstrap methods: another look at the jackknife", Annals of Statistics 7(1).
        """
        samples = np.zeros(0) if samples is None else samples[np.isfinite(samples)]
        if not len(samples):
            return cls(float(value))
        low, high = np.quantile(samples, QUANTILES)
        return cls(float(value), float(low), float(high))

    @classmethod
    def of_draws(cls, draws: np.ndarray) -> Self:
        """As `from_samples`, of the value and then its samples, [shape=(1 + n,)].

        So `msr_utils.metrics.bootstrap.draw_counts` orders them.
        """
        return cls.from_samples(draws[0], draws[1:])

    @classmethod
    def from_json(cls, stored: Mapping[str, Any]) -> Self:
        """Read what `msr_utils.io.write_json` wrote, where null stands for NaN."""
        return cls(*(_number(stored.get(key)) for key in ("value", "low", "high")))

    def scaled(self, factor: float) -> Estimate:
        """In another unit, such as per cent (`factor` 100)."""
        return Estimate(factor * self.value, factor * self.low, factor * self.high)

    def interval(self, spec: str = ".3f") -> str:
        """``low to high``, as a text of its own; "–" where there is no interval."""
        if not math.isfinite(self.low):
            return MISSING
        return f"{self.low:{spec}} to {self.high:{spec}}"

    def in_prose(self, spec: str = ".3f") -> str:
        """``value (low to high)``, as sentences have it."""
        if not (math.isfinite(self.value) and math.isfinite(self.low)):
            return format(self, spec)
        return f"{self.value:{spec}} ({self.interval(spec)})"

    def __format__(self, spec: str) -> str:
        """``value [low, high]``, each in the format of a number; "–" where there is no value."""
        if not math.isfinite(self.value):
            return MISSING
        spec = spec or ".3f"
        if not math.isfinite(self.low):
            return format(self.value, spec)
        return f"{self.value:{spec}} [{self.low:{spec}}, {self.high:{spec}}]"

    def __str__(self) -> str:
        return format(self, "")


@dataclass(frozen=True)
class Spread:
    """Mean and standard deviation over songs, networks or seeds.

    Parameters
    ----------
    mean : float
        NaN where no value is defined.
    sd : float
        Sample standard deviation (n - 1); NaN with fewer than two values.
    n : int
        Values that are defined.

    Examples
    --------
    >>> f"{Spread(0.5, 0.25, 3)}"
    '0.50 ± 0.25'
    """

    mean: float
    sd: float
    n: int

    @classmethod
    def of(cls, values: Sequence[float] | np.ndarray) -> Self:
        """Mean and spread of the finite ones among some values, [shape=(n,)]."""
        defined = np.asarray(values, np.float64)
        defined = defined[np.isfinite(defined)]
        return cls(
            float(defined.mean()) if len(defined) else math.nan,
            float(defined.std(ddof=1)) if len(defined) > 1 else math.nan,
            len(defined),
        )

    @classmethod
    def from_json(cls, stored: Mapping[str, Any]) -> Self:
        """Read what `msr_utils.io.write_json` wrote, where null stands for NaN."""
        return cls(_number(stored["mean"]), _number(stored["sd"]), int(stored["n"]))

    def __format__(self, spec: str) -> str:
        """``mean ± sd``, each in the format of a number; "–" where there is no value."""
        if not self.n:
            return MISSING
        spec = spec or ".2f"
        if self.n < 2:
            return format(self.mean, spec)
        return f"{self.mean:{spec}} ± {self.sd:{spec}}"

    def __str__(self) -> str:
        return format(self, "")


def _number(value: float | None) -> float:
    return math.nan if value is None else float(value)

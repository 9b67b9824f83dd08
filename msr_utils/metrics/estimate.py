"""A measured value with its interval, and the one way in which both are written."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

LEVEL = 0.95
"""Coverage of every interval in the study, unless a function says otherwise."""

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
    def from_samples(cls, value: float, samples: np.ndarray | None) -> Estimate:
        """The percentile interval of bootstrap samples, [shape=(n,)]; NaNs among them are left out.

        Notes
        -----
        Efron (1979), "Bootstrap methods: another look at the jackknife", Annals of Statistics 7(1).
        """
        samples = np.zeros(0) if samples is None else samples[np.isfinite(samples)]
        if not len(samples):
            return cls(float(value))
        low, high = np.quantile(samples, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
        return cls(float(value), float(low), float(high))

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

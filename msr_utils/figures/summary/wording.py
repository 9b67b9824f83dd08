"""How values are worded in the closing sentences of chapters."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from msr_utils.metrics.estimate import Estimate

Metrics = Mapping[str, Any]
"""Content of a ``metrics.json``."""

NO_VALUE = "no value"


def estimate(stored: Mapping[str, float] | None, spec: str = ".2f") -> str:
    """A value with its interval from JSON, where null stands for NaN."""
    if not stored or stored.get("value") is None:
        return NO_VALUE
    return format(Estimate.from_json(stored), spec)


def excludes_zero(stored: Mapping[str, float | None]) -> bool:
    """True if an interval lies on one side of zero."""
    low, high = stored.get("low"), stored.get("high")
    return low is not None and high is not None and (low > 0 or high < 0)


def join_words(words: Sequence[str]) -> str:
    """Such as "a, b and c"."""
    return words[0] if len(words) == 1 else f"{', '.join(words[:-1])} and {words[-1]}"

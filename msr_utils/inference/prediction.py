"""A predicted curve with its intervals."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from msr_utils.affect import quadrant
from msr_utils.constants import FRAME_SECONDS, SCALE, TARGETS

DECIMALS = 6
"""Of the values in CSV and in the service's answers: live ones equal a file's to 1e-5."""


@dataclass(frozen=True)
class Prediction:
    """A curve of valence and arousal.

    Parameters
    ----------
    model : str
        Name of the bundle.
    times_s : np.ndarray [shape=(T,)]
        Ends of the 500 ms windows that the values describe.
    valence, arousal : np.ndarray [shape=(T,), dtype=float32]
        In [-1, 1].
    warnings : tuple of str
        What was wrong with the audio, though it could be decoded.
    margins : mapping of str to float
        Half-width of each target's interval, from the bundle's card; empty where it has none.
    """

    model: str
    times_s: np.ndarray
    valence: np.ndarray
    arousal: np.ndarray
    warnings: tuple[str, ...] = ()
    margins: Mapping[str, float] = field(default_factory=dict)

    @property
    def mean(self) -> dict[str, float]:
        """Mean valence and arousal of the track."""
        return {target: float(getattr(self, target).mean()) for target in TARGETS}

    @property
    def quadrant(self) -> tuple[str, str]:
        """Quadrant of the means in the valence-arousal plane, and words for it."""
        found = quadrant(self.mean["valence"], self.mean["arousal"])
        return found.name, found.words

    def columns(self, targets: Sequence[str] = TARGETS) -> dict[str, np.ndarray]:
        """The curves of these targets by name, then ``<target>_low`` and ``<target>_high``."""
        curves = {target: getattr(self, target) for target in targets}
        return curves | bounds(curves, self.margins)

    def smoothed(self, seconds: float, causal: bool = False) -> Prediction:
        """The same curve through a `Smoother`."""
        values = Smoother(seconds, causal).push(np.stack([self.valence, self.arousal], 1), True)
        return replace(self, valence=values[:, 0], arousal=values[:, 1])

    def _repr_html_(self) -> str:
        """The curve as a picture, for notebooks; without matplotlib the line below it alone."""
        from msr_utils.inference.figure import to_html

        return to_html(self)

    def to_csv(self, targets: Sequence[str] = TARGETS) -> str:
        """The curves of these targets as CSV with a header line."""
        columns = self.columns(targets)
        rows = zip(self.times_s, *map(rounded, columns.values()), strict=True)
        lines = [
            ",".join([f"{t:.1f}", *(f"{value:.{DECIMALS}f}" for value in values)])
            for t, *values in rows
        ]
        return "\n".join([",".join(["time_s", *columns]), *lines]) + "\n"


def rounded(values: np.ndarray | float) -> list[float] | float:
    """Round to `DECIMALS`, as plain numbers; adding 0 turns -0.0 into 0.0."""
    return (np.round(np.asarray(values, np.float64), DECIMALS) + 0.0).tolist()


def bounds(curves: Mapping[str, np.ndarray], margins: Mapping[str, float]) -> dict[str, np.ndarray]:
    """Ends of the intervals around curves, ``<target>_low`` and ``<target>_high``, in `SCALE`."""
    return {
        f"{target}_{end}": np.clip(np.asarray(curves[target]) + sign * margins[target], *SCALE)
        for target in curves
        if target in margins
        for end, sign in (("low", -1), ("high", 1))
    }


class Smoother:
    """Moving average of a curve as it arrives.

    A value is replaced by the mean of those within half of `seconds` before and after it, or,
    if causal, of the last `seconds` that end with it. At the ends of the curve there are fewer.

    Parameters
    ----------
    seconds : float >= 0
        0 leaves the curve as it is.
    causal : bool
        False delays the curve by half of `seconds`.
    """

    def __init__(self, seconds: float, causal: bool = False) -> None:
        half = int(seconds / 2 / FRAME_SECONDS)
        self._before = max(int(seconds / FRAME_SECONDS) - 1, 0) if causal else half
        self._after = 0 if causal else half
        self._rows = np.zeros((0, len(TARGETS)), np.float32)
        self._first = self._next = 0

    def push(self, values: np.ndarray, last: bool = False) -> np.ndarray:
        """Take the next values, (frames, 2); give those whose average is complete.

        With ``last=True`` the curve ends here.
        """
        self._rows = np.concatenate([self._rows, values])
        end = self._first + len(self._rows)
        ready = range(self._next, end if last else max(end - self._after, self._next))
        done = [
            self._rows[
                max(i - self._before - self._first, 0) : i + self._after + 1 - self._first
            ].mean(axis=0)
            for i in ready
        ]
        self._next = ready.stop
        drop = max(self._next - self._before - self._first, 0)
        self._rows, self._first = self._rows[drop:], self._first + drop
        return np.array(done, np.float32).reshape(len(done), len(TARGETS))

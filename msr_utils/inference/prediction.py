"""Predicted curves with their intervals."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, NotRequired, TypedDict, overload

import numpy as np

from msr_utils.affect import quadrant
from msr_utils.constants import FRAME_SECONDS, SCALE, TARGETS
from msr_utils.inference.card import ModelCard
from msr_utils.inference.content import Content

DECIMALS = 6
"""Decimals of values in CSV files and in the service's answers. Values of a live stream equal
those of a file to 1e-5."""


class QuadrantJson(TypedDict):
    """Quadrant of the means."""

    name: str
    words: str


class SummaryJson(TypedDict):
    """What JSON says about a whole track, without its curves."""

    model: str
    model_version: str
    duration_s: float
    frame_seconds: float
    mean: dict[str, float]
    quadrant: NotRequired[QuadrantJson]
    content: NotRequired[dict[str, float]]
    warnings: list[str]


@dataclass(frozen=True)
class Prediction:
    """Curves of valence and arousal.

    Parameters
    ----------
    model : str
        Name of the bundle.
    times_s : np.ndarray [shape=(T,)]
        Ends of the 500 ms windows that the values describe.
    valence, arousal : np.ndarray [shape=(T,), dtype=float32]
        In [-1, 1].
    warnings : tuple of str
        Defects of audio that could be decoded, such as a missing end, and a warning if it does
        not sound like music.
    margins : mapping of str to float
        Half-width of each target's interval, from the bundle's card; empty if it gives none.
    version : str
        Start of the SHA-256 of the bundle's network. Empty if it is not known.
    silent : bool
        True if there was nothing to hear. The values then tell nothing about music, and JSON has
        no quadrant.
    content : Content, optional
        Whether it is music, singing, speech, noise or silence. None without the weights of YAMNet.
    """

    model: str
    times_s: np.ndarray
    valence: np.ndarray
    arousal: np.ndarray
    warnings: tuple[str, ...] = ()
    margins: Mapping[str, float] = field(default_factory=dict)
    version: str = ""
    silent: bool = False
    content: Content | None = None

    @classmethod
    def of_values(
        cls,
        values: np.ndarray,
        card: ModelCard,
        warnings: tuple[str, ...] = (),
        silent: bool = False,
        content: Content | None = None,
    ) -> Prediction:
        """Make a prediction of the values of a model.

        Parameters
        ----------
        values : np.ndarray [shape=(T, 2), dtype=float32]
            (valence, arousal) of consecutive frames.
        card : ModelCard
        warnings : tuple of str
        silent : bool
        content : Content, optional
        """
        times_s = np.arange(1, len(values) + 1) * FRAME_SECONDS
        return cls(
            card.name, times_s, values[:, 0], values[:, 1], warnings, card.margins, card.version,
            silent, content,
        )  # fmt: skip

    @property
    def model_id(self) -> str:
        """The model and its version: ``name@version``."""
        return f"{self.model}@{self.version}" if self.version else self.model

    @property
    def duration_s(self) -> float:
        """Seconds that the curves cover."""
        return len(self.times_s) * FRAME_SECONDS

    @property
    def mean(self) -> dict[str, float]:
        """Mean valence and arousal of the track."""
        return {target: float(getattr(self, target).mean()) for target in TARGETS}

    @property
    def quadrant(self) -> tuple[str, str]:
        """Name and words of the quadrant of the mean valence and arousal."""
        found = quadrant(self.mean["valence"], self.mean["arousal"])
        return found.name, found.words

    @property
    def is_music(self) -> bool:
        """False for silence, and for what YAMNet calls no music."""
        return not self.silent and (self.content is None or self.content.is_music)

    @property
    def feeling(self) -> str:
        """The quadrant and its words; of a recording that is silent or no music, what it is."""
        if self.silent:
            return "nothing to hear"
        if self.content is not None and not self.is_music:
            return f"sounds like {self.content.kind}, not like music"
        name, words = self.quadrant
        return f"{name} ({words})"

    @property
    def summary(self) -> str:
        """One line: model, length, means and quadrant."""
        means = ", ".join(f"mean {target} {self.mean[target]:+.2f}" for target in TARGETS)
        return f"{self.model}: {self.times_s[-1]:g} s, {means}, {self.feeling}"

    def curves(self, targets: Sequence[str] = TARGETS) -> dict[str, np.ndarray]:
        """Curves of these targets by name, (T,) each."""
        return {target: getattr(self, target) for target in targets}

    def columns(self, targets: Sequence[str] = TARGETS) -> dict[str, np.ndarray]:
        """Curves of these targets by name, then ``<target>_low`` and ``<target>_high``."""
        curves = self.curves(targets)
        return curves | bounds(curves, self.margins)

    def smoothed(self, seconds: float, causal: bool = False) -> Prediction:
        """Smooth the curves with a `Smoother`."""
        values = Smoother(seconds, causal).push(np.stack([self.valence, self.arousal], 1), True)
        return replace(self, valence=values[:, 0], arousal=values[:, 1])

    def _repr_html_(self) -> str:
        """Figure with a summary for notebooks; the summary alone without matplotlib."""
        from msr_utils.inference.figure import to_html

        return to_html(self.times_s, self.curves(), self.summary, self.warnings)

    def to_csv(self, targets: Sequence[str] = TARGETS) -> str:
        """Curves and intervals of these targets as CSV with a header line.

        The last column, ``model``, holds `model_id` in each row. Programs that read CSV then
        need not know about comments.
        """
        columns = self.columns(targets)
        rows = zip(*(rounded(values) for values in columns.values()), strict=True)
        lines = [
            ",".join([f"{t:.1f}", *(f"{value:.{DECIMALS}f}" for value in values), self.model_id])
            for t, values in zip(self.times_s, rows, strict=True)
        ]
        return "\n".join([",".join(["time_s", *columns, "model"]), *lines]) + "\n"

    def summary_json(self, targets: Sequence[str] = TARGETS) -> SummaryJson:
        """What JSON says about the track. For one target, or for silence, it has no quadrant."""
        document = SummaryJson(
            model=self.model,
            model_version=self.version,
            duration_s=self.duration_s,
            frame_seconds=FRAME_SECONDS,
            mean={target: rounded(self.mean[target]) for target in targets},
            warnings=list(self.warnings),
        )
        if set(targets) == set(TARGETS) and not self.silent:
            name, words = self.quadrant
            document["quadrant"] = QuadrantJson(name=name, words=words)
        if self.content is not None:
            document["content"] = self.content.to_json()
        return document

    def curves_json(self, targets: Sequence[str] = TARGETS) -> dict[str, list[float]]:
        """Times, curves and intervals of these targets by name."""
        columns = {name: rounded(values) for name, values in self.columns(targets).items()}
        return {"times_s": self.times_s.tolist(), **columns}

    def to_json(self) -> dict[str, Any]:
        """Summary and curves in one object, as ``msr predict --json`` prints them."""
        return {**self.summary_json(), **self.curves_json()}


@overload
def rounded(values: np.ndarray) -> list[float]: ...


@overload
def rounded(values: float) -> float: ...


def rounded(values: np.ndarray | float) -> list[float] | float:
    """Round to `DECIMALS`, as plain numbers.

    Parameters
    ----------
    values : np.ndarray [shape=(n,)] or float

    Returns
    -------
    list of float, or float
    """
    # Adding 0 turns -0.0 into 0.0.
    result: list[float] | float
    result = (np.round(np.asarray(values, np.float64), DECIMALS) + 0.0).tolist()
    return result


def bounds(curves: Mapping[str, np.ndarray], margins: Mapping[str, float]) -> dict[str, np.ndarray]:
    """Ends of the intervals around curves.

    Parameters
    ----------
    curves : mapping of str to np.ndarray [shape=(T,)]
        Curves by target.
    margins : mapping of str to float
        Half-width of the interval by target. Targets without one are left out.

    Returns
    -------
    dict of str to np.ndarray [shape=(T,)]
        ``<target>_low`` and ``<target>_high``, clipped to `SCALE`.
    """
    return {
        f"{target}_{end}": np.clip(np.asarray(curves[target]) + sign * margins[target], *SCALE)
        for target in curves
        if target in margins
        for end, sign in (("low", -1), ("high", 1))
    }


class Smoother:
    """Moving average of curves as they arrive.

    A value becomes the mean of the values within half of `seconds` before and after it. If causal,
    it becomes the mean of the last `seconds`, itself included. At the ends of the curves fewer
    values are averaged.

    Parameters
    ----------
    seconds : float >= 0
        Length of the average in s. 0 leaves the curves unchanged.
    causal : bool
        Use no later values. If False, the result is delayed by half of `seconds`.
    """

    def __init__(self, seconds: float, causal: bool = False) -> None:
        half = int(seconds / 2 / FRAME_SECONDS)
        self._before = max(int(seconds / FRAME_SECONDS) - 1, 0) if causal else half
        self._after = 0 if causal else half
        self._rows = np.zeros((0, len(TARGETS)), np.float32)
        self._first = self._next = 0  # frame numbers of the first row kept, of the next result

    def push(self, values: np.ndarray, last: bool = False) -> np.ndarray:
        """Take the next values and give those whose average is complete.

        Parameters
        ----------
        values : np.ndarray [shape=(frames, 2), dtype=float32]
        last : bool
            True if the curves end here: all remaining values are given.

        Returns
        -------
        np.ndarray [shape=(n, 2), dtype=float32]
        """
        self._rows = np.concatenate([self._rows, values])
        end = self._first + len(self._rows)
        ready = range(self._next, end if last else max(end - self._after, self._next))
        means = [
            self._rows[
                max(i - self._before - self._first, 0) : i + self._after + 1 - self._first
            ].mean(axis=0)
            for i in ready
        ]
        self._next = ready.stop
        drop = max(self._next - self._before - self._first, 0)
        self._rows, self._first = self._rows[drop:], self._first + drop
        return np.array(means, np.float32).reshape(len(means), len(TARGETS))

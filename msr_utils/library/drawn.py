"""Arcs that somebody draws: places of the plane at some times, straight between them.

Times have any unit: an arc is stretched to the length of the scene or of the playlist.
"""

from __future__ import annotations

import csv
import io
import math
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from msr_utils.constants import SCALE
from msr_utils.io import printable
from msr_utils.library.shards import LibraryError, UsageError
from msr_utils.library.text_files import read_text
from msr_utils.library.words import place as place_of_word

COLUMNS = ("time", "valence", "arousal")
"""Columns of a file with an arc."""

Point = tuple[float, float, float]
"""Time, valence, arousal."""


@dataclass(frozen=True)
class DrawnArc:
    """An arc through points.

    Parameters
    ----------
    points : tuple of (float, float, float)
        Time, valence and arousal, at rising times; two or more.

    Raises
    ------
    LibraryError
        If times are not finite or do not rise, or a value lies outside of [-1, 1].
    """

    points: tuple[Point, ...]

    def __post_init__(self) -> None:
        values = np.array(self.points, np.float64).reshape(-1, 3)
        times = [float(time) for time in values[:, 0]]
        if not all(map(math.isfinite, times)) or times and math.isinf(times[-1] - times[0]):
            raise UsageError("library: the times of an arc must be finite numbers")
        if len(times) < 2 or not (np.diff(times) > 0).all():
            raise UsageError("library: an arc needs two points or more, at rising times")
        if not (np.abs(values[:, 1:]) <= SCALE[1]).all():
            raise UsageError("library: valence and arousal of an arc lie in [-1, 1]")

    @property
    def start(self) -> tuple[float, float]:
        """Where it begins: valence, arousal."""
        return self.points[0][1:]

    @property
    def end(self) -> tuple[float, float]:
        """Where it ends."""
        return self.points[-1][1:]

    def stretched(self, seconds: float) -> list[Point]:
        """The points with times from 0 to a length in seconds."""
        first, last = self.points[0][0], self.points[-1][0]
        return [((t - first) / (last - first) * seconds, v, a) for t, v, a in self.points]

    @property
    def place_at(self) -> Callable[[np.ndarray], np.ndarray]:
        """The place by the share of the time that has passed; see `playlists.wanted_path`."""
        times, *columns = np.array(self.stretched(1.0)).T

        def place(share: np.ndarray) -> np.ndarray:
            return np.stack([np.interp(share, times, column) for column in columns], axis=-1)

        return place


def mood_place(text: str) -> tuple[float, float]:
    """Valence and arousal of a word, or of two numbers separated by a space or a comma.

    Raises
    ------
    LibraryError
        If the word is unknown or a number lies outside of [-1, 1].
    """
    number = r"([+-]?(?:\d+\.?\d*|\.\d+))"
    point = re.fullmatch(rf"\s*{number}\s*[,\s]\s*{number}\s*", text)
    if point is None:
        return place_of_word(text)
    valence, arousal = float(point[1]), float(point[2])
    if not all(SCALE[0] <= value <= SCALE[1] for value in (valence, arousal)):
        raise UsageError(f"library: {text.strip()!r}: valence and arousal lie in [-1, 1]")
    return valence, arousal


def is_arc(text: str) -> bool:
    """Whether a text looks like the points of an arc, not like one place."""
    return re.match(r"\s*\d+\.?\d*\s*:", text) is not None


def arc_of_text(text: str) -> DrawnArc:
    """An arc from ``time:place time:place ...``.

    A place is a word, or valence and arousal separated by a comma.

    Raises
    ------
    LibraryError

    Examples
    --------
    >>> arc_of_text("0:-0.4,-0.2 3:0.1,0.3 4:calm").end
    (0.36, -0.35)
    """
    points = []
    for part in text.split():
        time, colon, place = part.partition(":")
        try:
            seconds = float(time)
        except ValueError:
            colon = ""
        if not colon:
            raise UsageError(
                f"library: {part!r} is no point of an arc; write time:valence,arousal or time:word"
            )
        points.append((seconds, *mood_place(place)))
    return DrawnArc(tuple(points))


def read_arc(file: Path) -> DrawnArc:
    """An arc from a CSV file with the columns time (or time_s), valence and arousal.

    Raises
    ------
    LibraryError
        If the file cannot be read, a column is missing, or a value is wrong.
    """
    name = printable(file.name)
    expected = f"a CSV file with the columns {', '.join(COLUMNS)}"
    text = read_text(file, "an arc", expected)
    try:
        rows = list(csv.DictReader(io.StringIO(text, newline=""), skipinitialspace=True))
    except csv.Error as error:
        raise LibraryError(
            f"library: {name} is not {expected} ({error}); save it as CSV again"
        ) from error
    points: list[Point] = []
    for n, row in enumerate(rows, 2):
        cleaned = {(key or "").strip().lower(): value for key, value in row.items()}
        cleaned.setdefault("time", cleaned.get("time_s"))  # as predictions have it
        points.append(_point(cleaned, f"{name}, line {n}"))
    try:
        return DrawnArc(tuple(points))
    except LibraryError as error:
        raise LibraryError(f"library: {name}: {str(error).removeprefix('library: ')}") from error


def _point(row: dict[str, str | None], where: str) -> Point:
    values: list[float] = []
    for column in COLUMNS:
        try:
            values.append(float(row.get(column) or ""))
            if not math.isfinite(values[-1]):
                raise ValueError
        except ValueError:
            raise LibraryError(
                f"library: {where}: {column} is {row.get(column)!r}; an arc has the columns "
                f"{', '.join(COLUMNS)}, all finite numbers"
            ) from None
    return values[0], values[1], values[2]


def even_arc(places: Sequence[tuple[float, float]]) -> DrawnArc:
    """An arc through places at equal distances in time."""
    return DrawnArc(tuple((float(n), *place) for n, place in enumerate(places)))

"""Find the excerpts whose curve follows an arc, in all tracks at every half second.

The distance of an excerpt is the root of its mean squared difference from the arc, over the frames
and the targets that the arc asks for. The search is exact. Sums of squares over whole segments of
10 s are at least what the segments' means say (the mean of squares is at least the square of the
mean), so most tracks are left out before their curves are read:

1. For every segment, at least this far from the arc, wherever in it the excerpt begins.
2. For what is left, the same for each of the 20 frames of a segment where it may begin.
3. For the excerpts that are left, the distance itself.

An arc shorter than `SHORTEST_BOUNDED` frames need not hold a whole segment. Then all curves are
read, and the means of the two halves of each excerpt give the bound.

References
----------
Keogh, E., Chakrabarti, K., Pazzani, M. and Mehrotra, S. (2001). Dimensionality reduction for fast
similarity search in large time series databases. *Knowledge and Information Systems*, 3, 263-286.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from msr_utils.constants import FRAME_RATE_HZ, SCALE
from msr_utils.library.library import View
from msr_utils.library.limits import MAX_SCENE_SECONDS
from msr_utils.library.numbers import LEVELS, SEGMENT_FRAMES, from_bytes
from msr_utils.library.shards import Shard, UsageError

SHORTEST_BOUNDED = 2 * SEGMENT_FRAMES - 1
"""An excerpt of so many frames, 19.5 s, holds a whole segment wherever it begins."""

READ_FIRST = 64
"""Tracks that are read first. They tell how near the best ones are."""

BOUNDED_AT_ONCE = 512
"""Tracks whose second bound, or whose bound by halves, is computed at a time."""

COMPARED_AT_ONCE = 1024
"""Excerpts that are compared at a time."""

ROUNDING = 1 / LEVELS
"""How far the stored mean of a segment may lie from the true one: half a step."""

LEVEL_VALUES = from_bytes(np.arange(LEVELS + 1))
"""Value of each byte."""


@dataclass(frozen=True, eq=False)
class Arc:
    """A wanted curve.

    Parameters
    ----------
    values : np.ndarray [shape=(L, 2)]
        (valence, arousal) of each half second. A column of NaN may have any value.
    label : str
    """

    values: np.ndarray
    label: str = ""

    @property
    def targets(self) -> list[int]:
        """Columns that count."""
        return [k for k in (0, 1) if not np.isnan(self.values[:, k]).any()]

    def __len__(self) -> int:
        return len(self.values)


@dataclass(frozen=True)
class Excerpt:
    """The best excerpt of a track.

    Parameters
    ----------
    row : int
        Of the view.
    start : int
        First frame. Frame 0 describes the first half second.
    distance : float
        Root of the mean squared difference from the arc.
    """

    row: int
    start: int
    distance: float


def arc_through(points: Sequence[tuple[float, float | None, float | None]], label: str = "") -> Arc:
    """An arc through points, straight between them.

    Parameters
    ----------
    points : sequence of (seconds, valence or None, arousal or None)
        At least two, in the order of time. None in all of them: that target may have any value.

    Raises
    ------
    LibraryError
        If times are not finite or do not rise, a value lies outside of [-1, 1] or is missing in
        some points only, or the arc has no whole frame or is longer than `MAX_SCENE_SECONDS`.
    """
    times = np.array([point[0] for point in points], np.float64)
    if not np.isfinite(times).all():
        raise UsageError("library: the times of an arc must be finite numbers")
    if len(points) < 2 or not (np.diff(times) > 0).all():
        raise UsageError("library: an arc needs two points or more, at rising times")
    if times[-1] - times[0] > MAX_SCENE_SECONDS:
        raise UsageError(f"library: an arc may last at most {MAX_SCENE_SECONDS} s")
    length = int(round((times[-1] - times[0]) * FRAME_RATE_HZ))
    if length < 1:
        raise UsageError("library: an arc must be at least half a second long")
    # A frame describes the half second before its end: its middle is compared.
    at = times[0] + (np.arange(length) + 0.5) / FRAME_RATE_HZ
    columns = []
    for k, name in ((1, "valence"), (2, "arousal")):
        values = [point[k] for point in points]
        given = [value for value in values if value is not None]
        if not given:
            columns.append(np.full(length, np.nan))
            continue
        if len(given) < len(values):
            raise UsageError(f"library: {name} must be given in all points of an arc, or in none")
        if not all(SCALE[0] <= value <= SCALE[1] for value in given):
            raise UsageError(f"library: {name} of an arc must lie in [-1, 1]")
        columns.append(np.interp(at, times, given))
    arc = Arc(np.stack(columns, axis=1), label)
    if not arc.targets:
        raise UsageError("library: an arc must ask for valence or for arousal")
    return arc


def find_excerpts(
    view: View, arc: Arc, mask: np.ndarray | None = None, count: int = 20
) -> list[Excerpt]:
    """The best excerpt of each of the tracks that follow an arc best.

    Parameters
    ----------
    view : View
    arc : Arc
    mask : np.ndarray [shape=(rows,), dtype=bool], optional
        Tracks to look at; all that are visible by default.
    count : int > 0

    Returns
    -------
    list of Excerpt
        The best first, one for each track. Tracks that are shorter than the arc have none.
    """
    mask = view.visible if mask is None else mask
    frames = np.concatenate([np.diff(shard.offsets[0]) for shard in view.shards] or [np.zeros(0)])
    rows = np.flatnonzero(mask & (frames >= len(arc)))
    best = _Best(count, len(arc) * len(arc.targets))
    if len(arc) < SHORTEST_BOUNDED:
        for start in range(0, len(rows), BOUNDED_AT_ONCE):
            _compare_by_halves(view, arc, rows[start : start + BOUNDED_AT_ONCE], best)
        return best.excerpts
    bounds = _all_bounds(view, arc)[rows]
    order = np.argsort(bounds, kind="stable")
    rows, bounds = rows[order], bounds[order]
    first = max(READ_FIRST, count)
    best.add(_read(view, arc, rows[:first]))
    for start in range(first, len(rows), BOUNDED_AT_ONCE):
        part = slice(start, start + BOUNDED_AT_ONCE)
        if bounds[start] > best.worst:
            break
        left = rows[part][bounds[part] <= best.worst]
        _compare_by_segments(view, arc, left, frames[left], best)
    return best.excerpts


def _by_distance(excerpt: Excerpt) -> tuple[float, int, int]:
    return excerpt.distance, excerpt.row, excerpt.start


class _Best:
    """The best excerpts so far.

    Parameters
    ----------
    count : int
        How many are kept.
    values : int
        Values that a sum of squares is made of.
    """

    def __init__(self, count: int, values: int) -> None:
        self.count, self._values = count, values
        self.excerpts: list[Excerpt] = []
        self.distance = np.inf  # what an excerpt must not exceed
        self.worst = np.inf  # the same as a sum of squares

    def add(self, excerpts: list[Excerpt]) -> None:
        """Take more excerpts."""
        by_row = {one.row: one for one in sorted(excerpts, key=_by_distance, reverse=True)}
        for one in self.excerpts:
            if one.row not in by_row or _by_distance(one) <= _by_distance(by_row[one.row]):
                by_row[one.row] = one
        self.excerpts = sorted(by_row.values(), key=_by_distance)[: self.count]
        if len(self.excerpts) == self.count:
            # Bounds are rounded: leave room for it.
            self.distance = self.excerpts[-1].distance
            self.worst = self.distance**2 * self._values * (1 + 1e-5) + 1e-6


# ------------------------------------------------------------------------------ bounds


def _inner_segments(arc: Arc, phase: int) -> np.ndarray:
    """Means of the arc over the whole segments inside it, (n, 2).

    Parameters
    ----------
    phase : int
        Frames of a segment before the excerpt begins. With 0, its first segment is whole.
    """
    first = -phase % SEGMENT_FRAMES
    whole = (len(arc) - first) // SEGMENT_FRAMES
    inside = arc.values[first : first + whole * SEGMENT_FRAMES]
    result: np.ndarray = inside.reshape(whole, SEGMENT_FRAMES, 2).mean(axis=1)
    return result


def _phase_means(arc: Arc) -> np.ndarray:
    """Means of the arc over the whole segments that it holds wherever it begins: (20, n, 2)."""
    phases = [_inner_segments(arc, phase) for phase in range(SEGMENT_FRAMES)]
    whole = min(map(len, phases))
    return np.stack([inner[:whole] for inner in phases])


def _levels(low: float, high: float) -> tuple[int, int]:
    """Lowest and highest byte of a stored mean that may lie between two values."""
    ends = (np.array([low - ROUNDING, high + ROUNDING]) + 1) * (LEVELS / 2)
    lowest, highest = int(np.floor(ends[0])), int(np.ceil(ends[1]))
    return int(np.clip(lowest, 0, LEVELS)), int(np.clip(highest, 0, LEVELS))


def _all_bounds(view: View, arc: Arc) -> np.ndarray:
    """Least sum of squares of any excerpt of each track, (rows,) float32."""
    means = _phase_means(arc)
    low, high = means.min(axis=0), means.max(axis=0)
    parts = [_shard_bounds(shard, arc, low, high) for shard in view.shards]
    return np.concatenate(parts) if parts else np.zeros(0, np.float32)


def _shard_bounds(shard: Shard, arc: Arc, low: np.ndarray, high: np.ndarray) -> np.ndarray:
    """Bounds of the tracks of a shard: whole numbers of steps, so that they are fast."""
    total, whole = len(shard.segments), len(low)
    # So large at most that the sum of squares fits into 16 bits. It stays a bound.
    largest = np.uint8(min(int(np.sqrt(65_535 / (whole * len(arc.targets)))), 255))
    sums = np.zeros(total, np.uint16)
    for k in arc.targets:
        column = np.ascontiguousarray(shard.segments[:, k])
        for n in range(min(whole, total)):
            lowest, highest = map(np.uint8, _levels(low[n, k], high[n, k]))
            stored = column[n:]
            away = np.maximum(stored, highest) - highest
            away += lowest - np.minimum(stored, lowest)
            np.minimum(away, largest, out=away)
            # Excerpts near the end of a track have no segment after it: the next track's is taken
            # there, and the result is not used.
            sums[: total - n] += np.multiply(away, away, dtype=np.uint16)
    return _least(shard, sums, whole) * np.float32(SEGMENT_FRAMES * (2 / LEVELS) ** 2)


def _least(shard: Shard, sums: np.ndarray, whole: int) -> np.ndarray:
    """Least value of each track among the segments after which `whole` - 1 more of it follow."""
    starts, ends = shard.offsets[1, :-1], shard.offsets[1, 1:]
    for n in range(whole - 1):
        late = ends - 1 - n
        sums[late[late >= starts]] = 65_535
    # No excerpt holds a last segment that is shorter than 10 s as a whole one. To look at it can
    # only make a bound lower.
    result: np.ndarray = np.minimum.reduceat(sums, starts)
    return result


def _compare_by_segments(
    view: View, arc: Arc, rows: np.ndarray, frames: np.ndarray, best: _Best
) -> None:
    """Compare the excerpts of some tracks that their segments do not rule out."""
    if not len(rows):
        return
    stored = np.empty((len(rows), int(-(-frames.max() // SEGMENT_FRAMES)), 2), np.uint8)
    for shard, mine, inside in view.by_shard(rows):
        stored[mine] = shard.segment_pieces(inside, np.zeros_like(inside), stored.shape[1])
    which, starts, bounds = _candidates(arc, stored, frames, best.worst)
    _compare(view, arc, rows[which], starts, bounds, best)


def _compare_by_halves(view: View, arc: Arc, rows: np.ndarray, best: _Best) -> None:
    """Compare the excerpts of some tracks that the means of their halves do not rule out."""
    curves = [shard.curve_of(k) for shard, k in view.places(rows)]
    ends = np.cumsum([len(curve) for curve in curves])
    begins = np.concatenate([[0], ends[:-1]])
    bounds = _half_bounds(arc, np.concatenate(curves))
    for n in range(len(arc) - 1):  # Excerpts that would go on into the next track.
        late = ends - 1 - n
        bounds[late[late < len(bounds)]] = np.inf
    nearest = np.argsort(np.minimum.reduceat(bounds, begins), kind="stable")
    if len(best.excerpts) < best.count:
        best.add(_read(view, arc, rows[nearest[: max(READ_FIRST, best.count)]]))
    at = np.flatnonzero(bounds <= best.worst)
    which = np.searchsorted(ends, at, side="right")
    _compare(view, arc, rows[which], at - begins[which], bounds[at], best)


def _half_bounds(arc: Arc, stored: np.ndarray) -> np.ndarray:
    """Least sums of squares of the excerpts that begin at each of some frames.

    Parameters
    ----------
    arc : Arc
        Of L frames.
    stored : np.ndarray [shape=(T, 2), dtype=uint8]

    Returns
    -------
    np.ndarray [shape=(T - L + 1,), dtype=float32]
    """
    halves = [half for half in np.array_split(np.arange(len(arc)), 2) if len(half)]
    bounds = np.zeros(len(stored) - len(arc) + 1, np.float32)
    for k in arc.targets:
        sums = np.zeros(len(stored) + 1, np.int64)
        np.cumsum(stored[:, k], out=sums[1:])
        for half in halves:
            first, size = half[0], len(half)
            ends = sums[first + size : first + size + len(bounds)]
            totals = (ends - sums[first : first + len(bounds)]).astype(np.float32)
            # The mean's difference, on the scale of the values.
            totals *= np.float32(2 / LEVELS / size)
            totals -= np.float32(arc.values[half, k].mean() + 1)
            bounds += size * np.square(totals, out=totals)
    return bounds


def _compare(
    view: View, arc: Arc, rows: np.ndarray, starts: np.ndarray, bounds: np.ndarray, best: _Best
) -> None:
    """Compare excerpts, those with the least bounds first.

    Parameters
    ----------
    view : View
    arc : Arc
    rows, starts : np.ndarray [shape=(n,), dtype=int64]
        Track and first frame of each excerpt.
    bounds : np.ndarray [shape=(n,), dtype=float32]
        Least sums of squares.
    best : _Best
    """
    order = np.argsort(bounds, kind="stable")
    for first in range(0, len(order), COMPARED_AT_ONCE):
        part = order[first : first + COMPARED_AT_ONCE]
        part = part[bounds[part] <= best.worst]
        if not len(part):
            break
        pieces = np.empty((len(part), len(arc), 2), np.uint8)
        for shard, mine, inside in view.by_shard(rows[part]):
            pieces[mine] = shard.curve_pieces(inside, starts[part][mine], len(arc))
        sums = np.zeros(len(part), np.float32)
        for k in arc.targets:
            difference = LEVEL_VALUES[pieces[:, :, k]] - arc.values[None, :, k].astype(np.float32)
            sums += np.square(difference).sum(axis=1)
        distances = np.sqrt(sums / (len(arc) * len(arc.targets)))
        near = distances <= best.distance
        chosen = part[near]
        best.add(
            [
                Excerpt(row, at, distance)
                for row, at, distance in zip(
                    rows[chosen].tolist(), starts[chosen].tolist(), distances[near].tolist(),
                    strict=True,
                )
            ]
        )  # fmt: skip


def _candidates(
    arc: Arc, stored: np.ndarray, frames: np.ndarray, worst: float
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Excerpts whose whole segments do not rule them out.

    Parameters
    ----------
    arc : Arc
    stored : np.ndarray [shape=(n, S, 2), dtype=uint8]
        Segments of each track. What lies after its end has no meaning.
    frames : np.ndarray [shape=(n,)]
        Length of each track.
    worst : float
        Largest sum of squares.

    Returns
    -------
    which, starts : np.ndarray [shape=(m,), dtype=int64]
        Track and first frame of each excerpt.
    bounds : np.ndarray [shape=(m,), dtype=float32]
        Least sums of squares.
    """
    values = LEVEL_VALUES[stored]
    means = _phase_means(arc).astype(np.float32)
    low, high = means.min(axis=0), means.max(axis=0)
    whole = len(low)
    width = stored.shape[1] - whole + 1
    # First for all phases at once, as before; that leaves few places.
    sums = np.zeros((len(stored), width), np.float32)
    for n in range(whole):
        for k in arc.targets:
            means_there = values[:, n : n + width, k]
            sums += _squares(np.maximum(low[n, k] - means_there, means_there - high[n, k]))
    which, at = np.nonzero(sums <= worst)
    bounds = np.zeros((len(which), SEGMENT_FRAMES), np.float32)
    for n in range(whole):
        inner = values[which, at + n]
        for k in arc.targets:
            bounds += _squares(np.abs(inner[:, k, None] - means[:, n, k]))
    place, phase = np.nonzero(bounds <= worst)
    starts = at[place] * SEGMENT_FRAMES - (-phase % SEGMENT_FRAMES)
    inside = (starts >= 0) & (starts + len(arc) <= frames[which[place]])
    place, phase, starts = place[inside], phase[inside], starts[inside]
    return which[place], starts, bounds[place, phase]


def _squares(away: np.ndarray) -> np.ndarray:
    """Least sums of squares of whole segments whose stored means are so far away."""
    least = away - np.float32(ROUNDING)
    np.maximum(least, 0, out=least)
    np.square(least, out=least)
    least *= SEGMENT_FRAMES
    return least


# ------------------------------------------------------------------------------ exact


def _read(view: View, arc: Arc, rows: np.ndarray) -> list[Excerpt]:
    """The best excerpt of each track, all frames compared."""
    if not len(rows):
        return []
    curves = [shard.curve_of(k) for shard, k in view.places(rows)]
    lengths = np.array([len(curve) for curve in curves])
    joined = np.concatenate(curves)
    columns = {k: np.ascontiguousarray(joined[:, k]) for k in arc.targets}
    sums = np.zeros(len(joined) - len(arc) + 1, np.float32)
    for k, column in columns.items():
        tables = np.square(LEVEL_VALUES[None] - arc.values[:, k : k + 1]).astype(np.float32)
        for frame, table in enumerate(tables):
            sums += table[column[frame : frame + len(sums)]]
    starts = np.concatenate([[0], np.cumsum(lengths)[:-1]])
    found = []
    for row, start, length in zip(rows, starts, lengths, strict=True):
        inside = sums[start : start + length - len(arc) + 1]
        k = int(inside.argmin())
        squares = float(inside[k]) / (len(arc) * len(arc.targets))
        found.append(Excerpt(int(row), k, float(np.sqrt(squares))))
    return found

"""Playlists that move through the plane, from one mood to another.

A track is placed by how it begins and ends (the means of its first and last 20 s), not by its mean.
A playlist is good if each track begins and ends near the wanted path, and begins near where the
one before it ended. Beam search keeps the best unfinished playlists and extends each by the
candidates nearest to the path.

A path that starts where the listener is and leads elsewhere follows the iso principle of music
therapy. This is a way to order music. Nothing is claimed about its effect on anybody.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np

from msr_utils.constants import TARGETS
from msr_utils.library import filters as hard
from msr_utils.library.drawn import DrawnArc
from msr_utils.library.filters import Filters, Removed
from msr_utils.library.library import View
from msr_utils.library.records import TrackInfo
from msr_utils.library.search import top
from msr_utils.library.shards import LibraryError, UsageError

BEAM = 8
"""Unfinished playlists that are kept at each step."""

CANDIDATES = 24
"""Tracks that are tried next in each playlist."""

ARTIST_SPACING = 3
"""At least so many tracks lie between two of one artist, where there are enough artists."""

ISO_HOLD = 0.3
"""Share of the time that an iso path stays where the listener is."""

LONGEST_SHARE = 0.5
"""A track may take at most this share of the wanted time, unless it is named as an end."""

MANY_TRACKS = 5_000
"""With more tracks than this, only those near the path are tried."""

COURSE_POINTS = 10
"""Places of the path around which tracks are looked for then."""

FAR = 0.3
"""A beginning or an end farther than this from the path is said. Half-widths of intervals are
about as wide."""

MAX_MINUTES = 7 * 24 * 60
"""Longest playlist: a week."""

KINDS = ("direct", "iso")
"""Courses: at constant speed, or first staying where the listener is."""


@dataclass(frozen=True)
class End:
    """Where a playlist begins or ends.

    Parameters
    ----------
    place : (float, float)
        Valence and arousal.
    label : str
    row : int, optional
        A track that is its first or last one.
    """

    place: tuple[float, float]
    label: str
    row: int | None = None


@dataclass(frozen=True)
class Step:
    """A track of a playlist.

    Parameters
    ----------
    track : TrackInfo
    start_s : float
        When it begins in the playlist.
    wanted_start, wanted_end : (float, float)
        The wanted path when the track begins and ends.
    predicted_start, predicted_end : (float, float)
        Means of its first and last 20 s.
    gap : float
        Distance from the end of the track before it to its beginning. 0 for the first.
    """

    track: TrackInfo
    start_s: float
    wanted_start: tuple[float, float]
    wanted_end: tuple[float, float]
    predicted_start: tuple[float, float]
    predicted_end: tuple[float, float]
    gap: float

    @property
    def distance(self) -> float:
        """Larger of the distances of its beginning and its end from the path."""
        pairs = (
            (self.wanted_start, self.predicted_start),
            (self.wanted_end, self.predicted_end),
        )
        return max(float(np.hypot(a[0] - b[0], a[1] - b[1])) for a, b in pairs)


@dataclass(frozen=True)
class Playlist:
    """A playlist and how well it follows its path.

    Parameters
    ----------
    steps : tuple of Step
    seconds : float
    mean_distance, mean_gap : float
        Means over tracks of `Step.distance`, and over transitions of `Step.gap`.
    removed : tuple of Removed
        What each filter removed.
    notes : tuple of str
        What is not as wanted.
    """

    steps: tuple[Step, ...]
    seconds: float
    mean_distance: float
    mean_gap: float
    removed: tuple[Removed, ...] = ()
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class _Partial:
    """An unfinished playlist."""

    rows: tuple[int, ...]
    seconds: float
    cost: float
    end: np.ndarray
    songs: frozenset[tuple[str, ...]] = frozenset()
    artists: tuple[str, ...] = ()


@dataclass
class _Tracks:
    """Candidates: rows, how they begin and end, how long they are."""

    view: View
    rows: np.ndarray
    starts: np.ndarray
    ends: np.ndarray
    seconds: np.ndarray
    infos: dict[int, TrackInfo] = field(default_factory=dict)

    def look_up(self, places: np.ndarray) -> list[TrackInfo]:
        """Tracks as people see them, each looked up once."""
        new = [int(k) for k in places if int(k) not in self.infos]
        if new:
            found = self.view.infos(self.rows[new])
            self.infos.update(zip(new, found, strict=True))
        return [self.infos[int(k)] for k in places]


def wanted_path(kind: str, start: End, end: End) -> Callable[[np.ndarray], np.ndarray]:
    """The wanted place by the share of the time that has passed.

    Returns
    -------
    callable
        From shares in [0, 1], (n,), to places, (n, 2).

    Raises
    ------
    LibraryError
        If the kind is unknown.
    """
    if kind not in KINDS:
        raise UsageError(f"library: --kind {kind!r} is unknown; known: {', '.join(KINDS)}")
    hold = ISO_HOLD if kind == "iso" else 0.0
    first, last = np.array(start.place), np.array(end.place)

    def place(share: np.ndarray) -> np.ndarray:
        moved = np.clip((share - hold) / (1 - hold), 0, 1)
        result: np.ndarray = first + np.expand_dims(moved, -1) * (last - first)
        return result

    return place


def make_playlist(
    view: View,
    start: End,
    end: End,
    minutes: float,
    kind: str = "direct",
    filters: Filters | None = None,
    spacing: int = ARTIST_SPACING,
    drawn: DrawnArc | None = None,
) -> Playlist:
    """Make a playlist from one place to another.

    No song comes twice, also not in another version. Tracks of one artist are spaced.

    Parameters
    ----------
    view : View
    start, end : End
    minutes : float > 0, at most `MAX_MINUTES`
        The playlist is about so long: within half of its last track.
    kind : str
        One of `KINDS`.
    filters : Filters, optional
    spacing : int >= 0
        Tracks between two of one artist.
    drawn : DrawnArc, optional
        The wanted path, stretched to the wanted time. `kind` then does not count; `start` and
        `end` count only where they name tracks.

    Raises
    ------
    LibraryError
        If no track is left, both ends are the same song, or a parameter is out of range.
    """
    if not 0 < minutes <= MAX_MINUTES:
        raise UsageError(
            f"library: --minutes must be positive and at most {MAX_MINUTES}, not {minutes:g}"
        )
    place = wanted_path(kind, start, end) if drawn is None else drawn.place_at
    mask, removed = hard.apply(view, filters or Filters())
    total = minutes * 60
    mask &= view.numbers("seconds") <= max(total * LONGEST_SHARE, 1)
    named = [one.row for one in (start, end) if one.row is not None]
    if len(set(named)) == 2:
        first, last = view.infos(np.array(named))
        if not first.song_keys.isdisjoint(last.song_keys):
            raise LibraryError(
                f"library: {first.name} ({first.path}) and {last.name} ({last.path}) are the same "
                "song; a path needs two"
            )
    mask[named] = True
    rows = _near_path(view, np.flatnonzero(mask), place, named)
    if not len(rows):
        raise LibraryError("library: no track passes the filters and is short enough")
    tracks = _Tracks(
        view,
        rows,
        np.stack([view.numbers(f"start_{t}")[rows] for t in TARGETS], axis=1),
        np.stack([view.numbers(f"end_{t}")[rows] for t in TARGETS], axis=1),
        view.numbers("seconds")[rows].astype(np.float64),
    )
    tracks.look_up(np.arange(len(rows)))
    ends = [
        None if one.row is None else int(np.searchsorted(rows, one.row)) for one in (start, end)
    ]
    best, notes = _search(tracks, place, total, ends[0], ends[1], spacing)
    return _explained(tracks, best, place, total, removed, notes)


def _near_path(
    view: View, rows: np.ndarray, place: Callable[[np.ndarray], np.ndarray], named: list[int]
) -> np.ndarray:
    """Of very many rows, those whose mean lies nearest to one of several places of the path."""
    if len(rows) <= MANY_TRACKS:
        return rows
    means = np.stack([view.numbers(f"mean_{t}")[rows] for t in TARGETS], axis=1)
    near = [
        top(-np.square(means - point).sum(axis=1), MANY_TRACKS // COURSE_POINTS)
        for point in place(np.linspace(0, 1, COURSE_POINTS)).astype(np.float32)
    ]
    kept: np.ndarray = np.union1d(rows[np.concatenate(near)], np.array(named, np.int64))
    return kept


def _search(
    tracks: _Tracks,
    place: Callable[[np.ndarray], np.ndarray],
    total: float,
    first: int | None,
    last: int | None,
    spacing: int,
) -> tuple[_Partial, list[str]]:
    """The best playlist that the beam finds, and what is not as wanted."""
    reserved = 0.0 if last is None else float(tracks.seconds[last])
    begun = _Partial((), 0.0, 0.0, place(np.array(0.0)))
    closed: frozenset[tuple[str, ...]] = frozenset()
    if last is not None:
        closed = tracks.look_up(np.array([last]))[0].song_keys
    begun = _Partial((), 0.0, 0.0, begun.end, closed)
    if first is not None:
        begun = _extended(tracks, begun, first, 0.0)
    beam, finished = [begun], []
    shortest = float(tracks.seconds.min())
    notes: list[str] = []
    while beam:
        longer: list[_Partial] = []
        for partial in beam:
            left = total - reserved - partial.seconds
            if left < shortest / 2 and partial.rows:
                finished.append(partial)
                continue
            longer += _extensions(tracks, partial, place, total, left, spacing)
        if beam and not longer and not finished:
            notes.append("there are too few different tracks near the path for the wanted length")
            finished = beam
        unique = {partial.rows: partial for partial in longer}
        beam = sorted(unique.values(), key=lambda p: p.cost / max(len(p.rows), 1))[:BEAM]
    best = min(finished, key=lambda p: p.cost / max(len(p.rows), 1))
    if last is not None and (first is None or last != first):
        best = _extended(tracks, best, last, 0.0)
    return best, notes


def _extensions(
    tracks: _Tracks,
    partial: _Partial,
    place: Callable[[np.ndarray], np.ndarray],
    total: float,
    left: float,
    spacing: int,
) -> list[_Partial]:
    """A playlist with one more track, in several ways."""
    # A track that ends after the wanted time by more than half of itself is too long.
    fits = np.flatnonzero(tracks.seconds / 2 <= max(left, float(tracks.seconds.min())))
    shares = (partial.seconds + np.stack([np.zeros(len(fits)), tracks.seconds[fits]])) / total
    wanted = place(np.clip(shares, 0, 1))
    cost = np.square(tracks.starts[fits] - wanted[0]).sum(axis=1)
    cost += np.square(tracks.ends[fits] - wanted[1]).sum(axis=1)
    if partial.rows:
        cost += np.square(tracks.starts[fits] - partial.end).sum(axis=1)
    near = top(-cost, CANDIDATES + 4 * len(partial.rows))
    infos = tracks.look_up(fits[near])
    for space in (spacing, 0):  # Rather an artist too early than no track.
        recent = partial.artists[-space:] if space else ()
        allowed = [
            _extended(tracks, partial, int(fits[k]), float(cost[k]))
            for k, info in zip(near, infos, strict=True)
            if partial.songs.isdisjoint(info.song_keys) and (info.artist or None) not in recent
        ]
        if allowed:
            return allowed[:CANDIDATES]
    return []


def _extended(tracks: _Tracks, partial: _Partial, k: int, cost: float) -> _Partial:
    (info,) = tracks.look_up(np.array([k]))
    return _Partial(
        (*partial.rows, k),
        partial.seconds + float(tracks.seconds[k]),
        partial.cost + cost,
        tracks.ends[k],
        partial.songs | info.song_keys,
        (*partial.artists, info.artist),
    )


def _explained(
    tracks: _Tracks,
    best: _Partial,
    place: Callable[[np.ndarray], np.ndarray],
    total: float,
    removed: tuple[Removed, ...],
    notes: list[str],
) -> Playlist:
    """The playlist with what was wanted and what is predicted."""
    steps: list[Step] = []
    seconds = 0.0
    length = max(total, best.seconds)
    for n, k in enumerate(best.rows):
        (info,) = tracks.look_up(np.array([k]))
        share = np.array([seconds, seconds + tracks.seconds[k]]) / length
        wanted = place(np.clip(share, 0, 1))
        gap = float(np.hypot(*(tracks.starts[k] - tracks.ends[best.rows[n - 1]]))) if n else 0.0
        steps.append(
            Step(
                info,
                seconds,
                _pair(wanted[0]),
                _pair(wanted[1]),
                _pair(tracks.starts[k]),
                _pair(tracks.ends[k]),
                gap,
            )
        )
        seconds += float(tracks.seconds[k])
    far = sum(step.distance > FAR for step in steps)
    if far:
        notes.append(
            f"{far} of {len(steps)} tracks begin or end farther than {FAR:g} from the wanted place"
        )
    artists = [step.track.artist for step in steps]
    early = sum(
        bool(artist) and artist in artists[max(n - ARTIST_SPACING, 0) : n]
        for n, artist in enumerate(artists)
    )
    if early:
        notes.append(f"{early} tracks come soon after another of their artist")
    gaps = [step.gap for step in steps[1:]]
    return Playlist(
        tuple(steps),
        seconds,
        float(np.mean([step.distance for step in steps])),
        float(np.mean(gaps)) if gaps else 0.0,
        removed,
        tuple(notes),
    )


def _pair(place: np.ndarray) -> tuple[float, float]:
    return float(place[0]), float(place[1])

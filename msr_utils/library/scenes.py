"""Music for scenes: for each, the excerpts that follow its mood, and one choice for all of them.

Scenes come from a CSV file with a header line and these columns, of which the last two may be
missing: ``start``, ``end`` (seconds, or m:ss, or h:mm:ss), ``mood`` (a word, or valence and arousal
separated by a space, or a drawn arc, see `drawn.arc_of_text`), ``to`` (where the mood ends, if it
moves) and ``label``. Or they come from the markers of an editor, see `markers`.
"""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from msr_utils.constants import FRAME_SECONDS, TARGETS
from msr_utils.io import printable
from msr_utils.library import filters as hard
from msr_utils.library.arcs import Arc, Excerpt, arc_through, find_excerpts
from msr_utils.library.drawn import DrawnArc, arc_of_text, even_arc, is_arc
from msr_utils.library.drawn import mood_place as mood_place
from msr_utils.library.filters import Filters, Removed
from msr_utils.library.library import View
from msr_utils.library.limits import MAX_FILM_SECONDS, MAX_SCENE_SECONDS
from msr_utils.library.markers import READERS, Marked
from msr_utils.library.records import TrackInfo
from msr_utils.library.shards import LibraryError
from msr_utils.library.text_files import read_text
from msr_utils.library.timecode import (
    FPS,
    check_fps,
    start_frame,
)

CANDIDATES = 5
"""Candidates of each scene."""

GAP_WEIGHT = 0.5
"""How much a transition counts beside the fit, where one excerpt is chosen for each scene."""

SCENE_FILES = (
    "a CSV file with the columns start, end and mood, or a file with markers that ends in .txt, "
    ".edl or .otio"
)

MUST_HAVE = ("start", "end", "mood")

TO = ">"
"""Between the places of a mood that moves, as in ``sad > calm``."""

END_LABEL = "end"
"""Name of a marker that only ends the one before it."""


@dataclass(frozen=True)
class Scene:
    """A part of a film.

    Parameters
    ----------
    start_s, end_s : float
        In the film.
    start_mood, end_mood : (float, float)
        Valence and arousal.
    label : str
    drawn : DrawnArc, optional
        The curve between them, if it is not straight.
    """

    start_s: float
    end_s: float
    start_mood: tuple[float, float]
    end_mood: tuple[float, float]
    label: str
    drawn: DrawnArc | None = None

    @property
    def arc(self) -> Arc:
        """Its wanted curve."""
        length = self.end_s - self.start_s
        if self.drawn is not None:
            return arc_through(self.drawn.stretched(length), self.label)
        return arc_through([(0.0, *self.start_mood), (length, *self.end_mood)], self.label)


@dataclass(frozen=True)
class Candidate:
    """An excerpt for a scene.

    Parameters
    ----------
    track : TrackInfo
    in_s, out_s : float
        Where the excerpt begins and ends in the track.
    distance : float
        Root mean squared difference between its curve and the wanted curve.
    predicted_start, predicted_end : (float, float)
        Means of its first and its last 5 s, or of half of it if it is shorter than 10 s.
    half_width : (float, float)
        Half-widths of the model's intervals.
    """

    track: TrackInfo
    in_s: float
    out_s: float
    distance: float
    predicted_start: tuple[float, float]
    predicted_end: tuple[float, float]
    half_width: tuple[float, float]


@dataclass(frozen=True)
class SceneMusic:
    """Candidates of a scene.

    Parameters
    ----------
    scene : Scene
    candidates : tuple of Candidate
        The best first; the second one is the runner-up.
    chosen : int, optional
        Place of the one that fits the scenes around it as well. None if there is no candidate.
    gap : float, optional
        Distance from the end of the choice for the scene before it.
    """

    scene: Scene
    candidates: tuple[Candidate, ...]
    chosen: int | None
    gap: float | None


@dataclass(frozen=True)
class Soundtrack:
    """Music for scenes.

    Parameters
    ----------
    scenes : tuple of SceneMusic
    removed : tuple of Removed
        What each filter removed.
    """

    scenes: tuple[SceneMusic, ...]
    removed: tuple[Removed, ...]


def read_scenes(file: Path, fps: float = FPS, timeline_start: str = "") -> list[Scene]:
    """Read scenes from a CSV file, or from the markers of an editor; the suffix decides.

    Parameters
    ----------
    file : Path
        ``.txt`` (labels of Audacity), ``.edl``, ``.otio``; any other is read as CSV.
    fps : float > 0
        Frames per second of an EDL, which does not say it.
    timeline_start : str
        Timecode at which the film begins in an EDL, see `markers.read_edl`.

    Raises
    ------
    LibraryError
        If the file cannot be read, a column is missing, or a value is wrong. It names the line.
        If the rate or the timecode is wrong.
    """
    check_fps(fps)
    start_frame(timeline_start, fps)  # Also where it is used only to save, it must be a timecode.
    reader = READERS.get(file.suffix.lower())
    if reader is not None:
        return _marked_scenes(reader(file, fps, timeline_start), file)
    return _table_scenes(file)


def _marked_scenes(marked: Sequence[Marked], file: Path) -> list[Scene]:
    """Scenes of markers. One without a length lasts until the next one."""
    scenes = []
    ordered = sorted(marked, key=lambda one: one.start_s)
    for n, one in enumerate(ordered, 1):
        end = one.end_s
        if end is None:
            if one.label.strip().lower() == END_LABEL:
                continue
            end = ordered[n].start_s if n < len(ordered) else None
        try:
            if end is None:
                raise LibraryError(
                    f"library: the last marker has no length; add one called {END_LABEL!r} where "
                    "it ends"
                )
            scenes.append(_scene_of(one.start_s, end, one.mood, one.label or f"scene {n}"))
        except LibraryError as error:
            reason = str(error).removeprefix("library: ")
            where = f"{printable(file.name)}, marker {n} at {one.start_s:g} s"
            raise LibraryError(f"library: {where}: {reason}") from error
    if not scenes:
        raise LibraryError(f"library: {printable(file.name)} has no scene")
    return scenes


def _table_scenes(file: Path) -> list[Scene]:
    """Scenes of a CSV file."""
    text = read_text(file, "scenes", SCENE_FILES)
    try:
        reader = csv.DictReader(io.StringIO(text, newline=""), skipinitialspace=True)
        names = [name.strip().lower() for name in reader.fieldnames or ()]
        reader.fieldnames = names
        rows = list(reader)
    except csv.Error as error:
        raise LibraryError(
            f"library: cannot read scenes from {printable(str(file))}: {error}; it must be "
            f"{SCENE_FILES}"
        ) from error
    missing = [name for name in MUST_HAVE if name not in names]
    if missing:
        raise LibraryError(
            f"library: {printable(file.name)} has no column {', '.join(missing)}; it needs start, "
            "end and mood, and may have to and label"
        )
    scenes = []
    for n, row in enumerate(rows, 2):
        try:
            scenes.append(_scene(row, n - 1))
        except LibraryError as error:
            reason = str(error).removeprefix("library: ")
            raise LibraryError(f"library: {printable(file.name)}, line {n}: {reason}") from error
    if not scenes:
        raise LibraryError(f"library: {printable(file.name)} has no scene")
    return scenes


def find_music(
    view: View, scenes: Sequence[Scene], filters: Filters | None = None, count: int = CANDIDATES
) -> Soundtrack:
    """Find excerpts for scenes, and choose one for each so that transitions fit.

    No song is chosen twice, as long as there are enough candidates.

    Raises
    ------
    LibraryError
        If a filter names an artist or a genre that no track has.
    """
    mask, removed = hard.apply(view, filters or Filters())
    found = []
    for scene in scenes:
        excerpts = _different_audio(view, scene.arc, mask, count)
        infos = view.infos(np.array([one.row for one in excerpts], np.int64))
        found.append(
            tuple(
                _candidate(view, one, info, len(scene.arc))
                for one, info in zip(excerpts, infos, strict=True)
            )
        )
    return Soundtrack(tuple(_chosen(scenes, found)), removed)


def _different_audio(view: View, arc: Arc, mask: np.ndarray, count: int) -> list[Excerpt]:
    """The best excerpts, one of each decoded audio."""
    size = count
    while True:
        excerpts = find_excerpts(view, arc, mask, size)
        keys = [int(view.audio_keys[one.row]) for one in excerpts]
        different = [one for n, one in enumerate(excerpts) if keys[n] not in keys[:n]]
        if len(different) >= count or len(excerpts) < size:
            return different[:count]
        size *= 2


def _chosen(scenes: Sequence[Scene], found: Sequence[tuple[Candidate, ...]]) -> list[SceneMusic]:
    """One candidate for each scene: the one with the best sum of its fit and its transition."""
    music: list[SceneMusic] = []
    used: set[tuple[str, ...]] = set()
    before: Candidate | None = None
    for scene, candidates in zip(scenes, found, strict=True):
        gaps = [
            0.0 if before is None else _distance(before.predicted_end, one.predicted_start)
            for one in candidates
        ]
        costs = [
            (not used.isdisjoint(one.track.song_keys), one.distance + GAP_WEIGHT * gap, n)
            for n, (one, gap) in enumerate(zip(candidates, gaps, strict=True))
        ]
        chosen = min(costs)[2] if costs else None
        gap = None if chosen is None or before is None else gaps[chosen]
        music.append(SceneMusic(scene, candidates, chosen, gap))
        if chosen is not None:
            before = candidates[chosen]
            used |= before.track.song_keys
    return music


def _candidate(view: View, excerpt: Excerpt, info: TrackInfo, frames: int) -> Candidate:
    curve = view.curve(excerpt.row)[excerpt.start : excerpt.start + frames]
    part = max(min(10, frames // 2), 1)
    begin, end = curve[:part].mean(axis=0), curve[-part:].mean(axis=0)
    half = [float(view.numbers(f"half_width_{t}")[excerpt.row]) for t in TARGETS]
    return Candidate(
        info,
        excerpt.start * FRAME_SECONDS,
        (excerpt.start + frames) * FRAME_SECONDS,
        excerpt.distance,
        (float(begin[0]), float(begin[1])),
        (float(end[0]), float(end[1])),
        (half[0], half[1]),
    )


def excerpt_from(view: View, scene: Scene, row: int, in_s: float) -> Candidate:
    """The excerpt of a track that begins at a time, as a candidate for a scene.

    Raises
    ------
    LibraryError
        If the track ends before the scene does.
    """
    arc, start = scene.arc, round(in_s / FRAME_SECONDS)
    (info,) = view.infos(np.array([row]))
    curve = view.curve(row)[max(start, 0) : start + len(arc)]
    if start < 0 or len(curve) < len(arc):
        raise LibraryError(f"library: {info.name} from {in_s:g} s on is shorter than {scene.label}")
    away = (curve - arc.values)[:, arc.targets]
    distance = float(np.sqrt(np.square(away).mean()))
    return _candidate(view, Excerpt(row, start, distance), info, len(arc))


def _distance(one: tuple[float, float], other: tuple[float, float]) -> float:
    return float(np.hypot(one[0] - other[0], one[1] - other[1]))


def _scene(row: dict[str, str | None], number: int) -> Scene:
    start, end = (_seconds(row[name], name) for name in ("start", "end"))
    mood, to = (row["mood"] or "").strip(), (row.get("to") or "").strip()
    label = (row.get("label") or "").strip() or f"scene {number}"
    return _scene_of(start, end, f"{mood} {TO} {to}" if to else mood, label)


def _scene_of(start: float, end: float, mood: str, label: str) -> Scene:
    """A scene by the text of its mood: a place, several places with `TO` between, or an arc."""
    if not (math.isfinite(start) and math.isfinite(end)):
        raise LibraryError("library: start and end of a scene must be finite numbers")
    if end - start < FRAME_SECONDS:
        raise LibraryError(
            f"library: the scene must end at least {FRAME_SECONDS:g} s after its start"
        )
    if end - start > MAX_SCENE_SECONDS:
        raise LibraryError(
            f"library: the scene is {end - start:g} s long; at most {MAX_SCENE_SECONDS} s are "
            "possible: divide it"
        )
    if end > MAX_FILM_SECONDS:
        raise LibraryError(
            f"library: the scene ends at {end:g} s; a film has at most {MAX_FILM_SECONDS} s"
        )
    if is_arc(mood):
        arc = arc_of_text(mood)
        return Scene(start, end, arc.start, arc.end, label, arc)
    places = [mood_place(part) for part in mood.split(TO)]
    drawn = even_arc(places) if len(places) > 2 else None
    return Scene(start, end, places[0], places[-1], label, drawn)


def _seconds(text: str | None, name: str) -> float:
    """Seconds of ``12.5``, ``1:12.5`` or ``1:01:12``."""
    parts = (text or "").strip().split(":")
    try:
        values = [float(part) for part in parts]
    except ValueError:
        values = []
    if not 1 <= len(values) <= 3 or not all(0 <= v < math.inf for v in values):
        raise LibraryError(f"library: {name} is {text!r}; write seconds, m:ss or h:mm:ss")
    return sum(value * 60.0**n for n, value in enumerate(reversed(values)))

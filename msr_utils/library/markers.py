"""Scenes as markers that somebody set in an editor.

The text of a marker has the mood, and before it, if there is a colon, a label: ``Opening: sad >
calm``. Of a marker with a name and a note (a comment, in OpenTimelineIO), the name is the label and
the note has the mood.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from msr_utils.io import printable
from msr_utils.library.drawn import is_arc
from msr_utils.library.limits import MAX_SCENE_SECONDS
from msr_utils.library.shards import LibraryError
from msr_utils.library.text_files import read_text
from msr_utils.library.timecode import check_fps, start_frame, timecode_frames

MARKER = re.compile(r"^(?P<note>.*?)\s*\|C:[^|]*\|M:(?P<name>.*?)\s*\|D:(?P<length>\d+)\s*$")
"""Second line of a marker in an EDL of Resolve."""

LABELS = "a text file with labels of Audacity"

EDL = "an EDL with the markers of DaVinci Resolve"


@dataclass(frozen=True)
class Marked:
    """A marker.

    Parameters
    ----------
    start_s : float
        In the film.
    end_s : float, optional
        None if it has no length.
    label, mood : str
    """

    start_s: float
    end_s: float | None
    label: str
    mood: str


def read_labels(file: Path, fps: float, timeline_start: str) -> list[Marked]:
    """Labels of Audacity: start, end and text, separated by tabs.

    Raises
    ------
    LibraryError
        If the file cannot be read, or a line is no label with finite times.
    """
    found = []
    for n, line in enumerate(read_text(file, "scenes", LABELS).splitlines(), 1):
        if not line.strip() or line.startswith("\\"):  # a range of frequencies
            continue
        parts = line.split("\t", 2)
        try:
            start, end = float(parts[0]), float(parts[1])
            if not (math.isfinite(start) and math.isfinite(end)):
                raise ValueError
        except (ValueError, IndexError):
            raise LibraryError(
                f"library: {printable(file.name)}, line {n}: no label of Audacity; it has start, "
                "end and text, separated by tabs"
            ) from None
        label, mood = _split(parts[2] if len(parts) == 3 else "")
        found.append(Marked(start, end if end > start else None, label, mood))
    return found


def read_edl(file: Path, fps: float, timeline_start: str) -> list[Marked]:
    """Markers of an EDL as Resolve writes it.

    Parameters
    ----------
    file : Path
    fps : float > 0
        Frames per second: an EDL does not say it.
    timeline_start : str
        Timecode at which the film begins. Empty: one hour, or 0 if a marker lies before that.

    Raises
    ------
    LibraryError
        If the file cannot be read, a timecode is wrong, or a marker is too long. It names the line.
    """
    check_fps(fps)
    at: int | None = None
    found: list[tuple[int, int, str, str]] = []
    for n, line in enumerate(read_text(file, "scenes", EDL).splitlines(), 1):
        words = line.split()
        marker = MARKER.match(line)
        if marker is not None and at is not None:
            name, note = marker["name"].strip(), marker["note"].strip()
            label, mood = (name, note) if note else _split(name)
            length = float(marker["length"])  # infinite, if it has very many digits
            if length > MAX_SCENE_SECONDS * fps:
                raise LibraryError(
                    f"library: {printable(file.name)}, line {n}: the marker is {length / fps:g} s "
                    f"long; at most {MAX_SCENE_SECONDS} s are possible"
                )
            found.append((at, int(length), label, mood))
            at = None
        elif len(words) >= 8 and words[0].isdigit():
            try:
                at = timecode_frames(words[-2], fps)
            except LibraryError as error:
                reason = str(error).removeprefix("library: ")
                where = f"{printable(file.name)}, line {n}"
                raise LibraryError(f"library: {where}: {reason}") from error
    start = start_frame(timeline_start, fps)
    if not timeline_start and any(first < start for first, *_ in found):
        start = 0
    return [
        Marked(
            (first - start) / fps,
            (first - start + length) / fps if length > 1 else None,
            label,
            mood,
        )
        for first, length, label, mood in found
    ]


def read_otio(file: Path, fps: float, timeline_start: str) -> list[Marked]:
    """Markers of a timeline of OpenTimelineIO, of its tracks and of its clips.

    Raises
    ------
    LibraryError
        If the file is no timeline, or the package of OpenTimelineIO is not installed.
    """
    try:
        import opentimelineio
    except ModuleNotFoundError as error:
        raise LibraryError(
            "library: markers of .otio need the package 'opentimelineio', which is not installed; "
            "run: pip install 'msr-utils[timelines]'"
        ) from error
    try:
        timeline = opentimelineio.adapters.read_from_file(str(file), "otio_json")
        if not isinstance(timeline, opentimelineio.schema.Timeline):
            raise LibraryError(f"library: {printable(file.name)} has no timeline")
        return list(_timeline_markers(timeline))
    except (OSError, ValueError, KeyError, TypeError, opentimelineio.exceptions.OTIOError) as error:
        reason = " ".join(str(error).split())
        raise LibraryError(
            f"library: cannot read scenes from {printable(str(file))}: {reason}; it must be a "
            "timeline of OpenTimelineIO"
        ) from error


def _timeline_markers(timeline: Any) -> Iterator[Marked]:
    stack = timeline.tracks
    items = [stack, *stack.find_children()]
    for item in items:
        for marker in getattr(item, "markers", ()):
            place = marker.marked_range
            if item is not stack:
                place = item.transformed_time_range(place, stack)
            start, length = place.start_time.to_seconds(), place.duration.to_seconds()
            short = place.duration.value <= 1
            note = getattr(marker, "comment", "")
            label, mood = (marker.name, note) if note else _split(marker.name)
            yield Marked(start, None if short else start + length, label, mood)


def _split(text: str) -> tuple[str, str]:
    """Label and mood of a text. The points of an arc have colons of their own."""
    if is_arc(text) or ":" not in text:
        only = text.strip()
        return (only, "") if only.lower() == "end" else ("", only)
    label, _, mood = text.partition(":")
    return label.strip(), mood.strip()


READERS: dict[str, Callable[[Path, float, str], list[Marked]]] = {
    ".txt": read_labels,
    ".edl": read_edl,
    ".otio": read_otio,
}
"""Suffix -> reader of markers."""

"""Music for scenes as timelines: OpenTimelineIO, and an EDL of markers for DaVinci Resolve.

Both count frames of the film, and times are rounded to them.

References
----------
OpenTimelineIO file format, https://opentimelineio.readthedocs.io
DaVinci Resolve manual, chapter "Exporting Timeline Markers to EDL".
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from msr_utils.io import printable
from msr_utils.library.records import Entry
from msr_utils.library.scenes import Candidate, SceneMusic, Soundtrack
from msr_utils.library.timecode import FPS, check_fps, frames, start_frame, timecode

Json = dict[str, Any]


# ------------------------------------------------------------------------------ EDL


def edl(
    soundtrack: Soundtrack,
    entries: Mapping[int, Entry],
    fps: float = FPS,
    timeline_start: str = "",
) -> bytes:
    """Scenes as markers in the form that Resolve writes and reads.

    In Resolve: Timelines > Import > Timeline Markers from EDL. A marker has the scene's label, its
    length, and the chosen music as its note. The film begins at the timecode `timeline_start`, or
    at one hour if that is empty.
    """
    check_fps(fps)
    lines = ["TITLE: Music for scenes", "FCM: NON-DROP FRAME", ""]
    start = start_frame(timeline_start, fps)
    for n, music in enumerate(soundtrack.scenes, 1):
        scene = music.scene
        first = frames(scene.start_s, fps)
        length = max(frames(scene.end_s, fps) - first, 1)
        at = f"{timecode(start + first, fps)} {timecode(start + first + 1, fps)}"
        one = _choice(music)
        note = "no music" if one is None else f"{one.track.name} from {one.in_s:g} s"
        lines += [
            f"{n:03d}  001      V     C        {at} {at}  ",
            f"{_edl_text(note)} |C:ResolveColorBlue |M:{_edl_text(scene.label)} |D:{length}",
            "",
        ]
    return "\n".join(lines).encode()


def _edl_text(text: str) -> str:
    """Text in one line without the sign that separates fields."""
    return printable(" ".join(text.replace("|", "/").split()))


def _choice(music: SceneMusic) -> Candidate | None:
    return None if music.chosen is None else music.candidates[music.chosen]


# ------------------------------------------------------------------------------ OpenTimelineIO


def otio(
    soundtrack: Soundtrack,
    entries: Mapping[int, Entry],
    fps: float = FPS,
    timeline_start: str = "",
) -> bytes:
    """Scenes as a timeline: the chosen excerpts as clips of audio tracks, the scenes as markers.

    Scenes that overlap lie in several tracks. A clip has the scene's length, or what the track has
    after the excerpt's beginning.
    """
    check_fps(fps)
    tracks: list[list[Json]] = []
    ends: list[int] = []  # of each track, in frames
    for music in sorted(soundtrack.scenes, key=lambda music: music.scene.start_s):
        one = _choice(music)
        if one is None:
            continue
        first = frames(music.scene.start_s, fps)
        k = next((k for k, end in enumerate(ends) if end <= first), len(ends))
        if k == len(ends):
            tracks.append([])
            ends.append(0)
        if first > ends[k]:
            gap = {"source_range": _range(0, first - ends[k], fps)}
            tracks[k].append(_item("Gap.1", "", gap))
        clip, length = _clip(music, one, entries[one.track.id], fps)
        tracks[k].append(clip)
        ends[k] = first + length
    children = [
        _item("Track.1", f"Music {n}", {"kind": "Audio", "children": clips, "source_range": None})
        for n, clips in enumerate(tracks, 1)
    ]
    markers = [_marker(music, fps) for music in soundtrack.scenes]
    stack = {"children": children, "source_range": None, "markers": markers}
    start = _time(start_frame(timeline_start, fps), fps)
    timeline = {
        "OTIO_SCHEMA": "Timeline.1",
        "name": "Music for scenes",
        "metadata": {},
        "global_start_time": start,
        "tracks": _item("Stack.1", "tracks", stack),
    }
    return (json.dumps(timeline, indent=4, ensure_ascii=False) + "\n").encode()


def _clip(music: SceneMusic, one: Candidate, entry: Entry, fps: float) -> tuple[Json, int]:
    """A clip and its length in frames."""
    scene = music.scene
    begin, available = frames(one.in_s, fps), int(one.track.seconds * fps)
    wanted = frames(scene.end_s, fps) - frames(scene.start_s, fps)
    length = max(min(wanted, available - begin), 1)
    reference = {
        "OTIO_SCHEMA": "ExternalReference.1",
        "name": "",
        "metadata": {},
        "target_url": entry.uri,
        "available_range": _range(0, available, fps),
    }
    metadata = {
        "scene": scene.label,
        "distance": one.distance,
        "in_s": one.in_s,
        "out_s": one.out_s,
    }
    values = {
        "source_range": _range(begin, length, fps),
        "media_references": {"DEFAULT_MEDIA": reference},
        "active_media_reference_key": "DEFAULT_MEDIA",
    }
    return _item("Clip.2", printable(one.track.name), values, {"msr": metadata}), length


def _marker(music: SceneMusic, fps: float) -> Json:
    scene = music.scene
    first = frames(scene.start_s, fps)
    wanted = " to ".join(f"({v:+.2f}, {a:+.2f})" for v, a in (scene.start_mood, scene.end_mood))
    return {
        "OTIO_SCHEMA": "Marker.2",
        "name": printable(scene.label),
        "metadata": {},
        "comment": wanted,
        "color": "BLUE",
        "marked_range": _range(first, max(frames(scene.end_s, fps) - first, 1), fps),
    }


def _item(
    schema: str,
    name: str,
    values: Mapping[str, object],
    metadata: Mapping[str, object] | None = None,
) -> Json:
    """An item of a timeline with the fields that all have."""
    markers: Sequence[Json] = []
    common = {"effects": [], "markers": markers, "enabled": True, "metadata": metadata or {}}
    return {"OTIO_SCHEMA": schema, "name": name, **common, **values}


def _time(value: float, fps: float) -> Json:
    return {"OTIO_SCHEMA": "RationalTime.1", "rate": float(fps), "value": float(value)}


def _range(start: int, length: int, fps: float) -> Json:
    times = {"start_time": _time(start, fps), "duration": _time(length, fps)}
    return {"OTIO_SCHEMA": "TimeRange.1", **times}

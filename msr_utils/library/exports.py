"""Playlists and choices for scenes as files that players and editors open.

Playlists: M3U8, XSPF, JSPF and CSV, with paths relative to the file. Scenes, on the time axis of
the film: CSV, labels for Audacity, OpenTimelineIO, and markers for Resolve (see `timelines`).

References
----------
XSPF version 1 and JSPF, https://www.xspf.org
"""

from __future__ import annotations

import csv
import io
import json
import os
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Protocol, TypeVar
from xml.etree import ElementTree

from msr_utils.io import atomic_path, printable
from msr_utils.library.catalogue import Catalogue
from msr_utils.library.playlists import Playlist
from msr_utils.library.records import Entry as Entry
from msr_utils.library.records import TrackInfo
from msr_utils.library.scenes import Soundtrack
from msr_utils.library.shards import LibraryError, UsageError
from msr_utils.library.timecode import FPS
from msr_utils.library.timelines import edl, otio

Writer = TypeVar("Writer")


class SceneWriter(Protocol):
    """Writes the chosen excerpts of scenes."""

    def __call__(
        self,
        soundtrack: Soundtrack,
        entries: Mapping[int, Entry],
        fps: float = FPS,
        timeline_start: str = "",
    ) -> bytes:
        """Content of a file."""


XSPF = "http://xspf.org/ns/0/"
"""Name space of XSPF."""


def save_playlist(catalogue: Catalogue, playlist: Playlist, file: Path) -> None:
    """Write a playlist. The suffix decides on the format, see `PLAYLIST_FORMATS`.

    Raises
    ------
    LibraryError
        If the suffix is unknown, a name cannot be written in this format, or the file cannot be
        written.
    """
    write = _format(file, PLAYLIST_FORMATS)
    entries = _entries(catalogue, [step.track for step in playlist.steps], file)
    _save(file, write(entries))


def save_soundtrack(
    catalogue: Catalogue,
    soundtrack: Soundtrack,
    file: Path,
    fps: float = FPS,
    timeline_start: str = "",
) -> None:
    """Write the chosen excerpts of scenes. The suffix decides, see `SCENE_FORMATS`.

    Parameters
    ----------
    catalogue : Catalogue
    soundtrack : Soundtrack
    file : Path
    fps : float > 0
        Frames of the film per second, for the formats that count frames.
    timeline_start : str
        Timecode at which the film begins, for the same formats; one hour if it is empty.

    Raises
    ------
    LibraryError
        As `save_playlist`.
    """
    write = _format(file, SCENE_FORMATS)
    tracks = [m.candidates[m.chosen].track for m in soundtrack.scenes if m.chosen is not None]
    entries = {entry.track.id: entry for entry in _entries(catalogue, tracks, file)}
    _save(file, write(soundtrack, entries, fps, timeline_start))


def check_suffix(file: Path, scenes: bool = False) -> None:
    """Refuse a file whose suffix names no format.

    Raises
    ------
    LibraryError
    """
    if scenes:
        _format(file, SCENE_FORMATS)
    else:
        _format(file, PLAYLIST_FORMATS)


def _entries(catalogue: Catalogue, tracks: Sequence[TrackInfo], file: Path) -> list[Entry]:
    """Entries with the true paths of files."""
    paths = catalogue.paths(track.id for track in tracks)
    folder = os.path.abspath(file.parent)
    entries = []
    for track in tracks:
        path = paths.get(track.id)
        if path is None:
            raise LibraryError(f"library: {track.path or track.id} was removed meanwhile; repeat")
        with suppress(ValueError):  # another drive of Windows
            path = os.path.relpath(path, folder)
        entries.append(Entry(path, track))
    return entries


def _m3u8(entries: Sequence[Entry]) -> bytes:
    lines = [b"#EXTM3U"]
    for entry in entries:
        location = entry.location
        if "\n" in location or "\r" in location:
            raise LibraryError(
                f"library: {printable(location)} has a line break in its name, which M3U8 cannot "
                "hold; save as .xspf"
            )
        # A name that begins with # would be a comment.
        location = f".{os.sep}{location}" if location.startswith("#") else location
        title = printable(entry.track.name)
        lines.append(f"#EXTINF:{round(entry.track.seconds)},{title}".encode())
        lines.append(os.fsencode(location.replace(os.sep, "/")))
    return b"\n".join(lines) + b"\n"


def _xspf(entries: Sequence[Entry]) -> bytes:
    ElementTree.register_namespace("", XSPF)
    root = ElementTree.Element(f"{{{XSPF}}}playlist", version="1")
    tracks = ElementTree.SubElement(root, f"{{{XSPF}}}trackList")
    for entry in entries:
        element = ElementTree.SubElement(tracks, f"{{{XSPF}}}track")
        for name, value in _fields(entry).items():
            ElementTree.SubElement(element, f"{{{XSPF}}}{name}").text = printable(str(value))
    ElementTree.indent(root)
    written: bytes = ElementTree.tostring(root, "utf-8", xml_declaration=True)
    return written + b"\n"


def _jspf(entries: Sequence[Entry]) -> bytes:
    tracks = [{**fields, "location": [fields["location"]]} for fields in map(_fields, entries)]
    document = {"playlist": {"track": tracks}}
    return (json.dumps(document, indent=2, ensure_ascii=False) + "\n").encode()


def _fields(entry: Entry) -> dict[str, str | int]:
    """Elements of a track in XSPF and JSPF, in the order of the standard."""
    track = entry.track
    texts = {"title": track.title, "creator": track.artist, "album": track.album}
    known = {name: text for name, text in texts.items() if text}
    return {"location": entry.uri, **known, "duration": round(track.seconds * 1000)}


def _csv(entries: Sequence[Entry]) -> bytes:
    rows = [
        [printable(e.location), e.track.artist, e.track.title, f"{e.track.seconds:.1f}"]
        for e in entries
    ]
    return _table([["file", "artist", "title", "seconds"], *rows])


def _scenes_csv(
    soundtrack: Soundtrack,
    entries: Mapping[int, Entry],
    fps: float = FPS,
    timeline_start: str = "",
) -> bytes:
    rows = [["scene", "start_s", "end_s", "file", "in_s", "out_s", "distance"]]
    for music in soundtrack.scenes:
        scene = music.scene
        row = [scene.label, f"{scene.start_s:g}", f"{scene.end_s:g}", "", "", "", ""]
        if music.chosen is not None:
            one = music.candidates[music.chosen]
            row[3:] = [
                printable(entries[one.track.id].location),
                f"{one.in_s:g}",
                f"{one.out_s:g}",
                f"{one.distance:.4f}",
            ]
        rows.append(row)
    return _table(rows)


def _labels(
    soundtrack: Soundtrack,
    entries: Mapping[int, Entry],
    fps: float = FPS,
    timeline_start: str = "",
) -> bytes:
    """Audacity's labels: start, end and text, separated by tabs."""
    lines = []
    for music in soundtrack.scenes:
        scene, text = music.scene, music.scene.label
        if music.chosen is not None:
            one = music.candidates[music.chosen]
            text += f": {one.track.name} from {one.in_s:g} s"
        text = printable(" ".join(text.split()))
        lines.append(f"{scene.start_s:.6f}\t{scene.end_s:.6f}\t{text}\n")
    return "".join(lines).encode()


def _table(rows: Sequence[Sequence[str]]) -> bytes:
    file = io.StringIO(newline="")
    csv.writer(file, lineterminator="\n").writerows(rows)
    return file.getvalue().encode()


PLAYLIST_FORMATS: dict[str, Callable[[Sequence[Entry]], bytes]] = {
    ".m3u8": _m3u8,
    ".xspf": _xspf,
    ".jspf": _jspf,
    ".csv": _csv,
}
"""Suffix -> writer of a playlist."""

SCENE_FORMATS: dict[str, SceneWriter] = {
    ".csv": _scenes_csv,
    ".txt": _labels,
    ".otio": otio,
    ".edl": edl,
}
"""Suffix -> writer of scenes. ``.txt`` has Audacity's labels, ``.edl`` markers."""


def _format(file: Path, formats: Mapping[str, Writer]) -> Writer:
    try:
        return formats[file.suffix.lower()]
    except KeyError:
        raise UsageError(
            f"library: cannot save as {printable(file.name)}; the name must end in "
            f"{', '.join(formats)}"
        ) from None


def _save(file: Path, content: bytes) -> None:
    try:
        with atomic_path(file) as temporary:
            temporary.write_bytes(content)
    except OSError as error:
        raise LibraryError(
            f"library: cannot save as {printable(str(file))}: {error.strerror or error}; choose "
            "another folder"
        ) from error

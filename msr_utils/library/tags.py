"""Tags of audio files: who, what and when."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import BinaryIO

import mutagen

from msr_utils.audio.chunks import read_at, riff_chunks, riff_list

BETWEEN_NAMES = "; "
"""Between several artists or genres of one file."""

MAX_LETTERS = 500
"""Longest tag that is kept."""

EASY_NAMES = {"artist": "artist", "title": "title", "album": "album", "genre": "genre",
              "date": "date", "tempo": "bpm"}  # fmt: skip
"""Our name -> mutagen's common name, which it maps to those of ID3, MP4 and Vorbis comments."""

OTHER_NAMES = {
    "artist": ("artist", "author", "wm/author", "tpe1"),
    "title": ("title", "tit2"),
    "album": ("album", "wm/albumtitle", "talb"),
    "genre": ("genre", "wm/genre", "tcon"),
    "date": ("date", "year", "wm/year", "tdrc"),
    "tempo": ("bpm", "tempo", "wm/beatsperminute", "tbpm"),
}
"""Our name -> names in lower case in formats that mutagen has no common names for: ASF, APEv2, and
ID3 in WAV and AIFF."""

RIFF_NAMES = {b"IART": "artist", b"INAM": "title", b"IPRD": "album", b"IGNR": "genre",
              b"ICRD": "date"}  # fmt: skip
"""Chunks of ``LIST INFO`` in WAV files -> our names. mutagen does not read them.

Reference: Microsoft, Multimedia Programming Interface (RIFF), section "INFO list chunk".
"""

RIFF_FORMS = (b"RIFF", b"RF64")


@dataclass(frozen=True)
class Tags:
    """Tags of a file; empty or None where it has none.

    Parameters
    ----------
    artist, title, album, genre : str
        Several values are joined by `BETWEEN_NAMES`.
    year : int, optional
    tempo : float, optional
        Beats per minute.
    """

    artist: str = ""
    title: str = ""
    album: str = ""
    genre: str = ""
    year: int | None = None
    tempo: float | None = None


def read_tags(file: BinaryIO) -> Tags:
    """Read the tags of an open file. A file without any, or with damaged ones, has none.

    Parameters
    ----------
    file : binary file
        Its position is changed.
    """
    values = dict.fromkeys(EASY_NAMES, "") | _riff_info(file)
    file.seek(0)
    try:
        found = mutagen.File(file, easy=True)
        tags = None if found is None else found.tags
    except Exception:  # Damaged tags say nothing about the music, which may decode well.
        tags = None
    lowered = {str(key).lower(): key for key in _keys(tags)}
    for name, easy in EASY_NAMES.items():
        key = next((lowered[k] for k in (easy, *OTHER_NAMES[name]) if k in lowered), None)
        values[name] = (_text(tags, key) if key is not None else "") or values[name]
    return Tags(
        values["artist"],
        values["title"],
        values["album"],
        values["genre"],
        _year(values["date"]),
        _tempo(values["tempo"]),
    )


def parts(joined: str) -> list[str]:
    """Single names of a tag with several, in lower case."""
    return [part.strip().casefold() for part in re.split(r"[;/,]", joined) if part.strip()]


def _riff_info(file: BinaryIO) -> dict[str, str]:
    """Values of the list ``INFO`` of a WAV file; none of any other file."""
    size = file.seek(0, 2)
    if read_at(file, 0, 4, size) not in RIFF_FORMS:
        return {}
    values: dict[str, str] = {}
    for chunk in riff_chunks(file, 0, size):
        if chunk.name != b"LIST":
            continue
        kind, inner = riff_list(file, chunk, size)
        for one in inner if kind == b"INFO" else ():
            name = RIFF_NAMES.get(one.name)
            if name is not None:
                # Four bytes are the longest letter of UTF-8.
                data = read_at(file, one.content, min(one.length, 4 * MAX_LETTERS), size)
                values.setdefault(name, _one_line([_decoded(data.partition(b"\0")[0])]))
    return values


def _decoded(data: bytes) -> str:
    """Text of a chunk, which states no character set. FFmpeg writes UTF-8, others Windows-1252."""
    try:
        return data.decode()
    except UnicodeDecodeError:
        return data.decode("cp1252", "replace")


def _keys(tags: object) -> list[object]:
    """Names of the tags. Some formats give pairs."""
    keys = tags.keys() if hasattr(tags, "keys") else []
    return list(keys)


def _text(tags: object, key: object) -> str:
    """Values of a tag as one text in one line."""
    try:
        found = tags[key]  # type: ignore[index]
    except (KeyError, ValueError):
        return ""
    listed = found if isinstance(found, list | tuple) else [found]
    # ID3 separates values by zeros.
    return _one_line([word for value in listed for word in str(value).split("\0")])


def _one_line(values: list[str]) -> str:
    """Values joined to one text that can be stored."""
    words = [" ".join(value.split()) for value in values]
    text = BETWEEN_NAMES.join(dict.fromkeys(word for word in words if word))
    # What cannot be stored as UTF-8 is replaced.
    return text.encode("utf-8", "replace").decode("utf-8")[:MAX_LETTERS]


def _year(text: str) -> int | None:
    found = re.search(r"(?<!\d)(1[5-9]\d\d|20\d\d)(?!\d)", text)
    return int(found[0]) if found else None


def _tempo(text: str) -> float | None:
    try:
        tempo = float(text.split(BETWEEN_NAMES)[0])
    except ValueError:
        return None
    return tempo if 20 <= tempo <= 400 else None

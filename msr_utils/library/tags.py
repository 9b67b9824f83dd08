"""Tags of audio files: who, what and when."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import BinaryIO

import mutagen

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
    file.seek(0)
    try:
        found = mutagen.File(file, easy=True)
    except Exception:  # Damaged tags say nothing about the music, which may decode well.
        return Tags()
    if found is None or not found.tags:
        return Tags()
    values = {}
    lowered = {str(key).lower(): key for key in _keys(found.tags)}
    for name, easy in EASY_NAMES.items():
        key = next((lowered[k] for k in (easy, *OTHER_NAMES[name]) if k in lowered), None)
        values[name] = "" if key is None else _text(found.tags, key)
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
    words = [" ".join(word.split()) for value in listed for word in str(value).split("\0")]
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

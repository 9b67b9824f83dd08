"""Rows of the catalogue as Python sees them."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

LISTENER = "me"
"""Whose likes are meant, unless another name is given."""


@dataclass(frozen=True)
class Known:
    """What the catalogue knows about a file.

    Parameters
    ----------
    id : int
    path : str
        Absolute.
    size, mtime_ns : int
    sha256, audio : str
        Hashes of the file and of its decoded audio.
    state : str
    shard, row : int, optional
        Where its arrays lie; None if they are pending or there are none.
    """

    id: int
    path: str
    size: int
    mtime_ns: int
    sha256: str
    audio: str
    state: str
    shard: int | None
    row: int | None


@dataclass(frozen=True)
class TrackInfo:
    """A track as people and programs see it.

    Parameters
    ----------
    id : int
    path : str
        Absolute, printable.
    artist, title, album, genre : str
        Empty if unknown.
    year : int, optional
    tempo : float, optional
        Beats per minute, from the tags.
    seconds : float
    audio : str
        Hash of the decoded audio.
    same_audio : frozenset of (str, str)
        Artists and titles of files with this audio, in lower case.
    """

    id: int
    path: str
    artist: str
    title: str
    album: str
    genre: str
    year: int | None
    tempo: float | None
    seconds: float
    audio: str
    same_audio: frozenset[tuple[str, str]] = frozenset()

    def to_json(self) -> dict[str, Any]:
        """What people see."""
        return {name: value for name, value in vars(self).items() if name != "same_audio"}

    @property
    def name(self) -> str:
        """Artist and title, or the name of the file."""
        if self.title:
            return f"{self.artist} - {self.title}" if self.artist else self.title
        return Path(self.path).name

    @property
    def song_keys(self) -> frozenset[tuple[str, ...]]:
        """Keys of the decoded audio, and of artist and title if both are known.

        Files that share a key are the same song. A file without tags has the artist and title of
        another file with the same audio.
        """
        keys: set[tuple[str, ...]] = {(self.audio,), *self.same_audio}
        if self.artist and self.title:
            keys.add((self.artist.casefold(), self.title.casefold()))
        return frozenset(keys)


@dataclass(frozen=True)
class Preference:
    """What a listener said about a track.

    Parameters
    ----------
    audio : str
        Hash of the decoded audio.
    kind : str
        ``"like"``, ``"skip"`` or ``"rating"``.
    value : float
        In [-1, 1].
    at : str
        Time, ISO 8601.
    """

    audio: str
    kind: str
    value: float
    at: str


@dataclass(frozen=True)
class Entry:
    """A track in a playlist or a timeline that is written.

    Parameters
    ----------
    location : str
        Path relative to the file, or absolute on another drive. Its characters are those of the
        file's name, also where they cannot be printed.
    track : TrackInfo
    """

    location: str
    track: TrackInfo

    @property
    def uri(self) -> str:
        """The location as a reference of RFC 3986."""
        path = self.location.replace(os.sep, "/")
        if os.path.isabs(self.location):
            return "file://" + quote(os.fsencode(path if path.startswith("/") else f"/{path}"))
        return quote(os.fsencode(path if ":" not in path.split("/")[0] else f"./{path}"))

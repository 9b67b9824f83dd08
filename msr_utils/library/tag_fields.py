"""Fields of our own in the tags of a file, in every format that mutagen can write.

A mood is ``TMOO`` in ID3, ``MOOD`` in Vorbis comments, ``Mood`` in APEv2,
``----:com.apple.iTunes:MOOD`` in MP4 and ``WM/Mood`` in ASF. The other fields have their own names:
in a frame ``TXXX`` of ID3, under ``----:com.apple.iTunes:`` in MP4.

Nothing else in the tags changes. ID3v2.3 stays ID3v2.3, and an old ID3v1 tag at the end stays byte
for byte; mutagen alone would rewrite both.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import mutagen
from mutagen.apev2 import APEv2
from mutagen.asf import ASFTags
from mutagen.id3 import ID3, ID3FileType
from mutagen.mp4 import AtomDataType, MP4Tags

from msr_utils.library.tags import BETWEEN_NAMES

MOOD = "MOOD"
"""Our name of the field that other programs read."""

MP4_PREFIX = "----:com.apple.iTunes:"

V1_BYTES = 128
"""Length of an ID3v1 tag, which is the end of a file."""


_ID3_FRAMES: Any = mutagen.id3
_MP4: Any = mutagen.mp4
_APE: Any = mutagen.apev2


class UnwritableTags(RuntimeError):
    """A file whose format has no tags that can be written."""


class FieldFile:
    """The fields of a file. Changes are kept until `save`.

    Parameters
    ----------
    path : Path

    Raises
    ------
    UnwritableTags
        If mutagen does not know the format, or the format has no tags.
    mutagen.MutagenError
        If the tags are damaged.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        file = mutagen.File(path)
        if file is None:
            raise UnwritableTags("mutagen does not know the format")
        version = file.tags.version[:2] if isinstance(file.tags, ID3) else ()
        if version in ((2, 3), (2, 4)):
            # Frames as they are: else those of 2.3 become 2.4, and ID3v1 adds some of its own.
            file = type(file)(path, translate=version != (2, 3), load_v1=False)
        self._file: Any = file
        if file.tags is None and isinstance(file, ID3FileType):
            # MP3 with APEv2 tags alone: ID3 beside them would hide them from some programs.
            ape = _APE.APEv2File(path)
            self._file = file if ape.tags is None else ape
        if self._file.tags is None:
            try:
                file.add_tags()
            except (NotImplementedError, mutagen.MutagenError) as error:
                raise UnwritableTags(f"{type(file).__name__} files have no tags") from error
        self._tags: Any = self._file.tags
        if self._tags is None:
            raise UnwritableTags(f"{type(file).__name__} files have no tags")
        self._old_id3 = version == (2, 3)

    def get(self, name: str) -> list[str]:
        """Values of a field; empty if the file does not have it."""
        values = [text for key in self._keys(name) for text in _texts(self._tags[key])]
        return [text for text in values if text]

    def put(self, name: str, values: list[str]) -> None:
        """Set a field, or delete it by giving no value."""
        for key in self._keys(name):
            del self._tags[key]
        if not values:
            return
        tags, frames, mp4 = self._tags, _ID3_FRAMES, _MP4
        if isinstance(self._tags, ID3):
            if self._old_id3:
                values = [BETWEEN_NAMES.join(values)]  # ID3v2.3 has one value
            tags.add(
                frames.TMOO(encoding=3, text=values)
                if name == MOOD
                else frames.TXXX(encoding=3, desc=name, text=values)
            )
        elif isinstance(self._tags, MP4Tags):
            tags[MP4_PREFIX + name] = [
                mp4.MP4FreeForm(value.encode(), AtomDataType.UTF8) for value in values
            ]
        elif isinstance(self._tags, ASFTags):
            tags["WM/Mood" if name == MOOD else name] = values
        elif isinstance(self._tags, APEv2):
            tags["Mood" if name == MOOD else name] = values
        else:
            tags[name] = values

    def save(self, path: Path) -> None:
        """Write the changes into a file, which must be a copy of this one.

        Raises
        ------
        mutagen.MutagenError, OSError
        """
        if not isinstance(self._tags, ID3):
            self._file.save(path)
            return
        end = _id3v1(path)
        if self._old_id3:
            self._file.save(path, v2_version=3, v23_sep=None)
        else:
            self._file.save(path)
        if end and _id3v1(path):
            with open(path, "r+b") as file:
                file.seek(-V1_BYTES, os.SEEK_END)
                file.write(end)

    def _keys(self, name: str) -> list[Any]:
        """Keys under which a field may lie: programs do not agree, also about capitals."""
        wanted = {name, f"TXXX:{name}", MP4_PREFIX + name}
        if name == MOOD:
            wanted |= {"TMOO", "WM/MOOD"}
        lowered = {text.lower() for text in wanted}
        listed = self._tags.keys()  # of Vorbis, the tags themselves are a list of pairs
        keys = [str(key) for key in listed]
        return list(dict.fromkeys(key for key in keys if key.lower() in lowered))


def read_fields(path: Path, names: tuple[str, ...]) -> Mapping[str, list[str]]:
    """Values of some fields of a file.

    Raises
    ------
    UnwritableTags, mutagen.MutagenError
        As `FieldFile`.
    """
    file = FieldFile(path)
    return {name: file.get(name) for name in names}


def _texts(value: Any) -> list[str]:
    """Values under one key as texts."""
    if hasattr(value, "text"):  # a frame of ID3
        return [str(text) for text in value.text]
    if isinstance(value, str):
        return [value]
    return [
        bytes(one).decode("utf-8", "replace") if isinstance(one, bytes) else str(one)
        for one in value
    ]


def _id3v1(path: Path) -> bytes:
    """The ID3v1 tag of a file; empty if it has none."""
    with open(path, "rb") as file:
        if file.seek(0, os.SEEK_END) < V1_BYTES:
            return b""
        file.seek(-V1_BYTES, os.SEEK_END)
        end = file.read(V1_BYTES)
    return end if end.startswith(b"TAG") else b""

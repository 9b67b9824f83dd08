"""Sizes that the container of a file states, compared with the bytes that are there.

References
----------
WAV and AVI: Microsoft, Multimedia Programming Interface (RIFF). RF64: EBU Tech 3306. W64: Sony
Wave64. CAF: Apple, Core Audio Format. Matroska: RFC 9559. MP4: ISO/IEC 14496-12, section 4.2.
ASF (WMA): Microsoft, Advanced Systems Format, sections 3.1 and 3.2.
"""

from __future__ import annotations

import os
import struct
from collections.abc import Iterator
from typing import BinaryIO

MAX_STEPS = 100_000
"""Most chunks or boxes that are looked at."""

UNKNOWN = 1 << 62
"""Programs that write to a pipe state a size from here on, or one with all bits set."""

W64_DATA = b"data\xf3\xac\xd3\x11\x8c\xd1\x00\xc0\x4f\x8e\xdb\x8a"

ASF_HEADER = bytes.fromhex("3026b2758e66cf11a6d900aa0062ce6c")
ASF_FILE_PROPERTIES = bytes.fromhex("a1dcab8c47a9cf118ee400c00c205365")

ASF_BROADCAST = 1
"""Flag of a file that was written while it was sent. Its sizes are not valid."""


def overrun(file: BinaryIO, size: int) -> tuple[int, int] | None:
    """Bytes that are there and bytes that are stated, where more are stated.

    Parameters
    ----------
    file : binary file
    size : int
        Its size in bytes.

    Returns
    -------
    (int, int) or None
        None if nothing is missing, or if the container does not state it.
    """
    file.seek(0)
    head = file.read(16)
    if head.startswith(b"RF64"):
        found = _rf64(file, size)
    elif head.startswith(b"riff"):
        found = _w64(file, size)
    elif head.startswith(b"caff"):
        found = _caf(file, size)
    elif head.startswith(b"RIFF") and head[8:12] == b"AVI ":
        found = (size - 8, int.from_bytes(head[4:8], "little"))
    elif head.startswith(b"\x1a\x45\xdf\xa3"):
        found = _matroska(file, size)
    elif head == ASF_HEADER:
        found = _asf(file, size)
    elif head[4:8] == b"ftyp":
        found = _mp4(file, size)
    else:
        found = None
    return found if found is not None and found[0] < found[1] < UNKNOWN else None


def _rf64(file: BinaryIO, size: int) -> tuple[int, int] | None:
    """The chunk ``ds64`` states the size of the chunk ``data``."""
    file.seek(12)
    stated = None
    for _ in range(MAX_STEPS):
        header = file.read(8)
        if len(header) < 8:
            return None
        name, length = struct.unpack("<4sI", header)
        if name == b"ds64":
            content = file.read(length)
            stated = int.from_bytes(content[8:16], "little")
        elif name == b"data":
            return None if stated is None else (size - file.tell(), stated)
        else:
            file.seek(length + length % 2, os.SEEK_CUR)
    return None


def _w64(file: BinaryIO, size: int) -> tuple[int, int] | None:
    """Sizes have 8 bytes and count the header; chunks begin at multiples of 8."""
    position = 40
    for _ in range(MAX_STEPS):
        file.seek(position)
        header = file.read(24)
        if len(header) < 24:
            return None
        length = int.from_bytes(header[16:], "little")
        if header[:16] == W64_DATA:
            return size - position, length
        if length < 24:
            return None
        position += (length + 7) // 8 * 8
    return None


def _caf(file: BinaryIO, size: int) -> tuple[int, int] | None:
    """A size of -1 is unknown."""
    file.seek(8)
    for _ in range(MAX_STEPS):
        header = file.read(12)
        if len(header) < 12:
            return None
        name, length = struct.unpack(">4sq", header)
        if name == b"data":
            return size - file.tell(), length
        if length < 0:
            return None
        file.seek(length, os.SEEK_CUR)
    return None


def _matroska(file: BinaryIO, size: int) -> tuple[int, int] | None:
    """The segment, the second element, holds all audio."""
    file.seek(4)
    length = _vint(file)
    if length is None:
        return None
    file.seek(length, os.SEEK_CUR)
    if file.read(4) != b"\x18\x53\x80\x67":
        return None
    stated = _vint(file)
    return None if stated is None else (size - file.tell(), stated)


def _vint(file: BinaryIO) -> int | None:
    """A size of variable length; None if it is unknown or damaged (RFC 8794, section 6)."""
    first = file.read(1)
    if not first or not first[0]:
        return None
    more = 8 - first[0].bit_length()
    value = int.from_bytes(bytes([first[0] & (1 << 7 - more) - 1]) + file.read(more), "big")
    return None if value == (1 << 7 * (more + 1)) - 1 else value


def _asf(file: BinaryIO, size: int) -> tuple[int, int] | None:
    """The object of file properties states the size of the file."""
    position = 30
    for _ in range(MAX_STEPS):
        file.seek(position)
        header = file.read(24)
        length = int.from_bytes(header[16:], "little")
        if len(header) < 24 or length < 24:
            return None
        if header[:16] == ASF_FILE_PROPERTIES:
            content = file.read(68)
            if len(content) < 68 or content[64] & ASF_BROADCAST:
                return None
            return size, int.from_bytes(content[16:24], "little")
        position += length
    return None


def _mp4(file: BinaryIO, size: int) -> tuple[int, int] | None:
    """The last box ends with the file."""
    for _, position, length in mp4_boxes(file):
        if position + length > size:
            return size - position, length
    return None


def mp4_boxes(file: BinaryIO) -> Iterator[tuple[bytes, int, int]]:
    """Kind, position and length in bytes of the boxes of an MP4 file; the last may be cut short."""
    position = 0
    for _ in range(MAX_STEPS):
        file.seek(position)
        header = file.read(16)
        if len(header) < 8:
            return
        length = int.from_bytes(header[:4], "big")
        if length == 1:
            length = int.from_bytes(header[8:16], "big")
        yield header[4:8], position, length
        if length < 8:  # 0: to the end of the file
            return
        position += length

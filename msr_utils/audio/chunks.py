"""Chunks and boxes of which the container of a file is made.

References
----------
WAV and AVI: Microsoft, Multimedia Programming Interface (RIFF). AIFF: Apple, Audio Interchange
File Format. AU: Sun, Audio File Format. RF64: EBU Tech 3306. W64: Sony Wave64. CAF: Apple, Core
Audio Format. MP4: ISO/IEC 14496-12, section 4.2. ASF (WMA): Microsoft, Advanced Systems Format,
section 2.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator
from typing import BinaryIO, NamedTuple

MAX_STEPS = 100_000
"""Most chunks of a file that are looked at."""

W64_DATA = b"data\xf3\xac\xd3\x11\x8c\xd1\x00\xc0\x4f\x8e\xdb\x8a"

ASF_HEADER = bytes.fromhex("3026b2758e66cf11a6d900aa0062ce6c")

UNKNOWN_AU_SIZE = 0xFFFFFFFF
"""Programs that write AU to a pipe state this size."""

MP4_BOXES = frozenset(
    b"ftyp moov mdat moof free skip wide meta mfra sidx ssix styp uuid pnot prft emsg pdin "
    b"udta PICT junk imda".split()
)
"""Kinds of boxes at the top level. Bytes behind the last box, as a tag, are no box."""


class Chunk(NamedTuple):
    """A chunk.

    Parameters
    ----------
    name : bytes
    start : int
        Position of its header.
    content : int
        Position of its content.
    length : int
        Stated length of its content in bytes; below 0 if it is unknown.
    end : int
        Position of the next header.
    """

    name: bytes
    start: int
    content: int
    length: int
    end: int


def read_at(file: BinaryIO, position: int, count: int, size: int) -> bytes:
    """Bytes at a position; fewer at the end of the file. No position is out of range.

    Parameters
    ----------
    file : binary file
    position : int
        A header may state any.
    count : int
    size : int
        Size of the file in bytes.
    """
    if not 0 <= position < size:
        return b""
    file.seek(position)
    return file.read(count)


def _walk(
    header: Callable[[int], Chunk | None], start: int, known: Callable[[bytes], bool] | None = None
) -> Iterator[Chunk]:
    """Go from chunk to chunk as long as each ends behind its header."""
    position = start
    for _ in range(MAX_STEPS):
        chunk = header(position)
        if chunk is None or (known is not None and not known(chunk.name)):
            return
        yield chunk
        if chunk.length < 0 or chunk.end <= position:
            return
        position = chunk.end


def riff_chunks(file: BinaryIO, start: int, size: int) -> Iterator[Chunk]:
    """Chunks of a WAV, AIFF or RF64 file that begins at `start`.

    The chunk ``ds64`` of RF64 states the size of the chunk ``data``.
    """
    order = "<" if read_at(file, start, 4, size) in (b"RIFF", b"RF64") else ">"
    large = read_at(file, start, 4, size) == b"RF64"
    stated = -1

    def header(position: int) -> Chunk | None:
        nonlocal stated
        data = read_at(file, position, 24, size)
        if len(data) < 8:
            return None
        name, length = struct.unpack(f"{order}4sI", data[:8])
        if large and name == b"ds64" and len(data) == 24:
            stated = int.from_bytes(data[16:24], "little")
        if large and name == b"data":
            length = stated
        content = position + 8
        return Chunk(name, position, content, length, content + length + length % 2)

    return _walk(header, start + 12)


def riff_list(file: BinaryIO, chunk: Chunk, size: int) -> tuple[bytes, Iterator[Chunk]]:
    """Kind and chunks of a chunk ``LIST`` of a WAV file, such as ``INFO``.

    Parameters
    ----------
    file : binary file
    chunk : Chunk
        Of the name ``LIST``.
    size : int
        Size of the file in bytes.
    """
    end = min(chunk.end, size)

    def header(position: int) -> Chunk | None:
        data = read_at(file, position, 8, end)
        if len(data) < 8:
            return None
        name, length = struct.unpack("<4sI", data)
        content = position + 8
        return Chunk(name, position, content, length, content + length + length % 2)

    return read_at(file, chunk.content, 4, end), _walk(header, chunk.content + 4)


def w64_chunks(file: BinaryIO, start: int, size: int) -> Iterator[Chunk]:
    """Chunks of a W64 file. Stated sizes count the header; chunks begin at multiples of 8."""

    def header(position: int) -> Chunk | None:
        data = read_at(file, position, 24, size)
        if len(data) < 24:
            return None
        stated = int.from_bytes(data[16:], "little")
        end = position + (stated + 7) // 8 * 8
        return Chunk(data[:16], position, position + 24, stated - 24, end)

    return _walk(header, start + 40)


def caf_chunks(file: BinaryIO, start: int, size: int) -> Iterator[Chunk]:
    """Chunks of a CAF file."""

    def header(position: int) -> Chunk | None:
        data = read_at(file, position, 12, size)
        if len(data) < 12:
            return None
        name, length = struct.unpack(">4sq", data)
        content = position + 12
        return Chunk(name, position, content, length, content + length)

    return _walk(header, start + 8)


def au_chunks(file: BinaryIO, start: int, size: int) -> Iterator[Chunk]:
    """The samples of an AU file, as a chunk; none if their size is not stated."""
    head = read_at(file, start, 12, size)
    offset, length = struct.unpack(">II", head[4:12]) if len(head) == 12 else (0, UNKNOWN_AU_SIZE)
    if length != UNKNOWN_AU_SIZE:
        content = start + int(offset)
        yield Chunk(b"data", start, content, int(length), content + int(length))


def mp4_boxes(file: BinaryIO, start: int, size: int) -> Iterator[Chunk]:
    """Boxes of an MP4 file. The length of the last may be 0: to the end of the file."""

    def header(position: int) -> Chunk | None:
        data = read_at(file, position, 16, size)
        if len(data) < 8:
            return None
        stated, n_header = int.from_bytes(data[:4], "big"), 8
        if stated == 1:
            stated, n_header = int.from_bytes(data[8:16], "big"), 16
        length = size - position if stated == 0 else stated
        return Chunk(data[4:8], position, position + n_header, length - n_header, position + length)

    return _walk(header, start, MP4_BOXES.__contains__)


def asf_objects(file: BinaryIO, start: int, size: int) -> Iterator[Chunk]:
    """Objects of an ASF file, or of its header, that follow each other from `start` on."""

    def header(position: int) -> Chunk | None:
        data = read_at(file, position, 24, size)
        if len(data) < 24:
            return None
        length = int.from_bytes(data[16:], "little")
        return Chunk(data[:16], position, position + 24, length - 24, position + length)

    return _walk(header, start)

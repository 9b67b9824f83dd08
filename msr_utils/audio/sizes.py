"""Sizes that the container of a file states, compared with the bytes that are there.

References
----------
See `msr_utils.audio.chunks`. Matroska: RFC 9559. ASF (WMA): Microsoft, Advanced Systems Format,
sections 3.1 and 3.2.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import BinaryIO, NamedTuple

from msr_utils.audio.chunks import (
    ASF_HEADER,
    W64_DATA,
    Chunk,
    asf_objects,
    au_chunks,
    caf_chunks,
    mp4_boxes,
    read_at,
    riff_chunks,
    w64_chunks,
)

UNKNOWN = 1 << 62
"""Programs that write to a pipe state a size from here on, or one with all bits set."""

ASF_FILE_PROPERTIES = bytes.fromhex("a1dcab8c47a9cf118ee400c00c205365")

ASF_BROADCAST = 1
"""Flag of a file that was written while it was sent. Its sizes are not valid."""


class Overrun(NamedTuple):
    """Something that ends behind the end of the file.

    Parameters
    ----------
    there : int
        Bytes that are there.
    stated : int
        Bytes that are stated.
    what : str
        What they are bytes of; empty for the file itself.
    """

    there: int
    stated: int
    what: str = ""


def overrun(file: BinaryIO, size: int) -> Overrun | None:
    """What the container states to be longer than it is.

    Parameters
    ----------
    file : binary file
    size : int
        Its size in bytes.

    Returns
    -------
    Overrun or None
        None if nothing is missing, or if the container does not state it.
    """
    head = read_at(file, 0, 16, size)
    if head.startswith(b"RF64"):
        found = _samples(riff_chunks(file, 0, size), b"data", size)
    elif head.startswith(b"riff"):
        found = _samples(w64_chunks(file, 0, size), W64_DATA, size)
    elif head.startswith(b"caff"):
        found = _samples(caf_chunks(file, 0, size), b"data", size)
    elif head.startswith(b".snd"):
        found = _samples(au_chunks(file, 0, size), b"data", size)
    elif head.startswith(b"RIFF") and head[8:12] == b"AVI ":
        found = Overrun(size - 8, int.from_bytes(head[4:8], "little"))
    elif head.startswith(b"\x1a\x45\xdf\xa3"):
        found = _matroska(file, size)
    elif head == ASF_HEADER:
        found = _asf(file, size)
    elif head[4:8] == b"ftyp":
        found = _mp4(file, size)
    else:
        found = None
    return found if found is not None and found.there < found.stated < UNKNOWN else None


def _samples(chunks: Iterable[Chunk], name: bytes, size: int) -> Overrun | None:
    """The chunk of samples."""
    chunk = next((chunk for chunk in chunks if chunk.name == name), None)
    return None if chunk is None else Overrun(size - chunk.content, chunk.length, "samples")


def _matroska(file: BinaryIO, size: int) -> Overrun | None:
    """The segment, the second element, holds all audio."""
    stated, position = matroska_segment(file, 0, size)
    return None if stated is None else Overrun(size - position, stated, "its segment")


def matroska_segment(file: BinaryIO, start: int, size: int) -> tuple[int | None, int]:
    """Stated size of the segment of a Matroska file, and the position of its content.

    The size is None if it is unknown; the position is 0 if there is no segment.
    """
    length, position = vint(file, start + 4, size)
    if length is None or read_at(file, position + length, 4, size) != b"\x18\x53\x80\x67":
        return None, 0
    return vint(file, position + length + 4, size)


def matroska_end(file: BinaryIO, start: int, size: int) -> int | None:
    """End of the Matroska file that begins at `start`; None if it is not stated."""
    stated, position = matroska_segment(file, start, size)
    return None if stated is None else position + stated


def vint(file: BinaryIO, position: int, size: int) -> tuple[int | None, int]:
    """A size of variable length, and the position behind it (RFC 8794, section 6).

    The size is None if it is unknown or damaged.
    """
    data = read_at(file, position, 8, size)
    if not data or not data[0]:
        return None, position
    count = 9 - data[0].bit_length()
    value = int.from_bytes(data[:count], "big") & (1 << 7 * count) - 1
    return None if value == (1 << 7 * count) - 1 else value, position + count


def _asf(file: BinaryIO, size: int) -> Overrun | None:
    """The object of file properties states the size of the file."""
    for found in asf_objects(file, 30, size):
        if found.name == ASF_FILE_PROPERTIES:
            content = read_at(file, found.content, 68, size)
            if len(content) < 68 or content[64] & ASF_BROADCAST:
                return None
            return Overrun(size, int.from_bytes(content[16:24], "little"))
    return None


def _mp4(file: BinaryIO, size: int) -> Overrun | None:
    """The last box ends with the file."""
    for box in mp4_boxes(file, 0, size):
        if box.end > size:
            return Overrun(size - box.start, box.end - box.start, "its last box")
    return None

"""Tags before and behind audio: ID3v1, ID3v2, Lyrics3 and APEv2.

References
----------
id3.org: ID3v2.4, sections 3.1 and 3.4, Lyrics3 v1 and v2. Hydrogenaudio: APEv2 specification.
"""

from __future__ import annotations

import struct
from typing import BinaryIO

from msr_utils.audio.chunks import read_at

ID3V1_BYTES = 128
ENHANCED_BYTES = 227
"""Bytes of an enhanced tag (``TAG+``), which stands before ID3v1."""

APE_BYTES = 32
"""Bytes of the header and of the footer of an APEv2 tag."""

LYRICS_END_BYTES = 15
"""Bytes at the end of a Lyrics3v2 tag: its size in six digits, then ``LYRICS200``."""

MAX_LYRICS_BYTES = 5100 + 20
"""Most bytes of a Lyrics3 tag of version 1."""

MAX_TRAILING_TAGS = 8


def after_tag(file: BinaryIO, position: int, size: int) -> int:
    """Position behind a tag (ID3v1 or APEv2) that begins at `position`; the same if none does."""
    head = read_at(file, position, APE_BYTES, size)
    if head.startswith(b"APETAGEX") and len(head) == APE_BYTES:
        length, flags = struct.unpack("<I4xI", head[12:24])
        return position + int(length) + (APE_BYTES if flags & 0x80000000 else 0)
    return position + ID3V1_BYTES if head.startswith(b"TAG") else position


def after_tags(file: BinaryIO, position: int, size: int) -> int:
    """Position behind all tags (ID3v1, ID3v2 and APEv2) that begin at `position`."""
    for _ in range(MAX_TRAILING_TAGS):
        length = id3_bytes(read_at(file, position, 10, size))
        behind = position + length if length else after_tag(file, position, size)
        if behind == position:
            break
        position = behind
    return position


def id3_bytes(head: bytes) -> int:
    """Bytes of the ID3v2 tag with these first 10 bytes; 0 if it is none."""
    if len(head) < 10 or not head.startswith(b"ID3") or max(head[6:10]) > 127:
        return 0
    size = head[6] << 21 | head[7] << 14 | head[8] << 7 | head[9]
    return 10 + size + (10 if head[5] & 0x10 else 0)


def before_tags(file: BinaryIO, size: int) -> int:
    """Position of the first of the tags at the end of a file; its size if there is none.

    ID3v1, Lyrics3, APEv2 and ID3v2 with a footer are known. Decoders of rows of frames take their
    contents for frames.
    """
    end = size
    for _ in range(MAX_TRAILING_TAGS):
        length = _tag_before(file, end)
        if not 0 < length <= end:
            break
        end -= length
    return end


def _tag_before(file: BinaryIO, end: int) -> int:
    """Bytes of the tag that ends at `end`; 0 if none does."""
    if read_at(file, max(end - ID3V1_BYTES, 0), 3, end) == b"TAG":
        return ID3V1_BYTES
    if read_at(file, max(end - ENHANCED_BYTES, 0), 4, end) == b"TAG+":
        return ENHANCED_BYTES
    foot = read_at(file, max(end - APE_BYTES, 0), APE_BYTES, end)
    if foot.startswith(b"APETAGEX"):
        length, flags = struct.unpack("<I4xI", foot[12:24])
        return int(length) + (APE_BYTES if flags & 0x80000000 else 0)
    if foot.endswith(b"LYRICSEND"):  # version 1, which states no size
        text = read_at(file, max(end - MAX_LYRICS_BYTES, 0), min(MAX_LYRICS_BYTES, end), end)
        return len(text) - at if (at := text.rfind(b"LYRICSBEGIN")) >= 0 else 0
    if foot.endswith(b"LYRICS200") and foot[-LYRICS_END_BYTES:-9].isdigit():
        return int(foot[-LYRICS_END_BYTES:-9]) + LYRICS_END_BYTES
    if foot[-10:-7] == b"3DI" and max(foot[-4:]) < 0x80:
        return (
            sum(byte << shift for byte, shift in zip(foot[-4:], (21, 14, 7, 0), strict=True)) + 20
        )
    return 0

"""Ends of files that are not whole, in formats that state no length.

References
----------
LOAS: ISO/IEC 14496-3, section 1.7.2. Transport and program streams: ISO/IEC 13818-1, sections 2.4.3
and 2.5.3; Blu-ray adds 4 bytes to each packet. Matroska: RFC 8794 and RFC 9559.
"""

from __future__ import annotations

import re
from typing import BinaryIO

from msr_utils.audio.chunks import read_at
from msr_utils.audio.elementary import SURE_FRAMES
from msr_utils.audio.sizes import matroska_segment, vint
from msr_utils.audio.source import Deadline

TAIL_BYTES = 1 << 18
"""Bytes at the end of a file in which its last packets begin."""

PACKET_BYTES = {0: 188, 4: 192}
"""Position of the sync byte of a transport packet -> bytes of the packet."""

LOAS_START = re.compile(rb"\x56[\xe0-\xff]")

PACK = b"\0\0\1\xba"
PROGRAM_END = 0xB9

CLUSTER = b"\x1f\x43\xb6\x75"

CHECK_EVERY = 1024
"""Elements between two looks at the clock."""


def cut_unit(file: BinaryIO, size: int, deadline: Deadline) -> str:
    """What is not whole at the end of a file, in one word; empty if nothing shows it.

    Parameters
    ----------
    file : binary file
    size : int
        Its size in bytes.
    deadline : Deadline

    Raises
    ------
    TimeLimitExceeded
        If it takes longer than the deadline allows.
    """
    head = read_at(file, 0, 512, size)
    if LOAS_START.match(head):
        return "frame" if _loas_is_cut(_tail(file, size)) else ""
    if head.startswith(PACK):
        return "packet" if _program_is_cut(_tail(file, size)) else ""
    if head.startswith(b"\x1a\x45\xdf\xa3"):
        return "block" if _matroska_is_cut(file, size, deadline) else ""
    for at, packet in PACKET_BYTES.items():
        if head[at : at + 1] == head[at + packet : at + packet + 1] == b"\x47":
            rest = size % packet
            sync = read_at(file, size - rest + at, 1, size)
            return "packet" if rest and sync in (b"", b"\x47") else ""
    return ""


def _tail(file: BinaryIO, size: int) -> bytes:
    return read_at(file, max(size - TAIL_BYTES, 0), TAIL_BYTES, size)


def _loas_is_cut(tail: bytes) -> bool:
    """Whether frames that follow each other end behind the end."""
    for match in LOAS_START.finditer(tail):
        position, count = match.start(), 0
        while LOAS_START.match(tail, position) and position + 3 <= len(tail):
            position += 3 + ((tail[position + 1] & 0x1F) << 8 | tail[position + 2])
            count += 1
        if count >= SURE_FRAMES and position >= len(tail) - 2:
            return position != len(tail)
    return False


def _program_is_cut(tail: bytes) -> bool:
    """Whether the packets behind the last header of a pack end behind the end."""
    position = tail.rfind(PACK)
    if position < 0 or position + 14 > len(tail):
        return position >= 0
    second = tail[position + 4] >> 6 == 1  # MPEG-2; MPEG-1 otherwise
    position += 14 + (tail[position + 13] & 7) if second else 12
    while position + 6 <= len(tail):
        if tail[position : position + 3] != b"\0\0\1" or tail[position + 3] == PROGRAM_END:
            return False
        position += 6 + int.from_bytes(tail[position + 4 : position + 6], "big")
    return position != len(tail) and tail[position : position + 4] != b"\0\0\1\xb9"


def _matroska_is_cut(file: BinaryIO, size: int, deadline: Deadline) -> bool:
    """Whether the last element ends behind the end, in a file of unknown size."""
    stated, position = matroska_segment(file, 0, size)
    if stated is not None or not position:
        return False
    for number in range(size):
        if number % CHECK_EVERY == 0:
            deadline.check()
        if position >= size:
            break
        first = read_at(file, position, 4, size)
        if not first or not (first[0] >> 4 == 1 or first[0] >= 0xA0):
            return False  # No element of a segment or of a cluster begins so.
        length, content = vint(file, position + 9 - first[0].bit_length(), size)
        if length is None and first != CLUSTER:
            return content >= size
        position = content + (length or 0)
    return position > size

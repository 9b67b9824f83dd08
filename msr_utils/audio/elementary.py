"""Streams without a container: AAC in ADTS frames, AC-3 and E-AC-3.

Nothing states how long such a file is. Only its last frame can show that the end is missing.

References
----------
ADTS: ISO/IEC 13818-7, section 6.2. AC-3 and E-AC-3: ETSI TS 102 366, sections 4.3 and E.1.2.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import BinaryIO

from msr_utils.audio.source import Deadline

HEADER_BYTES = 7

AC3_KBITS = (32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320, 384, 448, 512, 576, 640)
"""Bit rates of AC-3, in the order of their codes."""

AC3_MAX_VERSION = 10
"""Greatest ``bsid`` of AC-3. E-AC-3 has a greater one."""

CHECK_EVERY = 1024
"""Frames between two looks at the clock."""


def last_frame_is_whole(file: BinaryIO, start: int, size: int, deadline: Deadline) -> bool:
    """Follow the frames of an elementary stream; True for files that are none.

    Parameters
    ----------
    file : binary file
    start : int
        Position of the first frame, in bytes.
    size : int
        Size of the file in bytes.
    deadline : Deadline

    Raises
    ------
    TimeLimitExceeded
        If it takes longer than the deadline allows.
    """
    file.seek(start)
    length_of = _kind(file.read(HEADER_BYTES))
    position, n_frames = start, 0
    while length_of is not None and position + HEADER_BYTES <= size:
        if n_frames % CHECK_EVERY == 0:
            deadline.check()
        file.seek(position)
        length = length_of(file.read(HEADER_BYTES))
        if not length:
            return True  # A tag, or damage, which the decoder tells.
        position, n_frames = position + length, n_frames + 1
    return not n_frames or position == size


def _kind(header: bytes) -> Callable[[bytes], int] | None:
    """The reader of frame lengths for a stream that begins so; None for anything else."""
    return next((read for read in (_adts, _ac3) if read(header)), None)


def _adts(header: bytes) -> int:
    """Length of an ADTS frame in bytes; 0 if this is none."""
    if len(header) < HEADER_BYTES or header[0] != 0xFF or header[1] & 0xF6 != 0xF0:
        return 0
    length = (header[3] & 3) << 11 | header[4] << 3 | header[5] >> 5
    return length if length >= HEADER_BYTES else 0


def _ac3(header: bytes) -> int:
    """Length of a frame of AC-3 or E-AC-3 in bytes; 0 if this is none."""
    if len(header) < HEADER_BYTES or header[:2] != b"\x0b\x77":
        return 0
    if header[5] >> 3 > AC3_MAX_VERSION:
        return 2 * (((header[2] & 7) << 8 | header[3]) + 1)
    rate, code = header[4] >> 6, header[4] & 0x3F
    if rate == 3 or code >= 2 * len(AC3_KBITS):
        return 0
    kbits = AC3_KBITS[code >> 1]
    words = (2 * kbits, kbits * 320 // 147 + (code & 1), 3 * kbits)[rate]
    return 2 * words

"""Rows of frames without a container: ADTS (AAC), AC-3, E-AC-3, DTS, Layers I and II of MPEG audio.

Nothing states how long such a file is, and the frames bear no time. Only counting them shows where
bytes lie that are no frame, and whether the end is missing.

References
----------
ADTS: ISO/IEC 13818-7, section 6.2. AC-3 and E-AC-3: ETSI TS 102 366, sections 4.3 and E.1.2.
DTS: ETSI TS 102 114, sections 5.3 and 7.4. Layers I and II: ISO/IEC 11172-3, section 2.4, and
13818-3.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import BinaryIO, NamedTuple

from msr_utils.audio.chunks import read_at
from msr_utils.audio.mp3 import MAX_ATTEMPTS, Gap
from msr_utils.audio.source import Deadline
from msr_utils.audio.tags import after_tag, id3_bytes

HEADER_BYTES = 12
"""Bytes of the longest header."""

MIN_HEADER_BYTES = 7

ADTS_RATES_HZ = (
    96_000, 88_200, 64_000, 48_000, 44_100, 32_000, 24_000, 22_050, 16_000, 12_000, 11_025, 8_000,
    7_350,
)  # fmt: skip
"""Sample rates of AAC, in the order of their codes."""

AC3_KBITS = (32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320, 384, 448, 512, 576, 640)
"""Bit rates of AC-3, in the order of their codes."""

AC3_RATES_HZ = (48_000, 44_100, 32_000)

AC3_MAX_VERSION = 10
"""Greatest ``bsid`` of AC-3. E-AC-3 has a greater one."""

EAC3_BLOCKS = (1, 2, 3, 6)
"""Blocks of 256 samples in a frame of E-AC-3, in the order of their codes."""

MPEG_KBITS = {
    (3, 3): (32, 64, 96, 128, 160, 192, 224, 256, 288, 320, 352, 384, 416, 448),
    (3, 2): (32, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320, 384),
    (2, 3): (32, 48, 56, 64, 80, 96, 112, 128, 144, 160, 176, 192, 224, 256),
    (2, 2): (8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160),
}
"""Bit rates of Layers I (3) and II (2) by version (3: MPEG 1, 2: MPEG 2) and layer."""

MPEG_RATES_HZ = {3: (44_100, 48_000, 32_000), 2: (22_050, 24_000, 16_000)}

DTS_RATES_HZ = {
    1: 8_000, 2: 16_000, 3: 32_000, 6: 11_025, 7: 22_050, 8: 44_100, 11: 12_000, 12: 24_000,
    13: 48_000,
}  # fmt: skip
"""Sample rates of DTS by their codes."""

AMR_BYTES = (13, 14, 16, 18, 20, 21, 27, 32, 6, 1, 1, 1, 1, 1, 1, 1)
AMR_WB_BYTES = (18, 24, 33, 37, 41, 47, 51, 59, 61, 6, 1, 1, 1, 1, 1, 1)
"""Bytes of a frame by its type."""

DTS_SYNC = b"\x7f\xfe\x80\x01"
DTS_EXTENSION = b"\x64\x58\x20\x25"
MIN_DTS_BYTES = 96

CHECK_EVERY = 1024
"""Frames between two looks at the clock."""

SEARCH_BYTES = 1 << 16
"""Bytes read at a time where a next frame is searched."""

SURE_FRAMES = 4
"""So many frames that follow each other are no chance."""

MAX_FIRST_ATTEMPTS = 1000
"""Most places that are tried for a first frame."""


class Frame(NamedTuple):
    """What the header of a frame states.

    Parameters
    ----------
    n_bytes : int
    n_samples : int
        0 for a frame that belongs to the one before.
    rate : int
        Hz.
    """

    n_bytes: int
    n_samples: int
    rate: int


class _Stream(NamedTuple):
    """A format: the reader of its headers, how they begin, FFmpeg's demuxers for it, and
    the number of frames in a row that are no chance."""

    read: Callable[[bytes], Frame | None]
    start: re.Pattern[bytes]
    demuxers: tuple[str, ...]
    sure: int = 2


@dataclass(frozen=True)
class Frames:
    """Frames that a stream holds.

    Parameters
    ----------
    seconds : float
    n_bytes : int
        Bytes of all frames.
    gaps : tuple of Gap
        Bytes before and between the frames that are none. Tags are no gap.
    complete : bool
        False if the last frame lacks bytes.
    end : int
        Position behind the last frame.
    demuxers : tuple of str
        FFmpeg's names of the format.
    """

    seconds: float
    n_bytes: int
    gaps: tuple[Gap, ...]
    complete: bool
    end: int
    demuxers: tuple[str, ...]


def count_stream(file: BinaryIO, start: int, size: int, deadline: Deadline) -> Frames | None:
    """Count the frames of an elementary stream.

    Parameters
    ----------
    file : binary file
    start : int
        Position of the first frame, in bytes, or of the mark that begins a file of AMR.
    size : int
        Size of the file in bytes.
    deadline : Deadline

    Returns
    -------
    Frames or None
        None for files that are none.

    Raises
    ------
    TimeLimitExceeded
        If it takes longer than the deadline allows.
    """
    stream = next((s for s in STREAMS if _follow(s.read, file, start, size)), None)
    if start == 0 and stream is None:
        mark, stream = next(
            (found for found in SPEECH.items() if read_at(file, 0, 9, size).startswith(found[0])),
            (b"", None),
        )
        start = len(mark)
    if stream is None:
        return None
    read, demuxers = stream.read, stream.demuxers
    seconds, n_bytes, gaps, position, end = 0.0, 0, [], start, start
    attempts = MAX_ATTEMPTS
    for number in range(size):
        if number % CHECK_EVERY == 0:
            deadline.check()
        header = read_at(file, position, HEADER_BYTES, size)
        frame = read(header)
        if frame is None:
            behind = _after_tags(file, position, header, size)
            if behind > position:
                position = behind
                continue
            found, attempts = _next_frame(stream, file, position, size, attempts, deadline)
            if found is None:
                break
            gaps.append(Gap(seconds, found - position, position))
            position = found
            continue
        if position + frame.n_bytes > size:
            return Frames(seconds, n_bytes, tuple(gaps), False, position, demuxers)
        position = end = position + frame.n_bytes
        n_bytes += frame.n_bytes
        seconds += frame.n_samples / frame.rate
    rest = size - position
    complete = not 0 < rest < MIN_HEADER_BYTES
    return Frames(seconds, n_bytes, tuple(gaps), complete, end, demuxers)


def is_stream(file: BinaryIO, position: int, size: int, count: int = 2) -> bool:
    """Whether so many frames of a known stream follow each other from a position on."""
    return any(_follow(stream.read, file, position, size, count) for stream in STREAMS)


def find_stream(file: BinaryIO, size: int) -> tuple[int, bool]:
    """Find the first whole frame of a stream that begins with something else.

    Returns
    -------
    position : int
        0 if there is none near the start of the file.
    cut : bool
        True if the bytes before it may be the rest of a frame.
    """
    data = read_at(file, 0, SEARCH_BYTES, size)
    for stream in STREAMS:
        for match in itertools.islice(stream.start.finditer(data, 1), MAX_FIRST_ATTEMPTS):
            at = match.start()
            frame = stream.read(data[at : at + HEADER_BYTES])
            if frame is not None and _follow(stream.read, file, at, size, SURE_FRAMES):
                whole = stream.read(data[:HEADER_BYTES]) is not None
                return at, not whole and at < 2 * frame.n_bytes
    return 0, False


def _follow(
    read: Callable[[bytes], Frame | None],
    file: BinaryIO,
    position: int,
    size: int,
    count: int = 2,
) -> bool:
    """Whether frames follow each other, or one ends the file."""
    for _ in range(count):
        frame = read(read_at(file, position, HEADER_BYTES, size))
        if frame is None:
            return False
        position += frame.n_bytes
        if position == size:
            break
    return True


def _after_tags(file: BinaryIO, position: int, header: bytes, size: int) -> int:
    """Position behind a tag between frames, as broadcasters and programs write them."""
    if length := id3_bytes(header):
        return position + length
    return after_tag(file, position, size)


def _next_frame(
    stream: _Stream,
    file: BinaryIO,
    position: int,
    size: int,
    attempts: int,
    deadline: Deadline,
) -> tuple[int | None, int]:
    """Position of the next frame that another follows, and the attempts that are left."""
    while position < size:
        deadline.check()
        data = read_at(file, position, SEARCH_BYTES + HEADER_BYTES, size)
        for match in stream.start.finditer(data, 0, SEARCH_BYTES + 3):
            attempts -= 1
            if attempts < 0:
                return None, attempts
            if _follow(stream.read, file, position + match.start(), size, stream.sure):
                return position + match.start(), attempts
        position += SEARCH_BYTES
    return None, attempts


def _adts(header: bytes) -> Frame | None:
    """A frame of AAC."""
    if len(header) < MIN_HEADER_BYTES or header[0] != 0xFF or header[1] & 0xF6 != 0xF0:
        return None
    length = (header[3] & 3) << 11 | header[4] << 3 | header[5] >> 5
    rate = header[2] >> 2 & 15
    if length < MIN_HEADER_BYTES or rate >= len(ADTS_RATES_HZ):
        return None
    return Frame(length, 1024 * (1 + (header[6] & 3)), ADTS_RATES_HZ[rate])


def _ac3(header: bytes) -> Frame | None:
    """A frame of AC-3 or E-AC-3."""
    if len(header) < MIN_HEADER_BYTES or header[:2] != b"\x0b\x77":
        return None
    rate, code = header[4] >> 6, header[4] & 0x3F
    if header[5] >> 3 > AC3_MAX_VERSION:
        length = 2 * (((header[2] & 7) << 8 | header[3]) + 1)
        blocks = 6 if rate == 3 else EAC3_BLOCKS[code >> 4]
        hz = AC3_RATES_HZ[min(code >> 4, 2)] // 2 if rate == 3 else AC3_RATES_HZ[rate]
        dependent = header[2] >> 6 == 1 or header[2] >> 3 & 7
        return Frame(length, 0 if dependent else 256 * blocks, hz)
    if rate == 3 or code >= 2 * len(AC3_KBITS):
        return None
    kbits = AC3_KBITS[code >> 1]
    words = (2 * kbits, kbits * 320 // 147 + (code & 1), 3 * kbits)[rate]
    return Frame(2 * words, 1536, AC3_RATES_HZ[rate])


def _dts(header: bytes) -> Frame | None:
    """A frame of DTS, 16 bits a word and big-endian; or its extension, which has no samples."""
    fields = int.from_bytes(header[4:12], "big")
    if len(header) < HEADER_BYTES:
        return None
    if header[:4] == DTS_EXTENSION:
        long = fields >> 53 & 1
        return Frame((fields >> 21 & 0xFFFFF if long else fields >> 29 & 0xFFFF) + 1, 0, 1)
    rate = DTS_RATES_HZ.get(fields >> 26 & 15)
    length = (fields >> 36 & 0x3FFF) + 1
    if header[:4] != DTS_SYNC or rate is None or length < MIN_DTS_BYTES:
        return None
    return Frame(length, 32 * ((fields >> 50 & 0x7F) + 1), rate)


def _mpeg(header: bytes) -> Frame | None:
    """A frame of Layer I or II."""
    if len(header) < MIN_HEADER_BYTES or header[0] != 0xFF or header[1] & 0xE0 != 0xE0:
        return None
    version, layer = header[1] >> 3 & 3, header[1] >> 1 & 3
    bitrate, rate, padding = header[2] >> 4, header[2] >> 2 & 3, header[2] >> 1 & 1
    if version not in MPEG_RATES_HZ or layer not in (2, 3) or bitrate in (0, 15) or rate == 3:
        return None
    bits, hz = MPEG_KBITS[version, layer][bitrate - 1] * 1000, MPEG_RATES_HZ[version][rate]
    if layer == 3:
        return Frame(4 * (12 * bits // hz + padding), 384, hz)
    return Frame(144 * bits // hz + padding, 1152, hz)


def _amr(header: bytes) -> Frame | None:
    """A frame of AMR. Zeros look like a damaged one."""
    return _speech(header, AMR_BYTES)


def _amr_wb(header: bytes) -> Frame | None:
    """A frame of AMR-WB."""
    return _speech(header, AMR_WB_BYTES)


def _speech(header: bytes, lengths: tuple[int, ...]) -> Frame | None:
    """A frame of 20 ms; the rate stands for any."""
    if not header or header[0] & 0x83 or not (header[0] & 4 or any(header[1:])):
        return None
    return Frame(lengths[header[0] >> 3], 160, 8000)


STREAMS = (
    _Stream(_adts, re.compile(rb"\xff[\xf0\xf1\xf8\xf9]"), ("aac",)),
    _Stream(_ac3, re.compile(rb"\x0b\x77"), ("ac3", "eac3")),
    _Stream(_dts, re.compile(re.escape(DTS_SYNC)), ("dts",)),
    _Stream(_mpeg, re.compile(rb"\xff[\xf4-\xf7\xfc-\xff][\x10-\xef]"), ("mp3",)),
)

SPEECH = {
    b"#!AMR\n": _Stream(
        _amr, re.compile(rb"[\x04\x0c\x14\x1c\x24\x2c\x34\x3c\x44\x7c]"), ("amr",), SURE_FRAMES
    ),
    b"#!AMR-WB\n": _Stream(
        _amr_wb,
        re.compile(rb"[\x04\x0c\x14\x1c\x24\x2c\x34\x3c\x44\x4c\x74\x7c]"),
        ("amr",),
        SURE_FRAMES,
    ),
}
"""Formats that begin with a mark of their own."""

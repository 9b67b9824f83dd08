"""Files that follow each other in one file, as ``cat a.wav b.wav > both.wav`` makes them.

Decoders stop at the end that the first file states. MP3, Ogg, MPEG and other rows of frames have no
such end: decoders read on, and what follows a row is found where its frames are counted.

References
----------
See `msr_utils.audio.chunks`. TTA: true-audio.com, TTA1 format.
WavPack: wavpack.com, WavPack 4 & 5 Binary File / Block Format.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Iterable
from typing import BinaryIO

from msr_utils.audio.chunks import (
    ASF_HEADER,
    MAX_STEPS,
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
from msr_utils.audio.elementary import SURE_FRAMES, is_stream
from msr_utils.audio.mp3 import LOOKAHEAD_BYTES, starts_with_frames
from msr_utils.audio.sizes import matroska_end
from msr_utils.audio.source import Deadline
from msr_utils.audio.tags import after_tag, after_tags

MAX_PARTS = 1000
"""Most files in one."""

FIRST_BYTES = (
    b"RIFF", b"RIFX", b"FORM", b"RF64", b"riff", b".snd", b"caff", b"fLaC", b"OggS", b"wvpk",
    b"TTA1", b"MAC ", b"\x1a\x45\xdf\xa3", ASF_HEADER[:4],
)  # fmt: skip
"""First four bytes of formats that may follow another file."""

SEARCH_BYTES = 1 << 18
"""No frame of a format without a stated end has more bytes."""

FRAME_START = re.compile(rb"\xff[\xe2-\xff]|\x0b\x77|\x7f\xfe\x80\x01")
FRAME_STARTS = (b"\xff", b"\x0b\x77", b"\x7f\xfe")
"""First bytes of a frame of MPEG audio, AAC, AC-3 and DTS."""

ID3_STARTS = (b"ID3\2", b"ID3\3", b"ID3\4")
"""First bytes of a tag before MP3 and others. A chunk of WAV is named ``ID3`` and a space."""

TTA_FRAME_S = 256 / 245
"""Length of a frame of TTA in s."""


def joined_files(
    file: BinaryIO, size: int, deadline: Deadline
) -> tuple[tuple[tuple[int, int], ...], int]:
    """Find the files of which a file is made.

    Parameters
    ----------
    file : binary file
    size : int
        Its size in bytes.
    deadline : Deadline

    Returns
    -------
    parts : tuple of (int, int)
        Start and end of each in bytes; empty if there is but one.
    unread : int
        Bytes behind the last of `MAX_PARTS` parts.

    Raises
    ------
    TimeLimitExceeded
        If it takes longer than the deadline allows.
    """
    starts = [0]
    while (end := _end(file, starts[-1], size)) is not None:
        deadline.check()
        starts.append(end)
        if len(starts) > MAX_PARTS:
            break
    if len(starts) == 1:
        return (), 0
    ends = [*starts[1:], size][:MAX_PARTS]
    return tuple(zip(starts[:MAX_PARTS], ends, strict=True)), size - ends[-1]


def begins_file(file: BinaryIO, position: int, size: int) -> bool:
    """Whether a file of a known format begins at a position."""
    head = read_at(file, position, 16, size)
    if head.startswith((*FIRST_BYTES, b"#!AMR")) or head[4:8] == b"ftyp":
        return True
    if head.startswith(ID3_STARTS):  # It may also be a tag at the end.
        return after_tags(file, position, size) < size
    if not head.startswith(FRAME_STARTS):
        return False
    frames = read_at(file, position, LOOKAHEAD_BYTES, size)
    return starts_with_frames(frames) or is_stream(file, position, size)


def find_file(file: BinaryIO, start: int, size: int) -> int | None:
    """Position of a file behind the last frame of another, which begins at `start`."""
    data = read_at(file, start, SEARCH_BYTES, size)
    starts = [data.find(magic, 1) for magic in (*FIRST_BYTES, *ID3_STARTS, b"#!AMR")]
    starts.append(data.find(b"ftyp", 5) - 4)
    found = [start + at for at in starts if at > 0]
    for match in FRAME_START.finditer(data, 1):
        at = start + match.start()
        frames = data[match.start() : match.start() + SURE_FRAMES * LOOKAHEAD_BYTES]
        if starts_with_frames(frames, SURE_FRAMES) or is_stream(file, at, size, SURE_FRAMES):
            found.append(at)
            break
    return min(found, default=None)


def part_behind(file: BinaryIO, end: int, size: int) -> int | None:
    """Position of another file behind a row of frames and a tag; None if there is none."""
    start = after_tag(file, end, size)
    return start if 0 < start < size and begins_file(file, start, size) else None


def _end(file: BinaryIO, start: int, size: int) -> int | None:
    """Where the file that begins at `start` ends and another one begins; None if none does."""
    head = read_at(file, start, 16, size)
    if head[:4] in (b"RIFF", b"RIFX", b"FORM", b"RF64"):
        if head[8:12] == b"AVI ":
            return None  # FFmpeg reads on.
        return _next_start(file, size, riff_chunks(file, start, size), (b"data", b"SSND"))
    if head[:4] == b"riff":
        return _next_start(file, size, w64_chunks(file, start, size), (W64_DATA,))
    if head[:4] == b"caff":
        return _next_start(file, size, caf_chunks(file, start, size), (b"data",))
    if head == ASF_HEADER:
        return _next_start(file, size, asf_objects(file, start, size), (ASF_HEADER,))
    if head[:4] == b"wvpk":
        return _wavpack_end(file, start, size)
    end = start
    if head[:4] == b".snd":
        end = next((samples.end for samples in au_chunks(file, start, size)), start)
    elif head[:4] == b"TTA1":
        end = _tta_end(file, start, size)
    elif head[:4] == b"\x1a\x45\xdf\xa3":
        end = matroska_end(file, start, size) or start
    elif head[4:8] == b"ftyp":
        end = _mp4_end(file, start, size)
    if end == start:
        return None
    for _ in range(2):
        end = after_tag(file, end, size)
    return end if begins_file(file, end, size) else None


def _next_start(
    file: BinaryIO, size: int, chunks: Iterable[Chunk], samples: tuple[bytes, ...]
) -> int | None:
    """The first chunk behind the samples that is the beginning of another file."""
    behind = False
    for chunk in chunks:
        if behind and begins_file(file, chunk.start, size):
            return chunk.start
        behind = behind or chunk.name in samples
    return None


def _mp4_end(file: BinaryIO, start: int, size: int) -> int:
    """MP4: the last box, or a second box ``ftyp`` behind the index and the samples."""
    seen: set[bytes] = set()
    end = start
    for box in mp4_boxes(file, start, size):
        if box.name == b"ftyp" and {b"moov", b"mdat"} <= seen:
            return box.start
        seen.add(box.name)
        end = box.end
    return end if {b"moov", b"mdat"} <= seen else start


def _wavpack_end(file: BinaryIO, start: int, size: int) -> int | None:
    """WavPack: blocks are numbered by samples; a file begins with 0, perhaps behind tags."""
    position, later = start, False
    for _ in range(MAX_STEPS):
        head = read_at(file, position, 20, size)
        if not head.startswith(b"wvpk"):
            behind = after_tag(file, position, size)
            if behind == position:
                return position if begins_file(file, position, size) else None
            position, later = behind, True
            continue
        if len(head) < 20:
            return None
        length, index = struct.unpack("<I8xI", head[4:20])
        if later and not index:
            return position
        later = later or index > 0
        position += 8 + int(length)
    return None


def _tta_end(file: BinaryIO, start: int, size: int) -> int:
    """TTA: a table behind the header states the bytes of each frame."""
    head = read_at(file, start, 22, size)
    if len(head) < 22:
        return start
    rate, n_samples = struct.unpack("<II", head[10:18])
    frame = int(TTA_FRAME_S * rate)
    n_frames = -(-n_samples // frame) if frame else 0
    table = read_at(file, start + 22, 4 * min(n_frames, MAX_STEPS), size)
    if not n_frames or len(table) < 4 * n_frames:
        return start
    lengths: tuple[int, ...] = struct.unpack(f"<{n_frames}I", table)
    return start + 22 + 4 * n_frames + 4 + sum(lengths)

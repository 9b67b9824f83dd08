"""Files that follow each other in one file, as ``cat a.wav b.wav > both.wav`` makes them.

Decoders stop at the end that the first file states. MP3, Ogg, MPEG and other rows of frames are not
meant here: decoders read them to the end.

References
----------
See `msr_utils.audio.chunks`. AU: Sun, Audio File Format. TTA: true-audio.com, TTA1 format.
WavPack: wavpack.com, WavPack 4 & 5 Binary File / Block Format. APEv2: Hydrogenaudio, APEv2
specification.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable
from typing import BinaryIO

from msr_utils.audio.chunks import (
    ASF_HEADER,
    MAX_STEPS,
    W64_DATA,
    Chunk,
    asf_objects,
    caf_chunks,
    mp4_boxes,
    read_at,
    riff_chunks,
    w64_chunks,
)
from msr_utils.audio.source import Deadline

MAX_PARTS = 1000
"""Most files in one."""

FIRST_BYTES = (
    b"RIFF", b"RIFX", b"FORM", b"RF64", b"riff", b".snd", b"caff", b"fLaC", b"OggS", b"wvpk",
    b"TTA1", b"MAC ", b"\x1a\x45\xdf\xa3", ASF_HEADER[:4],
)  # fmt: skip
"""First four bytes of formats that may follow another file."""

ID3V1_BYTES = 128
ENHANCED_BYTES = 227
"""Bytes of an enhanced tag (``TAG+``), which stands before ID3v1."""

APE_BYTES = 32
"""Bytes of the header and of the footer of an APEv2 tag."""

LYRICS_END_BYTES = 15
"""Bytes at the end of a Lyrics3v2 tag: its size in six digits, then ``LYRICS200``."""

MAX_TRAILING_TAGS = 8

TTA_FRAME_S = 256 / 245
"""Length of a frame of TTA in s."""

UNKNOWN_AU_SIZE = 0xFFFFFFFF


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


def after_tag(file: BinaryIO, position: int, size: int) -> int:
    """Position behind a tag (ID3v1 or APEv2) that begins at `position`; the same if none does."""
    head = read_at(file, position, 32, size)
    if head.startswith(b"APETAGEX") and len(head) == 32:
        length, flags = struct.unpack("<I4xI", head[12:24])
        return position + int(length) + (32 if flags & 0x80000000 else 0)
    return position + ID3V1_BYTES if head.startswith(b"TAG") else position


def before_tags(file: BinaryIO, size: int) -> int:
    """Position of the first of the tags at the end of a file; its size if there is none.

    ID3v1, Lyrics3v2 (id3.org), APEv2 and ID3v2 with a footer (id3.org: ID3v2.4, section 3.4) are
    known. Decoders of rows of frames take their contents for frames.
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
    if foot.endswith(b"LYRICS200") and foot[-LYRICS_END_BYTES:-9].isdigit():
        return int(foot[-LYRICS_END_BYTES:-9]) + LYRICS_END_BYTES
    if foot[-10:-7] == b"3DI" and max(foot[-4:]) < 0x80:
        return (
            sum(byte << shift for byte, shift in zip(foot[-4:], (21, 14, 7, 0), strict=True)) + 20
        )
    return 0


def _end(file: BinaryIO, start: int, size: int) -> int | None:
    """Where the file that begins at `start` ends and another one begins; None if none does."""
    head = read_at(file, start, 16, size)
    if head[:4] in (b"RIFF", b"RIFX", b"FORM", b"RF64"):
        if head[8:12] == b"AVI ":
            return None  # FFmpeg reads on.
        return _next_start(riff_chunks(file, start, size), (b"data", b"SSND"))
    if head[:4] == b"riff":
        return _next_start(w64_chunks(file, start, size), (W64_DATA,))
    if head[:4] == b"caff":
        return _next_start(caf_chunks(file, start, size), (b"data",))
    if head == ASF_HEADER:
        objects = asf_objects(file, start, size)
        return next((o.start for o in objects if o.name == ASF_HEADER and o.start > start), None)
    if head[4:8] == b"ftyp":
        return _second_ftyp(file, start, size)
    if head[:4] == b"wvpk":
        return _wavpack_end(file, start, size)
    end = start
    if head[:4] == b".snd" and len(head) >= 12:
        offset, length = struct.unpack(">II", head[4:12])
        end = start if length == UNKNOWN_AU_SIZE else start + int(offset) + int(length)
    elif head[:4] == b"TTA1":
        end = _tta_end(file, start, size)
    for _ in range(2):
        end = after_tag(file, end, size)
    return end if end > start and read_at(file, end, 4, size) in FIRST_BYTES else None


def _next_start(chunks: Iterable[Chunk], samples: tuple[bytes, ...]) -> int | None:
    """The first chunk behind the samples that is the beginning of another file."""
    behind = False
    for chunk in chunks:
        if behind and chunk.name[:4] in FIRST_BYTES:
            return chunk.start
        behind = behind or chunk.name in samples
    return None


def _second_ftyp(file: BinaryIO, start: int, size: int) -> int | None:
    """MP4: a second box ``ftyp`` behind the index and the samples."""
    seen: set[bytes] = set()
    for box in mp4_boxes(file, start, size):
        if box.name == b"ftyp" and {b"moov", b"mdat"} <= seen:
            return box.start
        seen.add(box.name)
    return None


def _wavpack_end(file: BinaryIO, start: int, size: int) -> int | None:
    """WavPack: blocks are numbered by samples; a file begins with 0, perhaps behind tags."""
    position, later = start, False
    for _ in range(MAX_STEPS):
        head = read_at(file, position, 20, size)
        if not head.startswith(b"wvpk"):
            behind = after_tag(file, position, size)
            if behind == position:
                return None
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

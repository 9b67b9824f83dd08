"""What the container of a file shows before a sample is decoded.

libsndfile stops at a length that it only guesses, and it reports no damage of a container. This
module tells which files it reads whole, and what is wrong with the others.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import BinaryIO

from msr_utils.audio import tags
from msr_utils.audio.chunks import (
    W64_DATA,
    Chunk,
    au_chunks,
    caf_chunks,
    mp4_boxes,
    read_at,
    riff_chunks,
    w64_chunks,
)
from msr_utils.audio.elementary import count_stream, find_stream, is_stream
from msr_utils.audio.endings import cut_unit
from msr_utils.audio.joined import begins_file, joined_files, part_behind
from msr_utils.audio.mp3 import (
    LOOKAHEAD_BYTES,
    Gap,
    after_tags,
    count_frames,
    free_format_seconds,
    starts_with_frames,
)
from msr_utils.audio.sizes import overrun
from msr_utils.audio.source import Deadline, Defect, file_size
from msr_utils.audio.tags import ID3V1_BYTES, after_tag, before_tags

UNKNOWN_CHUNK_SIZE = 0x7FFF0000
"""Programs that write to a pipe cannot know the size of the samples. They state 0, or a size from
here on."""

SAMPLE_CHUNKS = (b"data", b"SSND", W64_DATA)
"""Names of the chunk that holds the samples."""

CHUNK_MAGICS = (b"RIFF", b"RIFX", b"FORM")
"""First bytes of WAV and AIFF."""

LARGE_MAGICS = (b"RF64", b"riff", b"caff")
"""First bytes of RF64, W64 and CAF. They state sizes in 64 bits."""

PCM_MAGICS = (*CHUNK_MAGICS, *LARGE_MAGICS, b".snd")
"""First bytes of WAV, AIFF, RF64, W64, AU and CAF. Their samples lie in one piece."""

MAX_NAMED_GAPS = 3
"""Most damaged stretches that are named one by one."""

MIN_UNREAD_BYTES = 20_000
"""Fewer bytes after the samples are no music."""

MIN_ZEROS = 1000
"""Fewer zeros at the start of a file may belong to its format, as in MP4 and MPEG."""

CAF_PCM = (b"lpcm", b"alaw", b"ulaw")
"""Codings of CAF whose packets all have one size."""

MAX_INDEX_BYTES = 1 << 20
"""Bytes of the index of an MP4 file in which a mark of encryption is searched."""

ENCRYPTED_ENTRIES = (b"enca", b"drms")
"""Names of sample entries with encrypted sound: MPEG's and Apple's."""

BITSTREAM_BYTES = 1 << 14
"""Bytes of samples in which the first frame of a bit stream must begin."""

BITSTREAM_WORDS = (
    b"\x7f\xfe\x80\x01", b"\xfe\x7f\x01\x80", b"\x1f\xff\xe8\x00", b"\xff\x1f\x00\xe8",
    b"\x72\xf8\x1f\x4e",
)  # fmt: skip
"""First bytes of a frame of DTS (ETSI TS 102 114: 16 and 14 bits in both byte orders), and of
IEC 61937. Where music has them by chance, FFmpeg gives the same samples."""

TAGS = (b"ID3", b"APETAGEX")
"""First bytes of tags before the first frame."""

MAX_DEPTH = 8
"""Parts of parts of a file are opened to this depth."""

STREAM_CODES = (0x50, 0x55, 0x1600, 0x2000, 0x2001)
"""Codes of WAV for rows of frames: Layers I, II and III of MPEG audio, ADTS, AC-3 and DTS (RFC 2361
and Microsoft's ``mmreg.h``)."""

LAST_FRAME = Defect("cut short", "the file is cut short: its last frame is not whole")

REVERSED_BITS = bytes(int(f"{byte:08b}"[::-1], 2) for byte in range(256))
"""Every byte with its bits in the opposite order."""


@dataclass(frozen=True)
class Container:
    """What the container of a file shows.

    Parameters
    ----------
    simple : bool
        True if the samples lie in one undamaged piece, so that libsndfile can read it.
    seconds : float, optional
        Length that was counted; None if nothing was counted.
    stated_seconds : float, optional
        Length that the header states; None if it states none, or only an estimate.
    lost_seconds : float
        Estimated length of stretches that are no audio.
    demuxers : tuple of str
        FFmpeg's names of the format of which frames were counted; empty if none were.
    defects : tuple of Defect
    parts : tuple of (int, int)
        Start and end in bytes of the parts that are to be decoded one after the other; empty if
        the file is one.
    """

    simple: bool
    seconds: float | None = None
    stated_seconds: float | None = None
    lost_seconds: float = 0.0
    demuxers: tuple[str, ...] = ()
    defects: tuple[Defect, ...] = ()
    parts: tuple[tuple[int, int], ...] = ()


def examine(file: BinaryIO, deadline: Deadline) -> Container:
    """Examine a file; its samples are not decoded.

    Parameters
    ----------
    file : binary file
        It is set back to its start.
    deadline : Deadline

    Raises
    ------
    TimeLimitExceeded
        If it takes longer than the deadline allows.
    """
    head, size = file.read(12), file_size(file)
    nested = getattr(file, "depth", 0) >= MAX_DEPTH
    parts, unread = joined_files(file, size, deadline)
    if parts and not nested:
        return _of_parts(parts, unread)
    if head.startswith(PCM_MAGICS) and head[8:] != b"AVI ":
        found = _examine_chunks(file, head, size)
    elif head.startswith(b"OggS"):
        file.seek(0)
        found = _examine_ogg(file, deadline)
    elif head.startswith(TAGS) and (start := _tagged(file, size, deadline)):
        found = Container(simple=False, parts=((start, size),))
    elif head.startswith((*TAGS, b"\xff")) and not is_stream(file, 0, size):
        found = examine_mp3(file, deadline)
    elif not head.strip(b"\0"):
        found = _examine_zeros(file, deadline)
    else:
        found = _examine_frames(file, deadline)
        if unit := cut_unit(file, size, deadline):
            text = f"the file is cut short: its last {unit} is not whole"
            found = replace(found, defects=(*found.defects, Defect("cut short", text)))
    missing = overrun(file, size)
    if missing is not None:
        what = f" of {missing.what}" if missing.what else ""
        cut = f"{missing.there} of {missing.stated} bytes{what} are there"
        defect = Defect("cut short", f"the file is cut short: {cut}")
        found = replace(found, defects=(*found.defects, defect))
    file.seek(0)
    return replace(found, parts=()) if nested else found


def _of_parts(parts: tuple[tuple[int, int], ...], unread: int) -> Container:
    """A file that is made of several."""
    rest = Defect("header", f"{len(parts)} files follow each other; {unread} bytes were not read")
    return Container(simple=False, defects=(rest,) if unread else (), parts=parts)


def _tagged(file: BinaryIO, size: int, deadline: Deadline) -> int:
    """Position of a file of another format than MP3 behind a tag; 0 if none is there.

    FFmpeg looks for it only near the start of the file, and not in all formats.
    """
    start = after_tags(file, deadline)
    mp3 = starts_with_frames(read_at(file, start, LOOKAHEAD_BYTES, size))
    return start if start and not mp3 and begins_file(file, start, size) else 0


def _examine_zeros(file: BinaryIO, deadline: Deadline) -> Container:
    """Find what follows zeros at the start of a file."""
    size = file_size(file)  # 0 for a device, which would give zeros for ever
    start = 0
    while start < size and (data := file.read(1 << 20)):
        deadline.check()
        rest = data.lstrip(b"\0")
        start += len(data) - len(rest)
        if rest:
            break
    if start >= size or start < MIN_ZEROS:
        return Container(simple=False)
    zeros = Defect("damaged", f"the file is damaged: it begins with {start} zero bytes; skipped")
    return Container(simple=False, defects=(zeros,), parts=((start, size),))


def examine_mp3(file: BinaryIO, deadline: Deadline) -> Container:
    """Count the frames of an MP3 file and tell what is wrong with it."""
    size = file_size(file)
    if size - (end := before_tags(file, size)) not in (0, ID3V1_BYTES):
        return Container(simple=False, parts=((0, end),))
    frames = count_frames(file, deadline)
    if frames is None:  # FFmpeg cannot decode the free format.
        free_s = free_format_seconds(file, deadline)
        return Container(simple=free_s is not None, seconds=free_s)
    if parts := _behind_frames(file, size, frames.gaps, size - frames.trailing_bytes):
        return Container(simple=False, parts=parts)
    seconds_per_byte = frames.all_seconds / max(frames.n_bytes, 1)
    defects = tuple(_gap_defects(frames.gaps, seconds_per_byte))
    return Container(
        # libsndfile reads over a tag of this size, and stumbles over others.
        simple=not frames.gaps and frames.uniform and frames.trailing_bytes <= ID3V1_BYTES,
        seconds=frames.seconds,
        demuxers=("mp3",),
        stated_seconds=frames.stated_seconds,
        lost_seconds=sum(gap.n_bytes for gap in frames.gaps if gap.time_s) * seconds_per_byte,
        defects=defects if frames.complete else (*defects, LAST_FRAME),
    )


def _examine_frames(file: BinaryIO, deadline: Deadline) -> Container:
    """Count the frames of a stream without a container."""
    size = file_size(file)
    frames = count_stream(file, 0, size, deadline)
    if frames is None:
        return Container(simple=False)
    if (end := before_tags(file, size)) < size:
        # FFmpeg would take the tag for the end of the last frame.
        return Container(simple=False, parts=((0, end),))
    if parts := _behind_frames(file, size, frames.gaps, frames.end):
        return Container(simple=False, parts=parts)
    rest = size - frames.end
    if frames.complete and rest:  # FFmpeg would take it for the end of the last frame.
        may_be_sound = rest > MIN_UNREAD_BYTES or "amr" in frames.demuxers
        is_damage = may_be_sound and tags.after_tags(file, frames.end, size) < size
        text = f"the file is damaged: {rest} bytes behind its last frame are no audio; skipped"
        junk = (Defect("damaged", text),) if is_damage else ()
        return Container(simple=False, defects=junk, parts=((0, frames.end),))
    seconds_per_byte = frames.seconds / max(frames.n_bytes, 1)
    defects = tuple(_gap_defects(frames.gaps, seconds_per_byte))
    return Container(
        simple=False,
        seconds=frames.seconds,
        demuxers=frames.demuxers,
        lost_seconds=sum(gap.n_bytes for gap in frames.gaps if gap.time_s) * seconds_per_byte,
        defects=defects if frames.complete else (*defects, LAST_FRAME),
    )


def _behind_frames(
    file: BinaryIO, size: int, gaps: Sequence[Gap], end: int
) -> tuple[tuple[int, int], ...]:
    """Two parts if another file follows the frames, or stands between them; otherwise none."""
    starts = [gap.start for gap in gaps if gap.time_s] + [end]
    start = next((s for s in starts if part_behind(file, s, size) is not None), None)
    return ((0, start), (part_behind(file, start, size) or start, size)) if start else ()


def examine_damaged_start(file: BinaryIO) -> Container:
    """Find the first whole frame of a stream that begins within a frame, or with other bytes."""
    size = file_size(file)
    start, cut = find_stream(file, size)
    if not start:
        return Container(simple=False)
    defects = () if cut else tuple(_gap_defects((Gap(0.0, start),), 0.0))
    return Container(simple=False, defects=defects, parts=((start, size),))


def _gap_defects(gaps: Sequence[Gap], seconds_per_byte: float) -> Iterator[Defect]:
    """Bytes that are no frame, and the length of frames of the same size."""
    named = [
        f"{gap.n_bytes} bytes "
        + (f"after {gap.time_s:.1f} s" if gap.time_s else "before its first frame")
        + (f", the size of {gap.n_bytes * seconds_per_byte:.2f} s," if gap.time_s else "")
        for gap in gaps[:MAX_NAMED_GAPS]
    ]
    if more := gaps[MAX_NAMED_GAPS:]:
        n_bytes = sum(gap.n_bytes for gap in more)
        about = f"the size of {n_bytes * seconds_per_byte:.2f} s"
        named.append(f"{n_bytes} bytes at {len(more)} more places, {about},")
    for text in named:
        yield Defect("damaged", f"the file is damaged: {text} are no audio; skipped")


def _examine_ogg(file: BinaryIO, deadline: Deadline) -> Container:
    """Follow the pages of an Ogg file to one that ends a stream (RFC 3533, section 6)."""
    ended, position = False, 0
    starts: list[int] = []  # of links; each begins with the first pages of its streams
    among_first = False
    page_numbers: dict[int, int] = {}  # by stream, of the page that must follow
    with_sound: set[int] = set()  # streams of which a page with sound was read
    late = False
    damage = ""
    while (header := file.read(27)).startswith(b"OggS") and len(header) == 27:
        deadline.check()
        flags, granule, serial, number, checksum = struct.unpack("<5xBqIII", header[:26])
        lengths = file.read(header[26])
        page = header[:22] + bytes(4) + header[26:] + lengths + (body := file.read(sum(lengths)))
        if len(lengths) < header[26] or len(body) < sum(lengths):
            cut = Defect("cut short", "the file is cut short: its last page is not whole")
            return Container(simple=len(page_numbers) == 1, defects=(cut,))
        if _ogg_checksum(page) != checksum:
            damage = f"the checksum of the page at byte {position} is wrong"
            break
        if flags & 2 and not among_first:
            starts.append(position)
            page_numbers.clear()
        among_first = bool(flags & 2)
        if number != page_numbers.get(serial, number) and serial not in with_sound:
            late = True  # Whoever joins a radio station gets its first pages, then what is on.
        elif number != page_numbers.get(serial, number):
            damage = f"pages are missing before byte {position}"
            break
        page_numbers[serial] = number + 1
        with_sound |= {serial} if granule else set()  # Pages of headers have the position 0.
        ended = bool(flags & 4)
        position += len(page)
    else:
        if len(header) == 27 and not ended:
            damage = f"no page begins at byte {position}"
    if damage:
        return Container(
            simple=False, defects=(Defect("damaged", f"the file is damaged: {damage}"),)
        )
    # Several streams may lie beside each other, as in a video.
    simple = len(page_numbers) == 1 and len(starts) == 1 and not late
    parts = tuple(zip(starts, [*starts[1:], position], strict=True)) if len(starts) > 1 else ()
    size = file_size(file)
    if ended and (behind := part_behind(file, position, size)) is not None:
        return Container(simple=False, parts=(*(parts or ((0, position),)), (behind, size)))
    if ended:  # Tags or zeros may follow the end of the stream.
        rest = size - position
        return Container(simple, parts=parts or (((0, position),) if rest else ()))
    cut = Defect("cut short", "the file is cut short: no page ends its stream")
    return Container(simple, defects=(cut,), parts=parts)


def _ogg_checksum(page: bytes) -> int:
    """CRC-32 of Ogg: zlib's polynomial with the bits in the opposite order and no inversions."""
    reflected = zlib.crc32(page.translate(REVERSED_BITS), 0xFFFFFFFF) ^ 0xFFFFFFFF
    return int(f"{reflected:032b}"[::-1], 2)


def _examine_chunks(file: BinaryIO, head: bytes, size: int) -> Container:
    """Compare the stated size of the chunk of samples with the bytes that are there."""
    chunks = _chunks(file, head, size)
    samples = next((chunk for chunk in chunks if chunk.name in SAMPLE_CHUNKS), None)
    if samples is None:
        return Container(simple=True)
    there = size - samples.content
    known = 0 < samples.length < (1 << 62 if head.startswith(LARGE_MAGICS) else UNKNOWN_CHUNK_SIZE)
    defects: tuple[Defect, ...] = ()
    if there < samples.length:
        cut = f"{there} of {samples.length} bytes of samples are there"
        if known and head.startswith(CHUNK_MAGICS):  # `overrun` compares the others
            defects = (Defect("cut short", f"the file is cut short: {cut}"),)
    elif known:
        defects = tuple(_after_samples(file, samples, chunks, size))
    end = min(samples.content + samples.length, size) if known else size
    if _stream_code(file, head, size) in STREAM_CODES:
        # libsndfile stops at a length that it guesses, and at the first damage.
        return Container(False, defects=defects, parts=((samples.content, end),))
    if head.startswith(b"riff") and (last := _w64_end(file, size)) < size:
        return Container(simple=False, defects=defects, parts=((0, last),))
    if head.startswith(CHUNK_MAGICS) and there >= samples.length:
        if _is_bitstream(file, samples, size):
            return Container(simple=False)  # FFmpeg finds out what it is.
        if not samples.length:  # libsndfile reads nothing of such a chunk
            return Container(simple=there == 0)
    return Container(True, defects=defects)


def _chunks(file: BinaryIO, head: bytes, size: int) -> Iterator[Chunk]:
    """Chunks of a file whose samples lie in one piece."""
    if head.startswith(b"riff"):
        return w64_chunks(file, 0, size)
    if head.startswith(b"caff"):
        return caf_chunks(file, 0, size)
    if head.startswith(b".snd"):
        return au_chunks(file, 0, size)
    return riff_chunks(file, 0, size)


def _stream_code(file: BinaryIO, head: bytes, size: int) -> int:
    """The code of the coding of a WAV file; 0 for other files."""
    if not head.startswith((b"RIFF", b"RF64")):
        return 0
    described = next((c for c in riff_chunks(file, 0, size) if c.name == b"fmt "), None)
    code = read_at(file, described.content, 2, size) if described else b""
    return int.from_bytes(code, "little")


def _after_samples(
    file: BinaryIO, samples: Chunk, chunks: Iterator[Chunk], size: int
) -> Iterator[Defect]:
    """Tell if more samples follow those that are read, as after a wrong size."""
    position = samples.end
    for chunk in chunks:
        if not _is_chunk(chunk) and after_tag(file, chunk.start, size) == chunk.start:
            break
        position = chunk.end
    rest = size - position
    if rest > MIN_UNREAD_BYTES:
        yield Defect(
            "header", f"its header states a wrong size: the last {rest} bytes were not read"
        )


def _is_chunk(chunk: Chunk) -> bool:
    """Whether a chunk behind the samples is one, and not more samples."""
    if len(chunk.name) > 4:
        return chunk.name.startswith(b"list") or chunk.name[4:] == W64_DATA[4:]
    name = chunk.name.strip(b" ")
    return name[:3] == b"ID3" or name.isalnum() and chunk.name not in SAMPLE_CHUNKS


def _w64_end(file: BinaryIO, size: int) -> int:
    """End of the last chunk of a W64 file. libsndfile takes a tag behind it for samples."""
    end = size
    behind = False
    for chunk in w64_chunks(file, 0, size):
        if behind and not _is_chunk(chunk):
            break
        behind = behind or chunk.name == W64_DATA
        end = chunk.end if behind else size
    return end


def missing_index(file: BinaryIO) -> str:
    """The index that a file lacks, in words; empty if it has one, or needs none.

    Recorders write it last: ``moov`` of MP4 (ISO/IEC 14496-12, section 8.2) and ``pakt`` of CAF.
    """
    size = file_size(file)
    head = read_at(file, 0, 8, size)
    boxes = {box.name for box in mp4_boxes(file, 0, size)}  # QuickTime needs no ``ftyp``.
    whole = b"mdat" in boxes and b"moof" not in boxes
    if (head[4:] == b"ftyp" or whole) and b"moov" not in boxes:
        return "the index at the end of an MP4 file"
    if head.startswith(b"caff"):
        found = {chunk.name: chunk for chunk in caf_chunks(file, 0, size)}
        described = found.get(b"desc")
        coded = described and read_at(file, described.content + 8, 4, size) not in CAF_PCM
        if coded and b"data" in found and b"pakt" not in found:
            return "the packet table at the end of a CAF file"
    return ""


def is_encrypted(file: BinaryIO) -> bool:
    """Whether the sound of an MP4 file is encrypted (ISO/IEC 14496-12, section 8.12)."""
    size = file_size(file)
    if read_at(file, 4, 4, size) != b"ftyp":
        return False
    index = next((box for box in mp4_boxes(file, 0, size) if box.name == b"moov"), None)
    content = read_at(file, index.content, MAX_INDEX_BYTES, size) if index else b""
    return any(entry in content for entry in ENCRYPTED_ENTRIES)


def _is_bitstream(file: BinaryIO, samples: Chunk, size: int) -> bool:
    """Whether 16-bit samples are DTS or IEC 61937, as audio CDs and receivers carry them."""
    start = read_at(file, samples.content, BITSTREAM_BYTES, size)
    return any(word in start for word in BITSTREAM_WORDS)

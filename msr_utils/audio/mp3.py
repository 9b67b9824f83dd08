"""Count the frames of an MP3 file, whatever its header states.

An MP3 file is a row of frames. A header that tells their number is optional, and it can be wrong.
Only counting tells how much audio a file holds, and where bytes lie that are no frame.

References
----------
ISO/IEC 11172-3 and 13818-3: header of a frame, samples and bytes of a frame. The first frame may
hold a tag instead of audio: *Xing* or *Info* (number of frames), and behind it *LAME* (samples
that the encoder added).
"""

from __future__ import annotations

import functools
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import BinaryIO

from msr_utils.audio.source import Deadline, file_size
from msr_utils.audio.tags import id3_bytes

WINDOW_BYTES = 1 << 20
"""Bytes read at a time."""

LOOKAHEAD_BYTES = 4096
"""Bytes that must be known after a position: more than a frame and the header behind it."""

MAX_ATTEMPTS = 20_000
"""Most places that are tried for a next frame behind foreign bytes. A file made of false starts
would take minutes otherwise."""

MAX_TAGS = 1000
"""Most ID3v2 tags that may follow each other."""

LAYER_3 = 1
MONO = 3
BITRATES_KBPS = {
    3: (0, 32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320),
    2: (0, 8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160),
}
"""Bit rates of Layer III by version (3: MPEG 1; 2: MPEG 2, and MPEG 2.5 likewise)."""

RATES_HZ = {3: (44100, 48000, 32000), 2: (22050, 24000, 16000), 0: (11025, 12000, 8000)}
"""Sample rates by version (3: MPEG 1, 2: MPEG 2, 0: MPEG 2.5)."""

APE_TAG = b"APETAGEX"
APE_IS_HEADER = 0x20
"""Flag of the part of a tag that stands at its start."""

TRAILERS = (b"TAG", b"APETAGEX", b"LYRICSBEGIN", b"ID3", b"3DI")
"""First bytes of tags that may follow the last frame."""


@dataclass(frozen=True)
class Gap:
    """Bytes that are no frame.

    Parameters
    ----------
    time_s : float
        Length of the audio before them.
    n_bytes : int
    start : int
        Position in the file.
    """

    time_s: float
    n_bytes: int
    start: int = 0


@dataclass(frozen=True)
class Mp3Frames:
    """Frames that an MP3 file holds.

    Parameters
    ----------
    count : int
        Frames of audio.
    frame_samples : int
        Samples of a frame, of the first kind of frames.
    rate : int
        Sample rate of the first kind in Hz.
    stated : int or None
        Number of frames that the header states.
    added_samples : int
        Samples that the encoder added at the start and at the end, if the header tells it.
    gaps : tuple of Gap
        Foreign bytes before, between and after the frames. Tags are not foreign.
    complete : bool
        False if the search was given up, or if the last frame lacks bytes.
    all_seconds : float
        Length of all frames, with what the encoder added.
    uniform : bool
        True if all frames have the same version and rate, and either all or none are mono.
    trailing_bytes : int
        Bytes after the last frame: tags, zeros and others.
    n_bytes : int
        Bytes of all frames.
    """

    count: int
    frame_samples: int
    rate: int
    stated: int | None
    added_samples: int
    gaps: tuple[Gap, ...]
    complete: bool
    all_seconds: float
    uniform: bool
    trailing_bytes: int
    n_bytes: int

    @property
    def seconds(self) -> float:
        """Length of the audio, without what the encoder added."""
        return max(self.all_seconds - self.added_samples / self.rate, 0.0)

    @property
    def stated_seconds(self) -> float | None:
        """Length that the header states, or None."""
        if self.stated is None:
            return None
        return max(self.stated * self.frame_samples - self.added_samples, 0) / self.rate


@dataclass(frozen=True)
class _Kind:
    """What all frames of a recording have in common."""

    version: int
    rate_index: int

    @property
    def rate(self) -> int:
        return RATES_HZ[self.version][self.rate_index]

    @property
    def frame_samples(self) -> int:
        return 1152 if self.version == 3 else 576

    @functools.cached_property
    def lengths(self) -> dict[bytes, int]:
        """Bytes of a frame by the second and third byte of its header."""
        bitrates = BITRATES_KBPS[3 if self.version == 3 else 2]
        return {
            bytes(
                (self._second(no_crc), index << 4 | self.rate_index << 2 | padding << 1 | private)
            ): (self.frame_samples // 8 * bitrates[index] * 1000 // self.rate + padding)
            for no_crc in (0, 1)
            for index in range(1, len(bitrates))
            for padding in (0, 1)
            for private in (0, 1)
        }

    def _second(self, no_crc: int) -> int:
        return 0xE0 | self.version << 3 | LAYER_3 << 1 | no_crc


KINDS = {(version, index): _Kind(version, index) for version in RATES_HZ for index in range(3)}
HEADER_START = re.compile(rb"\xff[\xe2\xe3\xf2\xf3\xfa\xfb][\x10-\xef]")
"""First bytes of a header of Layer III. The bit rate is neither free nor invalid."""


FREE_START = re.compile(rb"\xff[\xe2\xe3\xf2\xf3\xfa\xfb][\x00-\x0f]")
"""First bytes of a header of Layer III that states no bit rate (free format)."""

MAX_FREE_REST = 128
"""Most bytes behind the last frame: libsndfile reads over a tag of this size."""

CHECK_EVERY = 1024
"""Frames between two looks at the clock."""

MIN_FREE_BYTES = 96
"""Shorter frames are no music. libsndfile would search long in a file that is made of them."""

FREE_BYTES = 1 << 16


class _Window:
    """Part of a file that moves forward; `data[at]` is the byte at the current position."""

    def __init__(self, file: BinaryIO, deadline: Deadline) -> None:
        file.seek(0)
        self._file, self._deadline = file, deadline
        self._read = 0  # bytes of the file up to the end of `data`
        self.data, self.at, self.ended = b"", 0, False

    @property
    def position(self) -> int:
        return self._read - len(self.data) + self.at

    @property
    def known(self) -> int:
        """End of the positions in `data` that have enough bytes after them."""
        return len(self.data) if self.ended else len(self.data) - LOOKAHEAD_BYTES

    def fill(self) -> None:
        """Read until the current position is `known`, or the file ends."""
        self._deadline.check()
        while self.at >= self.known and not self.ended:
            if self.at > len(self.data):  # beyond what was read, after a long tag
                self._read += self.at - len(self.data)
                self._file.seek(self._read)
                self.data, self.at = b"", 0
            more = self._file.read(WINDOW_BYTES)
            self._read += len(more)
            self.ended = not more
            self.data, self.at = self.data[self.at :] + more, 0


def starts_with_frames(data: bytes, count: int = 2) -> bool:
    """Whether so many frames of Layer III follow each other at the start of `data`."""
    match = HEADER_START.match(data)
    kind = KINDS.get((match[0][1] >> 3 & 3, match[0][2] >> 2 & 3)) if match else None
    at = 0
    for _ in range(count):
        size = kind.lengths.get(data[at + 1 : at + 3]) if kind else None
        if size is None or data[at : at + 1] != b"\xff":
            return False
        at += size
    return True


def after_tags(file: BinaryIO, deadline: Deadline) -> int:
    """Position of the first byte after tags."""
    window = _Window(file, deadline)
    _skip_tags(window, first=True)
    return window.position


def free_format_seconds(file: BinaryIO, deadline: Deadline) -> float | None:
    """Length of an undamaged MP3 file in free format; None for other files.

    All its frames have the same length, to one byte of padding.
    """
    window = _Window(file, deadline)
    _skip_tags(window, first=True)
    start, data = window.position, window.data[window.at : window.at + FREE_BYTES]
    kind = KINDS.get((data[1] >> 3 & 3, data[2] >> 2 & 3)) if FREE_START.match(data) else None
    following = (match.start() for match in FREE_START.finditer(data, 1))
    length = next((at for at in following if _same_free(data[at:], data)), 0)
    if kind is None or length < MIN_FREE_BYTES:
        return None
    position, size, count = start, file_size(file), 0
    while position + length <= size:
        if count % CHECK_EVERY == 0:
            deadline.check()
        count += 1
        file.seek(position + length - 1)
        near = file.read(5)  # The first frame may have a byte of padding, or the others.
        found = next((k for k in range(3) if _same_free(near[k:], data)), None)
        if found is None:
            position += length
            break
        position += length - 1 + found
    whole = size - position <= MAX_FREE_REST
    return count * kind.frame_samples / kind.rate if whole else None


def _same_free(header: bytes, first: bytes) -> bool:
    """Whether a frame of free format is of the same recording as another."""
    return len(header) > 2 and header[:2] == first[:2] and header[2] & 0xFC == first[2] & 0xFC


def count_frames(file: BinaryIO, deadline: Deadline) -> Mp3Frames | None:
    """Count the frames of a file.

    Parameters
    ----------
    file : binary file
        It is read from its start.
    deadline : Deadline

    Returns
    -------
    Mp3Frames or None
        None if the file holds no two frames of Layer III that follow each other.

    Raises
    ------
    TimeLimitExceeded
        If it takes longer than the deadline allows.
    """
    window = _Window(file, deadline)
    _skip_tags(window, first=True)
    attempts = iter(range(MAX_ATTEMPTS))
    before = window.position
    kind = _find_frame(window, attempts)
    if kind is None:
        return None
    gaps = [Gap(0.0, window.position - before, before)] if window.position > before else []
    first = kind
    stated, added = _length_tag(window.data[window.at : window.at + 400])
    count, seconds, complete, uniform, n_bytes = 0, 0.0, True, True, 0
    mono = _is_mono(window)
    while True:
        row_start = window.position
        row, same = _count_row(window, kind, mono)
        n_bytes += window.position - row_start
        count += row
        seconds += row * kind.frame_samples / kind.rate
        uniform = uniform and same
        start = window.position
        if _skip_tags(window):
            continue
        rest = window.data[window.at : window.at + LOOKAHEAD_BYTES]
        if not rest or rest.startswith(TRAILERS):
            break
        if kind.lengths.get(rest[1:3], 0) > len(rest):
            complete = False  # the last frame lacks bytes
            break
        found = _find_frame(window, attempts)
        if window.position > start and (found is not None or rest.strip(b"\0")):
            gaps.append(Gap(seconds, window.position - start, start))
        if found is None:
            complete = window.ended
            break
        # Another recording may follow.
        uniform, kind = uniform and found == kind, found
    if stated is not None:  # the first frame is its tag, not audio
        count, seconds = count - 1, seconds - first.frame_samples / first.rate
    return Mp3Frames(
        count, first.frame_samples, first.rate, stated, added, tuple(gaps), complete, seconds,
        uniform, file_size(file) - start, n_bytes,
    )  # fmt: skip


def _is_mono(window: _Window) -> bool:
    return window.data[window.at + 3] >> 6 == MONO


def _count_row(window: _Window, kind: _Kind, mono: bool) -> tuple[int, bool]:
    """Count frames that follow each other without a gap, and go to the end of the last.

    Returns
    -------
    count : int
    same : bool
        True if all frames are mono as `mono` says.
    """
    count, lengths, same = 0, kind.lengths, True
    while True:
        window.fill()
        data, at, known = window.data, window.at, window.known
        while at < known:
            size = lengths.get(data[at + 1 : at + 3])
            if size is None or data[at] != 0xFF or at + size > len(data):
                window.at = at
                return count, same
            if (data[at + 3] >= 0xC0) != mono:
                same = False
            count += 1
            at += size
        window.at = at
        if window.ended:
            return count, same


def _skip_tags(window: _Window, first: bool = False) -> bool:
    """Go behind tags before frames; False if there is none.

    ID3v2 is known, and before the first frame APEv2.
    """
    skipped = False
    for _ in range(MAX_TAGS):
        window.fill()
        tag = window.data[window.at : window.at + 32]
        if first and tag.startswith(APE_TAG) and len(tag) == 32 and tag[23] & APE_IS_HEADER:
            window.at += 32 + int.from_bytes(tag[12:16], "little")
            skipped = True
            continue
        length = id3_bytes(tag)
        if not length:
            return skipped
        window.at += length
        skipped = True
    return skipped


def _find_frame(window: _Window, attempts: Iterator[int]) -> _Kind | None:
    """Go to the next frame that another of its kind follows, and give the kind.

    None if there is no such frame, or if all attempts are used.
    """
    while True:
        window.fill()
        known = window.known
        for match in HEADER_START.finditer(window.data, window.at):
            start = match.start()
            if start >= known:
                break
            if next(attempts, None) is None:
                return None
            version, rate_index = match[0][1] >> 3 & 3, match[0][2] >> 2 & 3
            found = KINDS.get((version, rate_index))
            if found is None:
                continue
            end = start + found.lengths[match[0][1:]]
            following = window.data[end : end + 3]
            if following[:1] == b"\xff" and following[1:] in found.lengths:
                window.at = start
                return found
        window.at = max(window.at, known)
        if window.ended:
            return None


def _length_tag(frame: bytes) -> tuple[int | None, int]:
    """Number of frames and added samples that the tag in the first frame states."""
    found = re.search(rb"Xing|Info", frame[:64])
    if found is None:
        return (int.from_bytes(frame[50:54], "big"), 0) if frame[36:40] == b"VBRI" else (None, 0)
    at = found.end()
    flags = int.from_bytes(frame[at : at + 4], "big")
    stated = int.from_bytes(frame[at + 4 : at + 8], "big") if flags & 1 else None
    at += 4 + 4 * bool(flags & 1) + 4 * bool(flags & 2) + 100 * bool(flags & 4)
    at += 4 * bool(flags & 8)
    encoder = frame[at : at + 24]
    if not encoder.startswith((b"LAME", b"Lavc", b"Lavf")) or len(encoder) < 24:
        return stated, 0
    added = int.from_bytes(encoder[21:24], "big")
    return stated, (added >> 12) + (added & 0xFFF)

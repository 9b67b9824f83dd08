"""Two decoders behind one interface: libsndfile, and the choice when FFmpeg is needed.

libsndfile is faster. It is used where it is known to read all that a file holds. FFmpeg reads
everything else: formats that libsndfile lacks, and files whose length libsndfile would guess.
"""

from __future__ import annotations

import io
import os
import re
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import BinaryIO, Protocol, cast

import numpy as np
import soundfile as sf

from msr_utils.audio.container import (
    UNKNOWN_CHUNK_SIZE,
    Container,
    examine,
    examine_damaged_start,
    examine_mp3,
)
from msr_utils.audio.source import (
    MAX_LOSSY_PEAK,
    AudioError,
    Deadline,
    Defect,
    FilePart,
    check_format,
)

BLOCK_SECONDS = 10.0
"""Seconds of audio decoded at a time. Memory stays constant, however long the file is."""

MAX_BLOCK_VALUES = 2**20
"""Most values decoded at a time: samples times channels."""

COUNT_TOLERANCE_S = 0.06
"""libsndfile is trusted with an MP3 file if it finds the counted length, to two frames."""

FRAME_DEMUXERS = ("aac", "ac3", "dts", "eac3", "mp3")
"""FFmpeg's names of formats without a container."""

MAX_NAMED_DEFECTS = 10
"""Most defects of parts that are named one by one."""

_CLIPPED_SIZE = re.compile(r"\b(?:data|SSND|Data Size)\s*: (\d+) \(should be (\d+)\)")
"""libsndfile's log entry for a file with fewer bytes than its header states."""


class Reader(Protocol):
    """Audio that is decoded once, from its start."""

    @property
    def stated_seconds(self) -> float | None:
        """Length that the header states, or None if it states none or an estimate."""

    @property
    def lost_seconds(self) -> float:
        """Length of what could not be decoded; complete after `blocks` has ended."""

    def blocks(self) -> Iterator[tuple[np.ndarray, int]]:
        """Samples, (n, channels) float32, and their rate in Hz; blocks of any length."""

    def defects(self) -> list[Defect]:
        """What the decoder found wrong; complete after `blocks` has ended."""

    def close(self) -> None:
        """Free the decoder; the file stays open."""


def open_reader(file: BinaryIO, name: str, deadline: Deadline) -> tuple[Reader, Container]:
    """Examine a file, choose a decoder and open it.

    Parameters
    ----------
    file : binary file
        From `msr_utils.audio.source.open_source`.
    name : str
        Name of the file in messages.
    deadline : Deadline

    Raises
    ------
    AudioError
        If the file is not audio that can be decoded.
    TimeLimitExceeded
        If it takes longer than the deadline allows.
    """
    container = examine(file, deadline)
    if len(container.parts) == 1:  # Something that is no audio stands before or behind it.
        return _open_part(file, container, name, deadline)
    if container.parts:
        return PartsReader(file, container.parts, name, deadline), container
    if container.simple and (reader := _open_soundfile(file, name, container, deadline)):
        return reader, container
    from msr_utils.audio.ffmpeg import FFmpegReader  # Most files do not need it.

    try:
        other = FFmpegReader(file, name, deadline)
    except AudioError:
        if (damaged := examine_damaged_start(file)).parts:
            return _open_part(file, damaged, name, deadline)
        raise
    if container.demuxers and other.demuxer not in container.demuxers:
        # Other formats begin with an ID3 tag, or with the same sync bits.
        return other, Container(simple=False)
    if other.demuxer == "mp3" and container.seconds is None:
        container = examine_mp3(file, deadline)
    counted = container.demuxers or other.demuxer not in FRAME_DEMUXERS
    if not counted and (damaged := examine_damaged_start(file)).parts:
        other.close()
        return _open_part(file, damaged, name, deadline)
    return other, container


def _open_part(
    file: BinaryIO, container: Container, name: str, deadline: Deadline
) -> tuple[Reader, Container]:
    """Open the only part of a file that is audio."""
    part = cast(BinaryIO, FilePart(file, *container.parts[0]))
    inside, inner = open_reader(part, name, deadline)
    return inside, replace(inner, defects=(*container.defects, *inner.defects))


class PartsReader:
    """Reads parts of a file one after the other, each as a file of its own; see `Reader`.

    Parts may differ in codec, rate and channels.
    """

    stated_seconds = None

    def __init__(
        self, file: BinaryIO, parts: tuple[tuple[int, int], ...], name: str, deadline: Deadline
    ) -> None:
        self._file, self._parts, self._name, self._deadline = file, parts, name, deadline
        self._defects: list[Defect] = []
        self.lost_seconds = 0.0

    def blocks(self) -> Iterator[tuple[np.ndarray, int]]:
        """Decode part by part. A part that cannot be decoded is skipped and named as a defect.

        Raises
        ------
        AudioError
            If no part can be decoded.
        TimeLimitExceeded
            As `open_reader` does.
        """
        failure: AudioError | None = None
        n_blocks = 0
        for number, (start, end) in enumerate(self._parts, 1):
            self._deadline.check()
            try:
                for block in self._part_blocks(start, end):
                    n_blocks += 1
                    yield block
            except AudioError as error:
                failure = error
                reason = str(error).removeprefix(f"{self._name}: ")
                self._defects.append(
                    Defect(
                        "damaged",
                        f"the file is damaged: part {number} of {len(self._parts)}, bytes {start} "
                        f"to {end}, could not be decoded ({reason}); skipped",
                    )
                )
        if failure is not None and not n_blocks:
            raise failure

    def _part_blocks(self, start: int, end: int) -> Iterator[tuple[np.ndarray, int]]:
        """Decode one part."""
        part = cast(BinaryIO, FilePart(self._file, start, end))
        reader, container = open_reader(part, self._name, self._deadline)
        try:
            yield from reader.blocks()
            self._defects += [*container.defects, *reader.defects()]
            self.lost_seconds += reader.lost_seconds
        finally:
            reader.close()

    def defects(self) -> list[Defect]:
        """What is wrong with the parts."""
        found = list(dict.fromkeys(self._defects))
        if more := found[MAX_NAMED_DEFECTS:]:
            text = f"the file is damaged: {len(more)} more defects in other parts"
            found[MAX_NAMED_DEFECTS:] = [Defect("damaged", text)]
        return found

    def close(self) -> None:
        """Nothing: each part is closed at its end."""


def _open_soundfile(
    file: BinaryIO, name: str, container: Container, deadline: Deadline
) -> SoundFileReader | None:
    """Open a file with libsndfile; None if it cannot read the file, or not all of it."""
    try:
        opened = _ForwardSoundFile(_descriptor(file))
    except (sf.LibsndfileError, TypeError):
        return None
    found_s = opened.frames / opened.samplerate
    if not container.demuxers:
        return SoundFileReader(opened, name)
    if container.seconds is not None and found_s < container.seconds - COUNT_TOLERANCE_S:
        opened.close()
        return None

    def by_ffmpeg() -> Reader:
        from msr_utils.audio.ffmpeg import FFmpegReader

        return FFmpegReader(file, name, deadline)

    return SoundFileReader(opened, name, by_ffmpeg)


def _descriptor(file: BinaryIO) -> int | BinaryIO:
    """A descriptor of its own for a file on disk, which libsndfile reads without Python.

    It loses errors, and Ctrl-C too, that occur while it reads through Python. The file would seem
    to end there. Given a path, it looks for a resource fork beside it.
    """
    if os.name != "posix" or not isinstance(file, io.BufferedReader):
        return file
    try:
        descriptor = os.open(file.name, os.O_RDONLY)
    except (OSError, TypeError):  # it has no name, as standard input
        return file
    if os.path.samestat(os.fstat(descriptor), os.fstat(file.fileno())):
        return descriptor
    os.close(descriptor)
    return file


class _ForwardSoundFile(sf.SoundFile):  # type: ignore[misc, unused-ignore]  # no types
    """A sound file that is only read forward.

    soundfile seeks to its current position after every read. A seek restarts the MP3 decoder,
    which then lacks the bit reservoir of earlier frames. Up to 40 ms of samples at the start of
    every block would differ.
    """

    def seekable(self) -> bool:
        return False


class SoundFileReader:
    """Reads a file with libsndfile; see `Reader`.

    Parameters
    ----------
    file : soundfile.SoundFile
    name : str
        Name of the file in messages.
    instead : callable, optional
        Opens a reader that goes on where libsndfile cannot decode the frames of a lossy format.
    """

    def __init__(
        self, file: sf.SoundFile, name: str, instead: Callable[[], Reader] | None = None
    ) -> None:
        check_format(file.samplerate, file.channels, name)
        self._file, self._name, self._instead = file, name, instead
        self._other: Reader | None = None

    @property
    def stated_seconds(self) -> float | None:
        """Length of PCM that the header states; libsndfile reduces it to the bytes there are."""
        clipped = _CLIPPED_SIZE.search(self._file.extra_info)
        if clipped is None:
            return None
        stated, there = map(int, clipped.groups())
        if not 0 < there < stated < UNKNOWN_CHUNK_SIZE:
            return None
        seconds: float = self._file.frames / self._file.samplerate * stated / there
        return seconds

    @property
    def lost_seconds(self) -> float:
        """Nothing, unless another reader went on: libsndfile goes on or fails."""
        return self._other.lost_seconds if self._other is not None else 0.0

    def blocks(self) -> Iterator[tuple[np.ndarray, int]]:
        """Decode block by block.

        Raises
        ------
        AudioError
            If libsndfile cannot go on.
        """
        rate = self._file.samplerate
        block = min(int(BLOCK_SECONDS * rate), MAX_BLOCK_VALUES // self._file.channels)
        decoded = 0
        while True:
            try:
                samples = self._file.read(block, dtype="float32", always_2d=True)
            except sf.LibsndfileError as error:
                if self._instead is not None:
                    yield from self._go_on(decoded)
                    return
                reason = error.error_string.strip().rstrip(".")
                raise AudioError(
                    f"{self._name}: decoding failed after {decoded / rate:.1f} s ({reason}); "
                    "the file is damaged"
                ) from error
            if not len(samples):
                return
            if self._instead is not None and samples.max() > MAX_LOSSY_PEAK:
                yield from self._go_on(decoded)
                return
            decoded += len(samples)
            yield samples, rate

    def _go_on(self, decoded: int) -> Iterator[tuple[np.ndarray, int]]:
        """Blocks of the other reader, from a sample on."""
        assert self._instead is not None
        self._other = self._instead()
        for samples, rate in self._other.blocks():
            if len(samples) > decoded:
                yield samples[decoded:], rate
            decoded = max(decoded - len(samples), 0)

    def defects(self) -> list[Defect]:
        """Nothing, unless another reader went on: libsndfile reports no defect."""
        return self._other.defects() if self._other is not None else []

    def close(self) -> None:
        """Free the decoder; the file stays open."""
        self._file.close()
        if self._other is not None:
            self._other.close()

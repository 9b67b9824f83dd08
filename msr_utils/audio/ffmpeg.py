"""Read audio with FFmpeg's demuxers and decoders, through PyAV."""

from __future__ import annotations

import ctypes
import functools
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, BinaryIO, cast

import av
import numpy as np
from av.container import InputContainer

from msr_utils.audio.container import MAX_NAMED_GAPS, is_encrypted, missing_index
from msr_utils.audio.formats import (
    FFMPEG_DECODERS,
    FFMPEG_DEMUXERS,
    FORMAT_NAMES,
    unreadable_format,
)
from msr_utils.audio.joined import find_file
from msr_utils.audio.source import (
    MAX_CHANNELS,
    MAX_LOSSY_PEAK,
    MAX_RATE,
    MIN_RATE,
    AudioError,
    Deadline,
    Defect,
    FilePart,
    check_format,
    file_size,
)

MIN_GAP_S = 0.05
"""Shorter gaps in the time stamps are not reported. Less than two frames of MP3 or AAC are lost
where recordings are joined, and some containers round their time stamps."""

GUESSED_FACTOR = 1.1
"""Time stamps that reach beyond this multiple of the stated length are guessed."""

GUESSED_WITHIN_S = 0.2
"""Gaps are guessed where the stated length was decoded to this time in s."""

MAX_FRAME_SAMPLES = 1 << 20
"""Most samples per channel that a decoder may give at once. A header may state more."""

EXACT_LENGTHS = ("flac", "mov", "matroska", "wv", "ape", "tta")
"""Demuxers whose stated length is exact. The others estimate it from the size of the file."""

LOSSLESS_FILES = ("flac", "wv", "ape", "tta")
"""Demuxers of files that hold each sample that they state."""

MAX_ROUNDING_S = 0.01
"""Lengths of the same samples differ by less."""

MIN_FOLLOWING_BYTES = 1 << 14
"""Fewer bytes behind the last packet of a transport stream hold no other recording."""

PAUSE_S = 5.0
"""Where a transport stream has more bytes than this length has between two packets, another
recording may lie between them."""

LOSSLESS = ("pcm_", "wavpack", "flac", "alac", "ape", "tta", "truehd", "mlp", "wmalossless")
"""First letters of FFmpeg's names of codecs that keep samples of any size."""

CHECKED = ("flac", "tta")
"""Codecs whose frames have a checksum that FFmpeg compares only if it is told to. A frame with a
wrong one is left out. The checksums of AC-3 are not compared: not all encoders write them right."""

MAX_PLANES = 7
"""Most planes of a frame that PyAV hands over. With more, it reads beyond the end of a table."""

MAX_FAILED_PACKETS = 5_000
"""So many packets that cannot be decoded, one after the other, are not damage but no audio."""

PROBE_BYTES = 2_000_000
"""Bytes read to find the streams. Their packets wait in memory, and a small one takes much more
memory than it has bytes."""

MAX_ALLOCATION = 1 << 26
"""Most bytes that FFmpeg may allocate at once for a small file. Its index may state millions of
packets, and FFmpeg would make room for all of them."""

INDEX_FACTOR = 2
"""A large file may need this multiple of its size for its index: 24 bytes for each packet, which
has at least 13 bytes where it is speech."""


class _CheckedFile:
    """A file for FFmpeg, with a position of its own.

    FFmpeg goes on reading where it stopped, whatever else looks into the file meanwhile. Each read
    checks the deadline, so that no call can go on for ever.
    """

    def __init__(self, file: BinaryIO, deadline: Deadline) -> None:
        self._file, self._deadline = file, deadline
        self._position = 0

    def read(self, size: int) -> bytes:
        self._deadline.check()
        self._file.seek(self._position)
        data = self._file.read(size)
        self._position += len(data)
        return data

    def seek(self, offset: int, whence: int = 0) -> int:
        self._deadline.check()
        try:
            self._file.seek(self._position)
            self._position = self._file.seek(offset, whence)
        except (OSError, OverflowError, ValueError):  # A header may state any position.
            return -1
        return self._position

    def tell(self) -> int:
        return self._position


class FFmpegReader:
    """Reads the first audio stream of a file; see `msr_utils.audio.readers.Reader`.

    Parameters
    ----------
    file : binary file
    name : str
        Name of the file in messages.
    deadline : Deadline
    without : int, optional
        Identifier of a stream that is not read.

    Raises
    ------
    AudioError
        If the file is none of the documented containers, holds no audio, or holds audio for which
        there is no decoder.
    TimeLimitExceeded
        If it takes longer than the deadline allows.
    """

    def __init__(
        self, file: BinaryIO, name: str, deadline: Deadline, without: int | None = None
    ) -> None:
        self._name, self._deadline = name, deadline
        self._file = file
        with ExitStack() as resources:
            resources.enter_context(_allocations().allowed(INDEX_FACTOR * file_size(file)))
            self._container = self._open(file)
            self._stream = self._best_stream(without)
            self._resources = resources.pop_all()
        coded = self._stream.codec_context.name
        self._lossy = not coded.startswith(LOSSLESS)
        self._min_gap_s = MAX_ROUNDING_S if self.demuxer in LOSSLESS_FILES else MIN_GAP_S
        self._lost: list[tuple[float, float]] = []  # (start in s, length in s)
        self._decoded_seconds = 0.0
        self._failed_seconds = 0.0
        self._ended_early = ""
        self._following: FFmpegReader | None = None

    def _open(self, file: BinaryIO) -> InputContainer:
        try:
            return av.open(
                _CheckedFile(file, self._deadline),
                metadata_errors="replace",
                mode="r",
                options={
                    "probesize": str(PROBE_BYTES),
                    "format_whitelist": ",".join(FFMPEG_DEMUXERS),
                    "codec_whitelist": ",".join(FFMPEG_DECODERS),
                },
            )
        except (av.FFmpegError, ValueError) as error:
            raise AudioError(f"{self._name}: {_refusal(file, error)}") from error

    def _best_stream(self, without: int | None) -> Any:
        """The audio stream that a player would choose."""
        streams = [s for s in self._container.streams.audio if without is None or s.id != without]
        if not streams:
            what = "a video without sound" if self._container.streams.video else "no audio"
            raise AudioError(f"{self._name}: holds {what}")
        best = self._container.streams.best("audio")
        stream = best if best in streams else streams[0]
        context: Any = stream.codec_context
        coded = context.name if context is not None else ""
        if coded not in FFMPEG_DECODERS:
            raise AudioError(
                f"{self._name}: its audio is coded as {coded or 'an unknown format'}, which "
                f"cannot be decoded here; convert it, for instance to FLAC"
            )
        if context.sample_rate and context.layout.nb_channels:
            check_format(context.sample_rate, context.layout.nb_channels, self._name)
        context.options = {"max_samples": str(MAX_FRAME_SAMPLES)}
        if coded in CHECKED:
            context.options = {**context.options, "err_detect": "crccheck+explode"}
        context.thread_count = 1  # Files are the unit of parallel work.
        return stream

    @property
    def demuxer(self) -> str:
        """FFmpeg's name of the container."""
        return self._container.format.name.split(",")[0]

    @property
    def stated_seconds(self) -> float | None:
        """Length that the container states, or None if it states none or estimates it."""
        if self.demuxer not in EXACT_LENGTHS:
            return None
        if self._stream.duration is not None:
            return float(self._stream.duration * self._stream.time_base)
        if len(self._container.streams) > 1 or self._container.duration is None:
            return None  # The length of a video is not that of its sound.
        # Sound that begins late has a duration from the beginning of the file.
        start = max(self._container.start_time or 0, 0)
        return (self._container.duration - start) / av.time_base

    @property
    def lost_seconds(self) -> float:
        """Length of what could not be decoded; complete after `blocks` has ended."""
        following_s = self._following.lost_seconds if self._following is not None else 0.0
        lost_s = max(sum(length for _, length in self._gaps()), self._failed_seconds)
        return lost_s + following_s

    def _gaps(self) -> list[tuple[float, float]]:
        """Gaps in the time stamps. AVI has none for some codecs; FFmpeg then guesses them."""
        if self.demuxer != "avi" or self._container.duration is None:
            return self._lost
        stated_s = self._container.duration / av.time_base
        with_gaps_s = self._decoded_seconds + sum(length for _, length in self._lost)
        whole = self._decoded_seconds > stated_s - GUESSED_WITHIN_S
        return [] if whole or with_gaps_s > GUESSED_FACTOR * stated_s else self._lost

    def blocks(self) -> Iterator[tuple[np.ndarray, int]]:
        """Decode frame by frame.

        Yields
        ------
        samples : np.ndarray [shape=(n, channels), dtype=float32]
        rate : int
            Sample rate in Hz. It may change within a file.

        Raises
        ------
        TimeLimitExceeded
        """
        expected_s: float | None = None
        failed, position = 0, 0
        for packet in self._packets():
            self._deadline.check()
            if self._pauses(position, packet.pos):
                self._following = self._open_following(position)
                if self._following is not None:
                    yield from self._following.blocks()
                    return
            position = packet.pos or position
            try:
                frames = packet.decode()
            except av.FFmpegError as error:
                failed += 1  # The next time stamp, if there is one, shows how much is missing.
                self._failed_seconds += float((packet.duration or 0) * packet.time_base)
                if not self._decoded_seconds and is_encrypted(self._file):
                    raise AudioError(
                        f"{self._name}: its sound is encrypted; a copy without protection is needed"
                    ) from error
                if failed > MAX_FAILED_PACKETS:
                    self._ended_early = _reason(error)
                    return
                continue
            failed = 0 if frames else failed
            for frame in frames:
                if not frame.samples or not _is_music(frame):
                    continue  # a damaged frame may claim any format
                samples, seconds = self._to_float(frame), frame.samples / frame.sample_rate
                if self._lossy and _is_noise(samples):
                    self._failed_seconds += seconds
                    continue
                time_s = frame.time
                if expected_s is None and self._failed_seconds and self._min_gap_s < MIN_GAP_S:
                    expected_s = 0.0  # The first frame could not be decoded.
                if time_s is None:
                    time_s = expected_s
                elif expected_s is not None and time_s - expected_s > self._min_gap_s:
                    self._lost.append((expected_s, time_s - expected_s))
                if time_s is not None:
                    expected_s = time_s + seconds
                self._decoded_seconds += seconds
                yield samples, frame.sample_rate
        self._following = self._open_following(position)
        if self._following is not None:
            yield from self._following.blocks()
        size = file_size(self._file)
        if not self._decoded_seconds and self._stream.frames > size:
            raise AudioError(
                f"{self._name}: its index states {self._stream.frames} packets of sound, more than "
                f"its {size} bytes can hold; copy or record it again"
            )

    def _pauses(self, before: int, position: int | None) -> bool:
        """Whether a transport stream holds much else between two packets."""
        if self.demuxer != "mpegts" or not position or not self._decoded_seconds:
            return False
        pause_s = (position - before) / before * self._decoded_seconds if before else 0.0
        return pause_s > PAUSE_S and position - before > MIN_FOLLOWING_BYTES

    def _open_following(self, position: int) -> FFmpegReader | None:
        """What goes on behind the last packet: a stream of joined recordings of TV, or a file."""
        size, without = file_size(self._file), self._stream.id
        if size - position < MIN_FOLLOWING_BYTES:
            return None
        start: int | None = None
        if self.demuxer == "mpegts":
            start = position
        elif self.demuxer == "flac":  # its last packet goes to the end of the file
            start, without = find_file(self._file, position, size), None
        if start is None:
            return None
        rest = cast(BinaryIO, FilePart(self._file, start, size))
        try:
            return FFmpegReader(rest, self._name, self._deadline, without)
        except AudioError:  # A picture may last longer than its sound.
            return None

    def _to_float(self, frame: Any) -> np.ndarray:
        """Samples of a frame, (n, channels) float32; full scale is [-1, 1]."""
        channels = frame.layout.nb_channels
        if frame.format.is_planar and channels > MAX_PLANES:
            (frame,) = av.AudioResampler(format="flt").resample(frame)
        values: np.ndarray = frame.to_ndarray()
        values = values.T if frame.format.is_planar else values.reshape(-1, channels)
        if values.dtype.kind == "f":
            return values.astype(np.float32, copy=False)
        if values.dtype.kind == "u":  # unsigned bytes: silence is 128
            return (values.astype(np.float32) - 128) / 128
        full_scale = np.float32(2.0 ** (8 * values.dtype.itemsize - 1))
        return (values / full_scale).astype(np.float32, copy=False)

    def _packets(self) -> Iterator[Any]:
        """Packets of the stream, up to the end or to where the container cannot be followed."""
        try:
            yield from self._container.demux(self._stream)
        except av.FFmpegError as error:
            self._ended_early = _reason(error)
        except IndexError:  # PyAV, at the end of a file in which a stream appeared late
            return

    def defects(self) -> list[Defect]:
        """What was wrong; complete after `blocks` has ended."""
        found = []
        named = [f"{length:.2f} s at {start:.1f} s" for start, length in self._gaps()]
        if len(named) > MAX_NAMED_GAPS:
            more = f"{len(named) - MAX_NAMED_GAPS} more; {self.lost_seconds:.2f} s in all"
            named[MAX_NAMED_GAPS:] = [more]
        missing_s = self._missing_seconds()
        if not named and self._failed_seconds > MIN_GAP_S and missing_s <= MAX_ROUNDING_S:
            named = [f"{self._failed_seconds:.2f} s"]  # the container has no time stamps
        if named:
            skipped = f"what could not be decoded was skipped ({', '.join(named)})"
            found.append(Defect("damaged", f"the file is damaged: {skipped}"))
        if self._ended_early and not self._all_came():
            found.append(
                Defect(
                    "damaged", f"the file is damaged: its end cannot be read ({self._ended_early})"
                )
            )
        if missing_s > MAX_ROUNDING_S and self._following is None and not self._ended_early:
            text = f"the file is cut short: its last {missing_s:.2f} s are missing"
            found.append(Defect("cut short", text))
        return found + (self._following.defects() if self._following is not None else [])

    def _missing_seconds(self) -> float:
        """What a lossless file lacks at its end."""
        if self.demuxer not in LOSSLESS_FILES:
            return 0.0
        gaps_s = sum(length for _, length in self._gaps())
        return (self.stated_seconds or 0.0) - self._decoded_seconds - gaps_s

    def _all_came(self) -> bool:
        """Whether the stated length was decoded, so that a tag or zeros follow the end."""
        stated = self.stated_seconds
        if stated is None and self.demuxer == "ogg" and self._container.duration is not None:
            stated = self._container.duration / av.time_base
        return stated is not None and self._decoded_seconds > stated - MIN_GAP_S

    def close(self) -> None:
        """Free the decoder; the file stays open."""
        self._container.close()
        self._resources.close()
        if self._following is not None:
            self._following.close()


class _Allocations:
    """FFmpeg's limit of one allocation (``av_max_alloc``), which PyAV does not hand on.

    All files that are open share it. The libraries lie beside PyAV in its wheels. Where a system's
    FFmpeg is used instead, its limit stays as it is.
    """

    def __init__(self) -> None:
        package = Path(av.__file__).parent
        folders = (package.parent / "av.libs", package / ".dylibs", package)
        files = [file for folder in folders for file in folder.glob("*avutil*")]
        self._libraries = [ctypes.CDLL(str(file)) for file in files]
        self._wanted: list[int] = []
        self._lock = threading.Lock()

    @contextmanager
    def allowed(self, n_bytes: int) -> Iterator[None]:
        """Allow an allocation of so many bytes, or of `MAX_ALLOCATION`, while a file is open."""
        self._set(self._wanted.append, n_bytes)
        try:
            yield
        finally:
            self._set(self._wanted.remove, n_bytes)

    def _set(self, change: Callable[[int], None], n_bytes: int) -> None:
        with self._lock:
            change(n_bytes)
            limit = min(max([MAX_ALLOCATION, *self._wanted]), sys.maxsize)
            for library in self._libraries:
                library.av_max_alloc(ctypes.c_size_t(limit))


_allocations = functools.cache(_Allocations)


def _is_music(frame: Any) -> bool:
    """Whether a frame has a rate and a number of channels that music has."""
    rate: int = frame.sample_rate
    channels: int = frame.layout.nb_channels
    return MIN_RATE <= rate <= MAX_RATE and channels <= MAX_CHANNELS


def _is_noise(samples: np.ndarray) -> bool:
    """Whether samples are larger than music has them. The sum of squares is faster to have."""
    flat = samples.ravel(order="K")
    return bool(flat.dot(flat) > MAX_LOSSY_PEAK**2 and samples.max() > MAX_LOSSY_PEAK)


def _refusal(file: BinaryIO, error: Exception) -> str:
    """Why a file cannot be opened."""
    if missing := missing_index(file):
        return f"the file is cut short: {missing} is missing; copy or record it again"
    file.seek(0)
    if known := unreadable_format(file.read(16)):
        return f"is {known}, which cannot be decoded here; convert it, for instance to FLAC"
    return f"not audio that can be decoded ({_reason(error)}); send {FORMAT_NAMES}"


def _reason(error: Exception) -> str:
    """FFmpeg's reason without its number and without the file."""
    reason = getattr(error, "strerror", None) or str(error)
    return "unknown format" if isinstance(error, av.InvalidDataError | ValueError) else reason

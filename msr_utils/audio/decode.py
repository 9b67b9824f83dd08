"""Decode any audio file to float32 mono blocks at the study's sample rate.

Training and serving decode through this module and use the same resampler. A file therefore
gives the same samples, whether it is read at once or in blocks.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import soxr

from msr_utils.audio.container import Container
from msr_utils.audio.readers import (
    BLOCK_SECONDS,
    MAX_BLOCK_VALUES,
    Reader,
    open_reader,
)
from msr_utils.audio.source import (
    AudioError,
    AudioSource,
    AudioTooLong,
    Deadline,
    Defect,
    Limits,
    check_format,
    check_source,
    open_source,
    source_name,
)
from msr_utils.constants import FRAME_SECONDS, SAMPLE_RATE

MAX_SAMPLE = 1e4
"""Largest absolute sample accepted, 80 dB above full scale. No music is that loud, and much
larger values overflow in the features."""

SILENCE_DBFS = -70.0
"""A file whose samples all stay below this level, in dB relative to full scale, has nothing to
hear. Lossy codecs turn zeros into very small values."""

CANCELLED_SHARE = 1e-3
"""The channels cancel each other if their mean has less than this share of their power (-30 dB).
Recordings with the polarity of one channel reversed do."""

QUIET_POWER = 1e-3
"""Only a mix with less power than this (-30 dBFS) is checked for cancelled channels."""

CUT_SECONDS = 0.5
"""A stated length is false if it differs by more than this from the decoded one. Encoders add or
leave out some frames."""


class Resampler:
    """Stateful mono resampler: consecutive chunks give the samples of the whole signal.

    Parameters
    ----------
    rate : int > 0
        Sample rate of the input in Hz.
    target_rate : int > 0
        Sample rate of the output in Hz. If both rates are equal, samples pass unchanged.
    """

    def __init__(self, rate: int, target_rate: int = SAMPLE_RATE) -> None:
        self._stream = (
            None
            if rate == target_rate
            else soxr.ResampleStream(rate, target_rate, num_channels=1, dtype="float32")
        )

    def push(self, samples: np.ndarray, last: bool = False) -> np.ndarray:
        """Resample the next chunk.

        Parameters
        ----------
        samples : np.ndarray [shape=(n,), dtype=float32]
        last : bool
            True for the last chunk: the samples still inside the filter are returned as well.

        Returns
        -------
        np.ndarray [shape=(m,), dtype=float32]
            About ``n * target_rate / rate`` samples. The first chunks give fewer, because the
            filter needs samples that follow.
        """
        if self._stream is None:
            return samples
        resampled: np.ndarray = self._stream.resample_chunk(samples, last=last)
        return resampled


@dataclass(frozen=True)
class AudioFacts:
    """Facts about a file that was decoded as a whole.

    Parameters
    ----------
    seconds : float
        Length of the decoded audio.
    rate : int
        Sample rate in Hz.
    channels : int
    peak : float
        Largest absolute sample of the mono mix; full scale is 1.
    defects : tuple of Defect
        What is wrong with the file.
    """

    seconds: float
    rate: int
    channels: int
    peak: float
    defects: tuple[Defect, ...]

    @property
    def silent(self) -> bool:
        """True if there is nothing to hear."""
        return any(defect.kind == "silent" for defect in self.defects)


class AudioFile:
    """Audio that is decoded once. Iterate, then read `facts`.

    Parameters
    ----------
    source : path or binary file
        Any of the formats in `msr_utils.audio.formats`.
    sample_rate : int > 0, optional
        Sample rate of the blocks in Hz; None keeps that of the file.
    limits : Limits

    Raises
    ------
    TypeError
        If the source is neither a path nor a file.
    """

    def __init__(
        self,
        source: AudioSource,
        sample_rate: int | None = SAMPLE_RATE,
        limits: Limits | None = None,
    ) -> None:
        check_source(source)
        self._source, self._sample_rate = source, sample_rate
        self._limits = limits or Limits()
        self.name = source_name(source)
        self._seconds, self._rate, self._channels = 0.0, 0, 0
        self._values = 0
        self._low, self._high = np.inf, -np.inf  # smallest and largest sample of the mix
        self._cancelled: list[tuple[float, float]] = []
        self._defects: list[Defect] = []

    def __iter__(self) -> Iterator[np.ndarray]:
        """Decode, mix to mono and resample block by block.

        Yields
        ------
        np.ndarray [shape=(n,), dtype=float32]
            Consecutive samples; full scale is [-1, 1].

        Raises
        ------
        AudioError
            If the audio cannot be decoded, is empty, or holds NaN or infinite samples.
        AudioTooLong
            If there is more audio than the limits allow.
        FileNotFoundError, PermissionError
            If the source is a path that does not exist or must not be read.
        TimeLimitExceeded
            If it takes longer than the limits allow.
        TypeError
            If the source gives text.
        """
        deadline = Deadline(self.name, self._limits.work_seconds)
        with open_source(self._source) as file:
            reader, container = open_reader(file, self.name, deadline)
            try:
                yield from self._resampled(reader, deadline)
                self._defects = list(self._find_defects(reader, container))
            finally:
                reader.close()
        if not self._seconds:
            raise AudioError(f"{self.name}: holds no audio samples")

    def _resampled(self, reader: Reader, deadline: Deadline) -> Iterator[np.ndarray]:
        """Mono blocks at the wanted rate. The rate of the file may change within it."""
        resampler, rate = None, 0
        for samples, new_rate in _joined(reader.blocks()):
            deadline.check()
            if new_rate != rate:
                if resampler is not None:
                    yield from _tail(resampler)
                rate = new_rate
                check_format(rate, samples.shape[1], self.name)
                resampler = Resampler(rate, self._sample_rate or rate)
            assert resampler is not None  # the first block sets it
            yield resampler.push(self._mix(samples, rate))
            deadline.check()  # The time of whoever takes the blocks counts too.
        if resampler is not None:
            yield from _tail(resampler)

    def _mix(self, samples: np.ndarray, rate: int) -> np.ndarray:
        """Check a block, mix it to mono, and keep account."""
        start_s = self._seconds
        low, high = _check_samples(samples, start_s, rate, self.name)
        self._rate, self._channels = rate, samples.shape[1]
        self._seconds += len(samples) / rate
        longest = self._limits.seconds
        if longest is not None and self._seconds > longest:
            raise AudioTooLong(f"{self.name}: longer than the {longest:g} s that are accepted")
        self._values += samples.size
        most = self._limits.values
        if most is not None and self._values > most:
            raise AudioTooLong(
                f"{self.name}: more than the {most / 1e6:g} million samples that are accepted, "
                f"over all of its {samples.shape[1]} channel(s) at {rate} Hz; convert it to stereo "
                "at 48 kHz"
            )
        mixed, cancelled = mix(samples, rate)
        for begin, end in cancelled:
            joins = bool(self._cancelled) and self._cancelled[-1][1] >= start_s + begin
            first = self._cancelled.pop()[0] if joins else start_s + begin
            self._cancelled.append((first, start_s + end))
        if samples.shape[1] > 1:
            low, high = float(mixed.min()), float(mixed.max())
        self._low, self._high = min(self._low, low), max(self._high, high)
        return mixed

    def _find_defects(self, reader: Reader, container: Container) -> Iterator[Defect]:
        """All that is wrong with the file, once it has been decoded."""
        stated_s = container.stated_seconds
        stated_s = reader.stated_seconds if stated_s is None else stated_s
        # What a damaged stretch lacks is not missing at the end.
        lost_s = max(reader.lost_seconds, container.lost_seconds)
        lacking_s = 0.0 if stated_s is None else stated_s - self._seconds - lost_s
        counted_s = container.seconds
        told_s = self._seconds + reader.lost_seconds
        if counted_s is not None and counted_s - told_s > CUT_SECONDS:
            yield Defect(
                "damaged",
                f"the file is damaged: it holds {counted_s:.1f} s, {self._seconds:.1f} s could be "
                "decoded",
            )
            lacking_s = 0.0
        text = f"its header states {stated_s or 0:.1f} s, {self._seconds:.1f} s could be decoded"
        if lacking_s > CUT_SECONDS:
            yield Defect("cut short", f"{text}; the file is cut short")
        elif stated_s is not None and self._seconds - stated_s > CUT_SECONDS:
            yield Defect("header", text)
        found = reader.defects()
        if container.lost_seconds and (counted_s or np.inf) - self._seconds <= CUT_SECONDS:
            # All frames came, so the decoder skipped only what is named already.
            found = [defect for defect in found if defect.kind != "damaged"]
        for defect in (*container.defects, *found):
            # The seconds say more than how the container ends.
            if not (defect.kind == "cut short" and lacking_s > CUT_SECONDS):
                yield defect
        # A constant offset cannot be heard.
        if 20 * np.log10(max((self._high - self._low) / 2, 1e-12)) < SILENCE_DBFS:
            yield Defect(
                "silent",
                f"nothing to hear: the level stays below {SILENCE_DBFS:g} dBFS, so the values "
                "tell nothing about music",
            )
        if self._cancelled:
            where = ", ".join(f"{start:.0f} to {end:.0f} s" for start, end in self._cancelled)
            yield Defect(
                "cancelled",
                f"the channels cancel each other in the mono mix ({where}); the loudest channel "
                "was used there",
            )

    @property
    def facts(self) -> AudioFacts:
        """Facts about the file; complete after the iteration."""
        return AudioFacts(
            self._seconds,
            self._rate,
            self._channels,
            max(self._high, -self._low),
            tuple(self._defects),
        )

    @property
    def warnings(self) -> tuple[str, ...]:
        """One sentence for each defect, with the name of the file."""
        return tuple(f"{self.name}: {defect.message}" for defect in self._defects)


def _joined(blocks: Iterator[tuple[np.ndarray, int]]) -> Iterator[tuple[np.ndarray, int]]:
    """Join short blocks of the same format to blocks of `BLOCK_SECONDS`.

    All decoders then give blocks on the same grid, and the work for each block is worth its while.
    """
    waiting: list[np.ndarray] = []
    count, key = 0, (0, 0)  # samples that wait; rate and channels
    for samples, rate in blocks:
        channels = samples.shape[1]
        if waiting and key != (rate, channels):
            yield np.concatenate(waiting), key[0]
            waiting, count = [], 0
        key = (rate, channels)
        size = min(int(BLOCK_SECONDS * rate), max(MAX_BLOCK_VALUES // channels, 1))
        while count + len(samples) >= size:
            part, samples = samples[: size - count], samples[size - count :]
            yield np.concatenate([*waiting, part]) if waiting else part, rate
            waiting, count = [], 0
        if len(samples):
            waiting.append(samples)
            count += len(samples)
    if waiting:
        yield np.concatenate(waiting), key[0]


def _tail(resampler: Resampler) -> Iterator[np.ndarray]:
    """Samples that are still inside the filter."""
    tail = resampler.push(np.zeros(0, np.float32), last=True)
    if len(tail):
        yield tail


def _check_samples(
    samples: np.ndarray, start_s: float, rate: int, name: str
) -> tuple[float, float]:
    """Smallest and largest sample. Samples not finite or far beyond full scale are refused."""
    low, high = float(samples.min()), float(samples.max())
    peak = max(-low, high)
    if not np.isfinite(low + high):  # a NaN passes through both
        bad_s = start_s + int(np.argmin(np.isfinite(samples).all(axis=1))) / rate
        raise AudioError(f"{name}: NaN or infinite sample at {bad_s:.3f} s; export the audio again")
    if peak > MAX_SAMPLE:
        raise AudioError(
            f"{name}: samples reach {peak:.3g}, full scale is 1; export the audio again"
        )
    return low, high


def mix(samples: np.ndarray, rate: int) -> tuple[np.ndarray, list[tuple[float, float]]]:
    """Mix to mono. Where the channels cancel each other, take the loudest instead.

    Parameters
    ----------
    samples : np.ndarray [shape=(n, channels), dtype=float32]
    rate : int > 0
        Hz. Each half second is judged by itself.

    Returns
    -------
    mixed : np.ndarray [shape=(n,), dtype=float32]
    cancelled : list of (float, float)
        Start and end in s, from the first sample, of each half second where a channel was taken.
    """
    mixed = mono(samples)
    cancelled = []
    size = max(int(FRAME_SECONDS * rate), 1)
    for start in range(0, len(mixed) if samples.shape[1] > 1 else 0, size):
        part = mixed[start : start + size]
        power = float(np.dot(part, part)) / len(part)
        if power >= QUIET_POWER:
            continue
        channels = samples[start : start + size]
        powers = np.mean(np.square(channels, dtype=np.float64), axis=0)
        audible = powers.max() > 10 ** (SILENCE_DBFS / 10)
        if audible and power < CANCELLED_SHARE * powers.mean():
            mixed[start : start + size] = channels[:, int(powers.argmax())]
            cancelled.append((start / rate, min(start + size, len(mixed)) / rate))
    return mixed, cancelled


def mono(samples: np.ndarray) -> np.ndarray:
    """Mean over channels.

    The channels are added one by one. numpy's mean along rows this short takes longer than
    decoding an MP3.

    Parameters
    ----------
    samples : np.ndarray [shape=(n, channels), dtype=float32]

    Returns
    -------
    np.ndarray [shape=(n,), dtype=float32]
        A view if there is one channel.
    """
    channels = samples.shape[1]
    if channels == 1:
        return samples[:, 0]
    total: np.ndarray = samples[:, 0] + samples[:, 1]
    for k in range(2, channels):
        total += samples[:, k]
    total /= channels
    return total


def stream(source: AudioSource, sample_rate: int = SAMPLE_RATE) -> Iterator[np.ndarray]:
    """Decode, mix to mono and resample audio block by block: `AudioFile` without its facts.

    Raises
    ------
    AudioError, FileNotFoundError, PermissionError, TypeError
        As `AudioFile` does.
    """
    return iter(AudioFile(source, sample_rate))


def load(source: AudioSource, sample_rate: int = SAMPLE_RATE) -> np.ndarray:
    """Decode a whole file: the blocks of `stream`, joined.

    Parameters
    ----------
    source : path or binary file
    sample_rate : int > 0
        Hz.

    Returns
    -------
    np.ndarray [shape=(n,), dtype=float32]

    Raises
    ------
    AudioError, FileNotFoundError, PermissionError, TypeError
        As `AudioFile` does.
    """
    return np.concatenate(list(stream(source, sample_rate)))


def inspect(source: AudioSource) -> AudioFacts:
    """Decode a whole file and collect facts about it; no samples are kept.

    Raises
    ------
    AudioError, FileNotFoundError, PermissionError
        As `AudioFile` does.
    """
    audio = AudioFile(source, sample_rate=None)
    for _ in audio:
        pass
    return audio.facts

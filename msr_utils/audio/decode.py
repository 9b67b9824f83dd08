"""Decode any audio file to a stream of float32 mono blocks at the study's sample rate.

Training and serving decode through this module and use the same resampler. A file therefore
gives the same samples, whether it is read at once or in blocks.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import soundfile as sf
import soxr

from msr_utils.audio.source import (
    AudioError,
    AudioSource,
    AudioTooLong,
    decoder_reason,
    open_audio,
    source_name,
)
from msr_utils.constants import SAMPLE_RATE

BLOCK_SECONDS = 10.0
"""Seconds of audio decoded at a time. Memory stays constant, however long the file is."""

MAX_BLOCK_VALUES = 2**20
"""Most values decoded at a time: samples times channels."""

MAX_SAMPLE = 1e4
"""Largest absolute sample accepted, 80 dB above full scale. No music is that loud, and much
larger values overflow in the features."""


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


def stream(
    source: AudioSource,
    sample_rate: int = SAMPLE_RATE,
    block_seconds: float = BLOCK_SECONDS,
    max_seconds: float | None = None,
) -> Iterator[np.ndarray]:
    """Decode, mix to mono and resample audio block by block.

    Parameters
    ----------
    source : path or binary file
        Any format that libsndfile decodes: MP3, Ogg Vorbis and Opus, FLAC, WAV, AIFF.
    sample_rate : int > 0
        Sample rate of the blocks in Hz.
    block_seconds : float > 0
        Seconds of audio decoded at a time.
    max_seconds : float > 0, optional
        Longest audio accepted. Decoded samples are counted, because headers can be wrong.

    Yields
    ------
    np.ndarray [shape=(n,), dtype=float32]
        Consecutive samples; full scale is [-1, 1].

    Raises
    ------
    AudioError
        If the audio cannot be decoded, is empty, or holds NaN or infinite samples.
    AudioTooLong
        If the decoder gives more than `max_seconds` of audio.
    FileNotFoundError
        If `source` names a file that does not exist.
    """
    with open_audio(source) as file:
        resampler = Resampler(file.samplerate, sample_rate)
        for samples in mono_blocks(file, source_name(source), block_seconds, max_seconds):
            yield resampler.push(samples)
        tail = resampler.push(np.zeros(0, np.float32), last=True)
        if len(tail):
            yield tail


def mono_blocks(
    file: sf.SoundFile, name: str, block_seconds: float, max_seconds: float | None = None
) -> Iterator[np.ndarray]:
    """Decode an open file to checked mono blocks at its own sample rate.

    Parameters
    ----------
    file : sf.SoundFile
        From `msr_utils.audio.source.open_audio`.
    name : str
        Name of the file in messages.
    block_seconds, max_seconds : float > 0
        As for `stream`.

    Yields
    ------
    np.ndarray [shape=(n,), dtype=float32]

    Raises
    ------
    AudioError, AudioTooLong
        As `stream` does.
    """
    # A header may state any sample rate and up to 1024 channels. Memory must not depend on it.
    block = max(1, min(int(block_seconds * file.samplerate), MAX_BLOCK_VALUES // file.channels))
    decoded = 0
    while True:
        try:
            samples = file.read(block, dtype="float32", always_2d=True)
        except sf.LibsndfileError as error:
            raise AudioError(
                f"{name}: decoding failed after {decoded / file.samplerate:.1f} s "
                f"({decoder_reason(error)}); the file is damaged"
            ) from error
        if not len(samples):
            break
        _check_samples(samples, decoded, file.samplerate, name)
        decoded += len(samples)
        if max_seconds is not None and decoded > max_seconds * file.samplerate:
            raise AudioTooLong(f"{name}: longer than the {max_seconds:g} s that are accepted")
        yield mono(samples)
    if not decoded:
        raise AudioError(f"{name}: holds no audio samples")


def _check_samples(samples: np.ndarray, start: int, rate: int, name: str) -> None:
    """Refuse samples that are not finite or far beyond full scale; `start` is the first's index."""
    peak = np.abs(samples).max()
    if not np.isfinite(peak):
        bad = start + int(np.argmin(np.isfinite(samples).all(axis=1)))
        raise AudioError(
            f"{name}: NaN or infinite sample at {bad / rate:.3f} s; export the audio again"
        )
    if peak > MAX_SAMPLE:
        raise AudioError(
            f"{name}: samples reach {peak:.3g}, full scale is 1; export the audio again"
        )


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
    AudioError, FileNotFoundError
        As `stream` does.
    """
    return np.concatenate(list(stream(source, sample_rate)))

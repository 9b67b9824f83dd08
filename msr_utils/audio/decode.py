"""Decode any audio file to a stream of float32 mono blocks at the study's sample rate.

Training and serving decode through this module, with one resampler, so that a file gives
the same samples whether it is read at once or as it arrives.
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
    _open,
    _reason,
    source_name,
)
from msr_utils.constants import SAMPLE_RATE

BLOCK_SECONDS = 10.0
"""Audio decoded at a time: memory stays constant however long the file is."""

MAX_BLOCK_VALUES = 2**20
"""Most samples, over all channels, decoded at a time."""

MAX_SAMPLE = 1e4
"""Largest sample accepted: 80 dB above full scale is no music, and far more overflows."""


class Resampler:
    """Stateful mono resampler to the study's rate.

    Parameters
    ----------
    rate : int > 0
        Sample rate of the input in Hz.
    target_rate : int > 0
        Sample rate of the output in Hz.
    """

    def __init__(self, rate: int, target_rate: int = SAMPLE_RATE) -> None:
        self._stream = (
            None
            if rate == target_rate
            else soxr.ResampleStream(rate, target_rate, num_channels=1, dtype="float32")
        )

    def push(self, samples: np.ndarray, last: bool = False) -> np.ndarray:
        """Resample the next chunk; with ``last=True`` also flush what the filter holds back."""
        if self._stream is None:
            return samples
        return self._stream.resample_chunk(samples, last=last)


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
        Anything that libsndfile decodes: MP3, Ogg Vorbis and Opus, FLAC, WAV, AIFF.
    sample_rate : int > 0
        Sample rate of the blocks in Hz.
    block_seconds : float > 0
        Seconds of audio decoded at a time.
    max_seconds : float > 0, optional
        Longest audio accepted, counted while decoding (headers can lie).

    Yields
    ------
    np.ndarray [shape=(n,), dtype=float32]
        Consecutive samples; full scale is [-1, 1].

    Raises
    ------
    AudioError
        If the audio cannot be decoded, is empty, or holds NaN or infinite samples.
    AudioTooLong
        If more than `max_seconds` of audio come out of the decoder.
    FileNotFoundError
        If `source` names a file that does not exist.
    """
    name = source_name(source)
    with _open(source, name) as file:
        resampler = Resampler(file.samplerate, sample_rate)
        for samples in _blocks(file, name, block_seconds, max_seconds):
            yield resampler.push(samples)
        tail = resampler.push(np.zeros(0, np.float32), last=True)
        if len(tail):
            yield tail


def _blocks(
    file: sf.SoundFile, name: str, block_seconds: float, max_seconds: float | None
) -> Iterator[np.ndarray]:
    """Decode an open file to checked mono blocks at its own rate."""
    # A header may state any rate and 1024 channels: memory must not follow it.
    block = max(1, min(int(block_seconds * file.samplerate), MAX_BLOCK_VALUES // file.channels))
    decoded = 0
    while True:
        try:
            samples = file.read(block, dtype="float32", always_2d=True)
        except sf.LibsndfileError as error:
            raise AudioError(
                f"{name}: decoding failed after {decoded / file.samplerate:.1f} s "
                f"({_reason(error)}); the file is damaged"
            ) from error
        if not len(samples):
            break
        peak = np.abs(samples).max()
        if not np.isfinite(peak):
            bad = decoded + int(np.argmin(np.isfinite(samples).all(axis=1)))
            raise AudioError(
                f"{name}: NaN or infinite sample at {bad / file.samplerate:.3f} s; "
                "export the audio again"
            )
        if peak > MAX_SAMPLE:
            raise AudioError(
                f"{name}: samples reach {peak:.3g}, full scale is 1; export the audio again"
            )
        decoded += len(samples)
        if max_seconds is not None and decoded > max_seconds * file.samplerate:
            raise AudioTooLong(f"{name}: longer than the {max_seconds:g} s that are accepted")
        yield mono(samples)
    if not decoded:
        raise AudioError(f"{name}: holds no audio samples")


def mono(samples: np.ndarray) -> np.ndarray:
    """Mean over channels.

    Channel by channel: numpy's mean along such short rows takes longer than decoding an MP3.

    Parameters
    ----------
    samples : np.ndarray [shape=(n, channels), dtype=float32]

    Returns
    -------
    np.ndarray [shape=(n,), dtype=float32]
        A view where there is one channel.
    """
    channels = samples.shape[1]
    if channels == 1:
        return samples[:, 0]
    total = samples[:, 0] + samples[:, 1]
    for k in range(2, channels):
        total += samples[:, k]
    total /= channels
    return total


def load(source: AudioSource, sample_rate: int = SAMPLE_RATE) -> np.ndarray:
    """Decode a whole file: the blocks of `stream` joined.

    Returns
    -------
    np.ndarray [shape=(n,), dtype=float32]
    """
    return np.concatenate(list(stream(source, sample_rate)))

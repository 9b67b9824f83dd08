"""Decode any audio file to a stream of float32 mono blocks at the study's sample rate.

Training and serving decode through this module, with one resampler, so that a file gives
the same samples whether it is read at once or as it arrives.
"""

from __future__ import annotations

import os
import struct
import zlib
from collections.abc import Iterator
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import numpy as np
import soundfile as sf
import soxr

from msr_utils.constants import SAMPLE_RATE

BLOCK_SECONDS = 10.0
"""Audio decoded at a time: memory stays constant however long the file is."""

MAX_BLOCK_VALUES = 2**20
"""Most samples, over all channels, decoded at a time."""

MAX_SAMPLE = 1e4
"""Largest sample accepted: 80 dB above full scale is no music, and far more overflows."""

UNKNOWN_SIZE = 0x7FFFF000
"""Sizes from here on, and 0, are stated by programs that write to a pipe and cannot know."""

CHUNKS = {b"RIFF": ("<", b"data"), b"RIFX": (">", b"data"), b"FORM": (">", b"SSND")}
"""First bytes of WAV and AIFF -> byte order, chunk of the samples."""

MIRRORED = bytes(int(f"{byte:08b}"[::-1], 2) for byte in range(256))
"""Every byte with its bits in the opposite order."""

AudioSource = str | os.PathLike[str] | BinaryIO


class AudioError(ValueError):
    """Audio that cannot be decoded or holds nothing to predict from."""


class AudioTooLong(AudioError):
    """Audio longer than the caller allows."""


def source_name(source: AudioSource) -> str:
    """Name to use for `source` in messages: the file's name, never its folder."""
    name = source if isinstance(source, str | os.PathLike) else getattr(source, "name", None)
    return Path(name).name if isinstance(name, str | os.PathLike) else "the uploaded audio"


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


@dataclass(frozen=True)
class AudioFacts:
    """What decoding a whole file shows.

    Parameters
    ----------
    seconds : float
        Of audio that came out of the decoder.
    stated_seconds : float
        By the file's header.
    rate : int
        Sample rate in Hz.
    channels : int
    peak : float
        Largest absolute sample of the mono mix; full scale is 1.
    damage : str
        What the container shows to be missing or changed; empty if nothing is.
    """

    seconds: float
    stated_seconds: float
    rate: int
    channels: int
    peak: float
    damage: str = ""


def inspect(source: AudioSource) -> AudioFacts:
    """Decode a whole file, keep nothing of it but facts.

    Raises
    ------
    AudioError, FileNotFoundError
        As `stream` does.
    """
    name = source_name(source)
    with _open(source, name) as file:
        decoded, peak = 0, 0.0
        for samples in _blocks(file, name, BLOCK_SECONDS, None):
            decoded += len(samples)
            peak = max(peak, float(np.abs(samples).max()))
        return AudioFacts(
            seconds=decoded / file.samplerate,
            stated_seconds=file.frames / file.samplerate,
            rate=file.samplerate,
            channels=file.channels,
            peak=peak,
            damage=container_damage(source),
        )


def container_damage(source: AudioSource) -> str:
    """What a file's container shows to be missing: Ogg, WAV and AIFF, no sample is decoded.

    libsndfile takes the length of these from what is left of the file.

    Returns
    -------
    str
        Empty if nothing is missing or the container does not tell.
    """
    named = isinstance(source, str | os.PathLike)
    with open(source, "rb") if named else nullcontext(source) as file:
        file.seek(0)
        mark = file.read(4)
        file.seek(0)
        if mark == b"OggS":
            return _ogg_damage(file)
        return _chunk_damage(file, *CHUNKS[mark]) if mark in CHUNKS else ""


def _ogg_damage(file: BinaryIO) -> str:
    """Follow the pages of an Ogg file to one that ends a stream (RFC 3533, section 6)."""
    ended, at, numbers = False, 0, {}
    while (header := file.read(27)).startswith(b"OggS") and len(header) == 27:
        flags, serial, number, checksum = struct.unpack("<5xB8xIII", header[:26])
        lengths = file.read(header[26])
        page = header[:22] + bytes(4) + header[26:] + lengths + (body := file.read(sum(lengths)))
        if len(lengths) < header[26] or len(body) < sum(lengths):
            return "the file is cut short: its last page is not whole"
        if _ogg_checksum(page) != checksum:
            return f"the file is damaged: the checksum of the page at byte {at} is wrong"
        if number != numbers.get(serial, number):
            return f"the file is damaged: pages are missing before byte {at}"
        numbers[serial] = number + 1
        ended = bool(flags & 4)
        at += len(page)
    # Tags may follow the end of the stream.
    if ended:
        return ""
    if len(header) == 27:
        return f"the file is damaged: no page begins at byte {at}"
    return "the file is cut short: no page ends its stream"


def _ogg_checksum(page: bytes) -> int:
    """CRC-32 of Ogg: zlib's polynomial, bits in the opposite order, no inversions."""
    mirrored = zlib.crc32(page.translate(MIRRORED), 0xFFFFFFFF) ^ 0xFFFFFFFF
    return int(f"{mirrored:032b}"[::-1], 2)


def _chunk_damage(file: BinaryIO, order: str, samples: bytes) -> str:
    """Compare the stated size of the chunk of samples with the bytes that are there."""
    size = file.seek(0, os.SEEK_END)
    file.seek(12)
    while len(header := file.read(8)) == 8:
        name, stated = struct.unpack(f"{order}4sI", header)
        if name == samples:
            there = size - file.tell()
            if there < stated < UNKNOWN_SIZE:
                return f"the file is cut short: {there} of {stated} bytes of samples are there"
            return ""
        file.seek(stated + stated % 2, os.SEEK_CUR)
    return ""


class _Forward(sf.SoundFile):
    """A file that is only read on.

    soundfile seeks to where it stands after every read, and where an MP3 is entered anew its
    decoder lacks what earlier frames hold of the next ones (the bit reservoir): at the start of
    every block there would be up to 40 ms of other samples.
    """

    def seekable(self) -> bool:
        return False


def _open(source: AudioSource, name: str) -> sf.SoundFile:
    if isinstance(source, str | os.PathLike) and not Path(source).is_file():
        raise FileNotFoundError(f"audio file not found: {source}")
    if isinstance(source, str | os.PathLike) and not Path(source).stat().st_size:
        raise AudioError(f"{name}: is empty (0 bytes)")
    try:
        return _Forward(source)
    except (sf.LibsndfileError, TypeError) as error:
        raise AudioError(
            f"{name}: not audio that can be decoded ({_reason(error)}); "
            "send MP3, Ogg Vorbis or Opus, FLAC, WAV or AIFF"
        ) from error


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


def _reason(error: Exception) -> str:
    """Tell what libsndfile said, without the path or object address it puts in front."""
    if isinstance(error, sf.LibsndfileError):
        reason = error.error_string.strip().rstrip(".")
        # libsndfile's word for a file too small to tell; that it is there was seen before.
        return "unknown format" if reason.startswith("File does not exist") else reason
    return "unknown format"

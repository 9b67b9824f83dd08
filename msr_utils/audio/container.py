"""What a container states about its audio, and what is damaged in it."""

from __future__ import annotations

import os
import re
import struct
import zlib
from contextlib import nullcontext
from dataclasses import dataclass
from typing import BinaryIO

import numpy as np
import soundfile as sf

from msr_utils.audio.decode import BLOCK_SECONDS, _blocks
from msr_utils.audio.source import AudioSource, _open, source_name

UNKNOWN_SIZE = 0x7FFFF000
"""Sizes from here on, and 0, are stated by programs that write to a pipe and cannot know."""

CHUNKS = {b"RIFF": ("<", b"data"), b"RIFX": (">", b"data"), b"FORM": (">", b"SSND")}
"""First bytes of WAV and AIFF -> byte order, chunk of the samples."""

MIRRORED = bytes(int(f"{byte:08b}"[::-1], 2) for byte in range(256))
"""Every byte with its bits in the opposite order."""


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


CUT_SECONDS = 0.5
"""A file is said to be cut short if more than this is missing of what its header states."""

_CLIPPED = re.compile(r"\b(?:data|SSND|Data Size)\s*: (\d+) \(should be (\d+)\)")
"""How libsndfile notes in its log that fewer bytes follow than the header states."""

_UNKNOWN_BYTES = 0x7FFF0000
"""Programs that write to a pipe state a size from here up: they did not know it."""


def stated_seconds(source: AudioSource) -> float | None:
    """Length of a file by its header, without decoding it.

    Parameters
    ----------
    source : path or binary file
        A file is left at its start.

    Returns
    -------
    float or None
        None if it cannot be told.
    """
    try:
        with sf.SoundFile(source) as file:
            seconds = file.frames / file.samplerate
            clipped = _CLIPPED.search(file.extra_info)
    except (sf.LibsndfileError, TypeError):
        return None
    finally:
        if not isinstance(source, str | os.PathLike):
            source.seek(0)
    if clipped is None:
        return seconds
    stated, there = map(int, clipped.groups())
    # libsndfile has shortened the length to what is there.
    return seconds * stated / there if 0 < there < stated < _UNKNOWN_BYTES else None

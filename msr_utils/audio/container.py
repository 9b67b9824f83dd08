"""The length that a container states, and damage that it shows."""

from __future__ import annotations

import os
import re
import struct
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import BinaryIO

import numpy as np
import soundfile as sf

from msr_utils.audio.decode import BLOCK_SECONDS, mono_blocks
from msr_utils.audio.source import AudioSource, open_audio, source_name

CUT_SECONDS = 0.5
"""A file counts as cut short if it lacks more than this of the length that its header states."""

UNKNOWN_CHUNK_SIZE = 0x7FFFF000
"""Programs that write to a pipe cannot know the size of the samples. They state 0, or a size from
here on."""

UNKNOWN_DATA_BYTES = 0x7FFF0000
"""The same limit for the sizes in libsndfile's log."""

SAMPLE_CHUNKS = {b"RIFF": ("<", b"data"), b"RIFX": (">", b"data"), b"FORM": (">", b"SSND")}
"""First bytes of WAV and AIFF -> byte order, name of the chunk that holds the samples."""

REVERSED_BITS = bytes(int(f"{byte:08b}"[::-1], 2) for byte in range(256))
"""Every byte with its bits in the opposite order."""

_CLIPPED_SIZE = re.compile(r"\b(?:data|SSND|Data Size)\s*: (\d+) \(should be (\d+)\)")
"""libsndfile's log entry for a file with fewer bytes than its header states."""


@dataclass(frozen=True)
class AudioFacts:
    """Facts about a file that was decoded as a whole.

    Parameters
    ----------
    seconds : float
        Length of the decoded audio.
    stated_seconds : float
        Length that the file's header states.
    rate : int
        Sample rate in Hz.
    channels : int
    peak : float
        Largest absolute sample of the mono mix; full scale is 1.
    damage : str
        Damage that the container shows; empty if there is none.
    """

    seconds: float
    stated_seconds: float
    rate: int
    channels: int
    peak: float
    damage: str = ""


def inspect(source: AudioSource) -> AudioFacts:
    """Decode a whole file and collect facts about it; no samples are kept.

    Raises
    ------
    AudioError, FileNotFoundError
        As `msr_utils.audio.decode.stream` does.
    """
    with open_audio(source) as file:
        decoded, peak = 0, 0.0
        for samples in mono_blocks(file, source_name(source), BLOCK_SECONDS):
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
    """Damage that the container of an Ogg, WAV or AIFF file shows; no sample is decoded.

    libsndfile does not report such damage. It takes the length of these files from the bytes that
    are left.

    Parameters
    ----------
    source : path or binary file

    Returns
    -------
    str
        Empty if there is no damage or the container cannot show it.
    """
    with _binary(source) as file:
        file.seek(0)
        magic = file.read(4)
        file.seek(0)
        if magic == b"OggS":
            return _ogg_damage(file)
        return _chunk_damage(file, *SAMPLE_CHUNKS[magic]) if magic in SAMPLE_CHUNKS else ""


@contextmanager
def _binary(source: AudioSource) -> Iterator[BinaryIO]:
    """The file that a path names, closed afterwards; or an open file, left open."""
    if isinstance(source, str | os.PathLike):
        with open(source, "rb") as file:
            yield file
    else:
        yield source


def _ogg_damage(file: BinaryIO) -> str:
    """Follow the pages of an Ogg file to one that ends a stream (RFC 3533, section 6)."""
    ended, position = False, 0
    page_numbers: dict[int, int] = {}  # by stream, of the page that must follow
    while (header := file.read(27)).startswith(b"OggS") and len(header) == 27:
        flags, serial, number, checksum = struct.unpack("<5xB8xIII", header[:26])
        lengths = file.read(header[26])
        page = header[:22] + bytes(4) + header[26:] + lengths + (body := file.read(sum(lengths)))
        if len(lengths) < header[26] or len(body) < sum(lengths):
            return "the file is cut short: its last page is not whole"
        if _ogg_checksum(page) != checksum:
            return f"the file is damaged: the checksum of the page at byte {position} is wrong"
        if number != page_numbers.get(serial, number):
            return f"the file is damaged: pages are missing before byte {position}"
        page_numbers[serial] = number + 1
        ended = bool(flags & 4)
        position += len(page)
    # Tags may follow the end of the stream.
    if ended:
        return ""
    if len(header) == 27:
        return f"the file is damaged: no page begins at byte {position}"
    return "the file is cut short: no page ends its stream"


def _ogg_checksum(page: bytes) -> int:
    """CRC-32 of Ogg: zlib's polynomial with the bits in the opposite order and no inversions."""
    reflected = zlib.crc32(page.translate(REVERSED_BITS), 0xFFFFFFFF) ^ 0xFFFFFFFF
    return int(f"{reflected:032b}"[::-1], 2)


def _chunk_damage(file: BinaryIO, order: str, samples: bytes) -> str:
    """Compare the stated size of the chunk of samples with the bytes that are there."""
    size = file.seek(0, os.SEEK_END)
    file.seek(12)
    while len(header := file.read(8)) == 8:
        name, stated = struct.unpack(f"{order}4sI", header)
        if name == samples:
            there = size - file.tell()
            if there < stated < UNKNOWN_CHUNK_SIZE:
                return f"the file is cut short: {there} of {stated} bytes of samples are there"
            return ""
        file.seek(stated + stated % 2, os.SEEK_CUR)
    return ""


def stated_seconds(source: AudioSource) -> float | None:
    """Length of a file that its header states; no sample is decoded.

    Parameters
    ----------
    source : path or binary file
        An open file is set back to its start.

    Returns
    -------
    float or None
        None if the header does not tell the length.
    """
    try:
        with sf.SoundFile(source) as file:
            seconds: float = file.frames / file.samplerate
            clipped = _CLIPPED_SIZE.search(file.extra_info)
    except (sf.LibsndfileError, TypeError):
        return None
    finally:
        if not isinstance(source, str | os.PathLike):
            source.seek(0)
    if clipped is None:
        return seconds
    stated, there = map(int, clipped.groups())
    # libsndfile has reduced the length to the bytes that are there.
    return seconds * stated / there if 0 < there < stated < UNKNOWN_DATA_BYTES else None

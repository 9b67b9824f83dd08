"""Sources of audio, and the errors that name them."""

from __future__ import annotations

import os
from pathlib import Path
from typing import BinaryIO

import soundfile as sf

from msr_utils.audio.formats import FORMAT_NAMES

AudioSource = str | os.PathLike[str] | BinaryIO
"""A path, or a file that is open for reading bytes."""


class AudioError(ValueError):
    """Audio that cannot be decoded, or that is too short for one prediction."""


class AudioTooLong(AudioError):
    """Audio longer than the caller allows."""


def source_name(source: AudioSource) -> str:
    """Name of `source` in messages: the file's name without its folder."""
    name = source if isinstance(source, str | os.PathLike) else getattr(source, "name", None)
    return Path(name).name if isinstance(name, str | os.PathLike) else "the uploaded audio"


class _ForwardSoundFile(sf.SoundFile):  # type: ignore[misc, unused-ignore]  # no types
    """A sound file that is only read forward.

    soundfile seeks to its current position after every read. A seek restarts the MP3 decoder,
    which then lacks the bit reservoir of earlier frames. Up to 40 ms of samples at the start of
    every block would differ.
    """

    def seekable(self) -> bool:
        return False


def open_audio(source: AudioSource) -> sf.SoundFile:
    """Open audio for decoding.

    Raises
    ------
    AudioError
        If the file is empty or not audio that libsndfile can decode.
    FileNotFoundError
        If `source` names a file that does not exist.
    """
    name = source_name(source)
    if isinstance(source, str | os.PathLike):
        path = Path(source)
        if not path.is_file():
            raise FileNotFoundError(f"audio file not found: {source}")
        if not path.stat().st_size:
            raise AudioError(f"{name}: is empty (0 bytes)")
    try:
        return _ForwardSoundFile(source)
    except (sf.LibsndfileError, TypeError) as error:
        raise AudioError(
            f"{name}: not audio that can be decoded ({decoder_reason(error)}); send {FORMAT_NAMES}"
        ) from error


def decoder_reason(error: Exception) -> str:
    """Give libsndfile's reason without the path or object address that it puts in front."""
    if not isinstance(error, sf.LibsndfileError):
        return "unknown format"
    reason: str = error.error_string.strip().rstrip(".")
    # libsndfile says this of a file too small to recognise. `open_audio` has seen that it exists.
    return "unknown format" if reason.startswith("File does not exist") else reason

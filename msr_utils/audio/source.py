"""Where audio comes from, and the errors that name it."""

from __future__ import annotations

import os
from pathlib import Path
from typing import BinaryIO

import soundfile as sf

AudioSource = str | os.PathLike[str] | BinaryIO


class AudioError(ValueError):
    """Audio that cannot be decoded or holds nothing to predict from."""


class AudioTooLong(AudioError):
    """Audio longer than the caller allows."""


def source_name(source: AudioSource) -> str:
    """Name to use for `source` in messages: the file's name, never its folder."""
    name = source if isinstance(source, str | os.PathLike) else getattr(source, "name", None)
    return Path(name).name if isinstance(name, str | os.PathLike) else "the uploaded audio"


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


def _reason(error: Exception) -> str:
    """Tell what libsndfile said, without the path or object address it puts in front."""
    if isinstance(error, sf.LibsndfileError):
        reason = error.error_string.strip().rstrip(".")
        # libsndfile's word for a file too small to tell; that it is there was seen before.
        return "unknown format" if reason.startswith("File does not exist") else reason
    return "unknown format"

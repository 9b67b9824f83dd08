"""Addresses of the library, below that of the service."""

from __future__ import annotations

PREFIX = "/v1/library"
"""Every address of the library begins so."""

AUDIO_END = "/audio"


def audio_path(track: int) -> str:
    """Address of a track's audio."""
    return f"{PREFIX}/tracks/{track}{AUDIO_END}"


def is_library(path: str) -> bool:
    """Whether a request is for the library."""
    return path == PREFIX or path.startswith(f"{PREFIX}/")


def is_audio(path: str) -> bool:
    """Whether a request is for the audio of a track."""
    return path.startswith(f"{PREFIX}/tracks/") and path.endswith(AUDIO_END)

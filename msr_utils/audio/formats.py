"""Audio file formats that the project reads: one list for corpora, prediction and features."""

from __future__ import annotations

import soundfile as sf

CONTAINERS = {
    "MP3": (".mp3",),
    "OGG": (".ogg", ".opus"),
    "FLAC": (".flac",),
    "WAV": (".wav",),
    "AIFF": (".aif", ".aiff"),
}
"""Documented containers, as libsndfile names them, and the suffixes of their files.

libsndfile opens about 25 containers. Only these are documented and tested.
"""

AUDIO_SUFFIXES = tuple(
    suffix
    for container, suffixes in CONTAINERS.items()
    if container in sf.available_formats()
    for suffix in suffixes
)
"""Suffixes of audio files, in lower case, that the installed decoder reads.

Where a corpus has several files of the same stem, the first suffix in this order is taken. MP3
comes first because the official archives contain MP3.
"""

FORMAT_NAMES = "MP3, Ogg Vorbis or Opus, FLAC, WAV or AIFF"
"""The documented formats, as error messages name them."""

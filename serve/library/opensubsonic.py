"""Answers in the shapes of OpenSubsonic's extension ``sonicSimilarity``.

References
----------
https://opensubsonic.netlify.app/docs/endpoints/getsonicsimilartracks/ and
https://opensubsonic.netlify.app/docs/endpoints/findsonicpath/ : the array ``sonicMatch`` lies at
the top of the answer. Each match has a song and a similarity from 0 to 1.
"""

from __future__ import annotations

import mimetypes
from collections.abc import Iterable, Sequence
from pathlib import PurePath
from typing import Any

import numpy as np

from msr_utils import __version__
from msr_utils.library.library import View
from msr_utils.library.records import TrackInfo
from msr_utils.library.similarity import similarity_of

API_VERSION = "1.16.1"


def matches(pairs: Iterable[tuple[TrackInfo, float]]) -> dict[str, Any]:
    """An answer with songs and their similarities."""
    return {
        "subsonic-response": {
            "status": "ok",
            "version": API_VERSION,
            "type": "msr",
            "serverVersion": __version__,
            "openSubsonic": True,
            "sonicMatch": [
                {"entry": song(info), "similarity": float(np.clip(value, 0, 1))}
                for info, value in pairs
            ],
        }
    }


def song(info: TrackInfo) -> dict[str, Any]:
    """A track as a ``Child``."""
    path = PurePath(info.path)
    kind, _ = mimetypes.guess_type(path.name)
    known = {
        "album": info.album,
        "artist": info.artist,
        "genre": info.genre,
        "year": info.year,
        "suffix": path.suffix[1:].lower(),
        "contentType": kind,
    }
    return {
        "id": str(info.id),
        "isDir": False,
        "title": info.title or path.name,
        "duration": round(info.seconds),
        "type": "music",
        **{name: value for name, value in known.items() if value},
    }


def likeness(view: View, row: int, infos: Sequence[TrackInfo]) -> list[float]:
    """Similarity of tracks to the one of a row, from 0 to 1."""
    similarity = similarity_of(view)
    rows = np.concatenate([np.flatnonzero(view.ids == info.id)[:1] for info in infos])
    products = similarity.to(rows, similarity.vectors(np.array([row])))[:, 0]
    return [(float(value) + 1) / 2 for value in products]

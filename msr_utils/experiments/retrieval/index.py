"""A view of the music library, made of curves that are given instead of audio files.

Searches then read the same arrays as those of a library in a folder. Only the catalogue is missing:
names of tracks come from memory.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, cast

import numpy as np

from msr_utils.constants import FRAME_SECONDS, SCALE
from msr_utils.library.library import View
from msr_utils.library.numbers import TrackArrays, from_bytes, summarise, to_bytes
from msr_utils.library.records import TrackInfo
from msr_utils.library.shards import shard_of

if TYPE_CHECKING:
    from msr_utils.library.catalogue import Catalogue


@dataclass(frozen=True)
class IndexedTrack:
    """A track as the library indexes it.

    Parameters
    ----------
    artist, title : str
    curve : np.ndarray [shape=(T, 2)]
        (valence, arousal) of each half second. Values outside of [-1, 1] are clipped.
    half_widths : mapping of str to float
        Half-width of the interval of each target.
    embedding : np.ndarray [shape=(D,)]
        How it sounds.
    """

    artist: str
    title: str
    curve: np.ndarray
    half_widths: Mapping[str, float]
    embedding: np.ndarray


class TrackNames:
    """What searches ask of a catalogue: names of tracks by number, from 1.

    Parameters
    ----------
    tracks : sequence of IndexedTrack
    """

    def __init__(self, tracks: Sequence[IndexedTrack]) -> None:
        self._infos = {
            n: TrackInfo(
                n, "", track.artist, track.title, "", "", None, None,
                len(track.curve) * FRAME_SECONDS, audio_of(n - 1),
            )
            for n, track in enumerate(tracks, 1)
        }  # fmt: skip

    def infos(self, ids: Iterable[int]) -> dict[int, TrackInfo]:
        """Tracks by their number."""
        return {n: self._infos[n] for n in ids}


def audio_of(row: int) -> str:
    """What stands for the hash of a row's audio: different for each row."""
    return f"{row + 1:016x}"


def row_of(info: TrackInfo) -> int:
    """Row of a track of `view_of`."""
    return info.id - 1


def view_of(tracks: Sequence[IndexedTrack]) -> View:
    """A view of some tracks. Rows are their places in the sequence."""
    arrays = []
    for track in tracks:
        stored = to_bytes(np.clip(track.curve, *SCALE))
        seconds = len(stored) * FRAME_SECONDS
        numbers = summarise(from_bytes(stored), track.half_widths, seconds)
        arrays.append(TrackArrays(numbers, track.embedding.astype(np.float16), stored))
    _, artists = np.unique([track.artist for track in tracks], return_inverse=True)
    rows = np.arange(1, len(tracks) + 1)
    shard = shard_of(
        arrays,
        np.stack([artists + 1, np.zeros_like(artists)]).astype(np.int32),
        np.stack([rows, rows]).astype(np.int64),
    )
    return View(cast("Catalogue", TrackNames(tracks)), (shard,), np.zeros(0, np.int64))

"""Features of the DEAM songs of 2013 that the authors of a pretrained network released.

Choi, Fazekas, Sandler and Cho (2017), "Transfer learning for music classification and regression
tasks", ISMIR. The audio is not needed: ratings, artists and titles are those of DEAM.

``songs.csv``
    ``row,deam_id``: the song of each row of the arrays.
``emoMusic_layer_<n>.npy``
    Means of layer ``n`` + 1 of their convolutional network over time and frequency, (songs, 32).
``emoMusic_mfcc.npy``
    Means and standard deviations of MFCC and of their differences, (songs, 120).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from msr_utils.corpora.base import Corpus, CorpusError, Track
from msr_utils.corpora.tables import read_rows

SONGS = "songs.csv"

CONVNET_LAYERS = tuple(f"convnet layer {n}" for n in range(1, 6))
"""Names of the layers of the network, from the one nearest to the audio."""

MFCC = "MFCC"

FILES = {
    **{name: f"emoMusic_layer_{n}.npy" for n, name in enumerate(CONVNET_LAYERS)},
    MFCC: "emoMusic_mfcc.npy",
}
"""File of each array."""


@dataclass(frozen=True)
class SongFeatures:
    """Songs with features, but without audio.

    Parameters
    ----------
    tracks : tuple of Track
        As in DEAM, in the order of the rows.
    arrays : dict of str to np.ndarray [shape=(songs, D), dtype=float64]
        Keys are those of `FILES`.
    """

    tracks: tuple[Track, ...]
    arrays: dict[str, np.ndarray]

    def joined(self, names: Sequence[str]) -> np.ndarray:
        """Some arrays side by side, (songs, D)."""
        return np.concatenate([self.arrays[name] for name in names], axis=1)


def load_emomusic(data_dir: Path, deam: Corpus) -> SongFeatures:
    """Read the released features and join them with DEAM's songs.

    Parameters
    ----------
    data_dir : Path
        Folder with the files above.
    deam : Corpus
        From `msr_utils.corpora.deam.load_deam` with ``need_audio=False``.

    Raises
    ------
    CorpusError
        If a file is missing or damaged, the number of rows differs between files, or a song is
        repeated or not in DEAM.
    """
    root = Path(data_dir)
    songs = _read_songs(root / SONGS)
    by_id = {track.id: track for track in deam.tracks}
    for song in songs:
        if song not in by_id:
            raise CorpusError(f"{SONGS}: DEAM has no song {song}", SONGS, "deam_id")
    arrays = {name: _read_array(root / file, len(songs)) for name, file in FILES.items()}
    return SongFeatures(tuple(by_id[song] for song in songs), arrays)


def _read_songs(path: Path) -> list[str]:
    """DEAM's id of each row."""
    table = read_rows(path, ("row", "deam_id"), "row")
    row, song = (table.header.index(name) for name in ("row", "deam_id"))
    songs: list[str] = []
    for line, cells in table.rows.items():
        if cells[row] != str(len(songs)):
            raise CorpusError(
                f"{path.name}, line {line}: row is {cells[row]!r}, not {len(songs)}; the rows must "
                "be those of the arrays, in the same order",
                path.name,
                "row",
            )
        if cells[song] in songs:
            raise CorpusError(
                f"{path.name}, line {line}: song {cells[song]} is repeated", path.name, "deam_id"
            )
        songs.append(cells[song])
    return songs


def _read_array(path: Path, songs: int) -> np.ndarray:
    """One array of features, (songs, D)."""
    try:
        array = np.load(path, allow_pickle=False)
    except (OSError, ValueError) as error:
        raise CorpusError(f"{path.name}: cannot be read ({error})", path.name) from error
    if not isinstance(array, np.ndarray) or array.ndim != 2 or array.dtype.kind != "f":
        raise CorpusError(f"{path.name}: is no table of numbers, (songs, features)", path.name)
    if len(array) != songs:
        raise CorpusError(
            f"{path.name}: has {len(array)} rows, {SONGS} names {songs} songs", path.name
        )
    if not np.isfinite(array).all():
        raise CorpusError(f"{path.name}: has values that are not finite", path.name)
    return array.astype(np.float64)

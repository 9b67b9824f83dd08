"""Shards: arrays of many tracks in files that are written once and mapped into memory."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import BinaryIO

import numpy as np

from msr_utils.library.numbers import COLUMNS, SEGMENT_FRAMES, TrackArrays, segments

FILES = ("numbers", "codes", "ids", "embedding", "curve", "segments", "offsets")
"""Arrays of a shard, one file each."""


class LibraryError(RuntimeError):
    """A library that cannot be read or written, or a request that it cannot answer."""


class UsageError(LibraryError):
    """A request that no library could answer: an option or a text is wrong."""


def absolute_path(path: str | Path) -> str:
    """An absolute path.

    Raises
    ------
    LibraryError
        If the path is empty. To Python that is the working folder, which nobody named.
    """
    if not os.fspath(path):
        raise UsageError("library: a path is empty; write . for the working folder")
    return os.path.abspath(path)


@dataclass(frozen=True)
class Shard:
    """Arrays of n tracks. Of an open shard they are mapped, not read.

    Parameters
    ----------
    numbers : np.ndarray [shape=(len(COLUMNS), n), dtype=float32]
    codes : np.ndarray [shape=(2, n), dtype=int32]
        Numbers of artist and genre in the catalogue; 0 is unknown.
    ids : np.ndarray [shape=(2, n), dtype=int64]
        Number of the track in the catalogue, and the start of its audio's hash.
    embedding : np.ndarray [shape=(n, D), dtype=float16]
    curve : np.ndarray [shape=(frames, 2), dtype=uint8]
        Curves, one after the other.
    segments : np.ndarray [shape=(segments, 2), dtype=uint8]
        Means of 10 s, one track after the other.
    offsets : np.ndarray [shape=(2, n + 1), dtype=int64]
        Where each track begins in `curve` and in `segments`.
    """

    numbers: np.ndarray
    codes: np.ndarray
    ids: np.ndarray
    embedding: np.ndarray
    curve: np.ndarray
    segments: np.ndarray
    offsets: np.ndarray

    def __len__(self) -> int:
        return len(self.embedding)

    def curve_of(self, row: int) -> np.ndarray:
        """Curve of a track, (T, 2) uint8."""
        return self.curve[self.offsets[0, row] : self.offsets[0, row + 1]]

    def segments_of(self, row: int) -> np.ndarray:
        """Segments of a track, (S, 2) uint8."""
        return self.segments[self.offsets[1, row] : self.offsets[1, row + 1]]

    def curve_pieces(self, rows: np.ndarray, first: np.ndarray, frames: int) -> np.ndarray:
        """`frames` frames of each row's curve, from frame `first` on: (n, frames, 2) uint8.

        What would lie after the end of a track has no meaning.
        """
        return _pieces(self.curve, self.offsets[0, rows] + first, frames)

    def segment_pieces(self, rows: np.ndarray, first: np.ndarray, count: int) -> np.ndarray:
        """`count` segments of each row from segment `first` on, likewise: (n, count, 2) uint8."""
        return _pieces(self.segments, self.offsets[1, rows] + first, count)

    def track(self, row: int) -> TrackArrays:
        """Arrays of one track."""
        return TrackArrays(
            np.array(self.numbers[:, row]),
            np.array(self.embedding[row]),
            np.array(self.curve_of(row)),
        )

    def take(self, rows: np.ndarray) -> Shard:
        """A shard of some of the tracks, in memory."""
        lengths = np.diff(self.offsets, axis=1)[:, rows]
        offsets = np.concatenate([np.zeros((2, 1), np.int64), np.cumsum(lengths, axis=1)], axis=1)
        return Shard(
            np.ascontiguousarray(self.numbers[:, rows]),
            np.ascontiguousarray(self.codes[:, rows]),
            np.ascontiguousarray(self.ids[:, rows]),
            np.array(self.embedding[rows]),
            _gather(self.curve, self.offsets[0], rows),
            _gather(self.segments, self.offsets[1], rows),
            offsets,
        )

    def write(self, folder: Path) -> None:
        """Write into a new folder: all files or no folder.

        Raises
        ------
        OSError
        """
        write_files(folder, {name: partial(np.save, arr=getattr(self, name)) for name in FILES})


def write_files(folder: Path, writers: Mapping[str, Callable[[BinaryIO], object]]) -> None:
    """Write the files of a shard into a new folder: all files or no folder.

    If another process has written the same shard meanwhile, its folder stays.

    Parameters
    ----------
    folder : Path
    writers : mapping
        Name of an array, see `FILES` -> what writes its file.

    Raises
    ------
    OSError
    """
    folder.parent.mkdir(parents=True, exist_ok=True)
    temporary = Path(tempfile.mkdtemp(dir=folder.parent, prefix=".tmp-"))
    try:
        for name, write in writers.items():
            with open(temporary / f"{name}.npy", "wb") as file:
                write(file)
                file.flush()
                os.fsync(file.fileno())
        temporary.chmod(0o755)
        try:
            temporary.rename(folder)
        except OSError:
            if not folder.is_dir():
                raise
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def open_shard(folder: Path) -> Shard:
    """Map the arrays of a shard.

    Raises
    ------
    LibraryError
        If a file is missing or damaged.
    """
    arrays = {}
    for name in FILES:
        file = folder / f"{name}.npy"
        try:
            # A plain view of the mapped file: slices of a memmap are slow to make.
            arrays[name] = np.asarray(np.load(file, mmap_mode="r", allow_pickle=False))
        except (OSError, ValueError, EOFError) as error:
            # An empty array cannot be mapped.
            try:
                arrays[name] = np.load(file, allow_pickle=False)
            except (OSError, ValueError, EOFError):
                raise LibraryError(
                    f"library: {file} is missing or damaged ({error}); delete the library's "
                    "folder and add the music again"
                ) from error
    shard = Shard(**arrays)
    n = shard.numbers.shape[1] if shard.numbers.ndim == 2 else -1
    consistent = (
        shard.numbers.shape[:1] == (len(COLUMNS),)
        and shard.codes.shape == shard.ids.shape == (2, n)
        and len(shard.embedding) == n
        and shard.offsets.shape == (2, n + 1)
        and tuple(shard.offsets[:, -1]) == (len(shard.curve), len(shard.segments))
    )
    if not consistent:
        raise LibraryError(
            f"library: the arrays in {folder} do not fit together; delete the library's folder "
            "and add the music again"
        )
    return shard


def shard_of(tracks: Sequence[TrackArrays], codes: np.ndarray, ids: np.ndarray) -> Shard:
    """A shard of single tracks, in memory.

    Parameters
    ----------
    tracks : sequence of TrackArrays, not empty
    codes : np.ndarray [shape=(2, n), dtype=int32]
    ids : np.ndarray [shape=(2, n), dtype=int64]
    """
    frames = np.array([len(track.curve) for track in tracks], np.int64)
    lengths = np.stack([frames, -(-frames // SEGMENT_FRAMES)])
    offsets = np.concatenate([np.zeros((2, 1), np.int64), np.cumsum(lengths, axis=1)], axis=1)
    return Shard(
        np.stack([track.numbers for track in tracks], axis=1).astype(np.float32),
        codes,
        ids,
        np.stack([track.embedding for track in tracks]).astype(np.float16),
        np.concatenate([track.curve for track in tracks]),
        np.concatenate([segments(track.curve) for track in tracks]),
        offsets,
    )


def joined(shards: Sequence[Shard]) -> Shard:
    """Several shards as one, in memory. They keep their order."""
    offsets = [np.zeros((2, 1), np.int64)]
    for shard in shards:
        offsets.append(shard.offsets[:, 1:] + offsets[-1][:, -1:])
    return Shard(
        np.concatenate([shard.numbers for shard in shards], axis=1),
        np.concatenate([shard.codes for shard in shards], axis=1),
        np.concatenate([shard.ids for shard in shards], axis=1),
        np.concatenate([shard.embedding for shard in shards]),
        np.concatenate([shard.curve for shard in shards]),
        np.concatenate([shard.segments for shard in shards]),
        np.concatenate(offsets, axis=1),
    )


def _pieces(stored: np.ndarray, starts: np.ndarray, length: int) -> np.ndarray:
    """Pieces of one length, (n, length, 2)."""
    index = starts[:, None] + np.arange(length)
    pieces: np.ndarray = stored[np.minimum(index, len(stored) - 1)]
    return pieces


def _gather(values: np.ndarray, offsets: np.ndarray, rows: np.ndarray) -> np.ndarray:
    """Stretches of an array, one after the other."""
    parts = [values[offsets[row] : offsets[row + 1]] for row in rows]
    return np.concatenate(parts) if parts else np.zeros((0, 2), np.uint8)

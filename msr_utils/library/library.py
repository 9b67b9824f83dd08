"""An open library: its catalogue, its shards, and what searches see of them."""

from __future__ import annotations

import shutil
import uuid
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property, partial
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

import numpy as np
import sqlalchemy as sa

from msr_utils.library import schema
from msr_utils.library.catalogue import BATCH, Catalogue, audio_key
from msr_utils.library.numbers import COLUMNS, TrackArrays, from_bytes
from msr_utils.library.records import TrackInfo
from msr_utils.library.shards import (
    FILES,
    LibraryError,
    Shard,
    joined,
    open_shard,
    shard_of,
    write_files,
)

if TYPE_CHECKING:
    from msr_utils.inference.model import Model  # Searches need no network.

SHARDS = "shards"
"""Folder of the shards."""

PENDING_AT_MOST = 4096
"""Tracks that wait in the catalogue before they become a shard."""

SHARD_AT_MOST = 2**17
"""Tracks in a merged shard."""


SHARED_SHARD_AT_MOST = 2**15
"""The same in a database, where a file of a shard is one value."""


def model_key(model: Model) -> str:
    """What the numbers of a library depend on besides audio: network and features.

    The version of this package is not in it: no update alone makes all music be analysed again.
    """
    return f"{model.name}@{model.version} features {model.features.hash[:12]}"


class Library:
    """A library in a folder, or in a database for many machines.

    Parameters
    ----------
    folder : path
    create : bool
        Make the library if there is none.
    store : str
        URL of a PostgreSQL database, ``postgresql+psycopg://user@host/database``. The catalogue and
        the shards lie there, and the folder keeps copies of the shards of this machine. Empty: all
        lies in the folder.

    Attributes
    ----------
    folder : Path
        With the shards.
    place : str
        What people know it by: its folder, or its database without a password.
    catalogue : Catalogue

    Raises
    ------
    LibraryError
        If there is no library, or it is damaged.
    """

    def __init__(self, folder: str | Path, create: bool = False, store: str = "") -> None:
        self.catalogue = Catalogue(Path(folder), create, store)
        self.folder, self.place = self.catalogue.folder, self.catalogue.connections.place
        self._shared = self.catalogue.connections.shared

    def close(self) -> None:
        """Close the catalogue."""
        self.catalogue.close()

    def check_model(self, model: Model) -> None:
        """Note the model of a new library; refuse another one than it was made with.

        Raises
        ------
        LibraryError
        """
        made_with = self.catalogue.facts().get("model")
        if made_with is None:
            self.catalogue.set_facts({"model": model_key(model), "model_name": model.name})
        elif made_with != model_key(model):
            raise LibraryError(
                f"library: {self.place} was made with {made_with}, this is "
                f"{model_key(model)}; values of two models cannot be compared: name that model "
                "with --model, or another library with --library"
            )

    def pack(self, at_least: int = 1) -> None:
        """Move pending arrays to a shard, and merge small shards with it.

        Call it inside `Catalogue.one_writer`. If the process dies in it, the pending arrays and
        the old shards still count.

        Parameters
        ----------
        at_least : int
            Do nothing with fewer pending tracks.
        """
        with self.catalogue.connections.as_one():
            self._pack(max(at_least, 1))

    def _pack(self, at_least: int) -> None:
        with self.catalogue.connections.reading() as connection:
            waiting = connection.execute(
                sa.select(sa.func.count()).select_from(schema.pending)
            ).scalar_one()
            stored = connection.execute(sa.select(schema.shards)).all()
        if waiting < at_least:
            return
        largest = SHARED_SHARD_AT_MOST if self._shared else SHARD_AT_MOST
        self._sweep({row.name for row in stored})
        parts, old, size = [self._pending()], [], waiting
        for row in sorted(stored, key=lambda row: row.tracks):
            # Shards of growing size: each track is copied a few times in all.
            if row.tracks > size or size + row.tracks > largest:
                break
            parts.append(self._without_dropped(row.id, row.name))
            old.append(row)
            size += row.tracks
        self._register(joined([part for part in parts if len(part)]), [row.id for row in old])
        self._sweep({row.name for row in self._stored()})

    def add_shard(self, shard: Shard) -> None:
        """Write a shard of tracks that the catalogue has, and register it."""
        self._register(shard, [])

    def _register(self, shard: Shard, replaces: Sequence[int]) -> None:
        """Write a shard; then, in one transaction, let it count instead of what it replaces."""
        name = uuid.uuid4().hex
        shard.write(self.folder / SHARDS / name)
        with self.catalogue.connections.reading() as connection:
            old = connection.execute(
                sa.select(schema.shards.c.name).where(schema.shards.c.id.in_(list(replaces)))
            ).scalars()
            old_names = list(old)
        ids = [int(i) for i in shard.ids[0]]
        with self.catalogue.connections.writing() as connection:
            result = connection.execute(
                sa.insert(schema.shards).values(
                    name=name, tracks=len(shard), frames=len(shard.curve)
                )
            )
            assert result.inserted_primary_key is not None
            number = int(result.inserted_primary_key[0])
            if self._shared:
                self._upload(connection, name, old_names)
            tracks = schema.tracks
            for start in range(0, len(replaces), BATCH):
                part = list(replaces[start : start + BATCH])
                connection.execute(sa.delete(schema.shards).where(schema.shards.c.id.in_(part)))
                connection.execute(sa.delete(schema.hidden).where(schema.hidden.c.shard.in_(part)))
            statement = (
                sa.update(tracks).where(tracks.c.id == sa.bindparam("track"))
                .values(shard=number, row=sa.bindparam("place"))
            )  # fmt: skip
            connection.execute(statement, [{"track": i, "place": n} for n, i in enumerate(ids)])
            for start in range(0, len(ids), BATCH):
                part = ids[start : start + BATCH]
                pending = schema.pending
                connection.execute(sa.delete(pending).where(pending.c.track.in_(part)))
            gone = connection.execute(
                sa.select(tracks.c.row).where(tracks.c.shard == number, tracks.c.state == "gone")
            ).all()
            if gone:
                connection.execute(
                    sa.insert(schema.hidden),
                    [{"shard": number, "row": row, "dropped": False} for (row,) in gone],
                )

    def _upload(self, connection: sa.Connection, name: str, replaces: Sequence[str]) -> None:
        """Store the files of a shard where all machines find them, instead of other ones."""
        files = schema.shard_files
        for part in FILES:
            data = (self.folder / SHARDS / name / f"{part}.npy").read_bytes()
            connection.execute(sa.insert(files), {"shard": name, "part": part, "data": data})
        for start in range(0, len(replaces), BATCH):
            names = list(replaces[start : start + BATCH])
            connection.execute(sa.delete(files).where(files.c.shard.in_(names)))

    def _open(self, name: str) -> Shard:
        """Map a shard. One that another machine wrote is copied to this one first."""
        folder = self.folder / SHARDS / name
        if self._shared and not folder.is_dir():
            files = schema.shard_files
            statement = sa.select(files.c.part, files.c.data).where(files.c.shard == name)
            with self.catalogue.connections.reading() as connection:
                parts = {part: data for part, data in connection.execute(statement)}
            if set(parts) != {*FILES}:
                raise LibraryError(f"library: the shard {name} is not in {self.place}; repeat")
            write_files(folder, {part: partial(_put, data) for part, data in parts.items()})
        return open_shard(folder)

    def _stored(self) -> Sequence[sa.Row[tuple[int, str, int, int]]]:
        with self.catalogue.connections.reading() as connection:
            return connection.execute(sa.select(schema.shards).order_by(schema.shards.c.id)).all()

    def _sweep(self, counting: set[str]) -> None:
        """Remove folders of shards that do not count: a writer died, or they were merged."""
        folder = self.folder / SHARDS
        for entry in folder.iterdir() if folder.is_dir() else ():
            # In a shared one, another command may be copying a shard to this machine.
            copying = self._shared and entry.name.startswith(".")
            if entry.name not in counting and not copying:
                # Windows keeps files that a reader has mapped; the next call removes them.
                shutil.rmtree(entry, ignore_errors=True)

    def _pending(self, searchable: bool = False) -> Shard:
        """Arrays that wait, as a shard in memory; of `searchable` ones those of files that are
        there."""
        tracks, pending, names = schema.tracks, schema.pending, schema.names
        artists, genres = names.alias("artists"), names.alias("genres")
        statement = (
            sa.select(
                tracks.c.id, tracks.c.audio, pending.c.arrays,
                sa.func.coalesce(artists.c.id, 0).label("artist"),
                sa.func.coalesce(genres.c.id, 0).label("genre"),
            )
            .join_from(pending, tracks, pending.c.track == tracks.c.id)
            .outerjoin(artists, (artists.c.kind == "artist") & (artists.c.name == tracks.c.artist))
            .outerjoin(genres, (genres.c.kind == "genre") & (genres.c.name == tracks.c.genre))
            .order_by(tracks.c.id)
        )  # fmt: skip
        if searchable:
            statement = statement.where(tracks.c.state == "analysed")
        with self.catalogue.connections.reading() as connection:
            rows = connection.execute(statement).all()
        if not rows:
            return _empty_shard()
        return shard_of(
            [TrackArrays.unpacked(row.arrays) for row in rows],
            np.array([[row.artist for row in rows], [row.genre for row in rows]], np.int32),
            np.array([[row.id for row in rows], [audio_key(row.audio) for row in rows]], np.int64),
        )

    def _without_dropped(self, number: int, name: str) -> Shard:
        """A shard without the rows that no track needs."""
        shard = self._open(name)
        hidden = schema.hidden
        with self.catalogue.connections.reading() as connection:
            dropped = connection.execute(
                sa.select(hidden.c.row).where(hidden.c.shard == number, hidden.c.dropped.is_(True))
            ).all()
        if not dropped:
            return shard
        keep = np.setdiff1d(np.arange(len(shard)), np.array([row for (row,) in dropped]))
        return shard.take(keep)

    def arrays(self, shard: int | None, row: int | None, track: int) -> TrackArrays | None:
        """Arrays of a track, wherever they lie; None if it has none."""
        with self.catalogue.connections.reading() as connection:
            if shard is None or row is None:
                statement = sa.select(schema.pending.c.arrays)
                data = connection.execute(
                    statement.where(schema.pending.c.track == track)
                ).scalar_one_or_none()
                return None if data is None else TrackArrays.unpacked(data)
            name = connection.execute(
                sa.select(schema.shards.c.name).where(schema.shards.c.id == shard)
            ).scalar_one()
        return self._open(name).track(row)

    def stamp(self) -> tuple[int | None, ...]:
        """Numbers that change when searches would see something else. Until then, keep a view."""
        shards, pending, hidden = schema.shards.c, schema.pending.c, schema.hidden.c
        statement = sa.select(
            *(
                sa.select(value).scalar_subquery()
                for value in (
                    sa.func.count(shards.id), sa.func.max(shards.id),
                    sa.func.count(pending.track), sa.func.sum(pending.track),
                    sa.func.count(hidden.row), sa.func.sum(hidden.row),
                )
            )
        )  # fmt: skip
        with self.catalogue.connections.reading() as connection:
            return tuple(connection.execute(statement).one())

    def view(self) -> View:
        """What searches see now. Later changes of the library do not change it."""
        with self.catalogue.connections.snapshot():
            return self._view()

    def _view(self) -> View:
        # Pending tracks first: a writer may pack them meanwhile. Then they are in both.
        waiting = self._pending(searchable=True)
        for attempt in (1, 2, 3):
            stored = self._stored()
            try:
                shards = [self._open(row.name) for row in stored]
                break
            except LibraryError:
                # A writer may have merged shards since the catalogue was read.
                if attempt == 3:
                    raise
        hidden = schema.hidden
        starts = dict(
            zip(
                [row.id for row in stored],
                np.concatenate([[0], np.cumsum([len(s) for s in shards])]).tolist(),
                strict=False,
            )
        )
        with self.catalogue.connections.reading() as connection:
            left_out = [
                starts[shard] + row
                for shard, row in connection.execute(sa.select(hidden.c.shard, hidden.c.row))
                if shard in starts
            ]
        if self._shared:
            self._sweep({row.name for row in stored})
        hidden_rows = np.array(left_out, np.int64)
        if len(waiting) and shards:
            packed = np.delete(np.concatenate([shard.ids[0] for shard in shards]), hidden_rows)
            waiting = waiting.take(np.flatnonzero(~np.isin(waiting.ids[0], packed)))
        if len(waiting):
            shards.append(waiting)
        return View(self.catalogue, tuple(shards), hidden_rows)


@dataclass(frozen=True, eq=False)
class View:
    """Arrays of all tracks that searches see. A row is a track's place in it.

    Parameters
    ----------
    catalogue : Catalogue
    shards : tuple of Shard
    left_out : np.ndarray [shape=(n,), dtype=int64]
        Rows that count no longer.
    """

    catalogue: Catalogue
    shards: tuple[Shard, ...]
    left_out: np.ndarray
    _columns: dict[str, np.ndarray] = field(default_factory=dict, repr=False)

    @cached_property
    def starts(self) -> np.ndarray:
        """First row of each shard, then the number of rows."""
        return np.concatenate([[0], np.cumsum([len(s) for s in self.shards])]).astype(np.int64)

    def __len__(self) -> int:
        return int(self.starts[-1])

    @cached_property
    def visible(self) -> np.ndarray:
        """Whether a search may give a row, (rows,) bool: its file is there, and not silent."""
        seen: np.ndarray = self.numbers("silent") == 0
        seen[self.left_out] = False
        return seen

    def numbers(self, name: str) -> np.ndarray:
        """A column of all tracks, see `COLUMNS`; (rows,) float32."""
        if name not in self._columns:
            k = COLUMNS.index(name)
            parts = [shard.numbers[k] for shard in self.shards]
            self._columns[name] = _together(parts, np.float32)
        return self._columns[name]

    def codes(self, kind: str) -> np.ndarray:
        """Numbers of the artists or genres of all tracks; (rows,) int32."""
        if kind not in self._columns:
            k = ("artist", "genre").index(kind)
            parts = [shard.codes[k] for shard in self.shards]
            self._columns[kind] = _together(parts, np.int32)
        return self._columns[kind]

    @cached_property
    def ids(self) -> np.ndarray:
        """Numbers of all tracks in the catalogue; (rows,) int64."""
        return _together([shard.ids[0] for shard in self.shards], np.int64)

    @cached_property
    def audio_keys(self) -> np.ndarray:
        """Start of each audio's hash; (rows,) int64."""
        return _together([shard.ids[1] for shard in self.shards], np.int64)

    def track_ids(self, rows: np.ndarray) -> list[int]:
        """Numbers of tracks in the catalogue."""
        return [int(shard.ids[0, row]) for shard, row in self.places(np.asarray(rows))]

    def infos(self, rows: np.ndarray) -> list[TrackInfo]:
        """Tracks as people see them. A track that was removed meanwhile has only its number."""
        ids = self.track_ids(rows)
        found = self.catalogue.infos(ids)
        nothing = ("", "", "", "", "", None, None, 0.0, "")
        return [found.get(i) or TrackInfo(i, *nothing) for i in ids]

    def place(self, row: int) -> tuple[Shard, int]:
        """Shard of a row, and its row there."""
        return self.places(np.array([row]))[0]

    def places(self, rows: np.ndarray) -> list[tuple[Shard, int]]:
        """Shards of some rows, and their rows there."""
        which = np.searchsorted(self.starts, rows, side="right") - 1
        inside = np.asarray(rows) - self.starts[which]
        return [
            (self.shards[k], row) for k, row in zip(which.tolist(), inside.tolist(), strict=True)
        ]

    def by_shard(self, rows: np.ndarray) -> Iterator[tuple[Shard, np.ndarray, np.ndarray]]:
        """Each shard that holds some of the rows, their places in `rows`, their rows there."""
        which = np.searchsorted(self.starts, rows, side="right") - 1
        for k in np.unique(which):
            mine = np.flatnonzero(which == k)
            yield self.shards[k], mine, rows[mine] - self.starts[k]

    def row_of(self, track: int) -> int | None:
        """Row of a track of the catalogue; None if searches do not see it."""
        for start, shard in zip(self.starts, self.shards, strict=False):
            for found in np.flatnonzero(shard.ids[0] == track):
                row = int(start + found)
                if row not in self.left_out:
                    return row
        return None

    def embeddings(self, rows: np.ndarray) -> np.ndarray:
        """Embeddings of some rows, (n, D) float32."""
        rows = np.asarray(rows)
        result = np.zeros((len(rows), self.embedding_dim), np.float32)
        for shard, mine, wanted in self.by_shard(rows):
            first, last = int(wanted[0]), int(wanted[-1])
            if last - first + 1 == len(wanted) and (np.diff(wanted) == 1).all():
                # Neighbours are read in one piece, which is much faster.
                result[mine[0] : mine[-1] + 1] = shard.embedding[first : last + 1]
            else:
                result[mine] = shard.embedding[wanted]
        return result

    @property
    def embedding_dim(self) -> int:
        """Length of an embedding; 0 in an empty library."""
        return self.shards[0].embedding.shape[1] if self.shards else 0

    def curve(self, row: int) -> np.ndarray:
        """Curve of a row, (T, 2) float32."""
        shard, k = self.place(row)
        return from_bytes(shard.curve_of(k))

    def segments(self, row: int) -> np.ndarray:
        """Means of 10 s of a row, (S, 2) float32."""
        shard, k = self.place(row)
        return from_bytes(shard.segments_of(k))


def _put(data: bytes, file: BinaryIO) -> None:
    file.write(data)


def _together(parts: Sequence[np.ndarray], dtype: type[np.generic]) -> np.ndarray:
    """Columns of several shards as one. Of one shard, its own."""
    if len(parts) == 1:
        return parts[0]
    return np.concatenate(parts) if parts else np.zeros(0, dtype)


def _empty_shard() -> Shard:
    return Shard(
        np.zeros((len(COLUMNS), 0), np.float32),
        np.zeros((2, 0), np.int32),
        np.zeros((2, 0), np.int64),
        np.zeros((0, 0), np.float16),
        np.zeros((0, 2), np.uint8),
        np.zeros((0, 2), np.uint8),
        np.zeros((2, 1), np.int64),
    )

"""The catalogue of a library: which files there are, what became of them, where their arrays lie.

It is a SQLite database in WAL mode, or a PostgreSQL database for many machines, reached through
SQLAlchemy. Writers use short transactions, one at a time; others read meanwhile. No statement here
belongs to one of the two; what does is in `connections`.
"""

from __future__ import annotations

import json
import os
from collections.abc import Collection, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import sqlalchemy as sa

from msr_utils.io import printable
from msr_utils.library import schema
from msr_utils.library.connections import connect
from msr_utils.library.numbers import TrackArrays
from msr_utils.library.records import Known, Preference, TrackInfo
from msr_utils.library.schema import hidden, meta, names, pending, preferences, roots, runs, tracks
from msr_utils.library.shards import LibraryError
from msr_utils.library.tags import Tags

BATCH = 500
"""Values in one IN list. Databases limit them."""

ANALYSED, GONE = "analysed", "gone"
"""States of tracks that have arrays. The others are those of `inference.folder_scan.State`."""


class Catalogue:
    """Tables of a library.

    Parameters
    ----------
    folder : Path
    create : bool
        Make the tables if they are not there.
    store : str
        URL of a PostgreSQL database; empty: SQLite in the folder.

    Raises
    ------
    LibraryError
        If there is no library, its folder is a file, or another version of this package made it.
    """

    def __init__(self, folder: Path, create: bool = False, store: str = "") -> None:
        self.connections = connections = connect(folder, store)
        self.folder, self.engine = connections.folder, connections.engine
        try:
            if create:
                if self.folder.exists() and not self.folder.is_dir():
                    raise LibraryError(
                        f"library: {printable(str(self.folder))} is a file, not a folder; name "
                        "another one with --library"
                    )
                self.folder.mkdir(parents=True, exist_ok=True)
                connections.make_tables()
                with connections.as_one():
                    if not self.facts():
                        self.set_facts({"version": str(schema.VERSION)})
            elif not connections.made():
                raise LibraryError(
                    f"library: there is none in {connections.place}; make one with "
                    "'msr library add FOLDER'"
                )
            made_by = self.facts().get("version", "")
        except sa.exc.DatabaseError as error:
            raise LibraryError(connections.trouble(error)) from error
        if made_by != str(schema.VERSION):
            raise LibraryError(
                f"library: {connections.place} has tables of version {made_by or 'unknown'}, "
                f"this package reads version {schema.VERSION}; add the music to a new library"
            )

    def close(self) -> None:
        """Close all connections."""
        self.engine.dispose()

    def one_writer(self) -> AbstractContextManager[None]:
        """Keep other writers out until the block ends, or this process does.

        Raises
        ------
        LibraryError
            If another process writes.
        """
        return self.connections.one_writer()

    # ------------------------------------------------------------------------------ facts

    def facts(self) -> dict[str, str]:
        """Facts about the library by name."""
        with self.connections.reading() as connection:
            rows = connection.execute(sa.select(meta.c.name, meta.c.value))
            return {name: value for name, value in rows}

    def set_facts(self, values: Mapping[str, str]) -> None:
        """Write facts about the library."""
        with self.connections.writing() as connection:
            connection.execute(sa.delete(meta).where(meta.c.name.in_(values)))
            connection.execute(
                sa.insert(meta), [{"name": k, "value": v} for k, v in values.items()]
            )

    def roots(self) -> list[str]:
        """Folders that were added."""
        with self.connections.reading() as connection:
            return [os.fsdecode(p) for (p,) in connection.execute(sa.select(roots.c.path))]

    def add_root(self, folder: str) -> None:
        """Note a folder, unless it is noted or lies in one that is."""
        path = os.path.join(folder, "")
        if any(path.startswith(os.path.join(root, "")) for root in self.roots()):
            return
        with self.connections.writing() as connection:
            connection.execute(sa.insert(roots), {"path": os.fsencode(folder)})

    # ------------------------------------------------------------------------------ tracks

    def known(self, folder: str) -> dict[str, Known]:
        """Files under a folder by their path."""
        statement = sa.select(*_KNOWN).where(_under(folder))
        with self.connections.reading() as connection:
            found = [_known(row) for row in connection.execute(statement)]
        return {file.path: file for file in found}

    def known_file(self, path: str) -> Known | None:
        """A file by its path."""
        statement = sa.select(*_KNOWN).where(tracks.c.path == os.fsencode(path))
        with self.connections.reading() as connection:
            row = connection.execute(statement).first()
        return None if row is None else _known(row)

    def known_track(self, track: int) -> Known | None:
        """A file by the number of its track."""
        statement = sa.select(*_KNOWN).where(tracks.c.id == track)
        with self.connections.reading() as connection:
            row = connection.execute(statement).first()
        return None if row is None else _known(row)

    def same_file(self, size: int, mtime_ns: int) -> list[Known]:
        """Files with arrays that have this size and time: where a moved file may come from."""
        return self._with_arrays(tracks.c.size == size, tracks.c.mtime_ns == mtime_ns)

    def same_audio(self, audio: str) -> list[Known]:
        """Files with arrays whose decoded audio is this one."""
        return self._with_arrays(tracks.c.audio == audio)

    def _with_arrays(self, *where: sa.ColumnElement[bool]) -> list[Known]:
        statement = sa.select(*_KNOWN).where(*where, tracks.c.state.in_((ANALYSED, GONE)))
        with self.connections.reading() as connection:
            return [_known(row) for row in connection.execute(statement)]

    def infos(self, ids: Iterable[int]) -> dict[int, TrackInfo]:
        """Tracks by their number."""
        found: dict[int, TrackInfo] = {}
        wanted = [int(i) for i in ids]
        with self.connections.reading() as connection:
            for start in range(0, len(wanted), BATCH):
                part = wanted[start : start + BATCH]
                rows = connection.execute(sa.select(*_INFO).where(tracks.c.id.in_(part))).all()
                named = _names_of_audio(connection, {row.audio for row in rows})
                found |= {row.id: _info(row, named.get(row.audio, frozenset())) for row in rows}
        return found

    def paths(self, ids: Iterable[int]) -> dict[int, str]:
        """True paths of tracks by their number, also where they cannot be printed."""
        found: dict[int, str] = {}
        wanted = [int(i) for i in ids]
        with self.connections.reading() as connection:
            for start in range(0, len(wanted), BATCH):
                part = wanted[start : start + BATCH]
                statement = sa.select(tracks.c.id, tracks.c.path).where(tracks.c.id.in_(part))
                found |= {i: os.fsdecode(path) for i, path in connection.execute(statement)}
        return found

    def names(self, kind: str, part: str = "") -> dict[str, int]:
        """Artists or genres that contain a text, in any case, with their numbers in shards."""
        statement = sa.select(names.c.name, names.c.id).where(
            names.c.kind == kind, names.c.folded.contains(part.casefold(), autoescape=True)
        )
        with self.connections.reading() as connection:
            return {name: code for name, code in connection.execute(statement)}

    def count_states(self) -> dict[str, int]:
        """Number of files in each state."""
        statement = sa.select(tracks.c.state, sa.func.count()).group_by(tracks.c.state)
        with self.connections.reading() as connection:
            return {state: count for state, count in connection.execute(statement)}

    def reasons(self, state: str, limit: int) -> list[tuple[str, str]]:
        """Files in a state with the reason, the first `limit`."""
        statement = (
            sa.select(tracks.c.path, tracks.c.reason)
            .where(tracks.c.state == state).order_by(tracks.c.path).limit(limit)
        )  # fmt: skip
        with self.connections.reading() as connection:
            return [(os.fsdecode(path), reason) for path, reason in connection.execute(statement)]

    def reason(self, track: int) -> str:
        """Why a file has no curve; empty if it has one."""
        statement = sa.select(tracks.c.reason).where(tracks.c.id == track)
        with self.connections.reading() as connection:
            return connection.execute(statement).scalar() or ""

    def duplicates(self, limit: int) -> list[tuple[str, list[str]]]:
        """Files that seem to be the same song, and why.

        Returns
        -------
        list of (str, list of str)
            ``"same audio"`` or ``"same artist and title"``, and the paths.
        """
        here = tracks.c.state == ANALYSED
        by_audio = (
            sa.select(tracks.c.audio).where(here).group_by(tracks.c.audio)
            .having(sa.func.count() > 1).limit(limit)
        )  # fmt: skip
        by_name = (
            sa.select(tracks.c.artist, tracks.c.title)
            .where(here, tracks.c.title != "", tracks.c.artist != "")
            .group_by(tracks.c.artist, tracks.c.title)
            .having(sa.func.count(sa.distinct(tracks.c.audio)) > 1).limit(limit)
        )  # fmt: skip
        found = []
        with self.connections.reading() as connection:
            groups: list[tuple[str, sa.ColumnElement[bool]]] = [
                ("same audio", tracks.c.audio == audio)
                for (audio,) in connection.execute(by_audio).all()
            ]
            groups += [
                ("same artist and title", (tracks.c.artist == artist) & (tracks.c.title == title))
                for artist, title in connection.execute(by_name).all()
            ]
            for why, where in groups[:limit]:
                rows = connection.execute(
                    sa.select(tracks.c.path).where(where, here).order_by(tracks.c.path)
                )
                found.append((why, [printable(os.fsdecode(path)) for (path,) in rows]))
        return found

    # ------------------------------------------------------------------------------ changes

    def put(self, values: Mapping[str, Any], tags: Tags | None, arrays: TrackArrays | None) -> int:
        """Write a track and, if given, its arrays, in one transaction.

        Parameters
        ----------
        values : mapping
            Columns of `tracks`, with ``path`` as text. With ``id``, that track is changed.
        tags : Tags, optional
            New tags. Shards hold some of them, so `arrays` must be given as well.
        arrays : TrackArrays, optional
            New arrays. Those that the track had are dropped.

        Returns
        -------
        int
            Number of the track.
        """
        columns = dict(values)
        if "path" in columns:
            columns["path"] = os.fsencode(columns["path"])
        with self.connections.writing() as connection:
            if tags is not None:
                columns |= asdict(tags)
                for kind in ("artist", "genre"):
                    _add_name(connection, kind, columns[kind])
            if arrays is not None:
                columns |= {"shard": None, "row": None}
            track: int | None = columns.pop("id", None)
            if track is None:
                statement = sa.insert(tracks).values(added=now(), **columns)
                result = connection.execute(statement)
                assert result.inserted_primary_key is not None
                track = int(result.inserted_primary_key[0])
            else:
                if arrays is not None:
                    _hide(connection, [track], dropped=True)
                if columns:
                    connection.execute(
                        sa.update(tracks).where(tracks.c.id == track).values(**columns)
                    )
            if arrays is not None:
                connection.execute(sa.delete(pending).where(pending.c.track == track))
                connection.execute(sa.insert(pending), {"track": track, "arrays": arrays.packed()})
        return track

    def set_gone(self, ids: Sequence[int], gone: bool) -> None:
        """Mark tracks whose files are gone, or that are there again."""
        with self.connections.writing() as connection:
            for start in range(0, len(ids), BATCH):
                part = list(ids[start : start + BATCH])
                state = GONE if gone else ANALYSED
                connection.execute(
                    sa.update(tracks).where(tracks.c.id.in_(part)).values(state=state)
                )
                if gone:
                    _hide(connection, part, dropped=False)
                else:
                    _show(connection, part)

    def remove(self, ids: Sequence[int]) -> None:
        """Forget tracks. What listeners said about them stays."""
        with self.connections.writing() as connection:
            for start in range(0, len(ids), BATCH):
                part = list(ids[start : start + BATCH])
                _hide(connection, part, dropped=True)
                connection.execute(sa.delete(pending).where(pending.c.track.in_(part)))
                connection.execute(sa.delete(tracks).where(tracks.c.id.in_(part)))

    def remove_roots(self, folder: str) -> int:
        """Forget folders that were added, at or under a path; their number."""
        inside = [
            r for r in self.roots() if os.path.join(r, "").startswith(os.path.join(folder, ""))
        ]
        with self.connections.writing() as connection:
            for root in inside:
                connection.execute(sa.delete(roots).where(roots.c.path == os.fsencode(root)))
        return len(inside)

    def gone(self) -> list[int]:
        """Tracks whose files are gone."""
        with self.connections.reading() as connection:
            return [row.id for row in connection.execute(_ids_in(GONE))]

    # ------------------------------------------------------------------------------ runs

    def begin_run(self, folders: Sequence[str]) -> int:
        """Note that a call of add or rescan begins."""
        listed = json.dumps([printable(f) for f in folders])
        with self.connections.writing() as connection:
            result = connection.execute(sa.insert(runs).values(folders=listed, started=now()))
            assert result.inserted_primary_key is not None
            return int(result.inserted_primary_key[0])

    def update_run(self, run: int, **values: Any) -> None:
        """Write how far a call is."""
        with self.connections.writing() as connection:
            connection.execute(sa.update(runs).where(runs.c.id == run).values(**values))

    def last_run(self) -> Mapping[str, Any] | None:
        """The last call of add or rescan."""
        statement = sa.select(runs).order_by(runs.c.id.desc()).limit(1)
        with self.connections.reading() as connection:
            row = connection.execute(statement).mappings().first()
        return None if row is None else dict(row)

    # ------------------------------------------------------------------------------ preferences

    def prefer(self, listener: str, audio: str, kind: str, value: float) -> None:
        """Note what a listener says about a track. It replaces what they said before."""
        with self.connections.writing() as connection:
            connection.execute(_of(listener, [audio]))
            connection.execute(
                sa.insert(preferences).values(
                    listener=listener, audio=audio, kind=kind, value=value, at=now()
                )
            )

    def preferences(self, listener: str) -> list[Preference]:
        """What a listener said, the oldest first."""
        statement = (
            sa.select(*(preferences.c[n] for n in ("audio", "kind", "value", "at")))
            .where(preferences.c.listener == listener).order_by(preferences.c.id)
        )  # fmt: skip
        with self.connections.reading() as connection:
            return [Preference(*row) for row in connection.execute(statement)]

    def forget(self, listener: str, audio: Sequence[str] | None = None) -> int:
        """Delete what a listener said about some tracks, or all of it; the number deleted."""
        with self.connections.writing() as connection:
            return connection.execute(_of(listener, audio)).rowcount


def now() -> str:
    """The time, ISO 8601."""
    return datetime.now(UTC).isoformat(timespec="seconds")


def audio_key(audio: str) -> int:
    """The start of an audio's hash as a signed number of 64 bits."""
    return int(np.array(int(audio[:16] or "0", 16), np.uint64).astype(np.int64))


_KNOWN = [tracks.c[name] for name in Known.__dataclass_fields__]
_INFO = [tracks.c[name] for name in TrackInfo.__dataclass_fields__ if name != "same_audio"]


def _known(row: Any) -> Known:
    values = dict(row._mapping)
    return Known(**{**values, "path": os.fsdecode(values["path"])})


def _info(row: Any, names: frozenset[tuple[str, str]]) -> TrackInfo:
    values = dict(row._mapping)
    values["path"] = printable(os.fsdecode(values["path"]))
    values["seconds"] = values["seconds"] or 0.0
    return TrackInfo(**values, same_audio=names)


def _names_of_audio(
    connection: sa.Connection, audio: Collection[str]
) -> dict[str, frozenset[tuple[str, str]]]:
    """Artists and titles, in lower case, of the files with each audio."""
    statement = (
        sa.select(tracks.c.audio, tracks.c.artist, tracks.c.title)
        .where(tracks.c.audio.in_(audio), tracks.c.artist != "", tracks.c.title != "")
        .distinct()
    )
    found: dict[str, set[tuple[str, str]]] = {}
    for key, artist, title in connection.execute(statement):
        found.setdefault(key, set()).add((artist.casefold(), title.casefold()))
    return {key: frozenset(names) for key, names in found.items()}


def _under(folder: str) -> sa.ColumnElement[bool]:
    """Paths that begin with a folder: a range of bytes."""
    start = os.fsencode(os.path.join(folder, ""))
    return sa.and_(tracks.c.path >= start, tracks.c.path < start[:-1] + bytes([start[-1] + 1]))


def _ids_in(state: str) -> sa.Select[tuple[int]]:
    return sa.select(tracks.c.id).where(tracks.c.state == state)


def _of(listener: str, audio: Sequence[str] | None) -> sa.Delete:
    statement = sa.delete(preferences).where(preferences.c.listener == listener)
    return statement if audio is None else statement.where(preferences.c.audio.in_(list(audio)))


def _add_name(connection: sa.Connection, kind: str, name: str) -> None:
    """Give a name a number, unless it has one."""
    known = sa.select(names.c.id).where(names.c.kind == kind, names.c.name == name)
    if name and connection.execute(known).first() is None:
        connection.execute(
            sa.insert(names), {"kind": kind, "name": name, "folded": name.casefold()}
        )


def _places(connection: sa.Connection, ids: Sequence[int]) -> list[tuple[int, int]]:
    """Shard and row of tracks that are in a shard."""
    statement = sa.select(tracks.c.shard, tracks.c.row).where(
        tracks.c.id.in_(list(ids)), tracks.c.shard.is_not(None)
    )
    return [(shard, row) for shard, row in connection.execute(statement)]


def _hide(connection: sa.Connection, ids: Sequence[int], dropped: bool) -> None:
    """Leave the rows of tracks out of searches."""
    places = _places(connection, ids)
    _show(connection, ids)
    if places:
        rows = [{"shard": shard, "row": row, "dropped": dropped} for shard, row in places]
        connection.execute(sa.insert(hidden), rows)


def _show(connection: sa.Connection, ids: Sequence[int]) -> None:
    """Let searches see the rows of tracks again."""
    for shard, row in _places(connection, ids):
        connection.execute(sa.delete(hidden).where(hidden.c.shard == shard, hidden.c.row == row))

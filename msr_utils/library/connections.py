"""Connections to the database of a catalogue: SQLite in a folder, or PostgreSQL for many machines.

`Connections` has what the catalogue needs beyond statements. A transaction that is going on in a
thread is used by everything that the thread reads and writes meanwhile, see `within`.

PostgreSQL. Writers are serialised: a transaction that writes locks the table of tracks first, for
milliseconds. What takes long, the analysis of audio, is done outside. So every check that a writer
makes before it writes holds, as it does with the single writer of SQLite.
"""

from __future__ import annotations

import sqlite3
import threading
from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from sqlalchemy import event

from msr_utils.io import printable, sha256_text
from msr_utils.library import schema
from msr_utils.library.places import FILE, LOCK, POSTGRESQL, STORES
from msr_utils.library.shards import LibraryError, UsageError

KEEP_ALIVE = "-c tcp_keepalives_idle=30 -c tcp_keepalives_interval=10 -c tcp_keepalives_count=3"
"""Settings of a connection: what a machine that vanished had locked is free after a minute."""

MAKE_LOCK, WRITE_LOCK = 7_310_001, 7_310_002
"""Numbers of advisory locks: for making tables, and for commands that write."""

BUSY = "library: another 'msr library' command is writing it; wait until it ends"


class Connections(ABC):
    """Connections to a database.

    Parameters
    ----------
    engine : sa.Engine
    place : str
        Where it is, without a password.
    folder : Path
        Of the shards.
    """

    shared = False
    """Whether several machines write at once."""

    def __init__(self, engine: sa.Engine, place: str, folder: Path) -> None:
        self.engine, self.place, self.folder = engine, place, folder
        self._current = threading.local()

    @contextmanager
    def reading(self) -> Iterator[sa.Connection]:
        """A connection that reads."""
        current = getattr(self._current, "connection", None)
        if current is not None:
            yield current
            return
        with self.engine.connect() as connection:
            yield connection

    @contextmanager
    def writing(self) -> Iterator[sa.Connection]:
        """A transaction that writes. It is undone if the block fails."""
        current = getattr(self._current, "connection", None)
        if current is not None:
            yield current
            return
        with self.engine.begin() as connection:
            self.lock(connection)
            yield connection

    @contextmanager
    def within(self, connection: sa.Connection) -> Iterator[None]:
        """Let everything that this thread reads and writes use one connection."""
        before = getattr(self._current, "connection", None)
        self._current.connection = connection
        try:
            yield
        finally:
            self._current.connection = before

    @contextmanager
    def as_one(self) -> Iterator[None]:
        """Make one transaction of all that this thread reads and writes, where writers are many."""
        yield

    @contextmanager
    def snapshot(self) -> Iterator[None]:
        """Let this thread see the database as it is now, where writers are many."""
        yield

    @abstractmethod
    def lock(self, connection: sa.Connection) -> None:
        """Wait until no other transaction writes."""

    def make_tables(self) -> None:
        """Make the tables that are not there."""
        schema.metadata.create_all(self.engine)

    @abstractmethod
    def made(self) -> bool:
        """Whether there are tables."""

    @abstractmethod
    def trouble(self, error: sa.exc.DatabaseError) -> str:
        """What to do about an error when the library is opened."""

    @abstractmethod
    def one_writer(self) -> AbstractContextManager[None]:
        """Keep other commands that write out until the block ends, or this process does.

        Raises
        ------
        LibraryError
            If another one writes.
        """

    @contextmanager
    def one_of_many(self) -> Iterator[None]:
        """The same for a command that may run several times at once, where that is possible."""
        with self.one_writer():
            yield


class SQLite(Connections):
    """A file in the library's folder.

    Parameters
    ----------
    folder : Path
    """

    def __init__(self, folder: Path) -> None:
        self._file = folder / FILE
        engine = sa.create_engine(sa.URL.create("sqlite", database=str(self._file)))
        event.listen(engine, "connect", _set_up)
        super().__init__(engine, printable(str(folder)), folder)

    def lock(self, connection: sa.Connection) -> None:
        """Nothing: SQLite itself lets one transaction write at a time."""

    def made(self) -> bool:
        return self._file.is_file()

    def trouble(self, error: sa.exc.DatabaseError) -> str:
        return (
            f"library: {printable(str(self._file))} cannot be used ({error.orig}); if it is "
            "damaged, delete the library's folder and add the music again"
        )

    @contextmanager
    def one_writer(self) -> Iterator[None]:
        connection = sqlite3.connect(self.folder / LOCK, timeout=0, isolation_level=None)
        try:
            connection.execute("BEGIN EXCLUSIVE")
        except sqlite3.OperationalError as error:
            connection.close()
            raise LibraryError(BUSY) from error
        try:
            yield
        finally:
            connection.close()


class PostgreSQL(Connections):
    """A database that several machines use.

    Parameters
    ----------
    url : str
        As SQLAlchemy has it: ``postgresql+psycopg://user@host/database``.
    folder : Path
        Of the library on this machine. Copies of the shards lie in a folder of it.

    Raises
    ------
    LibraryError
        If the URL is none, or the driver is not installed.
    """

    shared = True

    def __init__(self, url: str, folder: Path) -> None:
        try:
            parsed = sa.make_url(url)
            if parsed.drivername != POSTGRESQL:
                raise UsageError(f"library: --store must begin with {POSTGRESQL}://")
            engine = sa.create_engine(
                parsed, pool_size=8, max_overflow=-1, connect_args={"options": KEEP_ALIVE}
            )
        except sa.exc.ArgumentError as error:
            raise UsageError(f"library: --store is no URL ({error})") from error
        except ModuleNotFoundError as error:
            raise LibraryError(
                f"library: --store needs the package {error.name!r}, which is not installed; "
                "run: pip install 'msr-utils[postgres]'"
            ) from error
        place = parsed.render_as_string(hide_password=True)
        super().__init__(engine, place, folder / STORES / sha256_text(place)[:16])

    @contextmanager
    def as_one(self) -> Iterator[None]:
        with self.writing() as connection, self.within(connection):
            yield

    @contextmanager
    def snapshot(self) -> Iterator[None]:
        with self.engine.connect() as connection:
            connection = connection.execution_options(isolation_level="REPEATABLE READ")
            with self.within(connection):
                yield

    def lock(self, connection: sa.Connection) -> None:
        # It is compatible with reading, and with nothing that writes.
        connection.execute(sa.text("LOCK TABLE tracks IN SHARE ROW EXCLUSIVE MODE"))

    def make_tables(self) -> None:
        with self.engine.begin() as connection:
            connection.execute(sa.select(sa.func.pg_advisory_xact_lock(MAKE_LOCK)))
            schema.metadata.create_all(connection)

    def made(self) -> bool:
        return sa.inspect(self.engine).has_table(schema.meta.name)

    def trouble(self, error: sa.exc.DatabaseError) -> str:
        reason = " ".join(str(error.orig).split())
        return f"library: the store {self.place} cannot be used ({reason})"

    @contextmanager
    def one_writer(self) -> Iterator[None]:
        with self._advisory(""):
            yield

    @contextmanager
    def one_of_many(self) -> Iterator[None]:
        with self._advisory("_shared"):
            yield

    @contextmanager
    def _advisory(self, kind: str) -> Iterator[None]:
        """Hold an advisory lock. If this process dies, the server frees it."""
        take = getattr(sa.func, f"pg_try_advisory_lock{kind}")(WRITE_LOCK)
        give = getattr(sa.func, f"pg_advisory_unlock{kind}")(WRITE_LOCK)
        with self.engine.connect() as connection:
            connection = connection.execution_options(isolation_level="AUTOCOMMIT")
            if not connection.execute(sa.select(take)).scalar_one():
                raise LibraryError(BUSY)
            try:
                yield
            finally:
                connection.execute(sa.select(give))


def connect(folder: Path, store: str = "") -> Connections:
    """Connections of a library in a folder, or in a database that is named."""
    return PostgreSQL(store, folder) if store else SQLite(folder)


def _set_up(connection: Any, record: object) -> None:
    """Settings of a new connection to SQLite."""
    for setting in ("journal_mode=WAL", "synchronous=NORMAL", "busy_timeout=30000"):
        connection.execute(f"PRAGMA {setting}")

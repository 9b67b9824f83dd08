"""A run beside others: several processes, on one or many machines, add to one library at once.

Files to be looked at are rows of a queue in the database. A writer takes a row by locking it (``FOR
UPDATE SKIP LOCKED``), analyses the file, and then stores the outcome and deletes the row in the
transaction that holds the lock. If the writer dies, the database undoes the transaction, and the
file is free for another one. So each file is stored once, whoever dies.

A writer whose queue has only rows of others waits for them, to take over what a dying one leaves.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterable, Iterator
from contextlib import closing, suppress
from dataclasses import dataclass, replace
from itertools import chain
from pathlib import Path

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import insert

from msr_utils.audio.folder_scan import Entry
from msr_utils.inference.model import Model
from msr_utils.library.analysis import Result, TrackOutcome, TrackTask, died
from msr_utils.library.catalogue import BATCH
from msr_utils.library.cluster import LOCAL
from msr_utils.library.connections import Connections
from msr_utils.library.library import PENDING_AT_MOST, Library
from msr_utils.library.runs import WITH_ARRAYS, Run, RunReport, size_and_time
from msr_utils.library.schema import queue

MAX_ATTEMPTS = 3
"""Times that a file is tried. One at which writers die would else end all of them."""

POLL_SECONDS = 0.5
"""Time between looks at a queue that has only rows of others."""

PACK_EVERY = PENDING_AT_MOST // 8
"""Files after which a writer packs, if all of them together left enough."""


@dataclass(frozen=True)
class Claim:
    """A file of the queue that this process has.

    Parameters
    ----------
    connection : sa.Connection
        Its transaction holds the lock.
    id : int
    path : str
    attempts : int
        How often it was taken, now included.
    """

    connection: sa.Connection
    id: int
    path: str
    attempts: int

    def done(self) -> None:
        """Delete the row and commit what the transaction wrote."""
        self.connection.execute(sa.delete(queue).where(queue.c.id == self.id))
        self.connection.commit()
        self.connection.close()

    def release(self) -> None:
        """Leave the row to others, and undo what the transaction wrote."""
        with suppress(sa.exc.DBAPIError):  # a connection that was lost holds no lock
            self.connection.close()


class Queue:
    """Files that are to be looked at.

    Parameters
    ----------
    connections : Connections
        To PostgreSQL.
    """

    def __init__(self, connections: Connections) -> None:
        self._connections = connections

    def put(self, paths: Iterable[str]) -> None:
        """Add files that are not in the queue."""
        rows = [{"path": os.fsencode(path), "attempts": 0} for path in paths]
        with self._connections.writing() as connection:
            for start in range(0, len(rows), BATCH):
                part = rows[start : start + BATCH]
                connection.execute(insert(queue).on_conflict_do_nothing(), part)

    def waiting(self) -> int:
        """Files in the queue, those that are being looked at included."""
        with self._connections.reading() as connection:
            return connection.execute(sa.select(sa.func.count()).select_from(queue)).scalar_one()

    def claim(self) -> Claim | None:
        """Take a file; None if there is none that nobody else has."""
        while True:
            # The attempt is counted in a transaction of its own: it must outlive this process.
            first = (
                sa.select(queue.c.id).order_by(queue.c.attempts, queue.c.id).limit(1)
                .with_for_update(skip_locked=True).scalar_subquery()
            )  # fmt: skip
            count = (
                sa.update(queue).where(queue.c.id == first)
                .values(attempts=queue.c.attempts + 1)
                .returning(queue.c.id, queue.c.path, queue.c.attempts)
            )  # fmt: skip
            with self._connections.engine.begin() as counting:
                row = counting.execute(count).first()
            if row is None:
                return None
            connection = self._connections.engine.connect()
            try:
                lock = (
                    sa.select(queue.c.id).where(queue.c.id == row.id)
                    .with_for_update(skip_locked=True)
                )  # fmt: skip
                if connection.execute(lock).first() is not None:
                    return Claim(connection, row.id, os.fsdecode(row.path), row.attempts)
            except BaseException:
                connection.close()
                raise
            connection.close()  # somebody else was faster


class SharedRun(Run):
    """One of several calls of `add` or `rescan` at once."""

    def __init__(self, library: Library, model: Model, scanned: dict[str, list[Entry]]) -> None:
        super().__init__(library, model, scanned)
        self._folders = list(scanned)
        self._queue = Queue(self._catalogue.connections)
        self._claims: dict[str, Claim] = {}

    def finish(self, jobs: int, progress: bool, scheduler: str = LOCAL) -> RunReport:
        """Work on all files of the queue, those of other calls included."""
        assert scheduler == LOCAL, "it was checked before the run"
        with self._catalogue.connections.as_one():
            for folder in self._folders:  # others may have written since the folders were read
                self._known |= self._catalogue.known(folder)
            self._queue.put(self._to_do())
            self._set_gone()
        todo = self._queue.waiting()
        self._catalogue.update_run(self._run, to_do=todo)
        done = 0
        try:
            with self._bar(todo, progress) as bar:
                for outcome in self._all_outcomes(jobs):
                    self._keep_claimed(outcome)
                    done += 1
                    if done % PACK_EVERY == 0:
                        self._library.pack(PENDING_AT_MOST)
                    self._tell(bar, done)
        finally:
            for claim in self._claims.values():
                claim.release()
            self._claims.clear()
        return self._end(done)

    def _all_outcomes(self, jobs: int) -> Iterator[TrackOutcome]:
        """Outcomes until the queue is empty."""
        while True:
            first = self._next_task()
            if first is not None:
                tasks = chain([first], iter(self._next_task, None))
                with closing(self._outcomes(tasks, jobs, LOCAL)) as outcomes:
                    yield from outcomes
            elif self._queue.waiting():
                time.sleep(POLL_SECONDS)
            else:
                return

    def _next_task(self) -> TrackTask | None:
        """Take a file that is to be looked at; None if there is none that nobody else has."""
        while (claim := self._queue.claim()) is not None:
            path = claim.path
            self._claims[path] = claim
            self._found[path] = found = size_and_time(path)
            known = self._look_up(path)
            if claim.attempts > MAX_ATTEMPTS:
                self._keep_claimed(died(self._model, TrackTask(Path(path))))
            elif known is None or known != (*(found or ()), True):
                return self._task(path)
            else:  # another call did it before this one asked for it
                self._claims.pop(path).done()
                self._report.note("unchanged", path)
        return None

    def _look_up(self, path: str) -> tuple[int, int, bool] | None:
        """Read again what the catalogue knows about a file: size, time, whether it is there."""
        known = self._catalogue.known_file(path)
        if known is None:
            self._known.pop(path, None)
            return None
        self._known[path] = known
        return known.size, known.mtime_ns, known.state == "analysed"

    def _keep_claimed(self, outcome: TrackOutcome) -> None:
        """Store the outcome of a file that this process has, unless others changed its ground."""
        claim = self._claims.pop(os.fspath(outcome.task.path))
        connections = self._catalogue.connections
        try:
            with connections.within(claim.connection):
                connections.lock(claim.connection)
                fresh = self._refreshed(outcome)
                if fresh is not None:
                    self._keep(fresh)
        except BaseException:
            claim.release()
            raise
        if fresh is None:
            claim.release()  # it is looked at once more
        else:
            claim.done()

    def _refreshed(self, outcome: TrackOutcome) -> TrackOutcome | None:
        """An outcome with what the catalogue knows now; None if it does not hold any more."""
        self._moved.clear()
        self._look_up(os.fspath(outcome.task.path))
        known = self._known.get(os.fspath(outcome.task.path))
        if outcome.moved_from is not None:
            source = self._catalogue.known_track(outcome.moved_from.id)
            if source is None or source.state not in WITH_ARRAYS:
                return None
            if source.path != outcome.moved_from.path or os.path.lexists(source.path):
                self._moved[source.id] = source.path  # it is somewhere else: this is a copy
            return replace(outcome, moved_from=source)
        if outcome.result in (Result.SAME_AUDIO, Result.SAME_BYTES):
            if known is None or known.state not in WITH_ARRAYS or known.audio != outcome.audio:
                return None
            return replace(outcome, task=replace(outcome.task, known=known))
        return outcome

"""One run over folders: what is to be done, and what is stored of each file."""

from __future__ import annotations

import json
import os
import time
from collections import Counter
from collections.abc import Generator, Iterator
from contextlib import closing
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from tqdm import tqdm

from msr_utils.audio.folder_scan import Entry, State
from msr_utils.inference.folder_workers import Job, run_job
from msr_utils.inference.model import Model
from msr_utils.io import plain, printable
from msr_utils.library.analysis import Result, TrackOutcome, TrackTask, died, look_at
from msr_utils.library.catalogue import ANALYSED, GONE, now
from msr_utils.library.cluster import LOCAL, look_at_on_cluster
from msr_utils.library.library import PENDING_AT_MOST, Library
from msr_utils.library.records import Known

PROGRESS_EVERY = 50
"""Files after which a run notes how far it is."""

MAX_LISTED = 50
"""Files of one kind that a report lists. Counts are of all."""

WITH_ARRAYS = (ANALYSED, GONE)


@dataclass(frozen=True)
class Listed:
    """A file in a report.

    Parameters
    ----------
    file : str
        Its path, printable.
    reason : str
    """

    file: str
    reason: str


@dataclass
class RunReport:
    """What a call of `add` or `rescan` did.

    Parameters
    ----------
    counts : Counter of str
        ``added``, ``unchanged``, ``changed`` (other audio), ``retagged`` (the same audio in
        another file), ``moved``, ``back``, ``gone``, ``failed``, ``unreadable``, ``repeated``,
        ``not audio`` and ``hidden``.
    listed : dict of str to list of Listed
        The first files of some kinds, with the reason.
    not_audio : Counter of str
        Files that are not audio by suffix.
    seconds : float
        How long it took.
    """

    counts: Counter[str] = field(default_factory=Counter)
    listed: dict[str, list[Listed]] = field(default_factory=dict)
    not_audio: Counter[str] = field(default_factory=Counter)
    seconds: float = 0.0

    def note(self, kind: str, path: str | Path, reason: str = "") -> None:
        """Count a file; list it if there is something to say."""
        self.counts[kind] += 1
        if reason and len(self.listed.setdefault(kind, [])) < MAX_LISTED:
            self.listed[kind].append(Listed(printable(os.fspath(path)), reason))

    @property
    def lost(self) -> int:
        """Audio files without a curve."""
        return self.counts["failed"] + self.counts["unreadable"]

    def to_json(self) -> dict[str, Any]:
        """The report as JSON."""
        return {
            "counts": dict(self.counts),
            "listed": {k: [asdict(one) for one in v] for k, v in self.listed.items()},
            "not_audio": dict(self.not_audio.most_common()),
            "seconds": round(self.seconds, 3),
        }


def size_and_time(path: str) -> tuple[int, int] | None:
    """Size of a file in bytes and time of its last change in ns; None if it cannot be read."""
    try:
        found = os.stat(path)
    except OSError:
        return None
    return found.st_size, found.st_mtime_ns


class Run:
    """One call of `add` or `rescan`."""

    def __init__(self, library: Library, model: Model, scanned: dict[str, list[Entry]]) -> None:
        self._library, self._catalogue, self._model = library, library.catalogue, model
        self._report = RunReport()
        self._start = time.monotonic()
        self._known: dict[str, Known] = {}
        self._audio: dict[str, Entry] = {}
        self._found: dict[str, tuple[int, int] | None] = {}  # size and time of the audio
        self._gone: set[int] = set()  # marked by this run
        self._moved: dict[int, str] = {}  # tracks that were found elsewhere, and where
        for folder, entries in scanned.items():
            self._known |= self._catalogue.known(folder)
            for entry in entries:
                self._judge(entry)
        self._run = self._catalogue.begin_run(list(scanned))

    def _judge(self, entry: Entry) -> None:
        """Note an entry of a folder."""
        path = os.fspath(entry.path)
        if entry.state is None:
            self._audio[path] = entry
            self._found[path] = size_and_time(path)
        elif entry.state == State.NOT_AUDIO:
            self._report.note("not audio", path)
            self._report.not_audio[entry.reason] += 1
        else:
            self._report.note(str(entry.state), path, entry.reason)

    def finish(self, jobs: int, progress: bool, scheduler: str = LOCAL) -> RunReport:
        """Work on all files."""
        tasks = [self._task(path) for path in self._to_do()]
        self._set_gone()
        todo = len(tasks)
        self._catalogue.update_run(self._run, to_do=todo)
        with (
            closing(self._outcomes(iter(tasks), min(jobs, todo) or 1, scheduler)) as outcomes,
            self._bar(todo, progress) as bar,
        ):
            for done, outcome in enumerate(outcomes, 1):
                self._keep(outcome)
                if done % PENDING_AT_MOST == 0:
                    self._library.pack(PENDING_AT_MOST)
                self._tell(bar, done)
        return self._end(todo)

    def _outcomes(
        self, tasks: Iterator[TrackTask], jobs: int, scheduler: str
    ) -> Generator[TrackOutcome, None, None]:
        """Outcomes of tasks, in the order in which they are ready."""
        if scheduler == LOCAL:
            return run_job(self._model, tasks, jobs, Job(look_at, died))
        return look_at_on_cluster(self._model, tasks, scheduler)

    def _bar(self, total: int, progress: bool) -> tqdm[None]:
        disable = None if progress else True  # None: no bar where standard error goes to a file
        return tqdm(total=total, desc="adding", unit="file", disable=disable)

    def _tell(self, bar: tqdm[None], done: int) -> None:
        """Say how far the run is."""
        if done % PROGRESS_EVERY == 0:
            self._catalogue.update_run(self._run, done=done)
        bar.set_postfix(failed=self._report.lost, refresh=False)
        bar.update()

    def _end(self, done: int) -> RunReport:
        """End the run."""
        self._library.pack()
        self._report.seconds = time.monotonic() - self._start
        self._catalogue.update_run(
            self._run, done=done, finished=now(), report=json.dumps(plain(self._report.to_json()))
        )
        return self._report

    def _to_do(self) -> list[str]:
        """Files to look at: those that are new, changed or failed before."""
        paths, back = [], []
        for path in self._audio:
            known, found = self._known.get(path), self._found[path]
            new = known is None or known.state not in WITH_ARRAYS
            if known is None or new or found != (known.size, known.mtime_ns):
                paths.append(path)
            elif known.state == GONE:
                back.append(known.id)
            else:
                self._report.note("unchanged", path)
        if back:
            self._catalogue.set_gone(back, False)
            self._report.counts["back"] += len(back)
        return paths

    def _task(self, path: str) -> TrackTask:
        """What a worker must know about a file."""
        known, found = self._known.get(path), self._found[path]
        if found is None:
            return TrackTask(Path(path))  # the worker says why
        if known is not None and known.state in WITH_ARRAYS:
            return TrackTask(Path(path), known)
        moved = tuple(
            other for other in self._catalogue.same_file(*found) if not os.path.lexists(other.path)
        )
        return TrackTask(Path(path), None, moved)

    def _set_gone(self) -> None:
        """Mark files that were in the folders and are not any more. A move may find them again."""
        lost = [
            known
            for path, known in self._known.items()
            if path not in self._audio and not os.path.lexists(path)
        ]
        gone = [known.id for known in lost if known.state == ANALYSED]
        self._catalogue.set_gone(gone, True)
        # Of a file that never had a curve, nothing is worth keeping.
        self._catalogue.remove([known.id for known in lost if known.state not in WITH_ARRAYS])
        self._report.counts["gone"] += len(gone)
        self._gone = set(gone)

    def _keep(self, outcome: TrackOutcome) -> None:
        """Store what became of a file, in one transaction."""
        task, result = outcome.task, outcome.result
        path = os.fspath(task.path)
        if result in (Result.FAILED, Result.UNREADABLE):
            self._keep_lost(outcome)
            self._report.note(str(result), path, outcome.reason)
        elif outcome.moved_from is not None:
            self._keep_moved(outcome, outcome.moved_from)
        elif result is Result.ANALYSED:
            self._keep_analysed(outcome)
        else:
            assert task.known is not None, "only a known file has known audio"
            self._keep_known(outcome, task.known)
            self._report.note("retagged", path)
        if outcome.warnings:
            self._report.note("with warnings", path, "; ".join(outcome.warnings))

    def _keep_lost(self, outcome: TrackOutcome) -> None:
        """Store a file that has no curve."""
        before = self._known.get(os.fspath(outcome.task.path))
        if before is not None and before.state in WITH_ARRAYS:
            if outcome.result is Result.UNREADABLE:
                self._catalogue.set_gone([before.id], True)  # perhaps not for ever
                return
            self._catalogue.remove([before.id])  # its curve is of what the file was before
            before = None
        identity = {} if before is None else {"id": before.id}
        values = self._columns(outcome) | identity | {"state": str(outcome.result)}
        self._catalogue.put(values, outcome.tags, None)

    def _keep_analysed(self, outcome: TrackOutcome) -> None:
        """Store a file with new arrays. It may be one that was moved and retagged."""
        path = os.fspath(outcome.task.path)
        before = self._known.get(path)
        had_arrays = before is not None and before.state in WITH_ARRAYS
        if not had_arrays:
            for other in self._catalogue.same_audio(outcome.audio):
                if other.path != path and not os.path.lexists(other.path):
                    self._keep_moved(outcome, other)
                    return
        values = {
            "state": ANALYSED,
            "seconds": outcome.seconds,
            "warnings": json.dumps([*outcome.warnings]),
        } | ({} if before is None else {"id": before.id})
        self._catalogue.put(self._columns(outcome) | values, outcome.tags, outcome.arrays)
        self._report.note("changed" if had_arrays else "added", path)

    def _keep_moved(self, outcome: TrackOutcome, source: Known) -> None:
        """Store a file that lay elsewhere before, and keep its number."""
        path = os.fspath(outcome.task.path)
        here = self._known.get(path)
        if here is not None:
            self._catalogue.remove([here.id])  # a row without a curve is in the way
        if source.id in self._moved:  # there are two of it now
            taken = self._catalogue.known_file(self._moved[source.id])
            assert taken is not None, "this run stored it"
            self._keep_known(outcome, taken, copy=True)
            self._report.note("added", path)
            return
        self._keep_known(outcome, source)
        self._moved[source.id] = path
        self._report.note("moved", path)
        if source.id in self._gone:
            self._gone.discard(source.id)
            self._report.counts["gone"] -= 1

    def _keep_known(self, outcome: TrackOutcome, source: Known, copy: bool = False) -> None:
        """Store a file whose audio has arrays already: it lies elsewhere or has other tags."""
        # Its arrays may lie in another shard since the run began.
        source = self._catalogue.known_track(source.id) or source
        arrays = outcome.arrays or self._library.arrays(source.shard, source.row, source.id)
        assert arrays is not None, "its state says that it has arrays"
        tags = outcome.tags
        values = self._columns(outcome) | {"state": ANALYSED, "seconds": arrays.seconds}
        values |= {} if copy else {"id": source.id}
        arrays = arrays.with_numbers({"year": tags.year, "tempo": tags.tempo})
        self._catalogue.put(values, tags, arrays)

    def _columns(self, outcome: TrackOutcome) -> dict[str, Any]:
        """Columns of a file that every outcome has."""
        return {
            "path": os.fspath(outcome.task.path),
            "size": outcome.size,
            "mtime_ns": outcome.mtime_ns,
            "sha256": outcome.sha256,
            "audio": outcome.audio,
            "reason": outcome.reason,
        }

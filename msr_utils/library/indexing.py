"""Add folders to a library, look at them again, remove them, and say how it stands."""

from __future__ import annotations

import json
import os
import time
from collections import Counter
from collections.abc import Iterable, Sequence
from contextlib import closing
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from tqdm import tqdm

from msr_utils.audio.folder_scan import Entry, FolderError, State, scan
from msr_utils.inference.folder_workers import Job, run_job
from msr_utils.inference.model import Model
from msr_utils.io import plain, printable
from msr_utils.library.analysis import Result, TrackOutcome, TrackTask, died, look_at
from msr_utils.library.catalogue import ANALYSED, GONE, now
from msr_utils.library.library import PENDING_AT_MOST, Library
from msr_utils.library.records import Known
from msr_utils.library.shards import LibraryError

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


def add(
    library: Library,
    model: Model,
    folders: Sequence[str | Path],
    jobs: int = 1,
    progress: bool = True,
) -> RunReport:
    """Add all audio under folders. Called again, it goes on, and does only what is new.

    Each finished file is stored at once, so a stop loses the files in work only.

    Parameters
    ----------
    library : Library
    model : Model
        The one that the library was made with.
    folders : sequence of path
    jobs : int > 0
        Processes that work at once.
    progress : bool
        Show a progress bar, if standard error is a terminal.

    Returns
    -------
    RunReport

    Raises
    ------
    LibraryError
        If the model is another one, or another process writes the library.
    FolderError
        If a folder cannot be listed. Nothing is done then.
    """
    if jobs < 1:
        raise ValueError(f"jobs: must be at least 1, not {jobs}")
    paths = list(dict.fromkeys(os.path.abspath(folder) for folder in folders))
    scanned = {path: scan(Path(path)) for path in paths}
    with library.catalogue.one_writer():
        library.check_model(model)
        for path in paths:
            library.catalogue.add_root(path)
        return _Run(library, model, scanned).finish(jobs, progress)


def rescan(library: Library, model: Model, jobs: int = 1, progress: bool = True) -> RunReport:
    """Look again at all folders that were added. One that cannot be listed is left as it was.

    Raises
    ------
    LibraryError
        If no folder was added, none can be listed, the model is another one, or another process
        writes the library.
    """
    roots = library.catalogue.roots()
    if not roots:
        raise LibraryError("library: no folder was added; call 'msr library add FOLDER'")
    scanned, errors = {}, []
    for root in roots:
        try:
            scanned[root] = scan(Path(root))
        except FolderError as error:
            errors.append(Listed(printable(root), str(error)))
    if not scanned:
        raise LibraryError(f"library: {errors[0].reason}; is the disk there?")
    with library.catalogue.one_writer():
        library.check_model(model)
        report = _Run(library, model, scanned).finish(jobs, progress)
    for listed in errors:
        report.note("unreadable", listed.file, listed.reason)
    return report


class _Run:
    """One call of `add` or `rescan`."""

    def __init__(self, library: Library, model: Model, scanned: dict[str, list[Entry]]) -> None:
        self._library, self._catalogue, self._model = library, library.catalogue, model
        self._report = RunReport()
        self._start = time.monotonic()
        self._known: dict[str, Known] = {}
        self._audio: dict[str, Entry] = {}
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
        elif entry.state == State.NOT_AUDIO:
            self._report.note("not audio", path)
            self._report.not_audio[entry.reason] += 1
        else:
            self._report.note(str(entry.state), path, entry.reason)

    def finish(self, jobs: int, progress: bool) -> RunReport:
        """Work on all files."""
        tasks = self._tasks()
        self._set_gone()
        todo = len(tasks)
        self._catalogue.update_run(self._run, to_do=todo)
        disable = None if progress else True  # None: no bar where standard error goes to a file
        outcomes = run_job(self._model, iter(tasks), min(jobs, todo) or 1, Job(look_at, died))
        with (
            closing(outcomes),
            tqdm(total=todo, desc="adding", unit="file", disable=disable) as bar,
        ):
            for done, outcome in enumerate(outcomes, 1):
                self._keep(outcome)
                if done % PROGRESS_EVERY == 0:
                    self._catalogue.update_run(self._run, done=done)
                if done % PENDING_AT_MOST == 0:
                    self._library.pack(PENDING_AT_MOST)
                bar.set_postfix(failed=self._report.lost, refresh=False)
                bar.update()
        self._library.pack()
        self._report.seconds = time.monotonic() - self._start
        self._catalogue.update_run(
            self._run, done=todo, finished=now(), report=json.dumps(plain(self._report.to_json()))
        )
        return self._report

    def _tasks(self) -> list[TrackTask]:
        """Files to look at: those that are new, changed or failed before."""
        tasks, back = [], []
        for path, entry in self._audio.items():
            known = self._known.get(path)
            try:
                found = os.stat(path)
            except OSError:
                tasks.append(TrackTask(entry.path))  # the worker says why
                continue
            if known is None or known.state not in WITH_ARRAYS:
                moved = tuple(
                    other
                    for other in self._catalogue.same_file(found.st_size, found.st_mtime_ns)
                    if not os.path.lexists(other.path)
                )
                tasks.append(TrackTask(entry.path, None, moved))
            elif (known.size, known.mtime_ns) != (found.st_size, found.st_mtime_ns):
                tasks.append(TrackTask(entry.path, known))
            elif known.state == GONE:
                back.append(known.id)
            else:
                self._report.note("unchanged", path)
        if back:
            self._catalogue.set_gone(back, False)
            self._report.counts["back"] += len(back)
        return tasks

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


# ------------------------------------------------------------------------------ remove, status


def remove(library: Library, paths: Iterable[str | Path], gone: bool = False) -> int:
    """Forget files, and all files under folders. The files themselves are left alone.

    Parameters
    ----------
    library : Library
    paths : iterable of path
    gone : bool
        Forget also all tracks whose files are gone.

    Returns
    -------
    int
        Tracks that were forgotten.

    Raises
    ------
    LibraryError
        If a path is not in the library, or another process writes it.
    """
    catalogue = library.catalogue
    with catalogue.one_writer():
        ids: set[int] = set()
        for path in (os.path.abspath(p) for p in paths):
            file = catalogue.known_file(path)
            inside = [known.id for known in catalogue.known(path).values()]
            inside += [] if file is None else [file.id]
            if not inside and not catalogue.remove_roots(path):
                raise LibraryError(f"library: {printable(path)} is not in it")
            catalogue.remove_roots(path)
            ids.update(inside)
        if gone:
            ids.update(catalogue.gone())
        catalogue.remove(sorted(ids))
    return len(ids)


@dataclass(frozen=True)
class Status:
    """How a library stands.

    Parameters
    ----------
    model : str
    roots : tuple of str
        Folders that were added.
    counts : dict of str to int
        Files in each state.
    problems : dict of str to list of Listed
        The first files that have no curve, with the reason.
    duplicates : tuple of (str, list of str)
        Why files seem to be the same song, and which. Nothing is merged.
    unfinished : str
        What a run that was stopped left to be done; empty if none was.
    last_run : dict
        Report of the last run that ended; empty if there is none.
    """

    model: str
    roots: tuple[str, ...]
    counts: dict[str, int]
    problems: dict[str, list[Listed]]
    duplicates: tuple[tuple[str, list[str]], ...]
    unfinished: str
    last_run: dict[str, Any]


def status(library: Library) -> Status:
    """How a library stands: counts, problems, suggested duplicates, an unfinished run."""
    catalogue = library.catalogue
    problems = {
        state: [Listed(printable(f), reason) for f, reason in catalogue.reasons(state, MAX_LISTED)]
        for state in ("failed", "unreadable")
    }
    run = catalogue.last_run()
    unfinished = ""
    if run is not None and run["finished"] is None:
        unfinished = (
            f"the run that began at {run['started']} has not ended: at least {run['done']} of "
            f"{run['to_do']} files are done; if it is not running, 'msr library rescan' goes on"
        )
    return Status(
        model=catalogue.facts().get("model", ""),
        roots=tuple(printable(root) for root in catalogue.roots()),
        counts=catalogue.count_states(),
        problems={state: files for state, files in problems.items() if files},
        duplicates=tuple(catalogue.duplicates(MAX_LISTED)),
        unfinished=unfinished,
        last_run={} if run is None else json.loads(run["report"]),
    )

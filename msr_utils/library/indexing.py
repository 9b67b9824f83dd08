"""Add folders to a library, look at them again, remove them, and say how it stands."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from msr_utils.audio.folder_scan import FolderError, scan
from msr_utils.inference.model import Model
from msr_utils.io import printable
from msr_utils.library.cluster import LOCAL, check_scheduler
from msr_utils.library.library import Library
from msr_utils.library.runs import MAX_LISTED as MAX_LISTED
from msr_utils.library.runs import Listed as Listed
from msr_utils.library.runs import Run
from msr_utils.library.runs import RunReport as RunReport
from msr_utils.library.shards import LibraryError, UsageError, absolute_path
from msr_utils.library.sharing import Queue, SharedRun

JOBS_OR_SCHEDULER = "library: --jobs is for this machine; a Dask cluster has its own workers"

STORE_OR_SCHEDULER = (
    "library: give --scheduler or --store, not both; with --store, call 'msr library add' on every "
    "machine"
)


def add(
    library: Library,
    model: Model,
    folders: Sequence[str | Path],
    jobs: int = 1,
    progress: bool = True,
    scheduler: str = LOCAL,
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
    scheduler : str
        ``"local"``, or the ``tcp://host:port`` of a Dask scheduler: then its workers analyse, and
        `jobs` must be 1.

    Returns
    -------
    RunReport
        Of a library in a database, of what this call did. Others may add at the same time.

    Raises
    ------
    LibraryError
        If a path is empty, the model is another one, another process writes the library, or the
        scheduler cannot be used.
    FolderError
        If a folder cannot be listed. Nothing is done then.
    """
    if jobs < 1:
        raise ValueError(f"jobs: must be at least 1, not {jobs}")
    _check_scheduler(library, jobs, scheduler)
    paths = list(dict.fromkeys(absolute_path(folder) for folder in folders))
    scanned = {path: scan(Path(path)) for path in paths}
    connections = library.catalogue.connections
    with connections.one_of_many():
        with connections.as_one():
            library.check_model(model)
            for path in paths:
                library.catalogue.add_root(path)
        run = SharedRun if connections.shared else Run
        return run(library, model, scanned).finish(jobs, progress, scheduler)


def rescan(
    library: Library,
    model: Model,
    jobs: int = 1,
    progress: bool = True,
    scheduler: str = LOCAL,
) -> RunReport:
    """Look again at all folders that were added. One that cannot be listed is left as it was.

    Raises
    ------
    LibraryError
        If no folder was added, none can be listed, the model is another one, or another process
        writes the library.
    """
    _check_scheduler(library, jobs, scheduler)
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
    connections = library.catalogue.connections
    with connections.one_of_many():
        library.check_model(model)
        run = SharedRun if connections.shared else Run
        report = run(library, model, scanned).finish(jobs, progress, scheduler)
    for listed in errors:
        report.note("unreadable", listed.file, listed.reason)
    return report


def _check_scheduler(library: Library, jobs: int, scheduler: str) -> None:
    """Refuse a scheduler that cannot be used, before anything is noted."""
    if scheduler == LOCAL:
        return
    if jobs > 1:
        raise UsageError(JOBS_OR_SCHEDULER)
    if library.catalogue.connections.shared:
        raise UsageError(STORE_OR_SCHEDULER)
    check_scheduler(scheduler)


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
        If a path is empty or not in the library, or another process writes it.
    """
    catalogue = library.catalogue
    wanted = [absolute_path(path) for path in paths]
    with catalogue.one_writer():
        ids: set[int] = set()
        for path in wanted:
            file = catalogue.known_file(path)
            inside = [known.id for known in catalogue.known(path).values()]
            inside += [] if file is None else [file.id]
            if not inside and not catalogue.remove_roots(path):
                raise LibraryError(
                    f"library: {printable(path)} is not in it; 'msr library status' lists the "
                    "folders of the library"
                )
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
    waiting = Queue(catalogue.connections).waiting() if catalogue.connections.shared else 0
    if waiting:
        files = "1 file waits" if waiting == 1 else f"{waiting} files wait"
        unfinished = (
            f"{files} to be looked at; if no writer is running, 'msr library rescan' goes on"
        )
    elif run is not None and run["finished"] is None:
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

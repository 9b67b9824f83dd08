"""Features of a corpus on any number of cores and machines.

Tracks are the tasks. They are independent, and each gives one file of the cache. ``local`` works
in this process or in a few processes. A ``tcp://`` address names the scheduler of a Dask cluster
(https://distributed.dask.org):

.. code-block:: text

    dask scheduler --host 10.0.0.1                                 # on one machine
    dask worker tcp://10.0.0.1:8786 --nthreads 1 --nworkers 16     # on every machine
    msr features --corpus folder --data /shared/songs --cache /shared/cache \
        --scheduler tcp://10.0.0.1:8786

Every machine must see the data and the cache under the same absolute path on a shared file
system, and must have the same packages: the requirements.lock of one checkout. On processors of
one kind the result is then the same as that of one process, byte for byte. Workers may be added
or killed at any time; the track of a killed worker is given to another. Without any worker the
tasks wait for one. A Dask cluster runs any code that is sent to it: keep its ports within a
trusted network.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import (
    FIRST_COMPLETED,
    Future,
    ProcessPoolExecutor,
    wait,
)
from concurrent.futures.process import BrokenProcessPool
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path

import numpy as np
import pandas as pd
from tqdm import tqdm

from msr_utils.audio.folder_scan import Entry, FolderError, scan
from msr_utils.audio.formats import AUDIO_SUFFIXES
from msr_utils.audio.source import AudioError
from msr_utils.corpora.base import Card, Corpus, CorpusError, Track
from msr_utils.features.cache import compute_or_read, features_folder
from msr_utils.features.cluster import DistributedError as DistributedError
from msr_utils.features.cluster import run_on_cluster
from msr_utils.features.config import FeatureConfig
from msr_utils.io import write_json, write_text

COMPUTED, CACHED, FAILED = STATES = ("computed", "already there", "failed")
"""Possible outcomes of a track."""

TASKS_PER_PROCESS = 4
"""Tasks that wait or run for each local process."""

MAX_FAILURES_SHOWN = 20
"""Failures that are printed. A file can hold all of them, see `write_failures`."""


@dataclass(frozen=True)
class TrackOutcome:
    """Outcome of one track.

    Parameters
    ----------
    track : str
        Id of the track.
    file : str
        Its audio file, relative to the working folder.
    state : str
        One of `STATES`.
    error : str
        Reason of a failure; empty otherwise.
    """

    track: str
    file: str
    state: str
    error: str = ""


@dataclass(frozen=True)
class _Task:
    """One track for a worker. Its paths are absolute."""

    index: int
    path: Path
    config: FeatureConfig
    cache_dir: Path


@dataclass(frozen=True)
class _TaskResult:
    """Result of a task. `text` is the name of the file in the cache, or the error."""

    index: int
    state: str
    text: str


def compute_features(
    corpus: Corpus,
    config: FeatureConfig,
    cache_dir: Path,
    scheduler: str = "local",
    workers: int = 1,
    progress: bool = True,
) -> list[TrackOutcome]:
    """Compute and cache the features of every track that are not in the cache yet.

    Parameters
    ----------
    corpus : Corpus
    config : FeatureConfig
    cache_dir : Path
        As for `msr_utils.features.cache.cached_features`.
    scheduler : str
        ``"local"``, or the ``tcp://host:port`` of a Dask scheduler.
    workers : int > 0
        Local processes. With 1, this process does the work.
    progress : bool
        Show a progress bar.

    Returns
    -------
    list of TrackOutcome
        In the order of the tracks. A track that fails does not stop the others.

    Raises
    ------
    DistributedError
        If the cache cannot be written, or the scheduler or its workers cannot be used. Features
        that were computed until then stay in the cache.
    """
    cache_dir = Path(cache_dir).absolute()
    try:
        cache_dir.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise DistributedError(
            f"cannot make the cache folder {cache_dir}: {error.strerror}; name another one"
        ) from error
    tasks = [
        _Task(index, Path(track.audio_path).absolute(), config, cache_dir)
        for index, track in enumerate(corpus.tracks)
    ]
    outcomes: dict[int, TrackOutcome] = {}
    failed = 0
    with tqdm(total=len(tasks), desc="features", unit="track", disable=not progress) as bar:
        for result in _results(tasks, scheduler, workers):
            track = corpus.tracks[result.index]
            file = os.path.relpath(track.audio_path)
            reason = result.text if result.state == FAILED else ""
            outcomes[result.index] = TrackOutcome(track.id, file, result.state, reason)
            if result.state == FAILED:
                failed += 1
                bar.set_postfix(failed=failed, refresh=False)
            bar.update()
    return [outcomes[task.index] for task in tasks]


def _results(tasks: Sequence[_Task], scheduler: str, workers: int) -> Iterable[_TaskResult]:
    """Results of tasks in the order in which they finish."""
    if scheduler == "local":
        return map(_run, tasks) if workers == 1 else _in_processes(tasks, workers)
    if workers != 1:
        raise DistributedError("workers: for local only; a Dask cluster has its own")
    return _on_cluster(tasks, scheduler)


def _run(task: _Task) -> _TaskResult:
    """Compute one track. Errors are returned, not raised, so that they do not stop the others."""
    try:
        file, _, computed = compute_or_read(task.path, task.config, task.cache_dir)
    except AudioError as error:
        return _TaskResult(task.index, FAILED, str(error))
    except Exception as error:  # no file of a large collection may stop the rest
        return _TaskResult(task.index, FAILED, f"{type(error).__name__}: {error}")
    return _TaskResult(task.index, COMPUTED if computed else CACHED, file.name)


def _in_processes(tasks: Sequence[_Task], workers: int) -> Iterator[_TaskResult]:
    """Run tasks in local processes."""
    pool = ProcessPoolExecutor(
        workers,
        multiprocessing.get_context("spawn"),
        initializer=_start_process,
    )
    try:
        pending: set[Future[_TaskResult]] = set()
        for task in tasks:
            pending.add(pool.submit(_run, task))
            if len(pending) >= TASKS_PER_PROCESS * workers:
                done, pending = wait(pending, return_when=FIRST_COMPLETED)
                yield from (future.result() for future in done)
        while pending:
            done, pending = wait(pending, return_when=FIRST_COMPLETED)
            yield from (future.result() for future in done)
    except BrokenProcessPool as error:
        raise DistributedError(
            "a worker process died, perhaps because memory ran out; computed features are kept: "
            "call again with fewer workers"
        ) from error
    finally:
        pool.shutdown(cancel_futures=True)


def _start_process() -> None:
    """Ignore Ctrl-C, which the parent handles, and end when the parent ends."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    parent = multiprocessing.parent_process()
    assert parent is not None, "runs in a process of the pool"

    def end_with_parent() -> None:
        parent.join()
        os._exit(1)

    threading.Thread(target=end_with_parent, daemon=True).start()


def _on_cluster(tasks: Sequence[_Task], address: str) -> Iterator[_TaskResult]:
    """Run tasks on a Dask cluster."""
    for task, result in run_on_cluster(tasks, _run, address):
        if result is None:
            reason = (
                "every worker that took it died, perhaps because memory ran out; see their logs"
            )
            yield _TaskResult(task.index, FAILED, reason)
        else:
            yield _check_visible(result, task)


def _check_visible(result: _TaskResult, task: _Task) -> _TaskResult:
    """Stop if a file that a worker wrote cannot be seen from this machine."""
    folder = _folder(task.config, task.cache_dir)
    if result.state != FAILED and not (folder / result.text).is_file():
        raise DistributedError(
            f"a worker wrote {result.text}, but it is not in {folder} here: every machine must "
            "see the cache under the same path, on a shared file system, and run the same checkout"
        )
    return result


@cache
def _folder(config: FeatureConfig, cache_dir: Path) -> Path:
    """Folder of the cache. Computing it takes milliseconds, which add up over many tracks."""
    return features_folder(config, cache_dir)


def write_failures(file: Path, failed: Sequence[TrackOutcome]) -> None:
    """Write track, file and error of failed tracks: JSON if `file` ends in .json, else CSV.

    Raises
    ------
    DistributedError
        If the file cannot be written.
    """
    rows = _failure_rows(failed)
    try:
        if Path(file).suffix == ".json":
            write_json(file, rows)
        else:
            table = pd.DataFrame(rows, columns=["track", "file", "error"])
            write_text(file, table.to_csv(index=False))
    except OSError as error:
        raise DistributedError(f"cannot write {file}: {error.strerror}") from error


def failure_table(failed: Sequence[TrackOutcome]) -> str:
    """The first failures as lines of text, and the number of the others."""
    rows = [("track", "file", "error")]
    rows += [(f.track, f.file, f.error) for f in failed[:MAX_FAILURES_SHOWN]]
    widths = [max(len(row[column]) for row in rows) for column in range(2)]
    lines = [f"{a:{widths[0]}}  {b:{widths[1]}}  {c}" for a, b, c in rows]
    if len(failed) > MAX_FAILURES_SHOWN:
        lines.append(f"and {len(failed) - MAX_FAILURES_SHOWN} more")
    return "\n".join(lines)


def _failure_rows(failed: Iterable[TrackOutcome]) -> list[dict[str, str]]:
    return [{k: v for k, v in asdict(o).items() if k != "state"} for o in failed]


def audio_corpus(folder: Path) -> tuple[Corpus, list[Entry]]:
    """Every audio file under a folder as a track without labels. Features need no labels.

    Returns
    -------
    corpus : Corpus
    left_out : list of Entry
        What may be audio but cannot be used: broken links, pipes, formats that cannot be decoded.

    Raises
    ------
    CorpusError
        If the folder does not exist or holds no audio file.
    PermissionError
        If a folder in it cannot be read.
    """
    root = Path(folder)
    if not root.is_dir():
        raise CorpusError(f"no folder {folder}")
    try:
        entries = scan(root)
    except FolderError as error:
        raise CorpusError(str(error)) from error
    left_out = [entry for entry in entries if entry.state is not None and entry.may_be_audio]
    for entry in left_out:
        if entry.path.is_dir():
            os.scandir(entry.path).close()  # The reason becomes the error.
    files = [entry.path for entry in entries if entry.state is None]
    if not files:
        raise CorpusError(f"{root.name}: no audio file; known: {', '.join(AUDIO_SUFFIXES)}")
    none = np.zeros(0, np.float32)
    names = [path.relative_to(root).as_posix() for path in files]
    corpus = Corpus(
        name=root.resolve().name,
        tracks=[
            Track(name, path, np.zeros(0), none, none, group=name)
            for name, path in zip(names, files, strict=True)
        ],
        card=Card(root.name, "", "as its owner states", ""),
        index_files=[],
    )
    return corpus, left_out

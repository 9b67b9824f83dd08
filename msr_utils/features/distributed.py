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

import asyncio
import logging
import multiprocessing
import os
import signal
import threading
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import (
    FIRST_COMPLETED,
    Future,
    ProcessPoolExecutor,
    ThreadPoolExecutor,
    wait,
)
from concurrent.futures.process import BrokenProcessPool
from dataclasses import asdict, dataclass
from functools import cache
from itertools import islice
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pandas as pd
from tqdm import tqdm

from msr_utils.audio.folder_scan import Entry, FolderError, scan
from msr_utils.audio.formats import AUDIO_SUFFIXES
from msr_utils.audio.source import AudioError
from msr_utils.corpora.base import Card, Corpus, CorpusError, Track
from msr_utils.features.cache import compute_or_read, features_folder
from msr_utils.features.config import FeatureConfig
from msr_utils.io import write_json, write_text

COMPUTED, CACHED, FAILED = STATES = ("computed", "already there", "failed")
"""Possible outcomes of a track."""

SCHEDULER_TIMEOUT_S = 10
"""Time in s within which a scheduler must answer, and must have a worker."""

MAX_TASKS_IN_FLIGHT = 1000
"""Tasks that a scheduler holds at a time. Its memory then does not grow with the corpus."""

TASKS_PER_PROCESS = 4
"""Tasks that wait or run for each local process."""

COMPARED_PACKAGES = ("msr-utils", "numpy", "scipy", "soundfile", "soxr")
"""Packages that change the numbers. Dask adds Python and the packages that it communicates with."""

IGNORED_PACKAGES = ("pandas", "lz4")
"""Packages that Dask compares but that do not change the numbers."""

MAX_FAILURES_SHOWN = 20
"""Failures that are printed. A file can hold all of them, see `write_failures`."""


class DistributedError(RuntimeError):
    """Worker processes, a scheduler or a cache that cannot be used."""


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
    """Run tasks on a Dask cluster. Its scheduler is checked before the first task is sent."""
    distributed = _import_distributed()
    # Our errors report problems. Dask would log its own tracebacks beside them.
    for name in ("client", "core", "utils", "comm"):
        logging.getLogger(f"distributed.{name}").setLevel(logging.CRITICAL)
    _check_scheduler(distributed, address)
    with distributed.Client(address, timeout=SCHEDULER_TIMEOUT_S, set_as_default=False) as client:
        _check_workers(client, address)
        unsent = iter(tasks)
        sent: dict[str, _Task] = {}

        def send(count: int) -> list[Any]:
            # Not pure: a file may have changed since another session asked for it.
            futures = {client.submit(_run, t, pure=False): t for t in islice(unsent, count)}
            sent.update((future.key, task) for future, task in futures.items())
            return list(futures)

        running = distributed.as_completed(
            send(MAX_TASKS_IN_FLIGHT), loop=client.loop, with_results=True, raise_errors=False
        )
        for future, result in running:
            if future.status in ("lost", "pending"):
                # Its worker died before the result was here: the scheduler gives it to another.
                running.add(future)
                continue
            yield _cluster_result(distributed, future, result, sent.pop(future.key), address)
            running.update(send(1))


def _cluster_result(
    distributed: ModuleType, future: Any, result: Any, task: _Task, address: str
) -> _TaskResult:
    """Result of a finished future, or the error that its status calls for."""
    if future.status == "finished":
        return _check_visible(result, task)
    if future.status != "error":
        raise DistributedError(
            f"lost the scheduler {address}; computed features are kept: start it and call again"
        )
    error = result[1]
    if isinstance(error, distributed.KilledWorker):
        reason = "every worker that took it died, perhaps because memory ran out; see their logs"
        return _TaskResult(task.index, FAILED, reason)
    reason = (str(error) or type(error).__name__).splitlines()[0]
    raise DistributedError(
        f"the machines of {address} cannot run the work: install the same checkout for its "
        f"scheduler and workers ({reason})"
    ) from error


def _import_distributed() -> ModuleType:
    """Import Dask, which only a cluster needs."""
    try:
        import distributed
    except ModuleNotFoundError as error:
        raise DistributedError(
            "scheduler: a cluster needs Dask; in the checkout, pip install -e '.[scale]'"
        ) from error
    module: ModuleType = distributed
    return module


def _check_scheduler(distributed: ModuleType, address: str) -> None:
    """Refuse an address at which no scheduler answers.

    The client's own timeout covers only the connection. A server that accepts the connection and
    never answers would block the client for ever.
    """
    if not address.startswith("tcp://"):
        raise DistributedError(f"scheduler: must be local or tcp://host:port, not {address!r}")

    async def ask() -> None:
        async with distributed.rpc(address) as scheduler:
            await asyncio.wait_for(scheduler.identity(), SCHEDULER_TIMEOUT_S)

    try:
        # In a separate thread, because a notebook's thread already runs an event loop.
        with ThreadPoolExecutor(1) as thread:
            thread.submit(asyncio.run, ask()).result()
    except ValueError as error:
        raise DistributedError(
            f"scheduler: {address!r} is not tcp://host:port ({error})"
        ) from error
    except (OSError, TimeoutError) as error:
        raise DistributedError(
            f"scheduler: no Dask scheduler answers at {address} within {SCHEDULER_TIMEOUT_S} s; "
            "start one with 'dask scheduler', or check the address"
        ) from error


def _check_workers(client: Any, address: str) -> None:
    """Refuse a cluster without workers, or with workers that might give other numbers."""
    try:
        client.wait_for_workers(1, timeout=SCHEDULER_TIMEOUT_S)
    except TimeoutError as error:
        raise DistributedError(
            f"scheduler: {address} has no worker; start some with "
            f"'dask worker {address} --nthreads 1'"
        ) from error
    for worker, threads in client.nthreads().items():
        if threads != 1:
            raise DistributedError(
                f"worker {worker} has {threads} threads; start it with --nthreads 1, and with "
                "--nworkers for more processes"
            )
    problems = version_mismatches(client.get_versions(packages=list(COMPARED_PACKAGES)))
    if problems:
        raise DistributedError(
            "the machines have different packages; install the same requirements.lock on all:\n"
            + "\n".join(problems[:MAX_FAILURES_SHOWN])
        )


def version_mismatches(versions: Mapping[str, Any]) -> list[str]:
    """Packages that a cluster has in other versions than its client.

    Parameters
    ----------
    versions : mapping
        From ``distributed.Client.get_versions``. Dask's own check only warns, and it warns about
        packages that do not matter here.

    Returns
    -------
    list of str
        One line for each package and machine.
    """
    ours = versions["client"]["packages"]
    others = {"scheduler": versions["scheduler"], **versions["workers"]}
    return [
        f"{name} on {where}: {theirs['packages'].get(name) or 'none'}, here {version or 'none'}"
        for where, theirs in others.items()
        for name, version in ours.items()
        if name not in IGNORED_PACKAGES and theirs["packages"].get(name) != version
    ]


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

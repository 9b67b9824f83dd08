"""Features of a corpus on any number of cores and machines, and what they cost.

Tracks are the tasks: none needs another, each ends in one file of the cache. ``local`` works
in this process or in a few; a ``tcp://`` address names the scheduler of a Dask cluster
(https://distributed.dask.org):

.. code-block:: text

    dask scheduler --host 10.0.0.1                                 # on one machine
    dask worker tcp://10.0.0.1:8786 --nthreads 1 --nworkers 16     # on every machine
    msr features --corpus folder --data /shared/songs --cache /shared/cache \
        --scheduler tcp://10.0.0.1:8786

Every machine must see the data and the cache under the same absolute path, on a shared file
system, and have the same packages: the requirements.lock of one checkout. The result is then
the same, byte for byte, as that of one process, on processors of one kind. A worker may be
added or killed at any time; its track is given to another. Without any worker the work waits
for one. A Dask cluster runs whatever it is sent: keep its ports within a trusted network.
"""

from __future__ import annotations

import asyncio
import logging
import multiprocessing
import os
import signal
import threading
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import (
    FIRST_COMPLETED,
    ProcessPoolExecutor,
    ThreadPoolExecutor,
    wait,
)
from concurrent.futures.process import BrokenProcessPool
from dataclasses import asdict, dataclass
from itertools import islice
from pathlib import Path
from types import ModuleType

import numpy as np
import pandas as pd
from tqdm import tqdm

from msr_utils.audio.source import AudioError
from msr_utils.corpora.base import (
    AUDIO_SUFFIXES,
    Card,
    Corpus,
    CorpusError,
    Track,
)
from msr_utils.features.cache import compute_or_read, features_folder
from msr_utils.features.config import FeatureConfig
from msr_utils.io import write_json, write_text

COMPUTED, CACHED, FAILED = STATES = ("computed", "already there", "failed")
"""What may become of a track."""

TIMEOUT_S = 10
"""How long a scheduler may take to answer, and to have a worker."""

IN_FLIGHT = 1000
"""Tracks that a scheduler knows of at a time: its memory does not grow with the corpus."""

PACKAGES = ("msr-utils", "numpy", "scipy", "soundfile", "soxr")
"""Packages that make the numbers; Dask adds Python and those that it talks through."""

TABLE_ROWS = 20
"""Failures that are shown; a file holds them all."""


class ScaleError(RuntimeError):
    """Workers or a scheduler that cannot do the work."""


@dataclass(frozen=True)
class Outcome:
    """What became of one track.

    Parameters
    ----------
    track : str
    file : str
        Its audio, relative to the working folder.
    state : str
        One of `STATES`.
    error : str
        Why it failed.
    """

    track: str
    file: str
    state: str
    error: str = ""


@dataclass(frozen=True)
class _Task:
    """What a worker needs to know of a track; its paths are absolute."""

    index: int
    path: Path
    config: FeatureConfig
    cache_dir: Path


@dataclass(frozen=True)
class _Done:
    """What a worker tells of a task; `text` is the name of the kept file, or the error."""

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
) -> list[Outcome]:
    """Compute and keep the features of every track that has none yet.

    Parameters
    ----------
    corpus : Corpus
    config : FeatureConfig
    cache_dir : Path
        As for `msr_utils.dataset.sequences.cached_features`.
    scheduler : str
        ``"local"``, or the ``tcp://host:port`` of a Dask scheduler.
    workers : int > 0
        Local processes; 1 is this process alone.
    progress : bool
        Show a bar.

    Returns
    -------
    list of Outcome
        In the order of the tracks. A track that fails does not stop the others.

    Raises
    ------
    ScaleError
        If the cache cannot be written, or the scheduler or its workers cannot do the work.
        What was computed until then is kept.
    """
    cache_dir = Path(cache_dir).absolute()
    try:
        cache_dir.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ScaleError(f"cannot make the cache folder {cache_dir}: {error.strerror}") from error
    tasks = [
        _Task(index, Path(track.audio_path).absolute(), config, cache_dir)
        for index, track in enumerate(corpus.tracks)
    ]
    if scheduler != "local":
        if workers != 1:
            raise ScaleError("workers: for local only; a Dask cluster has its own")
        done = _on_cluster(tasks, scheduler)
    else:
        done = map(_work, tasks) if workers == 1 else _in_processes(tasks, workers)
    outcomes = {}
    failed = 0
    with tqdm(total=len(tasks), desc="features", unit="track", disable=not progress) as bar:
        for one in done:
            track = corpus.tracks[one.index]
            file = os.path.relpath(track.audio_path)
            if one.state == FAILED:
                failed += 1
                bar.set_postfix(failed=failed, refresh=False)
            error = one.text if one.state == FAILED else ""
            outcomes[one.index] = Outcome(track.id, file, one.state, error)
            bar.update()
    return [outcomes[task.index] for task in tasks]


def _work(task: _Task) -> _Done:
    """Compute one track, wherever this runs; whatever is wrong with it is told, not raised."""
    try:
        file, _, computed = compute_or_read(task.path, task.config, task.cache_dir)
    except AudioError as error:
        return _Done(task.index, FAILED, str(error))
    except Exception as error:  # of a million files, none may stop the rest
        return _Done(task.index, FAILED, f"{type(error).__name__}: {error}")
    return _Done(task.index, COMPUTED if computed else CACHED, file.name)


def _in_processes(tasks: Sequence[_Task], workers: int) -> Iterator[_Done]:
    """Work in local processes."""
    pool = ProcessPoolExecutor(
        workers,
        multiprocessing.get_context("spawn"),
        initializer=_start_process,
    )
    try:
        waiting = set()
        for task in tasks:
            waiting.add(pool.submit(_work, task))
            if len(waiting) >= 4 * workers:
                done, waiting = wait(waiting, return_when=FIRST_COMPLETED)
                yield from (future.result() for future in done)
        while waiting:
            done, waiting = wait(waiting, return_when=FIRST_COMPLETED)
            yield from (future.result() for future in done)
    except BrokenProcessPool as error:
        raise ScaleError(
            "a worker process died, perhaps for want of memory; what was computed is kept: "
            "call again with fewer workers"
        ) from error
    finally:
        pool.shutdown(cancel_futures=True)


def _start_process() -> None:
    """Leave Ctrl-C to the parent, which then stops its workers, and do not outlive it."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)

    def end_with_parent() -> None:
        multiprocessing.parent_process().join()
        os._exit(1)

    threading.Thread(target=end_with_parent, daemon=True).start()


def _on_cluster(tasks: Sequence[_Task], address: str) -> Iterator[_Done]:
    """Work on a Dask cluster; its scheduler is asked before the first task is sent."""
    distributed = _import_distributed()
    # What goes wrong is told by our errors; Dask would log its own tracebacks beside them.
    for name in ("client", "core", "utils", "comm"):
        logging.getLogger(f"distributed.{name}").setLevel(logging.CRITICAL)
    _check_scheduler(distributed, address)
    with distributed.Client(address, timeout=TIMEOUT_S, set_as_default=False) as client:
        _check_workers(client, address)
        todo = iter(tasks)
        sent = {}

        def send(count: int) -> list:
            # Not pure: a file may have changed since another session asked for it.
            futures = {client.submit(_work, t, pure=False): t for t in islice(todo, count)}
            sent.update((future.key, task) for future, task in futures.items())
            return list(futures)

        running = distributed.as_completed(
            send(IN_FLIGHT), loop=client.loop, with_results=True, raise_errors=False
        )
        for future, result in running:
            task = sent.pop(future.key)
            if future.status == "finished":
                yield _check_kept(result, task)
            elif future.status == "error" and isinstance(result[1], distributed.KilledWorker):
                text = "every worker that took it died, perhaps for want of memory; see their logs"
                yield _Done(task.index, FAILED, text)
            elif future.status == "error":
                reason = (str(result[1]) or type(result[1]).__name__).splitlines()[0]
                raise ScaleError(
                    f"the machines of {address} cannot run the work: install the same checkout "
                    f"for its scheduler and workers ({reason})"
                ) from result[1]
            else:
                raise ScaleError(
                    f"lost the scheduler {address}; what was computed is kept: start it and "
                    "call again"
                )
            running.update(send(1))


def _import_distributed() -> ModuleType:
    """Dask, which only a cluster needs."""
    try:
        import distributed
    except ModuleNotFoundError as error:
        raise ScaleError(
            "scheduler: a cluster needs Dask; in the checkout, pip install -e '.[scale]'"
        ) from error
    return distributed


def _check_scheduler(distributed: ModuleType, address: str) -> None:
    """Refuse an address at which no scheduler answers.

    The client's own timeout ends with the connection: whoever accepts it and says nothing
    would keep it waiting for ever.
    """
    if not address.startswith("tcp://"):
        raise ScaleError(f"scheduler: must be local or tcp://host:port, not {address!r}")

    async def ask() -> None:
        async with distributed.rpc(address) as scheduler:
            await asyncio.wait_for(scheduler.identity(), TIMEOUT_S)

    try:
        # In a thread of its own: a notebook's thread runs an event loop already.
        with ThreadPoolExecutor(1) as thread:
            thread.submit(asyncio.run, ask()).result()
    except ValueError as error:
        raise ScaleError(f"scheduler: {address!r} is not tcp://host:port ({error})") from error
    except (OSError, TimeoutError) as error:
        raise ScaleError(
            f"scheduler: no Dask scheduler answers at {address} within {TIMEOUT_S} s; start one "
            "with 'dask scheduler', or look at the address"
        ) from error


def _check_workers(client, address: str) -> None:
    """Refuse a cluster without workers, or whose workers might give other numbers."""
    try:
        client.wait_for_workers(1, timeout=TIMEOUT_S)
    except TimeoutError as error:
        raise ScaleError(
            f"scheduler: {address} has no worker; start some with "
            f"'dask worker {address} --nthreads 1'"
        ) from error
    for worker, threads in client.nthreads().items():
        if threads != 1:
            raise ScaleError(
                f"worker {worker} has {threads} threads; start it with --nthreads 1, and with "
                "--nworkers for more processes"
            )
    problems = mismatches(client.get_versions(packages=list(PACKAGES)))
    if problems:
        raise ScaleError(
            "the machines have different packages; install the same requirements.lock on all:\n"
            + "\n".join(problems[:TABLE_ROWS])
        )


def mismatches(versions: dict) -> list[str]:
    """What a cluster has in other versions than its client.

    Parameters
    ----------
    versions : dict
        From ``distributed.Client.get_versions``, whose own check only warns, and does so for
        packages that do not matter here.

    Returns
    -------
    list of str
        One line for each package and machine.
    """
    ours = versions["client"]["packages"]
    others = {"scheduler": versions["scheduler"], **versions["workers"]}
    optional = {"pandas", "lz4"}
    return [
        f"{name} on {where}: {theirs['packages'].get(name) or 'none'}, here {version or 'none'}"
        for where, theirs in others.items()
        for name, version in ours.items()
        if name not in optional and theirs["packages"].get(name) != version
    ]


def _check_kept(done: _Done, task: _Task) -> _Done:
    """Refuse to go on if what a worker kept is not to be seen from here."""
    folder = features_folder(task.config, task.cache_dir)
    if done.state != FAILED and not (folder / done.text).is_file():
        raise ScaleError(
            f"a worker kept {done.text}, but it is not in {folder} here: every machine must see "
            "the cache under the same path, on a shared file system, and run the same checkout"
        )
    return done


def write_failures(file: Path, failed: Sequence[Outcome]) -> None:
    """Write track, file and error of what failed, as CSV or JSON by the file's ending.

    Raises
    ------
    ScaleError
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
        raise ScaleError(f"cannot write {file}: {error.strerror}") from error


def failure_table(failed: Sequence[Outcome]) -> str:
    """The first failures as lines of text, and how many more there are."""
    rows = [("track", "file", "error")]
    rows += [tuple(row.values()) for row in _failure_rows(failed[:TABLE_ROWS])]
    widths = [max(len(row[column]) for row in rows) for column in range(2)]
    lines = [f"{a:{widths[0]}}  {b:{widths[1]}}  {c}" for a, b, c in rows]
    if len(failed) > TABLE_ROWS:
        lines.append(f"and {len(failed) - TABLE_ROWS} more")
    return "\n".join(lines)


def _failure_rows(failed: Iterable[Outcome]) -> list[dict[str, str]]:
    return [{k: v for k, v in asdict(o).items() if k != "state"} for o in failed]


def audio_corpus(folder: Path) -> Corpus:
    """Every audio file under a folder as a track without labels: features need none.

    Raises
    ------
    CorpusError
        If there is no such folder, or no audio file in it.
    """
    root = Path(folder)
    if not root.is_dir():
        raise CorpusError(f"no folder {folder}")
    files = sorted(p for p in root.rglob("*") if p.suffix.lower() in AUDIO_SUFFIXES)
    if not files:
        raise CorpusError(f"{root.name}: no audio file; known: {', '.join(AUDIO_SUFFIXES)}")
    none = np.zeros(0, np.float32)
    names = [path.relative_to(root).as_posix() for path in files]
    return Corpus(
        name=root.resolve().name,
        tracks=[
            Track(name, path, np.zeros(0), none, none, group=name)
            for name, path in zip(names, files, strict=True)
        ],
        card=Card(root.name, "", "as its owner states", ""),
        index_files=[],
    )

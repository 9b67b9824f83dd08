"""Predict files one after the other or in several processes; no file stops the others."""

from __future__ import annotations

import hashlib
import multiprocessing
import os
import pickle
import signal
import threading
from collections.abc import Generator, Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import cache
from io import BufferedReader
from itertools import islice
from multiprocessing.connection import Connection
from pathlib import Path

from threadpoolctl import threadpool_limits

from msr_utils.audio.source import AudioError
from msr_utils.inference.folder_names import printable
from msr_utils.inference.folder_scan import State
from msr_utils.inference.folder_summary import FileResult
from msr_utils.inference.model import Model
from msr_utils.inference.prediction import rounded
from msr_utils.io import sha256_file

TASKS_PER_PROCESS = 2
"""Tasks that wait or run for each process."""

MAX_REASON_LETTERS = 500
"""Longest reason that is kept. Some libraries put pages of text into an error."""


DIED = "the process that analysed it died, perhaps because memory ran out"
"""Reason of a file whose process died twice."""


@dataclass(frozen=True)
class Task:
    """An audio file to be analysed.

    Parameters
    ----------
    path : Path
    file : str
        Its name in the table.
    analysis : str
        What the curve depends on besides audio, see `FileResult`.
    output : Path, optional
        Where its curve lies or will lie.
    output_name : str
        The same in the table.
    known : FileResult, optional
        Result of an earlier call.
    """

    path: Path
    file: str
    analysis: str
    output: Path | None = None
    output_name: str = ""
    known: FileResult | None = None


@dataclass(frozen=True)
class Outcome:
    """A finished task.

    Parameters
    ----------
    task : Task
    result : FileResult
    curve : str, optional
        The curve as CSV, to be written. None if there is none, or it is there already.
    """

    task: Task
    result: FileResult
    curve: str | None = None


def run(model: Model, tasks: Iterable[Task], jobs: int) -> Generator[Outcome, None, None]:
    """Work on tasks.

    Parameters
    ----------
    model : Model
    tasks : iterable of Task
    jobs : int > 0
        Number of processes. With 1, this process does the work.

    Yields
    ------
    Outcome
        In the order in which tasks finish.
    """
    if jobs > 1:
        yield from _in_processes(model, tasks, jobs)
        return
    for task in tasks:
        with threadpool_limits(1):  # as in the processes: the numbers are the same
            outcome = analyse(model, task)
        yield outcome


def analyse(model: Model, task: Task) -> Outcome:
    """Predict one file, unless its curve is there. Errors become results.

    Parameters
    ----------
    model : Model
    task : Task

    Returns
    -------
    Outcome
        Of the state analysed, unchanged, failed or unreadable.
    """
    empty = _empty(model, task)
    try:
        with open(task.path, "rb") as file:
            return _analyse_open(model, task, file, empty)
    except OSError as error:
        reason = f"cannot be read ({error.strerror or error})"
        return Outcome(task, replace(empty, state=State.UNREADABLE, reason=reason))


def _empty(model: Model, task: Task) -> FileResult:
    """The result of a file of which nothing is known."""
    return FileResult(
        file=task.file, state=State.FAILED, path=task.path, may_be_audio=True, model=model.name,
        version=model.version, analysis=task.analysis,
    )  # fmt: skip


def _analyse_open(model: Model, task: Task, file: BufferedReader, empty: FileResult) -> Outcome:
    """Hash and predict an open file. An OSError means that it cannot be read."""
    before = os.fstat(file.fileno())
    if not before.st_size:
        return Outcome(task, replace(empty, reason="is empty (0 bytes)"))
    digest = hashlib.file_digest(file, "sha256").hexdigest()
    if task.known is not None and _is_up_to_date(task, task.known, digest):
        kept = replace(
            task.known, state=State.UNCHANGED, reason="", path=task.path, may_be_audio=True
        )
        return Outcome(task, kept)
    empty = replace(empty, sha256=digest)
    file.seek(0)
    try:
        prediction = model.predict(file)
        after = os.fstat(file.fileno())
        if (before.st_size, before.st_mtime_ns) != (after.st_size, after.st_mtime_ns):
            raise AudioError("changed while it was read; call again")
        curve = prediction.to_csv() if task.output is not None else None
    except MemoryError:
        return Outcome(task, replace(empty, reason="not enough memory to analyse it"))
    except Exception as error:  # no file of a large collection may stop the rest
        return Outcome(task, replace(empty, reason=_reason(error, task.path.name)))
    result = replace(
        empty,
        state=State.ANALYSED,
        seconds=prediction.duration_s,
        mean_valence=rounded(prediction.mean["valence"]),
        mean_arousal=rounded(prediction.mean["arousal"]),
        quadrant=prediction.quadrant[0],
        output=task.output_name,
        warnings=tuple(_message(text, task.path.name) for text in prediction.warnings),
    )
    return Outcome(task, result, curve)


def _is_up_to_date(task: Task, known: FileResult, digest: str) -> bool:
    """Whether an earlier curve is of this content and model, and still there as it was written."""
    if task.output is None or known.seconds is None or known.output != task.output_name:
        return False
    if (known.sha256, known.analysis) != (digest, task.analysis):
        return False
    try:
        return sha256_file(task.output) == known.output_sha256
    except OSError:
        return False


def _reason(error: Exception, name: str) -> str:
    """Text of an error in one line. Errors that are not about audio are named."""
    text = str(error) if isinstance(error, AudioError) else f"{type(error).__name__}: {error}"
    return _message(text, name)


def _message(text: str, name: str) -> str:
    """A message without the name of the file, which the table gives in another column."""
    return printable(text.removeprefix(f"{name}: "))[:MAX_REASON_LETTERS]


# ------------------------------------------------------------------------------ processes


def _in_processes(model: Model, tasks: Iterable[Task], jobs: int) -> Iterator[Outcome]:
    """Run tasks in processes.

    If a process dies, all tasks of the pool are lost. Each of them is then run alone. A task that
    ends its process again is the one that failed.
    """
    waiting = iter(tasks)
    while True:
        lost: list[Task] = []
        yield from _in_pool(model, waiting, jobs, TASKS_PER_PROCESS * jobs, lost)
        if not lost:
            return
        suspects = iter(lost)
        while True:
            failed: list[Task] = []
            yield from _in_pool(model, suspects, 1, 1, failed)
            if not failed:
                break
            yield Outcome(failed[0], replace(_empty(model, failed[0]), reason=DIED))


def _in_pool(
    model: Model, tasks: Iterator[Task], jobs: int, ahead: int, lost: list[Task]
) -> Iterator[Outcome]:
    """Run tasks in one pool until they end or a process dies.

    Parameters
    ----------
    model : Model
    tasks : iterator of Task
        Those that the pool did not begin stay in it.
    jobs : int > 0
        Processes.
    ahead : int > 0
        Tasks that run or wait for a process.
    lost : list of Task
        If a process dies, the tasks that ran or waited are added here.

    Yields
    ------
    Outcome
    """
    # Spawned processes, on every system: a fork would copy the threads' locks of ONNX Runtime.
    context = multiprocessing.get_context("spawn")
    lifeline, ours = context.Pipe(duplex=False)
    pool = ProcessPoolExecutor(
        jobs, context, initializer=_start_process, initargs=(lifeline, pickle.dumps(model))
    )
    pending: dict[Future[Outcome], Task] = {}

    def send(count: int) -> None:
        for task in islice(tasks, count):
            with _interrupts_later():
                try:
                    pending[pool.submit(_analyse_in_process, task)] = task
                except BrokenProcessPool:
                    lost.append(task)
                    return

    try:
        send(ahead)
        while pending:
            done, _ = wait(pending, return_when=FIRST_COMPLETED)
            for future in done:
                task = pending.pop(future)
                try:
                    yield future.result()
                except BrokenProcessPool:
                    lost.append(task)
            if not lost:
                send(len(done))
        pool.shutdown()
    finally:
        ours.close()  # ends processes that still work, if an exception brought us here
        pool.shutdown(cancel_futures=True)
        lifeline.close()


@contextmanager
def _interrupts_later() -> Iterator[None]:
    """Keep Ctrl-C until the end of the block. Processes that start in it never see one."""
    if not hasattr(signal, "pthread_sigmask"):  # Windows
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGINT])
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


_pickled_model = b""


def _start_process(lifeline: Connection, pickled_model: bytes) -> None:
    """Prepare a process: Ctrl-C is for the parent, and the process ends when the parent does."""
    global _pickled_model
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threadpool_limits(1)
    _pickled_model = pickled_model

    def end_with_parent() -> None:
        # Nothing is ever sent: the pipe becomes readable when the parent closes it or dies.
        lifeline.poll(None)
        os._exit(1)

    threading.Thread(target=end_with_parent, daemon=True).start()


@cache
def _model() -> Model:
    """The model of this process. It is loaded by the first task, which can report an error."""
    model: Model = pickle.loads(_pickled_model)
    return model


def _analyse_in_process(task: Task) -> Outcome:
    return analyse(_model(), task)

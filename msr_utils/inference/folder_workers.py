"""Predict files one after the other or in several processes; no file stops the others."""

from __future__ import annotations

import hashlib
import multiprocessing
import os
import pickle
import signal
import threading
from collections.abc import Callable, Generator, Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from io import BufferedReader
from multiprocessing import resource_tracker
from multiprocessing.connection import Connection, wait
from pathlib import Path
from typing import Generic, TypeVar, cast

from threadpoolctl import threadpool_limits

from msr_utils.audio.folder_scan import State
from msr_utils.audio.source import AudioError
from msr_utils.inference.folder_summary import FileResult
from msr_utils.inference.model import Model
from msr_utils.inference.prediction import rounded
from msr_utils.io import printable, sha256_file

FILE_BUFFER_BYTES = 2**16
"""Bytes that are read from a file at a time."""

MAX_REASON_LETTERS = 500
"""Longest reason that is kept. Some libraries put pages of text into an error."""


TaskT = TypeVar("TaskT")
OutcomeT = TypeVar("OutcomeT")

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


@dataclass(frozen=True)
class Job(Generic[TaskT, OutcomeT]):
    """What is done with each task.

    Parameters
    ----------
    work : callable
        From a model and a task to an outcome. A function of a module, because processes get it
        pickled. It raises nothing: errors are outcomes too.
    died : callable
        From a model and a task to the outcome of a task whose process died twice.
    """

    work: Callable[[Model, TaskT], OutcomeT]
    died: Callable[[Model, TaskT], OutcomeT]


def run(model: Model, tasks: Iterable[Task], jobs: int) -> Generator[Outcome, None, None]:
    """Predict the files of tasks, see `run_job`."""
    yield from run_job(model, tasks, jobs, Job(analyse, _died))


def run_job(
    model: Model, tasks: Iterable[TaskT], jobs: int, job: Job[TaskT, OutcomeT]
) -> Generator[OutcomeT, None, None]:
    """Work on tasks.

    Parameters
    ----------
    model : Model
    tasks : iterable
    jobs : int > 0
        Number of processes. With 1, this process does the work.
    job : Job

    Yields
    ------
    outcome
        In the order in which tasks finish.
    """
    if jobs > 1:
        yield from _in_processes(model, tasks, jobs, job)
        return
    with threadpool_limits(1):  # as in the processes: the numbers are the same
        for task in tasks:
            yield job.work(model, task)


def _died(model: Model, task: Task) -> Outcome:
    return Outcome(task, replace(_empty(model, task), reason=DIED))


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
        prediction = model.predict(file, overlap=False)  # `jobs` says how many cores are used
        after = os.fstat(file.fileno())
        if (before.st_size, before.st_mtime_ns) != (after.st_size, after.st_mtime_ns):
            raise AudioError("changed while it was read; call again")
        curve = prediction.to_csv() if task.output is not None else None
    except MemoryError:
        return Outcome(task, replace(empty, reason="not enough memory to analyse it"))
    except Exception as error:  # no file of a large collection may stop the rest
        return Outcome(task, replace(empty, reason=error_text(error, task.path.name)))
    result = replace(
        empty,
        state=State.ANALYSED,
        seconds=prediction.duration_s,
        mean_valence=rounded(prediction.mean["valence"]),
        mean_arousal=rounded(prediction.mean["arousal"]),
        quadrant="" if prediction.silent else prediction.quadrant[0],
        content=None if prediction.content is None else prediction.content.to_json(),
        output=task.output_name,
        warnings=tuple(message_text(text, task.path.name) for text in prediction.warnings),
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


def error_text(error: Exception, name: str) -> str:
    """Text of an error in one line. Errors that are not about audio are named."""
    text = str(error) if isinstance(error, AudioError) else f"{type(error).__name__}: {error}"
    return message_text(text, name)


def message_text(text: str, name: str) -> str:
    """A message without the name of the file, which the table gives in another column."""
    return printable(text).removeprefix(f"{printable(name)}: ")[:MAX_REASON_LETTERS]


# ------------------------------------------------------------------------------ processes


class _Worker(Generic[TaskT, OutcomeT]):
    """A process that works on one task at a time.

    It has a pipe of its own. If it dies, even in the middle of a result, the pipe ends, and the
    task that it had is known. A pool with one queue for all processes would wait for ever.

    Parameters
    ----------
    pickled : bytes
        The model and the function that works on a task.
    """

    def __init__(self, pickled: bytes) -> None:
        # Spawned, on every system: a fork would copy the locks of threads.
        context = multiprocessing.get_context("spawn")
        self.connection, theirs = context.Pipe()
        self.task: TaskT | None = None
        self._process = context.Process(target=_work, args=(theirs, pickled), daemon=True)
        resource_tracker.ensure_running()  # Its start would let Ctrl-C through again.
        with _interrupts_later():
            self._process.start()
        theirs.close()  # else its end would not end the pipe

    def give(self, task: TaskT) -> None:
        """Send a task. If the process is dead, `result` says so."""
        self.task = task
        with suppress(OSError):
            self.connection.send(task)

    def result(self) -> OutcomeT | None:
        """Result of the task, which has arrived; None if the process died.

        Raises
        ------
        Exception
            If the process cannot load the model.
        """
        try:
            received: OutcomeT | Exception = self.connection.recv()
        except (EOFError, OSError, pickle.UnpicklingError):
            return None
        if isinstance(received, Exception):
            raise received
        return received

    def end(self) -> None:
        """End the process, whatever it does."""
        self._process.terminate()
        self._process.join()
        self.connection.close()


def _in_processes(
    model: Model,
    tasks: Iterable[TaskT],
    jobs: int,
    job: Job[TaskT, OutcomeT],
    again: bool = True,
) -> Iterator[OutcomeT]:
    """Run tasks in processes.

    A task whose process dies is run `again` when all others are done: alone, it has all the memory.
    """
    waiting = iter(tasks)
    pickled = pickle.dumps((model, job.work))
    workers: dict[Connection, _Worker[TaskT, OutcomeT]] = {}
    died: list[TaskT] = []

    def give_next(worker: _Worker[TaskT, OutcomeT] | None = None) -> None:
        task = next(waiting, None)
        if task is None:
            if worker is not None:
                del workers[worker.connection]
                worker.end()
            return
        if worker is None:
            worker = _Worker(pickled)
            workers[worker.connection] = worker
        worker.give(task)

    try:
        for _ in range(jobs):
            give_next()
        while workers:
            # Typed for all that can be waited for.
            ready = cast(list[Connection], wait(list(workers)))
            for worker in [workers[connection] for connection in ready]:
                outcome = worker.result()
                if outcome is not None:
                    yield outcome
                    give_next(worker)
                    continue
                del workers[worker.connection]
                worker.end()
                assert worker.task is not None, "a worker has a task from its beginning"
                died.append(worker.task)
                give_next()
    finally:
        for worker in workers.values():
            worker.end()
    if again and died:
        yield from _in_processes(model, died, 1, job, again=False)
        return
    for task in died:
        yield job.died(model, task)


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


def _work(connection: Connection, pickled: bytes) -> None:
    """Work on tasks in a process of its own, until the pipe ends."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent handles Ctrl-C
    parent = multiprocessing.parent_process()
    assert parent is not None, "runs in a process of its own"

    def end_with_parent() -> None:
        parent.join()
        os._exit(1)

    threading.Thread(target=end_with_parent, daemon=True).start()
    threadpool_limits(1)
    try:
        model, work = pickle.loads(pickled)
    except Exception as error:  # for the parent to raise
        connection.send(error)
        return
    with suppress(EOFError, OSError):
        while True:
            connection.send(work(model, connection.recv()))

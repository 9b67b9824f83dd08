"""The pool of workers: gives each task a process, watches what it takes, and kills what exceeds it.

Threads of requests start tasks and wait for answers. One thread reads all answers, starts workers
and enforces the limits, so that a slow client holds no worker.
"""

from __future__ import annotations

import threading
import time
from collections import Counter, OrderedDict
from collections.abc import Iterator
from contextlib import suppress
from multiprocessing.connection import wait
from typing import Protocol

from msr_utils.inference.card import ModelCard, available
from serve.config import MAX_LONG, ConfigError, ServiceConfig
from serve.lanes import (
    LIVE,
    LONG,
    SHORT,
    SHORT_SECONDS,
    Job,
    Lane,
    busy,
)
from serve.launch import Launched
from serve.logs import log
from serve.processes import Worker, make_starter
from serve.request_errors import RETRY_AFTER_S, Unavailable
from serve.tasks import (
    DONE,
    ERROR,
    MAX_ANSWER_BYTES,
    READY,
    Answer,
    Task,
    Upload,
    make_order,
    memory_error,
    time_error,
)
from serve.unread import UnreadAnswers

TICK_SECONDS = 0.05
"""Time between two looks at the limits."""

STALL_SECONDS = 30.0
"""A task that predicts no frame for this long is given up. A whole file has `max_work_seconds`."""

LIVE_SECONDS = 10.0
"""Longest work on a chunk of live audio."""

TASK_BYTES = 150_000_000
"""Most memory that a task may take."""

ALL_BYTES = 300_000_000
"""Most memory that all tasks may take together, or this for each two workers."""

MAX_TASKS, KEPT_BYTES = 1000, 40_000_000
"""A worker is replaced after so many tasks, or once it keeps so much memory."""

MAX_CLIENTS = 10_000
"""So many clients with long tasks are remembered."""


class Pool(Protocol):
    """Does tasks."""

    cards: dict[str, ModelCard]
    killed: Counter[str]
    dropped_bytes: int

    def load(self) -> dict[str, str]:
        """Wait until the models are loaded; give the bundles that were left out, and why."""

    def run(
        self, task: Task, client: str | None, upload: Upload | None = None, lane: str = SHORT
    ) -> Iterator[Answer]:
        """Do a task; see `WorkerPool.run`."""

    def running(self, lane: str) -> int:
        """Number of tasks of a lane that run now."""

    def waiting(self, lane: str) -> int:
        """Number of tasks of a lane that wait now."""

    @property
    def n_workers(self) -> int:
        """Number of worker processes."""

    def close(self) -> None:
        """End all processes."""


class WorkerPool:
    """Does tasks in processes.

    Parameters
    ----------
    config : ServiceConfig
        `workers` is greater than 0. The models begin to load at once.
    launched : Launched, optional
        Process that will fork the workers, if it was started earlier.
    """

    def __init__(self, config: ServiceConfig, launched: Launched | None = None) -> None:
        self._config = config
        self.cards: dict[str, ModelCard] = {}
        self.killed: Counter[str] = Counter()
        self.dropped_bytes = 0
        cores = config.workers
        self._lanes = {
            LIVE: Lane(max(cores // 2, 1), config.max_queue),
            SHORT: Lane(cores, config.max_queue),
            LONG: Lane(max(cores, MAX_LONG), config.max_queue),
        }
        # Workers of normal priority: one for each task that is live or short.
        self._n_normal = self._lanes[LIVE].slots + cores
        self._all_bytes = ALL_BYTES * max(cores // 2, 1)
        self._starter = make_starter(config.models_dir, config.max_work_seconds, launched)
        self._lock = threading.RLock()
        self._workers: dict[Worker, Job | None] = {}
        self._idle: list[Worker] = []
        # Clients whose last task was long: the next one begins in the long lane.
        self._heavy: OrderedDict[str | None, None] = OrderedDict()
        self._unread = UnreadAnswers()
        self._start_after = 0.0
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._work, name="pool", daemon=True)

    def load(self) -> dict[str, str]:
        """Wait until the models are loaded, and start the workers.

        Returns
        -------
        dict of str to str
            Bundles that were left out, and why.

        Raises
        ------
        msr_utils.inference.errors.BundleError
            If a model is damaged or does not fit this version.
        """
        try:
            loaded = self._starter.load()
        except Exception:
            self._starter.close()
            raise
        self.cards = loaded.cards
        self._start_workers()
        self._thread.start()
        return loaded.left_out

    @property
    def n_workers(self) -> int:
        """Number of worker processes."""
        return len(self._workers)

    def running(self, lane: str) -> int:
        """Number of tasks of a lane that run now."""
        return self._lanes[lane].running

    def waiting(self, lane: str) -> int:
        """Number of tasks of a lane that wait now."""
        return self._lanes[lane].waiting

    def close(self) -> None:
        """End all processes. Tasks that still run fail."""
        self._closing.set()
        if self._thread.is_alive():
            self._thread.join()
        self._starter.close()
        with self._lock:
            for worker, job in self._workers.items():
                worker.kill()
                worker.close()
                if job is not None:
                    job.fail(Unavailable("the service is stopping"))
            self._workers.clear()

    # ------------------------------------------------------------------ threads of requests

    def run(
        self, task: Task, client: str | None, upload: Upload | None = None, lane: str = SHORT
    ) -> Iterator[Answer]:
        """Do a task in a worker.

        Parameters
        ----------
        task : Task
        client : str, optional
            Address of the client. Clients take turns.
        upload : Upload, optional
            The file to predict. It must stay open and as it is until the end.
        lane : str
            `LIVE`, or `SHORT` for all else.

        Yields
        ------
        Answer
            Frames, or notes and sound, then one answer of the kind `DONE`.

        Raises
        ------
        Unavailable
            If there is no place, the wait was too long, or the worker died.
        msr_utils.audio.source.TimeLimitExceeded
            If the work takes too long.
        AudioError, RequestError
            If the task cannot be done.
        """
        with self._lock:
            if lane == SHORT and client in self._heavy:
                lane = LONG
            job = Job(task, upload, client, lane)
            self._lanes[lane].push(job)
            self._dispatch()
        try:
            while True:
                event = job.events.get()
                if isinstance(event, Exception):
                    raise event
                if isinstance(event, Worker):
                    _send(event, job)
                    continue
                if event.kind == ERROR:
                    raise event.error
                with self._lock:
                    self._unread.take(job, len(event.data))
                yield event
                if event.kind == DONE:
                    return
        finally:
            self._leave(job)

    def _leave(self, job: Job) -> None:
        """Forget a job whose request is over. If it still runs, nobody waits for it."""
        with self._lock:
            self._unread.forget(job)
            if job.is_over:
                return
            job.is_over = True
            self._lanes[job.lane].remove(job)
            if job.worker is not None:
                self.killed["abandoned"] += 1
                job.worker.kill()

    def _dispatch(self) -> None:
        """Give workers to the jobs whose turn it is."""
        for name, lane in self._lanes.items():
            while self._idle and lane.running < lane.slots and lane.waiting:
                worker, job = self._idle.pop(), lane.pop()  # the last one used has warm caches
                if name == LONG:
                    worker.lower_priority()
                lane.running += 1
                worker.n_tasks += 1
                job.worker, self._workers[worker] = worker, job
                job.since = job.progress = time.monotonic()
                job.cpu_before = worker.cpu_seconds()
                job.events.put(worker)

    # ------------------------------------------------------------------ the pool's own thread

    def _work(self) -> None:
        while not self._closing.is_set():
            try:
                self._step()
            except Exception:
                log.exception("the pool of workers failed; it goes on")
                time.sleep(TICK_SECONDS)

    def _step(self) -> None:
        """Wait for answers for a moment, and look at the limits."""
        connections = {worker.connection: worker for worker in self._workers}
        outputs = {w.output: w for w in self._workers if w.output is not None}
        control = self._starter.connection
        ready = wait(
            [*connections, *outputs, *([] if control is None else [control])], TICK_SECONDS
        )
        for each in ready:
            if each in outputs:
                outputs[each].read_output()
        for each in ready:
            if each in connections:
                self._receive(connections[each])
        if control is not None and control in ready:
            self._start_again()
        with self._lock:
            for lane in self._lanes.values():
                self._refuse_late(lane)
            for worker, job in [*self._workers.items()]:
                if job is not None and not job.is_over:
                    self._check(worker, job)
            self._check_memory()
        self._start_workers()

    def _receive(self, worker: Worker) -> None:
        """Read an answer of a worker, or see that it is dead."""
        try:
            answer = Answer.decode(worker.connection.recv_bytes(MAX_ANSWER_BYTES))
        except (EOFError, OSError, ValueError, LookupError, TypeError):
            self._bury(worker)
            return
        with self._lock:
            job = self._workers.get(worker)
            if answer.kind == READY:
                worker.is_ready = True
                self._idle.append(worker)
            elif job is not None:
                self._take(worker, job, answer)
                self._cut_unread()
            self._dispatch()

    def _take(self, worker: Worker, job: Job, answer: Answer) -> None:
        """Pass an answer on to the request."""
        job.n_answers += 1
        job.progress = time.monotonic()
        if job.n_answers > job.n_skip and not job.is_over:
            job.events.put(answer)
            self._unread.add(job, len(answer.data))
        if answer.kind not in (DONE, ERROR):
            return
        if job.lane == LONG and worker.cpu_seconds() - job.cpu_before <= SHORT_SECONDS:
            self._heavy.pop(job.client, None)
        self._end(worker, job)
        self.dropped_bytes += worker.log_output()
        keeps_much = worker.memory_bytes() > KEPT_BYTES
        if worker.is_low or worker.n_tasks >= MAX_TASKS or keeps_much:
            worker.kill()  # It is buried once its connection has ended.
        else:
            self._idle.append(worker)

    def _cut_unread(self) -> None:
        """End the largest answer while clients leave too much unread."""
        while (job := self._unread.too_much()) is not None:
            self._unread.forget(job)
            if job.worker is not None:
                self.killed["unread"] += 1
                job.worker.kill()
            while not job.events.empty():
                job.events.get_nowait()
            job.fail(busy("answers that are not read take all of its memory"))

    def _end(self, worker: Worker, job: Job) -> None:
        job.is_over, job.worker = True, None
        self._workers[worker] = None
        self._lanes[job.lane].running -= 1

    def _bury(self, worker: Worker) -> None:
        """Forget a dead worker. Its job fails, unless the job knows better already."""
        worker.kill()  # in case that it only lost its connection
        how = self._starter.reap(worker)
        with self._lock:
            job = self._workers.pop(worker)
            if worker in self._idle:
                self._idle.remove(worker)
            self.dropped_bytes += worker.log_output()
            if not worker.is_ready:
                self._start_after = time.monotonic() + 1  # It may die again at once.
            if job is not None:
                self._lanes[job.lane].running -= 1
                job.worker = None
                if not job.is_over:
                    self.killed["died"] += 1
                    fields = {"worker": worker.pid, "ended": how}
                    log.error("a worker died", extra={"fields": fields})
                    job.fail(
                        Unavailable(
                            "the process that worked on this request died; try again in "
                            f"{RETRY_AFTER_S} s"
                        )
                    )
            self._dispatch()
        worker.close()

    def _start_workers(self) -> None:
        """Start as many workers of normal priority as there should be."""
        while not self._closing.is_set() and time.monotonic() >= self._start_after:
            with self._lock:
                if sum(not worker.is_low for worker in self._workers) >= self._n_normal:
                    return
            worker = self._starter.start()
            if worker is None:
                self._start_after = time.monotonic() + 1
                log.error("no process can be started for a worker; trying again")
                return
            with self._lock:
                self._workers[worker] = None

    def _start_again(self) -> None:
        """Start anew after the process that forks workers has died."""
        log.error("the process that forks the workers died; starting it again")
        for worker in [*self._workers]:
            self._bury(worker)
        self._starter.close()
        self._starter = make_starter(self._config.models_dir, self._config.max_work_seconds)
        self._starter.load()

    # ------------------------------------------------------------------ limits

    def _refuse_late(self, lane: Lane) -> None:
        longest = self._config.max_wait_seconds
        for job in lane.jobs:
            if time.monotonic() - job.since > longest:
                lane.remove(job)
                job.fail(busy(f"this request waited {longest:g} s for its turn"))

    def _check(self, worker: Worker, job: Job) -> None:
        """Kill a worker that has reached a limit, or change the lane of its job."""
        now, longest = time.monotonic(), self._config.max_work_seconds
        if job.lane == LIVE:
            longest = min(longest, LIVE_SECONDS)
        stalled = now - job.progress > STALL_SECONDS
        if now - job.since > longest or stalled:
            seconds = STALL_SECONDS if stalled else longest
            self._kill(worker, job, "time", time_error(job.task, seconds))
        elif worker.memory_bytes() > TASK_BYTES:
            self._kill(worker, job, "memory", memory_error(job.task))
        elif job.lane == SHORT and worker.cpu_seconds() - job.cpu_before > SHORT_SECONDS:
            self._change_lane(worker, job)

    def _kill(self, worker: Worker, job: Job, reason: str, error: Exception) -> None:
        self.killed[reason] += 1
        worker.kill()
        job.fail(error)

    def _change_lane(self, worker: Worker, job: Job) -> None:
        """Let a job go on with low priority. If there is no place, it begins again later."""
        short, long = self._lanes[SHORT], self._lanes[LONG]
        self._heavy[job.client] = None
        if len(self._heavy) > MAX_CLIENTS:
            self._heavy.popitem(last=False)
        job.lane = LONG
        short.running -= 1
        if long.running < long.slots:
            long.running += 1
            worker.lower_priority()
        else:
            self.killed["put back"] += 1
            self._workers[worker] = None
            job.worker = None
            worker.kill()
            job.n_skip, job.n_answers = max(job.n_skip, job.n_answers), 0
            try:
                long.push(job)
            except Unavailable as error:
                job.fail(error)
        self._dispatch()

    def _check_memory(self) -> None:
        """Kill the largest task while all together take too much memory."""
        taken = {
            worker: worker.memory_bytes()
            for worker, job in self._workers.items()
            if job is not None and not job.is_over
        }
        if sum(taken.values()) > self._all_bytes:
            worker = max(taken, key=taken.__getitem__)
            job = self._workers[worker]
            assert job is not None, "only workers with a job are looked at"
            self._kill(worker, job, "memory", busy("large files take all of its memory"))


def _send(worker: Worker, job: Job) -> None:
    """Send a job to its worker. If the worker is dead, the pool's thread finds out."""
    file = None if job.upload is None else job.upload.file
    with suppress(OSError, ValueError):
        worker.send(make_order(job.task, job.upload), file)


def make_pool(config: ServiceConfig, launched: Launched | None = None) -> Pool:
    """Make the pool that the settings ask for, and begin to load the models.

    Parameters
    ----------
    config : ServiceConfig
    launched : Launched, optional
        Process that will fork the workers, if it was started earlier.

    Raises
    ------
    ConfigError
        If the folder of models has none.
    """
    if not available(config.models_dir):
        raise ConfigError(
            "models_dir",
            f"no model bundle in {config.models_dir}; export one with the study, or name a "
            "folder that has one",
        )
    if config.workers:
        return WorkerPool(config, launched)
    from serve.inline import InlinePool  # It loads what only workers need.

    return InlinePool(config)

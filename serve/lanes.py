"""Queues of the work: one lane for live audio, one for short tasks and one for long tasks.

How long a task takes is not known before. Each task begins in the short lane. Once it has used
`SHORT_SECONDS` of a core, it changes to the long lane (foreground-background scheduling).
"""

from __future__ import annotations

import time
from collections import OrderedDict, deque
from dataclasses import dataclass, field
from queue import SimpleQueue

from serve.processes import Worker
from serve.request_errors import RETRY_AFTER_S, Unavailable
from serve.tasks import Answer, Task, Upload

LANES = LIVE, SHORT, LONG = "live", "short", "long"

SHORT_SECONDS = 0.5
"""Seconds of a core after which a task is long. A song of 45 s takes less."""


def busy(reason: str) -> Unavailable:
    """The error of a request that the service has no place for."""
    return Unavailable(f"the service is busy ({reason}); try again in {RETRY_AFTER_S} s")


@dataclass(eq=False)
class Job:
    """A task with the request that waits for it.

    Parameters
    ----------
    task : Task
    upload : Upload, optional
    client : str, optional
        Address of the client. Clients take turns.
    lane : str
        `LIVE`, `SHORT` or `LONG`.
    """

    task: Task
    upload: Upload | None
    client: str | None
    lane: str
    # What the request waits for: the worker that it must send the task to, answers, or an error.
    events: SimpleQueue[Worker | Answer | Exception] = field(default_factory=SimpleQueue)
    worker: Worker | None = None
    is_over: bool = False
    since: float = field(default_factory=time.monotonic)  # it waits, or it runs
    progress: float = 0.0
    cpu_before: float = 0.0
    n_answers: int = 0
    n_skip: int = 0  # answers that the request got before the task began again

    def fail(self, error: Exception) -> None:
        """End the job with an error."""
        self.is_over = True
        self.events.put(error)


class Lane:
    """Jobs that wait, and the number of those that run. The clients take turns.

    Parameters
    ----------
    slots : int > 0
        Jobs that may run at the same time.
    max_waiting : int >= 0
        Jobs that may wait.
    """

    def __init__(self, slots: int, max_waiting: int) -> None:
        self.slots, self._max_waiting = slots, max_waiting
        self.running = 0
        self._clients: OrderedDict[str | None, deque[Job]] = OrderedDict()

    @property
    def jobs(self) -> list[Job]:
        """All jobs that wait."""
        return [job for queue in self._clients.values() for job in queue]

    @property
    def waiting(self) -> int:
        """Number of jobs that wait."""
        return sum(map(len, self._clients.values()))

    def push(self, job: Job) -> None:
        """Let a job wait.

        In a full queue, a job of a client with fewer jobs takes the place of the last job of the
        client that has most.

        Raises
        ------
        Unavailable
            If there is no place for the job.
        """
        job.since = time.monotonic()
        if self.waiting >= self._max_waiting and self.running >= self.slots:
            error = busy(f"running requests: {self.running}, waiting requests: {self.waiting}")
            greedy = max(self._clients.values(), key=len, default=deque())
            if len(greedy) <= len(self._clients.get(job.client, ())) + 1:
                raise error
            loser = greedy[-1]
            self.remove(loser)
            loser.fail(error)
        self._clients.setdefault(job.client, deque()).append(job)

    def pop(self) -> Job:
        """The next job: the first one of the client whose turn it is."""
        client, queue = next(iter(self._clients.items()))
        job = queue.popleft()
        self._clients.move_to_end(client)
        if not queue:
            del self._clients[client]
        return job

    def remove(self, job: Job) -> None:
        """Forget a job that waits, if it does."""
        queue = self._clients.get(job.client, deque())
        if job in queue:
            queue.remove(job)
            if not queue:
                del self._clients[job.client]

"""Limits on the number of requests that run at a time.

A limit of the whole service is answered with status 503, a limit of one client with status 429.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from threading import Condition, Lock

from werkzeug.exceptions import ServiceUnavailable, TooManyRequests

from serve.problems import RETRY_AFTER_S


class ConcurrencyLimiter:
    """Context manager that lets a limited number of threads run at the same time.

    Parameters
    ----------
    max_running : int > 0
        Threads that may be inside the context.
    max_waiting : int >= 0
        Threads that may wait to enter.
    max_wait_s : float > 0
        Longest time that a thread waits.
    """

    def __init__(self, max_running: int, max_waiting: int, max_wait_s: float) -> None:
        self._max_running = max_running
        self._max_waiting = max_waiting
        self._max_wait_s = max_wait_s
        self._changed = Condition()
        self.running = 0
        self.waiting = 0

    def __enter__(self) -> None:
        with self._changed:
            if self.running >= self._max_running and self.waiting >= self._max_waiting:
                raise _busy(f"running requests: {self.running}, waiting requests: {self.waiting}")
            self.waiting += 1
            try:
                entered = self._changed.wait_for(
                    lambda: self.running < self._max_running, self._max_wait_s
                )
            finally:
                self.waiting -= 1
            if not entered:
                raise _busy(f"this request waited {self._max_wait_s:g} s for its turn")
            self.running += 1

    def __exit__(self, *error: object) -> None:
        with self._changed:
            self.running -= 1
            self._changed.notify()


class PerClientLimiter:
    """Limits the requests of each client that run or wait at the same time.

    Parameters
    ----------
    max_requests : int > 0, optional
        By default there is no limit.
    """

    def __init__(self, max_requests: int | None = None) -> None:
        self._max_requests = max_requests
        self._lock = Lock()
        self._counts: Counter[str | None] = Counter()

    @contextmanager
    def request_of(self, client: str | None) -> Iterator[None]:
        """Count a request of the client with this address while the context lasts.

        Raises
        ------
        TooManyRequests
            If the client has reached its limit.
        """
        with self._lock:
            if self._max_requests is not None and self._counts[client] >= self._max_requests:
                raise TooManyRequests(
                    f"a client may have at most {self._max_requests} running or waiting "
                    f"request(s); wait for an answer, or try again in {RETRY_AFTER_S} s",
                    retry_after=RETRY_AFTER_S,
                )
            self._counts[client] += 1
        try:
            yield
        finally:
            with self._lock:
                self._counts[client] -= 1
                if not self._counts[client]:
                    del self._counts[client]


def _busy(reason: str) -> ServiceUnavailable:
    return ServiceUnavailable(
        f"the service is busy ({reason}); try again in {RETRY_AFTER_S} s", retry_after=RETRY_AFTER_S
    )

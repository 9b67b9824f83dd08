"""Let only so many requests work at a time, a few wait, and turn the others away at once.

503 says that the service has too much to do, 429 that this client asks for too much of it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from threading import Condition, Lock

from werkzeug.exceptions import ServiceUnavailable, TooManyRequests

RETRY_AFTER_S = 5
"""When a client that was turned away should try again."""


class Gate:
    """Context that is entered by at most `slots` threads at a time.

    Parameters
    ----------
    slots : int > 0
    queue : int >= 0
        Threads that may wait.
    max_wait_s : float > 0
        Longest time that one waits.
    """

    def __init__(self, slots: int, queue: int, max_wait_s: float) -> None:
        self._slots, self._queue, self._max_wait_s = slots, queue, max_wait_s
        self._changed = Condition()
        self.busy = self.waiting = 0

    def __enter__(self) -> None:
        with self._changed:
            if self.busy >= self._slots and self.waiting >= self._queue:
                raise busy(f"{self.busy} requests are worked on and {self.waiting} wait")
            self.waiting += 1
            try:
                free = self._changed.wait_for(lambda: self.busy < self._slots, self._max_wait_s)
            finally:
                self.waiting -= 1
            if not free:
                raise busy(f"this request waited {self._max_wait_s:g} s in vain")
            self.busy += 1

    def __exit__(self, *error: object) -> None:
        with self._changed:
            self.busy -= 1
            self._changed.notify()


class Shares:
    """Let each client have only so many requests at a time.

    Parameters
    ----------
    most : int > 0, optional
        No limit by default.
    """

    def __init__(self, most: int | None = None) -> None:
        self._most = most
        self._lock, self._counts = Lock(), Counter()

    @contextmanager
    def of(self, client: str | None) -> Iterator[None]:
        """Count a request of the client with this address, or turn it away."""
        with self._lock:
            if self._most is not None and self._counts[client] >= self._most:
                raise TooManyRequests(
                    f"at most {self._most} of a client's requests are worked on or wait at a "
                    f"time; wait for an answer, or try again in {RETRY_AFTER_S} s",
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


def busy(why: str) -> ServiceUnavailable:
    """Error that tells a client to come back."""
    return ServiceUnavailable(
        f"the service is busy ({why}); try again in {RETRY_AFTER_S} s", retry_after=RETRY_AFTER_S
    )

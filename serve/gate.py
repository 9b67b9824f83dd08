"""Let only so many requests work at a time, a few wait, and turn the others away at once."""

from __future__ import annotations

from threading import Condition

from werkzeug.exceptions import ServiceUnavailable

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


def busy(why: str) -> ServiceUnavailable:
    """Error that tells a client to come back."""
    return ServiceUnavailable(
        f"the service is busy ({why}); try again in {RETRY_AFTER_S} s", retry_after=RETRY_AFTER_S
    )

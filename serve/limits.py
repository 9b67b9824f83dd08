"""Limits on requests: of one client (status 429), and of one kind (status 503)."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from threading import Lock

from werkzeug.exceptions import TooManyRequests

from serve.request_errors import RETRY_AFTER_S, Unavailable


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


class PlaceLimiter:
    """Limits the requests of one kind that run, wait or are read at the same time.

    Parameters
    ----------
    max_requests : int > 0
    """

    def __init__(self, max_requests: int) -> None:
        self.max_requests = max_requests
        self._lock = Lock()
        self._count = 0

    @contextmanager
    def place(self) -> Iterator[None]:
        """Hold a place while the context lasts.

        Raises
        ------
        Unavailable
            If there is none.
        """
        with self._lock:
            if self._count >= self.max_requests:
                raise Unavailable(
                    f"the service is busy (requests of this kind: {self._count}); try again in "
                    f"{RETRY_AFTER_S} s"
                )
            self._count += 1
        try:
            yield
        finally:
            with self._lock:
                self._count -= 1

"""Answers that requests have not taken yet, because their clients read slowly.

A slow client holds no worker. What it has not read is kept in memory, within a limit for all.
"""

from __future__ import annotations

from serve.lanes import Job

UNREAD_BYTES = 64_000_000
"""Most bytes of such answers together. The sound of the longest piece has 27 MB."""


class UnreadAnswers:
    """Counts the bytes of answers that wait for their requests.

    Parameters
    ----------
    max_bytes : int > 0
    """

    def __init__(self, max_bytes: int = UNREAD_BYTES) -> None:
        self._max_bytes = max_bytes
        self._bytes: dict[Job, int] = {}

    def add(self, job: Job, n_bytes: int) -> None:
        """Count an answer that a job has got."""
        if n_bytes:
            self._bytes[job] = self._bytes.get(job, 0) + n_bytes

    def take(self, job: Job, n_bytes: int) -> None:
        """Count an answer that the request has taken."""
        left = self._bytes.get(job, 0) - n_bytes
        if left > 0:
            self._bytes[job] = left
        else:
            self._bytes.pop(job, None)

    def forget(self, job: Job) -> None:
        """Nobody will take the answers of a job."""
        self._bytes.pop(job, None)

    def too_much(self) -> Job | None:
        """The job with most bytes, if all together have too many."""
        if sum(self._bytes.values()) <= self._max_bytes:
            return None
        return max(self._bytes, key=self._bytes.__getitem__)

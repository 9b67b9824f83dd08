"""Errors of requests that cannot be answered. Workers raise them without the web server."""

from __future__ import annotations

RETRY_AFTER_S = 5
"""Seconds after which a refused client should try again."""


class RequestError(ValueError):
    """A request that cannot be answered because of one of its fields.

    Parameters
    ----------
    status : int
        HTTP status.
    field : str
        Name of the form field or of the option.
    message : str
        What is wrong, and what to do.
    """

    def __init__(self, status: int, field: str, message: str) -> None:
        super().__init__(status, field, message)
        self.status, self.field, self.message = int(status), field, message

    def __str__(self) -> str:
        return f"{self.field}: {self.message}"


class Unavailable(RuntimeError):
    """A request that the service cannot answer now. It may be sent again later."""


class WorkerFailed(RuntimeError):
    """An error in a worker that nobody expected; the text is its traceback."""

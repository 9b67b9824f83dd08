"""Errors of requests that cannot be answered. Workers raise them without the web server."""

from __future__ import annotations

RETRY_AFTER_S = 5
"""Seconds after which a refused client should try again."""

MAX_ECHO = 80
"""Most characters of a client's own text that an answer repeats."""


def shortened(text: str, most: int = MAX_ECHO) -> str:
    """A client's text as an answer repeats it: its beginning, if it is long."""
    return text if len(text) <= most else f"{text[:most]}..."


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
        # The client may have chosen the name, as that of an unknown field.
        self.status, self.field, self.message = int(status), shortened(field), message

    def __str__(self) -> str:
        return f"{self.field}: {self.message}"


class Unavailable(RuntimeError):
    """A request that the service cannot answer now. It may be sent again later."""


class WorkerFailed(RuntimeError):
    """An error in a worker that nobody expected; the text is its traceback."""

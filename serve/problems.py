"""Errors in one format, problem details (RFC 9457), whoever finds them."""

from __future__ import annotations

import re
import uuid
from http import HTTPStatus

PROBLEM_TYPE = "application/problem+json"

_REQUEST_ID = re.compile(r"[A-Za-z0-9._-]{1,64}")


def request_id(proposed: str | None) -> str:
    """Identifier of a request: the client's own where it is harmless, else a new one."""
    if proposed and _REQUEST_ID.fullmatch(proposed):
        return proposed
    return uuid.uuid4().hex


def problem(status: int, detail: str, request_id: str) -> dict[str, str | int]:
    """Make a problem document.

    Parameters
    ----------
    status : int
        HTTP status.
    detail : str
        What was wrong with this request and what to do.
    request_id : str
        The answer's ``X-Request-ID``, by which the log can be searched.

    Returns
    -------
    dict
        ``about:blank`` in it says that the status already tells the type of problem.
    """
    return {
        "type": "about:blank",
        "title": HTTPStatus(status).phrase,
        "status": int(status),
        "detail": detail,
        "request_id": request_id,
    }


def too_large(max_bytes: int) -> str:
    """Detail of the answer to a body that is too large."""
    return (
        f"file: larger than the {max_bytes / 1e6:g} MB that are accepted; "
        "send a shorter excerpt or a compressed format such as MP3"
    )

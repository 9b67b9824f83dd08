"""Problem details (RFC 9457): the one format of every error that the service answers."""

from __future__ import annotations

import os
import re
import tempfile
import uuid
from dataclasses import dataclass
from http import HTTPStatus

from werkzeug.exceptions import HTTPException

from msr_utils.audio.source import AudioError, AudioTooLong, TimeLimitExceeded
from serve.logs import log
from serve.request_errors import RETRY_AFTER_S, RequestError, Unavailable, shortened

PROBLEM_TYPE = "application/problem+json"

RETRY_STATUSES = (
    HTTPStatus.TOO_MANY_REQUESTS,
    HTTPStatus.SERVICE_UNAVAILABLE,
    HTTPStatus.INSUFFICIENT_STORAGE,
)
"""Statuses whose answers have the header ``Retry-After``."""

_REQUEST_ID = re.compile(r"[A-Za-z0-9._-]{1,64}")

CONTENT_ENCODING = "Content-Encoding"


@dataclass(frozen=True)
class Problem:
    """What is wrong with a request.

    Parameters
    ----------
    status : int
        HTTP status.
    detail : str
        What is wrong, and what to do.
    field : str, optional
        Form field or option that the problem concerns.
    """

    status: int
    detail: str
    field: str | None = None

    def document(self, request_id: str) -> dict[str, str | int]:
        """The problem as a JSON object.

        Parameters
        ----------
        request_id : str
            Value of the answer's ``X-Request-ID`` header. The log has it too.

        Returns
        -------
        dict
            Its type ``about:blank`` means that the status already tells the type of the problem.
        """
        document: dict[str, str | int] = {
            "type": "about:blank",
            "title": HTTPStatus(self.status).phrase,
            "status": int(self.status),
            "detail": self.detail,
            "request_id": request_id,
        }
        return document if self.field is None else {**document, "field": self.field}

    @property
    def headers(self) -> dict[str, str]:
        """Headers that the status of the answer asks for."""
        if self.status in RETRY_STATUSES:
            return {"Retry-After": str(RETRY_AFTER_S)}
        if self.status == HTTPStatus.UNAUTHORIZED:
            return {"WWW-Authenticate": "Bearer"}
        if self.field == CONTENT_ENCODING:
            return {"Accept-Encoding": "identity"}  # RFC 9110, section 12.5.3
        return {}


class StorageError(HTTPException):
    """An upload that cannot be stored while it is read, for instance because the disk is full."""

    code = HTTPStatus.INSUFFICIENT_STORAGE


def storage_error(error: OSError) -> StorageError:
    """Log that a temporary file cannot be written, and make the answer for the client."""
    # Not the error's own text: it may name folders.
    reason = os.strerror(error.errno or 0)
    fields = {"folder": tempfile.tempdir, "reason": reason}
    log.error("an upload cannot be stored", extra={"fields": fields})
    return StorageError(
        f"the service has no room to store this upload ({reason}); try again later, or send a "
        "smaller file"
    )


def explain(error: Exception, request_id: str) -> Problem:
    """Describe an error to the client. An unexpected error is described in the log instead.

    Parameters
    ----------
    error : Exception
        Anything but an ``HTTPException``, for which Flask has handlers.
    request_id : str
        Identifier of the request, for the log.
    """
    if isinstance(error, RequestError):
        return Problem(error.status, str(error), error.field)
    if isinstance(error, Unavailable):
        return Problem(HTTPStatus.SERVICE_UNAVAILABLE, str(error))
    for kind, status in (
        (AudioTooLong, HTTPStatus.REQUEST_ENTITY_TOO_LARGE),
        (AudioError, HTTPStatus.UNPROCESSABLE_ENTITY),
        (TimeLimitExceeded, HTTPStatus.SERVICE_UNAVAILABLE),
    ):
        if isinstance(error, kind):
            return Problem(status, str(error), "file")  # Only uploaded files are decoded.
    log.error("failed", exc_info=error, extra={"fields": {"request_id": request_id}})
    return Problem(
        HTTPStatus.INTERNAL_SERVER_ERROR,
        "the service failed on this request; its log has the cause under this request_id",
    )


def too_large(max_bytes: int, field: str = "file") -> Problem:
    """The problem with a body that is too large."""
    return Problem(
        HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
        f"{field}: larger than the limit of {max_bytes / 1e6:g} MB; "
        "send a shorter excerpt or a compressed format such as MP3",
        field,
    )


def encoding_problem(coding: str | None) -> Problem | None:
    """The problem with a body that is compressed; None if it is not.

    Parameters
    ----------
    coding : str, optional
        Value of the request's header ``Content-Encoding``.
    """
    if {each.strip().lower() for each in (coding or "").split(",")} <= {"", "identity"}:
        return None
    return Problem(
        HTTPStatus.UNSUPPORTED_MEDIA_TYPE,
        f"{CONTENT_ENCODING}: {shortened(coding or '')!r} is not accepted; send the body as it "
        "is, without this header",
        CONTENT_ENCODING,
    )


def choose_request_id(proposed: str | None) -> str:
    """Choose the identifier of a request: the client's own if it is harmless, else a new one."""
    if proposed and _REQUEST_ID.fullmatch(proposed):
        return proposed
    return uuid.uuid4().hex

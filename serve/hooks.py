"""What happens before and after every request: identifier, headers, log and metrics."""

from __future__ import annotations

import time
from dataclasses import dataclass
from functools import partial
from typing import cast

from flask import Flask, Response, g, request

from serve.cors import cors_headers
from serve.logs import log_request
from serve.metrics import Metrics
from serve.ndjson import NDJSON
from serve.problems import choose_request_id
from serve.service import current_service

SECURITY_HEADERS = {
    # blob: is a file on the user's own machine, which the page plays without uploading it.
    "Content-Security-Policy": (
        "default-src 'self'; media-src 'self' blob:; object-src 'none'; base-uri 'none'; "
        "form-action 'self'; frame-ancestors 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
}


@dataclass
class RequestRecord:
    """What the log tells about a request.

    Parameters
    ----------
    request_id : str
    started : float
        Value of ``time.perf_counter`` when the request came.
    model : str, optional
        Model that answered.
    audio_s : float, optional
        Seconds of audio analysed.
    """

    request_id: str
    started: float
    model: str | None = None
    audio_s: float | None = None


def current_record() -> RequestRecord:
    """The record of the current request."""
    return cast(RequestRecord, g.record)


def add_hooks(app: Flask) -> None:
    """Add the hooks to an application."""
    app.before_request(_begin)
    app.after_request(_finish)


def _begin() -> None:
    identifier = choose_request_id(request.headers.get("X-Request-ID"))
    g.record = RequestRecord(identifier, time.perf_counter())


def _finish(response: Response) -> Response:
    service, record = current_service(), current_record()
    response.headers["X-Request-ID"] = record.request_id
    response.headers.update(SECURITY_HEADERS)
    origin = request.headers.get("Origin")
    response.headers.extend(cors_headers(request.path, origin, service.config.allowed_origins))
    route = request.url_rule.rule if request.url_rule else ""
    write = partial(_write, service.metrics, record, request.method, route, response.status_code)
    if response.mimetype == NDJSON:
        response.call_on_close(write)  # The answer is computed while it is sent.
    else:
        write()
    return response


def _write(metrics: Metrics, record: RequestRecord, method: str, route: str, status: int) -> None:
    """Count and log an answered request."""
    seconds = time.perf_counter() - record.started
    metrics.record(route, status, seconds, record.audio_s or 0.0)
    fields = {"model": record.model, "audio_s": record.audio_s, "request_id": record.request_id}
    known = {name: value for name, value in fields.items() if value is not None}
    log_request(method, route, status, seconds, **known)

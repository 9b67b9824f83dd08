"""What happens before and after every request: identifier, headers, log and metrics."""

from __future__ import annotations

import time
from dataclasses import dataclass
from functools import partial
from typing import cast

from flask import Flask, Response, g, request
from werkzeug.exceptions import NotFound

from serve.cors import cors_headers
from serve.headers import NO_STORE, cache_control, security_headers
from serve.logs import log_request
from serve.metrics import Metrics
from serve.problems import Problem, choose_request_id
from serve.service import current_service


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
    problem : Problem, optional
        Ended the answer after its status was sent.
    is_streamed : bool
        True if the answer is computed while it is sent.
    """

    request_id: str
    started: float
    model: str | None = None
    audio_s: float | None = None
    problem: Problem | None = None

    def fail(self, problem: Problem) -> None:
        """Note that the answer ended with a problem."""
        self.problem = problem

    is_streamed: bool = False


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
    if request.endpoint == "static" and request.path.endswith("/"):
        raise NotFound  # Flask would serve the file without the slash.


def _finish(response: Response) -> Response:
    service, record = current_service(), current_record()
    response.headers["X-Request-ID"] = record.request_id
    origin = request.headers.get("Origin")
    cors = cors_headers(request.path, origin, service.config.allowed_origins)
    response.headers.extend(cors)
    response.headers.update(security_headers("Access-Control-Allow-Origin" in cors))
    kept = cache_control(request.path, response.status_code)
    response.headers["Cache-Control"] = kept
    if kept != NO_STORE and not response.is_streamed:
        # A file has its tag already.
        response.add_etag()
        response.make_conditional(request)
    route = request.url_rule.rule if request.url_rule else ""
    write = partial(_write, service.metrics, record, request.method, route, response.status_code)
    if record.is_streamed:
        response.call_on_close(write)
    else:
        write()
    return response


def _write(metrics: Metrics, record: RequestRecord, method: str, route: str, status: int) -> None:
    """Count and log an answered request."""
    seconds = time.perf_counter() - record.started
    metrics.record(route, status, seconds, record.audio_s or 0.0)
    fields: dict[str, object] = {"model": record.model, "audio_s": record.audio_s}
    if record.problem is not None:
        metrics.record_late_error(route, record.problem.status)
        fields |= {"error": record.problem.detail, "error_status": record.problem.status}
    fields["request_id"] = record.request_id
    known = {name: value for name, value in fields.items() if value is not None}
    log_request(method, route, status, seconds, **known)

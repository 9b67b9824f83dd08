"""Answer every error with problem details."""

from __future__ import annotations

from http import HTTPStatus

import apiflask
from apiflask import APIFlask
from flask import Response, jsonify, request
from werkzeug.exceptions import (
    HTTPException,
    MethodNotAllowed,
    NotFound,
    RequestEntityTooLarge,
)

from serve.hooks import current_record
from serve.problems import (
    PROBLEM_TYPE,
    RETRY_STATUSES,
    Problem,
    explain,
    too_large,
)
from serve.request_errors import RETRY_AFTER_S
from serve.service import current_service


def add_error_handlers(app: APIFlask) -> None:
    """Add the error handlers to an application. The handler of the closest class is called."""
    for kind, handler in (
        (HTTPException, _http_error),
        (MethodNotAllowed, _wrong_method),
        (NotFound, _not_found),
        (RequestEntityTooLarge, _body_too_large),
        (apiflask.HTTPError, _invalid_options),
        (Exception, _other),
    ):
        app.register_error_handler(kind, handler)


def _answer(problem: Problem) -> Response:
    response = jsonify(problem.document(current_record().request_id))
    response.status_code = problem.status
    response.mimetype = PROBLEM_TYPE
    if problem.status in RETRY_STATUSES:
        response.headers["Retry-After"] = str(RETRY_AFTER_S)
    return response


def _http_error(error: HTTPException) -> Response:
    status = error.code or HTTPStatus.INTERNAL_SERVER_ERROR
    return _answer(Problem(status, error.description or "", getattr(error, "field", None)))


def _wrong_method(error: MethodNotAllowed) -> Response:
    allowed = ", ".join(sorted(error.valid_methods or []))
    detail = f"{request.method} is not allowed here; use {allowed}"
    response = _answer(Problem(HTTPStatus.METHOD_NOT_ALLOWED, detail))
    response.headers["Allow"] = allowed
    return response


def _not_found(error: NotFound) -> Response:
    # Flask's own text for an unknown path talks about typing in a browser.
    detail = f"there is nothing at {request.path}; /docs lists all addresses"
    return _answer(Problem(HTTPStatus.NOT_FOUND, detail))


def _body_too_large(error: RequestEntityTooLarge) -> Response:
    return _answer(too_large(current_service().config.max_upload_bytes))


def _invalid_options(error: apiflask.HTTPError) -> Response:
    wrong: dict[str, list[str]] = error.detail.get("query", {})
    parts = [f"{name}: {' '.join(messages)}" for name, messages in wrong.items()]
    field = next(iter(wrong), None)
    return _answer(Problem(error.status_code, "; ".join(parts) or str(error.message), field))


def _other(error: Exception) -> Response:
    return _answer(explain(error, current_record().request_id))

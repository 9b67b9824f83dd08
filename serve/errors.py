"""Answer every error with problem details."""

from __future__ import annotations

from collections.abc import Iterator
from http import HTTPStatus

import apiflask
from apiflask import APIFlask
from flask import Response, jsonify, request
from werkzeug.exceptions import (
    HTTPException,
    MethodNotAllowed,
    NotFound,
    RequestedRangeNotSatisfiable,
    RequestEntityTooLarge,
)

from serve.hooks import current_record
from serve.problems import PROBLEM_TYPE, Problem, explain, too_large
from serve.request_errors import shortened
from serve.service import current_service

MAX_MESSAGES = 10
"""Most fields that a problem names."""

_PLAIN = {
    "Missing data for required field.": "missing",
    "Field may not be null.": "must not be null",
    "Invalid input type.": "must be a JSON object, such as {...}",
    "Not a valid list.": "must be a list, such as [...]",
    "Not a valid string.": "must be text",
    "Not a valid number.": "must be a number",
    "Not a valid integer.": "must be a whole number",
    "Not a valid boolean.": "must be true or false",
    "Special numeric values (nan or infinity) are not permitted.": "must be a finite number",
}
"""Texts of the library that checks requests, and what the service says instead."""


def add_error_handlers(app: APIFlask) -> None:
    """Add the error handlers to an application. The handler of the closest class is called."""
    for kind, handler in (
        (HTTPException, _http_error),
        (MethodNotAllowed, _wrong_method),
        (NotFound, _not_found),
        (RequestEntityTooLarge, _body_too_large),
        (RequestedRangeNotSatisfiable, _outside_of_file),
        (apiflask.HTTPError, _invalid_options),
        (Exception, _other),
    ):
        app.register_error_handler(kind, handler)


def answer_problem(problem: Problem) -> Response:
    """Answer the current request with a problem."""
    response = jsonify(problem.document(current_record().request_id))
    response.status_code = problem.status
    response.mimetype = PROBLEM_TYPE
    response.headers.update(problem.headers)
    return response


def _http_error(error: HTTPException) -> Response:
    status = error.code or HTTPStatus.INTERNAL_SERVER_ERROR
    return answer_problem(Problem(status, error.description or "", getattr(error, "field", None)))


def _wrong_method(error: MethodNotAllowed) -> Response:
    allowed = ", ".join(sorted(error.valid_methods or []))
    detail = f"{request.method} is not allowed here; use {allowed}"
    response = answer_problem(Problem(HTTPStatus.METHOD_NOT_ALLOWED, detail))
    response.headers["Allow"] = allowed
    return response


def _not_found(error: NotFound) -> Response:
    # Flask's own text for an unknown path talks about typing in a browser.
    detail = f"there is nothing at {shortened(request.path)}; /docs lists all addresses"
    return answer_problem(Problem(HTTPStatus.NOT_FOUND, detail))


def _body_too_large(error: RequestEntityTooLarge) -> Response:
    return answer_problem(too_large(current_service().config.max_upload_bytes))


def _outside_of_file(error: RequestedRangeNotSatisfiable) -> Response:
    response = _http_error(error)
    if error.length is not None:
        response.headers["Content-Range"] = f"{error.units} */{error.length}"
    return response


def _invalid_options(error: apiflask.HTTPError) -> Response:
    wrong = [
        (name, message)
        for place in ("query", "json")
        for name, message in _messages(error.detail.get(place, {}))
    ][:MAX_MESSAGES]
    parts = [f"{name}: {message}" if name else f"the body {message}" for name, message in wrong]
    field = next((name for name, _ in wrong if name), None)
    return answer_problem(Problem(error.status_code, "; ".join(parts) or str(error.message), field))


def _messages(wrong: object, name: str = "") -> Iterator[tuple[str, str]]:
    """Fields and what is wrong with them; a field in a list or an object has a dotted name."""
    if isinstance(wrong, dict):
        for key, inner in wrong.items():
            # What is wrong with an object as a whole.
            whole = key in ("_schema", "_errors")
            inner_name = f"{name}.{shortened(str(key))}".lstrip(".")
            yield from _messages(inner, name if whole else inner_name)
    elif isinstance(wrong, list):
        yield name, " ".join(_PLAIN.get(text, text) for text in map(str, wrong))
    else:
        yield name, _PLAIN.get(str(wrong), str(wrong))


def _other(error: Exception) -> Response:
    return answer_problem(explain(error, current_record().request_id))

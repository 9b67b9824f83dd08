"""Refuse JSON that Python's reader does not survive, and say what is wrong with a body."""

from __future__ import annotations

import json
import sys
from http import HTTPStatus

from apiflask import APIBlueprint
from flask import Response, request
from werkzeug.exceptions import BadRequest

from serve.request_errors import RequestError, shortened


def guard_json(blueprint: APIBlueprint) -> None:
    """Check the JSON that comes to the routes of a blueprint before they read it."""
    blueprint.register_error_handler(RecursionError, _too_deep)
    blueprint.before_request(_check_body)


def _too_deep(error: RecursionError) -> Response:
    """JSON that is nested beyond all need."""
    from serve.errors import answer_problem
    from serve.problems import Problem

    return answer_problem(Problem(HTTPStatus.BAD_REQUEST, "the JSON is nested too deeply"))


def _check_body() -> None:
    """Refuse a body that is not JSON, and one with a whole number of very many digits."""
    body = request.get_data() if request.method == "POST" else b""
    if not body:
        return  # The schema of the route says what is missing.
    if not request.is_json:
        given = repr(shortened(request.mimetype)) if request.mimetype else "missing"
        raise RequestError(
            HTTPStatus.UNSUPPORTED_MEDIA_TYPE,
            "Content-Type",
            f"{given}; send JSON with the header 'Content-Type: application/json'",
        )
    try:
        json.loads(body.decode())
    except json.JSONDecodeError as error:
        place = f"line {error.lineno}, column {error.colno}"
        raise BadRequest(f"the body is not JSON ({place}: {error.msg})") from None
    except UnicodeDecodeError as error:
        raise BadRequest(f"the body is not text in UTF-8 (byte {error.start + 1})") from None
    except ValueError:
        most = sys.get_int_max_str_digits()
        raise BadRequest(f"the JSON has a whole number of more than {most} digits") from None

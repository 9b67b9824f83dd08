"""Refuse JSON that Python's reader does not survive."""

from __future__ import annotations

import json
import sys
from http import HTTPStatus

from apiflask import APIBlueprint
from flask import Response, request
from werkzeug.exceptions import BadRequest


def guard_json(blueprint: APIBlueprint) -> None:
    """Check the JSON that comes to the routes of a blueprint before they read it."""
    blueprint.register_error_handler(RecursionError, _too_deep)
    blueprint.before_request(_check_digits)


def _too_deep(error: RecursionError) -> Response:
    """JSON that is nested beyond all need."""
    from serve.errors import answer_problem
    from serve.problems import Problem

    return answer_problem(Problem(HTTPStatus.BAD_REQUEST, "the JSON is nested too deeply"))


def _check_digits() -> None:
    """Refuse JSON with a whole number of more digits than Python reads."""
    if not request.is_json:
        return
    try:
        json.loads(request.get_data())
    except (json.JSONDecodeError, UnicodeDecodeError):
        return  # The parser of the route says what is wrong.
    except ValueError:
        most = sys.get_int_max_str_digits()
        raise BadRequest(f"the JSON has a whole number of more than {most} digits") from None

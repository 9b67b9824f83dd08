"""The reply to a question about the library: what it asked for, or why there is none."""

from __future__ import annotations

import traceback
from http import HTTPStatus
from typing import Any

from sqlalchemy.exc import DatabaseError

from msr_utils.library.shards import LibraryError
from serve.library.queries import QUERIES
from serve.library.session import Session, error_text
from serve.request_errors import RequestError
from serve.tasks import ERROR, Answer

CANNOT_READ = HTTPStatus.SERVICE_UNAVAILABLE
"""Status of answers while the library cannot be read."""


def reply(session: Session, kind: str, options: dict[str, Any]) -> Answer:
    """Answer a question.

    Parameters
    ----------
    session : Session
    kind : str
        A key of `serve.library.queries.QUERIES`.
    options : dict
        As the schema of the request gives them.

    Returns
    -------
    Answer
        Of the kind `ERROR` if the question cannot be answered.
    """
    try:
        return QUERIES[kind](session, options)
    except RequestError as error:
        return _failure(error)
    except LibraryError as error:
        # What depends on the request was named with its field; this is the library itself.
        session.close()
        return _failure(RequestError(CANNOT_READ, "library", error_text(error)))
    except DatabaseError as error:
        session.close()
        message = f"its catalogue cannot be read or written ({error.orig})"
        return _failure(RequestError(CANNOT_READ, "library", message))
    except Exception:
        return Answer(ERROR, {"type": "", "message": traceback.format_exc()})


def _failure(error: RequestError) -> Answer:
    fields = {"status": error.status, "field": error.field, "message": error.message}
    return Answer(ERROR, {"type": "RequestError", **fields})

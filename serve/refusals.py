"""Answers to requests that never reach the application, in its format of errors."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping
from dataclasses import dataclass

from serve.cors import cors_headers
from serve.headers import NO_STORE, security_headers
from serve.logs import log_request
from serve.metrics import Metrics
from serve.problems import PROBLEM_TYPE, Problem, choose_request_id

RawHeaders = list[tuple[bytes, bytes]]
"""Headers as ASGI has them."""


class Refused(Exception):
    """A request that is answered with a problem instead of being passed on.

    Parameters
    ----------
    problem : Problem
    drain : bool
        True if the client may still be sending, so that it reads the answer only if its body is
        read first.
    """

    def __init__(self, problem: Problem, drain: bool = False) -> None:
        super().__init__(problem.detail)
        self.problem = problem
        self.drain = drain


@dataclass(frozen=True)
class Refusal:
    """An answer.

    Parameters
    ----------
    status : int
    headers : list of (bytes, bytes)
    body : bytes
    """

    status: int
    headers: RawHeaders
    body: bytes


class Refuser:
    """Makes the answers, logs them and counts them.

    Parameters
    ----------
    metrics : Metrics
    allowed_origins : collection of str
        See `serve.cors.cors_headers`.
    """

    def __init__(self, metrics: Metrics, allowed_origins: Collection[str]) -> None:
        self._metrics = metrics
        self._allowed_origins = allowed_origins

    def refuse(
        self, problem: Problem, path: str, headers: Mapping[str, str], seconds: float
    ) -> Refusal:
        """Answer with a problem. The connection closes afterwards.

        Parameters
        ----------
        problem : Problem
        path : str
            Path of the request, as far as it is known.
        headers : mapping of str to str
            Headers of the request by their names in lower case, as far as they are known.
        seconds : float
            Time since the request began.
        """
        identifier = choose_request_id(headers.get("x-request-id"))
        body = json.dumps(problem.document(identifier)).encode()
        cors = cors_headers(path, headers.get("origin"), self._allowed_origins)
        answer = {
            "Content-Type": PROBLEM_TYPE,
            "Content-Length": str(len(body)),
            "Cache-Control": NO_STORE,
            "Connection": "close",
            "X-Request-ID": identifier,
            **security_headers("Access-Control-Allow-Origin" in cors),
            **cors,
            **problem.headers,
        }
        # It counts without a route and without a method: both come from the client, unchecked.
        self._metrics.record("", problem.status, seconds)
        log_request("", "", problem.status, seconds, request_id=identifier)
        raw = [(name.encode("latin-1"), text.encode("latin-1")) for name, text in answer.items()]
        return Refusal(int(problem.status), raw, body)

"""Waitress, with its own errors in the format of ours and with large uploads turned away."""

from __future__ import annotations

import io
import json
import socket

from waitress.channel import HTTPChannel
from waitress.parser import HTTPRequestParser
from waitress.server import TcpWSGIServer, create_server
from waitress.task import ErrorTask
from waitress.utilities import RequestEntityTooLarge

from serve.config import ServiceConfig
from serve.problems import PROBLEM_TYPE, problem, request_id, too_large

FORM_OVERHEAD_BYTES = 64 * 1024
"""What a multipart form may add around the file."""

DRAIN_FACTOR = 20
"""Read at most this many times the limit of a body that is too large, then hang up."""

IDLE_SECONDS = 60
"""A connection that is silent this long is closed."""


class _Nowhere:
    """Stand-in for a request's buffer that keeps nothing."""

    def append(self, data: bytes) -> None:
        pass

    def __len__(self) -> int:
        return 0

    def getfile(self) -> io.BytesIO:
        return io.BytesIO()

    def close(self) -> None:
        pass


class _Parser(HTTPRequestParser):
    """Read to the end, and forget, a body that is too large.

    Waitress answers and closes while the client is still sending, and a client that is cut
    off while sending never sees the answer.
    """

    draining = False
    drained = 0

    def received(self, data: bytes) -> int:
        if not self.draining:
            consumed = super().received(data)
            if isinstance(self.error, RequestEntityTooLarge) and not self.body_rcv.completed:
                if self.expect_continue:
                    self.expect_continue = False  # It asked first, and has sent nothing yet.
                else:
                    self.draining, self.completed = True, False
                    self.body_rcv.getbuf().close()
                    self.body_rcv.buf = _Nowhere()
            return consumed
        consumed = self.body_rcv.received(data)
        self.drained += consumed
        self.completed = (
            self.body_rcv.completed
            or self.body_rcv.error is not None
            or self.drained > DRAIN_FACTOR * self.adj.max_request_body_size
        )
        return consumed


class _ErrorTask(ErrorTask):
    """Answer a request that never reached the application."""

    def execute(self) -> None:
        error = self.request.error
        identifier = request_id(self.request.headers.get("X_REQUEST_ID"))
        if isinstance(error, RequestEntityTooLarge):
            detail = too_large(self.channel.server.adj.max_request_body_size - FORM_OVERHEAD_BYTES)
        else:
            detail = f"not a valid HTTP request: {error.body}"
        body = json.dumps(problem(error.code, detail, identifier)).encode()
        self.status = f"{error.code} {error.reason}"
        self.response_headers.extend(
            [
                ("Content-Type", PROBLEM_TYPE),
                ("X-Request-ID", identifier),
                ("X-Content-Type-Options", "nosniff"),
            ]
        )
        self.set_close_on_finish()
        self.content_length = len(body)
        self.write(body)


class _Channel(HTTPChannel):
    parser_class = _Parser
    error_task_class = _ErrorTask


def make_server(app, config: ServiceConfig, host: str, port: int) -> TcpWSGIServer:
    """Listen for requests; ``run()`` of what comes back answers them.

    Parameters
    ----------
    app : WSGI application
    config : ServiceConfig
        Its ``threads`` and ``max_upload_bytes`` are used.
    host : str
        Name or address to listen on.
    port : int
        0 takes any free port; ``effective_port`` tells which.

    Raises
    ------
    OSError
        If the address cannot be listened on, for instance because the port is in use.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    server = create_server(
        app,
        sockets=[socket.create_server((host, port), family=family)],
        threads=config.threads,
        max_request_body_size=config.max_upload_bytes + FORM_OVERHEAD_BYTES,
        channel_timeout=IDLE_SECONDS,
        cleanup_interval=10,
    )
    server.channel_class = _Channel
    return server

"""The HTTP server: Waitress with our error format, limits on slow requests, and a clean stop."""

from __future__ import annotations

import ctypes
import io
import json
import signal
import socket
import sys
import tempfile
import time
from contextlib import suppress
from functools import partial
from types import FrameType
from typing import Any

from apiflask import APIFlask
from waitress import wasyncore
from waitress.adjustments import Adjustments
from waitress.buffers import OverflowableBuffer
from waitress.channel import HTTPChannel
from waitress.parser import HTTPRequestParser
from waitress.server import TcpWSGIServer, create_server
from waitress.task import ErrorTask
from waitress.utilities import Error, RequestEntityTooLarge

from serve.config import ServiceConfig
from serve.cors import cors_headers
from serve.logs import log_request
from serve.problems import (
    PROBLEM_TYPE,
    Problem,
    choose_request_id,
    storage_error,
    too_large,
)
from serve.service import service_of

FORM_OVERHEAD_BYTES = 64 * 1024
"""What a multipart form may add to the size of its file."""

DRAIN_FACTOR = 20
"""A body that is too large is read up to this many times the limit, then the connection closes."""

SPARE_THREADS = 4
"""Threads beside those that run and wait. They answer /healthz and refuse requests."""

IDLE_SECONDS = 60
"""A connection that is silent for this long is closed."""

M_ARENA_MAX = -8
"""Number of mallopt's parameter in glibc's malloc.h."""

MAX_HEAPS = 2

CLEANUP_SECONDS = 10
"""Longest interval between two searches for silent connections and slow requests."""


class _RequestTimeout(Error):
    code = 408
    reason = "Request Timeout"


class _InsufficientStorage(Error):
    code = 507
    reason = "Insufficient Storage"


class _BodyBuffer(OverflowableBuffer):
    """Buffer of a request's body. A large body goes to a temporary file.

    If that file cannot be written, the body is discarded and `failure` tells why. An exception
    would end the connection without an answer.
    """

    failure: OSError | None = None

    def append(self, data: bytes) -> None:
        if self.failure is not None:
            return
        try:
            super().append(data)
        except OSError as error:
            self.failure = error
            self.close()

    def close(self) -> None:
        # Closing writes what Python still holds of the file, which fails again.
        with suppress(OSError):
            super().close()


class _DiscardingBuffer:
    """Replaces the buffer of a request and stores nothing."""

    def append(self, data: bytes) -> None:
        pass

    def __len__(self) -> int:
        return 0

    def getfile(self) -> io.BytesIO:
        return io.BytesIO()

    def close(self) -> None:
        pass


class _Parser(HTTPRequestParser):
    """Read a body that is too large, or that cannot be stored, to its end, and discard it.

    Waitress answers and closes the connection while the client still sends. Such a client never
    reads the answer.
    """

    error: Error | None
    expect_continue: bool
    draining = False
    n_drained = 0

    def __init__(self, adj: Adjustments) -> None:
        super().__init__(adj)
        self.started = time.time()

    def parse_header(self, header_plus: bytes) -> None:
        super().parse_header(header_plus)
        if self.body_rcv is not None:
            self.body_rcv.buf = _BodyBuffer(self.adj.inbuf_overflow)  # The other is still empty.

    def received(self, data: bytes) -> int:
        if not self.draining:
            n_consumed: int = super().received(data)
            failure = None if self.body_rcv is None else self.body_rcv.buf.failure
            if failure and self.error is None:
                self.error = _InsufficientStorage(storage_error(failure).description)
            kinds = (RequestEntityTooLarge, _InsufficientStorage)
            if isinstance(self.error, kinds) and not self.body_rcv.completed:
                if self.expect_continue:
                    self.expect_continue = False  # The client waits and has sent nothing yet.
                else:
                    self.draining, self.completed = True, False
                    self.body_rcv.getbuf().close()
                    self.body_rcv.buf = _DiscardingBuffer()
            return n_consumed
        n_consumed = self.body_rcv.received(data)
        self.n_drained += n_consumed
        self.completed = (
            self.body_rcv.completed
            or self.body_rcv.error is not None
            or self.n_drained > DRAIN_FACTOR * self.adj.max_request_body_size
        )
        return n_consumed


class _ErrorTask(ErrorTask):
    """Answer a request that never reached the application."""

    def execute(self) -> None:
        server, error = self.channel.server, self.request.error
        identifier = choose_request_id(self.request.headers.get("X_REQUEST_ID"))
        if isinstance(error, RequestEntityTooLarge):
            problem = too_large(server.adj.max_request_body_size - FORM_OVERHEAD_BYTES)
        elif isinstance(error, _RequestTimeout | _InsufficientStorage):
            problem = Problem(error.code, error.body)
        else:
            problem = Problem(error.code, f"not a valid HTTP request: {error.body}")
        body = json.dumps(problem.document(identifier)).encode()
        self.status = f"{error.code} {error.reason}"
        origin = self.request.headers.get("ORIGIN")
        path = getattr(self.request, "path", "")
        self.response_headers.extend(
            [
                ("Content-Type", PROBLEM_TYPE),
                ("X-Request-ID", identifier),
                ("X-Content-Type-Options", "nosniff"),
                *cors_headers(path, origin, server.allowed_origins).items(),
            ]
        )
        self.set_close_on_finish()
        self.content_length = len(body)
        self.write(body)
        # It counts without a route, because the request was not understood.
        seconds = time.time() - self.channel.last_activity
        server.metrics.record("", error.code, seconds)
        log_request("", "", error.code, seconds, request_id=identifier)


class _Channel(HTTPChannel):
    request: _Parser | None
    parser_class = _Parser
    error_task_class = _ErrorTask

    def end_slow_request(self, now: float, max_s: float) -> None:
        """Answer 408 to a request that takes too long to arrive, or that went silent."""
        with self.requests_lock:
            request = self.request
            if request is None or self.requests or self.will_close or self.close_when_flushed:
                return
            silent = now - self.last_activity > IDLE_SECONDS
            if not silent and now - request.started <= max_s:
                return
            reason = (
                f"nothing came for {IDLE_SECONDS} s" if silent else f"it took more than {max_s:g} s"
            )
            request.error = request.error or _RequestTimeout(
                f"the request did not arrive completely: {reason}; send it again, or a smaller file"
            )
            self.request = None
            self.requests.append(request)
            self.server.add_task(self)


def make_server(app: APIFlask, config: ServiceConfig, host: str, port: int) -> TcpWSGIServer:
    """Listen for requests; `run` answers them.

    Parameters
    ----------
    app : APIFlask
        Result of `serve.app.create_app`.
    config : ServiceConfig
    host : str
        Host name or address to listen on.
    port : int
        0 for any free port; ``effective_port`` of the result is the port.

    Raises
    ------
    OSError
        If the service cannot listen there, for instance because the port is in use.
    """
    # Python chooses the folder of temporary files at first use. It would choose another one, even
    # the working folder, if the usual one were full by then.
    with suppress(FileNotFoundError):
        tempfile.gettempdir()
    proxy: dict[str, Any] = {}
    if config.trusted_proxy:
        proxy["trusted_proxy"] = config.trusted_proxy
        proxy["trusted_proxy_headers"] = {"x-forwarded-for"}
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    server = create_server(
        app,
        sockets=[socket.create_server((host, port), family=family)],
        threads=config.threads + config.max_queue + SPARE_THREADS,
        max_request_body_size=config.max_upload_bytes + FORM_OVERHEAD_BYTES,
        channel_timeout=IDLE_SECONDS,
        cleanup_interval=max(1, int(min(CLEANUP_SECONDS, config.max_receive_seconds / 2))),
        clear_untrusted_proxy_headers=True,
        **proxy,
    )
    service = service_of(app)
    server.channel_class = _Channel
    server.maintenance = partial(_maintain, server, config.max_receive_seconds)
    server.metrics = service.metrics
    server.stopping = service.stopping
    server.allowed_origins = config.allowed_origins
    return server


def _maintain(server: TcpWSGIServer, max_receive_s: float, now: float) -> None:
    for channel in [*server.active_channels.values()]:
        channel.end_slow_request(now, max_receive_s)
    type(server).maintenance(server, now)


def share_heaps() -> None:
    """Let all threads share two of glibc's heaps.

    By default each thread has a heap of its own, which keeps the memory of its largest file.
    Memory grows up to threads times the largest file (mallopt(3), M_ARENA_MAX).
    """
    if sys.platform == "linux":
        mallopt = getattr(ctypes.CDLL(None), "mallopt", None)  # musl does not have it
        if mallopt is not None:
            mallopt(M_ARENA_MAX, MAX_HEAPS)


def run(server: TcpWSGIServer, stop_seconds: float) -> None:
    """Answer requests until SIGTERM or SIGINT, then finish the running requests.

    Parameters
    ----------
    server : TcpWSGIServer
        Result of `make_server`.
    stop_seconds : float > 0
        Longest time to finish. A second signal ends the process at once.
    """

    def stop(number: int, frame: FrameType | None) -> None:
        server.stopping.set()
        server.pull_trigger()
        for each in (signal.SIGTERM, signal.SIGINT):
            signal.signal(each, signal.SIG_DFL)

    for each in (signal.SIGTERM, signal.SIGINT):
        signal.signal(each, stop)
    while not server.stopping.is_set():
        _handle_events(server, server.adj.asyncore_loop_timeout)
    # Stop listening. The loop goes on for the open connections.
    wasyncore.dispatcher.close(server)
    deadline = time.monotonic() + stop_seconds
    while any(_is_busy(channel) for channel in [*server.active_channels.values()]):
        if time.monotonic() > deadline:
            break
        _handle_events(server, 0.1)
    server.task_dispatcher.shutdown(timeout=1)


def _handle_events(server: TcpWSGIServer, timeout: float) -> None:
    wasyncore.loop(timeout, use_poll=server.adj.asyncore_use_poll, map=server._map, count=1)


def _is_busy(channel: HTTPChannel) -> bool:
    """True while a request is being read or answered."""
    return bool(channel.request or channel.requests or channel.total_outbufs_len)

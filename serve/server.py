"""Waitress, with errors in the format of ours, large and slow requests ended, a clean stop."""

from __future__ import annotations

import ctypes
import io
import json
import signal
import socket
import sys
import time
from functools import partial

from apiflask import APIFlask
from waitress import wasyncore
from waitress.adjustments import Adjustments
from waitress.channel import HTTPChannel
from waitress.parser import HTTPRequestParser
from waitress.server import TcpWSGIServer, create_server
from waitress.task import ErrorTask
from waitress.utilities import Error, RequestEntityTooLarge

from serve.config import ServiceConfig
from serve.cors import cors_headers
from serve.logs import log_request
from serve.problems import PROBLEM_TYPE, problem, request_id, too_large

FORM_OVERHEAD_BYTES = 64 * 1024
"""What a multipart form may add around the file."""

DRAIN_FACTOR = 20
"""Read at most this many times the limit of a body that is too large, then hang up."""

SPARE_THREADS = 4
"""Threads beside those that work and wait: they answer /healthz and turn requests away."""

IDLE_SECONDS = 60
"""A connection that is silent this long is closed."""

M_ARENA_MAX = -8
"""Of glibc's malloc.h."""

CLEANUP_SECONDS = 10
"""How often, at most, silent connections and slow requests are looked for."""


class _RequestTimeout(Error):
    code = 408
    reason = "Request Timeout"


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

    def __init__(self, adj: Adjustments) -> None:
        super().__init__(adj)
        self.begun = time.time()

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
        elif isinstance(error, _RequestTimeout):
            detail = error.body
        else:
            detail = f"not a valid HTTP request: {error.body}"
        body = json.dumps(problem(error.code, detail, identifier)).encode()
        self.status = f"{error.code} {error.reason}"
        self.response_headers.extend(
            [
                ("Content-Type", PROBLEM_TYPE),
                ("X-Request-ID", identifier),
                ("X-Content-Type-Options", "nosniff"),
                *cors_headers(
                    getattr(self.request, "path", ""),
                    self.request.headers.get("ORIGIN"),
                    self.channel.server.allowed_origins,
                ).items(),
            ]
        )
        self.set_close_on_finish()
        self.content_length = len(body)
        self.write(body)
        # It has no route: what the client wrote was not understood.
        seconds = time.time() - self.channel.last_activity
        self.channel.server.metrics.record("", error.code, seconds)
        log_request("", "", error.code, seconds, request_id=identifier)


class _Channel(HTTPChannel):
    parser_class = _Parser
    error_task_class = _ErrorTask

    def end_slow_request(self, now: float, max_s: float) -> None:
        """Answer 408 to a request that began to arrive and does not come to its end."""
        with self.requests_lock:
            request = self.request
            if request is None or self.requests or self.will_close or self.close_when_flushed:
                return
            silent = now - self.last_activity > IDLE_SECONDS
            if not silent and now - request.begun <= max_s:
                return
            request.error = request.error or _RequestTimeout(
                "the request did not arrive whole: "
                + (f"nothing came for {IDLE_SECONDS} s" if silent else f"{max_s:g} s are accepted")
                + "; send it again, or a smaller file"
            )
            self.request = None
            self.requests.append(request)
            self.server.add_task(self)


def make_server(app: APIFlask, config: ServiceConfig, host: str, port: int) -> TcpWSGIServer:
    """Listen for requests; `run` answers them.

    Parameters
    ----------
    app : APIFlask
        From `serve.app.create_app`.
    config : ServiceConfig
    host : str
        Name or address to listen on.
    port : int
        0 takes any free port; ``effective_port`` tells which.

    Raises
    ------
    OSError
        If the address cannot be listened on, for instance because the port is in use.
    """
    proxy = {}
    if config.trusted_proxy:
        proxy = {
            "trusted_proxy": config.trusted_proxy, "trusted_proxy_headers": {"x-forwarded-for"}
        }  # fmt: skip
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
    server.channel_class = _Channel
    server.maintenance = partial(_maintain, server, config.max_receive_seconds)
    server.metrics = app.extensions["metrics"]
    server.stopping = app.extensions["stopping"]
    server.allowed_origins = config.allowed_origins
    return server


def _maintain(server: TcpWSGIServer, max_receive_s: float, now: float) -> None:
    for channel in [*server.active_channels.values()]:
        channel.end_slow_request(now, max_receive_s)
    type(server).maintenance(server, now)


def share_heaps() -> None:
    """Have all threads share two of glibc's heaps.

    By default each thread fills one of its own, and what a large file needed there is kept for
    that thread alone: memory creeps up to threads x the largest file (mallopt(3), M_ARENA_MAX).
    """
    if sys.platform == "linux":
        mallopt = getattr(ctypes.CDLL(None), "mallopt", None)  # musl has none
        if mallopt is not None:
            mallopt(M_ARENA_MAX, 2)


def run(server: TcpWSGIServer, stop_seconds: float) -> None:
    """Answer requests until SIGTERM or SIGINT, then finish what was begun.

    Parameters
    ----------
    server : TcpWSGIServer
        From `make_server`.
    stop_seconds : float > 0
        Longest time for the end; a second signal ends at once.
    """

    def stop(number: int, frame: object) -> None:
        server.stopping.set()
        server.pull_trigger()
        for each in (signal.SIGTERM, signal.SIGINT):
            signal.signal(each, signal.SIG_DFL)

    for each in (signal.SIGTERM, signal.SIGINT):
        signal.signal(each, stop)
    while not server.stopping.is_set():
        _turn(server, server.adj.asyncore_loop_timeout)
    # Stop listening; the loop goes on with the connections that there are.
    wasyncore.dispatcher.close(server)
    end = time.monotonic() + stop_seconds
    while any(_is_busy(channel) for channel in [*server.active_channels.values()]):
        if time.monotonic() > end:
            break
        _turn(server, 0.1)
    server.task_dispatcher.shutdown(timeout=1)


def _turn(server: TcpWSGIServer, timeout: float) -> None:
    wasyncore.loop(timeout, use_poll=server.adj.asyncore_use_poll, map=server._map, count=1)


def _is_busy(channel: HTTPChannel) -> bool:
    """True while a request is being read or answered."""
    return bool(channel.request or channel.requests or channel.total_outbufs_len)

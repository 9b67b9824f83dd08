"""What stands before the application: it takes a request only when all of it has arrived.

The route, the host and the stated length are checked from the head alone. The body is stored once,
within limits, and given to the application as a file.
"""

from __future__ import annotations

import asyncio
import io
import ipaddress
import math
import sys
import time
from collections.abc import AsyncIterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, BinaryIO
from urllib.parse import parse_qsl, unquote_to_bytes

from serve.bridge import Environ, Receive, Send, WsgiApp, WsgiBridge
from serve.compose.bodies import COMPOSE_BODY_BYTES, CURVE_TOO_LONG
from serve.compose.paths import GENERATE
from serve.hosts import allowed_hosts
from serve.library.paths import is_audio, is_library
from serve.library.runner import MAX_PROCESSES
from serve.logs import log
from serve.problems import Problem, encoding_problem, storage_error, too_large
from serve.proxies import TrustedProxies
from serve.refusals import Refused, Refuser
from serve.service import Service
from serve.spool import Body, Lane
from serve.states import MAX_CHANNELS, RATES_HZ, SAMPLE_FORMATS
from serve.uploads import FORM_OVERHEAD_BYTES, MAX_STATE_BYTES

if TYPE_CHECKING:
    from serve.connections import Connections

DRAIN_FACTOR = 20
"""A body that is refused is read up to this many times the largest upload, and discarded."""

DRAIN_BYTES_PER_SECOND = 100_000_000
"""All refused bodies together are read no faster, so that they do not slow other requests."""

SPARE_THREADS = 2
"""Threads for uploads and live audio beside those that run and wait. They refuse requests."""

PAGE_THREADS = 2
"""Threads for everything else. More would keep each other, and the event loop, from running."""

IDLE_SECONDS = 60.0
"""A body of which nothing comes for this long is refused."""

MIN_RATE, SLOW_START_SECONDS = 500, 20.0
"""A body must arrive with this many bytes per second, from this time on."""

STOP_IDLE_SECONDS = 2.0
"""The same as `IDLE_SECONDS` once the service is told to stop."""

TICK_SECONDS = 0.25
"""Interval at which a body that does not come is checked."""

MAX_CHUNK_BYTES = 16_000_000
"""Largest chunk of live audio, whatever its rate and its number of channels."""

OTHER_BYTES = 64 * 1024
"""Largest body on a route that needs none. It is discarded."""

LIVE_LANE_BYTES = 64_000_000
"""Bytes of all chunks of live audio together, beside the uploads."""

LIBRARY_BODY_BYTES = 256_000
"""Largest body of a question to the library."""

LIBRARY_LANE_BYTES = 16_000_000
"""Bytes of all such bodies together."""

COMPOSE_LANE_BYTES = 16_000_000
"""Bytes of all such bodies together."""

AUDIO_THREADS = 4
"""Threads that send audio of the library. Who reads slowly holds up these only."""

PROBES = ("/healthz", "/readyz")
"""Routes that are answered whatever else happens, under any host name."""

_NOT_PASSED_ON = {"content-type", "content-length", "transfer-encoding", "connection", "upgrade"}
"""Headers about this connection, or that WSGI has under other names."""


@dataclass
class Request:
    """The head of a request.

    Parameters
    ----------
    method, path : str
        The path is decoded.
    query : str
    client : str
        Address of the client, or of the nearest untrusted proxy.
    headers : mapping of str to str
        By names in lower case; values of equal names are joined by commas.
    started : float
        Value of ``time.monotonic`` when the head was there.
    """

    method: str
    path: str
    query: str
    client: str
    headers: Mapping[str, str]
    started: float = field(default_factory=time.monotonic)

    @property
    def length(self) -> int | None:
        """Stated length of the body; None if it comes in chunks."""
        if "transfer-encoding" in self.headers:
            return None
        return int(self.headers.get("content-length", 0))

    @property
    def waits_for_answer(self) -> bool:
        """True if the client asks before it sends its body."""
        return self.headers.get("expect", "").lower() == "100-continue"


class Front:
    """ASGI application that checks and receives requests, and passes them on.

    Parameters
    ----------
    app : WSGI application
    service : Service
    host : str
        Address that the service listens on.
    connections : Connections
        Those that the requests come from.
    """

    def __init__(self, app: WsgiApp, service: Service, host: str, connections: Connections) -> None:
        config = service.config
        self.service, self.connections = service, connections
        self._config = config
        self.max_receive_seconds = config.max_receive_seconds
        self._hosts = allowed_hosts(config, host)
        self._proxies = TrustedProxies(config.trusted_proxy)
        self._bridge = WsgiBridge(app, config.threads + config.max_queue + SPARE_THREADS)
        self._pages = WsgiBridge(app, PAGE_THREADS)
        self._library_bridge = self._audio_bridge = self._compose_bridge = self._pages
        if service.generators.names:
            # Who reads a piece slowly holds up these threads only.
            self._compose_bridge = WsgiBridge(app, service.pieces.max_requests + SPARE_THREADS)
        if service.library is not None:
            threads = MAX_PROCESSES + config.max_queue + SPARE_THREADS
            self._library_bridge = WsgiBridge(app, threads)
            self._audio_bridge = WsgiBridge(app, AUDIO_THREADS)
        self._disk = ThreadPoolExecutor(2, "disk")
        upload = config.max_upload_bytes + FORM_OVERHEAD_BYTES
        spool = max(config.max_spool_bytes, upload)
        max_bodies = max(config.max_connections // 4, 1)
        self._uploads = Lane("uploads", 2 * max_bodies, spool, max(spool // 2, upload))
        live = max(LIVE_LANE_BYTES, self._live_limit(""))
        self._live = Lane("live chunks", max_bodies, live, max(live // 2, self._live_limit("")))
        room = LIBRARY_LANE_BYTES
        self._questions = Lane("questions to the library", max_bodies, room, room // 2)
        room = COMPOSE_LANE_BYTES
        self._music = Lane("requests for music", max_bodies, room, room // 2)
        self._stopped_at = math.inf
        self._drained_until = 0.0
        self.refuser = Refuser(service.metrics, config.allowed_origins)

    def stop(self) -> None:
        """Take no more time for bodies that do not come."""
        self._stopped_at = time.monotonic()

    @property
    def is_busy(self) -> bool:
        """True while the application works on a request."""
        bridges = (self._bridge, self._pages, self._library_bridge, self._audio_bridge)
        return any(bridge.running for bridge in (*bridges, self._compose_bridge))

    async def __call__(self, scope: dict[str, Any], receive: Receive, send: Send) -> None:
        """Answer a request (ASGI)."""
        request = Request(
            method=scope["method"],
            path=scope["path"],
            query=scope["query_string"].decode("latin-1"),
            client=self._client(scope),
            headers=_joined(scope["headers"]),
        )
        started = False

        async def send_and_note(message: dict[str, Any]) -> None:
            nonlocal started
            started = True
            await send(message)

        try:
            await self._answer(scope, request, receive, send_and_note)
        except Refused as refused:
            await self._refuse(refused, request, receive, send_and_note)
        except ConnectionError:
            pass  # The client has gone away while it was sending.
        except asyncio.CancelledError:
            # The time to stop is over.
            if not started:
                await self._refuse(_stopping(), request, receive, send)
        except Exception:
            log.exception("the front failed")
            if started:
                raise
            await self._refuse(_failed(), request, receive, send)

    # ------------------------------------------------------------------------------ heads

    def _client(self, scope: dict[str, Any]) -> str:
        """Address of the client. Only a trusted proxy may name another than its own."""
        peer: str = scope["client"][0] if scope["client"] else ""
        if peer not in self._proxies:
            return peer
        forwarded = _joined(scope["headers"]).get("x-forwarded-for", "")
        return _address(forwarded.rpartition(",")[2]) or peer

    def _check_host(self, scope: dict[str, Any], request: Request) -> None:
        given = [value for name, value in scope["headers"] if name == b"host"]
        if len(given) != 1 and not (scope["http_version"] == "1.0" and not given):
            raise Refused(Problem(400, "a request must have one Host header"), drain=True)
        if not given or self._hosts is None or request.path in PROBES:
            return
        name = request.headers["host"].lower()
        host, _, port = name.rpartition(":")
        if host and port.isdecimal():
            name = host
        if name.removesuffix(".") not in self._hosts:
            raise Refused(
                Problem(
                    421,
                    "this service does not answer under the name in the Host header; use its own "
                    "address, or let MSR_ALLOWED_HOSTS name this one",
                ),
                drain=True,
            )

    def _lane(self, request: Request) -> tuple[Lane | None, int, Problem]:
        """The lane of a request, the most bytes that its body may have, and the problem if not."""
        if request.method == "POST" and request.path == "/v1/predict":
            largest = self._config.max_upload_bytes
            return self._uploads, largest + FORM_OVERHEAD_BYTES, too_large(largest)
        if request.method == "POST" and request.path == "/v1/live":
            most = self._live_limit(request.query)
            problem = Problem(
                413,
                f"chunk: larger than the limit of {most / 1e6:.3g} MB for a chunk in this format "
                f"and its state; send chunks of at most {self._config.max_chunk_seconds:g} s",
                "chunk",
            )
            return self._live, most, problem
        if request.method == "POST" and is_library(request.path) and self.service.library:
            problem = Problem(
                413,
                f"the body is larger than the limit of {LIBRARY_BODY_BYTES / 1000:g} kB; ask for "
                "less at a time",
            )
            return self._questions, LIBRARY_BODY_BYTES, problem
        if request.method == "POST" and request.path == GENERATE and self.service.generators.names:
            return self._music, COMPOSE_BODY_BYTES, CURVE_TOO_LONG
        problem = Problem(413, f"{request.method} takes no body at this address")
        return None, OTHER_BYTES, problem

    def _bridge_of(self, path: str, usual: WsgiBridge) -> WsgiBridge:
        """The threads that answer a request; those of the library are its own."""
        if path == GENERATE:
            return self._compose_bridge
        if is_library(path):
            return self._audio_bridge if is_audio(path) else self._library_bridge
        return usual

    def _live_limit(self, query: str) -> int:
        """Most bytes of a request with live audio: the longest chunk in its format, and a state."""
        options = dict(parse_qsl(query, max_num_fields=100)) if len(query) < 2_000 else {}
        try:
            rate, channels = int(options["rate"]), int(options.get("channels", 1))
            width = SAMPLE_FORMATS[options.get("format", "s16le")].itemsize
        except (KeyError, ValueError):
            # The application tells what is wrong with the options.
            rate, channels, width = 48_000, 1, 4
        rate, channels = min(max(rate, 0), RATES_HZ[1]), min(max(channels, 1), MAX_CHANNELS)
        longest = math.ceil(self._config.max_chunk_seconds * rate) * channels * width
        chunk = min(longest, MAX_CHUNK_BYTES, self._config.max_upload_bytes)
        return chunk + MAX_STATE_BYTES + FORM_OVERHEAD_BYTES

    # ------------------------------------------------------------------------------ requests

    async def _answer(
        self, scope: dict[str, Any], request: Request, receive: Receive, send: Send
    ) -> None:
        self._check_host(scope, request)
        lane, most, problem = self._lane(request)
        if (request.length or 0) > most:
            raise Refused(problem, drain=True)
        if lane is None:
            async for _ in self._pieces(request, receive, most, problem):
                pass
            environ = make_environ(scope, request, io.BytesIO(), 0)
            if request.path in PROBES:
                await self._pages.run_here(environ, send)
                return
            bridge = self._bridge_of(request.path, self._pages)
            if not await bridge.run(environ, receive, send, lambda: None):
                raise _failed()
            return
        compressed = encoding_problem(request.headers.get("content-encoding"))
        if compressed is not None:
            raise Refused(compressed, drain=True)
        lane.admit(request.client, request.length or 0)
        body = Body(lane, request.client, self._disk)
        try:
            file = await self._receive(lane, body, request, receive, most, problem)
            environ = make_environ(scope, request, file, body.size)
        except BaseException:
            body.close()
            raise
        bridge = self._bridge_of(request.path, self._bridge)
        if not await bridge.run(environ, receive, send, body.close):
            raise _failed()

    async def _receive(
        self,
        lane: Lane,
        body: Body,
        request: Request,
        receive: Receive,
        most: int,
        problem: Problem,
    ) -> BinaryIO:
        """Store a body."""
        try:
            async for piece in self._pieces(request, receive, most, problem):
                await body.append(piece)
            return await body.finish()
        except OSError as error:
            if isinstance(error, ConnectionError):
                raise
            detail = storage_error(error).description or ""
            raise Refused(Problem(507, detail), drain=True) from error
        finally:
            lane.arrived()

    async def _pieces(
        self, request: Request, receive: Receive, most: int, problem: Problem
    ) -> AsyncIterator[bytes]:
        """Receive a body of at most `most` bytes in time."""
        n_bytes, more = 0, True
        while more:
            message = await self._next(request, receive, n_bytes)
            n_bytes += len(message["body"])
            if n_bytes > most:
                raise Refused(problem, drain=message["more_body"])
            more = message["more_body"]
            if message["body"]:
                yield message["body"]

    async def _next(self, request: Request, receive: Receive, n_bytes: float) -> dict[str, Any]:
        """Wait for the next part of a body.

        Parameters
        ----------
        n_bytes : float
            Bytes that have arrived so far; infinite if their rate does not matter.
        """
        began = time.monotonic()
        while True:
            with suppress(TimeoutError):
                async with asyncio.timeout(TICK_SECONDS):
                    message = await receive()
                if message["type"] == "http.disconnect":
                    raise ConnectionResetError
                return message
            now = time.monotonic()
            limit = self._config.max_receive_seconds
            late = now - request.started - SLOW_START_SECONDS
            reason = (
                f"nothing came for {IDLE_SECONDS:g} s"
                if now - began > IDLE_SECONDS
                else f"it took more than {limit:g} s"
                if now - request.started > limit
                else f"less than {MIN_RATE} bytes came per second"
                if n_bytes < MIN_RATE * late
                else ""
            )
            if reason:
                raise Refused(
                    Problem(
                        408,
                        f"the request did not arrive completely: {reason}; send it again, or a "
                        "smaller file",
                    )
                )
            grace = self._config.stop_seconds / 2
            if now > self._stopped_at and (
                now - max(began, self._stopped_at) > min(STOP_IDLE_SECONDS, grace)
                or now - self._stopped_at > grace
            ):
                raise _stopping()

    async def _refuse(
        self, refused: Refused, request: Request, receive: Receive, send: Send
    ) -> None:
        """Answer with a problem, then read what the client still sends.

        A client that writes into a closed connection may never read the answer.
        """
        seconds = time.monotonic() - request.started
        answer = self.refuser.refuse(refused.problem, request.path, request.headers, seconds)
        await send(
            {"type": "http.response.start", "status": answer.status, "headers": answer.headers}
        )
        await send({"type": "http.response.body", "body": answer.body, "more_body": True})
        if refused.drain and not request.waits_for_answer:
            n_bytes, more = 0, True
            with suppress(ConnectionError, Refused):
                while more and n_bytes < DRAIN_FACTOR * self._config.max_upload_bytes:
                    message = await self._next(request, receive, math.inf)
                    n_bytes += len(message["body"])
                    more = message["more_body"]
                    now = time.monotonic()
                    duration = len(message["body"]) / DRAIN_BYTES_PER_SECOND
                    self._drained_until = max(self._drained_until, now) + duration
                    await asyncio.sleep(self._drained_until - now)
        await send({"type": "http.response.body", "body": b"", "more_body": False})


def make_environ(scope: dict[str, Any], request: Request, body: BinaryIO, n_bytes: int) -> Environ:
    """The request as WSGI has it, with a body of known length."""
    address, port = scope["server"] or ("localhost", 0)
    environ: Environ = {
        "REQUEST_METHOD": request.method,
        "SCRIPT_NAME": "",
        "PATH_INFO": unquote_to_bytes(scope["raw_path"]).decode("latin-1"),
        "QUERY_STRING": request.query,
        "SERVER_PROTOCOL": f"HTTP/{scope['http_version']}",
        "SERVER_NAME": address,
        "SERVER_PORT": str(port),
        "REMOTE_ADDR": request.client,
        "CONTENT_LENGTH": str(n_bytes),
        "wsgi.version": (1, 0),
        "wsgi.url_scheme": scope["scheme"],
        "wsgi.input": body,
        "wsgi.input_terminated": True,
        "wsgi.errors": sys.stderr,
        "wsgi.multithread": True,
        "wsgi.multiprocess": False,
        "wsgi.run_once": False,
    }
    if "content-type" in request.headers:
        environ["CONTENT_TYPE"] = request.headers["content-type"]
    for name, value in request.headers.items():
        # WSGI cannot tell X_Name from X-Name, so the first is not passed on.
        if name not in _NOT_PASSED_ON and "_" not in name and not name.startswith("x-forwarded-"):
            environ["HTTP_" + name.upper().replace("-", "_")] = value
    return environ


def _joined(headers: list[tuple[bytes, bytes]]) -> dict[str, str]:
    joined: dict[str, str] = {}
    for raw_name, raw_value in headers:
        name, value = raw_name.decode("latin-1"), raw_value.decode("latin-1")
        joined[name] = f"{joined[name]}, {value}" if name in joined else value
    return joined


def _address(text: str) -> str:
    """The IP address in an element of ``X-Forwarded-For``, without its port; else empty."""
    text = text.strip().strip('"')
    if text.startswith("["):
        text = text[1:].partition("]")[0]
    elif text.count(":") == 1:
        text = text.partition(":")[0]
    try:
        return str(ipaddress.ip_address(text))
    except ValueError:
        return ""


def _stopping() -> Refused:
    return Refused(Problem(503, "the service is stopping; send the request again later"))


def _failed() -> Refused:
    return Refused(Problem(500, "the service failed on this request; its log has the cause"))

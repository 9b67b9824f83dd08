"""HTTP connections with limits: on their number, on the time and the size of a request's head, and
on what chunked coding may add to a body.

uvicorn's protocol parses with httptools and speaks ASGI. The class here decides which bytes the
parser gets, and when. It uses the callbacks of `asyncio.Protocol` and of httptools.
"""

from __future__ import annotations

import asyncio
import socket
import time
from collections.abc import Callable
from http import HTTPStatus
from typing import Any, Protocol, cast

import httptools
from uvicorn.protocols.http.flow_control import FlowControl
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from serve.parser_errors import is_known_version, parser_problem, version_problem
from serve.problems import Problem
from serve.proxies import TrustedProxies
from serve.refusals import Refuser

MAX_HEAD_BYTES = 32 * 1024

HEAD_SECONDS = 10.0
"""Longest time from the start of a connection, or of a later request, to the end of its head."""

KEEP_ALIVE_SECONDS = 60.0
"""A connection without a request is closed after this time."""

WRITE_SECONDS = 60.0
"""A client that reads nothing for this long is cut off."""

LINGER_SECONDS = 2.0
"""After a refusal the connection is read on for this long, so that the client reads the answer."""

MAX_FRAMING_BYTES = 256 * 1024
"""Chunk sizes, extensions and trailers of one request may have this many bytes, and one more for
each `BODY_PER_FRAMING` bytes of the body."""

BODY_PER_FRAMING = 32

FREE_CHUNKS, MIN_CHUNK_BYTES = 1_000, 16
"""So many chunks may have any size. With more, the mean size must reach this."""

PIECE_BYTES = 4 * 1024
"""A chunked body is parsed in pieces of this size."""

READ_BYTES = 32 * 1024
"""So much is read at once from one connection, before the others have their turn."""

CHUNKS_AT_ONCE = 50
"""The others have their turn after so many chunks, too."""

HEAD, BODY, ANSWER, CLOSED = "head", "body", "answer", "closed"
"""What a connection waits for: a head, the rest of a body, the end of the answer, or nothing."""


class Owner(Protocol):
    """What a connection needs of the front that it belongs to."""

    connections: Connections
    max_receive_seconds: float
    refuser: Refuser


class Connections:
    """All open connections.

    Parameters
    ----------
    max_connections : int > 0
    max_per_client : int > 0, optional
    proxies : TrustedProxies
        Their connections are those of many clients, so the second limit does not hold for them.
    """

    def __init__(
        self, max_connections: int, max_per_client: int | None, proxies: TrustedProxies
    ) -> None:
        self._max = max_connections
        self._max_per_client = max_per_client
        self._proxies = proxies
        # Both in the order in which they became so: the first has been so for longest.
        self._idle: dict[Connection, None] = {}
        self._busy: dict[Connection, None] = {}
        self._is_stopping = False

    def add(self, connection: Connection) -> None:
        """Take a new connection. If there are too many, another one is closed, or this one."""
        self._idle[connection] = None
        if len(self._idle) + len(self._busy) > self._max:
            self._make_room(connection)
        if self._max_per_client is not None and connection.address not in self._proxies:
            same = [c for c in (*self._idle, *self._busy) if c.address == connection.address]
            if len(same) > self._max_per_client:
                idle = next((c for c in self._idle if c.address == connection.address), connection)
                if idle is connection:
                    detail = f"a client may have at most {self._max_per_client} connections"
                    connection.refuse(Problem(429, detail))
                else:
                    self._cut(idle)

    def _cut(self, connection: Connection) -> None:
        """Close an idle connection. It counts no more from now on."""
        self._idle.pop(connection, None)
        connection.cut()

    def _make_room(self, connection: Connection) -> None:
        oldest = next(iter(self._idle))
        if oldest is not connection:
            self._cut(oldest)
            return
        problem = Problem(503, "the service has too many connections; try again later")
        receiving = [c for c in self._busy if c.phase == BODY]
        if receiving:
            # The one that has brought nothing for longest.
            min(receiving, key=lambda c: c.last_data).refuse(problem)
        else:
            connection.refuse(problem)

    def set_busy(self, connection: Connection) -> None:
        """A request has begun."""
        self._idle.pop(connection, None)
        self._busy[connection] = None

    def set_idle(self, connection: Connection) -> None:
        """The answer is sent; the connection waits for another request, or for its end."""
        self._busy.pop(connection, None)
        self._idle[connection] = None
        self._close_idle_if_stopping()

    def remove(self, connection: Connection) -> None:
        """The connection is closed."""
        self._busy.pop(connection, None)
        self._idle.pop(connection, None)
        self._close_idle_if_stopping()

    def stop(self) -> None:
        """Close every connection once no request runs. Until then, idle ones may still ask."""
        self._is_stopping = True
        self._close_idle_if_stopping()

    @property
    def is_stopping(self) -> bool:
        """True once `stop` was called."""
        return self._is_stopping

    def _close_idle_if_stopping(self) -> None:
        if self._is_stopping and not self._busy:
            for connection in [*self._idle]:
                connection.transport.close()


class Flow(FlowControl):
    """Flow control that lets nobody read on while bytes wait to be parsed."""

    is_held = False

    def hold(self) -> None:
        """Read nothing."""
        self.is_held = True
        self.pause_reading()

    def release(self) -> None:
        """Read on."""
        self.is_held = False
        self.resume_reading()

    def resume_reading(self) -> None:
        """Read on, unless that is held up."""
        if not self.is_held:
            super().resume_reading()


class Connection(HttpToolsProtocol, asyncio.BufferedProtocol):
    """One connection of a client."""

    phase = HEAD
    last_data = 0.0
    address = ""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self._front = cast(Owner, self.app)
        self._all = self._front.connections
        self._head_seconds = min(HEAD_SECONDS, self._front.max_receive_seconds)
        self._timer: asyncio.TimerHandle | None = None
        self._write_timer: asyncio.TimerHandle | None = None
        self._buffer: memoryview | None = None
        self._unparsed, self._at = b"", 0
        self._problem: Problem | None = None
        self._start_head()

    def _start_head(self) -> None:
        self.phase = HEAD
        self.headers = []
        self.url = b""
        self._head = bytearray()
        self._head_began = 0.0
        self._is_chunked = False
        self._body_left = 0
        self._framing_bytes = self._body_bytes = self._n_chunks = 0

    # ------------------------------------------------------------------------------ asyncio

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """A client has connected."""
        super().connection_made(cast(asyncio.Transport, transport))
        # An answer is written in parts. Without this, the second part of every answer but the
        # first waits 40 ms for the client's delayed ACK (RFC 896, RFC 1122 section 4.2.3.2).
        # asyncio sets it only on sockets that were made with the number of the protocol.
        transport.get_extra_info("socket").setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.flow: Flow = Flow(self.transport)
        self.address = self.client[0] if self.client else ""
        self.last_data = time.monotonic()
        self._set_timer(self._head_seconds, self._end_slow_head)
        self._all.add(self)

    def connection_lost(self, exc: Exception | None) -> None:
        """The connection is closed."""
        self.phase = CLOSED
        self._unparsed = b""
        self._set_timer(0, None)
        self.resume_writing()
        self._all.remove(self)
        super().connection_lost(exc)

    def get_buffer(self, sizehint: int) -> memoryview:
        """Where the next bytes go. asyncio would read eight times as much at once."""
        if self._buffer is None:
            self._buffer = memoryview(bytearray(READ_BYTES))
        return self._buffer

    def buffer_updated(self, nbytes: int) -> None:
        """Bytes have come into the buffer."""
        assert self._buffer is not None
        self.data_received(bytes(self._buffer[:nbytes]))

    def data_received(self, data: bytes) -> None:
        """Bytes have come."""
        self.last_data = time.monotonic()
        if self.phase == CLOSED:
            return  # It was refused, and is read only so that the client can read the answer.
        self._unparsed, self._at = self._unparsed[self._at :] + data, 0
        self._parse()

    def pause_writing(self) -> None:
        """The client reads more slowly than the answer comes."""
        super().pause_writing()
        self._write_timer = self.loop.call_later(WRITE_SECONDS, self.transport.abort)

    def resume_writing(self) -> None:
        """The client reads again."""
        super().resume_writing()
        if self._write_timer is not None:
            self._write_timer.cancel()
            self._write_timer = None

    # ------------------------------------------------------------------------------ parsing

    def _parse(self) -> None:
        """Give the parser what it may have now: never more than one request."""
        n_chunks = self._n_chunks
        while self._at < len(self._unparsed) and not self.transport.is_closing():
            if self.phase == CLOSED:
                break
            if self.phase == ANSWER:
                # The next request waits until this one is answered.
                self.flow.hold()
                return
            end = self._end_of_piece()
            piece = memoryview(self._unparsed)[self._at : end]
            self._at = end
            self._feed(piece)
            if self._n_chunks - n_chunks > CHUNKS_AT_ONCE and self._at < len(self._unparsed):
                self.flow.hold()
                self.loop.call_soon(self._parse)
                return
        self._unparsed, self._at = b"", 0
        if self.flow.is_held and not self.transport.is_closing():
            self.flow.release()

    def _end_of_piece(self) -> int:
        if self.phase == BODY:
            if self._is_chunked:
                return self._at + PIECE_BYTES
            return self._at + max(self._body_left, 1)
        # A head ends with an empty line, which may have begun in an earlier piece.
        start = self._unparsed[self._at : self._at + 3]
        tail = bytes(self._head[-3:])
        before = (tail + start).find(b"\r\n\r\n")
        if before >= 0:
            return self._at + before + 4 - len(tail)
        end = self._unparsed.find(b"\r\n\r\n", self._at)
        end = len(self._unparsed) if end < 0 else end + 4
        return min(end, self._at + MAX_HEAD_BYTES + 1 - len(self._head))

    def _feed(self, piece: memoryview) -> None:
        phase, body_bytes = self.phase, self._body_bytes
        if phase == HEAD:
            if not self._head:
                self._head_began = time.monotonic()
                self._set_timer(self._head_seconds, self._end_slow_head)
            self._head += piece
        try:
            self.parser.feed_data(piece)
        except httptools.HttpParserUpgrade:
            pass  # The offer to speak another protocol is declined by not mentioning it.
        except httptools.HttpParserError as error:
            self.refuse(self._problem or parser_problem(error))
            return
        if phase == HEAD and self.phase == HEAD and len(self._head) > MAX_HEAD_BYTES:
            self.refuse(
                Problem(
                    431,
                    "not a valid HTTP request: its first line and its headers have more than "
                    f"{MAX_HEAD_BYTES // 1024} KB",
                )
            )
        elif phase == BODY and self._is_chunked:
            self._framing_bytes += len(piece) - (self._body_bytes - body_bytes)
            if self._framing_bytes > MAX_FRAMING_BYTES + self._body_bytes / BODY_PER_FRAMING:
                self.refuse(_framing_problem())

    def _fail(self, problem: Problem) -> None:
        """End parsing from inside of a callback."""
        self._problem = problem
        raise ValueError(problem.detail)

    def on_message_begin(self) -> None:
        """A request begins."""
        if self.phase != HEAD:
            detail = "send the next request after the answer to one with a chunked body"
            self._fail(Problem(400, detail))
        super().on_message_begin()

    def on_header(self, name: bytes, value: bytes) -> None:
        """A header is there. After the head it is a trailer, which is left out."""
        if self.phase == HEAD:
            super().on_header(name, value)

    def on_headers_complete(self) -> None:
        """The head is there."""
        if not is_known_version(self._head):
            self._fail(version_problem())
        headers = dict(self.headers)
        coding = headers.get(b"transfer-encoding")
        self._is_chunked = coding is not None
        self._body_left = int(headers.get(b"content-length", 0))
        if coding is not None and coding.lower() != b"chunked":
            self._fail(Problem(501, "the only Transfer-Encoding known here is chunked"))
        if self.parser.should_upgrade() and (self._is_chunked or self._body_left):
            detail = "a request with a body cannot ask for another protocol (Upgrade)"
            self._fail(Problem(400, detail))
        # uvicorn starts the application here: the head must be checked before.
        super().on_headers_complete()
        self.phase = BODY
        self._set_timer(0, None)
        self._all.set_busy(self)
        if self._all.is_stopping:
            self.cycle.keep_alive = False

    def on_chunk_header(self) -> None:
        """A chunk begins."""
        self._n_chunks += 1
        if self._n_chunks > FREE_CHUNKS + self._body_bytes / MIN_CHUNK_BYTES:
            self._fail(_framing_problem())

    def on_body(self, body: bytes) -> None:
        """A part of the body is there."""
        self._body_left -= len(body)
        self._body_bytes += len(body)
        super().on_body(body)

    def on_message_complete(self) -> None:
        """The whole request is there."""
        super().on_message_complete()
        if self.phase == BODY:
            self.phase = ANSWER

    def on_response_complete(self) -> None:
        """The answer is sent."""
        super().on_response_complete()
        if self.timeout_keep_alive_task is not None:  # The timer of this class replaces it.
            self.timeout_keep_alive_task.cancel()
            self.timeout_keep_alive_task = None
        if self.transport.is_closing():
            # The rest of the answer is still sent, if the client reads it.
            self._set_timer(WRITE_SECONDS, self.transport.abort)
            return
        if self.phase == CLOSED:
            return
        if self.phase == BODY:
            self.transport.close()  # What is left of the body must not be taken for a request.
            return
        self._start_head()
        self._set_timer(KEEP_ALIVE_SECONDS, self.cut)
        self._all.set_idle(self)
        if self._unparsed:
            self.loop.call_soon(self._parse)

    # ------------------------------------------------------------------------------ the end

    def shutdown(self) -> None:
        """The service stops. A request that has begun is finished."""
        if self.phase in (BODY, ANSWER):
            self.cycle.keep_alive = False
        self._all.stop()

    def cut(self) -> None:
        """Close an idle connection. If something is still to be sent, the client did not read."""
        if self.transport.get_write_buffer_size():
            self.transport.abort()
        else:
            self.transport.close()

    def _end_slow_head(self) -> None:
        if not self._head:
            self.cut()
            return
        detail = f"the head of the request did not arrive within {self._head_seconds:g} s"
        self.refuse(Problem(408, detail))

    def refuse(self, problem: Problem) -> None:
        """Answer what cannot be a request, or cannot go on, and end the connection."""
        if self.phase == CLOSED or self.transport.is_closing():
            return
        phase, self.phase = self.phase, CLOSED
        self._unparsed = b""
        self._all.set_idle(self)
        if phase == ANSWER:
            self.cycle.keep_alive = False  # The application still answers.
            return
        if phase == BODY:
            # To the application, the client has gone away.
            self.cycle.disconnected = True
            self.cycle.waiting_for_100_continue = False
            self.cycle.message_event.set()
            if self.cycle.response_started:
                self.cut()
                return
        self._send(problem)
        # The client may still be sending. If the connection were closed, it would not read on.
        self.flow.release()
        if self.transport.can_write_eof():
            self.transport.write_eof()
        self._set_timer(LINGER_SECONDS, self.transport.abort)

    def _send(self, problem: Problem) -> None:
        headers = {
            name.decode("latin-1").lower(): value.decode("latin-1") for name, value in self.headers
        }
        path = self.url.partition(b"?")[0].decode("latin-1")
        seconds = time.monotonic() - self._head_began if self._head_began else 0.0
        answer = self._front.refuser.refuse(problem, path, headers, seconds)
        lines = [*self.server_state.default_headers, *answer.headers]
        head = f"HTTP/1.1 {answer.status} {HTTPStatus(answer.status).phrase}\r\n".encode()
        content = b"".join(name + b": " + value + b"\r\n" for name, value in lines)
        self.transport.write(head + content + b"\r\n" + answer.body)

    def _set_timer(self, seconds: float, function: Callable[[], None] | None) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer = self.loop.call_later(seconds, function) if function else None


def _framing_problem() -> Problem:
    return Problem(
        400,
        "the body comes in chunks that are too small, or that carry too much beside it; "
        "send chunks of at least 1 KB without extensions, or state a Content-Length",
    )

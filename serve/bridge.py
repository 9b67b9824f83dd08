"""Runs a WSGI application in threads, under an ASGI server.

The answer is sent while the application makes it. If the client goes away, the application's
iterable is closed. A client that reads slowly holds up its own thread only.
"""

from __future__ import annotations

import asyncio
import threading
from collections import deque
from collections.abc import Awaitable, Callable, Iterable
from queue import SimpleQueue
from typing import Any, cast

from serve.logs import log
from serve.refusals import RawHeaders

MAX_PENDING_BYTES = 1_000_000
"""A thread waits while this much of its answer is not sent yet."""

Environ = dict[str, Any]
Receive = Callable[[], Awaitable[dict[str, Any]]]
Send = Callable[[dict[str, Any]], Awaitable[None]]
WsgiApp = Callable[[Environ, Callable[..., Any]], Iterable[bytes]]


IS_GONE = "msr.is_gone"
"""Key in the environment of a request: a function that tells whether its client has gone away."""


class ClientGone(Exception):
    """The client has closed the connection, or it no longer reads."""


class AnswerCut(Exception):
    """An answer that has begun cannot be finished. The connection ends before its end."""


class Answer:
    """What the application's thread hands to the event loop, in order.

    Parameters
    ----------
    loop : asyncio.AbstractEventLoop
    on_end : callable
        Called in the event loop once the thread has ended its work.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop, on_end: Callable[[], None]) -> None:
        self._loop = loop
        self._on_end = on_end
        self._changed = threading.Condition()
        self._pieces: deque[bytes] = deque()
        self.pending = 0
        self.is_abandoned = False
        self._ready = asyncio.Event()
        self.status = 0
        self.headers: RawHeaders = []
        self.ended = False
        self.failed = False

    # In the application's thread:

    def start(
        self, status: str, headers: list[tuple[str, str]], exc_info: Any = None
    ) -> Callable[[bytes], None]:
        """WSGI's ``start_response``."""
        self.status = int(status.split(" ", 1)[0])
        self.headers = [
            # A letter that a header cannot hold becomes "?". An answer must not fail because of it.
            (name.encode("latin-1"), value.encode("latin-1", "replace"))
            for name, value in headers
            if name.lower() != "date"  # The server sends it with every answer.
        ]
        return self.put

    def put(self, piece: bytes) -> None:
        """Pass on a piece of the answer; wait while too much is pending.

        Raises
        ------
        ClientGone
        """
        with self._changed:
            self._changed.wait_for(lambda: self.is_abandoned or self.pending < MAX_PENDING_BYTES)
            if self.is_abandoned:
                raise ClientGone
            self._pieces.append(piece)
            self.pending += len(piece)
        self._notify()

    def end(self, failed: bool = False) -> None:
        """Nothing follows."""
        self.failed = failed
        self.ended = True
        self._notify()
        self._call_in_loop(self._on_end)

    def _notify(self) -> None:
        self._call_in_loop(self._ready.set)

    def _call_in_loop(self, function: Callable[[], None]) -> None:
        try:
            self._loop.call_soon_threadsafe(function)
        except RuntimeError:  # The loop has ended with the service.
            self.abandon()

    # In the event loop:

    async def take(self) -> bytes:
        """Wait for the next bytes; empty at the end."""
        await self._ready.wait()
        with self._changed:
            pieces = b"".join(self._pieces)
            self._pieces.clear()
            self.pending = 0
            # Not before the last piece was taken: the thread may still end.
            if not self.ended:
                self._ready.clear()
            self._changed.notify_all()
        return pieces

    def abandon(self) -> None:
        """Tell the thread that nobody reads any more."""
        with self._changed:
            self.is_abandoned = True
            self._changed.notify_all()


class WsgiBridge:
    """A WSGI application and its threads.

    The threads are daemons: once the time to stop is over, the process ends whatever they do.

    Parameters
    ----------
    app : WSGI application
    threads : int > 0
    """

    def __init__(self, app: WsgiApp, threads: int) -> None:
        self._app = app
        self._jobs: SimpleQueue[tuple[Environ, Answer]] = SimpleQueue()
        self._lock = threading.Lock()
        self.running = 0
        for number in range(threads):
            threading.Thread(target=self._work, name=f"wsgi-{number}", daemon=True).start()

    async def run(
        self, environ: Environ, receive: Receive, send: Send, on_end: Callable[[], None]
    ) -> bool:
        """Answer a request in one of the threads.

        Parameters
        ----------
        environ : dict
            With the whole body as ``wsgi.input``.
        receive, send : callable
            ASGI's. The body must have been received.
        on_end : callable
            Called in the event loop once the application no longer uses `environ`. That may be
            after this call has returned, because the client has gone away.

        Returns
        -------
        bool
            False if the application failed before it began its answer. Nothing is sent then.
        """
        answer = Answer(asyncio.get_running_loop(), on_end)
        environ[IS_GONE] = lambda: answer.is_abandoned
        self._jobs.put((environ, answer))
        sending = asyncio.ensure_future(
            _send(answer, send, buffered=environ["SERVER_PROTOCOL"] == "HTTP/1.0")
        )
        leaving = asyncio.ensure_future(_wait_until_gone(receive))
        try:
            await asyncio.wait({sending, leaving}, return_when=asyncio.FIRST_COMPLETED)
            return sending.result() if sending.done() else True
        finally:
            answer.abandon()
            for task in (sending, leaving):
                task.cancel()

    async def run_here(self, environ: Environ, send: Send) -> None:
        """Answer a request in the event loop: quick ones that must not wait for a thread."""
        answer = Answer(asyncio.get_running_loop(), lambda: None)
        pieces = self._app(environ, answer.start)
        try:
            data = b"".join(pieces)
        finally:
            cast(Any, getattr(pieces, "close", lambda: None))()
        await send(
            {"type": "http.response.start", "status": answer.status, "headers": answer.headers}
        )
        await send({"type": "http.response.body", "body": data, "more_body": False})

    def _work(self) -> None:
        while True:
            job = self._jobs.get()
            with self._lock:
                self.running += 1
            _call(self._app, *job)
            del job  # Nothing of a request is kept while the thread waits.
            with self._lock:
                self.running -= 1


def _call(app: WsgiApp, environ: Environ, answer: Answer) -> None:
    """Call the application and pass on what it gives."""
    failed = False
    pieces: Iterable[bytes] = ()
    try:
        if answer.is_abandoned:
            raise ClientGone
        pieces = app(environ, answer.start)
        for piece in pieces:
            answer.put(piece)
    except ClientGone:
        pass
    except AnswerCut:
        failed = True
    except Exception:
        failed = True
        log.exception("the application failed outside of its error handlers")
    finally:
        try:
            cast(Any, getattr(pieces, "close", lambda: None))()
        except Exception:
            log.exception("an answer could not be closed")
        answer.end(failed)


async def _send(answer: Answer, send: Send, buffered: bool) -> bool:
    """Send an answer; with ``buffered=True`` in one piece, with its length."""
    data = await answer.take()
    while buffered and not answer.ended:
        data += await answer.take()
    if answer.failed and not data:
        return False
    headers = answer.headers
    if buffered and not any(name.lower() == b"content-length" for name, _ in headers):
        headers = [*headers, (b"content-length", str(len(data)).encode())]
    await send({"type": "http.response.start", "status": answer.status, "headers": headers})
    while True:
        last = answer.ended and not answer.pending
        if last and answer.failed:
            return True  # Without its end, the client sees that the answer is not whole.
        await send({"type": "http.response.body", "body": data, "more_body": not last})
        if last:
            return True
        data = await answer.take()


async def _wait_until_gone(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass

"""The HTTP server: uvicorn with the limits of `serve.connections`, and a clean stop."""

from __future__ import annotations

import ctypes
import signal
import socket
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from types import FrameType
from typing import Any, cast

import uvicorn
from apiflask import APIFlask
from uvicorn.server import HANDLED_SIGNALS

from serve.config import ServiceConfig
from serve.connections import Connection, Connections
from serve.front import Front
from serve.proxies import TrustedProxies
from serve.service import service_of

if sys.platform != "win32":
    import resource

M_ARENA_MAX = -8
"""Number of mallopt's parameter in glibc's malloc.h."""

MAX_HEAPS = 2

FILES_PER_CONNECTION = 2
"""Its socket, and the temporary file of its body."""

OTHER_FILES = 128
"""Open files that have nothing to do with connections."""

SWITCH_SECONDS = 0.001
"""After this time a thread must let another run. The event loop waits so long for each thread."""

BACKLOG = 512
"""Connections that the system keeps until they are accepted."""


class Server(uvicorn.Server):
    """uvicorn's server on a socket that already listens.

    Parameters
    ----------
    config : uvicorn.Config
    listener : socket.socket
    front : Front
    """

    def __init__(self, config: uvicorn.Config, listener: socket.socket, front: Front) -> None:
        super().__init__(config)
        self._listener, self._front = listener, front
        self.port: int = listener.getsockname()[1]

    def start(self) -> None:
        """Answer requests until SIGTERM or SIGINT, then finish the running requests."""
        sys.setswitchinterval(SWITCH_SECONDS)
        self.run(sockets=[self._listener])

    @property
    def is_busy(self) -> bool:
        """True while a thread works on a request, even if its client was told not to wait."""
        return self._front.is_busy

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """On the first signal, stop cleanly. A second one ends the process at once.

        uvicorn would send itself the signal again in the end, and the exit code would say so.
        """

        def stop(number: int, frame: FrameType | None) -> None:
            self._front.service.stopping.set()
            self.should_exit = True
            for each in HANDLED_SIGNALS:
                signal.signal(each, signal.SIG_DFL)

        for each in HANDLED_SIGNALS:
            signal.signal(each, stop)
        yield

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Stop listening and finish the running requests."""
        self._front.stop()
        await super().shutdown(sockets)


def make_server(app: APIFlask, config: ServiceConfig, host: str, port: int) -> Server:
    """Listen for requests; `Server.start` answers them.

    Parameters
    ----------
    app : APIFlask
        Result of `serve.app.create_app`.
    config : ServiceConfig
    host : str
        Host name or address to listen on.
    port : int
        0 for any free port; ``port`` of the result is the port.

    Raises
    ------
    OSError
        If the service cannot listen there, for instance because the port is in use.
    """
    # Python chooses the folder of temporary files at first use. It would choose another one, even
    # the working folder, if the usual one were full by then.
    with suppress(FileNotFoundError):
        tempfile.gettempdir()
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.create_server((host, port), family=family, backlog=BACKLOG)
    connections = Connections(
        allowed_connections(config.max_connections),
        config.max_connections_per_client,
        TrustedProxies(config.trusted_proxy),
    )
    front = Front(app, service_of(app), host, connections)
    server_config = uvicorn.Config(
        cast(Any, front),
        http=Connection,
        ws="none",
        loop="asyncio",
        lifespan="off",
        interface="asgi3",
        log_config=None,  # the log of `serve.logs`
        log_level="error",
        access_log=False,
        proxy_headers=False,
        server_header=False,
        backlog=BACKLOG,
        timeout_graceful_shutdown=cast(int, config.stop_seconds),  # It may be a fraction.
    )
    return Server(server_config, listener, front)


def allowed_connections(wanted: int) -> int:
    """So many of the wanted connections can be had with the files that the process may open.

    The limit on open files is raised as far as that needs and the system allows.
    """
    if sys.platform == "win32":
        return wanted
    needed = wanted * FILES_PER_CONNECTION + OTHER_FILES
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != resource.RLIM_INFINITY and soft < needed:
        soft_new = needed if hard == resource.RLIM_INFINITY else min(needed, hard)
        with suppress(OSError, ValueError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (soft_new, hard))
            soft = soft_new
    if soft == resource.RLIM_INFINITY:
        return wanted
    return max(min(wanted, (soft - OTHER_FILES) // FILES_PER_CONNECTION), 8)


def share_heaps() -> None:
    """Let all threads share two of glibc's heaps.

    By default each thread has a heap of its own, which keeps the memory of its largest file.
    Memory grows up to threads times the largest file (mallopt(3), M_ARENA_MAX).
    """
    if sys.platform == "linux":
        mallopt = getattr(ctypes.CDLL(None), "mallopt", None)  # musl does not have it
        if mallopt is not None:
            mallopt(M_ARENA_MAX, MAX_HEAPS)

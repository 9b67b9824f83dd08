"""A worker: a process that does one task at a time, until the front ends or kills it."""

from __future__ import annotations

import io
import os
import signal
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from multiprocessing import reduction
from multiprocessing.connection import Connection
from pathlib import Path
from typing import BinaryIO

from msr_utils.audio.source import FilePart
from msr_utils.inference.model import Model
from serve.bundles import load_models
from serve.tasks import READY, UPLOAD_NAME, Answer, Order
from serve.work import perform

ADDRESS_SPACE_BYTES = 1_000_000_000
"""What a task may add to the addresses of a worker. It is the last resort: the front watches what
a worker really holds, but only a few times a second."""

CPU_SECONDS_MORE = 30
"""A worker ends by itself this long after the limit of work, if nobody is left to kill it."""


def serve_tasks(connection: Connection, models: Mapping[str, Model], max_seconds: float) -> None:
    """Do tasks until the connection ends.

    Parameters
    ----------
    connection : Connection
        Gives an `Order` at a time, and takes answers.
    models : mapping of str to Model
    max_seconds : float > 0
        Longest work of a task in s.
    """
    with suppress(EOFError, OSError):
        connection.send_bytes(Answer(READY, {}).encode())
        while True:
            order: Order = connection.recv()
            with _opened(order, connection) as file:
                _limit_cpu(max_seconds)
                for answer in perform(order.task, file, models):
                    connection.send_bytes(answer.encode())


@contextmanager
def _opened(order: Order, connection: Connection) -> Iterator[BinaryIO]:
    """The upload of an order as a file."""
    if order.part is None:
        part = FilePart(io.BytesIO(order.content), 0, len(order.content), UPLOAD_NAME)
        yield part  # type: ignore[misc]  # a raw file is as good
        return
    handle = reduction.recv_handle(connection)
    if sys.platform == "win32":
        import msvcrt

        handle = msvcrt.open_osfhandle(handle, os.O_RDONLY)
    with open(handle, "rb") as file:
        yield FilePart(file, *order.part, UPLOAD_NAME)  # type: ignore[misc]


def limit_process() -> None:
    """Leave signals to the front, and limit the memory of this process."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)
    with suppress(ImportError):
        import resource  # not on Windows

        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        statm = Path("/proc/self/statm")
        if statm.is_file():  # macOS neither tells the addresses nor enforces the limit
            there = int(statm.read_text().split()[0]) * resource.getpagesize()
            most = there + ADDRESS_SPACE_BYTES
            resource.setrlimit(resource.RLIMIT_AS, (most, most))


def _limit_cpu(max_seconds: float) -> None:
    """Let the system end this process if it works for much longer than a task may."""
    with suppress(ImportError):
        import resource

        usage = resource.getrusage(resource.RUSAGE_SELF)
        most = int(usage.ru_utime + usage.ru_stime + max_seconds + CPU_SECONDS_MORE)
        _, hard = resource.getrlimit(resource.RLIMIT_CPU)
        resource.setrlimit(resource.RLIMIT_CPU, (most, hard))


def run_spawned(connection: Connection, models_dir: Path, max_seconds: float, first: bool) -> None:
    """Run a worker that loads the models itself, where processes cannot be forked (Windows).

    Parameters
    ----------
    connection : Connection
    models_dir : Path
    max_seconds : float > 0
        Longest work of a task in s.
    first : bool
        Tell the front which models there are, or what kept them from loading.
    """
    limit_process()
    with open(os.devnull, "r+b") as devnull:
        for descriptor in (1, 2):
            os.dup2(devnull.fileno(), descriptor)
    try:
        models, loaded = load_models(models_dir)
    except Exception as error:
        if first:
            connection.send(error)
        return
    if first:
        connection.send(loaded)
    serve_tasks(connection, models, max_seconds)

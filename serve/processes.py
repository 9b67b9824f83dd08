"""Processes of workers, as the front sees them: how they start, what they use, how they end."""

from __future__ import annotations

import multiprocessing
import os
import sys
from contextlib import suppress
from dataclasses import dataclass, field
from multiprocessing import reduction
from multiprocessing.connection import Connection, Pipe
from multiprocessing.process import BaseProcess
from pathlib import Path
from threading import Lock
from typing import Any, BinaryIO, Protocol

import psutil

from serve.launch import Launched, launch
from serve.logs import log
from serve.tasks import Loaded, Order

LOW_PRIORITY = 10
"""Added to the niceness of a worker that has a long task. A short task beside it then gets ten
times its share of a core; a long task still goes on when short ones never end."""

MAX_OUTPUT_BYTES = 2_000
"""So much of what decoders print during a task is logged; the rest is dropped and counted."""

READ_BYTES = 65_536


@dataclass(eq=False)
class Worker:
    """A process that does one task at a time.

    Parameters
    ----------
    pid : int
    connection : Connection
    output : int, optional
        Descriptor that gives what the process prints.
    shared_bytes : int
        Memory that it shares with the process that forked it.
    """

    pid: int
    connection: Connection
    output: int | None = None
    shared_bytes: int = 0
    n_tasks: int = 0
    is_ready: bool = False
    is_low: bool = False
    printed: bytes = b""
    n_dropped: int = 0
    sending: Lock = field(default_factory=Lock)

    def __post_init__(self) -> None:
        self._process: psutil.Process | None = None
        with suppress(psutil.Error):
            self._process = psutil.Process(self.pid)

    def cpu_seconds(self) -> float:
        """Seconds of a core that the process has used."""
        if self._process is not None:
            with suppress(psutil.Error):
                times = self._process.cpu_times()
                return float(times.user + times.system)
        return 0.0

    def memory_bytes(self) -> int:
        """Memory of its own that is in RAM: at least so much."""
        return max(resident_bytes(self._process) - self.shared_bytes, 0)

    def lower_priority(self) -> None:
        """Let other workers go first, from now on: the system lets nobody undo it."""
        self.is_low = True
        if self._process is not None:
            windows = sys.platform == "win32"
            with suppress(psutil.Error):
                lower = (
                    psutil.IDLE_PRIORITY_CLASS if windows else self._process.nice() + LOW_PRIORITY
                )
                self._process.nice(lower)

    def send(self, order: Order, file: BinaryIO | None) -> None:
        """Send a task, and the descriptor of its file if it is a part of one.

        Raises
        ------
        OSError
            If the worker is dead.
        """
        with self.sending:
            self.connection.send(order)
            if order.part is not None:
                assert file is not None, "a part is a part of a file"
                handle = file.fileno()
                if sys.platform == "win32":
                    import msvcrt

                    handle = msvcrt.get_osfhandle(handle)
                reduction.send_handle(self.connection, handle, self.pid)

    def kill(self) -> None:
        """End the process at once. Until it is reaped, no other process gets its number."""
        if self._process is not None:
            with suppress(psutil.Error):
                self._process.kill()

    def read_output(self) -> bool:
        """Read what the process printed; False once it prints no more."""
        if self.output is None:
            return False
        try:
            data = os.read(self.output, READ_BYTES)
        except BlockingIOError:
            return True
        room = max(MAX_OUTPUT_BYTES - len(self.printed), 0)
        self.printed += data[:room]
        self.n_dropped += len(data[room:])
        if not data:
            os.close(self.output)
            self.output = None
        return bool(data)

    def log_output(self) -> int:
        """Log what was printed since the last call; give the number of bytes left out."""
        self.read_output()
        printed, dropped = self.printed, self.n_dropped
        self.printed, self.n_dropped = b"", 0
        if printed:
            text = printed.decode("utf-8", "replace")
            fields = {"worker": self.pid, "output": text, "dropped_bytes": dropped}
            log.info("a worker printed", extra={"fields": fields})
        return dropped

    def close(self) -> None:
        """Close the connection. A request may be sending on it."""
        with self.sending:
            self.connection.close()
        if self.output is not None:
            os.close(self.output)
            self.output = None


def resident_bytes(process: psutil.Process | None) -> int:
    """Memory of a process that is in RAM, shared memory included; 0 if it has ended."""
    if process is not None:
        with suppress(psutil.Error):
            return int(process.memory_info().rss)
    return 0


class Starter(Protocol):
    """Starts workers."""

    def load(self) -> Loaded:
        """Wait until the models are loaded; raise the error that kept them from loading."""

    def start(self) -> Worker | None:
        """Start a worker; None if it is not possible now."""

    def reap(self, worker: Worker) -> str:
        """Forget a worker that was killed or died; tell how it ended."""

    @property
    def connection(self) -> Connection | None:
        """Connection that ends if no worker can be started any more."""

    def close(self) -> None:
        """End all that this object started."""


class ForkStarter:
    """Starts workers through a process that has loaded the models, see `serve.fork_server`.

    Parameters
    ----------
    models_dir : Path
    max_seconds : float > 0
        Longest work of a task in s.
    launched : Launched, optional
        The process, if it was started earlier.
    """

    def __init__(
        self, models_dir: Path, max_seconds: float, launched: Launched | None = None
    ) -> None:
        launched = launched or launch()
        assert launched is not None, "processes can be forked here"
        self._launched, self.connection = launched, launched.connection
        with suppress(OSError):  # If it is dead, `load` says so.
            self.connection.send((models_dir, max_seconds))

    def load(self) -> Loaded:
        """Wait until the models are loaded."""
        loaded = _loaded(self.connection)
        self._shared_bytes = resident_bytes(psutil.Process(self._launched.process.pid))
        return loaded

    def start(self) -> Worker | None:
        """Fork a worker."""
        ours, theirs = Pipe()
        output, their_output = os.pipe()
        os.set_blocking(output, False)
        try:
            self.connection.send(("fork", 0))
            for descriptor in (theirs.fileno(), their_output):
                reduction.send_handle(self.connection, descriptor, self._launched.process.pid)
            pid: int = self.connection.recv()
        except (EOFError, OSError):
            pid = 0
        finally:
            theirs.close()
            os.close(their_output)
        if pid:
            return Worker(pid, ours, output, self._shared_bytes)
        ours.close()
        os.close(output)
        return None

    def reap(self, worker: Worker) -> str:
        """Forget a worker; tell how it ended."""
        try:
            self.connection.send(("reap", worker.pid))
            code = os.waitstatus_to_exitcode(self.connection.recv())
        except (EOFError, OSError):
            return "with the process that forked it"
        return f"by signal {-code}" if code < 0 else f"with exit code {code}"

    def close(self) -> None:
        """End the process and all of its workers."""
        self._launched.close()


class SpawnStarter:
    """Starts workers that load the models themselves, where processes cannot be forked.

    Parameters
    ----------
    models_dir : Path
    max_seconds : float > 0
        Longest work of a task in s.
    """

    connection = None

    def __init__(self, models_dir: Path, max_seconds: float) -> None:
        self._context = multiprocessing.get_context("spawn")
        self._arguments = models_dir, max_seconds
        self._processes: dict[int, BaseProcess] = {}
        self._first: Worker | None = self._spawn(first=True)

    def load(self) -> Loaded:
        """Wait until the first worker has loaded the models."""
        assert self._first is not None, "it is called before the first start"
        loaded = _loaded(self._first.connection)
        # No memory is shared, but this is what a worker has before its first task.
        self._shared_bytes = self._first.memory_bytes()
        return loaded

    def start(self) -> Worker:
        """Spawn a worker; the first one was spawned already."""
        worker, self._first = self._first or self._spawn(first=False), None
        worker.shared_bytes = self._shared_bytes
        return worker

    def _spawn(self, first: bool) -> Worker:
        ours, theirs = self._context.Pipe()
        process = self._context.Process(
            target=_run_spawned, args=(theirs, *self._arguments, first), daemon=True
        )
        process.start()
        theirs.close()
        assert process.pid is not None, "it was started"
        self._processes[process.pid] = process
        return Worker(process.pid, ours)

    def reap(self, worker: Worker) -> str:
        """Forget a worker; tell how it ended."""
        process = self._processes.pop(worker.pid)
        process.join()
        return f"with exit code {process.exitcode}"

    def close(self) -> None:
        """End all workers."""
        for process in self._processes.values():
            process.kill()
            process.join()


def _run_spawned(*arguments: Any) -> None:
    from serve.worker import run_spawned  # not in the front: it takes memory and time

    run_spawned(*arguments)


def _loaded(connection: Connection) -> Loaded:
    try:
        answer: Loaded | Exception = connection.recv()
    except (EOFError, OSError):
        raise RuntimeError("the process that loads the models ended; see above") from None
    if isinstance(answer, Exception):
        raise answer
    return answer


def make_starter(models_dir: Path, max_seconds: float, launched: Launched | None = None) -> Starter:
    """Choose how workers start on this system, and begin to load the models."""
    if hasattr(os, "fork"):
        return ForkStarter(models_dir, max_seconds, launched)
    return SpawnStarter(models_dir, max_seconds)

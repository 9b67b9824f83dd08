"""The process that loads the models once and forks the workers.

A worker is then there in milliseconds, and all workers share the memory of the models. This process
runs one thread only. It ends with the front, however the front ends, and takes the workers along.
"""

from __future__ import annotations

import gc
import os
import signal
import sys
from contextlib import suppress
from multiprocessing import reduction
from multiprocessing.connection import Connection

from msr_utils.inference.model import Model
from serve.bundles import load_models
from serve.worker import limit_process, serve_tasks

FFMPEG, COMPOSE = "msr_utils.audio.ffmpeg", "serve.compose.work"
"""They take a while to load, and most requests do not need them. The service is ready without."""

IDLE_SECONDS = 0.3

FORK, REAP = "fork", "reap"
"""Commands. A fork is followed by two descriptors: the worker's connection, and its output."""


def main(descriptor: int) -> None:
    """Load the models, then fork a worker at each command.

    Parameters
    ----------
    descriptor : int
        Of the connection with the front. It gives the folder of the models and the longest work
        of a task in s. The first thing sent is a `serve.tasks.Loaded`, or the error that kept the
        models from loading.
    """
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)  # the front decides when to end
    control = Connection(descriptor)
    with suppress(EOFError, OSError):
        models_dir, max_seconds = control.recv()
        try:
            models, loaded = load_models(models_dir)
        except Exception as error:  # for the front to raise
            control.send(error)
            return
        control.send(loaded)
        _serve(control, models, max_seconds)


def _serve(control: Connection, models: dict[str, Model], max_seconds: float) -> None:
    """Fork and reap at each command, until the front ends."""
    gc.collect()
    gc.freeze()  # Collections would write to all objects, and so copy their pages.
    children: set[int] = set()
    try:
        while True:
            if COMPOSE not in sys.modules and not control.poll(IDLE_SECONDS):
                # Otherwise each worker would load it for itself.
                if FFMPEG not in sys.modules:
                    import msr_utils.audio.ffmpeg  # noqa: F401
                else:
                    import serve.compose.work  # noqa: F401

                gc.freeze()
                continue
            command, pid = control.recv()
            if command == FORK:
                pid = _fork(control, models, max_seconds)
                control.send(pid)
                if pid:
                    children.add(pid)
            else:
                children.discard(pid)
                control.send(os.waitpid(pid, 0)[1])
    finally:
        for pid in children:
            with suppress(OSError):
                os.kill(pid, signal.SIGKILL)
                os.waitpid(pid, 0)


def _fork(control: Connection, models: dict[str, Model], max_seconds: float) -> int:
    """Fork a worker; give its process id, or 0 if the system has no room for it."""
    connection, output = (reduction.recv_handle(control) for _ in range(2))
    try:
        pid = os.fork()
    except OSError:
        pid = -1
    if pid:
        os.close(connection)
        os.close(output)
        return max(pid, 0)
    status = 1
    try:
        control.close()
        for descriptor in (1, 2):
            os.dup2(output, descriptor)
        os.close(output)
        limit_process()
        serve_tasks(Connection(connection), models, max_seconds)
        status = 0
    except BaseException:
        sys.excepthook(*sys.exc_info())
    finally:
        os._exit(status)

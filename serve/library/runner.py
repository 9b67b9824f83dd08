"""Where questions about the library are answered: in processes of their own.

The front loads neither the library nor what it needs. A process starts with the first question, so
the service is ready as fast as without a library. Unlike the workers of `serve.pool`, these
processes read only the index, never a file that a client sent, and keep it open from one question
to the next.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from contextlib import suppress
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Protocol

from msr_utils import paths
from msr_utils.audio.source import TimeLimitExceeded
from msr_utils.library.places import FILE
from serve.config import ConfigError, ServiceConfig
from serve.lanes import busy
from serve.library.messages import STORE_VARIABLE, read_message, write_message
from serve.logs import log
from serve.request_errors import RETRY_AFTER_S, Unavailable
from serve.tasks import ERROR, Answer

MAX_PROCESSES = 2
"""Most processes. The second one starts when a question comes while the first one works."""

WRITING = ("prefer", "forget")
"""Questions that change something. They are asked once only."""

PACKAGES = ("mutagen", "sqlalchemy")
"""What the extra ``library`` brings."""

STORE_PACKAGE = "psycopg"
"""What a library in a database needs as well."""


class QueryRunner(Protocol):
    """Answers questions about a library."""

    def ask(self, kind: str, options: dict[str, Any]) -> Answer:
        """Answer a question.

        Parameters
        ----------
        kind : str
            A key of `serve.library.queries.QUERIES`.
        options : dict
            JSON values, which the route has checked.

        Returns
        -------
        Answer
            `Answer.fields` has the content type, `Answer.data` the content.

        Raises
        ------
        RequestError
            If the question cannot be answered.
        Unavailable
            If there is no place, or the process died.
        TimeLimitExceeded
            If the answer takes too long.
        """

    def close(self) -> None:
        """End all processes."""


def open_runner(config: ServiceConfig) -> QueryRunner | None:
    """What answers questions about the library of the settings; None if there is none.

    Raises
    ------
    ConfigError
        If a package is missing, or the folder is no library.
    """
    if config.library is None and config.library_store is None:
        return None
    needed = (*PACKAGES, STORE_PACKAGE) if config.library_store else PACKAGES
    missing = [name for name in needed if find_spec(name) is None]
    if missing:
        raise ConfigError(
            "library",
            f"needs the package {', '.join(missing)}; install msr-utils with its extra 'library'",
        )
    if config.library is not None and config.library_store is None:
        _check_library(config.library)
    return ProcessRunner(config) if config.workers else InlineRunner(*_place(config))


def _check_library(folder: Path) -> None:
    """Refuse a folder that is no library, without loading what reads one."""
    if not (folder / FILE).is_file():
        raise ConfigError(
            "library",
            f"{folder} is not a music library, it has no {FILE}; name one with --library or "
            "MSR_LIBRARY, or make one there with 'msr library add FOLDER --library "
            f"{folder}'",
        )


def _place(config: ServiceConfig) -> tuple[Path, str]:
    """Folder of the library, and the URL of its database or empty text."""
    store = config.library_store
    return config.library or paths.LIBRARY, "" if store is None else store.get_secret_value()


class InlineRunner:
    """Answers in the thread of the request, one question after the other: for tests.

    Parameters
    ----------
    folder : Path
    store : str
        URL of a database; empty if all lies in the folder.
    """

    def __init__(self, folder: Path, store: str = "") -> None:
        self._place = folder, store
        self._session: Any = None
        self._lock = threading.Lock()

    def ask(self, kind: str, options: dict[str, Any]) -> Answer:
        """Answer a question; see `QueryRunner.ask`."""
        # They load what the front does without.
        from serve.library.replies import reply
        from serve.library.session import Session

        with self._lock:
            self._session = self._session or Session(*self._place)
            return _checked(reply(self._session, kind, options))

    def close(self) -> None:
        """Close the library."""
        if self._session is not None:
            self._session.close()


class QueryProcess:
    """A process that answers one question at a time. It ends with this one.

    Parameters
    ----------
    folder : Path
    store : str
        URL of a database; empty if all lies in the folder.
    """

    def __init__(self, folder: Path, store: str = "") -> None:
        code = (
            "import json, sys; folder, sys.path[:] = json.loads(sys.argv[1]); "
            "from serve.library.process import main; main(folder)"
        )
        # As in `serve.launch`: the same modules, and none of the working folder.
        path = [os.path.abspath(each) for each in sys.path]
        self._process = subprocess.Popen(
            [sys.executable, "-P", "-c", code, json.dumps([os.path.abspath(folder), path])],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env={**os.environ, STORE_VARIABLE: store},
        )

    @property
    def is_alive(self) -> bool:
        """False once the process has ended."""
        return self._process.poll() is None

    def ask(self, message: bytes, seconds: float) -> Answer:
        """Answer a question.

        Raises
        ------
        TimeLimitExceeded
            If it takes longer. The process is then dead.
        EOFError, OSError, ValueError
            If the process is dead.
        """
        assert self._process.stdin is not None and self._process.stdout is not None, (
            "they are pipes"
        )
        late = threading.Event()

        def end() -> None:
            late.set()
            self._process.kill()

        timer = threading.Timer(seconds, end)
        timer.daemon = True
        timer.start()
        try:
            write_message(self._process.stdin, message)
            return Answer.decode(read_message(self._process.stdout))
        except (EOFError, OSError, ValueError):
            if late.is_set():
                raise TimeLimitExceeded(
                    f"library: not done after {seconds:g} s; ask for less"
                ) from None
            raise
        finally:
            timer.cancel()

    def close(self) -> str:
        """End the process; tell how it ended."""
        self._process.kill()
        code = self._process.wait()
        how = f"by signal {-code}" if code < 0 else f"with exit code {code}"
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe is not None:
                with suppress(OSError):
                    pipe.close()
        return how


class ProcessRunner:
    """Answers in processes, which it starts as they are needed.

    Parameters
    ----------
    config : ServiceConfig
        A library is given.
    """

    def __init__(self, config: ServiceConfig) -> None:
        self._place = _place(config)
        self._config = config
        self._places = threading.Semaphore(MAX_PROCESSES)
        self._lock = threading.Lock()
        self._waiting = 0
        self._idle: list[QueryProcess] = []
        self._all: set[QueryProcess] = set()

    def ask(self, kind: str, options: dict[str, Any]) -> Answer:
        """Answer a question; see `QueryRunner.ask`."""
        message = json.dumps([kind, options]).encode()
        with self._lock:
            if self._waiting >= self._config.max_queue:
                raise busy(f"waiting questions to the library: {self._waiting}")
            self._waiting += 1
        try:
            has_place = self._places.acquire(timeout=self._config.max_wait_seconds)
        finally:
            with self._lock:
                self._waiting -= 1
        if not has_place:
            raise busy("the library has many questions to answer")
        try:
            return _checked(self._answer(message, repeatable=kind not in WRITING))
        finally:
            self._places.release()

    def _answer(self, message: bytes, repeatable: bool) -> Answer:
        process = self._idle_process()
        is_fresh = process is None
        if process is None:
            process = QueryProcess(*self._place)
            with self._lock:
                self._all.add(process)
        try:
            answer = process.ask(message, self._config.max_work_seconds)
        except (EOFError, OSError, ValueError) as error:
            self._bury(process)
            if repeatable and not is_fresh:  # It may have died before it was asked.
                return self._answer(message, repeatable)
            raise Unavailable(
                f"the process that answered this question died; try again in {RETRY_AFTER_S} s"
            ) from error
        except BaseException:
            self._end(process)
            raise
        with self._lock:
            self._idle.append(process)
        return answer

    def _idle_process(self) -> QueryProcess | None:
        """The process that was used last: it has the index in its caches."""
        while True:
            with self._lock:
                process = self._idle.pop() if self._idle else None
            if process is None or process.is_alive:
                return process
            self._bury(process)

    def _bury(self, process: QueryProcess) -> None:
        fields = {"ended": self._end(process)}
        log.error("a process of the library died", extra={"fields": fields})

    def _end(self, process: QueryProcess) -> str:
        with self._lock:
            self._all.discard(process)
        return process.close()

    def close(self) -> None:
        """End all processes. Questions that are being answered fail."""
        with self._lock:
            processes, self._idle = [*self._all], []
        for process in processes:
            self._end(process)


def _checked(answer: Answer) -> Answer:
    if answer.kind == ERROR:
        raise answer.error
    return answer

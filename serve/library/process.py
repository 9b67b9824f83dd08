"""A process that answers questions about the library, until the front closes its input."""

from __future__ import annotations

import json
import os
import signal
import sys
import threading
from contextlib import suppress
from pathlib import Path
from queue import SimpleQueue

from threadpoolctl import threadpool_limits

from serve.library.messages import STORE_VARIABLE, read_message, write_message
from serve.library.replies import reply
from serve.library.session import Session


def main(folder: str) -> None:
    """Answer questions from standard input on standard output.

    Parameters
    ----------
    folder : str
        Of the library. It is opened with the first question.
    """
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)  # the front decides when to end
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)  # Nothing else may be printed between answers.
    threadpool_limits(1)  # The products are small: cores that share one wait for each other.
    session = Session(Path(folder), os.environ.get(STORE_VARIABLE, ""))
    questions: SimpleQueue[bytes] = SimpleQueue()
    threading.Thread(target=_read, args=(questions,), daemon=True).start()
    while True:
        kind, options = json.loads(questions.get())
        message = reply(session, kind, options).encode()
        try:
            write_message(answers, message)
        except OSError:  # The front is gone.
            os._exit(0)


def _read(questions: SimpleQueue[bytes]) -> None:
    """Read questions. When the front is gone, end this process whatever it does."""
    with suppress(EOFError, OSError, ValueError):
        while True:
            questions.put(read_message(sys.stdin.buffer))
    os._exit(0)

"""The log: one JSON object per line, on standard error."""

from __future__ import annotations

import atexit
import json
import logging
import os
import sys
import time
from datetime import UTC, datetime
from logging.handlers import QueueHandler, QueueListener
from queue import Full, Queue

log = logging.getLogger("serve")


class JsonFormatter(logging.Formatter):
    """Write a record and its ``fields`` as one line of JSON."""

    def format(self, record: logging.LogRecord) -> str:
        """Format a record."""
        entry = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname,
            "message": record.getMessage(),
            **getattr(record, "fields", {}),
        }
        if record.exc_info:
            entry["traceback"] = self.formatException(record.exc_info)
        return json.dumps(entry, ensure_ascii=False, default=str)


MAX_WAITING = 10_000
"""Most lines that wait to be written."""

FLUSH_SECONDS = 1.0
"""Longest time to write the last lines when the process ends."""

_stream = logging.StreamHandler()
_waiting: Queue[logging.LogRecord] = Queue(MAX_WAITING)


class _WaitingHandler(QueueHandler):
    """Hand a line to the thread that writes, or drop it if too many wait.

    Nobody may read what the service writes, and then a write never ends. Requests must be
    answered nevertheless.
    """

    dropped = 0

    def enqueue(self, record: logging.LogRecord) -> None:
        try:
            self.queue.put_nowait(record)
        except Full:
            self.dropped += 1
            return
        if self.dropped:
            lines, self.dropped = self.dropped, 0
            log.warning("lines of the log were dropped", extra={"fields": {"lines": lines}})


def configure() -> None:
    """Send the log to standard error."""
    handler = _WaitingHandler(_waiting)
    handler.setFormatter(JsonFormatter())
    logging.basicConfig(level=logging.INFO, handlers=[handler])
    if handler in logging.getLogger().handlers:
        QueueListener(_waiting, _stream).start()
        atexit.register(flush)


def flush() -> None:
    """Wait until all lines are written, but no longer than `FLUSH_SECONDS`."""
    deadline = time.monotonic() + FLUSH_SECONDS
    while not _waiting.empty() and time.monotonic() < deadline:
        time.sleep(0.01)
    time.sleep(0.01)  # The last line has left the queue and may not be written yet.


def reserve_stderr() -> None:
    """Reserve standard error for the log.

    libmpg123 writes a line to it for each damaged frame of an MP3. An upload could fill the disk
    with lines that are not JSON.
    """
    log_stream = os.fdopen(os.dup(2), "w", buffering=1, encoding="utf-8")
    with open(os.devnull, "wb") as devnull:
        os.dup2(devnull.fileno(), 2)
    sys.stderr = log_stream
    _stream.setStream(log_stream)


def log_request(method: str, route: str, status: int, seconds: float, **fields: object) -> None:
    """Log a request: its route but not its path, and no file name."""
    log.info(
        "request",
        extra={
            "fields": {
                "method": method,
                "route": route,
                "status": status,
                "ms": round(1000 * seconds, 1),
                **fields,
            }
        },
    )

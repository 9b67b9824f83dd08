"""The log: one JSON object per line, on standard error."""

from __future__ import annotations

import json
import logging
import os
import sys
from datetime import UTC, datetime

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


def configure() -> None:
    """Send the log to standard error."""
    handler = logging.StreamHandler()
    handler.setFormatter(JsonFormatter())
    logging.basicConfig(level=logging.INFO, handlers=[handler])


def reserve_stderr() -> None:
    """Reserve standard error for the log.

    libmpg123 writes a line to it for each damaged frame of an MP3. An upload could fill the disk
    with lines that are not JSON.
    """
    log_stream = os.fdopen(os.dup(2), "w", buffering=1, encoding="utf-8")
    with open(os.devnull, "wb") as devnull:
        os.dup2(devnull.fileno(), 2)
    sys.stderr = log_stream
    for handler in logging.getLogger().handlers:
        if isinstance(handler, logging.StreamHandler):
            handler.setStream(log_stream)


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

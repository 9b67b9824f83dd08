"""The log: one JSON object a line."""

from __future__ import annotations

import json
import logging
import os
import sys
from datetime import UTC, datetime

log = logging.getLogger("serve")


class JsonFormatter(logging.Formatter):
    """Write a record, and the ``fields`` it was given, as one line of JSON."""

    def format(self, record: logging.LogRecord) -> str:
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
    # Requests that wait for a thread are normal under load, not worth a line each.
    logging.getLogger("waitress.queue").setLevel(logging.ERROR)


def own_stderr() -> None:
    """Keep standard error, from here on, to the log alone.

    libmpg123 writes to it of every damaged frame of an MP3: an upload could fill the disk, with
    lines that are no JSON.
    """
    own = os.fdopen(os.dup(2), "w", buffering=1, encoding="utf-8")
    with open(os.devnull, "wb") as nowhere:
        os.dup2(nowhere.fileno(), 2)
    sys.stderr = own
    for handler in logging.getLogger().handlers:
        handler.setStream(own)


def log_request(method: str, route: str, status: int, seconds: float, **fields: object) -> None:
    """Write the line of a request: its route, not its path, and no name of a file."""
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

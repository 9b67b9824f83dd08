"""The log: one JSON object a line."""

from __future__ import annotations

import json
import logging
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

"""Content types of files that the library writes."""

from __future__ import annotations

CONTENT_TYPES = {
    ".m3u8": "audio/mpegurl; charset=utf-8",
    ".xspf": "application/xspf+xml",
    ".jspf": "application/jspf+json",
    ".csv": "text/csv; charset=utf-8",
    ".txt": "text/plain; charset=utf-8",
    ".edl": "text/plain; charset=utf-8",
}
"""Suffix -> content type."""

OTHER_TYPE = "application/octet-stream"
"""Content type of every other format."""

"""Where a library lies. The service checks it at its start, so nothing else is loaded here."""

from __future__ import annotations

FILE, LOCK = "catalogue.sqlite", "writer.sqlite"
"""Names in a library's folder."""

STORES = "stores"
"""Folder in a library's folder with the copies of shards that lie in databases elsewhere."""

POSTGRESQL = "postgresql+psycopg"
"""How the URL of a store begins."""

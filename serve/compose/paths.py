"""Addresses of composed music, below that of the service."""

from __future__ import annotations

GENERATE = "/v1/generate"

GENERATORS = "/v1/generators"

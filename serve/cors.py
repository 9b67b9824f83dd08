"""Which pages from elsewhere may read the API's answers: by default none (Fetch standard, CORS).

https://fetch.spec.whatwg.org/#http-cors-protocol
"""

from __future__ import annotations

from collections.abc import Collection

PREFLIGHT_S = 3600
"""How long a browser may remember what it was told before it asked."""


def cors_headers(path: str, origin: str | None, allowed: Collection[str]) -> dict[str, str]:
    """Headers by which a browser lets a page read an answer.

    Parameters
    ----------
    path : str
        Of the request; only the API is opened.
    origin : str, optional
        Where the page comes from.
    allowed : collection of str
        Origins, or ``*`` for every one.
    """
    if not allowed or not path.startswith("/v1/"):
        return {}
    vary = {} if "*" in allowed else {"Vary": "Origin"}
    if origin is None or not {"*", origin} & set(allowed):
        return vary
    return vary | {
        "Access-Control-Allow-Origin": "*" if "*" in allowed else origin,
        "Access-Control-Allow-Methods": "GET, POST",
        "Access-Control-Allow-Headers": "Content-Type, X-Request-ID",
        "Access-Control-Expose-Headers": "X-Request-ID, Retry-After",
        "Access-Control-Max-Age": str(PREFLIGHT_S),
    }

"""Cross-origin access to the API (CORS): which pages of other sites may read the answers.

By default none may. See the Fetch standard, https://fetch.spec.whatwg.org/#http-cors-protocol
"""

from __future__ import annotations

from collections.abc import Collection

PREFLIGHT_MAX_AGE_S = 3600
"""How long a browser may cache the answer to a preflight request."""


def cors_headers(path: str, origin: str | None, allowed: Collection[str]) -> dict[str, str]:
    """Headers that let a browser show an answer to a page of another site.

    Parameters
    ----------
    path : str
        Path of the request. Only the API is opened.
    origin : str, optional
        Origin of the page that sent the request.
    allowed : collection of str
        Allowed origins, or ``*`` for all.
    """
    if not allowed or not path.startswith("/v1/"):
        return {}
    vary = {} if "*" in allowed else {"Vary": "Origin"}
    if origin is None or not {"*", origin} & set(allowed):
        return vary
    return vary | {
        "Access-Control-Allow-Origin": "*" if "*" in allowed else origin,
        "Access-Control-Allow-Methods": "GET, POST, DELETE",
        "Access-Control-Allow-Headers": "Content-Type, X-Request-ID, Authorization",
        "Access-Control-Expose-Headers": "X-Request-ID, Retry-After",
        "Access-Control-Max-Age": str(PREFLIGHT_MAX_AGE_S),
    }

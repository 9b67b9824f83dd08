"""Headers of every answer: what a browser may do with it, and how long it may keep it."""

from __future__ import annotations

from serve.library.paths import is_audio

_ALLOWED_FEATURES = {"autoplay": "(self)", "microphone": "(self)"}
"""Features of the browser that the page uses. It plays files and records."""

_REFUSED_FEATURES = (
    "accelerometer",
    "camera",
    "display-capture",
    "encrypted-media",
    "fullscreen",
    "geolocation",
    "gyroscope",
    "hid",
    "magnetometer",
    "midi",
    "payment",
    "picture-in-picture",
    "publickey-credentials-get",
    "screen-wake-lock",
    "serial",
    "usb",
    "xr-spatial-tracking",
)

SECURITY_HEADERS = {
    # blob: is a file on the user's own machine, which the page plays without uploading it.
    "Content-Security-Policy": (
        "default-src 'self'; media-src 'self' blob:; object-src 'none'; base-uri 'none'; "
        "form-action 'self'; frame-ancestors 'none'"
    ),
    "Cross-Origin-Opener-Policy": "same-origin",
    "Permissions-Policy": ", ".join(
        f"{name}={who}"
        for name, who in sorted(
            {**dict.fromkeys(_REFUSED_FEATURES, "()"), **_ALLOWED_FEATURES}.items()
        )
    ),
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}

NO_STORE = "no-store"

_PAGES = ("/", "/docs", "/openapi.json")


def security_headers(cors: bool) -> dict[str, str]:
    """Security headers of an answer.

    Parameters
    ----------
    cors : bool
        True if a page of another site may read the answer.
    """
    resource_policy = "cross-origin" if cors else "same-origin"
    return {**SECURITY_HEADERS, "Cross-Origin-Resource-Policy": resource_policy}


def cache_control(path: str, status: int) -> str:
    """How long an answer may be kept.

    Pages, scripts and audio of the library may be kept, but the browser must ask whether they have
    changed. Nothing else is kept: an answer depends on the upload, and a problem is of this moment.
    """
    if status < 400 and (path in _PAGES or path.startswith("/static/") or is_audio(path)):
        return "no-cache"
    return NO_STORE

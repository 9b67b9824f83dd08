"""Errors of a connection in words that say what to do."""

from __future__ import annotations

import socket
import ssl
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

from msr_utils.corpora.download.sources import DownloadError, Source

STATUS_WORDS = {
    401: "asks for a login",
    403: "refuses access to it",
    404: "does not have it",
    429: "receives too many requests",
    500: "has an internal error",
    502: "is unavailable for now",
    503: "is unavailable for now",
}
"""HTTP status -> what the server does."""


def status_words(code: int) -> str:
    """An HTTP status in words."""
    return f"{STATUS_WORDS.get(code, 'refused')} (HTTP {code})"


def failure_words(error: BaseException, timeout_s: float) -> str:
    """Why no answer came, in words.

    HTTP clients wrap the errors of the system in their own ones. The reason is therefore taken
    from the whole chain of causes, which is the same for all clients.

    Parameters
    ----------
    error : BaseException
    timeout_s : float
        Timeout of the request, for the message.
    """
    chain = list(causes(error))
    texts = [str(cause) for cause in chain]
    tls = next((cause for cause in chain if isinstance(cause, ssl.SSLError)), None)
    if tls is not None:
        return f"has no trusted TLS connection ({tls})"
    if any(isinstance(cause, TimeoutError) or "timed out" in str(cause) for cause in chain):
        return f"did not answer within {timeout_s:g} s"
    if any(type(cause).__name__ == "ProxyError" for cause in chain):
        return "cannot be reached through the proxy"
    if any(isinstance(cause, socket.gaierror) for cause in chain):
        return "is unknown here (no network, or a wrong name)"
    if any(isinstance(cause, ConnectionRefusedError) for cause in chain):
        return "refuses connections"
    reason = next((text for text in reversed(texts) if text), type(error).__name__)
    return f"broke the connection ({reason})"


def causes(error: BaseException | None) -> Iterator[BaseException]:
    """An error and those that caused it, the innermost last."""
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__


def failed(
    url: str, name: str, reason: str, source: Source, path: Path | None = None
) -> DownloadError:
    """Error for a file that cannot be downloaded, with three ways to go on.

    Parameters
    ----------
    url, name : str
        Address and name of the file.
    reason : str
        What its server does, see `status_words` and `failure_words`.
    source : Source
    path : Path, optional
        Where a file downloaded by hand is expected.
    """
    by_hand = f", put it at {path} and run the same command again" if path else ""
    return DownloadError(
        f"{name}: {urlsplit(url).netloc} {reason} ({url}). Try again later; or download it by hand "
        f"from {source.home}{by_hand}; or name another address with --mirror URL",
        file=name,
        field="mirror",
    )

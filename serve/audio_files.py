"""Send audio files of the library in parts, as players ask for them."""

from __future__ import annotations

import os
import stat
from contextlib import suppress
from http import HTTPStatus

from flask import Response, request, send_file

from serve.library.content_types import OTHER_TYPE
from serve.request_errors import RequestError

MAX_RANGE_BYTES = 1_000_000
"""Most bytes of a part. Players ask for the next one; a server may send less than was asked for
(RFC 9110, section 15.3.7). So a slow player does not hold up a thread."""


def send_audio(path: str, kind: str | None, indexed: tuple[int, int]) -> Response:
    """Answer the current request with a file, or with the part that it asks for.

    Parameters
    ----------
    path : str
        True path, from the index.
    kind : str, optional
        Content type. Anything but audio and video is sent as bytes that browsers do not show.
    indexed : tuple of int
        Size in bytes and time of modification in ns, as the index has them.

    Raises
    ------
    RequestError
        If the file is not there any more, or if it has changed.
    """
    descriptor = _open(path, indexed)
    found = os.fstat(descriptor)
    file = os.fdopen(descriptor, "rb")
    _prepare_range(found.st_size)
    playable = kind is not None and kind.startswith(("audio/", "video/"))
    try:
        response = send_file(
            file,
            mimetype=kind if playable and kind is not None else OTHER_TYPE,
            etag=f"{found.st_mtime_ns:x}-{found.st_size:x}",
            last_modified=found.st_mtime,
            conditional=False,  # It would not know the size of an open file.
        )
        response.content_length = found.st_size
        response.make_conditional(
            request.environ, accept_ranges=True, complete_length=found.st_size
        )
    except BaseException:
        file.close()
        raise
    response.call_on_close(file.close)
    return response


def _open(path: str, indexed: tuple[int, int]) -> int:
    """Descriptor of the regular file that was indexed.

    Links are followed. What they lead to now must be what was indexed: otherwise a link that took
    the place of a track would open any file of this machine.
    """
    # Not blocking: a pipe may have taken the place of the file. O_BINARY is for Windows.
    flags = os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)
    reason = "cannot be read any more"
    with suppress(OSError):
        descriptor = os.open(path, flags)
        found = os.fstat(descriptor)
        if stat.S_ISREG(found.st_mode):
            if (found.st_size, found.st_mtime_ns) == indexed:
                return descriptor
            reason = "has changed since it was indexed"
        os.close(descriptor)
    raise RequestError(
        HTTPStatus.NOT_FOUND, "track", f"its file {reason}; call 'msr library rescan'"
    )


def _prepare_range(size: int) -> None:
    """Let the request ask for at most `MAX_RANGE_BYTES`, or for no part.

    What RFC 9110, section 14.2, lets a server ignore is ignored: other units, several parts, and
    what cannot be read. The whole file is the answer then.
    """
    wanted = request.range
    if wanted is None or wanted.units != "bytes" or len(wanted.ranges) != 1:
        request.environ.pop("HTTP_RANGE", None)
        return
    start, stop = wanted.ranges[0]
    if start < 0:  # The last bytes: all of them if the file has fewer.
        start = max(0, size + start)
    last = min(size if stop is None else stop, start + MAX_RANGE_BYTES) - 1
    if start < size:
        request.environ["HTTP_RANGE"] = f"bytes={start}-{last}"

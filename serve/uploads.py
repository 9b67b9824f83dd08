"""Read the body of a request: an audio file, or a chunk of live audio with its state."""

from __future__ import annotations

import io
import os
import shutil
import tempfile
from dataclasses import dataclass
from http import HTTPStatus
from typing import BinaryIO, cast

from flask import current_app, request
from werkzeug.exceptions import RequestEntityTooLarge, UnsupportedMediaType

from serve.multipart import FormError, Part, TooManyParts, parse_form
from serve.problems import storage_error
from serve.request_errors import RequestError, shortened
from serve.tasks import Upload

FORM_OVERHEAD_BYTES = 64 * 1024
"""What a multipart form may add to the size of its file."""

MAX_STATE_BYTES = 2_000_000
"""Longest state of live audio that is read. A real one has .15 to .3 MB."""

SPOOL_BYTES = 1_000_000
"""Where the server gives a stream, a body up to this size is copied to memory, else to a file."""

MISSING = "missing; send the audio in a multipart field named 'file'"


@dataclass(frozen=True)
class Chunk:
    """A chunk of live audio.

    Parameters
    ----------
    samples : bytes
        PCM; empty if the last request has none.
    state : str
        State of the previous answer; empty with the first chunk.
    """

    samples: bytes
    state: str


def read_upload(max_bytes: int) -> Upload:
    """Find the audio file of the current request, in its form or as its raw body.

    Parameters
    ----------
    max_bytes : int
        Largest file accepted.

    Raises
    ------
    RequestError
        If there is no file, more than one, or an empty one.
    RequestEntityTooLarge
        If the file has more than `max_bytes`.
    StorageError
        If there is no room for a temporary file.
    """
    file, size = _body()
    if request.mimetype == "multipart/form-data":
        part = _form_file(_form(file, size))
        upload = Upload(file, part.start, part.end)
    elif size:
        upload = Upload(file, 0, size)
    else:
        raise _wrong("file", f"{MISSING}, or as the raw body")
    if upload.end - upload.start > max_bytes:
        raise RequestEntityTooLarge
    if upload.end == upload.start:
        raise RequestError(HTTPStatus.UNPROCESSABLE_ENTITY, "file", "empty (0 bytes)")
    return upload


def _body() -> tuple[BinaryIO, int]:
    """The body of the current request as a seekable file, and its size.

    The service's own server gives such a file. Others give a stream, which is copied.
    """
    stream = cast(BinaryIO, request.environ["wsgi.input"])
    seekable = getattr(stream, "seekable", None)
    if not (callable(seekable) and seekable()):
        return _copy(cast(BinaryIO, request.stream))
    size = stream.seek(0, io.SEEK_END)
    if not request.environ.get("wsgi.input_terminated"):
        size = min(size, request.content_length or 0)
    if size > current_app.config["MAX_CONTENT_LENGTH"]:
        raise RequestEntityTooLarge
    return stream, size


def _copy(stream: BinaryIO) -> tuple[BinaryIO, int]:
    """Copy a body, which Werkzeug limits to ``MAX_CONTENT_LENGTH``."""
    spool = tempfile.SpooledTemporaryFile(max_size=SPOOL_BYTES)  # noqa: SIM115, it outlives this
    try:
        shutil.copyfileobj(stream, spool)
        spool.flush()
    except (ConnectionError, TimeoutError):
        raise  # The client is gone.
    except OSError as error:
        raise storage_error(error) from error
    return cast(BinaryIO, spool), spool.tell()


def _form(file: BinaryIO, size: int) -> list[Part]:
    """The fields of the form of the current request; none if it has no boundary."""
    boundary = request.mimetype_params.get("boundary", "")
    if not boundary or not size:
        return []
    try:
        return parse_form(file, size, boundary)
    except TooManyParts as error:
        raise RequestError(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, "form", str(error)) from None
    except FormError as error:
        raise _wrong("form", str(error)) from None


def _form_file(parts: list[Part]) -> Part:
    """Find the only file of the form, in its field ``file``."""
    files = [part for part in parts if part.is_file and part.name == "file"]
    if files:
        _refuse_other_fields(parts, "file")
    if len(files) > 1:
        raise _wrong("file", f"send one file per request, not {len(files)}")
    if not files and any(part.name == "file" for part in parts):
        raise _wrong("file", "this is text, not a file; with curl, write -F file=@song.mp3")
    if not files:
        others = shortened(", ".join(dict.fromkeys(repr(part.name) for part in parts)))
        raise _wrong("file", MISSING + (f" (this form has {others})" if others else ""))
    if not files[0].has_file_name:
        raise _wrong("file", "no file was chosen")
    return files[0]


def read_chunk(max_bytes: int, final: bool) -> Chunk:
    """Read the samples and the state from the form of the current request.

    Parameters
    ----------
    max_bytes : int
        Most bytes of samples accepted.
    final : bool
        True if this is the last request. It may come without samples if it has a state.

    Raises
    ------
    UnsupportedMediaType
        If the body is not a form.
    RequestError
        If the field ``chunk`` is not one file of at most `max_bytes`, is empty, or if ``state``
        is not text, is empty or is too long.
    StorageError
        If there is no room for a temporary file.
    """
    if request.mimetype != "multipart/form-data":
        raise UnsupportedMediaType(
            "send multipart/form-data with the PCM samples as the file 'chunk' and, from the "
            "second chunk on, the state of the previous answer as the text 'state'"
        )
    file, size = _body()
    parts = _form(file, size)
    chunks = [part for part in parts if part.name == "chunk"]
    states = [part for part in parts if part.name == "state"]
    for name, found in (("chunk", chunks), ("state", states)):
        if len(found) > 1:
            raise _wrong(name, "send only one per request")
    if any(part.is_file for part in states):
        raise _wrong("state", "this is a file, not text; with curl, write -F 'state=<file'")
    if any(not part.is_file for part in chunks):
        raise _wrong("chunk", "this is text, not a file; with curl, write -F chunk=@samples.raw")
    for name, found, largest, what in (
        ("chunk", chunks, max_bytes, "send shorter chunks"),
        ("state", states, MAX_STATE_BYTES, "send the state of the previous answer as it is"),
    ):
        if found and found[0].end - found[0].start > largest:
            limit = f"larger than the limit of {largest / 1e6:g} MB; {what}"
            raise RequestError(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, name, limit)
    state = _content(file, states[0]).decode("utf-8", "replace").strip() if states else ""
    if states and not state:
        # Taken for no state, the chunk would silently begin a new piece of music.
        raise RequestError(
            HTTPStatus.UNPROCESSABLE_ENTITY,
            "state",
            "empty; send the state of the previous answer, or leave this field out with the "
            "first chunk",
        )
    if not chunks and not (final and state):
        raise _wrong("chunk", "missing; send PCM samples as the multipart file 'chunk'")
    _refuse_other_fields(parts, "chunk", "state")
    samples = _content(file, chunks[0]) if chunks else b""
    if not samples and not final:
        raise RequestError(HTTPStatus.UNPROCESSABLE_ENTITY, "chunk", "empty (0 bytes)")
    return Chunk(samples, state)


def _content(file: BinaryIO, part: Part) -> bytes:
    file.seek(part.start, os.SEEK_SET)
    return file.read(part.end - part.start)


def _refuse_other_fields(parts: list[Part], *known: str) -> None:
    """Refuse a form with another field: it would have no effect, and may be a misplaced option."""
    for part in parts:
        if part.name not in known:
            names = " and ".join(map(repr, known))
            raise _wrong(
                part.name,
                f"this form takes only {names}; put options into the address, as in "
                f"{request.path}?model=NAME",
            )


def _wrong(field: str, message: str) -> RequestError:
    return RequestError(HTTPStatus.BAD_REQUEST, field, message)

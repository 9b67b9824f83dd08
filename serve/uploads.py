"""Read the body of a request: an audio file, or a chunk of live audio with its state."""

from __future__ import annotations

import io
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http import HTTPStatus
from typing import IO, BinaryIO, cast

from flask import request
from werkzeug.datastructures import FileStorage
from werkzeug.exceptions import RequestEntityTooLarge, UnsupportedMediaType

from serve.problems import storage_error
from serve.request_errors import RequestError
from serve.tasks import Upload

SPOOL_BYTES = 1_000_000
"""A raw upload up to this size stays in memory. A larger one goes to an unnamed file."""


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


def read_upload(max_bytes: int) -> FileStorage:
    """Read the audio file of the current request, from its form or from its raw body.

    Parameters
    ----------
    max_bytes : int
        Largest file accepted.

    Returns
    -------
    FileStorage
        Open file at its start. Its name is always ``file``: the client's name is not used.

    Raises
    ------
    RequestError
        If there is no file, more than one, or an empty one.
    RequestEntityTooLarge
        If the file has more than `max_bytes`.
    StorageError
        If there is no room for a temporary file.
    """
    if request.mimetype == "multipart/form-data":
        _parse_form()
        upload = _form_file()
    else:
        spool = tempfile.SpooledTemporaryFile(max_size=SPOOL_BYTES)  # noqa: SIM115, the caller closes
        with _storing():
            shutil.copyfileobj(request.stream, spool)
            spool.flush()
        if not spool.tell():
            raise _wrong(
                "file",
                "missing; send the audio in a multipart field named 'file', or as the raw body",
            )
        upload = FileStorage(cast(IO[bytes], spool), filename="file", name="file")
    size = upload.stream.seek(0, io.SEEK_END)
    upload.stream.seek(0)
    if size > max_bytes:
        raise RequestEntityTooLarge
    if not size:
        raise RequestError(HTTPStatus.UNPROCESSABLE_ENTITY, "file", "empty (0 bytes)")
    return upload


def whole_file(upload: FileStorage) -> Upload:
    """All of an uploaded file, for a worker."""
    file = cast(BinaryIO, upload.stream)
    size = file.seek(0, io.SEEK_END)
    file.seek(0)
    return Upload(file, 0, size)


@contextmanager
def _storing() -> Iterator[None]:
    """Tell the client if a temporary file cannot be written."""
    try:
        yield
    except (ConnectionError, TimeoutError):
        raise  # The client is gone.
    except OSError as error:
        raise storage_error(error) from error


def _parse_form() -> None:
    """Parse the form of the current request. Its larger files go to temporary files."""
    with _storing():
        for file in request.files.values():
            file.stream.flush()


def _form_file() -> FileStorage:
    """Find the only file of the form, in its field ``file``."""
    files = request.files.getlist("file")
    if files:
        _refuse_other_fields("file")
    if len(files) > 1:
        raise _wrong("file", f"send one file per request, not {len(files)}")
    if not files and "file" in request.form:
        raise _wrong("file", "this is text, not a file; with curl, write -F file=@song.mp3")
    if not files:
        others = ", ".join(repr(name) for name in [*request.files, *request.form])
        raise _wrong(
            "file",
            "missing; send the audio in a multipart field named 'file'"
            + (f" (this form has {others})" if others else ""),
        )
    if not files[0].filename:
        raise _wrong("file", "no file was chosen")
    stream = files[0].stream
    # Flask closes the files of a request when it ends, but a streamed answer still reads this one.
    files[0].stream = io.BytesIO()
    return FileStorage(stream, filename="file", name="file")


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
        is not text.
    StorageError
        If there is no room for a temporary file.
    """
    if request.mimetype != "multipart/form-data":
        raise UnsupportedMediaType(
            "send multipart/form-data with the PCM samples as the file 'chunk' and, from the "
            "second chunk on, the state of the previous answer as the text 'state'"
        )
    _parse_form()
    files = request.files.getlist("chunk")
    for name in ("chunk", "state"):
        if len(request.files.getlist(name) + request.form.getlist(name)) > 1:
            raise _wrong(name, "send only one per request")
    if "state" in request.files:
        raise _wrong("state", "this is a file, not text; with curl, write -F 'state=<file'")
    if "chunk" in request.form:
        raise _wrong("chunk", "this is text, not a file; with curl, write -F chunk=@samples.raw")
    state = request.form.get("state", "")
    if not files and not (final and state):
        raise _wrong("chunk", "missing; send PCM samples as the multipart file 'chunk'")
    _refuse_other_fields("chunk", "state")
    samples = files[0].read(max_bytes + 1) if files else b""
    if len(samples) > max_bytes:
        raise RequestError(
            HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
            "chunk",
            f"larger than the limit of {max_bytes / 1e6:g} MB; send shorter chunks",
        )
    if not samples and not final:
        raise RequestError(HTTPStatus.UNPROCESSABLE_ENTITY, "chunk", "empty (0 bytes)")
    return Chunk(samples, state)


def _refuse_other_fields(*known: str) -> None:
    """Refuse a form with another field: it would have no effect, and may be a misplaced option."""
    for name in (*request.files, *request.form):
        if name not in known:
            names = " and ".join(map(repr, known))
            raise _wrong(
                name,
                f"this form takes only {names}; put options into the address, as in "
                f"{request.path}?model=NAME",
            )


def _wrong(field: str, message: str) -> RequestError:
    return RequestError(HTTPStatus.BAD_REQUEST, field, message)

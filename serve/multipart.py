"""Find the parts of a form (multipart/form-data, RFC 7578) in a file, without copying them.

Only the fields' names matter here, so the names of files may be any bytes: the parsers at hand
refuse a form whose file name is not UTF-8 or holds a carriage return.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import BinaryIO

from werkzeug.http import parse_options_header

MAX_PARTS = 1000

MAX_HEADER_BYTES = 32 * 1024
"""Largest header of a part. The name of a file is in it."""

MAX_BOUNDARY_LENGTH = 200

BLOCK_BYTES = 64 * 1024
"""The file is searched in blocks of this size."""

MAX_PADDING = 64
"""White space that may follow a boundary."""

_FILE_NAME = re.compile(r";\s*filename\*?\s*=", re.IGNORECASE)


class FormError(ValueError):
    """Bytes that are not a whole form; the message says what is wrong."""


class TooManyParts(FormError):
    """A form of more than `MAX_PARTS` parts."""


@dataclass(frozen=True)
class Part:
    """A field of a form.

    Parameters
    ----------
    name : str
    is_file : bool
        True if a file name is given, even an empty one.
    has_file_name : bool
        True if the file name is not empty.
    start, end : int
        Position of the content in the file of the body.
    """

    name: str
    is_file: bool
    has_file_name: bool
    start: int
    end: int


def parse_form(file: BinaryIO, size: int, boundary: str) -> list[Part]:
    """Find the parts of a form.

    Parameters
    ----------
    file : binary file
    size : int
        The form is the first bytes of the file, so many.
    boundary : str
        From the content type.

    Raises
    ------
    FormError
        If the form is not whole.
    """
    if not 0 < len(boundary) <= MAX_BOUNDARY_LENGTH:
        raise FormError("its content type names no boundary; let the HTTP library set it")
    delimiter = b"--" + boundary.encode("latin-1", "replace")
    # The end of the form, or white space and the end of the line. Else it is content.
    after = rb"(?:(--)|[ \t]{0,%d}\r\n)" % MAX_PADDING
    first = re.compile(re.escape(delimiter) + after)
    following = re.compile(re.escape(b"\r\n" + delimiter) + after)
    overlap = len(delimiter) + MAX_PADDING + 4
    start = first.match(_read(file, 0, size, overlap))
    match = (start.start(), start.end(), start[1]) if start else None
    match = match or _search(file, following, 0, size, overlap)
    parts: list[Part] = []
    while match is not None:
        _, position, is_end = match
        if is_end:
            return parts
        if len(parts) >= MAX_PARTS:
            raise TooManyParts(f"more than {MAX_PARTS} fields; send only the field that is needed")
        header = _read(file, position, size, MAX_HEADER_BYTES)
        length = 0 if header.startswith(b"\r\n") else header.find(b"\r\n\r\n") + 2
        if length == 1:
            raise FormError("the header of a field does not end")
        begin = position + length + 2
        # An empty content may share the end of its line with the header.
        match = _search(file, following, begin - 2, size, overlap)
        if match is not None:
            parts.append(_part(header[:length], begin, max(begin, match[0])))
    raise FormError("it does not end with its boundary, so a part of it is missing")


def _read(file: BinaryIO, start: int, size: int, n_bytes: int) -> bytes:
    file.seek(start)
    return file.read(min(n_bytes, size - start))


def _search(
    file: BinaryIO, pattern: re.Pattern[bytes], start: int, size: int, overlap: int
) -> tuple[int, int, bytes | None] | None:
    """First match of a pattern of at most `overlap` bytes: its start, its end, its group."""
    while start < size:
        block = _read(file, start, size, BLOCK_BYTES + overlap)
        match = pattern.search(block)
        if match is not None:
            return start + match.start(), start + match.end(), match[1]
        start += BLOCK_BYTES
    return None


def _part(header: bytes, start: int, end: int) -> Part:
    for line in header.split(b"\r\n"):
        key, _, value = line.partition(b":")
        if key.strip().lower() == b"content-disposition":
            break
    else:
        raise FormError("a field has no Content-Disposition, and so no name")
    text = value.decode("latin-1")
    options = parse_options_header(text)[1]
    name = options.get("name", "").encode("latin-1", "replace").decode("utf-8", "replace")
    # Of a name with odd bytes, not even its end may be found.
    unquoted = re.sub(r'"[^"]*"', '""', text)
    is_file = "filename" in options or _FILE_NAME.search(unquoted) is not None
    return Part(name, is_file, is_file and options.get("filename") != "", start, end)

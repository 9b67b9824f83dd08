"""What the HTTP parser refuses, in plain words.

The parser's own texts are those of its source code. The answer says which part of the request is
wrong instead, and what is right there.
"""

from __future__ import annotations

from http import HTTPStatus

import httptools

from serve.problems import Problem

VERSIONS = ("1.0", "1.1")
"""Versions of HTTP that are answered."""

_WORDS = (
    (
        ("Invalid method", "Expected space after method", "Expected SOURCE method"),
        "its first line must begin with a method in capitals, such as GET or POST, and a space; "
        "if the address begins with https, use http",
    ),
    (
        ("Invalid char in url", "Invalid characters in url", "Unexpected start char in url")
        + ("Unexpected char in url", "Double @ in url"),
        "the address in its first line must begin with / or http://, and other characters than "
        "ASCII must be percent-encoded",
    ),
    (
        ("Expected HTTP/", "Invalid word", "Invalid major", "Invalid minor", "Expected dot")
        + ("Expected space after version", "Expected CRLF after version"),
        "its first line must end with a space, HTTP/1.1, a carriage return and a line feed; a "
        "space in the address is written %20",
    ),
    (
        ("Unexpected space after start", "Unexpected whitespace after header"),
        "a header must not begin with white space; write its value in one line",
    ),
    (
        ("Invalid header token", "Invalid header field"),
        "the name of a header, before its colon, has a space or another character that is not "
        "allowed",
    ),
    (
        ("Invalid header value", "Missing expected CR after header", "Missing expected LF after h")
        + ("Expected LF after headers", "Expected LF after CR", "Expected CRLF"),
        "the value of a header has a control character, or the header does not end with a "
        "carriage return and a line feed",
    ),
    (
        ("Transfer-Encoding can't", "Content-Length can't"),
        "it has both of the headers Content-Length and Transfer-Encoding; send only one",
    ),
    (
        ("Duplicate Content-Length",),
        "it has more than one header Content-Length; send only one",
    ),
    (
        ("Invalid character in Content-Length", "Empty Content-Length", "Content-Length overflow"),
        "the header Content-Length must be a whole number of bytes",
    ),
    (
        ("Invalid `Transfer-Encoding`", "Request has invalid `T", "Empty Transfer-Encoding"),
        "the header Transfer-Encoding must be chunked",
    ),
    (
        ("Invalid character in chunk", "Invalid quoted-pair", "Chunk size overflow")
        + ("Missing expected CR after chunk", "Expected LF after chunk"),
        "a chunk of its body must begin with its size in hexadecimal digits, and must have that "
        "many bytes",
    ),
    (
        ("Data after",),
        "another request follows one with the header 'Connection: close'",
    ),
)
"""How the parser's texts begin, and what they mean to a client."""


def parser_problem(error: httptools.HttpParserError) -> Problem:
    """The problem of a request that the parser refuses.

    Parameters
    ----------
    error : httptools.HttpParserError

    Returns
    -------
    Problem
        With status 505 if the version of HTTP is unknown, otherwise with 400.
    """
    if isinstance(error, httptools.HttpParserCallbackError):
        # uvicorn has failed to split the address; the error's text is about this program.
        return _wrong("its address cannot be read")
    reason = str(error)
    if reason.startswith(("Invalid HTTP version", "Pause on PRI", "Expected HTTP/2")):
        return version_problem()
    for beginnings, meaning in _WORDS:
        if reason.startswith(beginnings):
            return _wrong(meaning)
    return _wrong("its first line, a header or its body is not written as HTTP/1.1 says")


def is_known_version(head: bytes | bytearray) -> bool:
    """Whether the first line of a head ends with a version that is answered.

    The parser takes other protocols as well: RTSP/1.0 counts as the version 1.0.

    Parameters
    ----------
    head : bytes
        Empty lines may precede it (RFC 9112, section 2.2).
    """
    line = bytes(head).lstrip(b"\r\n").partition(b"\r\n")[0]
    return line.endswith(tuple(f" HTTP/{version}".encode() for version in VERSIONS))


def version_problem() -> Problem:
    """The problem of a request in a version of HTTP that is not answered."""
    return Problem(
        HTTPStatus.HTTP_VERSION_NOT_SUPPORTED,
        "the first line of the request names another version of HTTP; this service speaks "
        f"HTTP/{' and HTTP/'.join(VERSIONS)}",
    )


def _wrong(meaning: str) -> Problem:
    return Problem(HTTPStatus.BAD_REQUEST, f"not a valid HTTP request: {meaning}")

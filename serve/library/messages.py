"""Messages between the front and the processes of the library: their length, then their bytes."""

from __future__ import annotations

import struct
from typing import IO

from serve.tasks import MAX_ANSWER_BYTES

STORE_VARIABLE = "MSR_LIBRARY_STORE"
"""Tells a process the URL of a database. It may have a password, so it is no argument."""

LENGTH = struct.Struct("<I")


def write_message(pipe: IO[bytes], message: bytes) -> None:
    """Write a message.

    Raises
    ------
    OSError
        If nobody reads any more.
    """
    pipe.write(LENGTH.pack(len(message)) + message)
    pipe.flush()


def read_message(pipe: IO[bytes]) -> bytes:
    """Read a message.

    Raises
    ------
    EOFError
        If there is none: the other side is gone.
    ValueError
        If it is too long.
    """
    head = pipe.read(LENGTH.size)
    if len(head) < LENGTH.size:
        raise EOFError
    (length,) = LENGTH.unpack(head)
    if length > MAX_ANSWER_BYTES:
        raise ValueError(f"a message of {length} bytes")
    message = pipe.read(length)
    if len(message) < length:
        raise EOFError
    return message

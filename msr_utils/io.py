"""Files that are written whole or not at all, hashes, and text that can be printed."""

from __future__ import annotations

import errno
import hashlib
import json
import math
import os
import tempfile
import unicodedata
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import Any

import numpy as np


@contextmanager
def atomic_path(path: Path) -> Iterator[Path]:
    """Give a temporary name beside `path`; rename it to `path` when the block succeeds.

    A link stays: the file that it names is written.

    Raises
    ------
    OSError
        If `path` is there and is not a file, such as a device or a pipe.
    """
    path = Path(os.path.realpath(path))
    if path.exists() and not path.is_file():
        raise OSError(errno.EINVAL, "is not a file", str(path))
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=".tmp-", suffix=path.suffix)
    os.close(handle)
    temporary = Path(name)
    try:
        yield temporary
        # mkstemp makes private files; what we write is meant to be read like any other file.
        umask = os.umask(0)
        os.umask(umask)
        temporary.chmod(0o666 & ~umask)
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def write_text(path: Path, text: str) -> None:
    """Write a text file atomically. Into a device or a pipe, the text is just written."""
    if os.path.exists(path) and not os.path.isdir(path) and not os.path.isfile(path):
        Path(path).write_text(text, encoding="utf-8")
        return
    with atomic_path(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def write_json(path: Path, value: Any) -> None:
    """Write JSON atomically; NaN and infinity become null, see `plain` for the rest."""
    write_text(path, json.dumps(plain(value), indent=2, ensure_ascii=False) + "\n")


def read_json(path: Path) -> Any:
    """Read a JSON file."""
    return json.loads(Path(path).read_text(encoding="utf-8"))


def plain(value: Any) -> Any:
    """Turn dataclasses, numpy values, paths and tuples into what JSON and YAML can hold.

    A dataclass becomes what its ``to_json`` method gives, or its fields by name.
    """
    if is_dataclass(value) and not isinstance(value, type):
        if hasattr(value, "to_json"):
            return plain(value.to_json())
        return {field.name: plain(getattr(value, field.name)) for field in fields(value)}
    if isinstance(value, dict):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    if isinstance(value, np.ndarray):
        return plain(value.tolist())
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if isinstance(value, Path):
        return value.as_posix()
    return value


def sha256_file(path: Path) -> str:
    """SHA-256 of a file's bytes."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def sha256_text(text: str) -> str:
    """SHA-256 of a text."""
    return hashlib.sha256(text.encode("utf-8")).hexdigest()


UNPRINTABLE = ("Cc", "Cs", "Zl", "Zp")
"""Unicode categories that are escaped: control characters, surrogates and line breaks."""


def printable(text: str) -> str:
    r"""Escape what cannot be printed or written as UTF-8.

    Python holds bytes of a file name that are not UTF-8 as surrogates. They become ``\xfc``.
    Control characters become ``\n`` or ``\u001b``.

    Parameters
    ----------
    text : str

    Returns
    -------
    str
    """
    if text.isprintable():
        return text  # most texts
    return "".join(_escaped(c) if unicodedata.category(c) in UNPRINTABLE else c for c in text)


def shown_name(relative: str) -> str:
    r"""Name of a file in tables: relative to the folder, with slashes, and `printable`.

    No two files have the same: a backslash that is part of a name is doubled.
    """
    if os.sep != "/":
        return printable(relative.replace(os.sep, "/"))
    return printable(relative.replace("\\", "\\\\"))


def _escaped(character: str) -> str:
    code = ord(character)
    if 0xDC80 <= code <= 0xDCFF:
        return f"\\x{code - 0xDC00:02x}"
    return {"\n": "\\n", "\r": "\\r", "\t": "\\t"}.get(character, f"\\u{code:04x}")

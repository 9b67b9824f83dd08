"""Sources of audio, the errors that name them, and what a decoder may find wrong in a file."""

from __future__ import annotations

import errno
import io
import os
import shutil
import stat
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, Literal, cast

from msr_utils.constants import SAMPLE_RATE
from msr_utils.io import printable

AudioSource = str | os.PathLike[str] | BinaryIO
"""A path, or a file that is open for reading bytes."""

SPOOL_BYTES = 16_000_000
"""A pipe is copied before it is decoded: to memory up to this size, else to an unnamed file."""

MIN_RATE, MAX_RATE = 4_000, 192_000
"""Sample rates accepted, in Hz."""

MAX_CHANNELS = 64
"""Most channels accepted."""

MAX_LOSSY_PEAK = 16.0
"""Largest sample that a lossy codec gives for music, 24 dB above full scale. Damaged frames give
larger ones."""


class AudioError(ValueError):
    """Audio that cannot be decoded, or that is too short for one prediction."""


class AudioTooLong(AudioError):
    """Audio longer than the caller allows."""


class TimeLimitExceeded(RuntimeError):
    """Work that took longer than the caller allows."""


@dataclass(frozen=True)
class Defect:
    """Something wrong with audio that could be decoded nevertheless.

    Parameters
    ----------
    kind : str
        ``"cut short"``: the end is missing. ``"damaged"``: a stretch could not be decoded.
        ``"header"``: the header states a false length. ``"silent"``: there is nothing to hear.
        ``"cancelled"``: the channels cancel each other in the mono mix.
    message : str
        One clause without the name of the file.
    """

    kind: Literal["cut short", "damaged", "header", "silent", "cancelled"]
    message: str


@dataclass(frozen=True)
class Limits:
    """Limits of one decoding; None sets no limit.

    Parameters
    ----------
    seconds : float > 0, optional
        Longest audio accepted. Decoded samples are counted, because headers can be wrong.
    work_seconds : float > 0, optional
        Longest time that the work may take.
    values : int > 0, optional
        Most decoded values accepted: samples times channels. They say what decoding costs, which
        the seconds alone do not.
    """

    seconds: float | None = None
    work_seconds: float | None = None
    values: int | None = None


class Deadline:
    """End of the time that work may take.

    Parameters
    ----------
    name : str
        Name of the file in the message.
    seconds : float > 0, optional
        None sets no limit.
    """

    def __init__(self, name: str, seconds: float | None) -> None:
        self._name, self._seconds = name, seconds
        self._start = time.monotonic()

    def check(self) -> None:
        """Raise TimeLimitExceeded once the time is over."""
        if self._seconds is not None and time.monotonic() - self._start > self._seconds:
            raise TimeLimitExceeded(
                f"{self._name}: not done after {self._seconds:g} s; try again later, or a "
                "shorter excerpt"
            )


def source_name(source: AudioSource) -> str:
    """Name of `source` in messages: the file's name without its folder.

    What cannot be printed is escaped.
    """
    name = source if isinstance(source, str | os.PathLike) else getattr(source, "name", None)
    if not isinstance(name, str | os.PathLike):
        return "the uploaded audio"
    if name == "<stdin>":
        return "standard input"
    return printable(Path(name).name)


def check_source(source: AudioSource) -> None:
    """Refuse what is neither a path nor a file that is open for reading.

    Raises
    ------
    TypeError
    """
    if not isinstance(source, str | os.PathLike) and not callable(getattr(source, "read", None)):
        raise TypeError(
            f"source: must be a path or a file that is open for reading bytes, not "
            f"{type(source).__name__}; to predict samples, resample them to {SAMPLE_RATE} Hz mono "
            "and give them to msr_utils.inference.Stream(model).push"
        )


@contextmanager
def open_source(source: AudioSource) -> Iterator[BinaryIO]:
    """Open a source for reading bytes at any place.

    A path is opened, and closed afterwards. A file that is open is set to its start and left
    open. A pipe is copied first.

    Paths are opened here and not by a decoder. A decoder may look for other files beside a path,
    refuse names that are not UTF-8, or take a name for an address.

    Raises
    ------
    AudioError
        If the file is empty.
    FileNotFoundError, IsADirectoryError, PermissionError
        If a path does not exist, is a folder or must not be read.
    TypeError
        If a file gives text.
    """
    name = source_name(source)
    if isinstance(source, str | os.PathLike):
        try:
            if stat.S_ISDIR(os.stat(source).st_mode):
                raise IsADirectoryError(
                    errno.EISDIR,
                    "is a folder; 'msr predict FOLDER --csv OUT' and predict_folder read folders",
                    _shown(source),
                )
            file = open(source, "rb")  # noqa: SIM115, closed below
        except FileNotFoundError as error:
            raise FileNotFoundError(f"audio file not found: {_shown(source)}") from error
        with file, _seekable(file) as opened:
            _refuse_empty(opened, name)
            yield opened
    else:
        with _seekable(source) as opened:
            opened.seek(0)
            _refuse_empty(opened, name)
            yield opened


def _shown(path: str | os.PathLike[str]) -> str:
    return printable(os.fspath(path))


@contextmanager
def _seekable(file: BinaryIO) -> Iterator[BinaryIO]:
    """The file itself, or a copy of what a pipe gives."""
    # An upload of older web frameworks cannot be asked.
    if getattr(file, "seekable", lambda: True)():
        yield file
        return
    with tempfile.SpooledTemporaryFile(max_size=SPOOL_BYTES) as copy:
        try:
            shutil.copyfileobj(file, copy, 2**20)
        except OSError as error:
            raise OSError(
                error.errno,
                f"cannot be copied to {tempfile.gettempdir()} ({error.strerror or error}); TMPDIR "
                "names another folder",
            ) from error
        copy.seek(0)
        yield cast(BinaryIO, copy)


def _refuse_empty(file: BinaryIO, name: str) -> None:
    """Refuse a file without a byte; a file that gives text is a mistake of the caller."""
    first = file.read(1)
    if not isinstance(first, bytes):
        raise TypeError(f"{name}: is open for reading text; open it with mode 'rb'")
    if not first:
        raise AudioError(f"{name}: is empty (0 bytes)")
    file.seek(0)


class FilePart(io.RawIOBase):
    """A part of a file, as a file.

    Parameters
    ----------
    file : binary file
    start, end : int
        Positions in bytes.
    name : str
        Its name in messages.

    Attributes
    ----------
    depth : int
        1 for a part of a file, 2 for a part of a part, and so on.
    """

    def __init__(
        self, file: BinaryIO, start: int, end: int, name: str = "the uploaded audio"
    ) -> None:
        self._file, self._start, self._size = file, start, end - start
        self._position = 0
        self.depth: int = getattr(file, "depth", 0) + 1
        self.name = name

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._position

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        origin = {io.SEEK_SET: 0, io.SEEK_CUR: self._position, io.SEEK_END: self._size}[whence]
        self._position = max(origin + offset, 0)
        return self._position

    def read(self, size: int = -1) -> bytes:
        there = max(self._size - self._position, 0)
        self._file.seek(self._start + self._position)
        data = self._file.read(there if size < 0 else min(size, there))
        self._position += len(data)
        return data

    def readinto(self, buffer: Any, /) -> int:
        data = self.read(len(buffer))
        buffer[: len(data)] = data
        return len(data)


def file_size(file: BinaryIO) -> int:
    """Size in bytes; the file is set back to its start."""
    size = file.seek(0, io.SEEK_END)
    file.seek(0)
    return size


def check_format(rate: int, channels: int, name: str) -> None:
    """Refuse a sample rate or a number of channels that no music has.

    Raises
    ------
    AudioError
    """
    if not MIN_RATE <= rate <= MAX_RATE:
        raise AudioError(
            f"{name}: its sample rate is {rate} Hz; convert it to a rate from {MIN_RATE} to "
            f"{MAX_RATE} Hz"
        )
    if channels > MAX_CHANNELS:
        raise AudioError(f"{name}: has {channels} channels; mix it to at most {MAX_CHANNELS}")

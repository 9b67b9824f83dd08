"""Every entry of a folder: audio, or why it is not analysed."""

from __future__ import annotations

import os
import stat
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from msr_utils.audio.formats import AUDIO_SUFFIXES, UNREADABLE_SUFFIXES
from msr_utils.audio.joined import begins_file
from msr_utils.audio.source import file_size
from msr_utils.io import printable, shown_name

HIDDEN_NAMES = ("__MACOSX",)
"""Folders that archive programs add. They hold no music."""

KINDS = {
    stat.S_IFIFO: "a named pipe",
    stat.S_IFSOCK: "a socket",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
}


class FolderError(RuntimeError):
    """An input folder that cannot be read, or an output folder that cannot be used."""


class State(StrEnum):
    """What became of an entry of a folder."""

    ANALYSED = "analysed"
    UNCHANGED = "unchanged"
    FAILED = "failed"
    UNREADABLE = "unreadable"
    REPEATED = "repeated"
    NOT_AUDIO = "not audio"
    HIDDEN = "hidden"
    GONE = "gone"


@dataclass(frozen=True)
class Entry:
    """An entry of a folder.

    Parameters
    ----------
    path : Path
    relative : str
        Path relative to the folder that was scanned.
    state : State, optional
        None for an audio file, which is still to be analysed.
    reason : str
        Why it is not analysed; empty for an audio file.
    may_be_audio : bool
        True for a file with the suffix of audio, and for a folder that cannot be listed.
    """

    path: Path
    relative: str
    state: State | None = None
    reason: str = ""
    may_be_audio: bool = False

    @property
    def file(self) -> str:
        """Name in tables and messages."""
        return shown_name(self.relative)


def is_audio_name(name: str) -> bool:
    """Whether a file has the suffix of audio."""
    return os.path.splitext(name)[1].lower() in AUDIO_SUFFIXES


def scan(folder: Path, output: Path | None = None) -> list[Entry]:
    """List every entry under a folder.

    Links are followed. A folder that can be reached in several ways is entered once, and at its
    own place if that lies in the folder. Hidden folders are one entry each.

    Parameters
    ----------
    folder : Path
    output : Path, optional
        A folder that is left out, with one entry, if it lies under `folder`.

    Returns
    -------
    list of Entry
        Sorted by `Entry.relative`. Folders that were entered are not listed.

    Raises
    ------
    FolderError
        If `folder` itself cannot be listed.
    """
    return sorted(_Scan(str(folder), output).entries(), key=lambda entry: entry.relative)


class _Scan:
    """Walk through a folder."""

    def __init__(self, root: str, output: Path | None) -> None:
        self._root = root
        self._output = None
        if output is not None and os.path.isdir(output):
            self._output = _identity(str(output), os.stat(output))
        self._entered: dict[tuple[int, int] | str, str] = {}
        self._links: deque[tuple[str, str]] = deque()

    def entries(self) -> Iterator[Entry]:
        """Entries of all folders. Linked folders come last, so that real ones are entered first."""
        try:
            self._entered[_identity(self._root, os.stat(self._root))] = ""
            os.scandir(self._root).close()
        except OSError as error:
            raise FolderError(f"cannot list {printable(self._root)}: {error.strerror}") from error
        yield from self._folder(self._root, "")
        while self._links:
            path, relative = self._links.popleft()
            yield from self._enter(path, relative)

    def _folder(self, folder: str, inside: str) -> Iterator[Entry]:
        """Entries of a folder and of the real folders in it."""
        folders = [(folder, inside)]
        while folders:
            folder, inside = folders.pop()
            try:
                with os.scandir(folder) as listed:
                    found = sorted(listed, key=lambda entry: entry.name)
            except OSError as error:
                reason = f"the folder cannot be listed ({error.strerror})"
                yield Entry(Path(folder), inside, State.UNREADABLE, reason, may_be_audio=True)
                continue
            for entry in found:
                relative = os.path.join(inside, entry.name)
                judged = self._judge(entry, relative)
                if judged is not None:
                    yield judged
                elif entry.is_symlink():
                    self._links.append((entry.path, relative))
                elif (repeated := self._repeated(entry.path, relative)) is not None:
                    yield repeated
                else:
                    folders.append((entry.path, relative))

    def _enter(self, path: str, relative: str) -> Iterator[Entry]:
        """Entries of a linked folder, unless it was entered before."""
        repeated = self._repeated(path, relative)
        if repeated is not None:
            yield repeated
        else:
            yield from self._folder(path, relative)

    def _repeated(self, path: str, relative: str) -> Entry | None:
        """An entry for a folder that was entered before; otherwise note it."""
        try:
            identity = _identity(path, os.stat(path))
        except OSError as error:
            reason = f"the folder cannot be opened ({error.strerror})"
            return Entry(Path(path), relative, State.UNREADABLE, reason, may_be_audio=True)
        if identity == self._output:
            return Entry(Path(path), relative, State.NOT_AUDIO, "the output folder")
        if identity in self._entered:
            first = shown_name(self._entered[identity]) or "the folder itself"
            return Entry(Path(path), relative, State.REPEATED, f"the same folder as {first}")
        self._entered[identity] = relative
        return None

    def _judge(self, entry: os.DirEntry[str], relative: str) -> Entry | None:
        """The entry as listed; None for a folder to enter."""
        path, audio = Path(entry.path), is_audio_name(entry.name)
        if entry.name.startswith(".") or entry.name in HIDDEN_NAMES:
            words = "hidden folder" if _is_real_folder(entry) else "hidden file"
            if entry.name.startswith("._"):
                words = "AppleDouble file: attributes of a file from macOS"
            return Entry(path, relative, State.HIDDEN, words)
        try:
            mode = os.stat(entry.path).st_mode
        except OSError as error:
            reason = f"cannot be opened ({error.strerror})"
            if entry.is_symlink() and isinstance(error, FileNotFoundError):
                reason = "broken link"
            # A folder that is too deep holds files that nobody has seen.
            folder = _is_real_folder(entry)
            return Entry(path, relative, State.UNREADABLE, reason, audio or folder)
        if stat.S_ISDIR(mode):
            return None
        if not stat.S_ISREG(mode):
            kind = KINDS.get(stat.S_IFMT(mode), "something else")
            return Entry(path, relative, State.UNREADABLE, f"{kind}, not a file", audio)
        known = UNREADABLE_SUFFIXES.get(os.path.splitext(entry.name)[1].lower())
        if known and not _has_other_format(path):
            reason = f"{known} cannot be decoded here; convert it, for instance to FLAC"
            return Entry(path, relative, State.FAILED, reason, may_be_audio=True)
        if not audio and not known:
            return Entry(path, relative, State.NOT_AUDIO, suffix_of(entry.name))
        return Entry(path, relative, may_be_audio=True)


def suffix_of(name: str) -> str:
    """Suffix of a file in lower case, or words for none."""
    return printable(os.path.splitext(name)[1].lower()) or "no suffix"


def _has_other_format(path: Path) -> bool:
    """Whether a file is of a known format, whatever its suffix says."""
    try:
        with open(path, "rb") as file:
            return begins_file(file, 0, file_size(file))
    except OSError:  # The decoder tells why.
        return True


def _is_real_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir(follow_symlinks=False)
    except OSError:
        return False


def _identity(path: str, found: os.stat_result) -> tuple[int, int] | str:
    """What tells a folder from others, under whatever path. Some file systems have no numbers."""
    return (found.st_dev, found.st_ino) if found.st_ino else os.path.realpath(path)

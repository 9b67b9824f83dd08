"""Names of files: how messages and tables show them, and names for output files."""

from __future__ import annotations

import os
import re
import unicodedata
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from msr_utils.io import printable, sha256_text

CURVE_SUFFIX = ".csv"
"""Added to the name of an audio file, it gives the name of its curve."""

SUMMARY, JOURNAL = RESERVED = ("summary.csv", "summary.csv.partial")
"""Names at the top of an output folder that no curve may have."""

DIGEST_DIGITS = 10
"""Hexadecimal digits that replace a part of a name."""

TEMPORARY_LETTERS = 24
"""Room for the temporary names of `msr_utils.io.atomic_path`."""

WINDOWS_DEVICES = re.compile(r"(con|prn|aux|nul|com[0-9¹²³]|lpt[0-9¹²³])(\.|$)", re.IGNORECASE)
"""Names that Windows keeps for devices, with any suffix."""

NOT_IN_WINDOWS = re.compile(r'[<>:"|?*\\\x00-\x1f]|[. ]$')
"""Characters that a name may not have on Windows, and endings that Windows removes."""


@dataclass(frozen=True)
class FileSystem:
    """What the file system of an output folder allows.

    Parameters
    ----------
    max_name, max_path : int
        Longest name, and longest path. In bytes; on Windows in UTF-16 units.
    ignores_case : bool
        True if names that differ only in case are one file.
    windows : bool
        True if names that Windows cannot have must be avoided.
    """

    max_name: int = 255
    max_path: int = 4096
    ignores_case: bool = False
    windows: bool = False

    @classmethod
    def of(cls, folder: Path) -> FileSystem:
        """Find out what the file system of a folder allows. The folder holds `SUMMARY`."""
        limits = {"max_path": 260} if os.name == "nt" else {}
        for name, key in (("max_name", "PC_NAME_MAX"), ("max_path", "PC_PATH_MAX")):
            try:
                limits[name] = os.pathconf(folder, key)
            except (AttributeError, OSError, ValueError):  # Windows, and unusual file systems
                continue
        return cls(
            **limits,
            ignores_case=(folder / SUMMARY.upper()).exists(),
            windows=os.name == "nt",
        )

    def length(self, name: str) -> int:
        """Length of a name as the file system counts it."""
        if self.windows:
            return len(name.encode("utf-16-le", "surrogatepass")) // 2
        return len(os.fsencode(name))

    def key(self, name: str) -> str:
        """Equal for names that are one file."""
        return unicodedata.normalize("NFC", name).casefold() if self.ignores_case else name

    def allows(self, name: str) -> bool:
        """Whether a file can have this name, without its folder."""
        if self.windows and (WINDOWS_DEVICES.match(name) or NOT_IN_WINDOWS.search(name)):
            return False
        return self.length(name) <= self.max_name

    def shortened(self, name: str, identity: str, suffix: str = "") -> str:
        """A name that is allowed: the start of `name`, a hash of `identity`, and `suffix`."""
        tail = f"~{sha256_text(printable(identity))[:DIGEST_DIGITS]}{suffix}"
        if self.windows:
            name = NOT_IN_WINDOWS.sub("_", name)
            name = f"_{name}" if WINDOWS_DEVICES.match(name) else name
        room = self.max_name - self.length(tail)
        while self.length(name) > room:
            name = name[:-1]
        return name + tail


def output_names(files: Iterable[str], folder: Path, system: FileSystem) -> dict[str, str]:
    """Names for the curves of files: ``a/b.mp3`` becomes ``a/b.mp3.csv`` wherever it can.

    Where the file system does not allow this name, or another file has it already, a part of it
    is replaced by a hash. The names depend on nothing but the names of the files.

    Parameters
    ----------
    files : iterable of str
        Paths relative to the input folder.
    folder : Path
        Output folder.
    system : FileSystem
        From ``FileSystem.of(folder)``.

    Returns
    -------
    dict of str to str
        File -> path of its curve, relative to `folder`.
    """
    plain = {file: _plain_name(file, system) for file in sorted(files)}
    folders = {system.key("/".join(p[:n])) for p in plain.values() for n in range(1, len(p))}
    taken = set(folders)
    room = system.max_path - system.length(str(Path(folder).absolute())) - TEMPORARY_LETTERS
    names = {}
    for file, parts in plain.items():
        name = "/".join(parts)
        if system.key(name) in taken:
            last = parts[-1].removesuffix(CURVE_SUFFIX)
            name = "/".join([*parts[:-1], system.shortened(last, file, CURVE_SUFFIX)])
        if system.length(name) > room:
            # Too deep: it lies at the top, under a short name.
            name = system.shortened("", file, CURVE_SUFFIX)
        taken.add(system.key(name))
        names[file] = name
    return names


def _plain_name(file: str, system: FileSystem) -> list[str]:
    """Parts of the path of a curve, each of which the file system allows."""
    *parents, name = file.split(os.sep)
    reserved = {system.key(name) for name in RESERVED}
    parts = [
        part
        if system.allows(part) and not (n == 0 and system.key(part) in reserved)
        else system.shortened(part, part)
        for n, part in enumerate(parents)
    ]
    curve = name + CURVE_SUFFIX
    return [*parts, curve if system.allows(curve) else system.shortened(name, name, CURVE_SUFFIX)]

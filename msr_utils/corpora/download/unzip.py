"""Unpack zip archives from an untrusted source."""

from __future__ import annotations

import re
import stat
import zipfile
import zlib
from pathlib import Path, PurePosixPath

from tqdm import tqdm

from msr_utils.corpora.download.sources import DownloadError
from msr_utils.corpora.download.space import check_space, readable_size

CHUNK = 2**16
"""Bytes unpacked at a time."""

MAX_ENTRIES = 50_000
"""Largest number of files in one archive. DEAM's annotations have some thousands."""

MAX_RATIO = 100
"""Largest ratio of unpacked to packed size. Text shrinks to a tenth, music hardly at all."""


def unzip(path: Path, folder: Path, progress: bool = False) -> None:
    """Unpack a zip archive from an untrusted source.

    Parameters
    ----------
    path : Path
    folder : Path
        Files of the same name are replaced. After an error, the files unpacked so far remain.
    progress : bool

    Raises
    ------
    DownloadError
        If the archive is damaged, encrypted or implausibly large, or if an entry is a link or
        would lie outside `folder`.
    """
    advice = f"; to download it again, delete {path}"
    try:
        with zipfile.ZipFile(path) as archive:
            entries = _checked_entries(archive, path)
            total = sum(entry.file_size for entry in entries)
            check_space(folder, total, f"{path.name}, unpacked,")
            bar = tqdm(entries, f"unpacking {path.name}", disable=None if progress else True)
            for entry in bar:
                _unpack_entry(archive, entry, path.name, folder / entry.filename, advice)
    except (zipfile.BadZipFile, zlib.error, EOFError, UnicodeDecodeError) as error:
        raise DownloadError(f"{path.name}: {_damage(path, error)}{advice}", path.name) from error
    except NotImplementedError as error:
        raise DownloadError(
            f"{path.name} cannot be unpacked here: {error}{advice}", path.name
        ) from error


def _unpack_entry(
    archive: zipfile.ZipFile, entry: zipfile.ZipInfo, name: str, target: Path, advice: str
) -> None:
    """Unpack one file, and stop where it exceeds its stated size."""
    target.parent.mkdir(parents=True, exist_ok=True)
    written = 0
    with archive.open(entry) as packed, open(target, "wb") as file:
        while chunk := packed.read(CHUNK):
            written += len(chunk)
            if written > entry.file_size:
                raise DownloadError(
                    f"{name}: {entry.filename!r} is larger than stated{advice}", name
                )
            file.write(chunk)


def _damage(path: Path, error: Exception) -> str:
    """Kind of damage, in words."""
    if zipfile.is_zipfile(path):
        return f"damaged ({error})"
    with open(path, "rb") as file:
        if file.read(4) == b"PK\x03\x04":
            return "cut short, its list of files at the end is missing"
    return "not a zip archive"


def _checked_entries(archive: zipfile.ZipFile, path: Path) -> list[zipfile.ZipInfo]:
    """The files of an archive, after all entries have been checked."""
    entries, name = archive.infolist(), path.name
    if len(entries) > MAX_ENTRIES:
        raise DownloadError(f"{name}: refused, {len(entries)} entries (limit {MAX_ENTRIES})", name)
    total, packed = sum(entry.file_size for entry in entries), path.stat().st_size
    if total > MAX_RATIO * packed:
        raise DownloadError(
            f"{name}: refused, {readable_size(packed)} would unpack to {readable_size(total)} "
            f"(limit {MAX_RATIO} times), as in a zip bomb",
            name,
        )
    names: set[str] = set()
    for entry in entries:
        _check_entry(entry, name)
        if entry.filename in names:
            raise DownloadError(f"{name}: refused, {entry.filename!r} is there twice", name)
        names.add(entry.filename)
    return [entry for entry in entries if not entry.is_dir() and not _added_by_macos(entry)]


def _check_entry(entry: zipfile.ZipInfo, name: str) -> None:
    """Refuse an entry that is not a plain file or folder inside the target folder."""
    check_name(entry.filename, name)
    if entry.header_offset < 0:
        raise zipfile.BadZipFile(f"no place is given for {entry.filename!r}")
    kind = stat.S_IFMT(entry.external_attr >> 16)
    if kind not in (0, stat.S_IFREG, stat.S_IFDIR):
        what = "a symbolic link" if kind == stat.S_IFLNK else "neither a file nor a folder"
        raise DownloadError(f"{name}: refused, {entry.filename!r} is {what}", name)
    if entry.flag_bits & 0x1:
        raise DownloadError(f"{name}: {entry.filename!r} is encrypted; cannot be unpacked", name)
    if entry.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        raise DownloadError(
            f"{name}: {entry.filename!r} is packed by a method other than deflate; "
            "cannot be unpacked",
            name,
        )


def _added_by_macos(entry: zipfile.ZipInfo) -> bool:
    return entry.filename.startswith("__MACOSX/") or entry.filename.endswith(".DS_Store")


def check_name(name: str, where: str) -> None:
    """Refuse a file name that could lie outside the folder on any system."""
    parts = PurePosixPath(name).parts
    if not parts or name[0] == "/" or ".." in parts or "\\" in name or re.match("[A-Za-z]:", name):
        raise DownloadError(f"{where}: refused, {name!r} would lie outside the folder", where)

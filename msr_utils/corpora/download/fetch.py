"""Download a corpus, verify and unpack it."""

from __future__ import annotations

import glob
import os
import re
import shutil
import zipfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

import pooch
from filelock import FileLock, Timeout

from msr_utils.corpora.download import hub
from msr_utils.corpora.download.http import ResumingDownloader, part_of
from msr_utils.corpora.download.sources import (
    Archive,
    DownloadError,
    Source,
    find_source,
)
from msr_utils.corpora.download.space import check_space, readable_size
from msr_utils.corpora.download.unzip import unzip
from msr_utils.io import read_json, sha256_file, write_json

RECORD = ".msr-fetched.json"
"""File in a folder whose download is complete: addresses, sizes, SHA-256 and date."""


@dataclass(frozen=True)
class FetchedFile:
    """One downloaded file.

    Parameters
    ----------
    name, url : str
    size : int
        Bytes.
    sha256 : str
    """

    name: str
    url: str
    size: int
    sha256: str


@dataclass(frozen=True)
class _Request:
    """Options of one call of `fetch`."""

    source: Source
    mirror: str
    accepted: frozenset[str]
    timeout_s: float
    progress: bool


def fetched_files(corpus: str, folder: Path) -> list[FetchedFile]:
    """Files that an earlier, complete download put into a folder; empty if there was none.

    Raises
    ------
    DownloadError
        If the folder contains another corpus, or its record cannot be read.
    """
    record = Path(folder) / RECORD
    if not record.is_file():
        return []
    try:
        content = read_json(record)
        existing = content["corpus"]
        files = [FetchedFile(**file) for file in content["files"]]
    except (ValueError, KeyError, TypeError) as error:
        raise DownloadError(
            f"{record} is damaged; delete {folder} and fetch again", file=RECORD
        ) from error
    if existing != corpus:
        raise DownloadError(
            f"--to: {folder} holds {existing}, not {corpus}; name another folder", field="folder"
        )
    return files


def fetch(
    corpus: str,
    folder: Path,
    accept_licence: bool = False,
    mirror: str = "",
    accept_hashes: Sequence[str] = (),
    timeout_s: float = 30.0,
    progress: bool = True,
) -> list[FetchedFile]:
    """Download a corpus and unpack it. An interrupted download is continued.

    Parameters
    ----------
    corpus : str
        A name in `SOURCES`.
    folder : Path
        Folder of the data; must be new or empty. Archives lie in ``FOLDER.fetching`` until all
        is done, and are then deleted.
    accept_licence : bool
        Required for any download.
    mirror : str
        Address to take the files from instead: of the folder with the archives or, for a data
        set on the Hugging Face hub, of another hub.
    accept_hashes : sequence of str
        SHA-256 of files to accept although others were expected.
    timeout_s : float
        Longest silence of a server in seconds.
    progress : bool
        Print messages, with a bar on a terminal.

    Returns
    -------
    list of FetchedFile
        Empty if the folder was complete already.

    Raises
    ------
    DownloadError
        Naming the problem and what to do. `folder` is then unchanged; downloaded files are kept
        for the next call.
    """
    source = find_source(corpus)
    folder = Path(folder).resolve()
    work = folder.with_name(f"{folder.name}.fetching")
    if fetched_files(corpus, folder):
        shutil.rmtree(work, ignore_errors=True)
        return []
    _check_licence(source, accept_licence)
    accepted = _checked_hashes(accept_hashes)
    request = _Request(source, _checked_mirror(mirror), accepted, timeout_s, progress)
    try:
        _check_folder(folder)
        return _fetch(corpus, request, folder, work)
    except OSError as error:
        raise DownloadError(
            f"cannot write {error.filename or work}: {error.strerror or error}; "
            "correct this and run the same command again to continue",
            field="folder",
        ) from error


def _fetch(corpus: str, request: _Request, folder: Path, work: Path) -> list[FetchedFile]:
    """Download into `work`, unpack, and rename the result to `folder`."""
    source, archives_dir = request.source, work / "archives"
    revision = ""
    if source.hub:
        revision, archives = hub.list_files(source, request.mirror, request.timeout_s)
    else:
        archives = _archives(request)
    check_space(folder, *_needed_space(archives, archives_dir))
    work.mkdir(parents=True, exist_ok=True)
    with _locked(work):
        if source.hub:
            files = _fetch_hub(archives, revision, archives_dir, request)
        else:
            files = [_fetch_archive(archive, archives_dir, request) for archive in archives]
        _unpack(files, work, request.progress)
        record = {
            "corpus": corpus,
            "licence": source.licence,
            "citation": source.citation,
            "date": datetime.now(UTC).isoformat(timespec="seconds"),
            "files": [asdict(file) for file in files],
        }
        write_json(work / "unpacked" / RECORD, record)
        if folder.is_dir():
            folder.rmdir()
        (work / "unpacked").rename(folder)
        shutil.rmtree(work, ignore_errors=True)
    return files


# Checks before a download


def _check_licence(source: Source, accepted: bool) -> None:
    if not accepted:
        raise DownloadError(
            f"nothing downloaded: the terms of {source.title} need your consent "
            f"({source.licence}); give it with --accept-licence",
            field="accept_licence",
        )


def _checked_hashes(hashes: Sequence[str]) -> frozenset[str]:
    accepted = frozenset(value.strip().lower() for value in hashes)
    for value in accepted:
        if not re.fullmatch(r"[0-9a-f]{64}", value):
            raise DownloadError(
                f"--accept-hash: {value!r} is not a SHA-256 of 64 hex digits",
                field="accept_hashes",
            )
    return accepted


def _checked_mirror(mirror: str) -> str:
    if mirror and not re.fullmatch(r"https?://[^/\[\]\s]+(/\S*)?", mirror):
        raise DownloadError(
            f"--mirror: {mirror!r} is not an address such as https://host/folder", field="mirror"
        )
    return mirror.rstrip("/")


def _check_folder(folder: Path) -> None:
    if folder == Path.cwd() or os.path.ismount(folder):
        raise DownloadError(
            f"--to: {folder} cannot be replaced; name a new folder inside it", field="folder"
        )
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise DownloadError(
            f"--to: {folder} contains files that this command did not put there; name a new folder",
            field="folder",
        )


def _needed_space(archives: list[Archive], folder: Path) -> tuple[int, str]:
    """Bytes to download and, at the least, to unpack; and words for them."""
    present = {a.name: _present_bytes(folder / a.name) for a in archives}
    download = sum(max(0, (a.size or 0) - present[a.name]) for a in archives)
    unpacked = sum(a.size or 0 for a in archives if a.name.endswith(".zip"))
    words = (
        f"{readable_size(download)} to download and at least {readable_size(unpacked)} unpacked,"
    )
    return download + unpacked, words


def _present_bytes(path: Path) -> int:
    return next((p.stat().st_size for p in (path, part_of(path)) if p.is_file()), 0)


@contextmanager
def _locked(work: Path) -> Iterator[None]:
    """Keep out a second download of the same folder. A killed process releases the lock."""
    lock = FileLock(work / ".lock")
    try:
        lock.acquire(timeout=0)
    except Timeout as error:
        raise DownloadError(
            f"another 'msr data fetch' is at work in {work}", field="folder"
        ) from error
    try:
        yield
    finally:
        lock.release()


# Download


def _archives(request: _Request) -> list[Archive]:
    """Archives of a source, at the mirror if there is one."""
    archives = request.source.archives
    if not request.mirror:
        return list(archives)
    return [replace(archive, url=f"{request.mirror}/{archive.name}") for archive in archives]


def _fetch_archive(archive: Archive, folder: Path, request: _Request) -> FetchedFile:
    """Download one file unless it is there, and check that it is the expected one."""
    path = folder / archive.name
    _restore(path)
    # pooch announces each file and its hash; the downloader prints its own messages.
    pooch.get_logger().setLevel("WARNING")
    for _ in range(2):
        downloader = ResumingDownloader(
            path, request.source, bool(archive.sha256), request.timeout_s, request.progress
        )
        pooch.retrieve(archive.url, None, fname=path.name, path=path.parent, downloader=downloader)
        file = _describe(archive, path)
        if _is_expected(archive, file, request.accepted):
            return file
        if not downloader.resumed:
            break
        # The first part may be damaged or of another version: once more from the start.
        path.unlink()
    raise _unexpected(archive, file, path, request.source)


def _fetch_hub(
    archives: list[Archive], revision: str, folder: Path, request: _Request
) -> list[FetchedFile]:
    """Download the files of a data set on the hub, and compare them with the hub's list."""
    for archive in archives:
        _restore(folder / archive.name)
    hub.download_snapshot(
        request.source, request.mirror, revision, folder, request.timeout_s, request.progress
    )
    files = []
    for archive in archives:
        path = folder / archive.name
        file = _describe(archive, path)
        if not _is_expected(archive, file, request.accepted):
            raise _unexpected(archive, file, path, request.source)
        files.append(file)
    return files


def _describe(archive: Archive, path: Path) -> FetchedFile:
    return FetchedFile(archive.name, archive.url, path.stat().st_size, sha256_file(path))


def _is_expected(archive: Archive, file: FetchedFile, accepted: frozenset[str]) -> bool:
    """Whether hash or, where it is unknown, size are as expected, or the hash is accepted."""
    if file.sha256 in accepted:
        return True
    if archive.sha256:
        return file.sha256 == archive.sha256
    return archive.size in (None, file.size)


def _restore(path: Path) -> None:
    """Take up a file that an earlier call found unexpected: it may be accepted now."""
    kept = sorted(path.parent.glob(f"{glob.escape(path.name)}.sha256-*"))
    if kept and not path.exists():
        kept[0].replace(path)


def _unexpected(archive: Archive, file: FetchedFile, path: Path, source: Source) -> DownloadError:
    """Rename an unexpected file, so that no run uses it, and explain what to do."""
    kept = path.with_name(f"{path.name}.sha256-{file.sha256[:16]}")
    path.replace(kept)
    no_zip = path.suffix == ".zip" and not zipfile.is_zipfile(kept)
    return DownloadError(
        f"{archive.name} is not the file that was expected{' (no whole zip archive)' * no_zip}.\n"
        f"  expected: {archive.size} bytes, SHA-256 {archive.sha256 or 'unknown'} "
        f"(according to {source.hashes_from})\n"
        f"  found:    {file.size} bytes, SHA-256 {file.sha256}\n"
        f"It may have been damaged on the way, or there is a new version; see {source.home}. "
        f"Nothing was unpacked. The file is kept as {kept}.\n"
        f"To use it anyway, run the same command with --accept-hash {file.sha256}\n"
        "To download it again, delete it and run the same command.",
        file=archive.name,
        field="accept_hashes",
    )


# Unpacking


def _unpack(files: list[FetchedFile], work: Path, progress: bool) -> None:
    """Make the folder ``unpacked`` from ``archives``, completely or not at all."""
    folder = work / "unpacked"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    try:
        for file in files:
            path = work / "archives" / file.name
            if path.suffix == ".zip":
                unzip(path, folder, progress)
            else:
                _place(path, folder / file.name)
    except BaseException:
        shutil.rmtree(folder, ignore_errors=True)
        raise


def _place(path: Path, target: Path) -> None:
    """Hard link to a file, or a copy where the file system has no hard links."""
    target.parent.mkdir(parents=True, exist_ok=True)
    target.unlink(missing_ok=True)
    try:
        os.link(path, target)
    except OSError:
        shutil.copyfile(path, target)

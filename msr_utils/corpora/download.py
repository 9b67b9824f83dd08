"""Download of the public corpora: terms first, resumed and verified files, careful unpacking.

Archives come from outside: names, sizes and contents are checked before anything is believed.
Everything happens in ``DIR.fetching`` beside the folder asked for, which appears at the end, whole.
"""

from __future__ import annotations

import glob
import os
import re
import shutil
import stat
import sys
import time
import zipfile
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from operator import index
from pathlib import Path, PurePosixPath
from typing import Any
from urllib.parse import quote, urljoin, urlsplit

import pooch
import requests
from tqdm import tqdm
from urllib3.exceptions import NameResolutionError

from msr_utils.io import read_json, sha256_file, write_json

try:
    import fcntl
except ImportError:  # Windows: two downloads into one folder are then not told apart
    fcntl = None

RECORD = ".msr-fetched.json"
"""Written into a folder whose download is complete: addresses, sizes, SHA-256 and date."""

HUB = "https://huggingface.co"

TRIES = 5
"""How often a connection may be cut before the command gives up."""

BACKOFF_S = 1.0
"""Wait before the second try; doubled before each later one."""

CHUNK = 2**16

MAX_ENTRIES = 50_000
"""Files in one archive; DEAM's annotations, the most, have some thousands."""

MAX_RATIO = 100
"""Unpacked over packed size of an archive: text shrinks to a tenth, music hardly at all."""


class DownloadError(ValueError):
    """A download that cannot start, go on or be believed."""


@dataclass(frozen=True)
class Archive:
    """One file to download.

    Parameters
    ----------
    name : str
        Where it lies, relative to the corpus' folder; a name in ``.zip`` is unpacked.
    url : str
    size : int, optional
        Bytes, where known.
    sha256 : str, optional
        Where known.
    """

    name: str
    url: str
    size: int | None = None
    sha256: str | None = None


@dataclass(frozen=True)
class Source:
    """Where a corpus comes from and on what terms.

    Parameters
    ----------
    title, home, licence, citation : str
        Shown before anything is downloaded.
    archives : tuple of Archive
    hub : str
        Data set on the Hugging Face hub, which lists its own files; instead of `archives`.
    hashes_from : str
        Who says what the files should be.
    """

    title: str
    home: str
    licence: str
    citation: str
    archives: tuple[Archive, ...] = ()
    hub: str = ""
    hashes_from: str = ""

    def terms(self) -> str:
        """Title, terms, citation and home page, one a line."""
        return (
            f"{self.title}\n  terms: {self.licence}\n  cite:  {self.citation}\n  home:  {self.home}"
        )


_DEAM = "https://cvml.unige.ch/databases/DEAM/"
_EMOTIFY = "http://www2.projects.science.uu.nl/memotion/emotifydata/"

SOURCES = {
    "deam": Source(
        title="DEAM, the MediaEval Database for Emotional Analysis of Music",
        home=_DEAM,
        licence="audio under each song's Creative Commons licence; annotations for research, "
        "not for commercial use",
        citation="Aljanaki, Yang and Soleymani (2017), PLoS ONE 12(3), "
        "https://doi.org/10.1371/journal.pone.0173392",
        archives=(
            Archive(
                "DEAM_audio.zip",
                _DEAM + "DEAM_audio.zip",
                1_343_203_527,
                "e2814325f573ade8caebc697f0efcfdf7207142b737d72558a416117ca591353",
            ),
            Archive(
                "DEAM_Annotations.zip",
                _DEAM + "DEAM_Annotations.zip",
                4_735_283,
                "809b0feb4ba6196c1eda9b2b7b33b892b11fa71457cfceb0d47e832ed1a5f15f",
            ),
            Archive(
                "metadata.zip",
                _DEAM + "metadata.zip",
                344_760,
                "3d1d5ab42e852803a770f2cfbd685c6b464e1ebe76f26b0e10954597902b90f8",
            ),
        ),
        hashes_from="a public report, not the authors",
    ),
    # The page gives neither sizes nor hashes.
    "emotify": Source(
        title="Emotify, emotions felt with music, from a game",
        home=_EMOTIFY,
        licence="for research; the authors state no formal licence and ask for a citation",
        citation="Aljanaki, Wiering and Veltkamp (2016), Information Processing & Management "
        "52(1), https://doi.org/10.1016/j.ipm.2015.03.004",
        archives=(
            Archive("emotifymusic.zip", _EMOTIFY + "emotifymusic.zip"),
            Archive("data.csv", _EMOTIFY + "data.csv"),
        ),
    ),
    "merp": Source(
        title="MERP, Music Emotion Recognition with Profile information",
        home=HUB + "/datasets/amaai-lab/MERP",
        licence="annotations under CC BY 4.0; audio under each song's Creative Commons licence",
        citation="Koh, Cheuk, Heung, Agres and Herremans (2023), Sensors 23(1), "
        "https://doi.org/10.3390/s23010382",
        hub="amaai-lab/MERP",
        hashes_from="the hub's own list",
    ),
}
"""What can be downloaded, by the corpus' name."""


def find_source(corpus: str) -> Source:
    """The source of a corpus.

    Raises
    ------
    DownloadError
        If there is none of that name.
    """
    if corpus not in SOURCES:
        raise DownloadError(f"no corpus {corpus!r} to download; known: {', '.join(SOURCES)}")
    return SOURCES[corpus]


def fetched(corpus: str, folder: Path) -> list[dict[str, Any]]:
    """What an earlier, finished download put into a folder; empty where there was none.

    Raises
    ------
    DownloadError
        If the folder holds another corpus, or its record cannot be read.
    """
    record = Path(folder) / RECORD
    if not record.is_file():
        return []
    try:
        value = read_json(record)
        holds, files = value["corpus"], value["files"]
    except (ValueError, KeyError, TypeError) as error:
        raise DownloadError(f"{record} is damaged; delete {folder} and fetch again") from error
    if holds != corpus:
        raise DownloadError(f"--to: {folder} holds {holds}, not {corpus}; name another folder")
    return files


def fetch(
    corpus: str,
    folder: Path,
    accept_licence: bool = False,
    mirror: str = "",
    accept_hashes: Sequence[str] = (),
    timeout_s: float = 30.0,
    progress: bool = True,
) -> list[dict[str, Any]]:
    """Download a corpus and unpack it; an interrupted download goes on where it ended.

    Parameters
    ----------
    corpus : str
        A name in `SOURCES`.
    folder : Path
        Where the data will lie; must be new or empty. Archives are in ``FOLDER.fetching`` until
        all is done, and then deleted.
    accept_licence : bool
        Nothing is downloaded without.
    mirror : str
        Address to take the files from instead: of the folder with the archives or, for a data
        set on the Hugging Face hub, of a hub.
    accept_hashes : sequence of str
        SHA-256 of files to take although others were expected.
    timeout_s : float
        How long a server may be silent, in seconds.
    progress : bool
        Say what is done, with a bar on a terminal.

    Returns
    -------
    files : list of dict
        ``name``, ``url``, ``size`` and ``sha256`` of each file; empty if the folder was complete
        already.

    Raises
    ------
    DownloadError
        Saying what is wrong and what to do. `folder` is then as it was; what was downloaded
        stays for the next run.
    """
    source = find_source(corpus)
    folder = Path(folder).resolve()
    work = folder.with_name(f"{folder.name}.fetching")
    if fetched(corpus, folder):
        shutil.rmtree(work, ignore_errors=True)
        return []
    if not accept_licence:
        raise DownloadError(
            f"nothing downloaded: the terms of {source.title} need your consent "
            f"({source.licence}); give it with --accept-licence"
        )
    accepted = {value.strip().lower() for value in accept_hashes}
    for value in accepted:
        if not re.fullmatch(r"[0-9a-f]{64}", value):
            raise DownloadError(f"--accept-hash: {value!r} is not a SHA-256 of 64 hex digits")
    if mirror and not re.fullmatch(r"https?://[^/\[\]\s]+(/\S*)?", mirror):
        raise DownloadError(f"--mirror: {mirror!r} is not an address such as https://host/folder")
    try:
        _check_folder(folder)
        archives = _list_archives(source, mirror, timeout_s)
        _check_space(folder, *_needs(archives, work / "archives"))
        work.mkdir(parents=True, exist_ok=True)
        with _alone(work):
            files = [
                _get(archive, work / "archives", source, accepted, timeout_s, progress)
                for archive in archives
            ]
            _unpack(files, work, progress)
            facts = {"corpus": corpus, "licence": source.licence, "citation": source.citation}
            facts["date"] = datetime.now(UTC).isoformat(timespec="seconds")
            write_json(work / "unpacked" / RECORD, facts | {"files": files})
            if folder.is_dir():
                folder.rmdir()
            (work / "unpacked").rename(folder)
            shutil.rmtree(work, ignore_errors=True)
    except OSError as error:
        raise DownloadError(
            f"cannot write {error.filename or work}: {error.strerror or error}; "
            "once that is mended, run the same command again to go on"
        ) from error
    return files


def unzip(path: Path, folder: Path, progress: bool = False) -> None:
    """Unpack a zip archive that nobody vouches for.

    Parameters
    ----------
    path : Path
    folder : Path
        Holds nothing of worth: files of the same name are replaced, and it is left as it is
        when an error comes halfway.
    progress : bool

    Raises
    ------
    DownloadError
        If the archive is damaged, encrypted, out of proportion, or an entry is a link or would
        lie outside `folder`.
    """
    again = f"; to download it afresh, delete {path}"
    try:
        with zipfile.ZipFile(path) as archive:
            entries = _checked_entries(archive, path)
            total = sum(entry.file_size for entry in entries)
            _check_space(folder, total, f"{path.name}, unpacked,")
            bar = tqdm(entries, f"unpacking {path.name}", disable=None if progress else True)
            for entry in bar:
                target = folder / entry.filename
                target.parent.mkdir(parents=True, exist_ok=True)
                with archive.open(entry) as packed, open(target, "wb") as file:
                    written = 0
                    while chunk := packed.read(CHUNK):
                        written += len(chunk)
                        if written > entry.file_size:
                            raise DownloadError(
                                f"{path.name}: {entry.filename!r} is larger than stated{again}"
                            )
                        file.write(chunk)
    except (zipfile.BadZipFile, zlib.error, EOFError, UnicodeDecodeError) as error:
        raise DownloadError(f"{path.name}: {_damage(path, error)}{again}") from error
    except NotImplementedError as error:
        raise DownloadError(f"{path.name} cannot be unpacked here: {error}{again}") from error


def _damage(path: Path, error: Exception) -> str:
    if zipfile.is_zipfile(path):
        return f"damaged ({error})"
    with open(path, "rb") as file:
        if file.read(4) == b"PK\x03\x04":
            return "cut short, its list of files at the end is missing"
    return "not a zip archive"


def _checked_entries(archive: zipfile.ZipFile, path: Path) -> list[zipfile.ZipInfo]:
    """The files of an archive, once all of them are found harmless."""
    entries = archive.infolist()
    if len(entries) > MAX_ENTRIES:
        raise DownloadError(f"{path.name}: refused, {len(entries)} entries (limit {MAX_ENTRIES})")
    total, packed = sum(entry.file_size for entry in entries), path.stat().st_size
    if total > MAX_RATIO * packed:
        raise DownloadError(
            f"{path.name}: refused, {_size(packed)} would unpack to {_size(total)} "
            f"(limit {MAX_RATIO} times), as in a zip bomb"
        )
    files, names = [], set()
    for entry in entries:
        _check_name(entry.filename, path.name)
        if entry.header_offset < 0:
            raise zipfile.BadZipFile(f"no place is given for {entry.filename!r}")
        kind = stat.S_IFMT(entry.external_attr >> 16)
        if kind not in (0, stat.S_IFREG, stat.S_IFDIR):
            what = "a symbolic link" if kind == stat.S_IFLNK else "neither a file nor a folder"
            raise DownloadError(f"{path.name}: refused, {entry.filename!r} is {what}")
        if entry.flag_bits & 0x1:
            raise DownloadError(f"{path.name}: {entry.filename!r} is encrypted; cannot be unpacked")
        if entry.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
            raise DownloadError(
                f"{path.name}: {entry.filename!r} is packed by a method other than deflate; "
                "cannot be unpacked"
            )
        if entry.filename in names:
            raise DownloadError(f"{path.name}: refused, {entry.filename!r} is there twice")
        names.add(entry.filename)
        # macOS adds these to every archive that it packs.
        added = entry.filename.startswith("__MACOSX/") or entry.filename.endswith(".DS_Store")
        if not entry.is_dir() and not added:
            files.append(entry)
    return files


def _check_name(name: str, where: str) -> None:
    """Refuse a name that could lie outside the folder on any system."""
    parts = PurePosixPath(name).parts
    if not parts or name[0] == "/" or ".." in parts or "\\" in name or re.match("[A-Za-z]:", name):
        raise DownloadError(f"{where}: refused, {name!r} would lie outside the folder")


def _check_folder(folder: Path) -> None:
    if folder == Path.cwd() or os.path.ismount(folder):
        raise DownloadError(f"--to: {folder} cannot be replaced; name a new folder inside it")
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise DownloadError(
            f"--to: {folder} holds what this command did not put there; name a new folder"
        )


@contextmanager
def _alone(work: Path) -> Iterator[None]:
    """Keep a second download of the same folder out; a kill lets go of the lock."""
    with open(work / ".lock", "w") as file:
        if fcntl is not None:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError as error:
                raise DownloadError(f"another 'msr data fetch' is at work in {work}") from error
        yield


def _list_archives(source: Source, mirror: str, timeout_s: float) -> list[Archive]:
    if source.hub:
        return _list_hub(source, mirror.rstrip("/") or HUB, timeout_s)
    if not mirror:
        return list(source.archives)
    base = mirror.rstrip("/")
    return [Archive(a.name, f"{base}/{a.name}", a.size, a.sha256) for a in source.archives]


def _list_hub(source: Source, base: str, timeout_s: float) -> list[Archive]:
    """Ask the hub for the files of a data set; large ones come with their SHA-256.

    https://huggingface.co/docs/huggingface.js/hub/interfaces/ListFileEntry
    """
    url = f"{base}/api/datasets/{source.hub}/tree/main?recursive=true"
    what, archives = "the list of files", []
    while url:
        try:
            response = requests.get(url, timeout=timeout_s)
            if response.status_code != 200:
                raise _failed(url, what, _status(response), source)
            entries = [
                (e["path"], index(e["size"]), (e.get("lfs") or {}).get("oid"))
                for e in response.json()
                if e["type"] == "file" and not e["path"].startswith(".")
            ]
            for name, size, sha256 in entries:
                _check_name(name, f"{what} at {url}")
                address = f"{base}/datasets/{source.hub}/resolve/main/{quote(name)}"
                archives.append(Archive(name, address, size, sha256))
        except (requests.JSONDecodeError, AttributeError, KeyError, TypeError) as error:
            raise _failed(url, what, "answered something else", source) from error
        except requests.RequestException as error:
            raise _failed(url, what, _reason(error, timeout_s), source) from error
        url = urljoin(url, response.links["next"]["url"]) if "next" in response.links else ""
    if not archives:
        raise _failed(base, what, "lists none", source)
    return archives


def _needs(archives: list[Archive], folder: Path) -> tuple[int, str]:
    """Bytes still to download and, at the least, to unpack; and words for them."""
    at_hand = {a.name: _bytes_at_hand(folder / a.name) for a in archives}
    download = sum(max(0, (a.size or 0) - at_hand[a.name]) for a in archives)
    unpacked = sum(a.size or 0 for a in archives if a.name.endswith(".zip"))
    words = f"{_size(download)} to download and at least {_size(unpacked)} unpacked,"
    return download + unpacked, words


def _bytes_at_hand(path: Path) -> int:
    part = _part(path)
    return next((p.stat().st_size for p in (path, part) if p.is_file()), 0)


def _part(path: Path) -> Path:
    return path.with_name(f"{path.name}.part")


def _check_space(folder: Path, needed: int, what: str) -> None:
    at_hand = next(p for p in (folder, *folder.parents) if p.exists())
    free = shutil.disk_usage(at_hand).free
    if needed > free:
        raise DownloadError(
            f"not enough space: {what} needs {_size(needed)}, {_size(free)} are free at {folder}"
        )


def _size(count: int) -> str:
    return f"{count / 1e6:,.1f} MB" if count >= 100_000 else f"{count:,} bytes"


def _get(
    archive: Archive,
    folder: Path,
    source: Source,
    accepted: set[str],
    timeout_s: float,
    progress: bool,
) -> dict[str, Any]:
    """Download one file unless it is at hand, and check that it is the right one."""
    path = folder / archive.name
    kept = sorted(path.parent.glob(f"{glob.escape(path.name)}.sha256-*"))
    if kept and not path.exists():
        kept[0].replace(path)
    # It announces every file and its hash; what is to be said is said here.
    pooch.get_logger().setLevel("WARNING")
    for _ in range(2):
        downloader = ResumingDownloader(path, source, bool(archive.sha256), timeout_s, progress)
        pooch.retrieve(archive.url, None, fname=path.name, path=path.parent, downloader=downloader)
        size, found = path.stat().st_size, sha256_file(path)
        right = found == archive.sha256 if archive.sha256 else archive.size in (None, size)
        if right or found in accepted:
            return {"name": archive.name, "url": archive.url, "size": size, "sha256": found}
        if not downloader.resumed:
            break
        # The first part may be of another release, or damaged: once more from the start.
        path.unlink()
    # Under another name, so that no run takes it for the right file; not downloaded twice.
    unexpected = path.with_name(f"{path.name}.sha256-{found[:16]}")
    path.replace(unexpected)
    no_zip = path.suffix == ".zip" and not zipfile.is_zipfile(unexpected)
    raise DownloadError(
        f"{archive.name} is not the file that was expected{' (no whole zip archive)' * no_zip}.\n"
        f"  expected: {archive.size} bytes, SHA-256 {archive.sha256 or 'unknown'} "
        f"(according to {source.hashes_from})\n"
        f"  found:    {size} bytes, SHA-256 {found}\n"
        f"It may have been damaged on the way, or released anew; see {source.home}. Nothing was "
        f"unpacked. It is kept as {unexpected}.\n"
        f"To use it all the same, run the same command with --accept-hash {found}\n"
        "To download it afresh, delete it and run the same command."
    )


@dataclass
class ResumingDownloader:
    """Downloader for `pooch.retrieve` that goes on where an interrupted download ended.

    Data are kept in ``NAME.part``, what the server said of them in ``NAME.part.json``: its
    entity tag or date goes along as ``If-Range`` (RFC 9110, section 13.1.5), so that a file
    that changed meanwhile comes whole.

    Parameters
    ----------
    path : Path
        Where the file will lie in the end.
    source : Source
    hash_known : bool
        A part of another release will be found out, even where the server gives no tag or date.
    timeout_s : float
        How long the server may be silent, in seconds.
    progress : bool
    resumed : bool
        Set when a part of an earlier connection was used.
    received : int
        Bytes that came so far.
    """

    path: Path
    source: Source
    hash_known: bool
    timeout_s: float = 30.0
    progress: bool = True
    resumed: bool = False
    received: int = 0

    @property
    def part(self) -> Path:
        return _part(self.path)

    @property
    def facts(self) -> Path:
        return self.part.with_name(f"{self.part.name}.json")

    def __call__(self, url: str, output_file: str, _: Any) -> None:
        """Download `url` into `output_file`; raises DownloadError."""
        self._say(f"downloading {self.path.name} from {url}")
        for wait in [0.0, *(BACKOFF_S * 2**n for n in range(TRIES - 1))]:
            time.sleep(wait)
            try:
                self._receive(url)
            except requests.RequestException as error:
                reason = _reason(error, self.timeout_s)
                if not self.received:
                    raise _failed(url, self.path.name, reason, self.source, self.path) from error
                self._say(f"{self.path.name}: connection cut after {_size(self._have())}")
            else:
                self.part.replace(output_file)
                self.facts.unlink(missing_ok=True)
                return
        raise DownloadError(
            f"{self.path.name}: the connection to {urlsplit(url).netloc} was cut {TRIES} times "
            f"({reason}); {_size(self._have())} are at hand: run the same command again to go on"
        )

    def _say(self, words: str) -> None:
        if self.progress:
            tqdm.write(words, file=sys.stderr)

    def _have(self) -> int:
        return self.part.stat().st_size if self.part.is_file() else 0

    def _receive(self, url: str) -> None:
        """Ask for what is missing and append it to the part."""
        facts = self._usable_facts(url)
        have = self._have() if facts else 0
        headers = {"Accept-Encoding": "identity"}
        if have:
            headers["Range"] = f"bytes={have}-"
            if facts["if_range"]:
                headers["If-Range"] = facts["if_range"]
        with requests.get(url, headers=headers, stream=True, timeout=self.timeout_s) as response:
            code = response.status_code
            if have and code == 416 and have == facts["total"]:
                self.resumed = True
                return
            if have and (code == 416 or (code == 206 and not _fits(response, have, facts))):
                self._forget()
                return self._receive(url)
            if code == 200:
                have, facts = 0, self._start(url, response)
            elif not (have and code == 206):
                reason = _status(response)
                raise _failed(url, self.path.name, reason, self.source, self.path)
            self.resumed = self.resumed or have > 0
            self._append(response, have, facts["total"])

    def _append(self, response: requests.Response, have: int, total: int | None) -> None:
        _check_space(self.part.parent, max(0, (total or 0) - have), f"the rest of {self.path.name}")
        bar = tqdm(
            desc=self.path.name,
            total=total,
            initial=have,
            unit="B",
            unit_scale=True,
            disable=None if self.progress else True,
        )
        # Unbuffered: what was received survives a kill.
        with bar, open(self.part, "ab", buffering=0) as file:
            for chunk in response.iter_content(CHUNK):
                file.write(chunk)
                self.received += len(chunk)
                bar.update(len(chunk))
        if total is not None and self._have() != total:
            raise requests.ConnectionError(f"{self._have()} of {total} bytes came")

    def _start(self, url: str, response: requests.Response) -> dict[str, Any]:
        """Begin a new part: nothing older may be taken for its beginning."""
        if response.headers.get("Content-Type", "").startswith("text/html"):
            reason = "answered with a web page"
            raise _failed(url, self.path.name, reason, self.source, self.path)
        self._forget()
        length = response.headers.get("Content-Length", "")
        facts = {
            "url": url,
            "if_range": _if_range(response),
            "total": int(length) if length.isdigit() else None,
        }
        write_json(self.facts, facts)
        return facts

    def _usable_facts(self, url: str) -> dict[str, Any]:
        """What the server said of the part; empty where it cannot be continued."""
        try:
            facts = read_json(self.facts)
            usable = facts["url"] == url and (facts["if_range"] or self.hash_known)
            return facts if usable and "total" in facts else {}
        except (OSError, ValueError, KeyError, TypeError):
            return {}

    def _forget(self) -> None:
        self.part.unlink(missing_ok=True)
        self.facts.unlink(missing_ok=True)


def _if_range(response: requests.Response) -> str:
    """What tells this state of the file: a strong entity tag, else its date, else nothing."""
    tag = response.headers.get("ETag", "")
    return tag if tag.startswith('"') else response.headers.get("Last-Modified", "")


def _fits(response: requests.Response, have: int, facts: dict[str, Any]) -> bool:
    """Whether a partial answer continues the part."""
    match = re.fullmatch(
        r"bytes (\d+)-\d+/(\d+|\*)", response.headers.get("Content-Range", "").strip()
    )
    known = facts["total"] is None or match and match[2] in ("*", str(facts["total"]))
    same = _if_range(response) in ("", facts["if_range"])
    return bool(match and int(match[1]) == have and known and same)


def _status(response: requests.Response) -> str:
    words = {
        401: "asks for a login",
        403: "does not hand it out",
        404: "does not have it",
        429: "is asked too often",
        500: "has a fault",
        502: "is unavailable for now",
        503: "is unavailable for now",
    }
    return f"{words.get(response.status_code, 'refused')} (HTTP {response.status_code})"


def _reason(error: requests.RequestException, timeout_s: float) -> str:
    """In words, why no answer came."""
    text = str(error)
    cause = getattr(error.args[0], "reason", None) if error.args else None
    if isinstance(error, requests.exceptions.SSLError):
        return f"has no trusted TLS connection ({cause or text})"
    if isinstance(error, requests.Timeout) or "timed out" in text:
        return f"did not answer within {timeout_s:g} s"
    if isinstance(error, requests.exceptions.ProxyError):
        return "cannot be reached through the proxy"
    if isinstance(cause, NameResolutionError):
        return "is unknown here (no network, or a wrong name)"
    if "refused" in text:
        return "refuses connections"
    return f"broke the connection ({cause or text})"


def _failed(
    url: str, name: str, reason: str, source: Source, path: Path | None = None
) -> DownloadError:
    by_hand = f", put it at {path} and run the same command again" if path else ""
    return DownloadError(
        f"{name}: {urlsplit(url).netloc} {reason} ({url}). Try again later; or take it by hand "
        f"from {source.home}{by_hand}; or name another address with --mirror URL"
    )


def _unpack(files: list[dict[str, Any]], work: Path, progress: bool) -> None:
    """Make ``unpacked`` of ``archives``, whole or not at all."""
    folder = work / "unpacked"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    try:
        for file in files:
            path = work / "archives" / file["name"]
            if path.suffix == ".zip":
                unzip(path, folder, progress)
            else:
                _place(path, folder / file["name"])
    except BaseException:
        shutil.rmtree(folder, ignore_errors=True)
        raise


def _place(path: Path, target: Path) -> None:
    """A second name for a file, or a copy where the file system has no hard links."""
    target.parent.mkdir(parents=True, exist_ok=True)
    target.unlink(missing_ok=True)
    try:
        os.link(path, target)
    except OSError:
        shutil.copyfile(path, target)

"""Resumable download of one file over HTTP.

pooch fetches and caches files but starts an interrupted download again from zero, and no library
that we found continues one with the conditional range requests of RFC 9110. DEAM's audio alone
has 1.3 GB, so that this part is our own.
"""

from __future__ import annotations

import re
import sys
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import requests
from tqdm import tqdm

from msr_utils.corpora.download.failures import failed, failure_words, status_words
from msr_utils.corpora.download.sources import DownloadError, Source
from msr_utils.corpora.download.space import check_space, readable_size
from msr_utils.io import read_json, write_json

TRIES = 5
"""Number of connections that are tried for one file."""

BACKOFF_S = 1.0
"""Wait before the second try in seconds; doubled before each later one."""

CHUNK = 2**16
"""Bytes received at a time."""


def part_of(path: Path) -> Path:
    """Name of a file while it is incomplete."""
    return path.with_name(f"{path.name}.part")


@dataclass(frozen=True)
class PartState:
    """What the server stated about a partly downloaded file.

    Parameters
    ----------
    url : str
    if_range : str
        Strong entity tag or date of the file; empty if the server stated neither.
    total : int, optional
        Size of the whole file in bytes.
    """

    url: str
    if_range: str
    total: int | None


@dataclass
class ResumingDownloader:
    """Downloader for `pooch.retrieve` that continues an interrupted download.

    Data are kept in ``NAME.part``, and a `PartState` in ``NAME.part.json``. The entity tag or
    date is sent as ``If-Range`` (RFC 9110, section 13.1.5), so that a file that has changed
    meanwhile is sent as a whole.

    Parameters
    ----------
    path : Path
        Final path of the file.
    source : Source
    hash_known : bool
        Whether the hash of the whole file is known. If it is, a part of another version is
        detected even without entity tag or date.
    timeout_s : float
        Longest silence of the server in seconds.
    progress : bool
    resumed : bool
        Set when a part of an earlier connection was used.
    received : int
        Bytes received so far.
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
        """The incomplete file."""
        return part_of(self.path)

    @property
    def state_file(self) -> Path:
        """The state of the incomplete file."""
        return self.part.with_name(f"{self.part.name}.json")

    def __call__(self, url: str, output_file: str, _: Any) -> None:
        """Download `url` into `output_file`; raises DownloadError."""
        self._print(f"downloading {self.path.name} from {url}")
        reason = ""
        for wait_s in [0.0, *(BACKOFF_S * 2**n for n in range(TRIES - 1))]:
            time.sleep(wait_s)
            try:
                self._receive(url)
            except requests.RequestException as error:
                reason = failure_words(error, self.timeout_s)
                if not self.received:
                    raise failed(url, self.path.name, reason, self.source, self.path) from error
                size = readable_size(self._part_size())
                self._print(f"{self.path.name}: connection cut after {size}")
            else:
                self.part.replace(output_file)
                self.state_file.unlink(missing_ok=True)
                return
        raise DownloadError(
            f"{self.path.name}: the connection to {urlsplit(url).netloc} was cut {TRIES} times "
            f"({reason}); {readable_size(self._part_size())} are kept: run the same command again "
            "to continue",
            file=self.path.name,
        )

    def _print(self, message: str) -> None:
        if self.progress:
            tqdm.write(message, file=sys.stderr)

    def _part_size(self) -> int:
        return self.part.stat().st_size if self.part.is_file() else 0

    def _receive(self, url: str) -> None:
        """Request the missing bytes and append them to the part."""
        state = self._usable_state(url)
        offset = self._part_size() if state else 0
        headers = {"Accept-Encoding": "identity"}
        if state and offset:
            headers["Range"] = f"bytes={offset}-"
            if state.if_range:
                headers["If-Range"] = state.if_range
        with requests.get(url, headers=headers, stream=True, timeout=self.timeout_s) as response:
            code = response.status_code
            if state and offset:
                if code == 416 and offset == state.total:
                    self.resumed = True
                    return
                if code == 416 or (code == 206 and not _continues(response, offset, state)):
                    self._delete_part()
                    return self._receive(url)
            if code == 200:
                offset, state = 0, self._start(url, response)
            elif not (state and offset and code == 206):
                raise failed(url, self.path.name, status_words(code), self.source, self.path)
            self.resumed = self.resumed or offset > 0
            self._append(response, offset, state.total)

    def _append(self, response: requests.Response, offset: int, total: int | None) -> None:
        """Append the body of an answer to the part."""
        rest = max(0, (total or 0) - offset)
        check_space(self.part.parent, rest, f"the rest of {self.path.name}")
        bar = tqdm(
            desc=self.path.name,
            total=total,
            initial=offset,
            unit="B",
            unit_scale=True,
            disable=None if self.progress else True,
        )
        # Unbuffered, so that received bytes survive a kill.
        with bar, open(self.part, "ab", buffering=0) as file:
            for chunk in response.iter_content(CHUNK):
                file.write(chunk)
                self.received += len(chunk)
                bar.update(len(chunk))
        if total is not None and self._part_size() != total:
            raise requests.ConnectionError(f"{self._part_size()} of {total} bytes received")

    def _start(self, url: str, response: requests.Response) -> PartState:
        """Begin a new part; an older one is deleted."""
        if response.headers.get("Content-Type", "").startswith("text/html"):
            reason = "answered with a web page"
            raise failed(url, self.path.name, reason, self.source, self.path)
        self._delete_part()
        length = response.headers.get("Content-Length", "")
        state = PartState(url, _validator(response), int(length) if length.isdigit() else None)
        write_json(self.state_file, asdict(state))
        return state

    def _usable_state(self, url: str) -> PartState | None:
        """State of the part; None if it cannot be continued."""
        try:
            state = PartState(**read_json(self.state_file))
        except (OSError, ValueError, TypeError):
            return None
        usable = state.url == url and (state.if_range or self.hash_known)
        return state if usable else None

    def _delete_part(self) -> None:
        self.part.unlink(missing_ok=True)
        self.state_file.unlink(missing_ok=True)


def _validator(response: requests.Response) -> str:
    """Identifies this version of the file: a strong entity tag, else its date, else empty."""
    tag = response.headers.get("ETag", "")
    return tag if tag.startswith('"') else response.headers.get("Last-Modified", "")


def _continues(response: requests.Response, offset: int, state: PartState) -> bool:
    """Whether a partial answer continues the part."""
    match = re.fullmatch(
        r"bytes (\d+)-\d+/(\d+|\*)", response.headers.get("Content-Range", "").strip()
    )
    if not match or int(match[1]) != offset:
        return False
    same_size = state.total is None or match[2] in ("*", str(state.total))
    return same_size and _validator(response) in ("", state.if_range)

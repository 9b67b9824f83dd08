"""Download of a data set from the Hugging Face hub, through the hub's own client."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from huggingface_hub import HfApi, constants, hf_hub_url, snapshot_download
from huggingface_hub.errors import HfHubHTTPError, OfflineModeIsEnabled
from tqdm.auto import tqdm

from msr_utils.corpora.download.failures import (
    causes,
    failed,
    failure_words,
    status_words,
)
from msr_utils.corpora.download.sources import Archive, DownloadError, Source
from msr_utils.corpora.download.unzip import check_name

LISTING = "the list of files"


def list_files(source: Source, endpoint: str, timeout_s: float) -> tuple[str, list[Archive]]:
    """Ask the hub for the current version of a data set and its files.

    Parameters
    ----------
    source : Source
    endpoint : str
        Address of another hub; empty for the default one.
    timeout_s : float

    Returns
    -------
    revision : str
        Commit of the data set.
    files : list of Archive
        Large files come with their SHA-256. Dot files are left out.

    Raises
    ------
    DownloadError
        If the hub does not answer, or answers with something else.
    """
    url = f"{endpoint or constants.ENDPOINT}/api/datasets/{source.hub}"
    # No token: the data set is public, and a mirror must not see one.
    api = HfApi(endpoint=endpoint or None, token=False)
    try:
        info = api.dataset_info(source.hub, files_metadata=True, timeout=timeout_s)
        files = [
            Archive(
                name=file.rfilename,
                url=_address(source, file.rfilename, info.sha, endpoint),
                size=None if file.size is None else int(file.size),
                sha256=file.lfs.sha256 if file.lfs else None,
            )
            for file in info.siblings or ()
            if not file.rfilename.startswith(".")
        ]
    except HfHubHTTPError as error:
        raise _error(error, url, LISTING, source, timeout_s) from error
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise failed(url, LISTING, "answered with something else", source) from error
    except Exception as error:  # the client passes on the errors of its HTTP library
        raise _error(error, url, LISTING, source, timeout_s) from error
    for file in files:
        check_name(file.name, f"{LISTING} at {url}")
    if not files or not info.sha:
        raise failed(url, LISTING, "lists none", source)
    return info.sha, files


def download_snapshot(
    source: Source, endpoint: str, revision: str, folder: Path, timeout_s: float, progress: bool
) -> None:
    """Download all files of a data set that are not in a folder yet.

    The client retries broken connections, and a later call continues with the missing files.

    Parameters
    ----------
    source : Source
    endpoint : str
        Address of another hub; empty for the default one.
    revision : str
        Commit of the data set.
    folder : Path
    timeout_s : float
    progress : bool

    Raises
    ------
    DownloadError
        If the hub does not answer or refuses.
    """
    try:
        snapshot_download(
            source.hub,
            repo_type="dataset",
            revision=revision,
            local_dir=folder,
            endpoint=endpoint or None,
            token=False,
            etag_timeout=timeout_s,
            ignore_patterns=[".*"],
            tqdm_class=None if progress else _NoBar,
        )
    except Exception as error:  # the client passes on the errors of its HTTP library
        if isinstance(error, OSError) and error.errno is not None and error.filename is not None:
            raise  # of the file system
        url = f"{endpoint or constants.ENDPOINT}/datasets/{source.hub}"
        raise _error(error, url, source.hub, source, timeout_s) from error


def _address(source: Source, name: str, revision: str | None, endpoint: str) -> str:
    return hf_hub_url(
        source.hub, name, repo_type="dataset", revision=revision, endpoint=endpoint or None
    )


def _error(
    error: Exception, url: str, name: str, source: Source, timeout_s: float
) -> DownloadError:
    """An error of the client as a `DownloadError`."""
    for cause in causes(error):
        if isinstance(cause, HfHubHTTPError):
            return failed(url, name, status_words(cause.response.status_code), source)
        if isinstance(cause, OfflineModeIsEnabled):
            return failed(url, name, "is not asked, because HF_HUB_OFFLINE is set", source)
    return failed(url, name, failure_words(error, timeout_s), source)


class _NoBar(tqdm):
    """A progress bar that is never shown."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **(options | {"disable": True}))

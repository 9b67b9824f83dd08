"""Disk space that a download needs."""

from __future__ import annotations

import shutil
from pathlib import Path

from msr_utils.corpora.download.sources import DownloadError


def check_space(folder: Path, needed: int, what: str) -> None:
    """Refuse to start what does not fit on the disk.

    Parameters
    ----------
    folder : Path
        Need not exist yet.
    needed : int
        Bytes.
    what : str
        What needs them, the subject of the error message.

    Raises
    ------
    DownloadError
        If less is free.
    """
    existing = next(p for p in (folder, *folder.parents) if p.exists())
    free = shutil.disk_usage(existing).free
    if needed > free:
        raise DownloadError(
            f"not enough space: {what} needs {readable_size(needed)}, {readable_size(free)} are "
            f"free at {folder}",
            field="folder",
        )


def readable_size(count: int) -> str:
    """A number of bytes in words."""
    return f"{count / 1e6:,.1f} MB" if count >= 100_000 else f"{count:,} bytes"

"""Download of the public corpora: terms first, resumed and verified files, careful unpacking.

Names, sizes and contents of archives are checked before they are used. All work happens in
``DIR.fetching`` beside the requested folder, which appears at the end, complete.
"""

from msr_utils.corpora.download.fetch import FetchedFile, fetch, fetched_files
from msr_utils.corpora.download.sources import (
    SOURCES,
    Archive,
    DownloadError,
    Source,
    find_source,
)

__all__ = [
    "SOURCES",
    "Archive",
    "DownloadError",
    "FetchedFile",
    "Source",
    "fetch",
    "fetched_files",
    "find_source",
]

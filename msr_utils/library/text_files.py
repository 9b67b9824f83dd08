"""Files of text that people write or export: scenes, markers and arcs."""

from __future__ import annotations

from pathlib import Path

from msr_utils.io import printable
from msr_utils.library.shards import LibraryError


def read_text(file: Path, what: str, expected: str) -> str:
    """The text of a file. Its line ends stay as they are.

    Parameters
    ----------
    file : Path
    what : str
        What it should hold, such as ``"scenes"``.
    expected : str
        The format that it should have, for the error.

    Raises
    ------
    LibraryError
        If the file cannot be read or is not text.
    """
    try:
        with open(file, encoding="utf-8-sig", newline="") as opened:
            return opened.read()
    except UnicodeDecodeError as error:
        reason = f"it is not text in UTF-8 (byte {error.start + 1})"
    except OSError as error:
        reason = error.strerror or str(error)
    raise LibraryError(
        f"library: cannot read {what} from {printable(str(file))}: {reason}; it must be {expected}"
    )

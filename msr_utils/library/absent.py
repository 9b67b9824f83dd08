"""What is said about a file that was named but has no curve in a library."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from msr_utils.io import printable
from msr_utils.library.shards import LibraryError

if TYPE_CHECKING:
    from msr_utils.library.catalogue import Catalogue


def absent(catalogue: Catalogue, path: str) -> LibraryError:
    """The error of a file without a curve: why there is none, and what to do.

    Parameters
    ----------
    catalogue : Catalogue
    path : str
        Absolute.
    """
    name, known = printable(path), catalogue.known_file(path)
    if known is not None and known.state in ("failed", "unreadable"):
        reason = catalogue.reason(known.id) or known.state
        text = (
            f"{name} could not be analysed ({reason}); repair or replace the file, then call "
            "'msr library rescan'"
        )
    elif known is not None:
        text = f"{name} is in it, but has no curve now; call 'msr library rescan'"
    elif os.path.isdir(path):
        text = f"{name} is a folder; name a file of the library"
    elif os.path.lexists(path):
        folder = printable(os.path.dirname(path))
        text = f"{name} is not in it; add its folder with 'msr library add {folder}'"
    else:
        text = (
            f"{name} is not in it, and there is no such file; check the name. 'msr library status' "
            "lists the folders of the library"
        )
    return LibraryError(f"library: {text}")

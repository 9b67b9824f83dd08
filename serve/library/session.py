"""An open library, and what searches see of it now."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from http import HTTPStatus
from pathlib import Path

import numpy as np

from msr_utils.constants import TARGETS
from msr_utils.library.library import Library, View
from msr_utils.library.shards import LibraryError
from serve.request_errors import RequestError

DAMAGED = (EOFError, IndexError, MemoryError, OSError, OverflowError, TypeError, ValueError)
"""What NumPy raises for arrays of a shard that are cut off or overwritten, by the damage."""


@contextmanager
def named(field: str, status: int = HTTPStatus.UNPROCESSABLE_ENTITY) -> Iterator[None]:
    """Say which field of the request an error of the library is about."""
    try:
        yield
    except LibraryError as error:
        raise RequestError(status, field, error_text(error)) from error


class Session:
    """A library that is opened when it is first needed, and looked at again when it changed.

    Parameters
    ----------
    folder : Path
    store : str
        URL of a database; empty if all lies in the folder.
    """

    def __init__(self, folder: Path, store: str = "") -> None:
        self._place = folder, store
        self._library: Library | None = None
        self._view: View | None = None
        self._stamp: tuple[int | None, ...] = ()

    def close(self) -> None:
        """Close the library."""
        if self._library is not None:
            self._library.close()
        self._library = self._view = None

    @property
    def library(self) -> Library:
        """The library."""
        if self._library is None:
            self._library = Library(self._place[0], store=self._place[1])
        return self._library

    @property
    def view(self) -> View:
        """What searches see. The same object, and its caches, until something changes."""
        stamp = self.library.stamp()
        if self._view is None or stamp != self._stamp:
            try:
                self._view = self.library.view()
            except DAMAGED as error:
                raise LibraryError(self._damage(error)) from error
            self._stamp = stamp
        return self._view

    def _damage(self, error: BaseException) -> str:
        """What is wrong with the index, after its arrays could not be opened."""
        files = sorted(self._place[0].rglob("*.npy"))
        empty = [str(file.relative_to(self._place[0])) for file in files if not file.stat().st_size]
        what = f"empty: {', '.join(empty)}" if empty else str(error)
        return (
            f"library: a shard of its index is damaged ({what}); delete the library's folder and "
            "add the music again"
        )

    def row(self, view: View, track: int, field: str = "track", status: int = 422) -> int:
        """Row of a track.

        Raises
        ------
        RequestError
            If searches do not see a track with this number.
        """
        rows = np.flatnonzero(view.ids == track)
        rows = rows[view.visible[rows]]
        if not len(rows):
            raise RequestError(status, field, f"the library has no track {track}")
        return int(rows[0])


def mean_of(view: View, row: int) -> tuple[float, float]:
    """Mean valence and arousal of a track."""
    valence, arousal = (float(view.numbers(f"mean_{target}")[row]) for target in TARGETS)
    return valence, arousal


def error_text(error: LibraryError) -> str:
    """What an error says, in the words of the API."""
    return str(error).removeprefix("library: ").replace("--", "")

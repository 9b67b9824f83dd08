"""Hard filters: what a track must be, and what it must not be."""

from __future__ import annotations

import difflib
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from msr_utils.library.library import View
from msr_utils.library.shards import LibraryError, UsageError
from msr_utils.library.tags import parts

Range = tuple[float | None, float | None]
"""Lowest and highest value; None sets no limit."""


@dataclass(frozen=True)
class Filters:
    """What a track must be. Names are compared as a whole, or with one of several, in any case.

    Parameters
    ----------
    artist, genre : tuple of str
        One of these; empty: any.
    not_artist, not_genre : tuple of str
        None of these.
    year, seconds, tempo : (float or None, float or None)
        Ends are included. A track whose value is unknown is left out if there is a limit.
    certainty : float
        Least probability that the quadrant of the track's mean is right.
    """

    artist: tuple[str, ...] = ()
    not_artist: tuple[str, ...] = ()
    genre: tuple[str, ...] = ()
    not_genre: tuple[str, ...] = ()
    year: Range = (None, None)
    seconds: Range = (None, None)
    tempo: Range = (None, None)
    certainty: float = 0.0


@dataclass(frozen=True)
class Removed:
    """What a filter removed.

    Parameters
    ----------
    filter : str
    tracks : int
        Tracks that passed the filters before it and not this one.
    """

    filter: str
    tracks: int


def apply(view: View, filters: Filters) -> tuple[np.ndarray, tuple[Removed, ...]]:
    """Tracks that pass all filters.

    Returns
    -------
    mask : np.ndarray [shape=(rows,), dtype=bool]
    removed : tuple of Removed
        One for each filter, in the order in which they are applied.

    Raises
    ------
    LibraryError
        If no track has an artist or a genre that is named, or the certainty is no probability.
    """
    if not 0 <= filters.certainty <= 1:
        raise UsageError(
            f"library: --certainty must lie between 0 and 1, not {filters.certainty:g}"
        )
    mask = view.visible.copy()
    left = int(mask.sum())
    removed = []
    for name, passes in _masks(view, filters):
        mask &= passes
        still = int(mask.sum())
        removed.append(Removed(name, left - still))
        left = still
    return mask, tuple(removed)


def _masks(view: View, filters: Filters) -> Iterator[tuple[str, np.ndarray]]:
    for kind in ("artist", "genre"):
        wanted, unwanted = getattr(filters, kind), getattr(filters, f"not_{kind}")
        if wanted:
            yield f"{kind} {' or '.join(wanted)}", _has_name(view, kind, wanted)
        for name in unwanted:
            yield f"not {kind} {name}", ~_has_name(view, kind, (name,))
    for column in ("year", "seconds", "tempo"):
        low, high = getattr(filters, column)
        if low is None and high is None:
            continue
        values = view.numbers(column)
        # Comparisons with NaN are false: what is unknown does not pass.
        passes = np.isfinite(values)
        if low is not None:
            passes &= values >= low
        if high is not None:
            passes &= values <= high
        shown = ["" if end is None else f"{end:g}" for end in (low, high)]
        yield f"{column} {'-'.join(shown)}", passes
    if filters.certainty > 0:
        yield f"certainty {filters.certainty:g}", view.numbers("certainty") >= filters.certainty


def _has_name(view: View, kind: str, names: tuple[str, ...]) -> np.ndarray:
    """Tracks that have one of these artists or genres."""
    codes: list[int] = []
    for name in names:
        wanted = name.strip().casefold()
        found = [
            code
            for known, code in view.catalogue.names(kind, wanted).items()
            if known.casefold() == wanted or wanted in parts(known)
        ]
        if not found:
            close = difflib.get_close_matches(name, view.catalogue.names(kind), 3, 0.6)
            hint = f"; similar: {', '.join(close)}" if close else ""
            raise LibraryError(f"library: no track has the {kind} {name!r}{hint}")
        codes += found
    return np.isin(view.codes(kind), np.array(codes, np.int32))

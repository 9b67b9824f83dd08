"""How long a run of notes is that a piece shares with another, whatever the key.

A run is a sequence of notes with the same intervals and nearly the same waits. Pieces in another
key or at a tempo that differs by a few per cent still share it.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np

from msr_utils.notes import Notes
from msr_utils.symbolic.statistics import CHORD_S

WAIT_STEP = np.log(2) / 2
"""Waits are compared on a scale with two steps to a doubling."""

MAX_RUN = 400
"""Longer runs are not told apart."""

_FACTOR = np.uint64(6364136223846793005)


def _symbols(notes: Notes) -> np.ndarray:
    """Interval from the note before and the wait since, one number a note, (N - 1,)."""
    # Within a chord the order is that of pitch, however the chord was spread.
    chord = np.cumsum(np.diff(notes.start_s, prepend=notes.start_s[:1]) > CHORD_S)
    order = np.lexsort((notes.pitch, chord))
    interval = np.diff(notes.pitch[order])
    begin = notes.start_s[np.searchsorted(chord, chord)]
    wait = np.diff(begin[order])
    step = np.where(wait > CHORD_S, np.rint(np.log(wait.clip(CHORD_S) / CHORD_S) / WAIT_STEP), -1)
    return ((interval + 128) * 64 + step.astype(int) + 1).astype(np.uint64)


def longest_shared_runs(pieces: Sequence[Notes], others: Iterable[Notes]) -> np.ndarray:
    """Longest run of notes that each piece shares with any of the others.

    Parameters
    ----------
    pieces : sequence of Notes
        With at least two notes each.
    others : iterable of Notes

    Returns
    -------
    np.ndarray [shape=(pieces,), dtype=int]
        In notes, up to `MAX_RUN`; 1 if no interval is shared.
    """
    ours, known = _Runs([_symbols(n) for n in pieces]), _Runs([_symbols(n) for n in others])
    longest = np.ones(len(pieces), int)
    for length in range(2, MAX_RUN + 1):
        shared = ours.in_common(known)
        known.keep(known.in_common(ours))
        ours.keep(shared)
        if not len(ours.start):
            break
        longest[np.unique(ours.piece[ours.start])] = length
        ours.grow()
        known.grow()
    return longest


class _Runs:
    """Runs of one length within a set of pieces: where they start, and a hash of each."""

    def __init__(self, sequences: Sequence[np.ndarray]) -> None:
        lengths = [len(s) for s in sequences]
        self.symbols = np.concatenate([*sequences, np.empty(0, np.uint64)])
        self.piece = np.repeat(np.arange(len(sequences)), lengths)
        self.left = np.concatenate([np.arange(n, 0, -1) for n in lengths] or [np.empty(0, int)])
        self.start = np.arange(len(self.symbols))
        self.hashes = _mixed(self.symbols)
        self.length = 1

    def in_common(self, other: _Runs) -> np.ndarray:
        """Which runs the other set has, too."""
        theirs = np.sort(other.hashes)
        if not len(theirs):
            return np.zeros(len(self.hashes), bool)
        place = np.searchsorted(theirs, self.hashes).clip(max=len(theirs) - 1)
        return np.asarray(theirs[place] == self.hashes)

    def keep(self, chosen: np.ndarray) -> None:
        """Drop other runs: one of k + 1 notes is shared only if its first k are."""
        self.start, self.hashes = self.start[chosen], self.hashes[chosen]

    def grow(self) -> None:
        """Make every run longer by a note; those at the end of a piece are dropped."""
        self.keep(self.left[self.start] > self.length)
        following = self.symbols[self.start + self.length]
        self.hashes = _mixed(self.hashes * _FACTOR + following)
        self.length += 1


def _mixed(values: np.ndarray) -> np.ndarray:
    """Scatter numbers over 64 bits (the finaliser of MurmurHash3, by Appleby)."""
    with np.errstate(over="ignore"):
        values = values ^ (values >> np.uint64(33))
        values = values * np.uint64(0xFF51AFD7ED558CCD)
        values = values ^ (values >> np.uint64(33))
        values = values * np.uint64(0xC4CEB9FE1A85EC53)
        return np.asarray(values ^ (values >> np.uint64(33)))

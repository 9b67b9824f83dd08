"""Notes as words: one word a note, with four attributes that a network reads side by side.

A note is one step of the sequence, as in MusicBERT (Zeng and others 2021, "MusicBERT: symbolic
music understanding with large-scale pre-training", Findings of ACL), which makes it three to four
times as short as a sequence of single tokens. MusicBERT writes times as bar and position.
Transcribed clips have no bars, so that the wait since the previous note stands here instead.
"""

from __future__ import annotations

import numpy as np

from msr_utils.notes import Notes

ATTRIBUTES = ("pitch", "velocity", "length", "wait")
"""Columns of an array of words."""

PADDING, MASK, N_SPECIAL = 0, 1, 2
"""Codes of each attribute with another meaning: no note, and a note that is hidden."""

VELOCITY_STEP = 4
"""Velocities in one code."""

LENGTH_BOUNDS_S = np.geomspace(0.03, 8.0, 39)
"""Bounds of the codes of lengths in seconds: each is 16 % longer than the one before."""

WAIT_BOUNDS_S = np.concatenate([[0.01], np.geomspace(0.03, 4.0, 38)])
"""Bounds of the codes of waits. The lowest code means: together with the previous note."""

SIZES = (
    N_SPECIAL + 128,
    N_SPECIAL + 128 // VELOCITY_STEP,
    N_SPECIAL + len(LENGTH_BOUNDS_S) + 1,
    N_SPECIAL + len(WAIT_BOUNDS_S) + 1,
)
"""Number of codes of each attribute."""


def words(notes: Notes) -> np.ndarray:
    """Encode notes.

    Returns
    -------
    np.ndarray [shape=(N, 4), dtype=int32]
        In the order of `ATTRIBUTES`; codes from `N_SPECIAL` on.
    """
    wait_s = np.diff(notes.start_s, prepend=notes.start_s[:1])
    codes = (
        notes.pitch,
        notes.velocity // VELOCITY_STEP,
        np.searchsorted(LENGTH_BOUNDS_S, notes.length_s),
        np.searchsorted(WAIT_BOUNDS_S, wait_s),
    )
    return np.stack(codes, axis=1).astype(np.int32) + N_SPECIAL


def windows(sequence: np.ndarray, length: int) -> np.ndarray:
    """Cut a sequence into windows that cover it, the last one up to its end.

    Parameters
    ----------
    sequence : np.ndarray [shape=(N, ...)]
    length : int > 0

    Returns
    -------
    np.ndarray [shape=(windows, length, ...)]
        A sequence that is too short is padded with `PADDING` at the end.
    """
    starts = list(range(0, max(len(sequence) - length, 0) + 1, length))
    if starts[-1] + length < len(sequence):
        starts.append(len(sequence) - length)
    return np.stack([padded(sequence[start : start + length], length) for start in starts])


def random_window(sequence: np.ndarray, length: int, rng: np.random.Generator) -> np.ndarray:
    """One window of a sequence from a random place, padded as in `windows`."""
    start = rng.integers(max(len(sequence) - length, 0) + 1)
    return padded(sequence[start : start + length], length)


def padded(sequence: np.ndarray, length: int) -> np.ndarray:
    """A sequence filled up with `PADDING`."""
    fill = [(0, length - len(sequence))] + [(0, 0)] * (sequence.ndim - 1)
    return np.pad(sequence, fill, constant_values=PADDING)

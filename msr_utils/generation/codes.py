"""Notes as codes that a generator reads and writes: one note is one step.

Pitch, velocity and length are those of `msr_utils.symbolic.words`. Waits are finer here: their
codes are 6 % apart, near the smallest change of tempo that listeners notice, so that a pulse
stays steady. Code 0 of every attribute stands for the start of a piece.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

import numpy as np

from msr_utils.notes import Notes
from msr_utils.symbolic.words import LENGTH_BOUNDS_S, N_SPECIAL, VELOCITY_STEP
from msr_utils.symbolic.words import SIZES as WORD_SIZES

ATTRIBUTES = ("wait", "pitch", "velocity", "length")
"""Columns of an array of codes, in the order in which a generator draws them."""

WAIT, PITCH, VELOCITY, LENGTH = range(len(ATTRIBUTES))

START = 0
"""Code of each attribute before the first note."""

WAIT_BOUNDS_S = np.concatenate([[0.01], np.geomspace(0.025, 4.0, 88)])
"""Bounds of the codes of waits. The lowest code means: together with the previous note."""

SIZES = (N_SPECIAL + len(WAIT_BOUNDS_S) + 1, *WORD_SIZES[:3])
"""Number of codes of each attribute."""


class GeneratedNote(NamedTuple):
    """A note as it is generated.

    Parameters
    ----------
    start_s, length_s : float
    pitch : int
        MIDI number.
    velocity : int
        1 to 127.
    """

    start_s: float
    length_s: float
    pitch: int
    velocity: int


def encode(notes: Notes) -> np.ndarray:
    """Codes of notes.

    Returns
    -------
    np.ndarray [shape=(N, 4), dtype=int32]
        In the order of `ATTRIBUTES`; codes from `N_SPECIAL` on.
    """
    columns = (
        np.searchsorted(WAIT_BOUNDS_S, np.diff(notes.start_s, prepend=notes.start_s[:1])),
        notes.pitch,
        notes.velocity // VELOCITY_STEP,
        np.searchsorted(LENGTH_BOUNDS_S, notes.length_s),
    )
    return np.stack(columns, axis=1).astype(np.int32) + N_SPECIAL


def _middles(bounds: np.ndarray, lowest: float) -> np.ndarray:
    """One value for each code: the geometric mean of its bounds."""
    inner = np.sqrt(bounds[1:] * bounds[:-1])
    return np.concatenate([np.zeros(N_SPECIAL), [lowest], inner, bounds[-1:]])


WAITS_S = _middles(WAIT_BOUNDS_S, 0.0)
LENGTHS_S = _middles(LENGTH_BOUNDS_S, float(LENGTH_BOUNDS_S[0]))
"""Seconds that each code stands for."""


def velocity_of(code: int) -> int:
    """Velocity in the middle of a code."""
    return max((code - N_SPECIAL) * VELOCITY_STEP + VELOCITY_STEP // 2, 1)


def as_notes(generated: Iterable[GeneratedNote]) -> Notes:
    """Generated notes as arrays, sorted by start and pitch.

    Parameters
    ----------
    generated : iterable of GeneratedNote
    """
    rows = np.array([tuple(note) for note in generated], np.float64).reshape(-1, 4)
    start, length, pitch, velocity = rows[np.lexsort((rows[:, 2], rows[:, 0]))].T
    return Notes(start, length, pitch.astype(np.int64), velocity.astype(np.int64))

"""Draw the next note from a network's logits, within limits of what a pianist plays."""

from __future__ import annotations

from collections import deque

import numpy as np

from msr_utils.generation.codes import LENGTHS_S, PITCH, WAIT, WAITS_S
from msr_utils.generation.limits import (
    MAX_NOTES_PER_SECOND,
    MAX_NOTES_TOGETHER,
    MAX_REPEATS,
    MAX_WAIT_S,
    PITCH_RANGE,
)
from msr_utils.symbolic.words import N_SPECIAL

WAIT_IN_A_CROWD_S = 0.1
"""Shortest wait after `MAX_NOTES_PER_SECOND` notes within a second."""

RECENT_NOTES = 64
"""Notes that are remembered, at least as many as any limit looks back on."""


class Guard:
    """Rules out codes that would lead to silence, a wall of notes or one key for ever."""

    def __init__(self) -> None:
        self._starts: deque[float] = deque(maxlen=RECENT_NOTES)
        self._pitches: deque[int] = deque(maxlen=RECENT_NOTES)
        self._now = 0.0

    def allowed(self, attribute: int, drawn: np.ndarray) -> np.ndarray:
        """Which codes of an attribute may be drawn.

        Parameters
        ----------
        attribute : int
            `msr_utils.generation.codes.WAIT`, `PITCH` and so on.
        drawn : np.ndarray [shape=(4,)]
            Codes of this note that have been drawn already.

        Returns
        -------
        np.ndarray [shape=(codes,), dtype=bool]
        """
        if attribute == WAIT:
            return self._waits()
        if attribute == PITCH:
            return self._keys(float(WAITS_S[drawn[WAIT]]))
        sizes = {2: N_SPECIAL + 32, 3: len(LENGTHS_S)}
        return np.arange(sizes[attribute]) >= N_SPECIAL

    def _waits(self) -> np.ndarray:
        allowed = (WAITS_S <= MAX_WAIT_S) & (np.arange(len(WAITS_S)) >= N_SPECIAL)
        starts = np.array(self._starts)
        if (starts > self._now - 1).sum() >= MAX_NOTES_PER_SECOND:
            allowed &= WAITS_S >= WAIT_IN_A_CROWD_S
        elif (starts == self._now).sum() >= MAX_NOTES_TOGETHER:
            allowed &= WAITS_S > 0
        return allowed

    def _keys(self, wait_s: float) -> np.ndarray:
        low, high = PITCH_RANGE
        pitch = np.arange(128)
        allowed = (pitch >= low) & (pitch <= high)
        if len(self._pitches) >= MAX_REPEATS:
            last = list(self._pitches)[-MAX_REPEATS:]
            if len(set(last)) == 1:
                allowed[last[0]] = False
        if wait_s == 0:  # one key cannot be struck twice at once
            for start, key in zip(self._starts, self._pitches, strict=True):
                if start == self._now:
                    allowed[key] = False
        return np.concatenate([np.zeros(N_SPECIAL, bool), allowed])

    def add(self, start_s: float, pitch: int) -> None:
        """Remember a note."""
        self._now = start_s
        self._starts.append(start_s)
        self._pitches.append(pitch)


def draw(
    logits: np.ndarray,
    allowed: np.ndarray,
    temperature: float,
    top_p: float,
    rng: np.random.Generator,
) -> int:
    """Draw a code from the smallest set of codes that together have the probability `top_p`.

    Holtzman, Buys, Du, Forbes and Choi (2020), "The curious case of neural text degeneration",
    ICLR.

    Parameters
    ----------
    logits : np.ndarray [shape=(codes,)]
    allowed : np.ndarray [shape=(codes,), dtype=bool]
        At least one is true.
    temperature : float > 0
    top_p : float in (0, 1]
    rng : np.random.Generator
        One number is drawn from it.
    """
    scaled = np.where(allowed, logits.astype(np.float64) / temperature, -np.inf)
    p = np.exp(scaled - scaled.max())
    p /= p.sum()
    order = np.argsort(-p, kind="stable")
    cumulated = np.cumsum(p[order])
    kept = int(np.searchsorted(cumulated, top_p)) + 1
    kept = min(kept, int(allowed.sum()))
    place = np.searchsorted(cumulated[:kept], rng.random() * cumulated[kept - 1], side="right")
    return int(order[min(int(place), kept - 1)])

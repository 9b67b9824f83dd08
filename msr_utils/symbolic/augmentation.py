"""Altered copies of clips that keep their label.

A transposition by a few semitones changes neither valence nor arousal much. The tempo changes
arousal, so that copies are only a little slower or faster.
"""

from __future__ import annotations

import numpy as np

from msr_utils.notes import Notes

MAX_SEMITONES = 5
"""Largest transposition, a fourth. An octave would change the register, which listeners do hear."""

MAX_TEMPO_CHANGE = 0.07
"""Largest change of tempo. It is near the smallest difference that listeners notice."""


def altered_copy(notes: Notes, rng: np.random.Generator) -> Notes:
    """A copy in another key and at a slightly different tempo."""
    semitones = int(rng.integers(-MAX_SEMITONES, MAX_SEMITONES + 1))
    limit = np.log1p(MAX_TEMPO_CHANGE)
    return notes.altered(semitones, float(np.exp(rng.uniform(-limit, limit))))

"""The sound of a piece while it is written."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import numpy as np

from msr_utils.generation.codes import GeneratedNote
from msr_utils.generation.limits import SAMPLE_RATE
from msr_utils.generation.wav import n_samples
from msr_utils.symbolic.synthesizer import Synthesizer

FADE_S = 0.5
"""What still sounds at the end is faded out in this time."""

FULL_SCALE = 32767
"""Largest 16-bit sample."""


class PieceSound:
    """Turns the notes of a piece into 16-bit samples at `SAMPLE_RATE` while they come.

    Parameters
    ----------
    seconds : float > 0
        Length of the piece.
    """

    def __init__(self, seconds: float) -> None:
        self._synthesizer = Synthesizer(SAMPLE_RATE)
        self._left = n_samples(seconds)

    def push(self, note: GeneratedNote) -> np.ndarray:
        """Take the next note, and return the sound up to its start.

        Parameters
        ----------
        note : GeneratedNote
            It starts no earlier than the note before.

        Returns
        -------
        np.ndarray [shape=(samples,), dtype=int16]
        """
        return self._taken(self._synthesizer.push([note], note.start_s))

    def finish(self) -> np.ndarray:
        """The rest of the sound (samples,) int16, after the last note."""
        rest = self._synthesizer.finish()[: self._left]
        rest = np.concatenate([rest, np.zeros(self._left - len(rest), np.float32)])
        fade = min(round(FADE_S * SAMPLE_RATE), len(rest))
        if fade:
            rest[-fade:] *= np.linspace(1, 0, fade, dtype=np.float32)
        return self._taken(rest)

    def _taken(self, samples: np.ndarray) -> np.ndarray:
        self._left -= len(samples)
        return np.asarray(np.rint(samples * FULL_SCALE), "<i2")


def sound_of(notes: Iterable[GeneratedNote], seconds: float) -> Iterator[np.ndarray]:
    """The sound of a piece, block by block.

    Parameters
    ----------
    notes : iterable of GeneratedNote
    seconds : float > 0
        Length of the piece.

    Yields
    ------
    np.ndarray [shape=(samples,), dtype=int16]
        All blocks together have `n_samples` samples.
    """
    sound = PieceSound(seconds)
    for note in notes:
        yield sound.push(note)
    yield sound.finish()

"""Notes as tokens of miditok.

Fradet, Briot, Chhel, El Fallah Seghrouchni and Gutowski (2021), "MidiTok: a Python package for
MIDI file tokenization", ISMIR late-breaking demos.
"""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np

from msr_utils.notes import Notes, to_score

TOKENIZERS = ("midi-like", "remi")
"""Oore and others (2018), "This time with feeling"; Huang and Yang (2020), "Pop Music Transformer".

Both read notes at 120 beats per minute, so that REMI's bars are windows of 2 s."""

N_VELOCITIES = 32

STEPS_PER_BEAT = {(0, 4): 8, (4, 12): 4}
"""Resolution of times in beats of 0.5 s: finer for short times."""


@cache
def tokenizer(name: str) -> Any:
    """A tokenizer of miditok for one piano.

    Raises
    ------
    ValueError
        If `name` is none of `TOKENIZERS`.
    """
    import miditok

    if name not in TOKENIZERS:
        raise ValueError(f"tokens: must be one of {', '.join(TOKENIZERS)}, not {name!r}")
    config = miditok.TokenizerConfig(
        num_velocities=N_VELOCITIES,
        beat_res=STEPS_PER_BEAT,
        use_tempos=False,
        use_time_signatures=False,
        use_programs=False,
        pitch_range=(0, 127),
    )
    return {"midi-like": miditok.MIDILike, "remi": miditok.REMI}[name](config)


def vocabulary_size(name: str) -> int:
    """Number of tokens; token 0 is padding."""
    return len(tokenizer(name))


def tokens(notes: Notes, name: str) -> np.ndarray:
    """Tokens of a clip.

    Parameters
    ----------
    notes : Notes
    name : str
        One of `TOKENIZERS`.

    Returns
    -------
    np.ndarray [shape=(N,), dtype=int32]
    """
    found = tokenizer(name)(to_score(notes))
    sequence = found[0] if isinstance(found, list) else found
    return np.asarray(sequence.ids, np.int32)

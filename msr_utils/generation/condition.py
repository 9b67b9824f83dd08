"""What a network is told at every note, as one vector."""

from __future__ import annotations

import numpy as np

from msr_utils.generation.attributes import N_KEYS, NAMES

STYLES = ("labelled clips", "pieces with curves", "pieces without labels")
"""Kinds of training music. They differ in how they were played and written down."""

EMOTION = slice(0, 3)
"""Valence, arousal, and 1 where they are known."""

MUSIC = slice(3, 3 + len(NAMES) + 1)
"""Standardised attributes, and 1 where they are known."""

KEY = slice(MUSIC.stop, MUSIC.stop + N_KEYS)
"""1 at the key; all 0 where it is not known."""

STYLE = slice(KEY.stop, KEY.stop + len(STYLES))
"""1 at the kind of music."""

CONDITION_SIZE = STYLE.stop

EMOTION_SCALE = 2.0
"""Factor of valence and arousal, whose standard deviation in labelled music is near one half."""


def condition(
    valence: np.ndarray,
    arousal: np.ndarray,
    attributes: np.ndarray,
    keys: np.ndarray,
    style: int,
) -> np.ndarray:
    """Condition of T notes.

    Parameters
    ----------
    valence, arousal : np.ndarray [shape=(T,)]
        NaN where unknown.
    attributes : np.ndarray [shape=(T, A)]
        Standardised.
    keys : np.ndarray [shape=(T,), dtype=int]
        0 to 23.
    style : int
        Place in `STYLES`.

    Returns
    -------
    np.ndarray [shape=(T, CONDITION_SIZE), dtype=float32]
    """
    rows = np.zeros((len(keys), CONDITION_SIZE), np.float32)
    known = np.isfinite(valence) & np.isfinite(arousal)
    emotion = np.stack([valence * EMOTION_SCALE, arousal * EMOTION_SCALE, np.ones(len(keys))], 1)
    rows[:, EMOTION] = np.where(known[:, None], emotion, 0)
    rows[:, MUSIC.start : MUSIC.stop - 1] = attributes
    rows[:, MUSIC.stop - 1] = 1
    rows[np.arange(len(keys)), KEY.start + keys] = 1
    rows[:, STYLE.start + style] = 1
    return rows


def without(rows: np.ndarray, *parts: slice) -> np.ndarray:
    """A copy of conditions (..., CONDITION_SIZE) in which parts are unknown."""
    rows = rows.copy()
    for part in parts:
        rows[..., part] = 0
    return rows

"""Chroma, keys and harmony."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING

import numpy as np

from msr_utils.constants import (
    CHROMA_FLOOR,
    CHROMA_STEPS,
    FRAME_RATE_HZ,
    KEY_WINDOWS_S,
)
from msr_utils.features.frame import BlockState, Frame

if TYPE_CHECKING:
    from msr_utils.features.config import FeatureConfig


def _chroma(frame: Frame) -> np.ndarray:
    """Mean over the frame of each pitch class, the loudest of a chroma vector being 1, (12,)."""
    loudest = frame.chroma.max(axis=1, keepdims=True)
    return (frame.chroma / np.maximum(loudest, CHROMA_FLOOR)).mean(axis=0)


KEY_PROFILES = (
    (6.35, 2.23, 3.48, 2.33, 4.38, 4.09, 2.52, 5.19, 2.39, 3.66, 2.29, 2.88),
    (6.33, 2.68, 3.52, 5.38, 2.60, 3.53, 2.54, 4.75, 3.98, 2.69, 3.34, 3.17),
)
"""How well each pitch class, from the tonic up, fits a major and a minor key: probe-tone
ratings of Krumhansl and Kessler (1982), "Tracing the dynamic changes in perceived tonal
organization in a spatial representation of musical keys", Psychological Review 89(4)."""

KEY_MEASURES = 13
"""Numbers that describe one average beside its chroma, see `_tonal`."""

HARMONY_FLOOR = 1e-3
"""Smallest magnitude of a chroma's Fourier coefficient that has a phase."""


@cache
def _key_filters() -> np.ndarray:
    """Standardised profiles of C major ... B major, C minor ... B minor, (12, 24)."""
    profiles = np.array([np.roll(mode, tonic) for mode in KEY_PROFILES for tonic in range(12)])
    profiles -= profiles.mean(axis=1, keepdims=True)
    profiles /= np.linalg.norm(profiles, axis=1, keepdims=True)
    return np.ascontiguousarray(profiles.T, dtype=np.float32)


@cache
def _key_decay() -> tuple[np.ndarray, np.ndarray]:
    """What one frame leaves of each average, and the weights of its chroma vectors in it."""
    keep = np.exp(-1 / (np.array(KEY_WINDOWS_S) * FRAME_RATE_HZ * CHROMA_STEPS))[:, None]
    weights = (1 - keep) * keep ** np.arange(CHROMA_STEPS - 1, -1, -1)
    return (keep**CHROMA_STEPS).astype(np.float32), weights.astype(np.float32)


@cache
def _circle_of_pitch() -> np.ndarray:
    """Fourier transform of twelve pitch classes, coefficients 1 to 6, (12, 6).

    As a matrix: scipy's transform of so few numbers takes four times as long to be called.
    """
    return np.exp(-2j * np.pi * np.outer(np.arange(12), np.arange(1, 7)) / 12).astype(np.complex64)


def key_strengths(chroma: np.ndarray) -> np.ndarray:
    """Correlation of chroma vectors with the 24 key profiles.

    Parameters
    ----------
    chroma : np.ndarray [shape=(n, 12)]

    Returns
    -------
    np.ndarray [shape=(n, 24)]
        C major to B major, then C minor to B minor; 0 in silence.

    Notes
    -----
    Krumhansl (1990), "Cognitive Foundations of Musical Pitch", chapter 4.
    """
    centred = chroma - chroma.mean(axis=1, keepdims=True)
    length = np.sqrt((centred**2).sum(axis=1, keepdims=True))
    return (centred / np.maximum(length, CHROMA_FLOOR)) @ _key_filters()


def _tonal(frame: Frame) -> np.ndarray:
    """Key, mode and harmony over exponential averages of the chroma, nearly alike in any key.

    The bins of a spectrum lie differently under each semitone, so a transposition moves these
    numbers a little, the phases most. Instruments are taken to be tuned to A4 = 440 Hz.

    For each of KEY_WINDOWS_S, 12 + KEY_MEASURES numbers: the average chroma from the tonic of
    its best key up, sum 1; the strength of the best key, of the best major over the best minor
    key, and of major over minor on the tonic of the best key; the magnitudes 1 to 6 of the
    chroma's Fourier transform (chromaticity, dyads, triads, octatonic, diatonic, whole-tone)
    and the cosine and sine of two sums of its phases that no transposition changes. Last, how
    alike (cosine) are the averages that are shortest and longest, second and longest, and the
    key strengths of the shortest and the longest: 1 while the key stays.
    """
    keep, weights = _key_decay()
    averages = keep * frame.memory["tonal"] + weights @ frame.chroma
    frame.memory["tonal"] = averages
    shares = averages / np.maximum(averages.sum(axis=1, keepdims=True), CHROMA_FLOOR)
    keys = key_strengths(averages)
    tonic = keys.argmax(axis=1)[:, None] % 12
    from_tonic = np.take_along_axis(shares, (tonic + np.arange(12)) % 12, axis=1)
    major, minor = keys[:, :12], keys[:, 12:]
    lead = major.max(axis=1) - minor.max(axis=1)
    on_tonic = np.take_along_axis(major - minor, tonic, axis=1)[:, 0]
    mode = np.stack([keys.max(axis=1), lead, on_tonic], axis=1)
    harmony = shares @ _circle_of_pitch()
    size = np.abs(harmony)
    turn = (harmony / np.maximum(size, HARMONY_FLOOR)).T
    # Transposing by s semitones turns coefficient k by 2 pi k s / 12: 3 + 4 + 5 and 3 * 5 - 3
    # make whole circles.
    turns = np.stack([turn[2] * turn[3] * turn[4], turn[4] ** 3 * turn[2].conj()], axis=1)
    averaged = np.concatenate([from_tonic, mode, size, turns.view(np.float32)], axis=1)
    stability = (
        _cosine(averages[0], averages[-1]),
        _cosine(averages[1], averages[-1]),
        _cosine(keys[0], keys[-1]),
    )
    return np.concatenate([averaged.ravel(), stability])


def _cosine(a: np.ndarray, b: np.ndarray) -> float:
    return float(a @ b) / max(float(np.sqrt((a @ a) * (b @ b))), CHROMA_FLOOR**2)


def _tonal_state(config: FeatureConfig) -> BlockState:
    return {"tonal": np.zeros((len(KEY_WINDOWS_S), 12), np.float32)}

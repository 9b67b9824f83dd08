"""Chroma, keys and harmony."""

from __future__ import annotations

from functools import cache

import numpy as np

from msr_utils.constants import (
    CHROMA_FLOOR,
    CHROMA_N_FFT,
    CHROMA_STEPS,
    FRAME_RATE_HZ,
    KEY_WINDOWS_S,
)
from msr_utils.features.blocks.base import Block
from msr_utils.features.frame import BlockState, Frames, chroma_context_samples
from msr_utils.features.spectrum import FeatureConfigError, SpectrumConfig

KEY_PROFILES = (
    (6.35, 2.23, 3.48, 2.33, 4.38, 4.09, 2.52, 5.19, 2.39, 3.66, 2.29, 2.88),
    (6.33, 2.68, 3.52, 5.38, 2.60, 3.53, 2.54, 4.75, 3.98, 2.69, 3.34, 3.17),
)
"""Fit of each pitch class, from the tonic up, to a major and to a minor key: probe-tone ratings of
Krumhansl and Kessler (1982), "Tracing the dynamic changes in perceived tonal organization
in a spatial representation of musical keys", Psychological Review 89(4)."""

KEY_MEASURES = 13
"""Numbers that describe one average of the chroma, beside the chroma itself; see `_tonal`."""

HARMONY_FLOOR = 1e-3
"""Smallest magnitude of a chroma's Fourier coefficient whose phase is used."""


def _chroma(frames: Frames) -> np.ndarray:
    """Mean of each pitch class over a frame, (count, 12). Each chroma is scaled to maximum 1."""
    loudest = frames.chroma.max(axis=2, keepdims=True)
    mean: np.ndarray = (frames.chroma / np.maximum(loudest, CHROMA_FLOOR)).mean(axis=1)
    return mean


@cache
def _key_filters() -> np.ndarray:
    """Standardised profiles of C major ... B major, C minor ... B minor, (12, 24)."""
    profiles = np.array([np.roll(mode, tonic) for mode in KEY_PROFILES for tonic in range(12)])
    profiles -= profiles.mean(axis=1, keepdims=True)
    profiles /= np.linalg.norm(profiles, axis=1, keepdims=True)
    return np.ascontiguousarray(profiles.T, dtype=np.float32)


@cache
def _key_decay() -> tuple[np.ndarray, np.ndarray]:
    """Decay of each exponential average over one frame, and weights of the frame's chroma vectors.

    Returns
    -------
    decay : np.ndarray [shape=(averages, 1), dtype=float32]
    weights : np.ndarray [shape=(averages, CHROMA_STEPS), dtype=float32]
    """
    keep = np.exp(-1 / (np.array(KEY_WINDOWS_S) * FRAME_RATE_HZ * CHROMA_STEPS))[:, None]
    weights = (1 - keep) * keep ** np.arange(CHROMA_STEPS - 1, -1, -1)
    return (keep**CHROMA_STEPS).astype(np.float32), weights.astype(np.float32)


@cache
def _pitch_class_dft() -> np.ndarray:
    """Fourier transform of twelve pitch classes as a matrix, coefficients 1 to 6, (12, 6).

    For so few numbers, a matrix product is four times as fast as scipy's transform.
    """
    dft: np.ndarray = np.exp(-2j * np.pi * np.outer(np.arange(12), np.arange(1, 7)) / 12)
    return dft.astype(np.complex64)


def key_strengths(chroma: np.ndarray) -> np.ndarray:
    """Correlation of chroma vectors with the 24 key profiles.

    Parameters
    ----------
    chroma : np.ndarray [shape=(..., n, 12)]

    Returns
    -------
    np.ndarray [shape=(..., n, 24)]
        C major to B major, then C minor to B minor; 0 in silence.

    Notes
    -----
    Krumhansl (1990), "Cognitive Foundations of Musical Pitch", chapter 4.
    """
    centred = chroma - chroma.mean(axis=-1, keepdims=True)
    length = np.sqrt((centred**2).sum(axis=-1, keepdims=True))
    strengths: np.ndarray = (centred / np.maximum(length, CHROMA_FLOOR)) @ _key_filters()
    return strengths


def _tonal(frames: Frames) -> np.ndarray:
    """Key, mode and harmony of exponential averages of the chroma, (count, numbers).

    Transposing the music changes these numbers only a little. They are not fully invariant,
    because the STFT bins lie differently under each semitone; the phases change most. The
    instruments are assumed to be tuned to A4 = 440 Hz.

    Each of the averages over KEY_WINDOWS_S gives 12 + KEY_MEASURES numbers:

    - the chroma from the tonic of its best key up, with sum 1 (12);
    - the strength of the best key, the lead of the best major key over the best minor key, and
      the lead of major over minor on the tonic of the best key (3);
    - the magnitudes 1 to 6 of the chroma's Fourier transform: chromaticity, dyads, triads,
      octatonic, diatonic, whole-tone (6);
    - the cosine and sine of two sums of its phases that no transposition changes (4).

    Three numbers describe the stability of the key, 1 while it stays: the cosine similarity of the
    shortest and the longest average, of the second and the longest, and of the key strengths of
    the shortest and the longest.
    """
    averages = _chroma_averages(frames)
    shares = averages / np.maximum(averages.sum(axis=2, keepdims=True), CHROMA_FLOOR)
    keys = key_strengths(averages)
    tonic = keys.argmax(axis=2)[:, :, None] % 12
    rows = np.empty((*averages.shape[:2], 12 + KEY_MEASURES), np.float32)
    each = np.arange(frames.count)[:, None, None], np.arange(averages.shape[1])[:, None]
    rows[:, :, :12] = shares[*each, (tonic + np.arange(12)) % 12]
    major, minor = keys[:, :, :12], keys[:, :, 12:]
    best_major, best_minor = major.max(axis=2), minor.max(axis=2)
    np.maximum(best_major, best_minor, out=rows[:, :, 12])
    np.subtract(best_major, best_minor, out=rows[:, :, 13])
    rows[:, :, 14:15] = (major - minor)[*each, tonic]
    harmony = shares @ _pitch_class_dft()
    magnitude = np.abs(harmony, out=rows[:, :, 15:21])
    phase = np.moveaxis(harmony / np.maximum(magnitude, HARMONY_FLOOR), 2, 0)
    # Transposing by s semitones turns coefficient k by 2 pi k s / 12. The turns cancel in the
    # products 3 + 4 + 5 and 3 * 5 - 3: both add up to whole circles.
    phases = phase[2] * phase[3] * phase[4], phase[4] ** 3 * phase[2].conj()
    rows[:, :, 21:] = np.stack(phases, axis=2).view(np.float32)
    result = np.empty((frames.count, rows[0].size + 3), np.float32)
    result[:, :-3] = rows.reshape(frames.count, -1)
    result[:, -3:-1] = _cosine(averages[:, :2], averages[:, -1:])
    result[:, -1] = _cosine(keys[:, 0], keys[:, -1])
    return result


def _chroma_averages(frames: Frames) -> np.ndarray:
    """Exponential averages of the chroma at the end of each frame, (count, averages, 12)."""
    decay, weights = _key_decay()
    averages: np.ndarray = weights @ frames.chroma
    average = frames.state["tonal"]
    for added in averages:
        average = np.add(decay * average, added, out=added)
    frames.state["tonal"] = average.copy()
    return averages


def _cosine(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Cosine similarity along the last axis; 0 in silence."""
    length = np.sqrt(np.vecdot(a, a) * np.vecdot(b, b)).astype(np.float64)
    cosine: np.ndarray = np.vecdot(a, b) / np.maximum(length, CHROMA_FLOOR**2)
    return cosine


def _initial_tonal_state(config: SpectrumConfig) -> BlockState:
    """Exponential averages of the chroma; silence before the stream's start."""
    return {"tonal": np.zeros((len(KEY_WINDOWS_S), 12), np.float32)}


def _check_chroma_hop(config: SpectrumConfig) -> None:
    """Whole chroma hops must fit into a frame, and each must be shorter than its window."""
    if config.frame_samples % CHROMA_STEPS or config.frame_samples > CHROMA_N_FFT * CHROMA_STEPS:
        raise FeatureConfigError(
            f"features: chroma needs a sample_rate that is a multiple of "
            f"{CHROMA_STEPS * FRAME_RATE_HZ} and at most "
            f"{CHROMA_N_FFT * CHROMA_STEPS * FRAME_RATE_HZ}, not {config.sample_rate}",
            "sample_rate",
        )


BLOCKS = (
    Block(
        name="chroma",
        dim=lambda config: 12,
        unit="1",
        what="strength of the pitch classes C to B, from magnitudes, mean over the frame",
        source="Ellis (2007), https://www.ee.columbia.edu/~dpwe/resources/matlab/chroma-ansyn/",
        compute=_chroma,
        context_samples=chroma_context_samples,
        check=_check_chroma_hop,
    ),
    Block(
        name="tonal",
        dim=lambda config: len(KEY_WINDOWS_S) * (12 + KEY_MEASURES) + 3,
        unit="1",
        what="chroma from the tonic up, strength of keys, major against minor, Fourier "
        "coefficients of the chroma and stability of the key, over 2, 6 and 20 s",
        source="Krumhansl (1990), Cognitive Foundations of Musical Pitch; Amiot (2016), Music "
        "through Fourier Space",
        compute=_tonal,
        initial_state=_initial_tonal_state,
        context_samples=chroma_context_samples,
        check=_check_chroma_hop,
    ),
)

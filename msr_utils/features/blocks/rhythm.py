"""Onset strength and tempogram."""

from __future__ import annotations

from functools import cache

import numpy as np
import scipy.fft

from msr_utils.constants import TEMPO_BANDS, TEMPO_RANGE_BPM, TEMPO_WINDOW_S
from msr_utils.features.blocks.base import Block
from msr_utils.features.filterbanks import hann
from msr_utils.features.frame import BlockState, Frames, initial_onset_state, sliding_windows
from msr_utils.features.spectrum import SpectrumConfig

QUIET_ONSET_DB = 0.05
"""Mean onset strength below which movement is rounding error. The autocorrelation of weaker
movement is not scaled up to 1."""


def _onset(frames: Frames) -> np.ndarray:
    """Mean, maximum and standard deviation of the onset strength in a frame, (count, 3)."""
    onset = frames.onset
    return np.stack([onset.mean(axis=1), onset.max(axis=1), onset.std(axis=1)], axis=1)


@cache
def tempo_window(config: SpectrumConfig) -> np.ndarray:
    """Rising half of a Hann window over TEMPO_WINDOW_S: recent hops have the largest weight."""
    hops = round(TEMPO_WINDOW_S * config.sample_rate / config.hop_length)
    return hann(2 * hops)[:hops]


@cache
def _tempo_bands(config: SpectrumConfig) -> tuple[slice, np.ndarray]:
    """Lags within TEMPO_RANGE_BPM, and the matrix that averages them in bands, (lags, bands)."""
    hops_per_minute = 60 * config.sample_rate / config.hop_length
    slowest, fastest = TEMPO_RANGE_BPM
    lags = slice(int(np.ceil(hops_per_minute / fastest)), int(hops_per_minute / slowest) + 1)
    bpm = hops_per_minute / np.arange(lags.start, lags.stop)
    band = (TEMPO_BANDS * np.log(bpm / slowest) / np.log(fastest / slowest)).astype(int)
    member = np.minimum(band, TEMPO_BANDS - 1)[:, None] == np.arange(TEMPO_BANDS)
    return lags, (member / np.maximum(member.sum(axis=0), 1)).astype(np.float32)


def autocorrelation(frames: Frames) -> np.ndarray:
    """Autocorrelation of the last TEMPO_WINDOW_S of onset strength, (count, hops); 1 at lag 0.

    It equals a column of librosa.feature.tempogram with `tempo_window`, for a window that ends
    with the frame.
    """
    window, steps = tempo_window(frames.config), frames.config.steps
    onset = np.concatenate([frames.state["tempogram"], frames.onset.ravel()])
    frames.state["tempogram"] = onset[frames.count * steps :].copy()
    hops = len(onset) - (frames.count - 1) * steps
    windows = sliding_windows(onset, hops, steps)
    spectrum = scipy.fft.rfft(windows * window, 2 * hops, axis=1)
    correlation: np.ndarray = scipy.fft.irfft(spectrum.real**2 + spectrum.imag**2, axis=1)
    correlation = correlation[:, :hops]
    correlation = correlation / np.maximum(correlation[:, :1], QUIET_ONSET_DB**2 * hops)
    return correlation


def _tempogram(frames: Frames) -> np.ndarray:
    """Mean autocorrelation in tempo bands, slow to fast, and its peak minus its mean.

    Returns
    -------
    np.ndarray [shape=(count, TEMPO_BANDS + 1), dtype=float32]
    """
    lags, bands = _tempo_bands(frames.config)
    tempi = autocorrelation(frames)[:, lags]
    stands_out = tempi.max(axis=1, keepdims=True) - tempi.mean(axis=1, keepdims=True)
    return np.concatenate([(tempi[:, None] @ bands)[:, 0], stands_out], axis=1)


def _initial_tempo_state(config: SpectrumConfig) -> BlockState:
    """Onset strength of the hops before the frame; 0 before the stream's start."""
    hops = len(tempo_window(config)) - config.steps
    return {**initial_onset_state(config), "tempogram": np.zeros(max(hops, 0), np.float32)}


BLOCKS = (
    Block(
        name="onset",
        dim=lambda config: 3,
        unit="dB",
        what="onset strength: mean, largest and standard deviation in the frame",
        source="Boeck and Widmer (2013), Maximum filter vibrato suppression for onset detection, "
        "DAFx",
        compute=_onset,
        initial_state=initial_onset_state,
    ),
    Block(
        name="tempogram",
        dim=lambda config: TEMPO_BANDS + 1,
        unit="1",
        what="autocorrelation of onset strength over 8 s in bands of tempo, 30 to 300 beats per "
        "minute, and how far its peak stands out",
        source="Grosche, Mueller and Kurth (2010), Cyclic tempogram: a mid-level tempo "
        "representation for music signals, ICASSP",
        compute=_tempogram,
        initial_state=_initial_tempo_state,
    ),
)

"""Onset strength and tempogram."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING

import numpy as np
import scipy.fft

from msr_utils.constants import TEMPO_BANDS, TEMPO_RANGE_BPM, TEMPO_WINDOW_S
from msr_utils.features.filterbanks import hann
from msr_utils.features.frame import BlockState, Frame, onset_state

if TYPE_CHECKING:
    from msr_utils.features.config import FeatureConfig


def _onset(frame: Frame) -> np.ndarray:
    """Mean, largest and standard deviation of the onset strength in the frame, (3,)."""
    return np.array([frame.onset.mean(), frame.onset.max(), frame.onset.std()])


@cache
def tempo_window(config: FeatureConfig) -> np.ndarray:
    """The rising half of a Hann window over TEMPO_WINDOW_S: what was just heard counts most."""
    hops = round(TEMPO_WINDOW_S * config.sample_rate / config.hop_length)
    return hann(2 * hops)[:hops]


@cache
def _tempo_bands(config: FeatureConfig) -> tuple[slice, np.ndarray]:
    """The lags of TEMPO_RANGE_BPM, and what averages them in bands, (lags, TEMPO_BANDS)."""
    hops_per_minute = 60 * config.sample_rate / config.hop_length
    slowest, fastest = TEMPO_RANGE_BPM
    lags = slice(int(np.ceil(hops_per_minute / fastest)), int(hops_per_minute / slowest) + 1)
    bpm = hops_per_minute / np.arange(lags.start, lags.stop)
    band = (TEMPO_BANDS * np.log(bpm / slowest) / np.log(fastest / slowest)).astype(int)
    member = np.minimum(band, TEMPO_BANDS - 1)[:, None] == np.arange(TEMPO_BANDS)
    return lags, (member / np.maximum(member.sum(axis=0), 1)).astype(np.float32)


def autocorrelation(frame: Frame) -> np.ndarray:
    """Autocorrelation of the last TEMPO_WINDOW_S of onset strength, (hops,); 1 at lag 0.

    A column of librosa.feature.tempogram with `tempo_window`, where the window ends with the
    frame.
    """
    known = np.concatenate([frame.memory["tempogram"], frame.onset])
    frame.memory["tempogram"] = known[len(frame.onset) :].copy()
    hops = len(known)
    spectrum = scipy.fft.rfft(known * tempo_window(frame.config), 2 * hops)
    summed = scipy.fft.irfft(spectrum.real**2 + spectrum.imag**2)[:hops]
    # Less than 0.05 dB of movement is rounding, not rhythm: it is not scaled up.
    return summed / max(summed[0], 0.05**2 * hops)


def _tempogram(frame: Frame) -> np.ndarray:
    """Mean autocorrelation in tempo bands, slow to fast, and its peak over its mean, (13,)."""
    lags, bands = _tempo_bands(frame.config)
    tempi = autocorrelation(frame)[lags]
    return np.append(tempi @ bands, tempi.max() - tempi.mean())


def _tempo_state(config: FeatureConfig) -> BlockState:
    hops = len(tempo_window(config)) - config.steps
    return {**onset_state(config), "tempogram": np.zeros(max(hops, 0), np.float32)}

"""Windows and filterbanks, built once."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING

import numpy as np

from msr_utils.constants import CHROMA_N_FFT

if TYPE_CHECKING:
    from msr_utils.features.config import FeatureConfig


MEL_GROUP = 16
"""Neighbouring mel bands that are multiplied at once: they share few bins, the rest is zero."""


@cache
def hann(n: int) -> np.ndarray:
    """The periodic Hann window, (n,); scipy.signal has it but takes half a second to import."""
    return (0.5 - 0.5 * np.cos(2 * np.pi * np.arange(n) / n)).astype(np.float32)


def mel_filters(sample_rate: int, n_fft: int, n_mels: int, fmin: float, fmax: float) -> np.ndarray:
    """Triangular mel filters of equal area.

    Returns
    -------
    np.ndarray [shape=(n_fft // 2 + 1, n_mels), dtype=float32]
        Columns are filters; multiply a power spectrum from the right.

    Notes
    -----
    The scale and the area normalisation of Slaney's Auditory Toolbox (1998), the default of
    librosa: linear below 1 kHz, logarithmic above, each filter scaled by 2 / bandwidth.
    """
    linear_hz, log_from_hz, log_step = 200.0 / 3, 1000.0, np.log(6.4) / 27

    def to_mel(hz: float) -> float:
        if hz < log_from_hz:
            return hz / linear_hz
        return log_from_hz / linear_hz + np.log(hz / log_from_hz) / log_step

    mels = np.linspace(to_mel(fmin), to_mel(fmax), n_mels + 2)
    log_from = log_from_hz / linear_hz
    edges = np.where(
        mels < log_from, mels * linear_hz, log_from_hz * np.exp((mels - log_from) * log_step)
    )
    bins = np.fft.rfftfreq(n_fft, 1 / sample_rate)[:, None]
    rising = (bins - edges[:-2]) / (edges[1:-1] - edges[:-2])
    falling = (edges[2:] - bins) / (edges[2:] - edges[1:-1])
    filters = np.maximum(0, np.minimum(rising, falling)) * (2 / (edges[2:] - edges[:-2]))
    return filters.astype(np.float32)


def mel_filterbank(config: FeatureConfig) -> np.ndarray:
    """The `mel_filters` of a configuration, (n_fft // 2 + 1, n_mels)."""
    return mel_filters(config.sample_rate, config.n_fft, config.n_mels, config.fmin, config.fmax)


@cache
def _mel_groups(config: FeatureConfig) -> list[tuple[slice, slice, np.ndarray]]:
    """The mel filterbank without its zeros: (bins, bands, filters of these) a group."""
    filters = mel_filterbank(config)
    groups = []
    for first in range(0, config.n_mels, MEL_GROUP):
        bands = slice(first, first + MEL_GROUP)
        used = np.flatnonzero(filters[:, bands].any(axis=1))
        bins = slice(used[0], used[-1] + 1) if len(used) else slice(0, 0)
        groups.append((bins, bands, np.ascontiguousarray(filters[bins, bands])))
    return groups


@cache
def chroma_filterbank(sample_rate: int, n_fft: int = CHROMA_N_FFT) -> np.ndarray:
    """Gaussian filters around the twelve pitch classes in all octaves, C first, A4 = 440 Hz.

    Returns
    -------
    np.ndarray [shape=(n_fft // 2 + 1, 12), dtype=float32]
        Columns are filters; multiply a spectrum from the right.

    Notes
    -----
    Ellis (2007), "Chroma feature analysis and synthesis",
    https://www.ee.columbia.edu/~dpwe/resources/matlab/chroma-ansyn/, with the defaults of
    librosa.filters.chroma: a bin's weights have length 1, times a Gaussian of two octaves
    around the fifth.
    """
    hz = np.arange(1, n_fft) * (sample_rate / n_fft)
    semitones = 12 * np.log2(hz / (440 / 16))
    # Bin 0 has no pitch: put it 1.5 octaves below bin 1.
    semitones = np.concatenate([[semitones[0] - 18], semitones])
    width = np.append(np.maximum(np.diff(semitones), 1), 1)
    distance = (semitones[:, None] - np.arange(12) + 6) % 12 - 6
    filters = np.exp(-0.5 * (2 * distance / width[:, None]) ** 2)
    filters /= np.linalg.norm(filters, axis=1, keepdims=True)
    filters *= np.exp(-0.5 * ((semitones / 12 - 5) / 2) ** 2)[:, None]
    return np.roll(filters, -3, axis=1)[: n_fft // 2 + 1].astype(np.float32)


@cache
def _loudness_weights(config: FeatureConfig) -> np.ndarray:
    """Weights that sum a power spectrum to the K-weighted mean square, (n_fft // 2 + 1,).

    Notes
    -----
    ITU-R BS.1770-4 (2015), tables 1 and 2: the shelf of the head, then the RLB high-pass,
    given as second-order sections at 48 kHz. Their response is taken at the STFT's bins, so
    no filter has to be designed for another rate.
    """
    hz = np.fft.rfftfreq(config.n_fft, 1 / config.sample_rate)
    z = np.exp(-2j * np.pi * np.minimum(hz, 24_000) / 48_000)
    sections = (
        ((1.53512485958697, -2.69169618940638, 1.19839281085285),
         (1.0, -1.69065929318241, 0.73248077421585)),
        ((1.0, -2.0, 1.0), (1.0, -1.99004745483398, 0.99007225036621)),
    )  # fmt: skip
    weights = np.full(len(hz), 2.0)  # of each bin and its mirror image
    weights[0] = 1
    if config.n_fft % 2 == 0:
        weights[-1] = 1
    for numerator, denominator in sections:
        weights *= np.abs(np.polyval(numerator[::-1], z) / np.polyval(denominator[::-1], z)) ** 2
    return (weights / (config.n_fft * np.sum(hann(config.n_fft) ** 2))).astype(np.float32)

"""Windows and filterbanks, built once for each configuration."""

from __future__ import annotations

from functools import cache

import numpy as np
import scipy.fft

from msr_utils.constants import CHROMA_N_FFT, N_MFCC
from msr_utils.features.spectrum import SpectrumConfig

MEL_BANDS_AT_ONCE = 16
"""Neighbouring mel bands that one matrix product computes.

Neighbouring bands share few bins and the rest of the filterbank is zero. Small products over the
bins in use are faster than one large product.
"""


@cache
def hann(n: int) -> np.ndarray:
    """Periodic Hann window, (n,).

    scipy.signal has the same window, but importing it takes half a second.
    """
    window: np.ndarray = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(n) / n)
    return window.astype(np.float32)


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
        mel: float = log_from_hz / linear_hz + np.log(hz / log_from_hz) / log_step
        return mel

    mels = np.linspace(to_mel(fmin), to_mel(fmax), n_mels + 2)
    log_from = log_from_hz / linear_hz
    edges = np.where(
        mels < log_from, mels * linear_hz, log_from_hz * np.exp((mels - log_from) * log_step)
    )
    filters = _triangles(edges, sample_rate, n_fft) * (2 / (edges[2:] - edges[:-2]))
    return filters.astype(np.float32)


def htk_mel_filters(
    sample_rate: int, n_fft: int, n_mels: int, fmin: float, fmax: float
) -> np.ndarray:
    """Triangular mel filters of equal height; shapes as in `mel_filters`.

    Notes
    -----
    The scale of HTK (Young and others, The HTK Book), the default of torchaudio:
    2595 log10(1 + f / 700).
    """
    low, high = (2595 * np.log10(1 + hz / 700) for hz in (fmin, fmax))
    edges = 700 * (10 ** (np.linspace(low, high, n_mels + 2) / 2595) - 1)
    return _triangles(edges, sample_rate, n_fft).astype(np.float32)


def _triangles(edges: np.ndarray, sample_rate: int, n_fft: int) -> np.ndarray:
    """Triangles of height 1 between every second edge, (n_fft // 2 + 1, len(edges) - 2)."""
    bins = np.fft.rfftfreq(n_fft, 1 / sample_rate)[:, None]
    rising = (bins - edges[:-2]) / (edges[1:-1] - edges[:-2])
    falling = (edges[2:] - bins) / (edges[2:] - edges[1:-1])
    triangles: np.ndarray = np.maximum(0, np.minimum(rising, falling))
    return triangles


def mel_filterbank(config: SpectrumConfig) -> np.ndarray:
    """The `mel_filters` of a configuration, (n_fft // 2 + 1, n_mels)."""
    return mel_filters(config.sample_rate, config.n_fft, config.n_mels, config.fmin, config.fmax)


def mel_band_hz(config: SpectrumConfig) -> np.ndarray:
    """Centroid of each mel filter in Hz, (n_mels,)."""
    filters = mel_filterbank(config)
    bins = np.fft.rfftfreq(config.n_fft, 1 / config.sample_rate)
    centroids: np.ndarray = bins @ filters / filters.sum(axis=0)
    return centroids


@cache
def mel_filter_groups(config: SpectrumConfig) -> list[tuple[slice, slice, np.ndarray]]:
    """The mel filterbank in groups of bands, without the bins that a group does not use.

    Returns
    -------
    list of (bins, bands, filters)
        `filters` has shape (bins, bands).
    """
    filters = mel_filterbank(config)
    groups = []
    for first in range(0, config.n_mels, MEL_BANDS_AT_ONCE):
        bands = slice(first, first + MEL_BANDS_AT_ONCE)
        used = np.flatnonzero(filters[:, bands].any(axis=1))
        bins = slice(used[0], used[-1] + 1) if len(used) else slice(0, 0)
        groups.append((bins, bands, np.ascontiguousarray(filters[bins, bands])))
    return groups


@cache
def mel_dct(n_mels: int) -> np.ndarray:
    """First N_MFCC vectors of the orthonormal DCT-II of mel bands, (n_mels, N_MFCC)."""
    identity = np.eye(n_mels, dtype=np.float32)
    return np.ascontiguousarray(scipy.fft.dct(identity, norm="ortho", axis=1)[:, :N_MFCC])


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
    librosa.filters.chroma: the weights of each bin have length 1 and are multiplied by a Gaussian
    two octaves wide around the fifth octave.
    """
    hz = np.arange(1, n_fft) * (sample_rate / n_fft)
    semitones = 12 * np.log2(hz / (440 / 16))
    # Bin 0 has no pitch. Put it 1.5 octaves below bin 1.
    semitones = np.concatenate([[semitones[0] - 18], semitones])
    width = np.append(np.maximum(np.diff(semitones), 1), 1)
    distance = (semitones[:, None] - np.arange(12) + 6) % 12 - 6
    filters: np.ndarray = np.exp(-0.5 * (2 * distance / width[:, None]) ** 2)
    filters /= np.linalg.norm(filters, axis=1, keepdims=True)
    filters *= np.exp(-0.5 * ((semitones / 12 - 5) / 2) ** 2)[:, None]
    return np.roll(filters, -3, axis=1)[: n_fft // 2 + 1].astype(np.float32)


@cache
def loudness_weights(config: SpectrumConfig) -> np.ndarray:
    """Weights that sum a power spectrum to the K-weighted mean square, (n_fft // 2 + 1,).

    Notes
    -----
    ITU-R BS.1770-4 (2015), tables 1 and 2: a shelf filter for the head, then the RLB high-pass.
    The standard gives both as second-order sections at 48 kHz. Their frequency response is taken
    at the bins of the STFT, so no filter has to be designed for another sample rate.
    """
    hz = np.fft.rfftfreq(config.n_fft, 1 / config.sample_rate)
    z = np.exp(-2j * np.pi * np.minimum(hz, 24_000) / 48_000)
    sections = (
        ((1.53512485958697, -2.69169618940638, 1.19839281085285),
         (1.0, -1.69065929318241, 0.73248077421585)),
        ((1.0, -2.0, 1.0), (1.0, -1.99004745483398, 0.99007225036621)),
    )  # fmt: skip
    weights: np.ndarray = np.full(len(hz), 2.0)  # each bin and its mirror image
    weights[0] = 1
    if config.n_fft % 2 == 0:
        weights[-1] = 1
    for numerator, denominator in sections:
        weights *= np.abs(np.polyval(numerator[::-1], z) / np.polyval(denominator[::-1], z)) ** 2
    weights = weights / (config.n_fft * np.sum(hann(config.n_fft) ** 2))
    return weights.astype(np.float32)

"""The feature blocks: what each computes from a frame, what it remembers, where it is from."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING

import numpy as np
import scipy.fft

from msr_utils import ear
from msr_utils.constants import (
    CHROMA_FLOOR,
    CHROMA_STEPS,
    DELTA_HOPS,
    FRAME_RATE_HZ,
    KEY_WINDOWS_S,
    MOMENTARY_S,
    N_MFCC,
    POWER_FLOOR,
    SD_BANDS,
    SHORT_TERM_FRAMES,
    TEMPO_BANDS,
    TEMPO_RANGE_BPM,
    TEMPO_WINDOW_S,
)
from msr_utils.spectra import Frame, Memory, hann, heard, heard_by_chroma, onset_memory

if TYPE_CHECKING:
    from msr_utils.features import FeatureConfig


@dataclass(frozen=True)
class Block:
    """A named group of features of a frame.

    Parameters
    ----------
    name : str
    dim : callable
        FeatureConfig -> number of features.
    unit : str
    what : str
        One line for a table.
    source : str
        Paper, standard or URL.
    compute : callable
        Frame -> np.ndarray [shape=(dim,)].
    memory : callable
        FeatureConfig -> what the block remembers before the first frame.
    heard : callable
        FeatureConfig -> samples before the frame that the block's windows cover.
    version : int
        Raised when the block's numbers change: what was cached or trained on the old ones is
        then refused, what other blocks gave stays good.
    weights : str
        Name and SHA-256 of the pretrained network that the block runs; empty if it runs none.
    """

    name: str
    dim: Callable[[FeatureConfig], int]
    unit: str
    what: str
    source: str
    compute: Callable[[Frame], np.ndarray]
    memory: Callable[[FeatureConfig], Memory] = lambda config: {}
    heard: Callable[[FeatureConfig], int] = heard
    version: int = 1
    weights: str = ""


def _logmel(frame: Frame) -> np.ndarray:
    """Mean over the frame of each mel band, (n_mels,)."""
    return frame.mel_db.mean(axis=0)


def _logmel_sd(frame: Frame) -> np.ndarray:
    """Standard deviation over the frame, averaged in groups of bands, (SD_BANDS,).

    How much a frame moves: onsets and decays, which its mean does not show.
    """
    return frame.mel_db.std(axis=0).reshape(SD_BANDS, -1).mean(axis=1)


def _patch(frame: Frame) -> np.ndarray:
    """The frame's log-mel spectrogram flattened, (patch_steps * n_mels,)."""
    config = frame.config
    return frame.mel_db.reshape(config.patch_steps, -1, config.n_mels).mean(axis=1).ravel()


@cache
def _dct(n_mels: int) -> np.ndarray:
    """The first N_MFCC vectors of the orthonormal DCT-II, (n_mels, N_MFCC)."""
    identity = np.eye(n_mels, dtype=np.float32)
    return np.ascontiguousarray(scipy.fft.dct(identity, norm="ortho", axis=1)[:, :N_MFCC])


def _mfcc(frame: Frame) -> np.ndarray:
    """Mean over the frame of each coefficient, (N_MFCC,)."""
    return (frame.mel_db @ _dct(frame.config.n_mels)).mean(axis=0)


@cache
def _slopes() -> np.ndarray:
    """Weights of the first and second derivative over the last DELTA_HOPS, (2, DELTA_HOPS).

    A line and a parabola fitted by least squares: Savitzky and Golay (1964), "Smoothing and
    differentiation of data by simplified least squares procedures", as librosa.feature.delta.
    """
    hops = np.arange(DELTA_HOPS) - DELTA_HOPS // 2
    line = np.linalg.pinv(np.vander(hops, 2, increasing=True))[1]
    parabola = np.linalg.pinv(np.vander(hops, 3, increasing=True))[2]
    return np.stack([line, 2 * parabola]).astype(np.float32)


def mfcc_slopes(frame: Frame) -> np.ndarray:
    """Derivatives of the cepstral coefficients at each hop, (2, steps, N_MFCC).

    Each is fitted to the hop and the DELTA_HOPS - 1 before it. Before the first hop its value
    is held.
    """
    mfcc = frame.mel_db @ _dct(frame.config.n_mels)
    before = frame.memory["mfcc_delta"]
    before = np.where(np.isnan(before), mfcc[0], before)
    known = np.concatenate([before, mfcc])
    frame.memory["mfcc_delta"] = known[-len(before) :].copy()
    windows = np.lib.stride_tricks.sliding_window_view(known, DELTA_HOPS, axis=0)
    return np.moveaxis(windows @ _slopes().T, 2, 0)


def _mfcc_delta(frame: Frame) -> np.ndarray:
    """Mean size over the frame of both derivatives, (2 * N_MFCC,).

    Of their size: the mean of a slope itself tells little more than where the frame began and
    where it ended.
    """
    return np.abs(mfcc_slopes(frame)).mean(axis=1).ravel()


def _mfcc_memory(config: FeatureConfig) -> Memory:
    return {"mfcc_delta": np.full((DELTA_HOPS - 1, N_MFCC), np.nan, np.float32)}


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


def _tonal_memory(config: FeatureConfig) -> Memory:
    return {"tonal": np.zeros((len(KEY_WINDOWS_S), 12), np.float32)}


CONTRAST_FROM_HZ = 200.0
CONTRAST_BANDS = 7
CONTRAST_QUANTILE = 0.02
"""Lowest band edge, number of bands (octaves but the first) and share of a band's bins that
count as peak and as valley: the defaults of librosa.feature.spectral_contrast."""

CONTRAST_RANGE = 1e-5
"""Magnitudes this far (100 dB) below a hop's loudest bin count as that: in the resampler's
roll-off, and between pure tones, lies nothing but rounding."""

CONTRAST_TOP_HZ = CONTRAST_FROM_HZ * 2 ** (CONTRAST_BANDS - 2)
"""Lower edge of the highest band, which reaches up to half the sample rate."""


@cache
def _contrast_bands(config: FeatureConfig) -> list[tuple[slice, int]]:
    """Bins of each band, and how many of them make its peak and its valley."""
    hz = np.fft.rfftfreq(config.n_fft, 1 / config.sample_rate)
    edges = np.concatenate([[0], CONTRAST_FROM_HZ * 2.0 ** np.arange(CONTRAST_BANDS)])
    bands = []
    for k, (low, high) in enumerate(zip(edges[:-1], edges[1:], strict=True)):
        inside = np.flatnonzero((hz >= low) & (hz <= high))
        first, last = inside[0] - (k > 0), inside[-1]
        if k == CONTRAST_BANDS - 1:
            last = len(hz) - 1
        share = max(1, int(np.rint(CONTRAST_QUANTILE * (last + 1 - first))))
        # As in librosa, a band's last bin counts for its size and is then left to the next.
        bands.append((slice(first, last + (k == CONTRAST_BANDS - 1)), share))
    return bands


def _contrast(frame: Frame) -> np.ndarray:
    """Mean over the frame of each band's peak over its valley, (CONTRAST_BANDS,)."""
    levels = []
    for bins, share in _contrast_bands(frame.config):
        ranked = np.sqrt(np.sort(frame.power[:, bins], axis=1))
        levels.append((ranked[:, -share:].mean(axis=1), ranked[:, :share].mean(axis=1)))
    loudest = np.sqrt(frame.power.max(axis=1))
    floor = np.maximum(np.float32(CONTRAST_RANGE) * loudest, np.float32(POWER_FLOOR))
    peak, valley = np.log10(np.maximum(levels, floor)).mean(axis=2).T
    return 10 * (peak - valley)


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


def _tempo_memory(config: FeatureConfig) -> Memory:
    hops = len(tempo_window(config)) - config.steps
    return {**onset_memory(config), "tempogram": np.zeros(max(hops, 0), np.float32)}


LOUDNESS_OFFSET = -0.691
"""Makes a full-scale sine of 997 Hz -3.01 LUFS (ITU-R BS.1770-4)."""


def _loudness(frame: Frame) -> np.ndarray:
    """Momentary and short-term loudness where the frame ends, (2,), without gating.

    Summed over the STFT's windows, so that the edges of the 400 ms and 3 s are as soft as they.
    """
    hops = round(MOMENTARY_S * frame.config.sample_rate / frame.config.hop_length)
    frames = np.append(frame.memory["loudness"], frame.loudness_power.mean())
    frame.memory["loudness"] = frames[1:]
    power = np.array([frame.loudness_power[-hops:].mean(), frames.mean()])
    return LOUDNESS_OFFSET + 10 * np.log10(np.maximum(power, np.float32(POWER_FLOOR)))


def _loudness_memory(config: FeatureConfig) -> Memory:
    return {"loudness": np.zeros(SHORT_TERM_FRAMES - 1, np.float32)}


BLOCKS: dict[str, Block] = {
    block.name: block
    for block in (
        Block(
            "logmel",
            lambda config: config.n_mels,
            "dB",
            "level of each mel band, mean over the frame",
            "Slaney (1998), Auditory Toolbox, Interval Technical Report 1998-010",
            _logmel,
        ),
        Block(
            "logmel_sd",
            lambda config: SD_BANDS,
            "dB",
            "standard deviation of the mel bands' levels within the frame, in groups of bands",
            "as logmel",
            _logmel_sd,
        ),
        Block(
            "patch",
            lambda config: config.patch_steps * config.n_mels,
            "dB",
            "the frame's log-mel spectrogram in a few time steps, flattened",
            "as logmel",
            _patch,
        ),
        Block(
            "mfcc",
            lambda config: N_MFCC,
            "dB",
            "mel-frequency cepstral coefficients, mean over the frame",
            "Davis and Mermelstein (1980), IEEE Transactions on Acoustics, Speech, and Signal "
            "Processing 28(4)",
            _mfcc,
        ),
        Block(
            "mfcc_delta",
            lambda config: 2 * N_MFCC,
            "dB/hop, dB/hop²",
            "first and second derivative of the cepstral coefficients, mean size in the frame",
            "Furui (1986), IEEE Transactions on Acoustics, Speech, and Signal Processing 34(1)",
            _mfcc_delta,
            _mfcc_memory,
        ),
        Block(
            "chroma",
            lambda config: 12,
            "1",
            "strength of the pitch classes C to B, from magnitudes, mean over the frame",
            "Ellis (2007), https://www.ee.columbia.edu/~dpwe/resources/matlab/chroma-ansyn/",
            _chroma,
            heard=heard_by_chroma,
        ),
        Block(
            "tonal",
            lambda config: len(KEY_WINDOWS_S) * (12 + KEY_MEASURES) + 3,
            "1",
            "chroma from the tonic up, strength of keys, major against minor, Fourier "
            "coefficients of the chroma and stability of the key, over 2, 6 and 20 s",
            "Krumhansl (1990), Cognitive Foundations of Musical Pitch; Amiot (2016), Music "
            "through Fourier Space",
            _tonal,
            _tonal_memory,
            heard_by_chroma,
        ),
        Block(
            "contrast",
            lambda config: CONTRAST_BANDS,
            "dB",
            "spectral peaks over valleys in octave bands, mean over the frame",
            "Jiang, Lu, Zhang, Tao and Cai (2002), Music type classification by spectral "
            "contrast feature, ICME",
            _contrast,
            version=2,
        ),
        Block(
            "onset",
            lambda config: 3,
            "dB",
            "onset strength: mean, largest and standard deviation in the frame",
            "Boeck and Widmer (2013), Maximum filter vibrato suppression for onset detection, DAFx",
            _onset,
            onset_memory,
        ),
        Block(
            "tempogram",
            lambda config: TEMPO_BANDS + 1,
            "1",
            "autocorrelation of onset strength over 8 s in bands of tempo, 30 to 300 beats per "
            "minute, and how far its peak stands out",
            "Grosche, Mueller and Kurth (2010), Cyclic tempogram: a mid-level tempo "
            "representation for music signals, ICASSP",
            _tempogram,
            _tempo_memory,
        ),
        Block(
            "loudness",
            lambda config: 2,
            "LUFS",
            "momentary (400 ms) and short-term (3 s) loudness at the frame's end, mono",
            "ITU-R BS.1770-4 (2015); EBU Tech 3341 (2016)",
            _loudness,
            _loudness_memory,
        ),
    )
}
"""Feature blocks by name: all that need nothing but this package."""

PRETRAINED: dict[str, Block] = {
    "ear": Block(
        "ear",
        lambda config: ear.DIM,
        "1",
        f"what {ear.NAME}, a network taught to tag music, hears in the last 3 s",
        "Pons and Serra (2019), musicnn: Pre-trained convolutional neural networks for music "
        "audio tagging, arXiv:1909.06654",
        ear.listen,
        lambda config: ear.memory(),
        lambda config: ear.PAST,
        weights=f"{ear.NAME} {ear.SHA256}",
    )
}
"""Blocks that run a network whose weights are fetched first; see `msr_utils.ear`."""

ALL_BLOCKS = BLOCKS | PRETRAINED
"""What a configuration may name."""

"""Power spectra at 16 kHz, for pretrained networks, as a causal stream.

Networks that tag music share this input: mono at 16 kHz, windows of 32 ms, hops of 16 ms. Windows
do not line up with frames: 31.25 hops make a frame, so frames give 31 or 32 hops.
"""

from __future__ import annotations

from functools import cache

import numpy as np
import scipy.fft

from msr_utils.constants import FRAME_SAMPLES, SAMPLE_RATE
from msr_utils.features.filterbanks import hann
from msr_utils.features.frame import BlockState, Frames, sliding_windows
from msr_utils.features.spectrum import FeatureConfigError, SpectrumConfig

RATE = 16_000
"""Sample rate of the networks' input in Hz."""

N_FFT = 512
"""STFT window in samples: 32 ms."""

HOP = 256
"""STFT hop in samples: 16 ms."""

BLOCK_IN, BLOCK_OUT = 441, 320
"""Samples in 20 ms at `SAMPLE_RATE` and at `RATE`."""

CONTEXT_BLOCKS = 2
"""Blocks before the frame that the frame's first window reaches into."""

TAPS = 128
"""Length of the resampler's filter in input samples. It delays by half of that, 2.9 ms."""

CONTEXT_SAMPLES = TAPS + CONTEXT_BLOCKS * BLOCK_IN
"""Samples before the frame that its first window and the resampler cover."""

OUTPUTS_AT_ONCE = 64
"""Neighbouring output samples that one matrix product interpolates. They share most inputs."""

FRAME_COUNT = "musicnn_frames"
"""Name of the state that counts frames. A live state of an earlier version has this name."""

COUNT_PERIOD = 4
"""Frames after which windows line up with frames again."""

MAX_COUNT = 12
"""The count goes back by `COUNT_PERIOD` from here. MusiCNN only asks whether it has pooled six."""


@cache
def _interpolators() -> list[tuple[int, np.ndarray]]:
    """For each group of a block's outputs: index of the first input, weights (inputs, outputs).

    A sinc of 7.6 kHz in a Kaiser window (Smith, "Digital Audio Resampling Home Page",
    https://ccrma.stanford.edu/~jos/resample/): flat to 7.1 kHz, 90 dB down from 8.1 kHz.
    """
    beta, cutoff = 0.1102 * (90 - 8.7), 2 * 7600 / SAMPLE_RATE
    position = np.arange(BLOCK_OUT) * (BLOCK_IN / BLOCK_OUT) + TAPS / 2
    groups = []
    for first in range(0, BLOCK_OUT, OUTPUTS_AT_ONCE):
        at = position[first : first + OUTPUTS_AT_ONCE]
        inputs = np.arange(int(at[0] - TAPS / 2), int(np.ceil(at[-1] + TAPS / 2)))
        distance = (inputs[:, None] - at) / (TAPS / 2)
        window = np.i0(beta * np.sqrt(np.maximum(1 - distance**2, 0))) / np.i0(beta)
        taps = cutoff * np.sinc(cutoff * distance * (TAPS / 2)) * window * (abs(distance) < 1)
        groups.append((int(inputs[0]), (taps / taps.sum(axis=0)).astype(np.float32)))
    return groups


def resample(samples: np.ndarray) -> np.ndarray:
    """Resample to `RATE`, with a delay of TAPS / 2 input samples.

    soxr is not used here, because the state of its filter cannot be carried to another process.

    Parameters
    ----------
    samples : np.ndarray [shape=(..., TAPS + blocks * BLOCK_IN), dtype=float32]
        TAPS samples of the past, then whole blocks at `SAMPLE_RATE`. The last axis is contiguous.

    Returns
    -------
    np.ndarray [shape=(..., blocks * BLOCK_OUT), dtype=float32]
    """
    *rows, length = samples.shape
    blocks = (length - TAPS) // BLOCK_IN
    *strides, stride = samples.strides
    out = np.empty((*rows, blocks, BLOCK_OUT), np.float32)
    for k, (first, taps) in enumerate(_interpolators()):
        inputs = np.lib.stride_tricks.as_strided(
            samples[..., first:],
            (*rows, blocks, len(taps)),
            (*strides, BLOCK_IN * stride, stride),
        )
        outputs = slice(k * OUTPUTS_AT_ONCE, (k + 1) * OUTPUTS_AT_ONCE)
        np.matmul(inputs, taps, out=out[..., outputs])
    return out.reshape(*rows, blocks * BLOCK_OUT)


def hops_until(frames: int) -> int:
    """Windows that end within the first `frames` frames: 31.25 per frame, rounded down."""
    return frames * (RATE // 2) // HOP


def initial_count() -> BlockState:
    """State before the first frame."""
    return {FRAME_COUNT: np.zeros(1, np.float32)}


def frame_counts(frames: Frames) -> list[int]:
    """Number of frames before each frame, modulo `COUNT_PERIOD` when it is large, and after all."""
    counts = [int(frames.state[FRAME_COUNT][0])]
    for _ in range(frames.count):
        before = counts[-1]
        counts.append(before + 1 if before < MAX_COUNT else before - COUNT_PERIOD + 1)
    return counts


def powers(frames: Frames) -> tuple[list[np.ndarray], list[int]]:
    """Power spectra of the windows that end within each frame, and `frame_counts`.

    All blocks of the same frames share them, and the state that counts frames.

    Returns
    -------
    powers : list of np.ndarray [shape=(31 or 32, N_FFT // 2 + 1), dtype=float32]
    counts : list of int
        One more than there are frames.
    """
    return frames.shared("powers at 16 kHz", _powers)


def _powers(frames: Frames) -> tuple[list[np.ndarray], list[int]]:
    covered = CONTEXT_SAMPLES + FRAME_SAMPLES
    samples = frames.samples[-(covered + (frames.count - 1) * FRAME_SAMPLES) :]
    resampled = resample(sliding_windows(samples, covered, FRAME_SAMPLES))
    counts = frame_counts(frames)
    windows = [
        _windows_of_frame(frame, count) for frame, count in zip(resampled, counts, strict=False)
    ]
    frames.state[FRAME_COUNT] = np.array([counts[-1]], np.float32)
    joined = power_of_windows(np.concatenate(windows))
    bounds = np.cumsum([len(some) for some in windows])[:-1]
    return np.split(joined, bounds), counts


def power_of_windows(windows: np.ndarray) -> np.ndarray:
    """Power spectra of windows, (hops, N_FFT) -> (hops, N_FFT // 2 + 1). It overwrites them."""
    windows *= hann(N_FFT)
    spectrum = scipy.fft.rfft(windows, axis=1, overwrite_x=True)
    power: np.ndarray = np.square(spectrum.real) + np.square(spectrum.imag)
    return power


def _windows_of_frame(samples: np.ndarray, counter: int) -> np.ndarray:
    """Windows that end within a frame, a view, (hops, N_FFT).

    Parameters
    ----------
    samples : np.ndarray [shape=((CONTEXT_BLOCKS + 25) * BLOCK_OUT,), dtype=float32]
        The resampled frame and its context.
    counter : int
        Frames before this one.
    """
    hops = hops_until(counter + 1) - hops_until(counter)
    first = CONTEXT_BLOCKS * BLOCK_OUT + HOP * (hops_until(counter) - 1) - counter * RATE // 2
    covered = samples[first : first + N_FFT + (hops - 1) * HOP]
    return sliding_windows(covered, N_FFT, HOP)


def check_rate(config: SpectrumConfig) -> None:
    """Refuse another sample rate than the resampler's.

    Raises
    ------
    FeatureConfigError
    """
    if config.sample_rate != SAMPLE_RATE:
        raise FeatureConfigError(
            f"features: pretrained networks need a sample_rate of {SAMPLE_RATE}, "
            f"not {config.sample_rate}",
            "sample_rate",
        )

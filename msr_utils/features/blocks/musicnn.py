"""MusiCNN's embedding of the last 3 s, as a causal stream."""

from __future__ import annotations

from functools import cache

import numpy as np
import scipy.fft

from msr_utils.constants import FRAME_SAMPLES, SAMPLE_RATE
from msr_utils.features.filterbanks import hann, mel_filters
from msr_utils.features.frame import BlockState, Frame
from msr_utils.features.musicnn_graph import MUSICNN_MELS, POOL_FRAMES
from msr_utils.features.weights import session

MUSICNN_RATE = 16_000

MUSICNN_N_FFT = 512

MUSICNN_HOP = 256

BLOCK_IN, BLOCK_OUT = 441, 320
"""Samples at `SAMPLE_RATE` and at EAR_RATE that last equally long."""

CONTEXT_BLOCKS = 2
"""Blocks before the frame that its first window reaches into."""

TAPS = 128
"""Samples that the resampler's filter covers. It delays by half of them, 2.9 ms."""

CONTEXT_SAMPLES = TAPS + CONTEXT_BLOCKS * BLOCK_IN
"""Samples before the frame that its first window and the resampler cover."""

GROUP = 64
"""Neighbouring samples that are interpolated at once: they share most of what they need."""


@cache
def _interpolators() -> list[tuple[int, np.ndarray]]:
    """For each GROUP of a block's outputs: the first input, and what inputs are multiplied by.

    A sinc of 7.6 kHz in a Kaiser window (Smith, "Digital Audio Resampling Home Page",
    https://ccrma.stanford.edu/~jos/resample/): flat to 7.1 kHz, 90 dB down from 8.1 kHz.
    """
    beta, cutoff = 0.1102 * (90 - 8.7), 2 * 7600 / SAMPLE_RATE
    position = np.arange(BLOCK_OUT) * (BLOCK_IN / BLOCK_OUT) + TAPS / 2
    groups = []
    for first in range(0, BLOCK_OUT, GROUP):
        at = position[first : first + GROUP]
        inputs = np.arange(int(at[0] - TAPS / 2), int(np.ceil(at[-1] + TAPS / 2)))
        distance = (inputs[:, None] - at) / (TAPS / 2)
        window = np.i0(beta * np.sqrt(np.maximum(1 - distance**2, 0))) / np.i0(beta)
        taps = cutoff * np.sinc(cutoff * distance * (TAPS / 2)) * window * (abs(distance) < 1)
        groups.append((int(inputs[0]), (taps / taps.sum(axis=0)).astype(np.float32)))
    return groups


def resample(samples: np.ndarray) -> np.ndarray:
    """Audio at EAR_RATE, TAPS / 2 input samples late.

    soxr would do, but what it remembers cannot be carried to another process.

    Parameters
    ----------
    samples : np.ndarray [shape=(TAPS + blocks * BLOCK_IN,), dtype=float32]
        TAPS of the past, then whole blocks at `SAMPLE_RATE`.

    Returns
    -------
    np.ndarray [shape=(blocks * BLOCK_OUT,), dtype=float32]
    """
    blocks = (len(samples) - TAPS) // BLOCK_IN
    step = samples.strides[0]
    out = np.empty((blocks, BLOCK_OUT), np.float32)
    for k, (first, taps) in enumerate(_interpolators()):
        inputs = np.lib.stride_tricks.as_strided(
            samples[first:], (blocks, len(taps)), (BLOCK_IN * step, step)
        )
        out[:, k * GROUP : (k + 1) * GROUP] = np.ascontiguousarray(inputs) @ taps
    return out.ravel()


@cache
def _mel_filters() -> np.ndarray:
    return mel_filters(MUSICNN_RATE, MUSICNN_N_FFT, MUSICNN_MELS, 0.0, MUSICNN_RATE / 2)


def log_mel(samples: np.ndarray) -> np.ndarray:
    """MusiCNN's spectrogram, log10(1 + 10000 power), of whole windows.

    The package rounds the power to half precision first, which overflows where music is loud;
    here it stays in single.

    Parameters
    ----------
    samples : np.ndarray [shape=(EAR_N_FFT + (hops - 1) * EAR_HOP,), dtype=float32]
        At EAR_RATE.

    Returns
    -------
    np.ndarray [shape=(hops, EAR_MELS), dtype=float32]
    """
    windows = np.lib.stride_tricks.sliding_window_view(samples, MUSICNN_N_FFT)[::MUSICNN_HOP]
    spectrum = scipy.fft.rfft(windows * hann(MUSICNN_N_FFT), axis=1, overwrite_x=True)
    power = (spectrum.real**2 + spectrum.imag**2) @ _mel_filters()
    return np.log10(10_000 * power + 1)


def hops_until(frames: int) -> int:
    """Windows that end within so many frames: 31.25 a frame."""
    return frames * (MUSICNN_RATE // 2) // MUSICNN_HOP


def initial_state() -> BlockState:
    """What the ear remembers before the first frame: zeros, as around MusiCNN's patches.

    The network is loaded here, so that it is missed before any audio is decoded.

    Raises
    ------
    EarError
        If the ear is not at hand.
    """
    inputs = session().get_inputs()[2:]
    state = {node.name: np.zeros(node.shape, np.float32) for node in inputs}
    state["ear_peaks"] -= np.inf
    return {"ear_frames": np.zeros(1, np.float32), **state}


def embed(frame: Frame) -> np.ndarray:
    """The embedding of the last 3 s, (DIM,)."""
    # Every fourth frame the windows stand alike, and the past reaches no further back than 6.
    known = int(frame.memory["ear_frames"][0])
    frame.memory["ear_frames"] = np.float32([known + 1 if known < 2 * POOL_FRAMES else known - 3])
    samples = resample(frame.samples[-(CONTEXT_SAMPLES + FRAME_SAMPLES) :])
    hops = hops_until(known + 1) - hops_until(known)
    first = (
        CONTEXT_BLOCKS * BLOCK_OUT
        + MUSICNN_HOP * (hops_until(known) - 1)
        - known * MUSICNN_RATE // 2
    )
    mel = log_mel(samples[first : first + MUSICNN_N_FFT + (hops - 1) * MUSICNN_HOP])
    pooled = hops_until(known + 1) - hops_until(max(known + 1 - POOL_FRAMES, 0))
    network = session()
    names = [node.name for node in network.get_inputs()[2:]]
    given = {"mel": mel, "pooled": np.float32([pooled])}
    embedding, *state = network.run(None, given | {name: frame.memory[name] for name in names})
    frame.memory.update(zip(names, state, strict=True))
    return embedding

"""MusiCNN's embedding of the last 3 s, as a causal stream.

The frame's audio is resampled to 16 kHz and turned into MusiCNN's own log-mel spectrogram. The
network (`msr_utils.features.musicnn_graph`) takes the hops that end within the frame. Its windows
do not line up with frames: 31.25 hops make a frame, so frames give 31 or 32 hops.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache

import numpy as np
import scipy.fft

from msr_utils.constants import FRAME_SAMPLES, SAMPLE_RATE
from msr_utils.features.blocks.base import Block
from msr_utils.features.filterbanks import hann, mel_filters
from msr_utils.features.frame import BlockState, Frames, sliding_windows
from msr_utils.features.musicnn_graph import (
    EMBEDDING_DIM,
    MUSICNN_MELS,
    MUSICNN_NAME,
    MUSICNN_SHA256,
    POOL_FRAMES,
    STATE_PREFIX,
)
from msr_utils.features.spectrum import FeatureConfigError, SpectrumConfig
from msr_utils.features.weights import session

MUSICNN_RATE = 16_000
"""Sample rate of MusiCNN's input in Hz."""

MUSICNN_N_FFT = 512
"""Its STFT window in samples: 32 ms."""

MUSICNN_HOP = 256
"""Its STFT hop in samples: 16 ms."""

BLOCK_IN, BLOCK_OUT = 441, 320
"""Samples in 20 ms at `SAMPLE_RATE` and at `MUSICNN_RATE`."""

CONTEXT_BLOCKS = 2
"""Blocks before the frame that the frame's first window reaches into."""

TAPS = 128
"""Length of the resampler's filter in input samples. It delays by half of that, 2.9 ms."""

CONTEXT_SAMPLES = TAPS + CONTEXT_BLOCKS * BLOCK_IN
"""Samples before the frame that its first window and the resampler cover."""

OUTPUTS_AT_ONCE = 64
"""Neighbouring output samples that one matrix product interpolates. They share most inputs."""

FRAME_COUNT = "musicnn_frames"
"""Name of the state that counts frames."""


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
    """Resample to `MUSICNN_RATE`, with a delay of TAPS / 2 input samples.

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


@cache
def _mel_filters() -> np.ndarray:
    return mel_filters(MUSICNN_RATE, MUSICNN_N_FFT, MUSICNN_MELS, 0.0, MUSICNN_RATE / 2)


def log_mel(samples: np.ndarray) -> np.ndarray:
    """MusiCNN's spectrogram of whole windows, log10(1 + 10000 power).

    MusiCNN's package first rounds the power to half precision, which overflows for loud music.
    Here it stays in single precision.

    Parameters
    ----------
    samples : np.ndarray [shape=(MUSICNN_N_FFT + (hops - 1) * MUSICNN_HOP,), dtype=float32]
        At `MUSICNN_RATE`.

    Returns
    -------
    np.ndarray [shape=(hops, MUSICNN_MELS), dtype=float32]
    """
    return _log_mels([sliding_windows(samples, MUSICNN_N_FFT, MUSICNN_HOP)])[0]


def _log_mels(windows: Sequence[np.ndarray]) -> list[np.ndarray]:
    """The spectrogram of each frame's windows, (hops, MUSICNN_N_FFT) -> (hops, MUSICNN_MELS).

    Each frame has a matrix product of its own, so the last bits do not depend on the others.
    """
    joined = np.concatenate(windows)
    joined *= hann(MUSICNN_N_FFT)
    spectrum = scipy.fft.rfft(joined, axis=1, overwrite_x=True)
    power = np.square(spectrum.real) + np.square(spectrum.imag)
    mel = np.empty((len(joined), MUSICNN_MELS), np.float32)
    first, mels = 0, []
    for some in windows:
        hops = slice(first, first + len(some))
        mels.append(np.matmul(power[hops], _mel_filters(), out=mel[hops]))
        first = hops.stop
    mel *= 10_000
    mel += 1
    np.log10(mel, out=mel)
    return mels


def hops_until(frames: int) -> int:
    """Windows that end within the first `frames` frames: 31.25 per frame, rounded down."""
    return frames * (MUSICNN_RATE // 2) // MUSICNN_HOP


def initial_state(config: SpectrumConfig | None = None) -> BlockState:
    """State before the first frame: zeros, as in the padding around MusiCNN's own input.

    The network is loaded here, so that missing weights are noticed before audio is decoded.

    Raises
    ------
    PretrainedWeightsError
        If the weights are missing.
    """
    inputs = session().get_inputs()[2:]
    state = {node.name: np.zeros(node.shape, np.float32) for node in inputs}
    state[f"{STATE_PREFIX}peaks"] -= np.inf
    return {FRAME_COUNT: np.zeros(1, np.float32), **state}


def embed(frames: Frames) -> np.ndarray:
    """Embedding of the last 3 s at the end of each frame, (count, EMBEDDING_DIM)."""
    network = session()
    names = [node.name for node in network.get_inputs()[2:]]
    state = [frames.state[name] for name in names]
    counter = int(frames.state[FRAME_COUNT][0])
    covered = CONTEXT_SAMPLES + FRAME_SAMPLES
    samples = frames.samples[-(covered + (frames.count - 1) * FRAME_SAMPLES) :]
    resampled = resample(sliding_windows(samples, covered, FRAME_SAMPLES))
    counters, windows = [counter], []
    for frame in resampled:
        windows.append(_windows_of_frame(frame, counter))
        # Windows line up with every fourth frame, and pooling covers the last POOL_FRAMES. So 12
        # frames have the same state as 8, and a count that stays small is enough.
        counter = counter + 1 if counter < 2 * POOL_FRAMES else counter - 3
        counters.append(counter)
    mels = _log_mels(windows)
    embeddings = np.empty((frames.count, EMBEDDING_DIM), np.float32)
    for mel, before, embedding in zip(mels, counters, embeddings, strict=False):
        pooled = hops_until(before + 1) - hops_until(max(before + 1 - POOL_FRAMES, 0))
        inputs = {"mel": mel, "pooled": np.array([pooled], np.float32)}
        embedding[:], *state = network.run(None, inputs | dict(zip(names, state, strict=True)))
    frames.state.update(zip(names, state, strict=True))
    frames.state[FRAME_COUNT] = np.array([counter], np.float32)
    return embeddings


def _windows_of_frame(samples: np.ndarray, counter: int) -> np.ndarray:
    """Windows that end within a frame, a view, (hops, MUSICNN_N_FFT).

    Parameters
    ----------
    samples : np.ndarray [shape=((CONTEXT_BLOCKS + 25) * BLOCK_OUT,), dtype=float32]
        The resampled frame and its context.
    counter : int
        Frames before this one.
    """
    hops = hops_until(counter + 1) - hops_until(counter)
    first = (
        CONTEXT_BLOCKS * BLOCK_OUT
        + MUSICNN_HOP * (hops_until(counter) - 1)
        - counter * MUSICNN_RATE // 2
    )
    covered = samples[first : first + MUSICNN_N_FFT + (hops - 1) * MUSICNN_HOP]
    return sliding_windows(covered, MUSICNN_N_FFT, MUSICNN_HOP)


def _check_rate(config: SpectrumConfig) -> None:
    if config.sample_rate != SAMPLE_RATE:
        raise FeatureConfigError(
            f"features: musicnn needs a sample_rate of {SAMPLE_RATE}, not {config.sample_rate}",
            "sample_rate",
        )


BLOCKS = (
    Block(
        name="musicnn",
        dim=lambda config: EMBEDDING_DIM,
        unit="1",
        what=f"embedding of the last 3 s by {MUSICNN_NAME}, a network trained to tag music",
        source="Pons and Serra (2019), musicnn: Pre-trained convolutional neural networks for "
        "music audio tagging, arXiv:1909.06654",
        compute=embed,
        initial_state=initial_state,
        context_samples=lambda config: CONTEXT_SAMPLES,
        check=_check_rate,
        weights=f"{MUSICNN_NAME} {MUSICNN_SHA256}",
        former_name="ear",
    ),
)

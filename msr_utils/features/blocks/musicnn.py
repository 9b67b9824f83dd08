"""MusiCNN's embedding of the last 3 s, as a causal stream.

The frame's power spectra at 16 kHz (`msr_utils.features.hops_16k`) are turned into MusiCNN's own
log-mel spectrogram. The network (`msr_utils.features.musicnn_graph`) takes the hops that end within
the frame.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache

import numpy as np

from msr_utils.features import hops_16k
from msr_utils.features.blocks.base import Block
from msr_utils.features.filterbanks import mel_filters
from msr_utils.features.frame import BlockState, Frames, sliding_windows
from msr_utils.features.hops_16k import HOP, N_FFT, RATE, hops_until
from msr_utils.features.musicnn_graph import (
    EMBEDDING_DIM,
    MUSICNN_MELS,
    MUSICNN_NAME,
    MUSICNN_SHA256,
    POOL_FRAMES,
    STATE_PREFIX,
)
from msr_utils.features.spectrum import SpectrumConfig
from msr_utils.features.weights import MUSICNN, session


@cache
def _mel_filters() -> np.ndarray:
    return mel_filters(RATE, N_FFT, MUSICNN_MELS, 0.0, RATE / 2)


def log_mel(samples: np.ndarray) -> np.ndarray:
    """MusiCNN's spectrogram of whole windows, log10(1 + 10000 power).

    MusiCNN's package first rounds the power to half precision, which overflows for loud music.
    Here it stays in single precision.

    Parameters
    ----------
    samples : np.ndarray [shape=(N_FFT + (hops - 1) * HOP,), dtype=float32]
        At `RATE`.

    Returns
    -------
    np.ndarray [shape=(hops, MUSICNN_MELS), dtype=float32]
    """
    windows = np.array(sliding_windows(samples, N_FFT, HOP))
    return _log_mels([hops_16k.power_of_windows(windows)])[0]


def _log_mels(powers: Sequence[np.ndarray]) -> list[np.ndarray]:
    """The spectrogram of each frame's power spectra, (hops, bins) -> (hops, MUSICNN_MELS).

    Each frame has a matrix product of its own, so the last bits do not depend on the others.
    """
    mel = np.empty((sum(map(len, powers)), MUSICNN_MELS), np.float32)
    first, mels = 0, []
    for power in powers:
        hops = slice(first, first + len(power))
        mels.append(np.matmul(power, _mel_filters(), out=mel[hops]))
        first = hops.stop
    mel *= 10_000
    mel += 1
    np.log10(mel, out=mel)
    return mels


def initial_state(config: SpectrumConfig | None = None) -> BlockState:
    """State before the first frame: zeros, as in the padding around MusiCNN's own input.

    The network is loaded here, so that missing weights are noticed before audio is decoded.

    Raises
    ------
    PretrainedWeightsError
        If the weights are missing.
    """
    inputs = session(MUSICNN).get_inputs()[2:]
    state = {node.name: np.zeros(node.shape, np.float32) for node in inputs}
    state[f"{STATE_PREFIX}peaks"] -= np.inf
    return {**hops_16k.initial_count(), **state}


def embed(frames: Frames) -> np.ndarray:
    """Embedding of the last 3 s at the end of each frame, (count, EMBEDDING_DIM)."""
    network = session(MUSICNN)
    names = [node.name for node in network.get_inputs()[2:]]
    state = [frames.state[name] for name in names]
    powers, counts = hops_16k.powers(frames)
    embeddings = np.empty((frames.count, EMBEDDING_DIM), np.float32)
    for mel, before, embedding in zip(_log_mels(powers), counts, embeddings, strict=False):
        pooled = hops_until(before + 1) - hops_until(max(before + 1 - POOL_FRAMES, 0))
        inputs = {"mel": mel, "pooled": np.array([pooled], np.float32)}
        embedding[:], *state = network.run(None, inputs | dict(zip(names, state, strict=True)))
    frames.state.update(zip(names, state, strict=True))
    return embeddings


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
        context_samples=lambda config: hops_16k.CONTEXT_SAMPLES,
        check=hops_16k.check_rate,
        weights=f"{MUSICNN_NAME} {MUSICNN_SHA256}",
        former_name="ear",
    ),
)

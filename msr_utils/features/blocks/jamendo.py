"""Embedding by the FCN of MTG-Jamendo, as a causal stream.

The network (`msr_utils.features.jamendo_graph`) takes `CHUNK_HOPS` hops at a time, which is
1.024 s. Frames between two such calls have the last embedding. It ends up to 1.4 s before the
frame does.
"""

from __future__ import annotations

from functools import cache

import numpy as np

from msr_utils.features import hops_16k
from msr_utils.features.blocks.base import Block
from msr_utils.features.filterbanks import htk_mel_filters
from msr_utils.features.frame import BlockState, Frames
from msr_utils.features.hops_16k import N_FFT, RATE
from msr_utils.features.jamendo_graph import (
    CHUNK_HOPS,
    EMBEDDING_DIM,
    JAMENDO_MELS,
    JAMENDO_NAME,
    JAMENDO_SHA256,
    LAG_HOPS,
    STATE_PREFIX,
)
from msr_utils.features.spectrum import SpectrumConfig
from msr_utils.features.weights import JAMENDO, session

MIN_POWER = 1e-10
"""Least power of a mel band, -100 dB, as in torchaudio's ``AmplitudeToDB``."""

WAITING = STATE_PREFIX + "waiting"
"""State: hops in dB that wait for a whole chunk."""

LIVE = STATE_PREFIX + "live"
"""State: 1 for each hop that waits, 0 for what lies before the start."""

EMBEDDING = STATE_PREFIX + "embedding"
"""State: the last embedding."""

COUNT = STATE_PREFIX + "count"
"""State: number of hops that wait."""


@cache
def _mel_filters() -> np.ndarray:
    return htk_mel_filters(RATE, N_FFT, JAMENDO_MELS, 0.0, RATE / 2)


def mel_db(power: np.ndarray) -> np.ndarray:
    """The network's spectrogram, (hops, N_FFT // 2 + 1) -> (hops, JAMENDO_MELS) in dB."""
    mel: np.ndarray = power @ _mel_filters()
    np.maximum(mel, np.float32(MIN_POWER), out=mel)
    np.log10(mel, out=mel)
    mel *= 10
    return mel


def initial_state(config: SpectrumConfig | None = None) -> BlockState:
    """State before the first frame: zeros, as in the padding around the network's own input.

    The first chunk begins before the start, so that columns end `LAG_HOPS` before chunks do.

    Raises
    ------
    PretrainedWeightsError
        If the weights are missing.
    """
    inputs = session(JAMENDO).get_inputs()[2:]
    return {
        **hops_16k.initial_count(),
        **{node.name: np.zeros(node.shape, np.float32) for node in inputs},
        WAITING: np.zeros((CHUNK_HOPS, JAMENDO_MELS), np.float32),
        LIVE: np.zeros(CHUNK_HOPS, np.float32),
        COUNT: np.full(1, CHUNK_HOPS - LAG_HOPS, np.float32),
        EMBEDDING: np.zeros(EMBEDDING_DIM, np.float32),
    }


def embed(frames: Frames) -> np.ndarray:
    """The last embedding at the end of each frame, (count, EMBEDDING_DIM)."""
    network = session(JAMENDO)
    names = [node.name for node in network.get_inputs()[2:]]
    state = [frames.state[name] for name in names]
    waiting, live = frames.state[WAITING].copy(), frames.state[LIVE].copy()
    count, embedding = int(frames.state[COUNT][0]), frames.state[EMBEDDING]
    embeddings = np.empty((frames.count, EMBEDDING_DIM), np.float32)
    for row, power in zip(embeddings, hops_16k.powers(frames)[0], strict=True):
        mel = mel_db(power)
        fitting = mel[: CHUNK_HOPS - count]
        end = count + len(fitting)
        waiting[count:end], live[count:end] = fitting, 1
        count = end
        if count == CHUNK_HOPS:
            inputs = {"mel": waiting, "live": live.reshape(1, 1, 1, -1)}
            embedding, *state = network.run(None, inputs | dict(zip(names, state, strict=True)))
            count = len(mel) - len(fitting)
            waiting[:count], live[:] = mel[len(fitting) :], 1
        row[:] = embedding
    waiting[count:] = 0
    frames.state.update(zip(names, state, strict=True))
    frames.state.update({WAITING: waiting, LIVE: live, EMBEDDING: embedding})
    frames.state[COUNT] = np.array([count], np.float32)
    return embeddings


BLOCKS = (
    Block(
        name="jamendo_fcn",
        dim=lambda config: EMBEDDING_DIM,
        unit="1",
        what=f"embedding of the last 1, 5 and 20 s by {JAMENDO_NAME}, a network trained to tag "
        "music",
        source="Won, Ferraro, Bogdanov and Serra (2020), Evaluation of CNN-based automatic music "
        "tagging models, SMC",
        compute=embed,
        initial_state=initial_state,
        context_samples=lambda config: hops_16k.CONTEXT_SAMPLES,
        check=hops_16k.check_rate,
        weights=f"{JAMENDO_NAME} {JAMENDO_SHA256}",
    ),
)

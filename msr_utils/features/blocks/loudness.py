"""Loudness after ITU-R BS.1770."""

from __future__ import annotations

import numpy as np

from msr_utils.constants import MOMENTARY_S, POWER_FLOOR, SHORT_TERM_FRAMES
from msr_utils.features.blocks.base import Block
from msr_utils.features.frame import BlockState, Frames, sliding_windows
from msr_utils.features.spectrum import SpectrumConfig

LOUDNESS_OFFSET = -0.691
"""Offset in LUFS that gives a full-scale sine of 997 Hz a loudness of -3.01 LUFS (ITU-R
BS.1770-4)."""


def _loudness(frames: Frames) -> np.ndarray:
    """Momentary and short-term loudness at a frame's end, (count, 2), without gating.

    Computed from the STFT, whose windows overlap. The 400 ms and 3 s therefore have soft edges.
    """
    hops = round(MOMENTARY_S * frames.config.sample_rate / frames.config.hop_length)
    power = frames.loudness_power
    means = np.concatenate([frames.state["loudness"], power.mean(axis=1)])
    frames.state["loudness"] = means[frames.count :].copy()
    short_term = sliding_windows(means, SHORT_TERM_FRAMES, 1)
    power = np.stack([power[:, -hops:].mean(axis=1), short_term.mean(axis=1)], axis=1)
    loudness: np.ndarray = LOUDNESS_OFFSET + 10 * np.log10(
        np.maximum(power, np.float32(POWER_FLOOR))
    )
    return loudness


def _initial_loudness_state(config: SpectrumConfig) -> BlockState:
    """Power of the frames before this one; silence before the stream's start."""
    return {"loudness": np.zeros(SHORT_TERM_FRAMES - 1, np.float32)}


BLOCKS = (
    Block(
        name="loudness",
        dim=lambda config: 2,
        unit="LUFS",
        what="momentary (400 ms) and short-term (3 s) loudness at the frame's end, mono",
        source="ITU-R BS.1770-4 (2015); EBU Tech 3341 (2016)",
        compute=_loudness,
        initial_state=_initial_loudness_state,
    ),
)

"""Loudness after ITU-R BS.1770."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from msr_utils.constants import MOMENTARY_S, POWER_FLOOR, SHORT_TERM_FRAMES
from msr_utils.features.frame import BlockState, Frame

if TYPE_CHECKING:
    from msr_utils.features.config import FeatureConfig


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


def _loudness_state(config: FeatureConfig) -> BlockState:
    return {"loudness": np.zeros(SHORT_TERM_FRAMES - 1, np.float32)}

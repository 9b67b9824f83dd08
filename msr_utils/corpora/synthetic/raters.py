"""Simulated raters: late, biased and noisy."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from scipy.signal import lfilter

from msr_utils.constants import FRAME_SECONDS, SCALE
from msr_utils.corpora.synthetic.config import RATER_STREAM, SyntheticConfig, frame_ends

RATER_LAG_S = (1.0, 3.0)
RATER_NOISE_TAU_S = 5.0
DECIMALS = 4


class Rater(NamedTuple):
    """One simulated rater: delay, gain, bias and noise of its answers."""

    lag_s: float
    gain: float
    bias_valence: float
    bias_arousal: float
    noise_sd: float


def draw_rater(config: SyntheticConfig, number: int) -> Rater:
    """Draw the answering habits of simulated rater `number`, the same for every track."""
    rng = np.random.default_rng([config.seed, number, RATER_STREAM])
    return Rater(
        lag_s=rng.uniform(*RATER_LAG_S),
        gain=rng.uniform(0.6, 1.1),
        bias_valence=rng.normal(0, 0.1),
        bias_arousal=rng.normal(0, 0.1),
        noise_sd=rng.uniform(0.25, 0.5),
    )


def simulate_ratings(
    truth: np.ndarray, raters: list[Rater], rng: np.random.Generator
) -> np.ndarray:
    """Simulate continuous ratings of the arcs, shape (R, T, 2), clipped to `SCALE`."""
    ends = frame_ends(len(truth))
    pole = np.exp(-FRAME_SECONDS / RATER_NOISE_TAU_S)
    ratings = np.empty((len(raters), *truth.shape))
    for curve, rater in zip(ratings, raters, strict=True):
        white = rng.normal(0, 1, truth.shape)
        white[1:] *= np.sqrt(1 - pole**2)  # unit variance of the slow noise from the first frame on
        noise = lfilter([1], [1, -pole], white, axis=0)
        delayed = [np.interp(ends - rater.lag_s, ends, arc) for arc in truth.T]
        bias = (rater.bias_valence, rater.bias_arousal)
        curve[:] = rater.gain * np.stack(delayed, axis=1) + bias + rater.noise_sd * noise
    return ratings.clip(*SCALE).round(DECIMALS)

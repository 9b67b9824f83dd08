"""Mel-frequency cepstral coefficients and their derivatives."""

from __future__ import annotations

from functools import cache

import numpy as np

from msr_utils.constants import DELTA_HOPS, N_MFCC
from msr_utils.features.blocks.base import Block
from msr_utils.features.frame import BlockState, Frames, sliding_windows
from msr_utils.features.spectrum import FeatureConfigError, SpectrumConfig


def _mfcc(frames: Frames) -> np.ndarray:
    """Mean of each coefficient over a frame, (count, N_MFCC)."""
    mean: np.ndarray = frames.mfcc.mean(axis=1)
    return mean


@cache
def _slope_weights() -> np.ndarray:
    """Weights of the first and second derivative over the last DELTA_HOPS, (DELTA_HOPS, 2).

    Least-squares fits of a line and of a parabola: Savitzky and Golay (1964), "Smoothing and
    differentiation of data by simplified least squares procedures", as librosa.feature.delta.
    """
    hops = np.arange(DELTA_HOPS) - DELTA_HOPS // 2
    line = np.linalg.pinv(np.vander(hops, 2, increasing=True))[1]
    parabola = np.linalg.pinv(np.vander(hops, 3, increasing=True))[2]
    return np.stack([line, 2 * parabola], axis=1).astype(np.float32)


def mfcc_slopes(frames: Frames) -> np.ndarray:
    """Derivatives of the cepstral coefficients at each hop, (count, steps, N_MFCC, 2).

    Each is fitted to the hop and the DELTA_HOPS - 1 hops before it. Before the first hop of a
    stream, the coefficients of that hop are repeated.
    """
    count, steps = frames.mfcc.shape[:2]
    mfcc = frames.mfcc.reshape(-1, N_MFCC)
    previous = frames.state["mfcc_delta"]
    previous = np.where(np.isnan(previous), mfcc[0], previous)
    hops = np.concatenate([previous, mfcc])
    frames.state["mfcc_delta"] = hops[-len(previous) :].copy()
    windows = sliding_windows(hops, DELTA_HOPS, 1).swapaxes(1, 2)
    slopes: np.ndarray = windows.reshape(count, steps * N_MFCC, DELTA_HOPS) @ _slope_weights()
    return slopes.reshape(count, steps, N_MFCC, 2)


def _mfcc_delta(frames: Frames) -> np.ndarray:
    """Mean absolute value of both derivatives over a frame, (count, 2 * N_MFCC).

    Without the absolute value, the mean slope would only compare the frame's end with its start.
    """
    slopes = mfcc_slopes(frames)
    mean: np.ndarray = np.abs(slopes, out=slopes).mean(axis=1)
    return mean.transpose(0, 2, 1).reshape(frames.count, -1)


def _initial_slope_state(config: SpectrumConfig) -> BlockState:
    """Coefficients of the last hops; NaN stands for hops before the stream's start."""
    return {"mfcc_delta": np.full((DELTA_HOPS - 1, N_MFCC), np.nan, np.float32)}


def _check_bands(config: SpectrumConfig) -> None:
    if config.n_mels < N_MFCC:
        raise FeatureConfigError(
            f"features: mfcc needs n_mels of at least {N_MFCC}, not {config.n_mels}", "n_mels"
        )


BLOCKS = (
    Block(
        name="mfcc",
        dim=lambda config: N_MFCC,
        unit="dB",
        what="mel-frequency cepstral coefficients, mean over the frame",
        source="Davis and Mermelstein (1980), IEEE Transactions on Acoustics, Speech, and Signal "
        "Processing 28(4)",
        compute=_mfcc,
        check=_check_bands,
    ),
    Block(
        name="mfcc_delta",
        dim=lambda config: 2 * N_MFCC,
        unit="dB/hop, dB/hop²",
        what="first and second derivative of the cepstral coefficients, mean size in the frame",
        source="Furui (1986), IEEE Transactions on Acoustics, Speech, and Signal Processing 34(1)",
        compute=_mfcc_delta,
        initial_state=_initial_slope_state,
        check=_check_bands,
    ),
)

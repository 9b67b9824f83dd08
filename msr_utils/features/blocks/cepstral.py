"""Mel-frequency cepstral coefficients and their derivatives."""

from __future__ import annotations

from functools import cache

import numpy as np
import scipy.fft

from msr_utils.constants import DELTA_HOPS, N_MFCC
from msr_utils.features.blocks.base import Block
from msr_utils.features.frame import BlockState, Frame
from msr_utils.features.spectrum import FeatureConfigError, SpectrumConfig


@cache
def _dct(n_mels: int) -> np.ndarray:
    """First N_MFCC vectors of the orthonormal DCT-II, (n_mels, N_MFCC)."""
    identity = np.eye(n_mels, dtype=np.float32)
    return np.ascontiguousarray(scipy.fft.dct(identity, norm="ortho", axis=1)[:, :N_MFCC])


def _mfcc(frame: Frame) -> np.ndarray:
    """Mean of each coefficient over the frame, (N_MFCC,)."""
    mean: np.ndarray = (frame.mel_db @ _dct(frame.config.n_mels)).mean(axis=0)
    return mean


@cache
def _slope_weights() -> np.ndarray:
    """Weights of the first and second derivative over the last DELTA_HOPS, (2, DELTA_HOPS).

    Least-squares fits of a line and of a parabola: Savitzky and Golay (1964), "Smoothing and
    differentiation of data by simplified least squares procedures", as librosa.feature.delta.
    """
    hops = np.arange(DELTA_HOPS) - DELTA_HOPS // 2
    line = np.linalg.pinv(np.vander(hops, 2, increasing=True))[1]
    parabola = np.linalg.pinv(np.vander(hops, 3, increasing=True))[2]
    return np.stack([line, 2 * parabola]).astype(np.float32)


def mfcc_slopes(frame: Frame) -> np.ndarray:
    """Derivatives of the cepstral coefficients at each hop, (2, steps, N_MFCC).

    Each is fitted to the hop and the DELTA_HOPS - 1 hops before it. Before the first hop of a
    stream, the coefficients of that hop are repeated.
    """
    mfcc = frame.mel_db @ _dct(frame.config.n_mels)
    previous = frame.state["mfcc_delta"]
    previous = np.where(np.isnan(previous), mfcc[0], previous)
    hops = np.concatenate([previous, mfcc])
    frame.state["mfcc_delta"] = hops[-len(previous) :].copy()
    windows = np.lib.stride_tricks.sliding_window_view(hops, DELTA_HOPS, axis=0)
    return np.moveaxis(windows @ _slope_weights().T, 2, 0)


def _mfcc_delta(frame: Frame) -> np.ndarray:
    """Mean absolute value of both derivatives over the frame, (2 * N_MFCC,).

    Without the absolute value, the mean slope would only compare the frame's end with its start.
    """
    mean: np.ndarray = np.abs(mfcc_slopes(frame)).mean(axis=1)
    return mean.ravel()


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

"""Mel-frequency cepstral coefficients and their derivatives."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING

import numpy as np
import scipy.fft

from msr_utils.constants import DELTA_HOPS, N_MFCC
from msr_utils.features.frame import BlockState, Frame

if TYPE_CHECKING:
    from msr_utils.features.config import FeatureConfig


@cache
def _dct(n_mels: int) -> np.ndarray:
    """The first N_MFCC vectors of the orthonormal DCT-II, (n_mels, N_MFCC)."""
    identity = np.eye(n_mels, dtype=np.float32)
    return np.ascontiguousarray(scipy.fft.dct(identity, norm="ortho", axis=1)[:, :N_MFCC])


def _mfcc(frame: Frame) -> np.ndarray:
    """Mean over the frame of each coefficient, (N_MFCC,)."""
    return (frame.mel_db @ _dct(frame.config.n_mels)).mean(axis=0)


@cache
def _slopes() -> np.ndarray:
    """Weights of the first and second derivative over the last DELTA_HOPS, (2, DELTA_HOPS).

    A line and a parabola fitted by least squares: Savitzky and Golay (1964), "Smoothing and
    differentiation of data by simplified least squares procedures", as librosa.feature.delta.
    """
    hops = np.arange(DELTA_HOPS) - DELTA_HOPS // 2
    line = np.linalg.pinv(np.vander(hops, 2, increasing=True))[1]
    parabola = np.linalg.pinv(np.vander(hops, 3, increasing=True))[2]
    return np.stack([line, 2 * parabola]).astype(np.float32)


def mfcc_slopes(frame: Frame) -> np.ndarray:
    """Derivatives of the cepstral coefficients at each hop, (2, steps, N_MFCC).

    Each is fitted to the hop and the DELTA_HOPS - 1 before it. Before the first hop its value
    is held.
    """
    mfcc = frame.mel_db @ _dct(frame.config.n_mels)
    before = frame.memory["mfcc_delta"]
    before = np.where(np.isnan(before), mfcc[0], before)
    known = np.concatenate([before, mfcc])
    frame.memory["mfcc_delta"] = known[-len(before) :].copy()
    windows = np.lib.stride_tricks.sliding_window_view(known, DELTA_HOPS, axis=0)
    return np.moveaxis(windows @ _slopes().T, 2, 0)


def _mfcc_delta(frame: Frame) -> np.ndarray:
    """Mean size over the frame of both derivatives, (2 * N_MFCC,).

    Of their size: the mean of a slope itself tells little more than where the frame began and
    where it ended.
    """
    return np.abs(mfcc_slopes(frame)).mean(axis=1).ravel()


def _mfcc_state(config: FeatureConfig) -> BlockState:
    return {"mfcc_delta": np.full((DELTA_HOPS - 1, N_MFCC), np.nan, np.float32)}

"""Frames of 500 ms of a stream: their spectra, and the state that blocks carry on."""

from __future__ import annotations

from collections.abc import Callable
from functools import cached_property
from typing import Any, TypeVar

import numpy as np
import scipy.fft

from msr_utils.constants import CHROMA_N_FFT, CHROMA_STEPS, POWER_FLOOR
from msr_utils.features.filterbanks import (
    chroma_filterbank,
    hann,
    loudness_weights,
    mel_dct,
    mel_filter_groups,
)
from msr_utils.features.spectrum import SpectrumConfig

BlockState = dict[str, np.ndarray]
"""Arrays that blocks carry from frame to frame, by name."""

T = TypeVar("T")

FFT_SAMPLES = 2**16
"""Samples of the windows that are transformed at a time. Their spectra stay in the processor's
cache."""


def stft_context_samples(config: SpectrumConfig) -> int:
    """Samples before a frame that its first STFT window covers."""
    return config.n_fft - config.hop_length


def chroma_context_samples(config: SpectrumConfig) -> int:
    """Samples before a frame that its first chroma window covers."""
    return CHROMA_N_FFT - config.frame_samples // CHROMA_STEPS


def _power(spectra: np.ndarray, out: np.ndarray) -> None:
    """Squared magnitudes. The spectra are overwritten."""
    squares = np.square(spectra.view(np.float32), out=spectra.view(np.float32))
    np.add(squares[:, ::2], squares[:, 1::2], out=out)


def sliding_windows(values: np.ndarray, length: int, step: int) -> np.ndarray:
    """Windows along the first axis of a contiguous array, as a view.

    numpy's sliding_window_view gives the same, but calling it takes ten times as long.

    Parameters
    ----------
    values : np.ndarray [shape=(n, ...)]
    length : int
    step : int
        Distance of the windows' starts.

    Returns
    -------
    np.ndarray [shape=((n - length) // step + 1, length, ...)]
    """
    stride, *others = values.strides
    shape = ((len(values) - length) // step + 1, length, *values.shape[1:])
    return np.ndarray(shape, values.dtype, values, 0, (step * stride, stride, *others))


class WorkArrays:
    """Memory of large arrays, used again and again.

    Fresh memory costs time: the system must clear each page of it.
    """

    def __init__(self) -> None:
        self._arrays: dict[str, np.ndarray] = {}

    def array(self, name: str, rows: int, columns: int) -> np.ndarray:
        """An array of any content, (rows, columns) float32; the last one of its name if it fits."""
        known = self._arrays.get(name)
        if known is None or len(known) < rows:
            known = self._arrays[name] = np.empty((rows, columns), np.float32)
        return known[:rows]


class Frames:
    """Consecutive frames of a stream. Spectra are computed when a block first asks for them.

    A file is computed in batches of many frames, a live stream often in batches of one. Both give
    the same numbers to the last bit: every matrix product has the shape of one frame.

    Parameters
    ----------
    samples : np.ndarray [shape=(n,), dtype=float32]
        The frames' samples, preceded by as much of the past as their windows cover.
    count : int > 0
        Number of frames.
    config : SpectrumConfig
    state : dict of str to np.ndarray
        State after the frames before. Blocks read it and write the state for the next frames.
    work : WorkArrays, optional
        Memory for spectra. The next frames with the same memory overwrite them.
    """

    def __init__(
        self,
        samples: np.ndarray,
        count: int,
        config: SpectrumConfig,
        state: BlockState,
        work: WorkArrays | None = None,
    ) -> None:
        self.samples = samples
        self.count = count
        self.config = config
        self.state = state
        self._work = work or WorkArrays()
        self._shared: dict[str, Any] = {}

    def shared(self, name: str, compute: Callable[[Frames], T]) -> T:
        """What several blocks of these frames need, computed for the first of them."""
        if name not in self._shared:
            self._shared[name] = compute(self)
        found: T = self._shared[name]
        return found

    def _stft(
        self, n_fft: int, steps: int, measure: Callable[[np.ndarray, np.ndarray], object]
    ) -> np.ndarray:
        """A measure of the spectra of `steps` windows a frame, (count, steps, n_fft // 2 + 1).

        The last window of a frame ends with it.

        Parameters
        ----------
        n_fft, steps : int > 0
        measure : callable
            Takes spectra, (windows, n_fft // 2 + 1) complex64, which it may overwrite, and the
            array of the same shape for its result.
        """
        hop = self.config.frame_samples // steps
        total = self.count * steps
        samples = self.samples[len(self.samples) - n_fft - (total - 1) * hop :]
        windows = sliding_windows(samples, n_fft, hop)
        result = self._work.array(f"{n_fft} result", total, n_fft // 2 + 1)
        at_once = max(FFT_SAMPLES // n_fft, 1)
        weighted = self._work.array(f"{n_fft} windows", min(at_once, total), n_fft)
        for first in range(0, total, at_once):
            some = slice(first, first + at_once)
            out = result[some]
            part = weighted[: len(out)]
            np.copyto(part, windows[some])  # Copying first is faster: windows are not aligned.
            part *= hann(n_fft)
            measure(scipy.fft.rfft(part, axis=1, overwrite_x=True), out)
        return result.reshape(self.count, steps, -1)

    @cached_property
    def power(self) -> np.ndarray:
        """STFT power, (count, steps, n_fft // 2 + 1)."""
        return self._stft(self.config.n_fft, self.config.steps, _power)

    @cached_property
    def mel_db(self) -> np.ndarray:
        """Log-mel spectrogram in dB relative to power 1, (count, steps, n_mels)."""
        mel = np.empty((self.count, self.config.steps, self.config.n_mels), np.float32)
        for bins, bands, filters in mel_filter_groups(self.config):
            np.matmul(self.power[:, :, bins], filters, out=mel[:, :, bands])
        np.maximum(mel, np.float32(POWER_FLOOR), out=mel)
        np.log10(mel, out=mel)
        mel *= 10
        return mel

    @cached_property
    def mel_mean(self) -> np.ndarray:
        """Mean of each mel band over a frame in dB, (count, 1, n_mels)."""
        mean: np.ndarray = self.mel_db.mean(axis=1, keepdims=True)
        return mean

    @cached_property
    def mfcc(self) -> np.ndarray:
        """Mel-frequency cepstral coefficients, (count, steps, N_MFCC)."""
        mfcc: np.ndarray = self.mel_db @ mel_dct(self.config.n_mels)
        return mfcc

    @cached_property
    def onset(self) -> np.ndarray:
        """Onset strength, (count, steps): mean rise of the mel bands since the last hop, in dB.

        Notes
        -----
        As librosa.onset.onset_strength with ``lag=1``, after Boeck and Widmer (2013), "Maximum
        filter vibrato suppression for onset detection", without the maximum filter.
        """
        hops = self.mel_db.reshape(-1, self.config.n_mels)
        rise = np.empty_like(hops)
        np.subtract(hops[:1], self.state["onset_mel_db"], out=rise[:1])
        np.subtract(hops[1:], hops[:-1], out=rise[1:])
        self.state["onset_mel_db"] = hops[-1:].copy()
        onset: np.ndarray = np.maximum(rise, 0, out=rise).mean(axis=1)
        return onset.reshape(self.count, -1)

    @cached_property
    def chroma(self) -> np.ndarray:
        """Magnitude of the pitch classes, C first, (count, CHROMA_STEPS, 12).

        Computed from magnitudes, so the quieter notes of a chord, which decide its mode, count
        for more. librosa.feature.chroma_stft uses power unless it is given a spectrogram.
        """
        magnitude = self._stft(CHROMA_N_FFT, CHROMA_STEPS, np.abs)
        chroma: np.ndarray = magnitude @ chroma_filterbank(self.config.sample_rate)
        return chroma

    @cached_property
    def loudness_power(self) -> np.ndarray:
        """K-weighted mean square of each hop's window, (count, steps).

        That of a full-scale sine is about 0.5.
        """
        power: np.ndarray = self.power @ loudness_weights(self.config)
        return power


def initial_onset_state(config: SpectrumConfig) -> BlockState:
    """State of `Frames.onset`: the mel bands of the last hop.

    Initialised to +inf, so the first hop has zero onset strength.
    """
    return {"onset_mel_db": np.full((1, config.n_mels), np.inf, np.float32)}

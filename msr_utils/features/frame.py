"""One 500 ms frame of a stream: its spectra, and the state that blocks carry on."""

from __future__ import annotations

from functools import cached_property

import numpy as np
import scipy.fft

from msr_utils.constants import CHROMA_N_FFT, CHROMA_STEPS, POWER_FLOOR
from msr_utils.features.filterbanks import (
    chroma_filterbank,
    hann,
    loudness_weights,
    mel_filter_groups,
)
from msr_utils.features.spectrum import SpectrumConfig

BlockState = dict[str, np.ndarray]
"""Arrays that blocks carry from frame to frame, by name."""


def stft_context_samples(config: SpectrumConfig) -> int:
    """Samples before a frame that its first STFT window covers."""
    return config.n_fft - config.hop_length


def chroma_context_samples(config: SpectrumConfig) -> int:
    """Samples before a frame that its first chroma window covers."""
    return CHROMA_N_FFT - config.frame_samples // CHROMA_STEPS


class Frame:
    """One frame of a stream. Spectra are computed when a block first asks for them.

    Parameters
    ----------
    samples : np.ndarray [shape=(n,), dtype=float32]
        The frame's samples, preceded by as much of the past as its windows cover.
    config : SpectrumConfig
    state : dict of str to np.ndarray
        State after the previous frame. Blocks read it and write the state for the next frame.
    """

    def __init__(self, samples: np.ndarray, config: SpectrumConfig, state: BlockState) -> None:
        self.samples = samples
        self.config = config
        self.state = state

    def _stft(self, n_fft: int, steps: int) -> np.ndarray:
        """Spectra of `steps` windows, (steps, n_fft // 2 + 1). The last ends with the frame."""
        hop = self.config.frame_samples // steps
        samples = self.samples[len(self.samples) - n_fft - (steps - 1) * hop :]
        stride = samples.strides[0]
        # A view. sliding_window_view gives the same, but calling it takes three times as long.
        windows = np.lib.stride_tricks.as_strided(samples, (steps, n_fft), (hop * stride, stride))
        spectra: np.ndarray = scipy.fft.rfft(windows * hann(n_fft), axis=1, overwrite_x=True)
        return spectra

    @cached_property
    def power(self) -> np.ndarray:
        """STFT power, (steps, n_fft // 2 + 1)."""
        spectra = self._stft(self.config.n_fft, self.config.steps)
        power: np.ndarray = spectra.real**2 + spectra.imag**2
        return power

    @cached_property
    def mel_db(self) -> np.ndarray:
        """Log-mel spectrogram in dB relative to power 1, (steps, n_mels)."""
        mel = np.empty((self.config.steps, self.config.n_mels), np.float32)
        for bins, bands, filters in mel_filter_groups(self.config):
            np.matmul(self.power[:, bins], filters, out=mel[:, bands])
        mel_db: np.ndarray = 10 * np.log10(np.maximum(mel, np.float32(POWER_FLOOR)))
        return mel_db

    @cached_property
    def onset(self) -> np.ndarray:
        """Onset strength, (steps,): mean rise of the mel bands since the last hop, in dB.

        Notes
        -----
        As librosa.onset.onset_strength with ``lag=1``, after Boeck and Widmer (2013), "Maximum
        filter vibrato suppression for onset detection", without the maximum filter.
        """
        previous = np.concatenate([self.state["onset_mel_db"], self.mel_db[:-1]])
        self.state["onset_mel_db"] = self.mel_db[-1:].copy()
        onset: np.ndarray = np.maximum(self.mel_db - previous, 0).mean(axis=1)
        return onset

    @cached_property
    def chroma(self) -> np.ndarray:
        """Magnitude of the pitch classes, C first, (CHROMA_STEPS, 12).

        Computed from magnitudes, so the quieter notes of a chord, which decide its mode, count
        for more. librosa.feature.chroma_stft uses power unless it is given a spectrogram.
        """
        magnitude = np.abs(self._stft(CHROMA_N_FFT, CHROMA_STEPS))
        chroma: np.ndarray = magnitude @ chroma_filterbank(self.config.sample_rate)
        return chroma

    @cached_property
    def loudness_power(self) -> np.ndarray:
        """K-weighted mean square of each hop's window, (steps,); full-scale sine: about 0.5."""
        power: np.ndarray = self.power @ loudness_weights(self.config)
        return power


def initial_onset_state(config: SpectrumConfig) -> BlockState:
    """State of `Frame.onset`: the mel bands of the last hop.

    Initialised to +inf, so the first hop has zero onset strength.
    """
    return {"onset_mel_db": np.full((1, config.n_mels), np.inf, np.float32)}

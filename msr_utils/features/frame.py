"""One 500 ms frame of a stream: its spectra, and the state that blocks carry on."""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
import scipy.fft

from msr_utils.constants import CHROMA_N_FFT, CHROMA_STEPS, POWER_FLOOR
from msr_utils.features.filterbanks import (
    _loudness_weights,
    _mel_groups,
    chroma_filterbank,
    hann,
)

if TYPE_CHECKING:
    from msr_utils.features.config import FeatureConfig


BlockState = dict[str, np.ndarray]
"""What is carried from frame to frame, by name."""


def context_samples(config: FeatureConfig) -> int:
    """Samples before a frame that its first STFT window covers."""
    return config.n_fft - config.hop_length


def chroma_context_samples(config: FeatureConfig) -> int:
    """Samples before a frame that its first chroma window covers."""
    return CHROMA_N_FFT - config.frame_samples // CHROMA_STEPS


class Frame:
    """One frame of a stream: its spectra, and what its blocks remember.

    Parameters
    ----------
    samples : np.ndarray [shape=(n,), dtype=float32]
        Ends with the frame; before it, as much of the past as its windows cover.
    config : FeatureConfig
    memory : dict
        What the frames before left; blocks read it and write what the next frame needs.
    """

    def __init__(self, samples: np.ndarray, config: FeatureConfig, memory: BlockState) -> None:
        self.samples = samples
        self.config = config
        self.memory = memory

    def _stft(self, n_fft: int, steps: int) -> np.ndarray:
        """Spectra of `steps` windows, the last of which ends with the frame."""
        hop = self.config.frame_samples // steps
        samples = self.samples[len(self.samples) - n_fft - (steps - 1) * hop :]
        step = samples.strides[0]
        # A view; sliding_window_view gives the same and takes three times as long to be called.
        windows = np.lib.stride_tricks.as_strided(samples, (steps, n_fft), (hop * step, step))
        return scipy.fft.rfft(windows * hann(n_fft), axis=1, overwrite_x=True)

    @cached_property
    def power(self) -> np.ndarray:
        """STFT power, (steps, n_fft // 2 + 1)."""
        spectrum = self._stft(self.config.n_fft, self.config.steps)
        return spectrum.real**2 + spectrum.imag**2

    @cached_property
    def mel_db(self) -> np.ndarray:
        """Log-mel spectrogram in dB relative to power 1, (steps, n_mels)."""
        mel = np.empty((self.config.steps, self.config.n_mels), np.float32)
        for bins, bands, filters in _mel_groups(self.config):
            np.matmul(self.power[:, bins], filters, out=mel[:, bands])
        return 10 * np.log10(np.maximum(mel, np.float32(POWER_FLOOR)))

    @cached_property
    def onset(self) -> np.ndarray:
        """Onset strength, (steps,): the mean rise of the mel bands since the last hop, in dB.

        Notes
        -----
        As librosa.onset.onset_strength with ``lag=1``, after Boeck and Widmer (2013), "Maximum
        filter vibrato suppression for onset detection", without the maximum filter.
        """
        before = np.concatenate([self.memory["onset_mel_db"], self.mel_db[:-1]])
        self.memory["onset_mel_db"] = self.mel_db[-1:].copy()
        return np.maximum(self.mel_db - before, 0).mean(axis=1)

    @cached_property
    def chroma(self) -> np.ndarray:
        """Magnitude of the pitch classes, C first, (CHROMA_STEPS, 12).

        Of magnitudes, where librosa.feature.chroma_stft takes powers unless it is given a
        spectrogram: the quieter notes of a chord, which tell its mode, count for more.
        """
        magnitude = np.abs(self._stft(CHROMA_N_FFT, CHROMA_STEPS))
        return magnitude @ chroma_filterbank(self.config.sample_rate)

    @cached_property
    def loudness_power(self) -> np.ndarray:
        """K-weighted mean square of each hop's window, (steps,); full-scale sine: about 0.5."""
        return self.power @ _loudness_weights(self.config)


def onset_state(config: FeatureConfig) -> BlockState:
    """What `Frame.onset` remembers: the last hop. Nothing rises above what never was."""
    return {"onset_mel_db": np.full((1, config.n_mels), np.inf, np.float32)}

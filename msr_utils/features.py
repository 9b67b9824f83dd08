"""The one feature implementation: training and serving both compute frames here.

A frame is 500 ms of audio. Its STFT windows end inside the frame, so frame ``t`` sees no
audio after ``t`` and a stream gives the numbers that the whole file gives. No librosa here:
the service must not load it. The tests hold this module to librosa's results instead.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, fields

import numpy as np
import scipy.fft

from msr_utils import audio
from msr_utils.constants import (
    FMAX_HZ,
    FMIN_HZ,
    FRAME_RATE_HZ,
    HOP_LENGTH,
    N_FFT,
    N_MELS,
    PATCH_STEPS,
    POWER_FLOOR,
    SAMPLE_RATE,
    SD_BANDS,
)

FEATURE_VERSION = 1
"""Raise when the numbers change: cached features and bundles made before are then refused."""


@dataclass(frozen=True)
class FeatureConfig:
    """What is computed from each frame; everything that changes the numbers is here.

    Parameters
    ----------
    blocks : tuple of str
        Names from `BLOCKS`, concatenated in this order.
    sample_rate : int > 0
        Hz.
    n_fft : int > 0
        STFT window in samples.
    hop_length : int > 0
        STFT hop in samples; must divide a frame exactly.
    n_mels : int > 0
        Mel bands.
    fmin, fmax : float >= 0
        Edges of the mel filterbank in Hz.
    patch_steps : int > 0
        Time steps in a ``patch``; must divide the hops of a frame.

    Raises
    ------
    ValueError
        If a parameter is out of range; the message names it.
    """

    blocks: tuple[str, ...] = ("logmel",)
    sample_rate: int = SAMPLE_RATE
    n_fft: int = N_FFT
    hop_length: int = HOP_LENGTH
    n_mels: int = N_MELS
    fmin: float = FMIN_HZ
    fmax: float = FMAX_HZ
    patch_steps: int = PATCH_STEPS

    def __post_init__(self) -> None:
        object.__setattr__(self, "blocks", tuple(self.blocks))
        if not self.blocks:
            raise ValueError(f"features: name at least one block of {', '.join(BLOCKS)}")
        for name in self.blocks:
            if name not in BLOCKS:
                raise ValueError(f"features: unknown block {name!r}; known: {', '.join(BLOCKS)}")
        for name in ("sample_rate", "n_fft", "hop_length", "n_mels", "patch_steps"):
            if getattr(self, name) < 1:
                raise ValueError(f"features: {name} must be at least 1, not {getattr(self, name)}")
        if self.sample_rate % FRAME_RATE_HZ or self.frame_samples % self.hop_length:
            raise ValueError(
                f"features: hop_length {self.hop_length} does not divide a 500 ms frame "
                f"of {self.sample_rate} Hz audio"
            )
        if self.hop_length > self.n_fft:
            raise ValueError("features: hop_length must not exceed n_fft")
        if self.steps % self.patch_steps:
            raise ValueError(
                f"features: patch_steps {self.patch_steps} does not divide "
                f"the {self.steps} hops of a frame"
            )
        if "logmel_sd" in self.blocks and self.n_mels % SD_BANDS:
            raise ValueError(
                f"features: logmel_sd needs n_mels to be a multiple of {SD_BANDS}, "
                f"not {self.n_mels}"
            )
        if not 0 <= self.fmin < self.fmax <= self.sample_rate / 2:
            raise ValueError("features: need 0 <= fmin < fmax <= sample_rate / 2")

    @property
    def frame_samples(self) -> int:
        """Samples in one 500 ms frame."""
        return self.sample_rate // FRAME_RATE_HZ

    @property
    def steps(self) -> int:
        """STFT hops in one frame."""
        return self.frame_samples // self.hop_length

    @property
    def dim(self) -> int:
        """Length of one frame's feature vector."""
        return sum(BLOCKS[name].dim(self) for name in self.blocks)

    @property
    def hash(self) -> str:
        """SHA-256 of the parameters and the feature version: names a cache or a bundle."""
        text = json.dumps({"version": FEATURE_VERSION, **asdict(self)}, sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()

    def to_json(self) -> dict:
        """Parameters, version and hash as plain values."""
        return {"version": FEATURE_VERSION, **asdict(self), "hash": self.hash}

    @classmethod
    def from_json(cls, values: Mapping) -> FeatureConfig:
        """Read what `to_json` wrote.

        Raises
        ------
        ValueError
            If the hash does not match: made by another feature version, or edited.
        """
        config = cls(**{f.name: values[f.name] for f in fields(cls)})
        if config.hash != values.get("hash"):
            raise ValueError(
                f"features: hash {values.get('hash')!r} was made by feature version "
                f"{values.get('version')}, this is version {FEATURE_VERSION}; export again"
            )
        return config


@dataclass(frozen=True)
class Block:
    """A named group of features computed from a frame's log-mel spectrogram."""

    dim: Callable[[FeatureConfig], int]
    compute: Callable[[np.ndarray, FeatureConfig], np.ndarray]
    unit: str


def _logmel(mel_db: np.ndarray, config: FeatureConfig) -> np.ndarray:
    """Mean over the frame of each mel band, (n, n_mels)."""
    return mel_db.mean(axis=1)


def _logmel_sd(mel_db: np.ndarray, config: FeatureConfig) -> np.ndarray:
    """Standard deviation over the frame, averaged in groups of bands, (n, SD_BANDS).

    How much a frame moves: onsets and decays, which its mean does not show.
    """
    sd = mel_db.std(axis=1)
    return sd.reshape(len(sd), SD_BANDS, config.n_mels // SD_BANDS).mean(axis=2)


def _patch(mel_db: np.ndarray, config: FeatureConfig) -> np.ndarray:
    """The frame's log-mel spectrogram flattened, (n, patch_steps * n_mels)."""
    n = len(mel_db)
    hops = config.steps // config.patch_steps
    steps = mel_db.reshape(n, config.patch_steps, hops, config.n_mels).mean(axis=2)
    return steps.reshape(n, config.patch_steps * config.n_mels)


BLOCKS: dict[str, Block] = {
    "logmel": Block(lambda c: c.n_mels, _logmel, "dB"),
    "logmel_sd": Block(lambda c: SD_BANDS, _logmel_sd, "dB"),
    "patch": Block(lambda c: c.patch_steps * c.n_mels, _patch, "dB"),
}
"""Feature blocks by name."""


def mel_filterbank(config: FeatureConfig) -> np.ndarray:
    """Triangular mel filters of equal area.

    Returns
    -------
    np.ndarray [shape=(n_fft // 2 + 1, n_mels), dtype=float32]
        Columns are filters; multiply a power spectrum from the right.

    Notes
    -----
    The scale and the area normalisation of Slaney's Auditory Toolbox (1998), the default of
    librosa: linear below 1 kHz, logarithmic above, each filter scaled by 2 / bandwidth.
    """
    linear_hz, log_from_hz, log_step = 200.0 / 3, 1000.0, np.log(6.4) / 27

    def to_mel(hz: float) -> float:
        if hz < log_from_hz:
            return hz / linear_hz
        return log_from_hz / linear_hz + np.log(hz / log_from_hz) / log_step

    mels = np.linspace(to_mel(config.fmin), to_mel(config.fmax), config.n_mels + 2)
    log_from = log_from_hz / linear_hz
    edges = np.where(
        mels < log_from, mels * linear_hz, log_from_hz * np.exp((mels - log_from) * log_step)
    )
    bins = np.fft.rfftfreq(config.n_fft, 1 / config.sample_rate)[:, None]
    rising = (bins - edges[:-2]) / (edges[1:-1] - edges[:-2])
    falling = (edges[2:] - bins) / (edges[2:] - edges[1:-1])
    filters = np.maximum(0, np.minimum(rising, falling)) * (2 / (edges[2:] - edges[:-2]))
    return filters.astype(np.float32)


class FeatureExtractor:
    """Turn a stream of samples into feature frames.

    Parameters
    ----------
    config : FeatureConfig
    """

    def __init__(self, config: FeatureConfig) -> None:
        self.config = config
        # The periodic Hann window, as scipy.signal gives, which takes half a second to import.
        phase = 2 * np.pi * np.arange(config.n_fft) / config.n_fft
        self._window = (0.5 - 0.5 * np.cos(phase)).astype(np.float32)
        self._filters = mel_filterbank(config)
        # Before the first sample there was silence: the first windows reach into it.
        self._overlap = config.n_fft - config.hop_length
        self._buffer = np.zeros(self._overlap, np.float32)

    def push(self, samples: np.ndarray) -> np.ndarray:
        """Take the next samples and give the frames that they complete.

        Parameters
        ----------
        samples : np.ndarray [shape=(n,), dtype=float32]
            Mono audio at ``config.sample_rate``, any length.

        Returns
        -------
        np.ndarray [shape=(frames, config.dim), dtype=float32]
            Possibly no frame; what is left of the samples waits for the next call.
        """
        mel_db = self.push_logmel(samples)
        parts = [BLOCKS[name].compute(mel_db, self.config) for name in self.config.blocks]
        return np.concatenate(parts, axis=1)

    def push_logmel(self, samples: np.ndarray) -> np.ndarray:
        """Like `push`, but give each frame's log-mel spectrogram.

        Returns
        -------
        np.ndarray [shape=(frames, config.steps, n_mels), dtype=float32]
            dB relative to power 1.
        """
        config = self.config
        self._buffer = np.concatenate([self._buffer, samples.astype(np.float32, copy=False)])
        frames = (len(self._buffer) - self._overlap) // config.frame_samples
        if frames <= 0:
            return np.zeros((0, config.steps, config.n_mels), np.float32)
        windows = np.lib.stride_tricks.sliding_window_view(self._buffer, config.n_fft)
        windows = windows[:: config.hop_length][: frames * config.steps]
        spectrum = scipy.fft.rfft(windows * self._window, axis=1)
        power = spectrum.real**2 + spectrum.imag**2
        mel = power @ self._filters
        mel_db = 10 * np.log10(np.maximum(mel, np.float32(POWER_FLOOR)))
        self._buffer = self._buffer[frames * config.frame_samples :].copy()
        return mel_db.reshape(frames, config.steps, config.n_mels)


def logmel_spectrogram(samples: np.ndarray, config: FeatureConfig | None = None) -> np.ndarray:
    """Log-mel spectrogram of whole frames, for pictures.

    Returns
    -------
    np.ndarray [shape=(frames * steps, n_mels), dtype=float32]
        dB; one row a hop (20 ms by default).
    """
    config = config or FeatureConfig()
    return FeatureExtractor(config).push_logmel(samples).reshape(-1, config.n_mels)


def extract(source: audio.AudioSource, config: FeatureConfig | None = None) -> np.ndarray:
    """Feature frames of an audio file.

    Parameters
    ----------
    source : path or binary file
    config : FeatureConfig, optional

    Returns
    -------
    np.ndarray [shape=(T, config.dim), dtype=float32]
        Frame ``i`` describes the audio in ``[i / 2, (i + 1) / 2)`` s. A last part shorter
        than a frame is left out.

    Raises
    ------
    audio.AudioError
        If the audio cannot be decoded or is shorter than one frame.
    """
    config = config or FeatureConfig()
    extractor = FeatureExtractor(config)
    frames = [extractor.push(block) for block in audio.stream(source, config.sample_rate)]
    result = np.concatenate(frames)
    if not len(result):
        raise audio.AudioError(
            f"{audio.source_name(source)}: shorter than the 500 ms that one prediction needs"
        )
    return result

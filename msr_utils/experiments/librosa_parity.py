"""librosa's features of the same audio, to compare ours with.

librosa analyses a whole file, with windows around each time. Ours end with it, so that a stream
gives the same numbers. librosa gets the same windows here: silence before the first sample, and no
centring. It then computes what our blocks compute, frame by frame.

McFee and others (2015), "librosa: audio and music signal analysis in Python", SciPy.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import librosa
import numpy as np
import pandas as pd

from msr_utils.constants import CHROMA_N_FFT, CHROMA_STEPS, DELTA_HOPS, N_MFCC, POWER_FLOOR
from msr_utils.features.blocks.contrast import CONTRAST_RANGE
from msr_utils.features.blocks.rhythm import QUIET_ONSET_DB, _tempo_bands, tempo_window
from msr_utils.features.config import FeatureConfig
from msr_utils.features.extractor import FeatureExtractor
from msr_utils.metrics.correlation import pearson

QUIET = 1e-4
"""Peak of a frame below which it is not compared (-80 dB). In silence, librosa scales the largest
of twelve rounding errors to 1, and our chroma falls to 0."""


@dataclass(frozen=True)
class BlockParity:
    """How near one block of features is to librosa's.

    Parameters
    ----------
    block : str
    function : str
        What computes it in librosa.
    frames : int
        Frames of 500 ms that were compared: those that are not `QUIET`.
    r : float
        Pearson correlation over all values.
    median, largest : float
        Of the absolute differences, in standard deviations of the value.
    """

    block: str
    function: str
    frames: int
    r: float
    median: float
    largest: float


def stft(samples: np.ndarray, n_fft: int, hop_length: int) -> np.ndarray:
    """librosa's magnitudes after a silent past, (bins, hops)."""
    padded = np.concatenate([np.zeros(n_fft - hop_length, np.float32), samples])
    return np.abs(librosa.stft(padded, n_fft=n_fft, hop_length=hop_length, center=False))


def mel_spectrogram(samples: np.ndarray, config: FeatureConfig) -> np.ndarray:
    """librosa's log-mel spectrogram after a silent past in dB, (n_mels, hops)."""
    power = librosa.feature.melspectrogram(
        S=stft(samples, config.n_fft, config.hop_length) ** 2,
        sr=config.sample_rate,
        n_fft=config.n_fft,
        n_mels=config.n_mels,
        fmin=config.fmin,
        fmax=config.fmax,
    )
    return librosa.power_to_db(power, ref=1.0, amin=POWER_FLOOR, top_db=None)


def mfcc(samples: np.ndarray, config: FeatureConfig) -> np.ndarray:
    """librosa's cepstral coefficients, (N_MFCC, hops)."""
    return librosa.feature.mfcc(S=mel_spectrogram(samples, config), n_mfcc=N_MFCC)


def chroma(samples: np.ndarray, config: FeatureConfig) -> np.ndarray:
    """librosa's chroma without an estimate of tuning, (12, hops)."""
    hop_length = config.frame_samples // CHROMA_STEPS
    return librosa.feature.chroma_stft(
        S=stft(samples, CHROMA_N_FFT, hop_length),
        sr=config.sample_rate,
        n_fft=CHROMA_N_FFT,
        tuning=0.0,
    )


def contrast(samples: np.ndarray, config: FeatureConfig) -> np.ndarray:
    """librosa's spectral contrast where no level lies below the floor of its hop, (bands, hops).

    librosa gives the ratio of a band's peak and valley, and their difference. Both together give
    the two levels. The floor must apply to the levels: each is a mean over some bins, and a floor
    under the single bins would raise a mean of which only a part lies below it.
    """
    magnitude = stft(samples, config.n_fft, config.hop_length)
    # Every hop as loud as any other: librosa cuts off what lies 80 dB under the whole clip's
    # loudest, which takes the future.
    loudest = np.maximum(magnitude.max(axis=0), POWER_FLOOR)
    magnitude = magnitude / loudest
    rate = config.sample_rate
    ratio = 10 ** (librosa.feature.spectral_contrast(S=magnitude, sr=rate) / 10)
    difference = librosa.feature.spectral_contrast(S=magnitude, sr=rate, linear=True)
    valley = difference / np.maximum(ratio - 1, 1e-12)
    floor = np.maximum(CONTRAST_RANGE, POWER_FLOOR / loudest)
    peak, valley = np.maximum(valley + difference, floor), np.maximum(valley, floor)
    return 10 * np.log10(peak / valley)


def onset_strength(samples: np.ndarray, config: FeatureConfig) -> np.ndarray:
    """librosa's onset strength, (hops,)."""
    return librosa.onset.onset_strength(S=mel_spectrogram(samples, config), center=False)


def tempogram(samples: np.ndarray, config: FeatureConfig) -> np.ndarray:
    """librosa's autocorrelation tempogram in windows that end with each frame, (lags, frames)."""
    window, steps = tempo_window(config), config.steps
    onset = onset_strength(samples, config)
    found = librosa.feature.tempogram(
        onset_envelope=np.concatenate([np.zeros(len(window) - steps), onset]),
        win_length=len(window),
        window=window,
        center=False,
        norm=None,
    )[:, ::steps]
    return found / np.maximum(found[0], QUIET_ONSET_DB**2 * len(window))


def per_frame(rows: np.ndarray, steps: int) -> np.ndarray:
    """Mean over the hops of each frame, (n, hops) -> (frames, n)."""
    return rows.T.reshape(-1, steps, len(rows)).mean(axis=1)


def _mfcc_delta_frames(samples: np.ndarray, config: FeatureConfig) -> np.ndarray:
    coefficients = mfcc(samples, config)
    late = DELTA_HOPS // 2
    slopes = []
    for order in (1, 2):
        centred = librosa.feature.delta(coefficients, width=DELTA_HOPS, order=order, mode="nearest")
        # Ours are known when the window of librosa ends, so half a window later. The first windows
        # begin before the audio, where both repeat a value, but not the same one.
        unknown = np.full((len(centred), late), np.nan)
        slopes.append(np.concatenate([unknown, centred[:, :-late]], axis=1))
    return per_frame(np.abs(np.concatenate(slopes)), config.steps)


def _onset_frames(samples: np.ndarray, config: FeatureConfig) -> np.ndarray:
    hops = onset_strength(samples, config).reshape(-1, config.steps)
    return np.stack([hops.mean(axis=1), hops.max(axis=1), hops.std(axis=1)], axis=1)


def _tempogram_frames(samples: np.ndarray, config: FeatureConfig) -> np.ndarray:
    lags, bands = _tempo_bands(config)
    tempi = tempogram(samples, config)[lags].T
    stands_out = tempi.max(axis=1, keepdims=True) - tempi.mean(axis=1, keepdims=True)
    return np.concatenate([tempi @ bands, stands_out], axis=1)


FRAMES: dict[str, tuple[str, Callable[[np.ndarray, FeatureConfig], np.ndarray]]] = {
    "logmel": ("feature.melspectrogram", lambda s, c: per_frame(mel_spectrogram(s, c), c.steps)),
    "mfcc": ("feature.mfcc", lambda s, c: per_frame(mfcc(s, c), c.steps)),
    "mfcc_delta": ("feature.delta", _mfcc_delta_frames),
    "chroma": ("feature.chroma_stft", lambda s, c: per_frame(chroma(s, c), CHROMA_STEPS)),
    "contrast": ("feature.spectral_contrast", lambda s, c: per_frame(contrast(s, c), c.steps)),
    "onset": ("onset.onset_strength", _onset_frames),
    "tempogram": ("feature.tempogram", _tempogram_frames),
}
"""Block -> name of librosa's function, and what computes the block's frames with it."""


def parity(recordings: Sequence[np.ndarray]) -> list[BlockParity]:
    """Compare every block that librosa has on some recordings.

    Parameters
    ----------
    recordings : sequence of np.ndarray [shape=(samples,), dtype=float32]
        At the rate of `msr_utils.constants.SAMPLE_RATE`.

    Returns
    -------
    list of BlockParity
        In the order of `FRAMES`.
    """
    found = []
    for block, (function, frames_of) in FRAMES.items():
        config = FeatureConfig(block)
        own, other, peaks = [], [], []
        for samples in recordings:
            whole = samples[: len(samples) // config.frame_samples * config.frame_samples]
            peaks.append(np.abs(whole).reshape(-1, config.frame_samples).max(axis=1))
            own.append(FeatureExtractor(config).push(whole))
            other.append(frames_of(whole, config))
        ours, theirs = np.concatenate(own).astype(np.float64), np.concatenate(other)
        known = np.isfinite(theirs).all(axis=1) & (np.concatenate(peaks) >= QUIET)
        ours, theirs = ours[known], theirs[known]
        sd = theirs.std(axis=0)
        difference = np.abs(ours - theirs) / np.where(sd > 0, sd, 1)
        found.append(
            BlockParity(
                block=block,
                function=f"librosa.{function}",
                frames=len(ours),
                r=float(pearson(ours.ravel(), theirs.ravel())),
                median=float(np.median(difference)),
                largest=float(difference.max()),
            )
        )
    return found


def parity_table(rows: Sequence[BlockParity]) -> pd.DataFrame:
    """Readable table: a block a row."""
    return pd.DataFrame(
        {
            "librosa": [row.function for row in rows],
            "frames": [row.frames for row in rows],
            "Pearson r": [f"{row.r:.6f}" for row in rows],
            "median difference (sd)": [f"{row.median:.0e}" for row in rows],
            "largest difference (sd)": [f"{row.largest:.0e}" for row in rows],
        },
        index=[row.block for row in rows],
    )

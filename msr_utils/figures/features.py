"""Figures of audio and features."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.figure import Figure

from msr_utils.constants import CHROMA_STEPS, FRAME_RATE_HZ, N_MFCC, TARGETS, TEMPO_BANDS
from msr_utils.corpora.base import Track
from msr_utils.dataset.augmentation import (
    MASK,
    AugmentConfig,
    augmented,
    drawn,
    masked,
)
from msr_utils.features.config import FeatureConfig
from msr_utils.features.extractor import FeatureExtractor, logmel_spectrogram
from msr_utils.figures.evaluation import track_title
from msr_utils.style import COLOURS, GREY

PITCH_CLASSES = ("C", "C♯", "D", "D♯", "E", "F", "F♯", "G", "G♯", "A", "A♯", "B")

UNITS = {
    "stretch": "× speed",
    "pitch": "semitones",
    "eq": "dB",
    "noise": "dB SNR",
    "codec": "kbit/s",
    "gain": "dB",
}
"""Of what augmentations draw."""

_IMAGE = {"origin": "lower", "aspect": "auto", "cmap": "magma", "interpolation": "nearest"}


def audio_overview(tracks: Sequence[Track], samples: Sequence[np.ndarray]) -> Figure:
    """Waveform, log-mel, MFCC and chroma of tracks, and the curves, on one time axis each."""
    config = FeatureConfig()
    figure, axes = plt.subplots(
        5,
        len(tracks),
        figsize=(5 * len(tracks), 9.5),
        sharex="col",
        sharey="row",
        height_ratios=(1, 2, 1.3, 1.3, 1.6),
        squeeze=False,
    )
    for column, (track, audio) in enumerate(zip(tracks, samples, strict=True)):
        wave, mel, mfcc, chroma, curves = axes[:, column]
        mel_db = logmel_spectrogram(audio, config)
        end_s = len(mel_db) * config.hop_length / config.sample_rate
        peaks = (
            np.abs(audio[: len(mel_db) * config.hop_length]).reshape(len(mel_db), -1).max(axis=1)
        )
        time_s = np.arange(len(peaks)) * config.hop_length / config.sample_rate
        wave.fill_between(time_s, -peaks, peaks, color=GREY, lw=0)
        wave.set(title=track_title(track))
        image = mel.imshow(
            mel_db.T, vmin=-60, vmax=40, extent=(0, end_s, 0, config.n_mels), **_IMAGE
        )
        cepstrum = FeatureExtractor(FeatureConfig("mfcc")).push(audio)[:, 1:]
        mfcc_image = mfcc.imshow(
            cepstrum.T,
            vmin=-60,
            vmax=60,
            extent=(0, end_s, 1, N_MFCC),
            **_IMAGE | {"cmap": "RdBu_r"},
        )
        classes = FeatureExtractor(FeatureConfig("chroma")).push(audio)
        chroma_image = chroma.imshow(classes.T, vmin=0, vmax=1, extent=(0, end_s, 0, 12), **_IMAGE)
        chroma.set_yticks(np.arange(12) + 0.5, PITCH_CLASSES, fontsize="xx-small")
        for ax in (mel, mfcc, chroma):
            ax.grid(False)
        for target in TARGETS:
            curves.plot(track.times_s, getattr(track, target), color=COLOURS[target], label=target)
        curves.axhline(0, color=GREY, lw=0.6)
        curves.set(ylim=(-1, 1), xlim=(0, end_s), xlabel="time (s)")
    labels = ("amplitude", "mel band", "MFCC", "pitch class", "rating")
    for ax, label in zip(axes[:, 0], labels, strict=True):
        ax.set_ylabel(label)
    axes[4, -1].legend(ncols=2, fontsize="small")
    figure.colorbar(image, ax=axes[1, :], label="power (dB)")
    figure.colorbar(mfcc_image, ax=axes[2, :], label="dB")
    figure.colorbar(chroma_image, ax=axes[3, :], label="strength")
    return figure


def augmentations(
    track: Track, samples: np.ndarray, config: AugmentConfig, seconds: float = 20.0
) -> Figure:
    """The log-mel spectrogram of one track, and of a copy through each transform by itself.

    White: its arousal, from -1 at the bottom to 1 at the top.
    """
    features = FeatureConfig()
    names = ["original", *config.names]
    figure, axes = plt.subplots(
        2, (len(names) + 1) // 2, figsize=(11, 4.8), sharex=True, sharey=True, squeeze=False
    )
    for ax, name in zip(axes.flat, names, strict=False):
        one = replace(config, names=() if name == "original" else (name,))
        audio, labels = augmented(track, samples, one, 1)
        mel_db = logmel_spectrogram(audio, features)
        if name == MASK:
            # Masks are drawn on frames of 500 ms: the picture repeats each.
            frames = FeatureExtractor(features).push(audio)
            mel_db = np.repeat(masked(frames, features, track.id, one, 1), features.steps, axis=0)
        end_s = len(mel_db) * features.hop_length / features.sample_rate
        image = ax.imshow(
            mel_db.T, vmin=-60, vmax=40, extent=(0, end_s, 0, features.n_mels), **_IMAGE
        )
        height = (labels.arousal + 1) / 2 * features.n_mels
        ax.plot(labels.times_s, height, color="white", lw=1.5)
        drawn_values = drawn(track.id, one, 1).get(name, [])
        values = ", ".join(f"{v:.2g}" for v in drawn_values)
        title = f"{name}: {values} {UNITS[name]}" if values else name
        ax.set(title=title, xlim=(0, min(seconds, end_s)))
        ax.title.set_fontsize("small")
        ax.grid(False)
    for ax in axes.flat[len(names) :]:
        ax.set_visible(False)
    for ax in axes[:, 0]:
        ax.set_ylabel("mel band")
    for ax in axes[-1]:
        ax.set_xlabel("time (s)")
    figure.colorbar(image, ax=axes, label="power (dB)", shrink=0.8)
    return figure


def band_correlations(correlations: Mapping[str, np.ndarray]) -> Figure:
    """Correlation of each mel band's level with the annotations."""
    figure, ax = plt.subplots(figsize=(8, 3.4))
    for target, values in correlations.items():
        ax.plot(np.arange(len(values)), values, color=COLOURS[target], label=target, marker=".")
    ax.axhline(0, color=GREY, lw=0.8)
    ax.set(xlabel="mel band (low to high)", ylabel="Pearson r over frames", ylim=(-1, 1))
    ax.legend(ncols=2)
    return figure


def beside_librosa(samples: np.ndarray, seconds: float = 10.0) -> Figure:
    """librosa's log-mel spectrogram, MFCC, chroma and tempogram (left), and ours (right).

    Parameters
    ----------
    samples : np.ndarray [shape=(samples,)]
        At the rate of `msr_utils.constants.SAMPLE_RATE`.
    seconds : float
        Only the first seconds are drawn.
    """
    import librosa.display  # slow to import

    config = FeatureConfig()
    samples = samples[: int(seconds * FRAME_RATE_HZ) * config.frame_samples]
    samples = samples[: len(samples) // config.frame_samples * config.frame_samples]
    rows = _pictures(samples, config)
    figure, axes = plt.subplots(len(rows), 2, figsize=(7, 6), sharex=True)
    for (title, (theirs, ours, columns, options)), (left, right) in zip(
        rows.items(), axes, strict=True
    ):
        shown: dict[str, Any] = {"cmap": "magma", **options}
        for ax, picture, step in (
            (left, theirs, columns),
            (right, ours, len(samples) // ours.shape[1]),
        ):
            image = librosa.display.specshow(
                picture,
                sr=config.sample_rate,
                hop_length=step,
                x_axis="time",
                ax=ax,
                **shown,
            )
            ax.set(xlabel="")
            ax.grid(False)
        left.set_ylabel(title)
        right.set_ylabel("")
        figure.colorbar(image, ax=[left, right])
    axes[0, 0].set_title("librosa, every hop")
    axes[0, 1].set_title("ours, as the models read it")
    for ax in axes[-1]:
        ax.set_xlabel("time (s)")
    return figure


def _pictures(
    samples: np.ndarray, config: FeatureConfig
) -> dict[str, tuple[np.ndarray, np.ndarray, int, dict[str, Any]]]:
    """Title -> librosa's picture, ours, samples between its columns, axis and colour scale."""
    from msr_utils.experiments import librosa_parity

    return {
        "log-mel (dB)": (
            librosa_parity.mel_spectrogram(samples, config),
            logmel_spectrogram(samples, config).T,
            config.hop_length,
            {"y_axis": "mel", "fmin": config.fmin, "fmax": config.fmax, "vmin": -60, "vmax": 40},
        ),
        "MFCC (dB)": (
            librosa_parity.mfcc(samples, config)[1:],
            FeatureExtractor(FeatureConfig("mfcc")).push(samples)[:, 1:].T,
            config.hop_length,
            {"vmin": -60, "vmax": 60, "cmap": "RdBu_r"},
        ),
        "chroma": (
            librosa_parity.chroma(samples, config),
            FeatureExtractor(FeatureConfig("chroma")).push(samples).T,
            config.frame_samples // CHROMA_STEPS,
            {"y_axis": "chroma", "vmin": 0, "vmax": 1},
        ),
        "tempogram": (
            librosa_parity.tempogram(samples, config)[1:],
            FeatureExtractor(FeatureConfig("tempogram")).push(samples)[:, :TEMPO_BANDS].T,
            config.frame_samples,
            {"vmin": 0, "vmax": 1},
        ),
    }

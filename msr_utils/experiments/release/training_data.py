"""What the released models are trained on: rows of features and labels from each corpus."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from tqdm import tqdm

from msr_utils.affect import SIGNS
from msr_utils.corpora.base import Corpus, Track
from msr_utils.corpora.emotify import EMOTIONS
from msr_utils.dataset.augmentation import AugmentConfig
from msr_utils.dataset.augmented import copied_features
from msr_utils.dataset.sequences import align
from msr_utils.dataset.splits import splits_of
from msr_utils.experiments.release.least_squares import SufficientStatistics
from msr_utils.features.cache import cached_features
from msr_utils.features.config import FeatureConfig
from msr_utils.paths import CACHE_DIR

HAND_MADE_BLOCKS = (
    "logmel", "logmel_sd", "mfcc", "mfcc_delta", "chroma", "tonal", "contrast", "onset",
    "tempogram", "loudness",
)  # fmt: skip

MEAN_SECONDS, SD_SECONDS = (3.0, 10.0, 40.0), (10.0,)
"""Time constants of the running means and standard deviations of every feature."""

BUNDLES = {
    name: FeatureConfig(blocks, memory_s=MEAN_SECONDS, memory_sd_s=SD_SECONDS)
    for name, blocks in {
        "full": (*HAND_MADE_BLOCKS, "musicnn"),
        "light": HAND_MADE_BLOCKS,
    }.items()
}
"""Features of each released model. `full` also has embeddings of a pretrained network."""

FRAME_STRIDE = 8
"""Every 8th frame of a curve is trained on, 4 s apart, because neighbours are nearly the same."""

CLIP_LEVEL = 0.3
"""Mean valence and arousal, as an absolute value, that a quadrant label stands for. It is a round
guess and was not fitted."""

N_GAIN_TRACKS = 24
"""Tracks per corpus, evenly spread, used to estimate how gain changes the features."""

GAIN_UP, GAIN_DOWN = ((db, AugmentConfig("gain", gain_db=(db, db))) for db in (12.0, -12.0))
"""Gain in dB, and the augmentation that applies it."""

EMOTION_PLANE = {
    "amazement": (0.5, 0.3),
    "solemnity": (0.0, 0.0),
    "tenderness": (0.5, -0.6),
    "nostalgia": (0.0, -0.5),
    "calmness": (0.5, -1.0),
    "power": (0.0, 1.0),
    "joyful_activation": (1.0, 1.0),
    "tension": (-1.0, 0.7),
    "sadness": (-0.7, -0.7),
}
"""Valence and arousal of each emotion. They were set by judgement, along the factors vitality and
unease of Zentner, Grandjean and Scherer (2008), "Emotions evoked by the sound of music",
Emotion 8(4). They were written down once and never tuned."""


@dataclass(frozen=True)
class TrainingData:
    """Rows of features and labels from one corpus.

    Parameters
    ----------
    corpus : Corpus
    fold : np.ndarray [shape=(tracks,), dtype=int]
        Fold that tests each track; -1 for tracks that are neither tested nor trained on.
    rows : list of np.ndarray [shape=(n, D), dtype=float32]
        One array a track: frames of a curve, or the mean frame of a clip.
    labels : list of np.ndarray [shape=(n, 2)]
        Valence and arousal of the rows.
    gain_response : list of np.ndarray [shape=(m, D), dtype=float32]
        One array a track: change of the features of frames with 1 dB of gain. Empty for tracks
        that it is not measured on.
    """

    corpus: Corpus
    fold: np.ndarray
    rows: list[np.ndarray]
    labels: list[np.ndarray]
    gain_response: list[np.ndarray]

    @property
    def tested(self) -> list[int]:
        """Indices of the tracks that a fold tests."""
        return np.flatnonzero(self.fold >= 0).tolist()

    def fold_statistics(self, origin: np.ndarray, folds: int) -> list[SufficientStatistics]:
        """Sums over the tracks of each fold; `origin`, (D,), is subtracted from the features."""
        return [
            SufficientStatistics.of(
                np.concatenate([self.rows[i] for i in tracks]) - origin,
                np.concatenate([self.labels[i] for i in tracks]),
            )
            for tracks in (np.flatnonzero(self.fold == k) for k in range(folds))
        ]

    def gain_products(self, folds: int) -> list[tuple[np.ndarray, int]]:
        """Summed products of the gain responses of each fold, (D, D), and number of frames."""
        responses = [
            np.concatenate([self.gain_response[i] for i in np.flatnonzero(self.fold == k)])
            for k in range(folds)
        ]
        return [(x.T @ x, len(x)) for x in responses]


def clip_labels(corpus: Corpus) -> np.ndarray:
    """Valence and arousal that each clip's quadrant or emotions stand for, (clips, 2)."""
    if corpus.labels == "quadrants":
        return CLIP_LEVEL * np.array([SIGNS[track.quadrant] for track in corpus.tracks], float)
    felt = np.array([track.gems for track in corpus.tracks], float)
    plane = (felt - felt.mean(axis=0)) / felt.std(axis=0) @ [EMOTION_PLANE[e] for e in EMOTIONS]
    return CLIP_LEVEL * plane / plane.std(axis=0)


def read_training_data(
    corpus: Corpus,
    features: FeatureConfig,
    folds: int,
    seed: int = 7,
    cache_dir: Path = CACHE_DIR,
    progress: bool = True,
) -> TrainingData:
    """Read a corpus for training. Features are cached.

    Raises
    ------
    CorpusError
        If audio cannot be decoded, or a track has no label.
    ValueError
        If there are fewer groups than the folds need.
    """
    fold = np.full(len(corpus.tracks), -1)
    index = {track.id: i for i, track in enumerate(corpus.tracks)}
    for k, split in enumerate(splits_of(corpus, folds, seed)):
        fold[[index[track_id] for track_id in split.test]] = k
    of_clips = None if corpus.labels == "curves" else clip_labels(corpus)
    gain_tracks = set(np.linspace(0, len(corpus.tracks) - 1, N_GAIN_TRACKS).astype(int).tolist())
    rows, labels, gain_response = [], [], []
    for i, track in enumerate(
        tqdm(corpus.tracks, desc=corpus.name, unit="track", disable=not progress)
    ):
        frames = cached_features(track.audio_path, features, cache_dir)
        if of_clips is None:
            sequence = align(track, frames)
            labelled = np.flatnonzero(sequence.mask)[::FRAME_STRIDE]
            rows.append(frames[labelled])
            labels.append(sequence.labels[labelled].astype(float))
        else:
            rows.append(frames.mean(axis=0, keepdims=True))
            labels.append(of_clips[[i]])
        gain_response.append(
            _gain_response(track, frames, features, cache_dir)
            if i in gain_tracks
            else np.empty((0, features.dim), np.float32)
        )
    return TrainingData(corpus, fold, rows, labels, gain_response)


def _gain_response(
    track: Track, frames: np.ndarray, features: FeatureConfig, cache_dir: Path
) -> np.ndarray:
    """Change of the features with 1 dB, from a louder and a softer copy, (2 n, D)."""
    responses = [
        (copied_features(track, features, gain, cache_dir=cache_dir) - frames)[::FRAME_STRIDE]
        / np.float32(db)
        for db, gain in (GAIN_UP, GAIN_DOWN)
    ]
    return np.concatenate(responses)

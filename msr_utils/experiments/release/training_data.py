"""What each corpus teaches the released models."""

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

OWN_BLOCKS = (
    "logmel", "logmel_sd", "mfcc", "mfcc_delta", "chroma", "tonal", "contrast", "onset",
    "tempogram", "loudness",
)  # fmt: skip

RUNNING_STATS = {"memory_s": (3.0, 10.0, 40.0), "memory_sd_s": (10.0,)}

BUNDLES = {
    "full": FeatureConfig((*OWN_BLOCKS, "musicnn"), **RUNNING_STATS),
    "light": FeatureConfig(OWN_BLOCKS, **RUNNING_STATS),
}
"""Features of each bundle. `full` adds the embedding of a pretrained network."""

FRAME_STRIDE = 8
"""One in so many frames of a curve is trained on, 4 s apart: neighbours are nearly alike."""

CLIP_LEVEL = 0.3
"""Mean valence and arousal that a clip's quadrant stands for: a round guess, not fitted."""

LEVEL_TRACKS = 24
"""So many tracks of each corpus, evenly spread, say what level does to the features."""

GAIN_UP, GAIN_DOWN = ((db, AugmentConfig("gain", gain_db=(db, db))) for db in (12.0, -12.0))
"""How much of it, in dB, and the copies that have it."""

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
"""Valence and arousal of each emotion, by judgement, along the factors vitality and unease of
Zentner, Grandjean and Scherer (2008), "Emotions evoked by the sound of music", Emotion 8(4).
Written down once and not tuned."""


@dataclass(frozen=True)
class TrainingData:
    """What one corpus teaches.

    Parameters
    ----------
    corpus : Corpus
    part : np.ndarray [shape=(tracks,), dtype=int]
        Fold in which each track is tested; -1 where it never is, nor trained on.
    rows : list of np.ndarray [shape=(n, D), dtype=float32]
        By track, of what is trained on: frames of a curve, or the mean frame of a clip.
    labels : list of np.ndarray [shape=(n, 2)]
        Valence and arousal of the rows.
    louder : list of np.ndarray [shape=(m, D), dtype=float32]
        By track, what 1 dB more does to frames; none of most tracks.
    """

    corpus: Corpus
    part: np.ndarray
    rows: list[np.ndarray]
    labels: list[np.ndarray]
    louder: list[np.ndarray]

    def moments(self, origin: np.ndarray, folds: int) -> list[SufficientStatistics]:
        """Of each fold's tracks, features seen from `origin`, (D,)."""
        return [
            SufficientStatistics.of(
                np.concatenate([self.rows[i] for i in own]) - origin,
                np.concatenate([self.labels[i] for i in own]),
            )
            for own in (np.flatnonzero(self.part == k) for k in range(folds))
        ]

    def level(self, folds: int) -> list[tuple[np.ndarray, int]]:
        """Of each fold's tracks, what 1 dB does to features: products (D, D), number of frames."""
        parts = [
            np.concatenate([self.louder[i] for i in np.flatnonzero(self.part == k)])
            for k in range(folds)
        ]
        return [(x.T @ x, len(x)) for x in parts]


def clip_labels(corpus: Corpus) -> np.ndarray:
    """Valence and arousal that each clip's label stands for, (clips, 2)."""
    if corpus.labels == "quadrants":
        return CLIP_LEVEL * np.array([SIGNS[t.quadrant] for t in corpus.tracks], float)
    felt = np.array([t.gems for t in corpus.tracks], float)
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
    """Read a corpus for training; features are cached.

    Raises
    ------
    CorpusError
        If audio cannot be decoded, or a track has no label.
    ValueError
        If there are fewer groups than folds need.
    """
    part = np.full(len(corpus.tracks), -1)
    at = {t.id: i for i, t in enumerate(corpus.tracks)}
    for k, split in enumerate(splits_of(corpus, folds, seed)):
        part[[at[i] for i in split.test]] = k
    clips = None if corpus.labels == "curves" else clip_labels(corpus)
    rows, labels, louder = [], [], []
    heard = np.linspace(0, len(corpus.tracks) - 1, LEVEL_TRACKS).astype(int)
    for i, track in enumerate(
        tqdm(corpus.tracks, desc=corpus.name, unit="track", disable=not progress)
    ):
        frames = cached_features(track.audio_path, features, cache_dir)
        if clips is None:
            sequence = align(track, frames)
            chosen = np.flatnonzero(sequence.mask)[::FRAME_STRIDE]
            rows.append(frames[chosen])
            labels.append(sequence.labels[chosen].astype(float))
        else:
            rows.append(frames.mean(axis=0, keepdims=True))
            labels.append(clips[[i]])
        louder.append(
            _gain_response(track, frames, features, cache_dir)
            if i in heard
            else np.empty((0, features.dim), np.float32)
        )
    return TrainingData(corpus, part, rows, labels, louder)


def _gain_response(
    track: Track, frames: np.ndarray, features: FeatureConfig, cache_dir: Path
) -> np.ndarray:
    copies = (
        (copied_features(track, features, gain, cache_dir=cache_dir) - frames)[::FRAME_STRIDE]
        / np.float32(db)
        for db, gain in (GAIN_UP, GAIN_DOWN)
    )
    return np.concatenate(list(copies))

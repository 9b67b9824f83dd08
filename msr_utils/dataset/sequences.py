"""Features aligned with annotations on the 2 Hz grid, with masks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from tqdm import tqdm

from msr_utils.audio.source import AudioError
from msr_utils.constants import FRAME_RATE_HZ, TARGETS
from msr_utils.corpora.base import Corpus, CorpusError, Track
from msr_utils.features.cache import cached_features
from msr_utils.features.config import FeatureConfig
from msr_utils.metrics.curves import Curve
from msr_utils.paths import CACHE_DIR


@dataclass(frozen=True)
class Sequence2Hz:
    """One track on the 2 Hz grid.

    Parameters
    ----------
    id, group, split : str
        As in `Track`.
    features : np.ndarray [shape=(T, D), dtype=float32]
    labels : np.ndarray [shape=(T, 2), dtype=float32]
        (valence, arousal); 0 where unknown.
    mask : np.ndarray [shape=(T,), dtype=bool]
        True where the labels count. Frames without them stay as context.
    """

    id: str
    group: str
    split: str
    features: np.ndarray
    labels: np.ndarray
    mask: np.ndarray

    def target(self, name: str) -> np.ndarray:
        """Labels of one target, (T,)."""
        return self.labels[:, TARGETS.index(name)]


def align(track: Track, features: np.ndarray) -> Sequence2Hz:
    """Put a track's annotations on the frames of its audio.

    Rows with a missing value are removed from loss and metrics by the mask, not from the
    sequence: time stays regular and their audio stays context. Annotations past the end of
    the audio are dropped; nothing is interpolated.

    Parameters
    ----------
    track : Track
    features : np.ndarray [shape=(T, D)]
        Frame ``i`` ends at ``(i + 1) / 2`` s.

    Raises
    ------
    CorpusError
        If no annotated frame has audio.
    """
    index = np.rint(track.times_s * FRAME_RATE_HZ).astype(int) - 1
    known = track.mask & (index < len(features))
    labels = np.zeros((len(features), len(TARGETS)), np.float32)
    mask = np.zeros(len(features), bool)
    for column, target in enumerate(TARGETS):
        labels[index[known], column] = getattr(track, target)[known]
    mask[index[known]] = True
    if not mask.any():
        raise CorpusError(
            f"track {track.id!r}: none of its annotations lies within its "
            f"{len(features) / FRAME_RATE_HZ:g} s of audio"
        )
    return Sequence2Hz(track.id, track.group, track.split, features, labels, mask)


def build_sequences(
    corpus: Corpus, config: FeatureConfig, cache_dir: Path, progress: bool = True
) -> list[Sequence2Hz]:
    """Features and aligned annotations of every track.

    Raises
    ------
    CorpusError
        If a track's audio cannot be decoded or has no annotated frame; the track is named.
    """
    sequences = []
    for track in tqdm(corpus.tracks, desc="features", unit="track", disable=not progress):
        try:
            features = cached_features(track.audio_path, config, cache_dir)
        except AudioError as error:
            raise CorpusError(f"track {track.id!r}: {error}") from error
        sequences.append(align(track, features))
    return sequences


def sequences_of(
    corpus: Corpus, config: FeatureConfig, cache_dir: Path = CACHE_DIR
) -> list[Sequence2Hz]:
    """Sequences of a corpus as the notebooks make them, cached.

    Raises
    ------
    CorpusError
        If the corpus has no curves, or a track's audio or annotations are of no use.
    """
    if corpus.labels != "curves":
        raise CorpusError(f"{corpus.name} has {corpus.labels}, no curves to learn from")
    return build_sequences(corpus, config, cache_dir)


def select_columns(sequences: Sequence[Sequence2Hz], columns: np.ndarray) -> list[Sequence2Hz]:
    """The sequences with some columns of their features, see `FeatureConfig.columns`."""
    return [replace(s, features=s.features[:, columns]) for s in sequences]


def normalisation(sequences: Sequence[Sequence2Hz]) -> tuple[np.ndarray, np.ndarray]:
    """Mean and standard deviation of each feature over all frames, for training tracks only.

    Returns
    -------
    mean, sd : np.ndarray [shape=(D,), dtype=float32]
        `sd` is 1 where a feature does not vary.
    """
    frames = np.concatenate([s.features for s in sequences]).astype(np.float64)
    mean, sd = frames.mean(axis=0), frames.std(axis=0)
    return mean.astype(np.float32), np.where(sd > 1e-6, sd, 1).astype(np.float32)


def collect(
    sequences: Sequence[Sequence2Hz], curves: Mapping[str, np.ndarray], target: str
) -> dict[str, Curve]:
    """Pair predicted curves, (T,) each, with the labels: frames that count only."""
    return {
        s.id: Curve(
            times_s=(np.flatnonzero(s.mask) + 1) / FRAME_RATE_HZ,
            true=s.target(target)[s.mask],
            predicted=np.asarray(curves[s.id])[s.mask],
        )
        for s in sequences
    }

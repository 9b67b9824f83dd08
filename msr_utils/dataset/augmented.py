"""Features of altered copies of tracks."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from threadpoolctl import threadpool_limits
from tqdm import tqdm

from msr_utils.audio.decode import load as load_audio
from msr_utils.audio.source import AudioError
from msr_utils.constants import SAMPLE_RATE
from msr_utils.corpora.base import Corpus, CorpusError, Track
from msr_utils.dataset.augmentation import (
    AugmentConfig,
    augmented,
    masked,
    relabelled,
)
from msr_utils.dataset.sequences import Sequence2Hz, align
from msr_utils.features.cache import (
    cached_features,
    features_folder,
    read_features,
    with_running_stats,
)
from msr_utils.features.config import FeatureConfig
from msr_utils.features.extractor import FeatureExtractor
from msr_utils.io import atomic_path, sha256_file
from msr_utils.paths import CACHE_DIR


def copies_of(
    corpus: Corpus,
    features: FeatureConfig,
    augment: AugmentConfig,
    cache_dir: Path = CACHE_DIR,
    progress: bool = True,
) -> dict[str, list[Sequence2Hz]]:
    """Altered copies of every track, to train on beside it, cached.

    Returns
    -------
    dict of str to list of Sequence2Hz
        By track id; empty where no transform is switched on. Only what belongs to training
        may be taken from it.

    Raises
    ------
    CorpusError
        If a track's audio cannot be decoded, or a copy has no annotated frame left.
    ValueError
        If features are of another sample rate than the transforms'.
    """
    if not augment.names:
        return {}
    if features.sample_rate != SAMPLE_RATE:
        raise ValueError(f"augment: sample_rate must be {SAMPLE_RATE}, not {features.sample_rate}")
    copies: dict[str, list[Sequence2Hz]] = {}
    for track in tqdm(corpus.tracks, desc="augmented", unit="track", disable=not progress):
        copies[track.id] = [
            align(
                relabelled(track, augment, copy),
                copied_features(track, features, augment, copy, cache_dir),
            )
            for copy in range(1, augment.copies + 1)
        ]
    return copies


def copied_features(
    track: Track,
    features: FeatureConfig,
    augment: AugmentConfig,
    copy: int = 1,
    cache_dir: Path = CACHE_DIR,
) -> np.ndarray:
    """Features of one altered copy of a track, whatever its labels; (T, features.dim), cached.

    Raises
    ------
    CorpusError
        If the audio cannot be decoded.
    """
    frames = features.without_running_stats()
    unmasked = _copied_features(track, frames, augment, copy, cache_dir)
    return with_running_stats(masked(unmasked, frames, track.id, augment, copy), features)


def _copied_features(
    track: Track, config: FeatureConfig, augment: AugmentConfig, copy: int, cache_dir: Path
) -> np.ndarray:
    """Features of one altered copy's audio, kept beside those of the original."""
    key = augment.key(track.id, copy)
    try:
        if not key:  # masks alone
            return cached_features(track.audio_path, config, cache_dir)
        name = f"{sha256_file(track.audio_path)}-{key}.npy"
        file = features_folder(config, cache_dir, augmented) / name
        kept = read_features(file, config)
        if kept is not None:
            return kept
        samples, _ = augmented(track, load_audio(track.audio_path), augment, copy)
    except AudioError as error:
        raise CorpusError(f"track {track.id!r}: {error}") from error
    with threadpool_limits(1, user_api="blas"):
        features = FeatureExtractor(config).push(samples)
    with atomic_path(file) as temporary:
        np.save(temporary, features)
    return features

"""Computed features, kept under a name made of the audio's hash and the parameters."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
from threadpoolctl import threadpool_limits

from msr_utils.features.blocks.registry import PRETRAINED
from msr_utils.features.config import FeatureConfig
from msr_utils.features.extractor import extract
from msr_utils.io import atomic_path, sha256_file


def cached_features(path: Path, config: FeatureConfig, cache_dir: Path) -> np.ndarray:
    """Features of an audio file, kept under a name made of its hash and the parameters.

    What a pretrained network hears is kept apart: it takes longest and goes with any other
    blocks. A memory is computed from what is kept: that takes less time than to read it.

    Returns
    -------
    np.ndarray [shape=(T, config.dim), dtype=float32]
    """
    frames = config.without_memory()
    own = tuple(name for name in frames.blocks if name not in PRETRAINED)
    groups = ([own] if own else []) + [(n,) for n in frames.blocks if n in PRETRAINED]
    parts = [compute_or_read(path, replace(frames, blocks=g), cache_dir)[1] for g in groups]
    joined = replace(frames, blocks=sum(groups, ()))
    return with_running_stats(
        np.concatenate(parts, axis=1)[:, joined.columns(frames.blocks)], config
    )


def with_running_stats(frames: np.ndarray, config: FeatureConfig) -> np.ndarray:
    return config.memory().push(frames) if config.has_memory else frames


def compute_or_read(
    path: Path, config: FeatureConfig, cache_dir: Path
) -> tuple[Path, np.ndarray, bool]:
    """Like `cached_features`; any number of processes may ask for the same file at once.

    Returns
    -------
    file : Path
        Where the features are kept: ``features/<config hash>/<audio hash>.npy``.
    features : np.ndarray [shape=(T, config.dim), dtype=float32]
    computed : bool
        False where they were there already.
    """
    file = Path(cache_dir) / "features" / config.hash[:16] / f"{sha256_file(path)}.npy"
    kept = read_features(file, config)
    if kept is not None:
        return file, kept, False
    # The last bits of a matrix product depend on the number of threads: with one, every
    # machine keeps the same bytes, whatever the number of its cores.
    with threadpool_limits(1, user_api="blas"):
        features = extract(path, config)
    with atomic_path(file) as temporary:
        np.save(temporary, features)
    return file, features, True


def read_features(file: Path, config: FeatureConfig) -> np.ndarray | None:
    """Kept features; None where there are none or the file is damaged."""
    try:
        features = np.load(file, allow_pickle=False)
    except (FileNotFoundError, EOFError, ValueError):
        return None
    whole = (
        isinstance(features, np.ndarray)
        and features.shape == (len(features), config.dim)
        and features.dtype == np.float32
        and len(features)
        and np.isfinite(features).all()
    )
    return features if whole else None

"""Computed features, kept under a name made of the audio's hash and the parameters."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
from threadpoolctl import threadpool_limits

from msr_utils.features.blocks.base import Block
from msr_utils.features.blocks.registry import ALL_BLOCKS, PRETRAINED
from msr_utils.features.config import FeatureConfig
from msr_utils.features.extractor import extract
from msr_utils.io import atomic_path, sha256_file, sha256_text
from msr_utils.provenance.cache_keys import computed_by


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
    return remembered(np.concatenate(parts, axis=1)[:, joined.columns(frames.blocks)], config)


def remembered(frames: np.ndarray, config: FeatureConfig) -> np.ndarray:
    """Frames, or what a configuration with a memory makes of them."""
    return config.memory().push(frames) if config.has_memory else frames


def compute_or_read(
    path: Path, config: FeatureConfig, cache_dir: Path
) -> tuple[Path, np.ndarray, bool]:
    """Like `cached_features`; any number of processes may ask for the same file at once.

    Returns
    -------
    file : Path
        Where the features are kept: ``features/<key>/<audio hash>.npy``, the key made of the
        configuration and of the code and packages that compute it.
    features : np.ndarray [shape=(T, config.dim), dtype=float32]
    computed : bool
        False where they were there already.
    """
    file = features_folder(config, cache_dir) / f"{sha256_file(path)}.npy"
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


def features_folder(config: FeatureConfig, cache_dir: Path, *more: Callable) -> Path:
    """Where features are kept, under all that they follow from beside the audio.

    Parameters
    ----------
    config : FeatureConfig
    cache_dir : Path
    more : functions
        That change the audio first.

    Notes
    -----
    Neither threads nor processor are in the name: with one thread the numbers of two processors
    differ in their last bits, and machines that compute together share one folder.
    """
    used = [ALL_BLOCKS[name] for name in config.blocks]
    parts = [part for block in used for part in vars(block).values() if callable(part)]
    code = computed_by(extract, Block, *parts, *more, tables=("BLOCKS", "PRETRAINED"))
    key = sha256_text(json.dumps([asdict(config), config.pretrained, code]))
    return Path(cache_dir) / "features" / key[:16]


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

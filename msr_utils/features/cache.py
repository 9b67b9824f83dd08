"""Cache of computed features, named by the audio's hash and the parameters."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
from threadpoolctl import threadpool_limits

from msr_utils.features.blocks.base import Block
from msr_utils.features.blocks.registry import ALL_BLOCKS, PRETRAINED
from msr_utils.features.config import FeatureConfig
from msr_utils.features.extractor import extract
from msr_utils.io import atomic_path, sha256_file, sha256_text
from msr_utils.provenance.cache_keys import computed_by


def cached_features(path: Path, config: FeatureConfig, cache_dir: Path) -> np.ndarray:
    """Features of an audio file, computed or read from the cache.

    Embeddings are cached separately because they are slow to compute and shared by many
    configurations. Running statistics are computed from cached frames, which takes less time than
    reading them.

    Parameters
    ----------
    path : Path
        Audio file.
    config : FeatureConfig
    cache_dir : Path
        Folder of the cache, see `compute_or_read`.

    Returns
    -------
    np.ndarray [shape=(T, config.dim), dtype=float32]

    Raises
    ------
    AudioError
        If the audio cannot be decoded or is shorter than one frame.
    """
    frames = config.without_running_stats()
    plain = tuple(name for name in frames.blocks if name not in PRETRAINED)
    embeddings = [(name,) for name in frames.blocks if name in PRETRAINED]
    groups = [plain, *embeddings] if plain else embeddings
    parts = [compute_or_read(path, replace(frames, blocks=g), cache_dir)[1] for g in groups]
    joined = replace(frames, blocks=tuple(name for group in groups for name in group))
    return with_running_stats(
        np.concatenate(parts, axis=1)[:, joined.columns(frames.blocks)], config
    )


def with_running_stats(frames: np.ndarray, config: FeatureConfig) -> np.ndarray:
    """Running statistics of a track's frames, or the frames if `config` has none.

    Parameters
    ----------
    frames : np.ndarray [shape=(T, config.frame_dim), dtype=float32]
    config : FeatureConfig

    Returns
    -------
    np.ndarray [shape=(T, config.dim), dtype=float32]
    """
    return config.running_stats().push(frames) if config.has_running_stats else frames


def compute_or_read(
    path: Path, config: FeatureConfig, cache_dir: Path
) -> tuple[Path, np.ndarray, bool]:
    """Like `cached_features`. Any number of processes may ask for the same file at once.

    Returns
    -------
    file : Path
        File in the cache: ``features/<key>/<audio hash>.npy``. The key depends on the
        configuration, the code and the packages.
    features : np.ndarray [shape=(T, config.dim), dtype=float32]
    computed : bool
        False if they were read from the cache.

    Raises
    ------
    AudioError
        If the audio cannot be decoded or is shorter than one frame.
    """
    file = features_folder(config, cache_dir) / f"{sha256_file(path)}.npy"
    cached = read_features(file, config)
    if cached is not None:
        return file, cached, False
    # The last bits of a matrix product depend on the number of threads. With one thread, machines
    # with different numbers of cores store the same bytes.
    with threadpool_limits(1, user_api="blas"):
        features = extract(path, config)
    with atomic_path(file) as temporary:
        np.save(temporary, features)
    return file, features, True


def features_folder(config: FeatureConfig, cache_dir: Path, *more: Callable[..., Any]) -> Path:
    """Folder of cached features, named by everything that they depend on besides the audio.

    Parameters
    ----------
    config : FeatureConfig
    cache_dir : Path
    more : functions
        Functions that change the audio first.

    Notes
    -----
    The name does not depend on the number of threads or on the processor. Features are computed
    with one thread, so processors change only the last bits, and machines that compute together
    share one folder.
    """
    used = [ALL_BLOCKS[name] for name in config.blocks]
    parts = [part for block in used for part in vars(block).values() if callable(part)]
    code = computed_by(extract, Block, *parts, *more, tables=("registry.FAMILIES",))
    key = sha256_text(json.dumps([asdict(config), config.pretrained, code]))
    return Path(cache_dir) / "features" / key[:16]


def read_features(file: Path, config: FeatureConfig) -> np.ndarray | None:
    """Features from the cache; None if there are none or the file is damaged.

    Returns
    -------
    np.ndarray [shape=(T, config.dim), dtype=float32] or None
    """
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

"""What audio features tell of notes that are rendered as sound."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from threadpoolctl import threadpool_limits
from tqdm import tqdm

from msr_utils.corpora.midi import Notes
from msr_utils.features.cache import features_folder, read_features
from msr_utils.features.config import FeatureConfig
from msr_utils.features.extractor import FeatureExtractor
from msr_utils.features.weights import PretrainedWeightsError
from msr_utils.io import atomic_path, sha256_text
from msr_utils.paths import CACHE_DIR
from msr_utils.symbolic import fluidsynth, synthesizer
from msr_utils.symbolic.rendering import FLUIDSYNTH, OWN, render_notes

HAND_MADE = "hand-made"
HAND_MADE_BLOCKS = "logmel,logmel_sd,mfcc,mfcc_delta,chroma,tonal,contrast,onset,tempogram,loudness"
NETWORKS = ("musicnn", "jamendo_fcn")
"""Blocks that run a pretrained network."""


def block_groups() -> dict[str, FeatureConfig]:
    """Groups of blocks that are computed and kept together."""
    return {
        HAND_MADE: FeatureConfig(HAND_MADE_BLOCKS),
        **{network: FeatureConfig(network) for network in NETWORKS},
    }


def missing_networks() -> dict[str, str]:
    """Networks whose weights are not installed, and what to do."""
    missing = {}
    for name in NETWORKS:
        try:
            FeatureExtractor(FeatureConfig(name))
        except PretrainedWeightsError as error:
            missing[name] = str(error)
    return missing


def frames_of_notes(
    notes: Notes,
    groups: Sequence[FeatureConfig],
    renderer: str = OWN,
    cache_dir: Path = CACHE_DIR,
) -> list[np.ndarray]:
    """Feature frames of rendered notes, computed or read from the cache.

    Parameters
    ----------
    notes : Notes
    groups : sequence of FeatureConfig
    renderer : str
        One of `msr_utils.symbolic.rendering.RENDERERS`.
    cache_dir : Path

    Returns
    -------
    list of np.ndarray [shape=(T, D), dtype=float32]
        One a group.
    """
    name, code = f"notes-{notes_key(notes)}", synthesizer.render
    if renderer == FLUIDSYNTH:
        name, code = f"{name}-{sha256_text(fluidsynth.version())[:8]}", fluidsynth.render
    found, sound = [], None
    for config in groups:
        file = features_folder(config, cache_dir, code) / f"{name}.npy"
        frames = read_features(file, config)
        if frames is None:
            # With one thread, machines with different numbers of cores store the same bytes.
            with threadpool_limits(1, user_api="blas"):
                if sound is None:
                    sound = render_notes(notes, renderer, config.sample_rate)
                    short = config.frame_samples - len(sound)
                    sound = np.pad(sound, (0, max(short, 0)))
                frames = FeatureExtractor(config).push(sound)
            with atomic_path(file) as temporary:
                np.save(temporary, frames)
        found.append(frames)
    return found


def notes_key(notes: Notes) -> str:
    """A hash of notes and pedals."""
    digest = hashlib.sha256()
    for array in (notes.start_s, notes.length_s, notes.pitch, notes.velocity, notes.pedals_s):
        digest.update(f"{array.dtype} {array.shape}\n".encode())
        digest.update(np.ascontiguousarray(array).tobytes())
    return digest.hexdigest()


def clip_vectors(
    clips: Sequence[Notes],
    renderer: str = OWN,
    cache_dir: Path = CACHE_DIR,
    progress: bool = True,
) -> dict[str, np.ndarray]:
    """Means and standard deviations of the frames of rendered clips.

    Parameters
    ----------
    clips : sequence of Notes
    renderer : str
        One of `msr_utils.symbolic.rendering.RENDERERS`.
    cache_dir : Path
    progress : bool

    Returns
    -------
    dict of group to np.ndarray [shape=(N, 2 D)]
        Means first. Networks whose weights are missing are left out, see `missing_networks`.
    """
    missing = missing_networks()
    groups = {name: config for name, config in block_groups().items() if name not in missing}
    rows: dict[str, list[np.ndarray]] = {name: [] for name in groups}
    for notes in tqdm(clips, "sound", unit="clip", disable=not progress):
        found = frames_of_notes(notes, list(groups.values()), renderer, cache_dir)
        for name, frames in zip(groups, found, strict=True):
            wide = frames.astype(np.float64)
            rows[name].append(np.concatenate([wide.mean(axis=0), wide.std(axis=0)]))
    return {name: np.array(values) for name, values in rows.items()}

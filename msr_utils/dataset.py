"""From a corpus to sequences: features aligned with annotations, masks, splits, windows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pandas as pd
from sklearn.model_selection import GroupKFold, GroupShuffleSplit
from threadpoolctl import threadpool_limits
from tqdm import tqdm

from msr_utils.audio import AudioError
from msr_utils.audio import load as load_audio
from msr_utils.augmentation import AugmentConfig, augmented, masked, relabelled
from msr_utils.blocks import PRETRAINED
from msr_utils.constants import FRAME_RATE_HZ, SAMPLE_RATE, TARGETS
from msr_utils.corpora import CACHE_DIR
from msr_utils.corpora.base import Corpus, CorpusError, Track
from msr_utils.features import FeatureConfig, FeatureExtractor, extract
from msr_utils.io import atomic_path, sha256_file
from msr_utils.metrics import Curve


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
    return _remembered(np.concatenate(parts, axis=1)[:, joined.columns(frames.blocks)], config)


def _remembered(frames: np.ndarray, config: FeatureConfig) -> np.ndarray:
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
    kept = _read_features(file, config)
    if kept is not None:
        return file, kept, False
    # The last bits of a matrix product depend on the number of threads: with one, every
    # machine keeps the same bytes, whatever the number of its cores.
    with threadpool_limits(1, user_api="blas"):
        features = extract(path, config)
    with atomic_path(file) as temporary:
        np.save(temporary, features)
    return file, features, True


def _read_features(file: Path, config: FeatureConfig) -> np.ndarray | None:
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
    frames = features.without_memory()
    heard = _copied_features(track, frames, augment, copy, cache_dir)
    return _remembered(masked(heard, frames, track.id, augment, copy), features)


def _copied_features(
    track: Track, config: FeatureConfig, augment: AugmentConfig, copy: int, cache_dir: Path
) -> np.ndarray:
    """Features of one altered copy's audio, kept beside those of the original."""
    key = augment.key(track.id, copy)
    try:
        if not key:  # masks alone
            return cached_features(track.audio_path, config, cache_dir)
        name = f"{sha256_file(track.audio_path)}-{key}.npy"
        file = Path(cache_dir) / "features" / config.hash[:16] / name
        kept = _read_features(file, config)
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


@dataclass(frozen=True)
class Split:
    """Track ids of the three parts; no group lies in two of them."""

    train: tuple[str, ...]
    validation: tuple[str, ...]
    test: tuple[str, ...]


def make_splits(
    tracks: Sequence[Track] | Sequence[Sequence2Hz],
    folds: int,
    validation_fraction: float = 0.2,
    test_fraction: float = 0.2,
    seed: int = 7,
) -> list[Split]:
    """Split by group into train, validation and test.

    Parameters
    ----------
    tracks : sequence with ``id``, ``group`` and ``split``
    folds : int >= 1
        1: one split, the official one where there is one. More: cross-validation in which every
        track is tested once, by a model that saw none of its group; the test part of an official
        split is then set aside, so that what is chosen by cross-validation never saw it.
    validation_fraction, test_fraction : float in (0, 1)
        Share of the groups; `test_fraction` counts only with one unofficial split.
    seed : int

    Raises
    ------
    ValueError
        If there are too few groups, a track is in neither part of an official split, or one
        split is asked for and the official test part is not here.
    """
    has_official = {"train", "test"} <= {t.split for t in tracks}
    if has_official and folds > 1:
        tracks = [t for t in tracks if t.split != "test"]
    ids = np.array([t.id for t in tracks])
    groups = np.array([t.group for t in tracks])
    official = np.array([t.split for t in tracks])
    n_groups = len(set(groups))
    if folds < 1:
        raise ValueError(f"folds: must be at least 1, not {folds}")
    if n_groups < max(folds + 1, 3):
        raise ValueError(
            f"folds: {folds} folds with a validation part need at least "
            f"{max(folds + 1, 3)} groups, the corpus has {n_groups}"
        )
    if folds == 1 and set(official) == {"train"}:
        raise ValueError(
            "folds: 1 means the official split, but no track of its test part is here; get their "
            "audio, or cross-validate the others with more folds"
        )
    if has_official and "" in official:
        raise ValueError(
            f"split: track '{ids[official == ''][0]}' is in neither part of the official split; "
            "give every track train or test"
        )
    if folds > 1:
        outer = list(GroupKFold(folds).split(ids, groups=groups))
    elif has_official:
        outer = [(np.flatnonzero(official != "test"), np.flatnonzero(official == "test"))]
        # An official split may share artists across its sides: those leave training.
        train, test = outer[0]
        outer = [(train[~np.isin(groups[train], groups[test])], test)]
    else:
        outer = list(
            GroupShuffleSplit(1, test_size=test_fraction, random_state=seed).split(
                ids, None, groups
            )
        )
    splits = []
    for rest, test in outer:
        # Groups differ much in size: of balanced parts, one drawn by the seed is validation.
        parts = min(max(2, round(1 / validation_fraction)), len(set(groups[rest])))
        inner = list(GroupKFold(parts).split(rest, groups=groups[rest]))
        train, validation = inner[seed % parts]
        splits.append(
            Split(
                train=tuple(ids[rest[train]]),
                validation=tuple(ids[rest[validation]]),
                test=tuple(ids[test]),
            )
        )
    return splits


def inner_parts(
    split: Split, group: Mapping[str, str], folds: int
) -> list[tuple[tuple[str, ...], tuple[str, ...]]]:
    """Training and validation parts on which a model's settings are chosen, test left aside.

    Parameters
    ----------
    split : Split
    group : mapping of str to str
        Track id to group.
    folds : int >= 1
        1: the split's own validation part. More: cross-validation by group over training and
        validation tracks together, for corpora with so few groups that one part says little.

    Returns
    -------
    list of (train, validation)
        Track ids.

    Raises
    ------
    ValueError
        If there are fewer groups than folds.
    """
    if folds == 1:
        return [(split.train, split.validation)]
    known = np.array(split.train + split.validation)
    groups = np.array([group[i] for i in known])
    if not 2 <= folds <= len(set(groups)):
        raise ValueError(
            f"inner_folds: must lie between 1 and {len(set(groups))}, the groups that are not "
            f"tested, not {folds}"
        )
    return [
        (tuple(known[train]), tuple(known[held]))
        for train, held in GroupKFold(folds).split(known, groups=groups)
    ]


def splits_of(corpus: Corpus, folds: int, seed: int) -> list[Split]:
    """Splits as every notebook of the study makes them.

    They follow from the corpus, `folds` and `seed` alone, so that models trained in
    different notebooks are tested on the same tracks.

    For DEAM, one fold is the protocol of MediaEval 2015 (train on songs up to 2000, test on the
    58 whole songs 2001..2058), ten are cross-validation on the songs up to 2000 with each
    artist in one fold. Training songs by an artist of the 58 would be left out; the release has
    none.
    """
    return make_splits(corpus.tracks, folds, seed=seed)


def split_table(splits: Sequence[Split], corpus: Corpus) -> pd.DataFrame:
    """Tracks and groups in each part of each split, and tracks in none, for display."""
    group = {t.id: t.group for t in corpus.tracks}
    rows = []
    for fold, split in enumerate(splits, 1):
        row = {"fold": fold}
        for part in ("train", "validation", "test"):
            ids = getattr(split, part)
            row[f"{part} tracks"] = len(ids)
            row[f"{part} groups"] = len({group[i] for i in ids})
        # Set aside for the official test, or by an artist who is tested.
        row["unused tracks"] = len(group) - sum(v for k, v in row.items() if k.endswith("tracks"))
        rows.append(row)
    return pd.DataFrame(rows).set_index("fold")


@dataclass(frozen=True)
class Windows:
    """Equal-length excerpts for training.

    Parameters
    ----------
    features : np.ndarray [shape=(N, L, D), dtype=float32]
    labels : np.ndarray [shape=(N, L, K), dtype=float32]
        The target; if joint, the other one after it.
    weights : np.ndarray [shape=(N, L), dtype=float32]
        1 where the label counts, 0 elsewhere and on padding.
    """

    features: np.ndarray
    labels: np.ndarray
    weights: np.ndarray

    def __len__(self) -> int:
        return len(self.features)


def make_windows(
    sequences: Sequence[Sequence2Hz],
    target: str,
    length: int,
    hop: int | None = None,
    joint: bool = False,
) -> Windows:
    """Cut sequences into windows of `length` frames, the last one zero-padded.

    Parameters
    ----------
    sequences : sequence of Sequence2Hz
    target : str
        "valence" or "arousal".
    length : int > 0
        Frames in a window.
    hop : int > 0, optional
        Frames between starts; `length` by default, so that no frame counts twice.
    joint : bool
        Give the labels of the other target as well.
    """
    hop = hop or length
    columns = [TARGETS.index(target)]
    columns += [k for k in range(len(TARGETS)) if joint and k not in columns]
    starts = [
        (sequence, start)
        for sequence in sequences
        for start in range(0, max(1, len(sequence.mask) - (length - hop)), hop)
        if sequence.mask[start : start + length].any()
    ]
    features = np.zeros((len(starts), length, sequences[0].features.shape[1]), np.float32)
    labels = np.zeros((len(starts), length, len(columns)), np.float32)
    weights = np.zeros((len(starts), length), np.float32)
    for i, (sequence, start) in enumerate(starts):
        n = len(sequence.mask[start : start + length])
        features[i, :n] = sequence.features[start : start + n]
        labels[i, :n] = sequence.labels[start : start + n, columns]
        weights[i, :n] = sequence.mask[start : start + n]
    return Windows(features, labels, weights)


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

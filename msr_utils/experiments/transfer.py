"""Zero-shot and cross-corpus evaluation.

Bundles are tested on corpora that they were not trained on, and models are trained on one corpus
and tested on another. Tracks and artists that both corpora share are left out. A bundle is never
tested on a corpus that it was trained on.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from tqdm import tqdm

from msr_utils.audio.source import AudioError
from msr_utils.constants import TARGETS
from msr_utils.corpora.base import Corpus, CorpusError, Track
from msr_utils.corpora.deam.songs import CARD as DEAM_CARD
from msr_utils.corpora.merp import CARD as MERP_CARD
from msr_utils.dataset.sequences import Sequence2Hz, align, collect, sequences_of
from msr_utils.dataset.splits import Split, make_splits
from msr_utils.features.config import FeatureConfig
from msr_utils.inference.model import Model, load, usable
from msr_utils.metrics.curves import Curve, Predictions
from msr_utils.paths import CACHE_DIR, MODELS_DIR, TRAININGS

if TYPE_CHECKING:
    from msr_utils.models.lstm import LSTMConfig
    from msr_utils.training.loop import FitConfig

SHARED_CORPORA = {"deam": DEAM_CARD.title, "merp": MERP_CARD.title}
"""Corpora that `Track.shared_with` may name, and their titles in a bundle's card."""

ModelPredictions = Mapping[str, Mapping[str, Predictions]]
"""Model name to target to predictions."""


@dataclass(frozen=True)
class TransferSetup:
    """What a model needs to be trained on one corpus and tested on another.

    Parameters
    ----------
    sequences : list of Sequence2Hz
        Of both corpora. Ids of the training corpus are ``<corpus>/<id>``.
    split : Split
        Training and validation tracks of the first corpus, test tracks of the second.
    left_out : tuple of str
        Tracks of the training corpus that are not used: they, or their artist, are in the test
        corpus.
    """

    sequences: list[Sequence2Hz]
    split: Split
    left_out: tuple[str, ...]


def shared_tracks(corpus: Corpus, other: Corpus) -> set[str]:
    """Ids of the tracks of `corpus` that `other` holds too, by the metadata of either corpus."""
    by_other = {t.shared_with[corpus.name] for t in other.tracks if corpus.name in t.shared_with}
    by_corpus = {t.id for t in corpus.tracks if other.name in t.shared_with}
    return (by_other & {t.id for t in corpus.tracks}) | by_corpus


def prepare_transfer(
    train: Corpus,
    test: Corpus,
    features: FeatureConfig,
    seed: int = 7,
    cache_dir: Path = CACHE_DIR,
) -> TransferSetup:
    """Prepare training on one corpus and testing on all tracks of another.

    The result fits `msr_utils.training.cross_validation.cross_validate`. A fifth of the groups of
    the training corpus is its validation part.

    Parameters
    ----------
    train, test : Corpus
    features : FeatureConfig
    seed : int
        Draws the validation part.
    cache_dir : Path

    Raises
    ------
    CorpusError
        If both corpora are the same, or one has no curves.
    ValueError
        If there are too few groups.
    """
    if train.name == test.name:
        raise CorpusError(f"train_corpus: {train.name} is the corpus of the test; name another")
    shared = shared_tracks(train, test)
    not_shared = replace(train, tracks=[t for t in train.tracks if t.id not in shared])
    sequences = [
        *(
            replace(s, id=f"{train.name}/{s.id}", split="train")
            for s in sequences_of(not_shared, features, cache_dir)
        ),
        *(replace(s, split="test") for s in sequences_of(test, features, cache_dir)),
    ]
    (split,) = make_splits(sequences, folds=1, seed=seed)
    used = {*split.train, *split.validation}
    left_out = [t.id for t in train.tracks if f"{train.name}/{t.id}" not in used]
    return TransferSetup(sequences, split, tuple(left_out))


def train_and_test(
    train: Corpus | None,
    test: Corpus,
    features: FeatureConfig,
    config: LSTMConfig,
    fit_config: FitConfig,
    window_frames: int,
    cache_dir: Path = CACHE_DIR,
    progress: bool = True,
    trainings: Path = TRAININGS,
) -> ModelPredictions:
    """Train an LSTM for each target on one corpus and test it on another; resumable.

    Parameters
    ----------
    train, test, features, cache_dir
        As in `prepare_transfer`.
    config, fit_config, window_frames, progress, trainings
        As in `msr_utils.training.cross_validation.cross_validate`.

    Returns
    -------
    mapping of model to target to predictions
        Predictions of the tracks of the test corpus, under one name for tables.

    Raises
    ------
    CorpusError
        If there is no corpus to train on; else as in `prepare_transfer`.
    """
    # Here, so that who only scores bundles does not wait for TensorFlow.
    from msr_utils.training.cross_validation import cross_validate
    from msr_utils.training.settings import CrossValidation

    if train is None:
        raise CorpusError("train: needs train_corpus and its train_data_dir")
    setup = prepare_transfer(train, test, features, fit_config.seed, cache_dir)
    predictions = {
        target: cross_validate(
            config,
            fit_config,
            setup.sequences,
            CrossValidation((setup.split,), target, window_frames),
            progress=progress,
            trainings=trainings,
        ).predictions
        for target in TARGETS
    }
    name = f"LSTM trained on {train.name}"
    if setup.left_out:
        name += f" ({len(setup.left_out)} shared tracks left out)"
    return {name: predictions}


def was_trained_on(bundle: Model, corpus: Corpus) -> bool:
    """True if the bundle's card names the corpus among those that it was trained on."""
    return corpus.card.title in bundle.card.trained_on


def tracks_not_trained_on(bundle: Model, corpus: Corpus) -> list[Track]:
    """Tracks of a corpus that a bundle was not trained on.

    Raises
    ------
    CorpusError
        If the bundle was trained on this corpus.
    """
    if was_trained_on(bundle, corpus):
        raise CorpusError(
            f"bundle {bundle.name}: was trained on {corpus.card.title}; test it on another corpus"
        )
    trained_on = {name for name, title in SHARED_CORPORA.items() if title in bundle.card.trained_on}
    return [track for track in corpus.tracks if not track.shared_with.keys() & trained_on]


def bundle_predictions(
    bundle: Model, tracks: Sequence[Track], progress: bool = True
) -> dict[str, dict[str, Curve]]:
    """Predict tracks with a bundle, as the service does, and pair the curves with their labels.

    Returns
    -------
    dict of target to track id to Curve

    Raises
    ------
    CorpusError
        If a track's audio cannot be decoded or has no annotated frame; the track is named.
    """
    aligned = []
    for track in tqdm(tracks, desc=bundle.name, unit="track", disable=not progress):
        try:
            prediction = bundle.predict(track.audio_path)
        except AudioError as error:
            raise CorpusError(f"track {track.id!r}: {error}") from error
        # Predicted curves have one value a frame, so they are aligned as features are.
        curves = np.stack([getattr(prediction, target) for target in TARGETS], axis=1)
        aligned.append(align(track, curves))
    return {
        target: collect(aligned, {s.id: s.features[:, column] for s in aligned}, target)
        for column, target in enumerate(TARGETS)
    }


def zero_shot(
    corpus: Corpus,
    names: Sequence[str] = (),
    models_dir: Path = MODELS_DIR,
    progress: bool = True,
) -> dict[str, Mapping[str, Predictions]]:
    """Predict a corpus with bundles that were not trained on it.

    Parameters
    ----------
    corpus : Corpus
    names : sequence of str
        Bundles. By default, all that can be loaded except those trained on this corpus.
    models_dir : Path
    progress : bool

    Returns
    -------
    dict of bundle to target to predictions

    Raises
    ------
    CorpusError
        If a named bundle was trained on this corpus, or a track's audio cannot be used.
    BundleError
        If a bundle is missing or damaged.
    """
    predictions: dict[str, Mapping[str, Predictions]] = {}
    for name in names or usable(models_dir):
        bundle = load(name, models_dir)
        if not names and was_trained_on(bundle, corpus):
            continue
        tracks = tracks_not_trained_on(bundle, corpus)
        predictions[name] = bundle_predictions(bundle, tracks, progress)
    return predictions

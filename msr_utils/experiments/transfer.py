"""From one corpus to another: bundles on music they never heard, and models trained for the trip.

A model that knows one kind of music is tested on another, with no track of its own between: what
two corpora share is left out, and a bundle is refused on the corpus that it was trained on.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from tqdm import tqdm

from msr_utils.audio.source import AudioError
from msr_utils.constants import TARGETS
from msr_utils.corpora.base import Corpus, CorpusError, Track
from msr_utils.corpora.deam import CARD as DEAM_CARD
from msr_utils.corpora.merp import CARD as MERP_CARD
from msr_utils.dataset.sequences import (
    Sequence2Hz,
    align,
    collect,
    sequences_of,
)
from msr_utils.dataset.splits import Split, make_splits
from msr_utils.features.config import FeatureConfig
from msr_utils.inference.model import Model, load, usable
from msr_utils.metrics.curves import Curve
from msr_utils.models.lstm import LSTMConfig
from msr_utils.paths import CACHE_DIR, MODELS_DIR, TRAININGS
from msr_utils.training.cross_validation import CrossValidation, cross_validate
from msr_utils.training.loop import FitConfig

SHARING = {"deam": DEAM_CARD.title, "merp": MERP_CARD.title}
"""Corpora that `Track.shared_with` names, and what a bundle's card calls them."""


@dataclass(frozen=True)
class TransferSetup:
    """What a model needs to be trained on one corpus and tested on another.

    Parameters
    ----------
    sequences : list of Sequence2Hz
        Of both corpora; those of the first are called ``<corpus>/<id>``.
    split : Split
        Training and validation of the first corpus, test of the second.
    left_out : tuple of str
        Tracks of the first corpus that are, or whose artist is, in the second.
    """

    sequences: list[Sequence2Hz]
    split: Split
    left_out: tuple[str, ...]


def shared_tracks(corpus: Corpus, other: Corpus) -> set[str]:
    """Ids of a corpus' tracks that are in the other one too, whichever of them says so."""
    said_there = {t.shared_with[corpus.name] for t in other.tracks if corpus.name in t.shared_with}
    said_here = {t.id for t in corpus.tracks if other.name in t.shared_with}
    return (said_there & {t.id for t in corpus.tracks}) | said_here


def prepare_transfer(
    train: Corpus | None,
    test: Corpus,
    features: FeatureConfig,
    seed: int = 7,
    cache_dir: Path = CACHE_DIR,
) -> TransferSetup:
    """Sequences and split for training on one corpus and testing on all of another.

    `cross_validate` takes them as they are. A fifth of the training groups is its validation part.

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
        If there is no corpus to train on, both are one, or one has no curves.
    ValueError
        If there are too few groups.
    """
    if train is None:
        raise CorpusError("train: needs train_corpus and its train_data_dir")
    if train.name == test.name:
        raise CorpusError(f"train_corpus: {train.name} is the corpus of the test; name another")
    shared = shared_tracks(train, test)
    known = replace(train, tracks=[t for t in train.tracks if t.id not in shared])
    sequences = [
        *(
            replace(s, id=f"{train.name}/{s.id}", split="train")
            for s in sequences_of(known, features, cache_dir)
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
) -> dict[str, dict[str, dict[str, Curve]]]:
    """Train an LSTM for each target on one corpus and test it on another; resumable.

    Parameters
    ----------
    train, test, features, cache_dir : as in `journey`
    config, fit_config, window_frames, progress, trainings
        As in `cross_validate`.

    Returns
    -------
    dict
        A name for tables to target to predictions of the second corpus' tracks.
    """
    way = prepare_transfer(train, test, features, fit_config.seed, cache_dir)
    predictions = {
        target: cross_validate(
            config,
            fit_config,
            way.sequences,
            CrossValidation((way.split,), target, window_frames),
            progress=progress,
            trainings=trainings,
        ).predictions
        for target in TARGETS
    }
    name = f"LSTM trained on {train.name}"
    without = f" ({len(way.left_out)} shared tracks left out)" if way.left_out else ""
    return {name + without: predictions}


def was_trained_on(bundle: Model, corpus: Corpus) -> bool:
    """Whether a bundle's card names the corpus as one that it was trained on."""
    return corpus.card.title in bundle.card["trained_on"]


def tracks_not_trained_on(bundle: Model, corpus: Corpus) -> list[Track]:
    """Tracks of a corpus that a bundle was not trained on.

    Raises
    ------
    CorpusError
        If it was trained on this corpus.
    """
    if was_trained_on(bundle, corpus):
        raise CorpusError(
            f"bundle {bundle.name}: was trained on {corpus.card.title}; test it on another corpus"
        )
    from_there = [name for name, title in SHARING.items() if title in bundle.card["trained_on"]]
    return [t for t in corpus.tracks if not t.shared_with.keys() & set(from_there)]


def bundle_predictions(
    bundle: Model, tracks: Sequence[Track], progress: bool = True
) -> dict[str, dict[str, Curve]]:
    """What a bundle says of tracks, as the service says it, beside their labels.

    Returns
    -------
    dict of str to dict of str to Curve
        Target to predictions.

    Raises
    ------
    CorpusError
        If a track's audio cannot be decoded or has no annotated frame; the track is named.
    """
    heard = []
    for track in tqdm(tracks, desc=bundle.name, unit="track", disable=not progress):
        try:
            curve = bundle.predict(track.audio_path)
        except AudioError as error:
            raise CorpusError(f"track {track.id!r}: {error}") from error
        # The curves lie on the frames of the audio, as features do.
        heard.append(align(track, np.stack([getattr(curve, t) for t in TARGETS], axis=1)))
    return {
        target: collect(heard, {s.id: s.features[:, column] for s in heard}, target)
        for column, target in enumerate(TARGETS)
    }


def zero_shot(
    corpus: Corpus,
    names: Sequence[str] = (),
    models_dir: Path = MODELS_DIR,
    progress: bool = True,
) -> dict[str, dict[str, dict[str, Curve]]]:
    """What bundles say of a corpus that they were not trained on.

    Parameters
    ----------
    corpus : Corpus
    names : sequence of str
        Of bundles; by default all that can be loaded but those trained on this corpus.
    models_dir : Path
    progress : bool

    Returns
    -------
    dict
        Name to target to predictions.

    Raises
    ------
    CorpusError
        If a named bundle was trained on this corpus, or a track's audio is of no use.
    BundleError
        If a bundle is not there or damaged.
    """
    found: dict[str, dict[str, dict[str, Curve]]] = {}
    for name in names or usable(models_dir):
        bundle = load(name, models_dir)
        if not names and was_trained_on(bundle, corpus):
            continue
        found[name] = bundle_predictions(bundle, tracks_not_trained_on(bundle, corpus), progress)
    return found

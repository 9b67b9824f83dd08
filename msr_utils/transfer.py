"""From one corpus to another: bundles on music they never heard, and models trained for the trip.

A model that knows one kind of music is tested on another, with no track of its own between: what
two corpora share is left out, and a bundle is refused on the corpus that it was trained on.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pandas as pd
from tqdm import tqdm

from msr_utils.audio import AudioError
from msr_utils.comparison import ORACLE
from msr_utils.constants import TARGETS
from msr_utils.corpora import CACHE_DIR
from msr_utils.corpora.base import Corpus, CorpusError, Track
from msr_utils.corpora.deam import CARD as DEAM_CARD
from msr_utils.corpora.merp import CARD as MERP_CARD
from msr_utils.dataset import Sequence2Hz, Split, align, collect, make_splits, sequences_of
from msr_utils.experiment import TRAININGS, cross_validate
from msr_utils.features import FeatureConfig
from msr_utils.inference import MODELS_DIR, Model, load, usable
from msr_utils.metrics import METRICS, Curve, Predictions, evaluate, score
from msr_utils.models import LSTMConfig
from msr_utils.training import FitConfig

SHARING = {"deam": DEAM_CARD.title, "merp": MERP_CARD.title}
"""Corpora that `Track.shared_with` names, and what a bundle's card calls them."""

ZERO, TRAINING_MEAN = "zero", "mean of training corpus"

MIN_SONGS = 3
"""Fewer songs have no correlation worth a figure."""


@dataclass(frozen=True)
class Journey:
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


def journey(
    train: Corpus | None,
    test: Corpus,
    features: FeatureConfig,
    seed: int = 7,
    cache_dir: Path = CACHE_DIR,
) -> Journey:
    """Sequences and split for training on one corpus and testing on all of another.

    `msr_utils.experiment.cross_validate` takes them as they are. A fifth of the training groups
    is its validation part.

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
    return Journey(sequences, split, tuple(left_out))


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
        As in `msr_utils.experiment.cross_validate`.

    Returns
    -------
    dict
        A name for tables to target to predictions of the second corpus' tracks.
    """
    way = journey(train, test, features, fit_config.seed, cache_dir)
    predictions = {
        target: cross_validate(
            "lstm", config, fit_config, way.sequences, features, [way.split], target,
            window_frames, progress=progress, trainings=trainings,
        ).predictions
        for target in TARGETS
    }  # fmt: skip
    name = f"LSTM trained on {train.name}"
    without = f" ({len(way.left_out)} shared tracks left out)" if way.left_out else ""
    return {name + without: predictions}


def was_trained_on(bundle: Model, corpus: Corpus) -> bool:
    """Whether a bundle's card names the corpus as one that it was trained on."""
    return corpus.card.title in bundle.card["trained_on"]


def unheard(bundle: Model, corpus: Corpus) -> list[Track]:
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
        found[name] = bundle_predictions(bundle, unheard(bundle, corpus), progress)
    return found


def plain_predictions(
    predictions: Predictions, training_mean: float | None
) -> dict[str, dict[str, Curve]]:
    """Predictions that need no audio, of the frames of others: constants and the oracle.

    Parameters
    ----------
    predictions : mapping of song id to Curve
        Of one target; only their labels are read.
    training_mean : float, optional
        Mean label of the corpus that a model was trained on.
    """
    constants = {ZERO: 0.0}
    if training_mean is not None:
        constants[TRAINING_MEAN] = training_mean
    rows = {
        name: {i: replace(c, predicted=np.full(len(c.true), value)) for i, c in predictions.items()}
        for name, value in constants.items()
    }
    rows[ORACLE] = {
        i: replace(c, predicted=np.full(len(c.true), c.true.mean())) for i, c in predictions.items()
    }
    return rows


def label_means(corpus: Corpus | None) -> dict[str, float] | None:
    """Mean label of each target over all frames of a corpus; None without one."""
    if corpus is None:
        return None
    return {
        target: float(np.concatenate([getattr(t, target)[t.mask] for t in corpus.tracks]).mean())
        for target in TARGETS
    }


def song_mean_r(predictions: Predictions, n_boot: int = 2000, seed: int = 7) -> dict[str, float]:
    """Pearson's r of the songs' predicted means with their true means.

    Returns
    -------
    dict of str to float
        ``value``, ``low`` and ``high`` (95 % percentile interval from resampling songs), ``n``;
        NaN with fewer than `MIN_SONGS` songs, or where means do not vary.
    """
    true, predicted = (
        np.array([getattr(c, name).mean() for c in predictions.values()], float)
        for name in ("true", "predicted")
    )
    n = len(true)
    if n < MIN_SONGS:
        return {"value": np.nan, "low": np.nan, "high": np.nan, "n": n}
    draws = np.random.default_rng(seed).integers(n, size=(n_boot, n))
    drawn = np.array([score(true[d], predicted[d])["r"] for d in draws])
    drawn = drawn[np.isfinite(drawn)]
    low, high = np.quantile(drawn, [0.025, 0.975]) if len(drawn) else (np.nan, np.nan)
    return {"value": score(true, predicted)["r"], "low": float(low), "high": float(high), "n": n}


def scores(
    models: Mapping[str, Mapping[str, Predictions]],
    training_means: Mapping[str, float] | None = None,
    n_boot: int = 2000,
    seed: int = 7,
) -> dict:
    """Score models on the tracks that all of them may be tested on, beside what needs no audio.

    Parameters
    ----------
    models : mapping of name to target to predictions
    training_means : mapping of target to float, optional
    n_boot, seed : int
        For the intervals.

    Returns
    -------
    dict
        ``songs``; ``rows[target][name]`` as `msr_utils.metrics.evaluate` gives, with
        ``song_means`` as `song_mean_r` gives.

    Raises
    ------
    ValueError
        If there is no model, or no track is left.
    """
    if not models:
        raise ValueError("bundles: none is left that was not trained on this corpus; train one")
    common = set.intersection(*(set(p) for m in models.values() for p in m.values()))
    if not common:
        raise ValueError("no track is left that none of the models was trained on")
    rows: dict[str, dict] = {}
    for target in TARGETS:
        own = {n: {i: c for i, c in m[target].items() if i in common} for n, m in models.items()}
        mean = training_means[target] if training_means else None
        plain = plain_predictions(next(iter(own.values())), mean)
        oracle = {ORACLE: plain.pop(ORACLE)}
        rows[target] = {
            name: {
                **evaluate(predictions, n_boot, seed),
                "song_means": song_mean_r(predictions, n_boot, seed),
            }
            for name, predictions in {**plain, **own, **oracle}.items()
        }
    return {"songs": len(common), "rows": rows}


def score_table(result: dict) -> pd.DataFrame:
    """What `scores` found, for display."""
    rows = []
    for target, models in result["rows"].items():
        for name, one in models.items():
            # The oracle reads the means off the labels: its correlation is 1 and says nothing.
            means = one["song_means"] if name != ORACLE else {"value": np.nan}
            rows.append(
                {
                    "target": target,
                    "model": name,
                    "r of song means": _with_interval(means, 2),
                    **{_title(m): _with_interval(one["pooled"][m], 3) for m in METRICS},
                    "r in a song": _with_sd(one["per_song"]["r"]),
                }
            )
    return pd.DataFrame(rows).set_index(["target", "model"])


def long_table(result: dict) -> pd.DataFrame:
    """Pooled ``rmse`` and ``r`` of song means (``song_r``) as rows, for figures.

    Returns
    -------
    pandas.DataFrame
        ``target, model, metric, value, low, high``.
    """
    return pd.DataFrame(
        {"target": target, "model": name, "metric": metric, **values}
        for target, models in result["rows"].items()
        for name, one in models.items()
        for metric, values in (
            ("rmse", one["pooled"]["rmse"]),
            *((("song_r", one["song_means"]),) if name != ORACLE else ()),
        )
    )


def _title(metric: str) -> str:
    return metric if metric == "r" else metric.upper()


def _with_interval(p: Mapping[str, float], digits: int) -> str:
    if not np.isfinite(p["value"]):
        return "–"
    return f"{p['value']:.{digits}f} [{p['low']:.{digits}f}, {p['high']:.{digits}f}]"


def _with_sd(song: Mapping[str, float]) -> str:
    return f"{song['mean']:.2f} ± {song['sd']:.2f}" if song["n"] else "–"

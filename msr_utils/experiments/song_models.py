"""Models of songs that have ratings and released features, but no audio here.

The labels of a song are the means of its two curves, or its two ratings as a whole. The models are
those of `msr_utils.experiments.clip_models` and support vector regression, which the authors of the
features used.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd
from sklearn.compose import TransformedTargetRegressor
from sklearn.model_selection import GridSearchCV
from sklearn.multioutput import MultiOutputRegressor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVR
from threadpoolctl import threadpool_limits
from tqdm import tqdm

from msr_utils.constants import TARGETS
from msr_utils.corpora.base import Corpus, CorpusError, Track
from msr_utils.corpora.emomusic import CONVNET_LAYERS, MFCC, SongFeatures
from msr_utils.dataset.splits import inner_parts, splits_of
from msr_utils.experiments.clip_models import CONSTANT, INNER_FOLDS, MEAN, Candidate, candidates
from msr_utils.experiments.clip_scores import (
    MetricEstimates,
    MetricSamples,
    estimates,
    paired_difference,
)
from msr_utils.metrics.bootstrap import N_BOOT, SEED, draw_counts
from msr_utils.metrics.correlation import weighted_pearson
from msr_utils.metrics.estimate import MISSING
from msr_utils.metrics.scores import metric_title

CURVE_MEAN, SONG_RATING = "mean of the curve", "rating of the song"
"""Kinds of labels."""

INPUTS = {MFCC: (MFCC,), "convnet": CONVNET_LAYERS}
"""Arrays that the models read."""

SUPPORT_VECTORS = "support vectors"

REFERENCE = "ridge (convnet)"
"""The row that others are compared with."""

SVR_COSTS = (0.3, 1.0, 3.0)
"""Costs of support vector regression that are tried; inputs and targets are standardised."""

SVR_GAMMAS = (0.1, 0.3, 1.0)
"""Inverse squared widths of its kernel that are tried, divided by the number of inputs."""

PUBLISHED = {
    "Choi and others (2017), all layers": {"arousal": 0.656, "valence": 0.462},
}
"""R2 that others published for these features. They used other folds, which could have songs of one
artist on both sides, and the ratings of whole songs."""


@dataclass(frozen=True)
class SongComparison:
    """Cross-validated scores of models of songs.

    Parameters
    ----------
    songs, groups : int
    scores : dict of label to model to metric to target to Estimate
        Metrics are ``r2``, ``r`` and ``rmse``. A constant has no r.
    above : dict of label to model to metric to target to Estimate
        Paired difference to `REFERENCE`, on the same resampled artists.
    published : dict of name to target to float
        R2 by others, see `PUBLISHED`.
    """

    songs: int
    groups: int
    scores: dict[str, dict[str, MetricEstimates]]
    above: dict[str, dict[str, MetricEstimates]]
    published: Mapping[str, Mapping[str, float]]


def song_labels(tracks: Sequence[Track]) -> dict[str, np.ndarray]:
    """Valence and arousal of each song, (songs, 2), by kind of label.

    Raises
    ------
    CorpusError
        If a song has no rating as a whole.
    """
    unrated = [track.id for track in tracks if track.static is None]
    if unrated:
        raise CorpusError(f"song {unrated[0]}: has no rating of the whole song")
    curves = [[getattr(t, target)[t.mask].mean() for target in TARGETS] for t in tracks]
    return {
        CURVE_MEAN: np.array(curves, np.float64),
        SONG_RATING: np.array([track.static for track in tracks], np.float64),
    }


def compare(
    corpus: Corpus,
    features: SongFeatures,
    folds: int,
    n_boot: int = N_BOOT,
    seed: int = SEED,
    progress: bool = True,
) -> SongComparison:
    """Cross-validate all models on all inputs and labels.

    Parameters
    ----------
    corpus : Corpus
        DEAM. Songs without features are left out.
    features : SongFeatures
    folds : int > 1
        No artist is in both training and test. Hyperparameters are chosen within training parts.
    n_boot : int >= 0
        Bootstrap samples of artists; 0: no intervals.
    seed : int
    progress : bool

    Raises
    ------
    CorpusError
        If a song has no rating as a whole.
    ValueError
        If there are fewer than two folds, or too few artists.
    """
    if folds < 2:
        raise ValueError(f"folds: must be at least 2, not {folds}")
    songs = replace(corpus, tracks=features.tracks)
    groups = [track.group for track in songs.tracks]
    counts = draw_counts(groups, n_boot, seed)
    inputs = {name: features.joined(arrays) for name, arrays in INPUTS.items()}
    scores, above = {}, {}
    for label, true in song_labels(songs.tracks).items():
        predicted = cross_validate(songs, inputs, true, folds, seed, progress)
        samples = {name: metric_samples(counts, true, rows) for name, rows in predicted.items()}
        # The constant differs from fold to fold. Its r would only tell the folds apart.
        samples[CONSTANT]["r"] = {t: np.full(n_boot + 1, np.nan) for t in TARGETS}
        scores[label] = {name: estimates(rows) for name, rows in samples.items()}
        above[label] = {
            name: estimates(paired_difference(rows, samples[REFERENCE]))
            for name, rows in samples.items()
            if name not in (CONSTANT, REFERENCE)
        }
    return SongComparison(len(groups), len(set(groups)), scores, above, PUBLISHED)


def cross_validate(
    songs: Corpus,
    inputs: Mapping[str, np.ndarray],
    true: np.ndarray,
    folds: int,
    seed: int,
    progress: bool = True,
) -> dict[str, np.ndarray]:
    """Predict every song by models that were not trained on its artist.

    Parameters
    ----------
    songs : Corpus
    inputs : mapping of str to np.ndarray [shape=(songs, D)]
    true : np.ndarray [shape=(songs, 2)]
    folds : int > 1
    seed : int
    progress : bool

    Returns
    -------
    dict of str to np.ndarray [shape=(songs, 2)]
        The constant, then each model with the name of its input, and the mean of the models.
    """
    row = {track.id: i for i, track in enumerate(songs.tracks)}
    group = {track.id: track.group for track in songs.tracks}
    predicted: dict[str, np.ndarray] = {CONSTANT: np.empty_like(true)}
    splits = splits_of(songs, folds, seed)
    for split in tqdm(splits, desc="folds", disable=not progress):
        known = split.train + split.validation
        train, test = ([row[i] for i in ids] for ids in (known, split.test))
        place = {track_id: i for i, track_id in enumerate(known)}
        inner = [
            ([place[i] for i in part], [place[i] for i in held_out])
            for part, held_out in inner_parts(split, group, INNER_FOLDS)
        ]
        predicted[CONSTANT][test] = true[train].mean(axis=0)
        for name, x in inputs.items():
            with threadpool_limits(1, user_api="blas"):
                rows = _fit_and_predict(x[train], true[train], x[test], inner, seed)
            for model, values in rows.items():
                key = f"{model} ({name})"
                predicted.setdefault(key, np.empty_like(true))[test] = values
    return predicted


def _fit_and_predict(
    x_train: np.ndarray,
    y_train: np.ndarray,
    x_test: np.ndarray,
    inner: list[tuple[list[int], list[int]]],
    seed: int,
) -> dict[str, np.ndarray]:
    """Predictions of every model, and their mean."""
    n_inputs = x_train.shape[1]
    models = candidates(n_inputs, min(len(part) for part, _ in inner), seed)
    models[SUPPORT_VECTORS] = _support_vectors(n_inputs)
    predicted = {}
    for name, candidate in models.items():
        model = candidate.estimator
        if candidate.grid:
            search = GridSearchCV(model, candidate.grid, cv=inner, refit=False)
            model.set_params(**search.fit(x_train, y_train).best_params_)
        predicted[name] = model.fit(x_train, y_train).predict(x_test)
    return predicted | {MEAN: np.mean(list(predicted.values()), axis=0)}


def _support_vectors(n_inputs: int) -> Candidate:
    """Support vector regression, one machine a target."""
    machine = make_pipeline(StandardScaler(), MultiOutputRegressor(SVR()))
    prefix = "regressor__multioutputregressor__estimator__"
    return Candidate(
        TransformedTargetRegressor(machine, transformer=StandardScaler()),
        {
            prefix + "C": list(SVR_COSTS),
            prefix + "gamma": [gamma / n_inputs for gamma in SVR_GAMMAS],
        },
    )


def metric_samples(counts: np.ndarray, true: np.ndarray, predicted: np.ndarray) -> MetricSamples:
    """R2, Pearson's r and RMSE of each target in each bootstrap sample.

    Parameters
    ----------
    counts : np.ndarray [shape=(B, N)]
        How often each song was drawn, see `msr_utils.metrics.bootstrap.draw_counts`.
    true, predicted : np.ndarray [shape=(N, 2)]
    """
    n = counts.sum(axis=1, keepdims=True)
    squared_error = counts @ (true - predicted) ** 2 / n
    centred = true - true.mean(axis=0)
    variance = counts @ centred**2 / n - (counts @ centred / n) ** 2
    found = {
        "r2": 1 - squared_error / variance,
        "r": weighted_pearson(counts, true, predicted),
        "rmse": np.sqrt(squared_error),
    }
    return {
        metric: {target: values[:, k] for k, target in enumerate(TARGETS)}
        for metric, values in found.items()
    }


TITLES = {"r2": "R2", "r": metric_title("r"), "rmse": metric_title("rmse")}
"""Metrics as they are written in tables."""


def score_table(comparison: SongComparison, label: str) -> pd.DataFrame:
    """Readable table of one kind of label: models as rows, metrics of each target as columns."""
    rows = {
        name: {
            (target, TITLES[metric]): f"{estimate}"
            for metric, targets in metrics.items()
            for target, estimate in targets.items()
        }
        for name, metrics in comparison.scores[label].items()
    }
    if label == SONG_RATING:
        rows |= {
            name: {(target, TITLES["r2"]): f"{value:.3f}" for target, value in r2.items()}
            for name, r2 in comparison.published.items()
        }
    table = pd.DataFrame.from_dict(rows, orient="index").fillna(MISSING)
    return table[[(target, title) for target in TARGETS for title in TITLES.values()]]


def difference_table(comparison: SongComparison) -> pd.DataFrame:
    """Readable table: R2 of each row minus R2 of `REFERENCE`, by kind of label and target."""
    return pd.DataFrame(
        {
            (label, target): {name: f"{rows[name]['r2'][target]:+.3f}" for name in rows}
            for label, rows in comparison.above.items()
            for target in TARGETS
        }
    )

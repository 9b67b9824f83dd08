"""Scores of models on corpora that they were not trained on."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace

import numpy as np
import pandas as pd

from msr_utils.constants import TARGETS
from msr_utils.corpora.base import Corpus
from msr_utils.evaluation.baselines import ORACLE
from msr_utils.evaluation.tables import pooled_columns
from msr_utils.experiments.transfer import ModelPredictions
from msr_utils.metrics.bootstrap import N_BOOT, SEED, draw_units
from msr_utils.metrics.curves import Curve, Predictions
from msr_utils.metrics.estimate import MISSING, Estimate
from msr_utils.metrics.scores import Scores, evaluate, score

ZERO, TRAINING_MEAN = "zero", "mean of training corpus"
"""Names of the constant baselines in tables."""

MIN_SONGS = 3
"""With fewer songs, the correlation of their means is not computed."""


@dataclass(frozen=True)
class SongMeans(Estimate):
    """Pearson's r of the songs' predicted means with their true means.

    Parameters
    ----------
    n : int
        Songs.
    """

    n: int = 0


@dataclass(frozen=True)
class TransferScores(Scores):
    """Scores of the predictions of one target on a corpus that the model was not trained on.

    Parameters
    ----------
    song_means : SongMeans
        Tells whether the model ranks songs correctly.
    """

    song_means: SongMeans


@dataclass(frozen=True)
class TransferComparison:
    """Scores of models and of baselines that need no audio, on the same songs.

    Parameters
    ----------
    songs : int
    rows : dict of target to model to TransferScores
        Constants first, the song-mean oracle last.
    """

    songs: int
    rows: dict[str, dict[str, TransferScores]]


def constant_predictions(predictions: Predictions, value: float) -> dict[str, Curve]:
    """The same constant for every frame of some songs, beside their labels."""
    return {i: replace(c, predicted=np.full(len(c.true), value)) for i, c in predictions.items()}


def oracle_predictions(predictions: Predictions) -> dict[str, Curve]:
    """The true mean of each song for all of its frames, beside the labels."""
    return {
        i: replace(c, predicted=np.full(len(c.true), c.true.mean())) for i, c in predictions.items()
    }


def label_means(corpus: Corpus | None) -> dict[str, float] | None:
    """Mean label of each target over all frames of a corpus; None without a corpus."""
    if corpus is None:
        return None
    return {
        target: float(np.concatenate([getattr(t, target)[t.mask] for t in corpus.tracks]).mean())
        for target in TARGETS
    }


def song_mean_r(predictions: Predictions, n_boot: int = N_BOOT, seed: int = SEED) -> SongMeans:
    """Pearson's r of the songs' predicted means with their true means.

    Returns
    -------
    SongMeans
        The interval resamples songs. NaN with fewer than `MIN_SONGS` songs, or where the means
        do not vary.
    """
    true, predicted = (
        np.array([getattr(c, name).mean() for c in predictions.values()], float)
        for name in ("true", "predicted")
    )
    n = len(true)
    if n < MIN_SONGS:
        return SongMeans(np.nan, n=n)
    samples = np.array([score(true[d], predicted[d])["r"] for d in draw_units(n, n_boot, seed)])
    return replace(SongMeans.from_samples(score(true, predicted)["r"], samples), n=n)


def evaluate_transfer(
    predictions: Predictions, n_boot: int = N_BOOT, seed: int = SEED
) -> TransferScores:
    """Score the predictions of one target over frames and over means of songs."""
    return TransferScores(
        **vars(evaluate(predictions, n_boot, seed)),
        song_means=song_mean_r(predictions, n_boot, seed),
    )


def compare(
    models: ModelPredictions,
    training_means: Mapping[str, float] | None = None,
    n_boot: int = N_BOOT,
    seed: int = SEED,
) -> TransferComparison:
    """Score models, constants and the song-mean oracle on the tracks that all models predict.

    Parameters
    ----------
    models : mapping of name to target to predictions
    training_means : mapping of target to float, optional
        Mean labels of the training corpus: one more constant.
    n_boot, seed : int
        For the intervals.

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
    rows = {}
    for target in TARGETS:
        predictions = {
            name: {i: curve for i, curve in model[target].items() if i in common}
            for name, model in models.items()
        }
        labelled = next(iter(predictions.values()))  # any model: only the labels are read
        constants = {ZERO: 0.0}
        if training_means is not None:
            constants[TRAINING_MEAN] = training_means[target]
        ordered = {
            **{name: constant_predictions(labelled, value) for name, value in constants.items()},
            **predictions,
            ORACLE: oracle_predictions(labelled),
        }
        rows[target] = {n: evaluate_transfer(p, n_boot, seed) for n, p in ordered.items()}
    return TransferComparison(len(common), rows)


def score_table(comparison: TransferComparison) -> pd.DataFrame:
    """Readable table of all scores."""
    return pd.DataFrame(
        {
            "target": target,
            "model": name,
            # The oracle takes the means from the labels, so its r is 1 and tells nothing.
            "r of song means": MISSING if name == ORACLE else f"{scores.song_means:.2f}",
            **pooled_columns(scores),
            "r per song": f"{scores.per_song['r']}",
        }
        for target, models in comparison.rows.items()
        for name, scores in models.items()
    ).set_index(["target", "model"])


def long_table(comparison: TransferComparison) -> pd.DataFrame:
    """Pooled ``rmse`` and r of song means (``song_r``) as rows, for figures.

    Returns
    -------
    pandas.DataFrame
        ``target, model, metric, value, low, high``.
    """
    return pd.DataFrame(
        {"target": target, "model": name, "metric": metric, **asdict(estimate)}
        for target, models in comparison.rows.items()
        for name, scores in models.items()
        for metric, estimate in (
            ("rmse", scores.pooled["rmse"]),
            *((("song_r", scores.song_means),) if name != ORACLE else ()),
        )
    )

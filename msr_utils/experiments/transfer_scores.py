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
from msr_utils.metrics.bootstrap import draw_units
from msr_utils.metrics.curves import Curve, Predictions
from msr_utils.metrics.estimate import Estimate
from msr_utils.metrics.scores import Scores, evaluate, score

ZERO, TRAINING_MEAN = "zero", "mean of training corpus"

MIN_SONGS = 3
"""Fewer songs have no correlation worth a figure."""


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
    """Scores on a corpus that a model was not trained on.

    Parameters
    ----------
    song_means : SongMeans
    """

    song_means: SongMeans


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


def song_mean_r(predictions: Predictions, n_boot: int = 2000, seed: int = 7) -> SongMeans:
    """Pearson's r of the songs' predicted means with their true means.

    Returns
    -------
    SongMeans
        The interval resamples songs. NaN with fewer than `MIN_SONGS` songs, or where means do
        not vary.
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


def _scored(predictions: Predictions, n_boot: int, seed: int) -> TransferScores:
    return TransferScores(
        **vars(evaluate(predictions, n_boot, seed)),
        song_means=song_mean_r(predictions, n_boot, seed),
    )


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
        ``songs``; ``rows[target][name]``: `TransferScores`.

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
    rows: dict[str, dict[str, TransferScores]] = {}
    for target in TARGETS:
        own = {n: {i: c for i, c in m[target].items() if i in common} for n, m in models.items()}
        mean = training_means[target] if training_means else None
        plain = plain_predictions(next(iter(own.values())), mean)
        oracle = {ORACLE: plain.pop(ORACLE)}
        rows[target] = {
            name: _scored(predictions, n_boot, seed)
            for name, predictions in {**plain, **own, **oracle}.items()
        }
    return {"songs": len(common), "rows": rows}


def score_table(result: dict) -> pd.DataFrame:
    """What `scores` found, for display."""
    rows = []
    for target, models in result["rows"].items():
        for name, one in models.items():
            # The oracle reads the means off the labels: its correlation is 1 and says nothing.
            means = one.song_means if name != ORACLE else Estimate(np.nan)
            rows.append(
                {
                    "target": target,
                    "model": name,
                    "r of song means": f"{means:.2f}",
                    **pooled_columns(one),
                    "r in a song": f"{one.per_song['r']}",
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
        {"target": target, "model": name, "metric": metric, **asdict(values)}
        for target, models in result["rows"].items()
        for name, one in models.items()
        for metric, values in (
            ("rmse", one.pooled["rmse"]),
            *((("song_r", one.song_means),) if name != ORACLE else ()),
        )
    )

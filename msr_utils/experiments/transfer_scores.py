"""Scores of models on corpora that they were not trained on."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np
import pandas as pd

from msr_utils.constants import TARGETS
from msr_utils.corpora.base import Corpus
from msr_utils.evaluation.baselines import ORACLE
from msr_utils.metrics.curves import Curve, Predictions
from msr_utils.metrics.scores import METRICS, evaluate, score

ZERO, TRAINING_MEAN = "zero", "mean of training corpus"

MIN_SONGS = 3
"""Fewer songs have no correlation worth a figure."""


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
        ``songs``; ``rows[target][name]`` as `msr_utils.metrics.scores.evaluate` gives, with
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

"""Scores of clip models, with intervals by group."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pandas as pd

from msr_utils.corpora.base import Corpus
from msr_utils.corpora.emotify import EMOTIONS, reliability
from msr_utils.experiments.clip_models import (
    CONSTANT,
    LOGMEL,
    MEAN,
    SIGNS,
    ClipPredictions,
)
from msr_utils.metrics.reliability import CEILING


def evaluate(predicted: ClipPredictions, n_boot: int = 2000, seed: int = 7) -> dict:
    """Score predictions, with 95 % intervals from resampling groups.

    Where one artist has several clips they are drawn together: their errors are alike.

    Parameters
    ----------
    predicted : Predicted
    n_boot : int >= 0
        Bootstrap samples; 0: no intervals.
    seed : int

    Returns
    -------
    dict
        ``clips, groups``; ``scores[model][metric][target]`` and ``above_logmel[metric][target]``
        (the mean of the models minus ridge on log-mel, clip by clip): ``value, low, high``.
        Emotions: ``r`` (Pearson) and ``rmse``, each with a target ``mean``. Quadrants: ``auc``
        of valence and of arousal, ``accuracy`` of the quadrant. The constant ranks nothing:
        its r and AUC, which would only tell fold from fold, are NaN.
    """
    names, member = np.unique(predicted.groups, return_inverse=True)
    drawn = np.random.default_rng(seed).multinomial(
        len(names), np.full(len(names), 1 / len(names)), size=n_boot
    )
    # How often each clip counts: once, then in each sample.
    counts = np.concatenate([np.ones((1, len(names))), drawn])[:, member]
    of = _score_emotions if predicted.labels == "gems" else _score_quadrants
    samples = {
        name: of(counts, predicted.true, scores) for name, scores in predicted.scores.items()
    }
    for metric in {"r", "auc"} & set(samples[CONSTANT]):
        for target in samples[CONSTANT][metric]:
            samples[CONSTANT][metric][target] = np.full(n_boot + 1, np.nan)
    difference = {
        metric: {t: samples[MEAN][metric][t] - samples[LOGMEL][metric][t] for t in targets}
        for metric, targets in samples[MEAN].items()
    }
    return {
        "clips": len(member),
        "groups": len(names),
        "scores": {name: _summary(own) for name, own in samples.items()},
        "above_logmel": _summary(difference),
    }


Samples = dict[str, dict[str, np.ndarray]]
"""Metric to target to its values, (1 + n_boot,): first of the clips as they are."""


def _summary(samples: Samples) -> dict:
    """Value and interval of each metric and target."""
    result: dict = {}
    for metric, targets in samples.items():
        result[metric] = {}
        for target, values in targets.items():
            known = values[1:][np.isfinite(values[1:])]
            low, high = np.quantile(known, [0.025, 0.975]) if len(known) else (np.nan, np.nan)
            result[metric][target] = {"value": float(values[0]), "low": low, "high": high}
    return result


def _score_emotions(counts: np.ndarray, true: np.ndarray, scores: np.ndarray) -> Samples:
    """Pearson r and RMSE of each emotion and their means."""
    r = weighted_r(counts, true, scores)
    rmse = np.sqrt(counts @ (true - scores) ** 2 / counts.sum(axis=1, keepdims=True))
    return {
        metric: {name: values[:, k] for k, name in enumerate(EMOTIONS)}
        | {"mean": values.mean(axis=1)}
        for metric, values in (("r", r), ("rmse", rmse))
    }


def _score_quadrants(counts: np.ndarray, true: np.ndarray, scores: np.ndarray) -> Samples:
    """AUC of the signs of valence and arousal, and how often the quadrant is right."""
    corners = np.array([(v, a, v * a) for v, a in SIGNS.values()])
    right = (scores @ corners.T).argmax(axis=1) == (true @ corners.T).argmax(axis=1)
    return {
        "auc": {
            name: weighted_auc(counts, true[:, k] > 0, scores[:, k])
            for k, name in enumerate(("valence", "arousal"))
        },
        "accuracy": {"quadrant": counts @ right / counts.sum(axis=1)},
    }


def weighted_r(counts: np.ndarray, true: np.ndarray, predicted: np.ndarray) -> np.ndarray:
    """Pearson's r of each target in each sample.

    Parameters
    ----------
    counts : np.ndarray [shape=(B, N)]
        How often each clip lies in each sample.
    true, predicted : np.ndarray [shape=(N, K)]

    Returns
    -------
    np.ndarray [shape=(B, K)]
        NaN where one side does not vary.
    """
    # About a common level: else the variance is a small difference of large numbers.
    y, p = true - true.mean(axis=0), predicted - predicted.mean(axis=0)
    n = counts.sum(axis=1, keepdims=True)
    mean_y, mean_p = counts @ y / n, counts @ p / n
    var_y, var_p = counts @ y**2 / n - mean_y**2, counts @ p**2 / n - mean_p**2
    cov = counts @ (y * p) / n - mean_y * mean_p
    varies = (var_y > 1e-12) & (var_p > 1e-12)
    return np.where(varies, cov / np.sqrt(np.where(varies, var_y * var_p, 1)), np.nan)


def weighted_auc(counts: np.ndarray, positive: np.ndarray, scores: np.ndarray) -> np.ndarray:
    """Area under the ROC curve in each sample: how often a positive clip scores above another.

    Parameters
    ----------
    counts : np.ndarray [shape=(B, N)]
    positive : np.ndarray [shape=(N,), dtype=bool]
    scores : np.ndarray [shape=(N,)]
        Ties count half.

    Returns
    -------
    np.ndarray [shape=(B,)]
        NaN where a sample holds one kind only.

    Notes
    -----
    Mann and Whitney (1947), "On a test of whether one of two random variables is
    stochastically larger than the other", Annals of Mathematical Statistics 18(1).
    """
    high, low = scores[positive][:, None], scores[~positive]
    above = (high > low) + 0.5 * (high == low)
    first, second = counts[:, positive], counts[:, ~positive]
    pairs = first.sum(axis=1) * second.sum(axis=1)
    won = ((first @ above) * second).sum(axis=1)
    return np.where(pairs > 0, won / np.maximum(pairs, 1), np.nan)


def ceiling(corpus: Corpus) -> dict[str, float] | None:
    """Best r that any model can reach with each emotion, and their mean.

    None where single answers are not published; see `msr_utils.corpora.emotify.reliability`.
    """
    return reliability(corpus.tracks)["ceiling"].to_dict() if corpus.labels == "gems" else None


def score_table(results: Mapping, best: Mapping[str, float] | None = None) -> pd.DataFrame:
    """What `evaluate` and `ceiling` give, for display: scores as rows, models as columns."""
    table = pd.DataFrame(
        {
            model: {
                (metric, target.replace("_", " ")): _cell(found)
                for metric, targets in metrics.items()
                for target, found in targets.items()
                if metric != "rmse" or target == "mean"
            }
            for model, metrics in results["scores"].items()
        }
    ).rename_axis(["metric", "target"])
    if best:
        reached = {("r", name.replace("_", " ")): f"{value:.3f}" for name, value in best.items()}
        table[CEILING] = pd.Series(reached).reindex(table.index, fill_value="–")
    return table


def difference_table(results: Mapping) -> pd.DataFrame:
    """How far the mean of the models lies above ridge on log-mel, for display."""
    return pd.DataFrame(
        [
            {"metric": metric, "target": target.replace("_", " "), "difference": _cell(found)}
            for metric, targets in results["above_logmel"].items()
            for target, found in targets.items()
        ]
    ).set_index(["metric", "target"])


def _cell(found: Mapping[str, float]) -> str:
    if not np.isfinite(found["value"]):
        return "–"
    return f"{found['value']:.3f} [{found['low']:.3f}, {found['high']:.3f}]"

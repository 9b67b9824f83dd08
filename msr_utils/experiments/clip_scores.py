"""Scores of clip models, with intervals that resample groups."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd

from msr_utils.affect import SIGNS
from msr_utils.corpora.base import Corpus
from msr_utils.corpora.emotify import EMOTIONS, reliability
from msr_utils.experiments.clip_models import CONSTANT, LOGMEL, MEAN, ClipPredictions
from msr_utils.metrics.bootstrap import N_BOOT, SEED, draw_counts
from msr_utils.metrics.correlation import weighted_pearson
from msr_utils.metrics.estimate import MISSING, Estimate
from msr_utils.metrics.quadrants import quadrant_samples
from msr_utils.metrics.reliability import CEILING

MetricEstimates = dict[str, dict[str, Estimate]]
"""Metric to target to its score."""

MetricSamples = dict[str, dict[str, np.ndarray]]
"""Metric to target to its values, (1 + n_boot,): first the data as they are, then the samples."""


@dataclass(frozen=True)
class ClipScores:
    """Scores of every model and baseline.

    Emotions have ``r`` (Pearson) and ``rmse``, each with a target ``mean``. Quadrants have ``auc``
    of valence and of arousal, and ``accuracy`` of the ``quadrant``.

    Parameters
    ----------
    clips, groups : int
    scores : dict of model to metric to target to Estimate
        A constant gives every clip of a fold the same rank, so its r and AUC are NaN.
    above_logmel : dict of metric to target to Estimate
        Paired difference: the mean of the models minus ridge on log-mel.
    """

    clips: int
    groups: int
    scores: dict[str, MetricEstimates]
    above_logmel: MetricEstimates


def evaluate(predicted: ClipPredictions, n_boot: int = N_BOOT, seed: int = SEED) -> ClipScores:
    """Score predictions, with 95 % intervals from resampling groups.

    Clips of one artist are drawn together, because their errors are alike.

    Parameters
    ----------
    predicted : ClipPredictions
    n_boot : int >= 0
        Bootstrap samples; 0: no intervals.
    seed : int
    """
    counts = draw_counts(predicted.groups, n_boot, seed)
    samples = {
        name: metric_samples(predicted.labels, counts, predicted.true, scores)
        for name, scores in predicted.scores.items()
    }
    # The constant differs from fold to fold. Its ranking would only tell the folds apart.
    for metric in {"r", "auc"} & set(samples[CONSTANT]):
        for target in samples[CONSTANT][metric]:
            samples[CONSTANT][metric][target] = np.full(n_boot + 1, np.nan)
    difference = paired_difference(samples[MEAN], samples[LOGMEL])
    return ClipScores(
        clips=len(predicted.groups),
        groups=len(set(predicted.groups)),
        scores={name: estimates(values) for name, values in samples.items()},
        above_logmel=estimates(difference),
    )


def metric_samples(
    labels: str, counts: np.ndarray, true: np.ndarray, scores: np.ndarray
) -> MetricSamples:
    """All metrics of one model on each sample.

    Parameters
    ----------
    labels : str
        "gems" or "quadrants".
    counts : np.ndarray [shape=(1 + n_boot, N)]
        How often each clip was drawn, see `msr_utils.metrics.bootstrap.draw_counts`.
    true, scores : np.ndarray [shape=(N, K)]
        As in `ClipPredictions`.
    """
    metrics = _emotion_metrics if labels == "gems" else _quadrant_metrics
    return metrics(counts, true, scores)


def paired_difference(samples: MetricSamples, others: MetricSamples) -> MetricSamples:
    """Every metric of one model minus that of another on the same samples."""
    return {
        metric: {target: values - others[metric][target] for target, values in targets.items()}
        for metric, targets in samples.items()
    }


def estimates(samples: MetricSamples) -> MetricEstimates:
    """Values with 95 % intervals."""
    return {
        metric: {target: Estimate.of_draws(values) for target, values in targets.items()}
        for metric, targets in samples.items()
    }


def _emotion_metrics(counts: np.ndarray, true: np.ndarray, scores: np.ndarray) -> MetricSamples:
    """Pearson's r and RMSE of each emotion, and their means over the emotions."""
    r = weighted_pearson(counts, true, scores)
    rmse = np.sqrt(counts @ (true - scores) ** 2 / counts.sum(axis=1, keepdims=True))
    return {
        metric: {emotion: values[:, k] for k, emotion in enumerate(EMOTIONS)}
        | {"mean": values.mean(axis=1)}
        for metric, values in (("r", r), ("rmse", rmse))
    }


def _quadrant_metrics(counts: np.ndarray, true: np.ndarray, scores: np.ndarray) -> MetricSamples:
    """AUC of the signs of valence and arousal, and accuracy of the nearest quadrant."""
    corners = np.array([(v, a, v * a) for v, a in SIGNS.values()])
    is_right = (scores @ corners.T).argmax(axis=1) == (true @ corners.T).argmax(axis=1)
    samples = quadrant_samples(counts, true, scores, is_right)
    return {"auc": samples.auc, "accuracy": {"quadrant": samples.accuracy}}


def emotion_ceilings(corpus: Corpus) -> dict[str, float]:
    """Highest r that any model can reach with each emotion, and their ``mean``.

    See `msr_utils.corpora.emotify.reliability`.
    """
    return {str(emotion): float(r) for emotion, r in reliability(corpus.tracks)["ceiling"].items()}


def ceiling(corpus: Corpus) -> dict[str, float] | None:
    """`emotion_ceilings`, or None for quadrants: the answers of single raters are not published."""
    return emotion_ceilings(corpus) if corpus.labels == "gems" else None


def score_table(scores: ClipScores, ceilings: Mapping[str, float] | None = None) -> pd.DataFrame:
    """Readable table: metrics and targets as rows, models and the `ceiling` as columns."""
    return estimate_table(scores.scores, ceilings)


def estimate_table(
    scores: Mapping[str, MetricEstimates], ceilings: Mapping[str, float] | None = None
) -> pd.DataFrame:
    """As `score_table`, of estimates by model."""
    table = pd.DataFrame(
        {
            model: {
                (metric, _title(target)): f"{estimate}"
                for metric, targets in metrics.items()
                for target, estimate in targets.items()
                if metric != "rmse" or target == "mean"
            }
            for model, metrics in scores.items()
        }
    ).rename_axis(["metric", "target"])
    if ceilings:
        cells = {("r", _title(target)): f"{Estimate(r)}" for target, r in ceilings.items()}
        table[CEILING] = pd.Series(cells).reindex(table.index, fill_value=MISSING)
    return table


def difference_table(scores: ClipScores) -> pd.DataFrame:
    """Readable table: how far the mean of the models lies above ridge on log-mel."""
    return pd.DataFrame(
        [
            {"metric": metric, "target": _title(target), "difference": f"{estimate}"}
            for metric, targets in scores.above_logmel.items()
            for target, estimate in targets.items()
        ]
    ).set_index(["metric", "target"])


def _title(target: str) -> str:
    return target.replace("_", " ")

"""Scores of the released models."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from threadpoolctl import threadpool_limits

from msr_utils.constants import FRAME_RATE_HZ, TARGETS
from msr_utils.corpora.base import Corpus, CorpusError
from msr_utils.experiments.release.intervals import COVERAGE, margin, share_covered
from msr_utils.experiments.release.least_squares import LOSS_WEIGHTS, LossWeights
from msr_utils.experiments.release.trainer import Released
from msr_utils.experiments.transfer import bundle_predictions, was_trained_on
from msr_utils.experiments.transfer_scores import TransferComparison, compare
from msr_utils.inference.model import Model
from msr_utils.metrics.bootstrap import N_BOOT, SEED, draw_counts
from msr_utils.metrics.estimate import MISSING, Estimate
from msr_utils.metrics.quadrants import quadrant_samples
from msr_utils.metrics.scores import Scores, evaluate, metric_title

ClipEstimates = dict[str, Estimate]
"""``auc_valence``, ``auc_arousal`` and ``accuracy`` of the quadrant."""


@dataclass(frozen=True, kw_only=True)
class Results:
    """Scores of a released model or of another program.

    Parameters
    ----------
    curves : dict of corpus to target to Scores
    quadrants : dict of corpus to ClipEstimates
    """

    curves: dict[str, dict[str, Scores]]
    quadrants: dict[str, ClipEstimates]


@dataclass(frozen=True)
class Coverage:
    """Coverage of the intervals of curves, measured on folds that did not fit them.

    Parameters
    ----------
    wanted : float
    reached : dict of target to corpus to float
        Share of frames inside the interval; each track counts the same.
    """

    wanted: float
    reached: dict[str, dict[str, float]]


@dataclass(frozen=True, kw_only=True)
class Report(Results):
    """Cross-validated scores of a released model.

    Parameters
    ----------
    coverage : Coverage
    margins : dict of target to float
        Half-widths of the intervals.
    setting : LossWeights
        Of the released model.
    chosen : list of LossWeights
        Of the model of each fold.
    tried : int
        Number of weights to choose from.
    """

    coverage: Coverage
    margins: dict[str, float]
    setting: LossWeights
    chosen: list[LossWeights]
    tried: int


@dataclass(frozen=True)
class UnseenScores(TransferComparison):
    """Scores of bundles on a corpus that none of them was trained on.

    Parameters
    ----------
    coverage : dict of bundle to target to float
        Share of frames inside the bundle's intervals.
    """

    coverage: dict[str, dict[str, float]]


def coverage(released: Released) -> Coverage:
    """Measure the coverage on each fold with the intervals that the other folds give."""
    corpora, folds = released.trainer.curve_corpora, range(released.trainer.folds)
    reached = {}
    for target in TARGETS:
        curves = [
            (title, fold, curve)
            for title in corpora
            for fold, curve in zip(
                released.trainer.data[title].fold[released.trainer.data[title].tested],
                released.held_out.curves[title][target].values(),
                strict=True,
            )
        ]
        margins = [margin([c for _, fold, c in curves if fold != k]) for k in folds]
        reached[target] = {
            title: float(
                np.mean([share_covered(c, margins[k]) for other, k, c in curves if other == title])
            )
            for title in corpora
        }
    return Coverage(COVERAGE, reached)


def score_clips(
    groups: Sequence[str],
    true: np.ndarray,
    predicted: np.ndarray,
    n_boot: int = N_BOOT,
    seed: int = SEED,
) -> ClipEstimates:
    """AUC of valence and arousal and accuracy of the quadrant, with 95 % intervals by group.

    Parameters
    ----------
    groups : sequence of str
        Artists. All clips of an artist are drawn together.
    true, predicted : np.ndarray [shape=(N, 2)]
        (valence, arousal). Of `true`, only the signs count.
    n_boot, seed : int
    """
    found = quadrant_samples(draw_counts(groups, n_boot, seed), true, predicted)
    samples = {f"auc_{target}": values for target, values in found.auc.items()}
    samples["accuracy"] = found.accuracy
    return {name: Estimate.of_draws(v) for name, v in samples.items()}


def clip_metric_title(metric: str) -> str:
    """How a metric of `score_clips` is written in tables and texts, such as "AUC of valence"."""
    name, _, target = metric.partition("_")
    return f"{metric_title(name)} of {target}" if target else metric_title(name)


def report(released: Released, n_boot: int = N_BOOT, seed: int = SEED) -> Report:
    """Score every track by a model that was not trained on its group."""
    trainer, held_out = released.trainer, released.held_out
    return Report(
        curves={
            title: {target: evaluate(curves[target], n_boot, seed) for target in TARGETS}
            for title, curves in held_out.curves.items()
        },
        quadrants={
            title: _score_quadrants(released, title, n_boot, seed)
            for title, kind in trainer.label_kinds.items()
            if kind == "quadrants"
        },
        coverage=coverage(released),
        margins=released.margins,
        setting=released.weights,
        chosen=released.fold_weights,
        tried=len(LOSS_WEIGHTS),
    )


def _score_quadrants(released: Released, title: str, n_boot: int, seed: int) -> ClipEstimates:
    data = released.trainer.data[title]
    groups = [data.corpus.tracks[i].group for i in data.tested]
    true = np.concatenate([data.labels[i] for i in data.tested])
    return score_clips(groups, true, released.held_out.clips[title], n_boot, seed)


def score_unseen_corpus(
    models: Sequence[Model], corpus: Corpus, n_boot: int = N_BOOT, seed: int = SEED
) -> UnseenScores:
    """Test bundles on a corpus with curves that none of them was trained on.

    Raises
    ------
    CorpusError
        If a bundle was trained on the corpus.
    """
    predictions = {}
    for model in models:
        if was_trained_on(model, corpus):
            raise CorpusError(f"bundle {model.name}: was trained on {corpus.card.title}")
        predictions[model.name] = bundle_predictions(model, corpus.tracks, progress=False)
    return UnseenScores(
        **vars(compare(predictions, None, n_boot, seed)),
        coverage={
            model.name: {
                target: float(
                    np.mean([share_covered(c, model.margins[target]) for c in curves.values()])
                )
                for target, curves in predictions[model.name].items()
            }
            for model in models
            if model.margins
        },
    )


def realtime_factor(model: Model, path: Path, repeats: int = 3) -> float:
    """Seconds of audio per second on one thread, decoding included; the best of some repeats."""
    seconds, audio_s = [], 0.0
    with threadpool_limits(1, user_api="blas"):
        for _ in range(repeats):
            start = time.perf_counter()
            audio_s = len(model.predict(path, overlap=False).times_s) / FRAME_RATE_HZ
            seconds.append(time.perf_counter() - start)
    return audio_s / min(seconds)


def score_table(results: Mapping[str, Results]) -> pd.DataFrame:
    """Readable table of `report` and `msr_utils.experiments.release.peers.peer_scores`.

    Corpora and metrics are rows, bundles and peers are columns.
    """
    rows = []
    for name, result in results.items():
        scores = {
            ("quadrants", clip_metric_title(metric)): estimate
            for estimates in result.quadrants.values()
            for metric, estimate in estimates.items()
        } | {
            (corpus, f"{metric_title(metric)} of {target}"): of_target.pooled[metric]
            for corpus, targets in result.curves.items()
            for target, of_target in targets.items()
            for metric in ("rmse", "r")
        }
        rows += [
            {"corpus": corpus, "metric": metric, "bundle": name, "score": f"{estimate}"}
            for (corpus, metric), estimate in scores.items()
        ]
    table = pd.DataFrame(rows).pivot(index=["corpus", "metric"], columns="bundle", values="score")
    return table[list(results)].fillna(MISSING)

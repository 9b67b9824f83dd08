"""Scores of the released models."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pandas as pd
from threadpoolctl import threadpool_limits

from msr_utils.constants import TARGETS
from msr_utils.corpora.base import Corpus, CorpusError
from msr_utils.experiments.clip_scores import weighted_auc
from msr_utils.experiments.release.intervals import COVERAGE, covered, margin
from msr_utils.experiments.release.least_squares import LOSS_WEIGHTS
from msr_utils.experiments.release.trainer import Released, _curves
from msr_utils.experiments.transfer import bundle_predictions, was_trained_on
from msr_utils.experiments.transfer_scores import scores
from msr_utils.inference.model import Model
from msr_utils.metrics.curves import Curve
from msr_utils.metrics.scores import evaluate


def coverage(released: Released) -> dict[str, dict[str, float]]:
    """Share of a curve's frames within the interval, tracks weighing the same.

    Returns
    -------
    dict
        Target to corpus of curves to the share: intervals are made of the folds that are not
        tested.
    """
    found: dict[str, dict[str, float]] = {target: {} for target in TARGETS}
    for target in TARGETS:
        parts = [
            (name, fold, curve)
            for name in _curves(released.trainer)
            for fold, curve in _by_fold(released, name, target)
        ]
        widths = {
            k: margin([c for _, fold, c in parts if fold != k])
            for k in range(released.trainer.folds)
        }
        for name in _curves(released.trainer):
            found[target][name] = float(
                np.mean([covered(c, widths[k]) for own, k, c in parts if own == name])
            )
    return found


def _by_fold(released: Released, name: str, target: str) -> list[tuple[int, Curve]]:
    m = released.trainer.materials[name]
    fold = {t.id: int(k) for t, k in zip(m.corpus.tracks, m.part, strict=True)}
    return [(fold[i], curve) for i, curve in released.tested[name][target].items()]


def score_clips(
    groups: Sequence[str],
    true: np.ndarray,
    said: np.ndarray,
    n_boot: int = 2000,
    seed: int = 7,
) -> dict[str, dict[str, float]]:
    """AUC of valence and arousal and accuracy of the quadrant, with 95 % intervals by group.

    Parameters
    ----------
    groups : sequence of str
        Artists, drawn as a whole.
    true, said : np.ndarray [shape=(N, 2)]
        The signs of (valence, arousal) count.
    n_boot, seed : int

    Returns
    -------
    dict
        ``auc_valence, auc_arousal, accuracy`` to ``value, low, high``.
    """
    names, member = np.unique(list(groups), return_inverse=True)
    drawn = np.random.default_rng(seed).multinomial(
        len(names), np.full(len(names), 1 / len(names)), size=n_boot
    )
    counts = np.concatenate([np.ones((1, len(names))), drawn])[:, member]
    right = ((true > 0) == (said > 0)).all(axis=1)
    samples = {
        f"auc_{target}": weighted_auc(counts, true[:, k] > 0, said[:, k])
        for k, target in enumerate(TARGETS)
    } | {"accuracy": counts @ right / counts.sum(axis=1)}
    return {
        name: dict(
            zip(
                ("value", "low", "high"),
                [float(v[0]), *np.nanquantile(v[1:], [0.025, 0.975]).tolist()]
                if n_boot
                else [float(v[0]), np.nan, np.nan],
                strict=True,
            )
        )
        for name, v in samples.items()
    }


def report(released: Released, n_boot: int = 2000, seed: int = 7) -> dict:
    """Scores of every track by a map that did not see its group.

    Returns
    -------
    dict
        ``curves[corpus][target]`` as `msr_utils.metrics.scores.evaluate`, ``quadrants[corpus]`` as
        `score_clips`; ``coverage``, ``margins``, ``setting``, ``chosen``, ``tried``.
    """
    trainer = released.trainer
    quadrants = {}
    for name, kind in trainer.kinds.items():
        if kind != "quadrants":
            continue
        m = trainer.materials[name]
        at = np.flatnonzero(m.part >= 0)
        groups = [m.corpus.tracks[i].group for i in at]
        true = np.concatenate([m.labels[i] for i in at])
        quadrants[name] = score_clips(groups, true, released.tested[name], n_boot, seed)
    return {
        "curves": {
            name: {t: evaluate(released.tested[name][t], n_boot, seed) for t in TARGETS}
            for name in _curves(trainer)
        },
        "quadrants": quadrants,
        "coverage": {"wanted": COVERAGE, "reached": coverage(released)},
        "margins": released.margins,
        "setting": vars(released.setting),
        "chosen": [vars(setting) for setting in released.chosen],
        "tried": len(LOSS_WEIGHTS),
    }


def score_unseen_corpus(
    models: Sequence[Model], corpus: Corpus, n_boot: int = 2000, seed: int = 7
) -> dict[str, dict]:
    """Test bundles on a corpus with curves that none of them was trained on.

    Returns
    -------
    dict
        As `msr_utils.experiments.transfer_scores.scores`, and ``coverage[model][target]``, the share of frames
        within the bundle's intervals.

    Raises
    ------
    CorpusError
        If a bundle was trained on it.
    """
    said = {}
    for model in models:
        if was_trained_on(model, corpus):
            raise CorpusError(f"bundle {model.name}: was trained on {corpus.card.title}")
        said[model.name] = bundle_predictions(model, corpus.tracks, progress=False)
    result = scores(said, None, n_boot, seed)
    result["coverage"] = {
        model.name: {
            target: float(
                np.mean(
                    [covered(c, model.margins[target]) for c in said[model.name][target].values()]
                )
            )
            for target in TARGETS
        }
        for model in models
        if model.margins
    }
    return result


def realtime_factor(model: Model, path: Path, repeats: int = 3) -> float:
    """Seconds of audio a second on one thread, decoding included; the best of some repeats."""
    seconds, length = [], 0.0
    with threadpool_limits(1, user_api="blas"):
        for _ in range(repeats):
            start = time.perf_counter()
            length = len(model.predict(path).times_s) / 2
            seconds.append(time.perf_counter() - start)
    return length / min(seconds)


def score_table(results: Mapping[str, dict]) -> pd.DataFrame:
    """Scores of `report` and `peer_scores` by bundle, for display."""
    rows = []
    for name, result in results.items():
        found = {
            ("quadrants", m): v for own in result["quadrants"].values() for m, v in own.items()
        } | {
            (corpus, f"{metric} of {target}"): asdict(one.pooled[metric])
            for corpus, targets in result["curves"].items()
            for target, one in targets.items()
            for metric in ("rmse", "r")
        }
        rows += [
            {
                "corpus": corpus,
                "metric": metric.replace("_", " of "),
                "bundle": name,
                "score": f"{v['value']:.3f} [{v['low']:.3f}, {v['high']:.3f}]",
            }
            for (corpus, metric), v in found.items()
        ]
    table = pd.DataFrame(rows).pivot(index=["corpus", "metric"], columns="bundle", values="score")
    return table[list(results)].fillna("–")

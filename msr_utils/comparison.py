"""Trivial baselines and the human ceiling, and tables that set models beside them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd

from msr_utils.audit import ceiling
from msr_utils.constants import TARGETS
from msr_utils.corpora.base import Corpus
from msr_utils.dataset import Sequence2Hz, Split, collect, inner_parts
from msr_utils.metrics import METRICS, Curve, Predictions, evaluate
from msr_utils.models import baselines

CEILING = "raters' ceiling"
ORACLE = "song-mean oracle"
MODEL = "this model"


def baseline_predictions(
    sequences: Sequence[Sequence2Hz], splits: Sequence[Split], target: str, inner_folds: int = 1
) -> dict[str, dict[str, Curve]]:
    """Predict the test tracks of every split with each baseline.

    Returns
    -------
    dict of str to dict of str to Curve
        Baseline name to predictions: "constant", "mean trajectory", "ridge" and the oracle.
    """
    by_id = {s.id: s for s in sequences}
    results: dict[str, dict[str, Curve]] = {"constant": {}, "mean trajectory": {}}
    results["ridge"] = ridge_predictions(sequences, splits, target, inner_folds)
    results[ORACLE] = {}
    for split in splits:
        known = [by_id[i] for i in split.train + split.validation]
        test = [by_id[i] for i in split.test]
        curves = {
            "constant": baselines.constant(known, test, target),
            "mean trajectory": baselines.mean_trajectory(known, test, target),
            ORACLE: baselines.song_mean_oracle(test, target),
        }
        for name, predicted in curves.items():
            results[name].update(collect(test, predicted, target))
    return results


def ridge_predictions(
    sequences: Sequence[Sequence2Hz], splits: Sequence[Split], target: str, inner_folds: int = 1
) -> dict[str, Curve]:
    """Predict the test tracks of every split with ridge regression.

    Its penalty is chosen where the networks' training is stopped, see `inner_parts`.
    """
    by_id = {s.id: s for s in sequences}
    group = {s.id: s.group for s in sequences}
    curves: dict[str, Curve] = {}
    for split in splits:
        parts = [
            ([by_id[i] for i in train], [by_id[i] for i in held])
            for train, held in inner_parts(split, group, inner_folds)
        ]
        test = [by_id[i] for i in split.test]
        curves |= collect(test, baselines.ridge(parts, test, target), target)
    return curves


def compare(
    corpus: Corpus,
    models: Mapping[str, Mapping[str, Predictions]],
    baseline: Mapping[str, Mapping[str, Predictions]],
    n_boot: int = 2000,
    seed: int = 7,
) -> dict:
    """Score everything on the same frames, models beside baselines and the ceiling.

    Parameters
    ----------
    corpus : Corpus
        For the ceiling.
    models : mapping of target to name to predictions
        One target or both.
    baseline : mapping of target to name to predictions
        From `baseline_predictions`, of the same targets.
    n_boot, seed : int
        As in `evaluate`.

    Returns
    -------
    dict
        ``rows[target][name]`` as `evaluate` gives, ``ceiling[target]``.

    Raises
    ------
    ValueError
        If two rows are not about the same tracks and frames.
    """
    rows: dict[str, dict] = {}
    targets = [target for target in TARGETS if target in models]
    for target in targets:
        oracle = {ORACLE: baseline[target][ORACLE]}
        first = {k: v for k, v in baseline[target].items() if k != ORACLE}
        ordered = {**first, **models[target], **oracle}
        reference = next(iter(ordered.values()))
        for name, predictions in ordered.items():
            if {k: len(c.true) for k, c in predictions.items()} != {
                k: len(c.true) for k, c in reference.items()
            }:
                raise ValueError(
                    f"{name}, {target}: predicts other tracks or frames than the baselines; "
                    "run it again with the same corpus, folds and seed"
                )
        rows[target] = {n: evaluate(p, n_boot, seed) for n, p in ordered.items()}
    return {"rows": rows, "ceiling": {t: ceiling(corpus, t) for t in targets}}


def long_table(comparison: dict) -> pd.DataFrame:
    """Pooled scores as rows: ``target, model, metric, value, low, high``; the ceiling last."""
    rows = [
        {"target": target, "model": model, "metric": metric, **result["pooled"][metric]}
        for target, models in comparison["rows"].items()
        for model, result in models.items()
        for metric in METRICS
    ]
    for target, best in comparison["ceiling"].items():
        for metric in ("r", "rmse"):
            rows.append(
                {"target": target, "model": CEILING, "metric": metric, "value": best[metric],
                 "low": np.nan, "high": np.nan}
            )  # fmt: skip
    return pd.DataFrame(rows)


def score_table(comparison: dict) -> pd.DataFrame:
    """Readable table: each score pooled, with its interval, and per song as mean ± sd."""
    rows = []
    for target, models in comparison["rows"].items():
        for model, result in models.items():
            pooled, song = result["pooled"], result["per_song"]
            rows.append(
                {"target": target, "model": model}
                | {_title(m): with_interval(pooled[m]) for m in METRICS}
                | {f"{_title(m)} per song": _spread(song[m]) for m in METRICS}
            )
        best = comparison["ceiling"][target]
        if np.isfinite(best["r"]):
            rows.append(
                {"target": target, "model": CEILING, "RMSE": f"{best['rmse']:.3f}",
                 "r": f"{best['r']:.3f}"}
            )  # fmt: skip
    return pd.DataFrame(rows).fillna("–").set_index(["target", "model"])


def _title(metric: str) -> str:
    return metric if metric == "r" else metric.upper()


def _spread(song: Mapping[str, float]) -> str:
    return f"{song['mean']:.2f} ± {song['sd']:.2f}" if song["n"] else "–"


def with_interval(p: Mapping[str, float], sign: str = "") -> str:
    """A value and its interval as text, a dash where there is none."""
    if not np.isfinite(p["value"]):
        return "–"
    value, low, high = (format(p[key], f"{sign}.3f") for key in ("value", "low", "high"))
    return f"{value} [{low}, {high}]"

"""Tables that set models beside one another."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pandas as pd

from msr_utils.constants import TARGETS
from msr_utils.evaluation.comparison import Comparison
from msr_utils.io import read_json
from msr_utils.metrics.estimate import MISSING, Estimate, Spread
from msr_utils.metrics.reliability import CEILING
from msr_utils.metrics.scores import METRICS, Scores, metric_title


def pooled_columns(scores: Scores, metrics: Iterable[str] = METRICS) -> dict[str, str]:
    """Pooled scores with their intervals as cells of a table, by metric."""
    return {metric_title(m): f"{scores.pooled[m]}" for m in metrics}


def song_columns(scores: Scores, metrics: Iterable[str] = METRICS) -> dict[str, str]:
    """Scores per song, mean ± sd, as cells of a table."""
    return {f"{metric_title(m)} per song": f"{scores.per_song[m]}" for m in metrics}


def long_table(comparison: Comparison) -> pd.DataFrame:
    """Pooled scores as rows: ``target, model, metric, value, low, high``; the ceiling last."""
    rows = [
        {"target": target, "model": model, "metric": metric, **asdict(scores.pooled[metric])}
        for target, models in comparison.rows.items()
        for model, scores in models.items()
        for metric in METRICS
    ]
    rows += [
        {"target": target, "model": CEILING, "metric": metric, **asdict(Estimate(value))}
        for target, best in comparison.ceiling.items()
        for metric, value in (("r", best.r), ("rmse", best.rmse))
    ]
    return pd.DataFrame(rows)


def score_table(comparison: Comparison) -> pd.DataFrame:
    """Readable table: each score pooled, with its interval, and per song as mean ± sd."""
    rows = []
    for target, models in comparison.rows.items():
        rows += [
            {"target": target, "model": model, **pooled_columns(scores), **song_columns(scores)}
            for model, scores in models.items()
        ]
        best = comparison.ceiling[target]
        if np.isfinite(best.r):
            known = {metric_title(m): f"{Estimate(getattr(best, m))}" for m in ("rmse", "r")}
            rows.append({"target": target, "model": CEILING, **known})
    return pd.DataFrame(rows).fillna(MISSING).set_index(["target", "model"])


def difference_table(
    differences: Mapping[str, Mapping[str, Mapping[str, Estimate]]], reference: str
) -> pd.DataFrame:
    """Paired differences from a reference, from `msr_utils.evaluation.runs.differences`."""
    rows = [
        {
            "target": target,
            "model": name,
            **{f"{metric_title(m)} - {reference}": f"{found[m]:+.3f}" for m in ("rmse", "r")},
        }
        for target, others in differences.items()
        for name, found in others.items()
    ]
    return pd.DataFrame(rows).set_index(["target", "model"])


def seed_table(corpus_dir: Path, runs: Mapping[str, str]) -> pd.DataFrame:
    """How far single networks scatter: r and RMSE of each alone, mean ± sd over seeds."""
    rows = []
    for name, prefix in runs.items():
        for target in TARGETS:
            singles = read_json(Path(corpus_dir) / f"{prefix}-{target}" / "metrics.json")["singles"]
            networks = len(singles["r"])
            if networks > 1:
                spread = {
                    f"{metric_title(m)} of one": f"{Spread.of(singles[m]):.3f}"
                    for m in ("rmse", "r")
                }
                rows.append({"model": name, "target": target, "networks": networks, **spread})
    return pd.DataFrame(rows)


def headline_table(
    comparison: Comparison, corpus_dir: Path, runs: Mapping[str, str]
) -> pd.DataFrame:
    """`score_table`, with what each trained model was given: networks, and epochs at most."""
    table = score_table(comparison)
    networks: dict[tuple[str, str], int] = {}
    epochs: dict[tuple[str, str], int | str] = {}
    for name, prefix in runs.items():
        for target in TARGETS:
            metrics = read_json(Path(corpus_dir) / f"{prefix}-{target}" / "metrics.json")
            trained = "epochs" in metrics["cost"]
            networks[target, name] = metrics["seeds"]
            epochs[target, name] = metrics["training"]["epochs"] if trained else "solved"
    table.insert(0, "epochs at most", [epochs.get(row, MISSING) for row in table.index])
    table.insert(0, "networks", [networks.get(row, MISSING) for row in table.index])
    return table


def cost_table(corpus_dir: Path, runs: Mapping[str, str]) -> pd.DataFrame:
    """Parameters, training and inference time of trained runs, one row a model and target."""
    rows = []
    for name, prefix in runs.items():
        for target in TARGETS:
            metrics = read_json(Path(corpus_dir) / f"{prefix}-{target}" / "metrics.json")
            cost = {key.replace("_", " "): value for key, value in metrics["cost"].items()}
            rows.append({"model": name, "target": target, "networks": metrics["seeds"], **cost})
    return pd.DataFrame(rows).set_index(["model", "target"])

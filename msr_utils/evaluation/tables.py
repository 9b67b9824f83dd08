"""Tables that set models beside one another."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pandas as pd

from msr_utils.constants import TARGETS
from msr_utils.evaluation.comparison import CEILING
from msr_utils.io import read_json
from msr_utils.metrics.scores import METRICS


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
                | {metric_title(m): with_interval(pooled[m]) for m in METRICS}
                | {f"{metric_title(m)} per song": mean_and_sd(song[m]) for m in METRICS}
            )
        best = comparison["ceiling"][target]
        if np.isfinite(best["r"]):
            rows.append(
                {"target": target, "model": CEILING, "RMSE": f"{best['rmse']:.3f}",
                 "r": f"{best['r']:.3f}"}
            )  # fmt: skip
    return pd.DataFrame(rows).fillna("–").set_index(["target", "model"])


def metric_title(metric: str) -> str:
    return metric if metric == "r" else metric.upper()


def mean_and_sd(song: Mapping[str, float]) -> str:
    return f"{song['mean']:.2f} ± {song['sd']:.2f}" if song["n"] else "–"


def with_interval(p: Mapping[str, float], sign: str = "") -> str:
    """A value and its interval as text, a dash where there is none."""
    if not np.isfinite(p["value"]):
        return "–"
    value, low, high = (format(p[key], f"{sign}.3f") for key in ("value", "low", "high"))
    return f"{value} [{low}, {high}]"


def difference_table(found: Mapping[str, Mapping[str, Mapping]], reference: str) -> pd.DataFrame:
    """What `differences` found, to display."""
    rows = [
        {
            "target": target,
            "model": name,
            f"RMSE - {reference}": with_interval(d["rmse"], "+"),
            f"r - {reference}": with_interval(d["r"], "+"),
        }
        for target, others in found.items()
        for name, d in others.items()
    ]
    return pd.DataFrame(rows).set_index(["target", "model"])


def seed_table(corpus_dir: Path, runs: Mapping[str, str]) -> pd.DataFrame:
    """How far single networks scatter: r and RMSE of each alone, mean ± sd over seeds."""
    rows = []
    for name, prefix in runs.items():
        for target in TARGETS:
            singles = read_json(Path(corpus_dir) / f"{prefix}-{target}" / "metrics.json")["singles"]
            if len(singles["r"]) > 1:
                spread = {
                    k: f"{np.mean(singles[m]):.3f} ± {np.std(singles[m], ddof=1):.3f}"
                    for k, m in (("RMSE of one", "rmse"), ("r of one", "r"))
                }
                rows.append(
                    {"model": name, "target": target, "networks": len(singles["r"]), **spread}
                )
    return pd.DataFrame(rows)


def headline_table(comparison: dict, corpus_dir: Path, runs: Mapping[str, str]) -> pd.DataFrame:
    """`score_table`, with what each trained model was given: networks, and epochs at most."""
    table = score_table(comparison)
    given = {"networks": {}, "epochs at most": {}}
    for name, prefix in runs.items():
        for target in TARGETS:
            metrics = read_json(Path(corpus_dir) / f"{prefix}-{target}" / "metrics.json")
            epochs = metrics["training"]["epochs"] if "epochs" in metrics["cost"] else "solved"
            given["networks"][target, name] = metrics["seeds"]
            given["epochs at most"][target, name] = epochs
    for column, known in reversed(given.items()):
        table.insert(0, column, [known.get(row, "–") for row in table.index])
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

"""Results of an ablation: read again, and as a table. No network library is needed for that."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from msr_utils.constants import TARGETS
from msr_utils.io import read_json
from msr_utils.metrics.estimate import MISSING, Estimate, Spread
from msr_utils.metrics.reliability import CEILING, Reliability
from msr_utils.metrics.scores import Scores, metric_title
from msr_utils.training.cost import TrainingCost

BASE = "base"
"""Group and name of the variant in which nothing is changed."""


@dataclass(frozen=True)
class VariantResult:
    """Scores of one variant.

    Parameters
    ----------
    group, name : str
        What was changed, and to what.
    settings : dict
        Of the model, its features, excerpts and augmentation.
    test : Scores, optional
        On the test tracks. It and the next two are None if the variant diverged.
    singles : dict of metric to list of float, optional
        Pooled scores of each network alone.
    cost : TrainingCost, optional
    difference : dict of metric to Estimate, optional
        Paired difference from the base. None for the base itself, and if either diverged.
    diverged : str, optional
        How it diverged, in training or on whole tracks.
    """

    group: str
    name: str
    settings: dict[str, Any]
    test: Scores | None = None
    singles: dict[str, list[float]] | None = None
    cost: TrainingCost | None = None
    difference: dict[str, Estimate] | None = None
    diverged: str | None = None

    def to_json(self) -> dict[str, Any]:
        """Without what is None."""
        return {name: value for name, value in vars(self).items() if value is not None}

    @classmethod
    def from_json(cls, stored: Mapping[str, Any]) -> VariantResult:
        """Read what `msr_utils.io.write_json` wrote."""
        test, cost, difference = (stored.get(key) for key in ("test", "cost", "difference"))
        return cls(
            group=stored["group"],
            name=stored["name"],
            settings=stored["settings"],
            test=Scores.from_json(test) if test else None,
            singles=stored.get("singles"),
            cost=TrainingCost(**cost) if cost else None,
            difference={m: Estimate.from_json(d) for m, d in difference.items()}
            if difference
            else None,
            diverged=stored.get("diverged"),
        )


@dataclass(frozen=True)
class AblationResult:
    """Scores of all variants on one target.

    Parameters
    ----------
    target : str
    base : dict
        Settings of the base.
    variants : list of VariantResult
    baselines : dict of str to Scores
    """

    target: str
    base: dict[str, Any]
    variants: list[VariantResult]
    baselines: dict[str, Scores]

    @classmethod
    def from_json(cls, stored: Mapping[str, Any]) -> AblationResult:
        """Read what `msr_utils.io.write_json` wrote, among other keys or alone."""
        return cls(
            target=stored["target"],
            base=stored["base"],
            variants=[VariantResult.from_json(row) for row in stored["variants"]],
            baselines={n: Scores.from_json(row) for n, row in stored["baselines"].items()},
        )


def load_results(corpus_dir: Path) -> list[AblationResult]:
    """Results of the ablations of a corpus, one for each target whose ablation was run.

    Parameters
    ----------
    corpus_dir : Path
        ``reports/<edition>/<corpus>``.
    """
    paths = [Path(corpus_dir) / f"ablation-{target}" / "metrics.json" for target in TARGETS]
    return [AblationResult.from_json(read_json(path)) for path in paths if path.is_file()]


def ablation_table(result: AblationResult, ceiling: Reliability) -> pd.DataFrame:
    """Scores, spread over networks and differences from the base, for display."""
    rows = [_variant_row(variant) for variant in result.variants]
    rows += [
        {"varied": "baseline", "to": name, **_score_cells(scores)}
        for name, scores in result.baselines.items()
    ]
    if np.isfinite(ceiling.r):
        best = {metric_title(m): f"{getattr(ceiling, m):.3f}" for m in ("rmse", "r")}
        rows.append({"varied": "raters", "to": CEILING, **best})
    return pd.DataFrame(rows).fillna(MISSING).set_index(["varied", "to"])


def _variant_row(result: VariantResult) -> dict[str, str]:
    row = {"varied": result.group, "to": result.name}
    if result.test is None or result.singles is None or result.cost is None:
        return row | {"RMSE": "diverged"}
    row |= _score_cells(result.test)
    row["r of single networks"] = f"{Spread.of(result.singles['r']):.3f}"
    row["parameters"] = f"{result.cost.parameters:,}"
    row["s per epoch"] = f"{result.cost.seconds_per_epoch:.1f}"
    for metric in ("rmse", "r"):
        if result.difference is not None:
            row[f"{metric_title(metric)} - base"] = f"{result.difference[metric]:+.3f}"
    return row


def _score_cells(scores: Scores) -> dict[str, str]:
    """Pooled scores without their intervals, and r per song."""
    cells = {metric_title(m): f"{Estimate(scores.pooled[m].value)}" for m in ("rmse", "r")}
    return cells | {"r per song": f"{scores.per_song['r']}"}

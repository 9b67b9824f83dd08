"""A model beside other methods, scored on the same units: intervals and paired differences."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import pandas as pd

from msr_utils.metrics.bootstrap import draw_units
from msr_utils.metrics.estimate import Estimate

MethodScores = dict[str, dict[str, Estimate]]
"""Method to metric to its score."""


class HasRows(Protocol):
    """Results with a row for each method."""

    @property
    def model(self) -> str:
        """The row that is compared with all others."""

    @property
    def scores(self) -> MethodScores:
        """Of every method."""

    @property
    def above(self) -> MethodScores:
        """The model minus each other method, on the same samples."""


@dataclass(frozen=True)
class PairedScores:
    """Scores of methods, and paired differences.

    Parameters
    ----------
    scores : dict of method to metric to Estimate
    above : dict of method to metric to Estimate
        The model minus the method, on the same samples of units.
    """

    scores: MethodScores
    above: MethodScores


def mean_samples(
    values: Mapping[str, np.ndarray],
    n_boot: int,
    seed: int,
    mean: Callable[..., np.ndarray] = np.mean,
) -> dict[str, np.ndarray]:
    """Means over units: first of the data as they are, then of bootstrap samples of the units.

    Parameters
    ----------
    values : mapping of method to np.ndarray [shape=(N, M)]
        Of each unit and metric.
    n_boot, seed : int
    mean : callable
        ``np.mean``, or ``np.nanmean`` if units without a value are left out.

    Returns
    -------
    dict of method to np.ndarray [shape=(1 + n_boot, M)]
    """
    n = len(next(iter(values.values())))
    draws = np.concatenate([np.arange(n)[None], draw_units(n, n_boot, seed)])
    return {name: mean(of_units[draws], axis=1) for name, of_units in values.items()}


def paired_scores(
    samples: Mapping[str, np.ndarray], model: str, metrics: Sequence[str]
) -> PairedScores:
    """Scores with 95 % intervals, and differences on the same samples.

    Parameters
    ----------
    samples : mapping of method to np.ndarray [shape=(1 + n_boot, M)]
        First the data as they are, then the samples.
    model : str
        The method that is compared with all others.
    metrics : sequence of str
        Their M names.
    """

    def estimates(of_method: np.ndarray) -> dict[str, Estimate]:
        return {
            metric: Estimate.of_draws(draws)
            for metric, draws in zip(metrics, of_method.T, strict=True)
        }

    return PairedScores(
        scores={name: estimates(own) for name, own in samples.items()},
        above={
            name: estimates(samples[model] - own) for name, own in samples.items() if name != model
        },
    )


def paired_table(result: HasRows, formats: Mapping[str, str]) -> pd.DataFrame:
    """Readable table: every row's scores, and how far the model lies above it.

    Parameters
    ----------
    result : HasRows
    formats : mapping of metric to format
        Of numbers, such as ".3f".
    """
    rows = {}
    for name in [result.model, *result.above]:
        cells = {}
        for metric, spec in formats.items():
            difference = result.above.get(name, {}).get(metric, Estimate(float("nan")))
            cells[metric] = format(result.scores[name][metric], spec)
            cells[f"{result.model} − row: {metric}"] = format(difference, f"+{spec}")
        rows[name] = cells
    return pd.DataFrame(rows).T

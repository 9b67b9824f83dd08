"""Scores of audio, of text and of their fusion, with paired differences."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
import pandas as pd

from msr_utils.metrics.bootstrap import counts_of
from msr_utils.metrics.correlation import auc, pearson, weighted_auc
from msr_utils.metrics.estimate import Estimate
from msr_utils.metrics.reliability import CEILING

AUDIO, CONSTANT, CONTROL = "audio", "constant", "text of another track"
"""Names of inputs in tables. The constant input makes a probe predict its training mean. The
control gives each track the text of a random other track."""


@dataclass(frozen=True)
class FusionScore(Estimate):
    """Score of a text or of a fusion, and how much it exceeds the score of audio alone.

    Parameters
    ----------
    minus_audio : Estimate
        Paired difference: both are scored on the same bootstrap samples.
    """

    minus_audio: Estimate = field(kw_only=True)


@dataclass(frozen=True)
class TextComparison:
    """Scores of audio, of text and of both together.

    Parameters
    ----------
    metric : str
        "auc" for quadrants, else "r".
    tracks, groups : int
        Tracks that were tested, and groups of the corpus.
    scores : dict of target to input to Estimate
        With audio, every other input has a `FusionScore`.
    ceiling : dict of target to float
        Highest r that the raters' disagreement allows; see
        `msr_utils.experiments.text_features.ceilings`.
    """

    metric: str
    tracks: int
    groups: int
    scores: dict[str, dict[str, Estimate]]
    ceiling: dict[str, float]


def score_inputs(
    y: np.ndarray, predicted: Mapping[str, np.ndarray], samples: np.ndarray
) -> dict[str, Estimate]:
    """Score the predictions from each input; AUC for booleans, else Pearson's r.

    Parameters
    ----------
    y : np.ndarray [shape=(N,)]
    predicted : mapping of input to np.ndarray [shape=(N,)]
    samples : np.ndarray [shape=(B, N), dtype=int]
        Tracks of each bootstrap sample.
    """
    p = np.stack(list(predicted.values()))
    if y.dtype == bool:
        counts = counts_of(samples)
        value = np.array([auc(y, row) for row in p])
        boot = np.stack([weighted_auc(counts, y, row) for row in p], axis=1)
    else:
        value = pearson(p, y)
        boot = np.stack([pearson(p[:, sample], y[sample]) for sample in samples])
    names = list(predicted)
    estimates = {n: Estimate.from_samples(value[i], boot[:, i]) for i, n in enumerate(names)}
    if AUDIO not in predicted:
        return estimates
    k = names.index(AUDIO)
    return {
        name: score
        if name == AUDIO
        else FusionScore(
            **vars(score),
            minus_audio=Estimate.from_samples(value[i] - value[k], boot[:, i] - boot[:, k]),
        )
        for i, (name, score) in enumerate(estimates.items())
    }


def score_table(comparison: TextComparison) -> pd.DataFrame:
    """Readable table: an input a row, a target a column, with the differences from audio."""
    columns: dict[str, dict[str, str]] = {}
    for target, scores in comparison.scores.items():
        cells = {name: f"{score}" for name, score in scores.items()}
        if target in comparison.ceiling:
            cells[CEILING] = f"{Estimate(comparison.ceiling[target])}"
        columns[f"{target}, {comparison.metric}"] = cells
        differences = {
            name: f"{score.minus_audio:+.3f}"
            for name, score in scores.items()
            if isinstance(score, FusionScore)
        }
        if differences:
            columns[f"{target}, minus audio"] = differences
    return pd.DataFrame(columns).fillna("")

"""The whole error analysis of one run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd

from msr_utils.corpora.base import Corpus
from msr_utils.experiments.error_analysis.decomposition import (
    Decomposition,
    SmoothingScores,
    decompose,
    oracle_corrections,
    smoothing,
)
from msr_utils.experiments.error_analysis.pieces import (
    TimeScores,
    WithinPieces,
    WorstPieces,
    by_time,
    within_pieces,
    worst_pieces,
)
from msr_utils.experiments.error_analysis.strata import (
    LevelCorrelations,
    StratumScores,
    assign_strata,
    by_stratum,
    level_correlations,
)
from msr_utils.metrics.bootstrap import N_BOOT, SEED
from msr_utils.metrics.curves import Predictions
from msr_utils.metrics.estimate import Estimate

SMOOTHING_S = (0, 2, 5, 10, 20, 40, 80)
"""Time constants with which predictions are smoothed; 0: none."""


@dataclass(frozen=True)
class ErrorAnalysis:
    """The error of one target's predictions, as means over pieces: no single piece is named.

    Parameters
    ----------
    decomposition : Decomposition
    oracle_corrections : mapping of str to mapping of metric to Estimate
        See `msr_utils.experiments.error_analysis.decomposition.oracle_corrections`.
    strata : list of StratumScores
    level_correlations : list of LevelCorrelations
    worst : WorstPieces
    over_time : list of TimeScores
    within : WithinPieces
    smoothing : list of SmoothingScores
    """

    decomposition: Decomposition
    oracle_corrections: Mapping[str, Mapping[str, Estimate]]
    strata: list[StratumScores]
    level_correlations: list[LevelCorrelations]
    worst: WorstPieces
    over_time: list[TimeScores]
    within: WithinPieces
    smoothing: list[SmoothingScores]

    def to_json(self) -> dict[str, Any]:
        """With the keys of ``metrics.json``."""
        return {
            "parts": self.decomposition,
            "what_if": self.oracle_corrections,
            "strata": self.strata,
            "levels": self.level_correlations,
            "worst": self.worst,
            "time": self.over_time,
            "within": self.within,
            "smoothing": self.smoothing,
        }


def analyse(
    corpus: Corpus,
    predictions: Mapping[str, Predictions],
    pieces: pd.DataFrame,
    smooth_s: Sequence[float] = SMOOTHING_S,
    n_boot: int = N_BOOT,
    seed: int = SEED,
) -> dict[str, ErrorAnalysis]:
    """Analyse the errors of each target.

    Parameters
    ----------
    corpus : Corpus
    predictions : mapping of target to Predictions
    pieces : pandas.DataFrame
        From `msr_utils.experiments.error_analysis.strata.describe_pieces`.
    smooth_s : sequence of float
        Time constants for `smoothing`.
    n_boot, seed : int
        Bootstrap samples of songs, for the 95 % intervals.

    Returns
    -------
    dict of target to ErrorAnalysis

    Raises
    ------
    ValueError
        If the corpus lacks a track that was predicted.
    """
    known = {t.id for t in corpus.tracks}
    for target, curves in predictions.items():
        if set(curves) - known:
            raise ValueError(
                f"run: its {target} was predicted for tracks that {corpus.name} does not have; "
                "train it again on this corpus"
            )
    strata = assign_strata(pieces, corpus.tracks)
    return {
        target: ErrorAnalysis(
            decomposition=decompose(curves, corpus.tracks, target, n_boot, seed),
            oracle_corrections=oracle_corrections(curves, corpus.tracks, n_boot, seed),
            strata=by_stratum(curves, strata, n_boot, seed),
            level_correlations=level_correlations(curves, pieces, n_boot, seed),
            worst=worst_pieces(curves, pieces, corpus.tracks, target),
            over_time=by_time(curves, n_boot, seed),
            within=within_pieces(curves, corpus, target),
            smoothing=smoothing(curves, smooth_s),
        )
        for target, curves in predictions.items()
    }

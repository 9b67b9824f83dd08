"""The whole error analysis of one run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import pandas as pd

from msr_utils.corpora.base import Corpus
from msr_utils.experiments.error_analysis.decomposition import (
    decompose,
    oracle_corrections,
    smoothing,
)
from msr_utils.experiments.error_analysis.pieces import by_time, within_pieces, worst_pieces
from msr_utils.experiments.error_analysis.strata import by_stratum, level_correlations, strata
from msr_utils.metrics.curves import Predictions


def analyse(
    corpus: Corpus,
    predictions: Mapping[str, Predictions],
    pieces: pd.DataFrame,
    smooth_s: Sequence[float] = (0, 2, 5, 10, 20, 40, 80),
    n_boot: int = 2000,
    seed: int = 7,
) -> dict[str, dict]:
    """All of the above for each target, averages only: nothing about a single piece.

    Parameters
    ----------
    corpus : Corpus
    predictions : mapping of target to Predictions
    pieces : pandas.DataFrame
        From `describe_pieces`.
    smooth_s : sequence of float
        Time constants for `smoothing`.
    n_boot, seed : int

    Returns
    -------
    dict of str to dict
        Target to ``parts, what_if, strata, levels, worst, time, within, smoothing``.

    Raises
    ------
    ValueError
        If predictions are of tracks that the corpus does not have.
    """
    known = {t.id for t in corpus.tracks}
    for target, curves in predictions.items():
        if set(curves) - known:
            raise ValueError(
                f"run: its {target} was predicted for tracks that {corpus.name} does not have; "
                "train it again on this corpus"
            )
    sorted_pieces = strata(pieces, corpus.tracks)
    return {
        target: {
            "parts": decompose(curves, corpus.tracks, target, n_boot, seed),
            "what_if": oracle_corrections(curves, corpus.tracks, n_boot, seed),
            "strata": by_stratum(curves, sorted_pieces, n_boot, seed),
            "levels": level_correlations(curves, pieces, n_boot, seed),
            "worst": worst_pieces(curves, pieces, corpus.tracks, target),
            "time": by_time(curves, n_boot, seed),
            "within": within_pieces(curves, corpus, target),
            "smoothing": smoothing(curves, smooth_s),
        }
        for target, curves in predictions.items()
    }

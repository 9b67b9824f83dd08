"""Tables of the error analysis, for display."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pandas as pd

from msr_utils.experiments.error_analysis.analysis import ErrorAnalysis
from msr_utils.experiments.error_analysis.decomposition import WITHIN_PIECE, Decomposition
from msr_utils.metrics.estimate import MISSING
from msr_utils.metrics.scores import metric_title

COMPONENT_LABELS = {
    "corpus": "corpus: all frames too high or too low",
    "series": "series: a series too high or too low",
    "piece": "piece: a piece too high or too low within its series",
    WITHIN_PIECE: f"{WITHIN_PIECE}: movement that is missed or invented",
}

CORRECTION_LABELS = {"course in the piece known": "movement within the piece known"}
"""Labels that differ from the keys of `oracle_corrections`."""


def decomposition_table(analyses: Mapping[str, ErrorAnalysis]) -> pd.DataFrame:
    """Shares of the squared error, and of rater noise in it, in per cent."""
    return pd.DataFrame({t: _decomposition_column(a.decomposition) for t, a in analyses.items()})


def _decomposition_column(parts: Decomposition) -> dict[str, str]:
    shares = {
        COMPONENT_LABELS[name]: f"{part.share.scaled(100):.0f}"
        for name, part in parts.components.items()
    }
    noise = {"piece levels": parts.noise.level, "movement within pieces": parts.noise.within_piece}
    return shares | {
        f"of this, rater noise in {where}": f"{100 * mse / parts.mse:.0f}"
        if np.isfinite(mse)
        else MISSING
        for where, mse in noise.items()
    }


def oracle_corrections_table(analyses: Mapping[str, ErrorAnalysis]) -> pd.DataFrame:
    """Pooled scores of the oracle corrections."""
    columns = {
        (target, metric_title(metric)): {
            name: f"{pooled[metric].value:.3f}"
            for name, pooled in analysis.oracle_corrections.items()
        }
        for target, analysis in analyses.items()
        for metric in ("rmse", "r")
    }
    return pd.DataFrame(columns).rename(index=CORRECTION_LABELS)


def worst_pieces_table(analyses: Mapping[str, ErrorAnalysis]) -> pd.DataFrame:
    """The worst pieces against all pieces."""
    columns = {}
    for target, analysis in analyses.items():
        w = analysis.worst
        columns[target] = {
            "pieces": f"{w.songs}",
            "share of the squared error (%)": f"{100 * w.error_share:.0f}",
            "of this, error of their level (%)": f"{100 * w.level_share:.0f}",
            "predicted too high (% of them)": f"{100 * w.too_high:.0f}",
            "distance of the rated level from the mean (all pieces)": f"{w.extremity:.2f} "
            f"({w.extremity_of_all:.2f})",
            "noise of the labels, RMSE (all pieces)": f"{w.noise**0.5:.3f} "
            f"({w.noise_of_all**0.5:.3f})",
            **{f"{name} (sd from the mean)": f"{z:+.2f}" for name, z in w.differs.items()},
        }
    return pd.DataFrame(columns)


def within_pieces_table(analyses: Mapping[str, ErrorAnalysis]) -> pd.DataFrame:
    """Agreement of the movement within pieces."""
    return pd.DataFrame(
        {
            target: {
                "mean r within pieces": analysis.within.r,
                "r between two halves of the raters": analysis.within.half_r,
                "highest possible r": analysis.within.ceiling_r,
                "predicted movement over rated movement (ratio of sd)": analysis.within.sd_ratio,
            }
            for target, analysis in analyses.items()
        }
    ).round(2)

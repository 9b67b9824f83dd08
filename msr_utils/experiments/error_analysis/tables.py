"""Tables of the error analysis."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pandas as pd


def parts_table(found: Mapping[str, dict]) -> pd.DataFrame:
    """Shares of the squared error, and of rater noise in it, in per cent, for display."""
    columns = {}
    for target, own in found.items():
        parts = own["parts"]
        layers = parts["layers"].items()
        rows = {
            f"{n}: {_COMPONENT_WORDS[n]}": f"{100 * p['share']:.0f} [{100 * p['low']:.0f}, {100 * p['high']:.0f}]"
            for n, p in layers
        }
        for name, where in (("level", "the pieces' levels"), ("course", "the course")):
            noise = 100 * parts["noise"][name] / parts["mse"]
            rows[f"of this, raters' noise in {where}"] = (
                f"{noise:.0f}" if np.isfinite(noise) else "–"
            )
        columns[target] = rows
    return pd.DataFrame(columns)


_COMPONENT_WORDS = {
    "corpus": "all frames too high or too low",
    "series": "a series too high or too low",
    "piece": "a piece within its series too high or too low",
    "course": "movement within a piece missed or made up",
}


def oracle_corrections_table(found: Mapping[str, dict]) -> pd.DataFrame:
    """Pooled scores of `what_if`, for display."""
    return pd.DataFrame(
        {
            (target, {"rmse": "RMSE"}.get(metric, metric)): {
                name: f"{pooled[metric].value:.3f}" for name, pooled in own["what_if"].items()
            }
            for target, own in found.items()
            for metric in ("rmse", "r")
        }
    )


def worst_table(found: Mapping[str, dict]) -> pd.DataFrame:
    """What `worst_pieces` found, for display."""
    columns = {}
    for target, own in found.items():
        w = own["worst"]
        columns[target] = {
            "pieces": f"{w['songs']}",
            "share of the squared error (%)": f"{100 * w['error_share']:.0f}",
            "of which their level (%)": f"{100 * w['level_share']:.0f}",
            "predicted too high (% of them)": f"{100 * w['too_high']:.0f}",
            "distance of the rated level from the mean (all pieces)": f"{w['extremity']:.2f} ({w['extremity_of_all']:.2f})",
            "noise of the labels, RMSE (all pieces)": f"{w['noise'] ** 0.5:.3f} ({w['noise_of_all'] ** 0.5:.3f})",
            **{f"{name} (sd from the mean)": f"{z:+.2f}" for name, z in w["differs"].items()},
        }
    return pd.DataFrame(columns)


def within_table(found: Mapping[str, dict]) -> pd.DataFrame:
    """What `within_pieces` found, for display."""
    return pd.DataFrame(
        {
            target: {
                "mean r in a piece": own["within"]["r"],
                "half the raters with the other half": own["within"]["half_r"],
                "best possible": own["within"]["ceiling_r"],
                "predicted movement over rated (ratio of sd)": own["within"]["sd_ratio"],
            }
            for target, own in found.items()
        }
    ).round(2)

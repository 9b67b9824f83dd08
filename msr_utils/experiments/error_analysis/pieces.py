"""Error by piece and by time within a piece."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd

from msr_utils.constants import FRAME_RATE_HZ
from msr_utils.corpora.base import Corpus, Track
from msr_utils.evaluation.ceiling import ceiling
from msr_utils.experiments.error_analysis.decomposition import _noise, level_error
from msr_utils.experiments.error_analysis.strata import ranked
from msr_utils.metrics.curves import Curve, Predictions
from msr_utils.metrics.scores import evaluate, score

START_S = (0, 5, 10, 20, 40, 80, 160)
"""Seconds since the start that part a piece in `by_time`."""

END_S = 5
"""Seconds before the end of a piece that `by_time` sets apart."""


def worst_pieces(
    predictions: Predictions,
    pieces: pd.DataFrame,
    tracks: Sequence[Track],
    target: str,
    share: float = 0.1,
) -> dict:
    """How the worst pieces differ from all, as averages over them.

    Parameters
    ----------
    predictions : mapping of song id to Curve
    pieces : pandas.DataFrame
        From `describe_pieces`.
    tracks : sequence of Track
    target : str
    share : float in (0, 1]
        Of the pieces, by RMSE.

    Returns
    -------
    dict
        ``songs``; ``error_share`` (of the squared error that they carry); ``level_share`` (of
        their squared error that is their level); ``too_high`` (share that is predicted too
        high); ``extremity`` and ``extremity_of_all`` (mean distance of the rated level from the
        corpus' mean); ``noise`` and ``noise_of_all`` (mean squared error of labels, see
        `decompose`); ``differs[descriptor]``: their mean in standard deviations over all
        pieces, from the mean of all.
    """
    order = ranked(predictions)
    worst = order[: max(1, round(share * len(order)))]
    by_id = {t.id: t for t in tracks}
    square = {i: float(((c.predicted - c.true) ** 2).sum()) for i, c in predictions.items()}
    level = {i: len(c.true) * level_error(c) ** 2 for i, c in predictions.items()}
    rated = pd.Series({i: float(c.true.mean()) for i, c in predictions.items()})
    extremity = (rated - rated.mean()).abs()
    noise = pd.Series({i: sum(_noise(by_id[i], target)) for i in predictions})
    own = pieces.loc[order]
    spread = own.std(ddof=0).replace(0, 1)
    return {
        "songs": len(worst),
        "error_share": sum(square[i] for i in worst) / sum(square.values()),
        "level_share": sum(level[i] for i in worst) / sum(square[i] for i in worst),
        "too_high": float(np.mean([level_error(predictions[i]) > 0 for i in worst])),
        "extremity": float(extremity[worst].mean()),
        "extremity_of_all": float(extremity.mean()),
        "noise": float(noise[worst].mean()),
        "noise_of_all": float(noise.mean()),
        "differs": ((own.loc[worst].mean() - own.mean()) / spread).to_dict(),
    }


def by_time(predictions: Predictions, n_boot: int = 2000, seed: int = 7) -> list[dict]:
    """Pooled scores by time since a piece's start, and over its last `END_S` seconds.

    Returns
    -------
    list of dict
        ``when, songs, rmse`` (`Estimate`), ``bias`` (mean of predicted minus true)
        and ``constant_rmse`` (the spread of the labels there, which the best constant would
        leave).
    """
    bounds = [*START_S, np.inf]
    choices = {
        (f"{a} to {b} s" if np.isfinite(b) else f"after {a} s"): (lambda c, a=a, b=b: (c.times_s > a) & (c.times_s <= b))
        for a, b in zip(bounds[:-1], bounds[1:], strict=True)
    }  # fmt: skip
    choices[f"last {END_S} s"] = lambda c: c.times_s > c.times_s[-1] - END_S
    rows = []
    for when, chosen in choices.items():
        curves = {
            i: Curve(c.times_s[k], c.true[k], c.predicted[k])
            for i, c in predictions.items()
            if (k := chosen(c)).any()
        }
        if not curves:
            continue
        true, predicted = (
            np.concatenate([getattr(c, name) for c in curves.values()])
            for name in ("true", "predicted")
        )
        rows.append(
            {
                "when": when,
                "songs": len(curves),
                "rmse": evaluate(curves, n_boot, seed).pooled["rmse"],
                "bias": float((predicted - true).mean()),
                "constant_rmse": float(true.std()),
            }
        )
    return rows


def within_pieces(
    predictions: Predictions,
    corpus: Corpus,
    target: str,
    lags_s: Sequence[float] = tuple(range(-5, 11)),
) -> dict:
    """Does the curve move where the ratings move, beside how far raters agree on that.

    Parameters
    ----------
    predictions : mapping of song id to Curve
    corpus : Corpus
    target : str
    lags_s : sequence of float
        Seconds by which the prediction is delayed before it is compared: a best lag above 0
        means that raters answer later than the model.

    Returns
    -------
    dict
        ``r`` (mean over pieces), ``sd_ratio`` (mean standard deviation of the predicted
        curves in a piece over that of the rated ones), ``half_r`` (mean r of two halves of the
        raters), ``ceiling_r`` (best possible r with the mean over all of them: the root of
        `half_r` stepped up by Spearman and Brown's formula) and ``lags``: ``lag_s, r``.
    """
    curves = list(predictions.values())
    half = ceiling(corpus, target).within_r
    spread = [np.mean([getattr(c, n).std() for c in curves]) for n in ("predicted", "true")]
    return {
        "r": _lagged(curves, 0),
        "sd_ratio": float(spread[0] / spread[1]),
        "half_r": half,
        "ceiling_r": float(np.sqrt(max(2 * half / (1 + half), 0))) if np.isfinite(half) else half,
        "lags": [{"lag_s": float(lag), "r": _lagged(curves, lag)} for lag in lags_s],
    }


def _lagged(curves: Sequence[Curve], lag_s: float) -> float:
    """Mean r over pieces of the ratings with the prediction `lag_s` earlier."""
    found = []
    for c in curves:
        at = np.rint(c.times_s * FRAME_RATE_HZ).astype(int)
        _, now, before = np.intersect1d(
            at, at + round(lag_s * FRAME_RATE_HZ), assume_unique=True, return_indices=True
        )
        if len(now) > 1:
            found.append(score(c.true[now], c.predicted[before])["r"])
    found = [r for r in found if np.isfinite(r)]
    return float(np.mean(found)) if found else float("nan")

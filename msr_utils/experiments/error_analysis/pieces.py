"""Error by piece and by time within a piece."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from msr_utils.constants import FRAME_RATE_HZ
from msr_utils.corpora.base import Corpus, Track
from msr_utils.evaluation.ceiling import ceiling
from msr_utils.experiments.error_analysis.decomposition import label_noise, level_error
from msr_utils.metrics.bootstrap import N_BOOT, SEED
from msr_utils.metrics.curves import Curve, Predictions
from msr_utils.metrics.estimate import Estimate
from msr_utils.metrics.scores import evaluate, score

TIME_EDGES_S = (0, 5, 10, 20, 40, 80, 160)
"""Seconds since the start of a piece that divide the ranges of `by_time`."""

ENDING_S = 5
"""`by_time` scores the last seconds of a piece apart."""

LAGS_S = tuple(range(-5, 11))
"""Seconds by which `within_pieces` delays a prediction."""


@dataclass(frozen=True)
class WorstPieces:
    """How the worst pieces differ from all pieces, as means over them.

    Parameters
    ----------
    songs : int
        Number of the worst pieces.
    error_share : float
        Their share of the squared error of all pieces.
    level_share : float
        Share of the level in their squared error.
    too_high : float
        Share of them that is predicted too high.
    extremity, extremity_of_all : float
        Distance of the rated level from the mean of the corpus.
    noise, noise_of_all : float
        Mean squared error of the labels, see `RaterNoise`.
    differs : dict of str to float
        Mean of each descriptor, as a distance from the mean of all in standard deviations.
    """

    songs: int
    error_share: float
    level_share: float
    too_high: float
    extremity: float
    extremity_of_all: float
    noise: float
    noise_of_all: float
    differs: dict[str, float]


@dataclass(frozen=True)
class TimeScores:
    """Pooled scores of one range of time within the pieces.

    Parameters
    ----------
    when : str
        The range in words.
    songs : int
        That are long enough.
    rmse : Estimate
    bias : float
        Mean of predicted minus true.
    constant_rmse : float
        Standard deviation of the labels, which is the RMSE of the best constant.
    """

    when: str
    songs: int
    rmse: Estimate
    bias: float
    constant_rmse: float


@dataclass(frozen=True)
class LagCorrelation:
    """Agreement with the ratings when the prediction is delayed.

    Parameters
    ----------
    lag_s : float
        Delay in seconds.
    r : float
        Mean over pieces.
    """

    lag_s: float
    r: float


@dataclass(frozen=True)
class WithinPieces:
    """Agreement of the movement within pieces.

    Parameters
    ----------
    r : float
        Mean over pieces.
    sd_ratio : float
        Mean standard deviation of the predicted curves over that of the rated curves.
    half_r : float
        Mean r of two halves of the raters; NaN without single ratings.
    ceiling_r : float
        Highest r that is possible with the mean over all raters: the root of `half_r` after the
        Spearman-Brown formula.
    lags : list of LagCorrelation
    """

    r: float
    sd_ratio: float
    half_r: float
    ceiling_r: float
    lags: list[LagCorrelation]


def rank_by_rmse(predictions: Predictions) -> list[str]:
    """Song ids, the one with the largest RMSE first."""
    rmse = {i: score(c.true, c.predicted)["rmse"] for i, c in predictions.items()}
    return sorted(rmse, key=lambda i: -rmse[i])


def worst_pieces(
    predictions: Predictions,
    pieces: pd.DataFrame,
    tracks: Sequence[Track],
    target: str,
    share: float = 0.1,
) -> WorstPieces:
    """How the pieces with the largest RMSE differ from all.

    Parameters
    ----------
    predictions : mapping of song id to Curve
    pieces : pandas.DataFrame
        From `msr_utils.experiments.error_analysis.strata.describe_pieces`.
    tracks : sequence of Track
    target : str
        "valence" or "arousal".
    share : float in (0, 1]
        Of the pieces.
    """
    order = rank_by_rmse(predictions)
    worst = order[: max(1, round(share * len(order)))]
    by_id = {t.id: t for t in tracks}
    squared = {i: float(((c.predicted - c.true) ** 2).sum()) for i, c in predictions.items()}
    of_level = {i: len(c.true) * level_error(c) ** 2 for i, c in predictions.items()}
    rated = pd.Series({i: float(c.true.mean()) for i, c in predictions.items()})
    extremity = (rated - rated.mean()).abs()
    noise = pd.Series({i: _noise(by_id[i], target) for i in predictions})
    described = pieces.loc[order]
    spread = described.std(ddof=0).replace(0, 1)
    differs = (described.loc[worst].mean() - described.mean()) / spread
    return WorstPieces(
        songs=len(worst),
        error_share=sum(squared[i] for i in worst) / sum(squared.values()),
        level_share=sum(of_level[i] for i in worst) / sum(squared[i] for i in worst),
        too_high=float(np.mean([level_error(predictions[i]) > 0 for i in worst])),
        extremity=float(extremity[worst].mean()),
        extremity_of_all=float(extremity.mean()),
        noise=float(noise[worst].mean()),
        noise_of_all=float(noise.mean()),
        differs={str(name): float(value) for name, value in differs.items()},
    )


def _noise(track: Track, target: str) -> float:
    noise = label_noise(track, target)
    return noise.level + noise.within_piece


def by_time(predictions: Predictions, n_boot: int = N_BOOT, seed: int = SEED) -> list[TimeScores]:
    """Pooled scores by time since a piece's start, and of its last `ENDING_S` seconds."""
    rows = []
    for when, start_s, end_s in _time_ranges():
        curves = {
            i: Curve(c.times_s[k], c.true[k], c.predicted[k])
            for i, c in predictions.items()
            if (k := _inside(c, start_s, end_s)).any()
        }
        if not curves:
            continue
        true, predicted = (
            np.concatenate([getattr(c, name) for c in curves.values()])
            for name in ("true", "predicted")
        )
        rows.append(
            TimeScores(
                when=when,
                songs=len(curves),
                rmse=evaluate(curves, n_boot, seed).pooled["rmse"],
                bias=float((predicted - true).mean()),
                constant_rmse=float(true.std()),
            )
        )
    return rows


def _time_ranges() -> Iterator[tuple[str, float, float]]:
    """Name, start and end in seconds; a negative start counts from the end of the piece."""
    for start, end in zip(TIME_EDGES_S[:-1], TIME_EDGES_S[1:], strict=True):
        yield f"{start} to {end} s", start, end
    yield f"after {TIME_EDGES_S[-1]} s", TIME_EDGES_S[-1], np.inf
    yield f"last {ENDING_S} s", -ENDING_S, np.inf


def _inside(curve: Curve, start_s: float, end_s: float) -> np.ndarray:
    """Frames in a range of `_time_ranges`, (T,)."""
    start_s = curve.times_s[-1] + start_s if start_s < 0 else start_s
    return (curve.times_s > start_s) & (curve.times_s <= end_s)


def within_pieces(
    predictions: Predictions, corpus: Corpus, target: str, lags_s: Sequence[float] = LAGS_S
) -> WithinPieces:
    """How well the predicted movement within pieces follows the ratings.

    Parameters
    ----------
    predictions : mapping of song id to Curve
    corpus : Corpus
    target : str
        "valence" or "arousal".
    lags_s : sequence of float
        Seconds by which the prediction is delayed before it is compared. A best lag above 0 means
        that raters react later than the model.
    """
    curves = list(predictions.values())
    half = ceiling(corpus, target).within_r
    predicted_sd, true_sd = (
        np.mean([getattr(c, n).std() for c in curves]) for n in ("predicted", "true")
    )
    return WithinPieces(
        r=_lagged_r(curves, 0),
        sd_ratio=float(predicted_sd / true_sd),
        half_r=half,
        ceiling_r=float(np.sqrt(max(2 * half / (1 + half), 0))) if np.isfinite(half) else half,
        lags=[LagCorrelation(float(lag), _lagged_r(curves, lag)) for lag in lags_s],
    )


def _lagged_r(curves: Sequence[Curve], lag_s: float) -> float:
    """Mean over pieces of r between the ratings and the prediction `lag_s` earlier."""
    correlations = []
    for c in curves:
        frame = np.rint(c.times_s * FRAME_RATE_HZ).astype(int)
        _, now, before = np.intersect1d(
            frame, frame + round(lag_s * FRAME_RATE_HZ), assume_unique=True, return_indices=True
        )
        if len(now) > 1:
            correlations.append(score(c.true[now], c.predicted[before])["r"])
    defined = [r for r in correlations if np.isfinite(r)]
    return float(np.mean(defined)) if defined else float("nan")

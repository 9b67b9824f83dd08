"""Error by kind of music: series, mode, tempo, loudness and the like."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from msr_utils.constants import (
    FRAME_RATE_HZ,
    KEY_WINDOWS_S,
    TEMPO_BANDS,
    TEMPO_RANGE_BPM,
)
from msr_utils.corpora.base import Track
from msr_utils.dataset.sequences import Sequence2Hz
from msr_utils.experiments.error_analysis.decomposition import level_error
from msr_utils.features.blocks.tonal import KEY_MEASURES
from msr_utils.features.config import FeatureConfig
from msr_utils.features.filterbanks import mel_band_hz
from msr_utils.metrics.bootstrap import N_BOOT, SEED, draw_units
from msr_utils.metrics.correlation import pearson
from msr_utils.metrics.curves import Predictions
from msr_utils.metrics.estimate import Estimate
from msr_utils.metrics.scores import evaluate

DESCRIBED_BY = ("logmel", "tonal", "onset", "tempogram", "loudness")
"""Feature blocks that `describe_pieces` reads."""

DESCRIPTOR_UNITS = {
    "tempo": "beats per minute",
    "loudness": "LUFS",
    "loudness range": "dB",
    "register": "Hz",
    "attacks": "dB",
    "mode": "major - minor",
    "length": "s",
}
"""Descriptors of a piece, and the unit of each."""

Strata = dict[str, dict[str, str]]
"""What pieces are sorted by, to track id, to the name of the stratum. In the order of display."""


@dataclass(frozen=True)
class StratumScores:
    """Pooled scores of the pieces of one stratum.

    Parameters
    ----------
    by, stratum : str
        What pieces are sorted by, and the name of the stratum.
    songs : int
    share : float
        Of the squared error of all pieces.
    rmse, r : Estimate
    level : Estimate
        Mean level error over pieces. Above 0 they are predicted too high.
    """

    by: str
    stratum: str
    songs: int
    share: float
    rmse: Estimate
    r: Estimate
    level: Estimate


@dataclass(frozen=True)
class LevelCorrelations:
    """Pearson's r over pieces between a descriptor and three levels of a piece.

    Parameters
    ----------
    descriptor : str
    rated, predicted : Estimate
        With the mean of the rated and of the predicted curve.
    error : Estimate
        With the level error. Below 0, pieces with much of the descriptor are predicted too low.
    """

    descriptor: str
    rated: Estimate
    predicted: Estimate
    error: Estimate


def describe_pieces(sequences: Sequence[Sequence2Hz], config: FeatureConfig) -> pd.DataFrame:
    """Describe each piece in musical terms, from its features.

    Parameters
    ----------
    sequences : sequence of Sequence2Hz
    config : FeatureConfig
        Their features: at least `DESCRIBED_BY`.

    Returns
    -------
    pandas.DataFrame
        One row a track id, with the columns of `DESCRIPTOR_UNITS`: ``tempo`` (the strongest band
        of the tempogram, which may be half or twice the tapped tempo), ``loudness`` (median of the
        short-term loudness), ``loudness range`` (from its 10th to its 95th percentile),
        ``register`` (median centroid of the mel spectrum), ``attacks`` (mean onset strength),
        ``mode`` (strength of the best major key less that of the best minor key, over 20 s; above
        0 is major), ``length``.

    Raises
    ------
    ValueError
        If a feature block is missing.
    """
    missing = [name for name in DESCRIBED_BY if name not in config.blocks]
    if missing:
        raise ValueError(f"features: pieces cannot be described without {', '.join(missing)}")
    at = {name: config.columns([name]) for name in DESCRIBED_BY}
    hz, bpm, lead = mel_band_hz(config), _tempo_band_bpm(), _major_minor_column()
    rows = {}
    for s in sequences:
        power = 10 ** (s.features[:, at["logmel"]].astype(np.float64) / 10)
        loudness = s.features[:, at["loudness"][1]]
        low, high = np.quantile(loudness, [0.1, 0.95])
        rows[s.id] = {
            "tempo": bpm[s.features[:, at["tempogram"][:TEMPO_BANDS]].mean(axis=0).argmax()],
            "loudness": np.median(loudness),
            "loudness range": high - low,
            "register": np.median(power @ hz / power.sum(axis=1)),
            "attacks": s.features[:, at["onset"][0]].mean(),
            "mode": s.features[:, at["tonal"][lead]].mean(),
            "length": len(s.features) / FRAME_RATE_HZ,
        }
    return pd.DataFrame.from_dict(rows, orient="index", dtype=float)


def _tempo_band_bpm() -> np.ndarray:
    """Centre of each tempo band in beats per minute, (TEMPO_BANDS,)."""
    slowest, fastest = TEMPO_RANGE_BPM
    return slowest * (fastest / slowest) ** ((np.arange(TEMPO_BANDS) + 0.5) / TEMPO_BANDS)


def _major_minor_column() -> int:
    """Column of the tonal block with major less minor over the longest window.

    It follows the chroma of that window and the strength of its best key.
    """
    return (len(KEY_WINDOWS_S) - 1) * (12 + KEY_MEASURES) + 12 + 1


def assign_strata(pieces: pd.DataFrame, tracks: Sequence[Track], smallest: int = 5) -> Strata:
    """Sort pieces by series, by mode, and into thirds by every other descriptor.

    Parameters
    ----------
    pieces : pandas.DataFrame
        From `describe_pieces`.
    tracks : sequence of Track
    smallest : int
        Series with fewer pieces form one stratum, because scores of so few pieces would be those
        of single pieces.
    """
    strata: Strata = {"series": _series_strata(tracks, smallest)}
    major = (pieces["mode"] >= 0).sort_values()
    strata["mode"] = {str(i): "major" if m else "minor" for i, m in major.items()}
    for name in pieces.columns.drop("mode"):
        strata[name] = _thirds(pieces[name], DESCRIPTOR_UNITS[name])
    return strata


def _series_strata(tracks: Sequence[Track], smallest: int) -> dict[str, str]:
    """Stratum of each track by its series, the largest series first."""
    sizes = pd.Series([t.group for t in tracks]).value_counts()
    large = sizes[sizes >= smallest].index
    rest = f"series of fewer than {smallest}"
    order = {name: k for k, name in enumerate([*large, rest])}
    series = {t.id: t.group if t.group in large else rest for t in tracks}
    return dict(sorted(series.items(), key=lambda item: order[item[1]]))


def _thirds(values: pd.Series, unit: str) -> dict[str, str]:
    """Stratum of each track by the terciles of a descriptor, the lowest first."""
    values = values.sort_values(kind="stable")
    low, high = values.quantile([1 / 3, 2 / 3]).to_numpy()
    names = (f"below {low:.3g}", f"{low:.3g} to {high:.3g}", f"{high:.3g} and more")
    third = np.searchsorted([low, high], values.to_numpy(), side="right")
    return {str(i): f"{names[k]} {unit}" for i, k in zip(values.index, third, strict=True)}


def by_stratum(
    predictions: Predictions, strata: Strata, n_boot: int = N_BOOT, seed: int = SEED
) -> list[StratumScores]:
    """Pooled scores of the pieces of each stratum.

    Parameters
    ----------
    predictions : mapping of song id to Curve
    strata : Strata
        From `assign_strata`.
    n_boot, seed : int
        As in `msr_utils.metrics.scores.evaluate`.
    """
    squared = {i: float(((c.predicted - c.true) ** 2).sum()) for i, c in predictions.items()}
    total = sum(squared.values())
    rng = np.random.default_rng(seed)
    rows = []
    for by, stratum_of in strata.items():
        members: dict[str, list[str]] = {}
        for i, name in stratum_of.items():
            if i in predictions:
                members.setdefault(name, []).append(i)
        for name, ids in members.items():
            pooled = evaluate({i: predictions[i] for i in ids}, n_boot, seed).pooled
            levels = np.array([level_error(predictions[i]) for i in ids])
            samples = levels[draw_units(len(ids), n_boot, rng)].mean(axis=1)
            rows.append(
                StratumScores(
                    by=by,
                    stratum=name,
                    songs=len(ids),
                    share=sum(squared[i] for i in ids) / total,
                    rmse=pooled["rmse"],
                    r=pooled["r"],
                    level=Estimate.from_samples(levels.mean(), samples),
                )
            )
    return rows


def level_correlations(
    predictions: Predictions, pieces: pd.DataFrame, n_boot: int = N_BOOT, seed: int = SEED
) -> list[LevelCorrelations]:
    """Correlate each descriptor with the rated level, the predicted level and the level error.

    If the rated level follows a descriptor and the predicted level does not, the level error
    correlates with it.

    Parameters
    ----------
    predictions : mapping of song id to Curve
    pieces : pandas.DataFrame
        From `describe_pieces`.
    n_boot, seed : int
        Bootstrap samples of pieces, for the 95 % intervals.
    """
    curves = list(predictions.values())
    levels = {
        "rated": np.array([c.true.mean() for c in curves]),
        "predicted": np.array([c.predicted.mean() for c in curves]),
        "error": np.array([level_error(c) for c in curves]),
    }
    values = pieces.loc[list(predictions)]
    draws = draw_units(len(curves), n_boot, seed)
    rows = []
    for name in values.columns:
        x = values[name].to_numpy()
        correlations = {
            what: Estimate.from_samples(pearson(x[None], y[None])[0], pearson(x[draws], y[draws]))
            for what, y in levels.items()
        }
        rows.append(LevelCorrelations(name, **correlations))
    return rows

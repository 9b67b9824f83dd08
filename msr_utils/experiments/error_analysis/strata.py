"""Error by kind of music."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

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
from msr_utils.features.filterbanks import mel_filterbank
from msr_utils.metrics.bootstrap import draw_units
from msr_utils.metrics.correlation import pearson
from msr_utils.metrics.curves import Curve, Predictions
from msr_utils.metrics.estimate import Estimate
from msr_utils.metrics.scores import evaluate, score

DESCRIBED_BY = ("logmel", "tonal", "onset", "tempogram", "loudness")
"""Blocks that `describe_pieces` reads."""

SCALES = {
    "tempo": "beats per minute",
    "loudness": "LUFS",
    "loudness range": "dB",
    "register": "Hz",
    "attacks": "dB",
    "mode": "major - minor",
    "length": "s",
}
"""What `describe_pieces` tells, and in which unit."""


def describe_pieces(sequences: Sequence[Sequence2Hz], config: FeatureConfig) -> pd.DataFrame:
    """What a musician would say of each piece, from its features.

    Parameters
    ----------
    sequences : sequence of Sequence2Hz
    config : FeatureConfig
        What they hold: at least `DESCRIBED_BY`.

    Returns
    -------
    pandas.DataFrame
        One row a track id: ``tempo`` (the tempo band that repeats most; it may be half or
        twice what one would tap), ``loudness`` (median of the short-term loudness),
        ``loudness range`` (its 10th to 95th percentile), ``register`` (median centroid of the
        mel spectrum), ``attacks`` (mean onset strength: how many and how strong), ``mode``
        (strength of the best major over the best minor key, over 20 s; above 0 is major),
        ``length``.

    Raises
    ------
    ValueError
        If a block is missing.
    """
    missing = [name for name in DESCRIBED_BY if name not in config.blocks]
    if missing:
        raise ValueError(f"features: pieces cannot be described without {', '.join(missing)}")
    at = {name: config.columns([name]) for name in DESCRIBED_BY}
    filters = mel_filterbank(config)
    hz = np.fft.rfftfreq(config.n_fft, 1 / config.sample_rate) @ filters / filters.sum(axis=0)
    slowest, fastest = TEMPO_RANGE_BPM
    bpm = slowest * (fastest / slowest) ** ((np.arange(TEMPO_BANDS) + 0.5) / TEMPO_BANDS)
    # After the chroma of the longest average: strength of its best key, then major over minor.
    lead = (len(KEY_WINDOWS_S) - 1) * (12 + KEY_MEASURES) + 12 + 1
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


def strata(
    pieces: pd.DataFrame, tracks: Sequence[Track], smallest: int = 5
) -> dict[str, dict[str, str]]:
    """Sort pieces by series, by mode, and into thirds by everything else.

    Parameters
    ----------
    pieces : pandas.DataFrame
        From `describe_pieces`.
    tracks : sequence of Track
    smallest : int
        Series of fewer pieces go together: numbers of so few would be those of single pieces.

    Returns
    -------
    dict of str to dict of str to str
        What is looked at -> track id -> stratum, in the order in which strata are shown.
    """
    sizes = pd.Series([t.group for t in tracks]).value_counts()
    kept = sizes[sizes >= smallest].index
    rest = f"series of fewer than {smallest}"
    order = {name: k for k, name in enumerate([*kept, rest])}
    series = {t.id: t.group if t.group in kept else rest for t in tracks}
    found = {"series": dict(sorted(series.items(), key=lambda item: order[item[1]]))}
    major = pieces["mode"] >= 0
    found["mode"] = major.sort_values().map({False: "minor", True: "major"}).to_dict()
    for name in pieces.columns.drop("mode"):
        values = pieces[name].sort_values(kind="stable")
        edges = values.quantile([1 / 3, 2 / 3]).to_numpy()
        words = [
            f"below {edges[0]:.3g}",
            f"{edges[0]:.3g} to {edges[1]:.3g}",
            f"{edges[1]:.3g} and more",
        ]
        thirds = np.searchsorted(edges, values.to_numpy(), side="right")
        found[name] = {
            i: f"{words[k]} {SCALES[name]}" for i, k in zip(values.index, thirds, strict=True)
        }
    return found


def by_stratum(
    predictions: Predictions,
    sorted_pieces: Mapping[str, Mapping[str, str]],
    n_boot: int = 2000,
    seed: int = 7,
) -> list[dict]:
    """Pooled scores of the pieces of each stratum.

    Parameters
    ----------
    predictions : mapping of song id to Curve
    sorted_pieces : mapping
        From `strata`.
    n_boot, seed : int
        As in `msr_utils.metrics.scores.evaluate`.

    Returns
    -------
    list of dict
        ``by, stratum, songs, share`` (of the squared error) and, each an `Estimate`, ``rmse, r,
        level`` (mean error over pieces: above 0 predicted too high).
    """
    squares = {i: float(((c.predicted - c.true) ** 2).sum()) for i, c in predictions.items()}
    total = sum(squares.values())
    rng = np.random.default_rng(seed)
    rows = []
    for by, own in sorted_pieces.items():
        members: dict[str, list[str]] = {}
        for i, name in own.items():
            if i in predictions:
                members.setdefault(name, []).append(i)
        for name, ids in members.items():
            pooled = evaluate({i: predictions[i] for i in ids}, n_boot, seed).pooled
            levels = np.array([level_error(predictions[i]) for i in ids])
            draws = levels[draw_units(len(ids), n_boot, rng)].mean(axis=1)
            rows.append(
                {
                    "by": by,
                    "stratum": name,
                    "songs": len(ids),
                    "share": sum(squares[i] for i in ids) / total,
                    "rmse": pooled["rmse"],
                    "r": pooled["r"],
                    "level": Estimate.from_samples(levels.mean(), draws),
                }
            )
    return rows


def level_correlations(
    predictions: Predictions, pieces: pd.DataFrame, n_boot: int = 2000, seed: int = 7
) -> list[dict]:
    """What pieces' rated level, predicted level and level error go along with.

    A cue that the rated level follows and the predicted level does not leaves a correlation
    with the error: below 0, pieces with much of it are predicted too low.

    Returns
    -------
    list of dict
        ``descriptor`` and, each an `Estimate`, Pearson's r over pieces with ``rated, predicted,
        error``.
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
        row: dict = {"descriptor": name}
        for what, y in levels.items():
            row[what] = Estimate.from_samples(
                pearson(x[None], y[None])[0], pearson(x[draws], y[draws])
            )
        rows.append(row)
    return rows


def ranked(predictions: Predictions) -> list[str]:
    """Song ids, the one with the largest RMSE first."""
    return sorted(predictions, key=lambda i: -score(*_pair(predictions[i]))["rmse"])


def _pair(curve: Curve) -> tuple[np.ndarray, np.ndarray]:
    return curve.true, curve.predicted

"""What the error of predicted curves is made of: level and course, which music, when in a piece."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd

from msr_utils.audit import ceiling
from msr_utils.blocks import KEY_MEASURES
from msr_utils.constants import (
    FRAME_RATE_HZ,
    KEY_WINDOWS_S,
    TARGETS,
    TEMPO_BANDS,
    TEMPO_RANGE_BPM,
)
from msr_utils.corpora.base import Corpus, Track
from msr_utils.dataset import Sequence2Hz
from msr_utils.features import FeatureConfig
from msr_utils.metrics import Curve, Predictions, evaluate, score
from msr_utils.models.baselines import causal_average
from msr_utils.spectra import mel_filterbank

LAYERS = ("corpus", "series", "piece", "course")
"""Where an error lies: of all frames alike, of a group, of a piece, of frames within it."""

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

START_S = (0, 5, 10, 20, 40, 80, 160)
"""Seconds since the start that part a piece in `by_time`."""

END_S = 5
"""Seconds before the end of a piece that `by_time` sets apart."""


def level_error(curve: Curve) -> float:
    """Mean of predicted minus true: above 0 the whole piece is predicted too high."""
    return float(np.mean(curve.predicted - curve.true))


def decompose(
    predictions: Predictions,
    tracks: Sequence[Track],
    target: str,
    n_boot: int = 2000,
    seed: int = 7,
) -> dict:
    """Divide the pooled squared error, without a rest, into `LAYERS`.

    An error is the mean error of all frames, plus what its group's mean adds to that, plus what
    its piece's mean adds to its group's, plus what is left within the piece. The four do not
    correlate over the frames, so their mean squares add up to the mean squared error (analysis
    of variance).

    Parameters
    ----------
    predictions : mapping of song id to Curve
    tracks : sequence of Track
    target : str
    n_boot : int >= 0
        Bootstrap samples of songs for the 95 % intervals of the shares.
    seed : int

    Returns
    -------
    dict
        ``mse``; ``layers[name]``: ``mse, share, low, high``; ``noise``: ``level, course``, the
        mean squared error that a perfect model would have because the labels are means over a
        few raters, in the first three layers together and in the last (NaN without single
        ratings).

    Notes
    -----
    Noise is the variance between raters over their number, of a piece's mean and of frames; it
    takes raters for independent of one another and of the model.
    """
    by_id = {t.id: t for t in tracks}
    errors = [c.predicted - c.true for c in predictions.values()]
    sums = np.array([[len(e), e.sum(), (e**2).sum()] for e in errors], np.float64)
    groups = pd.factorize(np.array([by_id[i].group for i in predictions]))[0]
    member = np.eye(groups.max() + 1)[groups]
    parts = _layers(np.ones((1, len(sums))), sums, member)[0]
    total = parts.sum()
    rng = np.random.default_rng(seed)
    draws = rng.multinomial(len(sums), np.full(len(sums), 1 / len(sums)), size=n_boot)
    shares = _layers(draws, sums, member)
    shares = shares / shares.sum(axis=1, keepdims=True)
    low, high = np.quantile(shares, [0.025, 0.975], axis=0) if n_boot else np.full((2, 4), np.nan)
    noise = np.array([_noise(by_id[i], target) for i in predictions])
    return {
        "mse": float(total),
        "layers": {
            name: {
                "mse": float(parts[k]),
                "share": float(parts[k] / total),
                "low": float(low[k]),
                "high": float(high[k]),
            }
            for k, name in enumerate(LAYERS)
        },
        "noise": dict(
            zip(
                ("level", "course"),
                map(float, np.average(noise, axis=0, weights=sums[:, 0])),
                strict=True,
            )
        ),
    }


def _layers(counts: np.ndarray, sums: np.ndarray, member: np.ndarray) -> np.ndarray:
    """Mean squares of the `LAYERS`, (draws, 4), where songs count so often, (draws, songs)."""
    n, error, square = sums.T
    frames = counts @ n
    of_groups = (counts * error) @ member
    sizes = (counts * n) @ member
    corpus = (counts @ error) ** 2 / frames
    groups = np.divide(of_groups**2, sizes, where=sizes > 0, out=np.zeros_like(sizes)).sum(axis=1)
    pieces = counts @ (error**2 / n)
    steps = np.stack([corpus, groups, pieces, counts @ square])
    return (
        np.maximum(np.diff(steps, axis=0, prepend=0), 0) / frames
    ).T  # rounding, not less than 0


def _noise(track: Track, target: str) -> tuple[float, float]:
    """Variance of the mean over raters: of the piece's level, and of frames about it."""
    if track.ratings is None:
        return np.nan, np.nan
    ratings = track.ratings[:, track.mask, TARGETS.index(target)]
    ratings = ratings[np.isfinite(ratings).any(axis=1)]
    if len(ratings) < 2:
        return np.nan, np.nan
    level = np.nanmean(ratings, axis=1).var(ddof=1) / len(ratings)
    count = np.isfinite(ratings).sum(axis=0)
    frames = np.nanvar(ratings[:, count > 1], axis=0, ddof=1) / count[count > 1]
    return level, frames.mean() - level


def causally_smoothed(predictions: Predictions, seconds: float) -> dict[str, Curve]:
    """Predictions through the exponential average over the past, see `causal_average`."""
    return {
        i: Curve(c.times_s, c.true, causal_average(c.predicted[:, None], seconds)[:, 0])
        for i, c in predictions.items()
    }


def what_if(
    predictions: Predictions, tracks: Sequence[Track], n_boot: int = 2000, seed: int = 7
) -> dict[str, dict]:
    """Pooled scores if one part of the error went away, or if the curve did not move.

    All but the first and the second row use the labels: they say where there is something to
    gain, and are no results.

    Returns
    -------
    dict of str to dict
        Name to ``pooled`` of `msr_utils.metrics.evaluate`.
    """
    group = {t.id: t.group for t in tracks}
    sums: dict[str, list[float]] = {}
    for i, c in predictions.items():
        own = sums.setdefault(group[i], [0.0, 0.0])
        own[0] += float((c.predicted - c.true).sum())
        own[1] += len(c.true)
    bias = {name: error / n for name, (error, n) in sums.items()}
    changes = {
        "as predicted": lambda i, c: c.predicted,
        "the piece's predicted mean throughout": lambda i, c: np.full(
            len(c.true), c.predicted.mean()
        ),
        "level of the series known": lambda i, c: c.predicted - bias[group[i]],
        "level of the piece known": lambda i, c: c.predicted - level_error(c),
        "course in the piece known": lambda i, c: c.true + level_error(c),
    }
    return {
        name: evaluate(
            {i: Curve(c.times_s, c.true, change(i, c)) for i, c in predictions.items()},
            n_boot,
            seed,
        )["pooled"]
        for name, change in changes.items()
    }


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
        As in `msr_utils.metrics.evaluate`.

    Returns
    -------
    list of dict
        ``by, stratum, songs, share`` (of the squared error) and, each with ``value, low,
        high``, ``rmse, r, level`` (mean error over pieces: above 0 predicted too high).
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
            pooled = evaluate({i: predictions[i] for i in ids}, n_boot, seed)["pooled"]
            levels = np.array([level_error(predictions[i]) for i in ids])
            draws = levels[rng.integers(len(ids), size=(n_boot, len(ids)))].mean(axis=1)
            rows.append(
                {
                    "by": by,
                    "stratum": name,
                    "songs": len(ids),
                    "share": sum(squares[i] for i in ids) / total,
                    "rmse": pooled["rmse"],
                    "r": pooled["r"],
                    "level": _with_interval(levels.mean(), draws),
                }
            )
    return rows


def _with_interval(value: float, draws: np.ndarray) -> dict[str, float]:
    draws = draws[np.isfinite(draws)]
    low, high = np.quantile(draws, [0.025, 0.975]) if len(draws) else (np.nan, np.nan)
    return {"value": float(value), "low": float(low), "high": float(high)}


def level_correlations(
    predictions: Predictions, pieces: pd.DataFrame, n_boot: int = 2000, seed: int = 7
) -> list[dict]:
    """What pieces' rated level, predicted level and level error go along with.

    A cue that the rated level follows and the predicted level does not leaves a correlation
    with the error: below 0, pieces with much of it are predicted too low.

    Returns
    -------
    list of dict
        ``descriptor`` and, each with ``value, low, high``, Pearson's r over pieces with
        ``rated, predicted, error``.
    """
    curves = list(predictions.values())
    levels = {
        "rated": np.array([c.true.mean() for c in curves]),
        "predicted": np.array([c.predicted.mean() for c in curves]),
        "error": np.array([level_error(c) for c in curves]),
    }
    values = pieces.loc[list(predictions)]
    draws = np.random.default_rng(seed).integers(len(curves), size=(n_boot, len(curves)))
    rows = []
    for name in values.columns:
        x = values[name].to_numpy()
        row: dict = {"descriptor": name}
        for what, y in levels.items():
            row[what] = _with_interval(_pearson(x[None], y[None])[0], _pearson(x[draws], y[draws]))
        rows.append(row)
    return rows


def _pearson(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Pearson's r of each row; NaN where one does not vary."""
    x, y = (v - v.mean(axis=1, keepdims=True) for v in (x, y))
    product = np.sqrt((x**2).sum(axis=1) * (y**2).sum(axis=1))
    known = product > 1e-12
    return np.where(known, (x * y).sum(axis=1) / np.where(known, product, 1), np.nan)


def ranked(predictions: Predictions) -> list[str]:
    """Song ids, the one with the largest RMSE first."""
    return sorted(predictions, key=lambda i: -score(*_pair(predictions[i]))["rmse"])


def _pair(curve: Curve) -> tuple[np.ndarray, np.ndarray]:
    return curve.true, curve.predicted


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
        ``when, songs, rmse`` (``value, low, high``), ``bias`` (mean of predicted minus true)
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
                "rmse": evaluate(curves, n_boot, seed)["pooled"]["rmse"],
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
    half = ceiling(corpus, target)["within_r"]
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


def smoothing(predictions: Predictions, seconds: Sequence[float]) -> list[dict]:
    """Scores of the predictions through a causal average with each time constant; 0 is none.

    Returns
    -------
    list of dict
        ``seconds, rmse, r`` (pooled) and ``within_r`` (mean over pieces).
    """
    rows = []
    for tau in seconds:
        curves = causally_smoothed(predictions, tau) if tau else predictions
        result = evaluate(curves, 0)
        pooled = {m: result["pooled"][m]["value"] for m in ("rmse", "r")}
        within = result["per_song"]["r"]["mean"]
        rows.append({"seconds": float(tau), **pooled, "within_r": within})
    return rows


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
            "what_if": what_if(curves, corpus.tracks, n_boot, seed),
            "strata": by_stratum(curves, sorted_pieces, n_boot, seed),
            "levels": level_correlations(curves, pieces, n_boot, seed),
            "worst": worst_pieces(curves, pieces, corpus.tracks, target),
            "time": by_time(curves, n_boot, seed),
            "within": within_pieces(curves, corpus, target),
            "smoothing": smoothing(curves, smooth_s),
        }
        for target, curves in predictions.items()
    }


def parts_table(found: Mapping[str, dict]) -> pd.DataFrame:
    """Shares of the squared error, and of rater noise in it, in per cent, for display."""
    columns = {}
    for target, own in found.items():
        parts = own["parts"]
        layers = parts["layers"].items()
        rows = {
            f"{n}: {_LAYER_WORDS[n]}": f"{100 * p['share']:.0f} [{100 * p['low']:.0f}, {100 * p['high']:.0f}]"
            for n, p in layers
        }
        for name, where in (("level", "the pieces' levels"), ("course", "the course")):
            noise = 100 * parts["noise"][name] / parts["mse"]
            rows[f"of this, raters' noise in {where}"] = (
                f"{noise:.0f}" if np.isfinite(noise) else "–"
            )
        columns[target] = rows
    return pd.DataFrame(columns)


_LAYER_WORDS = {
    "corpus": "all frames too high or too low",
    "series": "a series too high or too low",
    "piece": "a piece within its series too high or too low",
    "course": "movement within a piece missed or made up",
}


def what_if_table(found: Mapping[str, dict]) -> pd.DataFrame:
    """Pooled scores of `what_if`, for display."""
    return pd.DataFrame(
        {
            (target, {"rmse": "RMSE"}.get(metric, metric)): {
                name: f"{pooled[metric]['value']:.3f}" for name, pooled in own["what_if"].items()
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

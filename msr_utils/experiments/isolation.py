"""What harmony adds and what the past adds, with everything else fixed, and how certain that is.

All models are ridge regressions of the same frames on the same folds. One series of models differs
in the features only, the other in the running statistics only. Neighbours of a series are compared
in pairs.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import pandas as pd
from scipy.linalg import cho_factor, cho_solve
from sklearn.model_selection import GroupKFold
from tqdm import tqdm

from msr_utils.constants import KEY_WINDOWS_S, TARGETS
from msr_utils.dataset.sequences import Sequence2Hz, collect
from msr_utils.dataset.splits import Split, inner_parts
from msr_utils.experiments.release.training_data import MEAN_SECONDS, SD_SECONDS
from msr_utils.features.blocks.tonal import KEY_MEASURES
from msr_utils.features.config import FeatureConfig
from msr_utils.features.running_stats import RunningStats
from msr_utils.metrics.bootstrap import N_BOOT, SEED, simultaneous_intervals
from msr_utils.metrics.curves import Curve, Predictions
from msr_utils.metrics.estimate import Estimate
from msr_utils.metrics.scores import TITLES, Scores, evaluate, pooled_draws, score
from msr_utils.models.ridge import RIDGE_ALPHAS, RIDGE_MEMORY_S, causal_average

SPECTRUM = ("logmel", "logmel_sd")
HARMONY = "tonal"

FRAME, AVERAGE, FULL = "the frame alone", "frame and 6 s average", "means and deviation"

MEMORIES = {
    FRAME: (0,),
    AVERAGE: (0, 1),
    "mean of 3 s": (2,),
    "means of 3 and 10 s": (2, 3),
    "means of 3, 10 and 40 s": (2, 3, 4),
    FULL: (2, 3, 4, 5),
}
"""The past that a model is given, from none to all: which parts of `with_past`."""

LOG_MEL, KEY_AND_MODE, FOURIER, ALL_TONAL, EVERYTHING = (
    "log-mel", "+ key and mode", "+ chroma Fourier", "+ all tonal", "all blocks",
)  # fmt: skip

INPUTS = (LOG_MEL, KEY_AND_MODE, FOURIER, ALL_TONAL, EVERYTHING)
"""The features that a model is given. Each adds some to the one before."""

ASIDE = ("tonal alone", "all blocks but tonal")
"""Further features, which are no steps of that series."""


@dataclass(frozen=True)
class Setting:
    """What one ridge regression is given.

    Parameters
    ----------
    inputs : str
        One of `INPUTS` or `ASIDE`.
    past : str
        One of `MEMORIES`.
    """

    inputs: str
    past: str

    def __str__(self) -> str:
        return f"{self.inputs}; {self.past}"


INPUT_STEPS = tuple(Setting(inputs, FULL) for inputs in INPUTS)
PAST_STEPS = tuple(Setting(EVERYTHING, past) for past in MEMORIES)
SETTINGS = (*dict.fromkeys((*INPUT_STEPS, *(Setting(name, FULL) for name in ASIDE), *PAST_STEPS)),)
"""Every ridge regression that is fitted."""


@dataclass(frozen=True)
class Uncertain:
    """Scores of one target with both kinds of intervals.

    Parameters
    ----------
    songs : Scores
        Intervals from resampling songs.
    groups : dict of metric to Estimate
        The pooled scores with intervals from resampling groups.
    folds : list of dict of metric to float
        Pooled scores of each fold alone.
    """

    songs: Scores
    groups: dict[str, Estimate]
    folds: list[dict[str, float]]


@dataclass(frozen=True)
class Step:
    """How much r rises from one model to the next.

    Parameters
    ----------
    target : str
    first, second : str
        The two `Setting`, as text.
    songs, groups : Estimate
        The difference, with intervals from resampling songs and from resampling groups.
    corrected : Estimate
        As `groups`, with an interval that holds for all steps of this target at once.
    """

    target: str
    first: str
    second: str
    songs: Estimate
    groups: Estimate
    corrected: Estimate


@dataclass(frozen=True)
class Isolation:
    """What was found.

    Parameters
    ----------
    dims : dict of str to int
        Features of each `Setting`.
    scores : dict of target to setting to Uncertain
    steps : list of Step
        Inputs first, then the past.
    nested : dict of target to Uncertain
        Of the setting that the inner folds choose in each outer fold: the only score in which no
        choice has seen a tested track.
    chosen : dict of target to list of str
        That setting, a fold each.
    left_out : dict of target to Uncertain
        Of `EVERYTHING` with `FULL`, each group predicted by a model of all others. `folds` has one
        entry a group, as ordered in `group_songs`.
    group_songs : dict of str to int
        Songs of each group.
    """

    dims: dict[str, int]
    scores: dict[str, dict[str, Uncertain]]
    steps: list[Step]
    nested: dict[str, Uncertain]
    chosen: dict[str, list[str]]
    left_out: dict[str, Uncertain]
    group_songs: dict[str, int]


def columns(features: FeatureConfig, inputs: str) -> np.ndarray:
    """Columns of frames that belong to one of `INPUTS` or `ASIDE`.

    Raises
    ------
    ValueError
        If the features lack a block that is needed.
    """
    if missing := [name for name in (*SPECTRUM, HARMONY) if name not in features.blocks]:
        raise ValueError(f"features: {', '.join(missing)} must be among them")
    spectrum, tonal = features.columns(SPECTRUM), features.columns((HARMONY,))
    others = [name for name in features.blocks if name != HARMONY]
    if inputs in (LOG_MEL, KEY_AND_MODE, FOURIER):
        # Each window has the chroma, three measures of the key, and its Fourier transform.
        ends = {LOG_MEL: 0, KEY_AND_MODE: 3, FOURIER: KEY_MEASURES}
        window = 12 + np.arange(ends[inputs])
        starts = (12 + KEY_MEASURES) * np.arange(len(KEY_WINDOWS_S))
        return np.concatenate([spectrum, tonal[(starts[:, None] + window).ravel()]])
    return {
        ALL_TONAL: np.concatenate([spectrum, tonal]),
        EVERYTHING: features.columns(features.blocks),
        "tonal alone": tonal,
        "all blocks but tonal": features.columns(others),
    }[inputs]


def with_past(frames: np.ndarray) -> np.ndarray:
    """Everything that a model may be given of a track.

    Parameters
    ----------
    frames : np.ndarray [shape=(T, D), dtype=float32]

    Returns
    -------
    np.ndarray [shape=(T, 6 * D), dtype=float32]
        The frames, their causal average of `RIDGE_MEMORY_S`, and their running statistics.
    """
    stats = RunningStats(frames.shape[1], MEAN_SECONDS, SD_SECONDS).push(frames)
    parts = [frames, causal_average(frames, RIDGE_MEMORY_S), stats]
    return np.concatenate(parts, axis=1, dtype=np.float32)


@dataclass(frozen=True)
class _Rows:
    """Labelled frames of all tracks, (n, 6 * D), in the order of the tracks.

    `parts` has the rows of each track. `sums` has the products of each group in double precision:
    X'X, X'Y, Y'Y, sums of X and of Y, rows. Groups are never split, so those of any part add up.
    """

    x: np.ndarray
    parts: dict[str, slice]
    group: dict[str, str]
    sums: dict[str, tuple[np.ndarray, ...]]


def _rows(sequences: Sequence[Sequence2Hz]) -> _Rows:
    x = np.concatenate([with_past(s.features)[s.mask] for s in sequences])
    y = np.concatenate([s.labels[s.mask] for s in sequences]).astype(np.float64)
    ends = np.cumsum([0, *(int(s.mask.sum()) for s in sequences)])
    parts = {s.id: slice(*pair) for s, pair in zip(sequences, pairwise(ends), strict=True)}
    # A common origin and scale keep products in single precision exact enough. They change
    # nothing else: each training part is standardised by its own moments.
    x -= x.mean(axis=0, dtype=np.float64).astype(np.float32)
    x /= np.maximum(x.std(axis=0, dtype=np.float64), 1e-6).astype(np.float32)
    group = {s.id: s.group for s in sequences}
    sums: dict[str, tuple[np.ndarray, ...]] = {}
    for name in dict.fromkeys(group.values()):
        mine = [parts[i] for i in group if group[i] == name]
        a, b = (np.concatenate([rows[part] for part in mine]) for rows in (x, y))
        products = a.T @ a, a.T @ b.astype(np.float32), (b * b).sum(axis=0)
        sums[name] = (*products, a.sum(axis=0, dtype=np.float64), b.sum(axis=0), np.array(len(a)))
    return _Rows(x, parts, group, sums)


def _added(rows: _Rows, ids: Sequence[str], kept: np.ndarray) -> tuple[np.ndarray, ...]:
    """Sums over some tracks, which are all of their groups, of some columns."""
    names = dict.fromkeys(rows.group[i] for i in ids)
    xx, xy, yy, x, y, n = (
        sum(parts[1:], parts[0].astype(np.float64))
        for parts in zip(
            *(
                (s[0][np.ix_(kept, kept)], s[1][kept], s[2], s[3][kept], s[4], s[5])
                for s in (rows.sums[name] for name in names)
            ),
            strict=True,
        )
    )
    return xx, xy, yy, x, y, n


def _path(sums: tuple[np.ndarray, ...]) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Slopes (D, 2) and levels (2,) of ridge regression on some tracks, for each penalty.

    As `msr_utils.models.ridge.solve_ridge`, from sums over groups instead of from the rows.
    """
    xx, xy, _, x, y, n = sums
    mean_x, mean_y = x / n, y / n
    gram = xx - n * np.outer(mean_x, mean_x)
    moment = xy - n * np.outer(mean_x, mean_y)
    sd = np.sqrt(np.maximum(np.diag(gram) / n, 0))
    sd[sd < 1e-6] = 1
    gram /= np.outer(sd, sd)
    for alpha in RIDGE_ALPHAS:
        solved = cho_solve(cho_factor(gram + alpha * np.eye(len(sd))), moment / sd[:, None])
        slope = solved / sd[:, None]
        yield slope, mean_y - mean_x @ slope


def _squared_error(
    sums: tuple[np.ndarray, ...], slope: np.ndarray, level: np.ndarray
) -> np.ndarray:
    """Mean squared error of a model on some tracks, (2,), from their sums."""
    xx, xy, yy, x, y, n = sums
    squares = ((xx @ slope) * slope).sum(axis=0) + 2 * level * (x @ slope) + n * level**2
    products = (xy * slope).sum(axis=0) + level * y
    error: np.ndarray = (squares - 2 * products + yy) / n
    return error


@dataclass(frozen=True)
class _Fitted:
    """Test curves of one setting, and the error on the inner folds, (folds, 2), that chose it."""

    curves: dict[str, dict[str, Curve]]
    inner: np.ndarray


def _fit(
    sequences: Sequence[Sequence2Hz],
    rows: _Rows,
    kept: np.ndarray,
    splits: Sequence[Split],
    inner_folds: int,
) -> _Fitted:
    by_id = {s.id: s for s in sequences}
    curves: dict[str, dict[str, Curve]] = {target: {} for target in TARGETS}
    inner = np.zeros((len(splits), len(TARGETS)))
    for fold, split in enumerate(splits):
        parts = inner_parts(split, rows.group, inner_folds)
        errors = np.zeros((len(RIDGE_ALPHAS), len(TARGETS)))
        for train, held in parts:
            tested = _added(rows, held, kept)
            errors += [_squared_error(tested, *fit) for fit in _path(_added(rows, train, kept))]
        best = errors.argmin(axis=0)
        inner[fold] = errors.min(axis=0) / len(parts)
        path = list(_path(_added(rows, parts[0][0] + parts[0][1], kept)))
        for k, target in enumerate(TARGETS):
            slope, level = path[best[k]]
            for i in split.test:
                whole = np.zeros(len(by_id[i].mask))
                whole[by_id[i].mask] = rows.x[rows.parts[i]][:, kept] @ slope[:, k] + level[k]
                curves[target] |= collect([by_id[i]], {i: whole}, target)
    return _Fitted(curves, inner)


def kept_columns(features: FeatureConfig, setting: Setting) -> np.ndarray:
    """Columns of `with_past` that a model is given."""
    frame = columns(features, setting.inputs)
    return np.concatenate([frame + features.dim * part for part in MEMORIES[setting.past]])


def leave_one_group_out(group: Mapping[str, str]) -> list[Split]:
    """A split for each group, which is its test part. Others are validation and training.

    Parameters
    ----------
    group : mapping of str to str
        Track id to group.
    """
    splits = []
    for name in dict.fromkeys(group.values()):
        rest = np.array([i for i in group if group[i] != name])
        groups = [group[i] for i in rest]
        train, held = next(iter(GroupKFold(min(5, len(set(groups)))).split(rest, groups=groups)))
        test = tuple(i for i in group if group[i] == name)
        splits.append(Split(tuple(rest[train]), tuple(rest[held]), test))
    return splits


def isolate(
    sequences: Sequence[Sequence2Hz],
    features: FeatureConfig,
    splits: Sequence[Split],
    inner_folds: int = 1,
    n_boot: int = N_BOOT,
    seed: int = SEED,
) -> Isolation:
    """Fit every `Setting`, and compare neighbours.

    Parameters
    ----------
    sequences : sequence of Sequence2Hz
        Frames without running statistics.
    features : FeatureConfig
        Of the frames.
    splits : sequence of Split
    inner_folds : int >= 1
        As in `inner_parts`. Penalties are chosen there.
    n_boot, seed : int
        As in `evaluate`.

    Raises
    ------
    ValueError
        If the features lack a block that is needed, or there are too few groups.
    """
    group = {s.id: s.group for s in sequences}
    fitted: dict[Setting, _Fitted] = {}
    dims = {}
    rows = _rows(sequences)
    for setting in tqdm(SETTINGS, desc="ridge regressions", unit="model"):
        kept = kept_columns(features, setting)
        fitted[setting] = _fit(sequences, rows, kept, splits, inner_folds)
        dims[str(setting)] = len(kept)
    alone = leave_one_group_out(group)
    kept = kept_columns(features, INPUT_STEPS[-1])
    left_out = _fit(sequences, rows, kept, alone, min(3, len(alone) - 1))

    def uncertain(curves: Predictions, parts: Sequence[Split]) -> Uncertain:
        return _uncertain(curves, group, parts, n_boot, seed)

    scores = {
        t: {str(s): uncertain(f.curves[t], splits) for s, f in fitted.items()} for t in TARGETS
    }
    nested, chosen = {}, {}
    for k, target in enumerate(TARGETS):
        best = [_best(fitted, fold, k) for fold in range(len(splits))]
        chosen[target] = [str(setting) for setting in best]
        curves: dict[str, Curve] = {}
        for setting, split in zip(best, splits, strict=True):
            curves |= {i: fitted[setting].curves[target][i] for i in split.test}
        nested[target] = uncertain(curves, splits)
    return Isolation(
        dims,
        scores,
        [s for t in TARGETS for s in _steps(fitted, t, group, n_boot, seed)],
        nested,
        chosen,
        {t: uncertain(left_out.curves[t], alone) for t in TARGETS},
        {name: list(group.values()).count(name) for name in dict.fromkeys(group.values())},
    )


def _best(fitted: Mapping[Setting, _Fitted], fold: int, target: int) -> Setting:
    """The setting with the lowest error on the inner folds."""

    def error(setting: Setting) -> float:
        return float(fitted[setting].inner[fold, target])

    return min(SETTINGS, key=error)


def _uncertain(
    curves: Predictions, group: Mapping[str, str], splits: Sequence[Split], n_boot: int, seed: int
) -> Uncertain:
    draws = pooled_draws(curves, group, n_boot, seed)
    folds = []
    for split in splits:
        tested = [curves[i] for i in split.test]
        true, predicted = (
            np.concatenate([getattr(c, name) for c in tested]) for name in ("true", "predicted")
        )
        folds.append(score(true, predicted))
    groups = {metric: Estimate.of_draws(values) for metric, values in draws.items()}
    return Uncertain(evaluate(curves, n_boot, seed), groups, folds)


def _steps(
    fitted: Mapping[Setting, _Fitted],
    target: str,
    group: Mapping[str, str],
    n_boot: int,
    seed: int,
) -> list[Step]:
    """Differences of r between neighbours, on the same resampled songs and groups."""
    itself = {i: i for i in group}

    def draws(unit: Mapping[str, str]) -> np.ndarray:
        r = {s: pooled_draws(f.curves[target], unit, n_boot, seed)["r"] for s, f in fitted.items()}
        return np.stack([r[second] - r[first] for first, second in pairs])

    pairs = [*pairwise(INPUT_STEPS), *pairwise(PAST_STEPS)]
    songs, groups = draws(itself), draws(group)
    corrected = simultaneous_intervals(groups)
    return [
        Step(target, str(a), str(b), Estimate.of_draws(s), Estimate.of_draws(g), c)
        for (a, b), s, g, c in zip(pairs, songs, groups, corrected, strict=True)
    ]


def score_table(found: Isolation, metric: str = "r") -> pd.DataFrame:
    """Pooled scores of every model, with both kinds of intervals, for display."""
    rows: dict[tuple[str, str], dict[str, str]] = {}
    for setting in SETTINGS:
        row = rows[setting.inputs, setting.past] = {"features": f"{found.dims[str(setting)]:,}"}
        for target in TARGETS:
            scores = found.scores[target][str(setting)]
            row[f"{target}, by song"] = f"{scores.songs.pooled[metric]:.2f}"
            row[f"{target}, by group"] = f"[{scores.groups[metric].interval('.2f')}]"
    return pd.DataFrame(rows.values(), pd.MultiIndex.from_tuples(rows, names=["inputs", "past"]))


def step_table(found: Isolation, target: str) -> pd.DataFrame:
    """Differences of r between neighbours, for display."""
    rows = {
        (step.first, step.second): {
            "by song": f"{step.songs:+.3f}",
            "by group": f"{step.groups:+.3f}",
            "all at once": f"{step.corrected:+.3f}",
        }
        for step in found.steps
        if step.target == target
    }
    index = pd.MultiIndex.from_tuples(rows, names=["from", "to"])
    return pd.DataFrame(rows.values(), index)


def fold_table(found: Isolation) -> pd.DataFrame:
    """Pooled scores of the chosen models in each fold alone, for display."""
    rows = [
        {"target": target, "fold": fold, "model": name}
        | {metric: f"{scores[metric]:.3f}" for metric in ("rmse", "r", "ccc")}
        for target in TARGETS
        for fold, (name, scores) in enumerate(
            zip(found.chosen[target], found.nested[target].folds, strict=True), 1
        )
    ]
    return pd.DataFrame(rows).set_index(["target", "fold"]).rename(columns=TITLES)

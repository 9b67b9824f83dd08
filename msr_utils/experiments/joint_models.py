"""One model for several corpora: a linear map, a kernel machine, or the mean of both?

The models are trained at once on curves and on clips with a quadrant, as the released models are.
All are kernel ridge regressions on the same rows with the same weights. They differ in the kernel
only: the linear one gives ridge regression, the Gaussian one can fit piano music and recordings in
different ways.

The constants below were fixed after a trial of twelve settings of the Gaussian kernel, which was
scored on the same folds. Between these values, the inner folds choose.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from scipy.linalg import solve
from threadpoolctl import threadpool_limits
from tqdm import tqdm

from msr_utils.constants import TARGETS
from msr_utils.corpora.base import Corpus, CorpusError
from msr_utils.dataset.sequences import align
from msr_utils.dataset.splits import splits_of
from msr_utils.experiments.clip_scores import (
    MetricEstimates,
    MetricSamples,
    estimates,
    paired_difference,
)
from msr_utils.experiments.release.training_data import FRAME_STRIDE, clip_labels
from msr_utils.features.cache import cached_features
from msr_utils.features.config import FeatureConfig
from msr_utils.metrics.bootstrap import N_BOOT, SEED, draw_counts
from msr_utils.metrics.correlation import weighted_auc, weighted_pearson
from msr_utils.metrics.scores import metric_title
from msr_utils.paths import CACHE_DIR

LINEAR, GAUSSIAN, MEAN = "linear", "Gaussian kernel", "mean of both"

CURVE_WEIGHT = 0.6
"""Share of the loss that belongs to curves. The rest belongs to clips."""

TRAIN_EVERY = 2
"""Of the frames of a curve that are tested, every second one is trained on, 8 s apart."""

PENALTIES = {LINEAR: (1.0, 3.0), GAUSSIAN: (0.3, 1.0)}
"""Penalties that are tried. Products of inputs are averaged over the features first."""

GAMMAS = {LINEAR: (0.0,), GAUSSIAN: (0.25, 0.5)}
"""Inverse squared widths of the kernel that are tried, divided by the number of inputs."""


@dataclass(frozen=True)
class Setting:
    """Hyperparameters of a model.

    Parameters
    ----------
    gamma : float >= 0
        Inverse squared width of the Gaussian kernel; 0: the linear kernel.
    penalty : float > 0
    """

    gamma: float
    penalty: float


SETTINGS = {name: [Setting(g, p) for g in GAMMAS[name] for p in PENALTIES[name]] for name in GAMMAS}


@dataclass(frozen=True)
class Rows:
    """Frames of curves and mean frames of clips, of one corpus.

    Parameters
    ----------
    labels : str
        Kind of labels: "curves" or "quadrants".
    x : np.ndarray [shape=(n, D), dtype=float32]
    y : np.ndarray [shape=(n, 2)]
        Valence and arousal.
    fold : np.ndarray [shape=(n,), dtype=int]
        Fold that tests each row; -1 for none.
    unit : np.ndarray [shape=(n,)]
        What the bootstrap draws: the track of a frame, or the artist of a clip.
    trained : np.ndarray [shape=(n,), dtype=bool]
        Rows that models may be trained on.
    """

    labels: str
    x: np.ndarray
    y: np.ndarray
    fold: np.ndarray
    unit: np.ndarray
    trained: np.ndarray


@dataclass(frozen=True)
class JointComparison:
    """Scores of joint models.

    Parameters
    ----------
    scores : dict of corpus to model to metric to target to Estimate
        Cross-validated. Each fold's `Setting` was chosen without the tested fold.
    above : dict of corpus to model to metric to target to Estimate
        Paired difference to the linear model, on the same resampled tracks or artists.
    unseen : dict of model to metric to target to Estimate
        On the songs of a corpus that was not used in training.
    chosen : dict of model to list of Setting
        One a fold.
    """

    scores: dict[str, dict[str, MetricEstimates]]
    above: dict[str, dict[str, MetricEstimates]]
    unseen: dict[str, MetricEstimates]
    chosen: dict[str, list[Setting]]


def read_rows(
    corpus: Corpus,
    features: FeatureConfig,
    folds: int,
    seed: int,
    cache_dir: Path = CACHE_DIR,
    progress: bool = True,
) -> Rows:
    """Read the rows of a corpus. Features are cached.

    Parameters
    ----------
    corpus : Corpus
        With curves or quadrants.
    features : FeatureConfig
    folds : int
        0: no row is tested, and `Rows.fold` is -1.
    seed : int
    cache_dir : Path
    progress : bool

    Raises
    ------
    CorpusError
        If the corpus has other labels, or audio cannot be decoded.
    ValueError
        If there are too few groups.
    """
    if corpus.labels not in ("curves", "quadrants"):
        raise CorpusError(f"corpus: {corpus.name} has neither curves nor quadrants")
    fold_of = {
        track_id: k
        for k, split in enumerate(splits_of(corpus, folds, seed) if folds else [])
        for track_id in split.test
    }
    of_clips = clip_labels(corpus) if corpus.labels == "quadrants" else None
    parts = []
    for i, track in enumerate(tqdm(corpus.tracks, desc=corpus.name, disable=not progress)):
        frames = cached_features(track.audio_path, features, cache_dir)
        if of_clips is None:
            sequence = align(track, frames)
            rows = np.flatnonzero(sequence.mask)[::FRAME_STRIDE]
            x, y, unit = frames[rows], sequence.labels[rows].astype(float), track.id
            trained = np.arange(len(rows)) % TRAIN_EVERY == 0
        else:
            x, y, unit = frames.mean(axis=0, keepdims=True), of_clips[[i]], track.group
            trained = np.ones(1, bool)
        n = len(x)
        parts.append((x, y, np.full(n, fold_of.get(track.id, -1)), np.full(n, unit), trained))
    return Rows(corpus.labels, *(np.concatenate(part) for part in zip(*parts, strict=True)))


@dataclass(frozen=True)
class _Problem:
    """Products or distances between the rows of all corpora, standardised without some rows.

    Parameters
    ----------
    products, distances : np.ndarray [shape=(n, m), dtype=float32]
        Between all rows and those that may be trained on, averaged over the features.
    train : np.ndarray [shape=(m,), dtype=int]
        Places of the latter.
    y : np.ndarray [shape=(m, 2)]
    weight : np.ndarray [shape=(m,)]
        Their mean is 1.
    """

    products: np.ndarray
    distances: np.ndarray
    train: np.ndarray
    y: np.ndarray
    weight: np.ndarray

    def kernel(self, gamma: float) -> np.ndarray:
        """The kernel of a setting, (n, m)."""
        return np.exp(-gamma * self.distances) if gamma else self.products

    def fit_and_predict(
        self, kernel: np.ndarray, penalty: float, left_out: np.ndarray, rows: np.ndarray
    ) -> np.ndarray:
        """Train without some of the training rows, and predict rows, (r, 2).

        Parameters
        ----------
        kernel : np.ndarray [shape=(n, m)]
        penalty : float > 0
        left_out : np.ndarray [shape=(m,), dtype=bool]
        rows : np.ndarray [shape=(r,), dtype=int]
        """
        used = np.flatnonzero(~left_out)
        weight, y = self.weight[used], self.y[used]
        level = np.average(y, axis=0, weights=weight)
        gram = kernel[np.ix_(self.train[used], used)].astype(np.float64)
        gram[np.diag_indices_from(gram)] += penalty / weight
        dual = solve(gram, y - level, assume_a="pos", check_finite=False, overwrite_a=True)
        return kernel[np.ix_(rows, used)] @ dual + level


def _problem(corpora: Sequence[Rows], more: np.ndarray, without: int | None) -> _Problem:
    """Standardise by the training rows that fold `without` does not test; `more` rows come last."""
    weights = []
    for rows in corpora:
        share = CURVE_WEIGHT if rows.labels == "curves" else 1 - CURVE_WEIGHT
        kinds = sum(other.labels == rows.labels for other in corpora)
        used = rows.trained & (rows.fold >= 0) & (rows.fold != (-1 if without is None else without))
        weights.append(used * (share / kinds / used.sum()))
    weight = np.concatenate(weights)
    x = np.concatenate([rows.x for rows in corpora])
    mean = np.average(x, axis=0, weights=weight)
    # Within corpora: differences between them mostly encode genre.
    variance = sum(
        w.sum() * (np.average(r.x**2, axis=0, weights=w) - np.average(r.x, axis=0, weights=w) ** 2)
        for r, w in zip(corpora, weights, strict=True)
    )
    sd = np.sqrt(np.maximum(variance / weight.sum(), 0))
    sd[sd < 1e-6] = 1
    x = ((np.concatenate([x, more]) - mean) / sd).astype(np.float32)
    trained = np.concatenate([rows.trained & (rows.fold >= 0) for rows in corpora])
    train = np.flatnonzero(trained)
    products = x @ x[train].T / np.float32(x.shape[1])
    square = (x**2).mean(axis=1)
    distances = np.maximum(square[:, None] + square[train] - 2 * products, 0)
    y = np.concatenate([rows.y for rows in corpora])[train]
    # Rows of the fold that is left out have weight 0 and are never trained on.
    weight = weight[train] / weight[train][weight[train] > 0].mean()
    return _Problem(products, distances, train, y, weight)


def compare(
    corpora: Mapping[str, Rows],
    unseen: Rows,
    folds: int,
    n_boot: int = N_BOOT,
    seed: int = SEED,
    progress: bool = True,
) -> JointComparison:
    """Cross-validate the joint models over all corpora at once.

    Parameters
    ----------
    corpora : mapping of title to Rows
        At least one with curves and one with quadrants.
    unseen : Rows
        With curves; not used in training.
    folds : int >= 3
        As in `read_rows`.
    n_boot, seed : int
    progress : bool

    Raises
    ------
    ValueError
        If a kind of labels is missing.
    """
    if {rows.labels for rows in corpora.values()} != {"curves", "quadrants"}:
        raise ValueError("corpora: need at least one with curves and one with quadrants")
    parts = list(corpora.values())
    ends = np.cumsum([len(rows.x) for rows in parts])
    with threadpool_limits(1, user_api="blas"):
        predicted, losses, chosen = _cross_validate(parts, folds, progress)
        on_unseen = _predict_unseen(parts, unseen, losses)
    scores, above = {}, {}
    for (title, rows), end in zip(corpora.items(), ends, strict=True):
        part = slice(end - len(rows.x), end)
        samples = {m: _samples(rows, p[part], n_boot, seed) for m, p in predicted.items()}
        scores[title] = {model: estimates(found) for model, found in samples.items()}
        above[title] = {
            model: estimates(paired_difference(found, samples[LINEAR]))
            for model, found in samples.items()
            if model != LINEAR
        }
    songs = {m: estimates(_song_samples(unseen, p, n_boot, seed)) for m, p in on_unseen.items()}
    return JointComparison(scores, above, songs, chosen)


def _cross_validate(
    parts: Sequence[Rows], folds: int, progress: bool
) -> tuple[dict[str, np.ndarray], dict[Setting, float], dict[str, list[Setting]]]:
    """Predictions by model, mean inner losses of all settings, and the settings of each fold."""
    fold = np.concatenate([rows.fold for rows in parts])
    y = np.concatenate([rows.y for rows in parts])
    corpus = np.repeat(np.arange(len(parts)), [len(rows.x) for rows in parts])
    predicted = {model: np.full(y.shape, np.nan) for model in SETTINGS}
    settings = [setting for some in SETTINGS.values() for setting in some]
    losses = dict.fromkeys(settings, 0.0)
    chosen: dict[str, list[Setting]] = {model: [] for model in SETTINGS}
    for k in tqdm(range(folds), desc="folds", disable=not progress):
        problem = _problem(parts, np.empty((0, parts[0].x.shape[1]), np.float32), k)
        train_fold, test = fold[problem.train], np.flatnonzero(fold == k)
        of_fold = {}
        for setting in settings:
            kernel = problem.kernel(setting.gamma)
            inner = np.full(y.shape, np.nan)
            for j in (j for j in range(folds) if j != k):
                rows = np.flatnonzero(fold == j)
                left_out = np.isin(train_fold, (j, k))
                inner[rows] = problem.fit_and_predict(kernel, setting.penalty, left_out, rows)
            of_fold[setting] = _loss(y, inner, corpus)
            losses[setting] += of_fold[setting] / folds
        for model, some in SETTINGS.items():
            best = min(some, key=lambda setting: of_fold[setting])
            kernel = problem.kernel(best.gamma)
            predicted[model][test] = problem.fit_and_predict(
                kernel, best.penalty, train_fold == k, test
            )
            chosen[model].append(best)
    return _with_mean(predicted), losses, chosen


def _predict_unseen(
    parts: Sequence[Rows], unseen: Rows, losses: Mapping[Setting, float]
) -> dict[str, np.ndarray]:
    """Predictions for unseen rows by models that are trained on all folds."""
    problem = _problem(parts, unseen.x, None)
    rows = np.arange(len(problem.products) - len(unseen.x), len(problem.products))
    none = np.zeros(len(problem.train), bool)
    predicted = {}
    for model, some in SETTINGS.items():
        best = min(some, key=lambda setting: losses[setting])
        kernel = problem.kernel(best.gamma)
        predicted[model] = problem.fit_and_predict(kernel, best.penalty, none, rows)
    return _with_mean(predicted)


def _with_mean(predicted: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    return predicted | {MEAN: np.mean(list(predicted.values()), axis=0)}


def _loss(y: np.ndarray, predicted: np.ndarray, corpus: np.ndarray) -> float:
    """Squared error over variance, averaged over targets and corpora; rows with NaN are left out.

    It is the loss that chooses the weights of the released models.
    """
    known = np.isfinite(predicted[:, 0])
    errors = []
    for c in np.unique(corpus):
        rows = known & (corpus == c)
        errors.append(((y - predicted)[rows] ** 2).mean(axis=0) / y[rows].var(axis=0))
    return float(np.mean(errors))


def _samples(rows: Rows, predicted: np.ndarray, n_boot: int, seed: int) -> MetricSamples:
    """Metrics of the tested rows in each bootstrap sample."""
    tested = rows.fold >= 0
    y, p = rows.y[tested], predicted[tested]
    counts = draw_counts(rows.unit[tested], n_boot, seed)
    if rows.labels == "curves":
        return _curve_metrics(counts, y, p)
    correct = ((y > 0) == (p > 0)).all(axis=1)
    return {
        "auc": {t: weighted_auc(counts, y[:, k] > 0, p[:, k]) for k, t in enumerate(TARGETS)},
        "accuracy": {"quadrant": counts @ correct / counts.sum(axis=1)},
    }


def _curve_metrics(counts: np.ndarray, y: np.ndarray, p: np.ndarray) -> MetricSamples:
    r = weighted_pearson(counts, y, p)
    rmse = np.sqrt(counts @ (y - p) ** 2 / counts.sum(axis=1, keepdims=True))
    return {
        metric: {target: values[:, k] for k, target in enumerate(TARGETS)}
        for metric, values in (("r", r), ("rmse", rmse))
    }


def _song_samples(rows: Rows, predicted: np.ndarray, n_boot: int, seed: int) -> MetricSamples:
    """RMSE over frames, and r of the means of songs."""
    songs = np.unique(rows.unit)
    y, p = (
        np.array([values[rows.unit == song].mean(axis=0) for song in songs])
        for values in (rows.y, predicted)
    )
    r = weighted_pearson(draw_counts(songs, n_boot, seed), y, p)
    frames = _curve_metrics(draw_counts(rows.unit, n_boot, seed), rows.y, predicted)
    return {
        "r of song means": {target: r[:, k] for k, target in enumerate(TARGETS)},
        "rmse": frames["rmse"],
    }


def score_table(scores: Mapping[str, Mapping[str, MetricEstimates]]) -> pd.DataFrame:
    """Readable table: corpora, metrics and targets as rows, models as columns."""
    return pd.DataFrame(
        {
            model: {
                (corpus, metric_title(metric), target): f"{estimate}"
                for corpus, models in scores.items()
                for metric, targets in models.get(model, {}).items()
                for target, estimate in targets.items()
            }
            for model in next(iter(scores.values()))
        }
    ).rename_axis(["corpus", "metric", "target"])

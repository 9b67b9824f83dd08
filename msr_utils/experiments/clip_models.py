"""Labels of whole clips from the statistics of their frames: models, baselines, cross-validation.

Every model here is fitted by least squares, classes too: quadrants are learned as the signs of
valence, of arousal and of their product, and a clip's scores rank it as a classifier's would
(Rifkin, Yeo and Poggio 2003, "Regularized least-squares classification"). So emotions and
quadrants need one set of models, and their mean is one more.

How the models were chosen: some ninety variants (statistics, blocks, scaling, kernels, support
vectors, trees, averages) were compared on Emotify and sixty on the quadrants, each by nested
cross-validation among the clips that folds 1 to 5 of 10 (1 to 3 of 5) test. Then the models
below and their mean were fixed, and the whole cross-validation was run. The blocks of the
log-mel baseline were extended afterwards, which made it stronger.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from sklearn.base import BaseEstimator
from sklearn.compose import TransformedTargetRegressor
from sklearn.decomposition import PCA
from sklearn.ensemble import ExtraTreesRegressor
from sklearn.kernel_ridge import KernelRidge
from sklearn.linear_model import Ridge
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from threadpoolctl import threadpool_limits
from tqdm import tqdm

from msr_utils.affect import SIGNS
from msr_utils.audio.source import AudioError
from msr_utils.corpora.base import Corpus, CorpusError
from msr_utils.dataset.splits import Split, inner_parts, splits_of
from msr_utils.features.cache import cached_features
from msr_utils.features.config import FeatureConfig
from msr_utils.io import (
    plain,
    read_json,
    sha256_text,
    write_json,
)
from msr_utils.paths import CACHE_DIR
from msr_utils.provenance.cache_keys import computed_by

STATISTICS = {
    "mean": lambda frames: frames.mean(axis=0),
    "sd": lambda frames: frames.std(axis=0),
    "step": lambda frames: (
        np.abs(np.diff(frames, axis=0)).mean(axis=0) if len(frames) > 1 else 0 * frames[0]
    ),
}
"""What is kept of a clip's frames, (T, D) -> (D,): level, spread, and mean change from one
frame to the next, which tells a slow drift from a quick alternation of the same spread."""

INNER_FOLDS = 4
"""Parts of the clips that are not tested, by group, on which settings are chosen."""

RIDGE_ALPHAS = tuple(float(a) for a in np.logspace(1, 5, 9))

KERNEL_ALPHAS = (0.03, 0.1, 0.3, 1.0, 3.0)

KERNEL_GAMMAS = (0.1, 0.3, 0.6, 1.2)
"""Penalties, and inverse squared widths of the Gaussian kernel divided by the number of inputs."""

COMPONENTS = 20
"""Principal components that one of the kernel machines hears, each with the same weight."""

TREES = {"n_estimators": 300, "min_samples_leaf": 3, "max_features": 1 / 3}
"""Settings of the extremely randomised trees: fixed, they hardly matter."""

CONSTANT, GENRE, LOGMEL = "constant", "genre mean", "ridge (log-mel)"

MEAN = "mean of the models"
"""Names in tables; the first three are baselines, the last is the one that was declared."""

LOGMEL_BLOCKS = ("logmel", "logmel_sd")
"""What the baseline hears; without the movement within frames it would be much weaker."""


@dataclass(frozen=True)
class ClipPredictions:
    """What the models said of clips that they had not heard.

    Parameters
    ----------
    labels : str
        "gems" or "quadrants".
    groups : np.ndarray [shape=(N,)]
        Artist, or track, of each tested clip.
    true : np.ndarray [shape=(N, K)]
        See `targets_of`.
    scores : dict of str to np.ndarray [shape=(N, K)]
        By model, baselines first.
    chosen : list of dict
        Settings of each model in each fold.
    """

    labels: str
    groups: np.ndarray
    true: np.ndarray
    scores: dict[str, np.ndarray]
    chosen: list[dict]


def targets_of(corpus: Corpus) -> np.ndarray:
    """Labels of every clip as numbers.

    Returns
    -------
    np.ndarray [shape=(N, K), dtype=float64]
        Emotions: the share of listeners, 0 to 1, in the order of `EMOTIONS`. Quadrants: the
        signs, -1 or 1, of valence, arousal and their product.

    Raises
    ------
    CorpusError
        If the corpus has other labels, or a track has none.
    """
    if corpus.labels not in ("gems", "quadrants"):
        raise CorpusError(
            f"corpus: {corpus.name} has {corpus.labels}, not one label a clip; "
            "give emotify, or a folder with quadrants"
        )
    rows = []
    for track in corpus.tracks:
        if corpus.labels == "gems":
            row = track.gems
        else:
            valence, arousal = SIGNS.get(track.quadrant, (np.nan, np.nan))
            row = (valence, arousal, valence * arousal)
        if row is None or not np.isfinite(row).all():
            raise CorpusError(f"track {track.id!r}: no label of kind {corpus.labels}")
        rows.append(row)
    return np.array(rows, np.float64)


def vectors_of(
    corpus: Corpus, config: FeatureConfig, cache_dir: Path = CACHE_DIR, progress: bool = True
) -> np.ndarray:
    """One vector a clip: every statistic of every feature over its frames, cached frames.

    Returns
    -------
    np.ndarray [shape=(N, len(STATISTICS) * config.dim), dtype=float64]
        All features' means first; see `columns_of`.

    Raises
    ------
    CorpusError
        If a track's audio cannot be decoded; the track is named.
    """
    rows = []
    for track in tqdm(corpus.tracks, desc="features", unit="track", disable=not progress):
        try:
            frames = cached_features(track.audio_path, config, cache_dir).astype(np.float64)
        except AudioError as error:
            raise CorpusError(f"track {track.id!r}: {error}") from error
        rows.append(np.concatenate([of(frames) for of in STATISTICS.values()]))
    return np.array(rows)


def columns_of(config: FeatureConfig, blocks: Sequence[str]) -> np.ndarray:
    """Where some blocks' statistics stand in the vectors of `vectors_of`, (d,) int."""
    return np.concatenate([k * config.dim + config.columns(blocks) for k in range(len(STATISTICS))])


def with_logmel(features: str) -> FeatureConfig:
    """The named blocks, and those that the log-mel baseline hears."""
    named = FeatureConfig(features).blocks
    return FeatureConfig(tuple(dict.fromkeys((*named, *LOGMEL_BLOCKS))))


def predict(
    corpus: Corpus,
    features: str,
    folds: int,
    seed: int = 7,
    work_dir: Path | None = None,
    cache_dir: Path = CACHE_DIR,
    progress: bool = True,
) -> ClipPredictions:
    """Cross-validate every model and baseline on a corpus of labelled clips.

    Parameters
    ----------
    corpus : Corpus
        With quadrants or emotions.
    features : str
        Feature blocks, separated by commas, that the models hear.
    folds : int >= 1
        Of `msr_utils.dataset.splits.splits_of`: no group lies on two sides. Settings are chosen inside
        the part that is not tested.
    seed : int
    work_dir : Path, optional
        Where finished folds are kept, so that a killed run goes on after them.
    cache_dir : Path
        Of the features.
    progress : bool

    Raises
    ------
    CorpusError
        If the corpus has no labels of clips, or audio that cannot be decoded.
    ValueError
        If a block is unknown or there are too few groups.
    """
    y = targets_of(corpus)
    config, splits = with_logmel(features), splits_of(corpus, folds, seed)
    x = vectors_of(corpus, config, cache_dir, progress)
    # Unfinished work of other data, parameters or code must not be taken up.
    parts = [
        features,
        seed,
        [asdict(s) for s in splits],
        x.tolist(),
        y.tolist(),
        computed_by(_one_fold),
    ]
    key = sha256_text(json.dumps(plain(parts)))[:16]
    at = {track.id: i for i, track in enumerate(corpus.tracks)}
    tested, found = [], []
    for fold, split in enumerate(tqdm(splits, desc="folds", disable=not progress), 1):
        tested += [at[i] for i in split.test]
        done = Path(work_dir) / key / f"fold-{fold}.json" if work_dir else None
        if done and done.is_file():
            found.append(read_json(done))
            continue
        # With one thread the last bits do not depend on the number of cores.
        with threadpool_limits(1, user_api="blas"):
            found.append(_one_fold(corpus, x, y, at, split, config, features, seed))
        if done:
            write_json(done, found[-1])
    return ClipPredictions(
        labels=corpus.labels,
        groups=np.array([corpus.tracks[i].group for i in tested]),
        true=y[tested],
        scores={
            name: np.concatenate([np.array(one["scores"][name]) for one in found])
            for name in found[0]["scores"]
        },
        chosen=[one["chosen"] for one in found],
    )


def _one_fold(
    corpus: Corpus,
    x: np.ndarray,
    y: np.ndarray,
    at: Mapping[str, int],
    split: Split,
    config: FeatureConfig,
    features: str,
    seed: int,
) -> dict:
    """Fit everything on what is not tested; ``scores`` of the test clips, ``chosen`` settings."""
    known = split.train + split.validation
    place = {track: i for i, track in enumerate(known)}
    group = {track.id: track.group for track in corpus.tracks}
    inner = [
        tuple([place[i] for i in part] for part in parts)
        for parts in inner_parts(split, group, INNER_FOLDS)
    ]
    train, test = np.array([at[i] for i in known]), np.array([at[i] for i in split.test])
    mean = y[train].mean(axis=0)
    scores = {CONSTANT: np.tile(mean, (len(test), 1))}
    genre = np.array([track.text.get("genre", "") for track in corpus.tracks])
    if all(genre):
        means = {g: y[train][genre[train] == g].mean(axis=0) for g in set(genre[train])}
        scores[GENRE] = np.array([means.get(g, mean) for g in genre[test]])
    logmel = columns_of(config, LOGMEL_BLOCKS)
    own = columns_of(config, FeatureConfig(features).blocks)
    smallest = min(len(part) for part, _ in inner)
    plans = {LOGMEL: (logmel, _ridge())} | {
        name: (own, model) for name, model in models(len(own), smallest, seed).items()
    }
    chosen = {}
    for name, (columns, (model, grid)) in plans.items():
        if grid:
            search = GridSearchCV(model, grid, cv=inner, refit=False)
            search.fit(x[np.ix_(train, columns)], y[train])
            model.set_params(**search.best_params_)
            chosen[name] = {key.rpartition("__")[2]: v for key, v in search.best_params_.items()}
        model.fit(x[np.ix_(train, columns)], y[train])
        scores[name] = model.predict(x[np.ix_(test, columns)])
    scores[MEAN] = np.mean([scores[name] for name in plans if name != LOGMEL], axis=0)
    return {"scores": {name: s.tolist() for name, s in scores.items()}, "chosen": chosen}


Planned = tuple[BaseEstimator, dict[str, Sequence[Any]]]
"""A model, and the settings of it that are tried."""


def models(n_inputs: int, n_train: int, seed: int) -> dict[str, Planned]:
    """The models of the study by name, each with the settings that are tried.

    Parameters
    ----------
    n_inputs : int
        Length of a clip's vector.
    n_train : int
        Clips of the smallest part that a model is fitted on.
    seed : int
        Of the trees and the components.

    Notes
    -----
    Trees: Geurts, Ernst and Wehenkel (2006), "Extremely randomized trees", Machine Learning 63.
    """
    n = min(COMPONENTS, n_inputs, n_train)
    # Randomised: all of the decomposition would take most of a fold's time.
    whitened = PCA(n, whiten=True, svd_solver="randomized", random_state=seed)
    return {
        "ridge": _ridge(),
        "kernel ridge": _kernel_ridge(n_inputs),
        f"kernel ridge on {COMPONENTS} components": _kernel_ridge(n, whitened),
        "extra trees": _planned(ExtraTreesRegressor(**TREES, random_state=seed), {}),
    }


def _ridge() -> Planned:
    return _planned(Ridge(), {"alpha": RIDGE_ALPHAS})


def _kernel_ridge(width: int, *before: BaseEstimator) -> Planned:
    grid = {"alpha": KERNEL_ALPHAS, "gamma": [gamma / width for gamma in KERNEL_GAMMAS]}
    return _planned(KernelRidge(kernel="rbf"), grid, *before)


def _planned(model: BaseEstimator, grid: Mapping[str, Sequence], *before: BaseEstimator) -> Planned:
    """Standardised inputs and targets: each feature, and each target, counts the same."""
    steps = make_pipeline(StandardScaler(), *before, model)
    last = f"regressor__{steps.steps[-1][0]}__"
    return (
        TransformedTargetRegressor(steps, transformer=StandardScaler()),
        {last + name: list(values) for name, values in grid.items()},
    )

"""Models of whole clips: predict one label a clip from the statistics of its frames.

All models are fitted by least squares, also to quadrants. A quadrant is encoded as three signs:
of valence, of arousal and of their product. The predicted numbers rank clips as a classifier's
scores would (Rifkin, Yeo and Poggio 2003, "Regularized least-squares classification"). So one set
of models serves emotions and quadrants. The mean of the models is one more.

How the models were chosen: about ninety variants (statistics, blocks, scaling, kernels, support
vectors, trees, averages) were compared on Emotify and sixty on the quadrants. The comparison used
nested cross-validation on the clips that folds 1 to 5 of 10 (1 to 3 of 5) test. Then the models
below and their mean were fixed, and the whole cross-validation was run. The blocks of the log-mel
baseline were extended afterwards, which made the baseline stronger.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Self

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
from msr_utils.io import plain, read_json, sha256_text, write_json
from msr_utils.paths import CACHE_DIR
from msr_utils.provenance.cache_keys import computed_by

STATISTICS = {
    "mean": lambda frames: frames.mean(axis=0),
    "sd": lambda frames: frames.std(axis=0),
    "step": lambda frames: (
        np.abs(np.diff(frames, axis=0)).mean(axis=0) if len(frames) > 1 else 0 * frames[0]
    ),
}
"""Summaries of a clip's frames, (T, D) -> (D,). The step is the mean absolute change from one
frame to the next: it tells a slow drift from a quick alternation with the same spread."""

INNER_FOLDS = 4
"""Inner folds, by group, on the clips that are not tested. They choose the hyperparameters."""

RIDGE_ALPHAS = tuple(float(a) for a in np.logspace(1, 5, 9))
"""Penalties of ridge regression that are tried."""

KERNEL_ALPHAS = (0.03, 0.1, 0.3, 1.0, 3.0)
"""Penalties of kernel ridge regression that are tried."""

KERNEL_GAMMAS = (0.1, 0.3, 0.6, 1.2)
"""Inverse squared widths of the Gaussian kernel that are tried, divided by the number of inputs."""

N_COMPONENTS = 20
"""Principal components, scaled to variance 1, that one of the kernel machines gets as input."""

EXTRA_TREES = {"n_estimators": 300, "min_samples_leaf": 3, "max_features": 1 / 3}
"""Fixed settings of the extremely randomised trees: they hardly change the scores."""

CONSTANT, GENRE, LOGMEL = "constant", "genre mean", "ridge (log-mel)"
"""Names of the baselines in tables."""

MEAN = "mean of the models"
"""Name of the model that was declared in advance as the one to be judged."""

LOGMEL_BLOCKS = ("logmel", "logmel_sd")
"""Input of the log-mel baseline. Without the spread within frames it would be much weaker."""

Hyperparameters = dict[str, dict[str, Any]]
"""Model name to its chosen hyperparameters."""


@dataclass(frozen=True)
class ClipPredictions:
    """Cross-validated predictions: no model was trained on a clip that it predicts.

    Parameters
    ----------
    labels : str
        "gems" or "quadrants".
    groups : np.ndarray [shape=(N,)]
        Artist, or track, of each tested clip.
    true : np.ndarray [shape=(N, K)]
        See `label_matrix`.
    scores : dict of str to np.ndarray [shape=(N, K)]
        Predictions by model, baselines first.
    hyperparameters : list of Hyperparameters
        One a fold.
    """

    labels: str
    groups: np.ndarray
    true: np.ndarray
    scores: dict[str, np.ndarray]
    hyperparameters: list[Hyperparameters]


@dataclass(frozen=True)
class Candidate:
    """A model and the hyperparameters that are tried."""

    estimator: BaseEstimator
    grid: dict[str, list[Any]]


@dataclass(frozen=True)
class _FoldResult:
    """Predictions of one fold's test clips, and the hyperparameters that were chosen for them."""

    scores: dict[str, np.ndarray]
    hyperparameters: Hyperparameters

    @classmethod
    def from_json(cls, stored: Mapping[str, Any]) -> Self:
        scores = {name: np.array(values) for name, values in stored["scores"].items()}
        return cls(scores, stored["hyperparameters"])


def label_matrix(corpus: Corpus) -> np.ndarray:
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
        row = track.gems
        if corpus.labels == "quadrants":
            valence, arousal = SIGNS.get(track.quadrant, (np.nan, np.nan))
            row = np.array([valence, arousal, valence * arousal])
        if row is None or not np.isfinite(row).all():
            raise CorpusError(f"track {track.id!r}: no label of kind {corpus.labels}")
        rows.append(row)
    return np.array(rows, np.float64)


def clip_vectors(
    corpus: Corpus, config: FeatureConfig, cache_dir: Path = CACHE_DIR, progress: bool = True
) -> np.ndarray:
    """One vector a clip: every statistic of every feature over its frames. Frames are cached.

    Returns
    -------
    np.ndarray [shape=(N, len(STATISTICS) * config.dim), dtype=float64]
        The means of all features come first; see `vector_columns`.

    Raises
    ------
    CorpusError
        If the audio of a track cannot be decoded; the track is named.
    """
    rows = []
    for track in tqdm(corpus.tracks, desc="features", unit="track", disable=not progress):
        try:
            frames = cached_features(track.audio_path, config, cache_dir).astype(np.float64)
        except AudioError as error:
            raise CorpusError(f"track {track.id!r}: {error}") from error
        rows.append(np.concatenate([statistic(frames) for statistic in STATISTICS.values()]))
    return np.array(rows)


def vector_columns(config: FeatureConfig, blocks: Sequence[str]) -> np.ndarray:
    """Columns of `clip_vectors` that hold the statistics of some blocks, (d,) int."""
    return np.concatenate([k * config.dim + config.columns(blocks) for k in range(len(STATISTICS))])


def with_logmel(features: str) -> FeatureConfig:
    """The named blocks, and the blocks of the log-mel baseline."""
    blocks = FeatureConfig(features).blocks
    return FeatureConfig(tuple(dict.fromkeys((*blocks, *LOGMEL_BLOCKS))))


def cross_validate(
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
        Feature blocks that the models read, separated by commas.
    folds : int >= 1
        Of `msr_utils.dataset.splits.splits_of`: no group is in both training and test.
        Hyperparameters are chosen within the part that is not tested.
    seed : int
    work_dir : Path, optional
        Folder for finished folds, so that a killed run continues after them.
    cache_dir : Path
        Of the features.
    progress : bool

    Raises
    ------
    CorpusError
        If the corpus has no labels of clips, or audio cannot be decoded.
    ValueError
        If a block is unknown or there are too few groups.
    """
    y = label_matrix(corpus)
    config, splits = with_logmel(features), splits_of(corpus, folds, seed)
    x = clip_vectors(corpus, config, cache_dir, progress)
    runner = _FoldRunner(
        corpus,
        x,
        y,
        vector_columns(config, FeatureConfig(features).blocks),
        vector_columns(config, LOGMEL_BLOCKS),
        seed,
    )
    folder = Path(work_dir) / _work_key(features, seed, splits, x, y) if work_dir else None
    results = []
    for fold, split in enumerate(tqdm(splits, desc="folds", disable=not progress), 1):
        file = folder / f"fold-{fold}.json" if folder else None
        results.append(_read_or_run(runner, split, file))
    row = {track.id: i for i, track in enumerate(corpus.tracks)}
    tested = [row[track_id] for split in splits for track_id in split.test]
    return ClipPredictions(
        labels=corpus.labels,
        groups=np.array([corpus.tracks[i].group for i in tested]),
        true=y[tested],
        scores={
            name: np.concatenate([result.scores[name] for result in results])
            for name in results[0].scores
        },
        hyperparameters=[result.hyperparameters for result in results],
    )


def _work_key(
    features: str, seed: int, splits: Sequence[Split], x: np.ndarray, y: np.ndarray
) -> str:
    """Folder name for finished folds: they are reused only for the same data, settings and code."""
    inputs = [
        features,
        seed,
        [asdict(split) for split in splits],
        x.tolist(),
        y.tolist(),
        computed_by(_FoldRunner),
    ]
    return sha256_text(json.dumps(plain(inputs)))[:16]


def _read_or_run(runner: _FoldRunner, split: Split, file: Path | None) -> _FoldResult:
    """The result of one fold: read from `file` if it is there, else computed and written."""
    if file and file.is_file():
        return _FoldResult.from_json(read_json(file))
    # With one thread, the last digits do not depend on the number of cores.
    with threadpool_limits(1, user_api="blas"):
        result = runner(split)
    if file:
        write_json(file, result)
    return result


@dataclass(frozen=True)
class _FoldRunner:
    """Fits all models and baselines on the clips that a split does not test.

    Parameters
    ----------
    corpus : Corpus
    x, y : np.ndarray [shape=(N, F)], [shape=(N, K)]
        From `clip_vectors` and `label_matrix`.
    model_columns, logmel_columns : np.ndarray [shape=(d,), dtype=int]
        Columns of `x` that the models read, and those of the log-mel baseline.
    seed : int
    """

    corpus: Corpus
    x: np.ndarray
    y: np.ndarray
    model_columns: np.ndarray
    logmel_columns: np.ndarray
    seed: int

    def __call__(self, split: Split) -> _FoldResult:
        """Predict the test clips of a split."""
        row = {track.id: i for i, track in enumerate(self.corpus.tracks)}
        train_ids = split.train + split.validation
        train = np.array([row[track_id] for track_id in train_ids])
        test = np.array([row[track_id] for track_id in split.test])
        inner = self._inner_folds(split, train_ids)
        smallest = min(len(part) for part, _ in inner)
        tuned = {
            name: (self.model_columns, candidate)
            for name, candidate in candidates(len(self.model_columns), smallest, self.seed).items()
        }
        scores = self._label_means(train, test)
        hyperparameters = {}
        for name, (columns, candidate) in {
            LOGMEL: (self.logmel_columns, _ridge()),
            **tuned,
        }.items():
            x_train, x_test = self.x[np.ix_(train, columns)], self.x[np.ix_(test, columns)]
            model = candidate.estimator
            if candidate.grid:
                search = GridSearchCV(model, candidate.grid, cv=inner, refit=False)
                best = search.fit(x_train, self.y[train]).best_params_
                model.set_params(**best)
                hyperparameters[name] = {key.rpartition("__")[2]: v for key, v in best.items()}
            scores[name] = model.fit(x_train, self.y[train]).predict(x_test)
        scores[MEAN] = np.mean([scores[name] for name in tuned], axis=0)
        return _FoldResult(scores, hyperparameters)

    def _inner_folds(
        self, split: Split, train_ids: Sequence[str]
    ) -> list[tuple[list[int], list[int]]]:
        """Inner training and held-out parts, as places in `train_ids`."""
        place = {track_id: i for i, track_id in enumerate(train_ids)}
        group = {track.id: track.group for track in self.corpus.tracks}
        return [
            ([place[i] for i in train], [place[i] for i in held_out])
            for train, held_out in inner_parts(split, group, INNER_FOLDS)
        ]

    def _label_means(self, train: np.ndarray, test: np.ndarray) -> dict[str, np.ndarray]:
        """Baselines that read no audio: the mean training label, of all clips and of a genre."""
        mean = self.y[train].mean(axis=0)
        scores = {CONSTANT: np.tile(mean, (len(test), 1))}
        genre = np.array([track.text.get("genre", "") for track in self.corpus.tracks])
        if all(genre):
            of_genre = {
                name: self.y[train][genre[train] == name].mean(axis=0) for name in set(genre[train])
            }
            scores[GENRE] = np.array([of_genre.get(name, mean) for name in genre[test]])
        return scores


def candidates(n_inputs: int, n_train: int, seed: int) -> dict[str, Candidate]:
    """The models of the study by name.

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
    n_components = min(N_COMPONENTS, n_inputs, n_train)
    # Randomised, because a full decomposition would take most of a fold's time.
    pca = PCA(n_components, whiten=True, svd_solver="randomized", random_state=seed)
    return {
        "ridge": _ridge(),
        "kernel ridge": _kernel_ridge(n_inputs),
        f"kernel ridge on {N_COMPONENTS} components": _kernel_ridge(n_components, pca),
        "extra trees": _standardised(ExtraTreesRegressor(**EXTRA_TREES, random_state=seed), {}),
    }


def _ridge() -> Candidate:
    return _standardised(Ridge(), {"alpha": RIDGE_ALPHAS})


def _kernel_ridge(n_inputs: int, *steps: BaseEstimator) -> Candidate:
    grid = {"alpha": KERNEL_ALPHAS, "gamma": [gamma / n_inputs for gamma in KERNEL_GAMMAS]}
    return _standardised(KernelRidge(kernel="rbf"), grid, *steps)


def _standardised(
    model: BaseEstimator, grid: Mapping[str, Sequence[Any]], *steps: BaseEstimator
) -> Candidate:
    """Standardise inputs and targets first, so that each feature and each target counts the same.

    `steps` lie between the standardised inputs and the model.
    """
    pipeline = make_pipeline(StandardScaler(), *steps, model)
    prefix = f"regressor__{pipeline.steps[-1][0]}__"
    return Candidate(
        TransformedTargetRegressor(pipeline, transformer=StandardScaler()),
        {prefix + name: list(values) for name, values in grid.items()},
    )

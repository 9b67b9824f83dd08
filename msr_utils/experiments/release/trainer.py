"""Training of the released models: ridge regression on running feature statistics.

One linear model is trained jointly on several corpora. Curves contribute frames. Clips with a
quadrant contribute the signs of their mean valence and arousal. Clips with emotions contribute the
place of these emotions in the valence-arousal plane. The weight of each kind of labels is chosen
by cross-validation.

All of it is one weighted least-squares problem with a closed-form solution. The past is in the
features (`msr_utils.features.running_stats`), so the model has no state of its own and can follow
a live stream. Some tracks of every corpus are also read louder and softer: the model is penalised
for changing its curve with the gain.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import reduce
from itertools import combinations_with_replacement, product
from operator import add
from pathlib import Path

import numpy as np
from threadpoolctl import threadpool_limits
from tqdm import tqdm

from msr_utils.constants import TARGETS
from msr_utils.corpora.base import Corpus, CorpusError
from msr_utils.dataset.sequences import align, collect
from msr_utils.experiments.release.intervals import margin
from msr_utils.experiments.release.least_squares import (
    LOSS_WEIGHTS,
    LinearModel,
    LossWeights,
    solve,
)
from msr_utils.experiments.release.training_data import TrainingData, read_training_data
from msr_utils.features.cache import cached_features
from msr_utils.features.config import FeatureConfig
from msr_utils.metrics.curves import Curve
from msr_utils.paths import CACHE_DIR

Predictor = Callable[[np.ndarray], np.ndarray]
"""Maps frame features to (valence, arousal), (n, D) -> (n, 2)."""

InnerLosses = Mapping[tuple[LossWeights, frozenset[int], int], float]
"""Loss by weights, by the folds left out of training (one or two), and by the tested fold."""


@dataclass(frozen=True)
class HeldOut:
    """Cross-validated predictions: each track is predicted by a model not trained on its fold.

    Parameters
    ----------
    curves : dict of corpus to target to track id to Curve
    clips : dict of corpus to np.ndarray [shape=(N, 2)]
        Valence and arousal of the mean frame of each tested clip.
    """

    curves: dict[str, dict[str, dict[str, Curve]]]
    clips: dict[str, np.ndarray]


def relative_error(predicted: Sequence[np.ndarray], true: Sequence[np.ndarray]) -> float:
    """Squared error over variance, averaged over targets and parts; each part has shape (n, 2)."""
    errors = [
        np.mean(((y - p) ** 2).mean(axis=0) / y.var(axis=0))
        for p, y in zip(predicted, true, strict=True)
    ]
    return float(np.mean(errors))


class Trainer:
    """Fits linear models on any of the folds of some corpora.

    Parameters
    ----------
    corpora : sequence of Corpus
        With curves, quadrants or emotions.
    features : FeatureConfig
    folds : int >= 3
    seed : int
    cache_dir : Path
    progress : bool

    Raises
    ------
    CorpusError
        If two corpora have the same title, none has curves, none has quadrants, or audio cannot
        be decoded.
    """

    def __init__(
        self,
        corpora: Sequence[Corpus],
        features: FeatureConfig,
        folds: int = 5,
        seed: int = 7,
        cache_dir: Path = CACHE_DIR,
        progress: bool = True,
    ) -> None:
        by_title = {corpus.card.title: corpus for corpus in corpora}
        self.label_kinds = {title: corpus.labels for title, corpus in by_title.items()}
        if len(by_title) < len(corpora) or not {"curves", "quadrants"} <= {
            *self.label_kinds.values()
        }:
            raise CorpusError(
                "corpora: need different corpora, at least one with curves and one with quadrants, "
                f"not {', '.join(corpus.card.title for corpus in corpora)}"
            )
        self.features, self.folds, self.progress = features, folds, progress
        self.cache_dir = cache_dir
        self._fitted: dict[tuple[LossWeights, frozenset[int]], LinearModel] = {}
        self.data: dict[str, TrainingData] = {
            title: read_training_data(corpus, features, folds, seed, cache_dir, progress)
            for title, corpus in by_title.items()
        }
        track_means = [rows.mean(axis=0) for data in self.data.values() for rows in data.rows]
        self._origin = np.asarray(np.mean(track_means, axis=0, dtype=np.float32))
        with threadpool_limits(1, user_api="blas"):
            self._statistics = {
                title: data.fold_statistics(self._origin, folds)
                for title, data in self.data.items()
            }
            self._gain_products = {
                title: data.gain_products(folds) for title, data in self.data.items()
            }

    @property
    def curve_corpora(self) -> list[str]:
        """Titles of the corpora with curves."""
        return [title for title, kind in self.label_kinds.items() if kind == "curves"]

    def fit(self, weights: LossWeights, without: Sequence[int] = ()) -> LinearModel:
        """Fit a model on all folds except some, once for each question."""
        asked = weights, frozenset(without)
        if asked not in self._fitted:
            self._fitted[asked] = self._fit(weights, without)
        return self._fitted[asked]

    def _fit(self, weights: LossWeights, without: Sequence[int]) -> LinearModel:
        folds = [k for k in range(self.folds) if k not in without]
        statistics = {
            title: reduce(add, [parts[k] for k in folds])
            for title, parts in self._statistics.items()
        }
        gain_products = self.gain_products(weights, without)
        with threadpool_limits(1, user_api="blas"):
            model = solve(statistics, self.label_kinds, weights, gain_products)
        return LinearModel(model.slope, model.intercept - self._origin @ model.slope)

    def gain_products(self, weights: LossWeights, without: Sequence[int] = ()) -> np.ndarray:
        """Mean products of the changes that 1 dB makes to the features, (D, D).

        Of all folds except some, of corpora with a weight.
        """
        folds = [k for k in range(self.folds) if k not in without]
        used = [title for title, kind in self.label_kinds.items() if weights.of(kind)]
        gain = [self._gain_products[title][k] for title in used for k in folds]
        products: np.ndarray = reduce(add, [p for p, _ in gain]) / sum(n for _, n in gain)
        return products

    def choose_weights(self, losses: InnerLosses, without: Sequence[int]) -> LossWeights:
        """The weights with the lowest mean loss over the inner folds of the remaining folds."""
        left = [k for k in range(self.folds) if k not in without]
        return min(
            LOSS_WEIGHTS,
            key=lambda w: np.mean([losses[w, frozenset((*without, k)), k] for k in left]),
        )

    def inner_losses(self) -> dict[tuple[LossWeights, frozenset[int], int], float]:
        """Losses of all weights for all choices of one or two folds that are left out.

        The loss is the squared error over the variance of the tested fold, averaged over targets
        and over corpora with curves or quadrants.
        """
        left_out = combinations_with_replacement(range(self.folds), 2)
        plans = list(product(LOSS_WEIGHTS, (frozenset(pair) for pair in left_out)))
        losses = {}
        for weights, pair in tqdm(plans, desc="loss weights", disable=not self.progress):
            model = self.fit(weights, tuple(pair))
            for k in pair:
                losses[weights, pair, k] = self.loss(model, k)
        return losses

    def loss(self, model: Predictor, fold: int) -> float:
        """Loss of a model on a fold, see `inner_losses`."""
        rows = self.loss_rows(fold)
        return relative_error([model(x) for x, _ in rows], [y for _, y in rows])

    def loss_rows(self, fold: int) -> list[tuple[np.ndarray, np.ndarray]]:
        """Features, (n, D), and labels, (n, 2), of a fold; of each corpus that the loss is over."""
        rows = []
        for title, data in self.data.items():
            if self.label_kinds[title] == "gems":
                continue
            tracks = np.flatnonzero(data.fold == fold)
            x, y = ([part[i] for i in tracks] for part in (data.rows, data.labels))
            rows.append((np.concatenate(x), np.concatenate(y)))
        return rows

    def predict_held_out(self, models: Sequence[Predictor]) -> HeldOut:
        """Predict each track with the model that was trained without its fold.

        Parameters
        ----------
        models : sequence of LinearModel or another function of rows
            One a fold.
        """
        held_out = HeldOut({}, {})
        for title, data in self.data.items():
            if self.label_kinds[title] == "curves":
                held_out.curves[title] = self._predict_curves(models, data)
            else:
                held_out.clips[title] = np.concatenate(
                    [models[data.fold[i]](data.rows[i]) for i in data.tested]
                )
        return held_out

    def _predict_curves(
        self, models: Sequence[Predictor], data: TrainingData
    ) -> dict[str, dict[str, Curve]]:
        aligned = []
        for i in data.tested:
            track = data.corpus.tracks[i]
            frames = cached_features(track.audio_path, self.features, self.cache_dir)
            aligned.append(align(track, np.clip(models[data.fold[i]](frames), -1, 1)))
        return {
            target: collect(aligned, {s.id: s.features[:, k] for s in aligned}, target)
            for k, target in enumerate(TARGETS)
        }


@dataclass(frozen=True)
class Released:
    """A trained model, and its predictions in cross-validation.

    Parameters
    ----------
    trainer : Trainer
    model : LinearModel or another function of rows
        Trained on all folds.
    weights : LossWeights
        Of `model`.
    fold_weights : list of LossWeights
        Of the model of each fold.
    held_out : HeldOut
    margins : dict of str to float
        Half-width of each target's interval.
    """

    trainer: Trainer
    model: Predictor
    weights: LossWeights
    fold_weights: list[LossWeights]
    held_out: HeldOut
    margins: dict[str, float]


def train(trainer: Trainer) -> Released:
    """Cross-validate over all corpora at once, then train the released model on all folds.

    A track of fold k, of any corpus, is predicted by a model that was trained on no track of
    fold k. The loss weights of that model were chosen without fold k, too.
    """
    losses = trainer.inner_losses()
    fold_weights = [trainer.choose_weights(losses, (k,)) for k in range(trainer.folds)]
    models = [trainer.fit(weights, (k,)) for k, weights in enumerate(fold_weights)]
    weights = trainer.choose_weights(losses, ())
    return released(trainer, models, fold_weights, trainer.fit(weights), weights)


def released(
    trainer: Trainer,
    models: Sequence[Predictor],
    fold_weights: Sequence[LossWeights],
    model: Predictor,
    weights: LossWeights,
) -> Released:
    """Predict held-out tracks with the models of the folds, and take intervals from their errors.

    Parameters
    ----------
    trainer : Trainer
    models, fold_weights : sequence of Predictor, of LossWeights
        One a fold.
    model, weights : Predictor, LossWeights
        Trained on all folds.
    """
    held_out = trainer.predict_held_out(models)
    margins = {
        target: margin([c for curves in held_out.curves.values() for c in curves[target].values()])
        for target in TARGETS
    }
    return Released(trainer, model, weights, list(fold_weights), held_out, margins)

"""The models that the service ships: one linear map of remembered features, taught by many corpora.

Curves teach with their frames, clips of a known quadrant with the signs of their mean valence
and arousal, and listeners' emotions with where those emotions lie in the plane. How much each
kind of labels counts, if at all, is chosen by cross-validation. All of it is one weighted least-squares problem, solved in closed form: the past is in the features' memory
(`msr_utils.features.running_stats`), so the map itself needs none and follows a live stream.

Some tracks of every corpus are heard louder and softer too. The map is penalised for what it makes
of the difference, so that a louder copy is no more exciting.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import reduce
from itertools import product
from pathlib import Path

import numpy as np
from threadpoolctl import threadpool_limits
from tqdm import tqdm

from msr_utils.constants import TARGETS
from msr_utils.corpora.base import Corpus, CorpusError
from msr_utils.dataset.sequences import Sequence2Hz, align, collect
from msr_utils.experiments.release.intervals import margin
from msr_utils.experiments.release.least_squares import (
    LOSS_WEIGHTS,
    LinearModel,
    LossWeights,
    SufficientStatistics,
    solve,
)
from msr_utils.experiments.release.training_data import read_training_data
from msr_utils.features.cache import cached_features
from msr_utils.features.config import FeatureConfig
from msr_utils.paths import CACHE_DIR


class Trainer:
    """Fits maps on any of the folds of some corpora.

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
        If two have one title, none has curves or none quadrants, or audio cannot be decoded.
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
        by_name = {c.card.title: c for c in corpora}
        self.kinds = {name: c.labels for name, c in by_name.items()}
        if len(by_name) < len(corpora) or not {"curves", "quadrants"} <= {*self.kinds.values()}:
            raise CorpusError(
                "corpora: need different ones, one with curves and one with quadrants at least, "
                f"not {', '.join(c.card.title for c in corpora)}"
            )
        self.features, self.folds, self.progress = features, folds, progress
        self.cache_dir = cache_dir
        self.materials = {
            name: read_training_data(c, features, folds, seed, cache_dir, progress)
            for name, c in by_name.items()
        }
        every = [r for m in self.materials.values() for r in m.rows]
        self._origin = np.mean([r.mean(axis=0) for r in every], axis=0, dtype=np.float32)
        with threadpool_limits(1, user_api="blas"):
            self._moments = {n: m.moments(self._origin, folds) for n, m in self.materials.items()}
            self._level = {n: m.level(folds) for n, m in self.materials.items()}

    def fit(self, setting: LossWeights, without: Sequence[int] = ()) -> LinearModel:
        """The map of all folds but those."""
        used = [k for k in range(self.folds) if k not in without]
        moments = {
            name: reduce(SufficientStatistics.__add__, [parts[k] for k in used])
            for name, parts in self._moments.items()
        }
        taught_by = [n for n, kind in self.kinds.items() if getattr(setting, kind)]
        known = [self._level[n][k] for n in taught_by for k in used]
        level = sum(products for products, _ in known) / sum(n for _, n in known)
        with threadpool_limits(1, user_api="blas"):
            found = solve(moments, self.kinds, setting, level)
        return LinearModel(found.slope, found.level - self._origin @ found.slope)

    def choose(self, losses: Mapping[tuple, float], without: Sequence[int]) -> LossWeights:
        """The setting of the lowest mean loss over inner folds of what is left."""
        left = [k for k in range(self.folds) if k not in without]
        return min(
            LOSS_WEIGHTS,
            key=lambda s: np.mean([losses[s, frozenset((*without, k)), k] for k in left]),
        )

    def losses(self) -> dict[tuple, float]:
        """By setting, folds left out (one or two) and which of them was predicted: squared
        error over that of the fold's mean, averaged over targets and corpora of curves and
        quadrants."""
        pairs = [
            frozenset(p) for p in {frozenset((i, j)) for i in range(self.folds)
                                   for j in range(self.folds)}
        ]  # fmt: skip
        found = {}
        plans = list(product(LOSS_WEIGHTS, sorted(pairs, key=sorted)))
        for setting, pair in tqdm(plans, desc="settings", disable=not self.progress):
            fitted = self.fit(setting, tuple(pair))
            for k in pair:
                found[setting, pair, k] = self._loss(fitted, k)
        return found

    def _loss(self, fitted: LinearModel, fold: int) -> float:
        errors = []
        for name, m in self.materials.items():
            if self.kinds[name] == "gems":
                continue
            own = np.flatnonzero(m.part == fold)
            said = fitted(np.concatenate([m.rows[i] for i in own]))
            true = np.concatenate([m.labels[i] for i in own])
            errors.append(np.mean(((true - said) ** 2).mean(axis=0) / true.var(axis=0)))
        return float(np.mean(errors))

    def test(self, maps: Sequence[LinearModel]) -> dict[str, dict]:
        """What maps, one a fold, say of the tracks that they were not trained on.

        Returns
        -------
        dict
            By corpus: of curves, target to predictions; of clips, (N, 2) of mean frames.
        """
        found: dict[str, dict] = {}
        for name, m in self.materials.items():
            tested = [i for i in range(len(m.part)) if m.part[i] >= 0]
            if self.kinds[name] != "curves":
                found[name] = np.concatenate([maps[m.part[i]](m.rows[i]) for i in tested])
                continue
            said: list[Sequence2Hz] = []
            for i in tested:
                track = m.corpus.tracks[i]
                frames = cached_features(track.audio_path, self.features, self.cache_dir)
                said.append(align(track, np.clip(maps[m.part[i]](frames), -1, 1)))
            found[name] = {
                target: collect(said, {s.id: s.features[:, k] for s in said}, target)
                for k, target in enumerate(TARGETS)
            }
        return found


@dataclass(frozen=True)
class Released:
    """What `train` gives.

    Parameters
    ----------
    trainer : Trainer
    map : Map
        Of all folds.
    setting : Setting
        Of `map`.
    chosen : list of Setting
        Of each fold's map.
    tested : dict
        See `Trainer.test`.
    margins : dict of str to float
        Half-width of each target's interval.
    """

    trainer: Trainer
    map: LinearModel
    setting: LossWeights
    chosen: list[LossWeights]
    tested: dict[str, dict]
    margins: dict[str, float]


def train(trainer: Trainer) -> Released:
    """Cross-validate over all corpora at once, then fit what is released on all of them.

    A track of fold k, whatever its corpus, is predicted by a map, with a setting, that saw no
    track of fold k.
    """
    losses = trainer.losses()
    chosen = [trainer.choose(losses, (k,)) for k in range(trainer.folds)]
    maps = [trainer.fit(setting, (k,)) for k, setting in enumerate(chosen)]
    tested = trainer.test(maps)
    setting = trainer.choose(losses, ())
    margins = {
        target: margin([p for n in _curves(trainer) for p in tested[n][target].values()])
        for target in TARGETS
    }
    return Released(trainer, trainer.fit(setting), setting, chosen, tested, margins)


def _curves(trainer: Trainer) -> list[str]:
    return [name for name, kind in trainer.kinds.items() if kind == "curves"]

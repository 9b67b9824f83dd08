"""The released model `large`: the mean of a linear model and a kernel machine.

Both are trained on the same corpora, with the same weights of the kinds of labels. All choices are
made by inner cross-validation: no score of a tested fold was seen before.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from itertools import product

import numpy as np
import pandas as pd
from threadpoolctl import threadpool_limits
from tqdm import tqdm

from msr_utils.experiments.release.kernel import (
    KernelMachine,
    KernelProblem,
    KernelRows,
    KernelSetting,
)
from msr_utils.experiments.release.least_squares import (
    LOSS_WEIGHTS,
    LinearModel,
    LossWeights,
)
from msr_utils.experiments.release.scores import (
    ClipEstimates,
    Report,
    Results,
    clip_metric_title,
    report,
)
from msr_utils.experiments.release.trainer import (
    HeldOut,
    Released,
    Trainer,
    relative_error,
    released,
)
from msr_utils.experiments.release.training_data import (
    HAND_MADE_BLOCKS,
    MEAN_SECONDS,
    SD_SECONDS,
)
from msr_utils.features.config import FeatureConfig
from msr_utils.metrics.bootstrap import N_BOOT, SEED, draw_counts
from msr_utils.metrics.estimate import Estimate
from msr_utils.metrics.quadrants import quadrant_samples

LARGE = "large"
"""Name of the bundle."""

NETWORKS = ("musicnn", "jamendo_fcn")
"""Pretrained networks whose embeddings it takes, beside features made by hand."""

TRAIN_EVERY = 2
"""The kernel machine is trained on every second of the frames of a curve that the linear model is
trained on, 8 s apart."""

KERNEL_SETTINGS = [
    KernelSetting(components, gamma, penalty)
    for components, gamma, penalty in product((128,), (1.0, 2.0, 4.0), (0.1, 0.3))
]
"""Settings of the kernel machine that are tried. They were fixed after inner losses of one fold's
training part, of a wider grid, had been seen, and after an exact kernel had been scored."""

SHARES = (0.5, 0.75)
"""Weights of the kernel machine in the mean that are tried. Far from all training music it tells
nothing, so the linear model keeps a part."""


def large_features(blocks: str | tuple[str, ...] = (*HAND_MADE_BLOCKS, *NETWORKS)) -> FeatureConfig:
    """Running statistics of feature blocks, with the time constants of the other models."""
    return FeatureConfig(blocks, memory_s=MEAN_SECONDS, memory_sd_s=SD_SECONDS)


@dataclass(frozen=True)
class LargeSetting(LossWeights):
    """Hyperparameters of the whole model, with the `LossWeights`.

    Parameters
    ----------
    components, gamma, penalty : float
        See `KernelSetting`.
    share : float in (0, 1]
        Weight of the kernel machine in the mean.
    """

    components: int
    gamma: float
    penalty: float
    share: float

    @classmethod
    def of_parts(cls, weights: LossWeights, kernel: KernelSetting, share: float) -> LargeSetting:
        """Join the settings of both parts."""
        return cls(**asdict(weights), **asdict(kernel), share=share)

    @property
    def kernel(self) -> KernelSetting:
        """The setting of the kernel machine."""
        return KernelSetting(self.components, self.gamma, self.penalty)


@dataclass(frozen=True)
class WeightedMean:
    """The mean of a linear model and a kernel machine.

    Parameters
    ----------
    linear : LinearModel
    kernel : KernelMachine
    share : float in (0, 1]
        Weight of the kernel machine.
    """

    linear: LinearModel
    kernel: KernelMachine
    share: float

    def __call__(self, x: np.ndarray) -> np.ndarray:
        """Predict the rows of `x`, (n, D) -> (n, 2)."""
        return _mean(self.linear(x), self.kernel(x), self.share)


def _mean(line: np.ndarray, curve: np.ndarray, share: float) -> np.ndarray:
    """The mean of what both models predict."""
    mean: np.ndarray = (1 - share) * line + share * curve
    return mean


class LargeTrainer:
    """Fits the mean of both models on any of the folds of a trainer.

    Parameters
    ----------
    trainer : Trainer
        Of the linear model.
    settings : sequence of KernelSetting
    shares : sequence of float in (0, 1]
    """

    def __init__(
        self,
        trainer: Trainer,
        settings: Sequence[KernelSetting] = KERNEL_SETTINGS,
        shares: Sequence[float] = SHARES,
    ) -> None:
        self.trainer, self.settings, self.shares = trainer, settings, shares
        self._most = max(setting.components for setting in settings)

    def fit(self, setting: LargeSetting, without: Sequence[int] = ()) -> WeightedMean:
        """Fit a model on all folds except some."""
        linear = self.trainer.fit(_loss_weights(setting), without)
        with threadpool_limits(1, user_api="blas"):
            [kernel] = self._problem(_loss_weights(setting), without).fit([setting.kernel])
        return WeightedMean(linear, kernel, setting.share)

    def _problem(self, weights: LossWeights, without: Sequence[int]) -> KernelProblem:
        x, y = {}, {}
        for title, data in self.trainer.data.items():
            used = np.flatnonzero((data.fold >= 0) & ~np.isin(data.fold, list(without)))
            every = TRAIN_EVERY if self.trainer.label_kinds[title] == "curves" else 1
            x[title] = np.concatenate([data.rows[i][::every] for i in used])
            y[title] = np.concatenate([data.labels[i][::every] for i in used])
        products = self.trainer.gain_products(weights, without)
        rows = KernelRows(x, y, self.trainer.label_kinds, products)
        return KernelProblem(rows, weights, self._most)

    def inner_losses(
        self, weights: LossWeights, left_out: Sequence[int]
    ) -> dict[int, dict[tuple[KernelSetting, float], float]]:
        """Losses of all settings and shares, on each of the folds that are left out."""
        linear = self.trainer.fit(weights, left_out)
        rows = {fold: self.trainer.loss_rows(fold) for fold in left_out}
        lines = {fold: [linear(x) for x, _ in of_fold] for fold, of_fold in rows.items()}
        losses: dict[int, dict] = {fold: {} for fold in left_out}
        with threadpool_limits(1, user_api="blas"):
            problem = self._problem(weights, left_out)
            for setting, kernel in zip(self.settings, problem.fit(self.settings), strict=True):
                for fold, of_fold in rows.items():
                    curves = [kernel(x) for x, _ in of_fold]
                    for share in self.shares:
                        means = [
                            _mean(line, curve, share)
                            for line, curve in zip(lines[fold], curves, strict=True)
                        ]
                        loss = relative_error(means, [y for _, y in of_fold])
                        losses[fold][setting, share] = loss
        return losses

    def choose(self, weights: LossWeights, losses: Mapping, without: Sequence[int]) -> LargeSetting:
        """The setting with the lowest mean loss over the inner folds of the remaining folds.

        Parameters
        ----------
        weights : LossWeights
            Chosen for the same folds.
        losses : mapping
            Results of `inner_losses` by the weights, by the folds left out of training (one or
            two), and by the tested fold.
        without : sequence of int
        """
        left = [k for k in range(self.trainer.folds) if k not in without]
        parts = [losses[weights, frozenset((*without, k)), k] for k in left]
        best = min(parts[0], key=lambda choice: np.mean([part[choice] for part in parts]))
        return LargeSetting.of_parts(weights, *best)


def _loss_weights(setting: LargeSetting) -> LossWeights:
    return LossWeights(setting.curves, setting.quadrants, setting.gems, setting.alpha)


@dataclass(frozen=True)
class LargeReleased(Released):
    """The released model, and what each part alone predicts in cross-validation.

    Parameters
    ----------
    parts : dict of str to HeldOut
    """

    model: WeightedMean
    parts: dict[str, HeldOut]


def train(trainer: Trainer, large: LargeTrainer | None = None) -> LargeReleased:
    """Cross-validate over all corpora at once, then train the released model on all folds.

    As `msr_utils.experiments.release.trainer.train`. The weights of the kinds of labels are those
    that the linear model's inner losses choose. Then the setting of the kernel machine and its
    share are chosen, without the tested fold, too.
    """
    large = large or LargeTrainer(trainer)
    folds = range(trainer.folds)
    linear_losses = trainer.inner_losses()
    fold_weights = [trainer.choose_weights(linear_losses, (k,)) for k in folds]
    weights = trainer.choose_weights(linear_losses, ())
    plans = {(weights, frozenset((k,))) for k in folds}
    plans |= {(fold_weights[k], frozenset((k, j))) for k in folds for j in folds if j != k}
    order = sorted(plans, key=lambda plan: (str(plan[0]), sorted(plan[1])))
    losses = {}
    for of_plan, left_out in tqdm(order, desc="kernel settings", disable=not trainer.progress):
        for fold, found in large.inner_losses(of_plan, sorted(left_out)).items():
            losses[of_plan, left_out, fold] = found
    fold_settings = [large.choose(fold_weights[k], losses, (k,)) for k in folds]
    setting = large.choose(weights, losses, ())
    models = [large.fit(s, (k,)) for k, s in enumerate(fold_settings)]
    whole = released(trainer, models, fold_settings, large.fit(setting), setting)
    parts = {
        "linear part": trainer.predict_held_out([model.linear for model in models]),
        "kernel part": trainer.predict_held_out([model.kernel for model in models]),
    }
    return LargeReleased(**vars(whole), parts=parts)


def report_large(model: LargeReleased, n_boot: int = N_BOOT, seed: int = SEED) -> Report:
    """Score every track by a model that was not trained on its group."""
    tried = len(LOSS_WEIGHTS) + len(KERNEL_SETTINGS) * len(SHARES)
    return replace(report(model, n_boot, seed), tried=tried)


def part_results(
    model: LargeReleased, n_boot: int = N_BOOT, seed: int = SEED
) -> dict[str, Results]:
    """Cross-validated scores of each part alone."""
    found = {
        name: report(replace(model, held_out=held_out), n_boot, seed)
        for name, held_out in model.parts.items()
    }
    return {n: Results(curves=r.curves, quadrants=r.quadrants) for n, r in found.items()}


def gain_over_linear(
    model: LargeReleased, n_boot: int = N_BOOT, seed: int = SEED
) -> dict[str, ClipEstimates]:
    """The whole model minus its linear part, on the same resampled artists; by corpus of clips."""
    gains = {}
    for title, kind in model.trainer.label_kinds.items():
        if kind != "quadrants":
            continue
        data = model.trainer.data[title]
        counts = draw_counts([data.corpus.tracks[i].group for i in data.tested], n_boot, seed)
        true = np.concatenate([data.labels[i] for i in data.tested])
        ours, linear = (
            quadrant_samples(counts, true, held_out.clips[title])
            for held_out in (model.held_out, model.parts["linear part"])
        )
        draws = {f"auc_{t}": ours.auc[t] - linear.auc[t] for t in ours.auc}
        draws["accuracy"] = ours.accuracy - linear.accuracy
        gains[title] = {name: Estimate.of_draws(values) for name, values in draws.items()}
    return gains


def gain_table(gains: Mapping[str, ClipEstimates]) -> pd.DataFrame:
    """Readable table of `gain_over_linear`: corpora as rows, metrics as columns."""
    rows = {
        title: {clip_metric_title(metric): f"{e:+.3f}" for metric, e in estimates.items()}
        for title, estimates in gains.items()
    }
    return pd.DataFrame.from_dict(rows, orient="index").rename_axis("corpus")


def setting_table(report: Report) -> pd.DataFrame:
    """Readable table of the settings that each fold chose, and of the released model."""
    names = [f"fold {k}" for k in range(1, len(report.chosen) + 1)]
    rows = [asdict(setting) for setting in (*report.chosen, report.setting)]
    return pd.DataFrame(rows, index=[*names, "released model"])

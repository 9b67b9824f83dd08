"""The bundle of the released model `large`, and the texts of its card."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from msr_utils.constants import TARGETS
from msr_utils.experiments.release.card import (
    PRETRAINED_LIMIT,
    clip_scores_text,
    describe,
    feature_scale,
    seconds_text,
)
from msr_utils.experiments.release.large import LARGE, LargeReleased, WeightedMean
from msr_utils.experiments.release.scores import Report
from msr_utils.features.config import FeatureConfig
from msr_utils.features.jamendo_graph import JAMENDO_TERMS
from msr_utils.features.musicnn_graph import MUSICNN_TERMS
from msr_utils.inference.card import ModelCard, ModelDescription

if TYPE_CHECKING:
    from msr_utils.models.backend import keras

JAMENDO_LIMIT = (
    "The second network was trained to tag MTG-Jamendo, and some of the tags are words for moods "
    "and themes. Recordings of the test clips may be in that data set. This was not checked."
)
"""Limit of the embeddings of the second pretrained network."""

UNLIKE_LIMIT = (
    "The kernel machine knows little about music that is unlike all training music. There it "
    "predicts the mean of the training labels, so curves are flatter than they should be."
)
"""Limit of the kernel machine."""


def networks(model: WeightedMean, mean: np.ndarray, sd: np.ndarray) -> dict[str, keras.Model]:
    """The model as one network a target, for `export_bundle`.

    Parameters
    ----------
    model : WeightedMean
    mean, sd : np.ndarray [shape=(D,)]
        Of the features.
    """
    # Here, so that who reads a card's texts does not wait for TensorFlow.
    from msr_utils.models.kernel import KernelWeights, build_kernel

    linear, kernel, share = model.linear, model.kernel, model.share
    intercept = (1 - share) * (linear.intercept + mean @ linear.slope) + share * kernel.level
    weights = KernelWeights(
        mean=mean.astype(np.float32),
        sd=sd.astype(np.float32),
        slope=(1 - share) * linear.slope * sd[:, None],
        projection=kernel.projection * sd[:, None],
        origin=(mean - kernel.center) @ kernel.projection,
        landmarks=kernel.landmarks,
        dual=share * kernel.dual,
        intercept=intercept,
    )
    return dict(zip(TARGETS, build_kernel(weights), strict=True))


def export_large(
    released: LargeReleased, report: Report, models_dir: Path, limits: Sequence[str] = ()
) -> ModelCard:
    """Write the bundle.

    Parameters
    ----------
    released : LargeReleased
    report : Report
    models_dir : Path
    limits : sequence of str
        Limits that were measured, see `msr_utils.experiments.release.card.export`.

    Raises
    ------
    msr_utils.export.bundle.ExportError
        If the ONNX graph does not compute what the network computes.
    """
    from msr_utils.export.bundle import export_bundle

    description = describe_large(released, report, limits)
    graphs = networks(released.model, *feature_scale(released))
    folder = Path(models_dir) / LARGE
    return export_bundle(graphs, released.trainer.features, description, folder)


def describe_large(
    released: LargeReleased, report: Report, limits: Sequence[str] = ()
) -> ModelDescription:
    """Describe the model for its card. The parameters are those of `export_large`."""
    trainer = released.trainer
    corpora = [data.corpus for data in trainer.data.values()]
    usual = describe(LARGE, trainer.features, corpora, report, trainer.folds, limits)
    at = usual.limits.index(PRETRAINED_LIMIT) + 1 if PRETRAINED_LIMIT in usual.limits else 1
    return replace(
        usual,
        title=f"Ridge regression and a kernel machine on running feature statistics ({LARGE})",
        summary=_summary(trainer.features, released.model),
        protocol=_protocol(report, trainer.folds),
        licence=f"{usual.licence}; pretrained networks, which the bundle does not contain: "
        f"{MUSICNN_TERMS}; {JAMENDO_TERMS}",
        limits=(*usual.limits[:at], JAMENDO_LIMIT, UNLIKE_LIMIT, *usual.limits[at:]),
    )


def _summary(features: FeatureConfig, model: WeightedMean) -> str:
    landmarks, components = model.kernel.landmarks.shape
    return (
        "Predicts valence and arousal every 500 ms. Causal: no value needs audio that comes later. "
        f"A weighted mean of ridge regression ({100 * (1 - model.share):.0f} %) and of a Gaussian "
        f"kernel machine ({100 * model.share:.0f} %, {landmarks} training rows in {components} "
        "principal components). Both use running feature statistics and were trained jointly on "
        f"several corpora. The statistics are means with time constants of "
        f"{seconds_text(features.memory_s)} and standard deviations with "
        f"{seconds_text(features.memory_sd_s)}. The features are spectrum, timbre, harmony, rhythm "
        "and loudness, and embeddings of MusiCNN and of the FCN of MTG-Jamendo, two networks "
        "pretrained on music tagging."
    )


def _protocol(report: Report, folds: int) -> str:
    reference = next(iter(report.curves))
    return (
        f"{folds}-fold cross-validation over all corpora at once. Each artist or game series is in "
        "one fold. The weights of the kinds of labels, the width and penalty of the kernel, the "
        "number of components and the share of the kernel machine were chosen without the tested "
        f"fold, from {report.tried} settings. The feature blocks, their time constants and the "
        "penalties of the linear model are those of earlier models, whose scores on the same "
        "tracks were known. So the scores may still be slightly optimistic. The table shows scores "
        f"on {reference}, pooled over frames. Scores on clips with a quadrant label: "
        f"{clip_scores_text(report)}. The bundle itself was trained on all folds. Intervals are "
        "95 % and resample tracks or artists."
    )

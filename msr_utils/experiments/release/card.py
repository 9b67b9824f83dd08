"""Bundles of the released models and the texts of their cards."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, cast

import numpy as np

from msr_utils.constants import TARGETS
from msr_utils.corpora.base import Corpus
from msr_utils.experiments.release.intervals import COVERAGE
from msr_utils.experiments.release.least_squares import N_CONFIGS_TRIED, LinearModel, LossWeights
from msr_utils.experiments.release.scores import Report, UnseenScores, clip_metric_title
from msr_utils.experiments.release.trainer import Released
from msr_utils.experiments.robustness import AlterationEffect
from msr_utils.experiments.transfer_scores import ZERO
from msr_utils.features.config import FeatureConfig
from msr_utils.inference.card import ModelCard, ModelDescription
from msr_utils.metrics.scores import METRICS

if TYPE_CHECKING:
    from msr_utils.models.backend import keras

TRAINING_LIMITS = (
    "The model was not trained on speech, noise, silence, music without Western harmony, or pieces "
    "longer than a few minutes.",
    "Ratings are means over listeners. They do not say what one person feels.",
)
"""Limits of every released model."""

PRETRAINED_LIMIT = (
    "MusiCNN was trained to tag the Million Song Dataset, and some of the tags are words for "
    "moods. Recordings of the test clips may be in that data set. This was not checked, so the "
    "scores on clips may be too high."
)
"""Limit of models with embeddings of MusiCNN."""


def networks(released: Released) -> dict[str, keras.Model]:
    """The linear model as one network a target, for `export_bundle`."""
    # Here, so that who reads a card's texts does not wait for TensorFlow.
    from msr_utils.models.linear import LinearConfig, build_linear

    mean, sd = feature_scale(released)
    model = cast(LinearModel, released.model)
    result = {}
    for k, target in enumerate(TARGETS):
        slope = model.slope[:, k]
        network = build_linear(LinearConfig(), mean.astype(np.float32), sd.astype(np.float32))
        # The network standardises its input, so its weights are those of standardised features.
        intercept = model.intercept[k] + mean @ slope
        network.get_layer("curve").set_weights(
            [(slope * sd)[:, None].astype(np.float32), np.array([intercept], np.float32)]
        )
        result[target] = network
    return result


def feature_scale(released: Released) -> tuple[np.ndarray, np.ndarray]:
    """Mean and standard deviation of the features of all training rows, (D,) each."""
    rows = np.concatenate([r for data in released.trainer.data.values() for r in data.rows])
    sd = rows.std(axis=0, dtype=np.float64)
    return rows.mean(axis=0, dtype=np.float64), np.where(sd > 1e-6, sd, 1)


def export(
    name: str,
    released: Released,
    report: Report,
    models_dir: Path,
    limits: Sequence[str] = (),
) -> ModelCard:
    """Write the bundle `name`.

    Parameters
    ----------
    name : str
        Key of `msr_utils.experiments.release.training_data.BUNDLES`.
    released : Released
    report : Report
    models_dir : Path
    limits : sequence of str
        Limits that were measured: see `unseen_limits`, `alteration_limits` and
        `msr_utils.experiments.release.peers.peer_limits`.

    Raises
    ------
    msr_utils.export.bundle.ExportError
        If the ONNX graph does not compute what the network computes.
    """
    from msr_utils.export.bundle import export_bundle

    trainer = released.trainer
    corpora = [data.corpus for data in trainer.data.values()]
    description = describe(name, trainer.features, corpora, report, trainer.folds, limits)
    return export_bundle(networks(released), trainer.features, description, Path(models_dir) / name)


def describe(
    name: str,
    features: FeatureConfig,
    corpora: Sequence[Corpus],
    report: Report,
    folds: int,
    limits: Sequence[str] = (),
) -> ModelDescription:
    """Describe a released model for its card.

    Parameters
    ----------
    name : str
    features : FeatureConfig
    corpora : sequence of Corpus
        All that the trainer read. Corpora whose labels have no weight are not named.
    report : Report
    folds : int
        Of the cross-validation.
    limits : sequence of str
        See `export`.
    """
    used = [corpus for corpus in corpora if report.setting.of(corpus.labels)]
    titles = [corpus.card.title for corpus in used]
    has_pretrained = bool(features.pretrained)
    reference = next(iter(report.curves))
    return ModelDescription(
        name=name,
        title=f"Ridge regression on running feature statistics ({name})",
        summary=_summary(features, has_pretrained),
        protocol=_protocol(report, folds, reference),
        trained_on="; ".join(titles),
        licence="weights for research, not for commercial use; training data: "
        + "; ".join(f"{corpus.card.title} ({corpus.card.licence})" for corpus in used),
        corpus_hash=" ".join(corpus.content_hash()[:16] for corpus in used),
        metrics={
            target: {metric: scores.pooled[metric] for metric in METRICS}
            for target, scores in report.curves[reference].items()
        },
        margins=report.margins,
        setting=asdict(report.setting),
        quadrants=report.quadrants,
        coverage=asdict(report.coverage),
        limits=(
            _interval_limit(report, reference),
            *limits,
            *((PRETRAINED_LIMIT,) if has_pretrained else ()),
            _vocal_limit(report.setting),
            *TRAINING_LIMITS,
        ),
    )


def _summary(features: FeatureConfig, has_pretrained: bool) -> str:
    embeddings = ", and embeddings of MusiCNN, a network pretrained on music tagging"
    return (
        "Predicts valence and arousal every 500 ms. Causal: no value needs audio that comes later. "
        "Ridge regression on running feature statistics, trained jointly on several corpora. The "
        f"statistics are means with time constants of {seconds_text(features.memory_s)} and "
        f"standard deviations with {seconds_text(features.memory_sd_s)}. The features are "
        "spectrum, timbre, harmony, rhythm and "
        f"loudness{embeddings if has_pretrained else ''}."
    )


def seconds_text(values: Sequence[float]) -> str:
    """Such as "3, 10 and 40 s"."""
    *first, last = [f"{value:g}" for value in values]
    return f"{', '.join(first)} and {last} s" if first else f"{last} s"


def clip_scores_text(report: Report) -> str:
    """Scores on clips with a quadrant label, such as "AUC of valence 0.870; ..."."""
    return "; ".join(
        f"{clip_metric_title(metric)} {estimate}"
        for estimates in report.quadrants.values()
        for metric, estimate in estimates.items()
    )


def _protocol(report: Report, folds: int, reference: str) -> str:
    clips = clip_scores_text(report)
    return (
        f"{folds}-fold cross-validation over all corpora at once. Each artist or game series is in "
        "one fold. Only the weights of the kinds of labels were chosen without the tested fold. "
        "Features, time constants and penalties were chosen after about "
        f"{N_CONFIGS_TRIED} configurations had been scored on the same folds, so the scores are "
        f"somewhat optimistic. The table shows scores on {reference}, pooled over frames. Scores "
        f"on clips with a quadrant label: {clips}. The bundle itself was trained on all folds. "
        "Intervals are 95 % and resample tracks or artists."
    )


def _interval_limit(report: Report, reference: str) -> str:
    reached = _each_target(
        {
            t: f"{100 * by_corpus[reference]:.0f} %"
            for t, by_corpus in report.coverage.reached.items()
        }
    )
    return (
        "The intervals of a curve have the same width in every frame. They are meant to cover "
        f"{100 * COVERAGE:.0f} % of a track's frames. They were fitted to curves of {reference}, "
        f"where they cover {reached} in cross-validation. On other music they may cover less."
    )


def _vocal_limit(weights: LossWeights) -> str:
    labels = "quadrant and emotion labels of whole clips" if weights.gems else "quadrant labels"
    return (
        f"For songs with vocals or a band the model was trained only on {labels}. "
        "Trust the direction of change more than the absolute value."
    )


def unseen_limits(name: str, unseen: UnseenScores, title: str) -> list[str]:
    """Scores on a corpus that was not used in training, as sentences for a model card.

    Parameters
    ----------
    name : str
        Of the bundle.
    unseen : UnseenScores
    title : str
        Of the corpus.
    """
    rmse = {t: f"{rows[name].pooled['rmse']}" for t, rows in unseen.rows.items()}
    zero = {t: f"{rows[ZERO].pooled['rmse'].value:.3f}" for t, rows in unseen.rows.items()}
    song_means = {t: f"{rows[name].song_means:.2f}" for t, rows in unseen.rows.items()}
    limits = [
        "The level of the curves is uncertain on music that is unlike the training music. On "
        f"{unseen.songs} songs that were not used in training ({title}), RMSE is "
        f"{_each_target(rmse)}. A constant zero has {_each_target(zero)}. The correlation r of "
        f"predicted and true song means is {_each_target(song_means)}. It tells how well songs are "
        "ranked. An interval that includes zero is no evidence of a correct ranking."
    ]
    coverage = unseen.coverage.get(name)
    if coverage:
        covered = _each_target(
            {t: f"{100 * share:.0f} % of the frames" for t, share in coverage.items()}
        )
        limits.append(f"On these songs the {100 * COVERAGE:.0f} % intervals cover {covered}.")
    return limits


def alteration_limits(effects: Sequence[AlterationEffect], title: str) -> list[str]:
    """How altered recordings shift the curves, as sentences for a model card.

    Parameters
    ----------
    effects : sequence of AlterationEffect
        From `msr_utils.experiments.robustness.robustness`.
    title : str
        Of the corpus whose songs were altered.
    """
    shifts: dict[str, dict[str, float]] = {}
    for effect in effects:
        shifts.setdefault(effect.alteration, {})[effect.target] = effect.shift
    changes = "; ".join(
        f"{alteration} " + " and ".join(f"{shift[target]:+.3f}" for target in TARGETS)
        for alteration, shift in shifts.items()
    )
    return [
        f"When recordings are altered ({title}), the means of the predicted "
        f"{' and '.join(TARGETS)} change by these amounts: {changes}."
    ]


def _each_target(texts: Mapping[str, str]) -> str:
    """Such as "0.2 for valence and 0.3 for arousal"."""
    return " and ".join(f"{text} for {target}" for target, text in texts.items())

"""Bundles of the released models and their cards."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from msr_utils.constants import TARGETS
from msr_utils.experiments.release.intervals import COVERAGE
from msr_utils.experiments.release.least_squares import N_CONFIGS_TRIED
from msr_utils.experiments.release.trainer import Released, _curves
from msr_utils.experiments.robustness import AlterationEffect
from msr_utils.experiments.transfer_scores import ZERO, TransferScores
from msr_utils.export.bundle import export_bundle
from msr_utils.inference.card import ModelCard, ModelDescription
from msr_utils.metrics.estimate import Estimate
from msr_utils.metrics.scores import METRICS
from msr_utils.models.backend import keras
from msr_utils.models.linear import LinearConfig, build_linear


def networks(released: Released) -> dict[str, keras.Model]:
    """The map as one network a target, for `export_bundle`."""
    m = released.trainer.materials
    rows = np.concatenate([r for own in m.values() for r in own.rows])
    mean, sd = rows.mean(axis=0, dtype=np.float64), rows.std(axis=0, dtype=np.float64)
    sd = np.where(sd > 1e-6, sd, 1)
    found = {}
    for k, target in enumerate(TARGETS):
        slope = released.map.slope[:, k]
        network = build_linear(LinearConfig(), mean.astype(np.float32), sd.astype(np.float32))
        level = released.map.level[k] + mean @ slope
        network.get_layer("curve").set_weights(
            [(slope * sd)[:, None].astype(np.float32), np.array([level], np.float32)]
        )
        found[target] = network
    return found


def export(
    name: str, released: Released, scored: dict, models_dir: Path, limits: Sequence[str] = ()
) -> ModelCard:
    """Write the bundle `name`.

    Parameters
    ----------
    name : str
        Key of `BUNDLES`.
    released : Released
    scored : dict
        See `report`.
    models_dir : Path
    limits : sequence of str
        What measurements on other music say, as `unseen_limits` words it.

    Returns
    -------
    ModelCard

    Raises
    ------
    msr_utils.export.bundle.ExportError
        If the graph does not compute what the network computes.
    """
    trainer = released.trainer
    corpora = [
        m.corpus
        for m in trainer.materials.values()
        if getattr(released.setting, m.corpus.labels)  # a kind without a share teaches nothing
    ]
    first = _curves(trainer)[0]
    ear = "ear" in trainer.features.blocks
    inside = scored["coverage"]["reached"]
    clips = "; ".join(
        f"{metric.replace('_', ' of ')} {v['value']:.3f} [{v['low']:.3f}, {v['high']:.3f}]"
        for quadrants in scored["quadrants"].values()
        for metric, v in quadrants.items()
    )
    description = ModelDescription(
        name=name,
        title=f"Linear map of remembered features ({name})",
        summary="Valence and arousal every 500 ms; causal. One linear map of what was heard in "
        "the last 3, 10 and 40 s: spectrum, timbre, harmony, rhythm and loudness"
        + (", and what a network makes of it that learned to tag music." if ear else "."),
        protocol=f"{trainer.folds}-fold cross-validation over all corpora at once, by artist "
        "or series. Only the shares of the kinds of labels were chosen within the folds that are "
        "not tested; features, memory and penalties were settled after the scores of about "
        f"{N_CONFIGS_TRIED} configurations on the same folds had been seen, so these scores are somewhat "
        f"optimistic. The table is of {first}, frames pooled. Clips of a known quadrant: {clips}. The bundle itself was "
        "trained on all folds. Intervals of 95 % resample tracks or artists.",
        trained_on=", ".join(c.card.title for c in corpora),
        licence="weights for research, not for commercial use; training data: "
        + "; ".join(f"{c.card.title}: {c.card.licence}" for c in corpora),
        corpus_hash=" ".join(c.content_hash()[:16] for c in corpora),
        metrics={
            t: {m: one.pooled[m] for m in METRICS} for t, one in scored["curves"][first].items()
        },
        margins=released.margins,
        setting=scored["setting"],
        quadrants={
            corpus: {metric: Estimate.from_json(value) for metric, value in own.items()}
            for corpus, own in scored["quadrants"].items()
        },
        coverage=scored["coverage"],
        limits=(
            f"Its intervals are as wide for every frame. They are meant to cover "
            f"{100 * COVERAGE:.0f} % of a track's frames and were fitted to curves of {first}: "
            + ", ".join(f"{100 * inside[t][first]:.0f} % of {t}" for t in TARGETS)
            + " there, out of fold. On other music they may cover fewer.",
            *limits,
            *(
                [
                    "Its ear learned to tag the Million Song Dataset, with words for moods among the "
                    "tags. Recordings of the clips may be in it, which was not checked: the scores on "
                    "clips may be too good."
                ]
                if ear
                else []
            ),
            "Of recordings with singing or a band it has heard only which quadrant a clip is in: "
            "that a curve rises there says more than its value does.",
            "It was never shown speech, noise, silence, music without Western harmony or pieces "
            "of more than some minutes.",
            "Ratings are means over listeners: they do not say what one person feels.",
        ),
    )
    return export_bundle(networks(released), trainer.features, description, Path(models_dir) / name)


def unseen_limits(name: str, heard: dict, title: str) -> list[str]:
    """What music that a bundle was not trained on says of its limits, for its card.

    Parameters
    ----------
    name : str
        Of the bundle.
    heard : dict
        See `unseen`.
    title : str
        Of the corpus.
    """

    def each(form: Callable[[str], str]) -> str:
        return " and ".join(f"{form(target)} of {target}" for target in TARGETS)

    def of(target: str, row: str) -> TransferScores:
        return heard["rows"][target][row]

    limits = [
        "How high its curves lie is uncertain on music unlike its training music. On the "
        f"{heard['songs']} songs of {title}, which it was never trained on, RMSE is "
        + each(lambda t: f"{of(t, name).pooled['rmse']}")
        + "; a constant zero has "
        + each(lambda t: f"{of(t, ZERO).pooled['rmse'].value:.3f}")
        + ". Which song has more is told with r of song means "
        + each(lambda t: f"{of(t, name).song_means:.2f}")
        + "; an interval that holds zero shows nothing."
    ]
    inside = heard["coverage"].get(name)
    if inside:
        limits.append(
            f"There its intervals of {100 * COVERAGE:.0f} % cover "
            + each(lambda t: f"{100 * inside[t]:.0f} %")
            + "."
        )
    return limits


def altered_limits(rows: Sequence[AlterationEffect], title: str) -> list[str]:
    """What altering recordings does to the curves, for the card.

    Parameters
    ----------
    rows : sequence of AlterationEffect
        From `msr_utils.experiments.robustness.robustness`.
    title : str
        Of the corpus whose songs were altered.
    """
    names = dict.fromkeys(row.alteration for row in rows)
    moved = {(row.alteration, row.target): row.shift for row in rows}
    return [
        f"Altered recordings of the songs of {title} move its mean valence and arousal by: "
        + "; ".join(
            f"{name} " + " and ".join(f"{moved[name, target]:+.3f}" for target in TARGETS)
            for name in names
        )
        + "."
    ]

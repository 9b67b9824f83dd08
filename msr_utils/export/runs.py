"""Export the trained runs of a corpus."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from msr_utils.constants import TARGETS
from msr_utils.corpora.base import Corpus
from msr_utils.export.bundle import ExportError, export_bundle
from msr_utils.features.config import FeatureConfig
from msr_utils.inference.card import ModelCard, ModelDescription
from msr_utils.io import read_json
from msr_utils.metrics.scores import METRICS, Scores
from msr_utils.training.artifacts import load_model


def export_runs(corpus_dir: Path, run: str, corpus: Corpus, models_dir: Path) -> ModelCard:
    """Export trained runs as the bundle ``<run>-<corpus>``.

    Parameters
    ----------
    corpus_dir : Path
        ``reports/<edition>/<corpus>`` with the runs ``<run>-valence`` and ``<run>-arousal``.
    run : str
        Prefix of the run folders, "lstm" or "lstm-tonal".
    corpus : Corpus
        What the runs were trained on.
    models_dir : Path
        Where bundles lie.

    Returns
    -------
    ModelCard

    Raises
    ------
    ExportError
        If the runs were trained on other data, or do not pass the parity gate.
    FileNotFoundError
        If a run has not finished.
    """
    metrics, models = {}, {}
    for target in TARGETS:
        folder = Path(corpus_dir) / f"{run}-{target}"
        models[target] = load_model(folder / "models" / "model.keras")
        metrics[target] = read_json(folder / "metrics.json")
        if metrics[target]["data_hash"] != corpus.content_hash():
            raise ExportError(
                f"{folder.name}: was trained on other data than {corpus.name}; rerun it"
            )
    features = FeatureConfig.from_json(metrics[TARGETS[0]]["features"])
    description = _describe(run, corpus, features, metrics)
    return export_bundle(models, features, description, Path(models_dir) / description.name)


def _describe(
    run: str, corpus: Corpus, features: FeatureConfig, metrics: Mapping[str, Mapping[str, Any]]
) -> ModelDescription:
    """Describe runs, from the ``metrics.json`` of each target."""
    tested = {target: Scores.from_json(m["test"]) for target, m in metrics.items()}
    networks = metrics[TARGETS[0]]["seeds"]
    each = "one network" if networks == 1 else f"the mean of {networks} networks"
    return ModelDescription(
        name=f"{run}-{corpus.name}",
        title=f"LSTM trained on {corpus.card.title}",
        summary=f"Valence and arousal every 500 ms from {', '.join(features.blocks)}. Causal. "
        f"For each target {each} of two LSTM layers and a linear unit.",
        protocol=_protocol(metrics[TARGETS[0]], tested[TARGETS[0]]),
        trained_on=corpus.card.title,
        licence=f"weights for research; training data: {corpus.card.licence}",
        corpus_hash=corpus.content_hash(),
        metrics={
            t: {name: scores.pooled[name] for name in METRICS} for t, scores in tested.items()
        },
        limits=(
            f"Trained only on {corpus.card.title}. On other music its curves may be wrong, even "
            "in direction.",
            "Ratings are means over listeners. They do not say what one person feels.",
            *corpus.card.notes,
        ),
    )


def _protocol(run: Mapping[str, Any], tested: Scores) -> str:
    """How the scores of a run were measured, and how they relate to the exported model."""
    folds, inner_folds, networks = run["folds"], run["inner_folds"], run["seeds"]
    sentences = [
        f"Scores are pooled over the {tested.frames} frames of {tested.songs} tracks. Each track "
        "was predicted by a model that was trained on no track of its group"
        + (f" ({folds}-fold cross-validation)." if folds > 1 else ".")
    ]
    if folds == 1:
        sentences.append("The bundle is that model.")
    else:
        groups = "all groups" if inner_folds > 1 else "all groups but a validation part"
        stopped = ", each stopped early on a part that it was not trained on"
        several = f": {networks} networks" + (stopped if inner_folds > 1 else "")
        sentences += [
            f"The bundle itself was trained on {groups}{several if networks > 1 else ''}.",
            "The scores of the cross-validation estimate its performance.",
        ]
    return " ".join([*sentences, "Intervals resample tracks."])

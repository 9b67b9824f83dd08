"""Export the trained runs of a corpus."""

from __future__ import annotations

from pathlib import Path

from msr_utils.constants import TARGETS
from msr_utils.corpora.base import Corpus
from msr_utils.export.bundle import ExportError, export_bundle
from msr_utils.features.config import FeatureConfig
from msr_utils.io import read_json
from msr_utils.metrics.scores import METRICS
from msr_utils.training.artifacts import load_model


def export_runs(corpus_dir: Path, run: str, corpus: Corpus, models_dir: Path) -> dict:
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
    dict
        The card.

    Raises
    ------
    ExportError
        If the runs were trained on other data, or do not pass the parity gate.
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
    tested = metrics[TARGETS[0]]["test"]
    folds = metrics[TARGETS[0]]["folds"]
    inner_folds, networks = metrics[TARGETS[0]]["inner_folds"], metrics[TARGETS[0]]["seeds"]
    stopped = "each without a part that stopped its training"
    several = f"{networks} networks" + (f", {stopped}" if inner_folds > 1 else "")
    card = {
        "name": f"{run}-{corpus.name}",
        "title": f"LSTM trained on {corpus.card.title}",
        "summary": f"Valence and arousal every 500 ms from {', '.join(features.blocks)}; causal; "
        "for each target "
        + ("one network" if networks == 1 else f"the mean of {networks} networks")
        + " of two LSTM layers and a linear unit.",
        "protocol": (
            f"Pooled over the {tested['frames']} frames of {tested['songs']} tracks, each "
            "predicted by a model that saw no track of its group"
            + (
                f" ({folds}-fold cross-validation). The bundle itself was trained on "
                + (
                    f"all groups: {several}"
                    if inner_folds > 1
                    else "all groups but a validation part"
                    + (f": {several}" if networks > 1 else "")
                )
                + ", so these scores estimate it."
                if folds > 1
                else ". The bundle is that model."
            )
            + " Intervals resample tracks."
        ),
        "trained_on": corpus.card.title,
        "licence": f"weights for research; training data: {corpus.card.licence}",
        "corpus_hash": corpus.content_hash(),
        "metrics": {
            t: {name: m["test"]["pooled"][name] for name in METRICS} for t, m in metrics.items()
        },
        "limits": [
            f"It has heard only {corpus.card.title}: on other music its curves may be wrong, "
            "even in direction.",
            "Ratings are means over listeners: they do not say what one person feels.",
            *corpus.card.notes,
        ],
    }
    return export_bundle(models, features, card, Path(models_dir) / card["name"])

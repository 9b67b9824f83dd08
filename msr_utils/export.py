"""Export trained Keras models to an ONNX bundle, after proving that both compute the same."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path

from msr_utils.training import keras  # sets the backend before keras loads

import numpy as np

from msr_utils.constants import TARGETS
from msr_utils.corpora.base import Corpus
from msr_utils.experiment import load_model
from msr_utils.features import FeatureConfig
from msr_utils.inference import Model
from msr_utils.io import read_json, sha256_file, write_json, write_text
from msr_utils.metrics import METRICS
from msr_utils.models.lstm import state_shape, streaming_form
from msr_utils.models.transformer import joined_form

PARITY_TOLERANCE = 1e-4
"""Largest difference between Keras and ONNX outputs that an export may have."""

PARITY_BATCHES = (1, 3)
PARITY_LENGTHS = (1, 7, 90, 300)


class ExportError(RuntimeError):
    """An exported graph that does not compute what the Keras model computes."""


def export_bundle(
    models: dict[str, keras.Model],
    features: FeatureConfig,
    card: dict,
    destination: Path,
    max_frames: int | None = None,
) -> dict:
    """Write a bundle for the service.

    Parameters
    ----------
    models : dict of str to keras.Model
        One a target, in the order of `TARGETS`: LSTMs of one shape, Transformers, or linear
        maps of a frame.
    features : FeatureConfig
        What the models were trained on.
    card : dict
        ``name``, ``title``, ``trained_on``, ``licence``, ``metrics``, ``limits`` ...
    destination : Path
        Folder of the bundle; replaced only when the new one has passed.
    max_frames : int, optional
        Longest input of a model that is not recurrent.

    Returns
    -------
    dict
        The card as written, with the parity that was measured.

    Raises
    ------
    ExportError
        If an output is not finite or differs by more than `PARITY_TOLERANCE`.
    """
    if tuple(models) != TARGETS:
        raise ValueError(f"models: need {', '.join(TARGETS)} in this order, not {list(models)}")
    members = list(models.values())
    recurrent = max_frames is None and members[0].name != "linear"
    kind = "recurrent" if recurrent else "frame" if max_frames is None else "window"
    form = streaming_form(members) if recurrent else joined_form(members)
    destination = Path(destination)
    destination.parent.mkdir(parents=True, exist_ok=True)
    folder = Path(tempfile.mkdtemp(dir=destination.parent, prefix=".tmp-"))
    try:
        folder.chmod(0o755)
        inputs = _random_inputs(form, 1, 2, np.random.default_rng(0))
        form(inputs if recurrent else inputs[0])  # Keras exports only what has been called.
        form.export(folder / "model.onnx", format="onnx", verbose=False)
        write_json(folder / "features.json", features.to_json())
        card = {
            **card,
            "kind": kind,
            "targets": list(TARGETS),
            "parameters": int(sum(m.count_params() for m in members)),
            "feature_hash": features.hash,
            "model_sha256": sha256_file(folder / "model.onnx"),
        }
        if recurrent:
            rows, width = state_shape(members[0])
            card["state_shape"] = [rows * len(members), width]
        elif max_frames is not None:
            card["max_frames"] = max_frames
        write_json(folder / "card.json", card)
        card["parity_max_difference"] = check_parity(form, Model(folder), max_frames)
        write_json(folder / "card.json", card)
        write_text(folder / "CARD.md", render_card(card))
        if destination.exists():
            shutil.rmtree(destination)
        folder.replace(destination)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    return card


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


def check_parity(form: keras.Model, model: Model, max_frames: int | None = None) -> float:
    """Compare Keras and ONNX over batch sizes and lengths.

    Returns
    -------
    float
        Largest absolute difference seen, states included.

    Raises
    ------
    ExportError
        If it exceeds `PARITY_TOLERANCE` or an output is not finite.
    """
    rng = np.random.default_rng(0)
    worst = 0.0
    for batch in PARITY_BATCHES:
        for length in PARITY_LENGTHS:
            inputs = _random_inputs(form, batch, min(length, max_frames or length), rng)
            wanted = form(inputs if len(inputs) > 1 else inputs[0])
            wanted = [
                np.asarray(w) for w in (wanted if isinstance(wanted, list | tuple) else [wanted])
            ]
            got = [g for g in model.run(*inputs) if g is not None]
            for g, w in zip(got, wanted, strict=True):
                difference = float(np.abs(g - w).max()) if g.shape == w.shape else np.inf
                # "not <=" also catches NaN.
                if not difference <= PARITY_TOLERANCE:
                    raise ExportError(
                        f"{model.name}: ONNX differs from Keras by {difference:g} at batch "
                        f"{batch}, length {inputs[0].shape[1]} (allowed {PARITY_TOLERANCE:g})"
                    )
                worst = max(worst, difference)
    return worst


def _random_inputs(
    form: keras.Model, batch: int, length: int, rng: np.random.Generator
) -> list[np.ndarray]:
    """Features around the network's own normalisation, and a state where it takes one."""
    shapes = [tuple(i.shape) for i in form.inputs]
    norm = _normalisation(form)
    sd = 1 / np.asarray(norm.scale)
    mean = -np.asarray(norm.offset) * sd
    features = rng.normal(mean, sd, (batch, length, shapes[0][-1])).astype(np.float32)
    states = [rng.normal(0, 0.5, (batch, *s[1:])).astype(np.float32) for s in shapes[1:]]
    return [features, *states]


def _normalisation(form: keras.Model) -> keras.layers.Rescaling:
    layers = form._flatten_layers()
    return next(layer for layer in layers if isinstance(layer, keras.layers.Rescaling))


def render_card(card: dict) -> str:
    """The model card as Markdown."""
    lines = [f"# {card['title']}", "", card["summary"], "", "## Scores", ""]
    lines += [
        card["protocol"],
        "",
        "| target | metric | value | 95 % interval |",
        "|---|---|---|---|",
    ]
    for target, scores in card["metrics"].items():
        for metric, s in scores.items():
            lines.append(
                f"| {target} | {metric} | {s['value']:.3f} | {s['low']:.3f} to {s['high']:.3f} |"
            )
    lines += ["", "## Limits", "", *(f"- {limit}" for limit in card["limits"])]
    lines += ["", "## Facts", ""]
    for key in ("name", "kind", "parameters", "trained_on", "licence", "corpus_hash", "margins"):
        if key in card:
            lines.append(f"- {key.replace('_', ' ')}: {card[key]}")
    lines += [
        f"- features: {card['feature_hash'][:16]}, model SHA-256: {card['model_sha256'][:16]}",
        f"- largest difference from the Keras model: {card['parity_max_difference']:.1e}",
    ]
    return "\n".join(lines) + "\n"

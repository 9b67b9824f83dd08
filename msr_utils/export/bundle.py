"""Export trained Keras models to an ONNX bundle, after proving that both compute the same."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path

import numpy as np

from msr_utils.constants import TARGETS
from msr_utils.export.card import render_card
from msr_utils.features.config import FeatureConfig
from msr_utils.inference.model import Model
from msr_utils.io import sha256_file, write_json, write_text
from msr_utils.models.backend import keras
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

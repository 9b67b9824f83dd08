"""Export trained Keras models to an ONNX bundle, after checking that both compute the same."""

from __future__ import annotations

import shutil
import tempfile
from dataclasses import replace
from pathlib import Path

import numpy as np

from msr_utils.constants import TARGETS
from msr_utils.export.card import render_card
from msr_utils.features.config import FeatureConfig
from msr_utils.inference.card import ModelCard, ModelDescription
from msr_utils.inference.model import Model
from msr_utils.io import sha256_file, write_json, write_text
from msr_utils.models.backend import keras
from msr_utils.models.kernel import KERNEL_NETWORK
from msr_utils.models.lstm import state_shape, streaming_form
from msr_utils.models.transformer import joined_form

PARITY_TOLERANCE = 1e-4
"""Largest difference between Keras and ONNX outputs that an export may have."""

FRAME_NETWORKS = ("linear", KERNEL_NETWORK)
"""Names of networks that map each frame alone."""

PARITY_BATCHES = (1, 3)

PARITY_LENGTHS = (1, 7, 90, 300)


class ExportError(RuntimeError):
    """An exported graph that does not compute what the Keras model computes."""


def export_bundle(
    models: dict[str, keras.Model],
    features: FeatureConfig,
    description: ModelDescription,
    destination: Path,
    max_frames: int | None = None,
) -> ModelCard:
    """Write a bundle for the service.

    Parameters
    ----------
    models : dict of str to keras.Model
        One a target, in the order of `TARGETS`: LSTMs of one shape, Transformers, or
        models of a frame.
    features : FeatureConfig
        What the models were trained on.
    description : ModelDescription
    destination : Path
        Folder of the bundle. An old bundle there is replaced only when the new one has passed.
    max_frames : int, optional
        Longest input of a model that sees a window.

    Returns
    -------
    ModelCard
        As written, with the parity that was measured.

    Raises
    ------
    ExportError
        If an output is not finite or differs by more than `PARITY_TOLERANCE`.
    ValueError
        If a target is missing or the models cannot be joined.
    """
    if tuple(models) != TARGETS:
        raise ValueError(f"models: need {', '.join(TARGETS)} in this order, not {list(models)}")
    kind = _kind(models, max_frames)
    networks = list(models.values())
    form = streaming_form(networks) if kind == "recurrent" else joined_form(networks)
    destination = Path(destination)
    destination.parent.mkdir(parents=True, exist_ok=True)
    folder = Path(tempfile.mkdtemp(dir=destination.parent, prefix=".tmp-"))
    try:
        folder.chmod(0o755)
        card = _write(folder, form, networks, features, description, kind, max_frames)
        if destination.exists():
            shutil.rmtree(destination)
        folder.replace(destination)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    return card


def _write(
    folder: Path,
    form: keras.Model,
    networks: list[keras.Model],
    features: FeatureConfig,
    description: ModelDescription,
    kind: str,
    max_frames: int | None,
) -> ModelCard:
    """Write the files of a bundle, and check that ONNX computes what Keras computes."""
    _write_graph(form, folder / "model.onnx")
    write_json(folder / "features.json", features.to_json())
    card = ModelCard(
        **vars(description),
        kind=kind,
        parameters=_count_parameters(networks),
        feature_hash=features.hash,
        model_sha256=sha256_file(folder / "model.onnx"),
        state_shape=_joined_state(networks) if kind == "recurrent" else None,
        max_frames=max_frames,
    )
    write_json(folder / "card.json", card.to_json())  # a bundle is loaded by its card
    card = replace(card, parity_max_difference=check_parity(form, Model(folder), max_frames))
    write_json(folder / "card.json", card.to_json())
    write_text(folder / "CARD.md", render_card(card))
    return card


def _count_parameters(networks: list[keras.Model]) -> int:
    """Weights of all networks. A layer that they share counts once."""
    weights = {id(weight): weight for network in networks for weight in network.weights}
    return sum(int(np.prod(weight.shape)) for weight in weights.values())


def _kind(models: dict[str, keras.Model], max_frames: int | None) -> str:
    """How the networks see time, see `msr_utils.inference.card.KINDS`."""
    if max_frames is not None:
        return "window"
    return "frame" if next(iter(models.values())).name in FRAME_NETWORKS else "recurrent"


def _joined_state(networks: list[keras.Model]) -> tuple[int, int]:
    """Shape of the state that all networks of a bundle carry together."""
    rows, width = state_shape(networks[0])
    return rows * len(networks), width


def _write_graph(form: keras.Model, path: Path) -> None:
    inputs = _random_inputs(form, 1, 2, np.random.default_rng(0))
    form(inputs if len(inputs) > 1 else inputs[0])  # Keras exports only what has been called.
    form.export(path, format="onnx", verbose=False)


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
            expected = form(inputs if len(inputs) > 1 else inputs[0])
            outputs = model.run(*inputs)
            for got, want in zip(
                [o for o in outputs if o is not None],
                expected if isinstance(expected, list | tuple) else [expected],
                strict=True,
            ):
                want = np.asarray(want)
                difference = float(np.abs(got - want).max()) if got.shape == want.shape else np.inf
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
    """Features distributed as the network's normalisation expects, and a state if it has one."""
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

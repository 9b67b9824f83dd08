"""Export a trained generator to an ONNX bundle, after checking that both compute the same."""

from __future__ import annotations

import shutil
import tempfile
from dataclasses import replace
from pathlib import Path

import numpy as np

from msr_utils.export.bundle import PARITY_TOLERANCE, ExportError
from msr_utils.generation.card import GeneratorCard
from msr_utils.generation.codes import SIZES, START
from msr_utils.generation.condition import CONDITION_SIZE
from msr_utils.generation.generator import Generator
from msr_utils.generation.graph import GeneratorConfig, state_shape, step_graph
from msr_utils.io import sha256_file, write_json, write_text
from msr_utils.models.backend import keras
from msr_utils.models.generators import generator_network, named_weights
from msr_utils.symbolic.words import N_SPECIAL

PARITY_BATCH, PARITY_NOTES = 2, 48
"""Sequences on which both forms are compared."""


def export_generator(
    network: keras.Model, config: GeneratorConfig, card: GeneratorCard, destination: Path
) -> GeneratorCard:
    """Write the bundle of a generator.

    Parameters
    ----------
    network : keras.Model
        From `msr_utils.models.generators.generator_network`.
    config : GeneratorConfig
    card : GeneratorCard
        What follows from the network is filled in.
    destination : Path
        Folder of the bundle. An old bundle there is replaced only when the new one has passed.

    Returns
    -------
    GeneratorCard
        As written, with the parity that was measured.

    Raises
    ------
    ExportError
        If an output is not finite or differs by more than `PARITY_TOLERANCE`.
    """
    destination = Path(destination)
    destination.parent.mkdir(parents=True, exist_ok=True)
    folder = Path(tempfile.mkdtemp(dir=destination.parent, prefix=".tmp-"))
    try:
        folder.chmod(0o755)
        graph = step_graph(config, named_weights(network, config), card.licence)
        (folder / "model.onnx").write_bytes(graph)
        card = replace(
            card,
            kind=config.kind,
            model_sha256=sha256_file(folder / "model.onnx"),
            state_shape=(2 * config.layers, config.hidden),
            context=config.context,
            parameters=int(network.count_params()),
        )
        write_json(folder / "card.json", card.to_json())  # a bundle is loaded by its card
        card = replace(card, parity_max_difference=check_parity(network, config, Generator(folder)))
        write_card(folder, card)
        if destination.exists():
            shutil.rmtree(destination)
        folder.replace(destination)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    return card


def check_parity(network: keras.Model, config: GeneratorConfig, generator: Generator) -> float:
    """Compare the trained network, on whole sequences, with the graph, note by note.

    Returns
    -------
    float
        Largest absolute difference of a logit.

    Raises
    ------
    ExportError
        If it exceeds `PARITY_TOLERANCE` or an output is not finite.
    """
    rng = np.random.default_rng(0)
    length = min(PARITY_NOTES, config.context or PARITY_NOTES)
    shape = (PARITY_BATCH, length)
    notes = np.stack([rng.integers(N_SPECIAL, size, shape) for size in SIZES], axis=-1)
    before = np.concatenate([np.full_like(notes[:, :1], START), notes[:, :-1]], axis=1)
    told = rng.normal(0, 1, (*shape, CONDITION_SIZE)).astype(np.float32)
    # The network takes excerpts of one length: the rest of it changes nothing before.
    short = generator_network(config, length)
    short.set_weights(_cut(network.get_weights(), short.get_weights()))
    expected = [np.asarray(o) for o in short([before, notes, told], training=False)]
    state = np.zeros(state_shape(config, PARITY_BATCH), np.float32)
    worst = 0.0
    for t in range(length):
        logits, state = generator.step(before[:, t], notes[:, t], told[:, t], state)
        for got, want in zip(logits, expected, strict=True):
            worst = max(worst, float(np.abs(got - want[:, t]).max()))
            # "not <=" also catches NaN.
            if not worst <= PARITY_TOLERANCE:
                raise ExportError(
                    f"{generator.name}: ONNX differs from Keras by {worst:g} at note {t} "
                    f"(allowed {PARITY_TOLERANCE:g})"
                )
    return worst


def _cut(weights: list[np.ndarray], like: list[np.ndarray]) -> list[np.ndarray]:
    """Weights with as many rows as those of a network for shorter excerpts."""
    return [w[: len(other)] if w.ndim else w for w, other in zip(weights, like, strict=True)]


def write_card(folder: Path, card: GeneratorCard) -> None:
    """Write ``card.json`` and ``CARD.md``."""
    write_json(Path(folder) / "card.json", card.to_json())
    write_text(Path(folder) / "CARD.md", render_generator_card(card))


def render_generator_card(card: GeneratorCard) -> str:
    """The card of a generator as Markdown."""
    lines = [f"# {card.title}", "", card.summary, "", "## Measured", "", card.protocol, ""]
    lines += ["| figure | value |", "|---|---|"]
    lines += [f"| {name} | {value} |" for name, value in card.metrics.items()]
    lines += ["", "## Limits", "", *(f"- {limit}" for limit in card.limits), "", "## Facts", ""]
    lines += [
        f"- name: {card.name}",
        f"- kind: {card.kind}, {card.parameters:,} weights",
        f"- trained on: {card.trained_on}",
        f"- terms: {card.licence}",
        f"- model SHA-256: {card.model_sha256[:16]}",
        "- largest difference between the exported graph and the trained network: "
        f"{card.parity_max_difference:.1e}",
    ]
    return "\n".join(lines) + "\n"

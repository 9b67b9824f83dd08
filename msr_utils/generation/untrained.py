"""A generator with random weights: small, made in milliseconds, for tests and trials."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from msr_utils.generation.attributes import NAMES, AttributeModel
from msr_utils.generation.card import Decoding, GeneratorCard
from msr_utils.generation.graph import GeneratorConfig, random_weights, step_graph
from msr_utils.io import atomic_path, sha256_file, write_json

SMALL = {
    "lstm": GeneratorConfig("lstm", layers=2, hidden=8, embedding=8, head=8),
    "gpt": GeneratorConfig("gpt", layers=1, hidden=8, embedding=8, head=8, heads=2, context=8),
}
"""Shapes of the networks by kind."""


def untrained_generator(folder: Path, kind: str = "lstm", seed: int = 0) -> Path:
    """Write a bundle with random weights. What it writes is noise, within the limits of all pieces.

    Parameters
    ----------
    folder : Path
        Is made. Its name becomes that of the generator.
    kind : str
        "lstm" or "gpt".
    seed : int

    Returns
    -------
    Path
        The folder.
    """
    folder, config, n = Path(folder), SMALL[kind], len(NAMES)
    folder.mkdir(parents=True, exist_ok=True)
    with atomic_path(folder / "model.onnx") as temporary:
        temporary.write_bytes(step_graph(config, random_weights(config, seed), "untrained"))
    rng = np.random.default_rng(seed)
    card = GeneratorCard(
        name=folder.name,
        kind=kind,
        title="Untrained generator",
        summary="Random weights, for tests.",
        model_sha256=sha256_file(folder / "model.onnx"),
        state_shape=(2 * config.layers, config.hidden),
        context=config.context,
        attributes=AttributeModel(np.zeros(n), np.ones(n), rng.normal(0, 1, (4, n)), np.eye(n)),
        decoding=Decoding(guidance=1.5),
    )
    write_json(folder / "card.json", card.to_json())
    return folder

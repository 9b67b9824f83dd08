"""Load the model bundles, in the process that forks the workers or in a worker itself."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from msr_utils.inference.card import available
from msr_utils.inference.errors import BundleError, PretrainedWeightsMissing
from msr_utils.inference.model import Model, Stream, load
from serve.tasks import Loaded

WARM_UP_SECONDS = 2.0
"""Length of the noise that each model predicts before the service starts."""


def load_models(models_dir: Path) -> tuple[dict[str, Model], Loaded]:
    """Load every bundle of a folder and run each model once.

    A bundle whose pretrained weights are not installed is left out, as long as another bundle can
    be loaded.

    Raises
    ------
    BundleError
        If a bundle is damaged, or pretrained weights are missing for all of them.
    """
    models: dict[str, Model] = {}
    missing: dict[str, PretrainedWeightsMissing] = {}
    for name in available(models_dir):
        try:
            # One thread per prediction: the workers share the cores.
            models[name] = load(name, models_dir, threads=1)
        except PretrainedWeightsMissing as error:
            missing[name] = error
    if missing and not models:
        raise [*missing.values()][-1]
    for name, model in models.items():
        _warm_up(name, model)
    cards = {name: model.card for name, model in models.items()}
    return models, Loaded(cards, {name: str(error) for name, error in missing.items()})


def _warm_up(name: str, model: Model) -> None:
    """Run a model once, so that the first request is not slower than the next ones."""
    samples = int(WARM_UP_SECONDS * model.features.sample_rate)
    noise = np.random.default_rng(0).normal(0, 0.1, samples).astype(np.float32)
    stream = Stream(model)
    values = np.concatenate([stream.push(noise), stream.finish()])
    if not (len(values) and np.isfinite(values).all()):
        raise BundleError(f"bundle {name}: its output is not finite; export it again")

"""The model bundles that the service loads, and the choice among them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from http import HTTPStatus

import numpy as np

from msr_utils.inference.model import (
    PREFERRED,
    BundleError,
    Model,
    PretrainedWeightsMissing,
    Stream,
    available,
    load,
)
from serve.config import ConfigError, ServiceConfig
from serve.logs import log
from serve.problems import RequestError

WARM_UP_SECONDS = 2.0
"""Length of the noise that each model predicts before the service starts."""


@dataclass(frozen=True)
class LoadedModels:
    """All models of the service.

    Parameters
    ----------
    by_name : mapping of str to Model
        At least one.
    default : str
        Name of the model that answers when a request names none.
    """

    by_name: Mapping[str, Model]
    default: str

    @property
    def names(self) -> list[str]:
        """Names of all models."""
        return [*self.by_name]

    @property
    def causal_names(self) -> list[str]:
        """Names of the models that can follow live audio."""
        return [name for name, model in self.by_name.items() if model.is_causal]

    def choose(self, name: str | None, status: int = HTTPStatus.BAD_REQUEST) -> Model:
        """Find a model by name, or the default model.

        Raises
        ------
        RequestError
            With this status, if there is no such model.
        """
        model = self.by_name.get(self.default if name is None else name)
        if model is None:
            raise RequestError(
                status,
                "model",
                f"there is no model {name!r}; choose from: {', '.join(self.names)}",
            )
        return model

    def choose_causal(self, name: str | None) -> Model:
        """Find a model that can follow live audio.

        Raises
        ------
        RequestError
            If there is no such model, or it needs a whole window of audio at a time.
        """
        model = self.choose(name)
        if not model.is_causal:
            choice = ", ".join(self.causal_names)
            raise RequestError(
                HTTPStatus.UNPROCESSABLE_ENTITY,
                "model",
                f"{model.name!r} needs a whole window of audio at a time and cannot follow live "
                f"audio; " + (f"choose from: {choice}" if choice else "no model here can"),
            )
        return model


def load_models(config: ServiceConfig) -> LoadedModels:
    """Load every bundle of the models folder and run each model once.

    A bundle whose pretrained weights are not installed is left out with a warning, as long as
    another bundle can be loaded.

    Raises
    ------
    ConfigError
        If the folder has no bundle, or no bundle with the name of the default model.
    BundleError
        If a bundle is damaged, or pretrained weights are missing for all of them.
    """
    names = available(config.models_dir)
    if not names:
        raise ConfigError(
            "models_dir",
            f"no model bundle in {config.models_dir}; export one with the study, or name a "
            "folder that has one",
        )
    models: dict[str, Model] = {}
    missing: PretrainedWeightsMissing | None = None
    for name in names:
        try:
            # One thread per prediction: the threads of the server share the cores.
            models[name] = load(name, config.models_dir, threads=1)
        except PretrainedWeightsMissing as error:
            missing = error
            log.warning("model left out: %s", error)
    if missing is not None and not models:
        raise missing
    default = _default_name(models, config)
    for name, model in models.items():
        _warm_up(name, model)
    return LoadedModels(models, default)


def _default_name(models: Mapping[str, Model], config: ServiceConfig) -> str:
    """Name of the model that answers when a request names none."""
    if config.default_model is None:
        causal = [name for name, model in models.items() if model.is_causal]
        return next(name for name in (*PREFERRED, *causal, *models) if name in models)
    if config.default_model not in models:
        raise ConfigError(
            "default_model",
            f"there is no model {config.default_model!r} in {config.models_dir}; "
            f"choose from: {', '.join(models)}",
        )
    return config.default_model


def _warm_up(name: str, model: Model) -> None:
    """Run a model once, so that the first request is not slower than the next ones."""
    samples = int(WARM_UP_SECONDS * model.features.sample_rate)
    noise = np.random.default_rng(0).normal(0, 0.1, samples).astype(np.float32)
    stream = Stream(model)
    values = np.concatenate([stream.push(noise), stream.finish()])
    if not (len(values) and np.isfinite(values).all()):
        raise BundleError(f"bundle {name}: its output is not finite; export it again")

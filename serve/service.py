"""What all requests of one application share."""

from __future__ import annotations

import secrets
from dataclasses import dataclass
from threading import Event
from typing import cast

from flask import Flask, current_app

from serve.bundles import LoadedModels, load_models
from serve.config import ServiceConfig
from serve.limits import ConcurrencyLimiter, PerClientLimiter
from serve.live import StateSigner
from serve.metrics import Metrics

EXTENSION = "msr"
"""Key of the service in ``app.extensions``."""


@dataclass(frozen=True)
class Service:
    """Models, limits and counters of an application.

    Parameters
    ----------
    config : ServiceConfig
    models : LoadedModels
    running : ConcurrencyLimiter
        Limits the requests that run at the same time.
    clients : PerClientLimiter
        Limits the requests of each client.
    signer : StateSigner
        Signs the states of live audio.
    metrics : Metrics
    stopping : Event
        Set once the service is told to stop.
    """

    config: ServiceConfig
    models: LoadedModels
    running: ConcurrencyLimiter
    clients: PerClientLimiter
    signer: StateSigner
    metrics: Metrics
    stopping: Event

    @classmethod
    def start(cls, config: ServiceConfig) -> Service:
        """Load the models and set the limits.

        Raises
        ------
        ConfigError
            If there is no model, or the default model is missing.
        msr_utils.inference.model.BundleError
            If a model is damaged or does not fit this version.
        """
        running = ConcurrencyLimiter(config.threads, config.max_queue, config.max_wait_seconds)
        key = config.secret_key.get_secret_value() if config.secret_key else secrets.token_hex(32)
        return cls(
            config=config,
            models=load_models(config),
            running=running,
            clients=PerClientLimiter(config.max_per_client),
            signer=StateSigner(key, config.max_state_seconds),
            metrics=Metrics(lambda: running.running, lambda: running.waiting),
            stopping=Event(),
        )


def service_of(app: Flask) -> Service:
    """The service of an application."""
    return cast(Service, app.extensions[EXTENSION])


def current_service() -> Service:
    """The service that answers the current request."""
    return service_of(current_app)

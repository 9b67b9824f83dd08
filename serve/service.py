"""What all requests of one application share."""

from __future__ import annotations

import secrets
from dataclasses import dataclass
from threading import Event
from typing import cast

from flask import Flask, current_app

from serve.catalogue import Catalogue
from serve.compose.generators import Generators
from serve.config import MAX_LONG, ConfigError, ServiceConfig
from serve.library.runner import QueryRunner, open_runner
from serve.limits import PerClientLimiter, PlaceLimiter
from serve.logs import log
from serve.metrics import Metrics
from serve.pool import Pool, make_pool
from serve.states import StateSigner

EXTENSION = "msr"
"""Key of the service in ``app.extensions``."""


@dataclass(frozen=True)
class Service:
    """Models, limits and counters of an application.

    Parameters
    ----------
    config : ServiceConfig
    models : Catalogue
    generators : Generators
    pool : Pool
        Does the work of requests.
    clients : PerClientLimiter
        Limits the requests of each client.
    pieces : PlaceLimiter
        Limits the pieces that are composed, wait or are read at the same time.
    signer : StateSigner
        Signs the states of live audio.
    library : QueryRunner, optional
        Answers questions about the music library, if one is served.
    metrics : Metrics
    stopping : Event
        Set once the service is told to stop.
    """

    config: ServiceConfig
    models: Catalogue
    generators: Generators
    pool: Pool
    clients: PerClientLimiter
    pieces: PlaceLimiter
    signer: StateSigner
    library: QueryRunner | None
    metrics: Metrics
    stopping: Event

    @classmethod
    def start(cls, config: ServiceConfig, pool: Pool | None = None) -> Service:
        """Load the models and set the limits.

        Parameters
        ----------
        config : ServiceConfig
        pool : Pool, optional
            One that was made with `config` and is not loaded yet.

        Raises
        ------
        ConfigError
            If there is no model, or the default model is missing.
        msr_utils.inference.errors.BundleError
            If a model is damaged or does not fit this version.
        """
        pool = pool or make_pool(config)
        left_out = pool.load()
        for reason in left_out.values():
            log.warning("model left out: %s", reason)
        try:
            catalogue = Catalogue.of(pool.cards, config, left_out)
            generators = Generators.find(config)
            library = open_runner(config)
        except ConfigError:
            pool.close()
            raise
        key = config.secret_key.get_secret_value() if config.secret_key else secrets.token_hex(32)
        return cls(
            config=config,
            models=catalogue,
            generators=generators,
            pool=pool,
            clients=PerClientLimiter(config.max_per_client),
            pieces=PlaceLimiter(max(config.workers, MAX_LONG) + config.max_queue),
            signer=StateSigner(key, config.max_state_seconds),
            library=library,
            metrics=Metrics(pool),
            stopping=Event(),
        )

    def close(self) -> None:
        """End the workers."""
        self.pool.close()
        if self.library is not None:
            self.library.close()


def service_of(app: Flask) -> Service:
    """The service of an application."""
    return cast(Service, app.extensions[EXTENSION])


def current_service() -> Service:
    """The service that answers the current request."""
    return service_of(current_app)

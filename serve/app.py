"""The application factory."""

from __future__ import annotations

from http import HTTPStatus

from apiflask import APIFlask
from flask.json.provider import DefaultJSONProvider

from msr_utils import __version__
from serve.config import ServiceConfig
from serve.errors import add_error_handlers
from serve.hooks import add_hooks
from serve.openapi import DESCRIPTION, document_models
from serve.pool import Pool
from serve.routes.compose import compose
from serve.routes.health import health
from serve.routes.library import library
from serve.routes.live import live
from serve.routes.models import models
from serve.routes.pages import pages
from serve.routes.predict import predict
from serve.service import EXTENSION, Service
from serve.uploads import FORM_OVERHEAD_BYTES


def create_app(config: ServiceConfig | None = None, pool: Pool | None = None) -> APIFlask:
    """Create the application, load every model and start the workers.

    Parameters
    ----------
    config : ServiceConfig, optional
        Read from the environment by default.
    pool : Pool, optional
        Result of `serve.pool.make_pool` with `config`. Made earlier, it loads the models while
        the rest of the program starts.

    Raises
    ------
    ConfigError
        If a setting is not allowed, there is no model, or the default model is missing.
    msr_utils.inference.errors.BundleError
        If a model is damaged or does not fit this version.
    """
    config = config or ServiceConfig.from_env()
    service = Service.start(config, pool)
    app = APIFlask(
        __name__, title="Music Sentiment Recognition", version=__version__, docs_path=None
    )
    app.config.update(
        MAX_CONTENT_LENGTH=config.max_upload_bytes + FORM_OVERHEAD_BYTES,
        DESCRIPTION=DESCRIPTION,
        SERVERS=[{"url": "."}],  # relative to the document, which may lie behind a path prefix
        TAGS=["Prediction", "Models", "Composition", "Library", "Service"],
        VALIDATION_ERROR_STATUS_CODE=HTTPStatus.BAD_REQUEST,
        AUTO_404_RESPONSE=False,
        AUTO_VALIDATION_ERROR_RESPONSE=False,
    )
    # A redirect would need the address under which the client knows the service.
    app.url_map.merge_slashes = False
    app.json = json_provider = DefaultJSONProvider(app)
    json_provider.sort_keys = json_provider.ensure_ascii = False
    app.jinja_env.policies["json.dumps_kwargs"] = {"sort_keys": False}
    app.jinja_env.trim_blocks = app.jinja_env.lstrip_blocks = True
    app.extensions[EXTENSION] = service
    add_hooks(app)
    add_error_handlers(app)
    app.spec_processor(document_models(service.models))
    for blueprint in (pages, predict, live, models, compose, library, health):
        app.register_blueprint(blueprint)
    return app

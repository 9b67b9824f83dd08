"""The application: its routes, its limits and its errors."""

from __future__ import annotations

import logging
import shutil
import tempfile
import time
from contextlib import closing
from http import HTTPStatus
from pathlib import PureWindowsPath
from typing import IO

import apiflask
import numpy as np
from apiflask import APIFlask
from flask import Response, g, jsonify, render_template, request, url_for
from werkzeug.datastructures import FileStorage
from werkzeug.exceptions import (
    BadRequest,
    HTTPException,
    MethodNotAllowed,
    NotFound,
    RequestEntityTooLarge,
)

from msr_utils import __version__, inference
from msr_utils.audio import AudioError, AudioTooLong
from msr_utils.constants import FRAME_SECONDS
from serve import schemas
from serve.config import ConfigError, ServiceConfig
from serve.problems import PROBLEM_TYPE, problem, request_id, too_large
from serve.server import FORM_OVERHEAD_BYTES

SPOOL_BYTES = 1_000_000
"""A raw upload up to this size stays in memory; a larger one goes to an unnamed file."""

SECURITY_HEADERS = {
    # blob: is the listener's own file, played from the page without being sent anywhere.
    "Content-Security-Policy": (
        "default-src 'self'; media-src 'self' blob:; object-src 'none'; base-uri 'none'; "
        "form-action 'self'; frame-ancestors 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
}

DESCRIPTION = (
    "How music feels: valence (unpleasant to pleasant) and arousal (calm to energetic), both "
    "from -1 to 1, every half second. Errors are problem details (RFC 9457)."
)

log = logging.getLogger("serve")


def create_app(config: ServiceConfig | None = None) -> APIFlask:
    """Make the application, with every model loaded.

    Parameters
    ----------
    config : ServiceConfig, optional
        Read from the environment by default.

    Raises
    ------
    ConfigError
        If there is no model, or not the one that should be the default.
    msr_utils.inference.BundleError
        If a model is damaged or does not fit this version.
    """
    config = config or ServiceConfig.from_env()
    models = load_models(config)
    default = choose_default(models, config)

    app = APIFlask(
        __name__, title="Music Sentiment Recognition", version=__version__, docs_path=None
    )
    app.config.update(
        # A text field has its own limit; without this, a file sent as text would be "too large".
        MAX_CONTENT_LENGTH=config.max_upload_bytes + FORM_OVERHEAD_BYTES,
        MAX_FORM_MEMORY_SIZE=config.max_upload_bytes + FORM_OVERHEAD_BYTES,
        DESCRIPTION=DESCRIPTION,
        SERVERS=[{"url": "/"}],
        VALIDATION_ERROR_STATUS_CODE=HTTPStatus.BAD_REQUEST,
        AUTO_404_RESPONSE=False,
        AUTO_VALIDATION_ERROR_RESPONSE=False,
    )
    app.json.sort_keys = False
    app.json.ensure_ascii = False
    app.jinja_env.trim_blocks = app.jinja_env.lstrip_blocks = True
    _add_headers(app)
    _add_errors(app, config)

    @app.spec_processor
    def document_body(spec: dict) -> dict:
        spec["paths"]["/v1/predict"]["post"]["requestBody"] = schemas.PREDICT_BODY
        return spec

    @app.get("/")
    @app.doc(hide=True)
    def index() -> str:
        return render_template(
            "index.html",
            models=models,
            default=default,
            config=config,
            quadrants=inference.QUADRANTS.values(),
        )

    @app.post("/v1/predict")
    @app.input(schemas.PredictQuery, location="query", arg_name="options", unknown="raise")
    @app.output(schemas.Prediction, example=schemas.PREDICTION_EXAMPLE)
    @app.doc(
        tags=["Prediction"],
        operation_id="predict",
        responses={
            200: {
                "content": {
                    "text/csv": {"schema": {"type": "string"}, "example": schemas.CSV_EXAMPLE}
                }
            },
            **schemas.problem_responses(400, 413, 422),
        },
    )
    def predict(options: dict) -> Response | tuple[dict, dict]:
        """Predict how a piece of music feels.

        Send the audio in a multipart field named `file`, or as the raw body. Ask for
        `text/csv` to get the curves as a table.
        """
        name = options.get("model", default)
        if name not in models:
            raise BadRequest(
                f"model: there is no model {name!r}; choose one of: {', '.join(models)}"
            )
        with closing(read_upload(config.max_upload_bytes)) as upload:
            start = time.perf_counter()
            curve = models[name].predict(upload, config.max_seconds)
            elapsed_ms = 1000 * (time.perf_counter() - start)
        headers = {"Vary": "Accept"}
        if request.accept_mimetypes.best_match(["application/json", "text/csv"]) == "text/csv":
            return Response(curve.to_csv(), mimetype="text/csv", headers=headers)
        quadrant, words = curve.quadrant
        answer = {
            "model": name,
            "duration_s": len(curve.times_s) * FRAME_SECONDS,
            "frame_seconds": FRAME_SECONDS,
            "times_s": curve.times_s.tolist(),
            "valence": rounded(curve.valence),
            "arousal": rounded(curve.arousal),
            "mean": {target: rounded(value) for target, value in curve.mean.items()},
            "quadrant": {"name": quadrant, "words": words},
            "elapsed_ms": round(elapsed_ms, 1),
            "card": url_for("model_card", name=name),
        }
        return answer, headers

    @app.get("/v1/models")
    @app.output(schemas.ModelList, example=schemas.MODELS_EXAMPLE)
    @app.doc(tags=["Models"], operation_id="listModels")
    def list_models() -> dict:
        """List the models."""
        return {
            "models": [
                {
                    "name": name,
                    "title": model.card["title"],
                    "kind": model.card["kind"],
                    "default": name == default,
                    "card": url_for("model_card", name=name),
                }
                for name, model in models.items()
            ]
        }

    @app.get("/v1/models/<name>")
    @app.output(schemas.Card)
    @app.doc(tags=["Models"], operation_id="getModel", responses=schemas.problem_responses(404))
    def model_card(name: str) -> Response:
        """Describe a model: what it was trained on, its scores and its limits."""
        if name not in models:
            raise NotFound(f"model: there is no model {name!r}; choose one of: {', '.join(models)}")
        # A response is passed through as it is: a card may say more than its schema.
        return jsonify(models[name].card)

    @app.get("/healthz")
    @app.output(schemas.Health, example={"status": "ok", "models": 1})
    @app.doc(tags=["Service"], operation_id="health")
    def healthz() -> dict:
        """Tell that the service can answer."""
        return {"status": "ok", "models": len(models)}

    return app


def load_models(config: ServiceConfig) -> dict[str, inference.Model]:
    """Load every bundle of the models folder, by the name of its folder.

    Raises
    ------
    ConfigError
        If there is none.
    """
    names = inference.available(config.models_dir)
    if not names:
        raise ConfigError(
            f"models_dir: no model bundle in {config.models_dir}; export one with the study, "
            "or name a folder that holds one"
        )
    # One thread a prediction: the threads of the server share the cores.
    return {name: inference.load(name, config.models_dir, threads=1) for name in names}


def choose_default(models: dict[str, inference.Model], config: ServiceConfig) -> str:
    """Name the model that answers when a request names none."""
    if config.default_model is None:
        return next((name for name, model in models.items() if model.is_recurrent), [*models][0])
    if config.default_model not in models:
        raise ConfigError(
            f"default_model: there is no model {config.default_model!r} in {config.models_dir}; "
            f"choose one of: {', '.join(models)}"
        )
    return config.default_model


def read_upload(max_bytes: int) -> FileStorage:
    """Take the audio of the current request, from its form or its raw body.

    Parameters
    ----------
    max_bytes : int
        Largest file accepted.

    Returns
    -------
    FileStorage
        Open file at its start. ``name`` is the client's name for it, without folders: it is
        for messages only.

    Raises
    ------
    BadRequest
        If there is no file, or more than one.
    AudioError
        If the file is empty.
    RequestEntityTooLarge
        If it has more than `max_bytes`.
    """
    if request.mimetype == "multipart/form-data":
        upload = _form_file()
    else:
        spool = tempfile.SpooledTemporaryFile(max_size=SPOOL_BYTES)  # noqa: SIM115, the caller closes
        shutil.copyfileobj(request.stream, spool)
        if not spool.tell():
            raise BadRequest(
                "file: missing; send the audio in a multipart field named 'file', "
                "or as the raw body"
            )
        upload = named(spool, None)
    size = upload.stream.seek(0, 2)
    upload.stream.seek(0)
    if size > max_bytes:
        raise RequestEntityTooLarge
    if not size:
        raise AudioError(f"{upload.name}: the file is empty (0 bytes)")
    return upload


def _form_file() -> FileStorage:
    """Find the one file in the form's field ``file``."""
    files = request.files.getlist("file")
    if len(files) > 1:
        raise BadRequest(f"file: one file a request, not {len(files)}")
    if not files and "file" in request.form:
        raise BadRequest("file: this is text, not a file; with curl, write -F file=@song.mp3")
    if not files:
        others = ", ".join(repr(name) for name in [*request.files, *request.form])
        raise BadRequest(
            "file: missing; send the audio in a multipart field named 'file'"
            + (f" (this form has {others})" if others else "")
        )
    if not files[0].filename:
        raise BadRequest("file: no file was chosen")
    return named(files[0].stream, files[0].filename)


def named(stream: IO[bytes], filename: str | None) -> FileStorage:
    """Give an upload a name for messages: the last part of the client's, if it sent one."""
    # PureWindowsPath knows both kinds of slash.
    name = PureWindowsPath(filename or "").name or "the uploaded audio"
    return FileStorage(stream, filename=name, name=name)


def rounded(values: np.ndarray | float) -> list[float] | float:
    """Round to 4 decimals, as plain numbers; adding 0 turns -0.0 into 0.0."""
    return (np.round(np.asarray(values, np.float64), 4) + 0.0).tolist()


def _add_headers(app: APIFlask) -> None:
    """Give every answer an identifier and the security headers, and write the log."""

    @app.before_request
    def identify() -> None:
        g.request_id = request_id(request.headers.get("X-Request-ID"))
        g.start = time.perf_counter()

    @app.after_request
    def finish(response: Response) -> Response:
        response.headers["X-Request-ID"] = g.request_id
        response.headers.update(SECURITY_HEADERS)
        log.info(
            "%s %s %d %.0f ms %s",
            request.method,
            request.path,
            response.status_code,
            1000 * (time.perf_counter() - g.start),
            g.request_id,
        )
        return response


def _add_errors(app: APIFlask, config: ServiceConfig) -> None:
    """Answer every error with problem details."""

    def answer(status: int, detail: str) -> Response:
        response = jsonify(problem(status, detail, g.request_id))
        response.status_code = status
        response.mimetype = PROBLEM_TYPE
        return response

    @app.errorhandler(HTTPException)
    def http_error(error: HTTPException) -> Response:
        return answer(error.code, error.description)

    @app.errorhandler(MethodNotAllowed)
    def wrong_method(error: MethodNotAllowed) -> Response:
        allowed = ", ".join(sorted(error.valid_methods or []))
        response = answer(error.code, f"{request.method} cannot be used here; use {allowed}")
        response.headers["Allow"] = allowed
        return response

    @app.errorhandler(NotFound)
    def not_found(error: NotFound) -> Response:
        # Flask's own text when no route fits speaks of typing in a browser.
        known = error.description != NotFound.description
        return answer(
            error.code,
            error.description
            if known
            else f"there is nothing at {request.path}; /openapi.json lists what there is",
        )

    @app.errorhandler(RequestEntityTooLarge)
    def body_too_large(error: RequestEntityTooLarge) -> Response:
        return answer(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, too_large(config.max_upload_bytes))

    @app.errorhandler(apiflask.HTTPError)
    def validation_error(error: apiflask.HTTPError) -> Response:
        wrong = error.detail.get("query", {})
        parts = [f"{name}: {' '.join(messages)}" for name, messages in wrong.items()]
        return answer(error.status_code, "; ".join(parts) or error.message)

    @app.errorhandler(AudioTooLong)
    def audio_too_long(error: AudioTooLong) -> Response:
        return answer(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, str(error))

    @app.errorhandler(AudioError)
    def audio_error(error: AudioError) -> Response:
        return answer(HTTPStatus.UNPROCESSABLE_ENTITY, str(error))

    @app.errorhandler(Exception)
    def unexpected(error: Exception) -> Response:
        log.error("request %s failed", g.request_id, exc_info=error)
        return answer(
            HTTPStatus.INTERNAL_SERVER_ERROR,
            "the service failed on this request; its log has the cause under this request_id",
        )

"""The application: its routes, its limits and its errors."""

from __future__ import annotations

import io
import json
import math
import secrets
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, closing
from http import HTTPStatus
from itertools import chain
from threading import Event

import apiflask
import numpy as np
from apiflask import APIFlask
from flask import (
    Response,
    g,
    jsonify,
    render_template,
    request,
    stream_with_context,
    url_for,
)
from werkzeug.datastructures import FileStorage
from werkzeug.exceptions import (
    BadRequest,
    HTTPException,
    MethodNotAllowed,
    NotFound,
    RequestEntityTooLarge,
    ServiceUnavailable,
    UnsupportedMediaType,
)

from msr_utils import __version__, affect
from msr_utils.audio.source import AudioError, AudioTooLong
from msr_utils.constants import FRAME_SECONDS, TARGETS
from msr_utils.inference import model as inference_model
from msr_utils.inference import prediction as inference_prediction
from msr_utils.inference.model import (
    BundleError,
    FilePrediction,
    Model,
    PretrainedWeightsMissing,
    Stream,
    TimeLimitExceeded,
)
from msr_utils.inference.prediction import Prediction, Smoother, rounded
from serve import metrics, schemas
from serve.config import ConfigError, ServiceConfig
from serve.cors import cors_headers
from serve.gate import RETRY_AFTER_S, Gate, Shares
from serve.live import LiveStream, Seal, StateError, read_samples
from serve.logs import log, log_request
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

NDJSON = "application/x-ndjson"

ANSWERS = ("application/json", "text/csv", NDJSON)
"""Content types of a prediction; the first unless another is asked for."""

WARM_UP_SECONDS = 2.0


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
    msr_utils.inference.model.BundleError
        If a model is damaged or does not fit this version.
    """
    config = config or ServiceConfig.from_env()
    models = load_models(config)
    default = choose_default(models, config)
    warm_up(models)
    gate = Gate(config.threads, config.max_queue, config.max_wait_seconds)
    shares = Shares(config.max_per_client)
    seal = Seal(config.secret_key or secrets.token_hex(32), config.max_state_seconds)

    app = APIFlask(
        __name__, title="Music Sentiment Recognition", version=__version__, docs_path=None
    )
    app.config.update(
        # A text field has its own limit; without this, a file sent as text would be "too large".
        MAX_CONTENT_LENGTH=config.max_upload_bytes + FORM_OVERHEAD_BYTES,
        MAX_FORM_MEMORY_SIZE=config.max_upload_bytes + FORM_OVERHEAD_BYTES,
        DESCRIPTION=DESCRIPTION,
        SERVERS=[{"url": "/"}],
        TAGS=["Prediction", "Models", "Service"],
        VALIDATION_ERROR_STATUS_CODE=HTTPStatus.BAD_REQUEST,
        AUTO_404_RESPONSE=False,
        AUTO_VALIDATION_ERROR_RESPONSE=False,
    )
    app.json.sort_keys = False
    app.json.ensure_ascii = False
    app.jinja_env.policies["json.dumps_kwargs"] = {"sort_keys": False}
    app.jinja_env.trim_blocks = app.jinja_env.lstrip_blocks = True
    app.extensions["metrics"] = counts = metrics.Metrics()
    app.extensions["stopping"] = stopping = Event()
    _add_headers(app, config, counts)
    _add_errors(app, config)

    @app.spec_processor
    def complete(spec: dict) -> dict:
        predict, live = (spec["paths"][path]["post"] for path in ("/v1/predict", "/v1/live"))
        predict["requestBody"], live["requestBody"] = schemas.PREDICT_BODY, schemas.LIVE_BODY
        card = spec["paths"]["/v1/models/{name}"]["get"]
        card["parameters"][0]["description"] = "Name of the model."
        following = [name for name, model in models.items() if model.is_causal]
        for operation, names in ((predict, [*models]), (live, following), (card, [*models])):
            for parameter in operation["parameters"]:
                if parameter["name"] in ("model", "name"):
                    parameter["schema"]["enum"] = names
        return spec

    @app.get("/")
    @app.doc(hide=True)
    def index() -> str:
        return render_template(
            "index.html",
            models=models,
            default=default,
            config=config,
            quadrants=[(q.name, q.words) for q in affect.QUADRANTS],
        )

    @app.get("/docs")
    @app.doc(hide=True)
    def docs() -> str:
        return render_template("docs.html", spec=app.spec, example_host=schemas.EXAMPLE_HOST)

    @app.post("/v1/predict")
    @app.input(schemas.PredictQuery, location="query", arg_name="options", unknown="raise")
    @app.output(schemas.Prediction, example=schemas.PREDICTION_EXAMPLE)
    @app.doc(
        tags=["Prediction"],
        operation_id="predict",
        responses={
            200: {
                "content": {
                    "text/csv": {"schema": {"type": "string"}, "example": schemas.CSV_EXAMPLE},
                    NDJSON: {"schema": {"type": "string"}, "example": schemas.NDJSON_EXAMPLE},
                }
            },
            **schemas.problem_responses(400, 408, 413, 422, 429, 503),
        },
        extensions=schemas.shell(
            "curl -F file=@song.mp3 {host}/v1/predict",
            "curl -F file=@song.mp3 -H 'Accept: text/csv' '{host}/v1/predict?smoothing=3'",
        ),
    )
    def predict(options: dict) -> Response | tuple[dict, dict]:
        """Predict how a piece of music feels.

        Send the audio in a multipart field named `file`, or as the raw body. Ask for
        `text/csv` to get the curves as a table, or for `application/x-ndjson` to get a line of
        JSON for each frame while the file is still decoded; its last line holds `done` with
        all else that the JSON answer has, or `error` with the problem.
        """
        name = options.get("model", default)
        model = chosen(models, name)
        targets = options["targets"].split(",")
        smoothing = options["smoothing"], options["smoothing_window"] == "causal"
        wanted = request.accept_mimetypes.best_match(ANSWERS)
        headers = {"Vary": "Accept"}
        start = time.perf_counter()

        def summary(curve: Prediction) -> dict:
            """What is said of the whole track; the means are of the curve before smoothing."""
            g.fields["audio_s"] = duration_s = len(curve.times_s) * FRAME_SECONDS
            quadrant, words = curve.quadrant
            answer = {
                "model": name,
                "duration_s": duration_s,
                "frame_seconds": FRAME_SECONDS,
                "mean": {target: rounded(curve.mean[target]) for target in targets},
                "quadrant": {"name": quadrant, "words": words},
                "warnings": list(curve.warnings),
                "elapsed_ms": round(1000 * (time.perf_counter() - start), 1),
                "card": url_for("model_card", name=name),
            }
            if len(targets) < len(TARGETS):
                del answer["quadrant"]  # It is of both.
            return answer

        g.fields["model"] = name
        with ExitStack() as held:
            held.enter_context(shares.of(request.remote_addr))
            held.enter_context(gate)
            upload = held.enter_context(closing(read_upload(config.max_upload_bytes)))
            curve = FilePrediction(model, upload, config.max_seconds, config.max_work_seconds)
            if wanted == NDJSON:
                smoother = Smoother(*smoothing)
                lines = stream_lines(curve, smoother, targets, summary, model.margins)
                response = Response(stream_with_context(lines), mimetype=NDJSON, headers=headers)
                response.call_on_close(held.pop_all().close)
                return response
            for _ in curve:
                pass
        prediction = curve.prediction()
        answer = summary(prediction)
        prediction = prediction.smoothed(*smoothing)
        if wanted == "text/csv":
            return Response(prediction.to_csv(targets), mimetype="text/csv", headers=headers)
        curves = {name: rounded(c) for name, c in prediction.columns(targets).items()}
        return {**answer, "times_s": prediction.times_s.tolist(), **curves}, headers

    @app.post("/v1/live")
    @app.input(schemas.LiveQuery, location="query", arg_name="options", unknown="raise")
    @app.output(schemas.LiveAnswer, example=schemas.LIVE_EXAMPLE)
    @app.doc(
        tags=["Prediction"],
        operation_id="live",
        responses=schemas.problem_responses(
            400, 408, 413, 415, 422, 429, 503, details=schemas.LIVE_DETAILS
        ),
        extensions=schemas.shell(
            "curl -F chunk=@first.raw '{host}/v1/live?rate=44100' > answer.json",
            "jq -r .state answer.json > state",
            "curl -F chunk=@second.raw -F 'state=<state' '{host}/v1/live?rate=44100'",
        ),
    )
    def live(options: dict) -> dict:
        """Follow live audio.

        Send it chunk by chunk, each with the `state` of the last answer, the first without. The
        answer has the frames that the chunk completes: all together they are those that
        `/v1/predict` gives for the whole. The service keeps nothing between the chunks.
        """
        start = time.perf_counter()
        chunk, state = read_chunk(config.max_upload_bytes, options["final"])
        rate = options["rate"]
        samples = read_samples(
            chunk, options["format"], options["channels"], rate, config.max_chunk_seconds
        )
        with shares.of(request.remote_addr), gate:
            if state:
                stream = LiveStream.unpack(seal.open(state), models)
                if options.get("model", stream.model.name) != stream.model.name:
                    raise StateError(
                        f"state: of the model {stream.model.name!r}, this chunk is for "
                        f"{options['model']!r}; start again"
                    )
                if rate != stream.rate:
                    raise StateError(
                        f"state: of audio at {stream.rate} Hz, this chunk has {rate} Hz; "
                        "start again"
                    )
            else:
                stream = LiveStream(causal(models, options.get("model", default)), rate)
            times_s, values = stream.push(samples, last=options["final"])
            # A state after the end would be of no use.
            state = None if options["final"] else seal.close(stream.pack())
        g.fields.update(model=stream.model.name, audio_s=len(samples) / rate)
        curves = dict(zip(TARGETS, values.T, strict=True))
        ends = inference_prediction.bounds(curves, stream.model.margins)
        return {
            "model": stream.model.name,
            "audio_s": stream.seconds,
            "times_s": times_s.tolist(),
            **{name: rounded(c) for name, c in (curves | ends).items()},
            "state": state,
            "elapsed_ms": round(1000 * (time.perf_counter() - start), 1),
        }

    @app.get("/v1/models")
    @app.output(schemas.ModelList, example=schemas.MODELS_EXAMPLE)
    @app.doc(
        tags=["Models"],
        operation_id="listModels",
        extensions=schemas.shell("curl {host}/v1/models"),
    )
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
    @app.output(schemas.Card, example=schemas.CARD_EXAMPLE)
    @app.doc(
        tags=["Models"],
        operation_id="getModel",
        responses=schemas.problem_responses(404),
        extensions=schemas.shell(f"curl {{host}}/v1/models/{default}"),
    )
    def model_card(name: str) -> Response:
        """Describe a model: what it was trained on, its scores and its limits."""
        if name not in models:
            raise NotFound(f"model: there is no model {name!r}; choose one of: {', '.join(models)}")
        # A response is passed through as it is: a card may say more than its schema.
        return jsonify(models[name].card)

    @app.get("/healthz")
    @app.output(schemas.Health, example={"status": "ok", "models": 1})
    @app.doc(
        tags=["Service"], operation_id="health", extensions=schemas.shell("curl {host}/healthz")
    )
    def healthz() -> dict:
        """Tell that the service lives."""
        return {"status": "ok", "models": len(models)}

    @app.get("/readyz")
    @app.output(schemas.Ready, example=schemas.READY_EXAMPLE)
    @app.doc(
        tags=["Service"],
        operation_id="ready",
        responses=schemas.problem_responses(503, details={503: "the service is stopping"}),
        extensions=schemas.shell("curl {host}/readyz"),
    )
    def readyz() -> dict:
        """Tell that the service takes requests.

        Every model was verified and has answered once before the service listens; it is not
        ready any more once it is told to stop.
        """
        if stopping.is_set():
            raise ServiceUnavailable("the service is stopping")
        return {
            "status": "ready",
            "models": {name: model.card["model_sha256"] for name, model in models.items()},
        }

    @app.get("/metrics")
    @app.doc(
        tags=["Service"],
        operation_id="metrics",
        responses={
            200: {
                "description": "Numbers of this process for Prometheus",
                "content": {
                    "text/plain": {"schema": {"type": "string"}, "example": schemas.METRICS_EXAMPLE}
                },
            }
        },
        extensions=schemas.shell("curl {host}/metrics"),
    )
    def show_metrics() -> Response:
        """Count requests, their latency and their audio."""
        text = counts.text(requests_in_flight=gate.busy, requests_waiting=gate.waiting)
        return Response(text, content_type=metrics.CONTENT_TYPE)

    return app


def chosen(models: dict[str, Model], name: str) -> Model:
    """Find a model by its name."""
    if name not in models:
        raise BadRequest(f"model: there is no model {name!r}; choose one of: {', '.join(models)}")
    return models[name]


def causal(models: dict[str, Model], name: str) -> Model:
    """Find a model that can follow live audio."""
    model = chosen(models, name)
    if not model.is_causal:
        others = [other for other, model in models.items() if model.is_causal]
        raise AudioError(
            f"model: {name!r} sees a window at once and cannot follow live audio; "
            + (f"choose one of: {', '.join(others)}" if others else "no model here can")
        )
    return model


def stream_lines(
    curve: FilePrediction,
    smoother: Smoother,
    targets: list[str],
    summary: Callable[[Prediction], dict],
    margins: Mapping[str, float],
) -> Iterator[str]:
    """Make the lines of a streamed answer; errors before the first one are raised at once."""
    blocks = iter(curve)
    first = next(blocks)

    def lines() -> Iterator[str]:
        frames = 0
        columns = [TARGETS.index(target) for target in targets]
        try:
            for block in chain([first], blocks, [None]):
                last = block is None
                values = smoother.push(np.zeros((0, len(TARGETS))) if last else block, last)
                curves = dict(zip(targets, values[:, columns].T, strict=True))
                curves |= inference_prediction.bounds(curves, margins)
                records = []
                for row in zip(*map(rounded, curves.values()), strict=True):
                    frames += 1
                    record = {
                        "time_s": frames * FRAME_SECONDS,
                        **dict(zip(curves, row, strict=True)),
                    }
                    records.append(json.dumps(record) + "\n")
                yield "".join(records)
            yield json.dumps({"done": summary(curve.prediction())}, ensure_ascii=False) + "\n"
        except Exception as error:
            yield json.dumps({"error": problem(*explain(error), g.request_id)}) + "\n"

    return lines()


def warm_up(models: dict[str, Model]) -> None:
    """Let every model answer once, so that no request is the first.

    Raises
    ------
    BundleError
        If one gives no finite numbers.
    """
    for name, model in models.items():
        samples = int(WARM_UP_SECONDS * model.features.sample_rate)
        noise = np.random.default_rng(0).normal(0, 0.1, samples)
        stream = Stream(model)
        values = np.concatenate([stream.push(noise.astype(np.float32)), stream.finish()])
        if not (len(values) and np.isfinite(values).all()):
            raise BundleError(f"bundle {name}: gives no finite numbers; export it again")


def load_models(config: ServiceConfig) -> dict[str, Model]:
    """Load every bundle of the models folder, by the name of its folder.

    One whose pretrained ear was not fetched is left out, with a warning, if there are others.

    Raises
    ------
    ConfigError
        If there is none.
    BundleError
        If one is damaged, or all need an ear that is not there.
    """
    names = inference_model.available(config.models_dir)
    if not names:
        raise ConfigError(
            f"models_dir: no model bundle in {config.models_dir}; export one with the study, "
            "or name a folder that holds one"
        )
    # One thread a prediction: the threads of the server share the cores.
    models, missing = {}, None
    for name in names:
        try:
            models[name] = inference_model.load(name, config.models_dir, threads=1)
        except PretrainedWeightsMissing as error:
            missing = error
            log.warning("model left out: %s", error)
    if missing and not models:
        raise missing
    return models


def choose_default(models: dict[str, Model], config: ServiceConfig) -> str:
    """Name the model that answers when a request names none."""
    if config.default_model is None:
        following = [name for name, model in models.items() if model.is_causal]
        return next(
            (name for name in (*inference_model.PREFERRED, *following) if name in models),
            [*models][0],
        )
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
        Open file at its start. What the client called it is not looked at.

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
        upload = FileStorage(spool, filename="file", name="file")
    size = upload.stream.seek(0, 2)
    upload.stream.seek(0)
    if size > max_bytes:
        raise RequestEntityTooLarge
    if not size:
        raise AudioError("file: empty (0 bytes)")
    return upload


def _form_file() -> FileStorage:
    """Find the one file in the form's field ``file``."""
    files = request.files.getlist("file")
    if files:
        only_fields("file")
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
    stream = files[0].stream
    # The request closes its files when it ends, which a streamed answer outlives.
    files[0].stream = io.BytesIO()
    return FileStorage(stream, filename="file", name="file")


def only_fields(*names: str) -> None:
    """Refuse a form with a field that would not be looked at, such as an option."""
    for name in (*request.files, *request.form):
        if name not in names:
            known = " and ".join(repr(known) for known in names)
            raise BadRequest(
                f"{name}: no field of this form, which takes {known}; options go into the "
                f"address, as in {request.path}?model=NAME"
            )


def read_chunk(max_bytes: int, final: bool) -> tuple[bytes, str]:
    """Take the samples and the state of the current request from its form.

    Parameters
    ----------
    max_bytes : int
        Most bytes of samples accepted.
    final : bool
        The last request may come without samples, if something came before it.

    Raises
    ------
    UnsupportedMediaType, BadRequest
        If there is no form, or not one file in its field ``chunk``.
    AudioError
        If the file is empty.
    RequestEntityTooLarge
        If it has more than `max_bytes`.
    """
    if request.mimetype != "multipart/form-data":
        raise UnsupportedMediaType(
            "send multipart/form-data: PCM samples as the file 'chunk' and, but for the first "
            "chunk, the last answer's state as the text 'state'"
        )
    files = request.files.getlist("chunk")
    for name in ("chunk", "state"):
        if len(request.files.getlist(name) + request.form.getlist(name)) > 1:
            raise BadRequest(f"{name}: one a request")
    if "state" in request.files:
        raise BadRequest("state: this is a file, not text; with curl, write -F 'state=<file'")
    if "chunk" in request.form:
        raise BadRequest("chunk: this is text, not a file; with curl, write -F chunk=@samples.raw")
    state = request.form.get("state", "")
    if not files and not (final and state):
        raise BadRequest("chunk: missing; send PCM samples as the multipart file 'chunk'")
    only_fields("chunk", "state")
    chunk = files[0].read(max_bytes + 1) if files else b""
    if len(chunk) > max_bytes:
        raise RequestEntityTooLarge
    if not chunk and not final:
        raise AudioError("chunk: empty (0 bytes)")
    return chunk, state


def explain(error: Exception) -> tuple[int, str]:
    """Status and detail of an error; one that nobody foresaw goes to the log instead."""
    for kind, status in (
        (AudioTooLong, HTTPStatus.REQUEST_ENTITY_TOO_LARGE),
        (AudioError, HTTPStatus.UNPROCESSABLE_ENTITY),
        (StateError, HTTPStatus.UNPROCESSABLE_ENTITY),
        (TimeLimitExceeded, HTTPStatus.SERVICE_UNAVAILABLE),
    ):
        if isinstance(error, kind):
            return status, str(error)
    log.error("failed", exc_info=error, extra={"fields": {"request_id": g.request_id}})
    return (
        HTTPStatus.INTERNAL_SERVER_ERROR,
        "the service failed on this request; its log has the cause under this request_id",
    )


def _add_headers(app: APIFlask, config: ServiceConfig, counts: metrics.Metrics) -> None:
    """Give every answer an identifier and its headers; write the log and count."""

    @app.before_request
    def identify() -> None:
        g.request_id = request_id(request.headers.get("X-Request-ID"))
        g.start = time.perf_counter()
        g.fields = {}

    @app.after_request
    def finish(response: Response) -> Response:
        response.headers["X-Request-ID"] = g.request_id
        response.headers.update(SECURITY_HEADERS)
        response.headers.extend(
            cors_headers(request.path, request.headers.get("Origin"), config.allowed_origins)
        )
        method, status, start = request.method, response.status_code, g.start
        route = request.url_rule.rule if request.url_rule else ""
        fields = g.fields
        fields["request_id"] = g.request_id

        def record() -> None:
            seconds = time.perf_counter() - start
            counts.record(route, status, seconds, fields.get("audio_s", 0.0))
            log_request(method, route, status, seconds, **fields)

        if response.mimetype == NDJSON:
            response.call_on_close(record)  # It is only about to be made.
        else:
            record()
        return response


def _add_errors(app: APIFlask, config: ServiceConfig) -> None:
    """Answer every error with problem details."""

    def answer(status: int, detail: str) -> Response:
        response = jsonify(problem(status, detail, g.request_id))
        response.status_code = status
        response.mimetype = PROBLEM_TYPE
        if status in (HTTPStatus.SERVICE_UNAVAILABLE, HTTPStatus.TOO_MANY_REQUESTS):
            response.headers["Retry-After"] = str(RETRY_AFTER_S)
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
            else f"there is nothing at {request.path}; /docs lists what there is",
        )

    @app.errorhandler(RequestEntityTooLarge)
    def body_too_large(error: RequestEntityTooLarge) -> Response:
        small = (request.content_length or math.inf) <= config.max_upload_bytes
        detail = f"form: more than {request.max_form_parts} fields; send the one that is needed"
        return answer(error.code, detail if small else too_large(config.max_upload_bytes))

    @app.errorhandler(apiflask.HTTPError)
    def validation_error(error: apiflask.HTTPError) -> Response:
        wrong = error.detail.get("query", {})
        parts = [f"{name}: {' '.join(messages)}" for name, messages in wrong.items()]
        return answer(error.status_code, "; ".join(parts) or error.message)

    @app.errorhandler(Exception)
    def other(error: Exception) -> Response:
        return answer(*explain(error))

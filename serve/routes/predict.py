"""Predict an uploaded file."""

from __future__ import annotations

import json
import time
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

from apiflask import APIBlueprint
from flask import Response, request, stream_with_context

from msr_utils.inference.prediction import Prediction
from serve import schemas
from serve.hooks import current_record
from serve.ndjson import NDJSON, prediction_lines
from serve.openapi import (
    CSV_EXAMPLE,
    NDJSON_EXAMPLE,
    PREDICTION_EXAMPLE,
    problem_responses,
    shell,
)
from serve.routes.models import card_url
from serve.running import RunningPrediction
from serve.schemas import PredictOptions
from serve.service import current_service
from serve.tasks import MAX_VALUES, PredictTask
from serve.uploads import read_upload

predict = APIBlueprint("predict", __name__)

JSON, CSV = "application/json", "text/csv"

CONTENT_TYPES = (JSON, CSV, NDJSON)
"""Content types of an answer. The first is used unless the request accepts only another."""

HEADERS = {"Vary": "Accept"}

WARNINGS_HEADER = "X-Warnings"
"""Header of a CSV answer: the warnings as a JSON array in ASCII."""


@dataclass(frozen=True)
class Summariser:
    """Makes the part of an answer that is about the whole track.

    Parameters
    ----------
    model : str
        Name of the model.
    options : PredictOptions
    started : float
        Value of ``time.perf_counter`` when the work began.
    """

    model: str
    options: PredictOptions
    started: float

    def __call__(self, prediction: Prediction) -> dict[str, Any]:
        """Summarise a prediction that is not smoothed yet."""
        current_record().audio_s = prediction.duration_s
        return {
            **prediction.summary_json(self.options.targets),
            "model": self.model,
            "elapsed_ms": round(1000 * (time.perf_counter() - self.started), 1),
            "card": card_url(self.model),
        }


@predict.post("/v1/predict")
@predict.input(schemas.PredictQuery, location="query", arg_name="options", unknown="raise")
@predict.output(schemas.Prediction, example=PREDICTION_EXAMPLE)
@predict.doc(
    tags=["Prediction"],
    operation_id="predict",
    responses={
        200: {
            "content": {
                CSV: {"schema": {"type": "string"}, "example": CSV_EXAMPLE},
                NDJSON: {"schema": {"type": "string"}, "example": NDJSON_EXAMPLE},
            }
        },
        **problem_responses(400, 408, 413, 415, 422, 429, 503, 507),
    },
    extensions=shell(
        "curl -F file=@song.mp3 {host}/v1/predict",
        "curl -F file=@song.mp3 -H 'Accept: text/csv' '{host}/v1/predict?smoothing=3'",
    ),
)
def predict_file(options: PredictOptions) -> Response | tuple[dict[str, Any], dict[str, str]]:
    """Predict valence and arousal of a piece of music.

    Send the audio in a multipart field named `file`, or as the raw body. To get the curves as a
    table, accept `text/csv`. To get a line of JSON for each frame while the file is still
    decoded, accept `application/x-ndjson`. The last of these lines holds `done` with everything
    else that the JSON answer has, or `error` with the problem.
    """
    service, record = current_service(), current_record()
    config = service.config
    name = service.models.default if options.model is None else options.model
    card = service.models.choose(name)
    content_type = request.accept_mimetypes.best_match(CONTENT_TYPES)
    summarise = Summariser(name, options, time.perf_counter())
    record.model = name
    with ExitStack() as resources:
        resources.enter_context(service.clients.request_of(request.remote_addr))
        task = PredictTask(name, config.max_seconds, MAX_VALUES)
        upload = read_upload(config.max_upload_bytes)
        running = RunningPrediction(card, service.pool.run(task, request.remote_addr, upload))
        resources.callback(running.close)
        if content_type == NDJSON:
            lines = prediction_lines(
                running, options, card.margins, summarise, record.fail, record.request_id
            )
            record.is_streamed = True
            response = Response(stream_with_context(lines), mimetype=NDJSON, headers=HEADERS)
            # The answer is computed while it is sent, so it keeps its place until it is closed.
            response.call_on_close(resources.pop_all().close)
            return response
        for _ in running:
            pass
    prediction = running.prediction()
    summary = summarise(prediction)
    smoothed = prediction.smoothed(options.smoothing_s, options.causal_smoothing)
    if content_type == CSV:
        # A table has no place for them.
        headers = {**HEADERS, WARNINGS_HEADER: json.dumps(prediction.warnings)}
        return Response(smoothed.to_csv(options.targets), mimetype=CSV, headers=headers)
    return {**summary, **smoothed.curves_json(options.targets)}, HEADERS

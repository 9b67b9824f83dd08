"""Predict live audio, chunk by chunk."""

from __future__ import annotations

import time
from typing import Any

from apiflask import APIBlueprint
from flask import request

from msr_utils.constants import TARGETS
from msr_utils.inference.prediction import bounds, rounded
from serve import schemas
from serve.hooks import current_record
from serve.lanes import LIVE
from serve.openapi import LIVE_EXAMPLE, LIVE_PROBLEMS, problem_responses, shell
from serve.schemas import LiveOptions
from serve.service import current_service
from serve.tasks import LiveTask
from serve.uploads import read_chunk

live = APIBlueprint("live", __name__)


@live.post("/v1/live")
@live.input(schemas.LiveQuery, location="query", arg_name="options", unknown="raise")
@live.output(schemas.LiveAnswer, example=LIVE_EXAMPLE)
@live.doc(
    tags=["Prediction"],
    operation_id="live",
    responses=problem_responses(400, 408, 413, 415, 422, 429, 503, 507, examples=LIVE_PROBLEMS),
    extensions=shell(
        "curl -F chunk=@first.raw '{host}/v1/live?rate=44100' > answer.json",
        "jq -r .state answer.json > state",
        "curl -F chunk=@second.raw -F 'state=<state' '{host}/v1/live?rate=44100'",
    ),
)
def follow(options: LiveOptions) -> dict[str, Any]:
    """Predict live audio.

    Send the audio chunk by chunk. Send each chunk with the `state` of the previous answer, and
    the first chunk without a state. An answer has the frames that the chunk completes. Together
    they are the frames that `/v1/predict` returns for the whole audio. The service stores nothing
    between the chunks.
    """
    start = time.perf_counter()
    service = current_service()
    chunk = read_chunk(service.config.max_upload_bytes, options.final)
    state = service.signer.verify(chunk.state) if chunk.state else b""
    task = LiveTask(
        model=options.model if state else service.models.choose_causal(options.model).name,
        state=state,
        samples=chunk.samples,
        format=options.format,
        channels=options.channels,
        rate=options.rate,
        last=options.final,
        max_seconds=service.config.max_chunk_seconds,
    )
    client = request.remote_addr
    with service.clients.request_of(client):
        (answer,) = service.pool.run(task, client, lane=LIVE)
    card = service.models.choose(answer.fields["model"])
    record = current_record()
    record.model, record.audio_s = card.name, answer.fields["chunk_s"]
    curves = dict(zip(TARGETS, answer.frames.T, strict=True))
    curves |= bounds(curves, card.margins)
    return {
        "model": card.name,
        "model_version": card.version,
        "audio_s": answer.fields["audio_s"],
        "times_s": answer.fields["times_s"],
        **{name: rounded(values) for name, values in curves.items()},
        # No chunk follows the last one.
        "state": None if options.final else service.signer.sign(answer.rest),
        "elapsed_ms": round(1000 * (time.perf_counter() - start), 1),
    }

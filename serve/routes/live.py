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
from serve.live import LiveStream, StateError, read_samples
from serve.openapi import LIVE_EXAMPLE, LIVE_PROBLEMS, problem_responses, shell
from serve.schemas import LiveOptions
from serve.service import Service, current_service
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
    samples = read_samples(
        chunk.samples,
        options.format,
        options.channels,
        options.rate,
        service.config.max_chunk_seconds,
    )
    with service.clients.request_of(request.remote_addr), service.running:
        stream = _resume(service, chunk.state, options)
        frames = stream.push(samples, last=options.final)
        # No chunk follows the last one.
        state = None if options.final else service.signer.sign(stream.pack())
    record = current_record()
    record.model, record.audio_s = stream.model.name, len(samples) / options.rate
    curves = dict(zip(TARGETS, frames.values.T, strict=True))
    curves |= bounds(curves, stream.model.margins)
    return {
        "model": stream.model.name,
        "model_version": stream.model.version,
        "audio_s": stream.seconds,
        "times_s": frames.times_s.tolist(),
        **{name: rounded(values) for name, values in curves.items()},
        "state": state,
        "elapsed_ms": round(1000 * (time.perf_counter() - start), 1),
    }


def _resume(service: Service, state: str, options: LiveOptions) -> LiveStream:
    """Resume the stream of a state, or start one if the state is empty."""
    if not state:
        return LiveStream(service.models.choose_causal(options.model), options.rate)
    stream = LiveStream.unpack(service.signer.verify(state), service.models.by_name)
    name = stream.model.name
    if options.model not in (None, name):
        raise StateError(
            f"made by the model {name!r}, but this chunk is for {options.model!r}; start again"
        )
    if options.rate != stream.rate:
        raise StateError(
            f"made from audio at {stream.rate} Hz, but this chunk has {options.rate} Hz; "
            "start again"
        )
    return stream

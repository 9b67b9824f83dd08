"""Compose music for a wanted course of valence and arousal, and list the generators."""

from __future__ import annotations

import time
from contextlib import ExitStack
from functools import partial
from http import HTTPStatus
from typing import Any

from apiflask import APIBlueprint
from flask import Response, request

from msr_utils.generation.limits import SAMPLE_RATE
from msr_utils.generation.wav import n_samples, wav_header
from serve.bridge import IS_GONE
from serve.compose import examples, schemas
from serve.compose.answers import midi_bytes, note_lines, sound_bytes
from serve.compose.generators import NONE, GeneratorEntry
from serve.compose.paths import GENERATE, GENERATORS
from serve.compose.schemas import AUDIO, MIDI, NOTES, WAV, GenerateOptions
from serve.hooks import current_record
from serve.json_bodies import guard_json
from serve.ndjson import NDJSON
from serve.openapi import problem_responses, shell
from serve.request_errors import RequestError
from serve.service import current_service
from serve.tasks import GenerateTask

compose = APIBlueprint("compose", __name__)
guard_json(compose)

WAV_TYPE, MIDI_TYPE = "audio/wav", "audio/midi"

ACCEPTED = {
    NDJSON: NOTES,
    WAV_TYPE: WAV,
    "audio/x-wav": WAV,
    "audio/wave": WAV,
    MIDI_TYPE: MIDI,
    "audio/x-midi": MIDI,
}
"""Content types that a client may accept. The first is used unless it accepts only others."""

CLIENT_GONE = 499
"""Status in the log of a request whose client went away, as other servers have it."""

BINARY = {"schema": {"type": "string", "format": "binary"}, "example": "the file's bytes"}


@compose.before_request
def check_request() -> None:
    """Refuse requests where there is no generator."""
    if request.method == "POST" and not current_service().generators.entries:
        raise RequestError(HTTPStatus.NOT_FOUND, "generator", NONE)


@compose.get(GENERATORS)
@compose.output(schemas.GeneratorList, example=examples.GENERATORS)
@compose.doc(
    tags=["Composition"],
    operation_id="listGenerators",
    extensions=shell(f"curl {{host}}{GENERATORS}"),
)
def list_generators() -> dict[str, Any]:
    """List the generators with their cards: training data, licence, measured figures, limits."""
    service = current_service()
    return {
        "generators": [
            {
                "name": name,
                "title": entry.title,
                "default": name == service.generators.default,
                "version": entry.version,
                "card": dict(entry.card),
            }
            for name, entry in service.generators.entries.items()
        ],
        "max_seconds": service.config.max_piece_seconds,
        "sample_rate": SAMPLE_RATE,
    }


@compose.post(GENERATE)
@compose.input(schemas.GenerateBody, location="json", arg_name="options", unknown="raise")
@compose.doc(
    tags=["Composition"],
    operation_id="generate",
    responses={
        200: {
            "description": "The piece",
            "content": {
                NDJSON: {"schema": {"type": "string"}, "example": examples.NOTES},
                WAV_TYPE: BINARY,
                MIDI_TYPE: BINARY,
            },
        },
        **problem_responses(
            400, 404, 408, 413, 415, 422, 429, 503, examples=examples.PROBLEMS
        ),
    },
    extensions=shell(
        "curl -H 'Content-Type: application/json' -H 'Accept: audio/wav' -o piece.wav \\",
        "  -d '{\"valence\": 0.6, \"arousal\": -0.4, \"seconds\": 30, \"seed\": 1}' "
        f"{{host}}{GENERATE}",
    ),
)  # fmt: skip
def generate(options: GenerateOptions) -> Response:
    """Compose piano music for a wanted valence and arousal, or for a course of both.

    By default the answer has a line of JSON for each note, as soon as it is drawn: its start and
    length in seconds, its MIDI number (60 is the middle C of a piano) and its velocity. The last
    line holds `done` with what was asked, or `error` with the problem. To get the sound while the
    piece is composed, accept `audio/wav`: 16 bits, mono. To get a MIDI file, accept `audio/midi`.
    """
    service, record = current_service(), current_record()
    seconds = schemas.length_of(options, service.config.max_piece_seconds)
    entry = service.generators.choose(options.generator)
    wanted = _format(options)
    record.model = entry.name
    with ExitStack() as resources:
        client = request.remote_addr
        resources.enter_context(service.clients.request_of(client))
        resources.enter_context(service.pieces.place())
        started = time.perf_counter()
        answers = service.pool.run(_task(options, seconds, entry, wanted), client)
        resources.callback(getattr(answers, "close", lambda: None))
        if wanted == MIDI:
            return _midi(midi_bytes(answers, request.environ.get(IS_GONE, lambda: False)))
        record.is_streamed = True
        if wanted == WAV:
            samples = n_samples(seconds)
            header = wav_header(samples)
            response = Response(
                sound_bytes(answers, header, record.fail, record.request_id), mimetype=WAV_TYPE
            )
            response.content_length = len(header) + 2 * samples
            response.headers["Content-Disposition"] = 'inline; filename="piece.wav"'
        else:
            summarise = partial(_summary, options, seconds, entry, started)
            lines = note_lines(answers, summarise, record.fail, record.request_id)
            response = Response(lines, mimetype=NDJSON)
        response.headers["Vary"] = "Accept"
        # The piece is composed while it is sent, so it keeps its place until it is closed.
        response.call_on_close(resources.pop_all().close)
        return response


def _format(options: GenerateOptions) -> str:
    """The format that is asked for, by the body or by the header ``Accept``."""
    accepted = request.accept_mimetypes.best_match(ACCEPTED)
    wanted = options.format or ACCEPTED.get(accepted or "", NOTES)
    if options.include and wanted != NOTES:
        raise RequestError(
            HTTPStatus.BAD_REQUEST, "include", f"only lines of notes can do this; accept {NDJSON}"
        )
    return wanted


def _task(
    options: GenerateOptions, seconds: float, entry: GeneratorEntry, wanted: str
) -> GenerateTask:
    return GenerateTask(
        entry.folder,
        options.points,
        seconds,
        options.seed,
        options.temperature,
        audio=wanted == WAV or AUDIO in options.include,
        midi=wanted == MIDI or MIDI in options.include,
    )


def _midi(content: bytes) -> Response:
    """A MIDI file; an empty answer if nobody waits for it any more."""
    if not content:
        return Response(status=CLIENT_GONE)
    headers = {"Vary": "Accept", "Content-Disposition": 'attachment; filename="piece.mid"'}
    return Response(content, mimetype=MIDI_TYPE, headers=headers)


def _summary(
    options: GenerateOptions, seconds: float, entry: GeneratorEntry, started: float, n_notes: int
) -> dict[str, Any]:
    """What is told about a piece that is complete."""
    return {
        "generator": entry.name,
        "generator_version": entry.version,
        "seconds": seconds,
        "seed": options.seed,
        "temperature": options.temperature,
        "notes": n_notes,
        "sample_rate": SAMPLE_RATE,
        "elapsed_ms": round(1000 * (time.perf_counter() - started), 1),
    }

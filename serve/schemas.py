"""What goes in and out of the API, as checked and as documented in its OpenAPI document."""

from __future__ import annotations

from apiflask import Schema
from apiflask.fields import Boolean, Dict, Float, Integer, List, Nested, String

from msr_utils.constants import FRAME_SECONDS
from serve.problems import PROBLEM_TYPE, problem


def described(text: str, **metadata: object) -> dict[str, dict]:
    """Metadata argument of a field."""
    return {"metadata": {"description": text, **metadata}}


class PredictQuery(Schema):
    """Options of a prediction."""

    error_messages = {"unknown": "there is no such option; the only one is 'model'"}

    model = String(**described("Name of the model; the default model if left out.", example="lstm"))


class Mean(Schema):
    """Means over the track."""

    valence = Float(required=True)
    arousal = Float(required=True)


class Quadrant(Schema):
    """Quadrant of the valence-arousal plane that the means lie in."""

    name = String(required=True, **described("Q1 to Q4, counted from high valence and arousal."))
    words = String(required=True, **described("Words for the feelings in this quadrant."))


class Prediction(Schema):
    """Curves of valence and arousal."""

    model = String(required=True, **described("Model that answered."))
    duration_s = Float(
        required=True,
        **described(
            f"Seconds that the curves cover; a last part under {FRAME_SECONDS} s is left out."
        ),
    )
    frame_seconds = Float(required=True, **described("Seconds from one value to the next."))
    times_s = List(
        Float(),
        required=True,
        **described(f"A value at time t describes the {FRAME_SECONDS} s of audio that end at t."),
    )
    valence = List(
        Float(), required=True, **described("From -1 (unpleasant) to 1 (pleasant), one a time.")
    )
    arousal = List(
        Float(), required=True, **described("From -1 (calm) to 1 (energetic), one a time.")
    )
    mean = Nested(Mean, required=True)
    quadrant = Nested(Quadrant, required=True)
    elapsed_ms = Float(required=True, **described("Time spent on decoding and predicting."))
    card = String(required=True, **described("Where this model is described."))


class ModelSummary(Schema):
    """One model of the list."""

    name = String(required=True)
    title = String(required=True)
    kind = String(
        required=True,
        **described("recurrent: follows the music in one pass; window: sees a window at once."),
    )
    default = Boolean(required=True, **described("True if it answers when no model is named."))
    card = String(required=True, **described("Where this model is described."))


class ModelList(Schema):
    """Models that can be named in a prediction."""

    models = List(Nested(ModelSummary), required=True)


class Card(Schema):
    """Model card; a card may say more than what is listed here."""

    name = String(required=True)
    title = String(required=True)
    summary = String()
    kind = String(required=True)
    targets = List(String(), required=True)
    parameters = Integer(**described("Number of weights."))
    trained_on = String()
    licence = String()
    protocol = String(**described("How the scores were measured."))
    metrics = Dict(**described("target -> metric -> value, low and high of its 95 % interval."))
    limits = List(String())
    feature_hash = String(required=True)
    model_sha256 = String(required=True)


class Health(Schema):
    """Whether the service can answer."""

    status = String(required=True)
    models = Integer(required=True, **described("Number of models loaded."))


class Problem(Schema):
    """Problem details, RFC 9457."""

    type = String(required=True)
    title = String(required=True, **described("Phrase of the status."))
    status = Integer(required=True)
    detail = String(required=True, **described("What was wrong and what to do."))
    request_id = String(required=True, **described("Value of the X-Request-ID header."))


PREDICTION_EXAMPLE = {
    "model": "lstm",
    "duration_s": 1.5,
    "frame_seconds": FRAME_SECONDS,
    "times_s": [0.5, 1.0, 1.5],
    "valence": [0.1201, 0.1315, 0.1424],
    "arousal": [-0.3021, -0.2877, -0.2702],
    "mean": {"valence": 0.1313, "arousal": -0.2867},
    "quadrant": {"name": "Q4", "words": "calm, content"},
    "elapsed_ms": 12.3,
    "card": "/v1/models/lstm",
}

CSV_EXAMPLE = "time_s,valence,arousal\n0.5,0.1201,-0.3021\n1.0,0.1315,-0.2877\n"

MODELS_EXAMPLE = {
    "models": [
        {
            "name": "lstm",
            "title": "LSTM on log-mel statistics",
            "kind": "recurrent",
            "default": True,
            "card": "/v1/models/lstm",
        }
    ]
}

PROBLEMS = {
    400: (
        "The file is missing, or an option is wrong",
        "file: missing; send the audio in a multipart field named 'file', or as the raw body",
    ),
    404: ("There is no such model", "model: there is no model 'lstn'; choose one of: lstm"),
    413: (
        "The file has too many bytes or lasts too long",
        "song.mp3: longer than the 900 s that are accepted",
    ),
    422: (
        "The file is not audio that can be decoded",
        "song.mp3: not audio that can be decoded (Format not recognised); "
        "send MP3, Ogg Vorbis or Opus, FLAC, WAV or AIFF",
    ),
}
"""status -> description and an example of its detail."""


def problem_responses(*statuses: int) -> dict[int, dict]:
    """Document the problems that a route answers with."""
    return {
        status: {
            "description": PROBLEMS[status][0],
            "content": {
                PROBLEM_TYPE: {
                    "schema": Problem,
                    "example": problem(status, PROBLEMS[status][1], "0e3c1f6a9b7d4e52a8c4d1b2"),
                }
            },
        }
        for status in statuses
    }


AUDIO_BODY = {"schema": {"type": "string", "format": "binary"}}

PREDICT_BODY = {
    "required": True,
    "description": "MP3, Ogg Vorbis or Opus, FLAC, WAV or AIFF.",
    "content": {
        "multipart/form-data": {
            "schema": {
                "type": "object",
                "required": ["file"],
                "properties": {
                    "file": {
                        "type": "string",
                        "format": "binary",
                        "description": "The audio file.",
                    }
                },
            }
        },
        "audio/*": AUDIO_BODY,
        "application/octet-stream": AUDIO_BODY,
    },
}

"""What goes in and out of the API, as checked and as documented in its OpenAPI document."""

from __future__ import annotations

from collections.abc import Mapping

from apiflask import Schema
from apiflask.fields import Boolean, Dict, Float, Integer, List, Nested, String
from apiflask.validators import OneOf, Range
from marshmallow import INCLUDE

from msr_utils.constants import FRAME_SECONDS, TARGETS
from serve.live import FORMATS, MAX_CHANNELS, RATES_HZ
from serve.problems import PROBLEM_TYPE, problem


def described(text: str, **metadata: object) -> dict[str, dict]:
    """Metadata argument of a field."""
    return {"metadata": {"description": text, **metadata}}


class PredictQuery(Schema):
    """Options of a prediction."""

    error_messages = {
        "unknown": "there is no such option; there are 'model', 'targets', 'smoothing' and "
        "'smoothing_window'"
    }

    model = String(**described("Name of the model; the default model if left out."))
    targets = String(
        load_default=",".join(TARGETS),
        validate=OneOf(
            [",".join(TARGETS), ",".join(reversed(TARGETS)), *TARGETS],
            error="must be 'valence', 'arousal', or both with a comma between",
        ),
        **described("Curves to give; with one of them there is no quadrant."),
    )
    smoothing = Float(
        load_default=0.0,
        validate=Range(0, 60),
        **described("Seconds of a moving average over the curves; 0 for none."),
    )
    smoothing_window = String(
        load_default="centred",
        validate=OneOf(["centred", "causal"]),
        **described(
            "centred: over the values within half of `smoothing` before and after each, fewer at "
            "the ends; causal: over the last `smoothing` seconds up to each."
        ),
    )


class LiveQuery(Schema):
    """What a chunk of live audio is."""

    error_messages = {
        "unknown": "there is no such option; there are 'rate', 'channels', 'format', 'model' "
        "and 'final'"
    }

    rate = Integer(
        required=True,
        validate=Range(*RATES_HZ),
        **described("Sample rate in Hz; the same for all chunks.", example=44100),
    )
    channels = Integer(
        load_default=1, validate=Range(1, MAX_CHANNELS), **described("Interleaved channels.")
    )
    format = String(
        load_default="s16le",
        validate=OneOf([*FORMATS]),
        **described("Samples: 16 bit integers or 32 bit floats, little-endian."),
    )
    model = String(**described("Name of the model; the default model if left out."))
    final = Boolean(
        load_default=False,
        **described("True with the last chunk, which may be missing: what is held back comes."),
    )


class Mean(Schema):
    """Means over the track."""

    valence = Float()
    arousal = Float()


class Quadrant(Schema):
    """Quadrant of the valence-arousal plane that the means lie in."""

    name = String(required=True, **described("Q1 to Q4, counted from high valence and arousal."))
    words = String(required=True, **described("Words for the feelings in this quadrant."))


class Prediction(Schema):
    """Curves of valence and arousal, or of the one that was asked for."""

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
    valence = List(Float(), **described("From -1 (unpleasant) to 1 (pleasant), one a time."))
    arousal = List(Float(), **described("From -1 (calm) to 1 (energetic), one a time."))
    valence_low = List(Float(), **described("Lower end of its interval, if the model has one."))
    valence_high = List(Float(), **described("Upper end; the model's card says what it covers."))
    arousal_low = List(Float(), **described("Lower end of its interval, if the model has one."))
    arousal_high = List(Float(), **described("Upper end; the model's card says what it covers."))
    mean = Nested(Mean, required=True, **described("Over the track, before smoothing."))
    quadrant = Nested(Quadrant)
    warnings = List(
        String(), required=True, **described("What was wrong with the audio that was decoded.")
    )
    elapsed_ms = Float(required=True, **described("Time spent on decoding and predicting."))
    card = String(required=True, **described("Where this model is described."))


class LiveAnswer(Schema):
    """Frames that a chunk completes."""

    model = String(required=True, **described("Model that answered."))
    audio_s = Float(required=True, **described("Seconds of audio since the first chunk."))
    times_s = List(
        Float(), required=True, **described("Since the first chunk; as in a prediction.")
    )
    valence = List(Float(), required=True, **described("One a time."))
    arousal = List(Float(), required=True, **described("One a time."))
    valence_low = List(Float(), **described("Lower end of its interval, if the model has one."))
    valence_high = List(Float(), **described("Upper end; the model's card says what it covers."))
    arousal_low = List(Float(), **described("Lower end of its interval, if the model has one."))
    arousal_high = List(Float(), **described("Upper end; the model's card says what it covers."))
    state = String(
        required=True,
        allow_none=True,
        **described("To send with the next chunk, unchanged; null after the final one."),
    )
    elapsed_ms = Float(required=True, **described("Time spent on the chunk."))


class ModelSummary(Schema):
    """One model of the list."""

    name = String(required=True)
    title = String(required=True)
    kind = String(
        required=True,
        **described(
            "recurrent, frame: follows the music in one pass; window: sees a window at once."
        ),
    )
    default = Boolean(required=True, **described("True if it answers when no model is named."))
    card = String(required=True, **described("Where this model is described."))


class ModelList(Schema):
    """Models that can be named in a prediction."""

    models = List(Nested(ModelSummary), required=True)


class Card(Schema):
    """Model card; a card may say more than what is listed here."""

    class Meta:
        unknown = INCLUDE

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


class Ready(Schema):
    """Whether the service takes requests."""

    status = String(required=True)
    models = Dict(required=True, **described("name -> SHA-256 of the model that answered once."))


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
    "warnings": [],
    "elapsed_ms": 12.3,
    "card": "/v1/models/lstm",
}

CSV_EXAMPLE = "time_s,valence,arousal\n0.5,0.1201,-0.3021\n1.0,0.1315,-0.2877\n"

NDJSON_EXAMPLE = (
    '{"time_s": 0.5, "valence": 0.1201, "arousal": -0.3021}\n'
    '{"time_s": 1.0, "valence": 0.1315, "arousal": -0.2877}\n'
    '{"done": {"model": "lstm", "duration_s": 1.0, "frame_seconds": 0.5, '
    '"mean": {"valence": 0.1258, "arousal": -0.2949}, '
    '"quadrant": {"name": "Q4", "words": "calm, content"}, "warnings": [], '
    '"elapsed_ms": 10.1, "card": "/v1/models/lstm"}}\n'
)

LIVE_EXAMPLE = {
    "model": "lstm",
    "audio_s": 1.2,
    "times_s": [1.0],
    "valence": [0.131502],
    "arousal": [-0.287711],
    "state": "live1.61734.UgEAAHsibW9kZWwiOiA...",
    "elapsed_ms": 4.2,
}

CARD_EXAMPLE = {
    "name": "lstm",
    "title": "LSTM on log-mel statistics",
    "summary": "Valence and arousal every 500 ms; causal.",
    "kind": "recurrent",
    "targets": list(TARGETS),
    "parameters": 123456,
    "trained_on": "a corpus of music with ratings",
    "licence": "weights for research",
    "protocol": "5-fold cross-validation by artist, frames pooled",
    "metrics": {target: {"rmse": {"value": 0.2, "low": 0.18, "high": 0.22}} for target in TARGETS},
    "limits": ["Ratings are means over listeners: they do not say what one person feels."],
    "feature_hash": "1" * 64,
    "model_sha256": "0" * 64,
}

READY_EXAMPLE = {"status": "ready", "models": {"lstm": "0" * 64}}

METRICS_EXAMPLE = (
    "# TYPE msr_requests_total counter\n"
    'msr_requests_total{route="/v1/predict",status="200"} 12\n'
    "# TYPE msr_requests_in_flight gauge\n"
    "msr_requests_in_flight 1\n"
)

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
    408: (
        "The request did not arrive in time",
        "the request did not arrive whole: 300 s are accepted; send it again, or a smaller file",
    ),
    413: (
        "The file has too many bytes or lasts too long",
        "file: longer than the 900 s that are accepted",
    ),
    422: (
        "The audio cannot be used, or the state not be continued",
        "file: not audio that can be decoded (Format not recognised); "
        "send MP3, Ogg Vorbis or Opus, FLAC, WAV or AIFF",
    ),
    415: (
        "The body is no form",
        "send multipart/form-data: PCM samples as the file 'chunk' and, but for the first chunk, "
        "the last answer's state as the text 'state'",
    ),
    429: (
        "This client has too many requests at once; the Retry-After header says when to try again",
        "at most 4 of a client's requests are worked on or wait at a time; wait for an answer, "
        "or try again in 5 s",
    ),
    503: (
        "Too much to do, or stopping; the Retry-After header says when to try again",
        "the service is busy (4 requests are worked on and 16 wait); try again in 5 s",
    ),
}
"""status -> description and an example of its detail."""


LIVE_DETAILS = {
    400: "rate: Missing data for required field.",
    413: "chunk: longer than the 10 s that are accepted at a time",
    422: "state: given 640 s ago, 600 s are accepted; start again",
}
"""Details for the examples of live audio, where they differ."""

EXAMPLE_HOST = "http://127.0.0.1:8000"
"""In commands; the page of documentation puts the address there by which it was asked for."""

RETRY_AFTER = {
    "Retry-After": {
        "description": "Seconds after which to try again.",
        "required": True,
        "schema": {"type": "integer", "minimum": 1},
    }
}


def problem_responses(*statuses: int, details: Mapping[int, str] | None = None) -> dict[int, dict]:
    """Document the problems that a route answers with; `details` replace those of `PROBLEMS`."""
    responses = {}
    for status in statuses:
        description, detail = PROBLEMS[status]
        detail = (details or {}).get(status, detail)
        example = problem(status, detail, "0e3c1f6a9b7d4e52a8c4d1b2")
        responses[status] = {
            "description": description,
            "content": {PROBLEM_TYPE: {"schema": Problem, "example": example}},
            **({"headers": RETRY_AFTER} if status in (429, 503) else {}),
        }
    return responses


def shell(*lines: str) -> dict[str, list[dict]]:
    """Extension of an operation that shows how to call it, as documentation viewers know it."""
    source = "\n".join(lines).replace("{host}", EXAMPLE_HOST)
    return {"x-codeSamples": [{"lang": "Shell", "source": source}]}


AUDIO_BODY = {"schema": {"type": "string", "format": "binary", "minLength": 1}}

PREDICT_BODY = {
    "required": True,
    "description": "MP3, Ogg Vorbis or Opus, FLAC, WAV or AIFF.",
    "content": {
        "multipart/form-data": {
            "schema": {
                "type": "object",
                "required": ["file"],
                "additionalProperties": False,
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

LIVE_BODY = {
    "required": True,
    "content": {
        "multipart/form-data": {
            "schema": {
                "type": "object",
                "additionalProperties": False,
                "properties": {
                    "chunk": {
                        "type": "string",
                        "format": "binary",
                        "description": "PCM samples without a header, any number of them; "
                        "may be left out with `final=true` and a state only.",
                    },
                    "state": {
                        "type": "string",
                        "description": "The last answer's; left out with the first chunk.",
                    },
                },
            }
        }
    },
}

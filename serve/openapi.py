"""The OpenAPI document: examples, documented problems, request bodies."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from msr_utils.affect import AXIS_ENDS, quadrant
from msr_utils.audio.formats import FORMAT_NAMES, SUFFIXES
from msr_utils.constants import FRAME_SECONDS, TARGETS
from msr_utils.inference.card import VERSION_DIGITS
from serve import schemas
from serve.catalogue import Catalogue
from serve.problems import PROBLEM_TYPE, RETRY_STATUSES, Problem

DESCRIPTION = (
    "Valence ({} to {}) and arousal ({} to {}) of music, both from -1 to 1, for every half second. "
    "Errors are problem details (RFC 9457)."
).format(*AXIS_ENDS["valence"], *AXIS_ENDS["arousal"])

EXAMPLE_HOST = "http://127.0.0.1:8000"
"""Address in the example commands. The page /docs shows the address of its own request instead."""

Responses = dict[int | str, Any]
"""Documented answers by their status."""

# ------------------------------------------------------------------------------ examples

_MEAN = {"valence": 0.1313, "arousal": -0.2867}
_QUADRANT = quadrant(**_MEAN)
_VERSION = "0" * VERSION_DIGITS

PREDICTION_EXAMPLE = {
    "model": "lstm",
    "model_version": _VERSION,
    "duration_s": 1.5,
    "frame_seconds": FRAME_SECONDS,
    "times_s": [0.5, 1.0, 1.5],
    "valence": [0.1201, 0.1315, 0.1424],
    "arousal": [-0.3021, -0.2877, -0.2702],
    "mean": _MEAN,
    "quadrant": {"name": _QUADRANT.name, "words": _QUADRANT.words},
    "warnings": [],
    "elapsed_ms": 12.3,
    "card": "/v1/models/lstm",
}

CSV_EXAMPLE = (
    "time_s,valence,arousal,model\n"
    f"0.5,0.120100,-0.302100,lstm@{_VERSION}\n"
    f"1.0,0.131500,-0.287700,lstm@{_VERSION}\n"
)

NDJSON_EXAMPLE = (
    '{"time_s": 0.5, "valence": 0.1201, "arousal": -0.3021}\n'
    '{"time_s": 1.0, "valence": 0.1315, "arousal": -0.2877}\n'
    f'{{"done": {{"model": "lstm", "model_version": "{_VERSION}", "duration_s": 1.0, '
    '"frame_seconds": 0.5, '
    '"mean": {"valence": 0.1258, "arousal": -0.2949}, '
    f'"quadrant": {{"name": "{_QUADRANT.name}", "words": "{_QUADRANT.words}"}}, "warnings": [], '
    '"elapsed_ms": 10.1, "card": "/v1/models/lstm"}}\n'
)

LIVE_EXAMPLE = {
    "model": "lstm",
    "model_version": _VERSION,
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
    "limits": ["Ratings are means over listeners. They do not say what one person feels."],
    "feature_hash": "1" * 64,
    "model_sha256": "0" * 64,
}

HEALTH_EXAMPLE = {"status": "ok", "models": 1}

READY_EXAMPLE = {"status": "ready", "models": {"lstm": "0" * 64}}

_METRICS_EXAMPLE = (
    "# HELP msr_requests_total Requests answered.\n"
    "# TYPE msr_requests_total counter\n"
    'msr_requests_total{route="/v1/predict",status="200"} 12.0\n'
    "# HELP msr_requests_in_flight Requests that run now.\n"
    "# TYPE msr_requests_in_flight gauge\n"
    "msr_requests_in_flight 1.0\n"
)

METRICS_RESPONSES: Responses = {
    200: {
        "description": "Metrics of this process for Prometheus",
        "content": {"text/plain": {"schema": {"type": "string"}, "example": _METRICS_EXAMPLE}},
    }
}

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

# ------------------------------------------------------------------------------ problems

PROBLEMS = {
    400: (
        "The file is missing, or an option is wrong",
        Problem(
            400,
            "file: missing; send the audio in a multipart field named 'file', or as the raw body",
            "file",
        ),
    ),
    401: (
        "The token is missing or wrong",
        Problem(401, "this needs the token of the library: send 'Authorization: Bearer TOKEN'"),
    ),
    403: (
        "Nobody may do this here",
        Problem(
            403,
            "the library is read-only; start the service with MSR_LIBRARY_TOKEN and send that "
            "token as 'Authorization: Bearer TOKEN'",
        ),
    ),
    404: (
        "There is no such thing",
        Problem(404, "model: there is no model 'lstn'; choose from: lstm", "model"),
    ),
    408: (
        "The request did not arrive in time",
        Problem(
            408,
            "the request did not arrive completely: it took more than 300 s; send it again, or a "
            "smaller file",
        ),
    ),
    413: (
        "The file has too many bytes or lasts too long",
        Problem(413, "file: longer than the 900 s that are accepted", "file"),
    ),
    415: (
        "The body has another content type, or it is compressed",
        Problem(
            415,
            "Content-Encoding: 'gzip' is not accepted; send the body as it is, without this header",
            "Content-Encoding",
        ),
    ),
    416: (
        "The file has no such part",
        Problem(416, "The server cannot provide the requested range."),
    ),
    422: (
        "The content of the request cannot be used",
        Problem(
            422,
            f"file: not audio that can be decoded (unknown format); send {FORMAT_NAMES}",
            "file",
        ),
    ),
    429: (
        "This client has too many requests at once. The Retry-After header tells when to try again",
        Problem(
            429,
            "a client may have at most 4 running or waiting request(s); wait for an answer, "
            "or try again in 5 s",
        ),
    ),
    503: (
        "The service is busy or stopping. The Retry-After header tells when to try again",
        Problem(
            503,
            "the service is busy (running requests: 4, waiting requests: 16); try again in 5 s",
        ),
    ),
    507: (
        "The service has no room to store the upload while it reads it",
        Problem(
            507,
            "the service has no room to store this upload (No space left on device); "
            "try again later, or send a smaller file",
        ),
    ),
}
"""status -> description of the answer, and an example of the problem."""

LIVE_PROBLEMS = {
    400: Problem(400, "rate: missing", "rate"),
    413: Problem(413, "chunk: longer than the limit of 10 s; send shorter chunks", "chunk"),
    415: Problem(
        415,
        "send multipart/form-data with the PCM samples as the file 'chunk' and, from the "
        "second chunk on, the state of the previous answer as the text 'state'",
    ),
    422: Problem(422, "state: 640 s old, the limit is 600 s; start again", "state"),
}
"""Examples for live audio, where they differ."""

STOPPING_PROBLEM = Problem(503, "the service is stopping")

RETRY_AFTER = {
    "Retry-After": {
        "description": "Seconds after which to try again.",
        "required": True,
        "schema": {"type": "integer", "minimum": 1},
    }
}


def problem_responses(*statuses: int, examples: Mapping[int, Problem] | None = None) -> Responses:
    """Document the problems of a route.

    Parameters
    ----------
    *statuses : int
        HTTP statuses, keys of `PROBLEMS`.
    examples : mapping of int to Problem, optional
        Examples that replace those of `PROBLEMS`.
    """
    responses: Responses = {}
    for status in statuses:
        description, example = PROBLEMS[status]
        example = (examples or {}).get(status, example)
        content = {
            "schema": schemas.Problem,
            "example": example.document("0e3c1f6a9b7d4e52a8c4d1b2"),
        }
        responses[status] = {
            "description": description,
            "content": {PROBLEM_TYPE: content},
            **({"headers": RETRY_AFTER} if status in RETRY_STATUSES else {}),
        }
    return responses


# ------------------------------------------------------------------------------ requests


def shell(*lines: str) -> dict[str, list[dict[str, str]]]:
    """Commands that show how to call an operation, as documentation viewers know them."""
    source = "\n".join(lines).replace("{host}", EXAMPLE_HOST)
    return {"x-codeSamples": [{"lang": "Shell", "source": source}]}


AUDIO_BODY = {"schema": {"type": "string", "format": "binary", "minLength": 1}}

PREDICT_BODY = {
    "required": True,
    "description": f"{FORMAT_NAMES[0].upper()}{FORMAT_NAMES[1:]}. All: {', '.join(SUFFIXES)}.",
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
                        "description": "Any number of PCM samples without a header. It may be "
                        "omitted with `final=true` and a state.",
                    },
                    "state": {
                        "type": "string",
                        "minLength": 1,
                        "description": "State of the previous answer. Omit it with the first "
                        "chunk.",
                    },
                },
            }
        }
    },
}


def document_models(models: Catalogue) -> Callable[[Any], Any]:
    """Make a processor that completes the document: request bodies and names of the models."""

    def complete(spec: dict[str, Any]) -> dict[str, Any]:
        paths = spec["paths"]
        predict, live = paths["/v1/predict"]["post"], paths["/v1/live"]["post"]
        card = paths["/v1/models/{name}"]["get"]
        predict["requestBody"], live["requestBody"] = PREDICT_BODY, LIVE_BODY
        card["parameters"][0]["description"] = "Name of the model."
        card |= shell(f"curl {{host}}/v1/models/{models.default}")
        for operation, names in (
            (predict, models.names),
            (live, models.causal_names),
            (card, models.names),
        ):
            for parameter in operation["parameters"]:
                if parameter["name"] in ("model", "name"):
                    parameter["schema"]["enum"] = names
        _drop_empty_defaults(spec)
        return spec

    return complete


def _drop_empty_defaults(part: Any) -> None:
    """Leave out defaults that say nothing: null and empty text stand for a missing option."""
    if isinstance(part, dict):
        if part.get("default", 0) in (None, ""):
            del part["default"]
        for inner in part.values():
            _drop_empty_defaults(inner)
    elif isinstance(part, list):
        for inner in part:
            _drop_empty_defaults(inner)

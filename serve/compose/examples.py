"""Examples of composed music for the OpenAPI document."""

from __future__ import annotations

from msr_utils.generation.limits import SAMPLE_RATE
from msr_utils.inference.card import VERSION_DIGITS
from serve.problems import Problem

_VERSION = "0" * VERSION_DIGITS

NOTES = (
    '{"start_s": 0.0, "length_s": 0.4807, "pitch": 57, "velocity": 66}\n'
    '{"start_s": 0.4891, "length_s": 0.2511, "pitch": 64, "velocity": 58}\n'
    f'{{"done": {{"generator": "piano-lstm", "generator_version": "{_VERSION}", "seconds": 30.0, '
    '"seed": 1, "temperature": 1.0, "notes": 2, '
    f'"sample_rate": {SAMPLE_RATE}, "elapsed_ms": 2150.4}}}}\n'
)

GENERATORS = {
    "generators": [
        {
            "name": "piano-lstm",
            "title": "LSTM conditioned on valence and arousal",
            "default": True,
            "version": _VERSION,
            "card": {
                "name": "piano-lstm",
                "summary": "Piano music for a wanted course of valence and arousal.",
                "trained_on": "piano music with and without labels of emotion",
                "licence": "weights for research",
                "limits": ["Nobody has rated how the pieces feel."],
                "model_sha256": "0" * 64,
            },
        }
    ],
    "max_seconds": 300.0,
    "sample_rate": SAMPLE_RATE,
}

PROBLEMS = {
    400: Problem(400, "valence: give valence and arousal, or a curve", "valence"),
    404: Problem(404, "generator: this service has no generator", "generator"),
    413: Problem(413, "curve: the body is larger than the limit of 256 kB", "curve"),
    415: Problem(415, "send JSON, with the header 'Content-Type: application/json'"),
    422: Problem(422, "seconds: longer than the 60 s that are composed here", "seconds"),
}

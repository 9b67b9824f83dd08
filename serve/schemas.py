"""Schemas of the API: they check what comes in and describe what goes out."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, TypedDict

from apiflask import Schema
from apiflask.fields import Boolean, Dict, Float, Integer, List, Nested, String
from apiflask.validators import OneOf, Range
from marshmallow import INCLUDE, post_load

from msr_utils.affect import AXIS_ENDS
from msr_utils.constants import FRAME_SECONDS, TARGETS
from msr_utils.inference.content import CONTENT
from serve.states import MAX_CHANNELS, RATES_HZ, SAMPLE_FORMATS

MAX_SMOOTHING_S = 60


class Metadata(TypedDict):
    """Keyword argument of a field that documents it."""

    metadata: dict[str, Any]


def described(text: str, **metadata: Any) -> Metadata:
    """Keyword argument that gives a field its description."""
    return {"metadata": {"description": text, **metadata}}


# ------------------------------------------------------------------------------ requests


@dataclass(frozen=True)
class PredictOptions:
    """Options of a prediction.

    Parameters
    ----------
    model : str or None
        None for the default model.
    targets : tuple of str
        Curves to return, of ``valence`` and ``arousal``.
    smoothing_s : float >= 0
        Length of the moving average in seconds.
    causal_smoothing : bool
        True if the average uses past values only.
    """

    model: str | None
    targets: tuple[str, ...]
    smoothing_s: float
    causal_smoothing: bool


class Question(Schema):
    """What a request asks for. Its errors name the options that there are."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        *first, last = map(repr, self.fields)
        names = f"{', '.join(first)} and {last}" if first else last
        self.error_messages |= {
            "unknown": f"there is no such option; choose from {names}",
            "type": "must be a JSON object, such as {...}",
        }


class PredictQuery(Question):
    """Options of a prediction, in the address."""

    model = String(**described("Name of the model. Without it, the default model answers."))
    targets = String(
        load_default=",".join(TARGETS),
        validate=OneOf(
            [",".join(TARGETS), ",".join(reversed(TARGETS)), *TARGETS],
            error="must be 'valence', 'arousal', or both with a comma between",
        ),
        **described("Curves to return. If it is only one, the answer has no quadrant."),
    )
    smoothing = Float(
        load_default=0.0,
        validate=Range(0, MAX_SMOOTHING_S),
        **described("Length of a moving average over the curves in seconds. 0 means none."),
    )
    smoothing_window = String(
        load_default="centred",
        validate=OneOf(["centred", "causal"]),
        **described(
            "centred: each value becomes the mean of the values within half of `smoothing` before "
            "and after it; causal: of the values in the last `smoothing` seconds."
        ),
    )

    @post_load
    def make_options(self, data: dict[str, Any], **_: Any) -> PredictOptions:
        """Give the options a type."""
        return PredictOptions(
            model=data.get("model"),
            targets=tuple(data["targets"].split(",")),
            smoothing_s=data["smoothing"],
            causal_smoothing=data["smoothing_window"] == "causal",
        )


@dataclass(frozen=True)
class LiveOptions:
    """Format of a chunk of live audio.

    Parameters
    ----------
    rate : int > 0
        Sample rate in Hz.
    channels : int > 0
    format : str
        Sample format, a key of `serve.states.SAMPLE_FORMATS`.
    model : str or None
        None for the model of the state, or the default model if there is no state yet.
    final : bool
        True with the last request.
    """

    rate: int
    channels: int
    format: str
    model: str | None
    final: bool


class LiveQuery(Question):
    """Format of a chunk of live audio, in the address."""

    rate = Integer(
        required=True,
        validate=Range(*RATES_HZ),
        **described("Sample rate in Hz. It must be the same for all chunks.", example=44100),
    )
    channels = Integer(
        load_default=1,
        validate=Range(1, MAX_CHANNELS),
        **described("Number of interleaved channels."),
    )
    format = String(
        load_default="s16le",
        validate=OneOf([*SAMPLE_FORMATS]),
        **described("Sample format: 16-bit integers or 32-bit floats, little-endian."),
    )
    model = String(
        **described(
            "Name of the model. Without it, the model of the state answers, or the default model "
            "if there is no state."
        )
    )
    final = Boolean(
        load_default=False,
        **described(
            "Set on the last request. The chunk may be omitted; the remaining frames are returned."
        ),
    )

    @post_load
    def make_options(self, data: dict[str, Any], **_: Any) -> LiveOptions:
        """Give the options a type."""
        return LiveOptions(**{"model": None, **data})


# ------------------------------------------------------------------------------ answers


class Mean(Schema):
    """Means over the track."""

    valence = Float()
    arousal = Float()


class Quadrant(Schema):
    """Quadrant of the valence-arousal plane in which the means lie."""

    name = String(
        required=True,
        **described("Q1 to Q4, counterclockwise from positive valence and positive arousal."),
    )
    words = String(required=True, **described("Two feelings that are typical of the quadrant."))


_VERSION = described("Start of the SHA-256 of the model's network, which its card states in full.")
_LOW = described("Lower ends of the intervals, if the model has intervals.")
_HIGH = described("Upper ends. The model's card states the share of values inside the intervals.")


class Prediction(Schema):
    """Curves of valence and arousal, or the one curve that was asked for."""

    model = String(required=True, **described("Model that answered."))
    model_version = String(required=True, **_VERSION)
    duration_s = Float(
        required=True,
        **described(
            f"Seconds that the curves cover. A remainder shorter than {FRAME_SECONDS} s is ignored."
        ),
    )
    frame_seconds = Float(required=True, **described("Seconds from one value to the next."))
    times_s = List(
        Float(),
        required=True,
        **described(
            f"Times in seconds. The value at time t describes the {FRAME_SECONDS} s of audio "
            "before t."
        ),
    )
    valence = List(
        Float(), **described("From -1 ({}) to 1 ({}), one per time.".format(*AXIS_ENDS["valence"]))
    )
    arousal = List(
        Float(), **described("From -1 ({}) to 1 ({}), one per time.".format(*AXIS_ENDS["arousal"]))
    )
    valence_low = List(Float(), **_LOW)
    valence_high = List(Float(), **_HIGH)
    arousal_low = List(Float(), **_LOW)
    arousal_high = List(Float(), **_HIGH)
    mean = Nested(Mean, required=True, **described("Means over the track, before smoothing."))
    quadrant = Nested(
        Quadrant,
        **described(
            "Missing if only one curve is returned, or if the file is silent. If the file does not "
            "sound like music, it is given with a warning."
        ),
    )
    content = Dict(
        String(validate=OneOf(CONTENT)),
        Float(),
        **described(
            "Share of music, singing, speech, noise and silence in the seconds that YAMNet looked "
            "at. Missing if its weights are not installed."
        ),
    )
    warnings = List(
        String(),
        required=True,
        **described("Defects of the audio file, and whether it does not sound like music."),
    )
    elapsed_ms = Float(required=True, **described("Milliseconds spent on decoding and predicting."))
    card = String(
        required=True, **described("Path of the model's card, below the service's address.")
    )


class LiveAnswer(Schema):
    """Frames that a chunk completes."""

    model = String(required=True, **described("Model that answered."))
    model_version = String(required=True, **_VERSION)
    audio_s = Float(required=True, **described("Seconds of audio since the first chunk."))
    times_s = List(
        Float(),
        required=True,
        **described("Times in seconds since the first chunk, as in a prediction."),
    )
    valence = List(Float(), required=True, **described("One value per time."))
    arousal = List(Float(), required=True, **described("One value per time."))
    valence_low = List(Float(), **_LOW)
    valence_high = List(Float(), **_HIGH)
    arousal_low = List(Float(), **_LOW)
    arousal_high = List(Float(), **_HIGH)
    state = String(
        required=True,
        allow_none=True,
        **described("Send it unchanged with the next chunk. It is null after the last request."),
    )
    elapsed_ms = Float(required=True, **described("Milliseconds spent on the chunk."))


class ModelSummary(Schema):
    """A model in the list of models."""

    name = String(required=True)
    title = String(required=True)
    kind = String(
        required=True,
        **described(
            "recurrent and frame models are causal: they can follow live audio. A window model "
            "needs a whole window of audio at a time."
        ),
    )
    default = Boolean(
        required=True, **described("True if this model answers when a request names none.")
    )
    card = String(
        required=True, **described("Path of the model's card, below the service's address.")
    )


class ModelList(Schema):
    """All models of the service."""

    models = List(Nested(ModelSummary), required=True)


class Card(Schema):
    """Model card. It may have more members than are listed here."""

    class Meta:
        """Keep other members."""

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
    metrics = Dict(
        **described("For each target and metric: value, and low and high of its 95 % interval.")
    )
    limits = List(String(), **described("What the model cannot do."))
    feature_hash = String(required=True)
    model_sha256 = String(required=True)


class Health(Schema):
    """Whether the service is alive."""

    status = String(required=True)
    models = Integer(required=True, **described("Number of loaded models."))


class Ready(Schema):
    """Whether the service accepts requests."""

    status = String(required=True)
    models = Dict(required=True, **described("SHA-256 of each model, by its name."))


class Problem(Schema):
    """Problem details, RFC 9457."""

    type = String(required=True)
    title = String(required=True, **described("Name of the status."))
    status = Integer(required=True)
    detail = String(required=True, **described("What is wrong, and what to do."))
    request_id = String(required=True, **described("Value of the X-Request-ID header."))
    field = String(**described("Form field or option that the problem concerns, if there is one."))

"""Schemas of composed music: they check what comes in and describe what goes out."""

from __future__ import annotations

from dataclasses import dataclass
from http import HTTPStatus
from itertools import pairwise
from typing import Any

from apiflask import Schema
from apiflask.fields import Boolean, Dict, Float, Integer, List, Nested, String
from apiflask.validators import Length, OneOf, Range
from marshmallow import INCLUDE, ValidationError, post_load, validates_schema

from msr_utils.constants import SCALE
from msr_utils.generation.limits import MAX_SECONDS, TEMPERATURE_RANGE
from serve.request_errors import RequestError
from serve.schemas import described

MAX_POINTS = 2_000
"""Most points of a wanted curve."""

MAX_SEED = 2**53 - 1
"""Greatest seed: a whole number that JavaScript can hold."""

SECONDS, SEED, TEMPERATURE = 30.0, 1, 1.0
"""Defaults."""

NOTES, WAV, MIDI = "notes", "wav", "midi"
FORMATS = (NOTES, WAV, MIDI)

AUDIO = "audio"
INCLUDED = (AUDIO, MIDI)
"""What the lines of notes may bring along."""

MAX_NAME = 100


class Number(Float):
    """A number: not a text, and not true."""

    def _validated(self, value: Any) -> float:
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise self.make_error("invalid", input=value)
        try:
            return float(super()._validated(value))
        except OverflowError as error:
            raise self.make_error("special") from error


class WholeNumber(Integer):
    """A whole number: not a text, not true, not 1.5."""

    def _validated(self, value: Any) -> Any:
        is_whole = isinstance(value, int) or (isinstance(value, float) and value.is_integer())
        if isinstance(value, bool) or not is_whole:
            raise self.make_error("invalid", input=value)
        return super()._validated(value)


def Values(text: str) -> List:  # noqa: N802, a kind of field
    """Values of valence or arousal along a curve."""
    return List(
        Number(validate=Range(*SCALE)),
        required=True,
        validate=Length(1, MAX_POINTS),
        **described(text),
    )


class Curve(Schema):
    """Wanted course: straight between points, constant before the first and after the last."""

    error_messages = {
        "unknown": "there is no such field; choose from 'times_s', 'valence' and 'arousal'"
    }

    times_s = List(
        Number(validate=Range(0, 1e6)),
        required=True,
        validate=Length(1, MAX_POINTS),
        **described("Times in seconds, which must rise."),
    )
    valence = Values("One value per time, from -1 to 1.")
    arousal = Values("One value per time, from -1 to 1.")

    @validates_schema
    def check(self, data: dict[str, Any], **_: Any) -> None:
        """Each time has a place in the plane."""
        times = data["times_s"]
        for name in ("valence", "arousal"):
            if len(data[name]) != len(times):
                raise ValidationError(f"must have one value for each of {len(times)} times", name)
        if any(after <= before for before, after in pairwise(times)):
            raise ValidationError("must rise", "times_s")


@dataclass(frozen=True)
class GenerateOptions:
    """What is composed.

    Parameters
    ----------
    points : tuple of (float, float, float)
        Time in s, valence and arousal, at rising times; one or more.
    seconds : float or None
        None for the default length.
    seed : int >= 0
    temperature : float > 0
    generator : str or None
        None for the default generator.
    format : str or None
        One of `FORMATS`; None if the header Accept decides.
    include : tuple of str
        Of `INCLUDED`.
    """

    points: tuple[tuple[float, float, float], ...]
    seconds: float | None
    seed: int
    temperature: float
    generator: str | None
    format: str | None
    include: tuple[str, ...]


class GenerateBody(Schema):
    """What to compose."""

    error_messages = {
        "unknown": "there is no such field; choose from 'valence', 'arousal', 'curve', 'seconds', "
        "'seed', 'temperature', 'generator', 'format' and 'include'"
    }

    valence = Number(
        validate=Range(*SCALE), **described("Wanted valence, -1 to 1. It needs `arousal`.")
    )
    arousal = Number(
        validate=Range(*SCALE), **described("Wanted arousal, -1 to 1. It needs `valence`.")
    )
    curve = Nested(
        Curve,
        **described(
            "A wanted course instead of one valence and arousal. `times_s`, `valence` and "
            "`arousal` of a prediction fit here."
        ),
    )
    seconds = Number(
        validate=Range(1, MAX_SECONDS),
        **described(
            f"Length of the piece, {SECONDS:g} s by default. The sound rings on for a moment after "
            "it."
        ),
    )
    seed = WholeNumber(
        load_default=SEED,
        validate=Range(0, MAX_SEED),
        **described("The same request gives the same notes. Another seed gives another piece."),
    )
    temperature = Number(
        load_default=TEMPERATURE,
        validate=Range(*TEMPERATURE_RANGE),
        **described("Low values give more predictable notes, high values more surprising ones."),
    )
    generator = String(
        validate=Length(max=MAX_NAME),
        **described("Name of the generator. Without it, the default generator composes."),
    )
    format = String(
        validate=OneOf(FORMATS),
        **described(
            "notes, wav or midi: another way to say what `Accept` says. It goes before `Accept`."
        ),
    )
    include = List(
        String(validate=OneOf(INCLUDED)),
        load_default=list,
        validate=Length(max=len(INCLUDED)),
        **described(
            "Only with lines of notes. audio: lines with the sound come between the notes. midi: "
            "the last line has the MIDI file, in base64."
        ),
    )

    @validates_schema
    def check(self, data: dict[str, Any], **_: Any) -> None:
        """A place or a curve, and all of it."""
        given = [name for name in ("valence", "arousal") if name in data]
        if "curve" in data and given:
            raise ValidationError("give either a curve, or valence and arousal", "curve")
        if "curve" not in data and len(given) < 2:
            missing = "arousal" if given == ["valence"] else "valence"
            raise ValidationError("give valence and arousal, or a curve", missing)
        if data["include"] and data.get("format", NOTES) != NOTES:
            raise ValidationError("only lines of notes can include something", "include")

    @post_load
    def make_options(self, data: dict[str, Any], **_: Any) -> GenerateOptions:
        """Give the options a type."""
        if "curve" in data:
            curve = data["curve"]
            points = tuple(zip(curve["times_s"], curve["valence"], curve["arousal"], strict=True))
        else:
            points = ((0.0, data["valence"], data["arousal"]),)
        return GenerateOptions(
            points,
            data.get("seconds"),
            data["seed"],
            data["temperature"],
            data.get("generator"),
            data.get("format"),
            tuple(dict.fromkeys(data["include"])),
        )


def length_of(options: GenerateOptions, max_seconds: float) -> float:
    """Length of the piece that is asked for, or the default length.

    Raises
    ------
    RequestError
        If the piece is longer than this service composes.
    """
    if options.seconds is None:
        return min(SECONDS, max_seconds)
    if options.seconds > max_seconds:
        raise RequestError(
            HTTPStatus.UNPROCESSABLE_ENTITY,
            "seconds",
            f"longer than the {max_seconds:g} s that are composed here",
        )
    return options.seconds


# ------------------------------------------------------------------------------ answers


class GeneratorSummary(Schema):
    """A generator in the list of generators."""

    name = String(required=True)
    title = String(required=True)
    default = Boolean(
        required=True, **described("True if this generator composes when a request names none.")
    )
    version = String(
        required=True,
        **described("Start of the SHA-256 of the network, which the card states in full."),
    )
    card = Dict(
        required=True,
        **described("The whole card: training data, licence, measured figures, limits."),
    )


class GeneratorList(Schema):
    """All generators of the service."""

    class Meta:
        """Keep other members."""

        unknown = INCLUDE

    generators = List(Nested(GeneratorSummary), required=True)
    max_seconds = Float(required=True, **described("Longest piece that is composed here."))
    sample_rate = Integer(required=True, **described("Sample rate of the sound in Hz."))

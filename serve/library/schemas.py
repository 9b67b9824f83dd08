"""Schemas of questions to the library: they check what comes in."""

from __future__ import annotations

import unicodedata
from typing import Any

from apiflask.fields import Float, Integer, List, Nested, String
from apiflask.validators import Length, OneOf, Range
from marshmallow import ValidationError, pre_load, validates_schema

from msr_utils.constants import SCALE
from msr_utils.io import UNPRINTABLE
from msr_utils.library.limits import FPS_RANGE, MAX_FILM_SECONDS, MAX_SCENE_SECONDS
from msr_utils.library.records import LISTENER
from serve.schemas import Question, described

MAX_TRACK = 2**53
"""Numbers of tracks are whole numbers that JavaScript can hold."""

MAX_MINUTES = 600
MAX_STOPS = 200
MAX_SCENES = 50
MAX_POINTS = 500
MAX_IDS = 1000
MAX_TEXT = 200
MAX_NAMES = 20

KINDS = ("direct", "iso")
PREFERENCES = ("like", "skip", "rating")


def printable(text: str) -> None:
    """Refuse text that cannot be stored or printed."""
    if any(unicodedata.category(letter) in UNPRINTABLE for letter in text):
        raise ValidationError("must not have control characters")


def Text(**options: Any) -> String:  # noqa: N802, a kind of field
    """A short text that can be printed."""
    return String(validate=[Length(max=MAX_TEXT), printable], **options)


class WholeNumber(Integer):
    """A whole number: not 1.5, which would be cut off, and not true."""

    def _validated(self, value: Any) -> Any:
        if isinstance(value, bool) or (isinstance(value, float) and not value.is_integer()):
            raise self.make_error("invalid", input=value)
        return super()._validated(value)


def Track(**options: Any) -> WholeNumber:  # noqa: N802
    """Number of a track."""
    return WholeNumber(validate=Range(0, MAX_TRACK), **options)


def Value(**options: Any) -> Float:  # noqa: N802
    """Valence or arousal."""
    return Float(validate=Range(*SCALE), **options)


def Names(text: str) -> List:  # noqa: N802
    """Names of artists or genres."""
    return List(Text(), load_default=list, validate=Length(max=MAX_NAMES), **described(text))


class Filters(Question):
    """Conditions that a track must meet. Ranges include their ends. Unknown values do not pass."""

    artist = Names("Only these artists.")
    not_artist = Names("None of these artists.")
    genre = Names("Only these genres.")
    not_genre = Names("None of these genres.")
    year_from = Float(load_default=None, **described("First year."))
    year_to = Float(load_default=None, **described("Last year."))
    seconds_from = Float(load_default=None, **described("Shortest length in seconds."))
    seconds_to = Float(load_default=None, **described("Longest length in seconds."))
    tempo_from = Float(load_default=None, **described("Slowest tempo, from the tags."))
    tempo_to = Float(load_default=None, **described("Fastest tempo, from the tags."))
    certainty = Float(
        load_default=0.0,
        validate=Range(0, 1),
        **described("Least probability that the quadrant of the track's mean is right."),
    )

    @validates_schema
    def check_ranges(self, values: dict[str, Any], **_: Any) -> None:
        """Refuse a range that ends before it begins."""
        for name in ("year", "seconds", "tempo"):
            least, most = values.get(f"{name}_from"), values.get(f"{name}_to")
            if least is not None and most is not None and least > most:
                raise ValidationError(
                    f"must be at most {name}_to, {most:g}, not {least:g}", f"{name}_from"
                )


class TracksQuery(Filters):
    """Which tracks to list."""

    id = List(
        Track(),
        load_default=list,
        validate=Length(max=100),
        **described("These tracks, in this order. Filters and pages are then ignored."),
    )
    limit = WholeNumber(
        load_default=100, validate=Range(1, 500), **described("Largest number of tracks on a page.")
    )
    cursor = Text(load_default=None, **described("`next` of the previous page."))


class NamesQuery(Question):
    """Which names to list."""

    kind = String(load_default="artist", validate=OneOf(["artist", "genre"]))
    part = Text(load_default="", **described("Part of the names, in upper or lower case."))
    limit = WholeNumber(load_default=20, validate=Range(1, 500))


class FindQuery(Filters):
    """What to find."""

    words = Text(
        load_default="", **described("Mood words, separated by commas. All of them must fit.")
    )
    valence = Value(load_default=None, **described("Wanted valence."))
    arousal = Value(load_default=None, **described("Wanted arousal."))
    within = Float(
        load_default=None,
        validate=Range(0.01, 2),
        **described(
            "Largest distance of a track from the wanted valence and arousal; 0.25 by default. "
            "Words have a region of their own."
        ),
    )
    like = List(
        Track(),
        load_default=list,
        validate=Length(max=50),
        **described("Tracks that results should sound like."),
    )
    unlike = List(
        Track(),
        load_default=list,
        validate=Length(max=50),
        **described("Tracks that results should not sound like."),
    )
    listener = Text(load_default="", **described("Listener whose ratings count as well."))
    confidence = Float(
        load_default=None,
        validate=Range(0.01, 0.99),
        **described("Least probability that a track lies at the wanted place; 0.5 by default."),
    )
    limit = WholeNumber(
        load_default=20, validate=Range(1, 100), **described("Largest number of results.")
    )

    @validates_schema
    def check(self, data: dict[str, Any], **_: Any) -> None:
        """Something must be asked for."""
        places = [data["valence"], data["arousal"]]
        given = [data["words"], data["like"], data["unlike"], data["listener"]]
        if not any(given) and places == [None, None]:
            raise ValidationError("give words, valence, arousal, like, unlike or listener", "words")
        if data["within"] is not None and places == [None, None]:
            message = "is a distance from valence and arousal; give one of them, or leave it out"
            raise ValidationError(message, "within")
        if data["confidence"] is not None and not data["words"] and places == [None, None]:
            message = "is about a wanted place; give words, valence or arousal, or leave it out"
            raise ValidationError(message, "confidence")


class Mood(Question):
    """A place of the plane: a word, or valence and arousal."""

    word = Text(load_default=None, **described("A mood word."))
    valence = Value(load_default=None)
    arousal = Value(load_default=None)

    @validates_schema
    def check(self, data: dict[str, Any], **_: Any) -> None:
        """One of the ways to say it, and all of it."""
        point = [data["valence"] is not None, data["arousal"] is not None]
        ways = [bool(data["word"]), any(point), data.get("track") is not None]
        if sum(ways) != 1 or (any(point) and not all(point)):
            raise ValidationError(self.wanted)

    wanted = "give either a word, or valence and arousal"


class Stop(Mood):
    """A place that a playlist goes through."""

    track = Track(
        load_default=None,
        **described("A track. As the first or the last place, it is part of the playlist."),
    )

    wanted = "give one of: a word; valence and arousal; a track"


class PathBody(Question):
    """What playlist to make."""

    stops = List(
        Nested(Stop),
        required=True,
        validate=Length(2, MAX_STOPS),
        **described("Places in their order: a start and an end, or all points of a path."),
    )
    minutes = Float(load_default=45.0, validate=Range(1, MAX_MINUTES))
    kind = String(
        load_default="direct",
        validate=OneOf(KINDS),
        **described(
            "direct: move at constant speed. iso: stay at the first place for a while, then move."
        ),
    )
    spacing = WholeNumber(
        load_default=3,
        validate=Range(0, 50),
        **described("Least number of tracks between two tracks of one artist."),
    )
    filters = Nested(Filters, load_default=lambda: Filters().load({}))


class CurvePoint(Question):
    """A point of a wanted curve."""

    at_s = Float(
        required=True,
        validate=Range(0, MAX_SCENE_SECONDS),
        **described("Seconds after the beginning of the scene."),
    )
    valence = Value(required=True)
    arousal = Value(required=True)


class Scene(Question):
    """A part of a film and the mood of its music."""

    start_s = Float(required=True, validate=Range(0, MAX_FILM_SECONDS))
    end_s = Float(required=True, validate=Range(0, MAX_FILM_SECONDS))
    label = Text(load_default="")
    mood = Nested(Mood, load_default=None, **described("The mood, or its start if it changes."))
    to = Nested(Mood, load_default=None, **described("The end of the mood, if it changes."))
    curve = List(
        Nested(CurvePoint),
        load_default=list,
        validate=Length(max=MAX_POINTS),
        **described("A curve instead of a mood. Its times must rise."),
    )

    @validates_schema
    def check(self, data: dict[str, Any], **_: Any) -> None:
        """A scene has a length and a mood."""
        if not 0.5 <= data["end_s"] - data["start_s"] <= MAX_SCENE_SECONDS:
            raise ValidationError(
                f"must be from 0.5 to {MAX_SCENE_SECONDS} s after start_s", "end_s"
            )
        if bool(data["curve"]) == (data["mood"] is not None):
            raise ValidationError("give either a mood or a curve", "mood")


class ScenesBody(Question):
    """For which scenes to find music."""

    scenes = List(Nested(Scene), required=True, validate=Length(1, MAX_SCENES))
    count = WholeNumber(
        load_default=5, validate=Range(1, 20), **described("Number of candidates for each scene.")
    )
    filters = Nested(Filters, load_default=lambda: Filters().load({}))


class FileQuery(Question):
    """What file to write."""

    format = Text(
        required=True,
        error_messages={"required": "missing; put it into the address, as in ?format=csv"},
        **described("One of the formats that `/v1/library` lists.", example="csv"),
    )
    name = Text(load_default="music", **described("Name of the file, without its ending."))


class SoundtrackQuery(FileQuery):
    """What file to write for an editor."""

    fps = Float(
        load_default=None,
        validate=Range(*FPS_RANGE),
        **described("Frames of the film per second, for formats that count them; 24 by default."),
    )


class FileBody(Question):
    """What a file holds."""

    @pre_load
    def check_places(self, data: Any, **_: Any) -> Any:
        """Say where the options of the file belong."""
        given = {"format", "name", "fps"} & set(data) if isinstance(data, dict) else ()
        if given:
            message = "this option belongs into the address, as in ?format=csv, not into the body"
            raise ValidationError({name: [message] for name in sorted(given)})
        return data


class PlaylistBody(FileBody):
    """Tracks of a file."""

    tracks = List(Track(), required=True, validate=Length(1, MAX_IDS))


class ChosenScene(Scene):
    """A scene and the excerpt that was chosen for it."""

    track = Track(
        load_default=None, **described("The chosen track. Without it, the scene has no music.")
    )
    in_s = Float(
        load_default=0.0,
        validate=Range(0, MAX_FILM_SECONDS),
        **described("Start of the excerpt in the track, in seconds."),
    )


class SoundtrackBody(FileBody):
    """Choices of a file."""

    scenes = List(Nested(ChosenScene), required=True, validate=Length(1, MAX_SCENES))


class ListenerQuery(Question):
    """Whose preferences."""

    listener = Text(load_default=LISTENER, **described("Name of the listener."))


class ForgetQuery(ListenerQuery):
    """What to forget."""

    track = Track(
        load_default=None,
        **described("Delete only the rating of this track. Without it, all ratings are deleted."),
    )


class PreferenceBody(ListenerQuery):
    """Rating of a track by a listener."""

    track = Track(required=True)
    kind = String(required=True, validate=OneOf(PREFERENCES))
    stars = Float(
        load_default=None,
        validate=Range(1, 5),
        **described("Needed if `kind` is `rating`: 1 to 5."),
    )

    @validates_schema
    def check(self, data: dict[str, Any], **_: Any) -> None:
        """Stars belong to a rating."""
        if (data["stars"] is not None) != (data["kind"] == "rating"):
            raise ValidationError("give stars with a rating, and only then", "stars")


class SimilarQuery(Question):
    """Parameters of ``getSonicSimilarTracks``. Others, such as the user's name, are ignored."""

    id = Track(required=True)
    count = WholeNumber(load_default=10, validate=Range(1, 100))


class SonicPathQuery(Question):
    """Parameters of ``findSonicPath``."""

    startSongId = Track(required=True)
    endSongId = Track(required=True)
    count = WholeNumber(load_default=25, validate=Range(2, 100))

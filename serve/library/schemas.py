"""Schemas of the library's API: they check what comes in and describe what goes out."""

from __future__ import annotations

import unicodedata
from typing import Any

from apiflask import Schema
from apiflask.fields import Boolean, Dict, Float, Integer, List, Nested, String
from apiflask.validators import Length, OneOf, Range
from marshmallow import ValidationError, validates_schema

from msr_utils.constants import SCALE
from msr_utils.io import UNPRINTABLE
from msr_utils.library.records import LISTENER
from serve.schemas import described

MAX_TRACK = 2**53
"""Numbers of tracks are whole numbers that JavaScript can hold."""

MAX_MINUTES = 600
MAX_STOPS = 200
MAX_SCENES = 50
MAX_SCENE_SECONDS = 3600
MAX_FILM_SECONDS = 100_000
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


# ------------------------------------------------------------------------------ requests


class Filters(Schema):
    """What a track must be. Ends of ranges are included; unknown values do not pass."""

    artist = Names("Only these artists.")
    not_artist = Names("None of these artists.")
    genre = Names("Only these genres.")
    not_genre = Names("None of these genres.")
    year_from = Float(load_default=None, **described("First year."))
    year_to = Float(load_default=None, **described("Last year."))
    seconds_from = Float(load_default=None, **described("Shortest length in seconds."))
    seconds_to = Float(load_default=None, **described("Longest length in seconds."))
    tempo_from = Float(load_default=None, **described("Slowest tempo of the tags."))
    tempo_to = Float(load_default=None, **described("Fastest tempo of the tags."))
    certainty = Float(
        load_default=0.0,
        validate=Range(0, 1),
        **described("Least probability that the quadrant of the track's mean is right."),
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
        load_default=100, validate=Range(1, 500), **described("Most tracks of a page.")
    )
    cursor = Text(load_default=None, **described("`next` of the page before."))


class NamesQuery(Schema):
    """Which names to list."""

    kind = String(load_default="artist", validate=OneOf(["artist", "genre"]))
    part = Text(load_default="", **described("What the names contain, in any case."))
    limit = WholeNumber(load_default=20, validate=Range(1, 500))


class FindQuery(Filters):
    """What to find."""

    words = Text(load_default="", **described("Mood words that must all fit, with commas between."))
    valence = Value(load_default=None, **described("Wanted valence."))
    arousal = Value(load_default=None, **described("Wanted arousal."))
    within = Float(
        load_default=0.25,
        validate=Range(0.01, 2),
        **described("How far a track may lie from the wanted values."),
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
    listener = Text(load_default="", **described("Whose likes count as well."))
    confidence = Float(
        load_default=0.5,
        validate=Range(0.01, 0.99),
        **described("Least probability of lying at the wanted place."),
    )
    limit = WholeNumber(load_default=20, validate=Range(1, 100), **described("Most results."))

    @validates_schema
    def check(self, data: dict[str, Any], **_: Any) -> None:
        """Something must be asked for."""
        places = [data["valence"], data["arousal"]]
        given = [data["words"], data["like"], data["unlike"], data["listener"]]
        if not any(given) and places == [None, None]:
            raise ValidationError("give words, valence, arousal, like, unlike or listener", "words")


class Mood(Schema):
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
        **described("A track. At the beginning or the end of the list it is played."),
    )

    wanted = "give one of: a word; valence and arousal; a track"


class PathBody(Schema):
    """What playlist to make."""

    stops = List(
        Nested(Stop),
        required=True,
        validate=Length(2, MAX_STOPS),
        **described("Places from the beginning to the end: two, or a drawn course."),
    )
    minutes = Float(load_default=45.0, validate=Range(1, MAX_MINUTES))
    kind = String(
        load_default="direct",
        validate=OneOf(KINDS),
        **described("direct: at constant speed; iso: first stay where the course begins."),
    )
    spacing = WholeNumber(
        load_default=3,
        validate=Range(0, 50),
        **described("Tracks between two of one artist."),
    )
    filters = Nested(Filters, load_default=lambda: Filters().load({}))


class CurvePoint(Schema):
    """A point of a wanted course."""

    at_s = Float(
        required=True,
        validate=Range(0, MAX_SCENE_SECONDS),
        **described("Seconds after the beginning of the scene."),
    )
    valence = Value(required=True)
    arousal = Value(required=True)


class Scene(Schema):
    """A part of a film and the mood of its music."""

    start_s = Float(required=True, validate=Range(0, MAX_FILM_SECONDS))
    end_s = Float(required=True, validate=Range(0, MAX_FILM_SECONDS))
    label = Text(load_default="")
    mood = Nested(Mood, load_default=None, **described("The mood, or where it begins."))
    to = Nested(Mood, load_default=None, **described("Where the mood ends, if it moves."))
    curve = List(
        Nested(CurvePoint),
        load_default=list,
        validate=Length(max=MAX_POINTS),
        **described("A drawn course instead of a mood, at rising times."),
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


class ScenesBody(Schema):
    """For which scenes to find music."""

    scenes = List(Nested(Scene), required=True, validate=Length(1, MAX_SCENES))
    count = WholeNumber(
        load_default=5, validate=Range(1, 20), **described("Candidates of each scene.")
    )
    filters = Nested(Filters, load_default=lambda: Filters().load({}))


class FileQuery(Schema):
    """What file to write."""

    format = Text(
        required=True,
        **described("One of the formats that `/v1/library` lists.", example="csv"),
    )
    name = Text(load_default="music", **described("Name of the file, without its ending."))


class PlaylistBody(Schema):
    """Tracks of a file."""

    tracks = List(Track(), required=True, validate=Length(1, MAX_IDS))


class ChosenScene(Scene):
    """A scene and the excerpt that was chosen for it."""

    track = Track(load_default=None, **described("The chosen track; without it, there is none."))
    in_s = Float(
        load_default=0.0,
        validate=Range(0, MAX_FILM_SECONDS),
        **described("Where the excerpt begins in the track."),
    )


class SoundtrackBody(Schema):
    """Choices of a file."""

    scenes = List(Nested(ChosenScene), required=True, validate=Length(1, MAX_SCENES))


class ListenerQuery(Schema):
    """Whose preferences."""

    listener = Text(load_default=LISTENER, **described("Name of the listener."))


class ForgetQuery(ListenerQuery):
    """What to forget."""

    track = Track(load_default=None, **described("This track. Without it, everything."))


class PreferenceBody(ListenerQuery):
    """What a listener says about a track."""

    track = Track(required=True)
    kind = String(required=True, validate=OneOf(PREFERENCES))
    stars = Float(load_default=None, validate=Range(1, 5), **described("With a rating: 1 to 5."))

    @validates_schema
    def check(self, data: dict[str, Any], **_: Any) -> None:
        """Stars belong to a rating."""
        if (data["stars"] is not None) != (data["kind"] == "rating"):
            raise ValidationError("give stars with a rating, and only then", "stars")


class SimilarQuery(Schema):
    """Parameters of ``getSonicSimilarTracks``. Others, such as the user's name, are ignored."""

    id = Track(required=True)
    count = WholeNumber(load_default=10, validate=Range(1, 100))


class SonicPathQuery(Schema):
    """Parameters of ``findSonicPath``."""

    startSongId = Track(required=True)
    endSongId = Track(required=True)
    count = WholeNumber(load_default=25, validate=Range(2, 100))


# ------------------------------------------------------------------------------ answers


class Removed(Schema):
    """What a filter removed."""

    filter = String(required=True)
    tracks = Integer(
        required=True, **described("Tracks that passed the filters before it and not this one.")
    )


class Pair(Schema):
    """Valence and arousal."""

    valence = Float(required=True)
    arousal = Float(required=True)


class Ends(Schema):
    """Ends of an interval of valence and of arousal."""

    valence = List(Float(), required=True)
    arousal = List(Float(), required=True)


class QuadrantOfTrack(Schema):
    """Quadrant of the means."""

    name = String(required=True)
    words = String(required=True)


class TrackOut(Schema):
    """A track."""

    id = Integer(required=True)
    name = String(required=True, **described("Artist and title, or the name of the file."))
    artist = String(required=True)
    title = String(required=True)
    album = String(required=True)
    genre = String(required=True)
    year = Integer(required=True, allow_none=True)
    tempo = Float(required=True, allow_none=True, **described("Of the tags."))
    seconds = Float(required=True)
    file = String(required=True, **described("Name of the file, without its folder."))
    audio = String(required=True, **described("Path of the audio, below the service's address."))


class PlacedTrack(TrackOut):
    """A track and its place in the plane."""

    predicted = Nested(Pair, required=True, **described("Means over the track."))
    interval = Nested(Ends, required=True, **described("Intervals of the means."))
    certainty = Float(required=True, **described("Probability that the quadrant is right."))
    quadrant = Nested(QuadrantOfTrack, required=True)


class TrackPage(Schema):
    """Tracks in the order of their numbers."""

    tracks = List(Nested(PlacedTrack), required=True)
    next = String(required=True, allow_none=True, **described("Cursor of the next page."))
    passing = Integer(required=True, **described("Tracks that pass the filters."))
    removed = List(Nested(Removed), required=True)


class TrackDetail(PlacedTrack):
    """A track with its curve."""

    start = Nested(Pair, required=True, **described("Means of its first `end_seconds`."))
    end = Nested(Pair, required=True, **described("Means of its last `end_seconds`."))
    end_seconds = Float(required=True)
    share = Dict(required=True, **described("Share of the time in each quadrant."))
    times_s = List(Float(), required=True)
    valence = List(Float(), required=True)
    arousal = List(Float(), required=True)


class About(Schema):
    """What is in the library, and what can be asked."""

    tracks = Integer(required=True, **described("Tracks that searches see."))
    files = Dict(required=True, **described("Number of files in each state."))
    model = String(required=True, **described("Model that made the curves."))
    writable = Boolean(required=True, **described("Whether a token allows changes."))
    words = List(Dict(), required=True, **described("Mood words and their places."))
    playlist_formats = List(String(), required=True)
    scene_formats = List(String(), required=True)


class NamesOut(Schema):
    """Names of artists or genres."""

    names = List(String(), required=True)


class Map(Schema):
    """Tracks as points of the plane, in columns of equal length."""

    tracks = Integer(required=True, **described("Tracks in the library."))
    passing = Integer(
        required=True,
        **described("Tracks that pass the filters. Of very many, a part is in the columns."),
    )
    id = List(Integer(), required=True)
    valence = List(Float(), required=True)
    arousal = List(Float(), required=True)
    removed = List(Nested(Removed), required=True)


class Found(Schema):
    """A result and why it is one."""

    track = Nested(TrackOut, required=True)
    score = Float(required=True, **described("What results are ranked by."))
    probability = Float(
        required=True, allow_none=True, **described("Of lying at the wanted place.")
    )
    similarity = Float(required=True, allow_none=True, **described("To the examples, -1 to 1."))
    preference = Float(required=True, allow_none=True, **described("Predicted, about -1 to 1."))
    because = Dict(
        required=True,
        allow_none=True,
        **described("The rated track that moved the preference most."),
    )
    predicted = Nested(Pair, required=True)
    interval = Nested(Ends, required=True)
    certainty = Float(required=True)
    closest = Dict(
        required=True,
        allow_none=True,
        **described("The ten seconds nearest to the wanted place."),
    )


class FindAnswer(Schema):
    """Results, the best first. If few fit, there are few."""

    results = List(Nested(Found), required=True)
    wanted = Dict(required=True, allow_none=True, **described("The wanted region."))
    confident = Integer(required=True)
    less_confident = Integer(required=True, allow_none=True)
    tracks = Integer(required=True)
    removed = List(Nested(Removed), required=True)
    versions_left_out = Integer(required=True, **described("Other versions of results."))
    note = String(required=True, **described("Said if there are fewer results than asked for."))


class StepOut(Schema):
    """A track of a playlist. Places are valence and arousal."""

    track = Nested(TrackOut, required=True)
    start_s = Float(required=True)
    wanted_start = List(Float(), required=True)
    wanted_end = List(Float(), required=True)
    predicted_start = List(Float(), required=True)
    predicted_end = List(Float(), required=True)
    gap = Float(required=True, **described("Distance from the end of the track before it."))


class PlaylistOut(Schema):
    """A playlist and how well it follows its course."""

    steps = List(Nested(StepOut), required=True)
    seconds = Float(required=True)
    mean_distance = Float(required=True, **described("Of tracks from the course."))
    mean_gap = Float(required=True)
    removed = List(Nested(Removed), required=True)
    notes = List(String(), required=True, **described("What is not as wanted."))


class CandidateOut(Schema):
    """An excerpt for a scene."""

    track = Nested(TrackOut, required=True)
    in_s = Float(required=True)
    out_s = Float(required=True)
    distance = Float(required=True, **described("Root mean squared, from the wanted course."))
    predicted_start = List(Float(), required=True)
    predicted_end = List(Float(), required=True)
    half_width = List(Float(), required=True, **described("Of the model's intervals."))


class SceneMusicOut(Schema):
    """Candidates of a scene, the best first."""

    scene = Dict(required=True)
    candidates = List(Nested(CandidateOut), required=True)
    chosen = Integer(
        required=True,
        allow_none=True,
        **described("Place of the one that also fits the scenes around it."),
    )
    gap = Float(required=True, allow_none=True)


class SoundtrackOut(Schema):
    """Music for scenes."""

    scenes = List(Nested(SceneMusicOut), required=True)
    removed = List(Nested(Removed), required=True)


class PreferenceOut(Schema):
    """What a listener said about a track."""

    track = Nested(
        TrackOut, required=True, allow_none=True, **described("null if it is no longer there.")
    )
    kind = String(required=True)
    value = Float(required=True, **described("From -1 to 1."))
    at = String(required=True)


class PreferencesOut(Schema):
    """What a listener said, and what was learned from it."""

    listener = String(required=True)
    preferences = List(Nested(PreferenceOut), required=True)
    mood_weights = Nested(
        Pair,
        required=True,
        allow_none=True,
        **described("Change of the predicted preference with one unit of valence and arousal."),
    )


class Noted(Schema):
    """What was noted."""

    listener = String(required=True)
    track = Nested(TrackOut, required=True)
    kind = String(required=True)
    value = Float(required=True)


class Forgotten(Schema):
    """How many preferences were deleted."""

    forgotten = Integer(required=True)


class Subsonic(Schema):
    """The envelope of OpenSubsonic, with ``sonicMatch``."""

    envelope = Dict(required=True, data_key="subsonic-response")

"""Schemas of the library's answers. They describe what `serve.library.answers` makes."""

from __future__ import annotations

from apiflask import Schema
from apiflask.fields import Boolean, Dict, Float, Integer, List, Nested, String

from serve.schemas import described


class Removed(Schema):
    """What a filter removed."""

    filter = String(required=True)
    tracks = Integer(
        required=True, **described("Tracks that passed all earlier filters, but not this one.")
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
    tempo = Float(required=True, allow_none=True, **described("From the tags."))
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
    """Content of the library, and values that requests may use."""

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
        **described(
            "Tracks that pass the filters. If there are very many, the columns have a part of them."
        ),
    )
    id = List(Integer(), required=True)
    valence = List(Float(), required=True)
    arousal = List(Float(), required=True)
    removed = List(Nested(Removed), required=True)


class Found(Schema):
    """A result, and why it was found."""

    track = Nested(TrackOut, required=True)
    score = Float(required=True, **described("Results are ranked by this value."))
    probability = Float(
        required=True,
        allow_none=True,
        **described("Probability that the track lies at the wanted place."),
    )
    similarity = Float(
        required=True, allow_none=True, **described("Similarity to the examples, -1 to 1.")
    )
    preference = Float(
        required=True, allow_none=True, **described("Predicted rating, about -1 to 1.")
    )
    because = Dict(
        required=True,
        allow_none=True,
        **described("The rated track that changed the predicted rating most."),
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
    """Results, the best first. Tracks that do not fit are not listed."""

    results = List(Nested(Found), required=True)
    wanted = Dict(required=True, allow_none=True, **described("The wanted region."))
    confident = Integer(required=True)
    less_confident = Integer(required=True, allow_none=True)
    tracks = Integer(required=True)
    removed = List(Nested(Removed), required=True)
    versions_left_out = Integer(
        required=True,
        **described("Number of songs that were left out as other versions of results."),
    )
    note = String(
        required=True,
        **described("Explains why there are fewer results than requested; else empty."),
    )


class StepOut(Schema):
    """A track of a playlist. Places are valence and arousal."""

    track = Nested(TrackOut, required=True)
    start_s = Float(required=True)
    wanted_start = List(Float(), required=True)
    wanted_end = List(Float(), required=True)
    predicted_start = List(Float(), required=True)
    predicted_end = List(Float(), required=True)
    gap = Float(required=True, **described("Distance from the end of the previous track."))


class PlaylistOut(Schema):
    """A playlist and how well it follows the wanted path."""

    steps = List(Nested(StepOut), required=True)
    seconds = Float(required=True)
    mean_distance = Float(
        required=True, **described("Mean distance of the tracks from the wanted path.")
    )
    mean_gap = Float(required=True)
    removed = List(Nested(Removed), required=True)
    notes = List(
        String(), required=True, **described("Problems, such as a track far from the wanted path.")
    )


class CandidateOut(Schema):
    """An excerpt for a scene."""

    track = Nested(TrackOut, required=True)
    in_s = Float(required=True)
    out_s = Float(required=True)
    distance = Float(
        required=True, **described("Root mean squared distance from the wanted curve.")
    )
    predicted_start = List(Float(), required=True)
    predicted_end = List(Float(), required=True)
    half_width = List(Float(), required=True, **described("Half-width of the model's intervals."))


class SceneMusicOut(Schema):
    """Candidates of a scene, the best first."""

    scene = Dict(required=True)
    candidates = List(Nested(CandidateOut), required=True)
    chosen = Integer(
        required=True,
        allow_none=True,
        **described("Index of the candidate that also fits the neighbouring scenes."),
    )
    gap = Float(required=True, allow_none=True)


class SoundtrackOut(Schema):
    """Music for scenes."""

    scenes = List(Nested(SceneMusicOut), required=True)
    removed = List(Nested(Removed), required=True)


class PreferenceOut(Schema):
    """Rating of a track by a listener."""

    track = Nested(
        TrackOut,
        required=True,
        allow_none=True,
        **described("null if the library no longer has the track."),
    )
    kind = String(required=True)
    value = Float(required=True, **described("From -1 to 1."))
    at = String(required=True)


class PreferencesOut(Schema):
    """Ratings of a listener, and what was learned from them."""

    listener = String(required=True)
    preferences = List(Nested(PreferenceOut), required=True)
    mood_weights = Nested(
        Pair,
        required=True,
        allow_none=True,
        **described("Change of the predicted preference with one unit of valence and arousal."),
    )


class Noted(Schema):
    """The rating as it was stored."""

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

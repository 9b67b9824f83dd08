"""The music library: tracks, search, playlists, music for scenes, preferences, audio."""

from __future__ import annotations

import hmac
import io
import mimetypes
import os
from http import HTTPStatus
from typing import Any

from apiflask import APIBlueprint
from flask import Response, request, send_file
from werkzeug.exceptions import Forbidden, Unauthorized

from serve.audio_files import send_audio
from serve.json_bodies import guard_json
from serve.library import answer_schemas as answers
from serve.library import examples, schemas
from serve.library.content_types import CONTENT_TYPES, OTHER_TYPE
from serve.library.examples import NO_TOKEN, NOT_SERVED, READ_ONLY
from serve.library.paths import AUDIO_END, PREFIX
from serve.openapi import Responses, problem_responses, shell
from serve.request_errors import RequestError
from serve.service import current_service
from serve.tasks import Answer

library = APIBlueprint("library", __name__, url_prefix=PREFIX)
guard_json(library)

WRITES = ("library.note_preference", "library.forget_preferences")
"""Endpoints that change something."""


@library.before_request
def check_access() -> None:
    """Refuse requests where no library is served, and changes without the token."""
    service = current_service()
    if service.library is None:
        raise RequestError(HTTPStatus.NOT_FOUND, "library", NOT_SERVED)
    if request.endpoint not in WRITES:
        return
    token = service.config.library_token
    if token is None:
        raise Forbidden(READ_ONLY)
    given = request.headers.get("Authorization", "").partition(" ")
    # The scheme's name has no case. The comparison takes as long for any token.
    fits = hmac.compare_digest(given[2].strip().encode(), token.get_secret_value().encode())
    if given[0].lower() != "bearer" or not fits:
        raise Unauthorized(NO_TOKEN, www_authenticate=None)


def ask(kind: str, options: dict[str, Any]) -> Answer:
    """Ask the library, within the limit on this client's requests."""
    service = current_service()
    assert service.library is not None, "it was checked before the request"
    with service.clients.request_of(request.remote_addr):
        return service.library.ask(kind, options)


def reply(kind: str, options: dict[str, Any]) -> Response:
    """The answer to a question as that to the request."""
    answer = ask(kind, options)
    if "name" not in answer.fields:
        return Response(answer.data, content_type=answer.fields["type"])
    # It writes names outside of ASCII as RFC 6266 says: headers cannot hold them as they are.
    response = send_file(
        io.BytesIO(answer.data),
        as_attachment=True,
        download_name=_file_name(answer.fields["name"]),
        conditional=False,
        etag=False,
    )
    response.content_type = answer.fields["type"]
    return response


def _file_name(name: str) -> str:
    """A name without folders."""
    return "".join("_" if letter in '/\\:*?"<>|' else letter for letter in name).strip(". ")


def documented(
    operation: str,
    command: str,
    *statuses: int,
    files: Responses | None = None,
) -> Any:
    """Documentation of an operation. Every one may answer with some problems."""
    common = (404, 429, 503)
    return library.doc(
        tags=["Library"],
        operation_id=operation,
        responses={
            **(files or {}),
            **problem_responses(*sorted({*common, *statuses}), examples=examples.PROBLEMS),
        },
        extensions=shell(command),
    )


def file_answers(**content_examples: str) -> Responses:
    """Documentation of answers that are files, by their format."""
    content = {
        CONTENT_TYPES.get(f".{name}", OTHER_TYPE).partition(";")[0]: {
            "schema": {"type": "string"},
            "example": example,
        }
        for name, example in content_examples.items()
    }
    return {200: {"description": "The file, in the format asked for", "content": content}}


QUERY: dict[str, Any] = {"location": "query", "arg_name": "options", "unknown": "raise"}
BODY: dict[str, Any] = {"location": "json", "arg_name": "options", "unknown": "raise"}
POSTED = (400, 408, 413, 422)
JSON_DATA = "-H 'Content-Type: application/json' -d"

# ------------------------------------------------------------------------------ tracks


@library.get("")
@library.output(answers.About, example=examples.ABOUT)
@documented("getLibrary", f"curl {{host}}{PREFIX}")
def about() -> Response:
    """Get the content of the library, and values that requests may use.

    A library is served if the setting `MSR_LIBRARY` names its folder.
    """
    writable = current_service().config.library_token is not None
    return reply("about", {"writable": writable})


@library.get("/names")
@library.input(schemas.NamesQuery, **QUERY)
@library.output(answers.NamesOut, example=examples.NAMES)
@documented("listNames", f"curl '{{host}}{PREFIX}/names?kind=genre'", 400)
def names(options: dict[str, Any]) -> Response:
    """List artists or genres."""
    return reply("names", options)


@library.get("/map")
@library.input(schemas.Filters, **QUERY)
@library.output(answers.Map, example=examples.MAP)
@documented("mapTracks", f"curl '{{host}}{PREFIX}/map?genre=Drone'", 400, 422)
def dots(options: dict[str, Any]) -> Response:
    """Get all tracks as points of the valence-arousal plane.

    If there are very many tracks, the answer has every second or third track, and so on.
    """
    return reply("map", options)


@library.get("/tracks")
@library.input(schemas.TracksQuery, **QUERY)
@library.output(answers.TrackPage, example=examples.PAGE)
@documented("listTracks", f"curl '{{host}}{PREFIX}/tracks?year_from=1990&limit=50'", 400, 422)
def tracks(options: dict[str, Any]) -> Response:
    """List tracks, page by page.

    Send `next` of an answer as `cursor` to get the next page.
    """
    return reply("tracks", options)


@library.get("/tracks/<int:track>")
@library.output(answers.TrackDetail, example=examples.DETAIL)
@documented("getTrack", f"curl {{host}}{PREFIX}/tracks/12")
def track(track: int) -> Response:
    """Get one track with its curve."""
    return reply("track", {"track": _number(track)})


@library.get(f"/tracks/<int:track>{AUDIO_END}")
@documented(
    "getAudio",
    f"curl -r 0-99999 {{host}}{PREFIX}/tracks/12{AUDIO_END} -o part.flac",
    416,
    files={
        200: {
            "description": "The file",
            "content": {"audio/*": {"schema": {"type": "string", "format": "binary"},
                                    "example": "the file's bytes"}},
        },
        206: {
            "description": "A part of the file, of at most 1 MB",
            "content": {"audio/*": {"schema": {"type": "string", "format": "binary"},
                                    "example": "the part's bytes"}},
        },
    },
)  # fmt: skip
def audio(track: int) -> Response:
    """Get the audio of a track.

    Only files of the library are sent, and only if they have not changed since they were indexed.
    With a `Range` header, a part of at most 1 MB is sent.
    """
    answer = ask("audio", {"track": _number(track)})
    path = os.fsdecode(answer.data)
    kind, _ = mimetypes.guess_type(path)
    return send_audio(path, kind, (answer.fields["size"], answer.fields["mtime_ns"]))


def _number(track: int) -> int:
    """The number of a track, if it can be one."""
    if track > schemas.MAX_TRACK:
        raise RequestError(
            HTTPStatus.NOT_FOUND, "track", "the library has no track of such a high number"
        )
    return track


# ------------------------------------------------------------------------------ search


@library.get("/find")
@library.input(schemas.FindQuery, **QUERY)
@library.output(answers.FindAnswer, example=examples.FOUND)
@documented("findTracks", examples.FIND_COMMAND, 400, 422)
def find(options: dict[str, Any]) -> Response:
    """Find tracks by mood, by example, by preference, or by all of them.

    Results are ranked by a product: the probability that they lie at the wanted place, given the
    model's intervals, times their similarity to the examples. Tracks that do not fit are not
    returned.
    """
    return reply("find", options)


@library.post("/path")
@library.input(schemas.PathBody, **BODY)
@library.output(answers.PlaylistOut, example=examples.PLAYLIST)
@documented(
    "makePath",
    f'curl {JSON_DATA} \'{{"stops": [{{"word": "sad"}}, {{"word": "happy"}}]}}\' '
    f"{{host}}{PREFIX}/path",
    *POSTED,
)
def path(options: dict[str, Any]) -> Response:
    """Make a playlist that moves through the plane.

    Each track begins near the end of the previous one. No song comes twice.
    """
    return reply("path", options)


@library.post("/scenes")
@library.input(schemas.ScenesBody, **BODY)
@library.output(answers.SoundtrackOut, example=examples.SOUNDTRACK)
@documented(
    "findScenes",
    f'curl {JSON_DATA} \'{{"scenes": [{{"start_s": 0, "end_s": 25, '
    f'"mood": {{"word": "calm"}}}}]}}\' {{host}}{PREFIX}/scenes',
    *POSTED,
)
def scenes(options: dict[str, Any]) -> Response:
    """Find excerpts for the scenes of a film.

    An excerpt may begin at every half second of every track.
    """
    return reply("scenes", options)


# ------------------------------------------------------------------------------ files


@library.post("/playlist")
@library.input(schemas.FileQuery, location="query", arg_name="query", unknown="raise")
@library.input(schemas.PlaylistBody, **BODY)
@documented(
    "savePlaylist",
    f"curl {JSON_DATA} '{{\"tracks\": [12, 17]}}' '{{host}}{PREFIX}/playlist?format=m3u8'",
    *POSTED,
    files=file_answers(**examples.PLAYLIST_FILES),
)
def playlist(query: dict[str, Any], options: dict[str, Any]) -> Response:
    """Get a list of tracks as a file for players.

    Its paths are relative to the folder that was added to the library: save the file there.
    """
    return reply("playlist", {**query, **options})


@library.post("/soundtrack")
@library.input(schemas.SoundtrackQuery, location="query", arg_name="query", unknown="raise")
@library.input(schemas.SoundtrackBody, **BODY)
@documented(
    "saveSoundtrack",
    f'curl {JSON_DATA} \'{{"scenes": [{{"start_s": 0, "end_s": 25, "mood": '
    f'{{"word": "calm"}}, "track": 12, "in_s": 31.5}}]}}\' '
    f"'{{host}}{PREFIX}/soundtrack?format=csv'",
    *POSTED,
    files=file_answers(**examples.SCENE_FILES),
)
def soundtrack(query: dict[str, Any], options: dict[str, Any]) -> Response:
    """Get the excerpts that were chosen for scenes as a file for editors."""
    return reply("soundtrack", {**query, **options})


# ------------------------------------------------------------------------------ preferences


@library.get("/preferences")
@library.input(schemas.ListenerQuery, **QUERY)
@library.output(answers.PreferencesOut, example=examples.PREFERENCES)
@documented("listPreferences", f"curl {{host}}{PREFIX}/preferences", 400)
def list_preferences(options: dict[str, Any]) -> Response:
    """List the ratings of a listener, and what was learned from them."""
    return reply("preferences", options)


@library.post("/preferences")
@library.input(schemas.PreferenceBody, **BODY)
@library.output(answers.Noted, example=examples.NOTED)
@documented(
    "notePreference",
    f"curl -H 'Authorization: Bearer TOKEN' {JSON_DATA} '{{\"track\": 12, \"kind\": \"like\"}}' "
    f"{{host}}{PREFIX}/preferences",
    401, 403, *POSTED,
)  # fmt: skip
def note_preference(options: dict[str, Any]) -> Response:
    """Store that a listener likes or skips a track, or gives it stars.

    It needs the token of the library as a bearer token.
    """
    return reply("prefer", options)


@library.delete("/preferences")
@library.input(schemas.ForgetQuery, **QUERY)
@library.output(answers.Forgotten, example=examples.FORGOTTEN)
@documented(
    "forgetPreferences",
    f"curl -X DELETE -H 'Authorization: Bearer TOKEN' '{{host}}{PREFIX}/preferences?track=12'",
    400, 401, 403, 422,
)  # fmt: skip
def forget_preferences(options: dict[str, Any]) -> Response:
    """Delete the rating of a track by a listener, or all ratings of a listener.

    It needs the token of the library as a bearer token.
    """
    return reply("forget", options)


# ------------------------------------------------------------------------------ OpenSubsonic


@library.get("/rest/getSonicSimilarTracks")
@library.input(schemas.SimilarQuery, location="query", arg_name="options", unknown="exclude")
@library.output(answers.Subsonic, example=examples.SUBSONIC)
@documented(
    "getSonicSimilarTracks",
    f"curl '{{host}}{PREFIX}/rest/getSonicSimilarTracks?id=12&count=5'",
    400,
)
def similar(options: dict[str, Any]) -> Response:
    """Get tracks that sound similar, in the shape of OpenSubsonic.

    Only the answer has that shape. Errors are problem details, and the answer is always JSON.
    """
    return reply("similar", options)


@library.get("/rest/findSonicPath")
@library.input(schemas.SonicPathQuery, location="query", arg_name="options", unknown="exclude")
@library.output(answers.Subsonic, example=examples.SUBSONIC)
@documented(
    "findSonicPath",
    f"curl '{{host}}{PREFIX}/rest/findSonicPath?startSongId=12&endSongId=17'",
    400, 422,
)  # fmt: skip
def sonic_path(options: dict[str, Any]) -> Response:
    """Get a path from one track to another, in the shape of OpenSubsonic.

    The path moves through the valence-arousal plane. It begins and ends with the given tracks.
    """
    return reply("sonic path", options)

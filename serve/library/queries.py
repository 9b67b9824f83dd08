"""Questions about the library, and their answers. The options are what the schemas give."""

from __future__ import annotations

import base64
import os
from collections.abc import Callable, Sequence
from http import HTTPStatus
from typing import Any

import numpy as np

from msr_utils.constants import TARGETS
from msr_utils.library import filters as hard
from msr_utils.library import preferences as learned
from msr_utils.library.drawn import DrawnArc, even_arc
from msr_utils.library.exports import PLAYLIST_FORMATS, SCENE_FORMATS
from msr_utils.library.filters import Filters
from msr_utils.library.library import View
from msr_utils.library.playlists import ISO_HOLD, End, Playlist, make_playlist
from msr_utils.library.preferences import LIKE, SKIP, value_of_stars
from msr_utils.library.records import Preference, TrackInfo
from msr_utils.library.regions import WITHIN, Region, point_region
from msr_utils.library.scenes import find_music
from msr_utils.library.search import CONFIDENT, Query, find
from msr_utils.library.words import WORDS, place, words_region
from serve.library.answers import (
    json_answer,
    plain_answer,
    to_json,
    track_detail,
    track_json,
    tracks_json,
)
from serve.library.files import playlist_file, soundtrack_file
from serve.library.scenes import wanted_scenes
from serve.library.session import Session, mean_of, named
from serve.request_errors import RequestError
from serve.tasks import DONE, Answer

MAX_DOTS = 20_000
"""Tracks on the map. Of more, every second, third ... is shown."""


# ------------------------------------------------------------------------------ tracks


def about(session: Session, options: dict[str, Any]) -> Answer:
    """What is in the library, and what can be asked."""
    catalogue = session.library.catalogue
    words = [{"word": w, **dict(zip(TARGETS, place(w), strict=True))} for w in sorted(WORDS)]
    return json_answer(
        {
            "tracks": int(session.view.visible.sum()),
            "files": catalogue.count_states(),
            "model": catalogue.facts().get("model_name", ""),
            "writable": options["writable"],
            "words": words,
            "playlist_formats": [suffix[1:] for suffix in PLAYLIST_FORMATS],
            "scene_formats": [suffix[1:] for suffix in SCENE_FORMATS],
        }
    )


def names(session: Session, options: dict[str, Any]) -> Answer:
    """Artists or genres."""
    found = session.library.catalogue.names(options["kind"], options["part"])
    listed = sorted(found, key=lambda name: (len(name), name.casefold()))[: options["limit"]]
    return json_answer({"names": sorted(listed, key=str.casefold)})


def dots(session: Session, options: dict[str, Any]) -> Answer:
    """All tracks as points of the plane, in columns."""
    view = session.view
    mask, removed = _filtered(view, options)
    rows = np.flatnonzero(mask)
    step = -(-len(rows) // MAX_DOTS) or 1
    shown = rows[::step]
    columns = {t: np.round(view.numbers(f"mean_{t}")[shown].astype(float), 4) for t in TARGETS}
    return plain_answer(
        {
            "tracks": int(view.visible.sum()),
            "passing": len(rows),
            "id": view.ids[shown].tolist(),
            **{target: column.tolist() for target, column in columns.items()},
            "removed": to_json(removed),
        }
    )


def tracks(session: Session, options: dict[str, Any]) -> Answer:
    """Tracks by their number, or page by page."""
    view = session.view
    if options["id"]:
        wanted = np.array(options["id"], np.int64)
        rows = np.flatnonzero(np.isin(view.ids, wanted) & view.visible)
        # In the order of the request. A track that is gone is left out.
        by_id = {int(view.ids[row]): row for row in rows}
        rows = np.array([by_id[i] for i in dict.fromkeys(options["id"]) if i in by_id], np.int64)
        return json_answer(
            {"tracks": tracks_json(view, rows), "next": None, "passing": len(rows), "removed": []}
        )
    mask, removed = _filtered(view, options)
    rows = np.flatnonzero(mask)
    order = rows[np.argsort(view.ids[rows], kind="stable")]
    first = int(np.searchsorted(view.ids[order], _after(options["cursor"]), side="right"))
    page = order[first : first + options["limit"]]
    more = first + len(page) < len(order)
    return json_answer(
        {
            "tracks": tracks_json(view, page),
            "next": _cursor(int(view.ids[page[-1]])) if more else None,
            "passing": len(rows),
            "removed": removed,
        }
    )


def _cursor(track: int) -> str:
    """Where the next page begins. Nobody but this module needs to know what it says."""
    return base64.urlsafe_b64encode(f"after {track}".encode()).decode().rstrip("=")


def _after(cursor: str | None) -> int:
    if not cursor:
        return -1
    try:
        text = base64.urlsafe_b64decode(cursor.encode() + b"=" * (-len(cursor) % 4)).decode()
        word, number = text.split(" ")
        if word != "after" or not 0 <= int(number) < 2**63:
            raise ValueError
        return int(number)
    except ValueError:
        message = "no cursor of this library; take it from 'next' of an answer"
        raise RequestError(HTTPStatus.BAD_REQUEST, "cursor", message) from None


def track(session: Session, options: dict[str, Any]) -> Answer:
    """One track with its curve."""
    view = session.view
    row = session.row(view, options["track"], status=HTTPStatus.NOT_FOUND)
    return plain_answer(track_detail(view, row))


def audio_file(session: Session, options: dict[str, Any]) -> Answer:
    """True path of a track's file, for the front: it is not passed on. With size and time."""
    track, catalogue = options["track"], session.library.catalogue
    session.row(session.view, track, status=HTTPStatus.NOT_FOUND)
    known = catalogue.known_track(track)
    if known is None:  # It was removed since the view was made.
        raise RequestError(HTTPStatus.NOT_FOUND, "track", f"the library has no track {track}")
    path = catalogue.paths([track])[track]
    return Answer(DONE, {"size": known.size, "mtime_ns": known.mtime_ns}, os.fsencode(path))


# ------------------------------------------------------------------------------ search


def search(session: Session, options: dict[str, Any]) -> Answer:
    """Find tracks by mood, by example, by preference."""
    view = session.view
    query = Query(
        _region(options),
        tuple(session.row(view, one, "like") for one in options["like"]),
        tuple(session.row(view, one, "unlike") for one in options["unlike"]),
        _filters(options),
        options["listener"],
        options["confidence"] or CONFIDENT,
        options["limit"],
    )
    with named("filters"):
        answer = find(view, query)
    note = answer.note.replace("--confidence ", "confidence=")
    return json_answer({**to_json(answer), "note": note})


def _region(options: dict[str, Any]) -> Region | None:
    region = None
    if options["valence"] is not None or options["arousal"] is not None:
        region = point_region(options["valence"], options["arousal"], options["within"] or WITHIN)
    if options["words"]:
        with named("words"):
            by_words = words_region(options["words"])
            region = by_words if region is None else region.common(by_words)
    return region


def _filters(options: dict[str, Any]) -> Filters:
    ranges = {
        name: (options[f"{name}_from"], options[f"{name}_to"])
        for name in ("year", "seconds", "tempo")
    }
    lists = {name: tuple(options[name]) for name in ("artist", "not_artist", "genre", "not_genre")}
    return Filters(**lists, **ranges, certainty=options["certainty"])


def _filtered(view: View, options: dict[str, Any]) -> tuple[np.ndarray, Any]:
    with named("filters"):
        return hard.apply(view, _filters(options))


# ------------------------------------------------------------------------------ playlists


def path(session: Session, options: dict[str, Any]) -> Answer:
    """A playlist that moves through the plane."""
    view = session.view
    stops = [_stop(session, view, n, stop) for n, stop in enumerate(options["stops"])]
    with named("path"):
        playlist = make_playlist(
            view,
            stops[0],
            stops[-1],
            options["minutes"],
            options["kind"],
            _filters(options["filters"]),
            options["spacing"],
            path_through(stops, options["kind"]) if len(stops) > 2 else None,
        )
    return json_answer(playlist)


def path_through(stops: Sequence[End], kind: str) -> DrawnArc:
    """A path through places at constant speed; with ``iso`` it first stays where it begins."""
    places = [stop.place for stop in stops]
    lengths = np.hypot(*np.diff(places, axis=0).T)
    if not lengths.any():
        return even_arc(places)
    hold = ISO_HOLD / (1 - ISO_HOLD) * float(lengths.sum()) if kind == "iso" else 0.0
    points = [(0.0, *places[0])]
    for length, place_ in zip([hold, *lengths], [places[0], *places[1:]], strict=True):
        if length > 0:
            points.append((points[-1][0] + float(length), *place_))
    return DrawnArc(tuple(points))


def _stop(session: Session, view: View, n: int, stop: dict[str, Any]) -> End:
    field = f"stops.{n}"
    if stop.get("track") is not None:
        row = session.row(view, stop["track"], field)
        return End(mean_of(view, row), str(stop["track"]), row)
    if stop.get("word"):
        with named(field):
            return End(place(stop["word"]), stop["word"])
    return End((stop["valence"], stop["arousal"]), "")


def scenes(session: Session, options: dict[str, Any]) -> Answer:
    """Excerpts for scenes."""
    view = session.view
    wanted = [scene for scene, _ in wanted_scenes(options["scenes"])]
    with named("filters"):
        return json_answer(find_music(view, wanted, _filters(options["filters"]), options["count"]))


# ------------------------------------------------------------------------------ preferences


def preferences(session: Session, options: dict[str, Any]) -> Answer:
    """What a listener said, and what was learned from it."""
    catalogue, view = session.library.catalogue, session.view
    stated = catalogue.preferences(options["listener"])
    model = learned.fit(view, stated) if stated else None
    tracks = _tracks_of(session, stated)
    return json_answer(
        {
            "listener": options["listener"],
            "preferences": [
                {"track": tracks.get(one.audio), "kind": one.kind, "value": one.value, "at": one.at}
                for one in stated
            ],
            "mood_weights": (
                None if model is None else dict(zip(TARGETS, model.mood_weights, strict=True))
            ),
        }
    )


def _tracks_of(session: Session, stated: list[Preference]) -> dict[str, TrackInfo]:
    """Track of each audio that is in the library."""
    catalogue = session.library.catalogue
    known = {one.audio: catalogue.same_audio(one.audio)[:1] for one in stated}
    infos = catalogue.infos(each.id for found in known.values() for each in found)
    return {audio: infos[found[0].id] for audio, found in known.items() if found}


def _audio_of(session: Session, number: int) -> TrackInfo:
    view = session.view
    (info,) = view.infos(np.array([session.row(view, number)]))
    if not info.audio:
        raise RequestError(422, "track", f"the library has no track {number}")
    return info


def prefer(session: Session, options: dict[str, Any]) -> Answer:
    """Note what a listener says about a track."""
    info = _audio_of(session, options["track"])
    values = {"like": LIKE, "skip": SKIP}
    kind = options["kind"]
    value = values[kind] if kind in values else value_of_stars(options["stars"])
    session.library.catalogue.prefer(options["listener"], info.audio, kind, value)
    noted = {"listener": options["listener"], "track": track_json(info)}
    return json_answer({**noted, "kind": kind, "value": value})


def forget(session: Session, options: dict[str, Any]) -> Answer:
    """Delete what a listener said about a track, or all of it."""
    audio = None if options["track"] is None else [_audio_of(session, options["track"]).audio]
    count = session.library.catalogue.forget(options["listener"], audio)
    return json_answer({"forgotten": count})


# ------------------------------------------------------------------------------ OpenSubsonic


def similar(session: Session, options: dict[str, Any]) -> Answer:
    """Tracks that sound similar, for ``getSonicSimilarTracks``."""
    from serve.library.opensubsonic import matches

    view = session.view
    row = session.row(view, options["id"], "id", HTTPStatus.NOT_FOUND)
    found = find(view, Query(like=(row,), limit=options["count"]))
    pairs = [(one.track, ((one.similarity or 0.0) + 1) / 2) for one in found.results]
    return json_answer(matches(pairs))


def sonic_path(session: Session, options: dict[str, Any]) -> Answer:
    """A path between two tracks, for ``findSonicPath``."""
    from serve.library.opensubsonic import likeness, matches

    view = session.view
    rows = [
        session.row(view, options[name], name, HTTPStatus.NOT_FOUND)
        for name in ("startSongId", "endSongId")
    ]
    if rows[0] == rows[1]:
        infos = view.infos(np.array(rows[:1]))
    else:
        infos = _tracks_between(view, rows, options["count"])
    return json_answer(matches(zip(infos, likeness(view, rows[0], infos), strict=True)))


def _tracks_between(view: View, rows: list[int], count: int) -> list[TrackInfo]:
    """At most so many tracks, of which the first and the last are given."""
    typical = float(np.median(view.numbers("seconds")[view.visible]))
    stops = [End(mean_of(view, row), "", row) for row in rows]
    minutes = max(count * typical, float(view.numbers("seconds")[rows].sum())) / 60
    with named("path"):
        playlist: Playlist = make_playlist(view, stops[0], stops[1], minutes)
    infos = [step.track for step in playlist.steps]
    kept = np.unique(np.linspace(0, len(infos) - 1, min(count, len(infos))).round().astype(int))
    return [infos[k] for k in kept]


QUERIES: dict[str, Callable[[Session, dict[str, Any]], Answer]] = {
    "about": about,
    "names": names,
    "map": dots,
    "tracks": tracks,
    "track": track,
    "audio": audio_file,
    "find": search,
    "path": path,
    "scenes": scenes,
    "playlist": playlist_file,
    "soundtrack": soundtrack_file,
    "preferences": preferences,
    "prefer": prefer,
    "forget": forget,
    "similar": similar,
    "sonic path": sonic_path,
}
"""Kind of a question -> what answers it."""

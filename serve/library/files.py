"""Playlists and soundtracks as files to save, in the formats of `msr_utils.library.exports`."""

from __future__ import annotations

import os
from collections.abc import Sequence
from http import HTTPStatus
from typing import Any

import numpy as np

from msr_utils.library.exports import PLAYLIST_FORMATS, SCENE_FORMATS, Entry
from msr_utils.library.records import TrackInfo
from msr_utils.library.scenes import SceneMusic, Soundtrack, excerpt_from
from msr_utils.library.timecode import FPS, check_fps
from serve.library.answers import file_answer
from serve.library.content_types import CONTENT_TYPES, OTHER_TYPE
from serve.library.scenes import wanted_scenes
from serve.library.session import Session, named
from serve.request_errors import RequestError
from serve.tasks import Answer


def playlist_file(session: Session, options: dict[str, Any]) -> Answer:
    """A list of tracks as a file."""
    suffix = _suffix(options["format"], PLAYLIST_FORMATS)
    view = session.view
    rows = [session.row(view, one, "tracks") for one in options["tracks"]]
    entries = _entries(session, view.infos(np.array(rows, np.int64)))
    with named("format"):
        content = PLAYLIST_FORMATS[suffix](entries)
    return file_answer(content, _content_type(suffix), f"{options['name']}{suffix}")


def soundtrack_file(session: Session, options: dict[str, Any]) -> Answer:
    """The choices for scenes as a file."""
    suffix = _suffix(options["format"], SCENE_FORMATS)
    fps = options["fps"] or FPS
    with named("fps"):
        check_fps(fps)
    view, chosen = session.view, []
    for n, (scene, given) in enumerate(wanted_scenes(options["scenes"])):
        if given["track"] is None:
            chosen.append(SceneMusic(scene, (), None, None))
            continue
        field = f"scenes.{n}.track"
        row = session.row(view, given["track"], field)
        with named(field):
            candidate = excerpt_from(view, scene, row, given["in_s"])
        chosen.append(SceneMusic(scene, (candidate,), 0, None))
    infos = {m.candidates[0].track.id: m.candidates[0].track for m in chosen if m.candidates}
    entries = {one.track.id: one for one in _entries(session, [*infos.values()])}
    with named("format"):
        content = SCENE_FORMATS[suffix](Soundtrack(tuple(chosen), ()), entries, fps)
    return file_answer(content, _content_type(suffix), f"{options['name']}{suffix}")


def _entries(session: Session, infos: Sequence[TrackInfo]) -> list[Entry]:
    """Entries whose paths are relative to the folder that was added to the library."""
    catalogue = session.library.catalogue
    paths, roots = catalogue.paths(info.id for info in infos), catalogue.roots()
    return [Entry(_relative(paths[info.id], roots), info) for info in infos]


def _relative(path: str, roots: Sequence[str]) -> str:
    holding = [root for root in roots if path.startswith(os.path.join(root, ""))]
    return os.path.relpath(path, max(holding, key=len)) if holding else os.path.basename(path)


def _suffix(name: str, formats: dict[str, Any]) -> str:
    suffix = f".{name.lower()}"
    if suffix not in formats:
        known = ", ".join(each[1:] for each in formats)
        message = f"{name!r} is unknown; choose from: {known}"
        raise RequestError(HTTPStatus.UNPROCESSABLE_ENTITY, "format", message)
    return suffix


def _content_type(suffix: str) -> str:
    return CONTENT_TYPES.get(suffix, OTHER_TYPE)

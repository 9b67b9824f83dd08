"""Scenes of a request as those of the library."""

from __future__ import annotations

from typing import Any

from msr_utils.library.drawn import DrawnArc
from msr_utils.library.scenes import Scene
from msr_utils.library.shards import LibraryError
from msr_utils.library.words import place
from serve.library.session import named


def wanted_scenes(given: list[dict[str, Any]]) -> list[tuple[Scene, dict[str, Any]]]:
    """Scenes, each with what the request says about it.

    Raises
    ------
    RequestError
        If a word is unknown, or the points of a curve do not lie in the scene.
    """
    scenes = []
    for n, one in enumerate(given):
        with named(f"scenes.{n}"):
            scenes.append((_scene(one, n), one))
    return scenes


def _scene(given: dict[str, Any], n: int) -> Scene:
    start, end = given["start_s"], given["end_s"]
    label = given["label"] or f"scene {n + 1}"
    drawn = None
    if given["curve"]:
        points = tuple((p["at_s"], p["valence"], p["arousal"]) for p in given["curve"])
        drawn = DrawnArc(_whole(points, end - start))
        first, last = drawn.start, drawn.end
    else:
        first = _mood(given["mood"])
        last = _mood(given["to"]) if given["to"] else first
    scene = Scene(start, end, first, last, label, drawn)
    scene.arc  # noqa: B018  It raises if the scene is too short or its points are wrong.
    return scene


def _mood(given: dict[str, Any]) -> tuple[float, float]:
    return place(given["word"]) if given.get("word") else (given["valence"], given["arousal"])


def _whole(
    points: tuple[tuple[float, float, float], ...], length: float
) -> tuple[tuple[float, float, float], ...]:
    """Points from the beginning of a scene to its end: the first and the last value go on."""
    if points[0][0] < 0 or points[-1][0] > length + 1e-6:
        raise LibraryError("library: the points of a curve must lie within the scene")
    if points[0][0] > 0:
        points = ((0.0, *points[0][1:]), *points)
    if points[-1][0] < length:
        points = (*points, (length, *points[-1][1:]))
    return points

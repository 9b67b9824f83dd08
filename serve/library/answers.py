"""The library's dataclasses as JSON, in one place.

A track has the name of its file, never its folder: clients need not know where music lies.
"""

from __future__ import annotations

import json
import ntpath
import posixpath
from dataclasses import fields, is_dataclass
from typing import Any

import numpy as np

from msr_utils.affect import QUADRANTS, quadrant
from msr_utils.constants import FRAME_SECONDS, SCALE, TARGETS
from msr_utils.io import plain
from msr_utils.library.library import View
from msr_utils.library.numbers import END_SEGMENTS
from msr_utils.library.records import TrackInfo
from serve.library.paths import audio_path
from serve.tasks import DONE, Answer

DECIMALS = 4
"""Of numbers in answers. Stored values have steps of 0.008."""

JSON = "application/json"


def json_answer(value: Any) -> Answer:
    """An answer with any value that `to_json` takes."""
    return plain_answer(to_json(value))


def plain_answer(value: Any) -> Answer:
    """An answer with what is JSON already. To convert long columns would take most of the time."""
    # NaN and infinity are no JSON: this would fail rather than write them.
    text = json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    return Answer(DONE, {"type": JSON}, text.encode())


def file_answer(content: bytes, content_type: str, name: str) -> Answer:
    """An answer that browsers save as a file."""
    return Answer(DONE, {"type": content_type, "name": name}, content)


def to_json(value: Any) -> Any:
    """Turn results of the library into what JSON can hold."""
    if isinstance(value, TrackInfo):
        return track_json(value)
    if is_dataclass(value) and not isinstance(value, type):
        return {field.name: to_json(getattr(value, field.name)) for field in fields(value)}
    if isinstance(value, dict):
        return {str(key): to_json(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [to_json(item) for item in value]
    value = plain(value)
    return round(value, DECIMALS) if isinstance(value, float) else value


def track_json(info: TrackInfo) -> dict[str, Any]:
    """A track."""
    return {
        "id": info.id,
        "name": info.name,
        "artist": info.artist,
        "title": info.title,
        "album": info.album,
        "genre": info.genre,
        "year": info.year,
        "tempo": to_json(info.tempo),
        "seconds": to_json(info.seconds),
        "file": file_name(info.path),
        "audio": audio_path(info.id),
    }


def file_name(path: str) -> str:
    """The last part of an absolute path, of Windows or of another system.

    A library that several machines share has paths of all of them. Outside of Windows, the name of
    a file may have a backslash.
    """
    return (posixpath if path.startswith("/") else ntpath).basename(path)


def tracks_json(view: View, rows: np.ndarray) -> list[dict[str, Any]]:
    """Tracks with their means, the intervals of these and their quadrants."""
    values = {
        name: [view.numbers(f"{name}_{target}")[rows].tolist() for target in TARGETS]
        for name in ("mean", "half_width")
    }
    certainty = view.numbers("certainty")[rows].tolist()
    tracks = []
    for k, info in enumerate(view.infos(rows)):
        mean = [values["mean"][n][k] for n in range(2)]
        half = [values["half_width"][n][k] for n in range(2)]
        ends = [
            [max(m - h, SCALE[0]), min(m + h, SCALE[1])] for m, h in zip(mean, half, strict=True)
        ]
        where = quadrant(*mean)
        tracks.append(
            {
                **track_json(info),
                "predicted": to_json(dict(zip(TARGETS, mean, strict=True))),
                "interval": to_json(dict(zip(TARGETS, ends, strict=True))),
                "certainty": to_json(certainty[k]),
                "quadrant": {"name": where.name, "words": where.words},
            }
        )
    return tracks


def track_detail(view: View, row: int) -> dict[str, Any]:
    """A track with its curve."""
    (track,) = tracks_json(view, np.array([row]))
    curve = view.curve(row)
    columns = dict(zip(TARGETS, np.round(curve.T.astype(np.float64), DECIMALS), strict=True))
    shares = {q.name: to_json(view.numbers(f"share_{q.name}")[row]) for q in QUADRANTS}
    ends = {
        name: {t: to_json(view.numbers(f"{name}_{t}")[row]) for t in TARGETS}
        for name in ("start", "end")
    }
    return {
        **track,
        **ends,
        "end_seconds": END_SEGMENTS * 10,
        "share": shares,
        "times_s": (np.arange(1, len(curve) + 1) * FRAME_SECONDS).tolist(),
        **{target: column.tolist() for target, column in columns.items()},
    }

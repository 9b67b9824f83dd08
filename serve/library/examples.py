"""Examples of answers about the library, for the OpenAPI document."""

from __future__ import annotations

from typing import Any

from serve.library.paths import PREFIX, audio_path
from serve.problems import Problem

NOT_SERVED = (
    "none is served here; start the service with MSR_LIBRARY=FOLDER, the folder of a library that "
    "'msr library add' made"
)
"""What is said where there is no library."""

READ_ONLY = (
    "the library is read-only; start the service with MSR_LIBRARY_TOKEN and send that token as "
    "'Authorization: Bearer TOKEN'"
)
"""What is said where nobody may change anything."""

NO_TOKEN = "this needs the token of the library: send 'Authorization: Bearer TOKEN'"
"""What is said to whoever has no token."""

PROBLEMS = {
    400: Problem(400, "valence: Must be greater than or equal to -1 and less than or equal to 1.",
                 "valence"),
    404: Problem(404, f"library: {NOT_SERVED}", "library"),
    408: Problem(408, "the request did not arrive completely: nothing came for 60 s; send it "
                      "again, or a smaller file"),
    413: Problem(413, "the body is larger than the limit of 256 kB; ask for less at a time"),
    415: Problem(415, "Content-Type: 'text/plain'; send JSON with the header 'Content-Type: "
                      "application/json'", "Content-Type"),
    422: Problem(422, "words: the word 'merry' is unknown; known: afraid, alarmed, angry", "words"),
    503: Problem(503, "the service is busy (waiting questions to the library: 16); try again in "
                      "5 s"),
}  # fmt: skip
"""Examples of problems, where they differ from those of other routes."""

TRACK: dict[str, Any] = {
    "id": 12, "name": "Nobody - Third tone", "artist": "Nobody", "title": "Third tone",
    "album": "Tones", "genre": "Drone", "year": 1999, "tempo": None, "seconds": 184.0,
    "file": "third.flac", "audio": audio_path(12),
}  # fmt: skip

_PLACED = {
    **TRACK,
    "predicted": {"valence": 0.31, "arousal": -0.22},
    "interval": {"valence": [0.03, 0.59], "arousal": [-0.52, 0.08]},
    "certainty": 0.87,
    "quadrant": {"name": "Q4", "words": "calm, content"},
}

_REMOVED = [{"filter": "genre Drone", "tracks": 311}]

ABOUT = {
    "tracks": 400, "files": {"analysed": 400, "unreadable": 1}, "model": "full",
    "writable": False, "words": [{"word": "calm", "valence": 0.36, "arousal": -0.35}],
    "playlist_formats": ["m3u8", "xspf", "jspf", "csv"],
    "scene_formats": ["csv", "txt", "otio", "edl"],
}  # fmt: skip

NAMES = {"names": ["Drone", "Noise"]}

MAP = {
    "tracks": 400, "passing": 2, "id": [12, 17], "valence": [0.31, 0.28],
    "arousal": [-0.22, -0.31], "removed": _REMOVED,
}  # fmt: skip

PAGE = {"tracks": [_PLACED], "next": "YWZ0ZXIgMTI", "passing": 89, "removed": _REMOVED}

DETAIL = {
    **_PLACED,
    "start": {"valence": 0.2, "arousal": -0.3},
    "end": {"valence": 0.4, "arousal": -0.1},
    "end_seconds": 20,
    "share": {"Q1": 0.1, "Q2": 0.0, "Q3": 0.1, "Q4": 0.8},
    "times_s": [0.5, 1.0],
    "valence": [0.21, 0.22],
    "arousal": [-0.31, -0.3],
}

FOUND = {
    "results": [
        {
            "track": TRACK, "score": 0.71, "probability": 0.71, "similarity": None,
            "preference": None, "because": None, "predicted": _PLACED["predicted"],
            "interval": _PLACED["interval"], "certainty": 0.87,
            "closest": {"start_s": 40.0, "end_s": 50.0, "valence": 0.36, "arousal": -0.33},
        }
    ],
    "wanted": {"valence": [0.01, 1.0], "arousal": [-1.0, 0.0], "centre": [0.36, -0.35],
               "label": "calm"},
    "confident": 1, "less_confident": 14, "tracks": 400, "removed": [],
    "versions_left_out": 0,
    "note": "only 1 confident match (probability at least 50%); 14 more with at least 25%: "
            "confidence=0.25",
}  # fmt: skip

PLAYLIST = {
    "steps": [
        {
            "track": TRACK, "start_s": 0.0, "wanted_start": [-0.44, -0.23],
            "wanted_end": [-0.2, -0.1], "predicted_start": [-0.41, -0.2],
            "predicted_end": [-0.22, -0.12], "gap": 0.0,
        }
    ],
    "seconds": 184.0, "mean_distance": 0.04, "mean_gap": 0.0, "removed": [], "notes": [],
}  # fmt: skip

_CANDIDATE = {
    "track": TRACK, "in_s": 31.5, "out_s": 56.5, "distance": 0.06,
    "predicted_start": [-0.4, -0.2], "predicted_end": [0.3, -0.3], "half_width": [0.28, 0.3],
}  # fmt: skip

SOUNDTRACK = {
    "scenes": [
        {
            "scene": {"start_s": 0.0, "end_s": 25.0, "start_mood": [-0.44, -0.23],
                      "end_mood": [0.36, -0.35], "label": "Opening"},
            "candidates": [_CANDIDATE], "chosen": 0, "gap": None,
        }
    ],
    "removed": [],
}  # fmt: skip

PREFERENCES = {
    "listener": "me",
    "preferences": [{"track": TRACK, "kind": "like", "value": 1.0, "at": "2026-01-01T10:00:00"}],
    "mood_weights": {"valence": 0.4, "arousal": -0.1},
}

NOTED = {"listener": "me", "track": TRACK, "kind": "like", "value": 1.0}

FORGOTTEN = {"forgotten": 1}

SUBSONIC = {
    "subsonic-response": {
        "status": "ok", "version": "1.16.1", "type": "msr", "serverVersion": "0.3.0",
        "openSubsonic": True,
        "sonicMatch": [
            {
                "entry": {"id": "12", "isDir": False, "title": "Third tone", "duration": 184,
                          "type": "music", "artist": "Nobody", "suffix": "flac"},
                "similarity": 0.93,
            }
        ],
    }
}  # fmt: skip

PLAYLIST_FILES = {
    "m3u8": "#EXTM3U\n#EXTINF:184,Nobody - Third tone\nTones/third.flac\n",
    "xspf": "<playlist version=\"1\">...</playlist>",
    "jspf": '{"playlist": {"track": [{"location": ["Tones/third.flac"]}]}}\n',
    "csv": "file,artist,title,seconds\nTones/third.flac,Nobody,Third tone,184.0\n",
}  # fmt: skip

SCENE_FILES = {
    "csv": "scene,start_s,end_s,file,in_s,out_s,distance\n"
           "Opening,0,25,Tones/third.flac,31.5,56.5,0.0600\n",
    "txt": "0.000000\t25.000000\tOpening: Nobody - Third tone from 31.5 s\n",
    "other": "a file for editors",
}  # fmt: skip

FIND_COMMAND = f"curl '{{host}}{PREFIX}/find?words=calm&limit=5'"

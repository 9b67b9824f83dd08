"""Frames of a film and their timecode.

Timecode that is written does not drop frames; with a rate such as 23.976 it therefore runs slower
than a clock, as it does in the editors.
"""

from __future__ import annotations

import math
import re

from msr_utils.library.limits import FPS_RANGE
from msr_utils.library.shards import UsageError

FPS = 24.0
"""Frames per second, unless others are given."""

START_SECONDS = 3600
"""Timecode at which films begin: that of Resolve and of most others, 01:00:00:00."""

DROPPED_PER_MINUTE = {30: 2, 60: 4}
"""Whole rate -> numbers that drop-frame timecode leaves out in nine of ten minutes."""


def frames(seconds: float, fps: float) -> int:
    """Number of the frame at a time."""
    return round(seconds * fps)


def timecode(frame: int, fps: float) -> str:
    """Timecode of a frame, ``hh:mm:ss:ff``, without dropped frames."""
    whole = round(fps)
    seconds, rest = divmod(frame, whole)
    return f"{seconds // 3600:02d}:{seconds // 60 % 60:02d}:{seconds % 60:02d}:{rest:02d}"


def timecode_frames(text: str, fps: float) -> int:
    """Number of the frame of a timecode; a semicolon or a comma before the frames means dropped
    frames.

    Raises
    ------
    LibraryError
        If the text is no timecode of this rate.

    Examples
    --------
    >>> timecode_frames("00:01:00;02", 29.97)
    1800
    """
    found = re.fullmatch(r"(\d\d):(\d\d):(\d\d)([:;.,])(\d\d)", text.strip())
    whole = round(fps)
    if found is None or int(found[5]) >= whole or int(found[3]) > 59 or int(found[2]) > 59:
        raise UsageError(f"library: {text!r} is no timecode hh:mm:ss:ff of {fps:g} frames per s")
    hours, minutes, seconds, rest = (int(found[k]) for k in (1, 2, 3, 5))
    minutes += 60 * hours
    number = (60 * minutes + seconds) * whole + rest
    if found[4] == ":":
        return number
    return number - DROPPED_PER_MINUTE.get(whole, 0) * (minutes - minutes // 10)


def start_frame(timeline_start: str, fps: float) -> int:
    """Number of the frame at which a film begins: of a timecode, or `START_SECONDS` if it is empty.

    Raises
    ------
    LibraryError
        If the text is no timecode of this rate.
    """
    if timeline_start:
        return timecode_frames(timeline_start, fps)
    return START_SECONDS * round(fps)


def check_fps(fps: float) -> None:
    """Refuse a rate that no film has.

    Raises
    ------
    LibraryError
    """
    low, high = FPS_RANGE
    if not (math.isfinite(fps) and low <= fps < high + 0.5):
        raise UsageError(f"library: --fps must lie between {low} and {high}, not {fps:g}")

"""Reads the notes of a MIDI file."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from msr_utils.corpora.base import CorpusError
from msr_utils.notes import Notes, _no_pedals

MIDI_SUFFIXES = (".mid", ".midi")

MAX_NOTES = 200_000
"""Most notes of a file. A long piano piece has some ten thousand."""

MAX_SECONDS = 6 * 3600.0
"""Latest end of a note in seconds. A later one is damage."""


def read_midi(path: Path) -> Notes:
    """Read the notes of a MIDI file. Drums are left out.

    Parameters
    ----------
    path : Path

    Raises
    ------
    CorpusError
        If the file cannot be read, is no MIDI file, or holds no note or implausibly many.

    Notes
    -----
    The reader is symusic: Liao, Luo and others (2024), "symusic: a swift and unified toolkit for
    symbolic music processing", ISMIR late-breaking demos.
    """
    import symusic

    path = Path(path)
    try:
        content = path.read_bytes()
    except OSError as error:
        raise CorpusError(
            f"{path.name}: cannot be read ({error.strerror or error})", path.name
        ) from error
    try:
        score = symusic.Score.from_midi(content, ttype="second")
        tracks = [track for track in score.tracks if not track.is_drum]
        notes = [track.notes.numpy() for track in tracks]
        pedals = [track.pedals.numpy() for track in tracks if len(track.pedals)]
    except Exception as error:  # the parser raises what it likes
        raise CorpusError(f"{path.name}: not a MIDI file ({error})", path.name) from error
    start, length, pitch, velocity = (
        np.concatenate([np.asarray(part[name]) for part in notes] or [np.empty(0)])
        for name in ("time", "duration", "pitch", "velocity")
    )
    down = [np.stack([p["time"], p["time"] + p["duration"]], axis=1) for p in pedals]
    return _checked(
        path.name, start, length, pitch, velocity, np.concatenate([_no_pedals(), *down])
    )


def _checked(
    name: str,
    start: np.ndarray,
    length: np.ndarray,
    pitch: np.ndarray,
    velocity: np.ndarray,
    pedals: np.ndarray,
) -> Notes:
    """Sorted notes within plausible limits."""
    if not len(start):
        raise CorpusError(f"{name}: holds no note", name)
    if len(start) > MAX_NOTES:
        raise CorpusError(f"{name}: {len(start)} notes; at most {MAX_NOTES} are plausible", name)
    start, length = start.astype(np.float64), length.astype(np.float64)
    end = (start + length).max()
    if not np.isfinite(end) or end > MAX_SECONDS:
        raise CorpusError(f"{name}: a note ends at {end:g} s; look for damage", name)
    order = np.lexsort((pitch, start))
    return Notes(
        start[order],
        np.maximum(length[order], 1e-3),
        pitch[order].astype(np.int64),
        velocity[order].astype(np.int64).clip(1, 127),
        pedals[np.argsort(pedals[:, 0], kind="stable")].astype(np.float64),
    )

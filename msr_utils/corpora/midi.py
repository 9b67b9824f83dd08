"""Notes of a MIDI file, in seconds."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

import numpy as np

from msr_utils.corpora.base import CorpusError
from msr_utils.io import atomic_path

MIDI_SUFFIXES = (".mid", ".midi")

MAX_NOTES = 200_000
"""Most notes of a file. A long piano piece has some ten thousand."""

MAX_SECONDS = 6 * 3600.0
"""Latest end of a note in seconds. A later one is damage."""

SUSTAIN_PEDAL = 64
"""Number of the MIDI control that the sustain pedal moves."""

TICKS_PER_QUARTER = 480
BEATS_PER_MINUTE = 120
TICKS_PER_SECOND = TICKS_PER_QUARTER * BEATS_PER_MINUTE / 60
"""Time grid of files that `write_midi` writes: 960 ticks in a second."""


def _no_pedals() -> np.ndarray:
    return np.empty((0, 2))


@dataclass(frozen=True, eq=False)
class Notes:
    """Notes of a piece, sorted by start and pitch. Instruments are not told apart.

    Parameters
    ----------
    start_s, length_s : np.ndarray [shape=(N,), dtype=float64]
    pitch : np.ndarray [shape=(N,), dtype=int]
        MIDI number, 0 to 127; 60 is middle C.
    velocity : np.ndarray [shape=(N,), dtype=int]
        How hard the key was struck, 1 to 127.
    pedals_s : np.ndarray [shape=(P, 2), dtype=float64]
        Start and end of each time that the sustain pedal was down.
    """

    start_s: np.ndarray
    length_s: np.ndarray
    pitch: np.ndarray
    velocity: np.ndarray
    pedals_s: np.ndarray = field(default_factory=_no_pedals)

    def __len__(self) -> int:
        return len(self.start_s)

    @property
    def end_s(self) -> float:
        """End of the last note in seconds; 0 without notes."""
        return float((self.start_s + self.length_s).max()) if len(self) else 0.0

    def between(self, start_s: float, end_s: float) -> Self:
        """Notes that start in ``[start_s, end_s)``, with times from `start_s` on."""
        inside = (self.start_s >= start_s) & (self.start_s < end_s)
        pedals = self.pedals_s[(self.pedals_s[:, 1] > start_s) & (self.pedals_s[:, 0] < end_s)]
        return type(self)(
            self.start_s[inside] - start_s,
            self.length_s[inside],
            self.pitch[inside],
            self.velocity[inside],
            pedals.clip(start_s, end_s) - start_s,
        )

    def part(self, first: int, count: int) -> Self:
        """So many notes from the one numbered `first` on, without pedals; times stay."""
        chosen = slice(first, first + count)
        return type(self)(
            self.start_s[chosen], self.length_s[chosen], self.pitch[chosen], self.velocity[chosen]
        )

    def altered(self, semitones: int = 0, tempo: float = 1.0) -> Self:
        """Transposed, and played `tempo` times as fast.

        Notes that leave the range of MIDI move by octaves back into it.
        """
        pitch = self.pitch + semitones
        pitch = np.where(pitch > 127, pitch - 12, np.where(pitch < 0, pitch + 12, pitch))
        return type(self)(
            self.start_s / tempo,
            self.length_s / tempo,
            pitch,
            self.velocity,
            self.pedals_s / tempo,
        )


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


def write_midi(notes: Notes, path: Path) -> None:
    """Write notes as a MIDI file of one piano track, atomically.

    Times are rounded to 1/960 s. The same notes give the same bytes.
    """
    score = to_score(notes)
    with atomic_path(Path(path)) as temporary:
        temporary.write_bytes(score.dumps_midi())


def to_score(notes: Notes) -> Any:
    """The notes as a ``symusic.Score`` at 120 beats per minute, 480 ticks in a beat."""
    import symusic

    score = symusic.Score(TICKS_PER_QUARTER)
    track = symusic.Track("piano", 0, False)
    start = np.rint(notes.start_s * TICKS_PER_SECOND).astype(np.int32)
    length = np.maximum(np.rint(notes.length_s * TICKS_PER_SECOND), 1).astype(np.int32)
    track.notes = symusic.Note.from_numpy(
        start, length, notes.pitch.astype(np.int8), notes.velocity.astype(np.int8)
    )
    if len(notes.pedals_s):
        ticks = np.rint(notes.pedals_s * TICKS_PER_SECOND).astype(int)
        track.controls = [
            symusic.ControlChange(int(tick), SUSTAIN_PEDAL, value)
            for down, up in ticks
            for tick, value in ((down, 127), (up, 0))
        ]
    score.tracks.append(track)
    score.tempos.append(symusic.Tempo(0, BEATS_PER_MINUTE))
    score.time_signatures.append(symusic.TimeSignature(0, 4, 4))
    return score

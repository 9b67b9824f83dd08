"""Notes of a piece in seconds, and MIDI files of them.

The service writes such files too, so this module needs neither pandas nor a corpus.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

import numpy as np

from msr_utils.io import atomic_path

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

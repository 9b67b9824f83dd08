"""Compose a piece, in a worker."""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache
from http import HTTPStatus
from pathlib import Path

import numpy as np

from msr_utils.generation.codes import GeneratedNote, as_notes
from msr_utils.generation.generator import Generator
from msr_utils.generation.limits import SAMPLE_RATE
from msr_utils.generation.request import EmotionCurve, GenerationError, MusicRequest
from msr_utils.generation.sound import PieceSound
from msr_utils.notes import to_score
from serve.request_errors import RequestError
from serve.tasks import DONE, NOTE, SOUND, Answer, GenerateTask

SOUND_SECONDS = 0.25
"""Sound is passed on once there is at least so much of it."""

MAX_LOADED = 2
"""Generators that a worker keeps."""


@lru_cache(MAX_LOADED)
def loaded(folder: Path) -> Generator:
    """A generator, which is loaded at its first piece."""
    return Generator.load(folder)


def compose(task: GenerateTask) -> Iterator[Answer]:
    """Compose a piece.

    Parameters
    ----------
    task : GenerateTask

    Yields
    ------
    Answer
        One of the kind `NOTE` for each note. With `task.audio`, the sound so far comes between them
        (`SOUND`). The last one is of the kind `DONE`. What is yielded depends on the task only.

    Raises
    ------
    RequestError
        If the generator refuses the request.
    """
    try:
        times, valence, arousal = zip(*task.points, strict=True)
        curve = EmotionCurve(times, valence, arousal)
        request = MusicRequest(curve, task.seconds, task.seed, task.temperature)
    except GenerationError as error:
        message = str(error).removeprefix(f"{error.field}: ")
        raise RequestError(HTTPStatus.UNPROCESSABLE_ENTITY, error.field, message) from error
    kept: list[GeneratedNote] = []
    count = 0
    sound = SoundAnswers(task.seconds) if task.audio else None
    for note in loaded(task.folder).notes(request):
        count += 1
        if task.midi:
            kept.append(note)
        yield Answer(NOTE, {"note": note_fields(note)})
        if sound is not None:
            yield from sound.push(note)
    if sound is not None:
        yield from sound.finish()
    midi = to_score(as_notes(kept)).dumps_midi() if task.midi else b""
    yield Answer(DONE, {"notes": count}, midi)


def note_fields(note: GeneratedNote) -> dict[str, float | int]:
    """A note as it is answered."""
    return {
        "start_s": round(note.start_s, 4),
        "length_s": round(note.length_s, 4),
        "pitch": note.pitch,
        "velocity": note.velocity,
    }


class SoundAnswers:
    """Answers with the sound of a piece.

    Parameters
    ----------
    seconds : float > 0
    """

    def __init__(self, seconds: float) -> None:
        self._sound = PieceSound(seconds)
        self._parts: list[np.ndarray] = []
        self._waiting = 0
        self._start = 0

    def push(self, note: GeneratedNote) -> Iterator[Answer]:
        """Take the next note."""
        yield from self._collect(self._sound.push(note))

    def finish(self) -> Iterator[Answer]:
        """All that is left."""
        yield from self._collect(self._sound.finish(), last=True)

    def _collect(self, samples: np.ndarray, last: bool = False) -> Iterator[Answer]:
        self._parts.append(samples)
        self._waiting += len(samples)
        if self._waiting >= SOUND_SECONDS * SAMPLE_RATE or last:
            pcm = np.concatenate(self._parts).tobytes()
            yield Answer(SOUND, {"start_s": self._start / SAMPLE_RATE}, pcm)
            self._start += self._waiting
            self._parts, self._waiting = [], 0

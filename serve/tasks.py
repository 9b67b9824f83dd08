"""What the front asks of a worker, and what a worker answers.

A task goes to a worker as a pickle: the worker trusts the front. An answer is JSON and numbers: the
front does not unpickle what comes from a process that decoded a hostile file.
"""

from __future__ import annotations

import json
import struct
from contextlib import suppress
from dataclasses import dataclass
from http import HTTPStatus
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from msr_utils.audio.source import AudioError, AudioTooLong, TimeLimitExceeded
from msr_utils.constants import TARGETS
from msr_utils.inference.card import ModelCard
from serve.request_errors import RequestError, WorkerFailed

SMALL_BYTES = 1_000_000
"""An upload up to this size is sent to the worker; of a larger one, the open file."""

UPLOAD_NAME = "file"
"""Name of every uploaded file in messages."""


MAX_VALUES = 350_000_000
"""Most samples of a file, over all channels: 15 minutes of 8 channels at 48 kHz."""


@dataclass(frozen=True)
class PredictTask:
    """Predict an uploaded file.

    Parameters
    ----------
    model : str
    max_seconds : float > 0
        Longest audio accepted.
    max_values : int > 0
        Most samples accepted, over all channels.
    """

    model: str
    max_seconds: float
    max_values: int


@dataclass(frozen=True)
class LiveTask:
    """Predict a chunk of live audio.

    Parameters
    ----------
    model : str, optional
        Must be given with the first chunk.
    state : bytes
        Verified content of the state; empty with the first chunk.
    samples : bytes
    format : str
    channels, rate : int
    last : bool
    max_seconds : float > 0
        Longest chunk accepted.
    """

    model: str | None
    state: bytes
    samples: bytes
    format: str
    channels: int
    rate: int
    last: bool
    max_seconds: float


@dataclass(frozen=True)
class GenerateTask:
    """Compose a piece.

    Parameters
    ----------
    folder : Path
        Folder of the generator.
    points : tuple of (float, float, float)
        Wanted course: time in s, valence and arousal, at rising times.
    seconds, temperature : float > 0
    seed : int >= 0
    audio, midi : bool
        Whether the sound comes between the notes, and the MIDI file with the last answer.
    """

    folder: Path
    points: tuple[tuple[float, float, float], ...]
    seconds: float
    seed: int
    temperature: float
    audio: bool = False
    midi: bool = False


Task = PredictTask | LiveTask | GenerateTask


@dataclass(frozen=True)
class Upload:
    """Audio as bytes `start` to `end` of an open file.

    Parameters
    ----------
    file : binary file
    start, end : int
    """

    file: BinaryIO
    start: int
    end: int


@dataclass(frozen=True)
class Order:
    """A task on its way to a worker.

    Parameters
    ----------
    task : Task
    content : bytes
        The upload, if it is small.
    part : (int, int), optional
        Start and end of the upload in a file, whose descriptor follows.
    """

    task: Task
    content: bytes = b""
    part: tuple[int, int] | None = None


def make_order(task: Task, upload: Upload | None) -> Order:
    """Pack a task and its upload for a worker."""
    if upload is None:
        return Order(task)
    if upload.end - upload.start > SMALL_BYTES:
        with suppress(OSError):  # A file in memory has no descriptor.
            upload.file.fileno()
            upload.file.flush()
            return Order(task, part=(upload.start, upload.end))
    upload.file.seek(upload.start)
    return Order(task, upload.file.read(upload.end - upload.start))


@dataclass(frozen=True)
class Loaded:
    """What a process that loaded the models tells the front of the service.

    Parameters
    ----------
    cards : dict of str to ModelCard
    left_out : dict of str to str
        Bundles that were left out, and why.
    """

    cards: dict[str, ModelCard]
    left_out: dict[str, str]


FRAMES, DONE, ERROR, READY = "frames", "done", "error", "ready"
NOTE, SOUND = "note", "sound"
"""Kinds of answers. A task has any number of frames, or of notes and sound, then an answer that
ends it. The same task always has the same answers, because it may begin again."""

NO_MEMORY = (
    HTTPStatus.UNPROCESSABLE_ENTITY,
    UPLOAD_NAME,
    "needs more memory to decode than one request may take; convert it to MP3, FLAC or WAV",
)
"""Status, field and message of the answer to a file that takes too much memory."""

TOO_LONG_A_PIECE = "takes more memory than one request may take; ask for fewer seconds"


def memory_error(task: Task) -> RequestError:
    """The error of a task that takes too much memory."""
    if isinstance(task, GenerateTask):
        return RequestError(HTTPStatus.UNPROCESSABLE_ENTITY, "seconds", TOO_LONG_A_PIECE)
    return RequestError(*NO_MEMORY)


def time_error(task: Task, seconds: float) -> Exception:
    """The error of a task that has worked for so many seconds and is not done."""
    late = f"not done after {seconds:g} s; try again later, or"
    if isinstance(task, GenerateTask):
        return RequestError(
            HTTPStatus.SERVICE_UNAVAILABLE, "seconds", f"{late} ask for a shorter piece"
        )
    return TimeLimitExceeded(f"{UPLOAD_NAME}: {late} a shorter excerpt")


MAX_ANSWER_BYTES = 16_000_000
"""Largest answer that the front takes. A state of live audio has less than half a megabyte."""


@dataclass(frozen=True)
class Answer:
    """One message of a worker.

    Parameters
    ----------
    kind : str
        `FRAMES`, `DONE`, `ERROR` or `READY`.
    fields : dict
        JSON values.
    data : bytes
        Values of frames, float32, then a state of live audio if there is one.
    """

    kind: str
    fields: dict[str, Any]
    data: bytes = b""

    def encode(self) -> bytes:
        """The message as bytes."""
        header = json.dumps([self.kind, self.fields]).encode()
        return struct.pack("<I", len(header)) + header + self.data

    @classmethod
    def decode(cls, message: bytes) -> Answer:
        """Read a message.

        Raises
        ------
        ValueError, struct.error
            If it is none.
        """
        end = struct.unpack_from("<I", message)[0] + 4
        kind, fields = json.loads(message[4:end])
        return cls(kind, fields, message[end:])

    @property
    def frames(self) -> np.ndarray:
        """Values of the frames, (frames, 2) float32."""
        size = self.fields["frames"] * len(TARGETS) * 4
        return np.frombuffer(self.data[:size], "<f4").reshape(-1, len(TARGETS))

    @property
    def rest(self) -> bytes:
        """What follows the values: the state of live audio."""
        return self.data[self.fields["frames"] * len(TARGETS) * 4 :]

    @property
    def error(self) -> Exception:
        """The error of an answer of the kind `ERROR`."""
        kinds = {"AudioTooLong": AudioTooLong, "AudioError": AudioError}
        kind, text = self.fields["type"], self.fields["message"]
        if kind == "RequestError":
            return RequestError(self.fields["status"], self.fields["field"], text)
        return kinds.get(kind, WorkerFailed)(text)


def frames_answer(kind: str, values: np.ndarray, rest: bytes = b"", **fields: Any) -> Answer:
    """An answer with values of frames, (frames, 2)."""
    data = np.ascontiguousarray(values, "<f4").tobytes()
    return Answer(kind, {"frames": len(values), **fields}, data + rest)

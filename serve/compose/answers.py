"""A piece as lines of JSON, as a WAV file or as a MIDI file, while a worker composes it."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Iterator
from itertools import chain
from typing import Any

from serve.bridge import AnswerCut
from serve.compose.schemas import MIDI
from serve.problems import Problem, explain
from serve.tasks import DONE, NOTE, SOUND, Answer


def note_lines(
    answers: Iterator[Answer],
    summarise: Callable[[int], dict[str, Any]],
    fail: Callable[[Problem], None],
    request_id: str,
) -> Iterator[str]:
    """Write a line of JSON for each note, and for each part of the sound if it is there.

    The last line holds ``done`` with the summary, or ``error`` with a problem document.

    Parameters
    ----------
    answers : iterator of Answer
        From a pool, not iterated yet.
    summarise : callable
        Makes the value of ``done`` from the number of notes.
    fail : callable
        Notes a problem that ends the answer after its status was sent.
    request_id : str

    Yields
    ------
    str
        A line.

    Raises
    ------
    Exception
        Whatever is raised before the first note: this call fails, so that the answer can still
        have the status of an error.
    """
    first = next(answers)
    return _lines(chain([first], answers), summarise, fail, request_id)


def _lines(
    answers: Iterator[Answer],
    summarise: Callable[[int], dict[str, Any]],
    fail: Callable[[Problem], None],
    request_id: str,
) -> Iterator[str]:
    try:
        for answer in answers:
            if answer.kind == NOTE:
                yield _line(answer.fields["note"])
            elif answer.kind == SOUND:
                yield _line({"sound": {**answer.fields, "pcm_s16le": _text(answer.data)}})
            elif answer.kind == DONE:
                summary = summarise(answer.fields["notes"])
                if answer.data:
                    summary[MIDI] = _text(answer.data)
                yield _line({"done": summary})
    except Exception as error:
        # The status 200 is already sent.
        problem = explain(error, request_id)
        fail(problem)
        yield _line({"error": problem.document(request_id)})


def _line(value: dict[str, Any]) -> str:
    return json.dumps(value, ensure_ascii=False) + "\n"


def _text(data: bytes) -> str:
    return base64.b64encode(data).decode()


def sound_bytes(
    answers: Iterator[Answer], header: bytes, fail: Callable[[Problem], None], request_id: str
) -> Iterator[bytes]:
    """Give the bytes of a WAV file.

    Parameters
    ----------
    answers : iterator of Answer
        From a pool, not iterated yet.
    header : bytes
    fail : callable
        As in `note_lines`.
    request_id : str

    Yields
    ------
    bytes

    Raises
    ------
    Exception
        As `note_lines`, before the first sound.
    """
    sounds = (answer.data for answer in answers if answer.kind == SOUND)
    first = next(sounds)
    return _bytes(chain([header + first], sounds), fail, request_id)


def _bytes(
    sounds: Iterator[bytes], fail: Callable[[Problem], None], request_id: str
) -> Iterator[bytes]:
    try:
        yield from sounds
    except Exception as error:
        # Its length is already sent. A file that is too short tells the client.
        fail(explain(error, request_id))
        raise AnswerCut from error


def midi_bytes(answers: Iterator[Answer], is_gone: Callable[[], bool]) -> bytes:
    """Wait for the whole MIDI file; empty if the client goes away before.

    Parameters
    ----------
    answers : iterator of Answer
        From a pool. An error of the task is raised by it.
    is_gone : callable
        Tells whether the client has gone away.
    """
    for answer in answers:
        if answer.kind == DONE:
            return answer.data
        if is_gone():
            break
    return b""

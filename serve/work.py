"""Do the work of a request: decode and predict, or compose.

It runs in a worker, or in the front for tests.
"""

from __future__ import annotations

import traceback
from collections.abc import Iterator, Mapping
from dataclasses import asdict
from typing import BinaryIO

from msr_utils.audio.source import AudioError, AudioTooLong
from msr_utils.inference.model import FilePrediction, Model
from serve.live import read_samples, resume
from serve.request_errors import RequestError
from serve.tasks import (
    DONE,
    ERROR,
    FRAMES,
    Answer,
    GenerateTask,
    LiveTask,
    PredictTask,
    Task,
    frames_answer,
    memory_error,
)


def perform(task: Task, file: BinaryIO | None, models: Mapping[str, Model]) -> Iterator[Answer]:
    """Do a task.

    Parameters
    ----------
    task : Task
    file : binary file, optional
        The upload of a `PredictTask`.
    models : mapping of str to Model

    Yields
    ------
    Answer
        The last one is of the kind `DONE` or `ERROR`; no error is raised.
    """
    try:
        if isinstance(task, LiveTask):
            yield _live(task, models)
        elif isinstance(task, GenerateTask):
            from serve.compose.work import compose  # It loads what most workers never need.

            yield from compose(task)
        else:
            assert file is not None, "a file is predicted"
            yield from _predict(task, file, models[task.model])
    except (AudioError, RequestError, MemoryError) as error:
        yield _failure(task, error)
    except Exception:
        yield Answer(ERROR, {"type": "", "message": traceback.format_exc()})


def _predict(task: PredictTask, file: BinaryIO, model: Model) -> Iterator[Answer]:
    running = FilePrediction(model, file, task.max_seconds, max_values=task.max_values)
    for values in running:
        yield frames_answer(FRAMES, values)
    prediction = running.prediction()
    yield Answer(
        DONE,
        {
            "warnings": prediction.warnings,
            "silent": prediction.silent,
            "content": None if prediction.content is None else asdict(prediction.content),
        },
    )


def _live(task: LiveTask, models: Mapping[str, Model]) -> Answer:
    samples = read_samples(task.samples, task.format, task.channels, task.rate, task.max_seconds)
    stream = resume(models, task.state, task.model, task.rate)
    frames = stream.push(samples, last=task.last)
    return frames_answer(
        DONE,
        frames.values,
        b"" if task.last else stream.pack(),
        model=stream.model.name,
        audio_s=stream.seconds,
        chunk_s=len(samples) / task.rate,
        times_s=frames.times_s.tolist(),
    )


def _failure(task: Task, error: Exception) -> Answer:
    if isinstance(error, MemoryError):
        error = memory_error(task)
    if isinstance(error, RequestError):
        fields = {"status": error.status, "field": error.field, "message": error.message}
        return Answer(ERROR, {"type": "RequestError", **fields})
    kind = "AudioTooLong" if isinstance(error, AudioTooLong) else "AudioError"
    return Answer(ERROR, {"type": kind, "message": str(error)})

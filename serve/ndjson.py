"""A prediction as lines of JSON, written while the file is still decoded."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from itertools import chain, count
from typing import Any

import numpy as np

from msr_utils.constants import FRAME_SECONDS, TARGETS
from msr_utils.inference.prediction import Prediction, Smoother, bounds, rounded
from serve.problems import Problem, explain
from serve.running import RunningPrediction
from serve.schemas import PredictOptions

NDJSON = "application/x-ndjson"

NO_FRAMES = np.zeros((0, len(TARGETS)), np.float32)


def prediction_lines(
    prediction: RunningPrediction,
    options: PredictOptions,
    margins: Mapping[str, float],
    summarise: Callable[[Prediction], dict[str, Any]],
    fail: Callable[[Problem], None],
    request_id: str,
) -> Iterator[str]:
    """Predict a file and write a line of JSON for each frame.

    The last line holds ``done`` with the summary, or ``error`` with a problem document.

    Parameters
    ----------
    prediction : RunningPrediction
        Not iterated yet.
    options : PredictOptions
    margins : mapping of str to float
        Half-width of the interval of each target, from the model's card.
    summarise : callable
        Makes the value of ``done`` from the whole prediction.
    fail : callable
        Gets the problem that the last line tells.
    request_id : str

    Yields
    ------
    str
        One or more lines.

    Raises
    ------
    Exception
        Whatever is raised before the first frame: this call fails, so that the answer can still
        have the status of an error.
    """
    blocks = iter(prediction)
    first = next(blocks)
    blocks = chain([first], blocks)
    return _lines(prediction, blocks, options, margins, summarise, fail, request_id)


def _lines(
    prediction: RunningPrediction,
    blocks: Iterator[np.ndarray],
    options: PredictOptions,
    margins: Mapping[str, float],
    summarise: Callable[[Prediction], dict[str, Any]],
    fail: Callable[[Problem], None],
    request_id: str,
) -> Iterator[str]:
    smoother = Smoother(options.smoothing_s, options.causal_smoothing)
    frame_numbers = count(1)

    def records(values: np.ndarray) -> str:
        curves = {target: values[:, TARGETS.index(target)] for target in options.targets}
        curves |= bounds(curves, margins)
        lines = []
        for row in zip(*map(rounded, curves.values()), strict=True):
            record = {"time_s": next(frame_numbers) * FRAME_SECONDS}
            record |= dict(zip(curves, row, strict=True))
            lines.append(json.dumps(record) + "\n")
        return "".join(lines)

    try:
        for block in blocks:
            yield records(smoother.push(block))
        yield records(smoother.push(NO_FRAMES, True))
        summary = summarise(prediction.prediction())
        yield json.dumps({"done": summary}, ensure_ascii=False) + "\n"
    except Exception as error:
        # The status 200 is already sent.
        problem = explain(error, request_id)
        fail(problem)
        yield json.dumps({"error": problem.document(request_id)}) + "\n"

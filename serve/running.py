"""The prediction of a file while a worker makes it."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from msr_utils.inference.card import ModelCard
from msr_utils.inference.content import Content
from msr_utils.inference.prediction import Prediction
from serve.tasks import FRAMES, Answer


class RunningPrediction:
    """Curves of a file as a worker predicts them. Iterate once, then call `prediction`.

    Parameters
    ----------
    card : ModelCard
    answers : iterator of Answer
        From a pool. An error of the task is raised by it.
    """

    def __init__(self, card: ModelCard, answers: Iterator[Answer]) -> None:
        self._card, self._answers = card, answers
        self._parts: list[np.ndarray] = []
        self._end: Answer | None = None

    def __iter__(self) -> Iterator[np.ndarray]:
        """Blocks of (valence, arousal), (frames, 2) float32."""
        for answer in self._answers:
            if answer.kind == FRAMES:
                self._parts.append(answer.frames)
                yield answer.frames
            else:
                self._end = answer

    def prediction(self) -> Prediction:
        """All values of the iteration as one prediction."""
        assert self._end is not None, "the iteration has ended"
        fields = self._end.fields
        values = np.concatenate(self._parts)
        content = fields["content"]
        return Prediction.of_values(
            values,
            self._card,
            tuple(fields["warnings"]),
            fields["silent"],
            None if content is None else Content(**content),
        )

    def close(self) -> None:
        """End the work, if it still goes on."""
        close = getattr(self._answers, "close", None)
        if close is not None:
            close()

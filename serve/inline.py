"""The pool without workers: tasks run in this process, for tests and debugging."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import BinaryIO, cast

from msr_utils.audio.source import FilePart
from serve.bundles import load_models
from serve.config import ServiceConfig
from serve.lanes import SHORT
from serve.tasks import ERROR, UPLOAD_NAME, Answer, Task, Upload
from serve.work import perform


class InlinePool:
    """Does tasks in the thread of the request. Nothing limits their time and memory.

    Parameters
    ----------
    config : ServiceConfig
    """

    n_workers = 0
    dropped_bytes = 0

    def __init__(self, config: ServiceConfig) -> None:
        self._models, loaded = load_models(config.models_dir)
        self.cards, self.left_out = loaded.cards, loaded.left_out
        self.killed: Counter[str] = Counter()

    def run(
        self, task: Task, client: str | None, upload: Upload | None = None, lane: str = SHORT
    ) -> Iterator[Answer]:
        """Do a task; see `serve.pool.WorkerPool.run`."""
        file = (
            None if upload is None else FilePart(upload.file, upload.start, upload.end, UPLOAD_NAME)
        )
        for answer in perform(task, cast(BinaryIO | None, file), self._models):
            if answer.kind == ERROR:
                raise answer.error
            yield answer

    def running(self, lane: str) -> int:
        """Nothing is counted."""
        return 0

    waiting = running

    def load(self) -> dict[str, str]:
        """Bundles that were left out, and why."""
        return self.left_out

    def close(self) -> None:
        """Nothing to end."""

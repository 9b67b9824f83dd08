"""Predictions of a whole folder. An interrupted run continues where it stopped."""

from __future__ import annotations

import errno
import json
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path

from tqdm import tqdm

from msr_utils import __version__
from msr_utils.audio.folder_scan import Entry, FolderError, State, scan
from msr_utils.inference import folder_workers
from msr_utils.inference.content import detector_version
from msr_utils.inference.folder_names import FileSystem, output_names
from msr_utils.inference.folder_summary import FileResult, FolderResult, Summary, gone
from msr_utils.inference.folder_workers import Outcome, Task
from msr_utils.inference.model import Model
from msr_utils.io import printable, sha256_file, sha256_text, write_text

__all__ = ["FileResult", "FolderError", "FolderResult", "State", "analysis_hash", "predict_folder"]

STOPPING_ERRORS = (errno.ENOSPC, errno.EROFS, errno.EIO, getattr(errno, "EDQUOT", errno.ENOSPC))
"""Errors of the output folder that every further file would meet: it is full, or cannot be
written any more."""

ANALYSIS_DIGITS = 16
"""Hexadecimal digits of `analysis_hash`."""


def analysis_hash(model: Model) -> str:
    """Hash of what a curve depends on besides its audio.

    It covers the bundle (name, network, features, margins) and the version of this package, which
    decodes and computes the features. It also covers the weights of the network that tells music
    from other sound, if they are installed: warnings and shares depend on them.
    """
    card = model.card
    parts = [
        card.name, card.model_sha256, card.feature_hash, model.features.hash,
        dict(sorted(card.margins.items())), __version__,
    ]  # fmt: skip
    content = detector_version()
    parts += [content] if content else []
    return sha256_text(json.dumps(parts))[:ANALYSIS_DIGITS]


def predict_folder(
    model: Model,
    folder: str | Path,
    output: str | Path | None = None,
    jobs: int = 1,
    progress: bool = True,
) -> FolderResult:
    """Predict every audio file under a folder.

    A file that was analysed by an earlier call is left as it is, if its content, the model and its
    curve are the same. An error in one file does not stop the others. What is not analysed is in
    the result as well, with the reason: other files, hidden ones, and what cannot be read.

    Parameters
    ----------
    model : Model
    folder : path
    output : path, optional
        Folder for the curves and for ``summary.csv``. ``a/b.mp3`` becomes ``a/b.mp3.csv`` under
        it. A name that its file system does not allow is shortened, with a hash. Without it,
        nothing is written, and a second call begins anew.
    jobs : int > 0
        Number of processes. The results do not depend on it.
    progress : bool
        Show a progress bar, if standard error is a terminal.

    Returns
    -------
    FolderResult

    Raises
    ------
    FolderError
        If the folder cannot be listed, or the output folder cannot be written, perhaps because
        the disk is full. What was analysed until then is kept.
    BundleError
        If the bundle changes while processes load it.
    """
    if jobs < 1:
        raise ValueError(f"jobs: must be at least 1, not {jobs}")
    folder = Path(folder)
    output = None if output is None else Path(output)
    entries = scan(folder, output)
    if output is None:
        run = _FolderRun(model, entries, None, progress)
        return FolderResult(run.finish(jobs), model.name, model.version)
    summary = Summary(output)
    run = _FolderRun(model, entries, output, progress, summary)
    try:
        results = run.finish(jobs)
    except BaseException:  # also Ctrl-C
        known = summary.known | {result.file: result for result in run.results}
        summary.close(known.values(), after_error=True)
        raise
    summary.close(results)
    return FolderResult(results, model.name, model.version)


class _FolderRun:
    """One call of `predict_folder`: its tasks and the results so far."""

    def __init__(
        self,
        model: Model,
        entries: list[Entry],
        output: Path | None,
        progress: bool,
        summary: Summary | None = None,
    ) -> None:
        self._model = model
        self._entries = entries
        self._output = output
        self._summary = summary
        self._progress = progress
        self.results: list[FileResult] = []

    def finish(self, jobs: int) -> tuple[FileResult, ...]:
        """Work on all audio files and give the rows of all entries."""
        self.results += [
            FileResult(
                file=entry.file, state=entry.state, reason=entry.reason, path=entry.path,
                may_be_audio=entry.may_be_audio,
            )
            for entry in self._entries
            if entry.state is not None
        ]  # fmt: skip
        tasks = list(self._tasks())
        lost = 0
        # None: no bar where standard error goes to a file.
        disable = None if self._progress else True
        outcomes = folder_workers.run(self._model, tasks, min(jobs, len(tasks)) or 1)
        with (
            closing(outcomes),
            tqdm(total=len(tasks), desc="predicting", unit="file", disable=disable) as bar,
        ):
            for outcome in outcomes:
                result = self._keep(outcome)
                self.results.append(result)
                lost += result.state in (State.FAILED, State.UNREADABLE)
                bar.set_postfix(failed=lost, refresh=False)
                bar.update()
        rows = self.results
        if self._summary is not None:
            rows = rows + gone(self._summary.known, (entry.file for entry in self._entries))
        return tuple(sorted(rows, key=lambda result: result.file))

    def _tasks(self) -> Iterator[Task]:
        """A task for each audio file."""
        analysis = analysis_hash(self._model)
        audio = [entry for entry in self._entries if entry.state is None]
        if self._output is None or self._summary is None:
            for entry in audio:
                yield Task(entry.path, entry.file, analysis)
            return
        names = output_names(
            (entry.relative for entry in audio), self._output, FileSystem.of(self._output)
        )
        for entry in audio:
            name = names[entry.relative]
            yield Task(
                entry.path,
                entry.file,
                analysis,
                self._output / name,
                printable(name.replace("\\", "\\\\")),
                self._summary.known.get(entry.file),
            )

    def _keep(self, outcome: Outcome) -> FileResult:
        """Write the curve of a finished task, and add its result to the journal."""
        result, task = outcome.result, outcome.task
        if self._summary is None or task.output is None or result.state == State.UNCHANGED:
            return result
        try:
            if outcome.curve is not None:
                write_text(task.output, outcome.curve)
                result = replace(result, output_sha256=sha256_file(task.output))
            elif result.state == State.FAILED and task.known and task.known.output_sha256:
                task.output.unlink(missing_ok=True)  # the curve of what the file was before
        except OSError as error:
            if error.errno in STOPPING_ERRORS:
                raise self._summary.error(error) from error
            reason = f"its curve cannot be written ({error.strerror or error})"
            result = replace(result, state=State.FAILED, reason=reason, output="", seconds=None)
        self._summary.add(result)
        return result

"""Execute one notebook with papermill."""

from __future__ import annotations

import os
import re
import shutil
import sys
from pathlib import Path
from typing import TextIO

import yaml

from msr_utils.io import plain, write_text
from msr_utils.paths import PROJECT_ROOT
from msr_utils.study.plan import Run, StudyError


class _BarsOnly:
    """Show the progress bars of a notebook, not the chatter of libraries that start up.

    A terminal shows every step; a log file gets a line when a bar is full.
    """

    def __init__(self, terminal: TextIO) -> None:
        self._terminal = terminal
        self._live = terminal.isatty()
        self._last = ""

    def write(self, text: str) -> None:
        for part in re.split(r"[\r\n]", text):
            bar = part.strip()
            if "%|" not in bar:
                continue
            full = " 100%|" in bar
            if self._live:
                self._terminal.write(
                    f"\r      {bar}" + ("\n" if full and bar != self._last else "")
                )
            elif full and _label(bar) != _label(self._last):
                self._terminal.write(f"      {bar}\n")
            self._last = bar

    def flush(self) -> None:
        self._terminal.flush()


def _label(bar: str) -> str:
    """What a bar is about: the text before its percentage, and whether it is full."""
    return f"{bar.split(':')[0]} {'100%|' in bar}"


def _redirect_stderr(log: Path) -> TextIO:
    """Let the kernel, which inherits our stderr, write to `log`; give the terminal's stream."""
    sys.stderr.flush()
    terminal = os.fdopen(os.dup(2), "w")
    descriptor = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o644)
    os.dup2(descriptor, 2)
    os.close(descriptor)
    return terminal


def _restore_stderr(terminal: TextIO) -> None:
    terminal.flush()
    os.dup2(terminal.fileno(), 2)
    terminal.close()


def _shortened(message: str) -> str:
    """First and last lines of a long message: TensorFlow puts a stack trace between them."""
    lines = [line for line in message.splitlines() if line.strip()]
    return message if len(lines) <= 8 else "\n".join([*lines[:2], "...", *lines[-2:]])


def execute_notebook(run: Run, folder: Path, notebooks: Path) -> None:
    import nbformat
    import papermill
    from nbclient.exceptions import DeadKernelError
    from papermill.exceptions import PapermillExecutionError

    folder.mkdir(parents=True, exist_ok=True)
    # From here on the folder's results are being replaced: no manifest vouches for them.
    (folder / "manifest.json").unlink(missing_ok=True)
    shutil.rmtree(folder / "figures", ignore_errors=True)
    output_dir = os.path.relpath(folder, PROJECT_ROOT)
    parameters = {**run.parameters, "output_dir": output_dir}
    temporary = folder / "failed.ipynb"
    # Relative paths: an executed notebook must not tell where on whose machine it ran.
    here = Path.cwd()
    os.chdir(PROJECT_ROOT)
    terminal = _redirect_stderr(folder / "kernel.log")
    try:
        for attempt in (1, 2):
            try:
                papermill.execute_notebook(
                    os.path.relpath(notebooks / f"{run.notebook}.ipynb"),
                    os.path.relpath(temporary),
                    parameters=parameters,
                    kernel_name="python3",
                    progress_bar=False,
                    stderr_file=_BarsOnly(terminal),
                    autosave_cell_every=60,
                )
                break
            except RuntimeError as error:
                # Two kernels that start at once may choose the same free port.
                if attempt == 2 or "Kernel died before replying" not in str(error):
                    raise
    except PapermillExecutionError as error:
        raise StudyError(
            f"run {run.name!r} failed in cell {error.exec_count}: {error.ename}: "
            f"{_shortened(error.evalue)}\n"
            f"the executed part is in {os.path.relpath(temporary, PROJECT_ROOT)}"
        ) from error
    except DeadKernelError as error:
        raise StudyError(
            f"run {run.name!r}: its process was ended, by the system if memory ran out; what it "
            f"said last is in {output_dir}/kernel.log. Call again to go on from there"
        ) from error
    finally:
        os.chdir(here)
        _restore_stderr(terminal)
    notebook = nbformat.read(temporary, as_version=4)
    for cell in notebook.cells:
        if cell.cell_type == "code":
            cell.outputs = [o for o in cell.outputs if o.get("name") != "stderr"]
    nbformat.write(notebook, temporary)
    write_text(folder / "params.yml", yaml.safe_dump(plain(parameters), sort_keys=True))
    temporary.replace(folder / "notebook.ipynb")
    (folder / "kernel.log").unlink(missing_ok=True)

"""Run the study: what is not up to date is executed by papermill, in order or side by side.

A run is up to date while all that its numbers depend on is the same, by content; see
`msr_utils.study.inputs`. One that only draws or words otherwise is executed again from the
trainings that are kept, and must give the same numbers.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import TextIO

import yaml

from msr_utils.io import (
    plain,
    read_json,
    sha256_text,
    write_json,
    write_text,
)
from msr_utils.paths import (
    CACHE_DIR,
    NOTEBOOKS,
    PROJECT_ROOT,
    REPORTS,
)
from msr_utils.provenance import manifest
from msr_utils.provenance.environment import THREAD_SETTINGS, environment
from msr_utils.study import edition_index
from msr_utils.study.inputs import (
    ALTERED,
    REDRAW,
    UP_TO_DATE,
    Inputs,
    RunStates,
    State,
)
from msr_utils.study.parameters import StudyError
from msr_utils.study.plan import Run, select_runs

KEPT = CACHE_DIR / "before"
"""Where a run's folder is kept while it is drawn again."""

MAX_DIFFERENCES = 10
"""Differing values that an error lists."""


def execute(
    runs: list[Run],
    edition: str,
    data_hash: str,
    only: Collection[str] = (),
    reports: Path = REPORTS,
    notebooks: Path = NOTEBOOKS,
    experiments: Collection[str] = (),
) -> list[str]:
    """Run what is not up to date, in order.

    Parameters
    ----------
    runs : list of Run
        From `plan`.
    edition : str
        Folder under ``reports/``.
    data_hash : str
        Of the corpus; a change reruns everything that reads it.
    only, experiments : collection of str
        See `chosen`. A run that is named runs again, too, if files are missing that git ignores.

    Returns
    -------
    list of str
        Names of the runs that were executed.

    Raises
    ------
    StudyError
        If a notebook fails; its folder keeps ``failed.ipynb``, earlier runs stay. If a run that
        was only drawn again gives other numbers; then its folder is as it was before.
    IdentityError
        If it cannot be told what a notebook depends on.
    """
    wanted = select_runs(runs, only, experiments)
    executor = RunExecutor(
        {run.name: run for run in runs}, edition, reports, Inputs(data_hash, notebooks)
    )
    executed = []
    for number, name in enumerate(wanted, 1):
        executor.restore(name)
        state = executor.state(name)
        again = name in only and bool(manifest.check(executor.manifest(name)).local)
        if state.name == UP_TO_DATE and not again:
            continue
        executor.need(name)
        run = executor.runs[name]
        why = f", {state.name}: {', '.join(state.why)}" if state.why else f", {state.name}"
        print(f"[{number}/{len(wanted)}] {name} ({run.notebook}.ipynb{why})", flush=True)
        started = time.perf_counter()
        (executor.draw_again if state.name == REDRAW else executor.execute)(name)
        print(f"      done in {time.perf_counter() - started:.0f} s", flush=True)
        executed.append(name)
    return executed


class RunExecutor(RunStates):
    """The runs of one corpus in one edition, to be executed."""

    def need(self, name: str) -> None:
        """Refuse to build on a run that is not up to date, or whose files are not all here."""
        for needed in self.runs[name].after:
            state = self.state(needed)
            first = f"run that first (--only {needed}), or the whole study"
            if state.name == ALTERED:
                why = f"was altered by hand ({', '.join(state.why)})"
            elif state.name not in (UP_TO_DATE, REDRAW):
                there = self.manifest(needed).is_there
                why = f"was made with other {', '.join(state.why)}" if there else "is not there yet"
            elif gone := manifest.check(self.manifest(needed)).local:
                why = f"has no {', '.join(gone)} here, which git does not keep"
            else:
                continue
            raise StudyError(f"run {name!r} builds on {needed!r}, which {why}: {first}")

    def execute(self, name: str, computed: str = "") -> None:
        """Execute a run and vouch for what it left."""
        run, folder = self.runs[name], self.folder(name)
        now, presentation = self.now(name)
        started = time.perf_counter()
        _execute_one(run, folder, self.inputs.notebooks)
        wall_s = round(time.perf_counter() - started, 1)
        content = {
            "format": manifest.FORMAT,
            "notebook": run.notebook,
            "inputs": now,
            "presentation": presentation,
            "results": manifest.results_hash(folder),
            "outputs": manifest.hash_outputs(folder, bundles_of(run, folder)),
            "wall_s": wall_s,
            **({"computed": computed} if computed else {}),
            "finished": datetime.now(UTC).isoformat(timespec="seconds"),
            **vars(environment()),
        }
        write_json(folder / manifest.MANIFEST, content)
        edition_index.add(folder.parents[1], [f"{folder.parent.name}/{name}"])
        self.states[name] = State(UP_TO_DATE)

    def draw_again(self, name: str) -> None:
        """Execute a run whose numbers must stay, with the threads that it had.

        Raises
        ------
        StudyError
            If a number is another: everything is then as it was before.
        """
        recorded = self.manifest(name)
        before = read_json(recorded.folder / manifest.RESULTS)
        kept = self._keep(name)
        try:
            with _threads(str(recorded.content.get("threads", ""))):
                self.execute(name, recorded.content.get("computed", recorded.content["finished"]))
            changed = manifest.differences(before, read_json(recorded.folder / manifest.RESULTS))
        except BaseException:
            self.restore(name)
            raise
        if changed:
            self.restore(name)
            more = (
                f"\n  and {len(changed) - MAX_DIFFERENCES} more"
                if len(changed) > MAX_DIFFERENCES
                else ""
            )
            raise StudyError(
                f"run {name!r} should only be drawn again, but {len(changed)} of its numbers are "
                "others than before; nothing was replaced:\n  "
                + "\n  ".join(changed[:MAX_DIFFERENCES])
                + f"{more}\nIts trainings were not kept on this machine, or depend on something "
                f"that is not recorded. To take the new numbers, remove "
                f"{os.path.relpath(recorded.folder / manifest.MANIFEST)} and run it again"
            )
        shutil.rmtree(kept)

    def _kept(self, name: str) -> Path:
        return KEPT / sha256_text(str(self.folder(name).resolve()))[:16]

    def _keep(self, name: str) -> Path:
        """Copy a run's files aside; complete when it has its last name."""
        kept, folder = self._kept(name), self.folder(name)
        partial = kept.with_suffix(".partial")
        shutil.rmtree(partial, ignore_errors=True)
        shutil.copytree(folder, partial / "run")
        for file in manifest.read(folder).outputs:
            if file.startswith("/") and (PROJECT_ROOT / file[1:]).is_file():
                (partial / "elsewhere" / file[1:]).parent.mkdir(parents=True, exist_ok=True)
                shutil.copy2(PROJECT_ROOT / file[1:], partial / "elsewhere" / file[1:])
        partial.rename(kept)
        return kept

    def restore(self, name: str) -> None:
        """Put back what was kept of a run, also after a kill."""
        kept, folder = self._kept(name), self.folder(name)
        if not kept.is_dir():
            return
        shutil.rmtree(folder, ignore_errors=True)
        shutil.copytree(kept / "run", folder)
        if (kept / "elsewhere").is_dir():
            shutil.copytree(kept / "elsewhere", PROJECT_ROOT, dirs_exist_ok=True)
        shutil.rmtree(kept)


@contextmanager
def _threads(count: str) -> Iterator[None]:
    """Let what is started compute with so many threads; anything but a number changes nothing."""
    before = {name: os.environ.get(name) for name in THREAD_SETTINGS}
    if count.isdigit():
        os.environ.update(dict.fromkeys(THREAD_SETTINGS, count))
    try:
        yield
    finally:
        for name, value in before.items():
            os.environ.pop(name, None)
            if value is not None:
                os.environ[name] = value


def bundles_of(run: Run, folder: Path) -> list[Path]:
    """Folders of the bundles that a run has written outside of its own."""
    found = []
    for name, kind in run.outputs.items():
        if kind == "bundles" and (place := run.parameters.get(name)):
            results = read_json(folder / manifest.RESULTS)
            names = results["bundles"] if "bundles" in results else [results["bundle"]]
            found += [PROJECT_ROOT / place / bundle for bundle in names]
    return found


def execute_parallel(
    runs: list[Run], command: Sequence[str], wanted: Sequence[str], jobs: int
) -> None:
    """Execute runs in several processes, each with its share of the cores.

    Parameters
    ----------
    runs : list of Run
        From `plan`.
    command : sequence of str
        Runs one of them when ``--only NAME`` is added.
    wanted : sequence of str
        From `chosen`.
    jobs : int > 0
        Processes at once.

    Raises
    ------
    StudyError
        If a run fails: those under way are awaited, no other is begun.
    """
    threads = str(max(1, (os.cpu_count() or 1) // jobs))
    env = os.environ | dict.fromkeys(THREAD_SETTINGS, threads)
    # The command finds this checkout by it, and not by the working folder, see ``python -P``.
    env["PYTHONPATH"] = os.pathsep.join(filter(None, [str(PROJECT_ROOT), env.get("PYTHONPATH")]))
    waiting = [run for run in runs if run.name in wanted]
    under_way: dict[str, subprocess.Popen] = {}
    failed: list[str] = []
    while (waiting and not failed) or under_way:
        for run in list(waiting):
            open_names = {r.name for r in waiting} | set(under_way)
            ready = not open_names & {*run.after, *run.uses}
            if ready and len(under_way) < jobs and not failed:
                waiting.remove(run)
                under_way[run.name] = subprocess.Popen([*command, "--only", run.name], env=env)
        for name, process in list(under_way.items()):
            if process.poll() is not None:
                del under_way[name]
                failed += [name] if process.returncode else []
        time.sleep(0.2)
    if failed:
        raise StudyError(f"run {', '.join(failed)} failed: see above")


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


def _execute_one(run: Run, folder: Path, notebooks: Path) -> None:
    import nbformat
    import papermill
    from nbclient.exceptions import DeadKernelError
    from papermill.exceptions import PapermillExecutionError

    from msr_utils.study.kernel import KERNEL_NAME, ThisKernelManager

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
                    kernel_name=KERNEL_NAME,
                    kernel_manager_class=ThisKernelManager,
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

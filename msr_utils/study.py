"""Run the study: ``notebooks/study.yml`` -> validated papermill runs -> run folders.

A run folder ``reports/<edition>/<corpus>/<run>/`` holds the executed ``notebook.ipynb``,
``params.yml``, ``metrics.json``, ``figures/`` and ``manifest.json``. A run whose manifest
still matches code, notebook, parameters, data and lock is not run again.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TextIO

import yaml

from msr_utils.corpora.base import LABELS
from msr_utils.io import plain, read_json, sha256_file, sha256_text, write_json, write_text
from msr_utils.provenance import (
    LOCK,
    PROJECT_ROOT,
    code_hash,
    environment,
    notebook_hash,
)

NOTEBOOKS = PROJECT_ROOT / "notebooks"
REPORTS = PROJECT_ROOT / "reports"

RUN_KEYS = ("notebook", "preset", "parameters", "after", "uses", "for", "corpora", "experiment")
"""What ``study.yml`` may say of a run. It applies to corpora that have labels it is `for`, and, if
it names `corpora`, to these alone. It waits for those it comes `after`; of those that it
`uses` it takes what is there. One with an `experiment` runs only when that is asked for."""

KINDS = (*LABELS, "static", "profiles")
"""Kinds of labels that a run may be for; see `Corpus.kinds`."""

TYPES: dict[str, type | tuple[type, ...]] = {
    "int": int,
    "float": (int, float),
    "str": str,
    "bool": bool,
    "list": list,
}
"""Annotations allowed in a notebook's parameters cell."""


THREAD_SETTINGS = (
    "OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "TF_NUM_INTRAOP_THREADS", "TF_NUM_INTEROP_THREADS",
)  # fmt: skip
"""Where numerical libraries look for their number of threads."""


class StudyError(ValueError):
    """A study file, parameter or run that is not right; the message says which and why."""


@dataclass(frozen=True)
class Run:
    """One notebook with its parameters."""

    name: str
    notebook: str
    parameters: dict[str, Any]
    after: tuple[str, ...] = ()
    uses: tuple[str, ...] = ()
    experiment: str = ""


@dataclass(frozen=True)
class Study:
    """The content of ``study.yml``, checked."""

    runs: dict[str, dict]
    profiles: dict[str, dict]
    corpora: dict[str, dict] = field(default_factory=dict)
    editions: dict[str, dict] = field(default_factory=dict)
    presets: dict[str, dict] = field(default_factory=dict)
    parameters: dict[str, Any] = field(default_factory=dict)


def read_study(path: Path = NOTEBOOKS / "study.yml") -> Study:
    """Read and check a study file.

    Raises
    ------
    StudyError
        If a key is unknown, a notebook missing, or a run comes after one it needs.
    """
    path = Path(path)
    try:
        content = yaml.safe_load(path.read_text("utf-8"))
    except (OSError, yaml.YAMLError) as error:
        raise StudyError(f"{path.name}: cannot be read ({error})") from error
    _only_keys(
        content, ("parameters", "presets", "corpora", "profiles", "editions", "runs"), path.name
    )
    presets = content.get("presets") or {}
    seen: set[str] = set()
    for name, run in content.get("runs", {}).items():
        where = f"{path.name}, run {name!r}"
        _only_keys(run, RUN_KEYS, where)
        if not (path.parent / f"{run.get('notebook')}.ipynb").is_file():
            raise StudyError(f"{where}: no notebook {run.get('notebook')!r} in {path.parent.name}/")
        if "preset" in run and run["notebook"] not in presets.get(run["preset"], {}):
            raise StudyError(f"{where}: no preset {run['preset']!r} for {run['notebook']}")
        for kind in run.get("for", []):
            if kind not in KINDS:
                raise StudyError(f"{where}: for names {kind!r}; known: {', '.join(KINDS)}")
        for needed in [*run.get("after", []), *run.get("uses", [])]:
            if needed not in seen:
                raise StudyError(f"{where}: comes after {needed!r}, which is not above it")
        seen.add(name)
    if not seen:
        raise StudyError(f"{path.name}: names no runs")
    for section in ("profiles", "corpora", "editions"):
        for name, part in (content.get(section) or {}).items():
            _only_keys(part or {}, ("parameters", "runs"), f"{path.name}, {section} {name!r}")
            for run in (part or {}).get("runs") or {}:
                if run not in seen:
                    raise StudyError(f"{path.name}, {section} {name!r}: unknown run {run!r}")
    return Study(
        runs=content["runs"],
        profiles=content.get("profiles") or {},
        corpora=content.get("corpora") or {},
        editions=content.get("editions") or {},
        presets=presets,
        parameters=content.get("parameters") or {},
    )


def _only_keys(value: Any, allowed: tuple[str, ...], where: str) -> None:
    if not isinstance(value, dict):
        raise StudyError(f"{where}: must be a mapping with {', '.join(allowed)}")
    for key in value:
        if key not in allowed:
            raise StudyError(f"{where}: unknown key {key!r}; allowed: {', '.join(allowed)}")


def declared_parameters(notebook: Path) -> dict[str, str]:
    """Names and annotated types in a notebook's cell tagged ``parameters``.

    Raises
    ------
    StudyError
        If the cell is missing or a parameter has no plain type.
    """
    import papermill

    declared = {
        name: info["inferred_type_name"]
        for name, info in papermill.inspect_notebook(str(notebook)).items()
    }
    if not declared:
        raise StudyError(f"{notebook.name}: has no cell tagged 'parameters'")
    for name, kind in declared.items():
        if kind not in TYPES:
            raise StudyError(f"{notebook.name}: parameter {name!r} needs a type of {list(TYPES)}")
    return declared


def check_type(name: str, value: Any, kind: str) -> None:
    """Refuse a parameter value of another type than declared.

    Raises
    ------
    StudyError
        Naming the parameter, its type and the value.
    """
    fits = isinstance(value, TYPES[kind]) and (kind == "bool" or not isinstance(value, bool))
    if not fits:
        raise StudyError(f"parameter {name!r} must be {kind}, not {value!r}")


def parse_value(name: str, text: str, kind: str) -> Any:
    """Read a parameter from the command line as the type that its notebook declares.

    ``007`` stays a text where a text is declared.

    Raises
    ------
    StudyError
        If the text is no value of that type.
    """
    if kind == "str":
        return text
    try:
        value = yaml.safe_load(text)
        # YAML 1.1 reads 1e-3 as a text.
        if kind == "float" and isinstance(value, str):
            value = float(value)
    except (yaml.YAMLError, ValueError):
        value = text
    check_type(name, value, kind)
    return value


def plan(
    study: Study,
    corpus: str,
    data_dir: str,
    profile: str = "full",
    edition: str = "local",
    overrides: Mapping[str, str] | None = None,
    notebooks: Path = NOTEBOOKS,
    kinds_of_labels: Collection[str] = ("curves",),
) -> list[Run]:
    """Settle every run's parameters.

    Runs whose ``for`` names none of `kinds_of_labels` (see `Corpus.kinds`) are left out; without
    ``for`` a run needs curves. So are runs for other corpora.

    Later wins: the study's parameters, the run's preset; what the corpus, the profile and
    the edition say for all runs, then for this run; the run's own; the command line's.

    Raises
    ------
    StudyError
        If the profile is unknown, or a parameter is unknown or has the wrong type.
    """
    if profile not in study.profiles:
        raise StudyError(f"profile: unknown {profile!r}; known: {', '.join(study.profiles)}")
    overrides = dict(overrides or {})
    if not re.fullmatch(r"[a-z0-9][a-z0-9-]*", edition):
        raise StudyError(f"edition: {edition!r} may hold lower-case letters, digits and '-' only")
    for name in ("corpus", "data_dir", "output_dir"):
        if name in overrides:
            raise StudyError(f"parameter {name!r} is settled by --corpus, --data and --edition")
    layers = [study.corpora.get(corpus), study.profiles[profile], study.editions.get(edition)]
    layers = [layer or {} for layer in layers]
    shared: dict[str, Any] = {"corpus": corpus, "data_dir": data_dir}
    for layer in layers:
        shared |= layer.get("parameters") or {}
    unused = {*study.parameters, *shared, *overrides}
    runs = []
    for name, spec in study.runs.items():
        notebook = spec["notebook"]
        kinds = declared_parameters(notebooks / f"{notebook}.ipynb")
        applies = set(spec.get("for", ["curves"])) & set(kinds_of_labels)
        if not applies or corpus not in spec.get("corpora", [corpus]):
            unused -= set(kinds)
            continue
        preset = study.presets[spec["preset"]][notebook] if "preset" in spec else {}
        own: dict[str, Any] = {}
        for layer in layers:
            own |= (layer.get("runs") or {}).get(name) or {}
        fixed = spec.get("parameters") or {}
        for key in [*preset, *own, *fixed]:
            if key not in kinds:
                raise StudyError(f"run {name!r}: {notebook}.ipynb declares no parameter {key!r}")
        merged = {**study.parameters, **preset, **shared, **own, **fixed}
        parameters = {key: value for key, value in merged.items() if key in kinds}
        unused -= set(kinds)
        for key, text in overrides.items():
            if key in fixed:
                raise StudyError(f"parameter {key!r} is what run {name!r} is about; choose a run")
            if key in kinds:
                parameters[key] = parse_value(key, text, kinds[key])
        for key, value in parameters.items():
            check_type(key, value, kinds[key])
        runs.append(
            Run(
                name,
                notebook,
                parameters,
                tuple(spec.get("after", ())),
                tuple(spec.get("uses", ())),
                spec.get("experiment", ""),
            )
        )
    if unused:
        raise StudyError(f"parameter {min(unused)!r} is declared by none of the notebooks")
    return runs


def chosen(runs: list[Run], only: Collection[str], experiments: Collection[str]) -> list[str]:
    """Names of the runs to execute: those named, those of experiments, or else the study's own.

    The experiment "all" stands for every one.

    Raises
    ------
    StudyError
        If there is no such run or experiment.
    """
    known = {r.experiment for r in runs if r.experiment} | {"all"}
    for name in experiments:
        if name not in known:
            raise StudyError(
                f"experiment: unknown {name!r}, or not for this corpus; for it are: "
                f"{', '.join(sorted(known))}"
            )
    for name in only:
        if name not in {r.name for r in runs}:
            raise StudyError(
                f"run: unknown {name!r}, or not for this corpus; for it are: "
                f"{', '.join(r.name for r in runs)}"
            )
    if only or experiments:
        every = "all" in experiments
        return [
            r.name
            for r in runs
            if r.name in only or r.experiment in experiments or (every and r.experiment)
        ]
    return [r.name for r in runs if not r.experiment]


def corpus_name(corpus: str, data_dir: str) -> str:
    """Name for run folders: a folder corpus is called by its folder."""
    if corpus != "folder":
        return corpus
    name = re.sub(r"[^a-z0-9]+", "-", Path(data_dir).resolve().name.lower()).strip("-")
    return name or "folder"


def run_folder(output_dir: str, corpus: str, data_dir: str, run: str) -> Path:
    """Folder of a run; a notebook run on its own, without one, gets a scratch folder."""
    if output_dir:
        return PROJECT_ROOT / output_dir
    return REPORTS / "scratch" / corpus_name(corpus, data_dir) / run


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
        Of the corpus; a change reruns everything.
    only, experiments : collection of str
        See `chosen`.

    Returns
    -------
    list of str
        Names of the runs that were executed.

    Raises
    ------
    StudyError
        If a notebook fails; its folder keeps ``failed.ipynb``, earlier runs stay.
    """
    wanted = chosen(runs, only, experiments)
    keys: dict[str, str] = {}
    executed = []
    for run in runs:
        folder = _folder(run, edition, reports)
        inputs = _inputs(run, data_hash, keys, folder.parent, notebooks)
        keys[run.name] = sha256_text(yaml.safe_dump(inputs))
        if run.name not in wanted:
            continue
        if _up_to_date(folder, keys[run.name]):
            continue
        for needed in run.after:
            if not _up_to_date(folder.parent / needed, keys[needed]):
                there = (folder.parent / needed / "manifest.json").is_file()
                why = (
                    "was made with other parameters, code or data" if there else "is not there yet"
                )
                raise StudyError(
                    f"run {run.name!r} builds on {needed!r}, which {why}: run that first "
                    f"(--only {needed}), or the whole study"
                )
        number = wanted.index(run.name) + 1
        print(f"[{number}/{len(wanted)}] {run.name} ({run.notebook}.ipynb)", flush=True)
        started = time.perf_counter()
        _execute_one(run, folder, notebooks)
        wall_s = round(time.perf_counter() - started, 1)
        write_json(
            folder / "manifest.json",
            {
                "key": keys[run.name],
                "inputs": inputs,
                "wall_s": wall_s,
                "finished": datetime.now(UTC).isoformat(timespec="seconds"),
                **environment(),
            },
        )
        print(f"      done in {wall_s:.0f} s", flush=True)
        executed.append(run.name)
    return executed


def _folder(run: Run, edition: str, reports: Path) -> Path:
    corpus = corpus_name(run.parameters["corpus"], run.parameters["data_dir"])
    return reports / edition / corpus / run.name


def _inputs(
    run: Run, data_hash: str, keys: Mapping[str, str], corpus_dir: Path, notebooks: Path
) -> dict:
    """All that a run's results depend on, by hash."""
    notebook = notebooks / f"{run.notebook}.ipynb"
    inputs = {
        "code": code_hash(notebook),
        "notebook": notebook_hash(notebook),
        "parameters": sha256_text(yaml.safe_dump(_portable(run.parameters))),
        "data": data_hash,
        "lock": sha256_file(LOCK),
        "after": {name: keys[name] for name in run.after},
    }
    there = {n: keys[n] for n in run.uses if n in keys and _up_to_date(corpus_dir / n, keys[n])}
    return inputs | ({"uses": there} if there else {})


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
    waiting = [run for run in runs if run.name in wanted]
    under_way: dict[str, subprocess.Popen] = {}
    failed = []
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


def _portable(parameters: dict[str, Any]) -> dict[str, Any]:
    """Parameters without the folder of the data: the data's hash says more than its place."""
    return {k: v for k, v in parameters.items() if k != "data_dir"}


def _up_to_date(folder: Path, key: str) -> bool:
    manifest = folder / "manifest.json"
    return manifest.is_file() and read_json(manifest).get("key") == key


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

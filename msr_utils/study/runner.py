"""Run the study: ``notebooks/study.yml`` -> validated papermill runs -> run folders.

A run folder ``reports/<edition>/<corpus>/<run>/`` holds the executed ``notebook.ipynb``,
``params.yml``, ``metrics.json``, ``figures/`` and ``manifest.json``. A run whose manifest
still matches code, notebook, parameters, data and lock is not run again.
"""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Collection, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import yaml

from msr_utils.io import (
    read_json,
    sha256_file,
    sha256_text,
    write_json,
)
from msr_utils.paths import LOCK, NOTEBOOKS, REPORTS
from msr_utils.provenance.identity import code_hash, environment, notebook_hash
from msr_utils.study.notebook import execute_notebook
from msr_utils.study.plan import (
    Run,
    StudyError,
    corpus_name,
    select_runs,
)

THREAD_SETTINGS = (
    "OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "TF_NUM_INTRAOP_THREADS", "TF_NUM_INTEROP_THREADS",
)  # fmt: skip
"""Where numerical libraries look for their number of threads."""


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
    wanted = select_runs(runs, only, experiments)
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
        execute_notebook(run, folder, notebooks)
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

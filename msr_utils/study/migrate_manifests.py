"""Carry identities over: give published manifests the identities of the present code.

``python -m msr_utils.study.migrate_manifests [reports/published]``. It is for code that was moved
or renamed, and for changes of how identities are computed. It runs no notebook: it hashes the files
that are there and takes the identities of the present code. Only running the code shows that it
gives these numbers. So each manifest says that it was migrated, and ``msr verify`` and the book
count such runs apart. ``migrated_from`` keeps what the manifest of format 1 held. Numbers that are
not those of the last commit are refused. It can be called again. It also lists the runs in the
index of their edition.
"""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

from msr_utils.io import read_json, sha256_file, write_json
from msr_utils.paths import BENCHMARK, PROJECT_ROOT, REPORTS
from msr_utils.provenance import manifest, measurements
from msr_utils.study import edition_index
from msr_utils.study.inputs import (
    UP_TO_DATE,
    Inputs,
    RunStates,
    State,
)
from msr_utils.study.parameters import StudyError
from msr_utils.study.plan import read_study
from msr_utils.study.runner import bundles_of
from msr_utils.study.verification import run_states

OLD = ("key", "inputs")
"""What of a manifest of format 1 is kept."""

CHECKED = (
    "The run was made with earlier code, which was moved, renamed or rewritten since. A migration "
    "then wrote the identities of the present code, parameters, packages and data into its "
    "manifest, and ran nothing. Checked: the numbers in metrics.json are those of the last commit, "
    "and corpora, bundles and other files have the hashes that the run recorded. Not checked: that "
    "the present code gives these numbers. null stands for what could not be known."
)


def numbers(value: Any) -> list[float]:
    """All numbers of a result in order, whatever they are called."""
    if isinstance(value, dict):
        return [number for item in value.values() for number in numbers(item)]
    if isinstance(value, list):
        return [number for item in value for number in numbers(item)]
    return [value] if isinstance(value, int | float) else []


def committed(path: Path) -> Any:
    """A JSON file as it is in the last commit.

    Raises
    ------
    StudyError
        If git does not have it.
    """
    name = path.resolve().relative_to(PROJECT_ROOT).as_posix()
    done = subprocess.run(
        ["git", "show", f"HEAD:{name}"], cwd=PROJECT_ROOT, capture_output=True, text=True
    )
    if done.returncode:
        raise StudyError(f"{name}: not in the last commit; commit results before migrating them")
    return json.loads(done.stdout)


def recorded_files(content: dict[str, Any]) -> dict[str, str | None]:
    """Hashes of data, bundles and other files that a manifest tells of, by parameter."""
    inputs = content.get("inputs", {})
    files = inputs.get("files", {})
    return {**files, "data_dir": inputs["data"]} if "data" in inputs else dict(files)


def same_files(
    folder: Path, recorded: dict[str, str | None], now: dict[str, str | None]
) -> dict[str, str | None]:
    """The hashes of today. Where a file is not here, what was recorded is kept.

    Raises
    ------
    StudyError
        If a file is another one than was recorded.
    """
    for name, known in recorded.items():
        today = now.get(name)
        if name in now and None not in (known, today) and known != today:
            raise StudyError(f"{folder}: was made from another {name} than there is now")
    return {name: recorded.get(name) if value is None else value for name, value in now.items()}


def migrate(folder: Path, runs: RunStates) -> str:
    """Write one manifest anew.

    Returns
    -------
    str
        What was found, for people.

    Raises
    ------
    StudyError
        If ``metrics.json`` has other numbers than in the last commit, or the data are others than
        the manifest tells of.
    """
    recorded, file = manifest.read(folder), folder / manifest.RESULTS
    before = sha256_file(file)
    if numbers(read_json(file)) != numbers(committed(file)):
        raise StudyError(f"{file}: has other numbers than in the last commit")
    name = folder.name
    run = runs.runs[name]
    now, presentation = runs.now(name)
    old = recorded.content
    now = replace(now, files=same_files(folder, recorded_files(old), now.files))
    kept = old.get("migrated_from") or {key: old[key] for key in OLD if key in old}
    content = {
        "format": manifest.FORMAT,
        "notebook": run.notebook,
        "inputs": now,
        "presentation": presentation,
        "results": manifest.results_hash(folder),
        "outputs": manifest.hash_outputs(folder, bundles_of(run, folder)),
        **{key: old[key] for key in old if key not in (*OLD, *_WRITTEN)},
        "migrated_from": kept,
        "migration": CHECKED,
    }
    write_json(folder / manifest.MANIFEST, content)
    runs.states[name] = State(UP_TO_DATE)
    if sha256_file(file) != before:
        raise StudyError(f"{file}: changed while it was looked at")
    found = manifest.check(manifest.read(folder))
    unknown = [k for k, v in now.files.items() if v is None]
    return (
        f"{len(content['outputs'])} files, metrics.json {before[:12]}"
        + (f", unknown: {', '.join(unknown)}" if unknown else "")
        + ("" if found.ok else ", NOT OK")
    )


_WRITTEN = (
    "format",
    "notebook",
    "presentation",
    "results",
    "outputs",
    "migrated_from",
    "migration",
)
"""Fields that are written anew."""


def vouch_for_measurements(folder: Path) -> list[str]:
    """Put files of figures into the manifest of their folder that it does not vouch for yet.

    Returns
    -------
    list of str
        Their names. Which code was measured for them is not known.

    Raises
    ------
    StudyError
        If the figures are not those of the last commit.
    """
    known, found = manifest.read(folder).outputs, []
    for file in sorted(folder.glob("*.json")):
        recorded = known.get(file.name, {}).get("sha256")
        if file.name == manifest.MANIFEST or recorded == sha256_file(file):
            continue
        if read_json(file) != committed(file):
            raise StudyError(f"{file}: has other figures than in the last commit")
        report = file.with_suffix(".md")
        measurements.record(file, None, [report] if report.is_file() else [])
        found.append(file.name)
    return found


def main(where: Path) -> None:
    """Migrate all runs of an edition, each after those that it builds on; then measurements."""
    inputs = Inputs()
    order = list(read_study().runs)
    for corpus_dir in sorted(
        {file.parents[1] for file in where.resolve().glob("*/*/manifest.json")}
    ):
        runs = run_states(corpus_dir, inputs)
        for name in sorted(runs.runs, key=order.index):
            print(f"{corpus_dir.name}/{name}: {migrate(corpus_dir / name, runs)}", flush=True)
            edition_index.add(corpus_dir.parent, [f"{corpus_dir.name}/{name}"])
    for name in vouch_for_measurements(BENCHMARK.parent):
        print(f"{BENCHMARK.parent.name}/{name}: now in the manifest", flush=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else REPORTS / "published")

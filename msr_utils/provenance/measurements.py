"""Measurements of speed and memory: what they depend on, and the hash of every file.

``reports/benchmarks/manifest.json`` vouches for the files beside it, as the manifest of a run does:
`msr_utils.provenance.manifest.check` compares them. ``measured`` says of each file of figures which
code was measured (``code``, ``packages``, and the ``roots`` from which the code was followed) and
on which machine. ``null`` stands for what was not recorded when the file was made.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from filelock import FileLock

from msr_utils.io import read_json, sha256_file, write_json
from msr_utils.paths import CACHE_DIR
from msr_utils.provenance import manifest
from msr_utils.provenance.cache_keys import identity_of
from msr_utils.provenance.code_identity import Code, project_code
from msr_utils.provenance.code_reader import Key
from msr_utils.provenance.environment import environment


class MeasurementError(ValueError):
    """Recorded figures that are not those which were measured."""


def record(results: Path, roots: Sequence[Key] | None, others: Iterable[Path] = ()) -> None:
    """Vouch for a file of figures that was just written.

    Parameters
    ----------
    results : Path
        The file; its folder holds the manifest.
    roots : sequence of (module, definition), optional
        Where the code begins that was measured. None: that is not known.
    others : iterable of Path
        Files that were written with it, such as a report for people.
    """
    folder = results.parent
    CACHE_DIR.mkdir(parents=True, exist_ok=True)
    with FileLock(CACHE_DIR / "measurements.lock"):
        content = manifest.read(folder).content
        outputs = content.get("outputs", {})
        outputs |= {file.name: {"sha256": sha256_file(file)} for file in (results, *others)}
        measured = content.get("measured", {})
        measured[results.name] = (
            {"roots": None, "code": None, "packages": None, "machine": None}
            if roots is None
            else {"roots": roots, **identity_of(project_code(), roots), "machine": environment()}
        )
        content = {"format": manifest.FORMAT, "measured": measured, "outputs": outputs}
        write_json(folder / manifest.MANIFEST, content)


def is_measurements(folder: Path) -> bool:
    """True for a folder whose manifest tells of measurements, and not of a run."""
    return "measured" in manifest.read(folder).content


def changes(folder: Path, code: Code) -> tuple[list[str], list[str]]:
    """Files whose code or packages have changed since they were measured, and those not known."""
    stale, unknown = [], []
    for name, recorded in manifest.read(folder).content["measured"].items():
        if recorded["roots"] is None:
            unknown.append(name)
            continue
        now = identity_of(code, [(module, thing) for module, thing in recorded["roots"]])
        stale += [f"{name}: {part}" for part in now if recorded[part] != now[part]]
    return stale, unknown


def figures(file: Path) -> Any:
    """Figures as they were measured; None if there are none.

    Raises
    ------
    MeasurementError
        If the file is not the one that the manifest beside it vouches for.
    """
    if not file.is_file():
        return None
    recorded = manifest.read(file.parent).outputs.get(file.name)
    if recorded is None or sha256_file(file) != recorded["sha256"]:
        raise MeasurementError(
            f"{file.parent.name}/{file.name}: its manifest.json does not vouch for it; put it "
            "back (git checkout) or measure again"
        )
    return read_json(file)

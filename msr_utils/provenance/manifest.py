"""The manifest of a run: what its results depend on, and the hash of every file that it left.

``manifest.json`` is written last and vouches for the rest of the run folder. It holds

- ``inputs``: what the numbers depend on, each by its hash; see `msr_utils.study.inputs`. ``null``
  stands for what could not be known when it was written.
- ``presentation``: hash of what draws and words the chapter.
- ``results``: hash of ``metrics.json`` without what is measured anew each time, such as seconds.
  Runs that build on this one depend on it.
- ``outputs``: every file with its SHA-256, those of bundles elsewhere by their path in the
  project. ``local`` marks what git ignores: it may be missing in a clone.
- ``migration``, in manifests that a migration wrote and not the run: why, what was checked, and
  what was not; see `msr_utils.study.migrate_manifests`.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

from msr_utils.io import read_json, sha256_file, sha256_text
from msr_utils.paths import PROJECT_ROOT

FORMAT = 2
"""Of manifests. Those of format 1 had no outputs."""

MANIFEST, RESULTS = "manifest.json", "metrics.json"

VOUCHED = (RESULTS, "notebook.ipynb", "params.yml")
"""Files that no manifest leaves out: one that lies in the folder and is not recorded was put there
or struck from the manifest by hand."""

LOCAL = ("predictions.npz", "models/*")
"""Outputs that repeat corpus data or are large: git ignores them, a test says."""

NO_OUTPUTS = (MANIFEST, "failed.ipynb", "kernel.log", "work/*", ".tmp-*", "*/.tmp-*")
"""Files of a run folder that are no results: of runs under way, or of those that failed."""

MEASURED = frozenset(
    {
        # Of trainings and their evaluation.
        "training_s", "seconds_per_epoch", "inference_ms_per_minute", "realtime_factor", "minutes",
        "training s", "seconds per epoch", "inference ms per minute", "first_note_ms",
        "times_real_time",
        # Of the cost of networks: time and memory at each length, and how they grow.
        "batch_seconds", "epoch_seconds_per_hour", "lengths", "growth", "machine", "threads",
        # Of recorded requests: the length of answers in which the service tells its time.
        "characters",
        # What a search rests on, which is no result of it.
        "facts",
    }
)  # fmt: skip
"""Fields of ``metrics.json`` that differ between two executions that give the same results."""

ANSWERED = re.compile(r'"(elapsed_ms|request_id|state)": ("[^"]*"|[\d.]+)')
"""What differs in the service's answers: its time, the name of a request, a signed state."""


@dataclass(frozen=True)
class Check:
    """What has become of a run's files.

    Parameters
    ----------
    altered, missing, local, unrecorded : tuple of str
        Files with other bytes than recorded; that should be here; that may be missing and are;
        that no manifest tells of.
    """

    altered: tuple[str, ...] = ()
    missing: tuple[str, ...] = ()
    local: tuple[str, ...] = ()
    unrecorded: tuple[str, ...] = ()

    @property
    def ok(self) -> bool:
        """True if nothing was altered and nothing that should be here is missing."""
        return not (self.altered or self.missing)


@dataclass(frozen=True)
class Manifest:
    """What `read` found.

    Parameters
    ----------
    folder : Path
        Of the run.
    content : dict
        As it is in the file; empty where there is none.
    """

    folder: Path
    content: dict[str, Any] = field(default_factory=dict)

    @property
    def is_there(self) -> bool:
        """True if the run has finished."""
        return bool(self.content)

    @property
    def inputs(self) -> dict[str, Any]:
        """See the module."""
        return self.content.get("inputs", {})

    @property
    def presentation(self) -> str:
        """See the module."""
        return self.content.get("presentation", "")

    @property
    def results(self) -> str:
        """See the module; empty in manifests of format 1."""
        return self.content.get("results", "")

    @property
    def migration(self) -> str:
        """Why a migration wrote this manifest, and what it checked; empty if the run wrote it."""
        return self.content.get("migration", "")

    @property
    def outputs(self) -> dict[str, dict[str, Any]]:
        """File to ``sha256`` and, if git ignores it, ``local``."""
        return self.content.get("outputs", {})


def read(folder: Path) -> Manifest:
    """The manifest of a run folder; an empty one if the run has not finished.

    One that is no JSON object counts as one without outputs, which `check` calls altered.
    """
    file = Path(folder) / MANIFEST
    if not file.is_file():
        return Manifest(Path(folder))
    try:
        content = read_json(file)
    except ValueError:
        content = None
    readable = isinstance(content, dict) and bool(content)
    return Manifest(Path(folder), content if readable else {"format": FORMAT})


def without_manifest(where: Path) -> list[Path]:
    """Run folders under a folder that hold results and no manifest, sorted."""
    found = {file.parent for name in (RESULTS, "params.yml") for file in where.rglob(name)}
    return sorted(folder for folder in found if not (folder / MANIFEST).is_file())


def hash_outputs(
    folder: Path, bundles: Iterable[Path] = (), root: Path = PROJECT_ROOT
) -> dict[str, dict[str, Any]]:
    """Every file that a run has left.

    Parameters
    ----------
    folder : Path
        Of the run.
    bundles : iterable of Path
        Folders elsewhere that it has written, as those that the service ships.
    root : Path
        Of the project, from which files elsewhere are named.
    """
    found: dict[str, dict[str, Any]] = {}
    for name in _files(folder):
        found[name] = {"sha256": sha256_file(folder / name)}
        if any(fnmatch(name, pattern) for pattern in LOCAL):
            found[name]["local"] = True
    for bundle in bundles:
        for name in _files(bundle):
            place = (bundle / name).resolve().relative_to(root.resolve()).as_posix()
            found[f"/{place}"] = {"sha256": sha256_file(bundle / name)}
    return found


def _files(folder: Path) -> list[str]:
    """Files of a run folder that may be results."""
    files = (path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())
    return sorted(f for f in files if not any(fnmatch(f, pattern) for pattern in NO_OUTPUTS))


def check(manifest: Manifest, root: Path = PROJECT_ROOT) -> Check:
    """Compare a run's files with its manifest.

    A manifest of format 1 names no files, so there is nothing to compare. One of the present
    format without files was altered.
    """
    if not manifest.outputs:
        return Check(altered=(MANIFEST,) if manifest.content.get("format") == FORMAT else ())
    altered: list[str] = []
    missing: list[str] = []
    local: list[str] = []
    for name, recorded in manifest.outputs.items():
        path = root / name[1:] if name.startswith("/") else manifest.folder / name
        if not path.is_file():
            may_lack = any(fnmatch(name, pattern) for pattern in LOCAL) and name not in VOUCHED
            (local if may_lack else missing).append(name)
        elif sha256_file(path) != recorded["sha256"]:
            altered.append(name)
    known = manifest.content.get("results")
    if known is not None and RESULTS not in altered and results_hash(manifest.folder) != known:
        altered.append(RESULTS)
    unrecorded = [name for name in _files(manifest.folder) if name not in manifest.outputs]
    altered += [name for name in unrecorded if name in VOUCHED]
    unrecorded = [name for name in unrecorded if name not in VOUCHED]
    return Check(tuple(altered), tuple(missing), tuple(local), tuple(unrecorded))


def results_hash(folder: Path) -> str:
    """SHA-256 of a run's numbers, without what is measured anew each time."""
    file = Path(folder) / RESULTS
    values = without_measured(read_json(file)) if file.is_file() else None
    return sha256_text(json.dumps(values, sort_keys=True))


def without_measured(value: Any) -> Any:
    """Results without `MEASURED` fields."""
    if isinstance(value, Mapping):
        return {k: without_measured(v) for k, v in value.items() if k not in MEASURED}
    if isinstance(value, list):
        return [without_measured(item) for item in value]
    return ANSWERED.sub(r'"\1": ""', value) if isinstance(value, str) else value


def differences(before: Any, after: Any, where: str = "") -> list[str]:
    """Values of two results that differ, one line each, `MEASURED` fields aside."""
    before, after = without_measured(before), without_measured(after)
    if isinstance(before, dict) and isinstance(after, dict):
        keys = dict.fromkeys([*before, *after])
        pairs = [(before.get(k), after.get(k), f"{where}.{k}" if where else k) for k in keys]
    elif isinstance(before, list) and isinstance(after, list) and len(before) == len(after):
        pairs = [
            (b, a, f"{where}[{i}]") for i, (b, a) in enumerate(zip(before, after, strict=True))
        ]
    else:
        same = type(before) is type(after) and before == after
        return [] if same else [f"{where}: {before!r} before, {after!r} now"]
    return [line for b, a, place in pairs for line in differences(b, a, place)]

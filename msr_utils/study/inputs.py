"""What a run's numbers depend on, by content: code, parameters, packages, data, other runs."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any

from msr_utils.corpora import CORPORA, load_corpus
from msr_utils.corpora.base import CorpusError
from msr_utils.io import plain, sha256_file, sha256_text
from msr_utils.models.checkpoints import PretrainedError, checkpoint_hash
from msr_utils.paths import NOTEBOOKS, PROJECT_ROOT
from msr_utils.provenance import manifest
from msr_utils.provenance.code_identity import Code, project_code
from msr_utils.provenance.manifest import Manifest
from msr_utils.provenance.notebook_identity import NotebookIdentity, notebook_identity
from msr_utils.provenance.packages import versions_of
from msr_utils.study.parameters import StudyError, default_parameters
from msr_utils.study.plan import Run, corpus_name

NO_FILE = "none"
"""In the place of a hash, where a parameter names no file."""

UP_TO_DATE, REDRAW, STALE, ALTERED, ABSENT, NO_MANIFEST = (
    "up to date", "presentation stale", "results stale", "altered", "not run", "no manifest",
)  # fmt: skip
"""States of a run. What only draws otherwise is drawn again and computes the same numbers."""

_VERSIONS = """
import json, platform
from importlib.metadata import distributions
found = sorted({f"{d.metadata['Name']}=={d.version}" for d in distributions()})
print(json.dumps([platform.python_version(), found]))
"""
"""Asks another interpreter for all that is installed there."""


@dataclass(frozen=True)
class State:
    """Whether a run is up to date.

    Parameters
    ----------
    name : str
        One of `UP_TO_DATE` and its like.
    why : tuple of str
        Inputs that have changed, or files.
    unknown : tuple of str
        Inputs that cannot be compared, as data that is not here.
    migration : str
        Of an up-to-date run whose manifest a migration wrote: why, and what was checked. The run
        was not repeated with the code whose identity the manifest has.
    """

    name: str
    why: tuple[str, ...] = ()
    unknown: tuple[str, ...] = ()
    migration: str = ""


@dataclass(frozen=True)
class RunInputs:
    """What a run's numbers depend on, each by its hash.

    Parameters
    ----------
    code, parameters, packages : str
    files : dict of str to str
        By parameter or environment variable. None where a file is not here.
    after, uses : dict of str to str
        Results of other runs by name. None where one has none.
    """

    code: str
    parameters: str
    packages: str
    files: dict[str, str | None]
    after: dict[str, str | None]
    uses: dict[str, str]

    def to_json(self) -> dict[str, Any]:
        """As manifests hold it: without `uses` where there is none."""
        return {name: value for name, value in vars(self).items() if value or name != "uses"}


@dataclass
class Inputs:
    """Hashes of what runs depend on; each file is read once.

    Parameters
    ----------
    data_hash : str
        Of the corpus under ``data_dir``, where it is known already.
    notebooks : Path
    code : Code
    """

    data_hash: str = ""
    notebooks: Path = NOTEBOOKS
    code: Code = field(default_factory=project_code)
    _known: dict[tuple, Any] = field(default_factory=dict)

    def of(self, run: Run, corpus_dir: Path, uses: Mapping[str, str] | None = None) -> RunInputs:
        """All that a run's numbers depend on.

        Parameters
        ----------
        run : Run
        corpus_dir : Path
            Folder in which the runs lie that it builds on.
        uses : mapping of str to str
            Results of those that it uses if they are there.

        Raises
        ------
        StudyError, IdentityError
        """
        identity = self.notebook(run.notebook)
        after = {name: manifest.read(corpus_dir / name).results or None for name in run.after}
        return RunInputs(
            code=identity.computation,
            parameters=sha256_text(json.dumps(self.parameters(run), sort_keys=True)),
            packages=sha256_text(json.dumps(versions_of(identity.packages))),
            files={name: self._file(run, name, kind) for name, kind in _kinds(run).items()},
            after=after,
            uses=dict(uses or {}),
        )

    def notebook(self, name: str) -> NotebookIdentity:
        """Both identities of a notebook."""
        path = self.notebooks / f"{name}.ipynb"
        return self._once(("notebook", name), lambda: _identity(path, sha256_file(path), self.code))

    def parameters(self, run: Run) -> dict[str, Any]:
        """Values of all parameters that are no files: those given, else the notebook's own."""
        values = self._values(run)
        places = {"data_dir", "output_dir", *run.inputs, *run.outputs}
        return plain({name: values[name] for name in sorted(values) if name not in places})

    def _values(self, run: Run) -> dict[str, Any]:
        path = self.notebooks / f"{run.notebook}.ipynb"
        default = self._once(("default", run.notebook), lambda: default_parameters(path))
        return {**default, **run.parameters}

    def _once(self, key: tuple, compute: Callable[[], Any]) -> Any:
        if key not in self._known:
            self._known[key] = compute()
        return self._known[key]

    def _file(self, run: Run, name: str, kind: str) -> str | None:
        """Hash of what a parameter names; None where it is not here."""
        if name == "data_dir" and self.data_hash:
            return self.data_hash
        values = {**self._values(run), "corpus": run.parameters["corpus"]}
        word, _, which = kind.partition(" ")
        value = os.environ.get(name, "") if name.isupper() else values[name]
        if word == "interpreter":
            return self._once((word, value), lambda: _interpreter(value))
        if word == "checkpoint":
            return self._once((word, value), lambda: _checkpoint(value))
        if word == "files":
            return self._once((word, value), lambda: _files(value))
        if word == "bundles":
            names = which.format_map({**values, "corpus": _corpus(run)}).split()
            return self._once((word, value, *names), lambda: _bundles(value, names))
        loader = which if which in CORPORA else values[which]
        size = values.get("synthetic_tracks") if loader == "synthetic" else None
        return self._once((loader, value, size), lambda: _corpus_hash(loader, value, size))


@lru_cache(maxsize=256)
def _identity(path: Path, content: str, code: Code) -> NotebookIdentity:
    """Both identities of a notebook of this content, once in a process."""
    return notebook_identity(path, code)


def _kinds(run: Run) -> dict[str, str]:
    """Parameters that name files which a run reads, and what kind they are of."""
    kinds = {"data_dir": "corpus corpus", **run.inputs}
    return {name: kind for name, kind in kinds.items() if kind != "unused"}


def _corpus(run: Run) -> str:
    return corpus_name(run.parameters["corpus"], run.parameters["data_dir"])


def _corpus_hash(loader: str, folder: str, size: int | None = None) -> str | None:
    """SHA-256 of a corpus; None if it is not here.

    Once in a process for files of the same names, sizes and times.
    """
    if loader != "synthetic" and not folder:
        return NO_FILE
    path = PROJECT_ROOT / folder
    if loader != "synthetic" and not path.is_dir():
        return None
    seen = () if loader == "synthetic" else _file_states(path)
    try:
        return _content_hash(loader, path, size, seen)
    except CorpusError as error:
        raise StudyError(f"{folder}: {error}") from error


def _file_states(folder: Path) -> tuple[tuple[str, int, int], ...]:
    """Path, size and time of change of every file under a folder."""
    states = ((path, path.stat()) for path in sorted(folder.rglob("*")) if path.is_file())
    return tuple((str(path), state.st_size, state.st_mtime_ns) for path, state in states)


@lru_cache(maxsize=64)
def _content_hash(loader: str, path: Path, size: int | None, seen: tuple) -> str:
    options: dict[str, Any] = {"synthetic_tracks": size} if size else {}
    return load_corpus(loader, path, need_audio=False, **options).content_hash()


def _bundles(folder: str, names: list[str]) -> str | None:
    """SHA-256 of what predicts in the bundles of a folder, or in those named."""
    if not folder:
        return NO_FILE  # in the folder of a run that comes before
    path = PROJECT_ROOT / folder
    bundles = (
        [path / n for n in names] if names else sorted(p.parent for p in path.glob("*/card.json"))
    )
    files = [f for b in bundles for f in (b / "model.onnx", b / "features.json", b / "card.json")]
    if not bundles or not all(file.is_file() for file in files):
        return None
    return sha256_text("\n".join(f"{f.parent.name}/{f.name} {sha256_file(f)}" for f in files))


def _files(folder: str) -> str | None:
    """SHA-256 of all files under a folder and of their names in it; None if it is not here."""
    if not folder:
        return NO_FILE
    root = PROJECT_ROOT / folder
    files = sorted(path for path in root.rglob("*") if path.is_file())
    lines = [f"{path.relative_to(root).as_posix()} {sha256_file(path)}" for path in files]
    return sha256_text("\n".join(sorted(lines))) if lines else None


def _checkpoint(name: str) -> str | None:
    """SHA-256 of a pretrained network's files; None if it is not here."""
    if not name:
        return NO_FILE
    try:
        return checkpoint_hash(name)
    except PretrainedError:
        return None


def _interpreter(python: str) -> str | None:
    """SHA-256 of an interpreter's version and packages; None without one."""
    if not python:
        return None
    try:
        output = subprocess.run(
            [python, "-c", _VERSIONS], capture_output=True, text=True, check=True, timeout=60
        ).stdout
    except (OSError, subprocess.SubprocessError) as error:
        raise StudyError(f"{python}: cannot be asked for its packages ({error})") from error
    return sha256_text(output.strip())


def changed(recorded: Mapping[str, Any], now: Mapping[str, Any]) -> tuple[list[str], list[str]]:
    """Inputs that differ, and those that are known on one side only."""
    stale, unknown = [], []
    for name in dict.fromkeys([*recorded, *now]):
        before, after = recorded.get(name), now.get(name)
        if isinstance(before, Mapping) or isinstance(after, Mapping):
            own = changed(before or {}, after or {})
            stale += [f"{name}: {part}" for part in own[0]]
            unknown += [f"{name}: {part}" for part in own[1]]
        elif name in recorded and name in now and (before is None or after is None):
            unknown += [name] if before != after or before is None else []
        elif before != after:
            stale.append(name)
    return stale, unknown


def state_of(
    recorded: Manifest, inputs: RunInputs, presentation: str,
    root: Path = PROJECT_ROOT,
) -> State:  # fmt: skip
    """Whether a run is up to date.

    Parameters
    ----------
    recorded : Manifest
    inputs : RunInputs
        What it depends on now.
    presentation : str
        Of its notebook, now.
    root : Path
        Of the project.
    """
    if not recorded.is_there:
        return State(ABSENT)
    if recorded.content.get("format") != manifest.FORMAT:
        return State(STALE, ("its manifest is of an older format",))
    stale, unknown = changed(recorded.inputs, inputs.to_json())
    if stale:
        return State(STALE, tuple(stale), tuple(unknown))
    found = manifest.check(recorded, root)
    if not found.ok:
        return State(ALTERED, (*found.altered, *(f"{name} is missing" for name in found.missing)))
    if recorded.presentation != presentation:
        return State(REDRAW, (), tuple(unknown), recorded.migration)
    return State(UP_TO_DATE, (), tuple(unknown), recorded.migration)


@dataclass
class RunStates:
    """How the runs of one corpus in one edition stand.

    Parameters
    ----------
    runs : dict of str to Run
        By name.
    edition : str
        Folder under `reports`.
    reports : Path
    inputs : Inputs
    states : dict of str to State
        Of those that were asked for.
    """

    runs: dict[str, Run]
    edition: str
    reports: Path
    inputs: Inputs
    states: dict[str, State] = field(default_factory=dict)

    def folder(self, name: str) -> Path:
        """Of a run."""
        return self.reports / self.edition / _corpus(self.runs[name]) / name

    def manifest(self, name: str) -> Manifest:
        """As it lies in the folder."""
        return manifest.read(self.folder(name))

    def state(self, name: str) -> State:
        """How a run stands."""
        if name not in self.states:
            self.states[name] = state_of(self.manifest(name), *self.now(name))
        return self.states[name]

    def now(self, name: str) -> tuple[RunInputs, str]:
        """What a run's numbers depend on now, and the identity of how it is presented."""
        run = self.runs[name]
        uses = {
            used: self.manifest(used).results
            for used in run.uses
            if used in self.runs and self.state(used).name in (UP_TO_DATE, REDRAW)
        }
        now = self.inputs.of(run, self.folder(name).parent, uses)
        return now, self.inputs.notebook(run.notebook).presentation

"""Check kept results: are the files those that were written, and is what they rest on the same?"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import yaml

from msr_utils.paths import NOTEBOOKS, SCRATCH
from msr_utils.provenance import manifest
from msr_utils.provenance.manifest import Check
from msr_utils.provenance.source_tree import IdentityError
from msr_utils.study.inputs import (
    ABSENT,
    ALTERED,
    NO_MANIFEST,
    REDRAW,
    STALE,
    Inputs,
    Standings,
    State,
)
from msr_utils.study.plan import (
    KINDS,
    Run,
    Study,
    StudyError,
    plan,
    read_study,
)

CARRIED_OVER = "identity carried over"
"""Said of runs whose manifest was written by a migration: they were not run with today's code."""

UNFINISHED = (
    "it holds results that nothing vouches for: the run did not finish, or its manifest.json was "
    "removed; put that back (git checkout) or run it again with 'msr run'"
)


@dataclass(frozen=True)
class Verified:
    """One run, checked.

    Parameters
    ----------
    folder : Path
    files : Check
    state : State
    """

    folder: Path
    files: Check
    state: State

    @property
    def name(self) -> str:
        """``edition/corpus/run``."""
        return "/".join(self.folder.parts[-3:])

    @property
    def standing(self) -> str:
        """Its state; apart from others, where its identity was carried over by a migration."""
        return f"{self.state.name}, {CARRIED_OVER}" if self.state.migration else self.state.name

    def lines(self) -> Iterator[tuple[str, str]]:
        """What there is to say: a word, and the file or the reason."""
        for word, files in (
            ("altered", self.files.altered),
            ("missing", self.files.missing),
            ("not here", self.files.local),
            ("unrecorded", self.files.unrecorded),
        ):
            yield from ((word, f"{self.name}/{f}" if f[0] != "/" else f[1:]) for f in files)
        if self.state.migration:
            yield "carried over", self.name
        if self.state.name in (STALE, REDRAW, ABSENT, NO_MANIFEST):
            yield self.state.name, ": ".join(filter(None, [self.name, ", ".join(self.state.why)]))
        if self.state.unknown:
            yield "not compared", f"{self.name}: {', '.join(self.state.unknown)}"


def verify(where: Path, notebooks: Path = NOTEBOOKS) -> list[Verified]:
    """Check all runs under a folder.

    Parameters
    ----------
    where : Path
        ``reports``, an edition, a corpus of it or one run.
    notebooks : Path
        With ``study.yml``.

    Returns
    -------
    list of Verified
        Also folders with results and no manifest. Notebooks that were run on their own, in the
        scratch folder, never have one and are left out.

    Raises
    ------
    StudyError
        If there is no run.
    """
    where = Path(where).resolve()
    finished = {file.parent for file in where.rglob(manifest.MANIFEST)}
    bare = {f for f in manifest.without_manifest(where) if not f.is_relative_to(SCRATCH)}
    if not finished | bare:
        raise StudyError(f"{where}: holds no finished run")
    inputs = Inputs(notebooks=notebooks)
    shelves = {c: standings(c, inputs) for c in {f.parent for f in finished}}
    found = []
    for folder in sorted(finished | bare):
        if folder in bare:
            found.append(Verified(folder, Check(), State(NO_MANIFEST, (UNFINISHED,))))
            continue
        files = manifest.check(manifest.read(folder))
        found.append(Verified(folder, files, _state(shelves[folder.parent], folder.name)))
    return found


def standings(corpus_dir: Path, inputs: Inputs) -> Standings:
    """The runs that lie in ``reports/<edition>/<corpus>``, as they would be made now.

    Runs of an edition that the study describes take its parameters, others keep their own; the
    paths are those that they were made with.

    Raises
    ------
    StudyError
        If the study or a parameter is not right.
    """
    study = read_study(inputs.notebooks / "study.yml")
    edition = corpus_dir.parent.name
    runs, planned = {}, {}
    for file in sorted(corpus_dir.glob("*/params.yml")):
        name, own = file.parent.name, yaml.safe_load(file.read_text("utf-8"))
        if name not in study.runs:
            continue
        run = _as_it_was(name, own, study)
        where = own["corpus"], own["data_dir"]
        if edition in study.editions and where not in planned:
            planned[where] = plan(
                study, *where, edition=edition, notebooks=inputs.notebooks, kinds_of_labels=KINDS
            )
        now = next((one for one in planned.get(where, ()) if one.name == name), run)
        places = {*now.inputs, *now.outputs, "data_dir"}
        paths = {n: value for n, value in own.items() if n in places}
        runs[name] = replace(now, parameters={**now.parameters, **paths})
    return Standings(runs, edition, corpus_dir.parents[1], inputs)


def _as_it_was(name: str, parameters: dict[str, Any], study: Study) -> Run:
    spec = study.runs[name]
    return Run(
        name,
        spec["notebook"],
        {n: value for n, value in parameters.items() if n != "output_dir"},
        tuple(spec.get("after", ())),
        tuple(spec.get("uses", ())),
        spec.get("experiment", ""),
        spec.get("inputs") or {},
        spec.get("outputs") or {},
    )


def _state(shelf: Standings, name: str) -> State:
    if name not in shelf.runs:
        return State(STALE, ("study.yml has no such run",))
    try:
        return shelf.state(name)
    except (IdentityError, StudyError) as error:
        return State(STALE, (str(error),))


def failed(found: list[Verified]) -> bool:
    """True if a file was altered or is missing, or a folder with results has no manifest."""
    return any(not one.files.ok or one.state.name in (ALTERED, NO_MANIFEST) for one in found)


def reasons(found: list[Verified]) -> list[str]:
    """Why identities were carried over and what was checked, each text once."""
    return list(dict.fromkeys(one.state.migration for one in found if one.state.migration))

"""Check kept results: are the files those that were written, and is what they rest on the same?"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import yaml

from msr_utils.paths import NOTEBOOKS, SCRATCH
from msr_utils.provenance import manifest, measurements
from msr_utils.provenance.manifest import Check
from msr_utils.provenance.source_tree import IdentityError
from msr_utils.study import edition_index
from msr_utils.study.inputs import (
    ABSENT,
    ALTERED,
    NO_MANIFEST,
    REDRAW,
    STALE,
    UP_TO_DATE,
    Inputs,
    RunStates,
    State,
)
from msr_utils.study.parameters import StudyError
from msr_utils.study.plan import KINDS, Run, Study, plan, read_study

CARRIED_OVER = "identity carried over"
"""Said of runs whose manifest was written by a migration: they were not run with today's code."""

LOST = (
    "runs.json of its edition lists it; put its folder back (git checkout) or run it again with "
    "'msr run'"
)

UNLISTED = "not listed in runs.json of its edition"

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
    is_listed : bool
        In the index of its edition, if that has one.
    """

    folder: Path
    files: Check
    state: State
    is_listed: bool = True

    @property
    def name(self) -> str:
        """``edition/corpus/run``; of measurements, the folder's own name."""
        parts = 1 if measurements.is_measurements(self.folder) else 3
        return "/".join(self.folder.parts[-parts:])

    @property
    def is_bad(self) -> bool:
        """True if a file was altered or is missing, or the run or its manifest is."""
        return not self.files.ok or self.state.name in (ALTERED, ABSENT, NO_MANIFEST)

    @property
    def is_current(self) -> bool:
        """True if the present code, packages and parameters are known to give these results."""
        now = self.state.name == UP_TO_DATE and not self.state.migration
        return now and self.is_listed and not self.files.unrecorded

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
        if not self.is_listed:
            yield "unlisted", f"{self.name}: {UNLISTED}"
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
        Also runs that the index of an edition lists and whose folders are gone, folders with
        results and no manifest, and measurements. Notebooks that were run on their own, in the
        scratch folder, never have a manifest and are left out.

    Raises
    ------
    StudyError
        If there is no run.
    """
    where = Path(where).resolve()
    finished = {file.parent for file in where.rglob(manifest.MANIFEST)}
    measured = {folder for folder in finished if measurements.is_measurements(folder)}
    finished -= measured
    bare = {f for f in manifest.without_manifest(where) if not f.is_relative_to(SCRATCH)}
    editions = {folder.parents[1] for folder in finished | bare} | _editions(where)
    listed = {edition: edition_index.listed(edition) for edition in editions}
    lost = {run for edition in editions for run in edition_index.lost(edition)}
    lost = {folder for folder in lost if folder.is_relative_to(where)}
    if not finished | bare | measured | lost:
        raise StudyError(f"{where}: holds no finished run")
    inputs = Inputs(notebooks=notebooks)
    by_corpus = {c: run_states(c, inputs) for c in {f.parent for f in finished}}
    found = []
    for folder in sorted(finished | bare | lost):
        if folder in lost:
            found.append(Verified(folder, Check(), State(ABSENT, (LOST,))))
        elif folder in bare:
            found.append(Verified(folder, Check(), State(NO_MANIFEST, (UNFINISHED,))))
        else:
            files = manifest.check(manifest.read(folder))
            state = _state(by_corpus[folder.parent], folder.name)
            known = listed[folder.parents[1]]
            is_listed = not known or "/".join(folder.parts[-2:]) in known
            found.append(Verified(folder, files, state, is_listed))
    return found + [_measured(folder, inputs) for folder in sorted(measured)]


def _editions(where: Path) -> set[Path]:
    """Editions that have an index and lie in a folder, or around it."""
    inside = {file.parent for file in where.rglob(edition_index.INDEX)}
    around = {folder for folder in where.parents[:2] if (folder / edition_index.INDEX).is_file()}
    return inside | around


def _measured(folder: Path, inputs: Inputs) -> Verified:
    """Recorded measurements: their files, and whether what was measured is the same now."""
    stale, unknown = measurements.changes(folder, inputs.code)
    state = State(STALE if stale else UP_TO_DATE, tuple(stale), tuple(unknown))
    return Verified(folder, manifest.check(manifest.read(folder)), state)


def run_states(corpus_dir: Path, inputs: Inputs) -> RunStates:
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
    return RunStates(runs, edition, corpus_dir.parents[1], inputs)


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


def _state(runs: RunStates, name: str) -> State:
    if name not in runs.runs:
        return State(STALE, ("study.yml has no such run",))
    try:
        return runs.state(name)
    except (IdentityError, StudyError) as error:
        return State(STALE, (str(error),))


def failed(found: Iterable[Verified], strict: bool = False) -> bool:
    """True if something that should be here is missing or altered.

    Parameters
    ----------
    found : iterable of Verified
    strict : bool
        Also if something is not current: see `Verified.is_current`.
    """
    return any(one.is_bad or (strict and not one.is_current) for one in found)


def reasons(found: list[Verified]) -> list[str]:
    """Why identities were carried over and what was checked, each text once."""
    return list(dict.fromkeys(one.state.migration for one in found if one.state.migration))

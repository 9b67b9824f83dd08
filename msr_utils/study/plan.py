"""``notebooks/study.yml``: reading, checking, and settling every run's parameters."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, replace
from itertools import product
from pathlib import Path
from typing import Any

import yaml

from msr_utils.corpora import CORPORA
from msr_utils.corpora.base import LABELS, NOTES, Corpus
from msr_utils.dataset.splits import folds_that_fit
from msr_utils.paths import NOTEBOOKS, PROJECT_ROOT, SCRATCH
from msr_utils.study.parameters import (
    StudyError,
    check_value,
    declared_parameters,
    parse_value,
)

RUN_KEYS = (
    "notebook", "preset", "parameters", "after", "uses", "for", "corpora", "experiment", "inputs",
    "outputs",
)  # fmt: skip
"""What ``study.yml`` may say of a run. It applies to corpora that have labels it is `for`, and, if
it names `corpora`, to these alone. It waits for those it comes `after`; of those that it
`uses` it takes what is there. One with an `experiment` runs only when that is asked for. `inputs`
and `outputs` say what its parameters that name files stand for. `for_each` makes a run of each
value of a parameter; the run's name contains that parameter in braces."""

INPUT_KINDS = ("corpus", "bundles", "files", "checkpoint", "interpreter", "unused")
"""What a parameter may name that a run reads: ``corpus NAME``, where the name is a loader's or that
of the parameter which holds it; ``bundles``, all in a folder or those named after it; ``files``,
all under a folder; ``checkpoint``, a pretrained network. An environment variable, in capitals, may
name an ``interpreter``. What they hold counts, their paths do not. ``data_dir`` is the run's corpus
unless it is ``unused``."""

OUTPUT_KINDS = ("bundles", "database")
"""What a parameter may name that a run writes: a folder of bundles, whose names are in its results
under ``bundle`` or ``bundles``; a database, which is kept by no manifest."""

KINDS = (*LABELS, "static", "profiles", NOTES)
"""Kinds of labels and data that a run may be for; see `Corpus.kinds`."""


@dataclass(frozen=True)
class Run:
    """One notebook with its parameters."""

    name: str
    notebook: str
    parameters: dict[str, Any]
    after: tuple[str, ...] = ()
    uses: tuple[str, ...] = ()
    experiment: str = ""
    inputs: dict[str, str] = field(default_factory=dict)
    outputs: dict[str, str] = field(default_factory=dict)


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
    content = _expand(content, path.name)
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


def _expand(content: dict, where: str) -> dict:
    """Make one run of each value of ``for_each``, wherever the run's template is named.

    ``lstm-{target}`` with ``for_each: {target: [arousal, valence]}`` becomes ``lstm-arousal`` and
    ``lstm-valence``, each with its parameter `target`.

    Raises
    ------
    StudyError
        If ``for_each`` is no mapping of lists, or the name does not tell the runs apart.
    """
    runs: dict[str, dict] = {}
    made: dict[str, list[str]] = {}

    def names(listed: Any) -> list[str]:
        return [name for item in listed or () for name in made.get(item, [item])]

    for template, spec in (content.get("runs") or {}).items():
        each = spec.get("for_each", {}) if isinstance(spec, dict) else {}
        if not isinstance(each, dict) or not all(isinstance(v, list) and v for v in each.values()):
            raise StudyError(f"{where}, run {template!r}: for_each must name lists of values")
        for values in product(*each.values()):
            fixed = dict(zip(each, values, strict=True))
            try:
                name = template.format(**fixed)
            except (KeyError, IndexError, ValueError) as error:
                raise StudyError(f"{where}, run {template!r}: for_each lacks {error}") from error
            if name in runs:
                raise StudyError(
                    f"{where}, run {template!r}: the name must contain {{{', '.join(each)}}}"
                )
            runs[name] = spec
            if each:
                runs[name] = {k: v for k, v in spec.items() if k != "for_each"}
                runs[name]["parameters"] = (spec.get("parameters") or {}) | fixed
            made.setdefault(template, []).append(name)
    for name, spec in runs.items():
        if isinstance(spec, dict):
            listed = {key: names(spec[key]) for key in ("after", "uses") if key in spec}
            runs[name] = spec | listed
    content = content | {"runs": runs}
    for section in ("profiles", "corpora", "editions"):
        parts = content.get(section) or {}
        content[section] = {
            key: part | {"runs": {n: own for r, own in part["runs"].items() for n in names([r])}}
            if isinstance(part, dict) and isinstance(part.get("runs"), dict)
            else part
            for key, part in parts.items()
        }
    return content


def _only_keys(value: Any, allowed: tuple[str, ...], where: str) -> None:
    if not isinstance(value, dict):
        raise StudyError(f"{where}: must be a mapping with {', '.join(allowed)}")
    for key in value:
        if key not in allowed:
            raise StudyError(f"{where}: unknown key {key!r}; allowed: {', '.join(allowed)}")


def check_files(run: Run, declared: Collection[str]) -> None:
    """Refuse a run with a folder among its parameters of which is not said what it is.

    Parameters
    ----------
    run : Run
    declared : collection of str
        Parameters of its notebook.

    Raises
    ------
    StudyError
        Naming the parameter.
    """
    known = {"data_dir", "output_dir", *run.inputs, *run.outputs}
    where = f"run {run.name!r}"
    for name in declared:
        if name.endswith("_dir") and name not in known:
            raise StudyError(
                f"{where}: parameter {name!r} names a folder; declare it under inputs or outputs"
            )
    for part, kinds in ((run.inputs, INPUT_KINDS), (run.outputs, OUTPUT_KINDS)):
        for name, kind in part.items():
            if not (name in declared or name.isupper()):
                raise StudyError(f"{where}: {run.notebook}.ipynb declares no parameter {name!r}")
            word, _, which = kind.partition(" ")
            if word not in kinds or (
                word == "corpus" and which not in CORPORA and which not in declared
            ):
                raise StudyError(f"{where}: {name} is {kind!r}; known: {', '.join(kinds)}")


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
    parts = (study.corpora.get(corpus), study.profiles[profile], study.editions.get(edition))
    layers: list[dict] = [part or {} for part in parts]
    shared: dict[str, Any] = {"corpus": corpus, "data_dir": data_dir}
    for layer in layers:
        shared |= layer.get("parameters") or {}
    unused = {*study.parameters, *shared, *overrides}
    runs = []
    for name, spec in study.runs.items():
        kinds = declared_parameters(notebooks / f"{spec['notebook']}.ipynb")
        unused -= set(kinds)
        applies = set(spec.get("for", ["curves"])) & set(kinds_of_labels)
        if applies and corpus in spec.get("corpora", [corpus]):
            parameters = _settle(study, name, kinds, shared, layers, overrides)
            runs.append(
                Run(
                    name,
                    spec["notebook"],
                    parameters,
                    tuple(spec.get("after", ())),
                    tuple(spec.get("uses", ())),
                    spec.get("experiment", ""),
                    spec.get("inputs") or {},
                    spec.get("outputs") or {},
                )
            )
            check_files(runs[-1], kinds)
    if unused:
        raise StudyError(f"parameter {min(unused)!r} is declared by none of the notebooks")
    return runs


def _settle(
    study: Study,
    name: str,
    kinds: Mapping[str, str],
    shared: Mapping[str, Any],
    layers: list[dict],
    overrides: Mapping[str, str],
) -> dict[str, Any]:
    """Parameters of one run: those that its notebook declares, later layers over earlier ones."""
    spec = study.runs[name]
    notebook = spec["notebook"]
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
    for key, text in overrides.items():
        if key in fixed:
            raise StudyError(f"parameter {key!r} is what run {name!r} is about; choose a run")
        if key in kinds:
            parameters[key] = parse_value(key, text, kinds[key])
    for key, value in parameters.items():
        check_value(key, value, kinds[key])
    return parameters


def fit_folds(
    runs: list[Run], corpus: Corpus, selected: Collection[str], chosen: Collection[str] = ()
) -> tuple[list[Run], list[str]]:
    """Fewer folds where a corpus has too few groups for the study's own numbers of folds.

    Parameters
    ----------
    runs : list of Run
    corpus : Corpus
        With curves.
    selected : collection of str
        Names of the runs that will be executed. Changes of the others, on which these may build,
        are not told, and it is no error if the corpus is not for them.
    chosen : collection of str
        Parameters that the user set. They stay as they are.

    Returns
    -------
    (runs, changes)
        What was changed, in words.

    Raises
    ------
    StudyError
        If the corpus has too few groups for any training.
    """
    fitting, changes = [], dict[str, None]()
    for run in runs:
        wanted = {n: run.parameters[n] for n in ("folds", "inner_folds") if n in run.parameters}
        if "folds" in wanted and not set(wanted) & set(chosen):
            seed = run.parameters.get("seed", 0)
            try:
                fits = folds_that_fit(corpus, wanted["folds"], wanted.get("inner_folds", 1), seed)
            except ValueError as error:
                if run.name in selected:
                    raise StudyError(str(error)) from error
                fitting.append(run)
                continue
            fewer = dict(zip(("folds", "inner_folds"), fits, strict=True))
            changes |= {
                f"{name} = {fewer[name]}, not {value}": None
                for name, value in wanted.items()
                if fewer[name] != value and run.name in selected
            }
            kept = {name: fewer[name] for name in wanted}
            run = replace(run, parameters=run.parameters | kept)  # noqa: PLW2901
        fitting.append(run)
    return fitting, list(changes)


def select_runs(runs: list[Run], only: Collection[str], experiments: Collection[str]) -> list[str]:
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
    return SCRATCH / corpus_name(corpus, data_dir) / run

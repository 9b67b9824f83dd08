"""The runs of an edition, and the titles of their pages."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

import nbformat

from msr_utils.io import read_json
from msr_utils.paths import NOTEBOOKS, REPORTS
from msr_utils.provenance import manifest
from msr_utils.study.edition_index import lost
from msr_utils.study.plan import read_study

REQUIRED_RUNS = ("data", "evaluation", "export")
"""Runs that the prose tells of: a corpus that has them has a book."""


PRESET_TITLES = {"ear": "MusiCNN"}
"""How presets are called in titles whose runs have an older name."""


class BookError(RuntimeError):
    """An edition that cannot be rendered, or a build with warnings."""


def find_corpus(edition: str, corpus: str = "", reports: Path = REPORTS) -> Path:
    """Folder of the one corpus that a book is about.

    Raises
    ------
    BookError
        If the edition has no runs, or several corpora and none is named.
    """
    finished = {p.parent.parent for p in (reports / edition).glob("*/*/manifest.json")}
    if not finished:
        raise BookError(f"reports/{edition} holds no finished run; run 'make study' first")
    if corpus:
        if corpus not in {p.name for p in finished}:
            raise BookError(
                f"corpus {corpus!r} is not in reports/{edition}; "
                f"found: {', '.join(sorted(p.name for p in finished))}"
            )
        return reports / edition / corpus
    books = sorted(p for p in finished if not is_chapter(p)) or sorted(finished)
    if len(books) > 1:
        raise BookError(
            f"reports/{edition} holds {', '.join(p.name for p in books)}: name one with --corpus"
        )
    return books[0]


def is_chapter(corpus_dir: Path) -> bool:
    """True if no models were compared on a corpus: its runs are chapters of the edition's book."""
    return not (corpus_dir / "evaluation" / "manifest.json").is_file()


def chapters(corpus_dir: Path) -> dict[str, list[Path]]:
    """Finished runs by the notebook that they executed, the book's own corpus first.

    Returns
    -------
    dict of str to list of Path
        Such as ``03_lstm`` to run folders, in the order of ``study.yml``.

    Raises
    ------
    BookError
        If a finished run has no manifest. One that failed, or is under way, is left out.
    """
    corpora = [corpus_dir, *(p for p in sorted(corpus_dir.parent.iterdir()) if p != corpus_dir)]
    order = list(read_study(NOTEBOOKS / "study.yml").runs)
    found: dict[str, list[Path]] = {}
    for corpus in corpora:
        if not corpus.is_dir() or (corpus != corpus_dir and not is_chapter(corpus)):
            continue
        for run in manifest.without_manifest(corpus):
            if (run / "notebook.ipynb").is_file() and not (run / "failed.ipynb").is_file():
                raise BookError(
                    f"{run.parent.name}/{run.name}: has results, but no manifest.json that vouches "
                    "for them; put it back (git checkout) or run it again with 'msr run'"
                )
        runs = [p.parent for p in corpus.glob("*/manifest.json")]
        runs.sort(key=lambda p: (order.index(p.name) if p.name in order else len(order), p.name))
        for run in runs:
            found.setdefault(notebook_of(run), []).append(run)
    return found


def notebook_of(run: Path) -> str:
    """Which notebook a run executed, as papermill noted it."""
    metadata = json.loads((run / "notebook.ipynb").read_text("utf-8"))["metadata"]
    return Path(metadata["papermill"]["input_path"]).stem


def titles(runs: list[Path]) -> dict[Path, str]:
    """Title of each run's page: the corpus for data, target and preset for a model."""
    found = {run: _title(run) for run in runs}
    often = Counter(found.values())
    corpora = Counter((title, run.parent.name) for run, title in found.items())
    for run, title in found.items():
        if often[title] > 1:
            same_corpus = corpora[title, run.parent.name] > 1
            whose = run.name if same_corpus else run.parent.name
            found[run] = f"{title} ({whose})" if title.endswith("?") else f"{title}: {whose}"
    return found


def _title(run: Path) -> str:
    metrics = read_json(run / "metrics.json")
    if "title" in metrics:
        return metrics["title"]
    content = nbformat.read(run / "notebook.ipynb", as_version=4)
    heading = next(c.source for c in content.cells if c.cell_type == "markdown").splitlines()[0]
    return heading.removeprefix("# ") + _variant(run, metrics)


def _variant(run: Path, metrics: dict[str, Any]) -> str:
    """Preset and target of a model's run, as its title ends; nothing for other runs."""
    if "target" not in metrics:
        return ""
    target = metrics["target"]
    kind = notebook_of(run).partition("_")[2]
    preset = run.name.removesuffix(f"-{target}").removeprefix(kind).strip("-")
    preset = PRESET_TITLES.get(preset, preset)
    return f" ({preset}): {target}" if preset else f": {target}"


def run_minutes(run: Path) -> tuple[float, float]:
    """Minutes that a run's trainings took, whenever that was, and that its last execution took.

    A training that was kept is read in the next execution and not made again.
    """
    metrics = read_json(run / "metrics.json") if (run / "metrics.json").is_file() else {}
    seconds = [metrics.get("cost", {}).get("training_s", 0)]
    seconds += [row["cost"]["training_s"] for row in metrics.get("variants", []) if "cost" in row]
    seconds += [60 * row.get("minutes", 0) for row in metrics.get("trials", [])]
    return sum(seconds) / 60, read_json(run / "manifest.json")["wall_s"] / 60


def _page(run: Path, corpus_dir: Path) -> str:
    """Name of a run's page: that of another corpus says whose it is."""
    return run.name if run.parent == corpus_dir else f"{run.parent.name}-{run.name}"


def refuse_lost(edition_dir: Path) -> None:
    """Refuse to leave out a run that the index of the edition lists.

    Raises
    ------
    BookError
        Naming the runs.
    """
    if gone := lost(edition_dir):
        names = ", ".join(f"{run.parent.name}/{run.name}" for run in gone)
        raise BookError(
            f"{names}: runs.json of the edition lists it, but it is gone; put it back (git "
            "checkout) or run it again with 'msr run'"
        )


def refuse_altered(run: Path) -> None:
    """Refuse to show results that are not those which a run has written.

    Raises
    ------
    BookError
        Naming the files.
    """
    recorded = manifest.read(run)
    where = f"{run.parent.name}/{run.name}"
    if not recorded.outputs:
        raise BookError(f"{where}: its manifest tells of no files; run it again with 'msr run'")
    found = manifest.check(recorded)
    if not found.ok:
        files = [*(f"{f} was altered" for f in found.altered)]
        files += [f"{f} is missing" for f in found.missing]
        raise BookError(
            f"{where}: {', '.join(files)} since the run wrote it; put it back (git checkout) or "
            "run it again with 'msr run'"
        )

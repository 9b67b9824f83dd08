"""What a page of prose may name: results of an edition, formatted."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from msr_utils.audio.formats import SUFFIXES
from msr_utils.book import service_recording
from msr_utils.book.edition import (
    REQUIRED_RUNS,
    BookError,
    _page,
    _variant,
    chapters,
    notebook_of,
    refuse_altered,
    refuse_lost,
    run_minutes,
    titles,
)
from msr_utils.book.service_recording import RecordedRequest
from msr_utils.constants import TARGETS
from msr_utils.figures.summary import learned_text
from msr_utils.io import read_json
from msr_utils.metrics.estimate import MISSING, Estimate
from msr_utils.metrics.reliability import CEILING
from msr_utils.paths import (
    BENCHMARK,
    CONTENT_ERRORS,
    FILE_SPEED,
    MODELS_DIR,
    NOTEBOOKS,
    PROCESSORS,
    PROJECT_ROOT,
    REHEARSAL,
    SERVICE_SPEED,
)
from msr_utils.provenance.manifest import read as read_manifest
from msr_utils.provenance.measurements import MeasurementError, figures

BENCHMARK_ROWS = (
    "decode",
    "resample",
    "features: logmel",
    "features: chroma+tonal",
    "features: all",
    "from file: logmel",
    "from file: all",
)
"""Rows of the benchmark that the book shows."""

BENCHMARK_FACTS = (
    "bench_clips",
    "bench_source",
    "million_blocks",
    "million_seconds_per_minute",
    "million_kb_per_minute",
    "million_track_minutes",
    "million_core_hours",
    "million_cores",
    "million_hours",
    "million_audio_tib",
    "million_storage_gib",
    "million_mib_s",
)
"""What `benchmark_facts` names, besides the table."""

SCORES_NOTE = (
    "RMSE and Pearson r, pooled over all test frames, with 95 % intervals from resampling "
    "tracks. The "
    "[evaluation](evaluation) sets them beside what needs no model."
)


class EditionResults:
    """What a page of prose may name: results of an edition, formatted, never typed.

    Parameters
    ----------
    corpus_dir : Path
        ``reports/<edition>/<corpus>``.

    Raises
    ------
    BookError
        If one of `REQUIRED_RUNS` is missing, or a file of a run is another than it wrote.
    """

    def __init__(self, corpus_dir: Path) -> None:
        for name in REQUIRED_RUNS:
            if not (corpus_dir / name / "manifest.json").is_file():
                raise BookError(
                    f"run {name!r} is missing in {corpus_dir.name}; run 'make study' first"
                )
        refuse_lost(corpus_dir.parent)
        self.corpus_dir = corpus_dir
        self.chapters = chapters(corpus_dir)
        self.pages = {
            run: f"study/{_page(run, corpus_dir)}"
            for runs in self.chapters.values()
            for run in runs
        }
        for run in self.pages:
            refuse_altered(run)
        self.titles = titles(list(self.pages))
        self.evaluation = read_json(corpus_dir / "evaluation" / "metrics.json")

    def score(self, model: str, target: str, metric: str, places: int | None = None) -> str:
        """A model's pooled score; of the ceiling, ``rmse`` and ``r`` alone; a dash if not run."""
        return _number(self.value(model, target, metric), places or _places(metric))

    def value(self, model: str, target: str, metric: str) -> float | None:
        """As `score`, unformatted."""
        if model == CEILING:
            return self.evaluation["ceiling"][target].get(metric)
        row = self.evaluation["rows"][target].get(model)
        return row and row["pooled"][metric]["value"]

    def interval(self, model: str, target: str, metric: str) -> str:
        """The 95 % interval of a pooled score."""
        row = self.evaluation["rows"][target].get(model)
        return Estimate.from_json(row["pooled"][metric]).interval(_spec(metric)) if row else MISSING

    def bounds(self, model: str, target: str, metric: str) -> tuple[float, float] | None:
        """As `interval`, unformatted."""
        row = self.evaluation["rows"][target].get(model)
        if not row or row["pooled"][metric].get("low") is None:
            return None
        return row["pooled"][metric]["low"], row["pooled"][metric]["high"]

    def song(self, model: str, target: str, metric: str = "r") -> str:
        """Mean over songs of a model's score in each song."""
        row = self.evaluation["rows"][target].get(model)
        return _number(row["per_song"][metric]["mean"] if row else None, _places(metric))

    def cost(self, model: str, target: str, what: str, places: int = 0) -> str:
        """A figure of the evaluation's cost table; a dash if not measured."""
        row = self.evaluation.get("cost", {}).get(f"{model}, {target}", {})
        value = row.get(what)
        return "–" if value is None else f"{value:,.{places}f}"

    def metrics(self, run: str, corpus: str = "") -> dict[str, Any] | None:
        """``metrics.json`` of a run, of the book's corpus or of another; None if not run."""
        folder = self.corpus_dir.parent / corpus / run if corpus else self.corpus_dir / run
        return read_json(folder / "metrics.json") if folder in self.pages else None

    def link(self, notebook: str, words: str, root: str = "") -> str:
        """A link to the first chapter that a notebook made; plain words if there is none."""
        runs = self.chapters.get(notebook)
        return f"[{words}]({root}{self.pages[runs[0]]})" if runs else words

    def short(self, run: Path, word: str) -> str:
        """Title of a run in the sidebar: one word for its notebook, and what sets it apart."""
        if not word:
            return self.titles[run].split(",")[0]
        if variant := _variant(run, read_json(run / "metrics.json")):
            return word + variant
        alone = len(self.chapters[notebook_of(run)]) == 1
        return word if alone else f"{word}: {run.parent.name}"

    def has_scores(self, notebook: str) -> bool:
        """True if the runs of a notebook are models with pooled scores on test tracks."""
        return all("test" in read_json(run / "metrics.json") for run in self.chapters[notebook])

    def score_rows(self, notebooks: Sequence[str]) -> list[str]:
        """Lines of a table: the models of some notebooks with their pooled scores, as links."""
        rows = ["| model | RMSE | r |", "|---|---|---|"]
        for run in (run for name in notebooks for run in self.chapters[name]):
            pooled = read_json(run / "metrics.json")["test"]["pooled"]
            cells = [in_prose(pooled.get(metric), _spec(metric)) for metric in ("rmse", "r")]
            rows.append(f"| {self.beside(run)} | {' | '.join(cells)} |")
        return [*rows, "", SCORES_NOTE]

    def best_scores(self, notebooks: Sequence[str]) -> list[str]:
        """A sentence for each target: which model of some notebooks has the highest r."""
        found: dict[str, tuple[Estimate, Path]] = {}
        for run in (run for name in notebooks for run in self.chapters[name]):
            metrics = read_json(run / "metrics.json")
            r = Estimate.from_json(metrics["test"]["pooled"]["r"])
            target = metrics["target"]
            if target not in found or r.value > found[target][0].value:
                found[target] = (r, run)
        return [
            f"For {target}, {self.beside(found[target][1])} has the highest correlation: "
            f"r = {found[target][0].in_prose('.2f')}."
            for target in TARGETS
            if target in found
        ]

    def learned(self, run: Path) -> str:
        """The closing sentences of a chapter."""
        text = learned_text(notebook_of(run), read_json(run / "metrics.json"))
        return text.removeprefix("**Learned.** ")

    def beside(self, run: Path) -> str:
        """A link to a chapter from another one."""
        return f"[{self.titles[run]}]({Path(self.pages[run]).name}.ipynb)"

    def links(self, notebook: str) -> list[str]:
        """Links to all chapters that a notebook made, by their titles."""
        return [f"[{self.titles[r]}]({self.pages[r]})" for r in self.chapters.get(notebook, [])]

    def recorded_request(self, name: str) -> str:
        """A documented request to the service, with its answer if the edition has recorded it."""
        recorded = self.metrics("service", "synthetic") or {"exchanges": {}}
        command = service_recording.REQUESTS[name].format(service=service_recording.ADDRESS)
        request = recorded["exchanges"].get(name, {"command": command})
        return service_recording.to_markdown(RecordedRequest(**request))

    @staticmethod
    def assert_claim(what: str, comparison: bool) -> str:
        """Nothing, where a sentence is true of the edition.

        Raises
        ------
        BookError
            If results have changed so that a sentence is not true any more.
        """
        if not comparison:
            raise BookError(f"not true of these results any more: {what!r}; mend that sentence")
        return ""

    def context(self) -> dict[str, Any]:
        """Names that a page's template knows."""
        data = read_json(self.corpus_dir / "data" / "metrics.json")
        export = read_json(self.corpus_dir / "export" / "metrics.json")
        manifest = read_json(self.corpus_dir / "evaluation" / "manifest.json")
        names = ("score", "value", "interval", "bounds", "song", "cost", "metrics", "link",
                 "links", "recorded_request", "assert_claim")  # fmt: skip
        return {
            **{name: getattr(self, name) for name in names},
            "in_prose": in_prose,
            "edition": self.corpus_dir.parent.name,
            "corpus": data["corpus"],
            "corpus_title": data["title"],
            "synthetic": data["corpus"] == "synthetic",
            "published": self.corpus_dir.parent.name == "published",
            "models": [*next(iter(self.evaluation["rows"].values())), CEILING],
            "data": data,
            "tracks": str(data["tracks"]),
            "groups": str(data["groups"]),
            "hours": f"{data['hours']:.1f}",
            "folds": str(self.evaluation["folds"]),
            "finished": manifest["finished"][:10],
            "carried_over": sum(bool(read_manifest(run).migration) for run in self.pages),
            "manifest": manifest,
            "bundle": export["bundle"],
            "realtime_factor": f"{export['realtime_factor']:.0f}",
            "run_minutes": [(self.titles[run], *run_minutes(run)) for run in self.pages],
            "recorded": self.metrics("service", "synthetic"),
            "notebooks": parameter_tables(),
            "cards": model_cards(),
            "citation": yaml.safe_load((PROJECT_ROOT / "CITATION.cff").read_text("utf-8")),
            "url": os.environ.get("BOOK_URL", ""),
            "audio_formats": SUFFIXES,
            "processors": measured(PROCESSORS),
            "rehearsal": measured(REHEARSAL),
            "service_speed": measured(SERVICE_SPEED),
            "file_speed": measured(FILE_SPEED),
            "content_errors": measured(CONTENT_ERRORS),
            **benchmark_facts(),
        }


def parameter_tables(notebooks: Path = NOTEBOOKS) -> dict[str, list[dict[str, str]]]:
    """Parameters of each notebook as papermill reads them from its parameters cell.

    Returns
    -------
    dict of str to list of dict
        Notebook to rows of ``name``, ``inferred_type_name``, ``default`` and ``help``.
    """
    from papermill import inspect_notebook

    return {
        path.stem: list(inspect_notebook(str(path)).values())
        for path in sorted(notebooks.glob("*.ipynb"))
    }


def model_cards(models: Path = MODELS_DIR) -> list[str]:
    """Cards of the bundles that the service ships, as sections of a page."""
    texts = [path.read_text("utf-8") for path in sorted(models.glob("*/CARD.md"))]
    return [re.sub(r"^#", "##", text, flags=re.MULTILINE) for text in texts]


def measured(path: Path) -> Any:
    """Figures of a benchmark; None where nothing has been measured yet.

    Raises
    ------
    BookError
        If they are not those that were measured.
    """
    try:
        return figures(path)
    except MeasurementError as error:
        raise BookError(str(error)) from error


def benchmark_facts(path: Path = BENCHMARK) -> dict[str, str]:
    """What the prose may name of ``make bench``'s figures.

    Dashes stand where nothing has been measured yet.
    """
    results = measured(path)
    if results is None:
        return {**dict.fromkeys(BENCHMARK_FACTS, "–"), "bench_table": "Not measured yet."}
    million = results["million"]
    rows = [
        f"| {row['name']} | {row['best']:.0f} |"
        for row in results["stages"]
        if row["name"] in BENCHMARK_ROWS
    ]
    return {
        "bench_clips": str(results["clips"]["count"]),
        "bench_source": f"{results['clips']['source']}; {results['clips']['formats']}",
        "bench_table": "\n".join(["| what | times real time |", "|---|---|", *rows]),
        "million_blocks": million["blocks"].replace(",", ", "),
        "million_seconds_per_minute": f"{million['seconds_per_minute']:.2f}",
        "million_kb_per_minute": f"{million['bytes_per_minute'] / 1e3:.0f}",
        "million_track_minutes": f"{million['track_s'] / 60:.0f}",
        "million_core_hours": f"{million['core_hours']:.0f}",
        "million_cores": str(million["cores"]),
        "million_hours": f"{million['hours']:.1f}",
        "million_audio_tib": f"{million['audio_tib']:.1f}",
        "million_storage_gib": f"{million['storage_gib']:.0f}",
        "million_mib_s": f"{million['audio_tib'] * 2**20 / (million['hours'] * 3600):.0f}",
    }


def in_prose(score: Mapping[str, Any] | None, spec: str = "z.3f") -> str:
    """A score as sentences have it, such as "0.25 (0.10 to 0.40)"."""
    return Estimate.from_json(score).in_prose(spec) if score else MISSING


def _spec(metric: str) -> str:
    return f"z.{_places(metric)}f"  # z: no minus before a zero


def _number(value: float | None, places: int) -> str:
    return MISSING if value is None else f"{value:z.{places}f}"


def _places(metric: str) -> int:
    return 2 if metric in ("r", "ccc") else 3

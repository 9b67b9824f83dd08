"""Build the book: our prose and an edition's executed notebooks, nothing is run.

The sources of a build lie in ``.cache/book/<edition>/<corpus>``: the pages of ``book/`` and, under
``study/``, the notebooks of ``reports/<edition>/<corpus>``. The pages are Jinja templates: every
result in the prose is read from the runs' ``metrics.json``, see `Facts`.
"""

from __future__ import annotations

import base64
import io
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections import Counter
from pathlib import Path
from typing import Any

import jinja2
import nbformat
import yaml
from PIL import Image

from msr_utils import exchanges
from msr_utils.corpora.synthetic import SyntheticConfig, render_track
from msr_utils.io import atomic_path, read_json, sha256_file, sha256_text, write_text
from msr_utils.provenance import LOCK, PROJECT_ROOT

BOOK = PROJECT_ROOT / "book"
REPORTS = PROJECT_ROOT / "reports"
NOTEBOOKS = PROJECT_ROOT / "notebooks"
MODELS = PROJECT_ROOT / "serve" / "models"

BENCHMARK = REPORTS / "benchmarks" / "features.json"
REHEARSAL = REPORTS / "benchmarks" / "deam_rehearsal.json"

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

LARGE = 300_000
"""Characters of a picture above which a page gets it with fewer colours."""

NEEDED = ("data", "evaluation", "export")
"""Runs that the prose tells of: a corpus that has them has a book."""

CEILING = "the raters' own disagreement"
"""Row of the headline table below the models; see `msr_utils.audit`."""

TOGETHER = re.compile(r"\[[-+]?[\d.]+, [-+]?[\d.]+\]|[-+]?[\d.]+ ± [\d.]+")
"""Intervals and deviations in a table: no line of theirs breaks."""

MANY = 2
"""Chapters of one notebook that stand in the sidebar; more are folded under an overview."""

OVERVIEW_NOTE = (
    "RMSE and Pearson r, pooled over all test frames, with 95 % intervals from resampling tracks. The "
    "[evaluation](evaluation) sets them beside what needs no model."
)

EDITION_NOTE = "Edition <em>{edition}</em>, corpus <em>{corpus}</em>, finished {finished}."

LOCAL = (
    "A local edition (<em>{edition}</em>, corpus <em>{corpus}</em>): made on this machine, not the "
    "published study."
)
LOCAL_SYNTHETIC = (
    "A local edition on <strong>synthetic</strong> music (<em>{edition}</em>): it shows that the "
    "study runs and says nothing about real music. The published study is another edition."
)
"""Stand above every page of an edition that is not the published one."""


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
    """
    corpora = [corpus_dir, *(p for p in sorted(corpus_dir.parent.iterdir()) if p != corpus_dir)]
    order = list(yaml.safe_load((NOTEBOOKS / "study.yml").read_text("utf-8"))["runs"])
    found: dict[str, list[Path]] = {}
    for corpus in corpora:
        if not corpus.is_dir() or (corpus != corpus_dir and not is_chapter(corpus)):
            continue
        runs = [p.parent for p in corpus.glob("*/manifest.json")]
        runs.sort(key=lambda p: (order.index(p.name) if p.name in order else len(order), p.name))
        for run in runs:
            found.setdefault(_notebook(run), []).append(run)
    return found


def _notebook(run: Path) -> str:
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
    kind = _notebook(run).partition("_")[2]
    preset = run.name.removesuffix(f"-{target}").removeprefix(kind).strip("-")
    return f" ({preset}): {target}" if preset else f": {target}"


class Facts:
    """What a page of prose may name: results of an edition, formatted, never typed.

    Parameters
    ----------
    corpus_dir : Path
        ``reports/<edition>/<corpus>``.

    Raises
    ------
    BookError
        If one of the runs in `NEEDED` is missing.
    """

    def __init__(self, corpus_dir: Path) -> None:
        for name in NEEDED:
            if not (corpus_dir / name / "manifest.json").is_file():
                raise BookError(
                    f"run {name!r} is missing in {corpus_dir.name}; run 'make study' first"
                )
        self.corpus_dir = corpus_dir
        self.chapters = chapters(corpus_dir)
        self.pages = {
            run: f"study/{_page(run, corpus_dir)}"
            for runs in self.chapters.values()
            for run in runs
        }
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
        bounds = self.bounds(model, target, metric)
        return " to ".join(_number(v, _places(metric)) for v in bounds) if bounds else "–"

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
        alone = len(self.chapters[_notebook(run)]) == 1
        return word if alone else f"{word}: {run.parent.name}"

    def overview(self, notebook: str, word: str) -> str:
        """A page above the chapters that one notebook made, with the scores of its models."""
        lines, scored = [], False
        for run in self.chapters[notebook]:
            pooled = read_json(run / "metrics.json").get("test", {}).get("pooled", {})
            cells = [_with_interval(pooled.get(metric), metric) for metric in ("rmse", "r")]
            link = f"[{self.titles[run]}]({Path(self.pages[run]).name})"
            lines.append([link, *cells])
            scored = scored or bool(pooled)
        if scored:
            rows = [
                f"| {' | '.join(cells)} |"
                for cells in [["chapter", "RMSE", "r"], ["---"] * 3, *lines]
            ]
            rows += ["", OVERVIEW_NOTE]
        else:
            rows = [f"- {link}" for link, *_ in lines]
        return "\n".join([f"# {word}: all runs", "", *rows, ""])

    def links(self, notebook: str) -> list[str]:
        """Links to all chapters that a notebook made, by their titles."""
        return [f"[{self.titles[r]}]({self.pages[r]})" for r in self.chapters.get(notebook, [])]

    def exchange(self, name: str) -> str:
        """A documented request to the service, with its answer if the edition has recorded it."""
        recorded = self.metrics("service", "synthetic") or {"exchanges": {}}
        command = exchanges.REQUESTS[name].format(service=exchanges.ADDRESS)
        return exchanges.to_markdown(recorded["exchanges"].get(name, {"command": command}))

    @staticmethod
    def holds(what: str, comparison: bool) -> str:
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
                 "links", "exchange", "holds")  # fmt: skip
        return {
            **{name: getattr(self, name) for name in names},
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
            "manifest": manifest,
            "bundle": export["bundle"],
            "realtime_factor": f"{export['realtime_factor']:.0f}",
            "run_minutes": [(self.titles[run], *run_minutes(run)) for run in self.pages],
            "recorded": self.metrics("service", "synthetic"),
            "notebooks": parameter_tables(),
            "cards": model_cards(),
            "citation": yaml.safe_load((PROJECT_ROOT / "CITATION.cff").read_text("utf-8")),
            "url": os.environ.get("BOOK_URL", ""),
            "rehearsal": read_json(REHEARSAL) if REHEARSAL.is_file() else None,
            **benchmark_facts(),
        }


def run_minutes(run: Path) -> tuple[float, float]:
    """Minutes that a run's trainings took, whenever that was, and that its last execution took.

    A training that was kept is read in the next execution and not made again.
    """
    metrics = read_json(run / "metrics.json") if (run / "metrics.json").is_file() else {}
    seconds = [metrics.get("cost", {}).get("training_s", 0)]
    seconds += [row["cost"]["training_s"] for row in metrics.get("variants", []) if "cost" in row]
    seconds += [60 * row.get("minutes", 0) for row in metrics.get("trials", [])]
    return sum(seconds) / 60, read_json(run / "manifest.json")["wall_s"] / 60


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


def model_cards(models: Path = MODELS) -> list[str]:
    """Cards of the bundles that the service ships, as sections of a page."""
    texts = [path.read_text("utf-8") for path in sorted(models.glob("*/CARD.md"))]
    return [re.sub(r"^#", "##", text, flags=re.MULTILINE) for text in texts]


def benchmark_facts(path: Path = BENCHMARK) -> dict[str, str]:
    """What the prose may name of ``make bench``'s figures.

    Dashes stand where nothing has been measured yet.
    """
    if not path.is_file():
        return {**dict.fromkeys(BENCHMARK_FACTS, "–"), "bench_table": "Not measured yet."}
    results = read_json(path)
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


def _with_interval(score: dict[str, float] | None, metric: str) -> str:
    if not score:
        return "–"
    value, low, high = (_number(score.get(k), _places(metric)) for k in ("value", "low", "high"))
    return value if low == "–" else f"{value} ({low} to {high})"


def _number(value: float | None, places: int) -> str:
    return "–" if value is None else f"{value:z.{places}f}"  # z: no minus before a zero


def _places(metric: str) -> int:
    return 2 if metric in ("r", "ccc") else 3


def assemble(corpus_dir: Path, destination: Path) -> Path:
    """Put prose, notebooks and numbers together as one Jupyter Book source.

    Raises
    ------
    BookError
        If a run that the prose tells of is missing, a page names what is not there, or a
        notebook has no place in ``_toc.yml``.
    """
    facts = Facts(corpus_dir)
    context = facts.context()
    shutil.rmtree(destination, ignore_errors=True)
    shutil.copytree(BOOK, destination, ignore=shutil.ignore_patterns("_build"))
    (destination / "study").mkdir()
    contents = table_of_contents(facts)
    write_text(destination / "_toc.yml", yaml.safe_dump(contents, sort_keys=False))
    for entry in (chapter for part in contents["parts"] for chapter in part["chapters"]):
        if "sections" in entry:
            notebook = entry["file"].removeprefix(overview_page(""))
            page = facts.overview(notebook, entry["title"])
            write_text(destination / f"{entry['file']}.md", page)
    for run, page in facts.pages.items():
        text = (run / "notebook.ipynb").read_text("utf-8")
        write_text(destination / f"{page}.ipynb", _as_chapter(text, facts.titles[run]))
    if recorded := context["recorded"]:
        figure = corpus_dir.parent / "synthetic" / "service" / "figures" / "explorer.png"
        shutil.copyfile(figure, destination / "images" / "explorer.png")
        _render_audio(recorded, destination / "_static" / "audio")
    templates = jinja2.Environment(
        undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    for page in sorted(destination.glob("*.md")):
        try:
            text = templates.from_string(page.read_text("utf-8")).render(context)
        except (BookError, jinja2.TemplateError) as error:
            raise BookError(f"book/{page.name}: {error}") from error
        write_text(page, text)
    config = yaml.safe_load((BOOK / "_config.yml").read_text("utf-8"))
    config["html"]["baseurl"] = context["url"]
    config["sphinx"]["config"]["html_context"] = {"book_url": context["url"]}
    config["html"]["extra_footer"] = EDITION_NOTE.format_map(context)
    if not context["published"]:
        config["html"]["announcement"] = (
            LOCAL_SYNTHETIC if context["synthetic"] else LOCAL
        ).format_map(context)
    write_text(destination / "_config.yml", yaml.safe_dump(config, allow_unicode=True))
    return destination


def _render_audio(recorded: dict[str, Any], folder: Path) -> None:
    """Sound the pieces that the service was asked about: they are code, and no part of git."""
    config = SyntheticConfig(**recorded["synthetic"])
    for number in range(len(recorded["explorer"]["tracks"])):
        exchanges.write_audio(render_track(config, number), folder)


def table_of_contents(facts: Facts) -> dict[str, Any]:
    """``_toc.yml`` with the runs that there are in the place of ``runs: <notebook>``.

    More than `MANY` of one notebook are the sections of an overview.

    Raises
    ------
    BookError
        If an executed notebook has no place.
    """
    contents = yaml.safe_load((BOOK / "_toc.yml").read_text("utf-8"))
    placed = set()
    for part in contents["parts"]:
        entries = []
        for entry in part["chapters"]:
            if "runs" not in entry:
                entries.append(entry)
                continue
            notebook, word = entry["runs"], entry.get("title", "")
            placed.add(notebook)
            pages = [
                {"file": facts.pages[run], "title": facts.short(run, word)}
                for run in facts.chapters.get(notebook, [])
            ]
            if word and len(pages) > MANY:
                pages = [{"file": overview_page(notebook), "title": word, "sections": pages}]
            entries += pages
        part["chapters"] = entries
    if homeless := set(facts.chapters) - placed:
        raise BookError(f"book/_toc.yml has no place for runs of {', '.join(sorted(homeless))}")
    contents["parts"] = [part for part in contents["parts"] if part["chapters"]]
    return contents


def overview_page(notebook: str) -> str:
    """Name of the page above the chapters of a notebook."""
    return f"study/all-{notebook}"


def _page(run: Path, corpus_dir: Path) -> str:
    """Name of a run's page: that of another corpus says whose it is."""
    return run.name if run.parent == corpus_dir else f"{run.parent.name}-{run.name}"


def _as_chapter(notebook: str, title: str) -> str:
    """A notebook under the title of its page, its code folded, without its default parameters.

    The defaults stand on the page of parameters; what was set stands in the cell that papermill
    put in.
    """
    content = nbformat.reads(notebook, as_version=4)
    first = next(c for c in content.cells if c.cell_type == "markdown")
    first.source = "\n".join([f"# {title}", *first.source.splitlines()[1:]])
    for cell in content.cells:
        if cell.cell_type == "code":
            tags = cell.metadata.setdefault("tags", [])
            tags.append("remove-cell" if "parameters" in tags else "hide-input")
            for output in cell.outputs:
                if '"dataframe"' in (table := output.get("data", {}).get("text/html", "")):
                    output["data"]["text/html"] = TOGETHER.sub(r"<span>\g<0></span>", table)
                if len(picture := output.get("data", {}).get("image/png", "")) > LARGE:
                    output["data"]["image/png"] = _in_256_colours(picture)
    return nbformat.writes(content)


def _in_256_colours(picture: str) -> str:
    """A PNG (base64) at a third of its size; what is in a plot hardly changes."""
    buffer = io.BytesIO()
    image = Image.open(io.BytesIO(base64.b64decode(picture)))
    dpi = image.info.get("dpi")
    image.convert("RGB").quantize(256, dither=Image.Dither.NONE).save(
        buffer, "PNG", optimize=True, **({"dpi": dpi} if dpi else {})
    )
    return base64.b64encode(buffer.getvalue()).decode()


def build(
    edition: str, corpus: str = "", reports: Path = REPORTS, output: Path = BOOK / "_build"
) -> tuple[Path, bool]:
    """Build the HTML book of an edition, unless it is up to date.

    Returns
    -------
    index : Path
        ``index.html`` of the book.
    built : bool
        False if nothing had changed.

    Raises
    ------
    BookError
        If a run is missing or the build has a warning; the build's own words are shown.
    """
    corpus_dir = find_corpus(edition, corpus, reports)
    site = output / edition / corpus_dir.name
    index, stamp = site / "_build" / "html" / "index.html", site / "key"
    key = _source_hash(corpus_dir)
    if index.is_file() and stamp.is_file() and stamp.read_text() == key:
        return index, False
    shutil.rmtree(site, ignore_errors=True)
    _jupyter_book(corpus_dir, site, index)
    write_text(stamp, key)
    return index, True


def build_pdf(
    edition: str, corpus: str = "", reports: Path = REPORTS, output: Path = BOOK / "_build"
) -> Path:
    """Build the whole book as one page of HTML and print it with headless Chromium.

    Returns
    -------
    Path
        The PDF; the printable page is ``_build/singlehtml/index.html`` beside it.

    Raises
    ------
    BookError
        If there is no Chromium, or as `build`.
    """
    chromium = shutil.which("chromium") or shutil.which("google-chrome")
    if not chromium:
        raise BookError("a PDF needs Chromium; on Debian: apt-get install chromium")
    corpus_dir = find_corpus(edition, corpus, reports)
    site = output / edition / f"{corpus_dir.name}-pdf"
    page = site / "_build" / "singlehtml" / "index.html"
    shutil.rmtree(site, ignore_errors=True)
    _jupyter_book(corpus_dir, site, page, "--builder", "singlehtml")
    target = site / "music-sentiment-recognition.pdf"
    with tempfile.TemporaryDirectory() as profile, atomic_path(target) as temporary:
        command = [chromium, "--headless=new", "--no-sandbox", "--disable-gpu"]
        command += ["--disable-dev-shm-usage", f"--user-data-dir={profile}"]
        command += ["--no-pdf-header-footer", "--virtual-time-budget=30000"]
        command += [f"--print-to-pdf={temporary}", page.as_uri()]
        result = subprocess.run(command, capture_output=True, text=True, timeout=300)
        if result.returncode or not temporary.is_file():
            raise BookError(f"Chromium could not print the book:\n{result.stderr}".strip())
    return target


def _jupyter_book(corpus_dir: Path, site: Path, result: Path, *options: str) -> None:
    """Assemble a book and let Jupyter Book build it under `site`."""
    edition = corpus_dir.parent.name
    source = assemble(corpus_dir, PROJECT_ROOT / ".cache" / "book" / edition / site.name)
    command = [str(Path(sys.executable).with_name("jupyter-book")), "build", str(source)]
    command += ["--path-output", str(site), "-n", "-W", "--keep-going", "--quiet", *options]
    done = subprocess.run(
        command,
        capture_output=True,
        text=True,
        env={**os.environ, "PYDEVD_DISABLE_FILE_VALIDATION": "1", "NO_COLOR": "1"},
    )
    if done.returncode or not result.is_file():
        raise BookError(f"the book has warnings or errors:\n{done.stdout}\n{done.stderr}".strip())


def _source_hash(corpus_dir: Path) -> str:
    prose = [p for p in BOOK.rglob("*") if p.is_file() and "_build" not in p.parts]
    runs = {run for found in chapters(corpus_dir).values() for run in found}
    results = [run / name for run in runs for name in ("notebook.ipynb", "metrics.json")]
    shown = [*NOTEBOOKS.glob("*"), *MODELS.glob("*/CARD.md"), PROJECT_ROOT / "CITATION.cff"]
    files = sorted([*prose, *filter(Path.is_file, [*results, *shown]), LOCK, Path(__file__)])
    files += [BENCHMARK] if BENCHMARK.is_file() else []
    names = [f"{p.parent.parent.name}/{p.parent.name}/{p.name} {sha256_file(p)}" for p in files]
    return sha256_text("\n".join([*names, os.environ.get("BOOK_URL", "")]))

"""Build the book from prose and executed notebooks; nothing is run."""

from __future__ import annotations

import base64
import io
import os
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import jinja2
import nbformat
import yaml
from PIL import Image

from msr_utils.book import service_recording
from msr_utils.book.contents import part_page, read_contents
from msr_utils.book.edition import (
    BookError,
    chapters,
    find_corpus,
    notebook_of,
)
from msr_utils.book.results import EditionResults
from msr_utils.corpora.synthetic.config import SyntheticConfig
from msr_utils.corpora.synthetic.render import render_track
from msr_utils.figures import summary
from msr_utils.figures.summary import learned_text
from msr_utils.io import (
    atomic_path,
    read_json,
    sha256_file,
    sha256_text,
    write_text,
)
from msr_utils.paths import (
    BENCHMARK,
    BOOK,
    LOCK,
    MODELS_DIR,
    NOTEBOOKS,
    PROJECT_ROOT,
    REPORTS,
)

MAX_PICTURE_CHARACTERS = 300_000
"""Characters of a picture above which a page gets it with fewer colours."""

SETTINGS = ("BOOK_URL", "BOOK_REPOSITORY")
"""Environment variables: where the book is published, and where its repository is."""

UNBREAKABLE = re.compile(r"\[[-+]?[\d.]+, [-+]?[\d.]+\]|[-+]?[\d.]+ ± [\d.]+")
"""Intervals and deviations in a table: no line of theirs breaks."""

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


def assemble(corpus_dir: Path, destination: Path) -> Path:
    """Put prose, notebooks and numbers together as one Jupyter Book source.

    Raises
    ------
    BookError
        If a run that the prose tells of is missing, a page names what is not there, or a
        notebook has no place in ``_toc.yml``.
    """
    edition = EditionResults(corpus_dir)
    context = edition.context()
    shutil.rmtree(destination, ignore_errors=True)
    shutil.copytree(BOOK, destination, ignore=shutil.ignore_patterns("_build"))
    (destination / "study").mkdir()
    contents = read_contents(edition)
    write_text(destination / "_toc.yml", yaml.safe_dump(contents.toc, sort_keys=False))
    for part in contents.parts:
        write_text(destination / f"{part.file}.md", part_page(part, edition))
    for run, page in edition.pages.items():
        write_text(destination / f"{page}.ipynb", _as_chapter(run, edition.titles[run]))
    if recorded := context["recorded"]:
        figure = corpus_dir.parent / "synthetic" / "service" / "figures" / "explorer.png"
        shutil.copyfile(figure, destination / "images" / "explorer.png")
        _render_audio(recorded, destination / "_static" / "audio")
    templates = jinja2.Environment(
        undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    for prose in sorted(destination.glob("*.md")):
        try:
            text = templates.from_string(prose.read_text("utf-8")).render(context)
        except (BookError, jinja2.TemplateError) as error:
            raise BookError(f"book/{prose.name}: {error}") from error
        write_text(prose, text)
    config = yaml.safe_load((BOOK / "_config.yml").read_text("utf-8"))
    config["html"]["baseurl"] = context["url"]
    config["sphinx"]["config"]["html_context"] = {"book_url": context["url"]}
    config["html"]["extra_footer"] = EDITION_NOTE.format_map(context)
    if repository := os.environ.get("BOOK_REPOSITORY", ""):
        # No button to edit a page: those of chapters are made here, and lie in no repository.
        config["repository"] = {"url": repository, "branch": "main", "path_to_book": "book"}
        config["html"] |= {"use_issues_button": True, "use_repository_button": True}
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
        service_recording.write_audio(render_track(config, number), folder)


def _as_chapter(run: Path, title: str) -> str:
    """An executed notebook as a chapter: folded code, no default parameters, today's wording.

    Code and outputs are those that ran. Text comes from the notebook as it is now, cell by cell, so
    that a change of wording executes nothing. Default parameters are on the page of parameters;
    papermill's own cell shows what was set.
    """
    content = nbformat.read(run / "notebook.ipynb", as_version=4)
    _renew_wording(content, run)
    first = next(c for c in content.cells if c.cell_type == "markdown")
    first.source = "\n".join([f"# {title}", *first.source.splitlines()[1:]])
    for cell in content.cells:
        if cell.cell_type == "code":
            tags = cell.metadata.setdefault("tags", [])
            if "show-input" not in tags:
                tags.append("remove-cell" if "parameters" in tags else "hide-input")
            for output in cell.outputs:
                _lighten(output)
    return nbformat.writes(content)


def _renew_wording(content: nbformat.NotebookNode, run: Path) -> None:
    """Take Markdown, tags and the closing sentences from the notebook as it is now, by cell id."""
    name = notebook_of(run)
    source = nbformat.read(NOTEBOOKS / f"{name}.ipynb", as_version=4)
    now = {cell.id: cell for cell in source.cells}
    for number, cell in enumerate(content.cells):
        written = now.get(cell.id)
        if written is None:
            continue
        tags = written.metadata.get("tags", [])
        if "learned" in tags:
            text = learned_text(name, read_json(run / "metrics.json"))
            content.cells[number] = nbformat.v4.new_markdown_cell(text, id=cell.id)
        elif written.cell_type == cell.cell_type == "markdown":
            cell.source = written.source
        elif "show-input" in tags:
            cell.metadata["tags"] = tags


def _lighten(output: nbformat.NotebookNode) -> None:
    """Keep intervals of a table on one line; give a large picture fewer colours."""
    data = output.get("data", {})
    if '"dataframe"' in (table := data.get("text/html", "")):
        data["text/html"] = UNBREAKABLE.sub(r"<span>\g<0></span>", table)
    if len(picture := data.get("image/png", "")) > MAX_PICTURE_CHARACTERS:
        data["image/png"] = _in_256_colours(picture)


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
    shown = [*NOTEBOOKS.glob("*"), *MODELS_DIR.glob("*/CARD.md"), PROJECT_ROOT / "CITATION.cff"]
    files = sorted([*prose, *filter(Path.is_file, [*results, *shown]), LOCK])
    files += sorted(Path(__file__).parent.glob("*.py"))
    files += sorted(Path(summary.__file__).parent.glob("*.py"))
    files += sorted(BENCHMARK.parent.glob("*.json"))
    names = [f"{p.parent.parent.name}/{p.parent.name}/{p.name} {sha256_file(p)}" for p in files]
    return sha256_text("\n".join([*names, *map(os.environ.get, SETTINGS, ("", ""))]))

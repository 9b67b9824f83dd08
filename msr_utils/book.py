"""Build the book: our prose and an edition's executed notebooks, nothing is run.

The sources of a build lie in ``.cache/book/<edition>/<corpus>``: the pages of ``book/`` and, under
``study/``, the notebooks of ``reports/<edition>/<corpus>``. Numbers in the prose are MyST
substitutions whose values come from the runs' ``metrics.json``.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import yaml

from msr_utils.io import read_json, sha256_file, sha256_text, write_text
from msr_utils.provenance import LOCK, PROJECT_ROOT

BOOK = PROJECT_ROOT / "book"
REPORTS = PROJECT_ROOT / "reports"

BENCHMARK = REPORTS / "benchmarks" / "features.json"

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

SHORT_NAMES = {
    "constant": "constant",
    "mean trajectory": "trajectory",
    "ridge": "ridge",
    "ridge (tonal)": "ridge_tonal",
    "LSTM (paper)": "lstm",
    "LSTM (tonal)": "lstm_tonal",
    "Transformer (paper)": "transformer",
    "Transformer (scratch)": "scratch",
    "song-mean oracle": "oracle",
}
"""Name of a row of the evaluation to its name in substitutions."""


DATA_RUNS = ("data", "static", "clips")
"""Runs whose notebooks are about a corpus, not about models."""


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
    modelled = sorted(p for p in finished if not is_data_only(p)) or sorted(finished)
    if len(modelled) > 1:
        raise BookError(
            f"reports/{edition} holds {', '.join(p.name for p in modelled)}: name one with --corpus"
        )
    return modelled[0]


def is_data_only(corpus_dir: Path) -> bool:
    """True if only notebooks about the data were run: a chapter of the edition's book."""
    return {p.parent.name for p in corpus_dir.glob("*/manifest.json")} <= set(DATA_RUNS)


def data_chapters(corpus_dir: Path) -> list[Path]:
    """Run folders about data: of the book's corpus, and of the edition's that have no more."""
    others = [
        p
        for p in sorted(corpus_dir.parent.iterdir())
        if p.is_dir() and p != corpus_dir and is_data_only(p)
    ]
    return [
        corpus / run
        for corpus in (corpus_dir, *others)
        for run in DATA_RUNS
        if (corpus / run / "manifest.json").is_file()
    ]


def substitutions(corpus_dir: Path) -> dict[str, str]:
    """Numbers that the prose may name, formatted, from the runs' ``metrics.json``.

    Returns
    -------
    dict of str to str
        Such as ``lstm_valence_r`` or ``tracks``.
    """
    data = read_json(corpus_dir / "data" / "metrics.json")
    evaluation = read_json(corpus_dir / "evaluation" / "metrics.json")
    export = read_json(corpus_dir / "export" / "metrics.json")
    manifest = read_json(corpus_dir / "evaluation" / "manifest.json")
    synthetic = data["corpus"] == "synthetic"
    facts = {
        "edition": corpus_dir.parent.name,
        "corpus": data["corpus"],
        "edition_note": (
            "This edition was made on the **synthetic** corpus: its scores show that the study "
            "runs, and say nothing about real music."
            if synthetic
            else f"This edition was made on real human ratings: the corpus `{data['corpus']}`."
        ),
        "tracks": str(data["tracks"]),
        "groups": str(data["groups"]),
        "hours": f"{data['hours']:.1f}",
        "folds": str(evaluation["folds"]),
        "finished": manifest["finished"][:10],
        "bundle": export["bundle"],
        "realtime_factor": f"{export['realtime_factor']:.0f}",
    }
    for target, rows in evaluation["rows"].items():
        facts[f"between_{target}"] = f"{100 * data['labels'][target]['between_share']:.0f} %"
        for metric, places in (("r", 2), ("rmse", 3)):
            ceiling = evaluation["ceiling"][target][metric]
            facts[f"ceiling_{target}_{metric}"] = _number(ceiling, places)
        for name, row in rows.items():
            for metric in ("rmse", "r", "ccc", "mae"):
                places = 2 if metric in ("r", "ccc") else 3
                value = row["pooled"][metric]
                key = f"{SHORT_NAMES[name]}_{target}_{metric}"
                facts[key] = _number(value["value"], places)
                facts[f"{key}_interval"] = (
                    f"{_number(value['low'], places)} to {_number(value['high'], places)}"
                )
            facts[f"{SHORT_NAMES[name]}_{target}_song_r"] = _number(row["per_song"]["r"]["mean"], 2)
    return facts | benchmark_facts()


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


def _number(value: float | None, places: int) -> str:
    return "–" if value is None else f"{value:.{places}f}"


def assemble(corpus_dir: Path, destination: Path) -> Path:
    """Put prose, notebooks and numbers together as one Jupyter Book source.

    Raises
    ------
    BookError
        If a notebook that the table of contents names has not been run.
    """
    shutil.rmtree(destination, ignore_errors=True)
    shutil.copytree(BOOK, destination, ignore=shutil.ignore_patterns("_build"))
    (destination / "study").mkdir()
    contents = yaml.safe_load((BOOK / "_toc.yml").read_text("utf-8"))
    for part in contents["parts"]:
        if {"file": "study/data"} in part["chapters"]:
            part["chapters"] = [
                {"file": f"study/{_page(run, corpus_dir)}", "title": _title(run)}
                for run in data_chapters(corpus_dir)
            ]
    write_text(destination / "_toc.yml", yaml.safe_dump(contents, sort_keys=False))
    folders = {f"study/{_page(run, corpus_dir)}": run for run in data_chapters(corpus_dir)}
    for entry in _entries(contents):
        if not entry["file"].startswith("study/"):
            continue
        name = entry["file"].removeprefix("study/")
        source = folders.get(entry["file"], corpus_dir / name) / "notebook.ipynb"
        if not source.is_file():
            raise BookError(f"run {name!r} is missing in {corpus_dir.name}; run 'make study' first")
        text = source.read_text("utf-8")
        (destination / f"{entry['file']}.ipynb").write_text(
            _retitle(text, entry["title"]) if "title" in entry else text, "utf-8"
        )
    config = yaml.safe_load((BOOK / "_config.yml").read_text("utf-8"))
    config["sphinx"]["config"]["myst_substitutions"] = substitutions(corpus_dir)
    write_text(destination / "_config.yml", yaml.safe_dump(config, allow_unicode=True))
    return destination


def _page(run: Path, corpus_dir: Path) -> str:
    """Name of a data run's page: that of another corpus says whose it is."""
    return run.name if run.parent == corpus_dir else f"{run.parent.name}-{run.name}"


def _title(run: Path) -> str:
    return read_json(run / "metrics.json")["title"]


def _entries(node: object) -> list[dict]:
    """Every page of a table of contents, whatever part it stands in."""
    if isinstance(node, list):
        return [entry for item in node for entry in _entries(item)]
    if isinstance(node, dict):
        own = [node] if "file" in node else []
        return own + [e for v in node.values() if isinstance(v, list) for e in _entries(v)]
    return []


def _retitle(notebook: str, title: str) -> str:
    """Give a notebook that runs for several targets the title of its page."""
    import nbformat

    content = nbformat.reads(notebook, as_version=4)
    first = next(c for c in content.cells if c.cell_type == "markdown")
    first.source = "\n".join([f"# {title}", *first.source.splitlines()[1:]])
    return nbformat.writes(content)


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
    source = assemble(corpus_dir, PROJECT_ROOT / ".cache" / "book" / edition / corpus_dir.name)
    shutil.rmtree(site, ignore_errors=True)
    command = [str(Path(sys.executable).with_name("jupyter-book")), "build", str(source)]
    command += ["--path-output", str(site), "-n", "-W", "--keep-going", "--quiet"]
    result = subprocess.run(
        command,
        capture_output=True,
        text=True,
        env={**os.environ, "PYDEVD_DISABLE_FILE_VALIDATION": "1", "NO_COLOR": "1"},
    )
    if result.returncode or not index.is_file():
        raise BookError(
            f"the book has warnings or errors:\n{result.stdout}\n{result.stderr}".strip()
        )
    write_text(stamp, key)
    return index, True


def _source_hash(corpus_dir: Path) -> str:
    prose = [p for p in BOOK.rglob("*") if p.is_file() and "_build" not in p.parts]
    runs = {*corpus_dir.glob("*"), *data_chapters(corpus_dir)}
    results = [run / name for run in runs for name in ("notebook.ipynb", "metrics.json")]
    results = [p for p in results if p.is_file()]
    files = sorted([*prose, *results, LOCK, Path(__file__)])
    files += [BENCHMARK] if BENCHMARK.is_file() else []
    return sha256_text("\n".join(f"{p.parent.name}/{p.name} {sha256_file(p)}" for p in files))

"""Pages of the book are made of sound results: altered, lost and untrue ones stop it."""

from __future__ import annotations

import re
import shutil

import nbformat
import pytest
import yaml

from msr_utils import paths
from msr_utils.book import build, contents, edition
from msr_utils.book.edition import BookError
from msr_utils.book.results import EditionResults
from msr_utils.io import read_json, write_json
from msr_utils.provenance import manifest

pytestmark = pytest.mark.slow


RESULT = re.compile(
    r"(?<![\d.\w])(?<!Python )-?\d*\.\d{2,}(?![\d.]*\w)"  # 0.183, .72
    r"|\b(?!95\s?%)\d+(?:\.\d+)?\s?%"  # 12 %, but not the 95 % of intervals
    r"|\b(?:r|R2|RMSE|MAE|CCC|AUC|accuracy)\b(?:\s+(?:of|is|=|was|about|near))*\s*=?\s*-?\d*\.?\d"
    r"|\b\d+(?:\.\d+)?\s*(?:times|x|×)\s+(?:faster|slower|better|worse|real)"
)
"""A number that looks like a result."""


def prose_of(text):
    """A page without code, formulas, links, and what is read from the runs."""
    for pattern in (r"```(?!\{list-table).*?```", r"`[^`]*`", r"\$\$.*?\$\$", r"\{\{.*?\}\}",
                    r"\{%.*?%\}", r"<[^>]*>", r"\]\([^)]*\)"):  # fmt: skip
        text = re.sub(pattern, " ", text, flags=re.DOTALL)
    return text


def test_prose_holds_no_typed_result():
    for page in paths.BOOK.glob("*.md"):
        found = RESULT.search(prose_of(page.read_text()))
        assert not found, f"{page.name}: {found} is a bare result"
    for path in paths.NOTEBOOKS.glob("*.ipynb"):
        for cell in nbformat.read(path, as_version=4).cells:
            if cell.cell_type == "markdown":
                found = RESULT.search(prose_of(cell.source))
                assert not found, f"{path.name}: {found} is a bare result"


@pytest.mark.parametrize(
    "typed",
    ["an RMSE of 0.183", "r = .72", "12 % better", "an r of 0.7", "AUC .95", "340 times faster",
     "explains 61 % of it", "| ridge | 0.180 |"],
)  # fmt: skip
def test_a_typed_result_is_found(typed):
    assert RESULT.search(prose_of(f"The model has {typed}, we see."))
    for innocent in ("every 0.5 s", "95 % intervals", "Python 3.11 or newer", "r {{ r }}", "Q1"):
        assert not RESULT.search(prose_of(innocent)), innocent


def vouch(run):
    """Let a run's manifest tell of its files as they are: a test made other results of it."""
    content = read_json(run / "manifest.json")
    now = {"outputs": manifest.hash_outputs(run), "results": manifest.results_hash(run)}
    write_json(run / "manifest.json", content | now)


def test_results_that_were_edited_are_not_shown(tmp_path):
    shutil.copytree(paths.REPORTS / "published", tmp_path / "published")
    corpus = tmp_path / "published" / "vgmidi"
    EditionResults(corpus)
    results = read_json(corpus / "lstm-valence" / "metrics.json")
    results["test"]["pooled"]["r"]["value"] = 0.99
    write_json(corpus / "lstm-valence" / "metrics.json", results)
    with pytest.raises(BookError, match="vgmidi/lstm-valence: metrics.json was altered"):
        build.assemble(corpus, tmp_path / "source")
    # Of a chapter of another corpus, too, and a file that is gone.
    vouch(corpus / "lstm-valence")
    (tmp_path / "published" / "emotify" / "clips" / "params.yml").unlink()
    with pytest.raises(BookError, match="emotify/clips: params.yml is missing"):
        EditionResults(corpus)
    manifest_file = tmp_path / "published" / "emotify" / "clips" / "manifest.json"
    content = read_json(manifest_file)
    del content["outputs"]
    write_json(manifest_file, content)
    with pytest.raises(BookError, match="emotify/clips: its manifest tells of no files"):
        EditionResults(corpus)


def test_a_sentence_that_is_not_true_any_more_stops_the_build(tmp_path, monkeypatch):
    shutil.copytree(paths.REPORTS / "published", tmp_path / "published")
    shutil.copytree(paths.BOOK, tmp_path / "book", ignore=shutil.ignore_patterns("_build"))
    corpus = tmp_path / "published" / "vgmidi"
    monkeypatch.setenv("BOOK_REPOSITORY", "https://example.org/msr")
    source = build.assemble(corpus, tmp_path / "source")
    config = yaml.safe_load((source / "_config.yml").read_text())
    assert config["repository"]["url"] == "https://example.org/msr"
    assert config["html"]["use_issues_button"] and config["html"]["use_repository_button"]
    results = read_json(corpus / "evaluation" / "metrics.json")
    for metric in results["rows"]["valence"]["ridge"]["pooled"].values():
        metric |= {"value": 0.9, "low": 0.85, "high": 0.95}
    write_json(corpus / "evaluation" / "metrics.json", results)
    vouch(corpus / "evaluation")
    with pytest.raises(BookError, match=r"intro.md: not true .* 'tonal features help valence'"):
        build.assemble(corpus, tmp_path / "source")
    # Nor does a page that names what is not there build.
    monkeypatch.setattr(build, "BOOK", tmp_path / "book")
    (tmp_path / "book" / "intro.md").write_text("# Title\n\n{{ nothing_of_the_kind }}\n")
    with pytest.raises(BookError, match="intro.md: 'nothing_of_the_kind' is undefined"):
        build.assemble(corpus, tmp_path / "source")


def test_chapters_of_other_corpora_join_the_book(tmp_path):
    main, other = tmp_path / "test" / "songs", tmp_path / "test" / "clips4"
    shutil.copytree(paths.REPORTS / "published" / "vgmidi", main)
    shutil.copytree(paths.REPORTS / "published" / "emotify" / "clips", other / "clips")
    metrics = read_json(other / "clips" / "metrics.json")
    write_json(other / "clips" / "metrics.json", metrics | {"title": "Clips for four"})
    vouch(other / "clips")
    assert edition.is_chapter(other) and not edition.is_chapter(main)
    # The corpus with an evaluation gives the book, the other a chapter of it.
    assert edition.find_corpus("test", reports=tmp_path) == main
    source = build.assemble(main, tmp_path / "source")
    toc = yaml.safe_load((source / "_toc.yml").read_text())
    (part,) = [p for p in toc["parts"] if p["caption"] == "Data"]
    corpora, spectrograms = part["chapters"]
    assert (corpora["file"], spectrograms["file"]) == ("study/part-data", "study/spectrograms")
    assert [c["file"] for c in corpora["sections"]] == ["study/data", "study/clips4-clips"]
    assert "(clips4-clips.ipynb)" in (source / "study/part-data.md").read_text()
    assert "# Clips for four" in (source / "study/clips4-clips.ipynb").read_text()
    first = build._source_hash(main)
    write_json(other / "clips" / "metrics.json", metrics | {"title": "Clips for five"})
    vouch(other / "clips")
    assert build._source_hash(main) != first
    # Pages of one title say whose they are; missing models leave no hole; parts without pages go.
    shutil.copytree(main / "data", tmp_path / "test" / "more" / "data")
    shutil.rmtree(main / "lstm-valence")
    shutil.rmtree(main / "spectrograms")
    facts = EditionResults(main)
    found = contents.read_contents(facts).toc["parts"]
    assert facts.titles[tmp_path / "test" / "more" / "data"] == "VGMIDI: more"
    assert "study/spectrograms" not in [c["file"] for p in found for c in p["chapters"]]
    # A part of one chapter is this chapter.
    (beyond,) = [p for p in found if p["caption"] == "Beyond the paper"]
    files = [c["file"] for c in beyond["chapters"]]
    assert "study/raters" in files and "study/part-listeners" not in files
    # A notebook without a place is named.
    text = (main / "data" / "notebook.ipynb").read_text()
    (main / "data" / "notebook.ipynb").write_text(text.replace("01_data.ipynb", "99_new.ipynb"))
    vouch(main / "data")
    with pytest.raises(BookError, match="no place for runs of 99_new"):
        contents.read_contents(EditionResults(main))


def test_a_spine_that_is_too_long_is_refused(monkeypatch):
    facts = EditionResults(paths.REPORTS / "published" / "vgmidi")
    monkeypatch.setattr(contents, "MAX_SPINE", 10)
    with pytest.raises(BookError, match="entries that are always seen, and 10 may be"):
        contents.read_contents(facts)


def test_an_edition_without_runs_says_so(tmp_path):
    with pytest.raises(BookError, match="no finished run; run 'make study' first"):
        build.build("none", reports=tmp_path)


def test_a_missing_run_is_named(tmp_path):
    corpus = tmp_path / "test" / "vgmidi"
    shutil.copytree(paths.REPORTS / "published" / "vgmidi", corpus)
    shutil.rmtree(corpus / "export")
    with pytest.raises(BookError, match="run 'export' is missing"):
        build.assemble(corpus, tmp_path / "source")
    with pytest.raises(BookError, match="corpus 'deam' is not in"):
        edition.find_corpus("test", "deam", tmp_path)


def test_a_training_that_was_kept_counts_where_time_is_told(tmp_path):
    """One that was trained, an ablation and a search."""
    write_json(tmp_path / "manifest.json", {"wall_s": 30.0})
    assert edition.run_minutes(tmp_path) == (0, 0.5)
    variants = [{"cost": {"training_s": 30.0}}, {"diverged": "the loss is nan"}]
    for metrics, minutes in (
        ({"cost": {"training_s": 90.0, "parameters": 3}}, 1.5),
        ({"variants": variants}, 0.5),
        ({"trials": [{"minutes": 2.0}, {"minutes": 0.5}]}, 2.5),
    ):
        write_json(tmp_path / "metrics.json", metrics)
        assert edition.run_minutes(tmp_path) == (minutes, 0.5)

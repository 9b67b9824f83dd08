"""The book builds from reports alone, without a warning, and needs nothing from outside."""

from __future__ import annotations

import re
from urllib.parse import unquote

import pytest

from msr_utils import book
from msr_utils.io import read_json


@pytest.fixture(scope="module")
def site(quick_study, tmp_path_factory):
    output = tmp_path_factory.mktemp("book")
    index, built = book.build("test", reports=quick_study, output=output)
    assert built
    assert book.build("test", reports=quick_study, output=output) == (index, False)
    return index.parent


def pages(site):
    return sorted(p for p in site.rglob("*.html") if "_static" not in p.parts)


def test_every_page_is_there(site):
    names = {p.relative_to(site).as_posix() for p in pages(site)}
    assert {"intro.html", "service.html", "reproduce.html", "study/evaluation.html"} <= names
    assert "LSTM: valence" in (site / "study/lstm-valence.html").read_text()
    assert (site / "study/lstm-arousal.html").read_text().count("<img") >= 1


def test_no_asset_comes_from_outside(site):
    loads = re.compile(
        r"""<(?:script|img|iframe|source|audio|video)\b[^>]*\bsrc=["'](?:https?:)?//[^"']+"""
        r"""|<link\b[^>]*\brel=["'](?:stylesheet|preload|icon|modulepreload)["'][^>]*href=["'](?:https?:)?//[^"']+"""
        r"""|@import\s+(?:url\()?["']?(?:https?:)?//|\bimport\s*\(?["']https?://"""
    )
    for page in pages(site):
        assert not loads.search(page.read_text()), page
    for sheet in site.rglob("*.css"):
        assert not re.search(
            r"url\(['\"]?(?:https?:)?//|@import\s+(url\()?['\"]?https?:", sheet.read_text()
        )


def test_internal_links_lead_somewhere(site):
    for page in pages(site):
        for link in re.findall(r"""(?:href|src)=["']([^"'#?]+)""", page.read_text()):
            if re.match(r"[a-z]+:|//", link):
                continue
            assert (page.parent / unquote(link)).exists(), f"{page.name}: {link}"


def test_numbers_on_the_first_page_come_from_the_runs(site, quick_study):
    text = re.sub(r"<[^>]+>", " ", (site / "intro.html").read_text())
    assert "{{" not in text
    rows = read_json(quick_study / "test/synthetic/evaluation/metrics.json")["rows"]
    for target in rows:
        for row in rows[target].values():
            value = row["pooled"]["rmse"]["value"]
            if row is not rows[target]["mean trajectory"]:
                assert f"{value:.3f}" in text
    assert "say nothing about real music" in text


def test_prose_holds_no_typed_result():
    for page in book.BOOK.glob("*.md"):
        prose = re.sub(r"```.*?```", "", page.read_text(), flags=re.DOTALL)
        assert not re.search(r"(?<![\d.])0?\.\d{2,}", prose), f"{page.name}: a bare result"


def test_data_chapters_of_other_corpora_join_the_book(quick_study, tmp_path):
    import shutil

    import yaml

    from msr_utils.io import write_json

    main, other = tmp_path / "test" / "synthetic", tmp_path / "test" / "clips4"
    shutil.copytree(quick_study / "test" / "synthetic", main)
    shutil.copytree(main / "data", other / "clips")
    write_json(other / "clips" / "metrics.json", {"title": "Clips for four"})
    assert book.is_data_only(other) and not book.is_data_only(main)
    # The corpus with models gives the book, the other a chapter of it.
    assert book.find_corpus("test", reports=tmp_path) == main
    source = book.assemble(main, tmp_path / "source")
    contents = yaml.safe_load((source / "_toc.yml").read_text())
    (part,) = [p for p in contents["parts"] if p["caption"] == "The data"]
    assert [c["file"] for c in part["chapters"]] == ["study/data", "study/clips4-clips"]
    assert "# Clips for four" in (source / "study/clips4-clips.ipynb").read_text()
    first = book._source_hash(main)
    write_json(other / "clips" / "metrics.json", {"title": "Clips for five"})
    assert book._source_hash(main) != first


def test_an_edition_without_runs_says_so(tmp_path):
    with pytest.raises(book.BookError, match="no finished run; run 'make study' first"):
        book.build("none", reports=tmp_path)


def test_a_missing_run_is_named(quick_study, tmp_path):
    import shutil

    corpus = tmp_path / "test" / "synthetic"
    shutil.copytree(quick_study / "test" / "synthetic", corpus)
    shutil.rmtree(corpus / "lstm-valence")
    with pytest.raises(book.BookError, match="run 'lstm-valence' is missing"):
        book.assemble(corpus, tmp_path / "source")
    with pytest.raises(book.BookError, match="corpus 'deam' is not in"):
        book.find_corpus("test", "deam", tmp_path)

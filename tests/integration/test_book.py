"""The whole study once, in its quick profile; the book from its reports alone."""

from __future__ import annotations

import functools
import gzip
import http.server
import io
import json
import re
import threading
from urllib.parse import unquote

import nbformat
import pytest
from axe import PACKAGE, barriers
from bs4 import BeautifulSoup
from chromium import Browser
from needs import needs_browser, needs_package

from msr_utils import paths
from msr_utils.book import build
from msr_utils.book import results as book_results
from msr_utils.book.contents import MAX_SPINE
from msr_utils.book.edition import BookError
from msr_utils.book.results import EditionResults
from msr_utils.constants import TARGETS
from msr_utils.io import read_json
from msr_utils.study import plan

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def site(quick_study, tmp_path_factory):
    output = tmp_path_factory.mktemp("book")
    index, built = build.build("test", reports=quick_study, output=output)
    assert built
    assert build.build("test", reports=quick_study, output=output) == (index, False)
    return index.parent


def pages(site):
    return sorted(p for p in site.rglob("*.html") if "_static" not in p.parts)


def test_every_page_is_there(site):
    names = {p.relative_to(site).as_posix() for p in pages(site)}
    assert {"intro.html", "service.html", "reproduce.html", "study/evaluation.html"} <= names
    assert "LSTM: valence" in (site / "study/lstm-valence.html").read_text()
    assert (site / "study/lstm-arousal.html").read_text().count("<img") >= 1


@pytest.fixture(scope="module")
def published(tmp_path_factory):
    """The book that is published, from the committed reports."""
    return build.build("published", output=tmp_path_factory.mktemp("published"))[0].parent


@pytest.fixture(params=["site", "published"])
def any_site(request):
    return request.getfixturevalue(request.param)


LOADED = {"script": "src", "img": "src", "iframe": "src", "source": "src", "audio": "src",
          "video": "src", "embed": "src", "object": "data"}  # fmt: skip
OUTSIDE = re.compile(r"(?:https?:)?//", re.IGNORECASE)


def soup(page):
    return BeautifulSoup(page.read_text(), "html.parser")


def assets(page):
    """What a browser fetches to show a page, as the page names it."""
    found = soup(page)
    for name, attribute in LOADED.items():
        yield from (tag[attribute] for tag in found.find_all(name, attrs={attribute: True}))
    for tag in found.find_all(srcset=True):
        yield from (part.split()[0] for part in tag["srcset"].split(","))
    for tag in found.find_all("link", href=True):
        if {"stylesheet", "icon", "preload", "modulepreload"} & set(tag["rel"]):
            yield tag["href"]


def test_no_asset_comes_from_outside(any_site):
    for page in pages(any_site):
        for asset in assets(page):
            assert not OUTSIDE.match(asset), f"{page.name}: {asset}"
        assert not re.search(r"""\bimport\s*\(?\s*["']https?://""", page.read_text()), page.name
    for sheet in any_site.rglob("*.css"):
        fetched = re.search(r"url\(['\"]?(?:https?:)?//|@import\s+['\"]https?:", sheet.read_text())
        assert not fetched, f"{sheet.name}: {fetched}"


def test_internal_links_lead_somewhere(any_site):
    anchors = {p: {t["id"] for t in soup(p).find_all(id=True)} for p in pages(any_site)}
    for page in anchors:
        for tag in soup(page).find_all(["a", "img", "script", "link"]):
            link = tag.get("href") or tag.get("src") or ""
            if re.match(r"[a-z]+:|//", link):
                continue
            path, _, fragment = unquote(link).partition("#")
            target = (page.parent / path.partition("?")[0]).resolve() if path else page
            assert target.exists(), f"{page.name}: {link}"
            if fragment and target in anchors and target.name != "search.html":
                assert fragment in anchors[target], f"{page.name}: {link}"


def test_a_page_weighs_less_than_two_megabytes(any_site):
    """As a web server sends it: text compressed. Most of it is MathJax and the theme's icons."""

    @functools.cache
    def sent(file):
        text = file.suffix in (".html", ".js", ".css", ".svg")
        return len(gzip.compress(file.read_bytes())) if text else file.stat().st_size

    for page in pages(any_site):
        # What a page holds itself, such as the sound of a player, is part of its text.
        links = [a for a in assets(page) if not a.startswith("data:")]
        files = {(page.parent / unquote(a).partition("?")[0]).resolve() for a in links}
        weight = sent(page) + sum(sent(f) for f in files if f.is_file())
        assert weight < 2e6, f"{page.name}: {weight / 1e6:.1f} MB"


@pytest.fixture
def browser(tmp_path):
    opened = Browser(tmp_path)
    opened.go("about:blank")  # Away from Chromium's own page.
    yield opened
    opened.close()


class Pages(http.server.SimpleHTTPRequestHandler):
    """Sends files as GitHub Pages does: text compressed."""

    def send_head(self):
        file = self.translate_path(self.path)
        if not file.endswith((".html", ".js", ".css", ".svg", ".json")):
            return super().send_head()
        with open(file, "rb") as text:
            content = gzip.compress(text.read())
        self.send_response(200)
        self.send_header("Content-Type", self.guess_type(file))
        self.send_header("Content-Encoding", "gzip")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        return io.BytesIO(content)

    def log_message(self, *arguments):
        pass


@pytest.fixture
def address(published):
    """The published book on a local server."""
    handler = functools.partial(Pages, directory=published)
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


def fetched(browser):
    """What the browser has asked for since the last call: addresses, and bytes that came."""
    events = [(e["method"], e["params"]) for e in browser.logs("performance")]
    urls = [p["request"]["url"] for method, p in events if method == "Network.requestWillBeSent"]
    urls = [url for url in urls if not url.startswith("chrome://")]
    sizes = [p["encodedDataLength"] for method, p in events if method == "Network.loadingFinished"]
    return urls, sum(sizes)


@needs_browser
def test_a_browser_transfers_less_than_two_megabytes(browser, address):
    """Everything that Chromium fetches for a page, with fonts and what scripts load."""
    browser.devtools("Network.setCacheDisabled", cacheDisabled=True)
    for page in ("intro", "background", "explorer", "service", "study/spectrograms", "study/data",
                 "study/evaluation"):  # fmt: skip
        fetched(browser)
        browser.go(f"{address}/{page}.html")
        browser.until("document.fonts.status === 'loaded' && "
                      "(!window.MathJax || document.querySelector('mjx-container') !== null)")  # fmt: skip
        urls, size = fetched(browser)
        assert len(urls) > 10 and all(u.startswith((address, "data:", "blob:")) for u in urls), urls
        assert 3e5 < size < 2e6, f"{page}: {size / 1e6:.2f} MB"


AXE_PAGES = (
    "intro", "study/evaluation", "service", "study/lstm-arousal", "study/emopia-generation",
    "study/emopia-symbolic", "explorer", "study/release", "study/quadrants-retrieval-moods",
    "questioned",
)  # fmt: skip
"""The first page, and one of each kind of chapter."""

AXE_RUNS = [
    pytest.param(False, AXE_PAGES[::3], id="light, some"),
    pytest.param(False, AXE_PAGES, id="light", marks=pytest.mark.extended),
    pytest.param(True, AXE_PAGES, id="dark", marks=pytest.mark.extended),
]


@needs_browser
@needs_package(PACKAGE)
@pytest.mark.parametrize("dark, shown", AXE_RUNS)
def test_axe_finds_no_barrier(published, tmp_path, dark, shown):
    """All rules of axe-core; the dark pages have the same parts, so only their contrast is new."""
    browser = Browser(tmp_path, width=1300, dark=dark)
    try:
        for page in shown:
            browser.go((published / f"{page}.html").as_uri())
            browser.until(
                "document.fonts.status === 'loaded' && document.documentElement.dataset.theme"
            )
            theme = browser.run("return document.documentElement.dataset.theme")
            assert theme == ("dark" if dark else "light")
            assert barriers(browser, *["color-contrast"] * dark) == [], page
        # What it is there for is found: an image without a text, and pale writing.
        browser.run("document.querySelector('article h1').insertAdjacentHTML('afterend', "
                    "'<img src=\"\"><p style=\"color: #777; background: #666\">pale</p>')")  # fmt: skip
        found = " ".join(barriers(browser, "image-alt", "color-contrast"))
        assert "image-alt (critical)" in found and "color-contrast (serious)" in found
    finally:
        browser.close()


OFF_SCREEN = """
const off = [];
if (document.documentElement.scrollWidth > innerWidth) off.push("the page");
for (const table of document.querySelectorAll("main table")) {
  let box = table;
  while (box !== document.body && !/auto|scroll/.test(getComputedStyle(box).overflowX)) box = box.parentElement;
  if (table.checkVisibility() && box.scrollWidth > box.clientWidth + 1) off.push(table.textContent.trim().slice(0, 40));
}
return off;
"""


@needs_browser
@pytest.mark.parametrize("width", [1300, 390])
def test_no_column_of_a_table_is_off_screen(published, tmp_path, width):
    browser = Browser(tmp_path, width=width)
    try:
        for page in (
            *AXE_PAGES,
            "api",
            "parameters",
            "study/deam-song-features",
            "study/emotify-text",
        ):
            browser.go((published / f"{page}.html").as_uri())
            browser.until("document.fonts.status === 'loaded'")
            assert browser.run(OFF_SCREEN) == [], page
        # A row of a table that became lists still says which value is which.
        names = (
            "[...document.querySelectorAll('table.stacked tbody tr')][0]?.querySelectorAll('td')"
        )
        found = browser.run(f"return [...{names} ?? []].map((cell) => cell.dataset.name)")
        assert "amazement, r" in found
    finally:
        browser.close()


@needs_browser
@pytest.mark.parametrize("served", [True, False])
def test_search_works_without_a_network(browser, published, address, served):
    root = address if served else published.as_uri()
    browser.go(f"{root}/limits.html")
    browser.click(
        ".sidebar-primary-item .search-button-field, .sidebar-primary-item .search-button"
    )
    browser.until("document.activeElement.matches('input[type=search]')")
    browser.press(*"arousal", "Enter")
    browser.until("document.querySelectorAll('#search-results li a').length > 5")
    found = browser.run(
        "return [...document.querySelectorAll('#search-results li a')].map((a) => a.href)"
    )
    assert any("/study/lstm-arousal.html" in link for link in found)
    urls, _ = fetched(browser)
    assert urls and all(url.startswith((root, "data:", "blob:")) for url in urls), urls
    browser.go(f"{root}/search.html?q=noosuchword")
    browser.until("document.body.textContent.includes('did not match any documents')")


@needs_browser
def test_a_prediction_can_be_explored(browser, published):
    recorded = read_json(paths.REPORTS / "published/synthetic/service/metrics.json")["explorer"]
    piece, (first, *_, last) = recorded["tracks"][1], recorded["models"]
    browser.go((published / "explorer.html").as_uri())

    def shown():
        return browser.text(".explorer-values").replace("−", "-").replace("+", "")

    def told(model, frame):
        return [f"{piece['curves'][model][target][frame]:.2f}" for target in TARGETS]

    assert not browser.run("return document.querySelector('.explorer-static').checkVisibility()")
    # With the keyboard alone: another piece, and some moments on.
    browser.run("document.querySelector('[data-pick=track]').focus()")
    browser.press("ArrowDown")
    browser.run("document.querySelector('.explorer input').focus()")
    browser.press("ArrowRight", "ArrowRight", "ArrowRight")
    assert all(value in shown() for value in ("2.0 s", *told(first, 3)))
    browser.run("document.querySelector('[data-pick=model]').focus()")
    browser.press("End")
    assert all(value in shown() for value in told(last, 3))
    # What the mouse points at, and back.
    box = browser.run("""
        const chart = document.querySelector("[data-chart=valence]");
        chart.scrollIntoView({ behavior: "instant" });
        const { right, top, height } = chart.getBoundingClientRect();
        return [right - 10, top + height / 2]""")
    browser.move_to(*box)
    assert all(value in shown() for value in ("45.0 s", *told(last, -1)))
    browser.move_to(box[0], box[1] + 400)
    assert "2.0 s" in shown()
    # The dot follows the music.
    browser.until("document.querySelector('.explorer audio').duration > 40 || "
                  "(document.querySelector('.explorer audio').load(), "
                  "document.querySelector('.explorer audio').preload = 'auto', false)")  # fmt: skip
    browser.run("const a = document.querySelector('.explorer audio'); a.currentTime = 20; a.play()")
    browser.until("+document.querySelector('.explorer input').value > 42")
    browser.run("document.querySelector('.explorer audio').pause()")
    # Paper and browsers without scripts get the picture.
    visible = "return ['.explorer', '.explorer-static'].map((s) => document.querySelector(s).checkVisibility())"
    browser.devtools("Emulation.setEmulatedMedia", media="print")
    assert browser.run(visible) == [False, True]
    browser.devtools("Emulation.setEmulatedMedia", media="")
    browser.devtools("Emulation.setScriptExecutionDisabled", value=True)
    browser.go((published / "explorer.html").as_uri())
    assert browser.run(visible) == [False, True]


def test_the_service_page_shows_recorded_answers(published, site):
    recorded = read_json(paths.REPORTS / "published/synthetic/service/metrics.json")["exchanges"]
    blocks = [tag.get_text().strip() for tag in soup(published / "service.html").find_all("pre")]
    for name, exchange in recorded.items():
        if name != "health":  # says no more than "ready"
            assert exchange["answer"] in blocks, name
    # An edition that has not asked the service shows the requests alone.
    text = soup(site / "service.html").get_text()
    assert recorded["predict"]["command"] in text and '"elapsed_ms"' not in text


def test_titles_in_the_sidebar_are_short(published):
    for tag in soup(published / "intro.html").select("nav.bd-links a"):
        assert len(tag.get_text().strip()) <= 30, tag
    facts = EditionResults(paths.REPORTS / "published" / "vgmidi")
    linear = {facts.short(run, "Linear") for run in facts.chapters["03_linear"]}
    assert "Linear (MusiCNN): arousal" in linear
    # Chapters of one experiment lie under a page with their scores.
    overview = soup(published / "study" / "part-lstm.html").find("table")
    links = {a["href"] for a in overview.find_all("a", href=True)}
    runs = facts.chapters["03_lstm"] + facts.chapters["03_linear"]
    assert links == {f"{run.name}.html" for run in runs}
    score = facts.metrics("lstm-arousal")["test"]["pooled"]["rmse"]["value"]
    assert f"{score:.3f}" in overview.get_text()


@needs_browser
def test_the_spine_is_short(browser, published):
    """When the book is opened, and on its smallest screen that has a sidebar."""
    browser.go((published / "intro.html").as_uri())
    seen = "[...document.querySelectorAll('.bd-links a')].filter((a) => a.checkVisibility())"
    titles = browser.run(f"return {seen}.map((a) => a.textContent.trim())")
    assert 15 < len(titles) <= MAX_SPINE + 1, titles


def test_parts_open_with_a_question_and_close_with_what_was_learned(published):
    found = sorted((published / "study").glob("part-*.html"))
    assert len(found) > 5
    for page in found:
        article = soup(page).find("article")
        assert "?" in article.find("h1").find_next("p").get_text(), page.name
        closing = article.find_all("h2")[-1]
        assert closing.get_text().startswith("What was learned in this edition"), page.name
        assert re.search(r"\d", closing.find_next("ul").get_text()), page.name
    # As the chapters say it.
    learned = soup(published / "study" / "part-words.html").get_text()
    facts = EditionResults(paths.REPORTS / "published" / "vgmidi")
    for run in facts.chapters["05_lyrics"]:
        assert facts.learned(run).split(".")[0] in learned


def test_every_picture_is_described(any_site):
    for page in pages(any_site):
        for image in soup(page).find_all("img"):
            described = image.get("alt", "")
            assert described and not described.startswith(("_images/", "../_images/")), page.name


def test_a_link_elsewhere_has_a_preview(published):
    found = soup(published / "study" / "evaluation.html")
    meta = {t["property"]: t["content"] for t in found.find_all("meta", property=True)}
    assert "Evaluation" in meta["og:title"]
    assert (published / "study" / meta["og:image"]).resolve().is_file()


def test_numbers_on_the_first_page_come_from_the_runs(any_site, quick_study):
    text = soup(any_site / "intro.html").get_text(" ")
    assert "{{" not in text and "{%" not in text
    local = any_site.parts[-3] == "synthetic"
    runs = quick_study / "test/synthetic" if local else paths.REPORTS / "published/vgmidi"
    rows = read_json(runs / "evaluation/metrics.json")["rows"]
    for target in rows:
        for name, row in rows[target].items():
            assert name in text
            assert f"{row['pooled']['rmse']['value']:.3f}" in text


def test_a_local_edition_cannot_be_mistaken(site, published):
    for page in (site / "intro.html", site / "study" / "evaluation.html"):
        text = " ".join(soup(page).get_text(" ").split())
        assert "A local edition on synthetic music" in text
        assert "Edition test , corpus synthetic" in text
    assert "Three findings" not in (site / "intro.html").read_text()
    text = " ".join(soup(published / "study" / "evaluation.html").get_text(" ").split())
    assert "A local edition" not in text
    assert "Edition published , corpus vgmidi" in text


def test_every_run_has_a_page_in_its_part(published):
    contents = soup(published / "intro.html").select_one("nav.bd-links")
    order = [a["href"] for a in contents.find_all("a", href=True)]
    runs = [p.parent for p in (paths.REPORTS / "published").glob("*/*/manifest.json")]
    facts = EditionResults(paths.REPORTS / "published" / "vgmidi")
    assert set(facts.pages) == set(runs)
    assert {f"{page}.html" for page in facts.pages.values()} <= set(order)
    assert len(set(facts.titles.values())) == len(facts.titles)
    named = ["background.html", "study/data.html", "study/lstm-arousal.html",
             "study/evaluation.html", "error.html", "service.html", "study/export.html"]  # fmt: skip
    assert sorted(named, key=order.index) == named


def test_tables_of_parameters_are_the_notebooks_own(published):
    text = (published / "parameters.html").read_text()
    for notebook, rows in book_results.parameter_tables().items():
        assert notebook in text
        for row in rows:
            assert f">{row['name']}<" in text
    assert {row["name"] for row in book_results.parameter_tables()["03_lstm"]} >= {
        "units",
        "dropout",
    }
    for card in paths.MODELS_DIR.glob("*/CARD.md"):
        assert (
            card.read_text().splitlines()[0].removeprefix("# ")
            in (published / "cards.html").read_text()
        )


@pytest.mark.extended
@needs_browser(driver=False)
def test_the_book_prints(tmp_path, monkeypatch):
    pdf = build.build_pdf("published", output=tmp_path)
    assert pdf.read_bytes()[:5] == b"%PDF-" and pdf.stat().st_size > 1e6
    monkeypatch.setattr(build.shutil, "which", lambda name: None)
    with pytest.raises(BookError, match="needs Chromium"):
        build.build_pdf("published", output=tmp_path)


def test_the_whole_study_in_its_quick_profile(quick_study):
    corpus = quick_study / "test" / "synthetic"
    runs = plan.plan(plan.read_study(), "synthetic", "", "quick")
    names = plan.select_runs(runs, (), ())
    assert sorted(p.name for p in corpus.iterdir()) == sorted(names)
    for name in names:
        folder = corpus / name
        for file in ("notebook.ipynb", "params.yml", "metrics.json", "manifest.json"):
            assert (folder / file).is_file(), f"{name}/{file}"
        notebook = nbformat.read(folder / "notebook.ipynb", as_version=4)
        assert all(c.execution_count for c in notebook.cells if c.cell_type == "code")
    rows = read_json(corpus / "evaluation" / "metrics.json")["rows"]
    for target in ("valence", "arousal"):
        assert list(rows[target]) == [
            "constant", "mean trajectory", "ridge", "ridge (tonal)", "LSTM (paper)",
            "LSTM (tonal)", "Transformer (paper)", "Transformer (scratch)", "linear (running stats)",
            "LSTM and linear", "song-mean oracle",
        ]  # fmt: skip
        frames = {row["frames"] for row in rows[target].values()}
        assert len(frames) == 1
        own = read_json(corpus / f"lstm-{target}" / "metrics.json")["test"]["pooled"]["rmse"][
            "value"
        ]
        assert rows[target]["LSTM (paper)"]["pooled"]["rmse"]["value"] == pytest.approx(own)
        assert (
            rows[target]["song-mean oracle"]["pooled"]["rmse"]["value"]
            < (rows[target]["constant"]["pooled"]["rmse"]["value"])
        )
    # No path of the machine that ran it.
    for path in corpus.rglob("*"):
        if path.suffix in (".ipynb", ".json", ".yml"):
            assert str(paths.PROJECT_ROOT) not in path.read_text(), path


def test_the_studys_bundle_predicts(quick_study, tmp_path):
    import soundfile as sf
    from conftest import tone

    from msr_utils.inference import model as inference_model

    folder = quick_study / "test" / "synthetic" / "export" / "bundles"
    assert inference_model.available(folder) == ["lstm-tonal-synthetic"]
    path = tmp_path / "tone.flac"
    sf.write(path, tone(5.0), 22_050)
    got = inference_model.load("lstm-tonal-synthetic", folder).predict(path)
    assert len(got.valence) == 10


def test_metrics_are_json_that_any_reader_can_read(quick_study):
    def refuse(constant):
        raise ValueError(f"{constant} is not JSON")

    for path in quick_study.rglob("*.json"):
        json.loads(path.read_text(), parse_constant=refuse)

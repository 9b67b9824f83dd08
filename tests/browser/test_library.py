"""The tabs of the music library, driven in a real browser against the service that runs."""

from __future__ import annotations

import csv
import io
import json
import math
import re
import subprocess
import sys
import threading
from http.server import ThreadingHTTPServer

import numpy as np
import pytest
import requests
from axe import PACKAGE, barriers
from chromium import Browser
from environment import without_settings
from needs import needs_browser, needs_package
from toy_library import drawn_library

from msr_utils.generation.untrained import untrained_generator
from msr_utils.library.words import WORDS
from msr_utils.paths import PROJECT_ROOT

pytestmark = [needs_browser, pytest.mark.slow]

TOKEN = "a token of the tests"
N_TRACKS = 60
ROWS = "document.querySelectorAll('#tracks li').length"
TITLE = "document.querySelector('#listed-title').textContent"


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    """URL of the service with a library of tones, and an untrained generator."""
    folder = tmp_path_factory.mktemp("tones")
    untrained_generator(folder / "generators" / "tiny")
    means = np.random.default_rng(2).uniform(-0.7, 0.7, (N_TRACKS, 2))
    drawn_library(folder, means, seconds=20.0).close()
    settings = without_settings()
    settings |= {"MSR_LIBRARY_TOKEN": TOKEN, "MSR_DEFAULT_MODEL": "light", "MSR_WORKERS": "1"}
    settings["MSR_GENERATORS_DIR"] = str(folder / "generators")
    log = folder / "serve.log"
    command = [sys.executable, "-m", "serve", "--port", "0", "--library", str(folder / "library")]
    with log.open("w") as file:
        process = subprocess.Popen(
            command, cwd=PROJECT_ROOT, env=settings, stdout=subprocess.PIPE, stderr=file, text=True
        )
    announced = re.search(r"http://\S+", process.stdout.readline())
    assert announced, log.read_text()
    yield announced[0]
    process.terminate()
    process.wait(30)
    assert "Traceback" not in log.read_text()


@pytest.fixture(scope="module")
def window(tmp_path_factory):
    window = Browser(tmp_path_factory.mktemp("downloads"))
    yield window
    window.close()


@pytest.fixture
def opened(window, server):
    """Opens a tab, fresh; afterwards, the page has complained of nothing and asked nobody else."""
    for file in window.downloads.iterdir():
        file.unlink()
    window.go("about:blank")
    for kind in ("browser", "performance"):
        window.logs(kind)

    def open_tab(name: str) -> Browser:
        window.go(f"{server}/#{name}")
        window.until(f"document.body.dataset.{name}Ready")
        return window

    yield open_tab
    messages = [e["message"] for e in window.logs("browser") if "/v1/" not in e["message"]]
    assert messages == []
    urls = [
        e["params"]["request"]["url"]
        for e in window.logs("performance")
        if e["method"] == "Network.requestWillBeSent"
    ]
    assert len(urls) > 5
    assert [u for u in urls if not u.startswith((f"{server}/", f"blob:{server}/"))] == []


@pytest.fixture
def library(opened) -> Browser:
    return opened("library")


@pytest.fixture
def scenes(opened) -> Browser:
    return opened("scenes")


def get(server: str, path: str, **query: object):
    return requests.get(f"{server}/v1/library/{path}", params=query, timeout=20).json()


def pixel(page: Browser, valence: float, arousal: float) -> tuple[float, float]:
    """Where a point of the plane lies in the window."""
    x, y, side = page.run(
        """
        const box = document.querySelector("#map").getBoundingClientRect();
        const side = Math.min(box.width - 40, box.height - 28);
        return [box.left + Math.round((box.width - side + 32) / 2), box.top + 2, side];
        """
    )
    return x + (valence + 1) / 2 * side, y + (1 - arousal) / 2 * side


def drag(page: Browser, points: list[tuple[float, float]]) -> None:
    """Press the mouse at the first point, move over the others, let go at the last."""
    moves = [
        {"type": "pointerMove", "x": round(x), "y": round(y), "duration": 4} for x, y in points
    ]
    down, up = ({"type": kind, "button": 0} for kind in ("pointerDown", "pointerUp"))
    pointer = {"type": "pointer", "id": "mouse", "actions": [moves[0], down, *moves[1:], up]}
    page._ask("POST", "/actions", {"actions": [pointer]})


def set_value(page: Browser, selector: str, value: str) -> None:
    """Choose or type a value, as far as the page can tell."""
    page.run(
        """
        const field = document.querySelector(arguments[0]);
        field.value = arguments[1];
        for (const kind of ["input", "change"]) field.dispatchEvent(new Event(kind, { bubbles: true }));
        """,
        selector,
        value,
    )


def listed(page: Browser) -> list[int]:
    return page.run(
        "return [...document.querySelectorAll('#tracks li')].map(row => Number(row.dataset.id))"
    )


# ------------------------------------------------------------------------------ library


def test_search_lists_what_the_api_finds_and_plays_it(library, server):
    library.until("document.querySelector('#map-count').textContent")
    assert library.text("#map-count") == f"{N_TRACKS} tracks"
    options = library.run("return [...document.querySelector('#find [name=words]').options].length")
    assert options == 1 + len(WORDS)
    set_value(library, "#find [name=words]", "happy")
    library.click("#find [type=submit]")
    library.until(ROWS)
    expected = get(server, "find", words="happy", limit=30)["results"]
    assert listed(library) == [result["track"]["id"] for result in expected]
    chance = f"{round(100 * expected[0]['probability'])} % likely there"
    assert chance in library.text("#tracks li .what")

    library.click("#tracks li .play-row")
    library.until("document.querySelector('#player-play').classList.contains('playing')")
    library.until("Number(document.querySelector('#player-seek').value) > 0.5")
    assert library.text("#player-name") == expected[0]["track"]["name"]
    library.click("#player-next")
    library.until(
        f"document.querySelector('#player-name').textContent === {json.dumps(expected[1]['track']['name'])}"
    )
    library.click("#player-play")
    library.until("!document.querySelector('#player-play').classList.contains('playing')")


def test_filters_fade_tracks(library, server):
    set_value(library, "#find [name=genre]", "Drone")
    passing = get(server, "map", genre="Drone")["passing"]
    library.until(
        f"document.querySelector('#map-count').textContent === '{passing} of {N_TRACKS} tracks'"
    )
    set_value(library, "#find [name=year_from]", "2010")
    fewer = get(server, "map", genre="Drone", year_from=2010)["passing"]
    assert 0 < fewer < passing
    library.until(
        f"document.querySelector('#map-count').textContent === '{fewer} of {N_TRACKS} tracks'"
    )
    library.click("#find-clear")
    library.until(f"document.querySelector('#map-count').textContent === '{N_TRACKS} tracks'")
    set_value(library, "#find [name=genre]", "Drne")
    library.until("!document.querySelector('#library-error').hidden")
    assert "similar: Drone" in library.text("#library-error")


def test_lasso_lists_the_tracks_inside(library, server):
    library.click("#map-tool label:nth-of-type(2)")
    corners = [(0.0, 0.0), (0.75, 0.0), (0.75, 0.75), (0.0, 0.75)]
    drag(library, [pixel(library, *corner) for corner in corners])
    library.until(f"{TITLE}.includes('lasso')")
    dots = get(server, "map")
    inside = {
        i
        for i, v, a in zip(dots["id"], dots["valence"], dots["arousal"], strict=True)
        if v > 0 and a > 0
    }
    assert abs(len(inside) - len(listed(library))) <= 2  # One may lie on the line.
    assert len(inside & set(listed(library))) >= len(inside) - 2


def test_a_dragged_dot_asks_for_more_like_it_from_there(library, server):
    dots = get(server, "map")
    k = int(np.hypot(np.array(dots["valence"]) + 0.4, np.array(dots["arousal"]) + 0.2).argmin())
    start = pixel(library, dots["valence"][k], dots["arousal"][k])
    end = pixel(library, 0.5, 0.3)
    drag(library, [start, (start[0] + 20, start[1] - 9), end])
    library.until(f"{TITLE}.startsWith('More like this')")
    found = get(
        server, "find", like=dots["id"][k], valence=0.5, arousal=0.3, confidence=0.3, limit=30
    )
    assert (
        len(set(listed(library)) & {r["track"]["id"] for r in found["results"]})
        >= len(found["results"]) - 2
    )


def test_a_drawn_path_becomes_a_playlist_that_can_be_saved(library, server):
    set_value(library, "#path [name=minutes]", "3")
    library.click("#map-tool label:nth-of-type(3)")
    line = [(-0.5 + k / 20, 0.4 * math.sin(k / 3)) for k in range(21)]
    drag(library, [pixel(library, *point) for point in line])
    library.until(f"{TITLE}.startsWith('Playlist')")
    ids = listed(library)
    assert len(ids) == 9 and len(set(ids)) == 9  # Nine tracks of 20 s.
    library.click("#save-list [aria-label$=M3U8]")
    content = library.download("Playlist.m3u8").read_text()
    files = [get(server, f"tracks/{i}")["file"] for i in ids]
    assert re.findall(r"album/(.*)", content) == files
    library.click("#save-list [aria-label$=XSPF]")
    assert library.download("Playlist.xspf").read_text().count("<location>") == 9


def test_likes_need_the_token_once(library, server):
    set_value(library, "#find [name=words]", "calm")
    library.click("#find [type=submit]")
    library.until(ROWS)
    first = listed(library)[0]
    library.click("#tracks .opinion-like")
    library.until("document.querySelector('#token').open")
    library.press(*"wrong", "Enter")
    library.until("!document.querySelector('#library-error').hidden")
    assert "token" in library.text("#library-error")
    library.click("#tracks .opinion-like")
    library.until("document.querySelector('#token').open")
    library.press(*TOKEN, "Enter")
    pressed = "document.querySelector('#tracks .opinion-like').getAttribute('aria-pressed')"
    library.until(f"{pressed} === 'true'")
    said = get(server, "preferences")["preferences"]
    assert [(one["track"]["id"], one["kind"]) for one in said] == [(first, "like")]
    library.click("#by-likes")
    library.click("#find [type=submit]")
    library.until("document.querySelector('#tracks').textContent.includes('by your like')")
    library.until(f"{pressed} === 'true'")
    library.click("#tracks [data-kind=like][aria-pressed=true]")
    library.until("!document.querySelector('[data-kind=like][aria-pressed=true]')")
    assert get(server, "preferences")["preferences"] == []

    # Stars, by the keyboard. The arrow keys pass through those on the way.
    library.click("#tracks li .what")
    library.until("!document.querySelector('#stars').hidden")
    library.run("document.querySelector('#stars input').focus()")
    library.press("Space", "ArrowRight", "ArrowRight", "ArrowRight")
    rated = library.until(lambda: get(server, "preferences")["preferences"])
    assert [(one["kind"], one["value"]) for one in rated] == [("rating", 0.5)]  # 4 stars
    library.until("!document.querySelector('#stars-clear').hidden")
    library.run("document.querySelector('#stars-clear').focus()")
    library.press("Enter")
    library.until(lambda: not get(server, "preferences")["preferences"])
    library.until("!document.querySelector('#stars input:checked')")
    library.run("sessionStorage.clear()")


def test_the_library_by_the_keyboard(library):
    library.run("document.querySelector('#tab-button-library').focus()")
    library.press("ArrowRight")
    assert library.run("return document.activeElement.id") == "tab-button-scenes"
    library.press("Home")
    assert not library.run("return document.querySelector('#tab-predict').hidden")
    library.press("ArrowRight")
    library.run("document.querySelector('#map').focus()")
    library.press("ArrowRight")
    library.until("document.querySelector('#map-status').textContent.includes('valence')")
    before = library.run("return document.querySelector('#map-status').textContent")
    library.press("ArrowRight", "ArrowDown")
    library.until(f"document.querySelector('#map-status').textContent !== {json.dumps(before)}")
    library.press("Enter")
    library.until("!document.querySelector('#picked').hidden")
    library.press("Space")
    library.until("document.querySelector('#player-play').classList.contains('playing')")
    library.press("Space")
    library.until("!document.querySelector('#player-play').classList.contains('playing')")
    library.run("document.querySelector('[data-more=\"valence+\"]').focus()")
    library.press("Enter")
    library.until(f"{TITLE}.includes('happier')")
    library.run("document.querySelector('#path [type=submit]').focus()")
    library.press("Enter")
    library.until(f"{TITLE}.startsWith('Playlist')")


# ------------------------------------------------------------------------------ scenes


def test_scenes_are_marked_painted_and_get_music(scenes, server):
    scenes.click("#mark")
    scenes.until("!document.querySelector('#scene-form').hidden")
    scenes.run("document.querySelector('#timeline').focus()")
    scenes.press(*["ArrowRight"] * 36)
    scenes.click("#cut")
    set_value(scenes, "#scene-form [name=mood]", "tense")
    set_value(scenes, "#scene-form [name=to]", "sad")
    set_value(scenes, "#scene-form [name=label]", "Chase")
    names = "return [...document.querySelectorAll('#scene-list button')].map(b => b.textContent)"
    assert scenes.run(names) == ["Scene 1", "Chase"]
    scenes.click("#find-music")
    scenes.until("document.querySelectorAll('#candidate-list li').length")
    body = {"scenes": [
        {"start_s": 0, "end_s": 10, "mood": {"word": "calm"}},
        {"start_s": 10, "end_s": 18, "mood": {"word": "tense"}, "to": {"word": "sad"}},
    ], "count": 6}  # fmt: skip
    answer = requests.post(f"{server}/v1/library/scenes", json=body, timeout=20).json()["scenes"]
    candidates = (
        "return [...document.querySelectorAll('#candidate-list .name')].map(n => n.textContent)"
    )
    shown = scenes.run(candidates)
    assert shown == [one["track"]["name"] for one in answer[1]["candidates"]]

    # With a filter, by the keyboard.
    scenes.run("document.querySelector('.filters summary').focus()")
    scenes.press("Enter", "Tab", *"Drone", "Enter")
    body["filters"] = {"genre": ["Drone"]}
    drones = requests.post(f"{server}/v1/library/scenes", json=body, timeout=20).json()
    expected = [one["track"]["name"] for one in drones["scenes"][1]["candidates"]]
    assert expected != shown
    scenes.until(lambda: scenes.run(candidates) == expected)
    removed = f"The filter genre Drone removed {drones['removed'][0]['tracks']}."
    scenes.until(f"document.querySelector('#scenes-status').textContent.endsWith('{removed}')")
    assert scenes.text("#scene-filters-title") == "Filters (1)"
    scenes.click("#scene-filters [type=reset]")
    scenes.until("document.querySelector('#scene-filters-title').textContent === 'Filters'")
    scenes.click("#scene-filters [type=submit]")
    scenes.until(lambda: scenes.run(candidates) == shown)

    # The second candidate is heard with the picture, and saved.
    scenes.click("#candidate-list li:nth-child(2) .play-row")
    scenes.until("document.querySelector('#film-time').textContent >= '0:10.8'")
    scenes.click("#film-play")
    scenes.click("#save-scenes [aria-label$=CSV]")
    rows = [*csv.reader(io.StringIO(scenes.download("scenes.csv").read_text()))]
    assert [row[0] for row in rows] == ["scene", "Scene 1", "Chase"]
    assert rows[2][3].endswith(answer[1]["candidates"][1]["track"]["file"])
    assert float(rows[2][4]) == answer[1]["candidates"][1]["in_s"]

    # A curve painted over the lane of valence is what is sent.
    box = scenes.run(
        "document.querySelector('#timeline').scrollIntoView();"
        "return document.querySelector('#timeline').getBoundingClientRect().toJSON()"
    )
    x = [box["left"] + 44 + t / 60 * (box["width"] - 52) for t in (0.2, 3, 6, 9.8)]
    lane, top = (box["height"] - 60 - 14) / 2, box["top"] + 60
    drag(
        scenes,
        [(at, top + lane * share) for at, share in zip(x, (0.9, 0.6, 0.3, 0.1), strict=True)],
    )
    scenes.until("!document.querySelector('#curve-delete').hidden")
    said = scenes.text("#scene-mood").replace("\u2212", "-")
    values = [float(value) for value in re.findall(r"[+-]\d\.\d\d", said)]
    assert values[0] < -0.6 and values[2] > 0.6 and values[1] == values[3] == -0.35
    scenes.click("#find-music")
    scenes.until("document.querySelector('#candidates-title').textContent === 'Music for Scene 1'")


def test_a_video_stays_in_the_browser(scenes, server, tmp_path):
    # What the browser records of a canvas: the smallest video that every machine has.
    data = scenes.run(
        """
        const canvas = document.createElement("canvas");
        const context = canvas.getContext("2d");
        const recorder = new MediaRecorder(canvas.captureStream(20), { mimeType: "video/webm" });
        const parts = [];
        recorder.ondataavailable = (event) => parts.push(event.data);
        const timer = setInterval(() => context.fillRect(Math.random() * 200, 0, 9, 99), 40);
        return new Promise((resolve) => {
          recorder.onstop = async () => {
            clearInterval(timer);
            resolve([...new Uint8Array(await new Blob(parts).arrayBuffer())]);
          };
          recorder.start();
          setTimeout(() => recorder.stop(), 2500);
        });
        """
    )
    film = tmp_path / "film.webm"
    film.write_bytes(bytes(data))
    scenes.logs("performance")
    scenes.upload("#film-file", film)
    scenes.until("!document.querySelector('#video').hidden")
    length = float(
        scenes.run("return document.querySelector('#timeline').getAttribute('aria-valuemax')")
    )
    assert 1.5 < length < 5
    scenes.click("#film-play")
    scenes.until("document.querySelector('#film-time').textContent >= '0:00.8'")
    scenes.click("#film-play")
    events = scenes.logs("performance")
    sent = [e["params"]["request"] for e in events if e["method"] == "Network.requestWillBeSent"]
    assert sent and all(request["url"].startswith("blob:") for request in sent)
    for _ in range(6):  # The fixture looks at requests.
        scenes.run("return fetch('/healthz').then(r => r.status)")


# ------------------------------------------------------------------------------ both


@pytest.mark.parametrize("dark", [pytest.param(False, marks=pytest.mark.extended), True])
def test_narrow_light_and_dark(opened, dark, tmp_path):
    page = opened("library")
    try:
        page.devtools(
            "Emulation.setDeviceMetricsOverride",
            width=390, height=844, deviceScaleFactor=1, mobile=True,
        )  # fmt: skip
        page.devtools("Emulation.setEmulatedMedia", features=[
            {"name": "prefers-color-scheme", "value": "dark" if dark else "light"},
            {"name": "prefers-reduced-motion", "value": "reduce"},
        ])  # fmt: skip
        set_value(page, "#find [name=words]", "calm")
        page.run("document.querySelector('#find').requestSubmit()")
        page.until(ROWS)
        assert page.run("return document.documentElement.scrollWidth") == 390
        page.run("document.querySelector('#tab-button-scenes').click()")
        page.until("document.body.dataset.scenesReady")
        page.run("document.querySelector('#mark').click()")
        assert page.run("return document.documentElement.scrollWidth") == 390
        background = (
            "return getComputedStyle(document.body).backgroundColor.match(/\\d+/g).map(Number)"
        )
        assert (max(page.run(background)) < 60) == dark
    finally:
        page.devtools(
            "Emulation.setDeviceMetricsOverride",
            width=1280, height=900, deviceScaleFactor=1, mobile=False,
        )  # fmt: skip
        page.devtools("Emulation.setEmulatedMedia", features=[])


@pytest.mark.parametrize("tab", ["library", "scenes"])
def test_everything_has_a_name(opened, tab):
    page = opened(tab)
    if tab == "library":
        page.run("document.querySelector('#find').requestSubmit()")
        page.until(ROWS)
    else:
        page.click("#mark")
        page.click("#find-music")
        page.until("document.querySelectorAll('#candidate-list li').length")
    page.devtools("Accessibility.enable")
    nodes = page.devtools("Accessibility.getFullAXTree")["nodes"]
    wanted = {"button", "link", "textbox", "combobox", "checkbox", "radio", "slider", "spinbutton",
              "tab", "application", "tabpanel", "region"}  # fmt: skip
    nameless = [
        node["role"]["value"]
        for node in nodes
        if not node["ignored"] and node.get("role", {}).get("value") in wanted
        and not node.get("name", {}).get("value")
    ]  # fmt: skip
    assert nameless == []
    ids = page.run("return [...document.querySelectorAll('[id]')].map(node => node.id)")
    assert len(ids) == len(set(ids))


@pytest.mark.extended
def test_behind_a_path_prefix(window, server):
    from test_prefix import PrefixProxy

    handler = type("Handler", (PrefixProxy,), {"prefix": "/msr/", "service": server, "unknown": []})
    proxy = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=proxy.serve_forever, daemon=True).start()
    try:
        window.go(f"http://127.0.0.1:{proxy.server_address[1]}/msr/#library")
        window.until("document.body.dataset.libraryReady")
        window.click("#path [type=submit]")
        window.until(ROWS)
        window.click("#tracks li .play-row")
        window.until("document.querySelector('#player-play').classList.contains('playing')")
        window.click("#player-play")
    finally:
        window.go("about:blank")
        proxy.shutdown()
        proxy.server_close()
    assert [path for path in handler.unknown if path != "/favicon.ico"] == []


def test_without_a_library_and_generators_there_are_no_tabs(tmp_path):
    from msr_utils.paths import MODELS_DIR
    from serve.app import create_app
    from serve.config import ServiceConfig

    config = ServiceConfig(
        models_dir=MODELS_DIR, default_model="light", workers=0, generators_dir=tmp_path
    )
    page = create_app(config).test_client().get("/").text
    assert 'role="tab"' not in page and "library.css" not in page


@needs_package(PACKAGE)
def test_axe_finds_no_barrier_in_any_tab(window, server):
    """All rules of axe-core, light; the contrast of the dark page, which has the same parts."""
    for tab in ("library", "scenes", "compose", "predict"):
        window.go("about:blank")
        window.go(f"{server}/#{tab}" if tab != "predict" else server)
        if tab != "predict":
            window.until(f"document.body.dataset.{tab}Ready")
        assert barriers(window) == [], tab
        window.click("#theme")
        assert barriers(window, "color-contrast") == [], f"{tab}, dark"
        window.click("#theme")

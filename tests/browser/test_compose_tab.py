"""The Compose tab, driven in a real browser against the service that runs."""

from __future__ import annotations

import json
import re
import subprocess
import sys

import numpy as np
import pytest
import requests
import soundfile as sf
from chromium import Browser
from environment import without_settings
from needs import needs_browser

from msr_utils.corpora.midi import read_midi
from msr_utils.generation.untrained import untrained_generator
from msr_utils.paths import PROJECT_ROOT

pytestmark = [needs_browser, pytest.mark.slow]

PLAYS = "document.querySelector('#piece-play').classList.contains('playing')"
STATUS = "document.querySelector('#piece-status').textContent"


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    """URL of the service with an untrained generator."""
    folder = tmp_path_factory.mktemp("composing")
    untrained_generator(folder / "generators" / "tiny")
    settings = without_settings() | {
        "MSR_GENERATORS_DIR": str(folder / "generators"),
        "MSR_DEFAULT_MODEL": "light",
        "MSR_WORKERS": "1",
    }
    log = folder / "serve.log"
    with log.open("w") as file:
        process = subprocess.Popen(
            [sys.executable, "-m", "serve", "--port", "0"],
            cwd=PROJECT_ROOT, env=settings, stdout=subprocess.PIPE, stderr=file, text=True,
        )  # fmt: skip
    announced = re.search(r"http://\S+", process.stdout.readline())
    assert announced, log.read_text()
    yield announced[0]
    process.terminate()
    process.wait(30)
    assert "Traceback" not in log.read_text()


@pytest.fixture(scope="module")
def window(tmp_path_factory):
    window = Browser(tmp_path_factory.mktemp("downloads"), width=1300)
    yield window
    window.close()


@pytest.fixture
def page(window, server):
    """The tab, fresh; afterwards, it has complained of nothing and asked nobody else."""
    window.go("about:blank")
    for kind in ("browser", "performance"):
        window.logs(kind)
    window.go(f"{server}/#compose")
    window.until("document.body.dataset.composeReady")
    yield window
    messages = [e["message"] for e in window.logs("browser") if "/v1/" not in e["message"]]
    assert messages == []
    urls = [
        e["params"]["request"]["url"]
        for e in window.logs("performance")
        if e["method"] == "Network.requestWillBeSent"
    ]
    assert [u for u in urls if not u.startswith((f"{server}/", f"blob:{server}/"))] == []


def set_field(page: Browser, name: str, value: object) -> None:
    page.run(
        """
        const field = document.querySelector(`#compose [name=${arguments[0]}]`);
        field.value = arguments[1];
        field.dispatchEvent(new Event("input", { bubbles: true }));
        """,
        name,
        str(value),
    )


def fields(page: Browser) -> dict[str, float]:
    script = "return [...document.querySelectorAll('#compose input')].map(i => [i.name, Number(i.value)])"
    return dict(page.run(script))


def pixel(page: Browser, valence: float, arousal: float) -> tuple[int, int]:
    """Where a point of the plane lies in the window."""
    left, top, side = page.run(
        """
        const box = document.querySelector("#compose-plane").getBoundingClientRect();
        const side = Math.min(box.width - 40, box.height - 28);
        return [box.left + Math.round((box.width - side + 32) / 2), box.top + 2, side];
        """
    )
    return round(left + (valence + 1) / 2 * side), round(top + (1 - arousal) / 2 * side)


def draw(page: Browser, *points: tuple[float, float]) -> None:
    """Press the mouse at the first point of the plane, move over the others, let go at the last."""
    places = [pixel(page, *point) for point in points]
    moves = [{"type": "pointerMove", "x": x, "y": y, "duration": 4} for x, y in places]
    down, up = ({"type": kind, "button": 0} for kind in ("pointerDown", "pointerUp"))
    pointer = {"type": "pointer", "id": "mouse", "actions": [moves[0], down, *moves[1:], up]}
    page._ask("POST", "/actions", {"actions": [pointer]})


def asked(server: str, accept: str, **body) -> bytes:
    headers = {"Accept": accept}
    return requests.post(f"{server}/v1/generate", json=body, headers=headers, timeout=20).content


def test_a_place_becomes_a_piece_that_is_heard_seen_and_saved(page, server):
    draw(page, (0.6, -0.4), (0.6, -0.4))
    set_field(page, "seconds", 6)
    wanted = {name: fields(page)[name] for name in ("valence", "arousal")}
    assert wanted == pytest.approx({"valence": 0.6, "arousal": -0.4}, abs=0.02)
    assert page.text("#compose-wanted").startswith("calm, content: valence +0.6")
    page.click("#compose-start")
    page.until(PLAYS)
    page.until("document.body.dataset.composed === '1'")
    body = {**wanted, "seconds": 6, "seed": 1}
    lines = asked(server, "application/x-ndjson", **body).decode().splitlines()
    assert page.run(f"return {STATUS}").startswith(f"{len(lines) - 1} notes, composed in ")

    # What the model hears is what the API says about the same sound.
    page.until("document.body.dataset.heard === '1'")
    sound = asked(server, "audio/wav", **body)
    heard = requests.post(f"{server}/v1/predict", data=sound, timeout=20).json()
    mean = np.mean(heard["arousal"][:12])
    text = page.text("#piece-heard").replace("\u2212", "-")
    assert f"arousal {mean:+.2f} (wanted -0.4" in text

    page.click("#piece-midi")
    midi = page.download("piece-1.mid")
    assert midi.read_bytes() == asked(server, "audio/midi", **body)
    assert len(read_midi(midi)) == len(lines) - 1
    page.click("#piece-wav")
    saved, rate = sf.read(page.download("piece-1.wav"), dtype="int16")
    assert rate == 44_100 and saved.tobytes() == sound[44:]

    # It plays on to its end; the slider goes back; space plays again.
    page.until("document.querySelector('#piece-time').textContent >= '0:01'")
    page.run("document.querySelector('#score').focus()")
    page.press("End")
    page.until(f"!({PLAYS})")
    page.press("Home", "ArrowRight", "ArrowRight")
    value = "return document.querySelector('#score').getAttribute('aria-valuetext')"
    assert re.match(r"0:01\.0; wanted: valence \+0\.[56]\d, .*; heard: ", page.run(value))
    page.press("Space")
    page.until(PLAYS)
    page.press("Space")
    page.until(f"!({PLAYS})")

    page.click("#compose-again")
    page.until("document.body.dataset.composed === '2'")
    assert fields(page)["seed"] == 2
    page.click("#tab-button-predict")
    page.until(f"!({PLAYS})")  # Each tab has its own sound.


def test_a_path_is_drawn_or_made_with_the_keyboard(page, server):
    sent = "JSON.parse(performance.getEntriesByName('body').at(-1).detail)"
    page.run(
        """
        const ask = window.fetch;
        window.fetch = (url, options) => {
          performance.mark("body", { detail: options.body });
          return ask(url, options);
        };
        """
    )
    set_field(page, "seconds", 5)
    page.click("#compose-tool label:nth-of-type(2)")
    page.click("#compose-start")  # There is no path yet: nothing is sent.
    assert page.text("#compose-wanted").startswith("A path needs two points")
    draw(page, *[(-0.6 + k / 10, 0.5 - k / 12) for k in range(13)])
    page.click("#compose-start")
    page.until("document.body.dataset.composed")
    curve = page.run(f"return {sent}")["curve"]
    assert curve["times_s"][0] == 0 and curve["times_s"][-1] == 5
    assert curve["valence"][0] == pytest.approx(-0.6, abs=0.05)
    assert curve["valence"][-1] == pytest.approx(0.6, abs=0.05)
    assert curve["arousal"][-1] == pytest.approx(-0.5, abs=0.05)

    page.click("#compose-clear")
    assert page.run("return document.activeElement.id") == "compose-plane"
    before = page.text("#compose-wanted")
    page.press("Enter", "ArrowRight", "ArrowRight", "ArrowDown", "Enter")
    assert page.text("#compose-wanted") == "A path of 2 points" != before
    page.click("#compose-again")
    page.until("document.body.dataset.composed === '2'")
    curve = page.run(f"return {sent}")["curve"]
    assert np.diff(curve["valence"]) == pytest.approx([0.1])
    assert np.diff(curve["arousal"]) == pytest.approx([-0.05])

    # What is wrong is said, and the page goes on.
    page.network(offline=True)
    page.click("#compose-start")
    page.until("!document.querySelector('#library-error').hidden")
    page.network()
    assert "did not answer" in page.text("#library-error")
    set_field(page, "seconds", 300)
    page.network(download=200_000)  # Else the whole piece may be there before the click is.
    page.click("#compose-start")
    page.until("!document.querySelector('#compose-stop').hidden")
    page.click("#compose-stop")
    page.until(f"{STATUS}.startsWith('Stopped')")
    page.network()


def test_on_a_phone_nothing_is_wider_than_the_screen(page):
    for width in (390, 320):
        page.devtools(
            "Emulation.setDeviceMetricsOverride",
            width=width, height=844, deviceScaleFactor=1, mobile=True,
        )  # fmt: skip
        wide = page.run("return [document.documentElement.scrollWidth, innerWidth]")
        assert wide == [width, width], json.dumps(wide)
    page.devtools(
        "Emulation.setDeviceMetricsOverride",
        width=1300, height=900, deviceScaleFactor=1, mobile=False,
    )  # fmt: skip

"""The page, driven in a real browser as its users drive it; against the service that runs."""

from __future__ import annotations

import csv
import io
import json
import re
import subprocess
import sys
import time
from base64 import b64encode
from pathlib import Path

import numpy as np
import pytest
import requests
import soundfile as sf
from chromium import Browser
from environment import without_settings
from needs import needs_browser
from PIL import Image

from msr_utils.affect import QUADRANTS, quadrant
from msr_utils.inference.model import load
from msr_utils.paths import PROJECT_ROOT

pytestmark = [needs_browser, pytest.mark.slow]

RATE = 22_050
MAX_BYTES = 3_000_000
READY = "document.querySelectorAll('.track:not(.working)').length"


def music(seconds: float, seed: int = 0) -> np.ndarray:
    """Notes that fade, louder from one to the next, (n,) float32."""
    rng = np.random.default_rng(seed)
    t = np.arange(round(seconds * RATE)) / RATE
    hz = 220 * 2 ** (rng.choice([0, 2, 4, 7, 9, 12], 64)[(4 * t).astype(int) % 64] / 12)
    phase = 2 * np.pi * np.cumsum(hz) / RATE
    tone = sum(np.sin(k * phase) / k**2 for k in range(1, 5))
    return (0.5 * tone * np.exp(-6 * (t % 0.25)) * (0.2 + 0.8 * t / seconds)).astype(np.float32)


@pytest.fixture(scope="module")
def models_dir(tmp_path_factory) -> Path:
    """A bundle of the repository that gives intervals, under two names."""
    folder = tmp_path_factory.mktemp("page-models")
    bundle = PROJECT_ROOT / "serve" / "models" / "light"
    for name, title in (("first", "First model"), ("second", "Second model")):
        (folder / name).mkdir()
        for file in bundle.iterdir():
            (folder / name / file.name).write_bytes(file.read_bytes())
        card = json.loads((bundle / "card.json").read_text())
        (folder / name / "card.json").write_text(json.dumps({**card, "name": name, "title": title}))
    return folder


@pytest.fixture(scope="module")
def server(models_dir, tmp_path_factory):
    """URL of the service, run as its users run it."""
    log = tmp_path_factory.mktemp("page-log") / "serve.log"
    settings = without_settings()
    settings |= {"MSR_MAX_UPLOAD_BYTES": str(MAX_BYTES), "MSR_MAX_SECONDS": "120"}
    with log.open("w") as file:
        process = subprocess.Popen(
            [sys.executable, "-m", "serve", "--port", "0", "--models", str(models_dir)],
            cwd=PROJECT_ROOT, env=settings, stdout=subprocess.PIPE, stderr=file, text=True,
        )  # fmt: skip
    announced = re.search(r"http://\S+", process.stdout.readline())
    assert announced, log.read_text()
    yield announced[0]
    process.terminate()
    process.wait(30)
    assert "Traceback" not in log.read_text()


@pytest.fixture(scope="module")
def clips(tmp_path_factory) -> Path:
    """Files to upload; their names say what they are."""
    folder = tmp_path_factory.mktemp("clips")
    sf.write(folder / "one.mp3", music(8), RATE, format="MP3")
    sf.write(folder / "two.wav", music(5, seed=1), RATE)
    sf.write(folder / "microphone.wav", music(12, seed=2), RATE)
    sf.write(folder / "long.mp3", music(90, seed=3), RATE, format="MP3")
    sf.write(folder / "one.aiff", music(4), RATE, format="AIFF")
    silence, both = np.zeros(RATE * 3), music(4)
    sf.write(folder / "silence.wav", silence, RATE)
    sf.write(folder / "opposite.wav", np.stack([both, -both], 1), RATE)
    (folder / "letter.mp3").write_text("Dear Sir or Madam, this is no music.\n" * 40)
    (folder / "large.wav").write_bytes(bytes(MAX_BYTES + 1))
    return folder


@pytest.fixture(scope="module")
def window(clips, tmp_path_factory):
    """A browser; starting one takes a while, so the tests share it."""
    window = Browser(tmp_path_factory.mktemp("downloads"), microphone=clips / "microphone.wav")
    yield window
    window.close()


@pytest.fixture
def page(window, server):
    """The page, fresh; afterwards, it has complained of nothing and asked nobody else."""
    for file in window.downloads.iterdir():
        file.unlink()
    window.go("about:blank")
    for kind in ("browser", "performance"):
        window.logs(kind)
    window.go(server)
    yield window
    # A request that fails is reported by the browser itself, not by the page.
    messages = [e["message"] for e in window.logs("browser") if "/v1/" not in e["message"]]
    assert messages == []
    events = window.logs("performance")
    urls = [
        e["params"]["request"]["url"] for e in events if e["method"] == "Network.requestWillBeSent"
    ]
    assert len(urls) > 5
    assert [u for u in urls if not u.startswith((f"{server}/", f"blob:{server}/"))] == []


def answer(server: str, clip: Path, accept: str = "application/json", **query: str):
    """What the API says about a file."""
    return requests.post(
        f"{server}/v1/predict", params=query, data=clip.read_bytes(), headers={"Accept": accept},
        timeout=20,
    )  # fmt: skip


def table(page: Browser) -> np.ndarray:
    """The page's table of values, (frames, columns); a track that is over has NaN."""
    page.run("document.querySelector('#values').open = true")
    page.until("document.querySelectorAll('#values tr').length > 1")
    rows = page.run(
        "return [...document.querySelectorAll('#values tr')].slice(1)"
        ".map(row => [...row.cells].map(cell => cell.textContent))"
    )
    return np.array([[float(c.replace("\u2212", "-") or "nan") for c in row] for row in rows])


def columns(answer: dict) -> list[list[float]]:
    """The curves of an answer as the page's table has them: with intervals where there are any."""
    ends = [f"{target}_{end}" for target in ("valence", "arousal") for end in ("low", "high")]
    return [answer[name] for name in ("valence", "arousal", *ends) if name in answer]


def dot(page: Browser, slot: str = "a") -> np.ndarray:
    """Where a dot is, as (valence, arousal) of the plane's axes; they reach from -1 to 1."""
    x, y, left, top, side = page.run(
        """
        const dot = document.querySelector(`#plane .dot.${arguments[0]}`).getBoundingClientRect();
        const box = document.querySelector("#plane").getBoundingClientRect();
        const side = Math.min(box.width - 44, box.height - 30);
        const middle = [dot.left + dot.width / 2, dot.top + dot.height / 2];
        return [...middle, box.left + 40, box.top + 4, side];
        """,
        slot,
    )
    return np.array([2 * (x - left) / side - 1, 1 - 2 * (y - top) / side])


def seek(page: Browser, steps: int) -> None:
    """Go to the start, then so many half seconds on, by the keyboard."""
    page.run("document.querySelector('#curves').focus()")
    page.press("Home", *["ArrowRight"] * steps)


def test_upload_draws_what_the_api_answers(page, server, clips):
    page.upload("#file", clips / "one.mp3")
    page.until(READY)
    expected = answer(server, clips / "one.mp3").json()
    assert page.text(".track .name") == "one.mp3"
    assert page.text(".track .words").lower() == expected["quadrant"]["words"]
    assert page.text("#band").startswith("Shaded")
    assert expected["quadrant"]["words"] in page.run(
        "return document.querySelector('#status').textContent"
    )
    shown = float(page.text(".track .mean-valence").replace("\u2212", "-"))
    assert shown == pytest.approx(expected["mean"]["valence"], abs=0.0051)

    curve = np.array([expected["times_s"], *columns(expected)]).T
    np.testing.assert_allclose(table(page), curve, atol=5.1e-5, rtol=0)
    curve = curve[:, :3]

    # The dot lies where the answer says, on the whole scale and closer up.
    page.click("#scale")
    for steps in (1, 7, len(curve)):
        seek(page, steps)
        np.testing.assert_allclose(dot(page), curve[steps - 1, 1:], atol=0.01)
        value_text = page.run(
            "return document.querySelector('#curves').getAttribute('aria-valuetext')"
        )
        valence, arousal = re.findall(r"[+\u2212]?\d\.\d\d(?=,|$)", value_text)[-2:]
        assert float(valence.replace("\u2212", "-")) == pytest.approx(
            curve[steps - 1, 1], abs=0.0051
        )
        assert float(arousal.replace("\u2212", "-")) == pytest.approx(
            curve[steps - 1, 2], abs=0.0051
        )
    page.click("#scale")
    reach = next(r for r in (0.25, 0.5, 1) if np.abs(curve[:, 1:]).max() <= r)
    page.until(lambda: np.allclose(dot(page), curve[-1, 1:] / reach, atol=0.02))

    # At the pointer: the value there and, over the spectrogram, the frequency.
    box = page.run("return document.querySelector('#curves').getBoundingClientRect().toJSON()")
    x = box["left"] + 50 + 4 / 8 * (box["width"] - 62)  # Of 4 s in 8 s, between the chart's edges.
    page.move_to(x, box["bottom"] - 60)
    page.until("!document.querySelector('#curves .tip').hidden")
    seconds, values, pitch = page.text("#curves .tip").splitlines()
    assert seconds in ("0:03.9", "0:04.0", "0:04.1")
    assert float(values.split()[1].strip(",").replace("\u2212", "-")) == pytest.approx(
        curve[7, 1], abs=0.02
    )
    assert re.fullmatch(r"\d+(\.\d)? k?Hz", pitch)

    # The curves are painted in their colour, the spectrogram in many.
    colours = page.run(
        """
        const canvas = document.querySelector("#curves canvas");
        const { data } = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height);
        const probe = document.body.appendChild(document.createElement("i"));
        probe.style.color = "var(--a)";
        const wanted = getComputedStyle(probe).color.match(/\\d+/g).map(Number);
        const columns = new Set(), below = new Set();
        for (let i = 0; i < data.length; i += 4) {
          const [x, y] = [(i / 4) % canvas.width, Math.floor(i / 4 / canvas.width)];
          if (y < 0.55 * canvas.height && wanted.every((c, k) => Math.abs(c - data[i + k]) < 8)) columns.add(x);
          if (y > 0.7 * canvas.height) below.add(data.slice(i, i + 3).join());
        }
        return [columns.size / canvas.width, below.size];
        """
    )
    assert colours[0] > 0.8
    assert colours[1] > 100


def test_curve_grows_while_the_answer_comes(page, clips):
    page.network(download=4000)  # Bytes a second, so that the answer takes about two.
    try:
        page.upload("#file", clips / "long.mp3")
        covered = set()
        while not page.run(f"return {READY}"):
            doing = page.run("return document.querySelector('.doing')?.textContent") or ""
            if found := re.match(r"Analysing, (\d):(\d\d) of 1:30", doing):
                covered.add(60 * int(found[1]) + int(found[2]))
    finally:
        page.network()
    assert len(covered) >= 3
    assert min(covered) < 60


def test_dropped_files(page, clips):
    def drop(selector: str, *names: str) -> None:
        files = [[name, b64encode((clips / name).read_bytes()).decode()] for name in names]
        page.run(
            """
            const dataTransfer = new DataTransfer();
            for (const [name, text] of arguments[1]) {
              const bytes = Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0));
              dataTransfer.items.add(new File([bytes], name));
            }
            const event = new DragEvent("drop", { dataTransfer, bubbles: true, cancelable: true });
            document.querySelector(arguments[0]).dispatchEvent(event);
            """,
            selector,
            files,
        )

    drop("h1", "two.wav")
    page.until(READY)
    drop("#compare", "one.mp3")
    page.until(f"{READY} === 2")
    names = "return [...document.querySelectorAll('.track .name')].map(node => node.textContent)"
    assert page.run(names) == ["two.wav", "one.mp3"]
    drop("body", "one.mp3", "two.wav")
    page.until(lambda: page.run(names) == ["one.mp3", "two.wav"])
    page.until(f"{READY} === 2")
    drop("body", "one.mp3", "two.wav", "letter.mp3")
    assert "two to compare" in page.text("#error-detail")


def test_interval_is_drawn_as_a_band_where_the_answer_has_one(page):
    def tinted(width: float) -> int:
        """Pixels that a band of this width gives its colour."""
        return page.run(
            """
            return import("/static/charts.js").then(({ paintTime, palette }) => {
              const canvas = new OffscreenCanvas(600, 400);
              const context = canvas.getContext("2d", { willReadFrequently: true });
              const times_s = Array.from({ length: 20 }, (_, i) => (i + 1) / 2);
              const all = (value) => times_s.map(() => value);
              const curve = { times_s, valence: all(0.5), arousal: all(0) };
              curve.valence_low = all(0.5 - arguments[0]);
              curve.valence_high = all(0.5 + arguments[0]);
              const colours = { ...palette(), a: "rgb(255, 0, 0)" };
              paintTime(context, 600, 400, { tracks: [{ slot: "a", curve }], start: 0, end: 10, range: 1, colours });
              const { data } = context.getImageData(50, 0, 538, 130);
              let count = 0;
              for (let i = 0; i < data.length; i += 4) count += data[i] > data[i + 1] + 20 && data[i + 3] > 0;
              return count;
            });
            """,
            width,
        )

    narrow, wide = tinted(0.1), tinted(0.3)
    assert narrow > 538 * 5
    assert wide / narrow == pytest.approx(3, rel=0.25)


def test_playing_moves_the_dot(page, clips):
    page.upload("#file", clips / "one.mp3")
    page.until(f"{READY} && !document.querySelector('#play').disabled")
    start = dot(page)
    page.click("#play")
    page.until("document.querySelector('#play').getAttribute('aria-label') === 'Pause'")
    page.until("parseFloat(document.querySelector('#curves').getAttribute('aria-valuenow')) > 1.5")
    assert np.abs(dot(page) - start).max() > 0.005
    page.click("#play")
    page.until("document.querySelector('#play').getAttribute('aria-label') === 'Play'")
    time.sleep(0.2)
    here = dot(page)
    time.sleep(0.3)
    np.testing.assert_array_equal(dot(page), here)


def test_downloads(page, server, clips):
    page.upload("#file", clips / "one.mp3")
    page.until(f"{READY} && !document.querySelector('#png').disabled")
    page.click(".track .csv")
    assert (
        page.download("one.csv").read_text() == answer(server, clips / "one.mp3", "text/csv").text
    )
    page.click(".track .json")
    ours = json.loads(page.download("one.json").read_text())
    theirs = answer(server, clips / "one.mp3").json()
    assert {**ours, "elapsed_ms": 0} == {**theirs, "elapsed_ms": 0}
    page.click("#png")
    with Image.open(page.download("one.png")) as picture:
        assert picture.width == 2400
        assert len(picture.convert("RGB").getcolors(2**24)) > 200


def test_format_that_the_browser_cannot_play(page, clips):
    page.upload("#file", clips / "one.aiff")
    page.until(f"{READY} && !document.querySelector('#no-audio').hidden")
    assert "cannot play" in page.text("#no-audio")
    assert page.run("return document.querySelector('#play').hidden")
    seek(page, 4)
    assert page.text("#now-time") == "0:02.0"


def test_two_tracks_on_the_same_axes(page, server, clips):
    page.upload("#file", clips / "one.mp3")
    page.until(READY)
    page.upload("#file-b", clips / "two.wav")
    page.until(f"{READY} === 2")
    one, two = (answer(server, clips / name).json() for name in ("one.mp3", "two.wav"))
    values, end = table(page), len(two["arousal"])
    np.testing.assert_allclose(values[:, 1], one["valence"], atol=5.1e-5, rtol=0)
    ours = len(columns(one))
    np.testing.assert_allclose(
        values[:end, 1 + ours :], np.transpose(columns(two)), atol=5.1e-5, rtol=0
    )
    assert np.isnan(values[end:, 1 + ours :]).all()
    page.click("#scale")
    seek(page, 6)
    np.testing.assert_allclose(dot(page, "a"), [one["valence"][5], one["arousal"][5]], atol=0.01)
    np.testing.assert_allclose(dot(page, "b"), [two["valence"][5], two["arousal"][5]], atol=0.01)
    page.click("#listen input[value=b]")
    page.until("document.querySelector('#readout').dataset.slot === 'b'")
    shown = float(page.text("#now-arousal").replace("\u2212", "-"))
    assert shown == pytest.approx(two["arousal"][5], abs=0.0051)
    # Without A, B takes its place.
    page.click(".track[data-slot=a] .remove")
    page.until(f"{READY} === 1")
    assert page.text(".track[data-slot=a] .name") == "two.wav"


def test_models_and_their_cards(page, server, clips):
    listed = requests.get(f"{server}/v1/models", timeout=10).json()["models"]
    options = page.run(
        "return [...document.querySelector('#model').options].map(o => [o.value, o.text, o.selected])"
    )
    assert options == [[m["name"], m["name"], m["default"]] for m in listed]
    page.upload("#file", clips / "two.wav")
    page.until(READY)
    page.click("#model option[value=second]")
    page.until(f"{READY} && document.querySelector('.by').textContent.startsWith('second,')")
    page.click("#about")
    page.until("document.querySelector('#model-card').open")
    shown = page.text("#model-card")
    card = requests.get(f"{server}/v1/models/second", timeout=10).json()
    assert "Second model" in shown
    assert card["limits"][0] in shown
    assert f"{card['metrics']['arousal']['ccc']['value']:.2f}" in shown
    page.press("Escape")
    page.until("!document.querySelector('#model-card').open")


def test_errors_are_told_in_words_and_keep_the_last_answer(page, server, clips):
    page.upload("#file", clips / "two.wav")
    page.until(READY)
    page.upload("#file", clips / "letter.mp3")
    page.until("!document.querySelector('#error').hidden")
    detail = answer(server, clips / "letter.mp3").json()["detail"].removeprefix("file: ")
    assert page.text("#error-title") == "This file could not be analysed"
    assert page.text("#error-detail").lower() == f"{detail}.".lower()
    assert page.text(".track .name") == "two.wav"
    assert page.run(f"return {READY}") == 1
    page.click("#dismiss")
    page.until("document.querySelector('#error').hidden")
    page.upload("#file", clips / "large.wav")
    page.until("!document.querySelector('#error').hidden")
    assert "The limit is 3 MB" in page.text("#error-detail")


def test_what_was_wrong_with_a_file_is_shown(page, clips):
    page.upload("#file", clips / "silence.wav")
    page.until(READY)
    assert page.text(".track .words") == "Nothing to hear"
    assert page.text(".track .warnings").startswith(
        "Nothing to hear: the level stays below -70 dBFS"
    )
    page.upload("#file", clips / "opposite.wav")
    page.until("document.querySelector('.track .name').textContent === 'opposite.wav'")
    page.until(READY)
    assert page.text(".track .warnings").startswith("The channels cancel each other")


def test_what_the_browser_records_is_answered(page, server):
    """WebM with Opus, as pages send it that record with MediaRecorder."""
    page.click("h1")  # Browsers play nothing before the first click.
    status, duration_s, warnings = page.run(
        """
        const context = new AudioContext();
        const tone = context.createOscillator(), sink = context.createMediaStreamDestination();
        tone.connect(sink);
        tone.start();
        const recorder = new MediaRecorder(sink.stream, { mimeType: "audio/webm;codecs=opus" });
        const parts = [];
        recorder.ondataavailable = (event) => parts.push(event.data);
        return new Promise((resolve) => {
          recorder.onstop = async () => {
            const response = await fetch("v1/predict", { method: "POST", body: new Blob(parts) });
            const answer = await response.json();
            resolve([response.status, answer.duration_s, answer.warnings ?? [answer.detail]]);
          };
          recorder.start(500);
          setTimeout(() => recorder.stop(), 3000);
        });
        """
    )
    assert (status, warnings) == (200, [])
    assert duration_s == pytest.approx(3.0, abs=0.6)


def test_service_that_cannot_be_reached_is_asked_again(page, clips):
    page.network(offline=True)
    try:
        page.upload("#file", clips / "two.wav")
        page.until("!document.querySelector('#error').hidden")
        assert "did not answer" in page.text("#error-detail")
    finally:
        page.network()
    page.click("#retry")
    page.until(READY)
    assert page.run("return document.querySelector('#error').hidden")


def test_microphone_that_is_forbidden(page, server):
    page.allow_microphone(server, False)
    page.click("#microphone")
    page.until("!document.querySelector('#error').hidden")
    assert "not allowed" in page.text("#error-detail")
    assert page.run("return document.querySelector('#result').hidden")


def test_by_the_keyboard_alone(page, clips):
    def focus(wanted: str) -> None:
        """Press Tab until the element has the focus."""
        for _ in range(30):
            if page.run("return document.activeElement.matches(arguments[0])", wanted):
                return
            page.press("Tab")
        raise AssertionError(f"the focus never comes to {wanted}")

    focus("#about")
    page.press("Enter")
    page.until("document.querySelector('#model-card').open")
    page.press("Escape")
    focus("#file")
    assert (
        page.run("return getComputedStyle(document.querySelector('[for=file]')).outlineStyle")
        == "solid"
    )
    page.upload("#file", clips / "long.mp3")  # The window to choose it is the system's.
    page.until(f"{READY} && !document.querySelector('#play').disabled")
    assert page.run("return document.activeElement.id") == "result"
    focus("#play")
    page.press("Enter")
    page.until("document.querySelector('#play').classList.contains('playing')")
    focus("#curves")
    page.press("Space")
    page.until("!document.querySelector('#play').classList.contains('playing')", 5)
    page.press("Home", "ArrowRight", "ArrowRight", "ArrowRight")
    assert page.run("return document.activeElement.getAttribute('aria-valuenow')") == "1.5"
    page.press("End")
    assert float(page.run("return document.activeElement.getAttribute('aria-valuenow')")) >= 90
    focus(".remove")
    page.press("Enter")
    page.until("document.querySelector('#result').hidden")
    assert page.run("return document.activeElement.id") == "file"


def test_microphone_gives_what_the_file_gives(page, server, models_dir):
    page.allow_microphone(server)
    page.click("#microphone")
    page.until("document.querySelectorAll('.track.live').length")
    page.until("parseFloat(document.querySelector('#curves').getAttribute('aria-valuenow')) >= 2.5")
    assert page.text(".track .doing").startswith("Recording")
    page.click(".track .stop")
    page.until(READY)
    page.click(".track .wav")
    recording = page.download("Microphone.wav")
    assert np.abs(sf.read(recording)[0]).max() > 0.05
    page.click(".track .csv")
    rows = [*csv.reader(io.StringIO(page.download("Microphone.csv").read_text()))]
    recorded = np.array([row[:-1] for row in rows[1:]], float)
    curve = load("first", models_dir).predict(recording)
    assert rows[0] == ["time_s", *curve.columns(), "model"]
    assert {row[-1] for row in rows[1:]} == {curve.model_id}
    assert "valence_low" in rows[0]
    expected = np.stack([curve.times_s, *curve.columns().values()], 1)
    np.testing.assert_allclose(recorded, expected, atol=1e-5)
    assert page.text(".track .words").lower() == curve.quadrant[1]


@pytest.mark.parametrize("dark", [False, True])
def test_light_dark_and_narrow(page, clips, dark):
    try:
        page.devtools(
            "Emulation.setDeviceMetricsOverride",
            width=390,
            height=844,
            deviceScaleFactor=1,
            mobile=True,
        )
        page.devtools("Emulation.setEmulatedMedia", features=[
            {"name": "prefers-color-scheme", "value": "dark" if dark else "light"},
            {"name": "prefers-reduced-motion", "value": "reduce"},
        ])  # fmt: skip
        page.upload("#file", clips / "two.wav")
        page.until(READY)
        assert page.run("return document.documentElement.scrollWidth") == 390
        background = (
            "return getComputedStyle(document.body).backgroundColor.match(/\\d+/g).map(Number)"
        )
        assert (max(page.run(background)) < 60) == dark
        page.click("#theme")
        assert (min(page.run(background)) > 200) == dark
        page.run("localStorage.clear()")
    finally:
        page.devtools(
            "Emulation.setDeviceMetricsOverride",
            width=1280,
            height=900,
            deviceScaleFactor=1,
            mobile=False,
        )
        page.devtools("Emulation.setEmulatedMedia", features=[])


def test_quadrants_are_those_of_the_package(page):
    points = [(v, a) for v in (-0.5, -1e-9, 0.0, 0.5) for a in (-0.5, -1e-9, 0.0, 0.5)]
    answers = page.run(
        """
        return import("/static/affect.js").then(({ quadrantOf }) =>
          arguments[0].map(([valence, arousal]) => quadrantOf({ valence, arousal })));
        """,
        points,
    )
    for (valence, arousal), answer in zip(points, answers, strict=True):
        expected = quadrant(valence, arousal)
        assert (answer["name"], answer["words"]) == (expected.name, expected.words)
    shown = page.run("return document.querySelector('#intro-plane').getAttribute('aria-label')")
    assert all(q.words in shown for q in QUADRANTS)

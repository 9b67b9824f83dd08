"""The page in headless Chromium: errors, microphone, keyboard, narrow and dark."""

from __future__ import annotations

import csv
import io

import numpy as np
import pytest
import soundfile as sf
from needs import needs_browser
from page_of_service import READY, answer, clips, models_dir, page, server, window

from msr_utils.affect import QUADRANTS, quadrant
from msr_utils.inference.model import load

__all__ = ["clips", "models_dir", "page", "server", "window"]  # fixtures

pytestmark = [needs_browser, pytest.mark.slow]


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
    for (valence, arousal), found in zip(points, answers, strict=True):
        expected = quadrant(valence, arousal)
        assert (found["name"], found["words"]) == (expected.name, expected.words)
    shown = page.run("return document.querySelector('#intro-plane').getAttribute('aria-label')")
    assert all(q.words in shown for q in QUADRANTS)

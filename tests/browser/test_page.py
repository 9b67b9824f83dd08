"""The page in headless Chromium: upload, curves, play, downloads, comparison, models."""

from __future__ import annotations

import json
import re
import time
from base64 import b64encode

import numpy as np
import pytest
import requests
from chromium import Browser
from needs import needs_browser
from page_of_service import READY, answer, clips, models_dir, page, server, window
from PIL import Image

__all__ = ["clips", "models_dir", "page", "server", "window"]  # fixtures

pytestmark = [needs_browser, pytest.mark.slow]


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

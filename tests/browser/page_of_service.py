"""The page of a running service, and clips to drop on it."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import requests
import soundfile as sf
from chromium import Browser
from environment import without_settings

from msr_utils.paths import PROJECT_ROOT

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

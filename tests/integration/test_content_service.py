"""The service says what is in a recording, if YAMNet is installed."""

from __future__ import annotations

import io
import json

import pytest
import requests
import soundfile as sf
from attacked import running
from benchmarks.content_errors import made_sounds
from benchmarks.real_data import DATA
from conftest import cadences
from needs import needs_data

from msr_utils.constants import SAMPLE_RATE
from msr_utils.features import weights

pytestmark = [pytest.mark.slow, needs_data("weights")]


def wav(samples) -> bytes:
    file = io.BytesIO()
    sf.write(file, samples, SAMPLE_RATE, format="WAV")
    return file.getvalue()


def test_content_is_part_of_every_answer(tmp_path, monkeypatch):
    monkeypatch.setenv(weights.WEIGHTS_VARIABLE, str(tmp_path / "weights"))
    weights.fetch(weights.YAMNET, DATA / "weights" / "yamnet.tflite")
    settings = {"weights": tmp_path / "weights", "content": "1"}
    with running(tmp_path / "log", **settings) as service:
        url = f"{service.url}/v1/predict"
        noise = {"file": wav(made_sounds(4.0, SAMPLE_RATE)["white noise"])}
        answer = requests.post(url, files=noise, timeout=30).json()
        assert answer["content"]["noise"] == 1
        assert answer["warnings"][0].startswith("file: sounds like noise, not like music")
        stream = {"Accept": "application/x-ndjson"}
        lines = requests.post(url, files=noise, headers=stream, timeout=30).text.splitlines()
        assert json.loads(lines[-1])["done"]["content"] == answer["content"]
        music = requests.post(url, files={"file": wav(cadences(60))}, timeout=30).json()
        assert music["warnings"] == [] and music["content"]["music"] > 0.5
        assert not service.unexpected()

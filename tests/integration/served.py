"""A service with small models, sounds to send to it, and checks of its answers."""

import io
import json
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx
import pytest
import requests
import soundfile as sf
from environment import without_settings
from filelock import FileLock

from msr_utils.constants import TARGETS
from msr_utils.features.config import FeatureConfig
from msr_utils.inference.card import ModelCard, ModelDescription
from msr_utils.inference.model import (
    Model,
    load,
)
from msr_utils.io import sha256_file, write_json
from msr_utils.metrics.estimate import Estimate
from serve.app import create_app
from serve.config import ServiceConfig

ROOT = Path(__file__).resolve().parents[2]
PROBLEM = "application/problem+json"
NDJSON = "application/x-ndjson"
MAX_BYTES = 3_000_000
MAX_SECONDS = 30
FRIEND = "https://music.example"


def sound(seconds: float, rate: int = 22_050, channels: int = 1, seed: int = 0) -> np.ndarray:
    """Swelling noise and tones, (samples, channels); every seed is another piece."""
    rng = np.random.default_rng(seed)
    t = np.arange(round(seconds * rate)) / rate
    tones = sum(np.sin(2 * np.pi * f * t) for f in rng.uniform(80, 3000, 3))
    swell = np.sin(2 * np.pi * rng.uniform(0.1, 0.5) * t) ** 2
    noise = rng.normal(0, 0.05, (len(t), channels))
    return (0.15 * (swell * tones)[:, None] + noise).clip(-1, 1).astype(np.float32)


def encoded(samples: np.ndarray, rate: int = 22_050, **options: str) -> bytes:
    """Audio file as bytes."""
    file = io.BytesIO()
    sf.write(file, samples, rate, **{"format": "WAV", **options})
    return file.getvalue()


GOOD = encoded(sound(3.2))
FORMATS = {
    "song.wav": encoded(sound(3.2)),
    "song.flac": encoded(sound(3.2), format="FLAC"),
    "song.mp3": encoded(sound(3.2, 44_100, 2), 44_100, format="MP3"),
    "song.ogg": encoded(sound(3.2, 44_100, 2), 44_100, format="OGG", subtype="VORBIS"),
    "song.opus": encoded(sound(3.2, 48_000), 48_000, format="OGG", subtype="OPUS"),
    "song.aiff": encoded(sound(3.2), format="AIFF"),
    "8 channels.wav": encoded(sound(3.2, 48_000, 8), 48_000),
    "8 kHz.wav": encoded(sound(3.2, 8_000), 8_000),
    # Large enough to leave memory for a temporary file on its way in.
    "large.wav": encoded(sound(15, 44_100, 2), 44_100),
}


CARD = {
    "summary": "For tests.",
    "trained_on": "nothing",
    "licence": "MIT",
    "protocol": "none",
    "metrics": {t: {"ccc": Estimate(0.1, 0.0, 0.2)} for t in TARGETS},
    "limits": ["Knows nothing about music."],
    "corpus_hash": "0" * 64,
}


@pytest.fixture(scope="session")
def models_dir(tmp_path_factory, worker_id) -> Path:
    """Bundles: "tiny", an untrained LSTM, and "a-window", a linear map of each frame.

    All processes of a test run share them.
    """
    root = tmp_path_factory.getbasetemp()
    folder = (root if worker_id == "master" else root.parent) / "served models"
    with FileLock(f"{folder}.lock"):
        if not folder.is_dir():
            made = folder.with_suffix(".made")
            make_bundles(made)
            made.rename(folder)
    return folder


def make_bundles(folder: Path) -> None:
    """Write the bundles into a new folder."""
    from msr_utils.export.bundle import (
        export_bundle,  # Slow to import, and not needed by the service.
    )
    from msr_utils.models.backend import keras
    from msr_utils.models.lstm import LSTMConfig, build_lstm

    folder.mkdir()
    features = FeatureConfig()
    keras.utils.set_random_seed(7)
    mean, sd = np.full(features.dim, -40, np.float32), np.full(features.dim, 15, np.float32)
    networks = {target: build_lstm(LSTMConfig((8, 8)), mean, sd) for target in TARGETS}
    description = ModelDescription(name="tiny", title="Untrained LSTM", **CARD)
    export_bundle(networks, features, description, folder / "tiny")

    window = folder / "a-window"
    window.mkdir()
    weights = np.random.default_rng(0).normal(0, 2e-3, (features.dim, 2)).astype(np.float32)
    graph = onnx.helper.make_graph(
        [onnx.helper.make_node("MatMul", ["features", "weights"], ["curves"])],
        "linear",
        [onnx.helper.make_tensor_value_info("features", 1, ["N", "T", features.dim])],
        [onnx.helper.make_tensor_value_info("curves", 1, ["N", "T", 2])],
        [onnx.numpy_helper.from_array(weights, "weights")],
    )
    opset = [onnx.helper.make_opsetid("", 17)]
    onnx.save(
        onnx.helper.make_model(graph, opset_imports=opset, ir_version=8), window / "model.onnx"
    )
    write_json(window / "features.json", features.to_json())
    card = ModelCard(
        name="a-window",
        title="Linear",
        kind="window",
        max_frames=4,
        parameters=weights.size,
        feature_hash=features.hash,
        model_sha256=sha256_file(window / "model.onnx"),
        **CARD,
    )
    write_json(window / "card.json", card.to_json())


def settings(**values: object) -> dict[str, str]:
    """Environment with these settings of the service, and with no others."""
    kept = without_settings()
    return kept | {f"MSR_{name.upper()}": str(value) for name, value in values.items()}


@pytest.fixture(scope="module")
def server(models_dir, tmp_path_factory):
    """URL of the service, run as its users run it."""
    log = tmp_path_factory.mktemp("log") / "serve.log"
    with log.open("w") as file:
        process = subprocess.Popen(
            [sys.executable, "-m", "serve", "--port", "0", "--models", str(models_dir)],
            cwd=ROOT,
            env=settings(
                max_upload_bytes=MAX_BYTES, max_seconds=MAX_SECONDS, allowed_origins=FRIEND
            ),
            stdout=subprocess.PIPE,
            stderr=file,
            text=True,
        )
    announced = re.search(r"http://\S+", process.stdout.readline())
    assert announced, log.read_text()
    yield announced[0]
    process.terminate()
    process.wait(10)
    # Whatever the tests sent: no request may have met an unexpected error, and no library
    # may have written between the lines.
    for line in log.read_text().splitlines():
        assert "traceback" not in json.loads(line)


@pytest.fixture(scope="session")
def tiny(models_dir) -> Model:
    return load("tiny", models_dir)


@pytest.fixture
def app(models_dir):
    return create_app(
        ServiceConfig(
            models_dir=models_dir, max_upload_bytes=MAX_BYTES, max_seconds=MAX_SECONDS, workers=0
        )
    )


@pytest.fixture
def client(app):
    return app.test_client()


def post(server: str, content: bytes, name: str = "song.wav", **options) -> requests.Response:
    return requests.post(
        f"{server}/v1/predict", files={"file": (name, content)}, timeout=20, **options
    )


def assert_right(answer: dict, model: Model, content: bytes) -> None:
    """The answer is what the model says about the same bytes."""
    curve = model.predict(io.BytesIO(content))
    assert answer["times_s"] == curve.times_s.tolist()
    for target in TARGETS:
        np.testing.assert_allclose(answer[target], getattr(curve, target), atol=6e-7, rtol=0)
        assert answer["mean"][target] == pytest.approx(curve.mean[target], abs=6e-7)
    assert tuple(answer["quadrant"].values()) == curve.quadrant


def assert_problem(
    response: requests.Response, status: int, field: str | None = None, *words: str
) -> None:
    """The answer is a problem with this status, about this field, with these words in it."""
    assert response.status_code == status, response.text
    assert response.headers["Content-Type"] == PROBLEM
    document = response.json()
    assert set(document) - {"field"} == {"type", "title", "status", "detail", "request_id"}
    assert document.get("field") == field
    assert field is None or document["detail"].startswith(f"{field}: ")
    assert document["status"] == status
    assert document["request_id"] == response.headers["X-Request-ID"]
    for word in words:
        assert word in document["detail"]


def with_nan() -> bytes:
    samples = sound(2)
    samples[30_000] = np.nan
    return encoded(samples, subtype="FLOAT")


FLAC = FORMATS["song.flac"]
BAD_FILES = {
    "text": (b"la la la, this is no music\n" * 200, 422, "not audio"),
    "zero bytes": (b"", 422, "empty"),
    "no samples": (encoded(sound(0)), 422, "no audio samples"),
    "one sample": (encoded(sound(1)[:1]), 422, "500 ms"),
    "NaN": (with_nan(), 422, "NaN or infinite sample at 1.361 s"),
    "only a header": (FLAC[:60], 422, "file: "),
    "too long": (encoded(sound(MAX_SECONDS + 1, 8_000), 8_000), 413, "longer than the 30 s"),
    "too big": (bytes(MAX_BYTES + 1), 413, "larger than the limit of 3 MB"),
    "far too big": (bytes(3 * MAX_BYTES), 413, "larger than the limit of 3 MB"),
}
MP3, OGG, OPUS = FORMATS["song.mp3"], FORMATS["song.ogg"], FORMATS["song.opus"]


POST = b"POST /v1/predict HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n"

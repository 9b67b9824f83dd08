"""The service: right answers, clear errors, and a page that needs nothing from elsewhere."""

import gzip
import io
import json
import os
import re
import shutil
import socket
import struct
import subprocess
import sys
import threading
import time
import zipfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import onnx
import pytest
import requests
import soundfile as sf
from environment import without_settings
from needs import needs_pretrained_weights
from openapi_spec_validator import validate
from prometheus_client.parser import text_string_to_metric_families

from msr_utils import affect
from msr_utils.constants import FRAME_SECONDS, TARGETS
from msr_utils.features import weights as features_weights
from msr_utils.features.config import FeatureConfig
from msr_utils.inference.card import ModelCard, ModelDescription
from msr_utils.inference.model import (
    FilePrediction,
    Model,
    PretrainedWeightsMissing,
    available,
    load,
    load_default,
)
from msr_utils.inference.prediction import Prediction, Smoother
from msr_utils.io import read_json, sha256_file, write_json
from msr_utils.metrics.estimate import Estimate
from msr_utils.paths import MODELS_DIR
from serve.__main__ import main
from serve.app import create_app
from serve.config import VARIABLES, ConfigError, ServiceConfig
from serve.uploads import read_upload

ROOT = Path(__file__).resolve().parents[2]
PROBLEM = "application/problem+json"
NDJSON = "application/x-ndjson"
MAX_BYTES = 3_000_000
MAX_SECONDS = 30
FRIEND = "https://music.example"

# Settings of the shell must not change what is tested.
for variable in VARIABLES:
    os.environ.pop(variable, None)


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


# ------------------------------------------------------------------------------ models and server


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
def models_dir(tmp_path_factory) -> Path:
    """Bundles: "tiny", an untrained LSTM, and "a-window", a linear map of each frame."""
    from msr_utils.export.bundle import (
        export_bundle,  # Slow to import, and not needed by the service.
    )
    from msr_utils.models.backend import keras
    from msr_utils.models.lstm import LSTMConfig, build_lstm

    folder = tmp_path_factory.mktemp("models")
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
    return folder


def settings(**values: object) -> dict[str, str]:
    """Environment with these settings of the service, and with no others."""
    kept = without_settings()
    return kept | {f"MSR_{name.upper()}": str(value) for name, value in values.items()}


@pytest.fixture(scope="session")
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


# ------------------------------------------------------------------------------ answers


@pytest.mark.parametrize("name", FORMATS)
def test_form_gives_the_curve_of_the_model(server, tiny, name):
    response = post(server, FORMATS[name], name)
    assert response.status_code == 200, response.text
    answer = response.json()
    frames = 30 if name == "large.wav" else 6
    assert len(answer["times_s"]) == len(answer["valence"]) == len(answer["arousal"]) == frames
    assert answer["duration_s"] == frames * FRAME_SECONDS
    assert answer["frame_seconds"] == FRAME_SECONDS
    assert answer["model"] == "tiny"
    assert answer["model_version"] == tiny.version == tiny.card.model_sha256[:12]
    assert answer["elapsed_ms"] > 0
    assert np.ptp(answer["valence"]) > 1e-3
    assert answer["valence"] != answer["arousal"]
    assert_right(answer, tiny, FORMATS[name])
    card = requests.get(server + answer["card"], timeout=10).json()
    assert card == tiny.card.to_json()


@pytest.mark.parametrize("name", ["song.mp3", "large.wav"])
@pytest.mark.parametrize("kind", ["audio/mpeg", "application/x-www-form-urlencoded", None])
def test_raw_body_gives_the_same(server, tiny, name, kind):
    headers = {"Content-Type": kind} if kind else {}
    url = f"{server}/v1/predict"
    response = requests.post(url, data=FORMATS[name], headers=headers, timeout=20)
    assert response.status_code == 200, response.text
    assert_right(response.json(), tiny, FORMATS[name])


def test_body_in_chunks_gives_the_same(server, tiny):
    chunks = (GOOD[i : i + 9999] for i in range(0, len(GOOD), 9999))
    response = requests.post(f"{server}/v1/predict", data=chunks, timeout=20)
    assert_right(response.json(), tiny, GOOD)


def test_model_can_be_chosen(server, models_dir):
    for name in ("a-window", "tiny"):
        answer = post(server, GOOD, params={"model": name}).json()
        assert answer["model"] == name
        assert_right(answer, load(name, models_dir), GOOD)


@pytest.mark.parametrize(
    ("accept", "is_csv"),
    [
        ("text/csv", True),
        ("text/csv, application/json;q=0.5", True),
        ("application/json, text/csv;q=0.5", False),
        ("*/*", False),
        ("image/png", False),
    ],
)
def test_csv_when_asked_for(server, tiny, accept, is_csv):
    response = post(server, GOOD, headers={"Accept": accept})
    assert response.headers["Vary"].split(", ")[0] == "Accept"
    if is_csv:
        assert response.headers["Content-Type"].startswith("text/csv")
        assert response.text == tiny.predict(io.BytesIO(GOOD)).to_csv()
    else:
        assert_right(response.json(), tiny, GOOD)


@pytest.mark.parametrize("options", [{}, {"targets": "arousal"}, {"smoothing": "3"}])
def test_lines_say_what_the_json_says(server, options):
    content = FORMATS["large.wav"]
    answer = post(server, content, params=options).json()
    response = post(server, content, params=options, headers={"Accept": NDJSON}, stream=True)
    assert response.headers["Content-Type"] == NDJSON
    assert response.headers["X-Request-ID"]
    *frames, last = map(json.loads, response.iter_lines())
    curves = {"times_s": [frame.pop("time_s") for frame in frames]}
    curves |= {target: [frame[target] for frame in frames] for target in frames[0]}
    assert set(last) == {"done"}
    joined = {**curves, **last["done"]}
    assert joined.pop("elapsed_ms") > 0
    answer.pop("elapsed_ms")
    assert joined == answer


def test_lines_end_with_the_error(server):
    response = post(server, BAD_FILES["too long"][0], headers={"Accept": NDJSON})
    assert response.status_code == 200
    *frames, last = map(json.loads, response.text.splitlines())
    # What the resampler and the last frame held back does not come.
    assert 2 * MAX_SECONDS - 1 <= len(frames) <= 2 * MAX_SECONDS
    assert last["error"]["status"] == 413
    assert last["error"]["request_id"] == response.headers["X-Request-ID"]


def test_lines_come_while_the_file_is_decoded(tiny):
    curve = FilePrediction(tiny, io.BytesIO(encoded(sound(25))))
    blocks = iter(curve)
    assert len(next(blocks)) == 20  # 10 s
    assert len(np.concatenate([*blocks])) == 30
    assert len(curve.prediction().valence) == 50


def test_targets_can_be_chosen(server):
    both = post(server, GOOD).json()
    one = post(server, GOOD, params={"targets": "valence"}).json()
    assert one["valence"] == both["valence"]
    assert one["mean"] == {"valence": both["mean"]["valence"]}
    assert set(both) - set(one) == {"arousal", "quadrant"}
    options = {"params": {"targets": "arousal"}, "headers": {"Accept": "text/csv"}}
    assert post(server, GOOD, **options).text.startswith("time_s,arousal,model\n0.5,")
    assert_problem(post(server, GOOD, params={"targets": "joy"}), 400, "targets", "arousal")
    options["params"] = {"targets": "arousal,valence"}
    assert post(server, GOOD, **options).text.startswith("time_s,arousal,valence,model\n0.5,")


@pytest.mark.parametrize(("window", "before", "after"), [("centred", 1, 1), ("causal", 2, 0)])
def test_smoothing_is_a_moving_average(server, tiny, window, before, after):
    content = FORMATS["large.wav"]
    options = {"smoothing": 1 if window == "centred" else 1.5, "smoothing_window": window}
    answer = post(server, content, params=options).json()
    curve = tiny.predict(io.BytesIO(content))
    for target in TARGETS:
        rough = getattr(curve, target)
        wanted = [rough[max(i - before, 0) : i + after + 1].mean() for i in range(len(rough))]
        np.testing.assert_allclose(answer[target], wanted, atol=6e-7)
        assert answer["mean"][target] == pytest.approx(curve.mean[target], abs=6e-7)
    assert_problem(post(server, GOOD, params={"smoothing": -1}), 400, "smoothing")
    assert_problem(post(server, GOOD, params={"smoothing": "nan"}), 400, "smoothing")


def test_smoother_gives_the_same_piece_by_piece():
    rng = np.random.default_rng(0)
    values = rng.normal(0, 1, (40, 2)).astype(np.float32)
    for seconds in (0, 0.4, 0.5, 3, 10, 60):
        for causal in (True, False):
            whole = Smoother(seconds, causal).push(values, True)
            smoother, parts = Smoother(seconds, causal), []
            for part in np.split(values, np.sort(rng.integers(0, 40, 9))):
                parts.append(smoother.push(part))
            parts.append(smoother.push(values[:0], True))
            np.testing.assert_array_equal(np.concatenate(parts), whole)
            assert len(whole) == 40
            if seconds < 0.5:
                np.testing.assert_array_equal(whole, values)


def test_no_value_is_minus_zero():
    near = np.array([-1e-9, -0.0, 1e-9, -4e-7, -6e-7], np.float32)
    curve = Prediction("m", np.arange(1, 6) / 2, near, near, margins={"arousal": 1e-9})
    text = curve.to_csv()
    assert "-0.000001" in text
    assert not re.search(r"-0\.0+\b", text)
    assert {line.rpartition(",")[2] for line in text.splitlines()} == {"model", "m"}


def test_clients_at_once_get_their_own_answers(server, tiny):
    pieces = [encoded(sound(2 + seed, seed=seed)) for seed in range(6)]
    start = threading.Barrier(len(pieces))

    def ask(piece: bytes) -> list[dict]:
        start.wait(20)
        return [post(server, piece).json() for _ in range(3)]

    with ThreadPoolExecutor(len(pieces)) as pool:
        for piece, answers in zip(pieces, pool.map(ask, pieces), strict=True):
            for answer in answers:
                assert_right(answer, tiny, piece)


def test_the_default_follows_music_where_none_is_preferred(server):
    models = requests.get(f"{server}/v1/models", timeout=10).json()["models"]
    assert [(m["name"], m["kind"], m["default"]) for m in models] == [
        ("a-window", "window", False),
        ("tiny", "recurrent", True),
    ]
    for model in models:
        card = requests.get(server + model["card"], timeout=10).json()
        assert (card["name"], card["title"]) == (model["name"], model["title"])


def test_health(server):
    response = requests.get(f"{server}/healthz", timeout=10)
    assert (response.status_code, response.json()) == (200, {"status": "ok", "models": 2})


def test_ready_names_what_is_served(server, models_dir):
    answer = requests.get(f"{server}/readyz", timeout=10).json()
    hashes = {name: sha256_file(models_dir / name / "model.onnx") for name in available(models_dir)}
    assert answer == {"status": "ready", "models": hashes}


def scrape(server: str) -> dict[tuple[str, frozenset], float]:
    """Name and labels of each sample -> its value, as Prometheus reads them."""
    response = requests.get(f"{server}/metrics", timeout=10)
    assert response.headers["Content-Type"] == "text/plain; version=0.0.4; charset=utf-8"
    families = [*text_string_to_metric_families(response.text)]
    assert [(family.name, family.type) for family in families] == [
        ("msr_requests", "counter"),
        ("msr_audio_seconds", "counter"),
        ("msr_request_seconds", "histogram"),
        ("msr_workers", "gauge"),
        ("msr_requests_in_flight", "gauge"),
        ("msr_requests_waiting", "gauge"),
        ("msr_workers_killed", "counter"),
        ("msr_output_dropped_bytes", "counter"),
    ]
    return {
        (sample.name, frozenset(sample.labels.items())): sample.value
        for family in families
        for sample in family.samples
    }


def test_metrics_count(server):
    predict = {"route": "/v1/predict"}
    keys = [
        (name, frozenset(labels.items()))
        for name, labels in (
            ("msr_requests_total", {**predict, "status": "200"}),
            ("msr_requests_total", {**predict, "status": "422"}),
            ("msr_audio_seconds_total", predict),
            ("msr_request_seconds_count", predict),
            ("msr_request_seconds_bucket", {**predict, "le": "+Inf"}),
            ("msr_requests_total", {"route": "", "status": "404"}),
        )
    ]
    before = scrape(server)
    post(server, GOOD)
    post(server, GOOD, headers={"Accept": NDJSON})
    post(server, b"no music")
    requests.get(f"{server}/some/path", timeout=10)
    time.sleep(0.2)  # A request is counted when its answer has gone out.
    after = scrape(server)
    assert [after[key] - before.get(key, 0) for key in keys] == [2, 1, 6, 3, 3, 1]
    for lane in ("live", "short", "long"):
        assert after["msr_requests_in_flight", frozenset({("lane", lane)})] == 0
        assert after["msr_requests_waiting", frozenset({("lane", lane)})] == 0
    assert after["msr_workers", frozenset()] > 1
    assert {dict(labels).get("route") for _, labels in after} <= {
        None, "", "/", "/docs", "/openapi.json", "/healthz", "/readyz", "/metrics", "/v1/predict",
        "/v1/live", "/v1/models", "/v1/models/<name>", "/static/<path:filename>",
    }  # fmt: skip


def committed_bundles() -> list:
    """Names of the bundles in the repository, marked if they need pretrained weights."""
    blocks = {n: read_json(MODELS_DIR / n / "features.json")["blocks"] for n in available()}
    return [
        pytest.param(name, marks=needs_pretrained_weights if "musicnn" in blocks[name] else ())
        for name in blocks
    ]


@pytest.mark.parametrize("name", committed_bundles())
def test_committed_bundle_loads_and_answers(name):
    client = create_app(
        ServiceConfig(models_dir=MODELS_DIR, default_model=name, workers=0)
    ).test_client()
    answer = client.post("/v1/predict", data=GOOD).json
    assert answer["model"] == name
    assert len(answer["valence"]) == 6
    assert np.isfinite([answer["valence"], answer["arousal"]]).all()


# ------------------------------------------------------------------------------ bad input


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


@pytest.mark.parametrize("name", BAD_FILES)
def test_bad_file_is_a_clear_problem(server, tiny, name):
    content, status, words = BAD_FILES[name]
    assert_problem(post(server, content, "song.mp3"), status, "file", words)
    if content:
        raw = requests.post(f"{server}/v1/predict", data=content, timeout=20)
        assert_problem(raw, status, "file", words)
    assert_right(post(server, GOOD).json(), tiny, GOOD)


HEADER_BYTES = 44


def wav(
    rate: int, channels: int, payload: bytes, stated: int | None = None, bits: int = 16
) -> bytes:
    """WAV file of PCM with any header, right or wrong."""
    stated, width = len(payload) if stated is None else stated, channels * bits // 8
    head = struct.pack(
        "<4sI4s4sIHHIIHH4sI",
        *(b"RIFF", min(stated + 36, 2**32 - 1), b"WAVE", b"fmt ", 16, 1, channels % 2**16),
        *(rate, rate * width % 2**32, width % 2**16, bits, b"data", stated),
    )
    assert len(head) == HEADER_BYTES
    return head + payload


def zipped() -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("song.wav", GOOD)
    return file.getvalue()


def bomb() -> bytes:
    """A small archive of far more than the service accepts."""
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("song.wav", bytes(30 * MAX_BYTES))
    return file.getvalue()


def silence(hours: float, rate: int = 4_000) -> bytes:
    """FLAC of silence, some kB an hour."""
    file = io.BytesIO()
    with sf.SoundFile(file, "w", rate, 1, format="FLAC") as out:
        for _ in range(round(hours * 60)):
            out.write(np.zeros(60 * rate, np.int16))
    return file.getvalue()


def with_infinity() -> bytes:
    samples = sound(2)
    samples[5] = -np.inf
    return encoded(samples, subtype="FLOAT")


def garbled(mp3: bytes) -> bytes:
    """An MP3 whose frames begin right and go on wrong."""
    rng = np.random.default_rng(0)
    starts = [m.start() for m in re.finditer(rb"\xff[\xf2\xf3\xfa\xfb]", mp3)][3:]
    content = bytearray(mp3)
    for at in starts:
        content[at + 6 : at + 30] = rng.bytes(24)
    return bytes(content)


def riff(*chunks: tuple[bytes, bytes]) -> bytes:
    """WAV file of these chunks."""
    body = b"".join(name + struct.pack("<I", len(content)) + content for name, content in chunks)
    return b"RIFF" + struct.pack("<I", len(body) + 4) + b"WAVE" + body


NOISE = np.random.default_rng(0).bytes(200_000)
PCM = (sound(3, 22_050)[:, 0] * 32767).astype("<i2").tobytes()
MP3, OGG, OPUS = FORMATS["song.mp3"], FORMATS["song.ogg"], FORMATS["song.opus"]
ODD_UPLOADS = {
    "random bytes": NOISE,
    "a zip": zipped(),
    "a zip bomb": bomb(),
    "a gzip bomb": gzip.compress(bytes(30 * MAX_BYTES)),
    "3 hours of silence": silence(3),
    "a picture": b"\x89PNG\r\n\x1a\n" + NOISE[:5000],
    "a web page": b"<!doctype html><script>alert(1)</script>" * 50,
    "a list of addresses": b"#EXTM3U\nhttp://127.0.0.1/secret\nfile:///etc/passwd\n",
    "xml entity": b'<?xml version="1.0"?><!DOCTYPE a [<!ENTITY b SYSTEM "file:///etc/passwd">]>',
    "one byte": b"R",
    "only RIFF": b"RIFF",
    "half a header": GOOD[:20],
    "header without samples": GOOD[:HEADER_BYTES],
    "samples without header": PCM,
    "size 0": wav(22_050, 1, PCM, 0),
    "size from a pipe": wav(22_050, 1, PCM, 0xFFFFFFFF),
    "size twice as large": wav(22_050, 1, PCM, 2 * len(PCM)),
    "size half as large": wav(22_050, 1, PCM, len(PCM) // 2),
    "odd number of bytes": wav(22_050, 1, PCM[:-1]),
    "rate 0": wav(0, 1, PCM),
    "rate 1": wav(1, 1, PCM[:40]),
    "4 kHz": wav(4_000, 1, PCM[:40_000]),
    "192 kHz": wav(192_000, 1, NOISE),
    "rate 2 ** 31": wav(2**31 - 1, 1, PCM),
    "rate 2 ** 32": wav(2**32 - 1, 1, PCM),
    "0 channels": wav(22_050, 0, PCM),
    "8 channels": wav(48_000, 8, NOISE),
    "255 channels": wav(8_000, 255, NOISE),
    "65535 channels": wav(22_050, 65_535, PCM),
    "3 bits": wav(22_050, 1, PCM, bits=3),
    "64 bits": wav(22_050, 1, PCM, bits=64),
    "8 bits": wav(22_050, 1, NOISE[:100_000], bits=8),
    "silence": wav(22_050, 1, bytes(100_000)),
    "full scale": wav(22_050, 1, b"\xff\x7f" * 40_000),
    "half a frame": wav(22_050, 1, PCM[:11_000]),
    "one frame": wav(22_050, 1, PCM[:22_050]),
    "infinite sample": with_infinity(),
    "samples of 1e30": encoded(sound(2) * 1e30, subtype="FLOAT"),
    "denormal samples": encoded(sound(2) * 1e-42, subtype="FLOAT"),
    "64 bit floats": encoded(sound(2), subtype="DOUBLE"),
    "MP3 cut short": MP3[: len(MP3) // 2],
    "MP3 after text": b"la la la " * 30 + MP3,
    "MP3 with noise in it": MP3[:9000] + NOISE[:3000] + MP3[9000:],
    "Opus cut short": OPUS[: len(OPUS) // 2],
    "Ogg cut short": OGG[: len(OGG) // 2],
    "Ogg with noise in it": OGG[:9000] + NOISE[:3000] + OGG[9000:],
    "FLAC with noise in it": FLAC[:9000] + NOISE[:3000] + FLAC[9000:],
    "two files in one": GOOD + GOOD,
    "ID3 tag of 256 MB": b"ID3\x04\x00\x00\x7f\x7f\x7f\x7f" + MP3,
    "ID3 tag before text": b"ID3\x04\x00\x00\x00\x00\x00\x09" + b"la la la " * 500,
    "MP3 frames without sound": b"\xff\xfb\x90\x00" * 5000,
    "Ogg page of nothing": OGG[:27],
    "24 bits, odd length": wav(22_050, 1, PCM[:-2], bits=24),
    "an AIFF header on a WAV": FORMATS["song.aiff"][:12] + GOOD[12:],
    "MP3 of garbled frames": garbled(MP3),
    "MP3 that changes its rate": MP3 + encoded(sound(2, 16_000), 16_000, format="MP3"),
    "Ogg that changes its codec": OGG + OPUS,
    "FLAC that states 36 days": FLAC[:21] + b"\xff" * 5 + FLAC[26:],
    "AIFF of a rate near 2 ** 40": FORMATS["song.aiff"].replace(b"\x40\x0d", b"\x40\x27", 1),
    "samples before their format": riff((b"data", PCM), (b"fmt ", GOOD[20:36])),
    "ADPCM in blocks of 0 bytes": riff(
        (b"fmt ", struct.pack("<HHIIHHHH", 17, 1, 22_050, 11_025, 0, 4, 2, 0)), (b"data", PCM)
    ),
    "100,000 chunks": riff(*[(b"LIST", b"ab")] * 100_000, (b"data", PCM)),
    "RF64 of 2 ** 62 bytes": b"RF64\xff\xff\xff\xffWAVEds64"
    + struct.pack("<IQQQI", 28, 2**62, 2**62, 2**61, 0)
    + GOOD[12:36]
    + b"data\xff\xff\xff\xff"
    + PCM,
    "samples of 1e308": encoded(np.full(30_000, 1e308), subtype="DOUBLE"),
    "the largest samples, one up, one down": wav(22_050, 1, b"\xff\x7f\x00\x80" * 20_000),
}


@pytest.mark.parametrize("name", ODD_UPLOADS)
@pytest.mark.parametrize("accept", ["application/json", "application/x-ndjson"])
def test_odd_upload_gets_an_answer_or_a_problem(server, name, accept):
    response = post(server, ODD_UPLOADS[name], "/tmp/odd.wav", headers={"Accept": accept})
    assert response.status_code in {200, 413, 422}, response.text
    for secret in ("Traceback", str(ROOT), "/tmp", "odd.wav", "site-packages", "0x"):
        assert secret not in response.text
    if response.status_code != 200:
        assert_problem(response, response.status_code, "file")
    elif accept == "application/json":
        answer = response.json()
        assert np.isfinite([answer["valence"], answer["arousal"]]).all()
        assert len(answer["valence"]) == len(answer["times_s"]) > 0
    else:
        *frames, last = map(json.loads, response.text.splitlines())
        assert all(set(frame) == {"time_s", *TARGETS} for frame in frames)
        assert frames
        assert "done" in last or last["error"]["status"] in {413, 422}


def test_file_cut_short_is_warned_about(server):
    cut = {"size twice as large": "states 6.0 s, 3.0 s", "MP3 cut short": "file: its header states"}
    for name, words in cut.items():
        (warning,) = post(server, ODD_UPLOADS[name]).json()["warnings"]
        assert words in warning
        table = post(server, ODD_UPLOADS[name], headers={"Accept": "text/csv"})
        assert json.loads(table.headers["X-Warnings"]) == [warning]
    for name in ("Ogg cut short", "Opus cut short"):
        (warning,) = post(server, ODD_UPLOADS[name]).json()["warnings"]
        assert warning == "file: the file is cut short: its last page is not whole"
    for content in (
        GOOD,
        MP3,
        OGG,
        OPUS,
        FORMATS["song.aiff"],
        ODD_UPLOADS["size from a pipe"],
        ODD_UPLOADS["size 0"],
    ):
        response = post(server, content).json()
        assert response.get("warnings", []) == []
    lines = post(server, ODD_UPLOADS["MP3 cut short"], headers={"Accept": NDJSON}).text.splitlines()
    assert json.loads(lines[-1])["done"]["warnings"] != []


@pytest.mark.parametrize(
    "kind",
    ["application/json", "image/png", "text/html; charset=klingon", "multipart/mixed; boundary=x",
     "nonsense", "audio/mpeg; " + "x" * 5000, "*/*"],
)  # fmt: skip
def test_what_a_body_is_called_does_not_matter(server, tiny, kind):
    headers = {"Content-Type": kind}
    answer = requests.post(f"{server}/v1/predict", data=GOOD, headers=headers, timeout=20)
    assert_right(answer.json(), tiny, GOOD)
    answer = post(server, b"{}", headers={"Accept": kind})
    assert_problem(answer, 422, "file")


def test_form_without_its_boundary_has_no_file(server):
    for kind in ("multipart/form-data", "multipart/form-data; boundary=", "multipart/form-data; b"):
        headers = {"Content-Type": kind}
        answer = requests.post(f"{server}/v1/predict", data=GOOD, headers=headers, timeout=20)
        assert_problem(answer, 400, "file")


def test_compressed_body_is_not_unpacked(server):
    headers = {"Content-Encoding": "gzip", "Content-Type": "audio/wav"}
    for content in (gzip.compress(GOOD), ODD_UPLOADS["a gzip bomb"]):
        answer = requests.post(f"{server}/v1/predict", data=content, headers=headers, timeout=20)
        assert_problem(answer, 422, "file")


# A quoted file name escapes its backslashes.
@pytest.mark.parametrize(
    "name",
    ["/etc/../evil.mp3", "evil" * 3000, "evil%00.mp3", r"..\\..\\evil.mp3", "<b>evil", "a\u202eb"],
)
def test_name_of_the_file_is_never_used(server, name):
    response = post(server, b"no music", name)
    assert_problem(response, 422, "file")
    assert "evil" not in response.text


def test_size_limit_counts_the_file_and_not_the_form(server):
    for size, status in ((MAX_BYTES, 422), (MAX_BYTES + 1, 413)):
        assert_problem(post(server, b"no music".ljust(size)), status, "file")


def test_body_in_chunks_without_length_is_limited(server, tiny):
    chunks = (bytes(100_000) for _ in range(3 * MAX_BYTES // 100_000))
    response = requests.post(f"{server}/v1/predict", data=chunks, timeout=20)
    assert_problem(response, 413, "file")
    assert_right(post(server, GOOD).json(), tiny, GOOD)


def exchange(server: str, request: bytes) -> str:
    """Send bytes, then read until the service closes the connection."""
    host, port = server.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port)), timeout=10) as connection:
        connection.sendall(request)
        return b"".join(iter(lambda: connection.recv(65536), b"")).decode()


POST = b"POST /v1/predict HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n"


@pytest.mark.parametrize(
    ("request_bytes", "status"),
    [
        # Asks first whether it may send 10 GB: the answer must not wait for them.
        (POST + b"Expect: 100-continue\r\nContent-Length: 10000000000\r\n\r\n", 413),
        (POST + b"Content-Length: 5\r\n\r\nRIFFRIFFRIFF", 422),
        (POST + b"Content-Length: many\r\n\r\nRIFF", 400),
        (POST + b"Transfer-Encoding: chunked\r\n\r\nnot a chunk\r\n", 400),
        (b"GET /".ljust(2**18, b"a"), 431),
        (b"music, please\r\n\r\n", 400),
    ],
    ids=["huge", "short", "no number", "no chunk", "long line", "no request"],
)
def test_requests_that_lie_or_make_no_sense(server, tiny, request_bytes, status):
    head, _, body = exchange(server, request_bytes).partition("\r\n\r\n")
    assert head.startswith(f"HTTP/1.1 {status} ") or head.startswith(f"HTTP/1.0 {status} ")
    assert f"content-type: {PROBLEM}" in head.lower()
    document = json.loads(body)
    assert document["status"] == status
    assert document.get("field") == ("file" if status in (413, 422) else None)
    assert f"x-request-id: {document['request_id']}" in head.lower()
    assert_right(post(server, GOOD).json(), tiny, GOOD)


@pytest.mark.parametrize(
    ("files", "words"),
    [
        ([("audio", ("song.wav", GOOD))], "named 'file' (this form has 'audio')"),
        ([("file", (None, "song.wav"))], "-F file=@song.mp3"),
        ([("file", ("a.wav", GOOD)), ("file", ("b.wav", GOOD))], "one file per request, not 2"),
    ],
    ids=["wrong field", "text field", "two files"],
)
def test_wrong_forms(server, files, words):
    response = requests.post(f"{server}/v1/predict", files=files, timeout=10)
    assert_problem(response, 400, "file", words)


def test_option_in_the_form_is_not_silently_left_out(server):
    for path, name, content in (("predict", "file", GOOD), ("live?rate=22050", "chunk", PCM)):
        form = {"data": {"model": "tiny"}, "files": {name: ("a", content)}, "timeout": 10}
        answer = requests.post(f"{server}/v1/{path}", **form)
        assert_problem(answer, 400, "model", f"only '{name}'", "?model=NAME")


def test_form_of_too_many_fields(server):
    form = {"data": {f"a{i}": "1" for i in range(1500)}, "files": {"file": ("a", GOOD)}}
    answer = requests.post(f"{server}/v1/predict", **form, timeout=20)
    assert_problem(answer, 413, "form", "more than 1000 fields")


def test_no_file_at_all(server):
    url = f"{server}/v1/predict"
    assert_problem(requests.post(url, timeout=10), 400, "file", "missing")
    empty = {"Content-Type": "multipart/form-data"}
    assert_problem(requests.post(url, headers=empty, timeout=10), 400, "file", "missing")
    unchosen = (
        b'--x\r\nContent-Disposition: form-data; name="file"; filename=""\r\n\r\n\r\n--x--\r\n'
    )
    kind = {"Content-Type": "multipart/form-data; boundary=x"}
    response = requests.post(url, data=unchosen, headers=kind, timeout=10)
    assert_problem(response, 400, "file", "no file was chosen")


def test_wrong_options_name_what_there_is(server):
    unknown_model = post(server, GOOD, params={"model": "nope"})
    assert_problem(unknown_model, 400, "model", "'nope'", "a-window, tiny")
    unknown_option = post(server, GOOD, params={"modle": "tiny"})
    assert_problem(unknown_option, 400, "modle", "'model'")


def test_window_model_cannot_follow_live_audio(server):
    options = {"params": {"rate": 22_050, "model": "a-window"}, "timeout": 10}
    response = requests.post(f"{server}/v1/live", files={"chunk": ("a", PCM)}, **options)
    assert_problem(response, 422, "model", "'a-window'", "cannot follow live audio", "tiny")


def test_wrong_paths_and_methods(server):
    def get(path: str) -> requests.Response:
        return requests.get(server + path, timeout=10)

    assert_problem(get("/v1/models/nope"), 404, "model", "'nope'", "a-window, tiny")
    assert_problem(get("/v1/models/..%2f..%2fetc"), 404)
    assert_problem(get("/static/../app.py"), 404)
    assert_problem(get("/nope"), 404, None, "/nope")
    response = get("/v1/predict")
    assert_problem(response, 405, None, "GET", "POST")
    assert "POST" in response.headers["Allow"]


def test_limits_hold_without_the_front(client):
    too_big = io.BytesIO(bytes(MAX_BYTES + 1))
    assert_problem_of_flask(client.post("/v1/predict", data={"file": (too_big, "a.wav")}), 413)
    assert_problem_of_flask(client.post("/v1/predict", data=bytes(2 * MAX_BYTES)), 413)
    # No length, as another server may pass it on.
    endless = {"wsgi.input": io.BytesIO(bytes(2 * MAX_BYTES)), "wsgi.input_terminated": True}
    response = client.post("/v1/predict", environ_overrides=endless)
    assert_problem_of_flask(response, 413)
    assert client.post("/v1/predict", data=GOOD).status_code == 200


def assert_problem_of_flask(response, status: int) -> None:
    assert (response.status_code, response.mimetype) == (status, PROBLEM)
    assert response.json["request_id"] == response.headers["X-Request-ID"]


def test_unexpected_error_tells_no_secrets_but_logs_them(app, caplog):
    @app.get("/broken")
    def broken():
        raise RuntimeError("the secret")

    caplog.set_level("INFO", "serve")
    response = app.test_client().get("/broken", headers={"X-Request-ID": "find-me"})
    assert_problem_of_flask(response, 500)
    assert "secret" not in response.text
    assert "Traceback" not in response.text
    logged = [r for r in caplog.records if getattr(r, "fields", {}).get("request_id") == "find-me"]
    assert [bool(r.exc_info) for r in logged] == [True, False]


class Stream(io.RawIOBase):
    """A body as other WSGI servers give it: it can only be read once, from its start."""

    def __init__(self, content: bytes) -> None:
        self._content = io.BytesIO(content)

    def readable(self) -> bool:
        return True

    def readinto(self, buffer) -> int:
        return self._content.readinto(buffer)


@pytest.mark.parametrize("kind", ["raw", "form"])
@pytest.mark.parametrize("stream", [io.BytesIO, Stream], ids=["file", "stream"])
def test_upload_is_found_in_the_body_and_never_a_named_file(
    app, tmp_path, monkeypatch, kind, stream
):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    large = FORMATS["large.wav"]
    files = {"file": ("a.wav", large)} if kind == "form" else None
    sent = requests.Request(
        "POST", "http://host", files=files, data=None if files else large
    ).prepare()
    body = stream(sent.body)
    environ = {
        "wsgi.input": body,
        "CONTENT_LENGTH": str(len(sent.body)),
        "CONTENT_TYPE": sent.headers.get("Content-Type", ""),
    }
    with app.test_request_context("/v1/predict", method="POST", environ_overrides=environ):
        upload = read_upload(MAX_BYTES)
        upload.file.seek(upload.start)
        assert upload.file.read(upload.end - upload.start) == large
        assert (upload.file is body) is (stream is io.BytesIO)  # A stream is copied, a file is not.
        assert list(tmp_path.iterdir()) == []


# ------------------------------------------------------------------------------ headers and API


def test_every_answer_carries_a_request_id(server):
    urls = ["/", "/healthz", "/v1/models", "/openapi.json", "/static/app.js", "/nope"]
    answers = [requests.get(server + url, timeout=10) for url in urls]
    ids = [answer.headers["X-Request-ID"] for answer in answers]
    assert len(set(ids)) == len(urls)
    assert all(ids)
    for proposed, kept in (("mine-1", True), ("a b", False), ("x" * 65, False), ("<b>", False)):
        answer = requests.get(server + "/healthz", headers={"X-Request-ID": proposed}, timeout=10)
        assert (answer.headers["X-Request-ID"] == proposed) is kept


def test_pages_from_elsewhere_read_nothing_unless_they_are_allowed(server, client):
    def allowed(response: requests.Response) -> str | None:
        return response.headers.get("Access-Control-Allow-Origin")

    asked = {"Origin": FRIEND, "Access-Control-Request-Method": "POST"}
    url, big = f"{server}/v1/predict", bytes(3 * MAX_BYTES)
    for response in (
        requests.options(url, headers=asked, timeout=10),
        requests.post(url, data=GOOD, headers=asked, timeout=10),
        requests.post(url, data=b"no music", headers=asked, timeout=10),
        requests.post(url, data=big, headers=asked, timeout=10),  # never reaches the application
        requests.get(f"{server}/v1/models", headers=asked, timeout=10),
    ):
        assert allowed(response) == FRIEND
        assert "Origin" in response.headers["Vary"]
        assert "Retry-After" in response.headers["Access-Control-Expose-Headers"]
        assert "Access-Control-Allow-Credentials" not in response.headers
    for origin in ("https://evil.example", f"{FRIEND}.evil.example", "null"):
        response = requests.get(f"{server}/v1/models", headers={"Origin": origin}, timeout=10)
        assert allowed(response) is None
        assert response.headers["Vary"] == "Origin"
    assert allowed(requests.get(f"{server}/metrics", headers=asked, timeout=10)) is None
    # Off by default.
    for response in (client.get("/v1/models", headers=asked), client.options(url, headers=asked)):
        assert not [name for name, _ in response.headers if name.startswith("Access-Control")]


def test_every_page_may_read_where_all_are_allowed(models_dir):
    open_to_all = ServiceConfig(models_dir=models_dir, allowed_origins="*", workers=0)
    client = create_app(open_to_all).test_client()
    for headers in ({"Origin": "https://a.example"}, {"Origin": "null"}):
        answer = client.get("/v1/models", headers=headers)
        assert answer.headers["Access-Control-Allow-Origin"] == "*"


def test_openapi_document_is_valid_and_complete(server):
    document = requests.get(f"{server}/openapi.json", timeout=10).json()
    validate(document)
    assert document["openapi"].startswith("3.1")
    of_library = {path for path in document["paths"] if path.startswith("/v1/library")}
    assert len(of_library) >= 13
    assert set(document["paths"]) - of_library == {
        "/v1/predict",
        "/v1/models",
        "/v1/models/{name}",
        "/v1/live",
        "/healthz",
        "/readyz",
        "/metrics",
    }
    predict = document["paths"]["/v1/predict"]["post"]
    assert "multipart/form-data" in predict["requestBody"]["content"]
    assert set(predict["responses"]) == {"200", "400", "408", "413", "422", "429", "503", "507"}
    assert set(predict["responses"]["200"]["content"]) == {"application/json", "text/csv", NDJSON}
    live = document["paths"]["/v1/live"]["post"]
    assert set(live["requestBody"]["content"]) == {"multipart/form-data"}
    assert set(live["responses"]) == {*predict["responses"], "415"}


def test_openapi_document_describes_the_real_answers(server):
    document = requests.get(f"{server}/openapi.json", timeout=10).json()
    schemas = document["components"]["schemas"]
    answer = post(server, GOOD).json()
    example = document["paths"]["/v1/predict"]["post"]["responses"]["200"]["content"]
    example = example["application/json"]["example"]
    ends = {f"{target}_{end}" for target in TARGETS for end in ("low", "high")}
    assert set(answer) == set(example) == set(schemas["Prediction"]["properties"]) - ends
    shipped = create_app(
        ServiceConfig(models_dir=MODELS_DIR, default_model="light", workers=0)
    ).test_client()
    bounded = shipped.post("/v1/predict", data=GOOD).json
    assert set(bounded) == set(schemas["Prediction"]["properties"])
    for target in TARGETS:
        low, curve, high = (np.array(bounded[target + end]) for end in ("_low", "", "_high"))
        assert (low < curve).all() and (curve < high).all()
    assert set(answer["mean"]) == set(schemas["Mean"]["properties"])
    one = post(server, GOOD, params={"targets": "arousal"}).json()
    assert set(one) - {"arousal"} == set(schemas["Prediction"]["required"])
    assert set(answer["quadrant"]) == set(schemas["Quadrant"]["required"])
    problem = post(server, b"").json()
    assert set(problem) - {"field"} == set(schemas["Problem"]["required"])


# ------------------------------------------------------------------------------ page


def test_page_brings_everything_itself(server):
    page = requests.get(server, timeout=10)
    assert page.headers["Content-Type"].startswith("text/html")
    csp = page.headers["Content-Security-Policy"]
    assert "default-src 'self'" in csp
    assert "unsafe" not in csp
    assert "http" not in csp
    assert page.headers["X-Content-Type-Options"] == "nosniff"

    # The policy would block scripts and styles inside the page: they would silently not work.
    assert not re.search(r"<script(?![^>]*\bsrc=)|<style|\sstyle=|\son\w+=", page.text)
    links = re.findall(r'(?:src|href)="([^"]+)"', page.text)
    assert len(links) >= 5
    texts = [page.text]
    kinds = {".js": "javascript", ".css": "text/css", ".svg": "image/svg+xml"}
    for url in {*links, "static/charts.js"}:
        assert not url.startswith("/")  # It would be wrong behind a path prefix.
        response = requests.get(f"{server}/{url}", timeout=10)
        assert response.status_code == 200, url
        if suffix := Path(url).suffix:
            texts.append(response.text)
            if suffix in kinds:
                assert kinds[suffix] in response.headers["Content-Type"]
    for text in texts:
        # An SVG file must name its namespace, which nothing fetches.
        text = text.replace('xmlns="http://www.w3.org/2000/svg"', "")
        assert not re.search(r"https?:|[\"'(]//\w", text)


def test_page_offers_the_models_and_names_the_limits(server):
    page = requests.get(server, timeout=10).text
    options = re.findall(r'<option value="([\w-]+)"\s*(selected)?', page)
    assert options == [("a-window", ""), ("tiny", "selected")]
    assert f'data-max-bytes="{MAX_BYTES}"' in page
    assert re.search(r"up to 3 MB\s+and 0\.5 minutes", page)
    for words in (quadrant.words for quadrant in affect.QUADRANTS):
        assert words in page


def test_script_only_uses_elements_that_exist(server):
    page, script = (requests.get(server + p, timeout=10).text for p in ("/", "/static/app.js"))
    wanted = set(re.findall(r'\$\("([\w-]+)"\)', script)) | {"now-valence", "now-arousal"}
    assert len(wanted) > 20
    assert wanted <= set(re.findall(r'\bid="([\w-]+)"', page))


# ------------------------------------------------------------------------------ start


def test_serving_loads_no_training_library(models_dir):
    code = """
import io, json, sys
import soundfile as sf
from serve.app import create_app
from serve.config import ServiceConfig
client = create_app(ServiceConfig(models_dir=sys.argv[1], workers=0)).test_client()
assert client.get("/").status_code == 200
assert client.post("/v1/predict", data=sys.stdin.buffer.read()).status_code == 200
print(json.dumps(sorted({name.partition(".")[0] for name in sys.modules})))
"""
    done = subprocess.run(
        [sys.executable, "-c", code, str(models_dir)],
        cwd=ROOT,
        env=settings(),
        input=GOOD,
        capture_output=True,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr.decode()
    loaded = set(json.loads(done.stdout.splitlines()[-1]))
    assert "onnxruntime" in loaded
    assert not loaded & {"tensorflow", "keras", "librosa", "pandas", "matplotlib", "transformers"}
    assert not loaded & {"sqlalchemy", "mutagen"}  # Only the processes of a library need them.


def test_nothing_is_reported_to_anyone(tmp_path):
    """ONNX Runtime would leave a device id and a queue of events in the home folder."""
    code = "import serve.app; from msr_utils.inference.model import load; load('light')"
    clean = {"HOME": str(tmp_path), "PATH": os.environ["PATH"], "PYTHONDONTWRITEBYTECODE": "1"}
    subprocess.run([sys.executable, "-c", code], cwd=ROOT, env=clean, check=True, timeout=60)
    assert [*tmp_path.rglob("*")] == []


def test_settings_come_from_the_environment(models_dir, monkeypatch):
    plain = ServiceConfig.from_env()
    assert plain == ServiceConfig(models_dir=MODELS_DIR)
    monkeypatch.setenv("MSR_MODELS_DIR", str(models_dir))
    monkeypatch.setenv("MSR_MAX_SECONDS", "12.5")
    monkeypatch.setenv("MSR_WORKERS", "2")
    monkeypatch.setenv("MSR_MAX_QUEUE", "")  # as if not set
    monkeypatch.setenv("MSR_ALLOWED_ORIGINS", "https://a.example, http://b.example:8080")
    monkeypatch.setenv("MSR_SECRET_KEY", "0123456789abcdef")
    config = ServiceConfig.from_env(workers=0, default_model=None)
    changed = {
        "models_dir": models_dir,
        "max_seconds": 12.5,
        "workers": 0,
        "allowed_origins": ("https://a.example", "http://b.example:8080"),
    }
    assert config.model_dump(exclude={"secret_key"}) == {
        **plain.model_dump(exclude={"secret_key"}), **changed
    }  # fmt: skip
    assert config.secret_key.get_secret_value() == "0123456789abcdef"
    assert "0123456789abcdef" not in f"{config!r}{config}"
    monkeypatch.setenv("MSR_DEFAULT_MODEL", "a-window")
    answer = create_app().test_client().post("/v1/predict", data=GOOD).json
    assert answer["model"] == "a-window"


@pytest.mark.parametrize(
    ("name", "value", "allowed"),
    [
        ("MSR_MAX_UPLOAD_BYTES", "50MB", "whole number of bytes"),
        ("MSR_MAX_UPLOAD_BYTES", "0", "greater than 0"),
        ("MSR_MAX_SECONDS", "nan", "number of seconds"),
        ("MSR_MAX_SECONDS", "inf", "number of seconds"),
        ("MSR_WORKERS", "-1", "0 or greater"),
        ("MSR_WORKERS", "1.5", "whole number"),
        ("MSR_MODELS_DIR", "/no/such/folder", "an existing folder"),
        ("MSR_MODELS_DIR", __file__, "an existing folder"),
        ("MSR_MAX_QUEUE", "0", "greater than 0"),
        ("MSR_MAX_PER_CLIENT", "none", "whole number"),
        ("MSR_MAX_STATE_SECONDS", "ten", "number of seconds"),
        ("MSR_ALLOWED_ORIGINS", "example.org", "https://example.org"),
        ("MSR_ALLOWED_ORIGINS", "https://example.org/", "without a path"),
    ],
)
def test_wrong_settings_are_named(monkeypatch, name, value, allowed):
    monkeypatch.setenv(name, value)
    with pytest.raises(ConfigError) as error:
        ServiceConfig.from_env()
    assert error.value.field == name
    assert str(error.value).startswith(f"{name}: must be ")
    assert allowed in str(error.value)
    assert repr(value) in str(error.value)


def test_wrong_option_is_named_and_wrong_key_stays_secret(monkeypatch):
    with pytest.raises(ConfigError, match="^workers: must be .*, not '-1'$") as error:
        ServiceConfig.from_env(workers=-1)
    assert error.value.field == "workers"
    monkeypatch.setenv("MSR_SECRET_KEY", "too short")
    with pytest.raises(ConfigError, match="MSR_SECRET_KEY: .*at least 16 characters") as error:
        ServiceConfig.from_env()
    assert "too short" not in str(error.value)
    monkeypatch.delenv("MSR_SECRET_KEY")
    with pytest.raises(ConfigError, match="no such setting.*MSR_WORKERS"):
        ServiceConfig.from_env(thread=1)


def test_the_default_is_full_or_else_light(models_dir, tmp_path, monkeypatch):
    for name in ("tiny", "light", "full"):
        shutil.copytree(models_dir / "tiny", tmp_path / name)
        card = read_json(tmp_path / name / "card.json")
        write_json(tmp_path / name / "card.json", card | {"name": name})

    def default() -> str:
        models = (
            create_app(ServiceConfig(models_dir=tmp_path, workers=0))
            .test_client()
            .get("/v1/models")
            .json["models"]
        )
        (name,) = [model["name"] for model in models if model["default"]]
        assert load_default(tmp_path).name == name
        return name

    assert default() == "full"
    # A bundle whose pretrained weights were not fetched is left out.
    features = FeatureConfig(("musicnn",))
    write_json(tmp_path / "full" / "features.json", features.to_json())
    card = read_json(tmp_path / "full" / "card.json")
    write_json(tmp_path / "full" / "card.json", card | {"feature_hash": features.hash})
    monkeypatch.setenv("MSR_WEIGHTS", str(tmp_path / "none"))
    features_weights.session.cache_clear()
    assert default() == "light"
    shutil.rmtree(tmp_path / "light")
    assert default() == "tiny"
    shutil.rmtree(tmp_path / "tiny")
    with pytest.raises(PretrainedWeightsMissing, match="msr weights fetch"):
        create_app(ServiceConfig(models_dir=tmp_path, workers=0))
    features_weights.session.cache_clear()


def test_start_needs_a_model(models_dir, tmp_path):
    with pytest.raises(ConfigError, match="no model bundle"):
        create_app(ServiceConfig(models_dir=tmp_path, workers=0))
    with pytest.raises(ConfigError, match="default_model: .*'nope'.*a-window, tiny"):
        create_app(ServiceConfig(models_dir=models_dir, default_model="nope", workers=0))


def one_line_error(capsys) -> str:
    captured = capsys.readouterr()
    assert captured.out == ""
    (line,) = captured.err.splitlines()
    return line


def test_port_in_use_is_one_line_and_exit_code_1(models_dir, server, capsys):
    port = server.rpartition(":")[2]
    assert main(["--port", port, "--models", str(models_dir)]) == 1
    assert f"127.0.0.1:{port}: Address already in use" in one_line_error(capsys)


def test_altered_bundle_is_one_line_and_exit_code_1(models_dir, tmp_path, capsys):
    shutil.copytree(models_dir / "tiny", tmp_path / "tiny")
    with (tmp_path / "tiny" / "model.onnx").open("ab") as file:
        file.write(b"!")
    assert main(["--port", "0", "--models", str(tmp_path)]) == 1
    assert "bundle tiny: model.onnx" in one_line_error(capsys)


@pytest.mark.parametrize("port", ["70000", "-1", "http"])
def test_wrong_port_is_refused(port, capsys):
    with pytest.raises(SystemExit):
        main(["--port", port])
    assert "--port" in capsys.readouterr().err

"""The service over real HTTP: answers, options, headers, its document and its page."""

import io
import json
import re
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import requests
from needs import needs_pretrained_weights
from openapi_spec_validator import validate
from prometheus_client.parser import text_string_to_metric_families
from served import (
    BAD_FILES,
    FORMATS,
    FRIEND,
    GOOD,
    MAX_BYTES,
    MAX_SECONDS,
    NDJSON,
    app,
    assert_problem,
    assert_right,
    client,
    encoded,
    models_dir,
    post,
    server,
    sound,
    tiny,
)

from msr_utils import affect
from msr_utils.constants import FRAME_SECONDS, TARGETS
from msr_utils.inference.model import (
    FilePrediction,
    available,
    load,
)
from msr_utils.inference.prediction import Prediction, Smoother
from msr_utils.io import read_json, sha256_file
from msr_utils.paths import MODELS_DIR
from serve.app import create_app
from serve.config import ServiceConfig

__all__ = ["app", "client", "models_dir", "server", "tiny"]  # fixtures


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


def test_an_error_after_the_status_is_logged_and_counted(client, caplog):
    caplog.set_level("INFO", "serve")
    body = BAD_FILES["too long"][0]
    answer = client.post("/v1/predict", data=body, headers={"Accept": NDJSON})
    error = json.loads(answer.text.splitlines()[-1])["error"]
    answer.close()
    (fields,) = [r.fields for r in caplog.records if r.getMessage() == "request"]
    assert (fields["status"], fields["error_status"], fields["error"]) == (
        200,
        413,
        error["detail"],
    )
    metrics = client.get("/metrics").text
    assert 'msr_late_errors_total{route="/v1/predict",status="413"} 1.0' in metrics


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
        ("msr_late_errors", "counter"),
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
    bundles = {n: read_json(MODELS_DIR / n / "features.json") for n in available()}
    return [
        pytest.param(name, marks=needs_pretrained_weights(*used) if used else ())
        for name, used in ((n, [*b.get("pretrained", ())]) for n, b in bundles.items())
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
        "/v1/generate",
        "/v1/generators",
        "/healthz",
        "/readyz",
        "/metrics",
    }
    predict = document["paths"]["/v1/predict"]["post"]
    assert "multipart/form-data" in predict["requestBody"]["content"]
    assert set(predict["responses"]) == {
        "200", "400", "408", "413", "415", "422", "429", "503", "507",
    }  # fmt: skip
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
    # Without the weights of YAMNet there is no content; see `test_content_service`.
    given = set(schemas["Prediction"]["properties"]) - {"content"}
    assert set(answer) == set(example) == given - ends
    shipped = create_app(
        ServiceConfig(models_dir=MODELS_DIR, default_model="light", workers=0)
    ).test_client()
    bounded = shipped.post("/v1/predict", data=GOOD).json
    assert set(bounded) == given
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

"""Music from the service: notes, sound and MIDI while a worker composes; limits; hostile requests."""

from __future__ import annotations

import base64
import io
import json
import time

import numpy as np
import psutil
import pytest
import requests
import soundfile as sf
from live_service import service
from needs import needs_posix

from msr_utils.corpora.midi import read_midi
from msr_utils.generation.codes import as_notes
from msr_utils.generation.generator import Generator
from msr_utils.generation.limits import SAMPLE_RATE
from msr_utils.generation.request import EmotionCurve, MusicRequest
from msr_utils.generation.sound import sound_of
from msr_utils.generation.untrained import untrained_generator
from msr_utils.generation.wav import wav_header
from msr_utils.paths import MODELS_DIR
from serve import unread
from serve.app import create_app
from serve.compose.schemas import MAX_POINTS
from serve.config import ConfigError, ServiceConfig
from serve.lanes import Job
from serve.pool import WorkerPool
from serve.request_errors import RequestError, Unavailable
from serve.tasks import DONE, NOTE, SOUND, GenerateTask

PROBLEM = "application/problem+json"
NDJSON, WAV, MIDI = "application/x-ndjson", "audio/wav", "audio/midi"
MOOD = {"valence": 0.6, "arousal": -0.4}
FRIEND = "https://music.example"


@pytest.fixture(scope="module")
def generators(tmp_path_factory):
    """Two untrained generators, and a damaged one."""
    folder = tmp_path_factory.mktemp("generators")
    untrained_generator(folder / "gpt", "gpt")
    untrained_generator(folder / "lstm")
    damaged = untrained_generator(folder / "damaged")
    (damaged / "model.onnx").write_bytes(b"no network")
    return folder


@pytest.fixture(scope="module")
def client(generators):
    """A service in this process, for what needs no worker."""
    config = ServiceConfig(
        models_dir=MODELS_DIR, default_model="light", workers=0, generators_dir=generators,
        max_piece_seconds=20.0, max_per_client=2,
    )  # fmt: skip
    return create_app(config).test_client()


@pytest.fixture(scope="module")
def running(generators, tmp_path_factory):
    """A service as its users run it. One client may have two requests at a time."""
    log = tmp_path_factory.mktemp("log") / "serve.log"
    values = {
        "default_model": "light", "workers": 1, "generators_dir": generators, "max_per_client": 2,
        "allowed_origins": FRIEND,
    }  # fmt: skip
    with service(MODELS_DIR, log, **values) as (process, address):
        yield process, address


@pytest.fixture
def url(running) -> str:
    return running[1]


def post(url: str, accept: str = NDJSON, stream: bool = False, **body):
    return requests.post(
        f"{url}/v1/generate",
        json={**MOOD, "seconds": 4, **body},
        headers={"Accept": accept},
        stream=stream,
        timeout=60,
    )


def records(response) -> tuple[list[dict], list[dict], dict]:
    """Notes, parts of the sound, and the summary."""
    assert response.status_code == 200, response.text
    lines = [json.loads(line) for line in response.text.splitlines()]
    assert [set(line) for line in lines[-1:]] == [{"done"}]
    return (
        [line for line in lines if "pitch" in line],
        [line["sound"] for line in lines if "sound" in line],
        lines[-1]["done"],
    )


def expected(generators, name: str, seconds: float = 4.0, seed: int = 1, curve=None) -> list:
    """What the generator itself writes."""
    curve = curve or EmotionCurve.constant(**MOOD)
    return [*Generator.load(generators / name).notes(MusicRequest(curve, seconds, seed))]


def problem(response, status: int, field: str | None) -> str:
    assert response.status_code == status, response.text
    assert response.headers["Content-Type"] == PROBLEM
    document = json.loads(response.text)
    assert document.get("field") == field, document
    assert field is None or document["detail"].startswith(f"{field}: ")
    return document["detail"]


# ------------------------------------------------------------------------------ answers


@pytest.mark.slow
def test_notes_sound_and_midi_are_those_of_the_generator(url, generators):
    wanted = expected(generators, "gpt")
    notes, sounds, done = records(post(url))
    assert [(n["pitch"], n["velocity"]) for n in notes] == [(n.pitch, n.velocity) for n in wanted]
    times = [[n["start_s"], n["length_s"]] for n in notes]
    np.testing.assert_allclose(times, [n[:2] for n in wanted], atol=6e-5)
    assert sounds == [] and done["notes"] == len(notes)
    assert (done["generator"], done["seed"], done["seconds"]) == ("gpt", 1, 4.0)

    samples = np.concatenate([*sound_of(wanted, 4.0)])
    answer = post(url, WAV)
    assert answer.headers["Content-Type"] == WAV
    assert int(answer.headers["Content-Length"]) == len(answer.content)
    assert answer.content == wav_header(len(samples)) + samples.tobytes()

    answer = post(url, MIDI)
    assert answer.headers["Content-Type"] == MIDI
    midi = answer.content
    notes, sounds, done = records(post(url, include=["audio", "midi"]))
    pcm = b"".join(base64.b64decode(part["pcm_s16le"]) for part in sounds)
    assert pcm == samples.tobytes() and done["sample_rate"] == SAMPLE_RATE
    starts = np.cumsum([0] + [len(base64.b64decode(part["pcm_s16le"])) // 2 for part in sounds])
    assert [part["start_s"] for part in sounds] == [n / SAMPLE_RATE for n in starts[:-1]]
    assert base64.b64decode(done["midi"]) == midi


@pytest.mark.slow
def test_a_midi_file_is_read_by_others(url, generators, tmp_path):
    file = tmp_path / "piece.mid"
    file.write_bytes(post(url, MIDI, generator="lstm", seed=5).content)
    notes, wanted = read_midi(file), as_notes(expected(generators, "lstm", seed=5))
    np.testing.assert_array_equal(notes.pitch, wanted.pitch)
    np.testing.assert_allclose(notes.start_s, wanted.start_s, atol=1e-3)


@pytest.mark.slow
def test_a_curve_may_be_that_of_a_prediction(url, generators):
    sound = post(url, WAV, seconds=3).content
    curves = requests.post(f"{url}/v1/predict", data=sound, timeout=20).json()
    curve = {name: curves[name] for name in ("times_s", "valence", "arousal")}
    body = {"curve": curve, "seconds": 4, "seed": 2}
    answer = requests.post(f"{url}/v1/generate", json=body, timeout=20)
    wanted = expected(generators, "gpt", seed=2, curve=EmotionCurve(*curve.values()))
    assert [n["pitch"] for n in records(answer)[0]] == [n.pitch for n in wanted]


@pytest.mark.slow
def test_the_first_note_comes_at_once(url):
    post(url)  # A worker loads the generator at its first piece.
    seconds = []
    for seed in range(5):
        began = time.perf_counter()
        with post(url, stream=True, seconds=120, seed=seed) as answer:
            line = next(answer.iter_lines())
            seconds.append(time.perf_counter() - began)
        assert "pitch" in json.loads(line)
    assert min(seconds) < 0.3


def test_the_format_comes_from_the_body_or_from_accept(client):
    for body, accept, kind in (
        ({}, "*/*", NDJSON),
        ({}, "text/html,*/*;q=0.1", NDJSON),
        ({}, "audio/x-wav", WAV),
        ({}, "audio/*", WAV),
        ({"format": "midi"}, WAV, MIDI),
        ({"format": "wav"}, "*/*", WAV),
        ({"format": "notes"}, MIDI, NDJSON),
    ):
        answer = client.post(
            "/v1/generate", json={**MOOD, "seconds": 1, **body}, headers={"Accept": accept}
        )
        assert (answer.status_code, answer.mimetype) == (200, kind)
        assert answer.headers["Vary"] == "Accept"
        assert answer.headers["Cache-Control"] == "no-store"
        answer.close()


def test_generators_are_listed_with_their_cards(client, generators):
    listed = client.get("/v1/generators").json
    assert [(g["name"], g["default"]) for g in listed["generators"]] == [
        ("gpt", True), ("lstm", False)
    ]  # fmt: skip
    card = json.loads((generators / "gpt" / "card.json").read_text())
    assert listed["generators"][0]["card"] == card
    assert card["model_sha256"].startswith(listed["generators"][0]["version"])
    assert (listed["max_seconds"], listed["sample_rate"]) == (20.0, SAMPLE_RATE)


def test_a_service_without_generators_composes_nothing(tmp_path):
    config = ServiceConfig(
        models_dir=MODELS_DIR, default_model="light", workers=0, generators_dir=tmp_path
    )
    client = create_app(config).test_client()
    assert client.get("/v1/generators").json["generators"] == []
    assert "no generator" in problem(client.post("/v1/generate", json=MOOD), 404, "generator")
    with pytest.raises(ConfigError, match="default_generator: there is no generator 'gpt'"):
        create_app(config.model_copy(update={"default_generator": "gpt"}))


# ------------------------------------------------------------------------------ hostile requests


HUGE = "1" + "0" * 5000
BODIES = [
    ('{"valence": NaN, "arousal": 0}', "valence"),
    ('{"valence": 0, "arousal": Infinity}', "arousal"),
    ('{"valence": 1.01, "arousal": 0}', "valence"),
    ('{"valence": "0.5", "arousal": 0}', "valence"),
    ('{"valence": true, "arousal": 0}', "valence"),
    ('{"valence": null, "arousal": 0}', "valence"),
    ('{"valence": [0.5], "arousal": 0}', "valence"),
    ('{"valence": 0}', "arousal"),
    ("{}", "valence"),
    ('{"valence": 0, "arousal": 0, "seconds": 1e9}', "seconds"),
    ('{"valence": 0, "arousal": 0, "seconds": 1e999}', "seconds"),
    ('{"valence": 0, "arousal": 0, "seconds": 0}', "seconds"),
    ('{"valence": 0, "arousal": 0, "seconds": -3}', "seconds"),
    (f'{{"valence": 0, "arousal": 0, "seconds": 1{"0" * 400}}}', "seconds"),
    ('{"valence": 0, "arousal": 0, "seed": -1}', "seed"),
    ('{"valence": 0, "arousal": 0, "seed": 1.5}', "seed"),
    ('{"valence": 0, "arousal": 0, "seed": 1e300}', "seed"),
    ('{"valence": 0, "arousal": 0, "seed": "1"}', "seed"),
    (f'{{"valence": 0, "arousal": 0, "seed": {HUGE}}}', None),
    ('{"valence": 0, "arousal": 0, "temperature": 0}', "temperature"),
    ('{"valence": 0, "arousal": 0, "temperature": -1}', "temperature"),
    ('{"valence": 0, "arousal": 0, "tempo": 120}', "tempo"),
    ('{"valence": 0, "arousal": 0, "generator": "../gpt"}', "generator"),
    ('{"valence": 0, "arousal": 0, "generator": "damaged"}', "generator"),
    ('{"valence": 0, "arousal": 0, "generator": 7}', "generator"),
    ('{"valence": 0, "arousal": 0, "format": "mp3"}', "format"),
    ('{"valence": 0, "arousal": 0, "include": ["audio"], "format": "wav"}', "include"),
    ('{"valence": 0, "arousal": 0, "include": "audio"}', "include"),
    ('{"curve": [[0, 0, 0]]}', "curve"),
    ('{"curve": {"times_s": [], "valence": [], "arousal": []}}', "curve.times_s"),
    ('{"curve": {"times_s": [0], "valence": [0]}}', "curve.arousal"),
    ('{"curve": {"times_s": [0, 1], "valence": [0], "arousal": [0, 0]}}', "curve.valence"),
    ('{"curve": {"times_s": [1, 0], "valence": [0, 0], "arousal": [0, 0]}}', "curve.times_s"),
    ('{"curve": {"times_s": [0, NaN], "valence": [0, 0], "arousal": [0, 0]}}', "curve.times_s.1"),
    ('{"curve": {"times_s": [-1], "valence": [0], "arousal": [0]}}', "curve.times_s.0"),
    ('{"curve": {"times_s": [0], "valence": [2], "arousal": [0]}}', "curve.valence.0"),
    ('{"curve": {"times_s": [0], "valence": [0], "arousal": [0], "x": 1}}', "curve.x"),
    ('{"curve": {"times_s": [0], "valence": [0], "arousal": [0]}, "valence": 0}', "curve"),
    ('{"curve":' + "[" * 50_000 + "}", None),
    ("[1, 2]", None),
    ('"music"', None),
    ("{", None),
    ("", "valence"),
]  # fmt: skip


@pytest.mark.parametrize(("body", "field"), BODIES, ids=[body[:60] for body, _ in BODIES])
def test_hostile_bodies_get_a_problem_that_names_the_field(client, body, field):
    answer = client.post("/v1/generate", data=body, content_type="application/json")
    problem(answer, 400, field)


def test_other_refusals_name_the_field_too(client):
    assert "longer than the 20 s" in problem(
        client.post("/v1/generate", json={**MOOD, "seconds": 21}), 422, "seconds"
    )
    for kind in ("application/x-www-form-urlencoded", "text/plain", None):
        answer = client.post("/v1/generate", data=json.dumps(MOOD), content_type=kind)
        assert "application/json" in problem(answer, 415, "Content-Type")
    most = [k / 100 for k in range(MAX_POINTS + 1)]
    curve = {"times_s": most, "valence": [0.0] * len(most), "arousal": [0.0] * len(most)}
    problem(client.post("/v1/generate", json={"curve": curve}), 400, "curve.times_s")
    assert client.get("/v1/generate").status_code == 405


@pytest.mark.slow
def test_a_body_of_a_million_points_is_not_even_read(url):
    points = ", ".join("0.123456" for _ in range(1_000_000))
    body = f'{{"curve": {{"times_s": [{points}]}}}}'
    answer = requests.post(
        f"{url}/v1/generate", data=body, headers={"Content-Type": "application/json"}, timeout=20
    )
    assert "send fewer points" in problem(answer, 413, "curve")


# ------------------------------------------------------------------------------ limits


def metric(url: str, name: str) -> float:
    lines = requests.get(f"{url}/metrics", timeout=10).text.splitlines()
    return sum(float(line.split()[-1]) for line in lines if line.startswith(name))


def wait_for(condition, seconds: float = 10) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.02)


@pytest.mark.slow
@pytest.mark.parametrize("accept", [NDJSON, WAV, MIDI])
def test_the_work_of_a_client_who_hangs_up_stops(url, accept):
    killed = 'msr_workers_killed_total{reason="abandoned"}'
    before = metric(url, killed)
    if accept == MIDI:
        with pytest.raises(requests.exceptions.Timeout):
            requests.post(
                f"{url}/v1/generate", json={**MOOD, "seconds": 300}, headers={"Accept": accept},
                timeout=0.2,
            )  # fmt: skip
    else:
        with post(url, accept, stream=True, seconds=300) as answer:
            next(answer.iter_content(1))
    wait_for(lambda: metric(url, killed) == before + 1)
    wait_for(lambda: metric(url, "msr_requests_in_flight{") == 0)
    wait_for(lambda: post(url, seconds=1).status_code == 200)


@needs_posix
@pytest.mark.slow
@pytest.mark.parametrize("accept", [NDJSON, WAV])
def test_an_answer_whose_worker_dies_does_not_look_complete(running, accept):
    process, url = running
    with post(url, accept, stream=True, seconds=300) as answer:
        assert answer.status_code == 200
        parts = answer.iter_lines() if accept == NDJSON else answer.iter_content(1000)
        next(parts)
        (forker,) = psutil.Process(process.pid).children()
        for worker in forker.children():
            worker.kill()
        if accept == NDJSON:
            *_, last = parts
            assert json.loads(last)["error"]["status"] == 503
        else:
            with pytest.raises(requests.exceptions.RequestException):
                list(parts)
    wait_for(lambda: post(url, seconds=1).status_code == 200)


@pytest.mark.slow
def test_a_client_has_no_more_pieces_at_once_than_it_may(url):
    open_answers = [post(url, WAV, stream=True, seconds=300, seed=k) for k in range(2)]
    assert [answer.status_code for answer in open_answers] == [200, 200]
    answer = post(url)
    problem(answer, 429, None)
    assert answer.headers["Retry-After"]
    for one in open_answers:
        one.close()
    wait_for(lambda: post(url, seconds=1).status_code == 200)


@pytest.mark.slow
def test_pages_of_allowed_sites_may_read_the_answer(url):
    headers = {"Origin": FRIEND, "Access-Control-Request-Method": "POST"}
    answer = requests.options(f"{url}/v1/generate", headers=headers, timeout=10)
    assert answer.headers["Access-Control-Allow-Origin"] == FRIEND


@pytest.mark.slow
def test_limits_of_time_of_memory_and_of_unread_answers_name_the_length(generators, monkeypatch):
    from serve import pool as pool_module

    task = GenerateTask(generators / "gpt", ((0.0, 0.6, -0.4),), 10.0, 1, 1.0, audio=True)
    monkeypatch.setattr(pool_module, "UnreadAnswers", lambda: unread.UnreadAnswers(300_000))
    config = ServiceConfig(models_dir=MODELS_DIR, workers=1, generators_dir=generators)
    pool = WorkerPool(config)
    try:
        pool.load()
        # A reader that keeps up gets it all, although it is more than may be unread.
        kinds = [answer.kind for answer in pool.run(task, "a")]
        assert kinds[-1] == DONE and {NOTE, SOUND} == {*kinds[:-1]}
        # One that does not read is cut.
        answers = pool.run(task, "a")
        next(answers)
        time.sleep(1)
        with pytest.raises(Unavailable, match="answers that are not read"):
            list(answers)
        with monkeypatch.context() as patched:
            patched.setattr(pool_module, "TASK_BYTES", -1)
            with pytest.raises(RequestError, match="^seconds: takes more memory") as error:
                list(pool.run(task, "a"))
            assert error.value.status == 422
        object.__setattr__(
            pool._config, "__dict__", {**pool._config.__dict__, "max_work_seconds": 0.01}
        )
        with pytest.raises(RequestError, match="^seconds: not done after 0.01 s") as error:
            list(pool.run(task, "a"))
        assert error.value.status == 503
    finally:
        pool.close()


def test_unread_answers_are_counted_by_job():
    counted = unread.UnreadAnswers(100)
    small, large = (Job(None, None, name, "short") for name in ("small", "large"))
    counted.add(small, 40)
    counted.add(large, 50)
    assert counted.too_much() is None
    counted.add(large, 20)
    assert counted.too_much() is large
    counted.take(large, 30)
    assert counted.too_much() is None
    counted.add(small, 50)
    assert counted.too_much() is small
    counted.forget(small)
    counted.take(small, 90)  # It was forgotten: nothing is left to be counted.
    assert counted.too_much() is None


def test_a_wav_answer_is_read_by_others(client):
    answer = client.post("/v1/generate", json={**MOOD, "seconds": 2, "format": "wav"})
    samples, rate = sf.read(io.BytesIO(answer.data), dtype="int16")
    assert (rate, len(samples)) == (SAMPLE_RATE, 4 * SAMPLE_RATE)
    assert np.abs(samples).max() > 1000

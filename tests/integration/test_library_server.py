"""The library over HTTP: audio in parts, the token, processes that die."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor

import postgres
import psutil
import pytest
import requests
from environment import without_settings
from needs import needs_linux, needs_postgres
from served_library import HOLDER, MEANS, PROBLEM, TOKEN, URL, app_of, client, folder, problem
from toy_library import drawn_library

from msr_utils.paths import MODELS_DIR, PROJECT_ROOT
from serve.app import create_app
from serve.audio_files import MAX_RANGE_BYTES
from serve.config import ServiceConfig
from serve.front import LIBRARY_BODY_BYTES
from serve.library.messages import write_message
from serve.library.runner import ProcessRunner, QueryProcess
from serve.library.schemas import Filters as FiltersSchema
from serve.library.schemas import FindQuery

__all__ = ["client", "folder"]  # fixtures


# ------------------------------------------------------------------------------ audio


def test_audio_comes_in_parts(client, folder):
    path = f"{URL}/tracks/1/audio"
    content = (folder / "music" / "album" / "tone 000.flac").read_bytes()
    assert len(content) > MAX_RANGE_BYTES
    whole = client.get(path)
    assert (whole.status_code, whole.data) == (200, content)
    assert whole.mimetype in ("audio/flac", "audio/x-flac")
    assert (
        whole.headers["Accept-Ranges"] == "bytes" and "no-cache" in whole.headers["Cache-Control"]
    )
    first = client.get(path, headers={"Range": "bytes=0-"})
    assert first.status_code == 206 and first.data == content[:MAX_RANGE_BYTES]
    total = len(content)
    assert first.headers["Content-Range"] == f"bytes 0-{MAX_RANGE_BYTES - 1}/{total}"
    middle = client.get(path, headers={"Range": "bytes=1000-1999"})
    assert middle.data == content[1000:2000]
    last = client.get(path, headers={"Range": "bytes=-10"})
    assert last.data == content[-10:]
    assert client.head(path).headers["Content-Length"] == str(total)
    for ignored in ("bytes=5-1", "items=0-5", "bytes=0-5,10-15", "bytes", f"bytes={'1' * 5000}-"):
        answer = client.get(path, headers={"Range": ignored})
        assert (answer.status_code, answer.data) == (200, content), ignored
        assert "Content-Range" not in answer.headers
    long = client.get(path, headers={"Range": f"bytes=-{total + 5}"})
    assert (long.status_code, long.data) == (206, content[:MAX_RANGE_BYTES])
    for outside in (f"bytes={total}-", f"bytes={total + 5}-{total + 9}"):
        refused = client.get(path, headers={"Range": outside})
        problem(refused, 416)
        assert refused.headers["Content-Range"] == f"bytes */{total}"
    kept = client.get(path, headers={"If-None-Match": whole.headers["ETag"]})
    assert kept.status_code == 304


def test_only_files_of_the_index_are_sent(tmp_path):
    made = drawn_library(tmp_path, MEANS[:6])
    music = tmp_path / "music" / "album"
    kept = music.parent / "kept.flac"
    (music / "tone 005.flac").rename(kept)
    links = hasattr(os, "symlink") and os.name != "nt"
    if links:  # A link to a file that is unchanged since it was indexed.
        (music / "tone 005.flac").symlink_to(kept)
    else:
        kept.rename(music / "tone 005.flac")
    made.close()
    (music / "tone 000.flac").unlink()
    (music / "tone 001.flac").unlink()
    (music / "tone 001.flac").mkdir()
    (music / "tone 002.flac").rename(music / "tone 002.html")
    secret = tmp_path / "secret.txt"
    secret.write_text("not for clients")
    (music / "tone 003.flac").unlink()
    if links:
        (music / "tone 003.flac").symlink_to(secret)
    else:
        secret.rename(music / "tone 003.flac")
    os.utime(music / "tone 004.flac", ns=(1, 10**18))
    client = app_of(tmp_path).test_client()
    for number in range(1, 6):
        detail = problem(client.get(f"{URL}/tracks/{number}/audio"), 404, "track")
        assert "rescan" in detail and str(tmp_path) not in detail
        assert ("changed since" in detail) == (number in (4, 5))
    whole = client.get(f"{URL}/tracks/6/audio").data
    assert whole.startswith(b"fLaC") and len(whole) < MAX_RANGE_BYTES
    suffix = client.get(f"{URL}/tracks/6/audio", headers={"Range": f"bytes=-{len(whole) + 9}"})
    assert suffix.data == whole


# ------------------------------------------------------------------------------ over HTTP


@pytest.fixture(scope="module")
def server(folder, tmp_path_factory):
    """The service with workers, as its users run it."""
    log = tmp_path_factory.mktemp("library-log") / "serve.log"
    settings = without_settings()
    settings |= {"MSR_LIBRARY_TOKEN": TOKEN, "MSR_WORKERS": "1", "MSR_DEFAULT_MODEL": "light"}
    command = [sys.executable, "-m", "serve", "--port", "0", "--library", str(folder / "library")]
    with log.open("w") as file:
        process = subprocess.Popen(
            command, cwd=PROJECT_ROOT, env=settings, stdout=subprocess.PIPE, stderr=file, text=True
        )
    announced = re.search(r"http://\S+", process.stdout.readline())
    assert announced, log.read_text()
    yield announced[0], process, log
    process.terminate()
    process.wait(30)
    assert "Traceback" not in log.read_text() and TOKEN not in log.read_text()


@pytest.mark.slow
def test_the_service_answers_beside_the_library(server):
    url, process, _ = server
    # The library is not opened before somebody asks.
    started = {child.pid for child in psutil.Process(process.pid).children(recursive=True)}
    assert requests.get(f"{url}/readyz", timeout=5).status_code == 200
    assert requests.get(url + URL, timeout=20).json()["tracks"] == 24
    asked = {child.pid for child in psutil.Process(process.pid).children(recursive=True)}
    assert len(asked - started) == 1
    with ThreadPoolExecutor(8) as pool:
        body = {"scenes": [{"start_s": 0, "end_s": 20, "mood": {"word": "calm"}}] * 5}
        answers = [
            pool.submit(requests.post, f"{url}{URL}/scenes", json=body, timeout=30)
            for _ in range(8)
        ]
        slowest = 0.0
        while not all(answer.done() for answer in answers):
            began = time.perf_counter()
            assert requests.get(f"{url}/healthz", timeout=5).status_code == 200
            assert requests.get(url, timeout=5).status_code == 200
            slowest = max(slowest, time.perf_counter() - began)
    assert {answer.result().status_code for answer in answers} == {200}
    assert slowest < 1


@pytest.mark.slow
def test_limits_and_parts_over_http(server, folder):
    url, _, _ = server
    large = requests.post(f"{url}{URL}/path", data=b" " * (LIBRARY_BODY_BYTES + 1), timeout=10)
    assert (large.status_code, large.headers["Content-Type"]) == (413, PROBLEM)
    chunked = requests.post(
        f"{url}{URL}/path", data=iter([b"[" * 100_000] * 4), timeout=10,
        headers={"Content-Type": "application/json"},
    )  # fmt: skip
    assert chunked.status_code == 413
    content = (folder / "music" / "album" / "tone 000.flac").read_bytes()
    taken = b""
    while len(taken) < len(content):  # As a player asks.
        part = requests.get(
            f"{url}{URL}/tracks/1/audio", headers={"Range": f"bytes={len(taken)}-"}, timeout=10
        )
        assert part.status_code == 206 and 0 < len(part.content) <= MAX_RANGE_BYTES
        taken += part.content
    assert taken == content
    named = requests.post(
        f"{url}{URL}/playlist", params={"format": "csv", "name": "音楽"},
        json={"tracks": [3]}, timeout=10,
    )  # fmt: skip
    assert named.status_code == 200 and "UTF-8''%E9" in named.headers["Content-Disposition"]
    digits = requests.get(f"{url}{URL}/tracks/{'1' * 4000}/audio", timeout=10)
    assert (digits.status_code, digits.headers["Content-Type"]) == (404, PROBLEM)
    like = {"track": 2, "kind": "like"}
    noted = requests.post(f"{url}{URL}/preferences", json=like, headers=HOLDER, timeout=10)
    assert noted.status_code == 200
    assert requests.delete(f"{url}{URL}/preferences", headers=HOLDER, timeout=10).ok


@pytest.mark.slow
@needs_linux
def test_a_process_that_dies_is_replaced(server):
    url, process, log = server
    assert requests.get(url + URL, timeout=20).ok
    of_library = [
        child
        for child in psutil.Process(process.pid).children()
        if any("serve.library.process" in part for part in child.cmdline())
    ]
    assert 1 <= len(of_library) <= 2
    for child in of_library:
        child.kill()
        while child.is_running() and child.status() != psutil.STATUS_ZOMBIE:
            time.sleep(0.01)
    assert requests.get(url + URL, timeout=20).status_code == 200
    assert "a process of the library died" in log.read_text()


@pytest.mark.slow
def test_a_question_that_takes_too_long_is_given_up(folder):
    config = ServiceConfig(
        models_dir=MODELS_DIR, workers=1, library=folder / "library", max_work_seconds=0.05
    )
    runner = ProcessRunner(config)
    # Its start alone takes longer.
    with pytest.raises(Exception, match="library: not done after 0.05 s"):
        runner.ask("about", {"writable": False})
    runner.close()


@pytest.mark.slow
def test_a_process_ends_with_the_front(folder):
    process = QueryProcess(folder / "library")
    scenes = [{"start_s": 0, "end_s": 20, "label": "", "mood": {"word": "calm"}, "to": None,
               "curve": []}] * 2000  # fmt: skip
    options = {"scenes": scenes, "count": 5, "filters": FiltersSchema().load({})}
    write_message(process._process.stdin, json.dumps(["scenes", options]).encode())
    time.sleep(1)
    began = time.perf_counter()
    process._process.stdin.close()  # As the system does when the front is killed.
    process._process.wait(20)
    assert time.perf_counter() - began < 5
    process.close()


@pytest.mark.slow
@needs_postgres
def test_a_library_of_many_machines_is_served(tmp_path):
    with postgres.running() as url:
        drawn_library(tmp_path, MEANS[:6], store=url).close()
        config = ServiceConfig(
            models_dir=MODELS_DIR, workers=1, library=tmp_path / "library", library_store=url
        )
        runner = ProcessRunner(config)
        try:
            about = json.loads(runner.ask("about", {"writable": True}).data)
            assert about["tracks"] == 6
            one = {"listener": "me", "track": 3, "kind": "like", "stars": None}
            assert json.loads(runner.ask("prefer", one).data)["value"] == 1
            said = json.loads(runner.ask("preferences", {"listener": "me"}).data)["preferences"]
            assert said[0]["track"]["id"] == 3
            query = FindQuery().load({"listener": "me"})
            assert len(json.loads(runner.ask("find", query).data)["results"]) == 6
        finally:
            runner.close()
    lost = ServiceConfig(
        models_dir=MODELS_DIR, workers=0, default_model="light", library=tmp_path / "library",
        library_store="postgresql+psycopg://msr:secret@127.0.0.1:1/nowhere",
    )  # fmt: skip
    detail = problem(create_app(lost).test_client().get(URL), 503, "library")
    assert "secret" not in detail and "127.0.0.1" in detail

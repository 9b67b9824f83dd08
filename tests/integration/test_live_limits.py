"""Limits of the service under load: full lanes, clients that leave or are slow, the end."""

import io
import json
import re
import signal
import socket
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from functools import partial

import numpy as np
import pytest
import requests
import soundfile as sf
from live_service import assert_problem, models_dir, service

__all__ = ["models_dir"]  # fixtures


# ------------------------------------------------------------------------------ load and end


def in_flight(url: str) -> int:
    """Requests that run now, in all lanes."""
    text = requests.get(f"{url}/metrics", timeout=10).text
    return sum(int(n) for n in re.findall(r"msr_requests_in_flight\{.*\} (\d+)\.0", text))


@pytest.fixture(scope="module")
def long_file() -> bytes:
    """Takes seconds to predict and little to send."""
    file = io.BytesIO()
    sf.write(file, np.zeros(880 * 8_000, np.float32), 8_000, format="FLAC")
    return file.getvalue()


@pytest.mark.slow
def test_too_many_at_once_are_told_to_come_back(models_dir, tmp_path, long_file):
    with service(models_dir, tmp_path / "log", workers=1, max_queue=1) as (_, url):
        with ThreadPoolExecutor(6) as pool:
            asked = [
                pool.submit(requests.post, f"{url}/v1/predict", data=long_file, timeout=60)
                for _ in range(6)
            ]
            answers = [each.result() for each in asked]
        refused = [answer for answer in answers if answer.status_code == 503]
        assert [answer.status_code for answer in answers].count(200) >= 2
        assert refused
        for answer in refused:
            assert_problem(answer, 503, None, "busy")
            assert int(answer.headers["Retry-After"]) > 0
        assert requests.post(f"{url}/v1/predict", data=long_file, timeout=60).status_code == 200
    lines = [json.loads(line) for line in (tmp_path / "log").read_text().splitlines()]
    logged = [line for line in lines if line["message"] == "request"]
    assert [line["status"] for line in logged].count(503) == len(refused)
    answered = [line for line in logged if line["status"] == 200]
    for line in answered:
        assert {"method": "POST", "route": "/v1/predict", "audio_s": 880.0}.items() <= line.items()
        assert line["request_id"]


@pytest.mark.slow
def test_client_that_goes_away_frees_its_place(models_dir, tmp_path, long_file):
    with service(models_dir, tmp_path / "log", workers=1, max_queue=1) as (_, url):
        headers = {"Accept": "application/x-ndjson"}
        options = {"data": long_file, "headers": headers, "stream": True, "timeout": 60}
        for _ in range(3):
            with requests.post(f"{url}/v1/predict", **options) as response:
                assert b"time_s" in next(response.iter_lines())
        response = requests.post(f"{url}/v1/predict", data=long_file, timeout=60)
        assert response.status_code == 200
        assert in_flight(url) == 0


@pytest.mark.slow
def test_work_that_takes_too_long_is_ended(models_dir, tmp_path, long_file):
    with service(models_dir, tmp_path / "log", max_work_seconds=0.01) as (_, url):
        response = requests.post(f"{url}/v1/predict", data=long_file, timeout=60)
        assert_problem(response, 503, "file", "not done after 0.01 s")
        # The first block was in time or not: lines, then the same problem.
        lines = requests.post(
            f"{url}/v1/predict",
            data=long_file,
            headers={"Accept": "application/x-ndjson"},
            timeout=60,
        )
        if lines.status_code == 503:
            assert_problem(lines, 503, "file", "not done after 0.01 s")
        else:
            last = json.loads(lines.text.splitlines()[-1])
            assert last["error"]["status"] == 503


@pytest.mark.slow
def test_stopping_finishes_what_was_begun(models_dir, tmp_path, long_file):
    with service(models_dir, tmp_path / "log") as (process, url):
        with ThreadPoolExecutor(1) as pool, requests.Session() as session:
            assert session.get(f"{url}/readyz", timeout=10).json()["status"] == "ready"
            job = pool.submit(requests.post, f"{url}/v1/predict", data=long_file, timeout=60)
            while in_flight(url) != 1:
                time.sleep(0.02)
            process.send_signal(signal.SIGTERM)
            time.sleep(0.3)
            # The connection that there is still answers, a new one does not.
            assert session.get(f"{url}/readyz", timeout=10).status_code == 503
            with pytest.raises(requests.ConnectionError):
                requests.get(f"{url}/healthz", timeout=10)
            response = job.result()
        assert response.status_code == 200
        assert len(response.json()["valence"]) == 1760
        assert process.wait(20) == 0


# ------------------------------------------------------------------------------ slow and greedy


@pytest.mark.slow
def test_request_that_does_not_arrive_is_ended(models_dir, tmp_path):
    with service(models_dir, tmp_path / "log", max_receive_seconds=1) as (_, url):
        host, port = url.removeprefix("http://").split(":")
        with socket.create_connection((host, int(port)), timeout=20) as slow:
            slow.sendall(
                b"POST /v1/predict HTTP/1.1\r\nHost: localhost\r\nContent-Length: 99\r\n\r\nRIFF"
            )
            start = time.monotonic()
            head, _, body = (
                b"".join(iter(lambda: slow.recv(65536), b"")).decode().partition("\r\n\r\n")
            )
            assert 0.9 < time.monotonic() - start < 15
        assert head.startswith("HTTP/1.1 408 Request Timeout")
        assert "content-type: application/problem+json" in head.lower()
        document = json.loads(body)
        assert (document["status"], document["title"]) == (408, "Request Timeout")
        assert "it took more than 1 s" in document["detail"]
        assert f"x-request-id: {document['request_id']}" in head.lower()
        # A connection that is kept open between requests is none of these.
        with requests.Session() as session:
            assert session.get(f"{url}/healthz", timeout=10).status_code == 200
            time.sleep(2.5)
            assert session.get(f"{url}/healthz", timeout=10).status_code == 200
        text = requests.get(f"{url}/metrics", timeout=10).text
        assert 'msr_requests_total{route="",status="408"} 1' in text


@pytest.mark.slow
def test_client_has_a_share_and_its_proxy_is_believed(models_dir, tmp_path):
    file = io.BytesIO()
    sf.write(file, np.zeros(200 * 8_000, np.float32), 8_000, format="FLAC")
    settings = {"max_per_client": 1, "workers": 2, "trusted_proxy": "127.0.0.1"}
    with service(models_dir, tmp_path / "log", **settings) as (_, url):
        ask = partial(requests.post, f"{url}/v1/predict", data=file.getvalue(), timeout=60)
        with ThreadPoolExecutor(3) as pool:
            start = threading.Barrier(3)

            def client(address: str) -> requests.Response:
                start.wait(10)
                return ask(headers={"X-Forwarded-For": address})

            answers = [*pool.map(client, ["192.0.2.1", "192.0.2.1", "192.0.2.2"])]
        assert sorted(answer.status_code for answer in answers) == [200, 200, 429]
        assert answers[2].status_code == 200
        refused = next(answer for answer in answers if answer.status_code == 429)
        assert_problem(refused, 429, None, "at most 1 running or waiting")
        assert int(refused.headers["Retry-After"]) > 0
        assert ask(headers={"X-Forwarded-For": "192.0.2.1"}).status_code == 200

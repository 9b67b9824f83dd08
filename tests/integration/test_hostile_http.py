"""Attacks on the server over sockets: connections, heads, hosts, and its end."""

from __future__ import annotations

import re
import signal
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack

import numpy as np
import pytest
import requests
from attacked import (
    CHUNKED,
    POST,
    RECEIVE_SECONDS,
    answer_to,
    assert_alive,
    assert_refused,
    prober,
    read_answer,
    running,
    service,
    still_well,
)
from needs import needs_posix
from served import FRIEND, GOOD, assert_problem
from test_bad_uploads import silence

from serve.connections import MAX_HEAD_BYTES
from serve.headers import SECURITY_HEADERS

__all__ = ["assert_alive", "prober", "service", "still_well"]  # fixtures


# ------------------------------------------------------------------------------ connections


@needs_posix
@pytest.mark.parametrize("n", [100, 600])
def test_silent_connections_keep_nobody_out(service, n, assert_alive):
    import resource

    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(max(soft, 2_000), hard), hard))
    with requests.Session() as listener, ExitStack() as silent:
        assert listener.get(f"{service.url}/healthz", timeout=10).status_code == 200
        for _ in range(n):
            silent.enter_context(service.connect())
        assert_alive()
        answer = requests.post(f"{service.url}/v1/predict", data=GOOD, timeout=10)
        assert answer.status_code == 200
        # A client whose idle connection was closed opens another.
        assert listener.get(f"{service.url}/readyz", timeout=10).status_code == 200


def test_many_begun_heads_and_bodies_keep_nobody_out(service, assert_alive):
    with ExitStack() as attackers:
        for i in range(100):
            connection = attackers.enter_context(service.connect())
            connection.sendall(POST + b"Content-Length: 9999\r\n\r\n" if i % 2 else POST)
        assert_alive()
        answer = requests.post(f"{service.url}/v1/predict", data=GOOD, timeout=10)
        assert answer.status_code == 200


@pytest.mark.slow
def test_slow_head_is_ended(service):
    with service.connect() as slow, service.connect() as silent:
        start = time.monotonic()
        for byte in b"GET / HTTP/1.1\r\nX: " + b"x" * 1000:
            try:
                slow.sendall(bytes([byte]))
            except OSError:
                break
            if time.monotonic() - start > RECEIVE_SECONDS + 1:
                break
            time.sleep(0.1)
        assert_refused(read_answer(slow), 408, f"within {RECEIVE_SECONDS} s")
        assert silent.recv(1) == b""  # closed without a word


def test_pipelined_requests_are_answered_one_after_the_other(service):
    n = 200
    with service.connect() as connection:
        connection.sendall(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n" * (n - 1))
        connection.sendall(b"GET /readyz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
        received = b"".join(iter(lambda: connection.recv(65_536), b""))
    assert received.count(b"HTTP/1.1 200 OK") == n
    assert received.count(b'{"status":"ok"') == n - 1
    assert b'{"status":"ready"' in received[-1000:]


def test_client_that_asks_and_does_not_read_takes_no_memory(service, assert_alive):
    before = service.resident_mb()
    with ExitStack() as attackers:
        for _ in range(20):
            connection = attackers.enter_context(service.connect())
            connection.settimeout(0.1)
            try:
                for _ in range(20):
                    connection.sendall(b"GET /docs HTTP/1.1\r\nHost: localhost\r\n\r\n" * 500)
            except TimeoutError:
                pass
        assert_alive()
        assert service.resident_mb() < before + 30


# ------------------------------------------------------------------------------ heads


SMUGGLED = b"0\r\n\r\nGET /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n"
HEADS: dict[str, tuple[bytes, int, str]] = {
    "length, then coding": (
        POST + b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n" + SMUGGLED,
        400,
        "both of the headers Content-Length and Transfer-Encoding",
    ),
    "coding, then length": (
        POST + b"Transfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n" + SMUGGLED,
        400,
        "both of the headers Content-Length and Transfer-Encoding",
    ),
    "two lengths": (POST + b"Content-Length: 5\r\nContent-Length: 6\r\n\r\nRIFFxx", 400, "more than one header Content-Length"),
    "another coding": (POST + b"Transfer-Encoding: gzip, chunked\r\n\r\n" + SMUGGLED, 501, "chunked"),
    "long method": (b"SECRET" + b"A" * 100_000 + b" / HTTP/1.1\r\n\r\n", 400, "method"),
    "long known method": (b"GET" + b" " * 100_000, 431, "32 KB"),
    "long address": (b"GET /" + b"a" * 100_000 + b" HTTP/1.1\r\n\r\n", 431, "32 KB"),
    "long header": (POST + b"X: " + b"a" * 100_000 + b"\r\n\r\n", 431, "32 KB"),
    "many headers": (POST + b"X: y\r\n" * 20_000 + b"\r\n", 431, "32 KB"),
    "header that does not end": (POST + b"X: " + b"a" * MAX_HEAD_BYTES, 431, "32 KB"),
    "no host": (b"GET / HTTP/1.1\r\n\r\n", 400, "Host"),
    "two hosts": (b"GET / HTTP/1.1\r\nHost: localhost\r\nHost: evil\r\n\r\n", 400, "Host"),
    "space before the colon": (POST + b"Content-Length : 3\r\n\r\nabc", 400, "the name of a header"),
    "folded header": (POST + b"X: a\r\n b\r\nContent-Length : 3\r\n\r\nabc", 400, "in one line"),
    "lines without carriage return": (b"GET / HTTP/1.1\nHost: localhost\n\n", 400, "line feed"),
    "control character": (POST + b"X: a\x01\r\n\r\n", 400, "the value of a header"),
    "no length": (POST + b"Content-Length: 1e3\r\n\r\n", 400, "Content-Length must be a whole"),
    "TLS": (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc", 400, "use http"),
    "space in the address": (b"GET /a b HTTP/1.1\r\n\r\n", 400, "%20"),
    "letter in the address": (b"GET /\xe9 HTTP/1.1\r\n\r\n", 400, "percent-encoded"),
    "chunk without size": (POST + CHUNKED + b"x\r\n", 400, "size in hexadecimal digits"),
    "HTTP/2.0": (b"GET /healthz HTTP/2.0\r\nHost: localhost\r\n\r\n", 505, "HTTP/1.0 and HTTP/1.1"),
    "HTTP/1.2": (b"GET /healthz HTTP/1.2\r\nHost: localhost\r\n\r\n", 505, "HTTP/1.0 and HTTP/1.1"),
    "RTSP": (b"GET /healthz RTSP/1.0\r\nHost: localhost\r\n\r\n", 505, "HTTP/1.0 and HTTP/1.1"),
    "HTTP/0.9": (b"GET /healthz\r\n\r\n", 505, "HTTP/1.0 and HTTP/1.1"),
    "HTTP/2": (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 505, "HTTP/1.0 and HTTP/1.1"),
    "body and another protocol": (
        POST + b"Connection: Upgrade\r\nUpgrade: h2c\r\nContent-Length: 4\r\n\r\nRIFF", 400, "Upgrade",
    ),
    "tunnel": (b"CONNECT localhost:22 HTTP/1.1\r\nHost: localhost\r\n\r\n", 400, ""),
}  # fmt: skip


@pytest.mark.parametrize("name", HEADS)
def test_wrong_head_is_a_problem_and_ends_the_connection(service, name):
    head, status, words = HEADS[name]
    logged = len(service.log.read_bytes())
    answer = answer_to(service, head)
    assert_refused(answer, status, words)
    assert not re.search(
        rb"HTTP/1.1 \d", answer[2]
    )  # Nothing that follows was taken for a request.
    assert len(answer[2]) < 500 and b"SECRET" not in answer[2]
    for _ in range(500):  # A thread of its own writes the log.
        new = service.log.read_bytes()[logged:]
        if new.endswith(b"\n"):
            break
        time.sleep(0.01)
    assert max(map(len, new.splitlines())) < 500 and b"SECRET" not in new


@pytest.mark.parametrize("path", ["/v1/predict", "/v1/live?rate=8000"])
def test_compressed_uploads_are_refused(service, path):
    url = f"{service.url}{path}"
    for coding in ("gzip", "identity, br", "a" * 5_000):
        answer = requests.post(url, data=GOOD, headers={"Content-Encoding": coding}, timeout=10)
        assert_problem(answer, 415, "Content-Encoding", repr(coding)[:50], "without this header")
        assert answer.headers["Accept-Encoding"] == "identity" and len(answer.text) < 500
    plain = requests.post(url, data=GOOD, headers={"Content-Encoding": "Identity"}, timeout=10)
    assert plain.status_code == (200 if "predict" in path else 415)


def test_offer_of_another_protocol_is_declined(service):
    for protocol in ("websocket", "h2c"):
        headers = {"Connection": "Upgrade", "Upgrade": protocol}
        assert (
            requests.get(f"{service.url}/healthz", headers=headers, timeout=10).status_code == 200
        )


def test_page_of_another_site_may_read_its_refusal(service):
    origin = f"Origin: {FRIEND}\r\nX-Request-ID: mine\r\n".encode()
    for body in (b"Content-Length: 99999999\r\n\r\n", CHUNKED + b"x"):
        status, headers, _ = answer_to(service, POST + b"Expect: 100-continue\r\n" + origin + body)
        assert status in (400, 413)
        assert headers["access-control-allow-origin"] == FRIEND
        assert headers["cross-origin-resource-policy"] == "cross-origin"
        assert headers["x-request-id"] == "mine"


# ------------------------------------------------------------------------------ hosts and headers


def test_only_loopback_names_are_answered_on_a_loopback_address(service):
    port = service.address[1]
    for host in (
        "localhost",
        f"localhost:{port}",
        "127.0.0.1",
        f"[::1]:{port}",
        "LOCALHOST.",
        "[::1]",
    ):
        answer = requests.get(f"{service.url}/v1/models", headers={"Host": host}, timeout=10)
        assert answer.status_code == 200, host
    for host in (
        "evil.example",
        f"evil.example:{port}",
        "localhost.evil.example",
        "127.0.0.1.evil.example",
        "",
        "::1",
        "a" * 9_000,
    ):
        answer = requests.get(f"{service.url}/v1/models", headers={"Host": host}, timeout=10)
        assert_problem(answer, 421, None, "MSR_ALLOWED_HOSTS")
        assert "evil" not in answer.text
    # A probe may call the service by any name.
    probe = requests.get(f"{service.url}/healthz", headers={"Host": "10.0.0.7:8000"}, timeout=10)
    assert probe.status_code == 200


def test_no_answer_leads_to_another_address(service):
    for path in (
        "/v1//models",
        "//evil.example/v1/models",
        "/v1/models/",
        "/static/app.js/",
        "/static",
        "/docs/",
    ):
        answer = requests.get(service.url + path, timeout=10, allow_redirects=False)
        assert (answer.status_code, answer.headers.get("Location")) == (404, None), path


def test_headers_of_answers(service):
    kept = ("/", "/docs", "/openapi.json", "/static/app.js")
    for path in (*kept, "/v1/models", "/healthz", "/metrics", "/nope", "/static/nope"):
        answer = requests.get(service.url + path, timeout=10)
        assert answer.headers["Cache-Control"] == ("no-cache" if path in kept else "no-store")
        assert answer.headers["Cross-Origin-Resource-Policy"] == "same-origin"
        for name, value in SECURITY_HEADERS.items():
            assert answer.headers[name] == value
        assert len(answer.raw.headers.getlist("Date")) == 1
        if path in kept:
            asked = {"If-None-Match": answer.headers["ETag"]}
            again = requests.get(service.url + path, headers=asked, timeout=10)
            assert (again.status_code, again.content) == (304, b"")
    features = SECURITY_HEADERS["Permissions-Policy"].split(", ")
    assert "microphone=(self)" in features and "camera=()" in features
    answer = requests.get(f"{service.url}/v1/models", headers={"Origin": FRIEND}, timeout=10)
    assert answer.headers["Cross-Origin-Resource-Policy"] == "cross-origin"


def test_documentation_is_rendered_once(service):
    requests.get(f"{service.url}/docs", timeout=10)
    times = []
    for _ in range(7):
        start = time.perf_counter()
        page = requests.get(f"{service.url}/docs", timeout=10).text
        times.append(time.perf_counter() - start)
    assert np.median(times) < 0.03  # Rendering takes twice as long.
    assert f"{service.url}/v1/predict" in page
    assert "host.invalid" not in page


# ------------------------------------------------------------------------------ few connections, and the end


@pytest.mark.slow
@needs_posix
def test_few_connections_and_a_clean_stop(tmp_path):
    settings = {"max_connections": 32, "max_connections_per_client": 12, "stop_seconds": 6}
    with running(tmp_path / "log", **settings) as service, ExitStack() as clients:
        # The silent connection that is oldest makes room for another of the same client.
        silent = [clients.enter_context(service.connect()) for _ in range(14)]
        assert [each.recv(1) for each in silent[:2]] == [b"", b""]
        silent[-1].setblocking(False)
        with pytest.raises(BlockingIOError):
            silent[-1].recv(1)
        assert requests.get(f"{service.url}/healthz", timeout=10).status_code == 200
        for each in silent:
            each.close()
        # If none is idle, the newest of this client is refused.
        busy = [clients.enter_context(service.connect()) for _ in range(12)]
        for each in busy:
            each.sendall(POST + b"Content-Length: 9\r\n\r\nRIFF")
        time.sleep(0.2)
        with service.connect() as one_more:
            assert_refused(read_answer(one_more), 429, "at most 12 connections")
        # An upload that has stalled is told so when the service stops.
        start = time.monotonic()
        service.process.send_signal(signal.SIGTERM)
        for each in busy:
            assert_refused(read_answer(each), 503, "stopping")
        assert time.monotonic() - start < 5
        assert service.process.wait(10) == 0
    assert service.unexpected() == []


def test_an_open_connection_is_answered_without_delay(service):
    """Nagle's algorithm would hold back a part of the answer until a delayed ACK, after 40 ms."""
    with service.connect() as connection:
        seconds = []
        for _ in range(20):
            start = time.perf_counter()
            connection.sendall(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n")
            received = b""
            while not received.endswith(b"}\n") and not received.endswith(b"}"):
                received += connection.recv(65_536)
            seconds.append(time.perf_counter() - start)
    assert sorted(seconds)[10] < 0.03


@pytest.mark.slow
@needs_posix
def test_nobody_reads_the_log_and_a_prediction_outlasts_the_time_to_stop(tmp_path):
    """An hour of silence keeps a thread busy; the log goes into a pipe that is full."""
    with (
        running(None, stop_seconds=0.5, max_seconds=4_000) as service,
        ThreadPoolExecutor(1) as pool,
    ):
        with service.connect() as connection:
            # A pipe holds 64 KB; a line of the log has about 180 bytes.
            get = b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n"
            connection.sendall((get + b"\r\n") * 999 + get + b"Connection: close\r\n\r\n")
            received = b"".join(iter(lambda: connection.recv(65_536), b""))
        assert received.count(b"HTTP/1.1 200 OK") == 1000
        url = f"{service.url}/v1/predict"
        job = pool.submit(requests.post, url, data=silence(1), timeout=20)
        works = re.compile(r'msr_requests_in_flight\{lane="(short|long)"\} 1')
        for _ in range(1000):
            if works.search(requests.get(f"{service.url}/metrics", timeout=10).text):
                break
            time.sleep(0.01)
        else:
            pytest.fail("the request did not begin")
        service.process.send_signal(signal.SIGTERM)
        assert_problem(job.result(), 503, None, "stopping")
        assert service.process.wait(10) == 0

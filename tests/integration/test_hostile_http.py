"""Attacks on the server in front of the application: on connections, heads, bodies and hosts.

One service is attacked by all tests, with small limits. Each attack is made here, over sockets.
"""

from __future__ import annotations

import io
import itertools
import json
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import psutil
import pytest
import requests
from environment import without_settings
from needs import needs_posix
from test_serve import FRIEND, GOOD, PROBLEM, assert_problem, silence

from msr_utils.paths import MODELS_DIR, PROJECT_ROOT
from serve.connections import MAX_HEAD_BYTES
from serve.headers import SECURITY_HEADERS
from serve.multipart import BLOCK_BYTES, parse_form

PROBE_SECONDS = 0.05
"""Longest median time of /healthz under attack."""

RECEIVE_SECONDS = 4
"""Longest time that a request may take to arrive."""

SPOOL_BYTES = 8_000_000
MAX_BYTES = 3_000_000


@dataclass
class Service:
    """A running service."""

    process: subprocess.Popen[str]
    url: str
    log: Path

    @property
    def address(self) -> tuple[str, int]:
        host, port = self.url.removeprefix("http://").split(":")
        return host, int(port)

    def connect(self) -> socket.socket:
        return socket.create_connection(self.address, timeout=20)

    def resident_mb(self) -> float:
        return psutil.Process(self.process.pid).memory_info().rss / 1e6

    def unexpected(self) -> list[dict]:
        """Lines of the log that are not about a request that was answered, or not even JSON."""
        lines = map(json.loads, self.log.read_text().splitlines())
        return [
            line
            for line in lines
            if line["message"] != "request" and not line["message"].startswith("model left out")
        ]


@contextmanager
def running(log: Path | None, **values: object) -> Iterator[Service]:
    """Run the service; without a file for its log, nobody reads its log."""
    environment = without_settings()
    values |= {"default_model": "light", "models_dir": MODELS_DIR}
    environment |= {f"MSR_{name.upper()}": str(value) for name, value in values.items()}
    command = [sys.executable, "-m", "serve", "--port", "0"]
    with (
        log.open("w") if log else nullcontext(subprocess.PIPE) as file,
        subprocess.Popen(
            command,
            cwd=PROJECT_ROOT,
            env=environment,
            stdout=subprocess.PIPE,
            stderr=file,
            text=True,
        ) as process,
    ):
        try:
            announced = re.search(r"http://\S+", process.stdout.readline())
            assert announced
            yield Service(process, announced[0], log or Path())
        finally:
            process.terminate()
            try:
                process.wait(30)
            finally:
                process.kill()


@pytest.fixture(scope="module")
def service(tmp_path_factory) -> Iterator[Service]:
    with running(
        tmp_path_factory.mktemp("hostile") / "log",
        max_upload_bytes=MAX_BYTES,
        max_receive_seconds=RECEIVE_SECONDS,
        max_spool_bytes=SPOOL_BYTES,
        allowed_origins=FRIEND,
        workers=2,
    ) as service:
        yield service
    assert service.unexpected() == []


@pytest.fixture(autouse=True)
def still_well(service) -> Iterator[None]:
    """After each attack the service predicts as before."""
    yield
    answer = requests.post(f"{service.url}/v1/predict", data=GOOD, timeout=20)
    assert answer.status_code == 200, answer.text


PROBER = r"""
import socket, statistics, sys, time
request = b"GET /healthz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
for line in sys.stdin:
    port, n = map(int, line.split())
    times = []
    for _ in range(n):
        start = time.perf_counter()
        with socket.create_connection(("127.0.0.1", port), 10) as connection:
            connection.sendall(request)
            answer = b"".join(iter(lambda: connection.recv(65536), b""))
        times.append(time.perf_counter() - start)
        assert answer.startswith(b"HTTP/1.1 200"), answer
    print(statistics.median(times), flush=True)
"""


@pytest.fixture(scope="module")
def prober() -> Iterator[subprocess.Popen[str]]:
    """Asks for /healthz in a process of its own, which is not slowed by the attackers' threads."""
    command = [sys.executable, "-c", PROBER]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        yield process
        process.stdin.close()


@pytest.fixture
def assert_alive(service, prober) -> Callable[..., None]:
    """Asserts that /healthz answers new connections at once, even while an attack goes on.

    On a busy machine it is never that fast, so what it takes before the attack is granted thrice.
    """

    def median() -> float:
        prober.stdin.write(f"{service.address[1]} 7\n")
        prober.stdin.flush()
        return float(prober.stdout.readline())

    before = median()

    def check(limit: float = PROBE_SECONDS) -> None:
        during = median()
        assert during < limit + 3 * before, (before, during)

    return check


def answer_to(service: Service, *pieces: bytes | Iterator[bytes]) -> tuple[int, dict, bytes]:
    """Send pieces until the service closes the connection: status, headers and body of its answer."""
    with service.connect() as connection:
        try:
            for piece in pieces:
                for part in [piece] if isinstance(piece, bytes) else piece:
                    connection.sendall(part)
        except (BrokenPipeError, ConnectionResetError):
            pass
        return read_answer(connection)


def read_answer(connection: socket.socket) -> tuple[int, dict, bytes]:
    received = b""
    try:
        while data := connection.recv(65_536):
            received += data
    except ConnectionResetError:
        pass
    head, _, body = received.partition(b"\r\n\r\n")
    first, *lines = head.decode().split("\r\n")
    headers = dict(line.lower().split(": ", 1) for line in lines)
    return int(first.split()[1]), headers, body


def assert_refused(answer: tuple[int, dict, bytes], status: int, *words: str) -> None:
    got, headers, body = answer
    assert got == status, body
    assert headers["content-type"] == PROBLEM
    assert headers["connection"] == "close"
    assert headers["cache-control"] == "no-store"
    document = json.loads(body)
    assert document["status"] == status
    assert document["request_id"] == headers["x-request-id"]
    assert ("retry-after" in headers) is (status in (429, 503, 507))
    for name, value in SECURITY_HEADERS.items():
        assert headers[name.lower()] == value.lower()
    for word in words:
        assert word in document["detail"]


POST = b"POST /v1/predict HTTP/1.1\r\nHost: localhost\r\n"
LIVE = b"POST /v1/live?rate=22050 HTTP/1.1\r\nHost: localhost\r\n"
CHUNKED = b"Transfer-Encoding: chunked\r\n\r\n"


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
        "can't be present with Content-Length",
    ),
    "coding, then length": (
        POST + b"Transfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n" + SMUGGLED,
        400,
        "can't be present with Transfer-Encoding",
    ),
    "two lengths": (POST + b"Content-Length: 5\r\nContent-Length: 6\r\n\r\nRIFFxx", 400, ""),
    "another coding": (POST + b"Transfer-Encoding: gzip, chunked\r\n\r\n" + SMUGGLED, 501, "chunked"),
    "long method": (b"SECRET" + b"A" * 100_000 + b" / HTTP/1.1\r\n\r\n", 400, "method"),
    "long known method": (b"GET" + b" " * 100_000, 431, "32 KB"),
    "long address": (b"GET /" + b"a" * 100_000 + b" HTTP/1.1\r\n\r\n", 431, "32 KB"),
    "long header": (POST + b"X: " + b"a" * 100_000 + b"\r\n\r\n", 431, "32 KB"),
    "many headers": (POST + b"X: y\r\n" * 20_000 + b"\r\n", 431, "32 KB"),
    "header that does not end": (POST + b"X: " + b"a" * MAX_HEAD_BYTES, 431, "32 KB"),
    "no host": (b"GET / HTTP/1.1\r\n\r\n", 400, "Host"),
    "two hosts": (b"GET / HTTP/1.1\r\nHost: localhost\r\nHost: evil\r\n\r\n", 400, "Host"),
    "space before the colon": (POST + b"Content-Length : 3\r\n\r\nabc", 400, ""),
    "folded header": (POST + b"X: a\r\n b\r\nContent-Length : 3\r\n\r\nabc", 400, ""),
    "lines without carriage return": (b"GET / HTTP/1.1\nHost: localhost\n\n", 400, ""),
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
    assert answer[2].count(b"HTTP/1.1") == 0  # Nothing that follows was taken for a request.
    assert len(answer[2]) < 500 and b"SECRET" not in answer[2]
    for _ in range(500):  # A thread of its own writes the log.
        new = service.log.read_bytes()[logged:]
        if new.endswith(b"\n"):
            break
        time.sleep(0.01)
    assert max(map(len, new.splitlines())) < 500 and b"SECRET" not in new


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


# ------------------------------------------------------------------------------ bodies


def endless(piece: bytes, n_bytes: int = 16_000_000) -> Iterator[bytes]:
    piece *= 1 + 65_536 // len(piece)
    return itertools.repeat(piece, n_bytes // len(piece))


FRAMINGS: dict[str, Callable[[], list[bytes | Iterator[bytes]]]] = {
    "extension": lambda: [POST + CHUNKED + b"4;a=", endless(b"x")],
    "extensions": lambda: [POST + CHUNKED, endless(b"4;" + b"x" * 9000 + b"\r\nRIFF\r\n")],
    "trailer": lambda: [POST + CHUNKED + b"4\r\nRIFF\r\n0\r\nX: ", endless(b"x")],
    "trailers": lambda: [POST + CHUNKED + b"4\r\nRIFF\r\n0\r\n", endless(b"X: y\r\n")],
    "chunks of one byte": lambda: [POST + CHUNKED, endless(b"1\r\nR\r\n")],
    "chunks of 40 bytes": lambda: [POST + CHUNKED, endless(b"28\r\n" + b"R" * 40 + b"\r\n")],
    "zeros before a size": lambda: [POST + CHUNKED, endless(b"0")],
}


@pytest.mark.parametrize("name", FRAMINGS)
def test_chunked_coding_cannot_keep_the_service_busy(service, name, assert_alive):
    with ThreadPoolExecutor(1) as pool:
        start = time.perf_counter()
        answer = pool.submit(answer_to, service, *FRAMINGS[name]())
        assert_alive()
        assert_refused(answer.result(20), 400)
        assert time.perf_counter() - start < 5


def test_honest_chunks_are_taken(service):
    for size in (1000, 20_000):
        chunks = (GOOD[i : i + size] for i in range(0, len(GOOD), size))
        answer = requests.post(f"{service.url}/v1/predict", data=chunks, timeout=20)
        assert answer.status_code == 200
    # A trailer changes nothing.
    body = b"%x\r\n" % len(GOOD) + GOOD + b"\r\n0\r\nHost: evil\r\n\r\n"
    status, _, content = answer_to(service, POST + b"Connection: close\r\n" + CHUNKED + body)
    assert (status, b'"valence":' in content) == (200, True)


@pytest.mark.parametrize("stated", [True, False])
def test_huge_live_states_take_no_memory(service, stated, assert_alive):
    before, n_bytes = service.resident_mb(), 48_000_000
    form = b'--x\r\nContent-Disposition: form-data; name="state"\r\n\r\n'
    head = LIVE + b"Content-Type: multipart/form-data; boundary=x\r\n"
    length = b"Content-Length: %d\r\n\r\n" % n_bytes if stated else CHUNKED

    def attack(_: int) -> tuple[int, dict, bytes]:
        with service.connect() as connection:
            connection.sendall(head + length)
            piece = form + b"A" * 200_000
            for _ in range(20):
                connection.sendall(piece if stated else b"%x\r\n%b\r\n" % (len(piece), piece))
            received = connection.recv(65_536)
            return int(received.split()[1]), {}, received

    with ThreadPoolExecutor(26) as pool:
        answers = [pool.submit(attack, i) for i in range(26)]
        # The attackers need all of both cores for this half second.
        assert_alive(0.2)
        statuses = [answer.result(30)[0] for answer in answers]
    # Refused by what the head states; or once it is too much, alone or with the others.
    assert set(statuses) <= ({413} if stated else {413, 503})
    assert service.resident_mb() < before + 50


def test_body_where_none_is_needed_is_refused(service):
    for method in (b"GET", b"POST"):
        head = method + b" /healthz HTTP/1.1\r\nHost: localhost\r\nContent-Length: 70000\r\n\r\n"
        assert_refused(answer_to(service, head + bytes(70_000)), 413, "takes no body")


def test_large_upload_is_refused_before_it_is_sent(service):
    for head in (
        POST + b"Content-Length: 9000000000\r\n\r\n",
        LIVE + b"Content-Length: 9000000\r\n\r\n",
    ):
        with service.connect() as connection:
            connection.sendall(head)
            assert b" 413 " in connection.recv(65_536)


def test_uploads_leave_room_for_others(service):
    """One client holds half of the room for uploads at most, and live audio has its own."""
    started = POST + b"Content-Length: %d\r\n\r\n" % MAX_BYTES + bytes(1_500_000)
    with ExitStack() as attackers:
        for _ in range(3):
            connection = attackers.enter_context(service.connect())
            connection.sendall(started)
        time.sleep(0.3)
        answer = requests.post(f"{service.url}/v1/predict", data=bytes(MAX_BYTES), timeout=20)
        assert_problem(answer, 503, None, "uploads of this client", "try again")
        assert int(answer.headers["Retry-After"]) > 0
        chunk = {"chunk": ("a", bytes(22_050))}
        live = requests.post(f"{service.url}/v1/live?rate=22050", files=chunk, timeout=10)
        assert live.status_code == 200
    # The room comes back with the end of the connections.
    deadline = time.monotonic() + 5
    while (
        requests.post(f"{service.url}/v1/predict", data=bytes(MAX_BYTES), timeout=20).status_code
        == 503
    ):
        assert time.monotonic() < deadline
        time.sleep(0.1)


NAMES = {
    "Latin-1": b'filename="F\xfcr Elise.mp3"',
    "Shift-JIS": 'filename="夜想曲.mp3"'.encode("shift_jis"),
    "UTF-8": 'filename="Für Elise.mp3"'.encode(),
    "carriage return": b'filename="a\rb.mp3"',
    "extended": b"filename*=UTF-8''F%C3%BCr%20Elise.mp3",
    "extended, Shift-JIS": b"filename*=Shift_JIS''%96%E9.mp3",
    "both": b"filename=\"Fur.mp3\"; filename*=UTF-8''F%C3%BCr.mp3",
    "no end": b'filename="a.mp3',
    "quotes": b'filename="a\\"b\\\\.mp3"',
    "zero bytes": b'filename="a\x00b.mp3"',
    "semicolons": b'filename="a;b;name=c.mp3"',
    "12 KB": b'filename="' + b"\xfc" * 12_000 + b'"',
}


@pytest.mark.parametrize("name", NAMES)
def test_name_of_a_file_may_be_any_bytes(service, name):
    part = b'--x\r\nContent-Disposition: form-data; name="file"; %b\r\n\r\n' % NAMES[name]
    headers = {"Content-Type": "multipart/form-data; boundary=x"}
    body = part + GOOD + b"\r\n--x--\r\n"
    answer = requests.post(f"{service.url}/v1/predict", data=body, headers=headers, timeout=20)
    assert answer.status_code == 200, answer.text
    assert len(answer.json()["valence"]) == 6


def test_parts_are_found_wherever_their_boundaries_fall():
    """The file is searched in blocks: a boundary may begin in one and end in the next."""
    rng = np.random.default_rng(0)
    head = b'--x-y\r\nContent-Disposition: form-data; name="file"; filename="a"\r\n\r\n'
    for size in (0, 1, *range(BLOCK_BYTES - 160, BLOCK_BYTES + 20, 3), 2 * BLOCK_BYTES - 90):
        content = rng.bytes(size)
        content = content[: size // 2] + b"\r\n--x-yz" + content[size // 2 :]  # no boundary
        second = b"\r\n--x-y  \r\ncontent-disposition:form-data;name=state\r\n\r\ntext"
        body = b"preamble\r\n" + head + content + second + b"\r\n--x-y--\r\nepilogue"
        for skipped in (0, len(b"preamble\r\n")):
            form = body[skipped:]
            file, state = parse_form(io.BytesIO(form), len(form), "x-y")
            assert form[file.start : file.end] == content
            assert form[state.start : state.end] == b"text"
            assert (file.name, file.is_file, file.has_file_name) == ("file", True, True)
            assert (state.name, state.is_file) == ("state", False)


FORMS: dict[str, tuple[bytes, str]] = {
    "no end": (b'--x\r\nContent-Disposition: form-data; name="file"; filename="a"\r\n\r\nRIFF', "form: "),
    "no name": (b"--x\r\nContent-Type: audio/wav\r\n\r\nRIFF\r\n--x--\r\n", "form: "),
    "header without end": (b"--x\r\nContent-Disposition: form-data" + b"a" * 99_000 + b"\r\n--x--\r\n", "form: "),
    "no part": (b"--x--\r\n", "file: missing"),
    "nearly boundaries": (b"\r\n--xy" * 400_000, "form: "),
    "padded boundaries": ((b"\r\n--x" + b" " * 60) * 40_000, "form: "),
}  # fmt: skip


@pytest.mark.parametrize("name", FORMS)
def test_broken_form_is_a_clear_problem_in_short_time(service, name):
    body, words = FORMS[name]
    headers = {"Content-Type": "multipart/form-data; boundary=x"}
    start = time.perf_counter()
    answer = requests.post(f"{service.url}/v1/predict", data=body, headers=headers, timeout=20)
    assert time.perf_counter() - start < 2
    assert answer.status_code == 400, answer.text
    assert answer.json()["detail"].startswith(words)


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

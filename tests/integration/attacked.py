"""A running service that is attacked, and a prober that asks it meanwhile."""

from __future__ import annotations

import json
import re
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path

import psutil
import pytest
import requests
from environment import without_settings
from served import FRIEND, GOOD, PROBLEM

from msr_utils.paths import MODELS_DIR, PROJECT_ROOT
from serve.headers import SECURITY_HEADERS

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
CHUNKED = b"Transfer-Encoding: chunked\r\n\r\n"

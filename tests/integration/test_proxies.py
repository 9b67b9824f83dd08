"""The proxy configurations of the book, as they stand there, before a real service."""

from __future__ import annotations

import http.client
import io
import json
import os
import re
import socket
import ssl
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import pytest
import soundfile as sf
from attacked import Service, running
from benchmarks.bench_service import form
from conftest import tone
from needs import needs_posix, needs_program

from msr_utils.paths import PROJECT_ROOT

HOST = "music.example.org"

pytestmark = [pytest.mark.slow, needs_posix]


def example(words: str) -> str:
    """The block of code of book/service.md that has some words."""
    text = (PROJECT_ROOT / "book/service.md").read_text("utf-8")
    (block,) = [b for b in re.findall(r"```\w+\n(.*?)```", text, re.DOTALL) if words in b]
    return str(block)


def replaced(text: str, **changes: str) -> str:
    """A text with other addresses and paths; each must be there."""
    for before, after in changes.items():
        assert before in text, before
        text = text.replace(before, after)
    return text


def free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    log = tmp_path_factory.mktemp("service") / "log"
    with running(log, trusted_proxy="127.0.0.1", allowed_hosts=f"{HOST},localhost") as started:
        yield started


@dataclass(frozen=True)
class Proxy:
    """A running proxy: its port, whether it speaks TLS, and the path of the service."""

    port: int
    tls: bool = True
    prefix: str = ""

    def ask(self, method: str, path: str, body: bytes = b"", headers: dict | None = None):
        """The open answer to a request."""
        if self.tls:
            # Its certificate is its own. The name in it is what is asked for.
            context = ssl._create_unverified_context()
            raw = socket.create_connection(("127.0.0.1", self.port), 60)
            connection = http.client.HTTPSConnection(HOST, self.port, context=context)
            connection.sock = context.wrap_socket(raw, server_hostname=HOST)
        else:
            connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
        host = {"Host": HOST if self.tls else "localhost"}
        # An answer may come before the body was read.
        with suppress(BrokenPipeError, ConnectionResetError, ssl.SSLEOFError):
            connection.request(method, self.prefix + path, body or None, host | (headers or {}))
        return connection.getresponse()


@contextmanager
def started(command: list[str], proxy: Proxy, log: Path) -> Iterator[Proxy]:
    with log.open("w") as file, subprocess.Popen(command, stdout=file, stderr=file) as process:
        try:
            end = time.monotonic() + 20
            while True:
                try:
                    assert proxy.ask("GET", "/healthz").status == 200
                    break
                except OSError:
                    assert process.poll() is None and time.monotonic() < end, log.read_text()
                    time.sleep(0.05)
            yield proxy
        finally:
            process.terminate()


@contextmanager
def nginx(blocks: str, proxy: Proxy, folder: Path) -> Iterator[Proxy]:
    """Run nginx with some blocks of its ``http`` section."""
    places = "".join(
        f"{kind}_temp_path {folder / kind};\n"
        for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    )
    config = folder / "nginx.conf"
    user = "user root;\n" if os.getuid() == 0 else ""  # Else another one, who may not write here.
    config.write_text(
        f"{user}daemon off; pid {folder / 'pid'}; error_log stderr;\n"
        f"events {{}}\nhttp {{\naccess_log off;\n{places}{blocks}\n}}\n"
    )
    with started(["nginx", "-c", str(config), "-p", str(folder)], proxy, folder / "log") as ready:
        yield ready


@contextmanager
def nginx_with_tls(service: Service, folder: Path) -> Iterator[Proxy]:
    certificate, key = folder / "music.pem", folder / "music.key"
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-subj", f"/CN={HOST}",
         "-days", "2", "-keyout", key, "-out", certificate],
        check=True, capture_output=True,
    )  # fmt: skip
    proxy = Proxy(free_port())
    changes = {
        "listen 443 ssl": f"listen 127.0.0.1:{proxy.port} ssl",
        "/etc/ssl/music.pem": str(certificate),
        "/etc/ssl/music.key": str(key),
        "http://127.0.0.1:8000": service.url,
    }
    with nginx(replaced(example("limit_conn_zone"), **changes), proxy, folder) as ready:
        yield ready


@contextmanager
def nginx_with_a_prefix(service: Service, folder: Path) -> Iterator[Proxy]:
    proxy = Proxy(free_port(), tls=False, prefix="/msr")
    blocks = replaced(example("return 308 /msr/"), **{"http://127.0.0.1:8000": service.url})
    server = f"server {{\nlisten 127.0.0.1:{proxy.port};\n{blocks}\n}}"
    with nginx(server, proxy, folder) as ready:
        yield ready


@contextmanager
def caddy(service: Service, folder: Path) -> Iterator[Proxy]:
    proxy = Proxy(free_port())
    site = replaced(
        example("reverse_proxy"),
        **{
            f"{HOST} {{": f"{HOST}:{proxy.port} {{",
            "127.0.0.1:8000": service.url.removeprefix("http://"),
        },
    )
    # A certificate of its own, no file outside of the folder, no second port.
    options = (
        "{\nadmin off\nlocal_certs\nskip_install_trust\nauto_https disable_redirects\n"
        f"storage file_system {folder / 'storage'}\ndefault_bind 127.0.0.1\n}}\n"
    )
    config = folder / "Caddyfile"
    config.write_text(options + site)
    command = ["caddy", "run", "--adapter", "caddyfile", "--config", str(config)]
    with started(command, proxy, folder / "log") as ready:
        yield ready


@pytest.fixture(
    scope="module",
    params=[
        pytest.param(nginx_with_tls, marks=[needs_program("nginx"), needs_program("openssl")]),
        pytest.param(nginx_with_a_prefix, marks=needs_program("nginx")),
        pytest.param(caddy, marks=needs_program("caddy")),
    ],
    ids=lambda kind: kind.__name__.replace("_", " "),
)
def proxy(request, service, tmp_path_factory) -> Iterator[Proxy]:
    with request.param(service, tmp_path_factory.mktemp("proxy")) as ready:
        yield ready


def upload(seconds: float) -> tuple[bytes, dict[str, str]]:
    """Body and headers of a form with a tone."""
    file = io.BytesIO()
    sf.write(file, tone(seconds, rate=8_000), 8_000, format="WAV", subtype="PCM_U8")
    return form(file=file.getvalue())


def test_a_file_is_predicted_as_without_it(proxy, service):
    answers = []
    for asked in (proxy, Proxy(service.address[1], tls=False)):
        answer = asked.ask("POST", "/v1/predict", *upload(8))
        assert answer.status == 200
        answers.append(json.load(answer))
    assert answers[0]["valence"] == answers[1]["valence"] and len(answers[0]["valence"]) == 16


def test_frames_arrive_while_the_file_is_decoded(proxy):
    """Not all at the end: the first frames are there before the last."""
    body, kind = upload(240)
    answer = proxy.ask("POST", "/v1/predict", body, kind | {"Accept": "application/x-ndjson"})
    assert answer.status == 200
    times = []
    while answer.readline():
        times.append(time.perf_counter())
    assert len(times) > 480
    assert times[240] - times[0] > 0.1 * (times[-1] - times[0])


def test_the_page_and_its_files_are_there(proxy):
    page = proxy.ask("GET", "/")
    assert page.status == 200
    (script, *_) = re.findall(r'src="(static/[^"]+)"', page.read().decode())
    assert proxy.ask("GET", f"/{script}").status == 200


def test_a_body_that_is_too_large_is_refused(proxy):
    _, kind = upload(1)
    assert proxy.ask("POST", "/v1/predict", bytes(54_000_000), kind).status == 413

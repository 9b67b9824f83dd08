"""The page behind a proxy that adds a prefix to the path and tells the service nothing of it."""

from __future__ import annotations

import http.client
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import urlsplit

import pytest
import requests
from chromium import Browser
from needs import needs_browser
from page_of_service import READY, clips, models_dir, server, window

pytestmark = [needs_browser, pytest.mark.slow]

__all__ = ["clips", "models_dir", "server", "window"]  # fixtures of the page's tests


class PrefixProxy(BaseHTTPRequestHandler):
    """Answers below ``prefix`` what the service answers without it; 404 elsewhere."""

    prefix: str
    service: str
    unknown: list[str]
    """Paths outside of the prefix that were asked for."""

    def _forward(self) -> None:
        path = self.path.removeprefix(self.prefix)
        if path == self.path:
            self.unknown.append(self.path)
            self.send_error(404)
            return
        connection = http.client.HTTPConnection(urlsplit(self.service).netloc, timeout=60)
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        kept = {k: v for k, v in self.headers.items() if k not in ("Host", "Connection")}
        connection.request(self.command, f"/{path}", body, kept)
        answer = connection.getresponse()
        content = answer.read()
        self.send_response(answer.status)
        for name, value in answer.getheaders():
            if name not in ("Transfer-Encoding", "Content-Length", "Connection", "Date", "Server"):
                self.send_header(name, value)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)
        connection.close()

    do_GET = do_POST = _forward  # noqa: N815, names of the base class

    def log_message(self, *arguments: object) -> None:
        """Say nothing."""


@pytest.fixture(params=["/msr/", "/user/x/proxy/8000/"])
def prefixed(request, server) -> Iterator[str]:
    """Address of the page behind the proxy; nothing is asked for outside of it."""
    unknown: list[str] = []
    handler = type(
        "Handler", (PrefixProxy,), {"prefix": request.param, "service": server, "unknown": unknown}
    )
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as proxy:
        threading.Thread(target=proxy.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{proxy.server_port}{request.param}"
        proxy.shutdown()
    assert unknown == []


def failures(window: Browser) -> list[str]:
    """What went wrong on the page: messages of the console, and answers that are errors."""
    answers = [
        event["params"]["response"]
        for event in window.logs("performance")
        if event["method"] == "Network.responseReceived"
    ]
    assert answers
    return [
        *(entry["message"] for entry in window.logs("browser")),
        *(f"{a['status']} {a['url']}" for a in answers if a["status"] >= 400),
    ]


def test_the_page_works_below_a_prefix(window, prefixed, clips):
    window.go("about:blank")
    for kind in ("browser", "performance"):
        window.logs(kind)
    window.go(prefixed)
    window.upload("#file", clips / "two.wav")
    window.until(READY)
    assert window.text(".track .name") == "two.wav"

    window.click("#about")
    window.until("document.querySelector('#model-card').open")
    assert window.text("#model-title") == "First model"
    card = window.run("return document.querySelector('#model-link').href")
    assert card == f"{prefixed}v1/models/first"
    assert requests.get(card, timeout=10).json()["name"] == "first"
    window.press("Escape")

    # Live: worker, worklet and requests.
    window.go(prefixed)
    window.allow_microphone(prefixed)
    window.click("#microphone")
    window.until("document.querySelectorAll('.track.live').length")
    window.until(
        "parseFloat(document.querySelector('#curves').getAttribute('aria-valuenow')) >= 1.5", 30
    )
    window.click(".track .stop")
    window.until(READY)
    assert window.text(".track .duration")

    window.run("document.querySelector('nav a').click()")
    window.until("document.querySelector('h1').textContent.startsWith('API')")
    assert window.run("return location.href") == f"{prefixed}docs"
    commands = window.until(
        "[...document.querySelectorAll('pre')].map(pre => pre.textContent)"
        ".filter(text => text.startsWith('curl'))"
    )
    assert f"curl -F file=@song.mp3 {prefixed}v1/predict" in "\n".join(commands)
    window.run("document.querySelector('header a').click()")
    window.until("document.querySelector('#file')")
    assert window.run("return location.href") == prefixed
    assert failures(window) == []


def test_the_document_and_the_commands_lead_below_the_prefix(prefixed):
    document = requests.get(f"{prefixed}openapi.json", timeout=10).json()
    [given] = document["servers"]
    base = requests.compat.urljoin(f"{prefixed}openapi.json", given["url"])
    assert base == prefixed
    models = requests.get(base.rstrip("/") + "/v1/models", timeout=10)
    assert models.json()["models"][0]["card"] == "/v1/models/first"  # below the same base
    # There is no redirect, which would need the prefix.
    for path, status in (("/v1/models", 200), ("v1//models", 404)):
        answer = requests.get(prefixed + path, timeout=10, allow_redirects=False)
        assert answer.status_code == status

"""A server of archives on this machine, and the archives that it has."""

from __future__ import annotations

import hashlib
import io
import json
import re
import threading
import zipfile
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import numpy as np
import pytest

from msr_utils.corpora.download import (
    fetch,
    http,
)
from msr_utils.corpora.download import (
    sources as corpora_download_sources,
)
from msr_utils.corpora.download.sources import Archive, Source

KIB = 1024

COMMIT = "c" * 40
"""Of the data set on the tests' hub."""


def zipped(entries: dict, method: int = zipfile.ZIP_DEFLATED) -> bytes:
    """A zip archive of names (or ZipInfo) and bytes."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", method) as archive:
        for name, data in entries.items():
            archive.writestr(name, data)
    return buffer.getvalue()


def noise(size: int, seed: int = 0) -> bytes:
    return np.random.default_rng(seed).bytes(size)


def digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


DYNAMIC = "annotations/annotations averaged per song/dynamic (per second annotations)"
DEAM = {
    "DEAM_audio.zip": zipped({"MEMD_audio/2.mp3": noise(600 * KIB), "__MACOSX/._2.mp3": b"x"}),
    "DEAM_Annotations.zip": zipped(
        {f"{DYNAMIC}/{t}.csv": "song_id,sample_15000ms\n2,0.1\n" for t in ("valence", "arousal")}
    ),
    "metadata.zip": zipped({"metadata/metadata_2013.csv": "song_id,Artist\n2,Someone\n"}),
}


class Site:
    """Files of a server, how it behaves, and what it was asked for."""

    def __init__(self, files: dict[str, bytes]) -> None:
        self.files = dict(files)
        self.types: dict[str, str] = {}
        self.asked: list[tuple[str, str | None]] = []
        """Paths without their query, and ranges, of GET."""
        self.cuts: list[int] = []
        """Bytes after which to cut each of the next answers with a body."""
        self.sent = 0
        self.ranges = self.tags = self.heeds_tags = True
        self.status = 0
        self.hang_after: dict[str, int] = {}
        """Bytes of a file, by the end of its name, after which to fall silent."""
        self.over = threading.Event()

    def ranges_of(self, name: str) -> list[str | None]:
        return [r for path, r in self.asked if path == f"/{name}"]


class Handler(BaseHTTPRequestHandler):
    def do_HEAD(self) -> None:
        self.do_GET()

    def do_GET(self) -> None:
        site: Site = self.server.site
        path, wanted = self.path.partition("?")[0], self.headers.get("Range")
        if self.command == "GET":
            site.asked.append((path, wanted))
        data = site.files.get(path.lstrip("/"))
        if site.status or data is None:
            return self.answer(site.status or 404, b"")
        tag = f'"{digest(data)}"'
        headers = {"X-Repo-Commit": COMMIT} | ({"ETag": tag} if site.tags else {})
        same = not site.heeds_tags or self.headers.get("If-Range", tag) == tag
        if not (wanted and site.ranges and same):
            return self.answer(200, data, headers)
        start = int(re.fullmatch(r"bytes=(\d+)-", wanted)[1])
        if start >= len(data):
            return self.answer(416, b"", {"Content-Range": f"bytes */{len(data)}"})
        headers["Content-Range"] = f"bytes {start}-{len(data) - 1}/{len(data)}"
        self.answer(206, data[start:], headers)

    def answer(self, code: int, body: bytes, headers: dict[str, str] | None = None) -> None:
        site: Site = self.server.site
        self.send_response(code)
        headers = {"Content-Length": str(len(body))} | (headers or {})
        if self.path in site.types:
            headers["Content-Type"] = site.types[self.path]
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command == "HEAD":
            return
        cut = site.cuts.pop(0) if site.cuts and body else None
        for end, sent in site.hang_after.items():
            if body and self.path.partition("?")[0].endswith(end):
                self.wfile.write(body[:sent])
                site.over.wait(60)
                return
        self.wfile.write(body[:cut])
        site.sent += len(body[:cut])

    def log_message(self, *_) -> None:
        pass


@pytest.fixture
def serve(monkeypatch):
    """Start a server for some files: (its address, the site)."""
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    servers = []

    def start(files: dict[str, bytes]) -> tuple[str, Site]:
        server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        server.site = Site(files)
        servers.append(server)
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        return f"http://127.0.0.1:{server.server_port}", server.site

    yield start
    for server in servers:
        server.site.over.set()
        server.shutdown()
        server.server_close()


@pytest.fixture(autouse=True)
def quick_retries(monkeypatch):
    monkeypatch.setattr(http, "BACKOFF_S", 0.01)


@pytest.fixture
def sources(monkeypatch):
    """The registry with the sizes and hashes of the tests' archives."""

    def register(corpus: str, files: dict[str, bytes], known: bool = True) -> None:
        archives = tuple(
            Archive(n, f"http://127.0.0.1:9/{n}", *((len(d), digest(d)) if known else ()))
            for n, d in files.items()
        )
        source = Source("A corpus", "http://home.example/", "for tests", "nobody", archives)
        monkeypatch.setitem(corpora_download_sources.SOURCES, corpus, source)

    return register


@pytest.fixture
def deam(serve, sources):
    sources("deam", DEAM)
    return serve(DEAM)


def get(folder, mirror, corpus="deam", **kwargs):
    return fetch(corpus, folder, True, mirror, progress=False, **{"timeout_s": 5} | kwargs)


def tree(folder):
    return {p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_file()}


DATASET = "datasets/amaai-lab/MERP"
RESOLVE = f"{DATASET}/resolve/{COMMIT}"


def hub(files: dict[str, bytes]) -> dict[str, bytes]:
    """What the hub answers for a data set: facts, list of files, and the files."""
    siblings, tree = [], [{"type": "directory", "path": "audio", "size": 0, "oid": "0"}]
    for path, data in {**files, ".gitattributes": b"x"}.items():
        large = not path.endswith(".md")
        lfs = {"sha256": digest(data), "size": len(data), "pointerSize": 130} if large else None
        siblings.append({"rfilename": path, "size": len(data), "blobId": "0", "lfs": lfs})
        entry = {"type": "file", "path": path, "size": len(data), "oid": "0"}
        tree.append(entry | ({"lfs": {"oid": digest(data), **lfs}} if lfs else {}))
    facts = {"id": "amaai-lab/MERP", "sha": COMMIT, "siblings": siblings}
    return {
        f"api/{DATASET}": json.dumps(facts).encode(),
        f"api/{DATASET}/tree/{COMMIT}": json.dumps(tree).encode(),
        **{f"{RESOLVE}/{path}": data for path, data in files.items()},
    }


def facts(*siblings: dict) -> bytes:
    return json.dumps({"id": "x", "sha": COMMIT, "siblings": siblings}).encode()

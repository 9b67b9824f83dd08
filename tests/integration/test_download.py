"""Downloads from a real server on this machine: whole, cut, wrong, hostile."""

from __future__ import annotations

import hashlib
import io
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import threading
import time
import zipfile
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import numpy as np
import pytest
from click.testing import CliRunner
from huggingface_hub import constants
from needs import skip

from msr_utils.cli import main
from msr_utils.corpora.download import (
    fetch,
    http,
    unzip,
)
from msr_utils.corpora.download import (
    sources as corpora_download_sources,
)
from msr_utils.corpora.download.fetch import FetchedFile, fetched_files
from msr_utils.corpora.download.sources import Archive, DownloadError, Source

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


def test_deam_is_downloaded_unpacked_and_recorded(deam, tmp_path):
    mirror, site = deam
    folder = tmp_path / "data" / "deam"
    files = get(folder, mirror)
    assert tree(folder) == {
        "MEMD_audio/2.mp3",
        f"{DYNAMIC}/valence.csv",
        f"{DYNAMIC}/arousal.csv",
        "metadata/metadata_2013.csv",
        ".msr-fetched.json",
    }
    assert (folder / "MEMD_audio/2.mp3").read_bytes() == noise(600 * KIB)
    record = json.loads((folder / ".msr-fetched.json").read_text())
    assert [FetchedFile(**f) for f in record["files"]] == files == fetched_files("deam", folder)
    assert [f.sha256 for f in files] == [digest(d) for d in DEAM.values()]
    assert [f.size for f in files] == [len(d) for d in DEAM.values()]
    assert files[0].url == f"{mirror}/DEAM_audio.zip"
    assert os.listdir(folder.parent) == ["deam"]
    # The second call asks the server nothing.
    asked = len(site.asked)
    assert get(folder, mirror) == []
    assert len(site.asked) == asked == 3
    with pytest.raises(DownloadError, match="holds deam, not emotify") as error:
        get(folder, mirror, corpus="emotify")
    assert error.value.field == "folder"


def test_what_is_registered_is_what_was_reported():
    deam = {
        a.name: (a.url, a.size, a.sha256[:8])
        for a in corpora_download_sources.SOURCES["deam"].archives
    }
    base = "https://cvml.unige.ch/databases/DEAM/"
    assert deam == {
        "DEAM_audio.zip": (base + "DEAM_audio.zip", 1_343_203_527, "e2814325"),
        "DEAM_Annotations.zip": (base + "DEAM_Annotations.zip", 4_735_283, "809b0feb"),
        "metadata.zip": (base + "metadata.zip", 344_760, "3d1d5ab4"),
    }
    for source in corpora_download_sources.SOURCES.values():
        assert source.licence and source.citation and source.home
        assert bool(source.archives) != bool(source.hub)


def test_nothing_happens_before_the_terms_are_accepted(deam, tmp_path):
    mirror, site = deam
    with pytest.raises(DownloadError, match=r"of A corpus.*for tests.*--accept-licence") as error:
        fetch("deam", tmp_path / "deam", mirror=mirror)
    assert error.value.field == "accept_licence"
    assert site.asked == []
    assert os.listdir(tmp_path) == []


def test_a_cut_connection_is_taken_up_where_it_broke(deam, tmp_path):
    mirror, site = deam
    site.cuts = [300 * KIB, 100 * KIB]
    get(tmp_path / "deam", mirror)
    first, *later = site.ranges_of("DEAM_audio.zip")
    assert first is None
    starts = [int(r.removeprefix("bytes=").removesuffix("-")) for r in later]
    # Whole chunks of what was sent are kept; of the file, nothing before them is asked again.
    assert 0 <= 300 * KIB - starts[0] < http.CHUNK
    assert 0 <= starts[0] + 100 * KIB - starts[1] < http.CHUNK
    assert site.sent < sum(map(len, DEAM.values())) + 2 * http.CHUNK


def test_after_some_cuts_it_gives_up_and_the_next_run_resumes(deam, tmp_path):
    mirror, site = deam
    site.cuts = [70 * KIB] * http.TRIES
    with pytest.raises(DownloadError, match=r"was cut 5 times .* run the same command again"):
        get(tmp_path / "deam", mirror)
    assert not (tmp_path / "deam").exists()
    have = (tmp_path / "deam.fetching/archives/DEAM_audio.zip.part").stat().st_size
    assert have >= 5 * http.CHUNK
    get(tmp_path / "deam", mirror)
    assert site.ranges_of("DEAM_audio.zip")[-1] == f"bytes={have}-"


def test_a_server_without_ranges_sends_the_whole_again(deam, tmp_path):
    mirror, site = deam
    site.ranges = False
    site.cuts = [300 * KIB]
    get(tmp_path / "deam", mirror)
    assert site.sent == 300 * KIB + sum(map(len, DEAM.values()))


def interrupted(folder, mirror, site):
    """Leave a part of the first archive behind."""
    site.cuts = [200 * KIB] + [0] * http.TRIES
    with pytest.raises(DownloadError, match="cut"):
        get(folder, mirror)
    site.cuts.clear()


@pytest.mark.parametrize("tags", [True, False])
def test_a_part_of_another_release_is_dropped(deam, sources, tmp_path, tags):
    """Known by its entity tag or, from a server that gives none, by the hash of the whole."""
    mirror, site = deam
    site.tags = tags
    interrupted(tmp_path / "deam", mirror, site)
    new = {"MEMD_audio/2.mp3": noise(600 * KIB, seed=1), "__MACOSX/._2.mp3": b"y"}
    site.files["DEAM_audio.zip"] = zipped(new)
    assert len(site.files["DEAM_audio.zip"]) == len(DEAM["DEAM_audio.zip"])
    sources("deam", site.files)
    get(tmp_path / "deam", mirror)
    assert (tmp_path / "deam/MEMD_audio/2.mp3").read_bytes() == noise(600 * KIB, seed=1)
    assert (site.ranges_of("DEAM_audio.zip")[-1] is None) == (not tags)


def test_a_server_that_continues_with_another_release(serve, sources, tmp_path):
    """It answers a range although the tag sent along is not that of its file."""
    files = {"data.csv": noise(300 * KIB)}
    sources("emotify", files, known=False)
    mirror, site = serve(files)
    site.heeds_tags = False
    site.cuts = [200 * KIB] + [0] * http.TRIES
    with pytest.raises(DownloadError, match="cut"):
        get(tmp_path / "emotify", mirror, corpus="emotify")
    site.cuts.clear()
    site.files["data.csv"] = noise(300 * KIB, seed=1)
    get(tmp_path / "emotify", mirror, corpus="emotify")
    assert (tmp_path / "emotify/data.csv").read_bytes() == site.files["data.csv"]


@pytest.mark.parametrize("tags", [True, False])
def test_without_a_known_hash_only_a_tagged_part_is_resumed(serve, sources, tmp_path, tags):
    files = {"data.csv": noise(300 * KIB)}
    sources("emotify", files, known=False)
    mirror, site = serve(files)
    site.tags = tags
    site.cuts = [200 * KIB]
    get(tmp_path / "emotify", mirror, corpus="emotify")
    assert (site.ranges_of("data.csv")[-1] is not None) == tags
    assert (tmp_path / "emotify/data.csv").read_bytes() == files["data.csv"]


def test_a_part_that_is_too_long_or_complete(deam, tmp_path):
    mirror, site = deam
    interrupted(tmp_path / "deam", mirror, site)
    part = tmp_path / "deam.fetching/archives/DEAM_audio.zip.part"
    whole = DEAM["DEAM_audio.zip"]
    part.write_bytes(whole + b"more")
    get(tmp_path / "deam", mirror)
    assert site.ranges_of("DEAM_audio.zip")[-2:] == [f"bytes={len(whole) + 4}-", None]
    shutil.rmtree(tmp_path / "deam")
    interrupted(tmp_path / "deam", mirror, site)
    part.write_bytes(whole)
    get(tmp_path / "deam", mirror)
    assert site.ranges_of("DEAM_audio.zip")[-1] == f"bytes={len(whole)}-"
    assert fetched_files("deam", tmp_path / "deam")


def test_an_unexpected_file_is_explained_kept_and_can_be_accepted(deam, tmp_path):
    mirror, site = deam
    site.files["metadata.zip"] = new = zipped({"metadata/metadata_2013.csv": "new release"})
    with pytest.raises(DownloadError) as error:
        get(tmp_path / "deam", mirror)
    words = str(error.value)
    for part in (
        f"expected: {len(DEAM['metadata.zip'])} bytes, SHA-256 {digest(DEAM['metadata.zip'])}",
        f"found:    {len(new)} bytes, SHA-256 {digest(new)}",
        "there is a new version",
        f"--accept-hash {digest(new)}",
    ):
        assert part in words
    assert not (tmp_path / "deam").exists()
    kept = tmp_path / f"deam.fetching/archives/metadata.zip.sha256-{digest(new)[:16]}"
    assert kept.read_bytes() == new
    # Neither another run nor another hash lets it pass, and it is not downloaded twice.
    asked = len(site.asked)
    for hashes in ((), ("0" * 64,)):
        with pytest.raises(DownloadError) as error:
            get(tmp_path / "deam", mirror, accept_hashes=hashes)
        assert (error.value.file, error.value.field) == ("metadata.zip", "accept_hashes")
    get(tmp_path / "deam", mirror, accept_hashes=(digest(new).upper(),))
    assert (tmp_path / "deam/metadata/metadata_2013.csv").read_text() == "new release"
    assert len(site.asked) == asked


def test_a_file_taken_by_hand_is_used(deam, tmp_path):
    mirror, site = deam
    by_hand = tmp_path / "deam.fetching/archives/DEAM_audio.zip"
    by_hand.parent.mkdir(parents=True)
    by_hand.write_bytes(DEAM["DEAM_audio.zip"])
    get(tmp_path / "deam", mirror)
    assert site.ranges_of("DEAM_audio.zip") == []


def test_emotify_without_known_hashes(serve, sources, tmp_path):
    files = {
        "emotifymusic.zip": zipped({"emotifymusic/rock/1.mp3": noise(9 * KIB)}),
        "data.csv": b"track id, genre, amazement\n1,rock,0\n",
    }
    assert [a.name for a in corpora_download_sources.SOURCES["emotify"].archives] == list(files)
    sources("emotify", files, known=False)
    mirror, site = serve(files)
    got = get(tmp_path / "emotify", mirror, corpus="emotify")
    assert tree(tmp_path / "emotify") == {
        "emotifymusic/rock/1.mp3",
        "data.csv",
        ".msr-fetched.json",
    }
    assert [f.sha256 for f in got] == [digest(d) for d in files.values()]


MERP = {
    "audio/00_35.wav": noise(5 * KIB),
    "annotations_raw.parquet": b"PAR1 raw",
    "README.md": b"#",
}


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


def test_merp_from_the_hubs_own_list(serve, tmp_path):
    mirror, site = serve(hub(MERP))
    files = get(tmp_path / "merp", mirror, corpus="merp")
    assert tree(tmp_path / "merp") == {*MERP, ".msr-fetched.json"}
    assert (tmp_path / "merp/audio/00_35.wav").read_bytes() == MERP["audio/00_35.wav"]
    assert {f.name: f.sha256 for f in files} == {n: digest(d) for n, d in MERP.items()}
    assert {f.url for f in files} == {f"{mirror}/{RESOLVE}/{name}" for name in MERP}
    assert os.listdir(tmp_path) == ["merp"]


def test_no_token_reaches_a_mirror(serve, tmp_path, monkeypatch):
    monkeypatch.setenv("HF_TOKEN", "hf_secret")
    sent = []
    do_GET = Handler.do_GET
    monkeypatch.setattr(Handler, "do_GET", lambda self: (sent.append(self.headers), do_GET(self)))
    mirror, _ = serve(hub(MERP))
    get(tmp_path / "merp", mirror, corpus="merp")
    assert len(sent) > len(MERP)
    assert not [headers for headers in sent if "Authorization" in headers]


def test_a_cut_connection_to_the_hub_is_continued(serve, tmp_path):
    chunk = constants.DOWNLOAD_CHUNK_SIZE  # what the client keeps of a cut connection
    files = {"audio/b.wav": noise(chunk + 300 * KIB)}
    mirror, site = serve(hub(files))
    lists = [len(data) for name, data in site.files.items() if name.startswith("api/")]
    site.cuts = [*lists, chunk + 100 * KIB]
    get(tmp_path / "merp", mirror, corpus="merp")
    assert site.ranges_of(f"{RESOLVE}/audio/b.wav") == [None, f"bytes={chunk}-"]
    assert (tmp_path / "merp/audio/b.wav").read_bytes() == files["audio/b.wav"]


def facts(*siblings: dict) -> bytes:
    return json.dumps({"id": "x", "sha": COMMIT, "siblings": siblings}).encode()


@pytest.mark.parametrize(
    "listing, words",
    [
        (b"<html>", "answered with something else"),
        (b"[]", "answered with something else"),
        (facts({"rfilename": "a.wav", "size": "?"}), "answered with something else"),
        (b'{"id": "x", "error": "y"}', "lists none"),
        (facts(), "lists none"),
        (facts({"rfilename": "a/../../b", "size": 1}), r"'a/../../b' would lie outside"),
    ],
)
def test_a_strange_list_of_files(serve, tmp_path, listing, words):
    mirror, _ = serve({f"api/{DATASET}": listing})
    with pytest.raises(DownloadError, match=words):
        get(tmp_path / "merp", mirror, corpus="merp")
    assert os.listdir(tmp_path) == []


def test_a_file_of_the_hub_that_differs_from_the_list(serve, tmp_path):
    mirror, site = serve(hub(MERP))
    for name in ("README.md", "audio/00_35.wav"):
        site.files[f"{RESOLVE}/{name}"] += b"!"
        for _ in range(2):  # neither the first call nor a second one uses it
            with pytest.raises(DownloadError, match="the hub's own list") as error:
                get(tmp_path / "merp", mirror, corpus="merp")
            assert (error.value.file, error.value.field) == (name, "accept_hashes")
        site.files[f"{RESOLVE}/{name}"] = MERP[name]
        shutil.rmtree(tmp_path / "merp.fetching")


def test_a_hub_that_cannot_be_reached(serve, tmp_path, monkeypatch):
    mirror, site = serve(hub(MERP))
    with pytest.raises(DownloadError, match="127.0.0.1:9 refuses connections.*--mirror"):
        get(tmp_path / "merp", "http://127.0.0.1:9", corpus="merp")
    with pytest.raises(DownloadError, match="no-such-host.invalid is unknown here"):
        get(tmp_path / "merp", "http://no-such-host.invalid", corpus="merp")
    with pytest.raises(DownloadError, match="no trusted TLS connection"):
        get(tmp_path / "merp", mirror.replace("http:", "https:"), corpus="merp")
    del site.files[f"{RESOLVE}/README.md"]
    with pytest.raises(DownloadError, match=r"does not have it \(HTTP 404\)"):
        get(tmp_path / "merp", mirror, corpus="merp")
    site.status = 401
    with pytest.raises(DownloadError, match=r"asks for a login \(HTTP 401\)"):
        get(tmp_path / "merp", mirror, corpus="merp")
    site.status, site.hang_after = 0, {DATASET: 0}
    with pytest.raises(DownloadError, match=r"did not answer within 0\.2 s"):
        get(tmp_path / "merp", mirror, corpus="merp", timeout_s=0.2)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    with pytest.raises(DownloadError, match="HF_HUB_OFFLINE is set"):
        get(tmp_path / "merp", mirror, corpus="merp")


@pytest.mark.parametrize(
    "status, words",
    [(404, "does not have it"), (403, "refuses access"), (503, "unavailable for now")],
)
def test_refusals_name_site_file_and_ways_out(deam, tmp_path, status, words):
    mirror, site = deam
    site.status = status
    host = mirror.removeprefix("http://")
    with pytest.raises(DownloadError) as error:
        get(tmp_path / "deam", mirror)
    for part in ("DEAM_audio.zip", host, words, str(status), "http://home.example/", "--mirror"):
        assert part in str(error.value)
    assert not (tmp_path / "deam").exists()


def test_sites_that_cannot_be_reached(deam, tmp_path):
    mirror, site = deam
    # Port 9 (discard) of this machine: nothing listens.
    with pytest.raises(DownloadError, match="127.0.0.1:9 refuses connections.*--mirror"):
        get(tmp_path / "deam", "http://127.0.0.1:9")
    with pytest.raises(DownloadError, match="no-such-host.invalid is unknown here"):
        get(tmp_path / "deam", "http://no-such-host.invalid")
    with pytest.raises(DownloadError, match="no trusted TLS connection"):
        get(tmp_path / "deam", mirror.replace("http:", "https:"))
    with pytest.raises(DownloadError, match="--mirror: 'ftp://x' is not an address"):
        get(tmp_path / "deam", "ftp://x")
    with pytest.raises(DownloadError) as error:
        get(tmp_path / "deam", "http://[")
    assert error.value.field == "mirror"
    site.hang_after = {"DEAM_audio.zip": 0}
    with pytest.raises(DownloadError, match=r"did not answer within 0\.2 s"):
        get(tmp_path / "deam", mirror, timeout_s=0.2)


def test_a_web_page_instead_of_an_archive(deam, tmp_path):
    mirror, site = deam
    site.types["/DEAM_audio.zip"] = "text/html; charset=utf-8"
    with pytest.raises(DownloadError, match="answered with a web page"):
        get(tmp_path / "deam", mirror)


def space(monkeypatch, free: int) -> None:
    usage = shutil.disk_usage("/")._replace(free=free)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage)


def test_space_is_checked_before_download_and_before_unpacking(
    deam, sources, tmp_path, monkeypatch
):
    mirror, site = deam
    space(monkeypatch, 1000 * KIB)
    with pytest.raises(
        DownloadError, match=r"0\.6 MB to download.*needs 1\.2 MB, 1\.0 MB are free"
    ):
        get(tmp_path / "deam", mirror)
    assert site.asked == [] and os.listdir(tmp_path) == []
    # Of a file of unknown size, the server's answer tells; of an archive, its list of files.
    big = {"data.csv": noise(2000 * KIB)}
    sources("emotify", big, known=False)
    with pytest.raises(DownloadError, match=r"the rest of data\.csv needs 2\.0 MB"):
        get(tmp_path / "emotify", serve_more(site, mirror, big), corpus="emotify")
    packed = {"music.zip": zipped({"silence.wav": bytes(1200 * KIB) + noise(20 * KIB)})}
    sources("emotify", packed, known=False)
    with pytest.raises(DownloadError, match=r"music\.zip, unpacked, needs 1\.2 MB"):
        get(tmp_path / "emotify", serve_more(site, mirror, packed), corpus="emotify")
    assert not (tmp_path / "emotify").exists()
    assert not (tmp_path / "emotify.fetching/unpacked").exists()


def serve_more(site: Site, mirror: str, files: dict[str, bytes]) -> str:
    site.files |= files
    return mirror


def symlink(name: str) -> zipfile.ZipInfo:
    info = zipfile.ZipInfo(name)
    info.external_attr = 0o120777 << 16
    return info


def device(name: str) -> zipfile.ZipInfo:
    info = zipfile.ZipInfo(name)
    info.external_attr = 0o020666 << 16
    return info


def encrypted() -> bytes:
    """A stored entry with the flag of encryption, in both of its headers."""
    data = bytearray(zipped({"a.csv": b"secret"}, zipfile.ZIP_STORED))
    for signature, offset in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        data[data.index(signature) + offset] |= 1
    return bytes(data)


def spoiled() -> bytes:
    """A stored entry whose data no longer match their CRC."""
    return zipped({"a.csv": b"1,2,3,4,5,6"}, zipfile.ZIP_STORED).replace(b"3,4", b"3,5")


def understated() -> bytes:
    """A bomb whose headers call it 10 bytes large."""
    data = bytearray(zipped({"a.csv": bytes(1_000_000)}))
    for signature, offset in ((b"PK\x03\x04", 22), (b"PK\x01\x02", 24)):
        at = data.index(signature) + offset
        data[at : at + 4] = (10).to_bytes(4, "little")
    return bytes(data)


def misplaced() -> bytes:
    """The list of files is said to begin later than it does: entries lie before the start."""
    data = bytearray(zipped({"a.csv": b"1"}))
    at = data.index(b"PK\x05\x06") + 16
    data[at : at + 4] = (int.from_bytes(data[at : at + 4], "little") + 5).to_bytes(4, "little")
    return bytes(data)


def twice() -> bytes:
    return zipped({"a.csv": b"1", "b.csv": b"2"}, zipfile.ZIP_STORED).replace(b"b.csv", b"a.csv")


def odd_method() -> bytes:
    data = bytearray(zipped({"a.csv": b"1"}, zipfile.ZIP_STORED))
    for signature, offset in ((b"PK\x03\x04", 8), (b"PK\x01\x02", 10)):
        data[data.index(signature) + offset] = 97
    return bytes(data)


GOOD = {"first.csv": b"1"}
HOSTILE = {
    "bomb": (zipped({"a.csv": bytes(20_000_000)}), r"20\.0 MB \(limit 100 times\), as in a zip bomb"),
    "understated": (understated(), "damaged.*CRC"),
    "parent": (zipped(GOOD | {"../evil.csv": b"1"}), r"'\.\./evil\.csv' would lie outside"),
    "inner parent": (zipped(GOOD | {"a/../../evil": b"1"}), "would lie outside"),
    "absolute": (zipped(GOOD | {"/evil.csv": b"1"}), "'/evil.csv' would lie outside"),
    "drive": (zipped(GOOD | {"C:evil.csv": b"1"}), "'C:evil.csv' would lie outside"),
    "backslash": (zipped(GOOD | {"..\\evil.csv": b"1"}), "would lie outside"),
    "symlink": (zipped(GOOD | {symlink("link"): b"/etc"}), "'link' is a symbolic link"),
    "device": (zipped(GOOD | {device("null"): b""}), "'null' is neither a file nor a folder"),
    "encrypted": (encrypted(), "'a.csv' is encrypted"),
    "twice": (twice(), "'a.csv' is there twice"),
    "spoiled": (spoiled(), r"damaged \(Bad CRC-32 for file 'a.csv'\)"),
    "misplaced": (misplaced(), "damaged"),
    "method": (odd_method(), "'a.csv' is packed by a method other than deflate"),
    "truncated": (DEAM["metadata.zip"][:-30], "cut short"),
    "no zip": (b"<html>", "not a zip archive"),
    "empty": (b"", "not a zip archive"),
}  # fmt: skip


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_and_damaged_archives(serve, sources, tmp_path, name):
    data, words = HOSTILE[name]
    files = {"good.zip": zipped(GOOD), "bad.zip": data}
    sources("emotify", files)
    mirror, _ = serve(files)
    root = tmp_path / "root"
    with pytest.raises(DownloadError, match=rf"bad\.zip.*{words}"):
        get(root / "emotify", mirror, corpus="emotify")
    # Nothing of it, nor of the good one, lies anywhere but the archives themselves.
    assert tree(tmp_path) - {"root/emotify.fetching/.lock"} == {
        f"root/emotify.fetching/archives/{n}" for n in files
    }


def test_archives_of_too_many_entries(tmp_path, monkeypatch):
    monkeypatch.setattr(unzip, "MAX_ENTRIES", 3)
    path = tmp_path / "many.zip"
    path.write_bytes(zipped({f"{i}.csv": b"1" for i in range(4)}))
    with pytest.raises(DownloadError, match=r"4 entries \(limit 3\)"):
        unzip.unzip(path, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_folders_that_cannot_take_the_data(deam, tmp_path, monkeypatch):
    mirror, site = deam
    mine = tmp_path / "mine"
    mine.mkdir()
    (mine / "thesis.txt").write_text("years of work")
    with pytest.raises(
        DownloadError, match=r"--to: .*mine contains files that this command did not put"
    ):
        get(mine, mirror)
    assert (mine / "thesis.txt").read_text() == "years of work"
    with pytest.raises(DownloadError, match="cannot write .*thesis.txt"):
        get(mine / "thesis.txt" / "deam", mirror)
    (mine / ".msr-fetched.json").write_text("[]")
    with pytest.raises(DownloadError, match="msr-fetched.json is damaged"):
        get(mine, mirror)
    empty = tmp_path / "empty"
    empty.mkdir()
    monkeypatch.chdir(empty)
    with pytest.raises(DownloadError, match="cannot be replaced; name a new folder inside"):
        get(".", mirror)
    monkeypatch.chdir(tmp_path)
    assert site.asked == []
    assert get("empty", mirror)


def wait_for(condition, seconds: float = 60.0) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.02)


@pytest.mark.slow
def test_a_killed_process_is_resumed_by_the_next(serve, tmp_path):
    """The real command, for the corpus whose hashes the server itself gives."""
    files = {"audio/a.wav": noise(20 * KIB), "audio/b.wav": noise(900 * KIB, 1)}
    mirror, site = serve(hub(files))
    site.hang_after = {"b.wav": 400 * KIB}
    folder = tmp_path / "merp"
    arguments = ["data", "fetch", "merp", "--to", str(folder), "--accept-licence"]
    arguments += ["--mirror", mirror]
    archives = tmp_path / "merp.fetching/archives"
    process = subprocess.Popen(
        [sys.executable, "-m", "msr_utils.cli", *arguments],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        wait_for(lambda: (archives / "audio/a.wav").is_file())
        wait_for(lambda: site.ranges_of(f"{RESOLVE}/audio/b.wav"))
        with pytest.raises(DownloadError, match="another 'msr data fetch' is at work"):
            get(folder, mirror, corpus="merp")
    finally:
        process.send_signal(signal.SIGKILL)
        assert process.wait() == -signal.SIGKILL
    assert (archives / "audio/a.wav").read_bytes() == files["audio/a.wav"]
    assert not folder.exists()
    site.hang_after.clear()
    site.asked.clear()
    done = CliRunner().invoke(main, arguments)
    assert done.exit_code == 0, done.output
    # What is complete is kept; the hub's client starts the file that was cut again.
    asked = [path for path, _ in site.asked if "/resolve/" in path]
    assert asked == [f"/{RESOLVE}/audio/b.wav"]
    assert (folder / "audio/b.wav").read_bytes() == files["audio/b.wav"]
    assert os.listdir(tmp_path) == ["merp"]


def test_the_command_says_what_it_did(deam, tmp_path):
    mirror, _ = deam
    folder = str(tmp_path / "deam")
    invoke = CliRunner().invoke
    refused = invoke(main, ["data", "fetch", "deam", "--to", folder, "--mirror", mirror])
    assert refused.exit_code == 1
    assert "for tests" in refused.output and "--accept-licence" in refused.output
    arguments = ["data", "fetch", "deam", "--to", folder, "--mirror", mirror, "--accept-licence"]
    done = invoke(main, arguments)
    assert done.exit_code == 0, done.output
    assert f"SHA-256 {digest(DEAM['metadata.zip'])}" in done.output
    assert f"data in {folder}\nnext: msr data verify {folder}" in done.output
    assert f"make study CORPUS=deam DATA={folder}" in done.output
    again = invoke(main, arguments[:-1])
    assert again.exit_code == 0
    assert f"nothing to be done: deam is in {folder}" in again.output
    unknown = invoke(main, ["data", "fetch", "gtzan", "--to", folder])
    assert unknown.exit_code == 1
    assert "known: deam, emotify, merp, emopia, pop909" in unknown.output
    bad = invoke(main, [*arguments[:4], f"{folder}2", "--accept-licence", "--accept-hash", "abc"])
    assert bad.exit_code == 1
    assert "'abc' is not a SHA-256" in bad.output


@pytest.mark.slow
@pytest.mark.parametrize("answer", ["n", "y"])
def test_on_a_terminal_the_terms_are_a_question(deam, tmp_path, answer):
    if os.name == "nt":
        skip("needs a terminal of Linux or macOS", "make test, on one of them")
    import pty

    mirror, site = deam
    sees, terminal = pty.openpty()
    os.write(sees, f"{answer}\n".encode())
    # The registered hashes are the real ones: the tests' archives end as an unexpected file.
    done = subprocess.run(
        [sys.executable, "-m", "msr_utils.cli", "data", "fetch", "deam"]
        + ["--to", str(tmp_path / "deam"), "--mirror", mirror],
        stdin=terminal,
        capture_output=True,
        text=True,
    )
    os.close(terminal)
    os.close(sees)
    assert done.returncode == 1
    assert "Do you accept these terms? [y/N]" in done.stdout
    assert bool(site.asked) == (answer == "y")
    assert ("not the file that was expected" in done.stderr) == (answer == "y")
    assert ("--accept-licence" in done.stderr) == (answer == "n")

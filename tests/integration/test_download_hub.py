"""Data sets of the Hugging Face hub, from a server on this machine."""

from __future__ import annotations

import os
import shutil

import pytest
from download_site import (
    DATASET,
    KIB,
    RESOLVE,
    Handler,
    deam,
    digest,
    facts,
    get,
    hub,
    noise,
    quick_retries,
    serve,
    sources,
    tree,
)
from huggingface_hub import constants

from msr_utils.corpora.download.sources import DownloadError

__all__ = ["deam", "quick_retries", "serve", "sources"]  # fixtures


MERP = {
    "audio/00_35.wav": noise(5 * KIB),
    "annotations_raw.parquet": b"PAR1 raw",
    "README.md": b"#",
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

"""Downloads that are refused: hostile and damaged archives, too little space, odd servers."""

from __future__ import annotations

import os
import shutil
import zipfile

import pytest
from download_site import (
    DEAM,
    KIB,
    Site,
    deam,
    get,
    noise,
    quick_retries,
    serve,
    sources,
    tree,
    zipped,
)

from msr_utils.corpora.download import (
    unzip,
)
from msr_utils.corpora.download.sources import DownloadError

__all__ = ["deam", "quick_retries", "serve", "sources"]  # fixtures


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

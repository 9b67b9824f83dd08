"""Downloads from a server on this machine: complete, cut and resumed."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time

import pytest
from click.testing import CliRunner
from download_site import (
    DEAM,
    DYNAMIC,
    KIB,
    RESOLVE,
    deam,
    digest,
    get,
    hub,
    noise,
    quick_retries,
    serve,
    sources,
    tree,
    zipped,
)
from needs import skip

from msr_utils.cli import main
from msr_utils.corpora.download import (
    fetch,
    http,
)
from msr_utils.corpora.download import (
    sources as corpora_download_sources,
)
from msr_utils.corpora.download.fetch import FetchedFile, fetched_files
from msr_utils.corpora.download.sources import DownloadError

__all__ = ["deam", "quick_retries", "serve", "sources"]  # fixtures


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

"""`msr predict FOLDER` in processes of its own: several at once, killed, interrupted, out of disk."""

from __future__ import annotations

import csv
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import soundfile as sf
from conftest import tone
from needs import needs_mounts, needs_package, needs_posix

from msr_utils.inference.folder import State, predict_folder
from msr_utils.inference.folder_summary import JOURNAL, SUMMARY
from msr_utils.inference.folder_workers import DIED
from msr_utils.inference.model import Model, load

pytestmark = pytest.mark.slow

JOBS = [pytest.param(1, marks=pytest.mark.extended), 2]

LIGHT = ["--model", "light"]
FILES = 12


@pytest.fixture(scope="module")
def music(tmp_path_factory) -> Path:
    """Files that take a moment each, a broken one, and one with a warning."""
    folder = tmp_path_factory.mktemp("long") / "music"
    (folder / "sub").mkdir(parents=True)
    for i in range(FILES):
        samples = tone(100, 200 + 20 * i, rate=8000)
        sf.write(folder / ("sub" if i % 2 else "") / f"t{i:02d}.wav", samples, 8000, "PCM_U8")
    (folder / "bad.mp3").write_text("no music")
    (folder / "cut.wav").write_bytes((folder / "t00.wav").read_bytes()[:300_000])
    return folder


@pytest.fixture(scope="module")
def wanted(music, tmp_path_factory) -> dict[str, bytes]:
    """The files of an output folder whose making nobody disturbed."""
    out = tmp_path_factory.mktemp("wanted") / "out"
    predict_folder(load("light"), music, out, progress=False)
    return tree(out)


def tree(folder: Path) -> dict[str, bytes]:
    return {
        p.relative_to(folder).as_posix(): p.read_bytes()
        for p in folder.rglob("*")
        if p.is_file() and not p.name.startswith(".tmp-")
    }


def as_new(files: dict[str, bytes]) -> dict[str, bytes]:
    """An output folder as if it had been made in one go."""
    return {**files, SUMMARY: files[SUMMARY].replace(b",unchanged,", b",analysed,")}


def start(*arguments, **options) -> subprocess.Popen:
    command = [sys.executable, "-m", "msr_utils", "predict", *map(str, arguments), *LIGHT]
    if os.name == "posix":
        # A shell starts what runs in its background with Ctrl-C ignored.
        options["preexec_fn"] = lambda: signal.signal(signal.SIGINT, signal.SIG_DFL)
    return subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, **options
    )


def wait_until(condition, seconds: float = 60) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "waited too long"
        time.sleep(0.002)


def curves(out: Path) -> int:
    return len(list(out.rglob("[!.]*.wav.csv")))


def states(out: Path) -> list[str]:
    with open(out / SUMMARY, encoding="utf-8", newline="") as file:
        return [row["state"] for row in csv.DictReader(file)]


def test_several_processes_give_the_same(music, wanted, tmp_path):
    run = start(music, "--csv", tmp_path / "out", "--jobs", 2, "--json")
    out, err = run.communicate(timeout=120)
    assert run.returncode == 1, err  # bad.mp3
    assert tree(tmp_path / "out") == wanted
    document = json.loads(out)
    assert document["counts"]["analysed"] == FILES + 1
    assert document["with_warnings"] == 1
    # With more processes.
    again = predict_folder(load("light"), music, tmp_path / "out", jobs=3, progress=False)
    assert again.counts[State.UNCHANGED] == FILES + 1
    assert as_new(tree(tmp_path / "out")) == wanted


@pytest.mark.parametrize("jobs", JOBS)
def test_a_kill_loses_the_files_in_work(music, wanted, tmp_path, jobs):
    out = tmp_path / "out"
    run = start(music, "--csv", out, "--jobs", jobs, start_new_session=True)
    wait_until(lambda: curves(out) >= 5)
    run.kill()
    run.communicate(timeout=60)
    finished = curves(out)
    assert 5 <= finished < FILES
    assert (out / JOURNAL).is_file()
    if os.name == "posix":
        # Its processes end by themselves.
        wait_until(lambda: not alive(run.pid), 20)
    second = start(music, "--csv", out)
    text, err = second.communicate(timeout=120)
    assert second.returncode == 1, err
    # A curve that was written in the moment of the kill may not be in the journal.
    assert states(out).count("unchanged") in (finished - 1, finished)
    assert as_new(tree(out)) == wanted
    assert f"analysed   {FILES + 1 - states(out).count('unchanged'):6}" in text


def alive(group: int) -> bool:
    """Whether a process of a group is still there."""
    try:
        os.killpg(group, 0)
    except ProcessLookupError:
        return False
    return True


@needs_posix
@pytest.mark.parametrize("jobs", JOBS)
def test_ctrl_c_stops_cleanly(music, wanted, tmp_path, jobs):
    out = tmp_path / "out"
    run = start(music, "--csv", out, "--jobs", jobs, start_new_session=True)
    wait_until(lambda: curves(out) >= 3)
    pressed = time.monotonic()
    os.killpg(run.pid, signal.SIGINT)  # as a terminal does: to all processes
    text, err = run.communicate(timeout=60)
    assert time.monotonic() - pressed < 10
    assert run.returncode == 130, err
    assert "interrupted; what is finished is kept; call again to go on" in err
    assert "Traceback" not in err + text
    assert not (out / JOURNAL).exists()
    assert states(out).count("analysed") >= 2  # a curve may have come without its row
    wait_until(lambda: not alive(run.pid), 20)
    assert not list(out.rglob(".tmp-*"))
    assert start(music, "--csv", out).wait(120) == 1
    assert as_new(tree(out)) == wanted


@needs_posix
def test_ctrl_c_while_processes_start(music, tmp_path):
    for delay in (0.4, 0.8, 1.2):
        run = start(music, "--csv", tmp_path / "o", "--jobs", 2, start_new_session=True)
        time.sleep(delay)
        os.killpg(run.pid, signal.SIGINT)
        text, err = run.communicate(timeout=60)
        assert run.returncode in (1, 130, -signal.SIGINT), err
        assert "spawn_main" not in err  # no process of the pool reports it
        wait_until(lambda group=run.pid: not alive(group), 20)


@needs_package("psutil")
def test_a_process_that_dies_is_replaced(music, wanted, tmp_path):
    import psutil

    out = tmp_path / "out"
    run = start(music, "--csv", out, "--jobs", 2)
    wait_until(lambda: curves(out) >= 4)
    workers = [
        p for p in psutil.Process(run.pid).children() if "spawn_main" in " ".join(p.cmdline())
    ]
    assert len(workers) == 2
    workers[0].kill()
    text, err = run.communicate(timeout=120)
    assert run.returncode == 1, err
    assert tree(out) == wanted
    assert "Traceback" not in err


class Deadly(Model):
    """A model whose process dies at certain files, as a broken decoder does."""

    def __reduce__(self):
        return Deadly, (self.folder, self.threads)

    def predict(self, source, max_seconds=None, overlap=True):
        if "t04" in source.name or "t07" in source.name:
            os._exit(139)
        return super().predict(source, max_seconds, overlap)


def test_a_file_that_ends_its_process_is_the_one_that_fails(music, wanted, tmp_path):
    out = tmp_path / "out"
    result = predict_folder(Deadly(load("light").folder), music, out, jobs=2, progress=False)
    failed = {r.file: r.reason for r in result.select(State.FAILED)}
    assert set(failed) == {"bad.mp3", "sub/t07.wav", "t04.wav"}
    assert failed["t04.wav"] == DIED
    assert result.counts[State.ANALYSED] == FILES + 1 - 2
    made = tree(out)
    assert {name: made[name] for name in made if name != SUMMARY} == {
        name: data
        for name, data in wanted.items()
        if name not in (SUMMARY, "t04.wav.csv", "sub/t07.wav.csv")
    }


@needs_mounts
@pytest.mark.parametrize("jobs", JOBS)
def test_a_full_disk_stops_with_a_message(music, wanted, tmp_path, jobs):
    disk, copy = tmp_path / "disk", tmp_path / "copy"
    disk.mkdir()
    predict = f"'{sys.executable}' -m msr_utils predict '{music}' --csv '{disk}/out' --model light"
    script = (
        f"mount -t tmpfs -o size=160k none '{disk}' && {predict} --jobs {jobs}; echo code $?; "
        f"cp -r '{disk}/out' '{copy}'"
    )
    done = subprocess.run(
        ["unshare", "--map-root-user", "--mount", "sh", "-c", script],
        capture_output=True, text=True, check=False, timeout=120,
    )  # fmt: skip
    assert "code 1" in done.stdout, done
    assert "out: No space left on device; what is finished is kept" in done.stderr
    assert "Traceback" not in done.stderr
    finished = curves(copy)
    assert 3 <= finished < FILES
    # Nothing half is left, and on a disk with room it goes on.
    for name, data in tree(copy).items():
        assert name in (SUMMARY, JOURNAL) or wanted[name] == data
    shutil.copytree(copy, tmp_path / "out")
    assert start(music, "--csv", tmp_path / "out").wait(120) == 1
    assert states(tmp_path / "out").count("unchanged") in (finished - 1, finished)
    assert as_new(tree(tmp_path / "out")) == wanted

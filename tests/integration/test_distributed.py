"""Features on one core, several processes and a real Dask cluster that loses a worker."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import soundfile as sf
from click.testing import CliRunner
from conftest import tone, write_folder_corpus
from needs import PYTEST, skip
from threadpoolctl import threadpool_limits

from msr_utils.cli import main
from msr_utils.constants import SAMPLE_RATE
from msr_utils.corpora import load_corpus
from msr_utils.features import cluster as clusters
from msr_utils.features import cost as features_cost
from msr_utils.features import distributed
from msr_utils.features.cache import cached_features
from msr_utils.features.config import FeatureConfig
from msr_utils.features.distributed import DistributedError, TrackOutcome
from msr_utils.inference.model import load
from msr_utils.library import indexing
from msr_utils.library.analysis import TrackTask
from msr_utils.library.cluster import look_at_on_cluster
from msr_utils.library.library import Library
from msr_utils.library.shards import LibraryError
from msr_utils.paths import PROJECT_ROOT

CONFIG = FeatureConfig(blocks=("logmel", "logmel_sd"))
ENVIRONMENT = {**os.environ, "PYTHONPATH": str(PROJECT_ROOT), "OMP_NUM_THREADS": "1"}
DASK = [sys.executable, "-m", "dask"]
LOCAL = ["--no-dashboard", "--dashboard-address", "127.0.0.1:0", "--host", "127.0.0.1"]


def kept(cache: Path) -> dict[str, bytes]:
    """Every file of a cache; half-written ones would be among them."""
    files = [path for path in cache.rglob("*") if path.is_file()]
    return {path.relative_to(cache).as_posix(): path.read_bytes() for path in files}


def states(outcomes) -> list[str]:
    return [outcome.state for outcome in outcomes]


@pytest.fixture
def corpus_with_a_bad_file(tmp_path: Path) -> Path:
    root = write_folder_corpus(tmp_path / "tones", tracks=5, seconds=2)
    (root / "audio/t03.wav").write_text("no music")
    return root


# The cache


def test_a_damaged_cached_file_is_computed_again(folder_corpus, tmp_path):
    path, cache = folder_corpus / "audio/t00.wav", tmp_path / "cache"
    first = cached_features(path, CONFIG, cache)
    (file,) = cache.rglob("*.npy")
    whole = file.read_bytes()
    for damaged in (b"", whole[:5], whole[:100], whole[:-1], whole[: len(whole) // 2], b"x" * 999):
        file.write_bytes(damaged)
        np.testing.assert_array_equal(cached_features(path, CONFIG, cache), first)
        assert kept(cache) == {file.relative_to(cache).as_posix(): whole}
    for other in (first[:0], first[:, 1:], first.astype(np.float64), first[0]):
        np.save(file, other)
        np.testing.assert_array_equal(cached_features(path, CONFIG, cache), first)


def test_the_number_of_threads_does_not_change_a_byte(tmp_path):
    noise = np.random.default_rng(0).normal(0, 0.1, 20 * SAMPLE_RATE)
    sf.write(tmp_path / "noise.wav", noise, SAMPLE_RATE)
    for threads in (1, 2):
        with threadpool_limits(threads, user_api="blas"):
            cached_features(tmp_path / "noise.wav", CONFIG, tmp_path / f"cache{threads}")
    assert kept(tmp_path / "cache1") == kept(tmp_path / "cache2")


RACE = """
import sys, time
from pathlib import Path
from msr_utils.features.cache import compute_or_read
from msr_utils.features.config import FeatureConfig
root, name = Path(sys.argv[1]), sys.argv[2]
(root / f"ready-{name}").touch()
while not (root / "go").exists():
    time.sleep(0.001)
for i in range(20):
    file, features, computed = compute_or_read(root / "a.wav", FeatureConfig(), root / f"cache{i}")
    print(computed, features.shape, features.sum())
"""


@pytest.mark.slow
def test_two_processes_with_the_same_track_end_with_the_same_whole_file(folder_corpus, tmp_path):
    (folder_corpus / "audio/t00.wav").rename(tmp_path / "a.wav")
    command = [sys.executable, "-c", RACE, str(tmp_path)]
    racers = [
        subprocess.Popen([*command, name], stdout=subprocess.PIPE, text=True, env=ENVIRONMENT)
        for name in "ab"
    ]
    wait_until(lambda: len(list(tmp_path.glob("ready-*"))) == 2)
    (tmp_path / "go").touch()
    said = [racer.communicate(timeout=30)[0].splitlines() for racer in racers]
    assert [racer.returncode for racer in racers] == [0, 0]
    values = [[line.split(" ", 1)[1] for line in lines] for lines in said]
    assert values[0] == values[1]
    assert len(values[0]) == 20
    both = [a.startswith("True") and b.startswith("True") for a, b in zip(*said, strict=True)]
    if not any(both):
        skip(
            "the two processes never computed at the same time, so nothing was tried",
            f"{PYTEST} tests/integration/test_distributed.py -k two_processes_with_the_same_track",
        )
    reference = cached_features(tmp_path / "a.wav", FeatureConfig(), tmp_path / "alone")
    for i in range(20):
        assert kept(tmp_path / f"cache{i}") == kept(tmp_path / "alone")
    assert len(reference) == 8


# One machine


def test_a_bad_file_is_reported_and_the_rest_is_done(corpus_with_a_bad_file, tmp_path):
    cache, failures = tmp_path / "cache", tmp_path / "failed.csv"
    command = ["features", "--corpus", "folder", "--data", str(corpus_with_a_bad_file)]
    command += ["--cache", str(cache), "--failures", str(failures)]
    first = CliRunner().invoke(main, command)
    assert first.exit_code == 1
    assert "4 computed, 0 already there, 1 failed" in first.stdout
    assert "t03" in first.stdout
    assert "t03.wav: not audio that can be decoded" in first.stdout
    assert "Traceback" not in first.output
    table = pd.read_csv(failures)
    assert list(table.columns) == ["track", "file", "error"]
    assert table.track.tolist() == ["t03"]
    assert Path(table.file[0]).resolve() == corpus_with_a_bad_file / "audio/t03.wav"

    before = kept(cache)
    files = sorted(cache.rglob("*.npy"))
    times = [file.stat().st_mtime_ns for file in files]
    as_json = tmp_path / "failed.json"
    again = CliRunner().invoke(main, [*command[:-1], str(as_json)])
    assert "0 computed, 4 already there, 1 failed" in again.stdout
    assert [file.stat().st_mtime_ns for file in files] == times
    assert [row["track"] for row in json.loads(as_json.read_text())] == ["t03"]

    sf.write(corpus_with_a_bad_file / "audio/t03.wav", np.ones(SAMPLE_RATE) / 9, SAMPLE_RATE)
    mended = CliRunner().invoke(main, command)
    assert mended.exit_code == 0
    assert "1 computed, 4 already there, 0 failed" in mended.stdout
    assert before.items() < kept(cache).items()
    assert not len(pd.read_csv(failures))


@pytest.mark.slow
def test_processes_keep_what_one_process_keeps(corpus_with_a_bad_file, tmp_path):
    corpus = load_corpus("folder", corpus_with_a_bad_file)
    serial = distributed.compute_features(corpus, CONFIG, tmp_path / "serial", progress=False)
    parallel = distributed.compute_features(
        corpus, CONFIG, tmp_path / "parallel", workers=2, progress=False
    )
    assert parallel == serial
    assert states(serial) == ["computed"] * 3 + ["failed", "computed"]
    assert kept(tmp_path / "parallel") == kept(tmp_path / "serial")


@pytest.mark.parametrize(
    "options, message",
    [
        (["--features", "logmel,nosuch"], "unknown block 'nosuch'; known: logmel"),
        (["--data", "no/such/folder"], "no folder"),
        (["--corpus", "nosuch"], "unknown name 'nosuch'"),
        (["--failures", "failed.txt"], "must end in .csv or .json"),
        (["--failures", "tracks.csv/failed.csv"], "cannot write"),
        (["--cache", "tracks.csv"], "cannot make the cache folder"),
        (["--scheduler", "localhost:8786"], "must be local or tcp://host:port"),
        (["--scheduler", "tcp://127.0.0.1"], "must be local or tcp://host:port"),
        (["--scheduler", "tcp://127.0.0.1:1", "--workers", "2"], "a Dask cluster has its own"),
    ],
)
def test_wrong_options_are_named(folder_corpus, tmp_path, monkeypatch, options, message):
    monkeypatch.chdir(folder_corpus)
    command = ["features", "--corpus", "folder", "--data", ".", "--cache", str(tmp_path / "cache")]
    result = CliRunner().invoke(main, command + options)
    assert result.exit_code == 1
    assert isinstance(result.exception, SystemExit)
    assert message in result.output


def test_many_failures_are_counted_not_listed():
    failed = [TrackOutcome(f"t{i}", f"{i}.wav", "failed", "why") for i in range(100)]
    lines = distributed.failure_table(failed).splitlines()
    assert lines[0].split() == ["track", "file", "error"]
    assert lines[1].split() == ["t0", "0.wav", "why"]
    assert lines[-1] == f"and {100 - distributed.MAX_FAILURES_SHOWN} more"
    assert len(lines) == distributed.MAX_FAILURES_SHOWN + 2


# Many machines


def wait_until(condition, seconds: float = 30) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.02)


class Cluster:
    """A scheduler and its workers: processes on 127.0.0.1 that this test starts and ends."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.processes: list[subprocess.Popen] = []
        about = folder / "scheduler.json"
        self._start(["scheduler", "--port", "0", "--scheduler-file", str(about), *LOCAL])
        wait_until(about.is_file)
        wait_until(lambda: about.read_text().endswith("}"))
        self.address = json.loads(about.read_text())["address"]

    def _start(self, arguments: list[str], environment: dict = ENVIRONMENT) -> subprocess.Popen:
        with open(self.folder / "dask.log", "a") as log:
            process = subprocess.Popen(
                [*DASK, *arguments], stdout=log, stderr=log, env=environment, cwd=self.folder
            )
        self.processes.append(process)
        return process

    def worker(self, name: str, threads: int = 1, **environment: str) -> subprocess.Popen:
        options = ["--nthreads", str(threads), "--no-nanny", "--name", name, *LOCAL]
        options += ["--local-directory", str(self.folder / name)]
        return self._start(["worker", self.address, *options], {**ENVIRONMENT, **environment})

    def end(self) -> None:
        for process in reversed(self.processes):
            process.kill()
            process.wait()


@contextmanager
def cluster(folder: Path):
    folder.mkdir()
    started = Cluster(folder)
    try:
        yield started
    finally:
        started.end()


@pytest.mark.slow
def test_a_killed_worker_costs_nothing(tmp_path):
    from distributed import Client

    # Long tones in small files, so that the worker is killed at its work.
    root = write_folder_corpus(tmp_path / "tones", tracks=24, seconds=2)
    for i in range(24):
        audio = tone(120, 200 + 10 * i, rate=8000)
        sf.write(root / f"audio/t{i:02d}.wav", audio, 8000, subtype="PCM_U8")
    (root / "audio/t20.wav").write_text("no music")
    cache = tmp_path / "cache"
    with cluster(tmp_path / "dask") as dask:
        victim, _ = dask.worker("victim"), dask.worker("other")
        with Client(dask.address, set_as_default=False, timeout=30) as client:
            client.wait_for_workers(2, timeout=30)
            by_name = {w["name"]: a for a, w in client.scheduler_info()["workers"].items()}
            command = [sys.executable, "-m", "msr_utils.cli", "features", "--corpus", "folder"]
            command += ["--data", str(root), "--cache", str(cache), "--scheduler", dask.address]
            command += ["--features", ",".join(CONFIG.blocks)]
            run = subprocess.Popen(
                command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=ENVIRONMENT
            )
            wait_until(lambda: len(list(cache.rglob("[!.]*.npy"))) >= 4)
            wait_until(lambda: client.processing()[by_name["victim"]])
            victim.send_signal(signal.SIGKILL)
            victim.wait()
            assert len(list(cache.rglob("[!.]*.npy"))) < 20
        out, err = run.communicate(timeout=60)
    assert run.returncode == 1, err
    assert "features: 100%" in err
    assert "Traceback" not in err
    assert "1 failed" in out
    assert "t20.wav: not audio that can be decoded" in out

    corpus = load_corpus("folder", root)
    serial = distributed.compute_features(corpus, CONFIG, tmp_path / "serial", progress=False)
    assert states(serial).count("computed") == 23
    made = {name: data for name, data in kept(cache).items() if "/.tmp-" not in name}
    assert made == kept(tmp_path / "serial")


@pytest.mark.slow
def test_a_cluster_that_cannot_do_the_work_is_refused(folder_corpus, tmp_path, monkeypatch):
    corpus = load_corpus("folder", folder_corpus)

    def compute(address: str):
        return distributed.compute_features(corpus, CONFIG, tmp_path / "c", address, progress=False)

    # A package of another version on one machine only.
    fake = tmp_path / "fake" / "soxr-0.0.1.dist-info"
    fake.mkdir(parents=True)
    (fake / "METADATA").write_text("Metadata-Version: 2.1\nName: soxr\nVersion: 0.0.1\n")
    with cluster(tmp_path / "dask") as dask:
        with monkeypatch.context() as patch:
            patch.setattr(clusters, "SCHEDULER_TIMEOUT_S", 1)
            with pytest.raises(DistributedError, match=f"{dask.address} has no worker"):
                compute(dask.address)
        two_threads = dask.worker("two", threads=2)
        with pytest.raises(DistributedError, match="has 2 threads; start it with --nthreads 1"):
            compute(dask.address)
        two_threads.kill()
        two_threads.wait()
        dask.worker("old", PYTHONPATH=f"{fake.parent}:{PROJECT_ROOT}")
        with pytest.raises(DistributedError, match=r"soxr on tcp://127\S+: 0\.0\.1, here"):
            compute(dask.address)
    assert not kept(tmp_path / "c")


@pytest.mark.slow
def test_a_library_is_the_same_from_a_cluster(tmp_path, monkeypatch):
    model, music = load("light"), tmp_path / "music"
    music.mkdir()
    for n in range(4):
        sf.write(music / f"{n:02d}.wav", tone(3, 200 + 20 * n, rate=8000), 8000, "PCM_U8")
    (music / "bad.mp3").write_text("no music")
    libraries = [Library(tmp_path / name, create=True) for name in ("cluster", "local")]
    with cluster(tmp_path / "dask") as dask:
        dask.worker("only")
        report = indexing.add(libraries[0], model, [music], progress=False, scheduler=dask.address)
    assert (report.counts["added"], report.counts["failed"]) == (4, 1)
    indexing.add(libraries[1], model, [music], progress=False)
    curves = []
    for library in libraries:
        view = library.view()
        rows = np.arange(len(view))
        named = sorted(zip([info.path for info in view.infos(rows)], rows, strict=True))
        curves.append([(path, view.curve(int(row)).tolist()) for path, row in named])
    assert len(curves[0]) == 4 and curves[0] == curves[1]
    monkeypatch.setattr(clusters, "SCHEDULER_TIMEOUT_S", 1)
    nowhere = {"scheduler": "tcp://127.0.0.1:1", "progress": False}
    with pytest.raises(LibraryError, match="no Dask scheduler answers"):
        indexing.rescan(libraries[0], model, **nowhere)
    assert indexing.status(libraries[0]).unfinished == ""  # It was checked before a run began.
    with pytest.raises(LibraryError, match="--jobs is for this machine"):
        indexing.add(libraries[0], model, [music], jobs=2, **nowhere)
    for library in libraries:
        library.close()


def test_a_file_at_which_all_workers_died_is_an_outcome(tmp_path, monkeypatch):
    """Where Dask gives up: it gives None for such a task."""
    given = [(TrackTask(tmp_path / "x.mp3"), None)]
    monkeypatch.setattr("msr_utils.library.cluster.run_on_cluster", lambda *_: iter(given))
    (outcome,) = look_at_on_cluster(load("light"), [], "tcp://127.0.0.1:1")
    assert outcome.result == "failed" and "the process that analysed it died" in outcome.reason


@pytest.mark.slow
def test_a_scheduler_that_dies_is_named_and_what_was_done_is_kept(tmp_path):
    root = write_folder_corpus(tmp_path / "tones", tracks=20, seconds=20)
    corpus = load_corpus("folder", root)
    with cluster(tmp_path / "dask") as dask:
        dask.worker("only")
        done = distributed._on_cluster(
            [
                distributed._Task(i, t.audio_path, CONFIG, tmp_path / "c")
                for i, t in enumerate(corpus.tracks)
            ],
            dask.address,
        )
        first = next(done)
        dask.processes[0].kill()
        with pytest.raises(DistributedError, match=f"lost the scheduler {dask.address}"):
            list(done)
    assert first.state == "computed"
    again = distributed.compute_features(corpus, CONFIG, tmp_path / "c", progress=False)
    assert "already there" in states(again)
    assert "failed" not in states(again)


@pytest.mark.parametrize("listens", [True, False])
def test_no_scheduler_at_the_address_is_told_soon(folder_corpus, tmp_path, monkeypatch, listens):
    monkeypatch.setattr(clusters, "SCHEDULER_TIMEOUT_S", 1)
    corpus = load_corpus("folder", folder_corpus)
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        if listens:  # and never says a word
            other.listen()
        address = f"tcp://127.0.0.1:{other.getsockname()[1]}"
        start = time.monotonic()
        with pytest.raises(DistributedError, match=f"no Dask scheduler answers at {address}"):
            distributed.compute_features(corpus, CONFIG, tmp_path, address, progress=False)
        assert time.monotonic() - start < 10


def test_without_dask_the_extra_is_named(folder_corpus, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "distributed", None)
    corpus = load_corpus("folder", folder_corpus)
    with pytest.raises(DistributedError, match=r"pip install -e '\.\[scale\]'"):
        distributed.compute_features(
            corpus, CONFIG, tmp_path, "tcp://127.0.0.1:8786", progress=False
        )
    assert set(states(distributed.compute_features(corpus, CONFIG, tmp_path))) == {"computed"}


def test_a_cache_that_this_machine_does_not_see_is_told(tmp_path):
    task = distributed._Task(0, tmp_path / "a.wav", CONFIG, tmp_path)
    with pytest.raises(DistributedError, match="under the same path, on a shared file system"):
        distributed._check_visible(distributed._TaskResult(0, "computed", "abc.npy"), task)
    bad = distributed._TaskResult(0, "failed", "why")
    assert distributed._check_visible(bad, task) == bad


# What it costs


def test_cost_is_measured_for_a_minute_of_audio(folder_corpus):
    paths = sorted((folder_corpus / "audio").iterdir())
    cost = features_cost.measure_cost(paths, CONFIG)
    assert cost.files == len(paths) == 6
    assert cost.audio_minutes == pytest.approx(6 * 4 / 60)
    header = 128
    one = 8 * CONFIG.dim * 4 + header
    assert cost.bytes_per_minute == pytest.approx(one * 60 / 4)
    assert cost.audio_bytes_per_minute == pytest.approx((4 * SAMPLE_RATE * 2 + 44) * 60 / 4)
    assert 0 < cost.seconds_per_minute < 60
    with pytest.raises(ValueError, match="at least one audio file"):
        features_cost.measure_cost([], CONFIG)


def test_estimate_worked_out_by_hand():
    # 1000 tracks of 3 min: 50 h of audio; 0.9 s and 0.5 MiB each.
    got = features_cost.estimate(1000, 180, 0.9, 2**19, cores=5)
    assert asdict(got) == {
        "audio_hours": pytest.approx(50),
        "core_hours": pytest.approx(0.25),
        "hours": pytest.approx(0.05),
        "storage_gib": pytest.approx(1000 / 2048),
    }
    with pytest.raises(ValueError, match="cores: must be at least 1"):
        features_cost.estimate(1, 1, 1, 1, cores=0)
    with pytest.raises(ValueError, match="cost_s: must not be negative"):
        features_cost.estimate(1, 1, -1, 1, cores=1)


def test_a_folder_of_audio_needs_no_labels(folder_corpus, tmp_path):
    from click.testing import CliRunner

    from msr_utils.cli import main

    arguments = ["features", "--corpus", "audio", "--features", "onset", "--cache", str(tmp_path)]
    done = CliRunner().invoke(main, [*arguments, "--data", str(folder_corpus / "audio")])
    assert done.exit_code == 0, done.output
    assert "6 computed, 0 already there, 0 failed" in done.output
    (tmp_path / "empty").mkdir()
    none = CliRunner().invoke(main, [*arguments, "--data", str(tmp_path / "empty")])
    assert none.exit_code == 1 and "empty: no audio file; known: .mp3" in none.output

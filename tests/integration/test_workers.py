"""The pool of workers: lanes and turns, limits, workers that die, and both ways to start one."""

from __future__ import annotations

import io
import os
import signal
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from multiprocessing import Pipe
from pathlib import Path

import numpy as np
import psutil
import pytest
import soundfile as sf
from needs import needs_posix

from msr_utils.audio.source import AudioError, AudioTooLong, TimeLimitExceeded
from msr_utils.inference.model import load
from msr_utils.paths import MODELS_DIR
from serve import pool as pool_module
from serve.config import ServiceConfig
from serve.inline import InlinePool
from serve.lanes import LIVE, LONG, SHORT, Job, Lane
from serve.pool import WorkerPool
from serve.processes import SpawnStarter, Worker
from serve.request_errors import RequestError, Unavailable
from serve.tasks import DONE, MAX_VALUES, SMALL_BYTES, LiveTask, PredictTask, Upload

pytestmark = pytest.mark.slow

TASK = PredictTask("light", 900.0, MAX_VALUES)


def audio(seconds: float, rate: int = 22_050, **options: str) -> bytes:
    """Noise and a tone as a file."""
    rng = np.random.default_rng(0)
    t = np.arange(int(seconds * rate)) / rate
    samples = 0.3 * np.sin(2 * np.pi * 440 * t) + rng.normal(0, 0.05, len(t))
    file = io.BytesIO()
    sf.write(file, samples.astype(np.float32), rate, **{"format": "FLAC", **options})
    return file.getvalue()


SHORT_FILE = audio(3)


@pytest.fixture(scope="module")
def long_file() -> bytes:
    """Seconds of work."""
    file = io.BytesIO()
    sf.write(file, np.zeros(880 * 8_000, np.float32), 8_000, format="FLAC")
    return file.getvalue()


def upload(content: bytes) -> Upload:
    return Upload(io.BytesIO(content), 0, len(content))


def frames(answers: Iterator) -> np.ndarray:
    """All values that a task gives."""
    *some, done = answers
    assert done.kind == DONE
    return np.concatenate([answer.frames for answer in some])


def live_frames(pool: WorkerPool, content: bytes) -> int:
    """Frames that the only chunk of a stream gives."""
    task = LiveTask("light", b"", content, "s16le", 2, 8_000, True, 10.0)
    (answer,) = pool.run(task, "live", lane=LIVE)
    return len(answer.frames)


def started(**settings: object) -> WorkerPool:
    config = ServiceConfig(models_dir=MODELS_DIR, **{"workers": 1, **settings})
    pool = WorkerPool(config)
    pool.load()
    return pool


@pytest.fixture(scope="module")
def pool() -> Iterator[WorkerPool]:
    pool = started(max_work_seconds=100, max_queue=4)
    yield pool
    processes = [worker.pid for worker in pool._workers]
    pool.close()
    assert not any(map(psutil.pid_exists, processes))


def wait_for(condition, seconds: float = 10) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it did not happen"
        time.sleep(0.01)


def busy_worker(pool: WorkerPool) -> Worker:
    wait_for(lambda: any(pool._workers.values()))
    return next(worker for worker, job in pool._workers.items() if job is not None)


# ------------------------------------------------------------------------------ lanes


def test_clients_take_turns():
    lane = Lane(1, 10)
    for client in "aaabbc":
        lane.push(Job(TASK, None, client, SHORT))
    assert [lane.pop().client for _ in range(6)] == [*"abcaba"]
    assert lane.waiting == 0


def test_a_full_queue_gives_way_to_who_has_less_in_it():
    lane = Lane(1, 3)
    lane.running = 1
    first, *others = (Job(TASK, None, "greedy", SHORT) for _ in range(3))
    for job in (first, *others):
        lane.push(job)
    with pytest.raises(Unavailable, match="running requests: 1, waiting requests: 3"):
        lane.push(Job(TASK, None, "greedy", SHORT))
    modest = Job(TASK, None, "modest", SHORT)
    lane.push(modest)
    assert lane.jobs == [first, others[0], modest]
    assert isinstance(others[1].events.get(), Unavailable)
    with pytest.raises(Unavailable):  # Both have as much now, or nearly.
        lane.push(Job(TASK, None, "modest", SHORT))


# ------------------------------------------------------------------------------ answers


def test_a_worker_gives_what_the_library_gives(pool):
    expected = load("light").predict(io.BytesIO(SHORT_FILE))
    values = frames(pool.run(TASK, "a", upload(SHORT_FILE)))
    np.testing.assert_array_equal(values, np.stack([expected.valence, expected.arousal], 1))
    inline = frames(InlinePool(pool._config).run(TASK, "a", upload(SHORT_FILE)))
    np.testing.assert_array_equal(values, inline)


def test_a_large_upload_is_read_from_its_place_in_the_open_file(pool, tmp_path):
    large = audio(30, subtype="PCM_24")
    assert len(large) > SMALL_BYTES
    path = tmp_path / "body"
    path.write_bytes(b"before" + large + b"after")
    with path.open("rb") as file:
        path.unlink()
        part = Upload(file, 6, 6 + len(large))
        values = frames(pool.run(TASK, "a", part))
    np.testing.assert_array_equal(values, frames(pool.run(TASK, "a", upload(large))))


def test_errors_of_the_library_come_back_as_they_are(pool):
    with pytest.raises(AudioError, match="^file: not audio that can be decoded"):
        frames(pool.run(TASK, "a", upload(b"no music " * 100)))
    with pytest.raises(AudioTooLong, match="^file: longer than the 1 s that are accepted$"):
        frames(pool.run(PredictTask("light", 1.0, MAX_VALUES), "a", upload(SHORT_FILE)))
    with pytest.raises(AudioTooLong, match="more than the 0.05 million samples"):
        frames(pool.run(PredictTask("light", 9.0, 50_000), "a", upload(SHORT_FILE)))
    with pytest.raises(RequestError, match="7 bytes are not a whole number") as error:
        live_frames(pool, bytes(7))
    assert (error.value.status, error.value.field) == (422, "chunk")
    assert frames(pool.run(TASK, "a", upload(SHORT_FILE))).shape == (6, 2)


# ------------------------------------------------------------------------------ limits


def test_short_and_live_tasks_pass_a_long_one(pool, long_file):
    answers = pool.run(TASK, "slow", upload(long_file))
    next(answers)
    wait_for(lambda: pool.running(LONG) == 1)
    worker = busy_worker(pool)
    assert pool.running(SHORT) == 0
    if os.name == "posix":
        assert psutil.Process(worker.pid).nice() > 0
    frames(pool.run(TASK, "quick", upload(SHORT_FILE)))
    assert live_frames(pool, bytes(32_000)) == 2
    assert pool.running(LONG) == 1  # It still runs.
    assert len(frames(answers)) > 1_000
    wait_for(lambda: not psutil.pid_exists(worker.pid))  # It cannot become quick again.


def test_work_ends_at_its_limit_whatever_it_does(long_file):
    pool = started(max_work_seconds=0.3)
    try:
        start = time.monotonic()
        with pytest.raises(TimeLimitExceeded, match="^file: not done after 0.3 s; try again later"):
            frames(pool.run(TASK, "a", upload(long_file)))
        assert 0.3 < time.monotonic() - start < 3
        assert pool.killed == {"time": 1}
        # A process that does not even run any more.
        answers = pool.run(TASK, "a", upload(long_file))
        threading.Timer(0.05, lambda: psutil.Process(busy_worker(pool).pid).suspend()).start()
        with pytest.raises(TimeLimitExceeded):
            frames(answers)
    finally:
        pool.close()


def test_memory_of_a_task_is_limited(pool, long_file, monkeypatch):
    monkeypatch.setattr(pool_module, "TASK_BYTES", -1)  # Any task takes more.
    with pytest.raises(RequestError, match="^file: needs more memory") as error:
        frames(pool.run(TASK, "a", upload(long_file)))
    assert error.value.status == 422
    monkeypatch.undo()
    monkeypatch.setattr(pool, "_all_bytes", -1)
    with pytest.raises(Unavailable, match="large files take all of its memory"):
        frames(pool.run(TASK, "a", upload(long_file)))
    monkeypatch.undo()
    assert len(frames(pool.run(TASK, "a", upload(SHORT_FILE)))) == 6


def test_a_long_task_without_a_place_begins_again_and_loses_nothing(pool, long_file, monkeypatch):
    expected = frames(pool.run(TASK, "a", upload(long_file)))
    monkeypatch.setattr(pool._lanes[LONG], "slots", 1)
    before = pool.killed["put back"]
    with ThreadPoolExecutor(2) as threads:
        runs = [
            threads.submit(lambda k=k: frames(pool.run(TASK, f"client {k}", upload(long_file))))
            for k in range(2)
        ]
        for run in runs:
            np.testing.assert_array_equal(run.result(100), expected)
    assert pool.killed["put back"] > before


def test_a_client_of_long_tasks_begins_in_the_long_lane_until_a_task_is_short(pool, long_file):
    frames(pool.run(TASK, "heavy", upload(long_file)))
    assert "heavy" in pool._heavy
    worker = pool._idle[-1]
    assert len(frames(pool.run(TASK, "heavy", upload(SHORT_FILE)))) == 6
    assert worker.is_low
    assert "heavy" not in pool._heavy


def test_requests_wait_no_longer_than_they_may(long_file):
    pool = started(max_wait_seconds=0.2)
    try:
        with pool._lock:
            pool._lanes[SHORT].running = 1
        with pytest.raises(Unavailable, match=r"this request waited 0.2 s for its turn"):
            frames(pool.run(TASK, "a", upload(SHORT_FILE)))
        with pool._lock:
            pool._lanes[SHORT].running = 0
        assert len(frames(pool.run(TASK, "a", upload(SHORT_FILE)))) == 6
    finally:
        pool.close()


# ------------------------------------------------------------------------------ death


def test_an_abandoned_task_is_ended(pool, long_file):
    answers = pool.run(TASK, "a", upload(long_file))
    next(answers)
    worker = busy_worker(pool)
    answers.close()
    wait_for(lambda: not psutil.pid_exists(worker.pid))
    wait_for(lambda: not any(pool._workers.values()))
    assert len(frames(pool.run(TASK, "a", upload(SHORT_FILE)))) == 6


def test_a_killed_worker_takes_only_its_own_task_along(pool, long_file):
    with ThreadPoolExecutor(2) as threads:
        lost = threads.submit(lambda: frames(pool.run(TASK, "a", upload(long_file))))
        worker = busy_worker(pool)
        quick = threads.submit(lambda: frames(pool.run(TASK, "b", upload(SHORT_FILE))))
        psutil.Process(worker.pid).kill()
        with pytest.raises(Unavailable, match="process that worked on this request died"):
            lost.result(20)
        assert len(quick.result(20)) == 6
    wait_for(lambda: len(pool._workers) == pool._n_normal, 2)


@needs_posix
def test_the_pool_outlives_the_process_that_forks(pool):
    forker = pool._starter._launched.process.pid
    os.kill(forker, signal.SIGKILL)
    wait_for(lambda: pool._starter._launched.process.pid != forker)
    assert len(frames(pool.run(TASK, "a", upload(SHORT_FILE)))) == 6


@needs_posix
def test_what_decoders_print_is_bounded(caplog):
    reading, writing = os.pipe()
    os.set_blocking(reading, False)
    ours, _ = Pipe()
    worker = Worker(os.getpid(), ours, reading)
    for _ in range(3):
        os.write(writing, b"Error A : 11\n" * 4_000)
        worker.read_output()
    with caplog.at_level("INFO"):
        dropped = worker.log_output()
    assert dropped == 3 * 13 * 4_000 - 2_000
    (record,) = caplog.records
    assert record.fields["output"].startswith("Error A : 11\n")
    assert record.fields["dropped_bytes"] == dropped
    worker.close()
    os.close(writing)


def test_workers_can_be_spawned(monkeypatch):
    """As on Windows."""
    monkeypatch.setattr(
        pool_module, "make_starter", lambda folder, seconds, _: SpawnStarter(folder, seconds)
    )
    pool = started()
    try:
        assert frames(pool.run(TASK, "a", upload(SHORT_FILE))).shape == (6, 2)
        worker = next(w for w in pool._workers if w.is_ready)
        psutil.Process(worker.pid).kill()
        wait_for(lambda: worker not in pool._workers)
        assert frames(pool.run(TASK, "a", upload(audio(30, subtype="PCM_24")))).shape == (60, 2)
    finally:
        pool.close()


def test_a_damaged_bundle_is_told_and_nothing_stays(tmp_path):
    folder = tmp_path / "light"
    folder.mkdir()
    for file in (MODELS_DIR / "light").iterdir():
        (folder / file.name).write_bytes(file.read_bytes())
    (folder / "model.onnx").write_bytes(b"x")
    before = {child.pid for child in psutil.Process().children(recursive=True)}
    with pytest.raises(ValueError, match="bundle light: model.onnx has SHA-256"):
        WorkerPool(ServiceConfig(models_dir=Path(tmp_path))).load()
    assert {child.pid for child in psutil.Process().children(recursive=True)} <= before

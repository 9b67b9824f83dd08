"""Predicting in a second thread: the same values and errors, and no thread that stays."""

from __future__ import annotations

import os
import signal
import threading
import time

import numpy as np
import pytest
import soundfile as sf
from conftest import tone
from needs import needs_posix

from msr_utils.audio.source import AudioError, AudioTooLong
from msr_utils.inference import FilePrediction, load, model, overlap
from msr_utils.inference.overlap import overlapped


@pytest.fixture(autouse=True)
def no_thread_stays():
    before = set(threading.enumerate())
    yield
    assert set(threading.enumerate()) == before


@pytest.fixture
def two_cores(monkeypatch):
    monkeypatch.setattr(model, "has_second_core", lambda: True)


@pytest.fixture(scope="module")
def light():
    return load("light")


@pytest.fixture(scope="module")
def song(tmp_path_factory):
    """Three blocks, whose channels cancel each other."""
    path = tmp_path_factory.mktemp("song") / "song.wav"
    left = tone(24) * np.repeat([0, 1, 0.5, 1], 6 * 22_050).astype(np.float32)
    sf.write(path, np.stack([left, -left], axis=1), 22_050)
    return path


def test_the_values_are_those_of_one_thread(light, song, two_cores):
    names: list[str] = []
    one, two = (
        FilePrediction(
            light, song, overlap=both,
            on_features=lambda features: names.append(threading.current_thread().name),
        )
        for both in (False, True)
    )  # fmt: skip
    parts = [np.concatenate(list(running)) for running in (one, two)]
    assert parts[0].tobytes() == parts[1].tobytes()
    found, again = one.prediction(), two.prediction()
    assert found.to_json() == again.to_json() and found.warnings == again.warnings
    assert "the channels cancel each other" in found.warnings[0]
    half = len(names) // 2
    assert set(names[:half]) == {"MainThread"}
    assert all(name.startswith("predict") for name in names[half:])


def test_one_core_gets_no_second_thread(light, song, monkeypatch):
    monkeypatch.setattr(model, "has_second_core", lambda: False)
    monkeypatch.setattr(model, "overlapped", None)
    assert len(light.predict(song).valence) == 48


def test_errors_are_those_of_one_thread(light, song, two_cores, tmp_path):
    nothing, damaged = tmp_path / "short.wav", tmp_path / "nan.wav"
    sf.write(nothing, tone(0.4), 22_050)
    samples = tone(24)
    samples[23 * 22_050] = np.nan
    sf.write(damaged, samples, 22_050, "FLOAT")

    def failure(path, longest: float | None, both: bool) -> tuple[type, str]:
        with pytest.raises(AudioError) as raised:
            light.predict(path, longest, overlap=both)
        return type(raised.value), str(raised.value)

    for path, longest in ((nothing, None), (damaged, None), (song, 15.0)):
        assert failure(path, longest, True) == failure(path, longest, False)
    assert failure(song, 15.0, True)[0] is AudioTooLong
    assert "23.000 s" in failure(damaged, None, True)[1]


def test_results_come_in_order_and_at_most_one_item_waits():
    made: list[int] = []
    done: list[int] = []
    waiting: list[int] = []

    def items():
        for i in range(20):
            made.append(i)
            waiting.append(len(made) - len(done))
            yield i

    def double(i: int) -> int:
        time.sleep(0.002)
        done.append(i)
        return 2 * i

    assert list(overlapped(double, items())) == list(range(0, 40, 2))
    assert max(waiting) <= 3  # one is made, one waits, one is worked on


def test_an_end_in_the_middle_closes_the_items():
    closed: list[bool] = []

    def items():
        try:
            yield from range(9)
        finally:
            closed.append(True)

    running = overlapped(abs, items())
    assert next(running) == 0
    running.close()
    assert closed == [True]

    def fail(i: int) -> int:
        if i == 3:
            raise MemoryError("full")
        return i

    found = []
    with pytest.raises(MemoryError, match="full"):
        for result in overlapped(fail, items()):
            found.append(result)
    assert found == [0, 1, 2] and closed == [True, True]


@needs_posix
def test_ctrl_c_ends_both_threads():
    def interrupted(i: int) -> int:
        if i == 2:
            os.kill(os.getpid(), signal.SIGINT)
            time.sleep(0.05)
        return i

    # A shell starts what runs in its background with Ctrl-C ignored.
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        with pytest.raises(KeyboardInterrupt):
            list(overlapped(interrupted, (i for i in range(1000))))
    finally:
        signal.signal(signal.SIGINT, before)


def test_a_system_that_allows_no_thread_gets_the_same_results(monkeypatch):
    def refuse(self):
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threading.Thread, "start", refuse)
    assert list(overlapped(abs, (i for i in range(-4, 0)))) == [4, 3, 2, 1]


def test_errors_of_arithmetic_are_treated_as_in_the_callers_thread():
    def divide(x: float) -> np.ndarray:
        return np.ones(1) / x

    with np.errstate(divide="raise"), pytest.raises(FloatingPointError):
        list(overlapped(divide, (x for x in (1.0, 0.0))))


def test_a_second_core_is_one_that_this_process_may_use():
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    assert overlap.has_second_core() == (cores > 1)

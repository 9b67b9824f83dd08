"""Hostile uploads against the real service: others are served meanwhile, and nothing stays behind."""

from __future__ import annotations

import io
import json
import os
import re
import signal
import struct
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import psutil
import pytest
import requests
import soundfile as sf
from needs import needs_linux, needs_posix

from msr_utils.paths import MODELS_DIR, PROJECT_ROOT

pytestmark = [pytest.mark.slow, needs_posix]

MAX_WORK_SECONDS = 5.0
GOOD_SECONDS, RATE = 45.0, 22_050


def encoded(samples: np.ndarray, rate: int = RATE, **options: str) -> bytes:
    file = io.BytesIO()
    sf.write(file, samples, rate, **{"format": "FLAC", **options})
    return file.getvalue()


def tone(seconds: float, rate: int = RATE) -> np.ndarray:
    return (0.3 * np.sin(np.arange(int(seconds * rate)) * 0.1)).astype(np.float32)


@dataclass(frozen=True)
class Service:
    """A running service."""

    process: subprocess.Popen
    url: str
    log: Path
    temp: Path

    def predict(self, content: bytes, **headers: str) -> requests.Response:
        url = f"{self.url}/v1/predict?model=light"
        return requests.post(url, data=content, headers=headers, timeout=60)

    def processes(self) -> list[psutil.Process]:
        """The processes that the service started."""
        return psutil.Process(self.process.pid).children(recursive=True)

    def workers(self) -> list[psutil.Process]:
        """Its workers, the one that has worked most first."""
        (forker,) = psutil.Process(self.process.pid).children()
        return sorted(forker.children(), key=lambda p: -sum(p.cpu_times()[:2]))

    def memory(self) -> float:
        """Memory of all processes together in MB; what they share counts once."""
        total = 0
        for process in [psutil.Process(self.process.pid), *self.processes()]:
            with suppress(psutil.NoSuchProcess):  # A worker may end at any time.
                memory = process.memory_full_info()
                total += getattr(memory, "pss", memory.uss)
        return total / 1e6

    def metric(self, name: str) -> float:
        text = requests.get(f"{self.url}/metrics", timeout=10).text
        return sum(map(float, re.findall(rf"^{name}(?:{{.*}})? (\S+)$", text, re.MULTILINE)))


def start(folder: Path, **settings: object) -> Service:
    environment = {
        k: v
        for k, v in os.environ.items()
        if k[:4] != "MSR_" or k in ("MSR_WEIGHTS", "MSR_CONTENT")
    }
    environment |= {f"MSR_{name.upper()}": str(value) for name, value in settings.items()}
    temp = folder / "temp"
    temp.mkdir()
    environment["TMPDIR"] = str(temp)
    log = folder / "log"
    with log.open("w") as file:
        process = subprocess.Popen(
            [sys.executable, "-m", "serve", "--port", "0", "--models", str(MODELS_DIR)],
            cwd=PROJECT_ROOT, env=environment, stdout=subprocess.PIPE, stderr=file, text=True,
        )  # fmt: skip
    announced = re.search(r"http://\S+", process.stdout.readline())
    assert announced, log.read_text()
    return Service(process, announced[0], log, temp)


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """A service of two workers with a short limit of work."""
    running = start(
        tmp_path_factory.mktemp("service"),
        workers=2, max_work_seconds=MAX_WORK_SECONDS, default_model="light",
    )  # fmt: skip
    yield running
    children = running.processes()
    running.process.send_signal(signal.SIGTERM)
    assert running.process.wait(30) == 0
    running.process.stdout.close()
    assert [child for child in children if child.is_running()] == []
    assert [*running.temp.iterdir()] == []
    for line in running.log.read_text().splitlines():
        assert "traceback" not in json.loads(line)


def assert_unharmed(service: Service) -> None:
    answer = service.predict(encoded(tone(3)))
    assert answer.status_code == 200
    assert len(answer.json()["valence"]) == 6


def assert_problem(answer: requests.Response, status: int, words: str) -> None:
    assert answer.headers["Content-Type"] == "application/problem+json"
    assert answer.status_code == status
    assert words in answer.json()["detail"]
    assert (status == 503) == ("Retry-After" in answer.headers)


def opus_then_marks() -> bytes:
    """A valid Opus stream, then page marks without pages: a decoder looks at them for ever."""
    return encoded(tone(0.4, 48_000), 48_000, format="OGG", subtype="OPUS") + b"OggS" * 5_000_000


def odd_rate(rate: int) -> bytes:
    """A WAV of 450 samples at any rate."""
    content = bytearray(encoded(np.zeros(450, np.float32), format="WAV", subtype="PCM_16"))
    content[24:28] = struct.pack("<I", rate)
    return bytes(content)


def printing_mp3() -> bytes:
    """Each frame makes the decoder print two lines to standard error."""
    content = bytearray(encoded(np.tile(tone(60, 44_100)[:, None], 2), 44_100, format="MP3"))
    place = 0
    while (place := content.find(b"\xff\xfb", place)) >= 0:
        if place > 20_000:
            content[place + 8] = 0xFF  # more values than a granule can have
        place += 100
    return bytes(content)


def flac_header(rate: int, channels: int, seconds: float) -> bytes:
    """Starts a FLAC file; its streaminfo states this rate, these channels and this length."""
    content = bytearray(encoded(np.zeros((4096, channels), np.float32), 48_000))
    samples = int(rate * seconds)
    bits = rate << 44 | (channels - 1) << 41 | 15 << 36 | samples
    content[18:26] = bits.to_bytes(8, "big")
    return bytes(content)


# ------------------------------------------------------------------------------ one at a time


def test_one_call_into_the_decoder_has_a_limit(service):
    begin = time.monotonic()
    answer = service.predict(opus_then_marks())
    assert time.monotonic() - begin < MAX_WORK_SECONDS + 2
    if answer.status_code == 503:
        assert_problem(answer, 503, f"not done after {MAX_WORK_SECONDS:g} s")
    else:
        assert_problem(answer, 422, "file: ")
    assert_unharmed(service)


def test_nothing_that_a_decoder_prints_stops_it(service):
    before = service.metric("msr_output_dropped_bytes_total")
    with ThreadPoolExecutor(4) as pool:
        answers = [*pool.map(service.predict, [printing_mp3()] * 4)]
    assert {answer.status_code for answer in answers} <= {200, 422, 503}
    assert {answer.status_code for answer in answers} & {200, 422}
    assert service.metric("msr_output_dropped_bytes_total") > before + 10_000
    assert service.log.stat().st_size < 200_000
    assert_unharmed(service)


@pytest.mark.parametrize("rate", [0, 1, 3_999, 192_001, 1_048_575])
def test_no_rate_that_music_has_not(service, rate):
    before = service.memory()
    with ThreadPoolExecutor(8) as pool:
        answers = [*pool.map(service.predict, [odd_rate(rate)] * 8)]
    for answer in answers:
        assert_problem(answer, 422, "file: ")
    assert service.memory() < before + 60


def test_a_long_file_of_many_channels_is_refused_early(service):
    begin = time.monotonic()
    answer = service.predict(flac_header(1_048_575, 8, 899))
    assert_problem(answer, 422, "file: ")
    assert time.monotonic() - begin < MAX_WORK_SECONDS


# ------------------------------------------------------------------------------ death


def test_kill_9_of_a_worker_in_the_middle_of_20_requests(service):
    content = encoded(tone(60))
    with ThreadPoolExecutor(20) as pool:
        asked = [pool.submit(service.predict, content) for _ in range(20)]
        while service.metric("msr_requests_in_flight") < 2:
            time.sleep(0.005)
        n_killed = 0
        for worker in service.workers()[:1]:
            worker.kill()
            n_killed += 1
        answers = [each.result() for each in asked]
    lost = [answer for answer in answers if answer.status_code != 200]
    assert len(lost) <= n_killed + 2  # two more may meet a full queue
    for answer in lost:
        assert_problem(answer, 503, "try again in 5 s")
        assert service.predict(content).status_code == 200
    begin = time.monotonic()
    while service.metric("msr_workers") < 3:
        assert time.monotonic() - begin < 2
        time.sleep(0.01)


def test_the_workers_end_with_the_service_however_it_ends(tmp_path):
    dying = start(tmp_path, workers=1, default_model="light")
    content = encoded(np.zeros(880 * 8_000, np.float32), 8_000)
    request = threading.Thread(target=lambda: _ask(dying, content))
    request.start()
    while dying.metric("msr_requests_in_flight") < 1:
        time.sleep(0.01)
    children = dying.processes()
    assert len(children) >= 3
    dying.process.kill()
    dying.process.wait(10)
    dying.process.stdout.close()
    _, alive = psutil.wait_procs(children, 5)
    assert alive == []
    request.join(10)


def _ask(service: Service, content: bytes) -> None:
    try:
        service.predict(content)
    except requests.ConnectionError:
        return


# ------------------------------------------------------------------------------ all together


@pytest.mark.extended
@needs_linux
def test_others_are_served_while_all_attacks_run(service):
    """A good client asks every 200 ms, another sends live audio; attackers use what is left."""
    attacks = [opus_then_marks(), printing_mp3(), odd_rate(1), encoded(np.zeros(7_000_000), 8_000)]
    good, stop = encoded(tone(GOOD_SECONDS)), threading.Event()
    url = f"{service.url}/v1/predict?model=light"

    def from_address(address: str) -> requests.Session:
        session = requests.Session()
        adapter = requests.adapters.HTTPAdapter()
        adapter.poolmanager.connection_pool_kw["source_address"] = (address, 0)
        session.mount("http://", adapter)
        return session

    def attack(number: int) -> None:
        session = from_address(f"127.0.0.{number + 10}")
        while not stop.is_set():
            answer = session.post(url, data=attacks[number % len(attacks)], timeout=60)
            assert answer.status_code in (200, 413, 422, 503), answer.text

    def timed(ask) -> float:
        begin = time.monotonic()
        answer = ask()
        assert answer.status_code == 200, answer.text
        return time.monotonic() - begin

    def live() -> list[float]:
        session, times, state = from_address("127.0.0.3"), [], ""
        chunk = (tone(0.5, 44_100) * 32_767).astype("<i2").tobytes()
        while not stop.is_set():
            parts = {"chunk": ("chunk", chunk)} | ({"state": (None, state)} if state else {})
            begin = time.monotonic()
            answer = session.post(
                f"{service.url}/v1/live?rate=44100&model=light", files=parts, timeout=60
            )
            times.append(time.monotonic() - begin)
            assert answer.status_code == 200, answer.text
            state = answer.json()["state"]
            time.sleep(0.2)
        return times

    def probe() -> list[float]:
        times = []
        while not stop.is_set():
            times.append(timed(lambda: requests.get(f"{service.url}/healthz", timeout=10)))
            time.sleep(0.1)
        return times

    me = from_address("127.0.0.2")
    ask = lambda: me.post(url, data=good, timeout=60)  # noqa: E731
    alone = max(timed(ask) for _ in range(3))
    memory_before, most = service.memory(), 0.0
    with ThreadPoolExecutor(12) as pool:
        attackers = [pool.submit(attack, number) for number in range(8)]
        chunks, probes = pool.submit(live), pool.submit(probe)
        waits = []
        try:
            for _ in range(30):
                waits.append(timed(ask) - alone)
                most = max(most, service.memory())
                time.sleep(0.2)
        finally:
            stop.set()
        for each in attackers:
            each.result()
    live_p95, probe_p95 = np.percentile(chunks.result(), 95), np.percentile(probes.result(), 95)
    print(f"good client waits {max(waits):.2f} s more, alone {alone:.2f} s; live p95 {live_p95:.3f}"
          f" s; /healthz p95 {probe_p95:.3f} s; memory {memory_before:.0f}, at most {most:.0f} MB")  # fmt: skip
    assert max(waits) < 1
    assert live_p95 < 0.25
    assert most < 600
    time.sleep(1)
    assert service.memory() < memory_before + 20

"""How fast the service starts and answers, how much memory it needs, and how it bears load.

``make bench`` runs it. The service runs as its users run it, in a process of its own on the
loopback interface, and is asked over HTTP: times are those that a client sees.
"""

from __future__ import annotations

import http.client
import io
import json
import os
import re
import shutil
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from urllib.parse import urlsplit

import click
import numpy as np
import psutil
import soundfile as sf
from tqdm import tqdm

if __package__:
    from benchmarks import bench_features as features
else:  # run as a script
    import bench_features as features

from msr_utils.inference.model import usable
from msr_utils.io import write_json, write_text
from msr_utils.paths import MODELS_DIR, PROJECT_ROOT
from msr_utils.provenance.measurements import record
from msr_utils.provenance.source_tree import MAIN

START_S, RESIDENT_MB, LIVE_MS, SLOPE_KB = 1.0, 600, 15, 400
"""What we aim at, see `aims`; the slope is memory per 1000 requests."""

MEASURED_CODE = [("serve.__main__", MAIN)]
"""Where the code begins that is measured."""

SCALING = {"full": 1.8, "light": 1.7}
"""Model -> how many times as fast two workers should be as one."""

ANSWER_MS = {"full": 1500}
"""Model -> most milliseconds for 45 s of MP3: a pretrained network takes longer."""

OTHER_ANSWER_MS = 120
"""The same for all other models."""

LOAD_REQUESTS, LOAD_CLIENTS, LOAD_ROUNDS = 2000, 64, 6
THROUGHPUT_WORKERS, THROUGHPUT_CLIENTS = (1, 2), 4
OPEN_LOOP_SHARES, OPEN_LOOP_SECONDS = (0.5, 0.9, 1.5), 20.0
"""Requests come at these shares of the capacity, each for this long."""

LIVE_SECONDS = 0.5

# A service


@dataclass(frozen=True)
class Service:
    """A running service: its process, its address, and how long it took to be ready."""

    pid: int
    host: str
    port: int
    ready_s: float

    def connect(self, timeout_s: float = 120) -> http.client.HTTPConnection:
        return http.client.HTTPConnection(self.host, self.port, timeout=timeout_s)

    def processes(self) -> list[psutil.Process]:
        """The service's processes: the first one, the one that forks, and the workers."""
        first = psutil.Process(self.pid)
        return [first, *first.children(recursive=True)]

    def resident_mb(self) -> float:
        """Memory of all processes that is in RAM, in MB (10^6 bytes).

        On Linux, memory that processes share counts once. Elsewhere shared memory is left out.
        """
        total = 0
        for process in self.processes():
            with suppress(psutil.NoSuchProcess):  # A worker may end at any time.
                memory = process.memory_full_info()
                total += getattr(memory, "pss", memory.uss)
        return total / 1e6


@contextmanager
def service(models: Path, log: Path, *options: str) -> Iterator[Service]:
    """Run the service until the block ends; it must then stop by itself."""
    # As it is by default: without settings of this shell, but with the pretrained weights.
    environment = {k: v for k, v in os.environ.items() if k == "MSR_WEIGHTS" or k[:4] != "MSR_"}
    with log.open("w") as file:
        start = time.perf_counter()
        process = subprocess.Popen(
            [sys.executable, "-m", "serve", "--port", "0", "--models", str(models), *options],
            cwd=PROJECT_ROOT,
            env=environment,
            stdout=subprocess.PIPE,
            stderr=file,
            text=True,
        )
        try:
            announced = re.search(r"http://\S+", process.stdout.readline())
            if not announced:
                raise click.ClickException(f"the service did not start: {log.read_text()}")
            address = urlsplit(announced[0])
            connection = http.client.HTTPConnection(address.hostname, address.port, timeout=30)
            status, *_ = ask(connection, "GET", "/readyz")
            ready_s = time.perf_counter() - start
            connection.close()
            if status != 200:
                raise click.ClickException(f"/readyz answered {status}")
            yield Service(process.pid, address.hostname, address.port, ready_s)
        finally:
            process.terminate()
            process.wait(60)
            process.stdout.close()


def ask(
    connection: http.client.HTTPConnection,
    method: str,
    path: str,
    body: bytes | None = None,
    headers: dict[str, str] | None = None,
) -> tuple[int, http.client.HTTPMessage, bytes]:
    """Status, headers and body of an answer."""
    connection.request(method, path, body, headers or {})
    response = connection.getresponse()
    return response.status, response.headers, response.read()


def form(**parts: bytes) -> tuple[bytes, dict[str, str]]:
    """Body and headers of a multipart form; ``state`` is text, all else are files."""
    lines = []
    for name, content in parts.items():
        file = "" if name == "state" else f'; filename="{name}"'
        head = f'--part\r\nContent-Disposition: form-data; name="{name}"{file}\r\n\r\n'
        lines.append(head.encode() + content + b"\r\n")
    kind = {"Content-Type": "multipart/form-data; boundary=part"}
    return b"".join([*lines, b"--part--\r\n"]), kind


def encoded(samples: np.ndarray, format: str, rate: int = features.FILE_RATE) -> bytes:
    """An audio file's bytes."""
    file = io.BytesIO()
    sf.write(file, samples, rate, format=format)
    return file.getvalue()


# Measures


def milliseconds(seconds: list[float]) -> dict[str, float]:
    """Median and 95th percentile."""
    return {
        "median_ms": 1e3 * float(np.median(seconds)),
        "p95_ms": 1e3 * float(np.percentile(seconds, 95)),
        "n": len(seconds),
    }


def measure_start(models: Path, log: Path, repeats: int) -> dict:
    """Seconds from the start of the process to the first answer of /readyz."""
    ready, resident = [], []
    for _ in tqdm(range(repeats), "start", leave=False):
        with service(models, log) as running:
            ready.append(running.ready_s)
            resident.append(running.resident_mb())
    return {
        "median_s": float(np.median(ready)),
        "worst_s": max(ready),
        "repeats": repeats,
        "resident_mb": float(np.median(resident)),
    }


def measure_answers(running: Service, paths: list[Path], repeats: int) -> list[dict]:
    """Time to the whole answer about each clip, by model, with one client."""
    connection, rows = running.connect(), []
    _, _, body = ask(connection, "GET", "/v1/models")
    clips = [path.read_bytes() for path in paths]
    for model in json.loads(body)["models"]:
        path, seconds, inside = f"/v1/predict?model={model['name']}", [], []
        for clip in tqdm(clips, model["name"], leave=False):
            for repeat in range(repeats + 1):
                start = time.perf_counter()
                status, _, body = ask(connection, "POST", path, clip)
                spent = time.perf_counter() - start
                if status != 200:
                    raise click.ClickException(f"{path} answered {status}: {body.decode()}")
                if repeat:  # The first does not count.
                    seconds.append(spent)
                    inside.append(json.loads(body)["elapsed_ms"])
        rows.append(
            {
                "model": model["name"],
                "kind": model["kind"],
                **milliseconds(seconds),
                "inside_ms": float(np.median(inside)),
            }
        )
    connection.close()
    return rows


def measure_live(running: Service, path: Path, models: list[dict]) -> list[dict]:
    """Time to the answer about each chunk of a clip, by model that can follow."""
    samples, rate = sf.read(path, dtype="int16", always_2d=True)
    size, channels = int(LIVE_SECONDS * rate), samples.shape[1]
    connection, rows = running.connect(), []
    for model in models:
        if model["kind"] == "window":
            continue
        query = f"/v1/live?rate={rate}&channels={channels}&model={model['model']}"
        state, seconds = b"", []
        for at in range(0, len(samples) - size + 1, size):
            chunk = samples[at : at + size].tobytes()
            start = time.perf_counter()
            fields = {"chunk": chunk, **({"state": state} if state else {})}
            status, _, body = ask(connection, "POST", query, *form(**fields))
            seconds.append(time.perf_counter() - start)
            if status != 200:
                raise click.ClickException(f"{query} answered {status}: {body.decode()}")
            state = json.loads(body)["state"].encode()
        rows.append({"model": model["model"], **milliseconds(seconds[2:])})
    connection.close()
    return rows


def measure_throughput(models: Path, log: Path, paths: list[Path], rounds: int) -> list[dict]:
    """Files answered in a second by each number of workers, always for the same clients."""
    names = [name for name in SCALING if name in usable(models)] or [None]
    clips = [path.read_bytes() for path in paths] * rounds
    audio_s = rounds * sum(sf.info(path).duration for path in paths)
    rows = []
    for workers in THROUGHPUT_WORKERS:
        with (
            service(models, log, "--workers", str(workers)) as running,
            ThreadPoolExecutor(THROUGHPUT_CLIENTS) as pool,
        ):
            for name in names:
                path = "/v1/predict" + (f"?model={name}" if name else "")

                def post(clip: bytes, path: str = path, running: Service = running) -> str:
                    connection = running.connect()
                    status, _, body = ask(connection, "POST", path, clip)
                    connection.close()
                    if status != 200:
                        raise click.ClickException(f"throughput: {status}: {body.decode()}")
                    return json.loads(body)["model"]

                model = post(clips[0])
                start = time.perf_counter()
                for _ in tqdm(pool.map(post, clips), "throughput", len(clips), leave=False):
                    pass
                seconds = time.perf_counter() - start
                rows.append(
                    {
                        "model": model,
                        "workers": workers,
                        "clients": THROUGHPUT_CLIENTS,
                        "files": len(clips),
                        "files_per_s": len(clips) / seconds,
                        "realtime": audio_s / seconds,
                    }
                )
    return rows


def scaling(throughput: list[dict]) -> dict[str, float]:
    """Model -> throughput of the most workers as a multiple of that of the fewest."""
    first, last = THROUGHPUT_WORKERS[0], THROUGHPUT_WORKERS[-1]
    rates = {(row["model"], row["workers"]): row["files_per_s"] for row in throughput}
    return {
        model: rates[model, last] / rates[model, first]
        for model, workers in rates
        if workers == first
    }


def measure_open_loop(
    models: Path, log: Path, clip: bytes, seconds: float, model: str | None = None
) -> dict:
    """Answers to requests that come at fixed times, whether earlier ones are answered or not.

    A client that waits for its answer before it asks again would hide how long others wait
    (coordinated omission). Times count from when a request should have been sent.
    """
    path = "/v1/predict" + (f"?model={model}" if model else "")
    workers = THROUGHPUT_WORKERS[-1]
    rows = []
    with service(models, log, "--workers", str(workers)) as running, ThreadPoolExecutor(64) as pool:

        def post(due: float) -> tuple[float, int]:
            time.sleep(max(due - time.perf_counter(), 0))
            connection = running.connect()
            status, *_ = ask(connection, "POST", path, clip)
            connection.close()
            return time.perf_counter() - due, status

        warm = [*pool.map(post, [0.0] * workers * 2)]
        start = time.perf_counter()
        n = max(int(seconds), 2) * workers
        with ThreadPoolExecutor(2 * workers) as few:
            done = [*few.map(post, [0.0] * n)]
        capacity = n / (time.perf_counter() - start)
        wrong = {status for _, status in [*warm, *done]} - {200}
        if wrong:
            raise click.ClickException(f"open loop: answers {wrong} before it began")
        for share in tqdm(OPEN_LOOP_SHARES, "open loop", leave=False):
            rate = share * capacity
            start = time.perf_counter() + 0.1
            dues = [start + k / rate for k in range(max(int(rate * seconds), 4))]
            answers = [*pool.map(post, dues)]
            statuses = Counter(status for _, status in answers)
            if set(statuses) - {200, 503}:
                raise click.ClickException(f"open loop: answers {statuses}")
            times = [1e3 * spent for spent, status in answers if status == 200]
            p50, p95, p99 = np.percentile(times, (50, 95, 99)).tolist() if times else [None] * 3
            rows.append(
                {
                    "share": share,
                    "per_s": rate,
                    "requests": len(dues),
                    "p50_ms": p50,
                    "p95_ms": p95,
                    "p99_ms": p99,
                    "refused": statuses[503],
                }
            )
    return {"capacity_per_s": capacity, "workers": workers, "seconds": seconds, "rows": rows}


# Load


@dataclass(frozen=True)
class Kind:
    """One kind of request of the load, and the statuses that it may be answered with.

    `raw` is sent as it is, instead of a request; without `statuses` nothing is waited for.
    """

    name: str
    statuses: frozenset[int] = frozenset({200})
    method: str = "POST"
    path: str = "/v1/predict"
    body: bytes | None = None
    headers: dict[str, str] = field(default_factory=dict)
    raw: bytes = b""


@cache
def kinds() -> list[Kind]:
    """Good and bad requests: about half of each."""
    longer = features.rendered(10.0)
    short = longer[: 2 * features.FILE_RATE]
    wav, flac = encoded(short, "WAV"), encoded(short, "FLAC")
    nan = io.BytesIO()
    sf.write(nan, np.full(9000, np.nan, np.float32), 8000, format="WAV", subtype="FLOAT")
    pcm, form_kind = form(chunk=(short[:22_050] * 32767).astype("<i2").tobytes())
    forged, _ = form(chunk=bytes(4000), state=b"live1.8.forged!!")
    post = b"POST /v1/predict HTTP/1.1\r\nHost: localhost\r\n"
    bad = frozenset({400}), frozenset({404}), frozenset({422})
    return [
        Kind("good WAV", body=wav),
        Kind("good FLAC, CSV", body=flac, headers={"Accept": "text/csv"}),
        Kind("good MP3, 10 s", body=encoded(longer, "MP3")),
        Kind("good Ogg, lines", body=encoded(longer, "OGG"),
             headers={"Accept": "application/x-ndjson"}),
        Kind("live chunk", path="/v1/live?rate=44100", body=pcm, headers=form_kind),
        Kind("health", method="GET", path="/healthz"),
        Kind("metrics", method="GET", path="/metrics"),
        Kind("card list", method="GET", path="/v1/models"),
        Kind("text", bad[2], body=b"la la la " * 2000),
        Kind("nothing", bad[0], body=b""),
        Kind("NaN", bad[2], body=nan.getvalue()),
        Kind("cut FLAC", body=flac[: len(flac) // 2]),
        Kind("noise", bad[2], body=np.random.default_rng(0).bytes(100_000)),
        Kind("wrong option", bad[0], path="/v1/predict?seed=1", body=wav),
        Kind("wrong path", bad[1], method="GET", path="/v1/predictions"),
        Kind("forged state", bad[2], path="/v1/live?rate=8000", body=forged, headers=form_kind),
        Kind("no request", bad[0], raw=b"music, please\r\n\r\n"),
        Kind("hangs up", frozenset(), raw=post + b"Content-Length: 90000\r\n\r\n" + bytes(9000)),
    ]  # fmt: skip


def run_load(running: Service, total: int, clients: int, seed: int = 0) -> dict:
    """Ask for many things at once; look at every answer, and at the memory meanwhile and after.

    Every client asks one request after the other. A 503 with Retry-After is a right answer to
    any of them.
    """
    choices = kinds()
    order = iter(np.random.default_rng(seed).integers(0, len(choices), total).tolist())
    lock, start = threading.Lock(), time.perf_counter()
    answers: list[tuple[str, int]] = []
    wrong: list[str] = []

    def send(kind: Kind, connection: http.client.HTTPConnection) -> None:
        if kind.raw:
            with socket.create_connection((running.host, running.port), 120) as raw:
                raw.sendall(kind.raw)
                head = raw.recv(65_536) if kind.statuses else b""
            if kind.statuses:
                judge(kind, int(head.split()[1]), None)
            else:
                answers.append((kind.name, 0))
            return
        status, headers, _ = ask(connection, kind.method, kind.path, kind.body, kind.headers)
        judge(kind, status, headers.get("Retry-After"))

    def judge(kind: Kind, status: int, retry_after: str | None) -> None:
        answers.append((kind.name, status))
        if status not in kind.statuses and not (status == 503 and retry_after):
            wrong.append(f"{kind.name}: {status}, Retry-After {retry_after}")

    def client() -> None:
        connection = running.connect()
        while True:
            with lock:
                choice = next(order, None)
            if choice is None:
                break
            try:
                send(choices[choice], connection)
            except (OSError, http.client.HTTPException, ValueError, IndexError) as error:
                wrong.append(f"{choices[choice].name}: {error!r}")
                connection.close()
        connection.close()

    peak = 0.0
    with ThreadPoolExecutor(clients) as pool, tqdm(total=total, desc="load", leave=False) as bar:
        jobs = [pool.submit(client) for _ in range(clients)]
        while not all(job.done() for job in jobs):
            time.sleep(0.05)
            peak = max(peak, running.resident_mb())
            bar.update(len(answers) - bar.n)
        for job in jobs:
            job.result()
    return {
        "seconds": time.perf_counter() - start,
        "statuses": Counter(status for _, status in answers),
        "wrong": wrong,
        "peak_mb": peak,
        "after_mb": running.resident_mb(),
    }


def measure_load(models: Path, log: Path, total: int, clients: int, rounds: int) -> dict:
    """Several rounds of load, after one that does not count: its memory is kept for the next."""
    with service(models, log) as running:
        done = [run_load(running, total, clients, seed) for seed in range(rounds + 1)][1:]
    statuses = sum((each["statuses"] for each in done), Counter())
    after_mb = [each["after_mb"] for each in done]
    slope = np.polyfit(np.arange(rounds) * total / 1000, after_mb, 1)[0] if rounds > 1 else None
    return {
        "requests": total,
        "clients": clients,
        "rounds": rounds,
        "seconds": sum(each["seconds"] for each in done),
        "statuses": {str(status or "hung up"): statuses[status] for status in sorted(statuses)},
        "wrong": sorted({each for one in done for each in one["wrong"]}),
        "peak_mb": max(each["peak_mb"] for each in done),
        "after_mb": after_mb,
        "slope_kb_per_1000": None if slope is None else 1e3 * float(slope),
    }


# Results


def aims(results: dict) -> list[dict]:
    """What we aim at, what was measured, and whether it is met; None where nothing was."""
    rows = []

    def aim(text: str, figure: float | None, unit: str, most: float) -> None:
        known = figure is not None
        rows.append(
            {
                "aim": text,
                "figure": f"{figure:.3g}{unit}" if known else "not measured",
                "met": bool(figure <= most) if known else None,
            }
        )

    start, load = results["start"], results["load"]
    aim(f"ready {START_S:g} s after the start", start["median_s"], " s", START_S)
    aim(
        f"at most {RESIDENT_MB} MB in memory, also under load",
        max(start["resident_mb"], load["peak_mb"]), " MB", RESIDENT_MB,
    )  # fmt: skip
    for row in results["answers"]:
        most = ANSWER_MS.get(row["model"], OTHER_ANSWER_MS)
        aim(f"{row['model']} answers a clip in {most} ms", row["median_ms"], " ms", most)
    for model, times in scaling(results["throughput"]).items():
        least = SCALING.get(model)
        if least is not None:
            rows.append(
                {
                    "aim": f"{model}: two workers at least {least:g} times as fast as one",
                    "figure": f"{times:.2f} times",
                    "met": bool(times >= least),
                }
            )
    for row in results["live"]:
        text = f"{row['model']} answers {LIVE_SECONDS:g} s of live audio in {LIVE_MS} ms"
        aim(text, row["median_ms"], " ms", LIVE_MS)
    text = f"{load['requests']} requests of {load['clients']} clients, good and bad: none wrong"
    aim(text, len(load["wrong"]), " wrong", 0)
    text = f"memory grows by at most {SLOPE_KB} kB in 1000 requests"
    aim(text, load["slope_kb_per_1000"], " kB", SLOPE_KB)
    return rows


def render(results: dict) -> str:
    """The report in Markdown, from nothing but `results`."""
    clips, computer, start = results["clips"], results["machine"], results["start"]
    load, loop = results["load"], results["open_loop"]
    busy = "" if results["cpu_share"] >= features.QUIET else ": the machine was busy"
    verdict = {True: "met", False: "missed", None: "not measured"}
    packages = ", ".join(
        f"{name} {computer['packages'][name]}"
        for name in ("numpy", "soundfile", "soxr", "onnxruntime")
    )
    slope = load["slope_kb_per_1000"]
    wrong = "; ".join(load["wrong"]) or "none"
    after = f"After each time there were {', '.join(f'{mb:.1f}' for mb in load['after_mb'])} MB"
    if slope is not None:
        after += f": a line through them rises by {slope:.0f} kB in 1000 requests"
    answers = [
        (f"`{r['model']}`, {r['kind']}", r["median_ms"], r["p95_ms"], r["inside_ms"], r["n"])
        for r in results["answers"]
    ]
    for row in results["peers"]:
        if "best" in row:
            each = 1e3 * clips["seconds"] / clips["count"]
            answers.append(
                (f"{row['package']} {row['version']}", each / row["median"], "", "", row["n"])
            )
        else:
            answers.append((row["package"], row["note"], "", "", ""))
    return f"""# Speed, memory and load of the service

{"A quick run: the figures are rough." if results["quick"] else "Made by `make bench`."}
{clips["count"]} clips ({clips["source"]}; {clips["formats"]}), {clips["seconds"]:.0f} s in all.
{computer["cpu"]} ({computer["machine"]}). Python {computer["python"]}, {packages}.
The service and its one client had {results["cpu_share"]:.0%} of a core while they took turns{busy}.

## Aims

{
        features.table(
            ("aim", "measured", "verdict"),
            [(a["aim"], a["figure"], verdict[a["met"]]) for a in results["aims"]],
        )
    }

## Start

{start["median_s"]:.2f} s from the start of the process to the first answer of `/readyz`, with every
bundle verified and warm (median of {start["repeats"]}; the slowest took {start["worst_s"]:.2f} s).
Then {start["resident_mb"]:.0f} MB are in memory.

## One client

Milliseconds from sending a clip to its whole answer over HTTP; "inside" is what the service says
that it took. vibenet is called in a process of its own, without HTTP: it gives one value for a
whole file where the service gives one for each 500 ms.

{features.table(("model", "median", "95th percentile", "inside", "answers"), answers)}

Live audio, in chunks of {LIVE_SECONDS:g} s at the clip's rate and with its channels:

{
        features.table(
            ("model", "median", "95th percentile", "chunks"),
            [(f"`{r['model']}`", r["median_ms"], r["p95_ms"], r["n"]) for r in results["live"]],
        )
    }

## Throughput

{THROUGHPUT_CLIENTS} clients, each with a request of its own all the time:

{
        features.table(
            ("model", "workers", "clips a second", "times real time", "clips"),
            [
                (f"`{r['model']}`", r["workers"], r["files_per_s"], r["realtime"], r["files"])
                for r in results["throughput"]
            ],
        )
    }

## Open loop

Requests come at fixed times, {loop["seconds"]:g} s long for each row, whether earlier ones are
answered or not. With {loop["workers"]} workers and the default model, {
        loop["capacity_per_s"]:.1f} clips a
second are the capacity. Milliseconds count from when a request was due; a refused request gets a
503 with Retry-After.

{
        features.table(
            ("share of capacity", "requests", "p50", "p95", "p99", "refused"),
            [
                (
                    f"{r['share']:.0%}",
                    r["requests"],
                    r["p50_ms"],
                    r["p95_ms"],
                    r["p99_ms"],
                    r["refused"],
                )
                for r in loop["rows"]
            ],
        )
    }

## Load

{load["rounds"]} times {load["requests"]} requests of {load["clients"]} clients at once,
{load["seconds"]:.1f} s in all, after one time that does not count:
audio in four formats, live chunks, and as many bad ones (text, noise, cut and forged files, wrong options and paths, no HTTP at all, clients that hang up). A 503
with Retry-After is a right answer to any of them.

{features.table(("status", "answers"), [*load["statuses"].items()])}

Wrong answers: {wrong}. At most {load["peak_mb"]:.0f} MB were in memory. {after}.
"""


def run(
    models: Path,
    paths: list[Path],
    source: str,
    repeats: int,
    quick: bool,
    other_python: str | None,
    scratch: Path,
) -> dict:
    """Measure everything; what `render` and ``service.json`` need."""
    infos, log = [sf.info(path) for path in paths], scratch / "serve.log"
    audio_s = sum(info.duration for info in infos)
    formats = sorted({f"{i.format} {i.samplerate} Hz, {i.channels} ch" for i in infos})
    # First, because a wrong BENCH_PEERS_PYTHON is found here.
    peers = features.measure_peers(paths, repeats, audio_s, other_python, scratch, ("vibenet",))
    for row in peers:
        row["n"] = len(paths) * repeats
    start = measure_start(models, log, 3 if quick else 7)
    began, cpu_began = time.perf_counter(), features.cpu_seconds()
    with service(models, log) as running:
        answers = measure_answers(running, paths, repeats)
        live = measure_live(running, paths[0], answers)
    cpu_share = (features.cpu_seconds() - cpu_began) / (time.perf_counter() - began)
    throughput = measure_throughput(models, log, paths, 1 if quick else 4)
    clip = paths[0].read_bytes()
    open_loop = measure_open_loop(models, log, clip, 1.0 if quick else OPEN_LOOP_SECONDS)
    load = measure_load(
        models, log, *((200, 16, 1) if quick else (LOAD_REQUESTS, LOAD_CLIENTS, LOAD_ROUNDS))
    )
    results = {
        "quick": quick,
        "machine": features.machine(),
        "clips": {
            "source": source, "count": len(paths), "seconds": audio_s, "formats": "; ".join(formats)
        },
        "cpu_share": cpu_share,
        "start": start,
        "answers": answers,
        "live": live,
        "throughput": throughput,
        "open_loop": open_loop,
        "load": load,
        "peers": peers,
    }  # fmt: skip
    return {**results, "aims": aims(results)}


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.option(
    "--audio", "folder", envvar="BENCH_AUDIO", type=click.Path(path_type=Path),
    help=f"folder of music; its first {features.MAX_CLIPS} files are taken. Default: DEAM's if "
    "it is there, else music rendered by code",
)  # fmt: skip
@click.option(
    "--models", type=click.Path(path_type=Path), default=MODELS_DIR, help="folder of bundles"
)
@click.option("--out", type=click.Path(path_type=Path), help="folder of service.json and .md")
@click.option("--repeats", type=click.IntRange(1), help="of each clip; default 5, quick 1")
@click.option("--quick", is_flag=True, help="two clips and a tenth of the load: rough figures")
def main(
    folder: Path | None, models: Path, out: Path | None, repeats: int | None, quick: bool
) -> None:
    """Measure the service: start, memory, latency, throughput, load.

    BENCH_PEERS_PYTHON names an interpreter that has vibenet; without it, vibenet is measured
    only if it is installed here.
    """
    other_python = os.environ.get("BENCH_PEERS_PYTHON")
    if other_python and not shutil.which(other_python):
        raise click.ClickException(f"BENCH_PEERS_PYTHON={other_python}: no such interpreter")
    if folder is not None and not folder.is_dir():
        raise click.ClickException(f"--audio {folder}: no such folder")
    if folder is None and features.DEAM_AUDIO.is_dir():
        folder = features.DEAM_AUDIO
    out = out or (features.QUICK_REPORTS if quick else features.REPORTS)
    clips = 2 if quick else features.MAX_CLIPS
    with tempfile.TemporaryDirectory() as name:
        scratch = Path(name)
        if folder is None:
            features.write_clips(scratch, clips, 10.0 if quick else features.CLIP_SECONDS)
        source = folder.resolve().name if folder else "synthetic music"
        paths = features.find_clips(folder or scratch, clips)
        results = run(
            models, paths, source, repeats or (1 if quick else 5), quick, other_python, scratch
        )
    write_json(out / "service.json", results)
    report = render(results)
    write_text(out / "service.md", report)
    if out == features.REPORTS:
        record(out / "service.json", MEASURED_CODE, [out / "service.md"])
    click.echo(report)


if __name__ == "__main__":
    main()

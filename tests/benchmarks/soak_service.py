"""Does the service stay right and small when hostile and good requests come in thousands?

Run it as a script; it takes about ten minutes for 20,000 requests on two cores. Every answer of a good
request must be the first one again, a hostile one must be refused with its own words, and memory,
file descriptors and temporary files must stay as they were.
"""

from __future__ import annotations

import io
import json
import os
import sys
import tempfile
import threading
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

import click
import numpy as np
import psutil
import soundfile as sf
from tqdm import tqdm

if __package__:
    from benchmarks import bench_features as features
    from benchmarks import bench_service as bench
else:  # run as a script
    import bench_features as features
    import bench_service as bench

from msr_utils.paths import MODELS_DIR

EARLY, MAX_GROWTH_MB = 0.1, 5.0
"""Memory after this share of the requests may grow by so much until the end."""

CLIENTS = 8
VOLATILE = {"elapsed_ms", "state"}
"""Fields of an answer that differ each time."""


def hostile(seed: int) -> list[bench.Kind]:
    """Uploads that are made to hurt, and one of random changes to a good file."""
    rng = np.random.default_rng(seed)
    refused = frozenset({200, 400, 413, 422})  # A file that was only changed a little may be read.
    longer = features.rendered(10.0)
    good = bench.encoded(longer[: 3 * features.FILE_RATE], "MP3")
    changed = bytearray(good)
    for place in rng.integers(0, len(changed), 20):
        changed[place] = int(rng.integers(256))
    opus = io.BytesIO()
    sf.write(opus, np.zeros(24_000, np.float32), 48_000, format="OGG", subtype="OPUS")
    wav = bytearray(bench.encoded(longer[:2_000], "WAV"))
    wav[24:28] = int(rng.integers(1, 4_000)).to_bytes(4, "little")
    silence = io.BytesIO()
    sf.write(silence, np.zeros((60 * 8_000, 8), np.float32), 8_000, format="FLAC")
    return [
        bench.Kind("changed MP3", refused, body=bytes(changed)),
        bench.Kind("Opus, then page marks", refused, body=opus.getvalue() + b"OggS" * 50_000),
        bench.Kind("odd rate", frozenset({422}), body=bytes(wav)),
        bench.Kind("eight channels of silence", refused, body=silence.getvalue()),
        bench.Kind("noise", frozenset({422}), body=rng.bytes(20_000)),
        bench.Kind("sync bytes", frozenset({422}), body=b"\xff\xfb\x90" * 30_000),
        *(kind for kind in bench.kinds() if kind.statuses and min(kind.statuses) >= 400),
        *(kind for kind in bench.kinds() if not kind.statuses),
    ]


def good() -> list[bench.Kind]:
    """Requests that must be answered, always in the same way."""
    return [kind for kind in bench.kinds() if kind.statuses == {200} and kind.name != "metrics"]


def content(headers: object, body: bytes) -> object:
    """What must be the same each time."""
    if "json" not in headers.get("Content-Type", ""):
        return body
    if "ndjson" in headers["Content-Type"]:
        *lines, last = map(json.loads, body.splitlines())
        done = {k: v for k, v in last["done"].items() if k not in VOLATILE}
        return [*lines, done]
    return {k: v for k, v in json.loads(body).items() if k not in VOLATILE}


def descriptors(running: bench.Service) -> int:
    """Open files of all processes."""
    number = 0
    for process in running.processes():
        with suppress(psutil.NoSuchProcess):
            number += process.num_fds()
    return number


def settled_mb(running: bench.Service) -> float:
    """Memory once nothing runs: the least of a second."""
    measured = []
    for _ in range(5):
        time.sleep(0.2)
        measured.append(running.resident_mb())
    return min(measured)


def soak(running: bench.Service, total: int) -> dict:
    """Send requests, half of them hostile; what was wrong, and memory on the way."""
    choices, attacks = good(), hostile(0)
    connection = running.connect()
    expected = {}
    for kind in choices:
        status, headers, body = bench.ask(
            connection, kind.method, kind.path, kind.body, kind.headers
        )
        assert status == 200, (kind.name, status, body)
        expected[kind.name] = content(headers, body)
    connection.close()
    statuses: Counter[str] = Counter()
    wrong: list[str] = []
    lock = threading.Lock()

    def one(number: int) -> None:
        kinds = choices if number % 2 else attacks
        kind = kinds[number // 2 % len(kinds)]
        if kind.raw:
            with (
                suppress(OSError),
                bench.socket.create_connection((running.host, running.port), 60) as raw,
            ):
                raw.sendall(kind.raw)
                if kind.statuses:
                    raw.recv(65_536)
            return
        own = running.connect()
        try:
            status, headers, body = bench.ask(own, kind.method, kind.path, kind.body, kind.headers)
        except (OSError, bench.http.client.HTTPException) as error:
            with lock:
                wrong.append(f"{kind.name}: {error!r}")
            return
        finally:
            own.close()
        with lock:
            statuses[str(status)] += 1
            if status == 503 and headers.get("Retry-After"):
                return
            if status not in kind.statuses:
                wrong.append(f"{kind.name}: {status} {body[:300]!r}")
            elif kind.name in expected and content(headers, body) != expected[kind.name]:
                wrong.append(f"{kind.name}: another answer than before")

    memory = []
    early = max(int(EARLY * total), 1)
    with ThreadPoolExecutor(CLIENTS) as pool, tqdm(total=total, desc="soak", leave=False) as bar:
        for begin, end in ((0, early), (early, total)):
            for _ in pool.map(one, range(begin, end)):
                bar.update()
            memory.append(settled_mb(running))
    return {
        "requests": total,
        "statuses": dict(sorted(statuses.items())),
        "wrong": sorted(set(wrong)),
        "early_mb": memory[0],
        "late_mb": memory[1],
    }


def run(total: int, models: Path) -> dict:
    """Run the service, send everything to it, and look at what stays behind."""
    with tempfile.TemporaryDirectory() as name:
        temp = Path(name) / "temp"
        temp.mkdir()
        before, os.environ["TMPDIR"] = os.environ.get("TMPDIR"), str(temp)
        try:
            with bench.service(models, Path(name) / "log") as running:
                open_before = descriptors(running)
                result = soak(running, total)
                result["descriptors"] = descriptors(running) - open_before
                result["temporary_files"] = len([*temp.iterdir()])
                result["logged_errors"] = (Path(name) / "log").read_text().count('"traceback"')
        finally:
            if before is None:
                del os.environ["TMPDIR"]
            else:
                os.environ["TMPDIR"] = before
    return result


def faults(result: dict, max_growth_mb: float = MAX_GROWTH_MB) -> list[str]:
    """What should not be."""
    growth = result["late_mb"] - result["early_mb"]
    found = list(result["wrong"])
    if result["statuses"].get("500"):
        found.append(f"{result['statuses']['500']} answers 500")
    if growth > max_growth_mb:
        found.append(f"memory grew by {growth:.1f} MB")
    for name in ("descriptors", "temporary_files", "logged_errors"):
        if result[name] > 0:
            found.append(f"{name.replace('_', ' ')}: {result[name]} more than before")
    return found


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.option("--requests", "total", type=click.IntRange(20), default=20_000, show_default=True)
@click.option(
    "--models", type=click.Path(path_type=Path), default=MODELS_DIR, help="folder of bundles"
)
def main(total: int, models: Path) -> None:
    """Send good and hostile requests to the service; exit code 1 if anything is wrong."""
    result = run(total, models)
    found = faults(result)
    click.echo(json.dumps(result, indent=1))
    for fault in found:
        click.echo(fault, err=True)
    sys.exit(bool(found))


if __name__ == "__main__":
    main()

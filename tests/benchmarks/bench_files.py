"""How fast the bundles predict whole files on one core, beside the floor and other libraries.

``make bench`` runs it. The floor is what no prediction can do without: decoding, resampling and
the Fourier transforms. Times are for a minute of audio: the best of the repeats, clip by clip.
They are processor time, and also time by the clock for predictions that use a second thread.
``--before CHECKOUT`` also times the package of an older checkout, in turns with this one, and
records it. Later runs read that record: machines differ, so they compare multiples of the floor.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import click
import numpy as np
import soundfile as sf

if __package__:
    from benchmarks import bench_features as features
    from benchmarks.real_data import DATA
else:  # run as a script
    import bench_features as features
    from real_data import DATA

from msr_utils.inference.folder_workers import Task, run
from msr_utils.inference.model import load
from msr_utils.io import atomic_path, read_json, write_json, write_text
from msr_utils.paths import FILE_SPEED, MODELS_DIR, PROJECT_ROOT
from msr_utils.provenance.measurements import record

BEFORE = FILE_SPEED.with_name("files_before.json")
"""Figures of the version that computed features frame by frame."""

Costs = dict[str, dict[str, float]]
"""Milliseconds for a minute of audio by name, on the ``processor`` and by the ``clock``."""

MEASURED_CODE = [
    ("msr_utils.inference.model", "load"),
    ("msr_utils.inference.folder_workers", "run"),
]
"""Where the code begins that is measured."""

BUNDLES = ("light", "full")

LENGTHS_S = (5.0, 30.0, 180.0, 1800.0, 10_800.0)
SHORT_S, LONG_S = 180.0, 10_800.0
"""Lengths whose memory is compared."""

MACHINES = (8, 64)
"""Cores for which the cost of a collection is worked out."""

SONGS, SONG_S = 1_000_000, 240.0

PUBLISHED = [
    {
        "package": "AudioMuse-AI",
        "name": "analysis of a song, as its authors state: 8 to 10 s",
        "note": "published, not measured here",
    }
]

AIMS = {"light": 2.0, "full": 1.5}
"""How many times as fast as before, at least."""

FLOOR_RATIO, MEMORY_MB = 1.5, 20


def time_files(clips: list[Path], repeats: int, checkout: Path, scratch: Path) -> dict:
    """Seconds of a checkout's package by kind of time and by name, each (clips, repeats).

    They are measured in a fresh process.
    """
    job, result = scratch / "job.json", scratch / "result.json"
    bundles = [str(MODELS_DIR / name) for name in BUNDLES]
    write_json(job, {"clips": [*map(str, clips)], "bundles": bundles, "repeats": repeats})
    script = str(Path(__file__).with_name("time_files.py"))
    done = subprocess.run(
        [sys.executable, script, str(job), str(result)],
        env={**os.environ, "PYTHONPATH": str(checkout)}, capture_output=True, text=True,
        check=False,
    )  # fmt: skip
    if done.returncode:
        lines = done.stderr.strip().splitlines() or ["no reason given"]
        raise click.ClickException(f"time_files.py with {checkout}: {lines[-1]}")
    return read_json(result)


def in_turns(
    clips: list[Path], repeats: int, checkouts: list[Path], audio_s: float, scratch: Path
) -> list[Costs]:
    """Costs of each checkout; they take turns."""
    best: list[dict[str, dict[str, np.ndarray]]] = [{} for _ in checkouts]
    for _ in range(repeats):
        for known, checkout in zip(best, checkouts, strict=True):
            for kind, rows in time_files(clips, 1, checkout, scratch).items():
                least = known.setdefault(kind, {})
                for name, seconds in rows.items():
                    lowest = np.min(seconds, axis=1)
                    least[name] = np.minimum(least.get(name, lowest), lowest)
    return [
        {
            kind: {name: 6e4 * float(seconds.sum()) / audio_s for name, seconds in rows.items()}
            for kind, rows in known.items()
        }
        for known in best
    ]


def lengths(seconds: tuple[float, ...], scratch: Path, kept: Path | None) -> list[dict]:
    """Processor time and peak memory of predicting one file of each length.

    The files are kept in a folder, if one is given, and taken from there if they are in it.
    """
    rows = []
    for length in seconds:
        path = (kept or scratch) / f"{length:.0f}s.mp3"
        if not path.is_file():
            with atomic_path(path) as temporary:
                features.write_long(temporary, length)
        for bundle in BUNDLES:
            printed = features.run_script(
                sys.executable, "predict_once.py", str(path), str(MODELS_DIR / bundle)
            )
            rows.append({"bundle": bundle, "length_s": length, **json.loads(printed)})
        if kept is None:
            path.unlink()
    return rows


def files_per_second(clips: list[Path], jobs: int, copies: int) -> float:
    """Rate at which `jobs` processes predict files, from the first result of each on."""
    tasks = [Task(path, path.name, "bench") for path in clips * copies]
    ends = [time.perf_counter() for _ in run(load("light"), tasks, jobs)]
    return (len(ends) - jobs) / (ends[-1] - ends[jobs - 1])


def scaling(clips: list[Path], copies: int) -> list[dict]:
    """Rate with one process and with as many as this machine has cores."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    rates = {jobs: files_per_second(clips, jobs, copies) for jobs in sorted({1, cores or 1})}
    return [
        {"jobs": jobs, "files_per_second": rate, "share": rate / (jobs * rates[1])}
        for jobs, rate in rates.items()
    ]


def collection(now: dict[str, float], scaled: list[dict]) -> list[dict]:
    """Hours for `SONGS` songs on each of `MACHINES`, at the share measured with all cores."""
    share = min(1.0, scaled[-1]["share"])
    return [
        {
            "bundle": bundle,
            "cores": cores,
            "hours": SONGS * SONG_S / 60 * now[bundle] / 3.6e6 / (cores * share),
        }
        for bundle in BUNDLES
        for cores in MACHINES
    ]


TWO_THREADS = ", two threads"
"""Ends the names of predictions that use a second thread."""

CONTENT_OFF = ", content off"
"""Ends the names of predictions that do not find out whether a file is music."""


def speedup(before: dict[str, float], now: dict[str, float], name: str) -> float:
    """How many times as fast as before, both as multiples of their floor.

    What older versions do not know is compared with what they do: the same bundle on one thread.
    """
    known = before.get(name, before[name.partition(",")[0]])
    return (known / before["floor"]) / (now[name] / now["floor"])


def ratio_of(results: dict, name: str) -> float | None:
    """`speedup` of a row; by the clock if it uses two threads; None if before is not known."""
    kind = "clock" if name.endswith(TWO_THREADS) else "processor"
    before = (results["before"] or {}).get("milliseconds" if kind == "processor" else kind)
    now = results["now" if kind == "processor" else kind]
    return speedup(before, now, name) if before and name in now else None


def aims(results: dict) -> list[dict]:
    """What we aim at, what was measured, and whether it is met."""
    now = results["now"]
    rows = []

    def aim(text: str, figure: float | None, unit: str, met: bool) -> None:
        shown = "not measured" if figure is None else f"{figure:.3g}{unit}"
        rows.append({"aim": text, "figure": shown, "met": None if figure is None else met})

    for name, least in AIMS.items():
        for row in (name, name + CONTENT_OFF, name + TWO_THREADS):
            ratio = ratio_of(results, row)
            aim(f"{row}: a file at least {least:g} times as fast as before", ratio, " times",
                bool(ratio and ratio >= least))  # fmt: skip
        ratio = ratio_of(results, f"{name}, live")
        aim(f"{name}: live audio as fast as before", ratio, " times", bool(ratio and ratio > 0.97))
    ratio = now["light"] / now["floor"]
    aim(f"light: a file within {FLOOR_RATIO:g} times the floor", ratio, " times",
        ratio <= FLOOR_RATIO)  # fmt: skip
    peaks = {(row["bundle"], row["length_s"]): row["peak_mb"] for row in results["lengths"]}
    for name in BUNDLES:
        long, short = peaks.get((name, LONG_S)), peaks.get((name, SHORT_S))
        more = None if long is None or short is None else long - short
        aim(f"{name}: 3 h need at most {MEMORY_MB} MB more than 3 minutes", more, " MB",
            more is not None and more <= MEMORY_MB)  # fmt: skip
    return rows


def work_table(results: dict) -> str:
    """Work, milliseconds for a minute of audio before and now, and their ratio."""
    before = (results["before"] or {}).get("milliseconds", {})
    floor = results["now"]["floor"]
    rows: list[tuple] = []
    for name, cost in results["now"].items():
        old = before.get(name)
        ratio = None if name == "floor" else ratio_of(results, name)
        shown = ("–" if old is None else old, "" if ratio is None else ratio)
        by_clock = results["clock"][name]
        fastest = by_clock if name.endswith(TWO_THREADS) else cost
        rows.append((name, shown[0], cost, by_clock, shown[1], cost / floor, 6e4 / fastest))
    for row in results["peers"]:
        title = f"{row['package']}: {row.get('name', '')}".rstrip(": ")
        if "best" in row:
            cost = 6e4 / row["best"]
            rows.append((title, "", cost, "", "", cost / floor, row["best"]))
        else:
            rows.append((title, "", row["note"], "", "", "", ""))
    head = ("work", "before (ms)", "now (ms)", "now, by the clock (ms)", "times as fast",
            "multiple of the floor", "times real time")  # fmt: skip
    return features.table(head, rows)


def render(results: dict) -> str:
    """The report in Markdown, from nothing but `results`."""
    clips, computer = results["clips"], results["machine"]
    verdict = {True: "met", False: "missed", None: "not measured"}
    busy = results["cpu_share"] < features.QUIET
    before = results["before"]
    recorded = (
        f"Before is version {before['version']}, measured "
        + ("in turns with this one." if before["in_turns"] else f"earlier on {before['cpu']}.")
        if before
        else "Before was not measured."
    )
    return f"""# Whole files on one core

{"A quick run: the figures are rough." if results["quick"] else "Made by `make bench`."}
{clips["count"]} clips ({clips["source"]}), {clips["seconds"]:.0f} s in all. Processor time of all
threads in milliseconds for a minute of audio; the best of {results["repeats"]} rounds.
{computer["cpu"]} ({computer["machine"]}).
{
        "Other programs used the machine too: the figures are rough, their ratios are better."
        if busy
        else ""
    }

The floor is decoding, resampling and the Fourier transforms. {recorded}
"times as fast" compares multiples of the floor. Live audio arrives in chunks of 500 ms and is
resampled already. All rows use one thread, but for those named "two threads": they are what
`Model.predict` does by default. A second thread predicts a block while the first one decodes the
next. It saves time and no work, so these rows are compared by the clock with the one thread of
before. "content off" does not find out whether a file is music. Before did not either.

{work_table(results)}

## Aims

{
        features.table(
            ("aim", "measured", "verdict"),
            [(a["aim"], a["figure"], verdict[a["met"]]) for a in results["aims"]],
        )
    }

## Cost against length

One MP3 of each length, predicted in a fresh process with two threads. The processor time is of both;
Python and libraries are in the memory.

{
        features.table(
            ("bundle", "length (s)", "processor time (s)", "times real time", "peak memory (MB)"),
            [
                (
                    r["bundle"],
                    f"{r['length_s']:.0f}",
                    r["seconds"],
                    r["length_s"] / r["seconds"],
                    r["peak_mb"],
                )
                for r in results["lengths"]
            ],
        )
    }

## Many cores

Files a second with `light`, measured; "share" is the part of the ideal speed.

{
        features.table(
            ("processes", "files a second", "share"),
            [(r["jobs"], r["files_per_second"], r["share"]) for r in results["scaling"]],
        )
    }

Computed from these for {SONGS:,} songs of {SONG_S / 60:.0f} minutes, at the last share:

{
        features.table(
            ("bundle", "cores", "hours"),
            [(r["bundle"], r["cores"], r["hours"]) for r in results["collection"]],
        )
    }
"""


def record_before(measured: Costs | None, version: str, cpu: str, file: Path) -> dict | None:
    """The figures of before: measured now and recorded, or of the record, or None."""
    if measured is not None:
        costs = {"milliseconds": measured["processor"], "clock": measured["clock"]}
        write_json(file, {"version": version, "cpu": cpu, **costs})
        if file == BEFORE:
            record(file, None)  # the code of another checkout
        return {**read_json(file), "in_turns": True}
    return {**read_json(file), "in_turns": False} if file.is_file() else None


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.option(
    "--audio", "folder", envvar="BENCH_AUDIO", type=click.Path(path_type=Path, exists=True),
    help="folder of music. Default: DEAM's if it is there, else music rendered by code",
)  # fmt: skip
@click.option("--out", type=click.Path(path_type=Path), help="folder of files.json and .md")
@click.option(
    "--before", type=click.Path(path_type=Path, exists=True, file_okay=False),
    help="older checkout, to be timed in turns with this one and recorded",
)  # fmt: skip
@click.option("--version", default="an older checkout", help="name of what --before names")
@click.option("--repeats", type=click.IntRange(1), help="rounds; default 5, quick 1")
@click.option(
    "--keep", type=click.Path(path_type=Path, exists=True, file_okay=False),
    help="folder that keeps the long files: writing them takes minutes",
)  # fmt: skip
@click.option("--quick", is_flag=True, help="two clips, short files: rough figures")
def main(
    folder: Path | None,
    out: Path | None,
    before: Path | None,
    version: str,
    repeats: int | None,
    keep: Path | None,
    quick: bool,
) -> None:
    """Measure predictions of whole files on one core: speed, memory, other libraries."""
    if folder is None and (DATA / "deam" / "MEMD_audio").is_dir():
        folder = DATA / "deam" / "MEMD_audio"
    out = out or (features.QUICK_REPORTS if quick else FILE_SPEED.parent)
    count = 2 if quick else features.MAX_CLIPS
    repeats = repeats or (1 if quick else 5)
    began, cpu_began = time.perf_counter(), features.cpu_seconds()
    with tempfile.TemporaryDirectory() as name:
        scratch = Path(name)
        if folder is None:
            features.write_clips(scratch, count, 10.0 if quick else features.CLIP_SECONDS)
        clips = [path.resolve() for path in features.find_clips(folder or scratch, count)]
        audio_s = sum(sf.info(path).duration for path in clips)
        peers = features.measure_peers(
            clips, repeats, audio_s, os.environ.get("BENCH_PEERS_PYTHON"), scratch,
            ("librosa",) if quick else ("librosa", "essentia", "vibenet"),
        )  # fmt: skip
        checkouts = [PROJECT_ROOT, *([before] if before else [])]
        now, *older = in_turns(clips, repeats, checkouts, audio_s, scratch)
        rows = lengths((5.0, 20.0) if quick else LENGTHS_S, scratch, keep)
        share = (features.cpu_seconds() - cpu_began) / (time.perf_counter() - began)
        scaled = scaling(clips, 3 if quick else 4)
    machine = features.machine()
    results = {
        "quick": quick,
        "machine": machine,
        "clips": {"source": folder.resolve().name if folder else "synthetic music",
                  "count": len(clips), "seconds": audio_s},
        "repeats": repeats,
        "cpu_share": share,
        "now": now["processor"],
        "clock": now["clock"],
        "before": record_before(older[0] if older else None, version, machine["cpu"],
                                out / BEFORE.name if older else BEFORE),
        "peers": [*(row for row in peers if "from file" in row.get("name", "from file")),
                  *PUBLISHED],
        "lengths": rows,
        "scaling": scaled,
        "collection": collection(now["processor"], scaled),
    }  # fmt: skip
    results["aims"] = aims(results)
    write_json(out / FILE_SPEED.name, results)
    report = out / FILE_SPEED.with_suffix(".md").name
    write_text(report, render(results))
    if out == FILE_SPEED.parent:
        record(out / FILE_SPEED.name, MEASURED_CODE, [report])
    click.echo(render(results))


if __name__ == "__main__":
    main()

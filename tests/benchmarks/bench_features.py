"""How fast features come out of music files on one core, beside other libraries.

``make bench`` runs it. Speeds are seconds of audio per second of wall clock ("x real time").
Each is the best of the repeats, clip by clip, with warm caches; the median stands beside it.
Ours, the floor and the stages take turns on each clip, so that a busy moment hits them all.
Other libraries run before, in processes of their own.
"""

from __future__ import annotations

import json
import os
import platform
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

import click
import numpy as np
import scipy.fft
import soundfile as sf
import soxr
from tqdm import tqdm

if __package__:
    from benchmarks.real_data import DATA
else:  # run as a script
    from real_data import DATA

from msr_utils.audio import decode as audio_decode
from msr_utils.audio.decode import Resampler
from msr_utils.audio.formats import AUDIO_SUFFIXES
from msr_utils.audio.source import AudioError
from msr_utils.constants import CHROMA_N_FFT, CHROMA_STEPS, SAMPLE_RATE
from msr_utils.corpora.synthetic.config import SyntheticConfig
from msr_utils.corpora.synthetic.render import render_track
from msr_utils.features.blocks.registry import BLOCKS
from msr_utils.features.config import FeatureConfig
from msr_utils.features.cost import estimate, measure_cost
from msr_utils.features.extractor import FeatureExtractor, extract
from msr_utils.io import write_json, write_text
from msr_utils.paths import PROJECT_ROOT
from msr_utils.provenance.environment import environment
from msr_utils.provenance.measurements import record

DEAM_AUDIO = DATA / "deam" / "MEMD_audio"
"""Taken by default if it is there; otherwise clips are rendered."""

REPORTS = PROJECT_ROOT / "reports/benchmarks"

MEASURED_CODE = [
    ("msr_utils.features.extractor", "extract"),
    ("msr_utils.features.cost", "measure_cost"),
]
"""Where the code begins that is measured."""

QUICK_REPORTS = PROJECT_ROOT / "reports/scratch/benchmarks"

HERE = Path(__file__).resolve().parent
PACKAGES = ("librosa", "opensmile", "essentia")

MAX_CLIPS = 10
CLIP_SECONDS = 45.0
FILE_RATE = 44_100
LONG_SECONDS = 7200
CHUNK_SECONDS = 0.5
FLOOR_WINDOWS = 100
"""Windows transformed at a time for the floor: the fastest of 5 to 2400 when it was tried."""

QUIET = 0.9
"""Share of a core below which other programs disturbed the figures, the slow rows' most."""

MILLION = {"tracks": 1_000_000, "track_s": 240.0, "cores": 64, "blocks": "logmel,logmel_sd,tonal"}
"""The collection whose cost is worked out, with the blocks that the served LSTM reads."""

FLOOR_RATIO, ALL_SPEED, CHROMA_RATIO, PEAK_MB = 1.15, 350, 3, 400
"""What we aim at: see `aims`."""


def block_sets() -> dict[str, tuple[str, ...]]:
    """What to measure: each block alone, chroma with tonal, all blocks."""
    sets = {name: (name,) for name in BLOCKS}
    if {"chroma", "tonal"} <= set(BLOCKS):
        sets["chroma+tonal"] = ("chroma", "tonal")
    return {**sets, "all": tuple(BLOCKS)}


def from_file_sets() -> dict[str, tuple[str, ...]]:
    """The sets that are also measured from file, for latency and for memory."""
    sets = block_sets()
    return {name: sets[name] for name in ("logmel", "chroma+tonal", "all") if name in sets}


# Clips


def rendered(seconds: float, number: int = 0) -> np.ndarray:
    """Synthetic music at `FILE_RATE`, (n,) float32."""
    config = SyntheticConfig(n_tracks=MAX_CLIPS, duration_s=seconds, n_groups=MAX_CLIPS)
    return soxr.resample(render_track(config, number).audio, SAMPLE_RATE, FILE_RATE)


def write_clips(folder: Path, clips: int, seconds: float) -> None:
    """Render synthetic music as MP3, for when there is no real music."""
    for i in range(clips):
        sf.write(folder / f"clip{i:02d}.mp3", rendered(seconds, i), FILE_RATE)


def write_long(path: Path, seconds: float) -> None:
    """Write one rendered clip over and over as an MP3 of `seconds`."""
    clip = rendered(min(seconds, CLIP_SECONDS))
    with sf.SoundFile(path, "w", FILE_RATE, channels=1, format="MP3") as file:
        for _ in tqdm(range(round(seconds * FILE_RATE / len(clip))), "long file", leave=False):
            file.write(clip)


def find_clips(folder: Path, most: int) -> list[Path]:
    """First audio files of a folder, by name."""
    paths = sorted(p for p in folder.iterdir() if p.suffix.lower() in AUDIO_SUFFIXES)[:most]
    if not paths:
        raise click.ClickException(f"--audio {folder}: holds none of {', '.join(AUDIO_SUFFIXES)}")
    return paths


def decode(path: Path) -> list[np.ndarray]:
    """A file's blocks as soundfile gives them, each (n, channels) float32."""
    blocks = []
    with sf.SoundFile(path) as file:
        frames = int(audio_decode.BLOCK_SECONDS * file.samplerate)
        while len(block := file.read(frames, "float32", always_2d=True)):
            blocks.append(block)
    return blocks


def resample(blocks: list[np.ndarray], rate: int) -> list[np.ndarray]:
    """Mono blocks at the study's rate."""
    resampler = Resampler(rate, SAMPLE_RATE)
    done = [resampler.push(block) for block in blocks]
    return [*done, resampler.push(np.zeros(0, np.float32), last=True)]


def mono(path: Path) -> tuple[list[np.ndarray], int]:
    """A file's blocks mixed to mono, and its sample rate in Hz."""
    return [block.mean(axis=1) for block in decode(path)], sf.info(path).samplerate


# Measures


def timed(action: Callable[[], object]) -> float:
    """Seconds that one call takes."""
    start = time.perf_counter()
    action()
    return time.perf_counter() - start


def speeds(seconds: np.ndarray, audio_s: float) -> dict[str, float]:
    """Times real time from the seconds that each clip took, (clips, repeats)."""
    return {
        "best": audio_s / seconds.min(axis=1).sum(),
        "median": audio_s / np.median(seconds, axis=1).sum(),
    }


def features(blocks: list[np.ndarray], config: FeatureConfig) -> list[np.ndarray]:
    """Frames of resampled audio, as `extract` makes them."""
    extractor = FeatureExtractor(config)
    return [extractor.push(block) for block in blocks]


def plain_logmel(samples: np.ndarray, filters: np.ndarray, config: FeatureConfig) -> None:
    """What a log-mel spectrogram cannot do without: Fourier transform, power, mel product."""
    windows = np.lib.stride_tricks.sliding_window_view(samples, config.n_fft)
    windows = windows[:: config.hop_length]
    for start in range(0, len(windows), FLOOR_WINDOWS):
        spectrum = scipy.fft.rfft(windows[start : start + FLOOR_WINDOWS], axis=1)
        (spectrum.real**2 + spectrum.imag**2) @ filters


def actions(path: Path) -> dict[str, Callable[[], object]]:
    """What is timed on one clip, by row name."""
    blocks, rate = mono(path)
    resampled = resample(blocks, rate)
    samples = np.concatenate(resampled)
    logmel = FeatureConfig()
    # Any dense matrix of the filterbank's shape costs the same.
    filters = np.random.default_rng(0).random((logmel.n_fft // 2 + 1, logmel.n_mels), np.float32)
    rows: dict[str, Callable[[], object]] = {
        "decode": lambda: decode(path),
        "resample": lambda: resample(blocks, rate),
        "rfft and mel product": lambda: plain_logmel(samples, filters, logmel),
    }
    for name, wanted in block_sets().items():
        config = FeatureConfig(blocks=wanted)
        rows[f"features: {name}"] = lambda config=config: features(resampled, config)
    for name, wanted in from_file_sets().items():
        config = FeatureConfig(blocks=wanted)
        rows[f"from file: {name}"] = lambda config=config: extract(path, config)
    return rows


def measure_stages(paths: list[Path], repeats: int, audio_s: float) -> list[dict]:
    """Speed of every stage, of every set of blocks, and of the log-mel floor."""
    seconds: dict[str, list[list[float]]] = {}
    for path in tqdm(paths, "stages", leave=False):
        rows = actions(path)
        for action in rows.values():
            action()
        rounds = [{name: timed(action) for name, action in rows.items()} for _ in range(repeats)]
        for name in rows:
            seconds.setdefault(name, []).append([times[name] for times in rounds])
    stages = [{"name": name, **speeds(np.array(s), audio_s)} for name, s in seconds.items()]
    return [*stages, floor(stages)]


def floor(stages: list[dict]) -> dict:
    """Speed of log-mel from file if it were nothing but decode, resample, FFT and product."""
    parts = [s for s in stages if s["name"] in ("decode", "resample", "rfft and mel product")]
    return {
        "name": "log-mel floor",
        **{key: 1 / sum(1 / part[key] for part in parts) for key in ("best", "median")},
    }


def follow(path: Path, config: FeatureConfig) -> tuple[float, list[float]]:
    """Seconds of computing to the first frame, set-up included, and for each chunk after it."""
    blocks, rate = mono(path)
    samples = np.concatenate(blocks)
    size = int(CHUNK_SECONDS * rate)
    start = time.perf_counter()
    resampler, extractor = Resampler(rate, config.sample_rate), FeatureExtractor(config)
    first, later, begun = time.perf_counter() - start, [], False
    for at in range(0, len(samples) - size + 1, size):
        start = time.perf_counter()
        frames = extractor.push(resampler.push(samples[at : at + size]))
        seconds = time.perf_counter() - start
        if begun:
            later.append(seconds)
        else:
            first += seconds
        begun = begun or len(frames) > 0
    return first, later


def measure_latency(paths: list[Path]) -> list[dict]:
    """Milliseconds of computing when audio arrives in chunks of 500 ms at the file's rate."""
    rows = []
    for name, wanted in tqdm(from_file_sets().items(), "latency", leave=False):
        config = FeatureConfig(blocks=wanted)
        follow(paths[0], config)
        firsts, laters = zip(*(follow(path, config) for path in paths), strict=True)
        chunks = 1e3 * np.concatenate(laters)
        rows.append(
            {
                "blocks": name,
                "first_ms": 1e3 * float(np.median(firsts)),
                "p50_ms": float(np.percentile(chunks, 50)),
                "p99_ms": float(np.percentile(chunks, 99)),
                "chunks": len(chunks),
            }
        )
    return rows


def run_script(python: str, name: str, *arguments: str) -> str:
    """What a script of this folder prints, run in a process of its own."""
    done = subprocess.run(
        [python, str(HERE / name), *arguments], capture_output=True, text=True, check=False
    )
    if done.returncode:
        lines = done.stderr.strip().splitlines() or [f"exit status {done.returncode}"]
        raise click.ClickException(f"{name} with {Path(python).name} failed: {lines[-1]}")
    return done.stdout


def measure_peers(
    paths: list[Path],
    repeats: int,
    audio_s: float,
    other_python: str | None,
    scratch: Path,
    packages: tuple[str, ...] = PACKAGES,
) -> list[dict]:
    """Speed of other libraries; those not installed here are tried with `other_python`."""
    clips = []
    for i, path in enumerate(paths):
        np.save(scratch / f"{i}.npy", audio_decode.load(path))
        clips.append({"path": str(path.resolve()), "samples": str(scratch / f"{i}.npy")})
    config = FeatureConfig()
    names = ("sample_rate", "n_fft", "hop_length", "n_mels", "fmin", "fmax")
    stft = {n: getattr(config, n) for n in names}
    stft |= {
        "chroma_n_fft": CHROMA_N_FFT,
        "chroma_hop_length": config.frame_samples // CHROMA_STEPS,
    }
    job = {"clips": clips, "repeats": repeats, "stft": stft}
    rows = []
    for package in tqdm(packages, "peers", leave=False):
        write_json(scratch / "job.json", {**job, "packages": [package]})
        for python in (sys.executable, other_python):
            if python:
                run_script(
                    python, "peers.py", *(str(scratch / f"{n}.json") for n in ("job", "result"))
                )
                found = json.loads((scratch / "result.json").read_text("utf-8"))
                if "seconds" in found[0]:
                    break
        rows += found
    for row in rows:
        if "seconds" in row:
            row.update(speeds(np.array(row.pop("seconds")), audio_s))
    return rows


def measure_memory(seconds: float, scratch: Path) -> list[dict]:
    """Peak memory of a fresh process that extracts from a long MP3."""
    path = scratch / "long.mp3"
    write_long(path, seconds)
    sets = {name: s for name, s in from_file_sets().items() if name in ("logmel", "all")}
    return [
        {
            "blocks": name,
            "seconds": seconds,
            "peak_mb": float(run_script(sys.executable, "peak_memory.py", str(path), ",".join(s))),
        }
        for name, s in tqdm(sets.items(), "memory", leave=False)
    ]


def measure_million(paths: list[Path]) -> dict:
    """What the features of a million tracks need, from what those of these clips cost."""
    config = FeatureConfig(MILLION["blocks"])
    cost = measure_cost(paths, config)
    minutes = MILLION["track_s"] / 60
    collection = estimate(
        MILLION["tracks"],
        MILLION["track_s"],
        cost.seconds_per_minute * minutes,
        cost.bytes_per_minute * minutes,
        MILLION["cores"],
    )
    return {
        **MILLION,
        **asdict(cost),
        **asdict(collection),
        "audio_tib": MILLION["tracks"] * cost.audio_bytes_per_minute * minutes / 2**40,
    }


def machine() -> dict:
    """Processor and versions, without the machine's name."""
    cpu = platform.processor()
    info = Path("/proc/cpuinfo")
    if info.is_file():
        models = [x.split(":")[1] for x in info.read_text().splitlines() if "model name" in x]
        cpu = models[0].strip() if models else cpu
    return {"cpu": cpu or "unknown", **vars(environment())}


def cpu_seconds() -> float:
    """Seconds of computing of this process and of those it has waited for."""
    return sum(os.times()[:4])


# Results


def aims(results: dict) -> list[dict]:
    """What we aim at, what was measured, and whether it is met; None where nothing was."""
    speed = {row["name"]: row["best"] for row in results["stages"]}
    peer = {
        f"{row['package']} {row['name']}": row["best"] for row in results["peers"] if "best" in row
    }
    rows = []

    def aim(text: str, figure: float | None, unit: str, met: Callable[[float], bool]) -> None:
        known = figure is not None
        rows.append(
            {
                "aim": text,
                "figure": f"{figure:.3g}{unit}" if known else "not measured",
                "met": met(figure) if known else None,
            }
        )

    def ratio(a: float | None, b: float | None) -> float | None:
        return a / b if a and b else None

    logmel = speed["from file: logmel"]
    aim(
        f"log-mel from file takes at most {FLOOR_RATIO:g} times the floor",
        ratio(speed["log-mel floor"], logmel), "x", lambda x: x <= FLOOR_RATIO,
    )  # fmt: skip
    aim(
        "log-mel from file is faster than librosa's load, melspectrogram, power_to_db",
        ratio(logmel, peer.get("librosa from file: load, melspectrogram, power_to_db")),
        " times as fast", lambda x: x > 1,
    )  # fmt: skip
    aim(
        f"all blocks from file reach {ALL_SPEED} x real time",
        speed["from file: all"], " x real time", lambda x: x >= ALL_SPEED,
    )  # fmt: skip
    aim(
        f"chroma and tonal are at least {CHROMA_RATIO} times as fast as librosa's chroma_stft, which tunes",
        ratio(speed.get("features: chroma+tonal"), peer.get("librosa chroma_stft")),
        " times as fast",
        lambda x: x >= CHROMA_RATIO,
    )
    peaks = [row["peak_mb"] for row in results["memory"] if row["seconds"] >= LONG_SECONDS]
    aim(
        f"a two-hour file needs less than {PEAK_MB} MB at its peak",
        max(peaks, default=None), " MB", lambda x: x < PEAK_MB,
    )  # fmt: skip
    return rows


def table(head: tuple[str, ...], rows: list[tuple]) -> str:
    """A Markdown table; numbers to three digits or whole."""

    def cell(value: object) -> str:
        if isinstance(value, float):
            return f"{value:.0f}" if value >= 100 else f"{value:.3g}"
        return str(value)

    lines = [head, ("---",) * len(head), *rows]
    return "\n".join(f"| {' | '.join(cell(value) for value in line)} |" for line in lines)


def render(results: dict) -> str:
    """The report in Markdown, from nothing but `results`."""
    clips, computer = results["clips"], results["machine"]
    packages = ", ".join(
        f"{name} {computer['packages'][name]}"
        for name in ("numpy", "scipy", "soundfile", "soxr", "librosa")
    )
    peers = [
        (row["package"] + " " + row["version"], row["name"], row["best"], row["median"])
        if "best" in row
        else (row["package"], row["note"], "", "")
        for row in results["peers"]
    ]
    busy = "" if results["cpu_share"] >= QUIET else ": the machine was busy, the figures are rough"
    verdict = {True: "met", False: "missed", None: "not measured"}
    return f"""# Speed and memory of the features

{"A quick run: the figures are rough." if results["quick"] else "Made by `make bench`."}
{clips["count"]} clips ({clips["source"]}; {clips["formats"]}), {clips["seconds"]:.0f} s in all.
Figures are seconds of audio per second on one core: the best of n = {results["repeats"]}
repeats of each clip, and the median, with warm caches.

{computer["cpu"]} ({computer["machine"]}), threads: {computer["threads"]}.
Python {computer["python"]}, {packages}.
The benchmark had {results["cpu_share"]:.0%} of a core{busy}.

## Aims

{
        table(
            ("aim", "measured", "verdict"),
            [(a["aim"], a["figure"], verdict[a["met"]]) for a in results["aims"]],
        )
    }

## Stages

"features" takes resampled audio in memory, "from file" is everything from the file to the
frames. The log-mel floor is 1 / (1 / decode + 1 / resample + 1 / rfft and mel product).

{
        table(
            ("stage", "best", "median"),
            [(s["name"], s["best"], s["median"]) for s in results["stages"]],
        )
    }

## Other libraries

On the same clips, with the same window, hop and mel bands as ours where they take them, also for
chroma. "from file" decodes and resamples; the others take the same resampled audio in memory.
First calls do not count. librosa's chroma_stft searches for the tuning unless it is given, which
ours does not: the aim is set beside librosa's default, and the row without that search stands by.

{table(("library", "what", "best", "median"), peers)}

## Latency

Milliseconds of computing, resampling included, when audio arrives in chunks of 500 ms.

{
        table(
            ("blocks", "first frame with set-up", "p50 per chunk", "p99 per chunk", "chunks"),
            [
                (r["blocks"], r["first_ms"], r["p50_ms"], r["p99_ms"], r["chunks"])
                for r in results["latency"]
            ],
        )
    }

## Memory

Peak of a fresh process that extracts from one long MP3, Python and libraries included.

{
        table(
            ("blocks", "length of the file in s", "peak in MB"),
            [(r["blocks"], r["seconds"], r["peak_mb"]) for r in results["memory"]],
        )
    }

## A million tracks

Hashing, decoding, computing and writing the blocks {results["million"]["blocks"]} of these clips
took {results["million"]["seconds_per_minute"]:.3f} s of one core for a minute of audio, and
{results["million"]["bytes_per_minute"] / 1e3:.0f} kB are kept of it. For
{results["million"]["tracks"]:,} tracks of {results["million"]["track_s"] / 60:.0f} minutes at the
same rates:

{
        table(
            (
                "core-hours",
                f"hours on {results['million']['cores']} cores",
                "TiB of audio to read",
                "GiB of features to keep",
            ),
            [
                tuple(
                    results["million"][k]
                    for k in ("core_hours", "hours", "audio_tib", "storage_gib")
                )
            ],
        )
    }
"""


def run(
    paths: list[Path],
    source: str,
    repeats: int,
    long_seconds: float,
    quick: bool,
    other_python: str | None,
    scratch: Path,
) -> dict:
    """Measure everything; what `render` and ``features.json`` need."""
    began, cpu_began = time.perf_counter(), cpu_seconds()
    infos = [sf.info(path) for path in paths]
    audio_s = sum(info.duration for info in infos)
    formats = sorted({f"{i.format} {i.samplerate} Hz, {i.channels} ch" for i in infos})
    results = {
        "quick": quick,
        "machine": machine(),
        "clips": {
            "source": source, "count": len(paths), "seconds": audio_s, "formats": "; ".join(formats)
        },
        "repeats": repeats,
        # First, because a wrong BENCH_PEERS_PYTHON is found here.
        "peers": measure_peers(paths, repeats, audio_s, other_python, scratch),
        "stages": measure_stages(paths, repeats, audio_s),
        "latency": measure_latency(paths),
        "memory": measure_memory(long_seconds, scratch),
        "million": measure_million(paths),
    }  # fmt: skip
    results["cpu_share"] = (cpu_seconds() - cpu_began) / (time.perf_counter() - began)
    return {**results, "aims": aims(results)}


def one_core() -> None:
    """Stay on one core, where the system lets a process choose."""
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.option(
    "--audio", "folder", envvar="BENCH_AUDIO", type=click.Path(path_type=Path),
    help=f"folder of music; its first {MAX_CLIPS} files are taken. Default: DEAM's if it is "
    "there, else music rendered by code",
)  # fmt: skip
@click.option("--out", type=click.Path(path_type=Path), help="folder of features.json and .md")
@click.option("--repeats", type=click.IntRange(1), help="of each measure; default 5, quick 1")
@click.option("--quick", is_flag=True, help="two clips and a short file: rough figures, no memory")
def main(folder: Path | None, out: Path | None, repeats: int | None, quick: bool) -> None:
    """Measure features: speed, latency and memory, beside other libraries.

    BENCH_PEERS_PYTHON names an interpreter that has opensmile and essentia; without it they
    are measured only if they are installed here.
    """
    other_python = os.environ.get("BENCH_PEERS_PYTHON")
    if other_python and not shutil.which(other_python):
        raise click.ClickException(f"BENCH_PEERS_PYTHON={other_python}: no such interpreter")
    if folder is not None and not folder.is_dir():
        raise click.ClickException(f"--audio {folder}: no such folder")
    if folder is None and DEAM_AUDIO.is_dir():
        folder = DEAM_AUDIO
    out = out or (QUICK_REPORTS if quick else REPORTS)
    clips = 2 if quick else MAX_CLIPS
    repeats = repeats or (1 if quick else 5)
    with tempfile.TemporaryDirectory() as name:
        scratch = Path(name)
        if folder is None:
            write_clips(scratch, clips, 10.0 if quick else CLIP_SECONDS)
        source = folder.resolve().name if folder else "synthetic music"
        paths = find_clips(folder or scratch, clips)
        try:
            results = run(
                paths,
                source,
                repeats,
                20.0 if quick else LONG_SECONDS,
                quick,
                other_python,
                scratch,
            )
        except (AudioError, sf.LibsndfileError) as error:
            raise click.ClickException(f"--audio: {error}") from error
    write_json(out / "features.json", results)
    report = render(results)
    write_text(out / "features.md", report)
    if out == REPORTS:
        record(out / "features.json", MEASURED_CODE, [out / "features.md"])
    click.echo(report)


if __name__ == "__main__":
    one_core()
    main()

"""Rehearse the study on DEAM before its audio is at hand: wall time and memory at full scale.

``python tests/benchmarks/rehearse_deam.py`` makes music for every annotated song, in the official
layout beside DEAM's own annotations, runs the study's notebooks on it and writes
``deam_rehearsal.json`` and ``.md``. The music has nothing to do with the labels: times and memory
mean something, scores do not.
"""

from __future__ import annotations

import io
import math
import os
import resource
import shutil
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import click
import numpy as np
import psutil
import soundfile as sf
import soxr
from tqdm import tqdm

if __package__:
    from benchmarks.real_data import DATA
else:  # run as a script
    from real_data import DATA

from msr_utils import paths
from msr_utils.constants import SAMPLE_RATE
from msr_utils.corpora import load_corpus
from msr_utils.corpora.base import Corpus, CorpusError
from msr_utils.corpora.deam.songs import EXCERPT_S, SONGS
from msr_utils.corpora.synthetic.config import SyntheticConfig
from msr_utils.corpora.synthetic.render import render_track
from msr_utils.io import (
    atomic_path,
    read_json,
    sha256_file,
    write_json,
    write_text,
)
from msr_utils.paths import CACHE_DIR, PROJECT_ROOT
from msr_utils.provenance.environment import environment
from msr_utils.provenance.measurements import record
from msr_utils.study import plan, runner
from msr_utils.study.parameters import StudyError

WORK = Path(tempfile.gettempdir()) / "msr-deam-rehearsal"
REPORTS = PROJECT_ROOT / "reports/benchmarks"

MEASURED_CODE = [
    ("msr_utils.study.runner", "execute"),
    ("msr_utils.features.extractor", "extract"),
    ("msr_utils.training.cross_validation", "cross_validate"),
    ("msr_utils.evaluation.comparison", "compare"),
]
"""Where the code begins that is measured."""


EDITION = "local-rehearsal"

RUNS = (
    "data",
    "static",
    "spectrograms",
    "lstm-arousal",
    "lstm-valence",
    "transformer-scratch-arousal",
    "transformer-scratch-valence",
    "evaluation",
)
"""One LSTM and one Transformer, both targets of each, since the evaluation needs them."""

ALL_SONGS = sum(SONGS.values())

AIM_MINUTES, AIM_GB = 60, 6

FILE_RATE = 44_100
SEGMENT_S = 15
PIECES = 48
QUALITY = 0.8
"""Of libsndfile's MP3 encoder; a constant 96 kbit/s, about the size of the official files."""

SAMPLING_S = 0.2
"""Between two looks at the memory in use."""

# Audio


def encoded_segments(pieces: int) -> list[bytes]:
    """Synthetic music as MP3, `SEGMENT_S` each, to be put together without encoding again."""
    config = SyntheticConfig(n_tracks=pieces, duration_s=EXCERPT_S, n_groups=pieces // 2)
    length = SEGMENT_S * FILE_RATE
    segments = []
    for piece in tqdm(range(pieces), desc="music", unit="piece"):
        samples = soxr.resample(render_track(config, piece).audio, SAMPLE_RATE, FILE_RATE)
        for start in range(0, len(samples), length):
            with io.BytesIO() as file:
                sf.write(
                    file, samples[start : start + length], FILE_RATE, format="MP3",
                    bitrate_mode="CONSTANT", compression_level=QUALITY,
                )  # fmt: skip
                segments.append(without_info(file.getvalue()))
    return segments


def without_info(mp3: bytes) -> bytes:
    """An MP3 without its first frame, which states the length of the file and holds no sound."""
    following = mp3.find(mp3[:2], 4)  # every frame starts with the same two bytes
    if b"Info" not in mp3[:following]:
        raise ValueError("the encoder wrote no Info frame, or not in the first place")
    return mp3[following:]


def segments_of(song: int, count: int, of: int) -> np.ndarray:
    """Which segments make a song, (count,): no two songs begin with the same three."""
    number = song * 7919 % of**3  # a prime: different songs, different numbers
    first = [number // of**k % of for k in range(3)]
    more = np.random.default_rng(song).integers(of, size=max(0, count - 3))
    return np.concatenate([first, more]).astype(int)[:count]


def write_corpus(root: Path, data: Path, songs: int, pieces: int = PIECES) -> Corpus:
    """DEAM's annotations and metadata with music of ours for some songs, spread over all years.

    Audio that is there is kept.
    """
    root.mkdir(parents=True, exist_ok=True)
    for part in ("annotations", "metadata"):
        (root / part).unlink(missing_ok=True)
        (root / part).symlink_to((data / part).resolve(), target_is_directory=True)
    every = load_corpus("deam", root, need_audio=False).tracks
    chosen = [every[i] for i in np.linspace(0, len(every) - 1, min(songs, len(every)), dtype=int)]
    wanted = {root / "MEMD_audio" / f"{t.id}.mp3": t for t in chosen}
    (root / "MEMD_audio").mkdir(exist_ok=True)
    for path in set((root / "MEMD_audio").iterdir()) - set(wanted):
        path.unlink()
    missing = [path for path in wanted if not path.is_file()]
    segments = encoded_segments(pieces) if missing else []
    for path in missing:
        track = wanted[path]
        seconds = track.duration_s or track.times_s[-1]
        picked = segments_of(int(track.id), math.ceil(seconds / SEGMENT_S), len(segments))
        with atomic_path(path) as temporary:
            temporary.write_bytes(b"".join(segments[i] for i in picked))
    return load_corpus("deam", root)


def forget_features(corpus: Corpus) -> int:
    """Remove what is kept of this audio, so that its features are computed; bytes removed."""
    kept = {sha256_file(track.audio_path) for track in corpus.tracks}
    freed = 0
    for file in (CACHE_DIR / "features").glob("*/*.npy"):
        if file.stem.split("-")[0] in kept:
            freed += file.stat().st_size
            file.unlink()
    return freed


# Measures


@contextmanager
def measured(row: dict) -> Iterator[None]:
    """Add ``wall_s``, ``cpu_s`` and ``peak_mb`` (10^6 bytes) of a block to `row`.

    Both count this process and its children; the peak is that of their summed resident memory.
    """
    me, done = psutil.Process(), threading.Event()
    peak = [0]

    def watch() -> None:
        while not done.wait(SAMPLING_S):
            peak[0] = max(peak[0], resident(me))

    thread = threading.Thread(target=watch, daemon=True)
    thread.start()
    began, cpu = time.perf_counter(), cpu_seconds()
    try:
        yield
    finally:
        row["wall_s"] = time.perf_counter() - began
        row["cpu_s"] = cpu_seconds() - cpu
        done.set()
        thread.join()
        row["peak_mb"] = max(peak[0], resident(me)) / 1e6


def resident(process: psutil.Process) -> int:
    """Bytes of resident memory of a process and its children."""
    total = 0
    for one in [process, *process.children(recursive=True)]:
        try:
            total += one.memory_info().rss
        except psutil.NoSuchProcess:  # ended since it was listed
            continue
    return total


def cpu_seconds() -> float:
    """Processor time of this process and of its children that have ended."""
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(one.ru_utime + one.ru_stime for one in used)


def rehearse(
    root: Path, only: Sequence[str], epochs: int | None, reports: Path = paths.REPORTS
) -> dict:
    """Run the study on a corpus that `write_corpus` made, each notebook measured by itself."""
    corpus = load_corpus("deam", root)
    forget_features(corpus)
    folder = reports / EDITION / "deam"
    shutil.rmtree(folder, ignore_errors=True)
    loading: dict = {"stage": "load and hash"}
    with measured(loading):
        corpus = load_corpus("deam", root)
        data_hash = corpus.content_hash()
    runs = plan.plan(
        plan.read_study(), "deam", os.path.relpath(root, PROJECT_ROOT), edition=EDITION,
        overrides={"epochs": str(epochs)} if epochs else None, kinds_of_labels=corpus.kinds,
    )  # fmt: skip
    chosen = [
        replace(run, after=tuple(name for name in run.after if name in only))
        for run in runs
        if run.name in only
    ]
    rows = [loading]
    for run in chosen:
        row: dict = {"stage": run.name}
        with measured(row):
            runner.execute(chosen, EDITION, data_hash, (run.name,), reports)
        metrics = read_json(folder / run.name / "metrics.json")
        if "training" in metrics:
            row |= {name: metrics["cost"][name] for name in ("epochs", "seconds_per_epoch")}
            row["epochs_at_most"] = metrics["training"]["epochs"]
        rows.append(row)
    return {
        "songs": len(corpus.tracks),
        "most_epochs": epochs,
        "audio_hours": sum(sf.info(t.audio_path).duration for t in corpus.tracks) / 3600,
        "audio_gb": sum(t.audio_path.stat().st_size for t in corpus.tracks) / 1e9,
        "features_gb": forget_features(corpus) / 1e9,
        "cores": len(psutil.Process().cpu_affinity()),
        "environment": vars(environment()),
        "stages": rows,
        **totals(rows),
    }


def totals(rows: Sequence[dict]) -> dict:
    """Sums over stages, and the wall time if no training had stopped before its last epoch."""
    wall_s = sum(row["wall_s"] for row in rows)
    more_s = sum(
        (row["epochs_at_most"] - row["epochs"]) * row["seconds_per_epoch"]
        for row in rows
        if "epochs" in row
    )
    return {
        "wall_minutes": wall_s / 60,
        "wall_minutes_at_most": (wall_s + more_s) / 60,
        "cpu_minutes": sum(row["cpu_s"] for row in rows) / 60,
        "peak_gb": max(row["peak_mb"] for row in rows) / 1e3,
    }


def render(results: dict) -> str:
    """The report as Markdown."""
    stages = {row["stage"] for row in results["stages"]}
    whole = results["songs"] == ALL_SONGS and stages >= set(RUNS) and not results["most_epochs"]
    lines = [
        "# Rehearsal of DEAM",
        "",
        "Made by `python tests/benchmarks/rehearse_deam.py`: DEAM's own annotations and metadata,",
        "music by code in the place of its audio. The music has nothing to do with the labels, so",
        "that the scores mean nothing and training stops early; time and memory are real.",
        "",
        f"{results['songs']} of {ALL_SONGS} songs, {results['audio_hours']:.1f} h of MP3 "
        f"({results['audio_gb']:.2f} GB), {results['features_gb']:.2f} GB of features; "
        f"{results['environment']['machine']}, {results['cores']} of them used, threads: "
        f"{results['environment']['threads']}.",
        "",
        "| aim | measured | verdict |",
        "| --- | --- | --- |",
    ]
    for aim, name, unit in ((AIM_MINUTES, "wall_minutes", "minutes"), (AIM_GB, "peak_gb", "GB")):
        verdict = ("met" if results[name] <= aim else "missed") if whole else "only a part was run"
        lines.append(f"| at most {aim} {unit} | {results[name]:.1f} {unit} | {verdict} |")
    lines += [
        "",
        f"Had every training gone on to its last epoch: "
        f"{results['wall_minutes_at_most']:.0f} minutes.",
        "Peak: resident memory of all processes together.",
        "",
        "| stage | wall (s) | processor (s) | peak (MB) | epochs | s per epoch |",
        "| --- | --- | --- | --- | --- | --- |",
    ]
    for row in results["stages"]:
        training = (
            f"{row['epochs']:.0f} | {row['seconds_per_epoch']:.1f}" if "epochs" in row else "| "
        )
        lines.append(
            f"| {row['stage']} | {row['wall_s']:.0f} | {row['cpu_s']:.0f} | "
            f"{row['peak_mb']:.0f} | {training} |"
        )
    return "\n".join(lines) + "\n"


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.option(
    "--data", default=DATA / "deam", show_default=True, type=click.Path(path_type=Path),
    help="folder with DEAM's annotations and metadata",
)  # fmt: skip
@click.option(
    "--work", default=WORK, show_default=True, type=click.Path(path_type=Path),
    help="folder for the music (1.2 GB), kept for the next time",
)  # fmt: skip
@click.option("--songs", default=ALL_SONGS, show_default=True, type=click.IntRange(12))
@click.option("--only", multiple=True, type=click.Choice(RUNS), help="only these runs")
@click.option("--epochs", type=click.IntRange(1), help="at most so many; default: as the study")
@click.option(
    "--out", default=REPORTS, type=click.Path(path_type=Path), help="folder of the report"
)
def main(
    data: Path, work: Path, songs: int, only: tuple[str, ...], epochs: int | None, out: Path
) -> None:
    """Run the study on music by code with DEAM's annotations; measure time and memory.

    It starts anew each time, but for the music. Results of the runs are in
    reports/local-rehearsal.
    """
    try:
        write_corpus(work, data, songs)
        results = rehearse(work, only or RUNS, epochs)
    except (CorpusError, StudyError, OSError) as error:
        raise click.ClickException(str(error)) from error
    write_json(out / "deam_rehearsal.json", results)
    report = render(results)
    write_text(out / "deam_rehearsal.md", report)
    if out == REPORTS:
        record(out / "deam_rehearsal.json", MEASURED_CODE, [out / "deam_rehearsal.md"])
    click.echo(report)


if __name__ == "__main__":
    main()

"""How fast a library of a million tracks answers, and how much memory that takes.

The tracks are random: smooth curves around random means, random embeddings, random tags. Nothing
is decoded. ``python tests/benchmarks/bench_library.py --tracks 1000000`` makes the library, then
measures in a process of its own, and prints one JSON object.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import click
import numpy as np
import sqlalchemy as sa

from msr_utils.constants import FRAME_SECONDS
from msr_utils.library import schema
from msr_utils.library.catalogue import audio_key
from msr_utils.library.library import SHARD_AT_MOST, SHARED_SHARD_AT_MOST, Library
from msr_utils.library.numbers import COLUMNS, SEGMENT_FRAMES, from_bytes, summarise_many, to_bytes
from msr_utils.library.shards import Shard

DIM = 200
GENRES, TRACKS_PER_ARTIST = 40, 50
HALF_WIDTHS = {"valence": 0.276, "arousal": 0.299}
FRAMES = (240, 480)
BATCH = 8192


def random_curves(rng: np.random.Generator, n: int, frames: int) -> np.ndarray:
    """Smooth curves around random means, (n, frames, 2) uint8."""
    knots = rng.normal(0, 0.12, (n, frames // 40 + 2, 2)).astype(np.float32)
    at = np.arange(frames) / 40
    k, share = at.astype(int), (at % 1).astype(np.float32)[:, None]
    curves = knots[:, k] * (1 - share) + knots[:, k + 1] * share
    curves += rng.normal(0, 0.25, (n, 1, 2)).astype(np.float32)
    return to_bytes(np.clip(curves, -1, 1))


def random_shard(rng: np.random.Generator, first: int, n: int, artists: int) -> Shard:
    """A shard of random tracks with the numbers `first` to ``first + n - 1``."""
    parts = []
    for start in range(0, n, BATCH):
        size = min(BATCH, n - start)
        frames = int(rng.integers(*FRAMES))
        stored = random_curves(rng, size, frames)
        pad = -frames % SEGMENT_FRAMES
        padded = np.pad(stored.astype(np.float32), ((0, 0), (0, pad), (0, 0)), "edge")
        means = padded.reshape(size, -1, SEGMENT_FRAMES, 2).mean(axis=2)
        if pad:
            means[:, -1] = stored[:, -(SEGMENT_FRAMES - pad) :].mean(axis=1)
        numbers = summarise_many(
            from_bytes(stored),
            HALF_WIDTHS,
            {
                "silent": 0.0,
                "seconds": frames * FRAME_SECONDS,
                "year": rng.integers(1950, 2025, size),
                "tempo": rng.uniform(60, 180, size),
            },
        )
        parts.append((numbers, stored.reshape(-1, 2), np.round(means).astype(np.uint8), frames))
    lengths = np.concatenate(
        [
            np.full((2, numbers.shape[1]), [[frames], [-(-frames // SEGMENT_FRAMES)]])
            for numbers, _, _, frames in parts
        ],
        axis=1,
    )
    ids = np.arange(first, first + n, dtype=np.int64)
    return Shard(
        np.concatenate([numbers for numbers, _, _, _ in parts], axis=1),
        np.stack(
            [rng.integers(1, artists + 1, n), rng.integers(1, GENRES + 1, n) + artists]
        ).astype(np.int32),
        np.stack([ids, [audio_key(f"{i:064x}"[::-1]) for i in ids]]),
        rng.normal(0, 1, (n, DIM)).astype(np.float16),
        np.concatenate([stored for _, stored, _, _ in parts]),
        np.concatenate([means.reshape(-1, 2) for _, _, means, _ in parts]),
        np.concatenate([np.zeros((2, 1), np.int64), np.cumsum(lengths, axis=1)], axis=1),
    )


def rows_of(shard: Shard, artists: int) -> Iterator[dict[str, object]]:
    """Rows of the catalogue for a random shard."""
    for k, track in enumerate(shard.ids[0]):
        artist, genre = int(shard.codes[0, k]), int(shard.codes[1, k]) - artists
        yield {
            "id": int(track), "path": f"/music/{artist}/{track}.mp3".encode(), "size": 1,
            "mtime_ns": int(track), "audio": f"{track:064x}"[::-1], "state": "analysed",
            "seconds": float(shard.numbers[COLUMNS.index("seconds"), k]),
            "artist": f"Artist {artist}", "title": f"Title {track}", "album": "",
            "genre": f"Genre {genre}", "year": 2000, "tempo": None, "added": "",
            "sha256": "", "reason": "", "warnings": "[]",
        }  # fmt: skip


def random_library(folder: Path, tracks: int, seed: int = 0, store: str = "") -> Library:
    """Make a library of random tracks."""
    rng = np.random.default_rng(seed)
    library = Library(folder, create=True, store=store)
    largest = SHARED_SHARD_AT_MOST if store else SHARD_AT_MOST
    artists = max(tracks // TRACKS_PER_ARTIST, 1)
    names = [(k, "artist", f"Artist {k}") for k in range(1, artists + 1)]
    names += [(artists + k, "genre", f"Genre {k}") for k in range(1, GENRES + 1)]
    with library.catalogue.engine.begin() as connection:
        columns = ("id", "kind", "name")
        rows = [dict(zip(columns, row, strict=True), folded=row[2].casefold()) for row in names]
        connection.execute(sa.insert(schema.names), rows)
    for first in range(1, tracks + 1, largest):
        shard = random_shard(rng, first, min(largest, tracks + 1 - first), artists)
        with library.catalogue.engine.begin() as connection:
            connection.execute(sa.insert(schema.tracks), list(rows_of(shard, artists)))
        library.add_shard(shard)
    return library


def resident_mb(anonymous: bool = False) -> float:
    """Memory of this process; `anonymous`: without what is mapped from files."""
    if not Path("/proc/self/status").is_file():
        return float("nan")
    name = "RssAnon:" if anonymous else "VmHWM:"
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(name):
            return int(line.split()[1]) / 1024
    return float("nan")


def timed(call: Callable[[], object], repeats: int = 5) -> dict[str, float]:
    """First and median time of calls in ms, and the median of the processor's time."""
    times, cpu_times = [], []
    for _ in range(repeats):
        start, cpu_start = time.perf_counter(), time.process_time()
        call()
        times.append((time.perf_counter() - start) * 1000)
        cpu_times.append((time.process_time() - cpu_start) * 1000)
    return {
        "first_ms": round(times[0], 1),
        "median_ms": round(float(np.median(times)), 1),
        "median_cpu_ms": round(float(np.median(cpu_times)), 1),
    }


def measure(folder: Path, store: str = "") -> dict[str, object]:
    """Open a library, ask it, and measure."""
    from msr_utils.library.arcs import Arc, arc_through, find_excerpts
    from msr_utils.library.filters import Filters
    from msr_utils.library.playlists import End, make_playlist
    from msr_utils.library.regions import point_region
    from msr_utils.library.search import Query, find
    from msr_utils.library.words import word_region

    start = time.perf_counter()
    view = Library(folder, store=store).view()
    opened = time.perf_counter() - start
    region = point_region(0.3, 0.2)
    filtered = Filters(genre=("Genre 3", "Genre 4"), not_artist=("Artist 5",), year=(1980, None))
    result: dict[str, object] = {"tracks": len(view), "open_ms": round(opened * 1000, 1)}
    result["filtered_top_20"] = timed(lambda: find(view, Query(region, filters=filtered)))
    result["words_top_20"] = timed(lambda: find(view, Query(word_region("calm"))))
    result["filtered_like_top_20"] = timed(
        lambda: find(view, Query(region, like=(5,), filters=filtered))
    )
    result["like_all_top_20"] = timed(lambda: find(view, Query(like=(5,))), 3)
    result["path_45_minutes"] = timed(
        lambda: make_playlist(view, End((-0.4, -0.2), "sad"), End((0.5, 0.1), "happy"), 45), 3
    )
    excerpt = Arc(view.curve(12345 % len(view))[100:160].astype(np.float64))
    ramp = arc_through([(0, -0.2, 0.0), (30, 0.3, 0.2)])
    result["arc_30_s_of_a_track"] = timed(lambda: find_excerpts(view, excerpt))
    result["arc_30_s_ramp"] = timed(lambda: find_excerpts(view, ramp), 3)
    short = arc_through([(0, -0.2, 0.0), (10, 0.1, 0.2)])
    result["arc_10_s_ramp"] = timed(lambda: find_excerpts(view, short), 3)
    result["peak_mb"] = round(resident_mb())
    result["anonymous_mb"] = round(resident_mb(anonymous=True))
    return result


@click.command()
@click.option("--tracks", default=1_000_000, show_default=True)
@click.option("--folder", type=click.Path(path_type=Path), help="keep the library here")
@click.option("--store", default="", help="PostgreSQL database; the folder then has copies")
@click.option("--only-measure", is_flag=True, help="the library is in --folder already")
def main(tracks: int, folder: Path | None, store: str, only_measure: bool) -> None:
    """Make a random library and measure it."""
    if only_measure:
        assert folder is not None, "--only-measure needs --folder"
        click.echo(json.dumps(measure(folder, store)))
        return
    with tempfile.TemporaryDirectory() as temporary:
        folder = folder or Path(temporary) / "library"
        start = time.perf_counter()
        random_library(folder, tracks, store=store).close()
        made = time.perf_counter() - start
        size = sum(p.stat().st_size for p in folder.rglob("*") if p.is_file()) / 1e6
        command = [sys.executable, __file__, "--folder", str(folder), "--only-measure"]
        command += ["--store", store]
        done = subprocess.run(command, check=True, capture_output=True, text=True, env=os.environ)
        result = {"made_s": round(made, 1), "disk_mb": round(size), **json.loads(done.stdout)}
        click.echo(json.dumps(result, indent=2))


if __name__ == "__main__":
    main()

"""How often a recording is taken for music, or not for music.

``python tests/benchmarks/content_errors.py --music FOLDER --other speech=FOLDER`` looks at all
recordings in some folders and at sounds that it makes, and writes
``reports/benchmarks/content.json``. Short recordings of a folder of other sounds are joined to
half a minute.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import click
import numpy as np
from tqdm import tqdm

from msr_utils.audio.decode import load
from msr_utils.audio.formats import AUDIO_SUFFIXES
from msr_utils.audio.source import AudioError
from msr_utils.features.yamnet_graph import YAMNET_RATE
from msr_utils.inference.content import Content, ContentDetector
from msr_utils.io import write_json
from msr_utils.paths import CONTENT_ERRORS
from msr_utils.provenance import measurements

JOINED_S = 30.0


def made_sounds(seconds: float, rate: int) -> dict[str, np.ndarray]:
    """Sounds that are no music, (n,) float32 each."""
    rng = np.random.default_rng(0)
    n = int(seconds * rate)
    t = np.arange(n) / rate
    white = rng.normal(0, 0.1, n)
    spectrum = np.fft.rfft(white)
    spectrum[1:] /= np.sqrt(np.arange(1, len(spectrum)))
    pink = np.fft.irfft(spectrum, n)
    hum = sum(np.sin(2 * np.pi * 50 * k * t) / k for k in range(1, 9))
    sounds = {
        "white noise": white,
        "pink noise": 0.5 * pink / np.abs(pink).max(),
        "hum": 0.1 * hum,
        "hum and noise": 0.1 * hum + rng.normal(0, 0.005, n),
        "applause": _applause(rng, n, rate),
        "silence": np.zeros(n),
    }
    return {name: np.clip(sound, -1, 1).astype(np.float32) for name, sound in sounds.items()}


def _applause(rng: np.random.Generator, n: int, rate: int) -> np.ndarray:
    """Hundreds of claps a second: short bursts of noise that die away."""
    longest = int(0.04 * rate)
    sound = np.zeros(n + longest)
    for start in rng.integers(0, n, int(400 * n / rate)):
        length = int(rng.integers(longest // 8, longest))
        clap = rng.normal(size=length) * np.exp(-4 * np.arange(length) / length)
        sound[start : start + length] += rng.uniform(0.1, 1) * clap
    return 0.7 * sound[:n] / np.abs(sound).max()


def recordings(folder: Path, join: bool) -> Iterator[np.ndarray]:
    """Recordings of a folder at YAMNet's rate; short ones joined."""
    waiting: list[np.ndarray] = []
    for file in tqdm(
        sorted(p for p in folder.rglob("*") if p.suffix.lower() in AUDIO_SUFFIXES), folder.name
    ):
        try:
            audio = load(file, YAMNET_RATE)
        except AudioError as error:
            click.echo(f"left out: {error}", err=True)
            continue
        if not join:
            yield audio
            continue
        waiting.append(audio)
        if sum(map(len, waiting)) >= JOINED_S * YAMNET_RATE:
            yield np.concatenate(waiting)
            waiting = []


def content_of(audio: np.ndarray) -> Content:
    detector = ContentDetector(YAMNET_RATE)
    detector.push(audio)
    return detector.content()


@click.command()
@click.option("--music", "music", multiple=True, type=click.Path(path_type=Path, exists=True))
@click.option("--other", "other", multiple=True, help="KIND=FOLDER, such as speech=FOLDER")
@click.option("--out", type=click.Path(path_type=Path), default=CONTENT_ERRORS, show_default=True)
def main(music: tuple[Path, ...], other: tuple[str, ...], out: Path) -> None:
    """Count recordings that are taken for what they are not."""
    rows: dict[str, dict[str, int]] = {}
    folders = [("music", folder, False) for folder in music]
    folders += [(kind, Path(folder), True) for kind, _, folder in (o.partition("=") for o in other)]
    for kind, folder, join in folders:
        row = rows.setdefault(kind, {"recordings": 0, "not_music": 0})
        for audio in recordings(folder, join):
            row["recordings"] += 1
            row["not_music"] += not content_of(audio).is_music
    for name, sound in made_sounds(JOINED_S, YAMNET_RATE).items():
        rows[name] = {"recordings": 1, "not_music": int(not content_of(sound).is_music)}
    write_json(out, {"kinds": rows})
    measurements.record(out, [("msr_utils.inference.content", "ContentDetector")])
    for kind, row in rows.items():
        click.echo(f"{kind}: {row['not_music']} of {row['recordings']} are called not music")


if __name__ == "__main__":
    main()

"""A small library that is indexed once, and a large one of random curves."""

from __future__ import annotations

from pathlib import Path

import mutagen
import numpy as np
import pytest
import soundfile as sf
from benchmarks.bench_library import random_library
from conftest import tone

from msr_utils.inference.model import Model, load
from msr_utils.library import indexing
from msr_utils.library.library import Library, View
from msr_utils.library.numbers import TrackArrays, summarise, to_bytes
from msr_utils.library.tags import Tags


@pytest.fixture(scope="session")
def light() -> Model:
    return load("light")


def write_music(folder: Path) -> Path:
    """Four tracks, two of them of one artist, and what is no music."""
    (folder / "album").mkdir(parents=True)
    for n, name in enumerate(("a.flac", "b.flac", "album/c.flac", "album/d.flac")):
        sf.write(folder / name, tone(3, 220 * (n + 1), level=0.1 + 0.2 * n), 22050)
        tags = mutagen.File(folder / name)
        tags["artist"], tags["title"] = f"Artist {n // 2}", f"Tone {n}"
        tags["genre"], tags["date"] = ["Drone; Test", "Noise"][n % 2], f"{1990 + n}-05-01"
        tags.save()
    (folder / "bad.mp3").write_text("no music")
    (folder / "empty.wav").write_bytes(b"")
    (folder / "notes.txt").write_text("no music either")
    (folder / "._a.flac").write_bytes(b"AppleDouble")
    (folder / ".hidden.flac").write_bytes((folder / "a.flac").read_bytes())
    return folder


def drawn_library(
    folder: Path, means: np.ndarray, seconds: float = 30.0, store: str = ""
) -> Library:
    """A library of tracks whose curves move slowly around given means: nothing is analysed.

    Parameters
    ----------
    folder : Path
        Gets the folders ``library`` and ``music``.
    means : np.ndarray [shape=(n, 2)]
        Valence and arousal.
    seconds : float
        Length of each track.
    store : str
        URL of a database, as `Library` has it.
    """
    rng = np.random.default_rng(0)
    made, music = Library(folder / "library", True, store), folder / "music"
    (music / "album").mkdir(parents=True)
    made.catalogue.add_root(str(music))
    made.catalogue.set_facts({"model_name": "light"})
    t = np.arange(int(seconds * 2))[:, None] / (seconds * 2)
    for n, mean in enumerate(means):
        path = music / "album" / f"tone {n:03d}.flac"
        level = 0.1 + 0.2 * (mean[1] + 1) / 2
        sf.write(path, tone(seconds, 220 * 2 ** (n / 12 % 3), 8000, level), 8000)
        curve = np.clip(mean + 0.12 * np.sin(2 * np.pi * (t + rng.uniform(size=2))), -1, 1)
        genre = ("Drone", "Noise", "Tones & more")[n % 3]
        arrays = TrackArrays(
            summarise(curve, {"valence": 0.28, "arousal": 0.3}, seconds, year=1990 + n % 30),
            np.concatenate([mean, rng.normal(0, 0.2, 6)]).astype(np.float16),
            to_bytes(curve),
        )
        found = path.stat()
        values = {"path": str(path), "size": found.st_size, "mtime_ns": found.st_mtime_ns,
                  "state": "analysed", "seconds": seconds, "audio": f"{n + 1:064x}"[::-1]}  # fmt: skip
        artist, title = f"Artist {n // 4}", f"Tone {n}"
        made.catalogue.put(values, Tags(artist, title, "Tones", genre, 1990 + n % 30), arrays)
    made.pack()
    return made


@pytest.fixture
def songs(tmp_path) -> Path:
    return write_music(tmp_path / "music")


@pytest.fixture
def library(tmp_path):
    opened = Library(tmp_path / "library", create=True)
    yield opened
    opened.close()


@pytest.fixture
def added(library, songs, light):
    """A library of `songs`."""
    indexing.add(library, light, [songs], progress=False)
    return library


@pytest.fixture(scope="session")
def random_view(tmp_path_factory) -> View:
    """Three thousand random tracks."""
    made = random_library(tmp_path_factory.mktemp("random") / "library", 3000)
    yield made.view()
    made.close()

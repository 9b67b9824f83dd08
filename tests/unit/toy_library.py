"""A small library that is indexed once, and a large one of random curves."""

from __future__ import annotations

from pathlib import Path

import mutagen
import pytest
import soundfile as sf
from benchmarks.bench_library import random_library
from conftest import tone

from msr_utils.inference.model import Model, load
from msr_utils.library import indexing
from msr_utils.library.library import Library, View


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

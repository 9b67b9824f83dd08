"""Folders of tones, and what an analysis leaves."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest
import soundfile as sf
from conftest import tone

from msr_utils.inference.folder import predict_folder
from msr_utils.inference.folder_summary import SUMMARY
from msr_utils.inference.model import Model, load


@pytest.fixture(scope="module")
def light() -> Model:
    return load("light")


def write(path: str | bytes | Path, hz: float = 300, seconds: float = 2) -> None:
    """Write a tone as WAV, whatever the name is."""
    with open(path, "wb") as file:
        sf.write(file, tone(seconds, hz), 22_050, format="WAV")


def states(result) -> dict[str, str]:
    return {r.file: str(r.state) for r in result.files}


def rows(folder: Path) -> dict[str, dict[str, str]]:
    with open(folder / SUMMARY, encoding="utf-8", newline="") as file:
        return {row["file"]: row for row in csv.DictReader(file)}


@pytest.fixture
def done(tmp_path, light):
    """A folder of three files and a broken one that was predicted."""
    music, out = tmp_path / "music", tmp_path / "out"
    (music / "sub").mkdir(parents=True)
    write(music / "a.wav", 300)
    write(music / "b.wav", 400)
    write(music / "sub" / "c.wav", 500)
    (music / "bad.mp3").write_text("no music")
    predict_folder(light, music, out, progress=False)
    return music, out

"""Small corpora that the tests make themselves; nothing is downloaded."""

from __future__ import annotations

import gc
import os

# Before tensorflow loads anywhere: tests must not fight over two cores.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("MPLBACKEND", "agg")
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
os.environ.setdefault("TF_NUM_INTRAOP_THREADS", "1")
os.environ.setdefault("TF_NUM_INTEROP_THREADS", "1")
# Whether YAMNet is installed must not matter: tests that are not about it predict tones.
os.environ["MSR_CONTENT"] = "0"

from collections import defaultdict
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import soundfile as sf
from benchmarks.real_data import DATA
from needs import check, needs_data

from msr_utils.audio import decode
from msr_utils.constants import SAMPLE_RATE

# TensorFlow makes many objects that live on. With Python's default, looking through them again and
# again takes a third of the time of tests that build networks.
gc.set_threshold(100_000, 20, 20)


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Skip a test if something that it needs is missing."""
    check(item)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """List what was skipped, by reason, with the command that would run it."""
    groups: dict[str, list[str]] = defaultdict(list)
    for report in terminalreporter.stats.get("skipped", []):
        reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else report.longreprtext
        groups[reason.removeprefix("Skipped: ")].append(report.nodeid.split("::")[0])
    if groups:
        terminalreporter.section("skipped tests, and the commands that would run them")
    for reason, files in sorted(groups.items()):
        why, _, command = reason.partition("; to run it: ")
        where = ", ".join(sorted(set(files)))
        terminalreporter.line(f"{len(files)} in {where}: {why}")
        if command:
            terminalreporter.line(f"    {command}")


def tone(seconds: float, hz: float = 440.0, rate: int = SAMPLE_RATE, level: float = 0.3):
    """A sine, (n,) float32."""
    t = np.arange(int(seconds * rate)) / rate
    return (level * np.sin(2 * np.pi * hz * t)).astype(np.float32)


def notes(*midi: int, seconds: float = 0.5) -> np.ndarray:
    """A chord of decaying harmonic tones, quieter the higher the harmonic."""
    t = np.arange(int(seconds * SAMPLE_RATE)) / SAMPLE_RATE
    hz = 440 * 2 ** ((np.array(midi) - 69) / 12)
    tones = sum(np.sin(2 * np.pi * k * f * t) / k**2 for f in hz for k in (1, 2, 3, 4))
    return (0.1 * tones * np.exp(-3 * t)).astype(np.float32)


def cadences(tonic: int, third: int = 4, times: int = 3) -> np.ndarray:
    """I IV V I, or with ``third=3`` i iv V i, in triads around middle C."""
    chords = [
        (tonic, tonic + third, tonic + 7),
        (tonic + 5, tonic + 5 + third, tonic + 12),
        (tonic + 7, tonic + 11, tonic + 14),
        (tonic, tonic + third, tonic + 7, tonic + 12),
    ]
    return np.concatenate([notes(*chord) for chord in chords] * times)


MUSIC = ["synthetic music", pytest.param("DEAM's song 2", marks=needs_data("deam"))]
"""Cases of `ten_seconds`: a real song is one more case, it never replaces the made one."""


def ten_seconds(name: str) -> np.ndarray:
    """Ten seconds of one of `MUSIC`, (n,) float32."""
    if name == MUSIC[0]:
        samples = np.concatenate([cadences(60), cadences(57, third=3)])
    else:
        samples = decode.load(DATA / "deam" / "MEMD_audio" / "2.mp3")
    return samples[: 10 * SAMPLE_RATE]


@pytest.fixture(params=MUSIC)
def music(request: pytest.FixtureRequest) -> np.ndarray:
    """Ten seconds of music, (n,) float32."""
    return ten_seconds(request.param)


def write_folder_corpus(root: Path, tracks: int = 6, seconds: float = 4.0) -> Path:
    """A folder corpus of tones in three groups: higher is more aroused, louder more pleasant."""
    rng = np.random.default_rng(0)
    (root / "audio").mkdir(parents=True)
    rows, labels, ratings = [], [], []
    for i in range(tracks):
        track_id = f"t{i:02d}"
        arousal, valence = rng.uniform(-0.8, 0.8, 2)
        audio = tone(seconds, 600 + 400 * arousal, level=0.3 + 0.2 * valence)
        sf.write(root / "audio" / f"{track_id}.wav", audio, SAMPLE_RATE)
        rows.append(
            {"track_id": track_id, "file": f"audio/{track_id}.wav", "group": f"g{i % 3}",
             "title": f"Tone {i}"}
        )  # fmt: skip
        for k in range(1, int(seconds * 2) + 1):
            labels.append((track_id, k / 2, arousal, valence))
            for rater, off in (("a", 0.1), ("b", -0.1)):
                ratings.append((track_id, rater, k / 2, arousal + off, valence + off))
    pd.DataFrame(rows).to_csv(root / "tracks.csv", index=False)
    columns = ["track_id", "time_s", "arousal", "valence"]
    pd.DataFrame(labels, columns=columns).to_csv(root / "annotations.csv", index=False)
    columns.insert(1, "rater")
    pd.DataFrame(ratings, columns=columns).to_csv(root / "ratings.csv", index=False)
    return root


@pytest.fixture
def folder_corpus(tmp_path: Path) -> Path:
    return write_folder_corpus(tmp_path / "tones")


@pytest.fixture(scope="session")
def quick_study(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The whole study through papermill, quick profile: ``reports`` folder."""
    from msr_utils.corpora import load_corpus
    from msr_utils.study import plan
    from msr_utils.study import runner as study_runner

    reports = tmp_path_factory.mktemp("study") / "reports"
    runs = plan.plan(plan.read_study(), "synthetic", "", "quick")
    data = load_corpus("synthetic", synthetic_tracks=runs[0].parameters["synthetic_tracks"])
    done = study_runner.execute(runs, "test", data.content_hash(), reports=reports)
    assert done == plan.select_runs(runs, (), ())
    return reports

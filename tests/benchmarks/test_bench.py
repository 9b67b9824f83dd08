"""The harness of ``make bench``: a whole report from two short files, and its verdicts."""

from __future__ import annotations

import copy
import math
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile as sf
from click.testing import CliRunner, Result
from conftest import tone

from benchmarks import bench_features as bench
from benchmarks import peers
from msr_utils.features.blocks.registry import BLOCKS
from msr_utils.io import read_json

pytestmark = pytest.mark.slow


def run(*arguments: str | Path, **env: str) -> Result:
    return CliRunner().invoke(bench.main, ["--quick", *map(str, arguments)], env=env)


@pytest.fixture(scope="module")
def out(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What a run on a stereo MP3 and a WAV at the study's rate writes."""
    folder = tmp_path_factory.mktemp("bench")
    stereo = np.stack([tone(3, 440, 44_100), tone(3, 660, 44_100)], axis=1)
    sf.write(folder / "a.mp3", stereo, 44_100)
    sf.write(folder / "b.wav", tone(2), 22_050)
    done = run("--audio", folder, "--out", folder / "out", "--repeats", 2)
    assert done.exit_code == 0, done.output
    assert done.stdout.startswith("# Speed and memory")
    return folder / "out"


@pytest.fixture
def results(out: Path) -> dict:
    return read_json(out / "features.json")


def test_a_million_tracks_cost_what_one_costs_a_million_times(results, out):
    million = results["million"]
    hours = million["seconds_per_minute"] * 4 * 1_000_000 / 3600
    assert million["core_hours"] == pytest.approx(hours)
    assert million["hours"] == pytest.approx(hours / 64)
    assert million["storage_gib"] == pytest.approx(million["bytes_per_minute"] * 4e6 / 2**30)
    assert "hours on 64 cores" in (out / "features.md").read_text()


def test_every_stage_and_block_has_positive_figures(results):
    speed = {row["name"]: row for row in results["stages"]}
    wanted = {"decode", "resample", "rfft and mel product", "log-mel floor"}
    wanted |= {f"features: {name}" for name in [*BLOCKS, "all"]}
    assert wanted | {"from file: logmel", "from file: all"} <= set(speed)
    for row in speed.values():
        assert 0 < row["median"] <= row["best"] < math.inf
    parts = [speed[name]["best"] for name in ("decode", "resample", "rfft and mel product")]
    assert speed["log-mel floor"]["best"] == pytest.approx(1 / sum(1 / part for part in parts))
    assert results["clips"]["count"] == 2
    assert results["cpu_share"] > 0
    assert results["clips"]["seconds"] == pytest.approx(5, abs=0.1)
    for row in results["latency"]:
        # Six chunks and four, less the two and the one that the first frames took.
        assert 6 <= row["chunks"] <= 7
        assert 0 < row["p50_ms"] <= row["p99_ms"]
        assert row["first_ms"] > 0
    assert {row["blocks"] for row in results["memory"]} == {"logmel", "all"}
    assert all(10 < row["peak_mb"] < bench.PEAK_MB for row in results["memory"])


def test_librosa_is_measured_and_a_missing_library_says_so(results):
    rows = results["peers"]
    assert {row["package"] for row in rows} == set(bench.PACKAGES)
    assert sum(row["package"] == "librosa" and row["best"] > 0 for row in rows) == 5
    assert all(row["best"] > 0 if "best" in row else row["note"] for row in rows)


def test_a_package_that_cannot_be_imported_is_not_installed(monkeypatch):
    monkeypatch.setitem(sys.modules, "essentia", None)
    job = {"clips": [], "repeats": 1, "stft": {}}
    assert peers.measure("essentia", job) == [{"package": "essentia", "note": "not installed"}]


def test_the_report_is_rendered_from_the_json_alone(out, results):
    report = (out / "features.md").read_text()
    assert report == bench.render(results)
    for name in [*BLOCKS, *bench.PACKAGES, results["machine"]["cpu"], "a quick run"]:
        assert name.lower() in report.lower()
    assert str(out.parent.parent) not in report


def test_aims_are_met_missed_or_not_measured(results):
    def verdicts(**best: float) -> list[bool | None]:
        changed = copy.deepcopy(results)
        for row in changed["stages"]:
            row["best"] = best.get(row["name"].split(": ")[-1], row["best"])
        for row in changed["peers"]:
            row["best"] = 100.0
        for row in changed["memory"]:
            row["seconds"] = best.get("length", row["seconds"])
        changed["stages"].append({"name": "features: chroma+tonal", "best": best["tonal"]})
        floor = next(row for row in changed["stages"] if row["name"] == "log-mel floor")
        floor["best"] = best["floor"]
        return [aim["met"] for aim in bench.aims(changed)]

    good = {"floor": 1000.0, "logmel": 900.0, "all": 360.0, "tonal": 400.0}
    for row in results["peers"]:
        row.setdefault("name", "absent")
    results["stages"] = [s for s in results["stages"] if s["name"] != "features: chroma+tonal"]
    assert verdicts(**good) == [True, True, True, True, None]
    assert verdicts(**good, length=7200) == [True] * 5
    bad = {"floor": 1000.0, "logmel": 90.0, "all": 340.0, "tonal": 290.0}
    assert verdicts(**bad) == [False, False, False, False, None]


def test_without_music_clips_are_rendered_as_mp3(tmp_path):
    bench.write_clips(tmp_path, 2, 5.0)
    for path in bench.find_clips(tmp_path, 10):
        info = sf.info(path)
        assert (info.format, info.samplerate, info.channels) == ("MP3", 44_100, 1)
        assert info.duration == pytest.approx(5, abs=0.1)


def test_wrong_input_is_named(tmp_path):
    done = run("--audio", tmp_path)
    assert done.exit_code == 1
    assert "holds none of .mp3" in done.output
    done = run("--audio", tmp_path / "nowhere")
    assert done.exit_code == 1
    assert "no such folder" in done.output
    done = run(BENCH_PEERS_PYTHON="no-such-python")
    assert done.exit_code == 1
    assert "BENCH_PEERS_PYTHON=no-such-python" in done.output
    (tmp_path / "song.mp3").write_text("no music")
    done = run("--audio", tmp_path, "--out", tmp_path / "out")
    assert done.exit_code == 1
    assert "Error: --audio" in done.output
    assert not (tmp_path / "out").exists()

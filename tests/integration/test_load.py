"""Load in small, and the harness of `make bench` that does it in large."""

from __future__ import annotations

import copy
from pathlib import Path

import pytest
import soundfile as sf
from benchmarks import bench_service as bench
from benchmarks import soak_service
from click.testing import CliRunner, Result
from conftest import tone

from msr_utils.inference.model import usable
from msr_utils.io import read_json
from msr_utils.paths import MODELS_DIR

pytestmark = pytest.mark.slow


def run(*arguments: str | Path, **env: str) -> Result:
    return CliRunner().invoke(bench.main, ["--quick", *map(str, arguments)], env=env)


@pytest.fixture(scope="module")
def out(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What a quick run on two short MP3s writes."""
    folder = tmp_path_factory.mktemp("bench")
    for name, seconds in (("a", 3), ("b", 6)):
        sf.write(folder / f"{name}.mp3", tone(seconds, rate=44_100), 44_100)
    done = run("--audio", folder, "--out", folder / "out")
    assert done.exit_code == 0, done.output
    return folder / "out"


@pytest.fixture
def results(out: Path) -> dict:
    return read_json(out / "service.json")


def test_under_load_nothing_is_wrong_and_all_is_answered(results):
    load = results["load"]
    assert load["wrong"] == []
    assert sum(load["statuses"].values()) == load["requests"] == 200
    assert set(load["statuses"]) - {"503"} == {"200", "400", "404", "422", "hung up"}
    assert 0 < load["peak_mb"] < bench.RESIDENT_MB


def test_a_wrong_answer_under_load_is_found(tmp_path, monkeypatch):
    """The service answers 404 where the load expects 200."""
    wrong = bench.Kind("wrong path", path="/v1/predictions", body=b"")
    monkeypatch.setattr(bench, "kinds", lambda: [wrong])
    with bench.service(MODELS_DIR, tmp_path / "log") as running:
        wrong_answers = bench.run_load(running, 4, 2)["wrong"]
    assert wrong_answers == ["wrong path: 404, Retry-After None"] * 4


def test_every_figure_is_there(results, out):
    names = usable(MODELS_DIR)
    assert [row["model"] for row in results["answers"]] == names
    for row in [*results["answers"], *results["live"]]:
        assert 0 < row["median_ms"] <= row["p95_ms"]
    assert results["answers"][0]["n"] == 2
    assert results["live"][0]["n"] == 4  # Of six chunks; the first two set things up.
    assert 0 < results["start"]["median_s"] <= results["start"]["worst_s"]
    assert 20 < results["start"]["resident_mb"] < bench.RESIDENT_MB
    for row in results["throughput"]:
        assert row["realtime"] > 1
    assert {row["workers"] for row in results["throughput"]} == {1, 2}
    assert [row["share"] for row in results["open_loop"]["rows"]] == [0.5, 0.9, 1.5]
    for row in results["open_loop"]["rows"]:
        assert 0 < row["p50_ms"] <= row["p95_ms"] <= row["p99_ms"]
        assert 0 <= row["refused"] < row["requests"]
    (peer,) = results["peers"]
    assert peer["package"] == "vibenet"
    assert peer["best"] > 0 if "best" in peer else peer["note"] == "not installed"
    report = (out / "service.md").read_text()
    assert report == bench.render(results)
    for words in [*names, "vibenet", "a quick run", "wrong answers: none"]:
        assert words in report.lower()
    assert str(out.parent.parent) not in report


def test_aims_are_met_missed_or_not_measured(results):
    def verdicts(**changes: float | list) -> list[bool | None]:
        changed = copy.deepcopy(results)
        changed["start"]["median_s"] = changes.get("start", 0.9)
        for row in [*changed["answers"], *changed["live"]]:
            row["median_ms"] = changes.get("ms", 10.0)
        changed["load"] |= {"wrong": changes.get("wrong", []), "peak_mb": changes.get("mb", 99.0)}
        changed["load"]["slope_kb_per_1000"] = changes.get("slope")
        for row in changed["throughput"]:
            row["files_per_s"] = float(row["workers"]) ** changes.get("power", 1.0)
        return [aim["met"] for aim in bench.aims(changed)]

    n = len(results["answers"]) + len(results["live"]) + len(bench.scaling(results["throughput"]))
    assert verdicts() == [True] * (n + 3) + [None]
    assert verdicts(slope=-3.0) == [True] * (n + 4)
    assert verdicts(start=1.1, ms=1600.0, wrong=["x"], mb=601.0, slope=401.0, power=0.5) == [
        False
    ] * (n + 4)


def test_wrong_input_is_named(tmp_path):
    assert "holds none of .mp3" in run("--audio", tmp_path).output
    assert "no such folder" in run("--audio", tmp_path / "nowhere").output
    assert "BENCH_PEERS_PYTHON=no-such" in run(BENCH_PEERS_PYTHON="no-such").output
    sf.write(tmp_path / "a.mp3", tone(3, rate=44_100), 44_100)
    (tmp_path / "empty").mkdir()
    done = run("--audio", tmp_path, "--models", tmp_path / "empty", "--out", tmp_path / "out")
    assert done.exit_code == 1
    assert "the service did not start: cannot start: models_dir" in done.output
    assert not (tmp_path / "out").exists()


@pytest.mark.extended
def test_a_short_soak_leaves_nothing_behind():
    result = soak_service.run(200, MODELS_DIR)
    # So few requests do not bring memory to rest.
    assert soak_service.faults(result, max_growth_mb=40) == []
    assert result["statuses"]["200"] > 80
    assert result["statuses"]["422"] > 20

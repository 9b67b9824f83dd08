"""The benchmark of whole files: its arithmetic, its verdicts, and a run on two short files."""

from __future__ import annotations

import copy
from pathlib import Path

import pytest
import soundfile as sf
from click.testing import CliRunner
from conftest import tone
from needs import needs_pretrained_weights

from benchmarks import bench_files as bench
from msr_utils.io import read_json, write_json

NOW = {"floor": 80.0, "light": 110.0, "light, live": 200.0, "full": 250.0, "full, live": 300.0}
OFF = {"light, content off": 105.0, "full, content off": 245.0}
CLOCK = {**NOW, **OFF, "light, two threads": 100.0, "full, two threads": 260.0}
BEFORE = {"floor": 40.0, "light": 110.0, "light, live": 100.0, "full": 200.0, "full, live": 150.0}


def results() -> dict:
    """A report's content without its aims."""
    scaled = [{"jobs": 1, "files_per_second": 5.0, "share": 1.0},
              {"jobs": 2, "files_per_second": 9.0, "share": 0.9}]  # fmt: skip
    return {
        "quick": False,
        "machine": {"cpu": "A processor", "machine": "Linux"},
        "clips": {"source": "songs", "count": 10, "seconds": 450.0},
        "repeats": 5,
        "cpu_share": 1.0,
        "now": {**NOW, **OFF, "light, two threads": 111.0, "full, two threads": 251.0},
        "clock": CLOCK,
        "before": {
            "version": "1.0",
            "cpu": "Another",
            "milliseconds": BEFORE,
            "clock": BEFORE,
            "in_turns": False,
        },
        "peers": [{"package": "librosa", "name": "from file", "best": 300.0}, *bench.PUBLISHED],
        "lengths": [
            {"bundle": name, "length_s": length, "seconds": length / 500, "peak_mb": 150.0 + more}
            for name, more in (("light", 10.0), ("full", 30.0))
            for length in (bench.SHORT_S, bench.LONG_S)
        ],
        "scaling": scaled,
        "collection": bench.collection(NOW, scaled),
    }


def test_speeds_of_two_machines_are_compared_as_multiples_of_their_floor():
    assert bench.speedup(BEFORE, NOW, "light") == pytest.approx(2.0)
    assert bench.speedup(BEFORE, NOW, "light, live") == pytest.approx(1.0)


def test_a_collection_takes_its_minutes_times_the_cost_by_the_cores():
    hours = {(r["bundle"], r["cores"]): r["hours"] for r in results()["collection"]}
    assert hours["light", 64] == pytest.approx(1e6 * 4 * 0.110 / 3600 / (64 * 0.9))
    assert hours["full", 8] == pytest.approx(1e6 * 4 * 0.250 / 3600 / (8 * 0.9))


def test_aims_are_met_missed_or_not_measured():
    given = results()
    given["lengths"][3]["peak_mb"] += 25  # full, 3 h
    met = [aim["met"] for aim in bench.aims(given)]
    # Each bundle on one thread, without content, on two threads, live; the floor; memory of both.
    assert met == [True] * 10 + [False]
    slow = copy.deepcopy(given)
    slow["now"] |= {"light": 130.0, "full": 280.0, "full, live": 330.0}
    slow["clock"] = {**CLOCK, "full, two threads": 270.0}
    expected = [False, True, True, True, False, True, False, False, False]
    assert [aim["met"] for aim in bench.aims(slow)][:9] == expected
    unknown = {**given, "before": None, "lengths": []}
    assert [aim["met"] for aim in bench.aims(unknown)] == [None] * 8 + [True, None, None]


def test_two_threads_are_compared_by_the_clock_with_one_thread_of_before():
    given = results()
    assert bench.ratio_of(given, "light, two threads") == pytest.approx((110 / 40) / (100 / 80))
    assert bench.ratio_of(given, "light") == pytest.approx(2.0)
    del given["before"]["clock"]  # as in records of earlier versions
    assert bench.ratio_of(given, "light, two threads") is None


def test_the_report_names_what_was_measured_and_what_was_not():
    given = {**results(), "aims": bench.aims(results())}
    report = bench.render(given)
    assert "| light | 110 | 110 | 110 | 2 | 1.38 | 545 |" in report
    assert "| light, two threads | – | 111 | 100 | 2.2 | 1.39 | 600 |" in report
    assert "AudioMuse-AI" in report and "published, not measured here" in report
    assert "measured earlier on Another" in report and "rough" not in report
    assert "rough" in bench.render({**given, "cpu_share": 0.5})
    assert "Before was not measured." in bench.render({**given, "before": None})


def test_the_record_of_before_is_written_once_and_read_later(tmp_path):
    file = tmp_path / "before.json"
    assert bench.record_before(None, "", "", file) is None
    measured = {"processor": BEFORE, "clock": NOW}
    first = bench.record_before(measured, "1.0", "A processor", file)
    assert first == {
        "version": "1.0", "cpu": "A processor", "milliseconds": BEFORE, "clock": NOW,
        "in_turns": True,
    }  # fmt: skip
    assert bench.record_before(None, "", "", file) == {**first, "in_turns": False}


@needs_pretrained_weights
@pytest.mark.extended
@pytest.mark.slow
def test_a_run_on_two_short_files(tmp_path: Path):
    for name in ("a.wav", "b.wav"):
        sf.write(tmp_path / name, tone(2), 22_050)
    done = CliRunner().invoke(
        bench.main, ["--quick", "--audio", str(tmp_path), "--out", str(tmp_path / "out")]
    )
    assert done.exit_code == 0, done.output
    written = read_json(tmp_path / "out" / "files.json")
    assert 0 < written["now"]["floor"] < written["now"]["light"] < written["now"]["full"]
    assert written["clock"].keys() == written["now"].keys() >= {"light, two threads"}
    assert {row["bundle"] for row in written["lengths"]} == {"light", "full"}
    assert all(row["seconds"] > 0 and row["peak_mb"] > 10 for row in written["lengths"])
    assert written["scaling"][0]["share"] == 1
    write_json(tmp_path / "again.json", written)
    assert bench.render(read_json(tmp_path / "again.json")) in done.stdout

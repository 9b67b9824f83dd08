"""Recorded figures: edited ones are refused, and those of other code are stale."""

from __future__ import annotations

import pytest

from msr_utils.book.edition import BookError
from msr_utils.book.results import measured
from msr_utils.io import read_json, write_json
from msr_utils.paths import BENCHMARK
from msr_utils.provenance import manifest, measurements
from msr_utils.provenance.code_identity import project_code
from msr_utils.study.verification import failed, verify

CODE = [("msr_utils.metrics.correlation", "pearson")]


@pytest.fixture
def folder(tmp_path):
    """Two files of figures; of one it is not known which code was measured."""
    for name, roots in (("speed.json", CODE), ("older.json", None)):
        write_json(tmp_path / name, {"seconds": 1.5})
        measurements.record(tmp_path / name, roots)
    return tmp_path


def test_an_edited_figure_is_refused_by_the_book_and_found(folder):
    assert measured(folder / "speed.json") == {"seconds": 1.5}
    assert measured(folder / "nothing.json") is None
    (one,) = verify(folder)
    assert not failed([one]) and one.state.unknown == ("older.json",)
    write_json(folder / "speed.json", {"seconds": 1.4})
    with pytest.raises(BookError, match=r"speed.json: its manifest.json does not vouch for it"):
        measured(folder / "speed.json")
    (one,) = verify(folder)
    assert failed([one]) and one.files.altered == ("speed.json",)
    write_json(folder / "other.json", {"seconds": 1.4})
    with pytest.raises(BookError, match=r"other.json: its manifest.json does not vouch for it"):
        measured(folder / "other.json")


def test_figures_of_other_code_are_stale(folder):
    file = folder / manifest.MANIFEST
    content = read_json(file)
    assert content["measured"]["speed.json"]["machine"]["python"]
    content["measured"]["speed.json"]["code"] = "0" * 64
    write_json(file, content)
    (one,) = verify(folder)
    assert one.state.why == ("speed.json: code",)
    assert failed([one], strict=True) and not failed([one])


def test_recorded_benchmarks_are_those_that_were_measured():
    recorded = manifest.read(BENCHMARK.parent)
    assert manifest.check(recorded) == manifest.Check()
    assert {"features.json", "files.json", "service.json"} <= set(recorded.outputs)
    measurements.changes(BENCHMARK.parent, project_code())  # all roots are found

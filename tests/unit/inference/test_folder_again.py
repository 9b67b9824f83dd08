"""Folders of music: what a second call does, and errors of single files."""

from __future__ import annotations

import csv
import errno
import os
import shutil
from dataclasses import replace

import numpy as np
import pytest
from analysed_folder import done, light, rows, states, write

from msr_utils.inference import folder as inference_folder
from msr_utils.inference.folder import FolderError, State, analysis_hash, predict_folder
from msr_utils.inference.folder_summary import JOURNAL, SUMMARY, FileResult, table
from msr_utils.inference.model import Model, load

__all__ = ["done", "light"]  # fixtures


def test_what_is_the_same_is_left(done, light):
    music, out = done
    before = {p: p.stat().st_mtime_ns for p in out.rglob("*.wav.csv")}
    os.utime(music / "a.wav")  # the time says nothing
    result = predict_folder(light, music, out, progress=False)
    assert states(result) == {
        "a.wav": "unchanged", "b.wav": "unchanged", "bad.mp3": "failed", "sub/c.wav": "unchanged",
    }  # fmt: skip
    assert {p: p.stat().st_mtime_ns for p in out.rglob("*.wav.csv")} == before
    assert all(r.seconds == 2.0 and r.quadrant for r in result.with_curve)
    assert not (out / JOURNAL).exists()


def test_a_replaced_file_is_analysed_anew(done, light):
    music, out = done
    before = (out / "a.wav.csv").read_bytes()
    stat = (music / "a.wav").stat()
    write(music / "a.wav", 900)
    os.utime(music / "a.wav", ns=(stat.st_atime_ns, stat.st_mtime_ns))  # as tools do
    assert states(predict_folder(light, music, out, progress=False))["a.wav"] == "analysed"
    assert (out / "a.wav.csv").read_bytes() != before
    assert (out / "a.wav.csv").read_text() == light.predict(music / "a.wav").to_csv()
    # A file that is no longer audio has no curve.
    (music / "a.wav").write_text("no music")
    assert states(predict_folder(light, music, out, progress=False))["a.wav"] == "failed"
    assert not (out / "a.wav.csv").exists()
    assert rows(out)["a.wav"]["output"] == ""


def test_another_model_analyses_anew(done, light, tmp_path, monkeypatch):
    music, out = done
    other = load("lstm-tonal-vgmidi")
    result = predict_folder(other, music, out, progress=False)
    assert result.counts[State.ANALYSED] == 3
    assert {row["model"] for row in rows(out).values()} == {other.name}
    assert f",{other.name}@{other.version}\n" in (out / "a.wav.csv").read_text()
    assert predict_folder(other, music, out, progress=False).counts[State.UNCHANGED] == 3
    # Other margins and another version of the package count as well.
    ours = analysis_hash(light)
    changed = load("light")
    changed.card = replace(changed.card, margins={"valence": 0.5, "arousal": 0.5})
    monkeypatch.setattr(inference_folder, "__version__", "99.0")
    assert len({ours, analysis_hash(light), analysis_hash(changed)}) == 3


@pytest.mark.parametrize("damage", ["lost", "shortened", "other"])
def test_a_curve_that_is_lost_or_damaged_is_made_again(done, light, damage):
    music, out = done
    curve = out / "sub" / "c.wav.csv"
    whole = curve.read_bytes()
    curve.unlink()
    if damage != "lost":
        curve.write_bytes(whole[:-9] if damage == "shortened" else b"mine")
    result = predict_folder(light, music, out, progress=False)
    assert (states(result)["sub/c.wav"], result.counts[State.ANALYSED]) == ("analysed", 1)
    assert curve.read_bytes() == whole


def test_files_that_left_are_said_and_their_curves_kept(done, light):
    music, out = done
    (music / "b.wav").rename(music.parent / "b.wav")
    (music / "bad.mp3").unlink()
    for _ in range(2):
        result = predict_folder(light, music, out, progress=False)
        assert states(result) == {"a.wav": "unchanged", "b.wav": "gone", "sub/c.wav": "unchanged"}
    assert (out / "b.wav.csv").is_file() and result.lost == ()
    # Two folders may share an output: none forgets what the other has done.
    (music.parent / "two").mkdir()
    write(music.parent / "two" / "d.wav", 600)
    predict_folder(light, music.parent / "two", out, progress=False)
    (music.parent / "b.wav").rename(music / "b.wav")
    result = predict_folder(light, music, out, progress=False)
    assert result.counts[State.UNCHANGED] == 3 and states(result)["d.wav"] == "gone"


@pytest.mark.parametrize(("cut", "lost"), [(0, 0), (1, 0), (2, 1), (40, 1), (200, 1), (100_000, 3)])
def test_a_table_that_was_cut_loses_its_last_row(done, light, cut, lost):
    music, out = done
    text = (out / SUMMARY).read_bytes()
    (out / SUMMARY).unlink()
    (out / JOURNAL).write_bytes(text[: max(len(text) - cut, 0)])
    result = predict_folder(light, music, out, progress=False)
    assert (result.counts[State.UNCHANGED], result.counts[State.ANALYSED]) == (3 - lost, lost)


def test_a_table_of_someone_else_is_not_overwritten(tmp_path, light):
    out = tmp_path / "out"
    out.mkdir()
    write(tmp_path / "a.wav")
    (out / SUMMARY).write_text("year,income\n2024,3\n")
    with pytest.raises(FolderError, match=r"summary.csv is not a table of 'msr predict'; move"):
        predict_folder(light, tmp_path, out, progress=False)
    assert (out / SUMMARY).read_text() == "year,income\n2024,3\n"
    assert sorted(os.listdir(out)) == [SUMMARY]


def test_without_an_output_nothing_is_written(done, light):
    music, _ = done
    before = sorted(music.parent.rglob("*"))
    result = predict_folder(light, music, progress=False)
    assert result.counts[State.ANALYSED] == 3
    assert not any(r.output for r in result.files)
    assert sorted(music.parent.rglob("*")) == before


# ------------------------------------------------------------------------------ errors


class Fallible(Model):
    """A model that meets an error of its surroundings in one file."""

    error: BaseException

    def predict(self, source, max_seconds=None, overlap=True):
        if source.name.endswith("b.wav"):
            raise self.error
        return super().predict(source, max_seconds, overlap)


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (MemoryError(), "not enough memory to analyse it"),
        (RecursionError("deep"), "RecursionError: deep"),
        (OSError(errno.EIO, "Input/output error"), "OSError: [Errno 5] Input/output error"),
        (ValueError("b\udcfc\n"), "ValueError: b\\xfc\\n"),
    ],
)
def test_no_error_of_a_file_stops_the_others(done, light, error, reason):
    music, out = done
    model = Fallible(light.folder)
    model.error = error
    shutil.rmtree(out)
    result = predict_folder(model, music, out, progress=False)
    assert states(result) == {
        "a.wav": "analysed", "b.wav": "failed", "bad.mp3": "failed", "sub/c.wav": "analysed",
    }  # fmt: skip
    assert {r.file: r.reason for r in result.files}["b.wav"] == reason
    assert rows(out)["b.wav"]["reason"] == reason


def test_an_interrupted_call_keeps_what_is_finished(done, light):
    music, out = done
    shutil.rmtree(out)
    model = Fallible(light.folder)
    model.error = KeyboardInterrupt()
    with pytest.raises(KeyboardInterrupt):
        predict_folder(model, music, out, progress=False)
    assert [row["file"] for row in rows(out).values() if row["state"] == "analysed"] == ["a.wav"]
    assert not (out / JOURNAL).exists()
    result = predict_folder(light, music, out, progress=False)
    assert (result.counts[State.UNCHANGED], result.counts[State.ANALYSED]) == (1, 2)


def test_a_file_that_changes_while_it_is_read_fails(done, light):
    music, out = done

    class Slow(Model):
        def predict(self, source, max_seconds=None, overlap=True):
            prediction = super().predict(source, max_seconds, overlap)
            if source.name.endswith("a.wav"):
                write(music / "a.wav", 999, seconds=3)
            return prediction

    shutil.rmtree(out)
    first = predict_folder(Slow(light.folder), music, out, progress=False)
    assert states(first)["a.wav"] == "failed"
    assert "changed while it was read" in first.files[0].reason
    assert states(predict_folder(light, music, out, progress=False))["a.wav"] == "analysed"


def test_a_curve_that_cannot_be_written_is_a_failure_of_its_file(done, light):
    music, out = done
    shutil.rmtree(out)
    (out / "a.wav.csv").mkdir(parents=True)  # a folder stands in the way
    (out / "a.wav.csv" / "x").touch()
    (out / "sub").touch()  # and a file
    result = predict_folder(light, music, out, progress=False)
    assert states(result) == {
        "a.wav": "failed", "b.wav": "analysed", "bad.mp3": "failed", "sub/c.wav": "failed",
    }  # fmt: skip
    reasons = {r.file: r.reason for r in result.files}
    for name in ("a.wav", "sub/c.wav"):
        assert reasons[name].startswith("its curve cannot be written (")


def test_the_values_of_a_row_survive(tmp_path):
    result = FileResult(
        file='a "b", c.wav', state=State.ANALYSED, seconds=2.5, mean_valence=-0.0, mean_arousal=0.25,
        quadrant="Q1", warnings=("one", "two, with a comma"), reason="", analysis="x",
    )  # fmt: skip
    (row,) = csv.DictReader(table([result]).splitlines())
    assert FileResult.from_row(row) == result
    for wrong in ({"state": "done"}, {"seconds": "long"}, {"analysis": None}, {None: ["more"]}):
        assert FileResult.from_row({**row, **wrong}) is None
    assert np.isclose(float(row["seconds"]), 2.5)

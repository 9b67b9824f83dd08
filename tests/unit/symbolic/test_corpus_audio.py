"""Corpora of notes as audio: labels come along, a second call goes on."""

from __future__ import annotations

import soundfile
from click.testing import CliRunner
from note_files import piece, write_emopia

from msr_utils.cli import main
from msr_utils.corpora import load_corpus
from msr_utils.corpora.verify import validate
from msr_utils.notes import write_midi
from msr_utils.symbolic.corpus_audio import file_names


def render(*arguments):
    words = [str(a) for a in arguments]
    return CliRunner().invoke(main, ["data", "render", *words, "--sample-rate", "8000"])


def test_labels_groups_and_split_come_along(tmp_path):
    source, out = write_emopia(tmp_path / "emopia"), tmp_path / "out"
    result = render(source, out, "--renderer", "own")
    assert result.exit_code == 0 and "5 rendered; 0.01 h of audio" in result.output
    before, after = load_corpus("emopia", source), load_corpus("folder", out)
    labels = [(t.id, t.quadrant, t.group, t.split) for t in before.tracks]
    assert [(t.id, t.quadrant, t.group, t.split) for t in after.tracks] == labels
    assert {split for *_, split in labels} == {"train", "validation", "test"}
    assert after.kinds == {"quadrants", "notes"} and "NC" in after.card.licence
    assert after.notes_hash() == before.notes_hash()
    assert validate(out, progress=False).ok


def test_second_call_renders_what_is_missing_or_changed(tmp_path):
    source, out = write_emopia(tmp_path / "emopia"), tmp_path / "out"
    render(source, out, "--renderer", "own")
    files = sorted((out / "audio").iterdir())
    first = files[0].read_bytes()
    times = [file.stat().st_mtime_ns for file in files]
    assert "5 kept" in render(source, out, "--renderer", "own").output
    assert [file.stat().st_mtime_ns for file in files] == times
    files[0].write_bytes(first[:100])
    files[1].unlink()
    write_midi(piece(50), next(source.rglob("Q3_cc_1.mid")))
    next(source.rglob("Q4_dd_2.mid")).write_bytes(b"no notes")
    result = render(source, out, "--renderer", "own")
    assert result.exit_code == 1 and "3 rendered, 1 kept, 1 failed" in result.output
    assert "left out: Q4_dd_2: Q4_dd_2.mid: not a MIDI file" in result.output
    assert files[0].read_bytes() == first
    assert len(load_corpus("folder", out).tracks) == 4


def test_folder_of_midi_files_has_no_labels(tmp_path):
    for name in ("a/x", "a/X", "b/é y"):
        write_midi(piece(seconds=2.0), tmp_path / "in" / f"{name}.mid")
    result = render(tmp_path / "in", tmp_path / "out", "--renderer", "own", "--jobs", "1")
    assert result.exit_code == 0 and "there are no labels" in result.output
    sounds = [soundfile.info(file) for file in (tmp_path / "out" / "audio").iterdir()]
    assert len(sounds) == len(list((tmp_path / "in").rglob("*.mid")))
    assert all(s.samplerate == 8000 and s.duration > 2 for s in sounds)


def test_file_names_differ_without_case_and_fit_any_system():
    names = file_names(["Ab", "aB", "a/b", "..", "ok-1.x"])
    assert names["Ab"] == "Ab" and names["ok-1.x"] == "ok-1.x"
    assert len({name.casefold() for name in names.values()}) == 5
    assert not any(c in name for name in names.values() for c in '/\\:*?"<>|')


def test_other_data_is_not_written_over(tmp_path):
    write_midi(piece(seconds=2.0), tmp_path / "in" / "x.mid")
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "thesis.txt").write_text("years of work")
    assert (
        "holds other data; choose a new folder" in render(tmp_path / "in", tmp_path / "out").output
    )
    assert "choose a new" in render(tmp_path / "in", tmp_path / "in").output
    assert "neither a known corpus nor" in render(tmp_path / "out", tmp_path / "new").output
    assert "no folder" in render(tmp_path / "nowhere", tmp_path / "new").output

"""EMOPIA, POP909 and MIDI of folder corpora: official layouts, damage, and the real ones."""

from __future__ import annotations

from collections import Counter

import pandas as pd
import pytest
from benchmarks.real_data import DATA
from click.testing import CliRunner
from needs import needs_data
from note_files import CLIPS, piece, write_emopia, write_pop909

from msr_utils.cli import main
from msr_utils.corpora import load_corpus
from msr_utils.corpora.base import CorpusError
from msr_utils.corpora.emopia import load_emopia
from msr_utils.corpora.findings import Findings
from msr_utils.corpora.midi import read_midi
from msr_utils.corpora.verify import identify, validate
from msr_utils.notes import write_midi


def test_emopia_in_the_official_layout(tmp_path):
    corpus = load_corpus("emopia", write_emopia(tmp_path))
    assert (corpus.name, corpus.labels, corpus.has_audio) == ("emopia", "quadrants", False)
    # No run that reads audio applies to it.
    assert corpus.kinds == {"notes"}
    found = {t.id: (t.quadrant, t.group, t.split) for t in corpus.tracks}
    assert found["Q1_song_a_1"] == ("Q1", "song_a", "train")
    assert found["Q2_song-b_0"] == ("Q2", "song-b", "train")
    assert found["Q3_cc_1"][2] == "validation" and found["Q4_dd_2"][2] == "test"
    assert all(t.midi_path.is_file() and not t.audio_path.exists() for t in corpus.tracks)


def test_its_hash_follows_the_notes(tmp_path):
    root = write_emopia(tmp_path)
    before = load_emopia(root).content_hash()
    write_midi(piece(50), next(root.rglob("Q4_dd_2.mid")))
    assert load_emopia(root).content_hash() != before


def test_files_may_lie_anywhere_and_tables_may_be_missing(tmp_path):
    root = write_emopia(tmp_path)
    (root / "EMOPIA_1.0" / "midis").rename(root / "mine")
    for table in root.rglob("*.csv"):
        table.unlink()
    findings = Findings()
    corpus = load_emopia(root, findings)
    assert len(corpus.tracks) == len(CLIPS) and {t.split for t in corpus.tracks} == {""}
    assert any("no official split" in note.message for note in findings)


def contradict_label(base):
    path = base / "label.csv"
    path.write_text(path.read_text().replace("Q3_cc_1,3", "Q3_cc_1,1"))


def put_into_two_parts(base):
    with open(base / "split" / "val_clip.csv", "a") as file:
        file.write("9,Q4_dd_2.mid\n")


def leave_out(base):
    (base / "split" / "test_clip.csv").unlink()


@pytest.mark.parametrize(
    "damage, words",
    [
        (contradict_label, "quadrant of 'Q3_cc_1' is '1', which its name contradicts"),
        (put_into_two_parts, "'Q4_dd_2' is in the part"),
        (leave_out, "1 clips such as 'Q4_dd_2' are in no part"),
    ],
)
def test_contradictions_are_errors(tmp_path, damage, words):
    root = write_emopia(tmp_path)
    damage(root / "EMOPIA_1.0")
    with pytest.raises(CorpusError, match=words):
        load_emopia(root)
    collected = Findings(collect=True)
    load_emopia(root, collected)
    assert any(f.level == "error" for f in collected)


def test_a_song_in_two_parts_is_noted(tmp_path):
    clips = (*CLIPS, ("Q1_song_a_2", "test"))
    findings = Findings()
    load_emopia(write_emopia(tmp_path, clips), findings)
    assert any("'song_a' lies in several parts" in note.message for note in findings)


def test_no_clip_and_no_song(tmp_path):
    for name, words in (("emopia", "no clip such as"), ("pop909", "no song such as")):
        with pytest.raises(CorpusError, match=words):
            load_corpus(name, tmp_path)


def test_pop909_in_the_official_layout(tmp_path):
    findings = Findings()
    corpus = load_corpus("pop909", write_pop909(tmp_path), findings=findings)
    assert [t.id for t in corpus.tracks] == ["001", "002", "003"]
    assert (corpus.labels, corpus.kinds) == ("none", {"notes"})
    assert [note.message for note in findings] == ["3 songs, 909 were published"]


@pytest.mark.parametrize("write, name", [(write_emopia, "emopia"), (write_pop909, "pop909")])
def test_verify_reads_every_file(tmp_path, write, name):
    root = write(tmp_path)
    assert identify(root) == name
    found = validate(root, progress=False)
    assert found.ok and found.with_notes == found.tracks > 0 and found.hours == 0
    broken = next(path for path in sorted(root.rglob("*.mid")) if "versions" not in str(path))
    broken.write_bytes(b"MThd")
    found = validate(root, progress=False)
    assert [f.subject for f in found.findings if f.level == "error"] == [broken.stem]
    done = CliRunner().invoke(main, ["data", "verify", str(root)])
    assert done.exit_code == 1
    assert f"{name}: {found.with_notes} tracks as MIDI; 1 errors" in done.output


def with_notes(root):
    """Notes for two of the tracks."""
    for track_id in ("t00", "t03"):
        write_midi(piece(seconds=4.0), root / "midi" / f"{track_id}.mid")
    rows = "t00,midi/t00.mid\nt03,midi/t03.mid\n"
    (root / "midi.csv").write_text(f"track_id,file\n{rows}")
    return root


def test_a_folder_may_have_notes(folder_corpus):
    before = load_corpus("folder", folder_corpus)
    corpus = load_corpus("folder", with_notes(folder_corpus))
    assert {t.id for t in corpus.tracks if t.midi_path} == {"t00", "t03"}
    assert corpus.kinds == before.kinds | {"notes"}
    # What reads audio does not depend on the notes.
    assert corpus.content_hash() == before.content_hash()
    assert corpus.notes_hash() != before.notes_hash()
    assert validate(folder_corpus, progress=False).with_notes == 2


@pytest.mark.parametrize(
    "row, words",
    [
        ("t99,midi/t00.mid", "line 4: track_id 't99' is not in tracks.csv"),
        ("t00,midi/t00.mid", "'t00' is repeated"),
        ("t01,midi/none.mid", "no file 'midi/none.mid' in the folder"),
        ("t01,../outside.mid", "no file '../outside.mid' in the folder"),
    ],
)
def test_wrong_rows_of_midi_csv(folder_corpus, row, words):
    with_notes(folder_corpus)
    write_midi(piece(), folder_corpus.parent / "outside.mid")
    with open(folder_corpus / "midi.csv", "a") as file:
        file.write(row + "\n")
    with pytest.raises(CorpusError, match=words):
        load_corpus("folder", folder_corpus)


@needs_data("emopia")
def test_the_real_emopia():
    findings = Findings()
    corpus = load_corpus("emopia", DATA / "emopia", findings=findings)
    assert not findings
    assert Counter(t.split for t in corpus.tracks) == {"train": 876, "validation": 114, "test": 88}
    assert len({t.group for t in corpus.tracks}) == 387
    parts = {t.group: t.split for t in corpus.tracks}
    assert all(parts[t.group] == t.split for t in corpus.tracks)
    names = pd.Series([t.quadrant for t in corpus.tracks]).value_counts().to_dict()
    assert names == {"Q1": 250, "Q2": 265, "Q3": 253, "Q4": 310}


@needs_data("pop909")
def test_the_real_pop909():
    findings = Findings()
    corpus = load_corpus("pop909", DATA / "pop909", findings=findings)
    assert len(corpus.tracks) == 909 and not findings
    notes = read_midi(corpus.tracks[0].midi_path)
    assert len(notes) == 264 + 307 + 985


@pytest.mark.slow
@needs_data("vgmidi")
def test_the_notes_of_vgmidi():
    corpus = load_corpus("folder", DATA / "vgmidi")
    assert all(t.midi_path for t in corpus.tracks)
    track = corpus.tracks[0]
    assert read_midi(track.midi_path).end_s == pytest.approx(track.times_s[-1], abs=5)

"""Tables of a folder corpus as other programs write them."""

from __future__ import annotations

import numpy as np
import pytest
from folder_edits import collect, collect_rows, edit, edit_text, notes

from msr_utils.corpora import load_corpus
from msr_utils.corpora.base import CorpusError
from msr_utils.corpora.tables import read_csv


def same_labels(one, other):
    for a, b in zip(one.tracks, other.tracks, strict=True):
        assert (a.id, a.group, a.text) == (b.id, b.group, b.text)
        np.testing.assert_array_equal(a.arousal, b.arousal)
        np.testing.assert_array_equal(a.valence, b.valence)
    return True


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "cp1252"])
def test_texts_as_other_programs_write_them(folder_corpus, encoding):
    path = folder_corpus / "tracks.csv"
    edit_text(path, "Tone 0", "Café “Ñandú”")
    expected = load_corpus("folder", folder_corpus)
    assert expected.tracks[0].text["title"] == "Café “Ñandú”"
    path.write_bytes(path.read_text().encode(encoding))
    corpus, findings = collect(folder_corpus)
    assert same_labels(corpus, expected)
    noted = [("tracks.csv", "", "not UTF-8, read as Windows-1252: check its accents")]
    assert notes(findings) == (noted if encoding == "cp1252" else [])


@pytest.mark.parametrize("delimiter, newline", [(";", "\r\n"), ("\t", "\n"), (",", "\r")])
def test_tables_as_spreadsheets_write_them(folder_corpus, delimiter, newline):
    expected = load_corpus("folder", folder_corpus)
    path = folder_corpus / "annotations.csv"
    header, *rows = [line.split(",") for line in path.read_text().split()]
    if delimiter != ",":
        rows = [[cell.replace(".", ",") for cell in row] for row in rows]
    header = [f" {name} " for name in header]
    rows = [[f'"{row[0]} "', *row[1:]] for row in rows]
    rows.insert(3, [""] * 4)  # an empty line as spreadsheets leave it
    text = newline.join(delimiter.join(row) for row in [header, *rows])
    path.write_text(text + 2 * newline, newline="")
    assert same_labels(load_corpus("folder", folder_corpus), expected)


def test_numbers_and_gaps(tmp_path):
    (tmp_path / "x.csv").write_text("a,b\n1, NaN\n\n-2e-1,n/a\n,\n3,\n")
    table = read_csv(tmp_path / "x.csv", ("a",), numeric=("a", "b", "c"))
    np.testing.assert_allclose(table.a, [1, -0.2, 3])
    assert table.b.isna().all()
    assert list(table.index) == [2, 4, 6]  # lines in the file


def test_missing_values_are_kept_as_gaps(folder_corpus):
    edit(
        folder_corpus / "annotations.csv", lambda t: t.assign(arousal=t.arousal.where(t.index > 1))
    )
    track = load_corpus("folder", folder_corpus).tracks[0]
    np.testing.assert_array_equal(track.mask, [False, False] + [True] * 6)


def test_a_scale_of_0_to_1_is_noted(folder_corpus):
    edit(
        folder_corpus / "annotations.csv",
        lambda t: t.assign(valence=(t.valence + 1) / 2, arousal=(t.arousal + 1) / 2),
    )
    both = notes(collect(folder_corpus)[1])
    assert [note[:2] for note in both] == [("annotations.csv", t) for t in ("valence", "arousal")]
    assert both[0][2].endswith("with 2x - 1")
    edit(folder_corpus / "annotations.csv", lambda t: t.assign(valence=2 * t.valence - 1))
    assert notes(collect(folder_corpus)[1]) == both[1:]


def test_groups_and_splits_however_they_are_typed(folder_corpus):
    edit(
        folder_corpus / "tracks.csv",
        lambda t: t.assign(
            group=["The Band", "the  band ", "THE BAND", "Öl", "o\u0308l", None],
            split=["train", " Train", "TEST", "test", "test ", "TRAIN"],
        ),
    )
    corpus, findings = collect(folder_corpus)
    assert [t.group for t in corpus.tracks] == ["The Band"] * 3 + ["Öl"] * 2 + ["t05"]
    assert [t.split for t in corpus.tracks] == ["train", "train", "test", "test", "test", "train"]
    assert ("tracks.csv", "t02", "group 'THE BAND' is taken as 'The Band'") in notes(findings)
    assert (
        "tracks.csv", "The Band", "group 'The Band' lies in both train and test"
    ) in notes(findings)  # fmt: skip


def test_tracks_without_a_group_are_counted(folder_corpus):
    groups = ["g0", "", "g1", None, " ", "g2"]
    edit(folder_corpus / "tracks.csv", lambda t: t.assign(group=groups))
    assert notes(collect(folder_corpus)[1]) == [
        ("tracks.csv", "group", "3 tracks have no group: their ids become their groups")
    ]


def test_a_split_of_some_tracks_is_refused(folder_corpus):
    splits = ["train", "", "test", "train", "", ""]
    edit(folder_corpus / "tracks.csv", lambda t: t.assign(split=splits))
    corpus, ((level, file, _, message),) = collect_rows(folder_corpus)
    assert (len(corpus.tracks), level, file) == (6, "error", "tracks.csv")
    assert "'t01' has no split (3 of 6 have none" in message
    with pytest.raises(CorpusError, match="'t01' has no split"):
        load_corpus("folder", folder_corpus)


def test_audio_under_another_suffix_is_noted(folder_corpus):
    edit(
        folder_corpus / "tracks.csv",
        lambda t: t.assign(file=["audio/t00.mp3", r"audio\t01.wav", *t.file[2:]]),
    )
    corpus, findings = collect(folder_corpus)
    assert [t.audio_path.name for t in corpus.tracks[:2]] == ["t00.wav", "t01.wav"]
    assert notes(findings) == [("tracks.csv", "t00", "'audio/t00.mp3' is here as 't00.wav'")]
    (folder_corpus / "audio" / "t00.wav").rename(folder_corpus / "audio" / "t00.Wav")
    assert collect(folder_corpus)[0].tracks[0].audio_path.name == "t00.Wav"


def test_the_same_audio_twice(folder_corpus):
    audio = folder_corpus / "audio"
    (audio / "t03.wav").write_bytes((audio / "t00.wav").read_bytes())  # both in g0
    corpus, findings = collect(folder_corpus)
    assert len(corpus.tracks) == 6
    (note,) = notes(findings)
    assert note == ("tracks.csv", "t03", "t03.wav: track 't03' has the same audio as 't00'")
    (audio / "t01.wav").write_bytes((audio / "t00.wav").read_bytes())  # g1
    with pytest.raises(CorpusError) as error:
        load_corpus("folder", folder_corpus)
    assert (error.value.file, error.value.field) == ("tracks.csv", "group")
    corpus, _ = collect(folder_corpus)
    assert "t01" not in {t.id for t in corpus.tracks}
    for name in ("t00", "t01", "t03"):  # empty files are alike and damaged in another way
        (audio / f"{name}.wav").write_bytes(b"")
    assert collect(folder_corpus)[1] == []

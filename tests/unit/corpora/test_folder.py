"""A folder corpus as written, damaged, and read as a whole."""

from __future__ import annotations

import time

import numpy as np
import pandas as pd
import pytest
import soundfile as sf
from benchmarks.real_data import DATA
from conftest import tone
from folder_edits import collect, collect_rows, edit, edit_text, notes
from needs import needs_data

from msr_utils.corpora import load_corpus
from msr_utils.corpora.base import CorpusError


def test_folder_corpus_as_written(folder_corpus):
    corpus, findings = collect(folder_corpus)
    assert (corpus.name, corpus.labels, corpus.raters, findings) == ("tones", "curves", None, [])
    assert [t.id for t in corpus.tracks] == [f"t{i:02d}" for i in range(6)]
    track = corpus.tracks[0]
    assert (track.group, track.text["title"]) == ("g0", "Tone 0")
    np.testing.assert_allclose(track.times_s, np.arange(1, 9) / 2)
    assert (track.ratings.shape, track.raters) == ((2, 8, 2), ("a", "b"))
    np.testing.assert_allclose(track.ratings[..., 1].mean(axis=0), track.arousal, atol=1e-6)
    assert track.mask.all()


RATING_COLUMNS = ["track_id", "rater", "time_s", "arousal", "valence"]


def test_ratings_hold_until_their_time(folder_corpus):
    rows = [("t00", "a", 1.0, 0.1, 0.2), ("t00", "a", 2.6, 0.5, 0.6)]
    pd.DataFrame(rows, columns=RATING_COLUMNS).to_csv(folder_corpus / "ratings.csv", index=False)
    held = load_corpus("folder", folder_corpus).tracks[0].ratings[0, :, 1]
    # Middles .25 .75 | 1.25 1.75 2.25 | 2.75 ...: the window that ends at 3 lies mostly past 2.6.
    np.testing.assert_allclose(held, [0.1, 0.1, 0.5, 0.5, 0.5, np.nan, np.nan, np.nan])


def test_ratings_alone_give_their_mean_as_the_curve(folder_corpus):
    (folder_corpus / "annotations.csv").unlink()
    edit(folder_corpus / "tracks.csv", lambda t: t[:1])
    # Out of order; b stops early; c says nothing at first and a leaves a gap.
    rows = [
        ("t00", "b", 1.0, 0.3, 0.4), ("t00", "a", 2.6, np.nan, np.nan),
        ("t00", "a", 1.0, 0.1, 0.2), ("t00", "c", 2.0, np.nan, np.nan),
        ("t00", "c", 2.6, 0.5, -0.5),
    ]  # fmt: skip
    pd.DataFrame(rows, columns=RATING_COLUMNS).to_csv(folder_corpus / "ratings.csv", index=False)
    (folder_corpus / "raters.csv").write_text("rater, age\na,20\nb,30\n")
    corpus, findings = collect(folder_corpus)
    (track,) = corpus.tracks
    np.testing.assert_allclose(track.times_s, [0.5, 1.0, 1.5, 2.0, 2.5])
    np.testing.assert_allclose(track.arousal, [0.2, 0.2, np.nan, np.nan, 0.5])
    np.testing.assert_allclose(track.valence, [0.3, 0.3, np.nan, np.nan, -0.5])
    assert track.raters == ("a", "b", "c")
    assert corpus.raters.loc["b", "age"] == "30"
    assert notes(findings) == [("raters.csv", "", "no profile of 'c'")]


def as_quadrants(root):
    for name in ("annotations.csv", "ratings.csv"):
        (root / name).unlink()
    quadrants = ["Q1", "q2", "3", " Q4 ", "Q1", "Q2"]
    edit(root / "tracks.csv", lambda t: t.assign(quadrant=quadrants))
    return root


@pytest.mark.parametrize(
    "change, words",
    [
        (
            lambda t: t.rename(columns={"arousal": "valence", "valence": "arousal"}),
            "exchanged in one file",
        ),
        (lambda t: t.assign(valence=-t.valence), "a sign seems to be reversed"),
        (lambda t: t.assign(arousal=t.arousal.sample(frac=1, random_state=0).values), "another"),
    ],
)
def test_raters_who_disagree_with_the_annotations_are_noted(folder_corpus, change, words):
    edit(folder_corpus / "ratings.csv", change)
    ((file, _, message),) = notes(collect(folder_corpus)[1])
    assert file == "ratings.csv" and words in message


def test_raters_may_go_on_for_a_little(folder_corpus):
    edit(
        folder_corpus / "ratings.csv",
        lambda t: pd.concat([t, t[:1].assign(time_s=9.5)]),
    )
    assert collect(folder_corpus)[1] == []
    edit_text(folder_corpus / "ratings.csv", ",9.5,", ",9.6,")
    with pytest.raises(CorpusError, match="'t00': the last rating ends at 9.6"):
        load_corpus("folder", folder_corpus)


def test_quadrants_need_no_annotations(folder_corpus):
    corpus, findings = collect(as_quadrants(folder_corpus))
    assert corpus.labels == "quadrants"
    assert findings == []
    assert [t.quadrant for t in corpus.tracks] == ["Q1", "Q2", "Q3", "Q4", "Q1", "Q2"]
    assert all(t.times_s.shape == t.valence.shape == (0,) for t in corpus.tracks)
    edit(folder_corpus / "tracks.csv", lambda t: t.assign(quadrant=["Q5", "", *t.quadrant[2:]]))
    corpus, findings = collect(folder_corpus)
    assert [t.id for t in corpus.tracks] == ["t02", "t03", "t04", "t05"]
    assert [f.message for f in findings] == [
        "tracks.csv, line 2: quadrant is 'Q5'; give Q1, Q2, Q3 or Q4",
        "tracks.csv: quadrant of track_id 't01' is empty",
    ]


# Times, scales and repeated audio are worded in `test_corpora`: for those the column is enough.
DAMAGE = [
    # tracks.csv
    ("tracks.csv", lambda t: t.drop(columns="group"), "group", r"tracks.csv: column 'group' is missing"),
    ("tracks.csv", lambda t: pd.concat([t, t[:1]]), "track_id", r"track_id 't00' is repeated"),
    ("tracks.csv", lambda t: t[1:], "track_id", r"annotations.csv: track_id 't00' is not in tracks.csv"),
    ("tracks.csv", lambda t: t[:0], "", r"tracks.csv: holds no rows"),
    ("tracks.csv", lambda t: t.assign(track_id=[None, *t.track_id[1:]]), "track_id", r"line 2: track_id is em"),
    ("tracks.csv", lambda t: t.assign(file="no.wav"), "file", r"'no.wav' of track_id 't00' not found"),
    ("tracks.csv", lambda t: t.assign(file=""), "file", r"line 2: file is empty"),
    ("tracks.csv", lambda t: t.assign(file="../tones/audio/t00.wav"), "file", r"not a path inside"),
    ("tracks.csv", lambda t: t.assign(file="../x.wav"), "file", r"'../x.wav' .* not a path inside"),
    ("tracks.csv", lambda t: t.assign(file="audio/../../x.wav"), "file", r"not a path inside the folder"),
    ("tracks.csv", lambda t: t.assign(file="/etc/passwd"), "file", r"'/etc/passwd' .* not a path inside"),
    ("tracks.csv", lambda t: t.assign(file="C:\\x.wav"), "file", r"not a path inside the folder"),
    ("tracks.csv", lambda t: t.assign(file="."), "file", r"'.' of track_id 't00' is not a path inside"),
    ("tracks.csv", lambda t: t.assign(split="dev"), "split", r"line 2: split is 'dev'; give train, validation, test"),
    ("tracks.csv", lambda t: t.assign(duration_s="4 min"), "duration_s", r"duration_s is '4 min', not a number"),
    ("tracks.csv", lambda t: t.assign(duration_s=0), "duration_s", r"line 2: duration_s is 0; give the length"),
    ("tracks.csv", lambda t: t.assign(duration_s=-1.5), "duration_s", r"line 2: duration_s is -1.5; give"),
    ("tracks.csv", lambda t: t.assign(file=t.file[0]), "group", r"'t01' has the same audio as 't00' in an"),
    # annotations.csv
    ("annotations.csv", lambda t: t[8:], "track_id", r"no rows for track_id 't00'"),
    ("annotations.csv", lambda t: t.assign(arousal="high"), "arousal", r"line 2: arousal is 'high', not a n"),
    ("annotations.csv", lambda t: t.assign(valence=5.0), "valence", r"line 2, track_id 't00', valence: 5 lies"),
    ("annotations.csv", lambda t: t.assign(valence=5 + 4 * t.valence), "valence", r"like 1\.\.9"),
    ("annotations.csv", lambda t: t.assign(valence=50 + 49 * t.valence), "valence", r"like 0\.\.100"),
    ("annotations.csv", lambda t: t.assign(valence=np.inf), "valence", None),
    ("annotations.csv", lambda t: t.assign(valence=np.nan), "", r"'t00': no frame has both"),
    ("annotations.csv", lambda t: t.assign(time_s=t.time_s + 0.2), "time_s", None),
    ("annotations.csv", lambda t: t.assign(time_s=t.time_s - 0.5), "time_s", None),
    ("annotations.csv", lambda t: t.assign(time_s=1000 * t.time_s**6), "time_s", None),
    ("annotations.csv", lambda t: t.assign(time_s=np.nan), "time_s", r"line 2: time_s is empty"),
    ("annotations.csv", lambda t: pd.concat([t[:1], t]), "time_s", None),
    ("annotations.csv", lambda t: t[::-1], "time_s", None),
    # ratings.csv
    ("ratings.csv", lambda t: t.assign(arousal=-3.0), "arousal", None),
    ("ratings.csv", lambda t: t.drop(columns="rater"), "rater", None),
    ("ratings.csv", lambda t: t.assign(track_id="x"), "track_id", r"ratings.csv: track_id 'x' is not in"),
    ("ratings.csv", lambda t: t.assign(rater=" "), "rater", r"ratings.csv, line 2: rater is empty"),
    ("ratings.csv", lambda t: t.assign(time_s=""), "time_s", r"ratings.csv, line 2: time_s is empty"),
    ("ratings.csv", lambda t: t.assign(time_s="1:30"), "time_s", r"line 2: time_s is '1:30', not a number"),
    ("ratings.csv", lambda t: t.assign(time_s=0), "time_s", r"'t00', line 2: time_s is 0; a rating ends"),
    ("ratings.csv", lambda t: t.assign(time_s=1e9), "time_s", r"time_s is 1e\+09; a rating ends"),
    ("ratings.csv", lambda t: t.assign(time_s=1000 * t.time_s), "time_s", r"ends at 4000, the annotations at 4 s"),
    ("ratings.csv", lambda t: pd.concat([t, t]), "time_s", r"'t00', rater 'a': time_s 0.5 is repeated"),
]  # fmt: skip


@pytest.mark.parametrize("file, change, field, words", DAMAGE)
def test_damaged_folder_corpora_say_what_is_wrong(folder_corpus, file, change, field, words):
    edit(folder_corpus / file, change)
    with pytest.raises(CorpusError, match=words) as error:
        load_corpus("folder", folder_corpus)
    named = "annotations.csv" if words and "is not in tracks.csv" in words else file
    assert (error.value.file, error.value.field) == (named, field)


@pytest.mark.parametrize(
    "content, words",
    [
        (b"", r"annotations.csv: not a CSV table \(it is empty\)"),
        (b"\n \n", r"not a CSV table \(it is empty\)"),
        (b"PK\x03\x04 a workbook", "not a text file; save the table as CSV in UTF-8"),
        (b"\xff\xfea\x00b", "not a text file"),  # half a character of UTF-16
        (b"track_id,\x00\x00", "not a text file"),
        (bytes(range(128, 256)) * 9, "not a text file"),
        (b'track_id,time_s,arousal,valence\nt00,"0.5,0,0\n', r"line 2: not a CSV table"),
        (b"track_id,time_s,arousal,valence,time_s\nt00,1,0,0,1\n", "'time_s' is there more than"),
        (b"a|b\n1|2\n", r"column 'track_id' is missing; found a\|b"),
        (b"track_id,time_s,arousal,valence\nt00,0.5,0,0,\n", "line 2: 5 cells, the header has 4"),
        (b"track_id,time_s,arousal,valence\n\nt00,0.5,0\n", "line 3: 3 cells, the header has 4"),
    ],
)
def test_files_that_are_no_tables(folder_corpus, content, words):
    (folder_corpus / "annotations.csv").write_bytes(content)
    with pytest.raises(CorpusError, match=words):
        load_corpus("folder", folder_corpus)


def test_files_that_are_not_there(folder_corpus):
    (folder_corpus / "annotations.csv").unlink()
    (folder_corpus / "ratings.csv").unlink()
    with pytest.raises(CorpusError, match="annotations.csv not found .* ratings.csv or a column"):
        load_corpus("folder", folder_corpus)
    (folder_corpus / "tracks.csv").unlink()
    with pytest.raises(CorpusError, match="tracks.csv not found in"):
        load_corpus("folder", folder_corpus)


def test_one_reading_finds_all_errors(folder_corpus):
    tracks, annotations = folder_corpus / "tracks.csv", folder_corpus / "annotations.csv"
    edit(
        tracks,
        lambda t: t.assign(
            file=["no.wav", *t.file[1:]], split=["dev", "", "", "", "", ""], track_id=t.track_id
        ),
    )
    edit(annotations, lambda t: t.assign(time_s=t.time_s.where(t.track_id != "t01", 0.7)))
    edit_text(annotations, "t02,1.0,", "t02,1.0,,")
    edit_text(annotations, "t03,1.5,", "t03,x,")
    edit(folder_corpus / "ratings.csv", lambda t: t[t.track_id != "t05"])
    edit_text(folder_corpus / "ratings.csv", "t04,a,0.5,", "t04,,0.5,")
    with open(folder_corpus / "ratings.csv", "a") as file:
        file.write("t99,a,1,0,0\n")
    corpus, findings = collect(folder_corpus)
    assert [t.id for t in corpus.tracks] == ["t05"]
    assert corpus.tracks[0].ratings is None
    assert {(f.file, f.subject) for f in findings} == {
        ("tracks.csv", "t00"),
        ("annotations.csv", "t01"),
        ("annotations.csv", "t02"),
        ("annotations.csv", "t03"),
        ("ratings.csv", "t04"),
        ("ratings.csv", "t99"),
    }
    messages = "\n".join(f.message for f in findings)
    for words in ("'no.wav'", "'dev'", "0.7", "5 cells", "'x', not", "rater is em", "'t99' is not"):
        assert words in messages
    with pytest.raises(CorpusError):
        load_corpus("folder", folder_corpus)


@pytest.mark.parametrize(
    "file, content",
    [("raters.csv", ""), ("card.yml", "- a"), ("ratings.csv", "a\n1\n"), ("ratings.csv", None)],
)
def test_a_file_that_cannot_be_read_does_not_stop_the_rest(folder_corpus, file, content):
    if content is None:  # a file that is there and cannot be read, whoever reads
        (folder_corpus / file).unlink()
        (folder_corpus / file).symlink_to("/proc/self/mem")
    else:
        (folder_corpus / file).write_text(content)
    edit(folder_corpus / "annotations.csv", lambda t: t[8:])
    corpus, findings = collect(folder_corpus)
    assert [t.id for t in corpus.tracks] == [f"t0{i}" for i in range(1, 6)]
    assert {(f.file, f.subject) for f in findings} == {(file, ""), ("annotations.csv", "t00")}
    with pytest.raises(CorpusError):
        load_corpus("folder", folder_corpus)


def test_labels_that_cannot_be_read_leave_the_audio(folder_corpus):
    (folder_corpus / "ratings.csv").unlink()
    (folder_corpus / "annotations.csv").write_text("a")
    corpus, ((level, file, _, _),) = collect_rows(folder_corpus)
    assert (len(corpus.tracks), level, file) == (6, "error", "annotations.csv")
    (folder_corpus / "tracks.csv").write_text("a")
    corpus, ((level, file, _, _),) = collect_rows(folder_corpus)
    assert (len(corpus.tracks), level, file) == (0, "error", "tracks.csv")


def test_a_name_too_long_for_the_system(folder_corpus):
    edit(folder_corpus / "tracks.csv", lambda t: t.assign(file=["x" * 300, *t.file[1:]]))
    corpus, findings = collect(folder_corpus)
    assert len(corpus.tracks) == 5
    assert [(f.file, f.subject) for f in findings] == [("tracks.csv", "t00")]
    assert "cannot be read (File name too long)" in findings[0].message


def test_a_wrong_column_is_one_finding_for_each_track(folder_corpus):
    edit(folder_corpus / "annotations.csv", lambda t: t.assign(arousal="high", time_s="late"))
    corpus, findings = collect(folder_corpus)
    assert len(corpus.tracks) == 0
    assert [f.message for f in findings if f.subject == "t01"][:2] == [
        "annotations.csv, line 10: time_s is 'late', not a number (and 7 more lines of 't01')",
        "annotations.csv, line 10: arousal is 'high', not a number (and 7 more lines of 't01')",
    ]


def test_raters_are_listed_once(folder_corpus):
    (folder_corpus / "raters.csv").write_text("rater,age\na,20\nb,30\na,21\n")
    with pytest.raises(CorpusError, match="raters.csv: rater 'a' is repeated"):
        load_corpus("folder", folder_corpus)
    corpus, _ = collect(folder_corpus)
    assert list(corpus.raters.index) == ["b"]
    assert len(corpus.tracks) == 6


def test_raters_may_have_a_row_for_each_track(folder_corpus):
    (folder_corpus / "raters.csv").write_text(
        "rater,track_id,age,liked\na,t00,20,1\na,t01,20,2\nb,t00,30,1\n"
    )
    corpus, findings = collect(folder_corpus)
    assert corpus.raters.to_dict() == {"age": {"a": "20", "b": "30"}}
    ((_, _, message),) = notes(findings)
    assert message == "liked differ between a rater's tracks: left out"


def test_card_of_a_folder(folder_corpus):
    path = folder_corpus / "card.yml"
    assert load_corpus("folder", folder_corpus).card.source == "a folder corpus"
    path.write_text("title: Tönes\nlicence: CC0\ncitation: 2024\nnotes: only sines\n")
    card = load_corpus("folder", folder_corpus).card
    assert (card.title, card.licence, card.citation) == ("Tönes", "CC0", "2024")
    assert card.notes == ("only sines",)
    path.write_text("title: T\nnotes: [a, b]\n")
    assert load_corpus("folder", folder_corpus).card.notes == ("a", "b")
    for content, words in [
        ("license: CC0", "card.yml: give title, source, licence"),
        ("- a", "card.yml: give title"),
        ("title: [", "card.yml: not YAML"),
    ]:
        path.write_text(content)
        with pytest.raises(CorpusError, match=words):
            load_corpus("folder", folder_corpus)


def test_a_name_alone_is_not_known_data(folder_corpus):
    other = folder_corpus.rename(folder_corpus.with_name("vgmidi"))
    assert load_corpus("folder", other).card.title == "vgmidi"
    for name in ("tracks", "annotations", "ratings"):
        edit(other / f"{name}.csv", lambda t: t.assign(track_id="vg0" + t.track_id.str[1:]))
    assert load_corpus("folder", other).card.title == "VGMIDI"


def test_content_hash_follows_audio_and_labels(folder_corpus):
    def digest():
        return load_corpus("folder", folder_corpus).content_hash()

    first = digest()
    assert first == digest()
    edit(folder_corpus / "annotations.csv", lambda t: t.assign(valence=0.0))
    second = digest()
    sf.write(folder_corpus / "audio" / "t00.wav", tone(4.0, 100), 22_050)
    third = digest()
    assert len({first, second, third}) == 3
    (folder_corpus / "findings.csv").write_text("level,file\n")
    assert digest() == third
    (folder_corpus / "card.yml").write_text("title: T\n")
    assert digest() != third


@pytest.mark.slow
@needs_data("vgmidi")
def test_vgmidi_itself():
    start = time.process_time()
    corpus, findings = collect(DATA / "vgmidi")
    assert time.process_time() - start < 10
    assert findings == []
    assert (len(corpus.tracks), len(corpus.raters), corpus.labels) == (200, 5977, "curves")
    assert (len({t.group for t in corpus.tracks}), corpus.card.title) == (13, "VGMIDI")
    assert {r for t in corpus.tracks for r in t.raters} == set(corpus.raters.index)
    assert all(len(t.raters) == len(t.ratings) for t in corpus.tracks)


@needs_data("quadrants")
def test_quadrants_themselves():
    corpus, findings = collect(DATA / "quadrants")
    assert findings == []
    assert (len(corpus.tracks), corpus.labels) == (469, "quadrants")
    assert corpus.card.citation.startswith("Panda, Malheiro and Paiva")
    quadrants = [t.quadrant for t in corpus.tracks]
    assert [quadrants.count(q) for q in ("Q1", "Q2", "Q3", "Q4")] == [128, 118, 105, 118]

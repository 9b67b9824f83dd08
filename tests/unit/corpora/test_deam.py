"""DEAM in the official layout, in others, and damaged."""

from __future__ import annotations

import shutil
from dataclasses import asdict
from functools import cache
from io import BytesIO

import numpy as np
import pandas as pd
import pytest
import soundfile as sf
from benchmarks.real_data import DATA
from conftest import tone
from needs import needs_data

from msr_utils.corpora import load_corpus
from msr_utils.corpora.base import CorpusError
from msr_utils.corpora.deam.loader import load_deam
from msr_utils.corpora.deam.static import static_audit
from msr_utils.corpora.findings import Findings
from msr_utils.dataset.splits import split_table, splits_of

DEAM = DATA / "deam"

AVERAGED = "annotations/annotations averaged per song"


def write_deam(root):
    """The official archives' layout, unpacked side by side, with audio of three of five songs."""
    dynamic = root / AVERAGED / "dynamic (per second annotations)"
    dynamic.mkdir(parents=True)
    header = "song_id," + ",".join(f"sample_{ms}ms" for ms in range(15_000, 17_500, 500))
    for target, base in (("arousal", 0.1), ("valence", -0.1)):
        rows = [f"{i},{base},{base},{base + 0.1}," for i in (2, 3, 4)]  # no fifth sample
        rows += [f"{i},{base},,{base},{base},{base}" for i in (2001, 2002)]
        (dynamic / f"{target}.csv").write_text("\n".join([header, *rows]) + "\n")
    (root / "metadata").mkdir()
    (root / "metadata/metadata_2013.csv").write_text(
        'song_id,album,artist,title,Genre\n2,"\t2.mp3","The Band\t","\tOne","\tBlues "\n'
        '3,"\t3.mp3","the  band","Two","Blues"\nnonsense\n'
    )
    (root / "metadata/metadata_2015.csv").write_text(
        "song_id,title,artist,album,Genre,,\n2001,Old Tree,Someone,n/a,Rock,,tag\n"
    )
    (root / "MEMD_audio").mkdir()
    for song, hz in ((2, 300), (3, 400), (2001, 500)):
        (root / f"MEMD_audio/{song}.mp3").write_bytes(mp3(hz))
    return root


@cache
def mp3(hz):
    """A tone of 18 s as an MP3 file."""
    file = BytesIO()
    sf.write(file, tone(18.0, hz, 44_100), 44_100, format="MP3")
    return file.getvalue()


def write_static(root, songs=12, first=2, swap=False):
    """Songs of 2013 and 2014 with dynamic and song-level labels, the former swapped or not."""
    rng = np.random.default_rng(0)
    ids = [*range(first, first + songs), *range(1001, 1001 + songs), 2001]
    truth = pd.DataFrame(rng.uniform(-0.8, 0.8, (len(ids), 2)), ids, ["valence", "arousal"])
    dynamic = root / AVERAGED / "dynamic (per second annotations)"
    dynamic.mkdir(parents=True, exist_ok=True)
    for target in truth:
        table = pd.DataFrame({f"sample_{ms}ms": truth[target] for ms in (15_000, 15_500)})
        table.rename_axis("song_id").to_csv(dynamic / f"{target}.csv")
    static = 5 + 4 * truth
    released = static.copy()
    if swap:
        released.loc[:1000] = static.loc[:1000, ["arousal", "valence"]].to_numpy()
    folder = root / AVERAGED / "song_level"
    folder.mkdir(exist_ok=True)
    for name, part in (("1_2000", released.loc[:2000]), ("2000_2058", released.loc[2001:])):
        rows = [f"{i}, {v}, 1, {a}, 1\r\n" for i, (v, a) in part.T.items()]
        header = "song_id, valence_mean, valence_std, arousal_mean, arousal_std\r\n"
        path = folder / f"static_annotations_averaged_songs_{name}.csv"
        path.write_text(header + "".join(rows), newline="")
    return truth


def collect(root, **options):
    findings = Findings(collect=True)
    return load_deam(root, findings, **options), findings


def notes(findings):
    return [(f.file, f.subject, f.message) for f in findings if f.level == "note"]


def test_deam_in_the_official_layout(tmp_path):
    corpus = load_corpus("deam", write_deam(tmp_path))
    assert [t.id for t in corpus.tracks] == ["2", "3", "2001"]
    assert corpus.without_audio == 2
    first, second, last = corpus.tracks
    assert first.group == second.group == "the band"
    assert (first.split, last.split, last.text["artist"]) == ("train", "test", "Someone")
    assert last.text == {
        "artist": "Someone", "title": "Old Tree", "genre": "Rock", "release": "2015"
    }  # fmt: skip
    assert [t.duration_s for t in corpus.tracks] == [45.0, 45.0, None]
    assert (first.text["release"], first.static) == ("2013", None)
    np.testing.assert_allclose(first.times_s, [15.0, 15.5, 16.0])
    np.testing.assert_allclose(first.arousal, [0.1, 0.1, 0.2])
    np.testing.assert_array_equal(last.mask, [True, False, True, True, True])


def test_songs_without_audio(tmp_path):
    corpus, findings = collect(write_deam(tmp_path), need_audio=False)
    assert [t.id for t in corpus.tracks] == ["2", "3", "4", "2001", "2002"]
    assert [t.audio_path.is_file() for t in corpus.tracks] == [True, True, False, True, False]
    assert corpus.tracks[2].audio_path == tmp_path / "MEMD_audio/4.mp3"
    assert corpus.tracks[2].group == "song 4"
    assert corpus.without_audio == 2
    assert len(corpus.content_hash()) == 64
    assert notes(findings) == [
        ("static_annotations_averaged_songs_1_2000.csv", "", "not found"),
        ("static_annotations_averaged_songs_2000_2058.csv", "", "not found"),
        (
            "valence.csv, arousal.csv",
            "",
            "5 annotated songs, 1802 were published: 3 of 744 of 2013, 0 of 1000 of 2014, "
            "2 of 58 of 2015",
        ),
        ("static annotations", "", "5 of 5 songs have no rating"),
        ("metadata", "", "2 songs have no artist: each is its own group"),
    ]


def test_deam_however_it_was_unpacked(tmp_path):
    root = write_deam(tmp_path / "official")
    expected = load_corpus("deam", root)
    other = tmp_path / "other"
    # Without the top folder, audio elsewhere and re-encoded, litter, single raters' files.
    shutil.copytree(root / AVERAGED, other / "averaged")
    shutil.copytree(root / "metadata", other / "metadata")
    audio = other / "zip" / "MEMD_audio"
    audio.mkdir(parents=True)
    for song in (2, 3, 2001):
        sf.write(audio / f"{song}.ogg", tone(18.0, 300 + song % 7), 22_050)
    for junk in (
        "__MACOSX/averaged/dynamic (per second annotations)/valence.csv",
        "averaged/dynamic (per second annotations)/._valence.csv",
        "annotations per each rater/dynamic (per second annotations)/valence/2.csv",
        "annotations per each rater/dynamic (per second annotations)/valence.csv",
        "annotations per each rater/song_level/static_annotations_songs_1_2000.csv",
        "rock/4.mp3",  # another corpus
        "zip/MEMD_audio/._2.ogg",
        "zip/MEMD_audio/readme.mp3",
    ):
        (other / junk).parent.mkdir(parents=True, exist_ok=True)
        (other / junk).write_bytes(b"\0")
    corpus = load_corpus("deam", other)
    assert [t.id for t in corpus.tracks] == ["2", "3", "2001"]
    assert {t.audio_path.parent for t in corpus.tracks} == {audio}
    for one, two in zip(corpus.tracks, expected.tracks, strict=True):
        np.testing.assert_array_equal(one.valence, two.valence)
        assert one.group == two.group
    # Both copies under one folder: one is taken, and said.
    shutil.copytree(root, other / "again")
    corpus, findings = collect(other)
    assert [t.id for t in corpus.tracks] == ["2", "3", "2001"]
    said = {f.file: f.message for f in findings}
    assert said["valence.csv"].startswith("2 files of this name; took again/annotations")
    assert said["zip/MEMD_audio/2.ogg"] == "again/MEMD_audio/2.mp3 is taken instead"


DAMAGE = [
    ("arousal.csv", "2,0.1", "2,7.5", "arousal", None),
    ("arousal.csv", "2,0.1", "2,inf", "arousal", None),
    ("arousal.csv", "2,0.1,0.1", "2,0.1,?", "sample_15500ms", r"song 2, sample_15500ms: '\?' is not a number"),
    ("arousal.csv", "\n3,", "\n2,", "song_id", None),
    ("arousal.csv", "\n2,", "\n5,", "song_id", r"song 2 is only in valence.csv, not in arousal"),
    ("arousal.csv", "\n2,", "\n2.mp3,", "song_id", r"arousal.csv, line 2: song_id is '2.mp3', not a whole"),
    ("arousal.csv", "\n2,", "\n,", "song_id", r"arousal.csv, line 2: song_id is '', not a whole"),
    ("arousal.csv", "\n2,0.1,0.1,0.2,", "\n2,,,,,0.2", "", r"song 2 has no frame with both"),
    ("arousal.csv", "\n2,", "\n2,0,0,0,0,0,", "", r"arousal.csv, line 2: 10 cells, the header has 6"),
    ("arousal.csv", "sample_15500ms", "sample_15.5s", "sample_15.5s", r"column 'sample_15.5s' is not of the form"),
    ("arousal.csv", "sample_15500ms", "sample_15600ms", "time_s", None),
    ("arousal.csv", "sample_15500ms", "sample_15000ms", "sample_15000ms", None),
    ("arousal.csv", "sample_15500ms", "sample_14000ms", "time_s", None),
    ("arousal.csv", "song_id", "id", "song_id", None),
    ("songs_1_2000.csv", "valence_mean", "valence", "valence_mean", None),
    ("songs_1_2000.csv", "\n2, ", "\n2, 1", "valence_mean", r"song 2: valence_mean 1\d.* lies outside \[1, 9\]"),
    ("songs_1_2000.csv", "\n2, ", "\n2, x", "valence_mean", r"line 2: valence_mean is 'x.*', not a number"),
    ("songs_1_2000.csv", "\n3, ", "\n2, ", "song_id", None),
]  # fmt: skip


@pytest.mark.parametrize("file, old, new, field, words", DAMAGE)
def test_damaged_deam(tmp_path, file, old, new, field, words):
    if file.startswith("songs"):
        write_static(tmp_path)
    else:
        write_deam(tmp_path)
    (path,) = tmp_path.rglob(f"*{file}")
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new, 1))
    with pytest.raises(CorpusError, match=words) as error:
        load_deam(tmp_path, need_audio=False)
    assert error.value.field == field
    # The last check is of a song, whose curves come from two files.
    assert error.value.file == ("" if words and "no frame" in words else path.name)


@pytest.mark.slow
def test_deam_with_files_missing(tmp_path):
    root = write_deam(tmp_path / "a")
    next(root.rglob("arousal.csv")).unlink()
    with pytest.raises(CorpusError, match=r"no dynamic annotations arousal\.csv") as error:
        load_corpus("deam", root)
    assert error.value.file == "arousal.csv"
    root = write_deam(tmp_path / "b")
    for path in (root / "MEMD_audio").iterdir():
        path.unlink()
    with pytest.raises(CorpusError, match="no audio such as"):
        load_corpus("deam", root)


def test_optional_files_that_cannot_be_read_leave_the_rest(tmp_path):
    write_deam(tmp_path)
    write_static(tmp_path)
    broken = ["metadata_2015.csv", "static_annotations_averaged_songs_2000_2058.csv"]
    for name in broken:
        next(tmp_path.rglob(name)).write_bytes(b"\0")
    corpus, findings = collect(tmp_path)
    assert [t.id for t in corpus.tracks] == ["2", "3", "2001"]
    assert corpus.tracks[0].text["artist"] == "The Band"
    assert [t.static is None for t in corpus.tracks] == [False, False, True]
    assert [f.file for f in findings if f.level == "error"] == broken[::-1]
    next(tmp_path.rglob("valence.csv")).write_bytes(b"\0")
    with pytest.raises(CorpusError, match="not a text file") as error:
        collect(tmp_path)
    assert error.value.file == "valence.csv"


def test_audio_behind_a_link_is_found(tmp_path):
    root = write_deam(tmp_path / "here")
    (root / "MEMD_audio").rename(tmp_path / "elsewhere")
    (root / "MEMD_audio").symlink_to(tmp_path / "elsewhere")
    assert len(load_deam(root).tracks) == 3


def test_the_same_audio_under_two_ids(tmp_path):
    audio = write_deam(tmp_path) / "MEMD_audio"
    shutil.copy(audio / "2.mp3", audio / "3.mp3")  # of one artist
    shutil.copy(audio / "2.mp3", audio / "2001.mp3")
    corpus, findings = collect(tmp_path)
    assert [t.id for t in corpus.tracks] == ["2", "3"]
    said = [(f.level, f.subject) for f in findings if "same audio as '2'" in f.message]
    assert said == [("note", "3"), ("error", "2001")]


def test_one_reading_finds_all_errors(tmp_path):
    root = write_deam(tmp_path)
    arousal, valence = next(root.rglob("arousal.csv")), next(root.rglob("valence.csv"))
    arousal.write_text(arousal.read_text().replace("\n2,0.1", "\n2,x", 1))
    text = valence.read_text().replace("\n3,-0.1", "\n3,-1.1", 1)
    valence.write_text(text.replace("\n2002,", "\n2003,", 1))
    corpus, findings = collect(root, need_audio=False)
    assert [t.id for t in corpus.tracks] == ["4", "2001"]
    assert [(f.file, f.subject) for f in findings if f.level == "error"] == [
        ("valence.csv", "3"),
        ("arousal.csv", "2"),
        ("arousal.csv", "2003"),
        ("valence.csv", "2002"),
    ]


def test_a_file_cut_short_is_noticed_without_audio(tmp_path):
    write_static(tmp_path)
    arousal = next(tmp_path.rglob("arousal.csv"))
    lines = arousal.read_text().splitlines(keepends=True)
    arousal.write_text("".join(lines[: len(lines) // 2]))
    # Songs 2 to 12 and no audio but theirs: the loader used to see nothing.
    (tmp_path / "MEMD_audio").mkdir()
    (tmp_path / "MEMD_audio/2.mp3").write_bytes(mp3(300))
    for need_audio in (True, False):
        corpus, findings = collect(tmp_path, need_audio=need_audio)
        (error,) = [f for f in findings if f.level == "error"]
        assert error.file == "arousal.csv"
        assert "and 12 more are only in valence.csv, not in arousal.csv" in error.message
        assert len(corpus.tracks) == (1 if need_audio else 12)
    with pytest.raises(CorpusError, match="12 more are only in valence.csv"):
        load_deam(tmp_path)
    with pytest.raises(CorpusError, match="12 more are only in valence.csv"):
        static_audit(tmp_path)


def test_a_row_cut_in_the_middle_is_noticed_without_audio(tmp_path):
    path = next(write_deam(tmp_path).rglob("valence.csv"))
    text = path.read_text()
    path.write_text(text[: text.rindex("2002,-0.1,") + len("2002,-0.1,")])
    _, findings = collect(tmp_path)
    (error,) = [f for f in findings if f.level == "error"]
    assert (error.file, error.subject) == ("valence.csv, arousal.csv", "2002")
    assert "1 samples of valence but 5 of arousal" in error.message


def test_a_scale_of_0_to_1_is_noted(tmp_path):
    write_static(tmp_path, songs=60)
    _, findings = collect(tmp_path, need_audio=False)
    assert not [f for f in findings if "2x - 1" in f.message]
    path = next(tmp_path.rglob("arousal.csv"))
    table = pd.read_csv(path, index_col=0)
    ((table + 1) / 2).to_csv(path)
    _, findings = collect(tmp_path, need_audio=False)
    (note,) = [f for f in findings if "2x - 1" in f.message]
    assert (note.level, note.file, note.subject) == ("note", "arousal.csv", "arousal")


def test_songs_without_a_song_level_rating_are_counted(tmp_path):
    write_static(tmp_path)
    path = next(tmp_path.rglob("*songs_1_2000.csv"))
    path.write_text("".join(path.read_text().splitlines(keepends=True)[:-3]))
    next(tmp_path.rglob("*songs_2000_2058.csv")).unlink()
    _, findings = collect(tmp_path, need_audio=False)
    name = "static_annotations_averaged_songs_2000_2058.csv"
    assert (name, "", "not found") in notes(findings)
    assert ("static annotations", "", "4 of 25 songs have no rating") in notes(findings)


def test_swapped_columns_are_corrected(tmp_path):
    truth = write_static(tmp_path, swap=True)
    corpus, findings = collect(tmp_path, need_audio=False)
    for track in corpus.tracks:
        np.testing.assert_allclose(track.static, truth.loc[int(track.id)], atol=1e-6)
    assert notes(findings)[:2] == [
        ("static annotations", "release 2013", "valence and arousal are swapped: corrected"),
        ("static annotations", "release 2015", "too few songs to tell whether they are swapped"),
    ]
    corpus, findings = collect(tmp_path, need_audio=False, as_released=True)
    np.testing.assert_allclose(corpus.tracks[0].static, truth.iloc[0][::-1], atol=1e-6)
    assert notes(findings)[0][2].endswith("kept as released")
    parts = {part.release: part for part in static_audit(tmp_path)}
    assert [parts[r].swapped for r in parts] == [True, False, None]
    assert [parts[r].songs for r in parts] == [12, 12, 1]
    assert parts["2013"].r_static_valence_dynamic_arousal == pytest.approx(1, abs=1e-6)
    assert parts["2014"].r_static_valence_dynamic_valence == pytest.approx(1, abs=1e-6)


@pytest.mark.parametrize("songs, swap", [(12, False), (9, True)])
def test_columns_are_left_where_they_are_right_or_too_few(tmp_path, songs, swap):
    write_static(tmp_path, songs=songs, swap=swap)
    as_read, _ = collect(tmp_path, need_audio=False)
    released, _ = collect(tmp_path, need_audio=False, as_released=True)
    for one, two in zip(as_read.tracks, released.tracks, strict=True):
        np.testing.assert_array_equal(one.static, two.static)
    assert static_audit(tmp_path)[0].swapped is (None if songs == 9 else False)


def write_songs(root, train=60, test=6, artists=12):
    """Songs of all years with labels and metadata and no audio; the first test artist is known."""
    songs = [*range(2, 2 + train // 2), *range(1001, 1001 + train // 2)]
    whole = range(2001, 2001 + test)
    dynamic = root / AVERAGED / "dynamic (per second annotations)"
    dynamic.mkdir(parents=True)
    (root / "metadata").mkdir()
    for target in ("arousal", "valence"):
        rows = [f"{i},{(i % 7) / 10},0.1" for i in [*songs, *whole]]
        header = "song_id,sample_15000ms,sample_15500ms"
        (dynamic / f"{target}.csv").write_text("\n".join([header, *rows]) + "\n")
    by_year = {
        "2013": [(i, f"artist {i % artists}") for i in songs if i <= 1000],
        "2014": [(i, f"Artist  {i % artists}") for i in songs if i > 1000],
        "2015": [(i, "ARTIST 0" if i == 2001 else f"other {i}") for i in whole],
    }
    for year, rows in by_year.items():
        lines = [f"{i},{artist},x" for i, artist in rows]
        text = "\n".join(["song_id,artist,title", *lines])
        (root / f"metadata/metadata_{year}.csv").write_text(text + "\n")
    return root


def test_mediaeval_tests_on_the_whole_songs(tmp_path):
    corpus, _ = collect(write_songs(tmp_path), need_audio=False)
    (split,) = splits_of(corpus, 1, seed=7)
    assert sorted(split.test) == [str(i) for i in range(2001, 2007)]
    known = {t.id: t.group for t in corpus.tracks}
    trained = split.train + split.validation
    assert max(int(i) for i in trained) <= 2000
    # The artist who is on both sides leaves training with every song, and is counted.
    left_out = [i for i, group in known.items() if group == "artist 0" and i != "2001"]
    assert sorted([*trained, *split.test, *left_out]) == sorted(known)
    assert split_table([split], corpus)["unused tracks"].tolist() == [len(left_out)] == [4]


def test_ten_folds_by_artist_are_of_songs_up_to_2000(tmp_path):
    corpus, _ = collect(write_songs(tmp_path), need_audio=False)
    group = {t.id: t.group for t in corpus.tracks}
    splits = splits_of(corpus, 10, seed=7)
    assert len(splits) == 10
    assert sorted(int(i) for s in splits for i in s.test) == [
        int(i) for i in group if int(i) <= 2000
    ]
    for split in splits:
        sides = [{group[i] for i in part} for part in (split.train, split.validation, split.test)]
        assert not (sides[0] & sides[1] or sides[0] & sides[2] or sides[1] & sides[2])
        assert "2001" not in split.train + split.validation + split.test
    assert split_table(splits, corpus)["unused tracks"].unique().tolist() == [6]


@pytest.mark.slow
@needs_data("deam")
def test_the_protocols_on_deam_itself():
    corpus, _ = collect(DEAM, need_audio=False)
    artists = {
        side: {t.group for t in corpus.tracks if t.split == side} for side in ("train", "test")
    }
    assert (len(artists["test"]), artists["train"] & artists["test"]) == (49, set())
    (split,) = splits_of(corpus, 1, seed=7)
    assert (len(split.train + split.validation), len(split.test)) == (1744, 58)
    assert sum(len(s.test) for s in splits_of(corpus, 10, seed=7)) == 1744


@pytest.mark.slow
@needs_data("deam")
def test_deam_itself():
    songs = len(list((DEAM / "MEMD_audio").glob("*.mp3")))
    corpus, _ = collect(DEAM)
    assert (len(corpus.tracks), corpus.without_audio) == (songs, 1802 - songs)
    corpus, findings = collect(DEAM, need_audio=False)
    assert [f.level for f in findings] == ["note"]
    assert len(corpus.tracks) == 1802
    assert [t.split for t in corpus.tracks].count("test") == 58
    release = pd.Series([t.text["release"] for t in corpus.tracks]).value_counts()
    assert release.to_dict() == {"2013": 744, "2014": 1000, "2015": 58}
    # Put right, the song-level values agree with the songs' mean curves in every part.
    static = np.array([t.static for t in corpus.tracks])
    means = np.array([[np.nanmean(t.valence), np.nanmean(t.arousal)] for t in corpus.tracks])
    assert np.corrcoef(static[:744].T, means[:744].T)[0, 2] == pytest.approx(0.949, abs=5e-4)


@needs_data("deam")
def test_the_swap_of_the_release():
    parts = pd.DataFrame([asdict(audit) for audit in static_audit(DEAM)]).set_index("release")
    assert parts.songs.to_dict() == {"2013": 744, "2014": 1000, "2015": 58}
    assert parts.swapped.to_dict() == {"2013": True, "2014": False, "2015": False}
    crossed, straight = (f"r_static_valence_dynamic_{t}" for t in ("arousal", "valence"))
    assert parts.loc["2013", [crossed, straight]].tolist() == pytest.approx(
        [0.956, 0.575], abs=5e-4
    )
    assert parts.loc["2014", [straight, crossed]].tolist() == pytest.approx(
        [0.912, 0.591], abs=5e-4
    )

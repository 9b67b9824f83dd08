"""MERP: small archives as the published description has them, and damaged ones."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import soundfile as sf
from conftest import tone

from msr_utils.corpora import load_corpus
from msr_utils.corpora.base import CorpusError
from msr_utils.corpora.findings import Findings
from msr_utils.corpora.merp import FILTERED, RAW, load_merp

SECONDS = {"00_35": 6.0, "01_71": 6.0, "deam_115": 4.0}
RATERS = {"A1": 0.1, "B2": 0.3}


def ratings(seconds=None, **other):
    """One row per rater and song; constant curves at the rater's level."""
    return pd.DataFrame(
        {
            "worker_id": rater,
            "batch": "5",
            "song_id": song,
            "valence": np.full(int((seconds or length) * 10), level),
            "arousal": np.full(int((seconds or length) * 10), -level),
            "age": "25-34" if rater == "A1" else None,
            "gender": "Female" if rater == "A1" else None,
            **other,
        }
        for song, length in SECONDS.items()
        for rater, level in RATERS.items()
    )


def write_merp(root, filtered=None, raw=None):
    """The Hugging Face layout: audio/<song>.wav and the tables beside it."""
    (root / "audio").mkdir(parents=True)
    for hz, (song, seconds) in enumerate(SECONDS.items(), 300):
        sf.write(root / "audio" / f"{song}.wav", tone(seconds, hz, rate=8000), 8000)
    (ratings() if filtered is None else filtered).to_parquet(root / FILTERED)
    if raw is not None:
        raw.to_parquet(root / RAW)
    return root


def test_merp_as_published(tmp_path):
    findings = Findings()
    corpus = load_merp(write_merp(tmp_path), findings)
    assert (corpus.name, corpus.labels, corpus.without_audio) == ("merp", "curves", 0)
    first, _, shared = corpus.tracks
    assert (first.id, first.group, first.raters) == ("00_35", "00_35", ("A1", "B2"))
    np.testing.assert_allclose(first.times_s, np.arange(1, 13) / 2)
    assert first.ratings.shape == (2, 12, 2) and first.ratings.dtype == np.float32
    np.testing.assert_allclose(first.ratings[0], [[0.1, -0.1]] * 12, rtol=1e-6)
    np.testing.assert_allclose(first.valence, 0.2, rtol=1e-6)
    np.testing.assert_allclose(first.arousal, -0.2, rtol=1e-6)
    assert (first.shared_with, shared.shared_with) == ({}, {"deam": "115"})
    assert list(corpus.raters.index) == ["A1", "B2"]
    assert corpus.raters.loc["A1", "gender"] == "Female" and pd.isna(corpus.raters.loc["B2", "age"])
    messages = "\n".join(f"{f.subject}: {f.message}" for f in findings)
    assert "song deam_115: the same recording as song 115 of DEAM" in messages
    assert "1 of 2 raters have no profile" in messages
    assert "3 songs; 54 were published" in messages
    assert len(load_corpus("merp", tmp_path).tracks) == 3


def test_frames_are_means_of_the_samples_up_to_their_end(tmp_path):
    table = ratings()
    table.at[0, "valence"] = np.arange(60) / 100
    gaps = np.full(60, 0.5)
    gaps[[0, 1, 2, 5, 6]] = np.nan  # two of five known: too few; then three of five
    table.at[0, "arousal"] = gaps
    track = load_merp(write_merp(tmp_path, table)).tracks[0]
    # Samples 0..4 stand for 0.1..0.5 s: their mean is that of sample 2.
    np.testing.assert_allclose(track.ratings[0, :, 0], (np.arange(12) * 5 + 2) / 100, rtol=1e-6)
    assert np.isnan(track.ratings[0, 0, 1]) and track.ratings[0, 1, 1] == 0.5
    assert track.arousal[0] == pytest.approx(-0.3)  # the other rater alone


def test_filtered_ratings_end_with_the_audio_and_raw_ones_begin_with_it(tmp_path):
    table = ratings()
    for column in ("valence", "arousal"):
        table.at[0, column] = table.at[0, column][12:]  # the authors' cut
    root = write_merp(tmp_path, table)
    rating = load_merp(root).tracks[0].ratings[0, :, 0]
    # Samples 0..11 are gone: two whole frames, and two of the third's five.
    np.testing.assert_array_equal(np.isnan(rating), [True] * 2 + [False] * 10)
    (root / FILTERED).rename(root / RAW)
    findings = Findings()
    rating = load_merp(root, findings).tracks[0].ratings[0, :, 0]
    np.testing.assert_array_equal(np.isnan(rating), [False] * 10 + [True] * 2)
    assert any("ratings that the authors refused are included" in f.message for f in findings)


def test_ratings_shorter_than_the_audio_are_replaced_by_raw_ones(tmp_path):
    raw = ratings()
    raw["valence"] = raw["valence"].map(lambda v: v + 0.5)
    extra = raw[:1].assign(worker_id="refused")
    root = write_merp(tmp_path, ratings(seconds=0.8), pd.concat([raw, extra]))
    findings = Findings()
    track = load_merp(root, findings).tracks[0]
    assert track.raters == ("A1", "B2")
    np.testing.assert_allclose(track.valence, 0.7, rtol=1e-6)
    note = next(f for f in findings if f.subject == "song 00_35")
    assert "8 samples are 0.8 s at 10 Hz, the audio lasts 6.0 s" in note.message
    assert f"replaced by those in {RAW}" in note.message
    (root / RAW).unlink()
    with pytest.raises(CorpusError, match=r"00_35: 2 of 2 ratings do not last .* put annotations_"):
        load_merp(root)


def test_a_scale_of_0_to_1_is_noted(tmp_path):
    table = pd.concat([ratings().assign(worker_id=name) for name in "ABCD"])
    table["arousal"] = table["arousal"].map(lambda a: a + 0.5)
    table.iloc[0, table.columns.get_loc("valence")] = np.full(60, -0.1)
    findings = Findings()
    load_merp(write_merp(tmp_path, table[~table.duplicated(["worker_id", "song_id"])]), findings)
    (note,) = [f for f in findings if "2x - 1" in f.message]
    assert (note.file, note.subject) == (FILTERED, "arousal")


def test_a_raw_table_that_cannot_be_read_leaves_the_filtered_one(tmp_path):
    (write_merp(tmp_path) / RAW).write_bytes(b"no table")
    findings = Findings(collect=True)
    assert len(load_merp(tmp_path, findings).tracks) == 3
    assert [f.file for f in findings if f.level == "error"] == [RAW]


def test_the_same_audio_under_two_ids(tmp_path):
    audio = write_merp(tmp_path) / "audio"
    (audio / "01_71.wav").write_bytes((audio / "00_35.wav").read_bytes())
    with pytest.raises(CorpusError) as error:
        load_merp(tmp_path)
    assert (error.value.file, error.value.field) == ("01_71.wav", "group")


def test_column_names_are_matched_loosely(tmp_path):
    names = {"worker_id": "WorkerID", "song_id": "songurl", "valence": "valences"}
    table = ratings(Artist="Someone").rename(columns=names | {"arousal": "arousals"})
    corpus = load_merp(write_merp(tmp_path, table.rename(columns={"Artist": "artist"})))
    assert [t.group for t in corpus.tracks] == ["someone"] * 3
    assert "artist" not in corpus.raters


def cell(column, value):
    """A change of the first row's cell."""

    def change(table):
        table.at[0, column] = value
        return table

    return change


@pytest.mark.parametrize(
    "change, field, words",
    [
        (
            lambda t: t.drop(columns="arousal").rename(columns={"worker_id": "who"}),
            "rater",
            r"no column for rater \(workerid, .*; arousal \(arousal, .*found who, batch, song_id",
        ),
        (lambda t: t[:0], "", "holds no rows"),
        (cell("worker_id", None), "rater", r"row 1: worker_id is empty"),
        (cell("valence", np.full(60, 80.0)), "valence", r"song 00_35, rater A1, valence: 80 lies"),
        (cell("arousal", np.full(60, np.inf)), "arousal", None),
        (cell("valence", np.zeros(40)), "", r"rater A1: 40 samples of valence but 60 of arousal"),
        (cell("valence", np.zeros(0)), "valence", "a list of samples is needed"),
        (cell("valence", None), "valence", None),
        (
            lambda t: t.assign(valence="high"),
            "valence",
            r"rater A1, valence: not a list of numbers",
        ),
        (lambda t: t.assign(valence=0.5), "valence", r"one row per rater and song; found 0.5"),
        (lambda t: pd.concat([t, t[:1]]), "rater", r"00_35, rater A1: the row is repeated"),
    ],
)
def test_damaged_merp_says_what_is_wrong(tmp_path, change, field, words):
    root = write_merp(tmp_path, change(ratings()))
    with pytest.raises(CorpusError, match=words) as error:
        load_merp(root)
    assert (error.value.file, error.value.field) == (FILTERED, field)


def test_a_song_that_nobody_rated_is_refused(tmp_path):
    table = ratings()
    for row in (0, 1):
        table.at[row, "valence"] = np.full(60, np.nan)
    findings = Findings(collect=True)
    corpus = load_merp(write_merp(tmp_path, table), findings)
    assert [t.id for t in corpus.tracks] == ["01_71", "deam_115"]
    (error,) = [f for f in findings if f.level == "error"]
    assert error.message.endswith("song 00_35: no frame has both valence and arousal")


def test_raw_ratings_are_advised_for_lengths_alone(tmp_path):
    findings = Findings(collect=True)
    load_merp(write_merp(tmp_path, ratings().assign(valence="high")), findings)
    errors = [f.message for f in findings if f.subject == "song 00_35"]
    assert errors == [f"{FILTERED}, song 00_35: no rating can be read"]


def test_files_that_are_no_tables_or_no_audio(tmp_path):
    root = write_merp(tmp_path)
    (root / "audio" / "00_35.wav").write_bytes(b"not audio")
    with pytest.raises(CorpusError, match="00_35.wav: not audio"):
        load_merp(root)
    whole = (root / FILTERED).read_bytes()
    for content in (b"", b"PAR1 and then nothing", whole[: len(whole) // 2]):
        (root / FILTERED).write_bytes(content)
        with pytest.raises(
            CorpusError, match="annotations_filtered.parquet: not a Parquet table"
        ) as error:
            load_merp(root)
        assert error.value.file == FILTERED
    (root / FILTERED).unlink()
    with pytest.raises(CorpusError, match="neither annotations_filtered.parquet nor"):
        load_merp(root)


def test_audio_behind_a_link_is_found(tmp_path):
    root = write_merp(tmp_path / "here")
    (root / "audio").rename(tmp_path / "elsewhere")
    (root / "audio").symlink_to(tmp_path / "elsewhere")
    assert len(load_merp(root).tracks) == 3


def test_songs_without_audio_are_counted(tmp_path):
    root = write_merp(tmp_path)
    (root / "audio" / "01_71.wav").unlink()
    corpus = load_merp(root)
    assert ([t.id for t in corpus.tracks], corpus.without_audio) == (["00_35", "deam_115"], 1)
    for path in (root / "audio").iterdir():
        path.unlink()
    with pytest.raises(CorpusError, match="no audio such as audio/00_35.wav"):
        load_merp(root)


def test_collected_errors_leave_out_what_they_concern(tmp_path):
    table = ratings()
    table.at[0, "valence"] = np.full(60, 9.0)
    table = table[~((table.song_id == "01_71") & (table.worker_id == "B2"))].reset_index(drop=True)
    table.at[2, "arousal"] = np.zeros(3)  # the only rating of 01_71
    findings = Findings(collect=True)
    corpus = load_merp(write_merp(tmp_path, table), findings)
    assert [(t.id, len(t.raters)) for t in corpus.tracks] == [("00_35", 1), ("deam_115", 2)]
    errors = [f.subject for f in findings if f.level == "error"]
    assert errors == ["song 00_35, rater A1", "song 01_71, rater A1", "song 01_71"]


def test_contradictory_profiles_and_second_ratings_are_noted(tmp_path):
    table = ratings()
    table["trial"] = range(len(table))  # says something of rows, not of raters
    table.at[0, "gender"] = "Male"
    second = table[1:2].assign(valence=[np.zeros(60)])
    findings = Findings()
    corpus = load_merp(write_merp(tmp_path, pd.concat([table, second])), findings)
    assert list(corpus.raters.columns) == ["batch", "age", "gender"]
    assert len(corpus.tracks[0].raters) == 2
    messages = "\n".join(f"{f.subject}: {f.message}" for f in findings)
    assert "gender: differs between rows of 1 raters; first kept" in messages
    assert "song 00_35: rater B2 rated it twice; the first is kept" in messages

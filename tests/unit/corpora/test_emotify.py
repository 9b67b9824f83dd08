"""Emotify: small archives in the official layout, damaged ones, and the real one if it is here."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import soundfile as sf
from benchmarks.real_data import DATA
from conftest import tone
from needs import needs_data

from msr_utils.corpora import load_corpus
from msr_utils.corpora.base import CorpusError
from msr_utils.corpora.emotify import (
    EMOTIONS,
    PROFILE,
    load_emotify,
    reliability,
)
from msr_utils.corpora.findings import Findings

COLUMNS = ("track id", "genre", *EMOTIONS, *PROFILE)
TRACKS = {1: "classical", 2: "classical", 101: "rock", 201: "electronic", 400: "pop"}


def listener(track, felt, **other):
    """One row of data.csv; `felt` names emotions."""
    cells = {"mood": 3, "liked": 0, "disliked": 0, "age": 25, "gender": 1}
    row = {"track id": track, "genre": TRACKS[track], "mother tongue": "Dutch", **cells}
    return row | {emotion: int(emotion in felt) for emotion in EMOTIONS} | other


def write_emotify(root, rows=None):
    """The official layout; each track with three listeners unless `rows` are given."""
    felt = (("calmness", "sadness"), ("calmness",), ())
    rows = rows or [listener(t, f, age=20 + i) for t in TRACKS for i, f in enumerate(felt)]
    suffixes = ("mp3", "ogg", "wav", "flac", "ogg")
    for suffix, (track, genre) in zip(suffixes, TRACKS.items(), strict=True):
        path = root / "emotifymusic" / genre / f"{(track - 1) % 100 + 1}.{suffix}"
        path.parent.mkdir(parents=True, exist_ok=True)
        sf.write(path, tone(1.0, 300 + track), 22_050)
    # The official header has a space after every comma.
    lines = [", ".join(COLUMNS), *(",".join(str(row[c]) for c in COLUMNS) for row in rows)]
    (root / "data.csv").write_text("\n".join(lines) + "\n")
    return root


def edit(root, change):
    table = pd.read_csv(root / "data.csv", skipinitialspace=True, dtype=str)
    change(table).to_csv(root / "data.csv", index=False)
    return root


def at(row, **cells):
    """A change of some cells of one row."""

    def change(table):
        for column, value in cells.items():
            table.loc[row, column.replace("_id", " id")] = value
        return table

    return change


def test_emotify_in_the_official_layout(tmp_path):
    corpus = load_corpus("emotify", write_emotify(tmp_path))
    assert (corpus.name, corpus.labels, corpus.without_audio) == ("emotify", "gems", 0)
    assert [t.id for t in corpus.tracks] == ["1", "2", "101", "201", "400"]
    assert corpus.tracks[-1].audio_path == tmp_path / "emotifymusic/pop/100.ogg"
    track = corpus.tracks[1]
    assert [t.duration_s for t in corpus.tracks] == [None, None, 60.0, 60.0, 60.0]
    assert (track.group, track.text, len(track.valence), len(track.times_s)) == (
        "2", {"genre": "classical"}, 0, 0
    )  # fmt: skip
    share = dict(zip(EMOTIONS, track.gems, strict=True))
    assert share["calmness"] == pytest.approx(2 / 3) and share["sadness"] == pytest.approx(1 / 3)
    assert track.gems_ratings.shape == (3, 9) and track.gems_ratings.dtype == np.float32
    np.testing.assert_allclose(track.gems_ratings.mean(axis=0), track.gems)
    own = corpus.raters.loc[list(track.raters)]
    assert (set(own.track_id), list(own.age)) == ({"2"}, [20, 21, 22])
    assert list(own.mother_tongue) == ["Dutch"] * 3


def test_audio_is_found_where_the_user_unpacked_it(tmp_path):
    root = write_emotify(tmp_path)
    (root / "emotifymusic").rename(root / "a")
    (root / "b").mkdir()
    (root / "a" / "pop").rename(root / "b" / "Pop")
    (root / "data.csv").rename(root / "b" / "data.csv")
    assert len(load_emotify(root).tracks) == 5


def test_audio_behind_a_link_is_found(tmp_path):
    root = write_emotify(tmp_path / "here")
    (root / "emotifymusic").rename(tmp_path / "elsewhere")
    (root / "emotifymusic").symlink_to(tmp_path / "elsewhere")
    assert len(load_emotify(root).tracks) == 5


def test_tracks_without_audio_are_counted(tmp_path):
    root = write_emotify(tmp_path)
    (root / "emotifymusic/rock/1.wav").unlink()
    corpus = load_emotify(root)
    assert (len(corpus.tracks), corpus.without_audio) == (4, 1)
    for path in root.rglob("emotifymusic/*/*"):
        path.unlink()
    with pytest.raises(CorpusError, match="no audio such as emotifymusic/classical/1.mp3"):
        load_emotify(root)


@pytest.mark.parametrize(
    "change, field, words",
    [
        (lambda t: t.drop(columns="tension"), "tension", None),
        (lambda t: t.drop(columns="mother tongue"), "mother tongue", "is missing; download the an"),
        (lambda t: t[:0], "", "holds no rows"),
        (at(3, power="2"), "power", r"line 5: power is '2'; it must be 0 or 1"),
        (at(3, power="yes"), "power", "'yes'"),
        (at(3, power=""), "power", "''"),
        (at(4, genre="jazz"), "genre", r"line 6: genre 'jazz' is unknown; known: classical, rock"),
        (at(4, genre="rock"), "genre", r"genre 'rock' contradicts track id 2, .* classical"),
        (at(0, track_id="401"), "track id", r"track id is '401', not a number from 1 to 400"),
        (at(0, track_id="0"), "track id", None),
        (at(0, track_id="one"), "track id", None),
    ],
)
def test_damaged_emotify_says_what_is_wrong(tmp_path, change, field, words):
    root = edit(write_emotify(tmp_path), change)
    with pytest.raises(CorpusError, match=words) as error:
        load_emotify(root)
    assert (error.value.file, error.value.field) == ("data.csv", field)


@pytest.mark.parametrize(
    "cells, words",
    [
        ({"power": "2"}, "line 7: power is '2'"),
        ({"track_id": "401"}, "line 7: track id is '401'"),
        ({"genre": "pop"}, "line 7: genre 'pop' contradicts"),
    ],
)
def test_lines_are_those_of_the_file(tmp_path, cells, words):
    path = edit(write_emotify(tmp_path), at(3, **cells)) / "data.csv"
    path.write_text(path.read_text().replace("\n", "\n\n", 2))
    with pytest.raises(CorpusError, match=words):
        load_emotify(tmp_path)


def test_files_that_are_no_tables(tmp_path):
    root = write_emotify(tmp_path)
    for content in (b"", b"\xff\xfe\x00bad"):
        (root / "data.csv").write_bytes(content)
        with pytest.raises(CorpusError, match="data.csv") as error:
            load_emotify(root)
        assert error.value.file == "data.csv"
    (root / "data.csv").unlink()
    with pytest.raises(CorpusError, match="no data.csv found"):
        load_emotify(root)


def test_collected_errors_leave_their_tracks_out(tmp_path):
    root = edit(write_emotify(tmp_path), at(0, power="2"))
    edit(root, at(8, genre="pop"))
    findings = Findings(collect=True)
    corpus = load_emotify(root, findings)
    assert [t.id for t in corpus.tracks] == ["2", "201", "400"]
    errors = [f for f in findings if f.level == "error"]
    assert [f.subject for f in errors] == ["track id 1", "track id 101"]
    assert corpus.without_audio == 0


def test_one_ragged_line_leaves_the_rest(tmp_path):
    path = write_emotify(tmp_path) / "data.csv"
    lines = path.read_text().replace("Dutch", "Fran\u00e7ais").splitlines()
    lines[2] = lines[2].rpartition(",")[0]
    path.write_bytes("\n".join(lines).encode("cp1252"))
    findings = Findings(collect=True)
    corpus = load_emotify(tmp_path, findings)
    assert [len(t.raters) for t in corpus.tracks] == [2, 3, 3, 3, 3]
    (error,) = [f for f in findings if f.level == "error"]
    assert (error.file, error.subject) == ("data.csv", "line 3")
    assert any("read as Windows-1252" in f.message for f in findings)


def test_profiles_that_are_not_there_leave_the_emotions(tmp_path):
    root = edit(write_emotify(tmp_path), lambda t: t.drop(columns=["liked", "mother tongue"]))
    findings = Findings(collect=True)
    corpus = load_emotify(root, findings)
    assert len(corpus.tracks) == 5 and "liked" not in corpus.raters
    errors = [f.subject for f in findings if f.level == "error"]
    assert errors == ["liked", "mother tongue"]


def test_the_same_audio_under_two_ids(tmp_path):
    folder = write_emotify(tmp_path) / "emotifymusic/classical"
    (folder / "2.ogg").write_bytes((folder / "1.mp3").read_bytes())
    with pytest.raises(CorpusError) as error:
        load_emotify(tmp_path)
    assert (error.value.file, error.value.field) == ("2.ogg", "group")


def test_oddities_are_noted_and_kept(tmp_path):
    rows = [
        listener(1, EMOTIONS[:4]),
        listener(1, ("power",)),
        listener(1, ("power",)),
        listener(1, ("sadness",), age=0, liked=1, disliked=1),
        listener(2, (), age="old", mood=7),
    ]
    findings = Findings()
    corpus = load_emotify(write_emotify(tmp_path, rows), findings)
    assert [len(t.raters) for t in corpus.tracks] == [4, 1]
    assert {f.level for f in findings} == {"note"}
    messages = "\n".join(f"{f.subject}: {f.message}" for f in findings)
    for words in (
        "1 rows repeat another row",
        "1 rows mark no emotion",
        "1 rows mark more than the 3 emotions",
        "1 rows both like and dislike",
        "age: 1 rows outside 10..90, kept: 0\n",
        "age: 1 rows without a number, taken as missing: old",
        "mood: 1 rows outside 1..5, kept: 7",
        "2 tracks have fewer than 10 listeners; the fewest is 1: 1, 2",
        "398 of the 400 tracks have no row",
    ):
        assert words in messages
    assert np.isnan(corpus.raters.age.iloc[-1])


def test_ids_with_leading_zeros_are_one_track(tmp_path):
    root = edit(write_emotify(tmp_path), at(0, track_id="001"))
    assert [t.id for t in load_emotify(root).tracks] == ["1", "2", "101", "201", "400"]


def test_reliability_is_that_of_simulated_listeners(tmp_path):
    rng = np.random.default_rng(0)
    track = load_emotify(write_emotify(tmp_path)).tracks[0]
    # Shares spread evenly over tracks, n listeners: the share's variance over tracks is 1/12
    # and its noise is E[p (1 - p)] / n = 1 / (6 n).
    listeners, tracks = 20, []
    for share in rng.uniform(0, 1, 300):
        felt = (rng.uniform(size=(listeners, len(EMOTIONS))) < share).astype(np.float32)
        felt[:, 1] = rng.uniform(size=listeners) < 0.5  # nobody agrees on the second
        tracks.append(type(track)(**{**vars(track), "gems_ratings": felt}))
    table = reliability(tracks, n_splits=3)
    assert list(table.index) == [*EMOTIONS, "mean"]
    expected = (1 / 12) / (1 / 12 + 1 / (6 * listeners))
    assert table.loc["power", "reliability"] == pytest.approx(expected, abs=0.03)
    assert table.loc["power", "ceiling"] == pytest.approx(np.sqrt(expected), abs=0.02)
    half = table.loc["power", "split_half"]
    assert 2 * half / (1 + half) == pytest.approx(table.loc["power", "reliability"])
    assert table.loc["solemnity", "reliability"] < 0.3


@needs_data("emotify")
def test_the_real_emotify():
    findings = Findings()
    corpus = load_emotify(DATA / "emotify", findings)
    assert (len(corpus.tracks), corpus.without_audio, len(corpus.raters)) == (400, 0, 8407)
    assert sum(len(t.gems_ratings) for t in corpus.tracks) == 8407
    assert {f.level for f in findings} == {"note"}
    genres = pd.Series([t.text["genre"] for t in corpus.tracks]).value_counts()
    assert set(genres) == {100}

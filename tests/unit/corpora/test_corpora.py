"""What all loaders share: names, times, scales, findings."""

from __future__ import annotations

import numpy as np
import pytest

from msr_utils.corpora import (
    emotify,
    load_corpus,
    merp,
)
from msr_utils.corpora.base import CorpusError, Track
from msr_utils.corpora.checks import (
    check_duplicate_audio,
    check_scale,
    find_audio,
    frame_index,
    note_scale,
    walk,
)
from msr_utils.corpora.deam import songs
from msr_utils.corpora.findings import Findings, in_file


@pytest.mark.parametrize(
    "name, data, field, words",
    [
        ("demo", "", "corpus", "unknown name 'demo'"),
        ("folder", "", "data_dir", "needs the folder"),
        ("deam", "/nowhere/at/all", "data_dir", "no folder"),
    ],
)
def test_unknown_corpora(name, data, field, words):
    with pytest.raises(CorpusError, match=words) as error:
        load_corpus(name, data)
    assert error.value.field == field


def test_times_count_frames_from_their_ends():
    np.testing.assert_array_equal(frame_index(np.array([0.5, 1.0, 2.001]), "x"), [0, 1, 3])


@pytest.mark.parametrize(
    "times_s, words",
    [
        ([0.5, 1.2], "time_s 1.2 is not a multiple of 0.5"),
        ([0.0, 0.5], "time_s 0 is before the first window"),
        ([0.5, 1.5, 1.0], "time_s 1 is repeated or out of order"),
        ([0.5, 0.5], "time_s 0.5 is repeated"),
        ([0.5, 1e6], r"time_s 1e\+06 lies beyond"),
        ([np.inf], "time_s inf lies beyond"),
    ],
)
def test_times_off_the_grid(times_s, words):
    with pytest.raises(CorpusError, match=f"^a.csv, 1: {words}") as error:
        frame_index(np.array(times_s), "a.csv, 1", "a.csv")
    assert (error.value.file, error.value.field) == ("a.csv", "time_s")


@pytest.mark.parametrize(
    "values, words",
    [
        ([3.0, 8.5, np.nan], r"3 lies outside .* looks like 1..9: rescale it with \(x - 5\) / 4"),
        ([0.0, 7.0, 10.0], r"looks like 0..10: rescale it with x / 5 - 1"),
        ([0.0, 55.0, 98.0], r"looks like 0..100: rescale it with x / 50 - 1"),
        ([-60.0, 55.0, 98.0], r"looks like -100..100: rescale it with x / 100"),
        ([-500.0, 55.0, 98.0], r"rescale the column before loading"),
        ([0.1, -0.2, 5.0], r"5 lies outside \[-1, 1\]; correct it"),
        ([np.inf, 0.0], r"inf lies outside"),
    ],
)
def test_values_out_of_scale_name_the_scale_they_seem_to_have(values, words):
    with pytest.raises(CorpusError, match=words):
        check_scale(np.array(values), "x")
    check_scale(np.array([-1, np.nan, 1]), "x")


@pytest.mark.parametrize(
    "lowest, count, noted",
    [(0.0, 30, True), (0.3, 100, True), (-0.01, 100, False), (0.0, 29, False)],
)
def test_a_column_of_0_to_1_is_noted(lowest, count, noted):
    findings = Findings()
    values = np.append(np.linspace(lowest, 1, count), np.nan)
    note_scale("arousal", values, "a.csv", findings)
    said = "all values of arousal lie in [0, 1]: if the scale is 0..1, map it with 2x - 1"
    assert [f.message for f in findings] == [said] * noted


def test_audio_is_found_under_another_suffix(tmp_path):
    for name in ("a.ogg", "b.WAV", "Vol. 2.mp3", "01.flac"):
        (tmp_path / name).touch()
    found = {
        written: find_audio(tmp_path / written)
        for written in ("a.ogg", "a.mp3", "b.mp3", "Vol. 2", "01.intro", "c.mp3")
    }
    assert {k: p and p.name for k, p in found.items()} == {
        "a.ogg": "a.ogg",
        "a.mp3": "a.ogg",
        "b.mp3": "b.WAV",
        "Vol. 2": "Vol. 2.mp3",
        "01.intro": None,
        "c.mp3": None,
    }


def test_files_are_found_through_links_and_once(tmp_path):
    root, elsewhere = tmp_path / "root", tmp_path / "elsewhere"
    for name in (".hidden", "b.txt", "z/a.txt", "__MACOSX/a.txt", "._dir/a.txt"):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).touch()
    (elsewhere / "deep").mkdir(parents=True)
    (elsewhere / "deep" / "c.txt").touch()
    (elsewhere / "back").symlink_to(root)  # a loop
    (root / "audio").symlink_to(elsewhere)
    (root / "again").symlink_to(root / "z")
    (root / "one.txt").symlink_to(elsewhere / "deep" / "c.txt")
    (root / "broken.txt").symlink_to(root / "nothing")
    found = [path.relative_to(root).as_posix() for path in walk(root)]
    assert found == ["audio/deep/c.txt", "b.txt", "one.txt", "z/a.txt"]


def test_the_same_audio_twice_is_refused_across_groups(tmp_path):
    content = {"a": b"one", "b": b"two", "c": b"one", "d": b"one", "e": b"", "f": b""}
    group = dict.fromkeys(content, "x") | {"d": "y", "f": "y"}
    for name, written in content.items():
        (tmp_path / name).write_bytes(written)
    none = np.zeros(0, np.float32)
    tracks = [
        Track(name, tmp_path / name, none, none, none, group.get(name, "z"))
        for name in (*content, "not here", "nor here")
    ]
    findings = Findings(collect=True)
    kept = check_duplicate_audio(tracks, findings)
    assert [t.id for t in kept] == ["a", "b", "c", "e", "f", "not here", "nor here"]
    assert [(f.level, f.file, f.subject) for f in findings] == [
        ("note", "c", "c"),
        ("error", "d", "d"),
    ]
    with pytest.raises(CorpusError, match=r"'d' has the same audio as 'a' in another gr") as error:
        check_duplicate_audio(tracks, Findings(), "tracks.csv")
    assert (error.value.file, error.value.field) == ("tracks.csv", "group")


def test_cards_state_sizes_and_known_defects():
    assert "1802 songs: 744" in songs.CARD.to_markdown()
    assert "valence and arousal exchanged" in songs.CARD.to_markdown()
    assert "400 excerpts of 60 s" in emotify.CARD.to_markdown()
    assert "54 full songs" in merp.CARD.to_markdown()


def test_findings_raise_or_collect():
    with pytest.raises(CorpusError, match="bad"), Findings().about("f", "t"):
        raise CorpusError("bad")
    findings = Findings(collect=True)
    findings.note("f", "odd", "strange")
    with findings.about("f", "t"):
        raise CorpusError("bad")
    with pytest.raises(TypeError), findings.about("f", "t"):
        raise TypeError("not about the data")
    assert [f.level for f in findings] == ["note", "error"]
    assert findings.damaged == {"t"}


def test_an_error_names_its_file_where_the_finding_does_not():
    findings = Findings(collect=True)
    with findings.about(""), in_file("a.csv"):
        raise CorpusError("bad")
    with findings.about(""), in_file("a.csv"):
        raise CorpusError("bad", file="b.csv")
    with findings.about("c.csv"):
        raise CorpusError("bad", file="b.csv")
    assert [f.file for f in findings] == ["a.csv", "b.csv", "c.csv"]


@pytest.mark.slow
def test_synthetic_corpus_is_called_synthetic(tmp_path):
    corpus = load_corpus("synthetic", cache_dir=tmp_path, synthetic_tracks=6)
    assert corpus.name == "synthetic"
    assert len(corpus.tracks) == 6
    assert len({t.group for t in corpus.tracks}) == 3
    assert all("ynthetic" in t.text["title"] for t in corpus.tracks)
    assert set(corpus.tracks[0].raters) == set(corpus.raters.index)
    with pytest.raises(CorpusError) as error:
        load_corpus("synthetic", cache_dir=tmp_path, synthetic_tracks=3)
    assert error.value.field == "synthetic_tracks"

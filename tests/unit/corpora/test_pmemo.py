"""PMEmo: ratings, curves, released features and lyrics, whole and damaged."""

from __future__ import annotations

import pytest
from benchmarks.real_data import DATA
from needs import needs_data

from msr_utils.corpora import load_corpus
from msr_utils.corpora.base import CorpusError
from msr_utils.corpora.findings import Findings
from msr_utils.corpora.pmemo import first_artist, load_pmemo, read_features
from msr_utils.corpora.verify import validate

TABLES = {
    "metadata.csv": "musicId,fileName,title,artist\n1,1.mp3,One,Band\n4,4.mp3,Four,Band feat. Guest\n"
    '7,7.mp3,"Seven, Eight",Other\n9,9.mp3,No rating,Other\n',
    "static_annotations.csv": "song_id,valence_mean,valence_std,arousal_mean,arousal_std\n"
    "1,5,0.1,9,0.1\n4,1,0.1,3,0.1\n7,7,0.1,5,0.1\n",
    "dynamic_annotations.csv": "musicId,frameTime,Arousal(mean),Valence(mean)\n"
    "1,15.5,0.5,1\n1,16.0,0.25,0\n4,15.5,1,0.5\n",
    "features38.csv": "song_id,energy,tempo\n7,0.7,1\n4,0.4,1\n1,0.1,0\n",
    "lyrics.csv": 'song_id,lyrics\n1,"la la, la"\n1,"la la, la"\n7,oh\n',
}


def write_pmemo(root, **altered):
    for name, text in (TABLES | {f"{k}.csv": v for k, v in altered.items()}).items():
        if text:
            (root / name).write_text(text)
    return root


def test_songs_with_ratings_are_tracks(tmp_path):
    corpus = load_corpus("pmemo", write_pmemo(tmp_path))
    one, four, seven = corpus.tracks
    assert [track.id for track in corpus.tracks] == ["1", "4", "7"]
    assert corpus.kinds == {"static"} and not corpus.has_audio
    # valence, arousal from 1..9
    assert [track.static.tolist() for track in corpus.tracks] == [[0, 1], [-1, -0.5], [0.5, 0]]
    assert one.times_s.tolist() == [15.5, 16.0]
    assert (one.valence.tolist(), one.arousal.tolist()) == ([1, -1], [0, -0.5])
    assert len(seven.times_s) == 0 and one.group == four.group != seven.group
    assert one.text == {"title": "One", "artist": "Band", "lyrics": "la la, la"}
    assert "lyrics" not in four.text
    assert read_features(tmp_path, corpus).tolist() == [[0.1, 0], [0.4, 1], [0.7, 1]]


def test_every_table_counts_for_the_hash(tmp_path):
    before = load_pmemo(write_pmemo(tmp_path)).content_hash()
    for name, text in TABLES.items():
        (tmp_path / name).write_text(text + "\n")
        assert load_pmemo(tmp_path).content_hash() != before, name
        (tmp_path / name).write_text(text)


def test_verify_recognises_it(tmp_path):
    found = validate(write_pmemo(tmp_path, lyrics=""), progress=False)
    assert (found.corpus, found.ok, found.tracks) == ("pmemo", True, 3)
    assert [f.file for f in found.findings] == ["lyrics.csv"]


@pytest.mark.parametrize(
    "table, old, new, field",
    [
        ("static_annotations", "1,5,0.1,9", "1,5,0.1,9.5", "arousal_mean"),
        ("static_annotations", "\n4,", "\n1,", "song_id"),
        ("static_annotations", "\n7,7", "\n8,7", "song_id"),
        ("static_annotations", "1,5,", "1,?,", "valence_mean"),
        ("dynamic_annotations", "16.0", "16.2", "frameTime"),
        ("dynamic_annotations", "16.0", "15.5", "frameTime"),
        ("dynamic_annotations", "0.25,0", "0.25,7", "Valence(mean)"),
        ("lyrics", '1,"la la, la"\n7', "1,other\n7", "lyrics"),
        ("metadata", "artist", "singer", "artist"),
    ],
)
def test_damage_is_named(tmp_path, table, old, new, field):
    assert old in TABLES[f"{table}.csv"]
    damaged = TABLES[f"{table}.csv"].replace(old, new)
    with pytest.raises(CorpusError) as error:
        load_pmemo(write_pmemo(tmp_path, **{table: damaged}))
    assert (error.value.file, error.value.field) == (f"{table}.csv", field)
    if table != "metadata":
        collected = Findings(collect=True)
        load_pmemo(tmp_path, collected)
        assert {f.level for f in collected} == {"error"}


def test_features_of_every_song_are_needed(tmp_path):
    corpus = load_pmemo(write_pmemo(tmp_path, features38="song_id,energy\n1,0.1\n4,0.4\n"))
    with pytest.raises(CorpusError, match="song 7") as error:
        read_features(tmp_path, corpus)
    assert (error.value.file, error.value.field) == ("features38.csv", "song_id")


@pytest.mark.parametrize(
    "artists, first",
    [
        ("Calvin Harris, Pharrell Williams", "calvin harris"),
        ("Zedd & Alessia Cara", "zedd"),
        ("Mike WiLL Made-It feat. Rihanna", "mike will made-it"),
        ("The xx", "the xx"),
        ("X Ambassadors", "x ambassadors"),
    ],
)
def test_guests_do_not_make_another_group(artists, first):
    assert first_artist(artists) == first


@needs_data("pmemo")
def test_the_real_pmemo():
    findings = Findings()
    corpus = load_corpus("pmemo", DATA / "pmemo", findings=findings)
    assert len(corpus.tracks) == 767 and not findings
    assert sum("lyrics" in track.text for track in corpus.tracks) == 388
    assert read_features(DATA / "pmemo", corpus).shape == (767, 38)

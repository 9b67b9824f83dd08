"""Lyrics beside audio: on songs whose words say what their audio does not."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from msr_utils.corpora.base import Card, Corpus, CorpusError, Track
from msr_utils.experiments import lyrics
from msr_utils.experiments.lyrics_scores import (
    AUDIO,
    FUSED,
    NORMS,
    SENTENCES,
    WORDS,
    difference_table,
    mended_table,
    score_table,
)

RNG = np.random.default_rng(3)
SONGS = 60
PLANE = RNG.uniform(-0.9, 0.9, (SONGS, 2))  # valence, arousal


def words(valence):
    """Lyrics whose words are happy or sad, among others."""
    happy, sad = ("sunshine love smile", "rain tears goodbye")
    text = [happy if RNG.random() < (1 + valence) / 2 else sad for _ in range(12)]
    return " ".join(text) + " the road"


def song(i, **altered):
    none = np.empty(0, np.float32)
    values = {
        "text": {"lyrics": words(PLANE[i, 0])},
        "static": PLANE[i].astype(np.float32),
        "group": f"artist {i // 2}",
    }
    return Track(f"{i:02d}", Path("none"), none, none, none, **(values | altered))


def corpus_of(tracks):
    return Corpus("songs", tracks, Card("Songs", "", "", ""), [], has_audio=False)


@pytest.fixture
def no_bert(monkeypatch):
    """Embeddings that say nothing: MiniLM itself is tested elsewhere, and takes seconds."""
    random = np.random.default_rng(0)
    monkeypatch.setattr(
        lyrics,
        "sentence_embeddings",
        lambda texts, pretrained, progress: random.normal(size=(len(texts), 4)),
    )


def test_words_tell_valence_and_audio_tells_arousal(no_bert):
    songs = [song(i) for i in range(SONGS - 2)]
    songs += [song(i, text={"title": "without words"}) for i in (SONGS - 2, SONGS - 1)]
    audio = np.stack([PLANE[:, 1] + RNG.normal(0, 0.1, SONGS), RNG.normal(size=SONGS)], axis=1)
    found = lyrics.compare(corpus_of(songs), audio, folds=4, n_boot=50, progress=False)
    assert (found.songs, found.groups, found.without_lyrics) == (58, 29, 2)
    r = {name: row["r"] for name, row in found.scores.items()}
    assert r[AUDIO]["arousal"].value > 0.9 and r[WORDS]["valence"].value > 0.6
    assert r[AUDIO]["valence"].value < 0.4 and r[WORDS]["arousal"].value < 0.4
    assert r[NORMS]["valence"].value > 0.6 and r[SENTENCES]["valence"].value < 0.4
    assert r[FUSED]["valence"].value > 0.6 and r[FUSED]["arousal"].value > 0.9
    assert found.above_audio[FUSED]["r"]["valence"].low > 0
    assert found.weights[AUDIO]["arousal"] > 0.7 and found.weights[AUDIO]["valence"] < 0.5
    assert sum(row.songs for row in found.mended.values()) == 58
    assert all(row.change.value < 0 for row in found.mended.values())
    tables = score_table(found), difference_table(found), mended_table(found)
    assert [len(table) for table in tables] == [7, 5, 4]
    assert "nan" not in "".join(table.to_string() for table in tables)


def test_no_fold_sees_the_artists_it_is_tested_on(no_bert):
    """Each artist has words of its own, which say nothing of other artists."""
    tracks = [
        song(i, text={"lyrics": f"name{i // 5} " * 9}, group=f"artist {i // 5}")
        for i in range(SONGS)
    ]
    noise = RNG.normal(size=(SONGS, 2))
    found = lyrics.compare(corpus_of(tracks), noise, folds=4, n_boot=0, progress=False)
    assert abs(found.scores["lyrics"]["r"]["valence"].value) < 0.4


def test_long_lyrics_are_read_in_parts(monkeypatch):
    seen = []

    def embed(texts, pretrained, progress):
        seen.extend(texts)
        return np.array([[len(text.split())] for text in texts], float)

    monkeypatch.setattr(lyrics, "sentence_embeddings", embed)
    n = lyrics.WORDS_OF_A_PART
    found = lyrics.lyrics_embeddings(["a " * (n + 10), "b", ""])
    assert found.tolist() == [[(n + 10) / 2], [1], [0]] and len(seen) == 4


def test_word_norms_count_what_the_list_says():
    happy, sad, none = (lyrics.word_norms(t) for t in ("Love, love!", "Tears and death", ""))
    assert happy[0] > 1 and happy[1] == 0 and happy[2] == 1 and happy[4] == 0.5
    assert sad[0] == 0 and sad[1] < -0.5 and sad[2] == pytest.approx(2 / 3)
    assert none.tolist() == [0, 0, 0, 0, 0]


def test_what_is_missing_is_said(no_bert):
    audio = np.zeros((2, 1))
    with pytest.raises(CorpusError, match="no track has lyrics"):
        lyrics.compare(corpus_of([song(0, text={}), song(1, text={})]), audio, 2)
    with pytest.raises(CorpusError, match="song 01"):
        lyrics.compare(corpus_of([song(0), song(1, static=None)]), audio, 2)
    with pytest.raises(ValueError, match="folds"):
        lyrics.compare(corpus_of([song(0), song(1)]), audio, 1)

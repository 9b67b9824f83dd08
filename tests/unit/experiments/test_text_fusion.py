"""Text: published sentence embeddings, probes without leaks, and fusion with audio."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest
from needs import needs_package
from sklearn.metrics import roc_auc_score

from msr_utils.corpora.base import (
    Card,
    Corpus,
    CorpusError,
    Track,
)
from msr_utils.experiments import text_features, text_fusion, text_scores
from msr_utils.figures.experiments import fusion_scores
from msr_utils.metrics.correlation import auc
from msr_utils.models.checkpoints import MINILM, PACKAGES

needs_minilm = needs_package(PACKAGES[MINILM][0])


def track(i: int, **changes) -> Track:
    values = np.full(3, np.sin(i), np.float32)
    plain = Track(
        id=f"t{i}", audio_path=Path("none"), times_s=np.arange(1, 4) / 2, valence=values,
        arousal=-values, group=f"g{i // 2}", text={"title": f"Piece {i}", "artist": f"A{i // 2}"},
    )  # fmt: skip
    return dataclasses.replace(plain, **changes)


def corpus(tracks, labels="curves") -> Corpus:
    return Corpus("made", tracks, Card("made", "", "", ""), [], labels=labels)


SENTENCES = (
    "A sad slow piano piece in a minor key",
    "Dance all night!",
    "The Beach Boys, Little Saint Nick. Holiday; Pop/Rock",
)


@pytest.mark.slow
@needs_minilm
def test_embeddings_are_those_of_all_minilm():
    """Values recorded from BertModel: mean over tokens, length 1 (transformers 5.23, torch 2.15)."""
    recorded = [
        [0.05066, 0.09534, 0.07494, -0.03795, 0.02820, 0.02634, -0.02507, -0.03121],
        [-0.01934, -0.02085, -0.00131, -0.00929, -0.03113, -0.02342, 0.03790, -0.11607],
        [0.00516, 0.00891, -0.00250, -0.03657, 0.05912, 0.02493, 0.04473, -0.09409],
    ]
    got = text_features.sentence_embeddings(SENTENCES)
    np.testing.assert_allclose(got[:, :8], recorded, atol=2e-5)
    alike = [[1, 0.13659, 0.15864], [0.13659, 1, 0.23547], [0.15864, 0.23547, 1]]
    np.testing.assert_allclose(got @ got.T, alike, atol=2e-5)
    # Order, repetition and batch size change nothing.
    again = text_features.sentence_embeddings(
        [SENTENCES[2], SENTENCES[0], SENTENCES[2]], batch_size=1
    )
    np.testing.assert_allclose(again, got[[2, 0, 2]], atol=1e-5)


@pytest.mark.slow
@needs_minilm
def test_long_lyrics_are_cut_and_an_empty_text_is_embedded():
    got = text_features.sentence_embeddings(["la " * 2000, "la " * 3000, ""])
    np.testing.assert_allclose(got[0], got[1], atol=1e-6)
    assert np.isfinite(got).all()


def test_texts_hold_the_fields_asked_for():
    tracks = [
        track(0, text={"title": "Waltz", "artist": "Ada", "genres": "Jazz", "release": "2013"}),
        track(1, text={"title": "March", "artist": "Bob"}),
    ]
    got = text_features.texts_of(
        corpus(tracks), ["title", "title,genre,lyrics", "artist,genre,title"]
    )
    assert got == {
        "title": ["Waltz", "March"],
        "title, genres": ["Waltz. Jazz", "March"],
        "title, artist, genres": ["Waltz. Ada. Jazz", "March. Bob"],
    }
    # Without lyrics, the second set equals the first.
    assert list(text_features.texts_of(corpus(tracks), ["title", "title,lyrics"])) == ["title"]
    with pytest.raises(ValueError, match="unknown field 'mood'"):
        text_features.texts_of(corpus(tracks), ["mood"])
    with pytest.raises(CorpusError, match="no track has any of lyrics"):
        text_features.texts_of(corpus(tracks), ["lyrics"])


def test_labels_of_whole_tracks():
    four = corpus([track(i, quadrant=f"Q{i + 1}") for i in range(4)], "quadrants")
    labels = text_features.track_labels(four)
    assert labels["arousal"].tolist() == [True, True, False, False]
    assert labels["valence"].tolist() == [True, False, False, True]
    rated = [track(i, static=np.array([0.1 * i, -0.1 * i], np.float32)) for i in range(3)]
    np.testing.assert_allclose(
        text_features.track_labels(corpus(rated))["arousal"], [0, -0.1, -0.2], atol=1e-7
    )
    with pytest.raises(CorpusError, match="'t9' has no song-level rating"):
        text_features.track_labels(corpus([*rated, track(9)]))
    np.testing.assert_allclose(
        text_features.track_labels(corpus([track(1), track(2)]))["valence"],
        np.sin([1, 2]),
        atol=1e-6,
    )


def _pearson(y, p):
    return np.corrcoef(y, p)[0, 1]


@pytest.mark.slow
@pytest.mark.parametrize("binary", [True, False])
def test_the_probe_generalises_to_new_groups_and_learns_no_group(binary):
    rng = np.random.default_rng(0)
    n = 120
    y = rng.normal(size=n)
    made = corpus([track(i) for i in range(n)])
    label = y > 0 if binary else y
    score = auc if binary else _pearson
    x = np.stack([y + rng.normal(0, 0.5, n), rng.normal(size=n)], axis=1)
    assert score(label, text_fusion.out_of_fold(made, x, label, 5, 7)) > 0.8
    # Labels depend on the group alone, and the input names the group. Nothing carries over.
    of_group = rng.normal(size=n // 2)[np.arange(n) // 2]
    label = of_group > 0 if binary else of_group
    names = np.eye(n // 2)[np.arange(n) // 2]
    got = score(label, text_fusion.out_of_fold(made, names, label, 5, 7))
    assert got < (0.6 if binary else 0.2)
    with pytest.raises(ValueError, match="folds: must be at least 2"):
        text_fusion.out_of_fold(made, names, label, 1, 7)


def test_scores_agree_with_sklearn_and_numpy():
    rng = np.random.default_rng(1)
    y, p = rng.normal(size=50) > 0, rng.normal(size=(2, 50)).round(1)  # with ties
    names = [text_scores.AUDIO, "title"]
    samples = np.arange(50)[None]  # one sample: the tracks as they are
    found = text_scores.score_inputs(y, dict(zip(names, p, strict=True)), samples)
    expected = [roc_auc_score(y, row) for row in p]
    np.testing.assert_allclose([found[n].value for n in names], expected)
    assert found["title"].low == found["title"].value == found["title"].high
    assert found["title"].minus_audio.value == pytest.approx(expected[1] - expected[0])
    z = rng.normal(size=50)
    found = text_scores.score_inputs(z, dict(zip(names, p, strict=True)), samples)
    expected = [np.corrcoef(z, row)[0, 1] for row in p]
    np.testing.assert_allclose([found[n].value for n in names], expected)


@pytest.mark.slow
@needs_minilm
def test_tracks_that_no_fold_tests_are_not_scored():
    """The songs of DEAM's official test part are in no fold."""
    tracks = [track(i, split="test" if i < 8 else "train") for i in range(40)]
    made = corpus(tracks)
    result = text_fusion.compare(made, text_features.texts_of(made, ["title"]), None, 4, 20, 7)
    assert result.tracks == 32
    assert all(np.isfinite(score.value) for score in result.scores["valence"].values())


@pytest.mark.slow
@needs_minilm
def test_fusion_beats_audio_where_titles_hold_what_audio_lacks():
    rng = np.random.default_rng(2)
    moods = ["a sad and lonely funeral", "a happy party in summer"]
    bright = rng.integers(0, 2, 80)
    audible = rng.normal(size=80)
    tracks = [
        track(i, text={"title": f"{moods[bright[i]]} {i}"}, static=np.array(
            [bright[i] - 0.5, audible[i] / 5], np.float32))
        for i in range(80)
    ]  # fmt: skip
    audio = np.stack([audible, rng.normal(size=80)], axis=1)
    made = corpus(tracks)
    texts = text_features.texts_of(made, ["title"])
    result = text_fusion.compare(made, texts, audio, 4, 50, 7)
    valence, arousal = result.scores["valence"], result.scores["arousal"]
    assert valence["title"].value > 0.9
    assert valence["audio | title"].minus_audio.low > 0.5
    control = valence[f"audio | {text_scores.CONTROL}"].minus_audio
    assert control.low < 0.2
    assert arousal["audio"].value > 0.95
    assert abs(arousal["title"].value) < 0.4
    assert abs(valence[text_scores.CONSTANT].value) < 0.4
    assert result.ceiling == {}  # the answers of single raters are not known
    table = text_scores.score_table(result)
    assert {"constant", "mean of audio, title"} <= set(table.index)
    assert len(fusion_scores(result).axes) == 2
    alone = text_fusion.compare(made, texts, None, 4, 50, 7)
    assert list(alone.scores["valence"]) == ["constant", "title"]
    assert alone.scores["valence"]["title"].value == pytest.approx(valence["title"].value)

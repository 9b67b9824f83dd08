"""Released features of DEAM's songs of 2013: whole, damaged, and models on them."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from msr_utils.corpora.base import Card, Corpus, CorpusError, Track
from msr_utils.corpora.emomusic import CONVNET_LAYERS, FILES, MFCC, load_emomusic
from msr_utils.experiments import song_models

IDS = [str(n) for n in range(2, 62)]


def song(track_id, valence, arousal):
    curves = (np.array([v - 0.1, v + 0.1, np.nan], np.float32) for v in (valence, arousal))
    return Track(
        track_id,
        Path("none.mp3"),
        np.array([15.0, 15.5, 16.0]),
        *curves,
        group=f"artist {int(track_id) // 3}",
        split="train",
        static=np.array([arousal, valence], np.float32),
    )


@pytest.fixture(scope="module")
def deam():
    """Songs whose rating as a whole is its curve's with the targets exchanged."""
    plane = np.random.default_rng(0).uniform(-0.8, 0.8, (len(IDS), 2))
    tracks = [song(i, *point) for i, point in zip(IDS, plane, strict=True)]
    return Corpus("deam", tracks, Card("DEAM", "", "", ""), [])


@pytest.fixture
def root(tmp_path, deam):
    """MFCC are noise, and the convnet's layers contain the means of the curves."""
    order = IDS[::-1]
    lines = ["row,deam_id", *(f"{row},{track_id}" for row, track_id in enumerate(order))]
    (tmp_path / "songs.csv").write_text("\n".join(lines) + "\n")
    rng = np.random.default_rng(1)
    plane = np.array([(t.valence[:2].mean(), t.arousal[:2].mean()) for t in deam.tracks])[::-1]
    np.save(tmp_path / FILES[MFCC], rng.normal(size=(len(IDS), 5)))
    for name in CONVNET_LAYERS:
        layer = np.concatenate([plane, rng.normal(size=(len(IDS), 2))], axis=1)
        np.save(tmp_path / FILES[name], layer.astype(np.float32))
    return tmp_path


def test_rows_are_joined_with_the_songs(root, deam):
    features = load_emomusic(root, deam)
    assert [track.id for track in features.tracks] == IDS[::-1]
    joined = features.joined(CONVNET_LAYERS[:2])
    assert joined.shape == (60, 8) and joined.dtype == np.float64
    for track, row in zip(features.tracks, joined, strict=True):
        np.testing.assert_allclose(row[[0, 4]], np.nanmean(track.valence), rtol=1e-5)


@pytest.mark.parametrize(
    ("file", "content", "message"),
    [
        ("songs.csv", "row,deam_id\n1,2\n", "row is '1', not 0"),
        ("songs.csv", "row,deam_id\n0,2\n1,2\n", "song 2 is repeated"),
        ("songs.csv", "row,deam_id\n0,999\n", "DEAM has no song 999"),
        ("songs.csv", "row,deam_id\n0,2\n", "60 rows, songs.csv names 1 songs"),
        ("songs.csv", None, "songs.csv not found"),
        (FILES[MFCC], None, "emoMusic_mfcc.npy: cannot be read"),
        (FILES[MFCC], "no array", "emoMusic_mfcc.npy: cannot be read"),
    ],
)
def test_damaged_files_are_named(root, deam, file, content, message):
    (root / file).unlink()
    if content is not None:
        (root / file).write_text(content)
    with pytest.raises(CorpusError, match=message):
        load_emomusic(root, deam)


@pytest.mark.parametrize(
    ("array", "message"),
    [
        (np.full((60, 2), np.nan), "not finite"),
        (np.ones((60, 2), int), "no table of numbers"),
        (np.ones(60), "no table of numbers"),
    ],
)
def test_arrays_of_another_kind_are_refused(root, deam, array, message):
    np.save(root / FILES[MFCC], array)
    with pytest.raises(CorpusError, match=message):
        load_emomusic(root, deam)


def test_metrics_are_those_of_the_resampled_songs():
    rng = np.random.default_rng(3)
    true, predicted = rng.normal(size=(9, 2)), rng.normal(size=(9, 2))
    drawn = rng.integers(9, size=9)
    counts = np.array([np.ones(9), np.bincount(drawn, minlength=9)])
    found = song_models.metric_samples(counts, true, predicted)
    for k, target in enumerate(("valence", "arousal")):
        for place, rows in enumerate((np.arange(9), drawn)):
            t, p = true[rows, k], predicted[rows, k]
            mse = np.mean((t - p) ** 2)
            assert found["rmse"][target][place] == pytest.approx(np.sqrt(mse))
            assert found["r2"][target][place] == pytest.approx(1 - mse / t.var())
            assert found["r"][target][place] == pytest.approx(np.corrcoef(t, p)[0, 1])


@pytest.fixture
def few_models(monkeypatch):
    """Ridge regression and support vectors with one setting each; the clip models have tests."""
    every = song_models.candidates

    def ridge_alone(*args):
        ridge = every(*args)["ridge"]
        return {"ridge": replace(ridge, grid={k: values[:1] for k, values in ridge.grid.items()})}

    monkeypatch.setattr(song_models, "candidates", ridge_alone)
    monkeypatch.setattr(song_models, "SVR_COSTS", (1.0,))
    monkeypatch.setattr(song_models, "SVR_GAMMAS", (0.3,))


@pytest.mark.slow
def test_models_find_what_the_features_tell(root, deam, few_models):
    features = load_emomusic(root, deam)
    compared = song_models.compare(deam, features, folds=3, n_boot=20, progress=False)
    assert (compared.songs, compared.groups) == (60, 21)
    for label, order in (
        (song_models.CURVE_MEAN, ("valence", "arousal")),
        (song_models.SONG_RATING, ("arousal", "valence")),
    ):
        scores = compared.scores[label]
        for target in order:
            assert scores["ridge (convnet)"]["r2"][target].value > 0.9
            assert scores["support vectors (convnet)"]["r2"][target].value > 0.7
            assert scores["ridge (MFCC)"]["r2"][target].value < 0.2
            assert scores["constant"]["r2"][target].value < 0.01
            assert np.isnan(scores["constant"]["r"][target].value)
            difference = compared.above[label]["ridge (MFCC)"]["r2"][target]
            assert difference.high < 0
    table = song_models.score_table(compared, song_models.SONG_RATING)
    assert table.loc["Choi and others (2017), all layers", ("valence", "R2")] == "0.462"
    assert "ridge (convnet)" not in song_models.difference_table(compared).index


def test_a_song_is_predicted_without_its_artist(root, deam, few_models):
    """Labels that only the artist tells cannot be predicted."""
    features = load_emomusic(root, deam)
    songs = Corpus("deam", features.tracks, deam.card, [])
    level = np.random.default_rng(5).normal(size=30)
    number = np.array([int(t.group.split()[1]) for t in songs.tracks])
    x, y = np.eye(30)[number], np.repeat(level[number][:, None], 2, axis=1)
    predicted = song_models.cross_validate(songs, {"artist": x}, y, 3, 7, progress=False)
    assert abs(np.corrcoef(predicted["ridge (artist)"][:, 0], y[:, 0])[0, 1]) < 0.6
    assert np.abs(predicted["ridge (artist)"] - predicted["constant"]).max() < 0.1


def test_fewer_than_two_folds_and_unrated_songs_are_refused(root, deam):
    features = load_emomusic(root, deam)
    with pytest.raises(ValueError, match="at least 2"):
        song_models.compare(deam, features, folds=1)
    unrated = [Track("9", Path("x"), *[np.zeros(1)] * 3, group="g")]
    with pytest.raises(CorpusError, match="song 9: has no rating"):
        song_models.song_labels(unrated)

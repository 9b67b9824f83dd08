"""The label audit against figures worked out by hand."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from msr_utils.corpora.base import Card, Corpus, Track
from msr_utils.evaluation import ceiling
from msr_utils.experiments import corpus_audit
from msr_utils.experiments.corpus_audit import RestingEnds
from msr_utils.figures import corpora
from msr_utils.io import read_json, write_json

NOWHERE = Path("nowhere.wav")


def track(name, valence, arousal=None, **more):
    valence = np.asarray(valence, np.float32)
    arousal = valence if arousal is None else np.asarray(arousal, np.float32)
    times_s = np.arange(1, len(valence) + 1) / 2
    return Track(name, NOWHERE, times_s, valence, arousal, group=name, **more)


def corpus(tracks, **more):
    return Corpus("c", tracks, Card("C", "", "", ""), [], **more)


def test_curves_by_hand():
    # Means .2 and -.2, each track .1 around its own: variances .04 between and .01 within.
    summary = corpus_audit.describe(
        corpus([track("a", [0.1, 0.3]), track("b", [-0.3, -0.1, np.nan])])
    )
    assert (summary.tracks, summary.frames, summary.missing) == (2, 4, 1)
    assert summary.hours == pytest.approx(2 / 3600)
    valence = summary.labels["valence"]
    assert valence.mean == pytest.approx(0, abs=1e-7)
    assert valence.constant_rmse == pytest.approx(np.sqrt(0.05), abs=1e-6)
    assert valence.oracle_rmse == pytest.approx(0.1, abs=1e-6)
    assert valence.between_share == pytest.approx(0.8, abs=1e-5)
    assert summary.ratings_per_frame is None
    table = corpus_audit.label_table(summary)
    assert table.loc["share of variance between tracks", "valence"] == 0.8
    assert corpus_audit.size_table(summary).loc["ratings per frame", "value"] == "not published"


def test_a_summary_is_written_with_its_fields_in_order(tmp_path):
    summary = corpus_audit.describe(corpus([track("a", [0.1, 0.3], ratings=np.zeros((3, 2, 2)))]))
    write_json(tmp_path / "a.json", summary)
    written = read_json(tmp_path / "a.json")
    assert list(written)[:5] == ["corpus", "labels_kind", "tracks", "groups", "without_audio"]
    assert list(written)[-3:] == ["raters_per_track", "ratings_per_frame", "labels"]
    assert written["raters_per_track"] == [3, 3, 3]
    assert written["resting"] == {"tracks": 1, "frames": 2}
    assert written["labels"]["valence"]["mean"] == summary.labels["valence"].mean


def test_labels_that_never_vary_have_no_share():
    summary = corpus_audit.describe(corpus([track("a", [0.5, 0.5])]))
    assert np.isnan(summary.labels["valence"].between_share)
    assert summary.labels["valence"].constant_rmse == 0


def test_frames_at_rest_are_those_at_the_end_where_all_say_nothing():
    ratings = np.full((2, 5, 2), 0.5, np.float32)
    assert corpus_audit.resting_end(ratings) == 0
    ratings[:, 1] = 0  # not at the end
    ratings[:, 3:] = 0
    assert corpus_audit.resting_end(ratings) == 2
    ratings[0, 4] = np.nan  # left early
    assert corpus_audit.resting_end(ratings) == 2
    ratings[1, 4, 0] = 0.1
    assert corpus_audit.resting_end(ratings) == 0
    summary = corpus_audit.describe(corpus([track("a", [0.1] * 5, ratings=np.zeros((2, 5, 2)))]))
    assert summary.resting == RestingEnds(tracks=1, frames=5)
    assert "5, in 1 tracks" in set(corpus_audit.size_table(summary).value)


def test_ratings_are_counted_frame_by_frame():
    ratings = np.zeros((3, 2, 2), np.float32)
    ratings[1, 1] = np.nan  # the second rater left after one frame
    ratings[2, 0, 1] = np.nan  # the third gave no arousal in the first
    summary = corpus_audit.describe(corpus([track("a", [0.0, 0.1], ratings=ratings)]))
    assert summary.ratings_per_frame == (2, 2, 2)
    assert summary.raters_per_track == (3, 3, 3)


def test_raters_who_agree_leave_no_noise():
    rng = np.random.default_rng(0)
    tracks = []
    for i in range(8):
        curve = rng.uniform(-1, 1, 20).astype(np.float32)
        ratings = np.repeat(np.stack([curve, curve], axis=1)[None], 6, axis=0)
        tracks.append(track(f"t{i}", curve, ratings=ratings))
    best = ceiling.ceiling(corpus(tracks), "valence")
    assert best.r == pytest.approx(1)
    assert best.rmse == pytest.approx(0, abs=1e-4)
    assert best.within_r == pytest.approx(1)


def test_quadrants_are_counted():
    tracks = [track(str(i), [], quadrant=q) for i, q in enumerate(["Q1", "Q1", "Q1", "Q3"])]
    summary = corpus_audit.describe(corpus(tracks, labels="quadrants"))
    assert summary.quadrants == {"Q1": 3, "Q2": 0, "Q3": 1, "Q4": 0}
    assert summary.largest_share == 0.75
    assert corpus_audit.agreement_table(summary).iloc[0, 0] == "single answers are not published"
    assert len(corpora.clip_labels(corpus(tracks, labels="quadrants")).axes) == 1


def test_emotions_of_listeners():
    rng = np.random.default_rng(1)
    tracks = []
    for i in range(12):
        felt = (rng.random((20, 9)) < rng.random(9)).astype(np.float32)
        more = {"gems": felt.mean(axis=0), "gems_ratings": felt, "text": {"genre": "rock; pop"}}
        tracks.append(track(str(i), [], **more))
    summary = corpus_audit.describe(corpus(tracks, labels="gems"))
    assert summary.answers == 240
    power = np.mean([t.gems[5] for t in tracks])
    assert summary.emotions["power"].mean == pytest.approx(power)
    assert 0 < summary.emotions["mean"].ceiling <= 1
    assert corpus_audit.genre_table(corpus(tracks)).clips.to_dict() == {"rock": 12, "pop": 12}


def test_profiles_are_summed_up():
    raters = pd.DataFrame(
        {"track_id": ["a", "b", "a", "b"], "gender": ["f", "f", "m", ""], "age": [20, 30, 40, 50]}
    )
    table = corpus_audit.rater_table(corpus([], raters=raters))
    assert list(table.index) == ["gender", "age"]
    assert table.loc["gender", "most frequent"] == "f 67%, m 33%"
    many = pd.DataFrame({"age": np.arange(20, 60)})
    assert corpus_audit.rater_table(corpus([], raters=many)).iloc[0, 1].startswith("median 39.5")
    assert corpus_audit.rater_table(corpus([])).iloc[0, 0] == "not published"


def test_song_level_ratings_stand_beside_the_curves():
    tracks = [
        track("1", [0.1, 0.3], [0.0, 0.2], static=np.array([0.5, -0.5]), text={"release": "2013"}),
        track("2", [0.1], text={"release": "2013"}),
    ]
    (row,) = corpus_audit.static_songs(corpus(tracks)).to_dict("records")
    assert row["part"] == "release 2013"
    assert (row["static_valence"], row["static_arousal"]) == (0.5, -0.5)
    assert row["dynamic_valence"] == pytest.approx(0.2)
    assert row["dynamic_arousal"] == pytest.approx(0.1)


def test_releases_are_told_apart():
    tracks = [
        track("1", [0.1, 0.1], text={"release": "2013"}),
        track("2", [-0.3, 0.3], text={"release": "2015"}),
    ]
    table = corpus_audit.release_table(corpus(tracks))
    assert table["valence: own means"].to_dict() == {"2013": 0.0, "2015": 0.3}
    assert table["tracks"].to_dict() == {"2013": 1, "2015": 1}
    assert list(corpus_audit.release_table(corpus([track("a", [0.5])])).index) == ["all"]

"""Models beside baselines and the ceiling: same frames, every row, honest dashes."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from msr_utils.corpora.base import Card, Corpus, Track
from msr_utils.dataset.sequences import Sequence2Hz
from msr_utils.dataset.splits import Split
from msr_utils.evaluation import (
    baselines as evaluation_baselines,
)
from msr_utils.evaluation import (
    ceiling,
    comparison,
    tables,
)
from msr_utils.experiments import text_features
from msr_utils.metrics.curves import Curve
from msr_utils.metrics.reliability import CEILING
from msr_utils.training import artifacts

SONGS, FRAMES, RATERS = 12, 20, 6


@pytest.fixture(scope="module")
def corpus() -> Corpus:
    rng = np.random.default_rng(0)
    times = np.arange(1, FRAMES + 1) / 2
    tracks = []
    for i in range(SONGS):
        felt = np.sin(i + times / 3)[:, None] * [0.5, -0.4]
        ratings = felt + rng.normal(0, 0.3, (RATERS, FRAMES, 2))
        arousal, valence = ratings.mean(axis=0).T
        tracks.append(
            Track(
                f"t{i}", Path("none"), times, valence=valence, arousal=arousal, group=f"g{i}",
                ratings=ratings[..., ::-1],
            )
        )  # fmt: skip
    return Corpus("made", tracks, Card("made", "", "", ""), [])


@pytest.fixture(scope="module")
def baselines(corpus):
    rng = np.random.default_rng(1)
    sequences = []
    for t in corpus.tracks:
        labels = np.stack([t.valence, t.arousal], axis=1).astype(np.float32)
        heard = labels + rng.normal(0, 0.5, labels.shape).astype(np.float32)
        sequences.append(Sequence2Hz(t.id, t.group, "", heard, labels, np.ones(FRAMES, bool)))
    ids = [s.id for s in sequences]
    halves = ids[:6], ids[6:]
    splits = [Split(tuple(a[:4]), tuple(a[4:]), tuple(b)) for a, b in (halves, halves[::-1])]
    return evaluation_baselines.baseline_predictions(sequences, splits, "valence")


def test_one_target_is_set_between_baselines_and_ceiling(corpus, baselines):
    mine = {k: Curve(c.times_s, c.true, 0.9 * c.true) for k, c in baselines["constant"].items()}
    compared = comparison.compare(
        corpus, {"valence": {artifacts.MODEL: mine}}, {"valence": baselines}, 50
    )
    assert list(compared.rows) == list(compared.ceiling) == ["valence"]
    names = ["constant", "mean trajectory", "ridge", artifacts.MODEL, evaluation_baselines.ORACLE]
    assert list(compared.rows["valence"]) == names
    table = tables.score_table(compared).loc["valence"]
    assert list(table.index) == [*names, CEILING]
    assert table.loc[artifacts.MODEL, "r"] == "1.000 [1.000, 1.000]"
    assert table.loc[artifacts.MODEL, "r per song"] == "1.00 ± 0.00"
    assert table.loc["constant", "r per song"] == "–"  # a flat line has none
    assert table.loc[CEILING, "CCC"] == "–"
    assert 0.9 < compared.ceiling["valence"].r < 1
    rmse = {n: row.pooled["rmse"].value for n, row in compared.rows["valence"].items()}
    assert rmse[artifacts.MODEL] < rmse["ridge"] < rmse["constant"]


def test_rows_about_other_tracks_are_refused(corpus, baselines):
    fewer = dict(list(baselines["ridge"].items())[:-1])
    with pytest.raises(ValueError, match="LSTM, valence: predicts other tracks"):
        comparison.compare(corpus, {"valence": {"LSTM": fewer}}, {"valence": baselines}, 0)


@pytest.mark.slow
def test_whole_tracks_have_a_ceiling_of_their_own(corpus):
    """Noise that is new in every frame is averaged out over a track, a rater's habit is not."""
    frames = ceiling.ceiling(corpus, "valence").r
    assert frames < text_features.ceilings(corpus)["valence"] <= 1
    habit = np.random.default_rng(2).normal(0, 0.5, (RATERS, 1, 1)) * [[[1.0, 0.0]]]
    rng = np.random.default_rng(3)
    moody = [replace(t, ratings=t.ratings + rng.permutation(habit)) for t in corpus.tracks]
    found = text_features.ceilings(replace(corpus, tracks=moody))
    assert found["valence"] < text_features.ceilings(corpus)["valence"] - 0.02
    assert found["arousal"] == text_features.ceilings(corpus)["arousal"]
    silent = [replace(t, ratings=None) for t in corpus.tracks]
    assert text_features.ceilings(replace(corpus, tracks=silent)) == {}

"""Metrics against values computed by hand."""

from __future__ import annotations

import json
from dataclasses import dataclass

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from msr_utils.io import plain
from msr_utils.metrics import correlation, scores
from msr_utils.metrics.bootstrap import counts_of, draw_counts, draw_units
from msr_utils.metrics.curves import Curve, load_predictions, save_predictions
from msr_utils.metrics.estimate import Estimate, Spread
from msr_utils.metrics.reliability import rater_ceiling
from msr_utils.metrics.scores import evaluate, score


def test_by_hand():
    # y = 1 2 3, p = 1 3 5: errors 0 1 2; means 2 and 3; variances 2/3 and 8/3; covariance 4/3.
    got = score([1, 2, 3], [1, 3, 5])
    assert got["mae"] == pytest.approx(1)
    assert got["rmse"] == pytest.approx((5 / 3) ** 0.5)
    assert got["r"] == pytest.approx(1)
    assert got["ccc"] == pytest.approx(2 * (4 / 3) / (2 / 3 + 8 / 3 + 1))


def test_perfect_opposite_and_constant():
    y = np.array([-0.5, 0.1, 0.7])
    assert score(y, y) == pytest.approx({"mae": 0, "rmse": 0, "r": 1, "ccc": 1})
    assert score(y, -y)["r"] == pytest.approx(-1)
    flat = score(y, np.full(3, 0.1))
    assert np.isnan(flat["r"])
    assert flat["ccc"] == pytest.approx(0)


@pytest.mark.parametrize(
    "true, predicted, words",
    [([], [], "no frame"), ([1, 2], [1], "equally long"), ([1, np.nan], [1, 1], "finite")],
)
def test_input_that_cannot_be_scored(true, predicted, words):
    with pytest.raises(ValueError, match=words):
        score(true, predicted)


def curve(true, predicted):
    return Curve(np.arange(1, len(true) + 1) / 2, np.array(true), np.array(predicted))


def test_pooled_weighs_frames_and_per_song_weighs_songs():
    predictions = {"a": curve([0, 1], [0, 1]), "b": curve([0, 1, 0, 1], [1, 0, 1, 0])}
    got = evaluate(predictions, n_boot=200)
    assert got.pooled["rmse"].value == pytest.approx((4 / 6) ** 0.5)
    assert got.per_song["rmse"].mean == pytest.approx(0.5)
    assert got.per_song["r"] == Spread(pytest.approx(0), pytest.approx(2**0.5), 2)
    assert (got.songs, got.frames) == (2, 6)
    # Two songs: a resample is all right, all wrong or the mixture.
    assert got.pooled["rmse"].low == pytest.approx(0)
    assert got.pooled["rmse"].high == pytest.approx(1)


def test_songs_whose_r_is_undefined_are_counted_out():
    got = evaluate({"a": curve([0, 1], [0.5, 0.5]), "b": curve([0, 1], [0, 1])}, n_boot=0)
    assert got.per_song["r"].n == 1
    assert np.isnan(got.pooled["r"].low)


def test_intervals_cover_the_truth_about_as_often_as_they_say():
    rng = np.random.default_rng(0)
    hits = 0
    for trial in range(100):
        songs = {str(i): curve(np.zeros(5), rng.normal(0, 1, 5)) for i in range(40)}
        interval = evaluate(songs, n_boot=300, seed=trial).pooled["rmse"]
        hits += interval.low <= 1 <= interval.high
    assert 85 <= hits <= 100


def test_ceiling_recovers_a_known_reliability():
    rng = np.random.default_rng(0)
    truth = [rng.normal(0, 0.3, 50) for _ in range(40)]
    # 10 raters with noise sd .3: reliability of the mean = 1 / (1 + 1/10).
    ratings = [t + rng.normal(0, 0.3, (10, 50)) for t in truth]
    got = rater_ceiling(ratings)
    assert got.reliability == pytest.approx(1 / 1.1, abs=0.01)
    assert got.r == pytest.approx((1 / 1.1) ** 0.5, abs=0.01)
    assert got.rmse == pytest.approx(0.3 / 10**0.5, abs=0.01)
    assert np.isnan(rater_ceiling([truth[0][None]]).r)


def test_predictions_survive_the_file(tmp_path):
    predictions = {"a": curve([0.0, 1], [0.5, 1]), "b": curve([1.0], [0.25])}
    save_predictions(tmp_path / "p.npz", predictions)
    back = load_predictions(tmp_path / "p.npz")
    assert list(back) == ["a", "b"]
    for name, c in predictions.items():
        np.testing.assert_array_equal(back[name].predicted, c.predicted)
        np.testing.assert_array_equal(back[name].times_s, c.times_s)


def test_paired_difference_is_of_the_same_songs_in_every_sample():
    rng = np.random.default_rng(0)
    first, second = {}, {}
    for k in range(12):
        true = rng.normal(k, 1, 20)
        noise = rng.normal(0, 1, 20)
        # Hard songs are hard for both: apart the intervals overlap, in pairs they do not.
        first[f"s{k}"] = Curve(np.arange(20), true, true + k * noise)
        second[f"s{k}"] = Curve(np.arange(20), true, true + 0.9 * k * noise)
    found = scores.paired_difference(first, second, 500)
    own, other = scores.evaluate(first, 500), scores.evaluate(second, 500)
    for name in scores.METRICS:
        a, b = own.pooled[name], other.pooled[name]
        assert found[name].value == pytest.approx(a.value - b.value)
        assert a.low < b.high and b.low < a.high
    assert 0 < found["rmse"].low < found["rmse"].high
    assert scores.paired_difference(first, first, 50)["r"] == Estimate(0, 0, 0)
    with pytest.raises(ValueError, match="other songs"):
        scores.paired_difference(first, {k: v for k, v in second.items() if k != "s3"})


def test_scores_survive_json():
    got = evaluate({"a": curve([0, 1], [0.5, 0.5]), "b": curve([0, 1], [0, 0.5])}, n_boot=5)
    back = scores.Scores.from_json(json.loads(json.dumps(plain(got))))
    assert plain(back) == plain(got) and back.per_song["r"].n == 1
    none = Estimate.from_json({"value": None, "low": None, "high": None})
    assert np.isnan([none.value, none.low, none.high]).all()


def test_how_values_are_written():
    assert f"{Estimate(0.5, 0.25, 0.75):+.2f}" == "+0.50 [+0.25, +0.75]"
    assert f"{Estimate(0.5)}" == "0.500" and f"{Estimate(np.nan, 0, 1)}" == "–"
    assert f"{Spread.of([0.1, 0.3, np.nan])}" == "0.20 ± 0.14"
    assert f"{Spread.of([0.25])}" == "0.25" and f"{Spread.of([np.nan])}" == "–"
    titles = {m: scores.metric_title(m) for m in ("rmse", "r", "auc", "accuracy")}
    assert titles == {"rmse": "RMSE", "r": "r", "auc": "AUC", "accuracy": "accuracy"}


def test_interval_is_of_the_samples_that_are_defined():
    samples = np.concatenate([np.arange(1001) / 1000, [np.nan, np.nan]])
    assert Estimate.from_samples(0.5, samples) == Estimate(0.5, 0.025, 0.975)
    assert np.isnan(Estimate.from_samples(0.5, np.full(3, np.nan)).low)


def test_rows_of_one_unit_are_drawn_together():
    units = ["b", "a", "b", "c"]
    counts = draw_counts(units, 500, 3)
    assert counts.shape == (501, 4) and (counts[0] == 1).all()
    np.testing.assert_array_equal(counts[:, 0], counts[:, 2])
    assert (counts[:, [0, 1, 3]].sum(axis=1) == 3).all()
    assert counts[1:].mean(axis=0) == pytest.approx(np.ones(4), abs=0.15)
    draws = draw_units(4, 500, 3)
    for row, drawn in zip(counts_of(draws), draws, strict=True):
        np.testing.assert_array_equal(row, np.bincount(drawn, minlength=4))
    # A generator continues its stream.
    rng = np.random.default_rng(3)
    np.testing.assert_array_equal(draw_units(4, 500, rng), draws)
    assert not np.array_equal(draw_units(4, 500, rng), draws)


def test_correlations_of_bootstrap_samples_are_those_of_the_drawn_rows():
    rng = np.random.default_rng(0)
    true, predicted = rng.normal(5, 1, (20, 3)), np.round(rng.normal(5, 1, (20, 3)), 1)
    predicted[:, 2] = 4.9  # a constant has no correlation
    positive, draws = true[:, 0] > 5, draw_units(20, 30, 1)
    r = correlation.weighted_pearson(counts_of(draws), true, predicted)
    area = correlation.weighted_auc(counts_of(draws), positive, predicted[:, 0])
    for row, drawn in enumerate(draws):
        wanted = [np.corrcoef(true[drawn, k], predicted[drawn, k])[0, 1] for k in (0, 1)]
        assert r[row, :2] == pytest.approx(wanted)
        rows = correlation.pearson(predicted[drawn].T, true[drawn].T)
        assert rows[:2] == pytest.approx(wanted) and np.isnan([rows[2], r[row, 2]]).all()
        assert correlation.pearson(predicted[drawn].T, true[drawn, 0])[0] == pytest.approx(rows[0])
        assert area[row] == pytest.approx(roc_auc_score(positive[drawn], predicted[drawn, 0]))
    assert correlation.auc(positive, true[:, 0]) == 1
    assert np.isnan(correlation.auc(np.ones(20, bool), true[:, 0]))


def test_an_estimate_in_another_unit():
    assert f"{Estimate(0.5, 0.25, 0.75).scaled(100):.0f}" == "50 [25, 75]"


def test_a_dataclass_is_written_by_its_fields_or_by_its_to_json():
    @dataclass(frozen=True)
    class Renamed:
        value: Estimate

        def to_json(self):
            return {"other name": self.value}

    written = plain({"estimate": Estimate(1.0, 0.5), "renamed": Renamed(Estimate(2.0))})
    assert written["estimate"] == {"value": 1.0, "low": 0.5, "high": None}
    assert written["renamed"] == {"other name": {"value": 2.0, "low": None, "high": None}}

"""Harmony and the past, isolated: on sequences that are known to need the one or the other."""

from __future__ import annotations

import numpy as np
import pytest

from msr_utils.constants import TARGETS
from msr_utils.dataset.sequences import Sequence2Hz, select_columns
from msr_utils.dataset.splits import make_splits
from msr_utils.evaluation.baselines import ridge_predictions
from msr_utils.experiments import isolation
from msr_utils.experiments.isolation import (
    ALL_TONAL,
    AVERAGE,
    EVERYTHING,
    FOURIER,
    FRAME,
    FULL,
    INPUTS,
    KEY_AND_MODE,
    LOG_MEL,
    Setting,
)
from msr_utils.features.config import FeatureConfig

FEATURES = FeatureConfig("logmel,logmel_sd,tonal", n_mels=32)
FRAMES = 60


def of_tonal(first: int, count: int) -> np.ndarray:
    """Columns of the tonal block's first window."""
    return FEATURES.columns(("tonal",))[first : first + count]


@pytest.fixture(scope="module")
def sequences() -> list[Sequence2Hz]:
    """Valence is one number of the mode, arousal the mean of a band over the last seconds."""
    rng = np.random.default_rng(0)
    found = []
    for k in range(20):
        x = rng.normal(size=(FRAMES, FEATURES.dim)).astype(np.float32) * 10
        x += rng.normal(size=FEATURES.dim).astype(np.float32) * 3
        past = isolation.with_past(x[:, :1])[:, 2]
        labels = np.stack([x[:, of_tonal(13, 1)[0]], past], 1) / 20
        labels += rng.normal(0, 0.05, labels.shape)
        mask = np.ones(FRAMES, bool)
        mask[:5] = False
        found.append(Sequence2Hz(f"t{k}", f"g{k % 5}", "", x, labels.astype(np.float32), mask))
    return found


@pytest.fixture(scope="module")
def found(sequences):
    return isolation.isolate(sequences, FEATURES, make_splits(sequences, 2), 2, n_boot=100)


def test_inputs_add_what_they_name():
    kept = {name: set(isolation.columns(FEATURES, name)) for name in (*INPUTS, *isolation.ASIDE)}
    assert kept[LOG_MEL] == set(FEATURES.columns(("logmel", "logmel_sd")))
    assert len(kept[KEY_AND_MODE] - kept[LOG_MEL]) == 9
    assert kept[KEY_AND_MODE] - kept[LOG_MEL] >= set(of_tonal(12, 3))
    assert len(kept[FOURIER] - kept[KEY_AND_MODE]) == 30
    assert kept[FOURIER] - kept[KEY_AND_MODE] >= set(of_tonal(15, 10))
    assert kept[LOG_MEL] < kept[KEY_AND_MODE] < kept[FOURIER] < kept[ALL_TONAL] <= kept[EVERYTHING]
    assert not kept["all blocks but tonal"] & kept["tonal alone"]
    with pytest.raises(ValueError, match="tonal must be among them"):
        isolation.columns(FeatureConfig("logmel,logmel_sd"), LOG_MEL)


def test_the_past_is_causal_and_grows():
    frames = np.random.default_rng(1).normal(size=(30, 2)).astype(np.float32)
    dims = [len(isolation.kept_columns(FEATURES, Setting(LOG_MEL, p))) for p in isolation.MEMORIES]
    one = len(isolation.columns(FEATURES, LOG_MEL))
    assert [dim / one for dim in dims] == [1, 2, 1, 2, 3, 4]
    changed = frames.copy()
    changed[20:] += 1
    a, b = isolation.with_past(frames), isolation.with_past(changed)
    assert a.shape == (30, 12)
    np.testing.assert_array_equal(a[:20], b[:20])
    assert (a[20:] != b[20:]).any(axis=0).all()
    np.testing.assert_array_equal(a[:, :2], frames)


def test_the_same_ridge_regression_as_elsewhere(sequences, found):
    """The sums over groups give the model that the rows give."""
    kept = isolation.columns(FEATURES, EVERYTHING)
    splits = make_splits(sequences, 2)
    for target in TARGETS:
        curves = ridge_predictions(select_columns(sequences, kept), splits, target, 2)
        columns = isolation.kept_columns(FEATURES, Setting(EVERYTHING, AVERAGE))
        rows = isolation._rows(sequences)
        ours = isolation._fit(sequences, rows, columns, splits, 2).curves[target]
        for i, curve in curves.items():
            np.testing.assert_allclose(ours[i].predicted, curve.predicted, atol=2e-4)
            np.testing.assert_array_equal(ours[i].true, curve.true)


def test_what_is_needed_is_found(found):
    r = {t: {n: s.songs.pooled["r"].value for n, s in found.scores[t].items()} for t in TARGETS}
    assert r["valence"][str(Setting(LOG_MEL, FULL))] < 0.3
    assert r["valence"][str(Setting(EVERYTHING, FRAME))] > 0.9
    assert r["arousal"][str(Setting(EVERYTHING, FRAME))] < 0.7
    assert r["arousal"][str(Setting(EVERYTHING, "mean of 3 s"))] > 0.9
    assert all("the frame alone" in name or AVERAGE in name for name in found.chosen["valence"])
    assert found.nested["valence"].songs.pooled["r"].value > 0.9
    mode = next(s for s in found.steps if s.target == "valence" and KEY_AND_MODE in s.second)
    for interval in (mode.songs, mode.groups, mode.corrected):
        assert 0 < interval.low < interval.value < interval.high
    wide = mode.corrected.high - mode.corrected.low
    assert wide > 0.8 * (mode.groups.high - mode.groups.low)


def test_every_group_is_left_out_once(sequences, found):
    group = {s.id: s.group for s in sequences}
    splits = isolation.leave_one_group_out(group)
    assert len(splits) == 5
    for split in splits:
        sides = [{group[i] for i in part} for part in (split.train, split.validation, split.test)]
        assert (
            len(sides[2]) == 1 and not sides[0] & sides[1] and not (sides[0] | sides[1]) & sides[2]
        )
        assert len(split.train) + len(split.validation) + len(split.test) == len(sequences)
    assert found.group_songs == {f"g{k}": 4 for k in range(5)}
    assert len(found.left_out["valence"].folds) == 5
    assert len(isolation.score_table(found)) == len(isolation.SETTINGS)
    assert (
        len(isolation.step_table(found, "valence"))
        == len(isolation.INPUTS) + len(isolation.MEMORIES) - 2
    )
    assert len(isolation.fold_table(found)) == 2 * 2

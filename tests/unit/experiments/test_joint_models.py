"""Joint models: what the kernels compute, choices without the tested fold, and their scores."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from conftest import write_folder_corpus
from sklearn.kernel_ridge import KernelRidge
from test_clip_models import write_clips

from msr_utils.corpora import load_corpus
from msr_utils.corpora.base import CorpusError
from msr_utils.experiments import joint_models
from msr_utils.experiments.joint_models import GAUSSIAN, LINEAR, MEAN, Rows
from msr_utils.features.config import FeatureConfig

FOLDS = 3


def make_rows(labels, n, seed, unit_size=2):
    """Valence is a square of the first feature, arousal is the second one."""
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(n, 4)).astype(np.float32)
    y = np.stack([x[:, 0] ** 2 - 0.5, x[:, 1]], axis=1).astype(float)
    if labels == "quadrants":
        y = 0.3 * np.sign(y)
    unit = np.array([f"{labels} {i // unit_size}" for i in range(n)])
    trained = np.arange(n) % 2 == 0 if labels == "curves" else np.ones(n, bool)
    return Rows(labels, x, y, (np.arange(n) // unit_size) % FOLDS, unit, trained)


@pytest.fixture(scope="module")
def corpora():
    return {"curves": make_rows("curves", 240, 0), "clips": make_rows("quadrants", 120, 1)}


@pytest.fixture(scope="module")
def unseen():
    return replace(make_rows("curves", 40, 2, unit_size=4), fold=np.full(40, -1))


@pytest.fixture(scope="module")
def compared(corpora, unseen):
    return joint_models.compare(corpora, unseen, FOLDS, n_boot=50, progress=False)


def test_a_kernel_fits_what_a_line_cannot(compared):
    curves, clips = compared.scores["curves"], compared.scores["clips"]
    assert curves[GAUSSIAN]["r"]["valence"].value > 0.8 > 0.3 > curves[LINEAR]["r"]["valence"].value
    assert curves[LINEAR]["r"]["arousal"].value > 0.9
    assert clips[GAUSSIAN]["auc"]["valence"].value > 0.9
    assert (
        clips[GAUSSIAN]["accuracy"]["quadrant"].value > clips[LINEAR]["accuracy"]["quadrant"].value
    )
    assert compared.above["curves"][GAUSSIAN]["rmse"]["valence"].high < 0
    assert compared.unseen[GAUSSIAN]["r of song means"]["valence"].value > 0.6
    table = joint_models.score_table(compared.scores)
    assert list(table) == [LINEAR, GAUSSIAN, MEAN]
    assert table.loc[("clips", "AUC", "valence"), GAUSSIAN].startswith("0.9")
    assert LINEAR not in joint_models.score_table(compared.above)


@pytest.mark.parametrize("gamma", [0.0, 0.5])
def test_a_fit_is_weighted_kernel_ridge_regression(corpora, gamma):
    """Fold 2 is left out: its rows change neither the scales nor the fit."""
    parts = list(corpora.values())
    weights = [
        (rows.trained & (rows.fold != 2)) * share
        for rows, share in zip(parts, (0.6, 0.4), strict=True)
    ]
    weights = [
        w / (rows.trained & (rows.fold != 2)).sum() for w, rows in zip(weights, parts, strict=True)
    ]
    means = [np.average(r.x, axis=0, weights=w) for r, w in zip(parts, weights, strict=True)]
    variance = sum(
        w.sum() * np.average((r.x - m) ** 2, axis=0, weights=w)
        for r, m, w in zip(parts, means, weights, strict=True)
    )
    x, y, weight = (
        np.concatenate(list(v)) for v in ((r.x for r in parts), (r.y for r in parts), weights)
    )
    x = (x - np.average(x, axis=0, weights=weight)) / np.sqrt(variance)
    used = weight > 0
    weight = weight[used] / weight[used].mean()
    distances = ((x[:, None] - x[used]) ** 2).mean(axis=2)
    kernel = np.exp(-gamma * distances) if gamma else x @ x[used].T / 4
    level = np.average(y[used], axis=0, weights=weight)
    model = KernelRidge(alpha=0.7, kernel="precomputed")
    model.fit(kernel[used], y[used] - level, sample_weight=weight)

    problem = joint_models._problem(parts, np.empty((0, 4), np.float32), 2)
    left_out = np.concatenate([rows.fold for rows in parts])[problem.train] == 2
    rows = np.arange(len(x))
    found = problem.fit_and_predict(problem.kernel(gamma), 0.7, left_out, rows)
    np.testing.assert_allclose(found, model.predict(kernel) + level, atol=1e-4)


def test_labels_of_the_tested_fold_change_nothing(corpora, unseen):
    """Neither the choice of hyperparameters nor a prediction depends on them."""
    parts = list(corpora.values())
    predicted, _, chosen = joint_models._cross_validate(parts, FOLDS, progress=False)
    altered = []
    for rows in parts:
        y = rows.y.copy()
        y[rows.fold == 1] = np.random.default_rng(9).permutation(y[rows.fold == 1])
        altered.append(replace(rows, y=y))
    again, _, chosen_again = joint_models._cross_validate(altered, FOLDS, progress=False)
    tested = np.concatenate([rows.fold for rows in parts]) == 1
    for model in predicted:
        np.testing.assert_array_equal(predicted[model][tested], again[model][tested])
        assert np.abs(predicted[model][~tested] - again[model][~tested]).max() > 1e-3
    assert [chosen[m][1] for m in chosen] == [chosen_again[m][1] for m in chosen]


def test_rows_are_frames_of_curves_and_means_of_clips(tmp_path):
    root = write_clips(
        tmp_path / "clips", ["Q1", "Q3", "Q2", "Q4"] * 2, range(300, 1100, 100), [0.1] * 8,
        [f"artist {i // 2}" for i in range(8)],
    )  # fmt: skip
    features = FeatureConfig("logmel", memory_s=(3.0,))
    clips = load_corpus("folder", root)
    rows = joint_models.read_rows(clips, features, 3, 7, tmp_path, progress=False)
    assert rows.x.shape == (8, features.dim) and rows.labels == "quadrants"
    np.testing.assert_allclose(rows.y[:2], [[0.3, 0.3], [-0.3, -0.3]])
    assert rows.unit.tolist() == [track.group for track in clips.tracks]
    assert set(rows.fold) == {0, 1, 2} and rows.trained.all()
    curves = load_corpus("folder", write_folder_corpus(tmp_path / "tones", 3, 12.0))
    rows = joint_models.read_rows(curves, features, 0, 7, tmp_path, progress=False)
    assert (rows.fold == -1).all() and rows.labels == "curves"
    assert rows.unit.tolist() == [track.id for track in curves.tracks for _ in range(3)]
    assert rows.trained.tolist() == [True, False, True] * 3
    with pytest.raises(CorpusError, match="neither curves nor quadrants"):
        joint_models.read_rows(replace(clips, labels="gems"), features, 3, 7, progress=False)


def test_both_kinds_of_labels_are_needed(corpora, unseen):
    with pytest.raises(ValueError, match="at least one with curves and one with quadrants"):
        joint_models.compare({"curves": corpora["curves"]}, unseen, FOLDS, progress=False)

"""Released models: the least-squares solution, cross-validation without leaks, and bundles."""

from __future__ import annotations

import sys
from dataclasses import replace

import numpy as np
import pandas as pd
import papermill
import pytest
import soundfile as sf
from conftest import write_folder_corpus
from needs import needs_pretrained_weights
from sklearn.kernel_ridge import KernelRidge
from sklearn.linear_model import Ridge
from test_clip_models import write_clips

from msr_utils import io
from msr_utils.affect import SIGNS
from msr_utils.constants import SAMPLE_RATE, TARGETS
from msr_utils.corpora import load_corpus
from msr_utils.corpora.base import CorpusError
from msr_utils.dataset.augmented import copied_features
from msr_utils.experiments import release
from msr_utils.experiments.release import (
    card,
    intervals,
    kernel,
    least_squares,
    scores,
    training_data,
)
from msr_utils.experiments.release.kernel import KernelProblem, KernelRows, KernelSetting
from msr_utils.experiments.release.large import LargeSetting, LargeTrainer
from msr_utils.experiments.release.least_squares import LossWeights, SufficientStatistics
from msr_utils.experiments.robustness import AlterationEffect
from msr_utils.features import weights as pretrained_weights
from msr_utils.features.cache import cached_features
from msr_utils.features.config import FeatureConfig
from msr_utils.features.extractor import FeatureExtractor
from msr_utils.inference import model as inference_model
from msr_utils.inference.model import PretrainedWeightsMissing, Stream
from msr_utils.io import write_json
from msr_utils.metrics.curves import Curve
from msr_utils.metrics.estimate import Estimate
from msr_utils.paths import PROJECT_ROOT

pytestmark = pytest.mark.slow

MEMORY = {"memory_s": training_data.MEAN_SECONDS, "memory_sd_s": training_data.SD_SECONDS}
FEATURES = FeatureConfig(("logmel", "mfcc", "loudness", "tonal"), **MEMORY)
FOLDS = 3
WEIGHTS = LossWeights(0.5, 0.5, 0.0, 1.0)
SETTING = LargeSetting.of_parts(WEIGHTS, KernelSetting(8, 0.5, 0.3), 0.5)


@pytest.fixture(scope="module")
def corpora(tmp_path_factory):
    cache = tmp_path_factory.mktemp("cache")
    curves = load_corpus("synthetic", cache_dir=cache, synthetic_tracks=12)
    quadrant = {signs: name for name, signs in SIGNS.items()}
    clips = [
        replace(
            t,
            quadrant=quadrant[
                int(np.sign(t.valence.mean()) or 1), int(np.sign(t.arousal.mean()) or 1)
            ],
        )
        for t in curves.tracks
    ]
    card = replace(curves.card, title="Quadrants of the synthetic corpus")
    return [curves, replace(curves, tracks=clips, card=card, labels="quadrants")], cache


@pytest.fixture(scope="module")
def trainer(corpora):
    return release.Trainer(corpora[0], FEATURES, FOLDS, 7, corpora[1], progress=False)


@pytest.fixture(scope="module")
def released(trainer):
    return release.train(trainer)


def test_sums_add_up_and_give_ridge_regression_on_the_rows():
    rng = np.random.default_rng(1)
    x, y = rng.normal(size=(60, 5)), rng.normal(size=(60, 2))
    whole = SufficientStatistics.of(x, y)
    both = SufficientStatistics.of(x[:20], y[:20]) + SufficientStatistics.of(x[20:], y[20:])
    for a, b in zip(vars(whole).values(), vars(both).values(), strict=True):
        np.testing.assert_allclose(a, b)
    weights = LossWeights(1.0, 0.0, 0.0, 0.5)
    model = least_squares.solve({"a": both}, {"a": "curves"}, weights, np.zeros((5, 5)))
    z = (x - x.mean(axis=0)) / x.std(axis=0)
    ridge = Ridge(alpha=0.5 * len(x)).fit(z, y)
    np.testing.assert_allclose(model(x), ridge.predict(z), atol=1e-8)


def test_a_constant_feature_gives_finite_weights():
    """In single precision its variance is not exactly 0, and may be negative."""
    rng = np.random.default_rng(5)
    x = np.concatenate([rng.normal(size=(60, 3)), np.full((60, 4), [0.1, 0.7, 1.3, 30.1])], axis=1)
    sums = SufficientStatistics.of(x.astype(np.float32), rng.normal(size=(60, 2)))
    assert (np.diag(sums.moments().cov_xx) < 0).any()
    model = least_squares.solve({"a": sums}, {"a": "curves"}, WEIGHTS, np.zeros((7, 7)))
    assert np.isfinite(model.slope).all() and np.isfinite(model.intercept).all()


def test_corpora_of_one_kind_share_its_weight():
    rng = np.random.default_rng(2)

    def centred(signal):
        x = rng.normal(size=(60, 3))
        x -= x.mean(axis=0)
        y = signal(x) + rng.normal(size=(60, 2))
        return SufficientStatistics.of(x, y - y.mean(axis=0))

    # The corpora have the same means, so the differences between them add nothing.
    one, two = centred(lambda x: x[:, :2]), centred(lambda x: -x[:, 1:])
    models = [
        least_squares.solve(
            {"b": two} | dict.fromkeys(names, one),
            {"b": "quadrants"} | dict.fromkeys(names, "curves"),
            WEIGHTS,
            np.zeros((3, 3)),
        )
        for names in (["a"], ["a", "again"])
    ]
    np.testing.assert_allclose(models[0].slope, models[1].slope, atol=1e-12)
    np.testing.assert_allclose(models[0].intercept, models[1].intercept, atol=1e-12)


def test_a_kind_of_labels_has_its_weight():
    rng = np.random.default_rng(2)
    one = SufficientStatistics.of(
        x := rng.normal(size=(40, 3)), x[:, :2] + rng.normal(size=(40, 2))
    )
    two = SufficientStatistics.of(rng.normal(size=(90, 3)), rng.normal(size=(90, 2)))
    kinds = {"a": "curves", "b": "quadrants", "c": "gems"}
    sums, no_gain = {"a": one, "b": two, "c": two}, np.zeros((3, 3))
    curves_only = LossWeights(1.0, 0.0, 0.0, 1.0)
    without = least_squares.solve(sums, kinds, curves_only, no_gain)
    alone = least_squares.solve({"a": one}, {"a": "curves"}, curves_only, no_gain)
    np.testing.assert_allclose(without.slope, alone.slope, atol=1e-12)
    np.testing.assert_allclose(without.intercept, alone.intercept, atol=1e-12)
    half = least_squares.solve(sums, kinds, WEIGHTS, no_gain)
    assert np.abs(half.slope - alone.slope).max() > 0.01


def test_gain_hardly_changes_the_prediction(corpora, trainer):
    db, louder = training_data.GAIN_UP
    model = trainer.fit(WEIGHTS, (1,))
    data = next(iter(trainer.data.values()))
    changes = []
    for track, fold in zip(data.corpus.tracks, data.fold, strict=True):
        if fold != 1:
            continue
        frames = cached_features(track.audio_path, FEATURES, corpora[1])
        copy = copied_features(track, FEATURES, louder, cache_dir=corpora[1])
        assert (copy - frames)[:, 0].mean() == pytest.approx(db, abs=1)
        changes.append((model(copy) - model(frames)).mean(axis=0))
    assert np.abs(changes).max() < 0.1


def test_a_fold_is_predicted_by_a_model_not_trained_on_it(corpora, trainer):
    before = trainer.fit(WEIGHTS, (1,))
    data = next(iter(trainer.data.values()))
    fold_of = dict(zip([t.id for t in data.corpus.tracks], data.fold.tolist(), strict=True))
    flipped = [
        replace(
            corpus,
            tracks=[
                replace(t, valence=-t.valence, arousal=-t.arousal) if fold_of[t.id] == 1 else t
                for t in corpus.tracks
            ],
        )
        for corpus in corpora[0]
    ]
    other = release.Trainer(flipped, FEATURES, FOLDS, 7, corpora[1], progress=False)
    np.testing.assert_allclose(other.fit(WEIGHTS, (1,)).slope, before.slope, atol=1e-12)
    assert np.abs(other.fit(WEIGHTS).slope - trainer.fit(WEIGHTS).slope).max() > 1e-6
    both = [LargeTrainer(one, [SETTING.kernel]) for one in (trainer, other)]
    rows = data.rows[0]
    for without, same in (((1,), True), ((), False)):
        ours, theirs = (one.fit(SETTING, without)(rows) for one in both)
        assert np.allclose(ours, theirs, atol=1e-9) == same
    groups = [
        {track.group for track in data.corpus.tracks if fold_of[track.id] == fold}
        for fold in range(FOLDS)
    ]
    assert not set.intersection(*map(set, groups[:2])) and not groups[0] & groups[2]


def test_weights_are_chosen_without_the_tested_fold(trainer):
    losses = trainer.inner_losses()
    chosen = trainer.choose_weights(losses, (0,))
    # Losses of the tested fold, and of models trained on it, change nothing.
    tempting = {
        key: (0.0 if key[0] == least_squares.LOSS_WEIGHTS[-1] else 9.0)
        if key[2] == 0 or 0 not in key[1]
        else value
        for key, value in losses.items()
    }
    assert trainer.choose_weights(tempting, (0,)) == chosen


def kernel_rows(seed=4, gain=None, **parts):
    """Rows of random features; `parts` maps corpora to kinds of labels."""
    rng = np.random.default_rng(seed)
    x = {name: rng.normal(size=(30, 4)) for name in parts}
    y = {name: np.tanh(x[name][:, :2]) + 0.1 * rng.normal(size=(30, 2)) for name in parts}
    return KernelRows(x, y, parts, np.zeros((4, 4)) if gain is None else gain)


def test_the_kernel_machine_is_kernel_ridge_regression():
    """With all components and no penalty of gain."""
    rows, setting = kernel_rows(a="curves"), KernelSetting(4, 0.5, 0.3)
    machine = KernelProblem(rows, LossWeights(1.0, 0.0, 0.0, 1.0), 4).fit(setting)
    x, y = rows.x["a"], rows.y["a"]
    z = (x - x.mean(axis=0)) / x.std(axis=0)
    peer = KernelRidge(alpha=0.3, kernel="rbf", gamma=0.5 / 4).fit(z, y - y.mean(axis=0))
    np.testing.assert_allclose(machine(x), peer.predict(z) + y.mean(axis=0), atol=1e-9)
    np.testing.assert_allclose(machine(x + 1e3), np.broadcast_to(y.mean(axis=0), y.shape))


def test_few_components_are_the_strongest():
    matrix = np.random.default_rng(0).normal(size=(60, 80)) * 0.9 ** np.arange(60)[:, None]
    few, all_of_them = (kernel._left_singular_vectors(matrix, n) for n in (5, 60))
    np.testing.assert_allclose(np.abs(few.T @ all_of_them[:, :5]), np.eye(5), atol=1e-6)


def test_the_kernel_machine_does_not_follow_gain():
    gain = np.zeros((4, 4))
    gain[0, 0] = 1e6
    setting, moved = KernelSetting(4, 0.5, 0.3), np.array([1.0, 0, 0, 0])
    for rows, least, most in (
        (kernel_rows(a="curves"), 0.1, 9),
        (kernel_rows(gain=gain, a="curves"), 0, 1e-3),
    ):
        machine = KernelProblem(rows, LossWeights(1.0, 0.0, 0.0, 1.0), 4).fit(setting)
        change = np.abs(machine(rows.x["a"] + moved) - machine(rows.x["a"])).max()
        assert least <= change < most


def test_emotions_do_not_move_the_level_of_the_kernel_machine():
    rows = kernel_rows(a="curves", b="gems")
    moved = replace(rows, y=rows.y | {"b": rows.y["b"] + 5})
    setting, weights = KernelSetting(4, 0.5, 0.3), LossWeights(0.5, 0.0, 0.5, 1.0)
    first, second = (KernelProblem(r, weights, 4).fit(setting) for r in (rows, moved))
    np.testing.assert_allclose(first(rows.x["b"]), second(rows.x["b"]), atol=1e-9)
    without = KernelProblem(moved, LossWeights(1.0, 0.0, 0.0, 1.0), 4).fit(setting)
    assert len(without.landmarks) == 30 and len(first.landmarks) == 60


def test_margin_covers_the_next_track():
    rng = np.random.default_rng(3)

    def curve():
        noise = rng.normal(0, rng.uniform(0.05, 0.2), 200)
        return Curve(np.arange(200), noise, np.zeros(200))

    width = intervals.margin([curve() for _ in range(300)], 0.9)
    assert np.mean([intervals.share_covered(curve(), width) for _ in range(300)]) == pytest.approx(
        0.9, abs=0.02
    )
    few = [curve() for _ in range(3)]
    assert intervals.margin(few, 0.9) == max(abs(c.true).max() for c in few)


def test_clip_scores():
    true = np.array([[1, 1], [-1, 1], [-1, -1], [1, -1]] * 5)
    perfect = scores.score_clips([str(i) for i in range(20)], true, 0.3 * true, 50)
    assert perfect["accuracy"] == Estimate(1, 1, 1)
    half = scores.score_clips([str(i) for i in range(20)], true, true * [-1, 1], 50)
    assert half["auc_valence"].value == 0
    assert half["auc_arousal"].value == 1
    assert half["accuracy"].value == 0


def test_the_bundle_computes_the_model_and_its_intervals(released, corpora, tmp_path):
    card = release.export("light", released, release.report(released, 20), tmp_path)
    model = inference_model.load("light", tmp_path)
    assert model.is_causal and not model.is_recurrent
    assert card.kind == "frame"
    track = corpora[0][0].tracks[0]
    frames = FeatureExtractor(FEATURES)
    samples = np.random.default_rng(0).normal(0, 0.1, 9 * SAMPLE_RATE).astype(np.float32)
    whole = Stream(model).push(samples)
    expected = np.clip(released.model(frames.push(samples)), -1, 1)
    np.testing.assert_allclose(whole, expected, atol=1e-4)
    # Another stream continues from the state alone.
    first = Stream(model)
    head = first.push(samples[:70_001])
    second = Stream(model)
    second.restore(first.state())
    np.testing.assert_allclose(
        np.concatenate([head, second.push(samples[70_001:])]), whole, atol=1e-6
    )
    prediction = model.predict(track.audio_path)
    assert prediction.to_csv().splitlines()[0] == (
        "time_s,valence,arousal,valence_low,valence_high,arousal_low,arousal_high,model"
    )
    for target in TARGETS:
        width = prediction.columns()[f"{target}_high"] - getattr(prediction, target)
        np.testing.assert_allclose(
            width, np.minimum(released.margins[target], 1 - getattr(prediction, target)), atol=1e-6
        )
    assert release.realtime_factor(model, track.audio_path, 1) > 1
    with pytest.raises(CorpusError, match="was trained on"):
        release.score_unseen_corpus([model], corpora[0][0])


def test_the_larger_model_is_chosen_without_the_tested_fold_and_exported(trainer, tmp_path):
    part = LargeTrainer(trainer, [SETTING.kernel, KernelSetting(4, 0.1, 1.0)], (0.5, 1.0))
    found = part.inner_losses(WEIGHTS, (0, 1))
    losses = {(WEIGHTS, frozenset((0, 1)), k): found[k] for k in found}
    losses[WEIGHTS, frozenset((0, 2)), 2] = found[1]
    chosen = part.choose(WEIGHTS, losses, (0,))
    best = min(found[1], key=found[1].get)
    assert chosen == LargeSetting.of_parts(WEIGHTS, *best)
    released = release.train_large(trainer, part)
    assert np.isfinite([*released.margins.values()]).all()
    report = release.report_large(released, 20)
    results = release.part_results(released, 20)
    assert set(results) == {"linear part", "kernel part"}
    gain = release.gain_over_linear(released, 20)
    (title,) = gain
    ours, linear = (r.quadrants[title] for r in (report, results["linear part"]))
    for metric, estimate in gain[title].items():
        assert estimate.value == pytest.approx(ours[metric].value - linear[metric].value)
    assert len(release.setting_table(report)) == FOLDS + 1
    card = release.export_large(released, report, tmp_path, ["Measured."])
    assert card.kind == "frame" and "Measured." in card.limits
    assert card.setting["share"] == released.model.share
    model = inference_model.load("large", tmp_path)
    rows = next(iter(trainer.data.values())).rows[0]
    np.testing.assert_allclose(model.run(rows[None])[0][0], released.model(rows), atol=1e-4)


def test_missing_pretrained_weights_are_reported(released, tmp_path, monkeypatch):
    release.export("light", released, release.report(released, 0), tmp_path)
    folder = tmp_path / "light"
    monkeypatch.setenv("MSR_WEIGHTS", str(tmp_path / "none"))
    for block, command in (
        ("musicnn", "run 'msr weights fetch'"),
        ("jamendo_fcn", "run 'msr weights fetch jamendo_fcn'"),
    ):
        config = FeatureConfig((*FEATURES.blocks, block), **MEMORY)
        card = io.read_json(folder / "card.json") | {"feature_hash": config.hash}
        write_json(folder / "features.json", config.to_json())
        write_json(folder / "card.json", card)
        pretrained_weights.session.cache_clear()
        with pytest.raises(PretrainedWeightsMissing, match=command):
            inference_model.load("light", tmp_path)
        assert inference_model.usable(tmp_path) == []
    pretrained_weights.session.cache_clear()


def test_corpora_without_quadrants_are_refused(corpora):
    with pytest.raises(CorpusError, match="one with quadrants"):
        release.Trainer(corpora[0][:1], FEATURES, FOLDS, 7, corpora[1], progress=False)


@pytest.mark.parametrize(
    "name",
    ["light", pytest.param("large", marks=needs_pretrained_weights("musicnn", "jamendo_fcn"))],
)
def test_the_shipped_bundles_follow_a_stream(name, tmp_path):
    path = tmp_path / "noise.wav"
    samples = np.random.default_rng(0).normal(0, 0.05, 4 * SAMPLE_RATE).astype(np.float32)
    sf.write(path, samples, SAMPLE_RATE, subtype="FLOAT")
    model = inference_model.load(name)
    assert model.is_causal
    assert set(model.margins) == set(TARGETS)
    stream = Stream(model)
    curves = np.concatenate([stream.push(part) for part in np.split(samples, [9_000, 50_001])])
    np.testing.assert_allclose(curves[:, 1], model.predict(path).arousal, atol=1e-5)


def test_scores_on_unseen_music_are_in_the_card(released, corpora, tmp_path):
    report = release.report(released, 0)
    release.export("light", released, report, tmp_path)
    curves = corpora[0][0]
    other = replace(
        curves, card=replace(curves.card, title="Other songs"), tracks=curves.tracks[:5]
    )
    unseen = release.score_unseen_corpus([inference_model.load("light", tmp_path)], other, 50)
    limits = release.unseen_limits("light", unseen, "Other songs")
    card = release.export("light", released, report, tmp_path, limits)
    assert set(limits) <= set(card.limits)
    text = (tmp_path / "light" / "CARD.md").read_text()
    assert "uncertain" in text and "5 songs that were not used in training (Other songs)" in text
    for target in TARGETS:
        light = unseen.rows[target]["light"]
        assert f"{light.pooled['rmse'].value:.3f} [" in text
        assert f"{light.song_means.value:.2f} [" in text
        labels = np.concatenate([getattr(t, target)[t.mask] for t in other.tracks])
        assert f"{np.sqrt((labels**2).mean()):.3f} for {target}" in text
        coverage = f"{100 * unseen.coverage['light'][target]:.0f} %"
        assert f"{coverage} of the frames for {target}" in limits[1]


def test_a_card_names_only_corpora_with_a_weight(released, corpora):
    """Emotions may get no weight: then their corpus is not one that the model was trained on."""
    gems = replace(corpora[0][0], labels="gems", card=replace(corpora[0][0].card, title="Emotions"))
    report = release.report(released, 0)
    for weights, named in ((WEIGHTS, False), (LossWeights(0.6, 0.25, 0.15, 1.0), True)):
        description = card.describe(
            "light", FEATURES, [*corpora[0], gems], replace(report, setting=weights), FOLDS
        )
        assert ("Emotions" in description.trained_on) == named
        assert any("quadrant and emotion labels" in limit for limit in description.limits) == named


def test_effects_of_alterations_are_in_the_card():
    rows = [
        AlterationEffect(name, target, 1, abs(shift), shift, 1, 1, 0.2, 0.2, Estimate(0))
        for name, shifts in {"level +12 dB": (0.01, -0.02), "noise": (0.3, -0.4)}.items()
        for target, shift in zip(TARGETS, shifts, strict=True)
    ]
    (text,) = release.alteration_limits(rows, "Songs")
    assert "recordings are altered (Songs)" in text
    assert text.endswith("level +12 dB +0.010 and -0.020; noise +0.300 and -0.400.")


def test_a_peer_is_scored_on_the_same_clips(corpora, tmp_path):
    """A package with the peer's name knows the true signs of each path."""
    clips = corpora[0][1]
    signs = {str(t.audio_path.resolve()): SIGNS[t.quadrant] for t in clips.tracks}
    package = tmp_path / "vibenet"
    package.mkdir()
    (package / "__init__.py").write_text(
        f"""
SIGNS = {signs!r}
class Answer:
    def __init__(self, signs):
        self.valence, self.energy = (0.6 + 0.1 * s for s in signs)
class Model:
    def predict(self, path):
        return [Answer(SIGNS[path])]
load_model = Model
"""
    )
    about = tmp_path / "vibenet-9.9.dist-info"
    about.mkdir()
    (about / "METADATA").write_text("Metadata-Version: 2.1\nName: vibenet\nVersion: 9.9\n")
    python = tmp_path / "python"
    python.write_text(f"#!/bin/sh\nPYTHONPATH='{tmp_path}' exec '{sys.executable}' \"$@\"\n")
    python.chmod(0o755)
    peers = release.peer_scores(corpora[0], str(python), 0)
    (estimates,) = peers["vibenet 9.9"].quadrants.values()
    assert estimates["auc_valence"].value == estimates["auc_arousal"].value == 1
    assert "vibenet 9.9" in release.peer_limits(peers)[0]
    assert release.peer_scores(corpora[0], "") == {}
    with pytest.raises(ValueError, match="BENCH_PEERS_PYTHON=.*nowhere"):
        release.peer_scores(corpora[0], str(tmp_path / "nowhere"))
    package.joinpath("__init__.py").write_text("raise RuntimeError('no weights')")
    with pytest.raises(ValueError, match="no weights"):
        release.peer_scores(corpora[0], str(python))


def one_group_a_track(folder):
    """A folder corpus whose tracks can be divided into folds."""
    table = pd.read_csv(folder / "tracks.csv")
    table.assign(group=table.track_id).to_csv(folder / "tracks.csv", index=False)
    return folder


@pytest.fixture(scope="module")
def small_corpora(tmp_path_factory):
    """Parameters of a notebook: folders of few tracks."""
    folder = tmp_path_factory.mktemp("corpora")
    curves = one_group_a_track(write_folder_corpus(folder / "curves", tracks=12))
    other = one_group_a_track(write_folder_corpus(folder / "other", tracks=4))
    rng = np.random.default_rng(0)
    quadrants = write_clips(
        folder / "clips",
        [*SIGNS] * 6,
        rng.uniform(400, 1500, 24),
        rng.uniform(0.1, 0.5, 24),
        [f"artist {i}" for i in range(24)],
    )
    return {
        "corpus": "folder",
        "data_dir": str(curves),
        "quadrants_dir": str(quadrants),
        "unseen": "folder",
        "unseen_dir": str(other),
        "folds": FOLDS,
        "bootstrap": 20,
    }


@pytest.mark.extended
@pytest.mark.parametrize(
    "notebook, run, name, parameters",
    [
        ("07_release", "release", "light", {"bundles": ["light"]}),
        ("07_release_large", "release-large", "large", {"features": "logmel,loudness"}),
    ],
)
def test_the_notebook_runs(notebook, run, name, parameters, small_corpora, tmp_path):
    """Its results have the fields that the book reads, and the bundle tells them in its card."""
    papermill.execute_notebook(
        PROJECT_ROOT / f"notebooks/{notebook}.ipynb",
        tmp_path / "done.ipynb",
        cwd=PROJECT_ROOT,
        kernel_name="python3",
        progress_bar=False,
        parameters={**small_corpora, **parameters, "output_dir": str(tmp_path / "run")},
    )
    metrics = io.read_json(tmp_path / "run/metrics.json")
    published = io.read_json(PROJECT_ROOT / f"reports/published/vgmidi/{run}/metrics.json")
    assert metrics.keys() == published.keys()
    assert metrics["bundles"][name].keys() == published["bundles"][name].keys()
    assert metrics["unseen"].keys() == published["unseen"].keys()
    row = metrics["unseen"]["rows"]["valence"][name]
    assert row.keys() == published["unseen"]["rows"]["valence"][name].keys()
    text = (tmp_path / f"run/bundles/{name}/CARD.md").read_text()
    assert "4 songs that were not used in training (other)" in text
    assert f"{row['pooled']['rmse']['value']:.3f} [" in text

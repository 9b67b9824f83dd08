"""The released models: what they are solved from, what they never see, what they become."""

from __future__ import annotations

import sys
from dataclasses import replace

import numpy as np
import pytest
import soundfile as sf
from sklearn.linear_model import Ridge

from msr_utils import affect, io
from msr_utils.constants import SAMPLE_RATE, TARGETS
from msr_utils.corpora import load_corpus
from msr_utils.corpora.base import CorpusError
from msr_utils.dataset.augmented import copied_features
from msr_utils.experiments.release import (
    card as experiments_release_card,
)
from msr_utils.experiments.release import (
    intervals,
    least_squares,
    peers,
    scores,
    training_data,
)
from msr_utils.experiments.release import (
    trainer as experiments_release_trainer,
)
from msr_utils.experiments.release.least_squares import LossWeights, SufficientStatistics
from msr_utils.experiments.release.trainer import Trainer
from msr_utils.experiments.robustness import AlterationEffect
from msr_utils.features.cache import cached_features
from msr_utils.features.config import FeatureConfig
from msr_utils.features.extractor import FeatureExtractor
from msr_utils.inference import model as inference_model
from msr_utils.inference.model import PretrainedWeightsMissing, Stream
from msr_utils.io import write_json
from msr_utils.metrics.curves import Curve
from msr_utils.metrics.estimate import Estimate

FEATURES = FeatureConfig(("logmel", "mfcc", "loudness", "tonal"), **training_data.RUNNING_STATS)
FOLDS = 3
SETTING = LossWeights(0.5, 0.5, 0.0, 1.0)


@pytest.fixture(scope="module")
def corpora(tmp_path_factory):
    cache = tmp_path_factory.mktemp("cache")
    curves = load_corpus("synthetic", cache_dir=cache, synthetic_tracks=12)
    quadrant = {signs: name for name, signs in affect.SIGNS.items()}
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
    return Trainer(corpora[0], FEATURES, FOLDS, 7, corpora[1], progress=False)


@pytest.fixture(scope="module")
def released(trainer):
    return experiments_release_trainer.train(trainer)


def test_moments_give_ridge_on_the_rows_and_add_up():
    rng = np.random.default_rng(1)
    x, y = rng.normal(size=(60, 5)), rng.normal(size=(60, 2))
    whole = SufficientStatistics.of(x, y)
    both = SufficientStatistics.of(x[:20], y[:20]) + SufficientStatistics.of(x[20:], y[20:])
    for a, b in zip(vars(whole).values(), vars(both).values(), strict=True):
        np.testing.assert_allclose(a, b)
    setting = LossWeights(1.0, 0.0, 0.0, 0.5)
    found = least_squares.solve({"a": both}, {"a": "curves"}, setting, np.zeros((5, 5)))
    z = (x - x.mean(axis=0)) / x.std(axis=0)
    ridge = Ridge(alpha=0.5 * len(x)).fit(z, y)
    np.testing.assert_allclose(found(x), ridge.predict(z), atol=1e-8)


def test_corpora_of_one_kind_share_its_weight():
    rng = np.random.default_rng(2)

    def centred(mapped):
        x = rng.normal(size=(60, 3))
        x -= x.mean(axis=0)
        y = mapped(x) + rng.normal(size=(60, 2))
        return SufficientStatistics.of(x, y - y.mean(axis=0))

    # Corpora with the same means: what lies between them adds nothing.
    one, two = centred(lambda x: x[:, :2]), centred(lambda x: -x[:, 1:])
    found = [
        least_squares.solve(
            {"b": two} | dict.fromkeys(names, one),
            {"b": "quadrants"} | dict.fromkeys(names, "curves"),
            SETTING,
            np.zeros((3, 3)),
        )
        for names in (["a"], ["a", "again"])
    ]
    np.testing.assert_allclose(found[0].slope, found[1].slope, atol=1e-12)
    np.testing.assert_allclose(found[0].level, found[1].level, atol=1e-12)


def test_a_kind_weighs_what_its_setting_says():
    rng = np.random.default_rng(2)
    one = SufficientStatistics.of(
        x := rng.normal(size=(40, 3)), x[:, :2] + rng.normal(size=(40, 2))
    )
    two = SufficientStatistics.of(rng.normal(size=(90, 3)), rng.normal(size=(90, 2)))
    kinds = {"a": "curves", "b": "quadrants", "c": "gems"}
    moments = {"a": one, "b": two, "c": two}
    without = least_squares.solve(moments, kinds, LossWeights(1.0, 0.0, 0.0, 1.0), np.zeros((3, 3)))
    alone = least_squares.solve(
        {"a": one}, {"a": "curves"}, LossWeights(1.0, 0.0, 0.0, 1.0), np.zeros(3)
    )
    np.testing.assert_allclose(without.slope, alone.slope, atol=1e-12)
    np.testing.assert_allclose(without.level, alone.level, atol=1e-12)
    half = least_squares.solve(moments, kinds, LossWeights(0.5, 0.5, 0.0, 1.0), np.zeros((3, 3)))
    assert np.abs(half.slope - alone.slope).max() > 0.01


def test_level_hardly_moves_the_map(corpora, trainer):
    db, louder = training_data.GAIN_UP
    fitted = trainer.fit(SETTING, (1,))
    material = next(iter(trainer.materials.values()))
    unheard = [t for t, k in zip(material.corpus.tracks, material.part, strict=True) if k == 1]
    moved = []
    for track in unheard:
        frames = cached_features(track.audio_path, FEATURES, corpora[1])
        copy = copied_features(track, FEATURES, louder, cache_dir=corpora[1])
        assert (copy - frames)[:, 0].mean() == pytest.approx(db, abs=1)
        moved.append((fitted(copy) - fitted(frames)).mean(axis=0))
    assert np.abs(moved).max() < 0.1


def test_a_fold_is_not_seen_by_what_predicts_it(corpora, trainer):
    before = trainer.fit(SETTING, (1,))
    material = next(iter(trainer.materials.values()))
    held = {t.id for t, k in zip(material.corpus.tracks, material.part, strict=True) if k == 1}
    lies = [
        replace(
            c,
            tracks=[
                replace(t, valence=-t.valence, arousal=-t.arousal) if t.id in held else t
                for t in c.tracks
            ],
        )
        for c in corpora[0]
    ]
    other = Trainer(lies, FEATURES, FOLDS, 7, corpora[1], progress=False)
    np.testing.assert_allclose(other.fit(SETTING, (1,)).slope, before.slope, atol=1e-12)
    assert np.abs(other.fit(SETTING).slope - trainer.fit(SETTING).slope).max() > 1e-6
    groups = [
        {t.group for t, k in zip(material.corpus.tracks, material.part, strict=True) if k == fold}
        for fold in range(FOLDS)
    ]
    assert not set.intersection(*map(set, groups[:2])) and not groups[0] & groups[2]


def test_settings_are_chosen_without_the_tested_fold(trainer):
    losses = trainer.losses()
    chosen = trainer.choose(losses, (0,))
    # Whatever is said of the tested fold changes nothing.
    tempting = {
        key: (0.0 if key[0] == least_squares.LOSS_WEIGHTS[-1] else 9.0)
        if key[2] == 0 or 0 not in key[1]
        else value
        for key, value in losses.items()
    }
    assert trainer.choose(tempting, (0,)) == chosen


def test_margin_covers_the_next_track():
    rng = np.random.default_rng(3)

    def curve():
        noise = rng.normal(0, rng.uniform(0.05, 0.2), 200)
        return Curve(np.arange(200), noise, np.zeros(200))

    width = intervals.margin([curve() for _ in range(300)], 0.9)
    assert np.mean([intervals.covered(curve(), width) for _ in range(300)]) == pytest.approx(
        0.9, abs=0.02
    )
    few = [curve() for _ in range(3)]
    assert intervals.margin(few, 0.9) == max(abs(c.true).max() for c in few)


def test_clip_scores():
    true = np.array([[1, 1], [-1, 1], [-1, -1], [1, -1]] * 5)
    perfect = scores.score_clips([str(i) for i in range(20)], true, 0.3 * true, 50)
    assert perfect["accuracy"] == {"value": 1, "low": 1, "high": 1}
    half = scores.score_clips([str(i) for i in range(20)], true, true * [-1, 1], 50)
    assert half["auc_valence"]["value"] == 0
    assert half["auc_arousal"]["value"] == 1
    assert half["accuracy"]["value"] == 0


def test_bundle_is_the_map_with_its_intervals(released, corpora, tmp_path, monkeypatch):
    card = experiments_release_card.export("light", released, scores.report(released, 20), tmp_path)
    model = inference_model.load("light", tmp_path)
    assert model.is_causal and not model.is_recurrent
    assert card.kind == "frame"
    track = corpora[0][0].tracks[0]
    frames = FeatureExtractor(FEATURES)
    samples = np.random.default_rng(0).normal(0, 0.1, 9 * SAMPLE_RATE).astype(np.float32)
    whole = Stream(model).push(samples)
    wanted = np.clip(released.map(frames.push(samples)), -1, 1)
    np.testing.assert_allclose(whole, wanted, atol=1e-4)
    # A stream that goes on elsewhere, with nothing but its state.
    first = Stream(model)
    head = first.push(samples[:70_001])
    second = Stream(model)
    second.restore(first.state())
    np.testing.assert_allclose(
        np.concatenate([head, second.push(samples[70_001:])]), whole, atol=1e-6
    )
    said = model.predict(track.audio_path)
    assert said.to_csv().splitlines()[0] == (
        "time_s,valence,arousal,valence_low,valence_high,arousal_low,arousal_high"
    )
    for target in TARGETS:
        width = said.columns()[f"{target}_high"] - getattr(said, target)
        np.testing.assert_allclose(
            width, np.minimum(released.margins[target], 1 - getattr(said, target)), atol=1e-6
        )
    assert scores.realtime_factor(model, track.audio_path, 1) > 1
    with pytest.raises(CorpusError, match="was trained on"):
        scores.score_unseen_corpus([model], corpora[0][0])


def test_missing_pretrained_weights_are_named(released, tmp_path, monkeypatch):
    from msr_utils.features import weights

    experiments_release_card.export("light", released, scores.report(released, 0), tmp_path)
    folder = tmp_path / "light"
    config = FeatureConfig((*FEATURES.blocks, "musicnn"), **training_data.RUNNING_STATS)
    features = config.to_json()
    inference_card = io.read_json(folder / "card.json") | {"feature_hash": config.hash}
    write_json(folder / "features.json", features)
    write_json(folder / "card.json", inference_card)
    monkeypatch.setenv("MSR_WEIGHTS", str(tmp_path / "none"))
    weights.session.cache_clear()
    with pytest.raises(PretrainedWeightsMissing, match="msr weights fetch"):
        inference_model.load("light", tmp_path)
    weights.session.cache_clear()


def test_what_cannot_be_taught_is_refused(corpora):
    with pytest.raises(CorpusError, match="one with quadrants"):
        Trainer(corpora[0][:1], FEATURES, FOLDS, 7, corpora[1], progress=False)


def test_the_shipped_bundles_follow_a_stream(tmp_path):
    path = tmp_path / "noise.wav"
    samples = np.random.default_rng(0).normal(0, 0.05, 4 * SAMPLE_RATE).astype(np.float32)
    sf.write(path, samples, SAMPLE_RATE, subtype="FLOAT")
    model = inference_model.load("light")
    assert model.is_causal
    assert set(model.margins) == set(TARGETS)
    np.testing.assert_allclose(
        Stream(model).push(samples)[:, 1], model.predict(path).arousal, atol=1e-5
    )


def test_what_unseen_music_says_is_in_the_card(released, corpora, tmp_path):
    scored = scores.report(released, 0)
    experiments_release_card.export("light", released, scored, tmp_path)
    curves = corpora[0][0]
    other = replace(
        curves, card=replace(curves.card, title="Other songs"), tracks=curves.tracks[:5]
    )
    heard = scores.score_unseen_corpus([inference_model.load("light", tmp_path)], other, 50)
    limits = experiments_release_card.unseen_limits("light", heard, "Other songs")
    card = experiments_release_card.export("light", released, scored, tmp_path, limits)
    assert set(limits) <= set(card.limits)
    text = (tmp_path / "light" / "CARD.md").read_text()
    assert "uncertain" in text and "5 songs of Other songs" in text
    for target in TARGETS:
        rows = heard["rows"][target]
        assert f"{rows['light'].pooled['rmse'].value:.3f} [" in text
        assert f"{rows['light'].song_means.value:.2f} [" in text
        labels = np.concatenate([getattr(t, target)[t.mask] for t in other.tracks])
        assert f"{np.sqrt((labels**2).mean()):.3f} of {target}" in text
        assert f"{100 * heard['coverage']['light'][target]:.0f} % of {target}" in limits[1]


def test_what_alterations_do_is_in_words():
    rows = [
        AlterationEffect(name, target, 1, abs(shift), shift, 1, 1, 0.2, 0.2, Estimate(0))
        for name, shifts in {"level +12 dB": (0.01, -0.02), "noise": (0.3, -0.4)}.items()
        for target, shift in zip(TARGETS, shifts, strict=True)
    ]
    (text,) = experiments_release_card.altered_limits(rows, "Songs")
    assert "songs of Songs" in text
    assert text.endswith("level +12 dB +0.010 and -0.020; noise +0.300 and -0.400.")


def test_a_peer_is_scored_on_the_same_clips(corpora, tmp_path):
    """By a package of the peer's name that reads the clips' true signs off their paths."""
    clips = corpora[0][1]
    signs = {str(t.audio_path.resolve()): affect.SIGNS[t.quadrant] for t in clips.tracks}
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
    found = peers.peer_scores(corpora[0], str(python), 0)
    (scored,) = found["vibenet 9.9"]["quadrants"].values()
    assert scored["auc_valence"]["value"] == scored["auc_arousal"]["value"] == 1
    assert "vibenet 9.9" in peers.peer_limits(found)[0]
    assert peers.peer_scores(corpora[0], "") == {}
    with pytest.raises(ValueError, match="BENCH_PEERS_PYTHON=.*nowhere"):
        peers.peer_scores(corpora[0], str(tmp_path / "nowhere"))
    package.joinpath("__init__.py").write_text("raise RuntimeError('no weights')")
    with pytest.raises(ValueError, match="no weights"):
        peers.peer_scores(corpora[0], str(python))

"""Profiles that matter, that do not, and the regression against a plain one frame by frame."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import papermill
import pytest
from benchmarks.real_data import DATA
from needs import needs_data
from sklearn.model_selection import GroupKFold

from msr_utils.corpora.base import (
    Card,
    Corpus,
    CorpusError,
    Track,
)
from msr_utils.experiments import rater_profiles
from msr_utils.figures import raters
from msr_utils.io import read_json
from msr_utils.paths import PROJECT_ROOT


def rated(effect=0.0, gain=0.0, tracks=24, people=12, frames=10, bias=0.3, seed=0, again=False):
    """Raters with a bias and noise; those who play differ by `effect`, and by `gain` in range.

    Each rates one track, or, `again`, all of them.
    """
    rng = np.random.default_rng(seed)
    profile, found = {}, []
    for number in range(tracks):
        course = rng.uniform(-0.8, 0.8) + 0.1 * rng.normal(size=frames)
        names, curves = [], []
        for person in range(people):
            name = f"r{person}" if again else f"r{number}-{person}"
            plays = person % 2 == 0
            profile[name] = {"track_id": "x", "plays": "yes" if plays else "no",
                             "tea": "milk" if rng.random() < 0.5 else "lemon"}  # fmt: skip
            own = course * (1 + gain * plays) + effect * plays + rng.normal(0, bias)
            curves.append(own + rng.normal(0, 0.1, frames))
            names.append(name)
        ratings = np.stack([curves, curves], axis=2).astype(np.float32)
        mean = ratings.mean(axis=0)
        times_s = np.arange(1, frames + 1) / 2
        found.append(
            Track(f"t{number}", Path("none.wav"), times_s, mean[:, 0], mean[:, 1], f"g{number}",
                  ratings=ratings, raters=tuple(names))
        )  # fmt: skip
    table = pd.DataFrame.from_dict(profile, orient="index")
    return Corpus("made", found, Card("made", "", "", ""), [], raters=table)


def test_deviations_are_from_the_others_of_the_track():
    corpus = rated(tracks=12)
    d = rater_profiles.deviations(corpus, "arousal")
    values = corpus.tracks[1].ratings[..., 1].astype(float)
    others = np.delete(values, 3, axis=0).mean(axis=0)
    own, row = values[3] - others, 12 + 3
    assert d.power[row] == pytest.approx(np.mean(own**2))
    assert d.moment[row] == pytest.approx([own.mean(), (own * others).mean()])
    assert d.gram[row] == pytest.approx(
        np.array([[1, others.mean()], [others.mean(), np.mean(others**2)]])
    )
    assert d.halves[row, :, 0] == pytest.approx([own[:5].mean(), own[5:].mean()])
    assert (d.track[row], list(d.profile)) == ("t1", ["plays", "tea"])


def test_frames_that_nobody_else_rated_do_not_count():
    corpus = rated(tracks=1, people=80)
    corpus.tracks[0].ratings[1:, :4] = np.nan
    corpus.tracks[0].ratings[5] = np.nan
    d = rater_profiles.deviations(corpus, "valence")
    assert len(d.power) == 79 and np.isfinite(d.power).all()
    values = corpus.tracks[0].ratings[..., 0].astype(float)
    others = np.delete(values, [0, 5], axis=0)[:, 4:].mean(axis=0)
    assert d.power[0] == pytest.approx(np.mean((values[0, 4:] - others) ** 2))


def test_errors_are_those_of_ridge_on_every_frame():
    corpus = rated(effect=0.3, gain=0.4, tracks=12)
    d = rater_profiles.deviations(corpus, "valence")
    z = rater_profiles.one_hot(d.profile)
    found = rater_profiles.held_out_errors(d, z, folds=3, alphas=(2.0,))
    rows = []
    for track in corpus.tracks:
        values = track.ratings[..., 0].astype(float)
        for person in range(len(values)):
            others = np.delete(values, person, axis=0).mean(axis=0)
            rows.append((others, values[person] - others))
    inputs = [
        np.concatenate([np.ones((10, 1)) * zr, m[:, None] * zr], 1)
        for zr, (m, _) in zip(z, rows, strict=True)
    ]
    penalty = np.full(2 * z.shape[1], 2.0)
    penalty[[0, z.shape[1]]] = 1e-9
    for _, test in GroupKFold(3).split(z, groups=d.track):
        train = [i for i in range(len(z)) if i not in test]
        # Each rater counts once: frames are weighted by their number.
        gram = sum(inputs[i].T @ inputs[i] / 10 for i in train)
        moment = sum(inputs[i].T @ rows[i][1] / 10 for i in train)
        w = np.linalg.solve(gram + np.diag(penalty), moment)
        for i in test:
            assert found[i] == pytest.approx(np.mean((rows[i][1] - inputs[i] @ w) ** 2))


@pytest.mark.slow
def test_a_profile_that_matters_is_found_and_by_its_name():
    effect = rater_profiles.profile_effect(rated(effect=0.5), "valence", 200, 99, progress=False)
    # Half of the raters differ by 0.5 from the others: about half of it from their mean, on
    # both sides, beside a bias of 0.3.
    rows = effect.rows
    expected = 0.25**2 / (0.25**2 + 0.3**2 + 0.1**2)
    assert rows[rater_profiles.ALL].value == pytest.approx(expected, abs=0.12)
    assert rows["plays"].low > 0.15
    assert rows["tea"].high < 0.1
    assert rows[rater_profiles.OWN_MEAN].value > rows[rater_profiles.OWN_BIAS].value > 0.7
    assert effect.gain.p_value == pytest.approx(0.01)
    assert effect.gain.value > effect.gain.chance
    assert (effect.raters, effect.tracks) == (288, 24)


def test_another_use_of_the_scale_is_found_too():
    effect = rater_profiles.profile_effect(
        rated(gain=0.8, bias=0.1), "arousal", 200, 0, progress=False
    )
    assert effect.rows["plays"].low > 0.2


@pytest.mark.extended
@pytest.mark.slow
def test_a_profile_that_does_not_matter_explains_nothing():
    p = []
    for seed in range(8):
        corpus = rated(seed=seed)
        effect = rater_profiles.profile_effect(corpus, "valence", 200, 39, progress=False)
        assert effect.gain.value < 0.03
        p.append(effect.gain.p_value)
    assert sum(value <= 0.05 for value in p) <= 2


def test_profiles_are_exchanged_within_tracks_only():
    track = np.array([1, 0, 1, 0, 1, 2])
    orders = [rater_profiles._exchange(track, np.random.default_rng(seed)) for seed in range(50)]
    for order in orders:
        assert sorted(order) == list(range(6))
        np.testing.assert_array_equal(track[order], track)
    assert len({tuple(order) for order in orders}) == 12  # 3! x 2!: all there are


def test_raters_of_many_tracks_lie_in_one_fold():
    d = rater_profiles.deviations(rated(again=True, tracks=3, people=80), "valence")
    assert set(d.fold_group) == {f"r{i}" for i in range(80)}
    once = rater_profiles.deviations(rated(tracks=12), "valence")
    assert set(once.fold_group) == {f"t{i}" for i in range(12)}


def test_rare_answers_are_taken_together_and_ages_in_years_are_cut():
    corpus = rated(tracks=20)
    rng = np.random.default_rng(0)
    corpus.raters["age"] = rng.integers(18, 80, len(corpus.raters))
    corpus.raters["country"] = ["FI"] * 3 + [""] * 5 + ["US"] * (len(corpus.raters) - 8)
    answers = rater_profiles.profile_of(corpus)
    assert answers.country.value_counts().to_dict() == {"US": 232, rater_profiles.RARE: 8}
    assert answers.age.nunique() == 5
    assert "track_id" not in answers


def test_what_is_missing_is_said():
    corpus = rated(tracks=12)
    alike = Corpus("alike", corpus.tracks, corpus.card, [], raters=corpus.raters[["track_id"]])
    with pytest.raises(CorpusError, match="do not differ"):
        rater_profiles.deviations(alike, "valence")
    nobody = Corpus("nobody", corpus.tracks, corpus.card, [])
    with pytest.raises(CorpusError, match="no profiles"):
        rater_profiles.deviations(nobody, "valence")
    unrated = Corpus("unrated", [], corpus.card, [], raters=corpus.raters)
    with pytest.raises(CorpusError, match="no two raters"):
        rater_profiles.deviations(unrated, "valence")


def test_table_and_figure_hold_every_row():
    corpus = rated(tracks=12)
    effects = {
        t: rater_profiles.profile_effect(corpus, t, 20, 3, progress=False)
        for t in ("valence", "arousal")
    }
    rows = [
        rater_profiles.OTHERS,
        "plays",
        "tea",
        rater_profiles.ALL,
        rater_profiles.OWN_MEAN,
        rater_profiles.OWN_BIAS,
    ]
    assert list(rater_profiles.effect_table(effects).index[:-1]) == rows
    labels = [t.get_text() for t in raters.rater_shares(effects).axes[0].get_yticklabels()]
    assert labels == rows


@pytest.mark.slow
@needs_data("vgmidi")
def test_on_vgmidi_the_bias_is_large_and_the_profile_small(tmp_path):
    papermill.execute_notebook(
        PROJECT_ROOT / "notebooks/05_raters.ipynb",
        tmp_path / "done.ipynb",
        cwd=PROJECT_ROOT,
        kernel_name="python3",
        progress_bar=False,
        parameters={
            "data_dir": str(DATA / "vgmidi"),
            "bootstrap": 200,
            "permutations": 19,
            "output_dir": str(tmp_path / "run"),
        },
    )
    effects = read_json(tmp_path / "run/metrics.json")["effects"]
    assert (tmp_path / "run/figures/raters.png").is_file()
    for effect in effects.values():
        assert (effect["raters"], effect["tracks"]) == (5977, 200)
        assert effect["rows"][rater_profiles.OWN_BIAS]["value"] > 0.4
        assert 0 < effect["rows"][rater_profiles.ALL]["value"] < 0.05
        assert effect["gain"]["p_value"] == 0.05

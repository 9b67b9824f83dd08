"""The search: seeded, pruned, resumed, refused. It does not read test tracks."""

from __future__ import annotations

import sqlite3
import time
from dataclasses import replace

import numpy as np
import optuna
import pytest
from optuna.trial import TrialState
from test_training import Killed, toy_sequences

from msr_utils import style
from msr_utils.dataset.splits import make_splits
from msr_utils.experiments import search, search_tables
from msr_utils.features.config import FeatureConfig
from msr_utils.figures import training
from msr_utils.models.lstm import LSTMConfig
from msr_utils.training import cross_validation
from msr_utils.training.loop import FitConfig
from msr_utils.training.settings import CrossValidation

pytestmark = pytest.mark.slow

TOY = toy_sequences(16, groups=8)
SPLITS = make_splits(TOY, 4)
CHOICES = {
    FeatureConfig("logmel"): TOY,
    FeatureConfig("chroma"): [replace(s, features=s.features[:, :2]) for s in TOY],
}


@pytest.fixture(scope="module", autouse=True)
def small():
    """The same space with networks of a few units."""
    whole = search.suggest

    def suggest(trial, features):
        config = whole(trial, features)
        units = (config.config.units[0] // 32,)
        return replace(config, config=replace(config.config, units=units), window_frames=24)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(search, "suggest", suggest)
        yield


@pytest.fixture(scope="module")
def three_trials(tmp_path_factory):
    """A search of three trials."""
    return run(tmp_path_factory.mktemp("search"), 3)


def run(folder, trials=4, splits=SPLITS[:1], inner_folds=2, sequences=CHOICES, **changes):
    fitting = FitConfig(epochs=2, seed=changes.pop("seed", 3))
    task = search.SearchTask(sequences, splits, "valence", fitting, inner_folds)
    return search.search(task, trials, folder=folder, progress=False, **changes)


def done_trials(study):
    return [(t.params, t.value, t.state) for t in study.trials if t.state in search.DONE]


@pytest.mark.extended
def test_the_value_is_the_mean_validation_loss_of_every_inner_part(tmp_path):
    study = run(tmp_path, trials=1, splits=SPLITS[:2])
    (trial,) = study.trials
    own = search.suggest(trial_of(trial.params), [search.choice_name(f) for f in CHOICES])
    (features,) = [s for f, s in CHOICES.items() if search.choice_name(f) == own.features]
    losses = list(
        cross_validation.validation_losses(
            own.config, FitConfig(2, own.batch_size, seed=3), features,
            CrossValidation(SPLITS[:2], "valence", own.window_frames, inner_folds=2),
            tmp_path / "again", progress=False,
        )
    )  # fmt: skip
    assert len(losses) == 4
    assert trial.value == pytest.approx(np.mean(losses), rel=1e-6)
    assert trial.intermediate_values[2] == pytest.approx(np.mean(losses[:2]), rel=1e-6)


def trial_of(params):
    return optuna.trial.FixedTrial(params)


@pytest.mark.extended
def test_networks_are_those_of_cross_validation(tmp_path):
    """Same parts, seeds and stopping: what is chosen here is what is trained there."""
    config, fitting = LSTMConfig((4,)), FitConfig(2, 8, seed=3)
    settings = CrossValidation(SPLITS[:1], "arousal", 24, inner_folds=2, seeds=2)
    losses = list(
        cross_validation.validation_losses(config, fitting, TOY, settings, tmp_path / "a", False)
    )
    history = cross_validation.cross_validate(
        config, fitting, TOY, settings, progress=False, trainings=tmp_path / "b"
    ).history
    assert losses == pytest.approx(list(history.groupby("network").val_loss.min()))


def test_test_tracks_are_not_read(tmp_path):
    held = set(SPLITS[0].test)
    assert held
    spoiled = {
        f: [
            replace(s, features=s.features * np.nan, labels=s.labels + 9) if s.id in held else s
            for s in own
        ]
        for f, own in CHOICES.items()
    }
    clean, other = run(tmp_path / "a", 1), run(tmp_path / "b", 1, sequences=spoiled)
    assert done_trials(clean) == done_trials(other)
    assert clean.user_attrs == other.user_attrs


@pytest.mark.extended
def test_the_seed_draws_the_trials(tmp_path):
    one, same, other = (run(tmp_path / str(i), 2, seed=s) for i, s in enumerate((3, 3, 4)))
    assert done_trials(one) == done_trials(same)
    assert [t.params for t in one.trials] != [t.params for t in other.trials]
    assert one.trials[0].params != one.trials[1].params


@pytest.mark.parametrize(
    "end", [pytest.param(KeyboardInterrupt, marks=pytest.mark.extended), Killed]
)
def test_a_stopped_search_goes_on(tmp_path, monkeypatch, three_trials, end):
    monkeypatch.setattr(search, "HEARTBEAT_S", 1)
    real, calls = cross_validation._Training.train_network, []

    def dies_in_the_second_trial(*args):
        calls.append(args)
        if len(calls) == 4:  # after the first of its two networks
            raise end
        return real(*args)

    with monkeypatch.context() as patch:
        patch.setattr(cross_validation._Training, "train_network", dies_in_the_second_trial)
        with pytest.raises(end):
            run(tmp_path / "cut", 2)
    if end is Killed:
        time.sleep(4)  # until its heartbeat is missed
    study = run(tmp_path / "cut", 2)
    assert [t.state for t in study.trials].count(TrialState.FAIL) == 1
    assert done_trials(study) == done_trials(three_trials)[:2]
    # A larger budget goes on, the same one has nothing to do.
    assert done_trials(run(tmp_path / "cut", 3)) == done_trials(three_trials)
    assert len(run(tmp_path / "cut", 3).trials) == 4
    left = [p for p in (tmp_path / "cut").rglob("trial-*")]
    assert not left, "networks of finished trials stay"


@pytest.mark.extended
def test_a_study_on_something_else_is_refused(tmp_path):
    url = f"sqlite:///{tmp_path / 'shared.db'}"
    assert len(run(tmp_path / "a", 1, storage=url).trials) == 1
    # Another machine, with folders of its own, joins.
    assert len(run(tmp_path / "b", 2, storage=url).trials) == 2
    relabelled = {f: [replace(s, labels=-s.labels) for s in own] for f, own in CHOICES.items()}
    for words, changes in (
        ("other data", {"sequences": relabelled}),
        ("other training", {"seed": 4}),
        ("other tracks", {"splits": SPLITS[1:2]}),
        ("other inner_folds", {"inner_folds": 3}),
        ("other features", {"sequences": dict(list(CHOICES.items())[:1])}),
    ):
        with pytest.raises(
            ValueError, match=f"storage: holds a search 'lstm-valence' with .*{words[6:]}"
        ):
            run(tmp_path / "c", 2, storage=url, **changes)
    assert len(run(tmp_path / "d", 1, storage=url, seed=4, name="other").trials) == 1
    # A database whose facts were changed is none of ours either.
    with sqlite3.connect(tmp_path / "shared.db") as database:
        database.execute(
            "update study_user_attributes "
            "set value_json = replace(value_json, '\"valence\"', '\"x\"')"
        )
    with pytest.raises(ValueError, match="other target"):
        run(tmp_path / "a", 2, storage=url)


def test_bad_trials_are_pruned_by_the_mean_so_far(tmp_path, monkeypatch):
    # First parts are easy: the lowest report never says that a trial is bad.
    reports = iter([*[(0.1, 0.2, 0.3)] * 5, (0.1, 0.9, 0.1), (0.05, 0.1, 0.2)])
    monkeypatch.setattr(cross_validation, "validation_losses", lambda *a, **k: iter(next(reports)))
    study = run(tmp_path, 7, inner_folds=3)
    states = [t.state for t in study.trials]
    assert states == [TrialState.COMPLETE] * 5 + [TrialState.PRUNED, TrialState.COMPLETE]
    assert study.trials[5].user_attrs["losses"] == [0.1, 0.9]
    assert search_tables.best_trial(study).number == 6


@pytest.mark.extended
def test_a_diverged_trial_is_pruned_with_its_message(tmp_path, monkeypatch):
    whole = search.suggest

    def first_explodes(trial, features):
        own = whole(trial, features)
        wild = replace(own.config, activation="linear", learning_rate=1e30, norm="none")
        return replace(own, config=wild) if trial.number == 0 else own

    monkeypatch.setattr(search, "suggest", first_explodes)
    study = run(tmp_path / "b", 1)
    assert study.trials[0].state == TrialState.PRUNED
    assert "lower learning_rate" in study.trials[0].user_attrs["message"]
    with pytest.raises(ValueError, match="none of 1 trials was completed; .*the loss is"):
        search_tables.results(study)
    results = search_tables.results(run(tmp_path / "b", 3))
    assert results.best.trial > 0 and results.pruned >= 1
    (diverged,) = [trial for trial in results.trials if trial.trial == 0]
    assert "lower learning_rate" in diverged.message and diverged.losses == []


def test_results_of_a_search(tmp_path, three_trials):
    study = three_trials
    results, table = search_tables.results(study), search_tables.trial_table(study)
    assert results.completed + results.pruned == len(table) == 3
    assert results.best.loss == table.loss[table.state == "complete"].min()
    best = results.best.parameters
    depth = study.trials[results.best.trial].params["depth"]
    assert len(best["units"]) == depth and "depth" not in best
    assert sum(results.importances.values()) == pytest.approx(1)
    assert set(results.importances) == set(search.PARAMETERS)
    style.save(training.search_slices(table, search.PARAMETERS, "valence"), tmp_path, "slices")
    style.save(training.search_importances(results.importances), tmp_path, "importances")
    assert all(
        (tmp_path / "figures" / f"{n}.png").stat().st_size for n in ("slices", "importances")
    )


def test_wrong_parameters_are_named(tmp_path):
    with pytest.raises(ValueError, match="trials: must be at least 1"):
        run(tmp_path, 0)
    assert search.select_folds(SPLITS, [2, 1]) == [SPLITS[1], SPLITS[0]]
    for numbers in ([], [0], [5], [1, 1]):
        with pytest.raises(ValueError, match="searched: needs different numbers of 1 to 4"):
            search.select_folds(SPLITS, numbers)

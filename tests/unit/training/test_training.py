"""Training: masks, determinism across processes, resuming, no skill on shuffled labels."""

from __future__ import annotations

import hashlib
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from msr_utils.dataset.sequences import Sequence2Hz
from msr_utils.dataset.splits import make_splits
from msr_utils.dataset.windows import Windows, make_windows
from msr_utils.evaluation import baselines
from msr_utils.metrics import scores as metrics_scores
from msr_utils.models.ensemble import parts
from msr_utils.models.linear import LinearConfig
from msr_utils.models.lstm import LSTMConfig, build_lstm
from msr_utils.training import artifacts, cross_validation
from msr_utils.training.loop import (
    FitConfig,
    compile_model,
    fit,
    set_seed,
)
from msr_utils.training.settings import CrossValidation

SMALL = LSTMConfig((8, 8), dropout=0.2, learning_rate=5e-3)


def toy_sequences(tracks: int = 12, frames: int = 24, groups: int = 6) -> list[Sequence2Hz]:
    """Valence is a running mean of the first feature, arousal of the second: learnable."""
    rng = np.random.default_rng(0)
    found = []
    for i in range(tracks):
        x = rng.normal(0, 1, (frames, 4)).astype(np.float32) + rng.normal(0, 1, 4).astype(
            np.float32
        )
        steps = np.arange(1, frames + 1)
        labels = np.stack([np.cumsum(x[:, k]) / steps for k in (0, 1)], axis=1) * 0.3
        found.append(
            Sequence2Hz(
                f"t{i}", f"g{i % groups}", "", x, labels.astype(np.float32), np.ones(frames, bool)
            )
        )
    return found


def toy_windows() -> tuple[Windows, Windows]:
    sequences = toy_sequences()
    return make_windows(sequences[:8], "valence", 12), make_windows(sequences[8:], "valence", 12)


def train(folder: Path, epochs: int = 4, windows=None):
    set_seed(5)
    model = compile_model(build_lstm(SMALL, np.zeros(4), np.ones(4)), SMALL.learning_rate)
    history = fit(
        model, *(windows or toy_windows()), FitConfig(epochs, 4, 10, seed=5), folder, progress=False
    )
    return model, history


def without_time(history):
    return [{k: v for k, v in row.items() if k != "seconds"} for row in history]


@pytest.mark.slow
def test_loss_falls_and_the_best_epoch_is_kept(tmp_path):
    model, history = train(tmp_path, epochs=12)
    assert history[-1]["loss"] < 0.95 * history[0]["loss"]
    best = min(h["val_loss"] for h in history)
    _, validation = toy_windows()
    error = np.asarray(model(validation.features)) - validation.labels
    assert np.mean(error**2) == pytest.approx(best, rel=1e-4)


def test_training_loss_is_the_mean_over_the_epochs_frames(tmp_path):
    train_part, _ = toy_windows()
    set_seed(5)
    still = compile_model(build_lstm(LSTMConfig((4,)), np.zeros(4), np.ones(4)), 1e-12, 0)
    weights = train_part.weights.copy()
    weights[:3, 2:] = 0
    (row,) = fit(
        still, replace(train_part, weights=weights), None, FitConfig(1, 5, 1, 0, 5), tmp_path,
        progress=False,
    )  # fmt: skip
    error = np.asarray(still(train_part.features)) - train_part.labels
    assert row["loss"] == pytest.approx(np.average(error[..., 0] ** 2, weights=weights), rel=1e-4)
    assert row["mae"] == pytest.approx(np.average(np.abs(error[..., 0]), weights=weights), rel=1e-4)


@pytest.mark.slow
def test_masked_frames_do_not_matter(tmp_path):
    def spoiled(windows: Windows, value: float) -> Windows:
        labels, weights = windows.labels.copy(), windows.weights.copy()
        labels[:, 8:], weights[:, 8:] = value, 0
        return replace(windows, labels=labels, weights=weights)

    plain = tuple(spoiled(w, 0.0) for w in toy_windows())
    wild = tuple(spoiled(w, 100.0) for w in toy_windows())
    first, first_history = train(tmp_path / "a", windows=plain)
    second, second_history = train(tmp_path / "b", windows=wild)
    assert without_time(first_history) == without_time(second_history)
    for a, b in zip(first.get_weights(), second.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)


SCRIPT = """
import sys
from pathlib import Path
sys.path[:0] = [sys.argv[1], str(Path(sys.argv[1]).parents[1])]
import test_training
test_training.report(Path(sys.argv[2]))
"""


def report(folder: Path) -> None:
    """Train, and print the hash of the weights and the history."""
    model, history = train(folder)
    print(hashlib.sha256(b"".join(w.tobytes() for w in model.get_weights())).hexdigest())
    print(without_time(history))


@pytest.mark.slow
def test_two_processes_train_bit_identically(tmp_path, capfd):
    report(tmp_path / "here")
    here = capfd.readouterr().out
    there = subprocess.run(
        [sys.executable, "-c", SCRIPT, str(Path(__file__).parent), str(tmp_path / "there")],
        capture_output=True, text=True, check=True,
    ).stdout  # fmt: skip
    assert here == there
    assert len(here.splitlines()[0]) == 64


class Killed(BaseException):
    """Stands for a kill: nothing in the code under test may catch it."""


@pytest.mark.slow
def test_a_killed_training_ends_as_if_it_had_not_been(tmp_path, monkeypatch):
    whole, whole_history = train(tmp_path / "whole", epochs=6)
    from msr_utils.training import loop

    real, calls = loop._save_state, []

    def save_then_die(*args):
        real(*args)
        calls.append(1)
        if len(calls) == 3:
            raise Killed

    with monkeypatch.context() as patch:
        patch.setattr(loop, "_save_state", save_then_die)
        with pytest.raises(Killed):
            train(tmp_path / "cut", epochs=6)
    again, history = train(tmp_path / "cut", epochs=6)
    # Dropout, shuffling, Adam and the best epoch all go on where they were.
    assert without_time(history) == without_time(whole_history)
    for a, b in zip(again.get_weights(), whole.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.mark.slow
def test_a_kill_between_the_two_files_of_the_state_repeats_that_epoch(tmp_path, monkeypatch):
    whole, _ = train(tmp_path / "whole", epochs=4)
    from msr_utils.training import loop

    real, saved = loop._save_arrays, []

    def die_on_the_second_state(path, arrays):
        if path.name == "state.npz":
            saved.append(1)
            if len(saved) == 2:
                raise Killed
        real(path, arrays)

    with monkeypatch.context() as patch:
        patch.setattr(loop, "_save_arrays", die_on_the_second_state)
        with pytest.raises(Killed):
            train(tmp_path / "cut", epochs=4)
    again, history = train(tmp_path / "cut", epochs=4)
    assert [h["epoch"] for h in history] == [1, 2, 3, 4]
    for a, b in zip(again.get_weights(), whole.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.mark.slow
def test_averaged_weights_are_the_average_over_steps(tmp_path):
    steps = []
    set_seed(5)
    model = compile_model(build_lstm(SMALL, np.zeros(4), np.ones(4)), 1e-2, averaging=0.5)
    real = model.train_on_batch

    def recorded(*args, **options):
        logs = real(*args, **options)
        steps.append(model.get_weights()[-1].copy())
        return logs

    model.train_on_batch = recorded
    train_part, _ = toy_windows()
    fit(model, train_part, None, FitConfig(1, 4, 1, 0.5, 5), tmp_path, progress=False)
    average = steps[0]
    for step in steps[1:]:
        average = 0.5 * average + 0.5 * step
    assert len(steps) == 4
    np.testing.assert_allclose(model.get_weights()[-1], average, rtol=1e-5)


@pytest.mark.slow
def test_patience_ends_training(tmp_path):
    train_part, validation = toy_windows()
    # Nothing can be learnt about these: validation gets worse soon.
    opposite = replace(validation, labels=-validation.labels)
    set_seed(5)
    model = compile_model(build_lstm(SMALL, np.zeros(4), np.ones(4)), SMALL.learning_rate)
    history = fit(
        model, train_part, opposite, FitConfig(60, 4, 2, seed=5), tmp_path, progress=False
    )
    best = int(np.argmin([h["val_loss"] for h in history]))
    assert len(history) == best + 3 < 60


@pytest.mark.slow
def test_a_loss_that_explodes_says_what_to_do(tmp_path):
    train_part, validation = toy_windows()
    bad = replace(train_part, features=train_part.features * np.inf)
    with pytest.raises(FloatingPointError, match="learning_rate"):
        train(tmp_path, windows=(bad, validation))


@pytest.mark.slow
def test_another_configuration_does_not_take_up_old_work(tmp_path):
    train(tmp_path, epochs=2)
    with pytest.raises(ValueError, match="other parameters"):
        train(tmp_path, epochs=3)


def cross_validated(sequences, folder, epochs=25, inner=1, copies=None, folds=3):
    splits = make_splits(sequences, folds)
    config = LSTMConfig((8,), learning_rate=1e-2)
    trained = cross_validation.cross_validate(
        config,
        FitConfig(epochs, 4, 8, averaging=0.9, seed=1),
        sequences,
        CrossValidation(splits, "valence", 24, inner, inner),
        copies=copies,
        progress=False,
        trainings=folder,
    )
    constant = baselines.baseline_predictions(sequences, splits, "valence")["constant"]
    scores = [
        metrics_scores.evaluate(p, 0).pooled["rmse"].value for p in (trained.predictions, constant)
    ]
    return trained, *scores


@pytest.mark.slow
def test_cross_validation_learns_a_rule_and_nothing_from_shuffled_labels(tmp_path):
    sequences = toy_sequences(24)
    trained, rmse, constant = cross_validated(sequences, tmp_path / "a")
    assert set(trained.predictions) == {s.id for s in sequences}
    assert sorted(trained.history.fold.unique()) == [0, 1, 2, 3]
    assert rmse < 0.7 * constant
    order = np.random.default_rng(1).permutation(len(sequences))
    shuffled = [
        replace(s, labels=sequences[k].labels) for s, k in zip(sequences, order, strict=True)
    ]
    _, rmse, constant = cross_validated(shuffled, tmp_path / "b", folds=2)
    assert rmse > 0.85 * constant


@pytest.mark.slow
def test_what_is_held_out_for_test_moves_no_weight(tmp_path):
    """Neither the normalisation nor the training reads test tracks."""
    sequences = toy_sequences()
    split = make_splits(sequences, 3)[:1]
    config = LSTMConfig((8,), learning_rate=1e-2)
    other = [
        replace(s, features=3 * s.features + 1, labels=-s.labels) if s.id in split[0].test else s
        for s in sequences
    ]
    trained = [
        cross_validation.cross_validate(
            config, FitConfig(2, 4, 8, seed=1), own, CrossValidation(split, "valence", 24),
            progress=False, trainings=tmp_path / name,
        )
        for name, own in {"a": sequences, "b": other}.items()
    ]  # fmt: skip
    x = sequences[0].features[None]
    np.testing.assert_array_equal(*(np.asarray(one.model(x)) for one in trained))
    first, second = (one.predictions[split[0].test[0]].predicted for one in trained)
    assert np.abs(first - second).max() > 1e-4  # the other features were heard


@pytest.mark.extended
@pytest.mark.slow
def test_inner_folds_give_the_mean_of_networks_stopped_by_their_own_part(tmp_path):
    sequences = toy_sequences()
    trained, rmse, constant = cross_validated(sequences, tmp_path, inner=2)
    assert sorted(trained.history.network.unique()) == [1, 2]
    assert trained.history.val_loss.notna().all()
    networks = parts(trained.model)
    assert len(networks) == 2
    x = sequences[0].features[None]
    each = [np.asarray(network(x)) for network in networks]
    assert np.abs(each[0] - each[1]).max() > 1e-4
    np.testing.assert_allclose(np.asarray(trained.model(x)), np.mean(each, axis=0), atol=1e-6)
    assert rmse < constant
    # All that was done is found again, the joined weights included.
    again, *_ = cross_validated(sequences, tmp_path, inner=2)
    np.testing.assert_array_equal(again.model(x), trained.model(x))


@pytest.mark.slow
def test_finished_folds_are_not_trained_again(tmp_path, monkeypatch):
    sequences = toy_sequences()
    first, *_ = cross_validated(sequences, tmp_path, epochs=2, folds=2)
    with monkeypatch.context() as patch:
        patch.setattr(cross_validation, "fit", lambda *a: pytest.fail("trained again"))
        second, *_ = cross_validated(sequences, tmp_path, epochs=2, folds=2)
    for name, curve in first.predictions.items():
        np.testing.assert_array_equal(second.predictions[name].predicted, curve.predicted)
    for a, b in zip(first.model.get_weights(), second.model.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)
    # Other labels are other work.
    changed = [replace(s, labels=s.labels * 0.5) for s in sequences]
    third, *_ = cross_validated(changed, tmp_path, epochs=2, folds=2)
    assert not np.array_equal(third.predictions["t0"].true, first.predictions["t0"].true)


@pytest.mark.extended
@pytest.mark.slow
def test_altered_copies_are_trained_on_and_nothing_else(tmp_path):
    sequences = toy_sequences()
    plain, *_ = cross_validated(sequences, tmp_path / "a", epochs=2)
    # Copies of one track alone: only the folds that train on it may change.
    one = {"t0": [replace(sequences[0], labels=sequences[0].labels + 1)]}
    copied, *_ = cross_validated(sequences, tmp_path / "a", epochs=2, copies=one)
    for number, split in enumerate(make_splits(sequences, 3)):
        seen = "t0" in split.train
        for name in split.test:
            true = copied.predictions[name].true
            np.testing.assert_array_equal(true, plain.predictions[name].true)
            same = np.array_equal(
                copied.predictions[name].predicted, plain.predictions[name].predicted
            )
            assert same != seen, (number, name)


def test_positions_that_are_never_trained_are_refused(tmp_path):
    from msr_utils.models.transformer import TransformerConfig

    sequences = toy_sequences()
    with pytest.raises(ValueError, match="max_frames: 90 positions, but windows of 24"):
        cross_validation.cross_validate(
            TransformerConfig(), FitConfig(1), sequences,
            CrossValidation(make_splits(sequences, 3), "valence", 24), trainings=tmp_path,
        )  # fmt: skip


def test_long_tracks_are_predicted_in_windows_the_model_can_take():
    from msr_utils.models.transformer import TransformerConfig, build_transformer
    from msr_utils.training.loop import predict_sequences

    config = TransformerConfig(layers=1, hidden=8, heads=2, max_frames=10)
    model = build_transformer(config, np.zeros(4, np.float32), np.ones(4, np.float32))
    (sequence,) = toy_sequences(1, 24, 1)
    got = predict_sequences(model, [sequence], config.max_frames)["t0"]
    assert got.shape == (24,)
    last = np.asarray(model(sequence.features[None, 20:]))[0, :, 0]
    np.testing.assert_allclose(got[20:], last, atol=1e-6)


@pytest.mark.slow
@pytest.mark.parametrize(
    "change",
    [{"dropout": 0.3}, {"norm": "batch"}, {"bidirectional": True}, {"joint": True}]
    + [
        pytest.param(change, marks=pytest.mark.extended)
        for change in ({"activation": "relu"}, {"norm": "layer"}, {"units": (8, 6)})
    ],
)
def test_every_kind_of_lstm_learns_the_rule(tmp_path, change):
    sequences = toy_sequences(24)
    splits = make_splits(sequences, 3)[:1]
    trained = cross_validation.cross_validate(
        LSTMConfig(**{"units": (8, 8), "learning_rate": 1e-2, **change}),
        FitConfig(25, 4, 8, averaging=0.9, seed=1), sequences,
        CrossValidation(splits, "valence", 24), progress=False, trainings=tmp_path,
    )  # fmt: skip
    constant = baselines.baseline_predictions(sequences, splits, "valence")["constant"]
    rmse, flat = (
        metrics_scores.evaluate(p, 0).pooled["rmse"].value for p in (trained.predictions, constant)
    )
    assert rmse < 0.8 * flat


def test_a_joint_model_learns_the_other_target_as_well(tmp_path):
    sequences = toy_sequences()
    windows = make_windows(sequences, "arousal", 12, joint=True)
    alone = make_windows(sequences, "arousal", 12), make_windows(sequences, "valence", 12)
    np.testing.assert_array_equal(windows.labels, np.concatenate([w.labels for w in alone], -1))
    assert build_lstm(replace(SMALL, joint=True), np.zeros(4), np.ones(4)).output_shape[-1] == 2


@pytest.mark.extended
@pytest.mark.slow
def test_seeds_give_networks_of_their_own_and_their_mean(tmp_path):
    sequences = toy_sequences()
    trained = cross_validation.cross_validate(
        LSTMConfig((4,)), FitConfig(1, 4, 1, seed=1), sequences,
        CrossValidation(make_splits(sequences, 3), "valence", 24, seeds=3), progress=False,
        trainings=tmp_path,
    )  # fmt: skip
    assert len(trained.singles) == 3
    for name, curve in trained.predictions.items():
        each = [single[name].predicted for single in trained.singles]
        assert np.ptp(each, axis=0).max() > 1e-4
        np.testing.assert_allclose(curve.predicted, np.mean(each, axis=0), atol=1e-6)
    assert len(artifacts.single_scores(trained.singles)["r"]) == 3


def test_too_few_seeds_for_the_validation_parts_is_an_error(tmp_path):
    sequences = toy_sequences()
    with pytest.raises(ValueError, match="seeds: 1 networks for 2 inner folds"):
        cross_validation.cross_validate(
            LSTMConfig((4,)), FitConfig(1), sequences,
            CrossValidation(make_splits(sequences, 3), "valence", 24, inner_folds=2),
            trainings=tmp_path,
        )  # fmt: skip


@pytest.mark.slow
def test_the_linear_family_is_ridge_regression(tmp_path):
    from sklearn.linear_model import Ridge
    from sklearn.preprocessing import StandardScaler

    sequences = toy_sequences(24)
    splits = make_splits(sequences, 3)
    trained = cross_validation.cross_validate(
        LinearConfig((10.0,)), FitConfig(1), sequences,
        CrossValidation(splits, "valence", 24, inner_folds=2), trainings=tmp_path,
    )  # fmt: skip
    by_id = {s.id: s for s in sequences}
    known = [by_id[i] for i in splits[0].train + splits[0].validation]
    x = np.concatenate([s.features[s.mask] for s in known])
    y = np.concatenate([s.target("valence")[s.mask] for s in known])
    scaler = StandardScaler().fit(x)
    wanted = Ridge(10.0).fit(scaler.transform(x), y)
    for name in splits[0].test:
        s = by_id[name]
        np.testing.assert_allclose(
            trained.predictions[name].predicted,
            wanted.predict(scaler.transform(s.features[s.mask])),
            atol=1e-4,
        )
    assert trained.history.columns.tolist() == ["alpha", "val_loss", "network", "fold"]

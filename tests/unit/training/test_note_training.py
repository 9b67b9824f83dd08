"""Trainings on notes: they learn, they continue after a kill, and what is finished is read."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from note_files import piece

from msr_utils.models.backend import keras
from msr_utils.models.note_networks import (
    NoteLSTMConfig,
    NoteTransformerConfig,
    pretraining_model,
    transformer_backbone,
)
from msr_utils.symbolic.words import MASK, N_SPECIAL, PADDING, SIZES, words
from msr_utils.training import note_training
from msr_utils.training.note_training import (
    ClassifierTraining,
    Parts,
    Pretraining,
    embed,
    pretrain,
    train_classifier,
)

TINY = NoteTransformerConfig("bert", layers=1, hidden=16, heads=2, length=16)
MODES = ("major", "minor")


@pytest.fixture
def trainings(tmp_path, monkeypatch):
    monkeypatch.setattr(note_training, "TRAININGS", tmp_path)
    return tmp_path / "notes"


def clips(count: int):
    """High pieces in major (Q1) and low ones in minor (Q3)."""
    labels = np.arange(count) // 3 % 2
    pieces = [piece(72 - 24 * label + k % 7, MODES[label]) for k, label in enumerate(labels)]
    parts = Parts(*(np.arange(count)[k::3] for k in range(3)))
    return [[words(notes)] for notes in pieces], 2 * labels, parts


@pytest.mark.parametrize("kind", ["bert", "gpt"])
def test_batches_of_pretraining(kind):
    network = replace(TINY, kind=kind)
    pieces = [words(piece(50 + k)) for k in range(4)] + [words(piece())[:5]]
    inputs, targets, weights = note_training._pretraining_batch(
        pieces, network, np.random.default_rng(0)
    )
    found = np.stack(targets, axis=-1)
    assert inputs.shape == found.shape == (5, 16, 4) and len(weights) == len(SIZES)
    asked = weights[0] > 0
    assert asked.any(axis=1).all() and not asked[-1, 5:].any()
    if kind == "gpt":
        np.testing.assert_array_equal(inputs[:, 1:], found[:, :-1])
        np.testing.assert_array_equal(asked, found[..., 0] != PADDING)
    else:
        np.testing.assert_array_equal(inputs[~asked], found[~asked])
        masked = (inputs == MASK).all(axis=-1)
        assert masked.any() and not (masked & ~asked).any()
        assert (found[asked] >= N_SPECIAL).all()


@pytest.mark.slow
def test_gpt_sees_no_later_note_and_nothing_reads_padding():
    sequence = words(piece())[None, :16]
    for kind in ("gpt", "bert"):
        backbone = transformer_backbone(replace(TINY, kind=kind, dropout=0.0))
        before = np.asarray(backbone(sequence))
        later = sequence.copy()
        later[0, 10:] = N_SPECIAL + 5
        after = np.asarray(backbone(later))
        same = np.isclose(before, after, atol=1e-5).all(axis=-1)[0]
        assert same[:10].all() == (kind == "gpt") and not same[10:].any()
        short = sequence.copy()
        short[0, 8:] = PADDING
        cut = np.asarray(transformer_backbone_of(backbone, 8)(sequence[:, :8]))
        np.testing.assert_allclose(np.asarray(backbone(short))[:, :8], cut, atol=1e-5)


def transformer_backbone_of(backbone: keras.Model, length: int) -> keras.Model:
    """The same weights for shorter sequences."""
    kind = backbone.name
    shorter = transformer_backbone(replace(TINY, kind=kind, length=length, dropout=0.0))
    weights = [
        w[:length] if w.shape == (TINY.length, TINY.hidden) else w for w in backbone.get_weights()
    ]
    shorter.set_weights(weights)
    return shorter


@pytest.mark.slow
@pytest.mark.extended
def test_pretraining_continues_after_a_kill(trainings, monkeypatch):
    monkeypatch.setattr(note_training, "ROUND", 2)
    pieces = [piece(50 + k) for k in range(3)]
    settings = Pretraining(steps=6, batch_size=4)
    weights, history = pretrain(pieces, TINY, settings, progress=False)
    assert [row["round"] for row in history] == [1, 2, 3]
    whole = embed(weights, TINY, [[words(pieces[0])]], 4)
    again, _ = pretrain(pieces, TINY, settings, progress=False)
    assert again == weights

    saved, killed = note_training._save, []

    def save_once(model, path):
        saved(model, path)
        killed.append(path)
        if len(killed) == 2:
            raise KeyboardInterrupt

    # The same training in another folder, killed after its second round.
    monkeypatch.setattr(note_training, "TRAININGS", trainings.parent / "other")
    monkeypatch.setattr(note_training, "_save", save_once)
    with pytest.raises(KeyboardInterrupt):
        pretrain(pieces, TINY, settings, progress=False)
    monkeypatch.setattr(note_training, "_save", saved)
    continued, second = pretrain(pieces, TINY, settings, progress=False)
    assert continued != weights
    assert [row["loss"] for row in second] == pytest.approx([row["loss"] for row in history])
    np.testing.assert_allclose(embed(continued, TINY, [[words(pieces[0])]], 4), whole, atol=1e-6)


@pytest.mark.slow
def test_a_classifier_tells_major_from_minor_and_is_read_again(trainings):
    sequences, labels, parts = clips(24)
    settings = ClassifierTraining(epochs=10, batch_size=8, learning_rate=1e-2)
    trained = train_classifier(sequences, labels, parts, TINY, settings, progress=False)
    assert trained.test.shape == (8, 4)
    np.testing.assert_allclose(trained.test.sum(axis=1), 1, atol=1e-5)
    right = trained.test.argmax(axis=1) == labels[parts.test]
    assert right.mean() >= 0.75
    folders = sorted(trainings.iterdir())
    again = train_classifier(sequences, labels, parts, TINY, settings, progress=False)
    np.testing.assert_array_equal(again.test, trained.test)
    assert sorted(trainings.iterdir()) == folders
    # The labels of the test part do not count.
    other = labels.copy()
    other[parts.test] = 1
    train_classifier(sequences, labels, parts, TINY, settings, progress=False)
    assert np.isfinite([row["validation_loss"] for row in trained.history]).all()


@pytest.mark.slow
@pytest.mark.parametrize("attention", [pytest.param(False, marks=pytest.mark.extended), True])
def test_an_lstm_reads_tokens(trainings, attention):
    sequences, labels, parts = clips(12)
    tokens = [[copy[:, 0] for copy in clip] for clip in sequences]
    network = NoteLSTMConfig(
        vocabulary=SIZES[0], units=(8,), attention=attention, embedding=8, length=24
    )
    settings = ClassifierTraining(epochs=2, batch_size=4)
    trained = train_classifier(tokens, labels, parts, network, settings, progress=False)
    assert np.isfinite(trained.test).all() and len(trained.history) == 2


def test_unknown_kind():
    with pytest.raises(ValueError, match="kind: must be one of bert, gpt, not 'mamba'"):
        NoteTransformerConfig("mamba")


def test_the_pretraining_model_has_a_head_for_each_attribute():
    model = pretraining_model(transformer_backbone(TINY))
    assert [output.shape[1:] for output in model.outputs] == [(16, size) for size in SIZES]

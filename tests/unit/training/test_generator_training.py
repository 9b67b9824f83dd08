"""Training of generators: what a network is told, resuming, and the exported graph."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from note_files import piece

from msr_utils.experiments.generation.material import UNLABELLED
from msr_utils.export.bundle import ExportError
from msr_utils.export.generator import check_parity, export_generator
from msr_utils.generation import EmotionCurve, Generator, GeneratorCard, MusicRequest
from msr_utils.generation.attributes import PITCH_ATTRIBUTE, AttributeModel
from msr_utils.generation.codes import PITCH, START
from msr_utils.generation.condition import CONDITION_SIZE, EMOTION, KEY, MUSIC
from msr_utils.generation.graph import GeneratorConfig
from msr_utils.training import generator_training, note_training
from msr_utils.training.generator_training import (
    EmotionalPiece,
    GeneratorTraining,
    attribute_moments,
    train_generator,
    trained_network,
)

LSTM = GeneratorConfig("lstm", 2, 12, 8, 8)
GPT = GeneratorConfig("gpt", 2, 8, 8, 8, 2, 16)
SETTINGS = GeneratorTraining(4, 2, 16, round_steps=2, copies=2)


def labelled(tonic, mode, valence):
    notes = piece(tonic, mode)
    return EmotionalPiece(notes, 0, np.zeros(1), np.array([valence]), np.array([0.5]))


PIECES = [labelled(60, "major", 0.5), labelled(57, "minor", -0.5)]
NONE = np.empty(0)


@pytest.fixture(scope="module")
def model():
    mean, sd = attribute_moments(PIECES)
    n = len(mean)
    return AttributeModel(mean, sd, np.zeros((4, n)), np.eye(n))


@pytest.fixture
def trainings(tmp_path, monkeypatch):
    monkeypatch.setattr(note_training, "TRAININGS", tmp_path)
    return tmp_path


def test_batches_are_excerpts_in_other_keys(model):
    sequences = generator_training._sequences(PIECES, model, SETTINGS)
    assert len(sequences) == 4
    rng = np.random.default_rng(0)
    (before, notes, told), targets, weights = generator_training._batch(
        [sequences[0]] * 64, 16, float(model.sd[PITCH_ATTRIBUTE]), rng
    )
    assert before.shape == notes.shape == (64, 16, 4) and told.shape == (64, 16, CONDITION_SIZE)
    assert (before[:, 1:] == notes[:, :-1]).all()
    starts = before[:, 0, PITCH] == START
    assert 0 < starts.sum() < 64
    assert all((target == notes[..., k]).all() for k, target in enumerate(targets))
    assert weights[0].min() == 1
    # C major moves with the transposition, and the pitch that is told moves with it.
    whole = told[(told[:, 0, KEY].any(axis=1)) & told[:, 0, MUSIC].any(axis=1)]
    assert len({row[0, KEY].argmax() for row in whole}) > 5
    assert np.ptp(whole[:, 0, MUSIC.start + PITCH_ATTRIBUTE]) > 1
    dropped = [~told[:, 0, part].any(axis=1) for part in (EMOTION, MUSIC, KEY)]
    assert all(0 < d.sum() < 40 for d in dropped)


def test_unlabelled_pieces_tell_no_emotion(model):
    songs = [EmotionalPiece(PIECES[0].notes, UNLABELLED, NONE, NONE, NONE)]
    (sequence,) = generator_training._sequences(songs, model, replace(SETTINGS, copies=1))
    rows = generator_training._told(sequence)
    assert not rows[:, EMOTION].any() and rows[:, MUSIC].any()


@pytest.mark.slow
@pytest.mark.parametrize("config", [LSTM, pytest.param(GPT, marks=pytest.mark.extended)])
def test_a_trained_network_is_exported_note_by_note(config, model, trainings):
    trained = train_generator(PIECES, PIECES[:1], model, config, SETTINGS, progress=False)
    assert [row["round"] for row in trained.history] == [1, 2]
    assert all(np.isfinite(row["validation_loss"]) for row in trained.history)
    again = train_generator(PIECES, PIECES[:1], model, config, SETTINGS, progress=False)
    assert (again.state, again.history) == (trained.state, trained.history)

    network = trained_network(trained.state, config, SETTINGS.length)
    card = GeneratorCard("tiny", config.kind, "", (1, 1), model)
    card = export_generator(network, config, card, trainings / "tiny")
    assert card.parity_max_difference < 1e-5
    generator = Generator(trainings / "tiny")
    notes = list(generator.notes(MusicRequest(EmotionCurve.constant(0.5, 0.5), 5.0, 1)))
    assert notes and "## Limits" in (trainings / "tiny" / "CARD.md").read_text("utf-8")
    weights = network.get_weights()
    network.set_weights([w + 0.3 for w in weights])
    with pytest.raises(ExportError, match="differs from Keras"):
        check_parity(network, config, generator)


@pytest.mark.slow
@pytest.mark.extended  # the parts that resume are those of the classifiers
def test_a_killed_training_goes_on_to_the_same_weights(model, trainings, monkeypatch):
    whole = train_generator(PIECES, [], model, LSTM, SETTINGS, progress=False)
    with np.load(whole.state) as stored:
        expected = [stored[name] for name in stored.files]
    monkeypatch.setattr(note_training, "TRAININGS", trainings / "killed")
    write = note_training.write_json
    calls = []

    def killed(path, value):
        calls.append(path)
        if len(calls) == 2:
            raise KeyboardInterrupt
        write(path, value)

    monkeypatch.setattr(note_training, "write_json", killed)
    with pytest.raises(KeyboardInterrupt):
        train_generator(PIECES, [], model, LSTM, SETTINGS, progress=False)
    monkeypatch.setattr(note_training, "write_json", write)
    again = train_generator(PIECES, [], model, LSTM, SETTINGS, progress=False)
    with np.load(again.state) as stored:
        for name, value in zip(stored.files, expected, strict=True):
            assert (stored[name] == value).all()

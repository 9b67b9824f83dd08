"""A generator writes notes within limits; the same seed gives the same ones."""

from __future__ import annotations

import json
import pickle
from itertools import islice

import numpy as np
import pytest

from msr_utils.generation import (
    Decoding,
    EmotionCurve,
    Generator,
    MusicRequest,
    as_notes,
    find_generators,
    untrained_generator,
)
from msr_utils.generation.codes import LENGTH, PITCH, SIZES, VELOCITY, WAIT, WAITS_S
from msr_utils.generation.graph import GeneratorConfig, random_weights, step_graph
from msr_utils.generation.limits import (
    MAX_NOTES_PER_SECOND,
    MAX_NOTES_TOGETHER,
    MAX_REPEATS,
    MAX_WAIT_S,
    PITCH_RANGE,
)
from msr_utils.generation.sampling import Guard, draw
from msr_utils.inference.errors import BundleError
from msr_utils.symbolic.words import N_SPECIAL

ARC = EmotionCurve((0, 10), (-0.5, 0.5), (0.8, -0.8))


@pytest.fixture(scope="module", params=["lstm", "gpt"])
def generator(request, tmp_path_factory):
    folder = tmp_path_factory.mktemp("generators") / request.param
    return Generator(untrained_generator(folder, request.param))


def test_the_same_seed_gives_the_same_notes(generator):
    first, again, other = (
        list(generator.notes(MusicRequest(ARC, 10.0, seed))) for seed in (1, 1, 2)
    )
    assert first == again != other
    assert pickle.loads(pickle.dumps(generator)).name == generator.name


def test_notes_are_in_order_and_within_limits(generator):
    # Short pieces of notes without a plan: every limit is met somewhere.
    notes = as_notes(generator.notes(MusicRequest(ARC, 40.0, 3, temperature=2.0)))
    assert notes.start_s[0] == 0 and (np.diff(notes.start_s) >= 0).all()
    assert np.diff(notes.start_s).max() <= MAX_WAIT_S
    assert notes.start_s[-1] < 40 and notes.end_s <= 40
    assert (notes.length_s > 0).all()
    assert ((notes.pitch >= PITCH_RANGE[0]) & (notes.pitch <= PITCH_RANGE[1])).all()
    assert ((notes.velocity >= 1) & (notes.velocity <= 127)).all()
    _, together = np.unique(notes.start_s, return_counts=True)
    assert together.max() <= MAX_NOTES_TOGETHER


@pytest.mark.slow
def test_notes_come_one_at_a_time_and_reach_the_end(generator):
    """300 s go through a GPT's context many times."""
    notes = generator.notes(MusicRequest(ARC, 300.0, 1))
    assert next(notes).start_s == 0
    assert len(list(islice(notes, 50))) == 50
    assert max(note.start_s for note in notes) > 297


def test_the_emotion_and_how_notes_are_drawn_change_the_notes(generator):
    request = MusicRequest(ARC, 8.0, 1)
    notes = list(generator.notes(request))
    assert list(generator.notes(MusicRequest(EmotionCurve.constant(0, 0), 8.0, 1))) != notes
    for decoding in (Decoding(), Decoding(guidance=3.0), Decoding(guidance=1.5, told="nothing")):
        assert list(generator.with_decoding(decoding).notes(request)) != notes
    assert list(generator.notes(request)) == notes


def test_bundles_that_were_altered_are_refused(tmp_path):
    folder = untrained_generator(tmp_path / "tiny")
    assert find_generators(tmp_path) == [folder]
    card = json.loads((folder / "card.json").read_text())
    damages = [
        ({"model_sha256": "0" * 64}, "SHA-256"),
        ({"kind": "choir"}, "kind"),
        ({"state_shape": [0.5]}, "state_shape"),
        ({"attributes": {}}, "mean"),
        ({"decoding": {"gain": "much"}}, "gain"),
        ({"decoding": {"luck": 1}}, "luck"),
        ({"decoding": {"told": "lies"}}, "told"),
        ({"decoding": {"style": 9}}, "style"),
        ({"context": -1}, "context"),
        ({"title": 3}, "title"),
    ]
    for damage, word in damages:
        (folder / "card.json").write_text(json.dumps(card | damage))
        with pytest.raises(BundleError, match=word):
            Generator(folder)
    for text in ("[]", "no JSON"):
        (folder / "card.json").write_text(text)
        with pytest.raises(BundleError, match="card.json is damaged"):
            Generator(folder)
    (folder / "model.onnx").unlink()
    with pytest.raises(BundleError, match="model.onnx is missing"):
        Generator(folder)


def test_weights_of_another_shape_are_refused():
    config = GeneratorConfig("lstm", 1, 8, 8, 8)
    weights = random_weights(config)
    with pytest.raises(ValueError, match="'0/recurrent' must have the shape"):
        step_graph(config, weights | {"0/recurrent": np.zeros((3, 3), np.float32)}, "")
    with pytest.raises(ValueError, match="kind"):
        GeneratorConfig("rnn")
    with pytest.raises(ValueError, match="embedding"):
        GeneratorConfig("gpt", 1, 8, 16, 8, 2, 8)


def test_the_guard_ends_walls_of_notes_and_repetitions():
    guard = Guard()
    drawn = np.array([N_SPECIAL, 0, 0, 0])
    for pitch in range(60, 60 + MAX_NOTES_TOGETHER):
        assert guard.allowed(WAIT, drawn)[N_SPECIAL]
        guard.add(0.0, pitch)
    assert not guard.allowed(WAIT, drawn)[N_SPECIAL]  # enough notes at once
    assert not guard.allowed(PITCH, drawn)[N_SPECIAL + 60]  # this key is down already
    for k in range(MAX_NOTES_PER_SECOND):
        guard.add(1 + k / 100, 40 + k)
    assert WAITS_S[guard.allowed(WAIT, drawn)].min() >= 0.1
    for k in range(MAX_REPEATS):
        guard.add(5.0 + k, 72)
    later = np.array([len(WAITS_S) - 20, 0, 0, 0])
    allowed = guard.allowed(PITCH, later)
    assert not allowed[N_SPECIAL + 72] and allowed[N_SPECIAL + 71]
    for attribute in (VELOCITY, LENGTH):
        allowed = guard.allowed(attribute, later)
        assert len(allowed) == SIZES[attribute] and allowed.sum() == SIZES[attribute] - N_SPECIAL


def test_codes_are_drawn_with_their_probability():
    rng = np.random.default_rng(0)
    p = np.array([0.5, 0.3, 0.15, 0.05])
    logits, allowed = np.log(p), np.array([True, True, True, True])
    counts = np.bincount([draw(logits, allowed, 1.0, 1.0, rng) for _ in range(4000)], minlength=4)
    assert counts / 4000 == pytest.approx(p, abs=0.03)
    # The smallest set with 70 % has two codes.
    drawn = {draw(logits, allowed, 1.0, 0.7, rng) for _ in range(300)}
    assert drawn == {0, 1}
    allowed[0] = False
    assert {draw(logits, allowed, 1.0, 0.01, rng) for _ in range(20)} == {1}
    warm = [draw(np.log(p), np.ones(4, bool), 2.0, 1.0, rng) for _ in range(3000)]
    assert np.mean(np.array(warm) == 3) > 0.1

"""Notes as codes, and the attributes that steer a generator."""

from __future__ import annotations

import numpy as np
import pytest

from msr_utils.generation.attributes import NAMES, AttributeModel, local_attributes
from msr_utils.generation.codes import (
    LENGTHS_S,
    SIZES,
    WAITS_S,
    GeneratedNote,
    as_notes,
    encode,
    velocity_of,
)
from msr_utils.generation.condition import (
    EMOTION,
    KEY,
    MUSIC,
    STYLE,
    condition,
    without,
)
from msr_utils.notes import Notes
from msr_utils.symbolic.words import N_SPECIAL

MAJOR, MINOR = (60, 64, 67, 72), (57, 60, 64, 69)


def piece(pitches, gap_s=0.5, count=64, velocity=70, length_s=0.4):
    start = gap_s * np.arange(count)
    pitch = np.resize(pitches, count)
    return Notes(start, np.full(count, length_s), pitch, np.full(count, velocity))


def test_codes_stand_for_nearly_the_same_notes():
    rng = np.random.default_rng(0)
    start = np.cumsum(np.exp(rng.uniform(np.log(0.03), np.log(3.5), 200)))
    notes = Notes(
        start,
        np.exp(rng.uniform(np.log(0.04), np.log(7), 200)),
        rng.integers(21, 109, 200),
        rng.integers(1, 128, 200),
    )
    codes = encode(notes)
    assert (codes >= N_SPECIAL).all() and (codes < SIZES).all()
    waits = np.diff(notes.start_s)
    assert np.abs(np.log(WAITS_S[codes[1:, 0]] / waits)).max() < 0.04
    assert np.abs(np.log(LENGTHS_S[codes[:, 3]] / notes.length_s)).max() < 0.08
    assert (codes[:, 1] - N_SPECIAL == notes.pitch).all()
    assert (
        max(abs(velocity_of(c) - v) for c, v in zip(codes[:, 2], notes.velocity, strict=True)) < 4
    )
    assert WAITS_S[codes[0, 0]] == 0


def test_generated_notes_become_sorted_arrays():
    notes = as_notes([GeneratedNote(1.0, 0.5, 64, 80), GeneratedNote(1.0, 0.5, 60, 70)])
    assert notes.pitch.tolist() == [60, 64] and notes.velocity.tolist() == [70, 80]
    assert len(as_notes([])) == 0


def test_attributes_follow_the_notes_ahead():
    quiet, loud = piece(MINOR, 1.0, 16, 40), piece(MAJOR, 0.25, 64, 100)
    both = Notes(
        *(
            np.concatenate([getattr(quiet, f), getattr(loud, f) + (16 if f == "start_s" else 0)])
            for f in ("start_s", "length_s", "pitch", "velocity")
        )
    )
    local = local_attributes(both, np.array([0.0, 20.0]))
    before, after = (dict(zip(NAMES, row, strict=True)) for row in local.values)
    assert np.exp(before["density"]) == pytest.approx(1.0, rel=0.3)
    assert np.exp(after["density"]) == pytest.approx(4.0, rel=0.1)
    assert (before["velocity"], after["velocity"]) == pytest.approx((40, 100))
    assert before["mode"] < 0 < after["mode"]
    assert local.keys.tolist() == [12 + 9, 0]  # A minor, C major
    # Transposed, only the pitch and the key change.
    higher = local_attributes(both.altered(2), np.array([20.0]))
    assert higher.keys.tolist() == [2]
    changed = np.abs(higher.values[0] - local.values[1]) > 1e-6
    assert [name for name, c in zip(NAMES, changed, strict=True) if c] == ["pitch"]


def test_attributes_are_finite_for_the_shortest_pieces():
    for count in (1, 2, 5):
        local = local_attributes(piece(MAJOR, count=count), np.array([0.0, 100.0]))
        assert np.isfinite(local.values).all()


def test_the_regression_finds_what_an_emotion_changes():
    rng = np.random.default_rng(1)
    n = len(NAMES)
    valence, arousal = rng.uniform(-1, 1, (2, 4000))
    true = rng.normal(0, 1, (4, n))
    terms = np.stack([np.ones(4000), valence, arousal, valence * arousal], axis=1)
    values = 5 + 2 * (terms @ true + rng.normal(0, 0.3, (4000, n)))
    other = rng.random(4000) < 0.5
    values[other] += 7  # another kind of music has its own level
    model = AttributeModel.fit(np.full(n, 5.0), np.full(n, 2.0), values, valence, arousal, other)
    assert np.abs(model.coefficients - true).max() < 0.1
    assert np.sqrt(np.diag(model.covariance)) == pytest.approx(np.full(n, 0.3), abs=0.03)
    wanted = model.wanted(0.2, -0.4, np.zeros(n))
    assert wanted == pytest.approx(
        (np.array([1, 0.2, -0.4, -0.08]) @ true).clip(-2.5, 2.5), abs=0.1
    )
    again = AttributeModel.from_json(model.to_json())
    assert (again.coefficients == model.coefficients).all()
    for damage in ({"mean": [1]}, {"sd": "x"}, {"covariance": None}):
        with pytest.raises(ValueError, match=next(iter(damage))):
            AttributeModel.from_json(model.to_json() | damage)


def test_a_condition_can_be_left_out_part_by_part():
    rows = condition(
        np.array([0.5, np.nan]),
        np.array([-0.5, np.nan]),
        np.ones((2, len(NAMES))),
        np.array([3, 14]),
        1,
    )
    assert rows[0, EMOTION].tolist() == [1.0, -1.0, 1.0]
    assert not rows[1, EMOTION].any()  # unknown
    assert rows[:, MUSIC].all()
    assert rows[:, KEY].argmax(axis=1).tolist() == [3, 14]
    assert rows[0, STYLE].tolist() == [0, 1, 0]
    less = without(rows, MUSIC, KEY)
    assert not less[:, MUSIC].any() and not less[:, KEY].any() and rows[:, MUSIC].all()

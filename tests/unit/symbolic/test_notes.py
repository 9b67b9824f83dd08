"""Statistics, words, tokens and altered copies of notes."""

from __future__ import annotations

import numpy as np
import pytest
from note_files import piece

from msr_utils.notes import Notes
from msr_utils.symbolic import tokens as tokenisers
from msr_utils.symbolic.augmentation import MAX_SEMITONES, MAX_TEMPO_CHANGE, altered_copy
from msr_utils.symbolic.statistics import key_strengths, statistics, statistics_table
from msr_utils.symbolic.words import (
    MASK,
    N_SPECIAL,
    PADDING,
    SIZES,
    random_window,
    windows,
    words,
)


def one_note() -> Notes:
    return Notes(np.zeros(1), np.ones(1), np.array([60]), np.array([64]))


def test_statistics_are_about_a_hundred_and_finite():
    values, names = statistics_table([piece(), piece(50, "minor"), one_note()])
    assert 90 <= len(names) <= 130 and len(set(names)) == len(names)
    assert values.shape == (3, len(names)) and np.isfinite(values).all()
    # Few columns are the same for pieces that differ in mode and register.
    assert np.mean(values[0] != values[1]) > 0.3
    with pytest.raises(ValueError, match="there are none"):
        statistics(Notes(*(np.empty(0) for _ in range(4))))


@pytest.mark.parametrize("tonic", range(12))
def test_key_strengths_find_the_key(tonic):
    profile = np.zeros(12)
    profile[[(tonic + step) % 12 for step in (0, 2, 4, 5, 7, 9, 11)]] = 1
    profile[[tonic, (tonic + 4) % 12, (tonic + 7) % 12]] = 3
    strengths = key_strengths(profile)
    assert strengths.shape == (24,) and strengths.argmax() == tonic
    assert strengths.max() <= 1 + 1e-9


def test_mode_is_told_in_every_key():
    for tonic in (48, 55, 61):
        major, minor = (statistics(piece(tonic, mode)) for mode in ("major", "minor"))
        assert major["key: major minus minor"] > 0 > minor["key: major minus minor"]


def test_transposition_moves_the_register_and_nothing_of_the_key():
    notes = piece(52)
    one, other = statistics(notes), statistics(notes.altered(3))
    for name, value in one.items():
        if name.startswith(("key:", "velocity:", "duration:", "pulse:", "polyphony:", "pedal:")):
            assert other[name] == pytest.approx(value, abs=1e-9), name
    assert other["register: pitch mean"] == pytest.approx(one["register: pitch mean"] + 3)


def test_tempo_changes_density_and_pulse():
    slow, fast = statistics(piece(beat_s=0.75)), statistics(piece(beat_s=0.375))
    assert fast["density: notes per second"] == pytest.approx(
        2 * slow["density: notes per second"], rel=0.1
    )
    assert fast["pulse: log beats per minute"] > slow["pulse: log beats per minute"]
    assert (
        pytest.approx(2 ** statistics(piece())["pulse: log beats per minute"], rel=0.1) == 60 / 0.5
    )


def test_words_of_notes():
    notes = piece()
    found = words(notes)
    assert found.shape == (len(notes), 4) and found.dtype == np.int32
    assert (found >= N_SPECIAL).all() and (found < SIZES).all()
    np.testing.assert_array_equal(found[:, 0] - N_SPECIAL, notes.pitch)
    # The lowest code of the wait: together with the previous note.
    together = np.diff(notes.start_s) < 0.01
    np.testing.assert_array_equal(found[1:, 3] == N_SPECIAL, together)
    longer = words(notes.altered(0, 0.5))
    assert (longer[:, 2] > found[:, 2]).all()
    extreme = Notes(
        np.array([0, 3600.0]), np.array([1e-3, 3600]), np.array([0, 127]), np.array([1, 127])
    )
    assert (words(extreme) < SIZES).all()
    assert PADDING != MASK and max(PADDING, MASK) < N_SPECIAL


def test_windows_cover_a_sequence():
    sequence = np.arange(1, 11)
    cut = windows(sequence, 4)
    assert cut.tolist() == [[1, 2, 3, 4], [5, 6, 7, 8], [7, 8, 9, 10]]
    assert windows(sequence[:8], 4).tolist() == cut[:2].tolist()
    assert windows(sequence[:2], 4).tolist() == [[1, 2, PADDING, PADDING]]
    rng = np.random.default_rng(0)
    starts = {int(random_window(sequence, 4, rng)[0]) for _ in range(99)}
    assert starts == set(range(1, 8))
    assert random_window(words(one_note()), 3, rng).shape == (3, 4)


@pytest.mark.parametrize("name", tokenisers.TOKENIZERS)
def test_tokens_tell_pitches_and_their_order(name):
    notes = piece()
    found = tokenisers.tokens(notes, name)
    assert found.min() > PADDING and found.max() < tokenisers.vocabulary_size(name)
    tokenizer = tokenisers.tokenizer(name)
    played = [tokenizer[int(token)] for token in found]
    on = ("NoteOn_", "Pitch_")
    pitches = [int(t.split("_")[1]) for t in played if t.startswith(on)]
    assert pitches == notes.pitch.tolist()
    other = tokenisers.tokens(notes.altered(2), name)
    assert len(other) == len(found) and (other != found).any()


def test_unknown_tokens():
    with pytest.raises(ValueError, match="must be one of midi-like, remi, not 'abc'"):
        tokenisers.tokens(piece(), "abc")


def test_altered_copies_stay_near_the_original():
    notes = piece()
    rng = np.random.default_rng(1)
    copies = [altered_copy(notes, rng) for _ in range(200)]
    moved = {int(copy.pitch[0] - notes.pitch[0]) for copy in copies}
    assert moved == set(range(-MAX_SEMITONES, MAX_SEMITONES + 1))
    tempi = np.array([notes.end_s / copy.end_s for copy in copies])
    assert tempi.min() >= 1 / (1 + MAX_TEMPO_CHANGE) - 1e-9
    assert tempi.max() <= 1 + MAX_TEMPO_CHANGE + 1e-9 and np.ptp(tempi) > MAX_TEMPO_CHANGE

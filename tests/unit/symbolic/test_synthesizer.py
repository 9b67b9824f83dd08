"""Notes as sound: by our own piano and by FluidSynth."""

from __future__ import annotations

import time
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from needs import needs_program
from note_files import piece

from msr_utils.notes import Notes
from msr_utils.symbolic import fluidsynth
from msr_utils.symbolic.rendering import choose_renderer, render_notes, renderer_identity
from msr_utils.symbolic.synthesizer import (
    MAX_VOICES,
    Synthesizer,
    render,
    sustained,
)

RATE = 44_100


def note(pitch=60, velocity=80, length_s=0.5, pedals=()):
    pedals_s = np.array(pedals, float).reshape(-1, 2)
    return Notes(
        np.zeros(1), np.array([length_s]), np.array([pitch]), np.array([velocity]), pedals_s
    )


def rows(notes):
    columns = (notes.start_s, notes.length_s, notes.pitch, notes.velocity)
    return list(zip(*(column.tolist() for column in columns), strict=True))


def level(sound, start_s, end_s):
    part = sound[int(start_s * RATE) : int(end_s * RATE)].astype(np.float64)
    return np.sqrt((part**2).mean())


def centroid(sound):
    power = np.abs(np.fft.rfft(sound[:RATE] * np.hanning(len(sound[:RATE])))) ** 2
    return power @ np.fft.rfftfreq(len(sound[:RATE]), 1 / RATE) / power.sum()


def test_stream_has_the_samples_of_the_file():
    rng = np.random.default_rng(3)
    notes = piece()
    whole = render(notes)
    assert np.array_equal(whole, render(notes)) and whole.dtype == np.float32
    left, until, parts = rows(notes), 0.0, []
    synthesizer = Synthesizer()
    while left:
        until += rng.choice([0.0, 0.003, 0.09, 0.7])
        now = [row for row in left if row[0] < until]
        left = left[len(now) :]
        parts.append(synthesizer.push(now[::-1], until))  # any order within a part
    parts.append(synthesizer.finish())
    assert np.array_equal(np.concatenate(parts), whole)


def test_push_returns_what_is_asked_for():
    synthesizer = Synthesizer(22_050)
    sizes = [len(synthesizer.push([], until)) for until in (0.1, 0.1, 0.5)]
    assert sizes == [2205, 0, 8820] and len(synthesizer.finish()) == 0
    assert len(render(Notes(*(np.empty(0) for _ in range(4))))) == 0


@pytest.mark.parametrize("pitch", [21, 45, 69, 96, 108, 0, 127])
def test_pitch_is_right(pitch):
    sound = render(note(pitch, length_s=4.0))
    spectrum = np.abs(np.fft.rfft(sound[: 2 * RATE], 8 * RATE))
    expected = 440 * 2 ** ((pitch - 69) / 12)
    around = spectrum[int(expected * 0.94 * 8) : int(expected * 1.06 * 8)]
    peak = (int(expected * 0.94 * 8) + around.argmax()) / 8
    assert abs(peak - expected) < max(0.3, 1e-3 * expected)
    assert np.isfinite(sound).all() and 0.005 < np.abs(sound).max() < 1


def test_decay_depends_on_pitch():
    fall = [
        level(sound, 0.1, 0.3) / level(sound, 0.9, 1.1)
        for sound in (render(note(pitch, length_s=3.0)) for pitch in (36, 60, 84))
    ]
    assert fall[0] < fall[1] < fall[2]


def test_velocity_changes_loudness_and_brightness():
    sounds = [render(note(velocity=velocity, length_s=1.5)) for velocity in (20, 60, 100, 127)]
    for soft, loud in pairwise(sounds):
        assert level(loud, 0, 1) > 1.2 * level(soft, 0, 1)
        assert centroid(loud) > 1.05 * centroid(soft)


def test_damper_ends_a_note_unless_the_pedal_is_down():
    short, held = render(note()), render(note(pedals=[(0.1, 2.0)]))
    assert len(short) < 1.2 * RATE and len(held) > 2 * RATE
    assert level(short, 0.8, 0.9) < 0.02 * level(held, 0.8, 0.9)
    # The highest strings have no damper.
    assert len(render(note(100, length_s=0.05))) > RATE


def test_pedal_holds_until_it_is_lifted_or_the_key_is_struck_again():
    notes = Notes(
        np.array([0.0, 0.2, 1.0, 3.0]),
        np.array([0.1, 0.1, 0.1, 0.1]),
        np.array([60, 64, 60, 60]),
        np.full(4, 80),
        np.array([[0.05, 0.5], [0.3, 1.5], [1.45, 2.0]]),  # as of several tracks: they overlap
    )
    assert sustained(notes).length_s == pytest.approx([1.0, 1.8, 1.0, 0.1])


def test_nothing_is_clipped_and_voices_are_bounded():
    many = [(0.0, 60.0, pitch, 127) for pitch in range(128)] * 3
    synthesizer = Synthesizer()
    sound = synthesizer.push(many, 0.3)
    assert 0.9 < np.abs(sound).max() < 1 and len(synthesizer._voices) <= MAX_VOICES
    quiet = render(note(velocity=1))
    assert 1e-5 < np.abs(quiet).max() < 0.01


def test_faster_than_fifty_times_real_time():
    notes = piece(seconds=30.0, beat_s=0.4)
    render(notes)  # the strings are computed once
    start = time.process_time()
    seconds = len(render(notes)) / RATE
    assert seconds > 20 and seconds / (time.process_time() - start) > 50


@pytest.mark.parametrize(
    ("row", "named"),
    [
        ((-0.1, 1, 60, 80), "start_s"),
        ((float("nan"), 1, 60, 80), "start_s"),
        ((1.0, float("inf"), 60, 80), "length_s"),
        ((1.0, 1, 128, 80), "pitch"),
        ((1.0, 1, 60, 0), "velocity"),
        ((0.2, 1, 60, 80), "has been returned"),
    ],
)
def test_wrong_notes_are_named(row, named):
    synthesizer = Synthesizer(8000)
    synthesizer.push([], 0.5)
    with pytest.raises(ValueError, match=named):
        synthesizer.push([row], 2.0)


def test_wrong_rates_and_renderers_are_named():
    with pytest.raises(ValueError, match="sample_rate: must be from 8000"):
        Synthesizer(0)
    with pytest.raises(ValueError, match="own, fluidsynth, not 'organ'"):
        render_notes(note(), "organ")


def test_fluidsynth_says_what_to_install(monkeypatch):
    monkeypatch.setenv("PATH", "")
    assert not fluidsynth.is_installed() and choose_renderer("auto") == "own"
    with pytest.raises(fluidsynth.FluidSynthError, match="apt-get install fluidsynth timgm6mb"):
        render_notes(note(), "fluidsynth")
    assert renderer_identity("auto").startswith("own: ")


@needs_program("fluidsynth")
def test_fluidsynth_renders(monkeypatch):
    sound = render_notes(note(69, length_s=1.0), "fluidsynth", 22_050)
    spectrum = np.abs(np.fft.rfft(sound[:22_050]))
    assert abs(int(spectrum.argmax()) - 440) < 5 and np.abs(sound).max() <= 1
    assert np.array_equal(sound, render_notes(note(69, length_s=1.0), "fluidsynth", 22_050))
    assert "FluidSynth" in renderer_identity("fluidsynth")
    monkeypatch.setenv(fluidsynth.SOUNDFONT_VARIABLE, str(Path("no.sf2")))
    with pytest.raises(fluidsynth.FluidSynthError, match=r"names no file: no\.sf2"):
        render_notes(note(), "fluidsynth")

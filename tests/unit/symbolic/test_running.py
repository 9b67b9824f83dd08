"""Statistics of the notes heard so far."""

from __future__ import annotations

import numpy as np
import pytest
from note_files import piece

from msr_utils.notes import Notes
from msr_utils.symbolic.running import WINDOWS_S, running_names, running_statistics


def jittered(seconds=12.0, seed=1):
    """A piece whose notes fall anywhere between the frames, with a pedal."""
    notes, rng = piece(57, "minor", seconds), np.random.default_rng(seed)
    start_s = np.sort(notes.start_s + rng.uniform(0, 0.6, len(notes)))
    pedals_s = np.array([[0.23, 1.9], [3.33, 4.08]])
    return Notes(
        start_s, rng.uniform(0.02, 2, len(notes)), notes.pitch, rng.integers(1, 128, len(notes)),
        pedals_s,
    )  # fmt: skip


def column(values, name, seconds=2):
    return values[:, running_names().index(f"{name}, {seconds} s")]


@pytest.mark.parametrize("frame", [0, 1, 3, 8, 15])
def test_nothing_that_comes_later_counts(frame):
    notes, until_s = jittered(), (frame + 1) / 2
    whole = running_statistics(notes, 30)
    early = notes.start_s < until_s
    # What sounds may last for any time, and the pedal may stay down.
    length_s = np.where(
        notes.start_s + notes.length_s >= until_s, notes.length_s + 3, notes.length_s
    )
    pedals_s = notes.pedals_s[notes.pedals_s[:, 0] < until_s].copy()
    pedals_s[pedals_s[:, 1] >= until_s, 1] += 5
    so_far = Notes(
        notes.start_s[early], length_s[early], notes.pitch[early], notes.velocity[early], pedals_s
    )
    assert running_statistics(so_far, 30)[frame] == pytest.approx(whole[frame], abs=1e-6)
    assert not np.allclose(whole[frame], whole[frame + 2])


def test_values_are_those_of_the_window():
    notes = jittered()
    values = running_statistics(notes, 20)
    assert values.shape == (20, len(running_names())) and len(set(running_names())) == len(
        running_names()
    )
    for frame, seconds in ((9, 2), (19, 6), (7, 20)):
        end_s = (frame + 1) / 2
        inside = (notes.start_s < end_s) & (notes.start_s >= end_s - seconds)
        expected = {
            "log notes per second": np.log1p(inside.sum() / min(seconds, end_s)),
            "pitch": notes.pitch[inside].mean() - 60,
            "pitch sd": notes.pitch[inside].std(),
            "velocity": notes.velocity[inside].mean() - 64,
        }
        for name, value in expected.items():
            assert column(values, name, seconds)[frame] == pytest.approx(value, abs=1e-4)


def test_mode_dissonance_and_pedal_are_told():
    major, minor = (running_statistics(piece(60, mode), 16) for mode in ("major", "minor"))
    assert (
        column(major, "major minus minor", 6)[8:] > column(minor, "major minus minor", 6)[8:]
    ).all()
    cluster = Notes(np.zeros(2), np.full(2, 4.0), np.array([60, 61]), np.full(2, 64))
    assert column(running_statistics(cluster, 8), "interval 1") == pytest.approx(np.ones(8))
    pedal = column(running_statistics(jittered(), 20), "pedal")
    assert pedal[3] == pytest.approx(1.6 / 2, abs=0.06) and pedal[-1] == 0


def test_silence_keeps_the_last_values_and_nothing_is_undefined():
    notes = piece(seconds=2.0)
    values = running_statistics(notes, 40)
    assert np.isfinite(values).all()
    assert (column(values, "log notes per second")[-10:] == 0).all()
    assert column(values, "pitch")[-1] == column(values, "pitch")[6]
    none = Notes(*(np.empty(0) for _ in range(4)))
    assert np.isfinite(running_statistics(none, 5)).all()
    assert len(WINDOWS_S) == 3

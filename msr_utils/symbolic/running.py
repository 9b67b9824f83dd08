"""Musical statistics of the notes that have been heard so far, every 500 ms.

Each window looks back from the end of a frame. A note counts from its start on. What is still to
come is not used: neither later notes nor how long a sounding note will last.
"""

from __future__ import annotations

import numpy as np

from msr_utils.constants import FRAME_RATE_HZ, FRAME_SECONDS
from msr_utils.notes import Notes
from msr_utils.symbolic.statistics import CHORD_S, key_strengths

WINDOWS_S = (2.0, 6.0, 20.0)
"""Lengths of the windows in seconds."""

STEP_S = 0.1
"""Grid on which sounding notes are counted."""

STEPS = round(FRAME_SECONDS / STEP_S)

REGISTER_BOUNDS = (48, 60, 72, 84)
"""Lowest pitches of all registers but the first."""

N_INTERVALS = 12
LARGEST_INTERVAL = 36
"""Pairs of sounding notes further apart, in semitones, do not count."""

LOW_PITCH = 55
CHORD_SUMS = (
    "chords", "single", "full", "top", "bottom", "loudest", "melodic", "repeated", "stepwise",
    "leaps", "upwards", "wait", "wait square", "wait change", "velocity change",
)  # fmt: skip

NEUTRAL_PITCH, NEUTRAL_VELOCITY = 60, 64
"""Where no note has been heard, means are these."""


def running_statistics(notes: Notes, frames: int) -> np.ndarray:
    """Statistics of all windows at the end of each frame.

    Parameters
    ----------
    notes : Notes
    frames : int
        Frame ``i`` ends at ``(i + 1) / 2`` s.

    Returns
    -------
    np.ndarray [shape=(frames, len(running_names())), dtype=float32]
    """
    sums = {name: values.astype(np.float64) for name, values in _sums(notes, frames).items()}
    parts = [_of_window(sums, seconds) for seconds in WINDOWS_S]
    columns = [values for part in parts for values in part.values()]
    return np.stack(columns, axis=1).astype(np.float32)


def running_names() -> list[str]:
    """Names of the columns."""
    one = Notes(np.zeros(1), np.ones(1), np.array([60]), np.array([64]))
    names = _of_window(_sums(one, 1), WINDOWS_S[0])
    return [f"{name}, {seconds:g} s" for seconds in WINDOWS_S for name in names]


def _sums(notes: Notes, frames: int) -> dict[str, np.ndarray]:
    """Sums over what happens in each frame, (frames,) or (frames, k) each."""
    first = np.floor(notes.start_s * FRAME_RATE_HZ).astype(int)
    heard = first < frames
    first, pitch = first[heard], notes.pitch[heard].astype(float)
    velocity = notes.velocity[heard].astype(float)
    start_s, end_s = notes.start_s[heard], (notes.start_s + notes.length_s)[heard]

    def added(values: np.ndarray, at: np.ndarray = first) -> np.ndarray:
        return np.bincount(at, values, frames)

    registers = np.searchsorted(REGISTER_BOUNDS, pitch, side="right")
    last = np.floor(end_s * FRAME_RATE_HZ).astype(int)
    over = last < frames
    log_length = np.log((end_s - start_s).clip(0.03))
    return {
        "notes": added(np.ones_like(pitch)),
        "pitch": added(pitch - NEUTRAL_PITCH),
        "pitch square": added((pitch - NEUTRAL_PITCH) ** 2),
        "velocity": added(velocity - NEUTRAL_VELOCITY),
        "velocity square": added((velocity - NEUTRAL_VELOCITY) ** 2),
        "low notes": added((pitch < LOW_PITCH).astype(float)),
        "registers": np.stack(
            [added((registers == k).astype(float)) for k in range(len(REGISTER_BOUNDS) + 1)], axis=1
        ),
        "ended": added(np.ones_like(pitch[over]), last[over]),
        "log length": added(log_length[over], last[over]),
        "log length square": added(log_length[over] ** 2, last[over]),
        "seconds": np.full(frames, FRAME_SECONDS),
        **_chord_sums(start_s, pitch, velocity, frames),
        **_sounding_sums(notes, frames),
        "pedal": _overlap_s(notes.pedals_s, frames),
    }


def _chord_sums(
    start_s: np.ndarray, pitch: np.ndarray, velocity: np.ndarray, frames: int
) -> dict[str, np.ndarray]:
    """Sums over chords: notes of one frame that are struck together."""
    if not len(start_s):
        return dict.fromkeys(CHORD_SUMS, np.zeros(frames))
    frame_of_note = np.floor(start_s * FRAME_RATE_HZ).astype(int)
    new = (np.diff(start_s) > CHORD_S) | (np.diff(frame_of_note) > 0)
    begin = np.concatenate([[0], np.flatnonzero(new) + 1])
    time_s, size = start_s[begin], np.diff(begin, append=len(start_s))
    top, bottom = np.maximum.reduceat(pitch, begin), np.minimum.reduceat(pitch, begin)
    loud = np.maximum.reduceat(velocity, begin)
    frame = frame_of_note[begin]
    step = np.diff(top, prepend=top[0])
    wait = np.log(np.diff(time_s, prepend=time_s[0]).clip(0.03))
    later = np.arange(len(time_s)) > 0
    change = np.abs(np.diff(wait, prepend=wait[0])) * (np.arange(len(time_s)) > 1)

    def added(values: np.ndarray) -> np.ndarray:
        return np.bincount(frame, np.asarray(values, float), frames)

    values = (
        np.ones_like(time_s),
        size == 1,
        size >= 3,
        top - NEUTRAL_PITCH,
        bottom - NEUTRAL_PITCH,
        loud - NEUTRAL_VELOCITY,
        np.abs(step),
        later & (step == 0),
        (np.abs(step) > 0) & (np.abs(step) <= 2),
        np.abs(step) >= 7,
        step > 0,
        wait * later,
        wait**2 * later,
        change,
        np.abs(np.diff(loud, prepend=loud[0])),
    )
    return {name: added(value) for name, value in zip(CHORD_SUMS, values, strict=True)}


def _sounding_sums(notes: Notes, frames: int) -> dict[str, np.ndarray]:
    """Sums over what sounds, on the grid of `STEP_S`."""
    steps = frames * STEPS
    roll = np.zeros((steps, 128), np.int8)
    first = np.ceil(notes.start_s / STEP_S - 1e-9).astype(int)
    end = np.maximum(np.ceil((notes.start_s + notes.length_s) / STEP_S).astype(int), first + 1)
    for pitch, begin, stop in zip(notes.pitch.tolist(), first.tolist(), end.tolist(), strict=True):
        roll[begin:stop, pitch] = 1
    intervals = np.zeros((steps, N_INTERVALS))
    for k in range(1, LARGEST_INTERVAL + 1):
        intervals[:, k % N_INTERVALS] += (roll[:, k:] & roll[:, :-k]).sum(axis=1)
    classes = np.stack([roll[:, k::12].sum(axis=1) for k in range(12)], axis=1).astype(float)
    sounding = roll.sum(axis=1).astype(float)

    def added(values: np.ndarray) -> np.ndarray:
        return values.reshape(frames, STEPS, *values.shape[1:]).sum(axis=1)

    return {
        "steps": np.full(frames, float(STEPS)),
        "sounding": added(sounding),
        "silent": added((sounding == 0).astype(float)),
        "classes": added(classes),
        "intervals": added(intervals),
    }


def _overlap_s(spans_s: np.ndarray, frames: int) -> np.ndarray:
    """Seconds of each frame that lie in any of some spans."""
    steps = frames * STEPS
    down = np.zeros(steps + 1)
    for start_s, end_s in spans_s.tolist():
        down[min(int(np.ceil(start_s / STEP_S)), steps)] += 1
        down[min(int(np.ceil(end_s / STEP_S)), steps)] -= 1
    return (np.cumsum(down[:-1]) > 0).reshape(frames, STEPS).sum(axis=1) * STEP_S


def _of_window(sums: dict[str, np.ndarray], seconds: float) -> dict[str, np.ndarray]:
    """Statistics of one window at the end of each frame, (frames,) each."""
    length = round(seconds * FRAME_RATE_HZ)
    window = {name: _windowed(values, length) for name, values in sums.items()}

    def mean(name: str, of: str = "notes") -> np.ndarray:
        known = window[of] > 0
        share = window[name] / np.where(known, window[of], 1)
        return _held(share, known)

    def deviation(name: str, of: str = "notes") -> np.ndarray:
        return np.sqrt((mean(f"{name} square", of) - mean(name, of) ** 2).clip(0))

    time_s = window["seconds"]
    pairs = window["intervals"].sum(axis=1)
    shares = window["intervals"] / np.maximum(pairs, 1)[:, None]
    registers = window["registers"] / np.maximum(window["notes"], 1)[:, None]
    return {
        "log notes per second": np.log1p(window["notes"] / time_s),
        "log chords per second": np.log1p(window["chords"] / time_s),
        "log low notes per second": np.log1p(window["low notes"] / time_s),
        "pitch": mean("pitch"),
        "pitch sd": deviation("pitch"),
        **{f"register {k}": registers[:, k] for k in range(registers.shape[1])},
        "velocity": mean("velocity"),
        "velocity sd": deviation("velocity"),
        "loudest of a chord": mean("loudest", "chords"),
        "change of velocity": mean("velocity change", "chords"),
        "log length": mean("log length", "ended"),
        "log length sd": deviation("log length", "ended"),
        "notes of a chord": mean("notes", "chords"),
        **{name: mean(name, "chords") for name in ("single", "full", "top", "bottom")},
        "top above bottom": mean("top", "chords") - mean("bottom", "chords"),
        "melodic interval": mean("melodic", "chords"),
        **{name: mean(name, "chords") for name in ("repeated", "stepwise", "leaps", "upwards")},
        "log wait": mean("wait", "chords"),
        "log wait sd": deviation("wait", "chords"),
        "change of log wait": mean("wait change", "chords"),
        "sounding": window["sounding"] / window["steps"],
        "silent": window["silent"] / window["steps"],
        "pedal": window["pedal"] / time_s,
        "pairs": np.log1p(pairs / window["steps"]),
        **{f"interval {k}": shares[:, k] for k in range(N_INTERVALS)},
        **_key(window["classes"]),
    }


def _windowed(values: np.ndarray, length: int) -> np.ndarray:
    """Sums of the last `length` frames."""
    total = np.cumsum(values, axis=0, dtype=np.float64)
    total[length:] -= total[:-length].copy()
    return total


def _held(values: np.ndarray, known: np.ndarray) -> np.ndarray:
    """The last known value; 0 before the first."""
    place = np.maximum.accumulate(np.where(known, np.arange(len(known)), -1))
    return np.where(place >= 0, values[place.clip(0)], 0.0)


def _key(classes: np.ndarray) -> dict[str, np.ndarray]:
    """How the pitch classes of a window fit keys, and their shares from the best tonic on."""
    total = classes.sum(axis=1)
    profile = classes / np.maximum(total, 1)[:, None]
    strengths = key_strengths(profile)
    best = strengths.argmax(axis=1)
    ordered = np.sort(strengths, axis=1)
    rows = np.arange(len(profile))
    tonic = best % 12
    from_tonic = profile[rows[:, None], (tonic[:, None] + np.arange(12)) % 12]
    major, minor = strengths[:, :12].max(axis=1), strengths[:, 12:].max(axis=1)
    with np.errstate(divide="ignore", invalid="ignore"):
        surprise = np.where(profile > 0, -profile * np.log2(profile), 0)
    known = total > 0
    found = {
        "best major": major,
        "best minor": minor,
        "major minus minor": major - minor,
        "major minus minor on the tonic": strengths[rows, tonic] - strengths[rows, tonic + 12],
        "clarity": ordered[:, -1] - ordered[:, -2],
        "entropy": surprise.sum(axis=1),
        **{f"share of step {k}": from_tonic[:, k] for k in range(12)},
    }
    return {name: _held(values, known) for name, values in found.items()}

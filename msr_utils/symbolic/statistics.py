"""About a hundred musical statistics of the notes of a clip.

Groups of statistics and where they come from:

key
    Correlations of the pitch-class profile with the key profiles of Krumhansl (1990), "Cognitive
    Foundations of Musical Pitch", chapter 2. The histogram of pitch classes starts at the tonic of
    the best key, so a transposed clip has the same one.
pulse, grooving
    Autocorrelation of onsets, and the grooving similarity and pitch-class entropy of Wu and Yang
    (2020), "The Jazz Transformer on the front line", ISMIR. Bars are windows of fixed length,
    because transcribed clips have no bar lines.
rhythm
    The normalised pairwise variability index of Grabe and Low (2002), "Durational variability in
    speech and the rhythm class hypothesis".
others
    Register, intervals, velocity, density, durations, polyphony and pedal: means, spreads and
    shares, as in McKay (2010), "Automatic music classification with jMIR".
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy.linalg import circulant

from msr_utils.notes import Notes

MAJOR_PROFILE = (6.35, 2.23, 3.48, 2.33, 4.38, 4.09, 2.52, 5.19, 2.39, 3.66, 2.29, 2.88)
MINOR_PROFILE = (6.33, 2.68, 3.52, 5.38, 2.60, 3.53, 2.54, 4.75, 3.98, 2.69, 3.34, 3.17)
"""Krumhansl and Kessler's ratings of how well each pitch class fits a key, from the tonic up."""

CHORD_S = 0.035
"""Notes that start within this time belong to one chord."""

WINDOW_S = 4.0
"""Length of the windows over which the key, the density and the rhythm are followed."""

STEP_S = 0.0625
"""Resolution of the pulse and of grooving, a sixteenth at 240 beats per minute."""

SLOWEST_PULSE_S, FASTEST_PULSE_S = 1.5, 0.25
"""Periods between which the pulse is looked for: 40 to 240 beats per minute."""

REGISTERS = (0, 43, 52, 60, 68, 76, 84, 128)
"""Bounds of the registers, MIDI numbers."""

INTERVAL_CLASSES = ("unison or octave", "second", "third", "fourth", "tritone")
"""Kinds of intervals between notes that sound together; an interval and its inversion are one."""

_CLASS_OF_INTERVAL = np.array([0, 1, 1, 2, 2, 3, 4])


def statistics(notes: Notes) -> dict[str, float]:
    """Musical statistics of a clip by name; all are finite.

    Parameters
    ----------
    notes : Notes
        At least one note.

    Raises
    ------
    ValueError
        If there is no note.
    """
    if not len(notes):
        raise ValueError("notes: there are none; leave the clip out")
    onsets = _Onsets(notes)
    groups = {
        "key": _key(notes),
        "register": _register(notes, onsets),
        "intervals": _intervals(notes, onsets),
        "velocity": _velocity(notes, onsets),
        "density": _density(notes, onsets),
        "duration": _durations(notes, onsets),
        "polyphony": _polyphony(notes),
        "pulse": _pulse(onsets),
        "pedal": _pedal(notes),
    }
    return {f"{group}: {name}": v for group, part in groups.items() for name, v in part.items()}


def statistics_table(clips: Sequence[Notes]) -> tuple[np.ndarray, list[str]]:
    """Statistics of clips as a table.

    Returns
    -------
    values : np.ndarray [shape=(clips, D), dtype=float64]
    names : list of str [length D]
    """
    rows = [statistics(notes) for notes in clips]
    return np.array([list(row.values()) for row in rows]), list(rows[0])


class _Onsets:
    """Chords of a clip: notes that start together, with their highest and lowest note."""

    def __init__(self, notes: Notes) -> None:
        new = np.diff(notes.start_s, prepend=-np.inf) > CHORD_S
        first = np.flatnonzero(new)
        self.chord_of_note = np.cumsum(new) - 1
        self.time_s = notes.start_s[first]
        self.size = np.diff(first, append=len(notes))
        self.top = np.maximum.reduceat(notes.pitch, first)
        self.bottom = np.minimum.reduceat(notes.pitch, first)
        self.velocity = np.maximum.reduceat(notes.velocity, first)
        self.intervals_s = np.diff(self.time_s)


def _spread(values: np.ndarray, name: str = "", quantiles: Sequence[int] = ()) -> dict[str, float]:
    """Mean, standard deviation and quantiles; 0 without values."""
    name = f"{name} " if name else ""
    values = values if len(values) else np.zeros(1)
    return {
        f"{name}mean": float(np.mean(values)),
        f"{name}sd": float(np.std(values)),
        **{f"{name}{q} %": float(np.percentile(values, q)) for q in quantiles},
    }


def _share(flags: np.ndarray) -> float:
    return float(np.mean(flags)) if len(flags) else 0.0


def _correlation(x: np.ndarray, y: np.ndarray) -> float:
    """Pearson's r; 0 where it is not defined."""
    if len(x) < 3 or np.ptp(x) == 0 or np.ptp(y) == 0:
        return 0.0
    return float(np.corrcoef(x, y)[0, 1])


def _entropy(histogram: np.ndarray) -> float:
    """Entropy in bits."""
    p = histogram[histogram > 0] / max(histogram.sum(), 1e-12)
    return float(-(p * np.log2(p)).sum())


def _standardised(profile: np.ndarray) -> np.ndarray:
    centred = profile - profile.mean(axis=-1, keepdims=True)
    return centred / np.maximum(np.linalg.norm(centred, axis=-1, keepdims=True), 1e-12)


# Row k: the profile of the key whose tonic is pitch class k.
_KEYS = np.concatenate(
    [_standardised(circulant(np.array(p)).T) for p in (MAJOR_PROFILE, MINOR_PROFILE)]
)


def key_strengths(profile: np.ndarray) -> np.ndarray:
    """Correlations of pitch-class profiles (..., 12) with 12 major and 12 minor keys, (..., 24)."""
    return _standardised(profile) @ _KEYS.T


def _profiles(notes: Notes) -> np.ndarray:
    """Pitch-class profile of each window, weighted by duration, (windows, 12)."""
    window = (notes.start_s // WINDOW_S).astype(int)
    found = np.zeros((window.max() + 1, 12))
    np.add.at(found, (window, notes.pitch % 12), np.minimum(notes.length_s, WINDOW_S))
    return found


def _key(notes: Notes) -> dict[str, float]:
    windows = _profiles(notes)
    profile = windows.sum(axis=0)
    strengths = key_strengths(profile)
    best = int(strengths.argmax())
    tonic, ordered = best % 12, np.sort(strengths)
    relative = np.roll(profile, -tonic) / profile.sum()
    counts = np.bincount(notes.pitch % 12, minlength=12)
    sounding = windows[windows.sum(axis=1) > 0]
    local = key_strengths(sounding)
    mode = local[:, :12].max(axis=1) - local[:, 12:].max(axis=1)
    centre = local[:, best]
    return {
        **{f"share of step {k}": float(v) for k, v in enumerate(relative)},
        "best major": float(strengths[:12].max()),
        "best minor": float(strengths[12:].max()),
        "major minus minor": float(strengths[:12].max() - strengths[12:].max()),
        "major minus minor on the tonic": float(strengths[tonic] - strengths[tonic + 12]),
        "clarity": float(ordered[-1] - ordered[-2]),
        "relative strength of parallel key": float(strengths[(best + 12) % 24]),
        **_spread(mode, "major minus minor of windows"),
        "share of windows in major": _share(mode > 0),
        **_spread(centre, "fit of windows to the key"),
        "entropy": _entropy(counts),
        "entropy of windows": float(np.mean([_entropy(row) for row in sounding])),
        "change between windows": float(
            np.abs(np.diff(_standardised(sounding), axis=0)).mean() if len(sounding) > 1 else 0
        ),
    }


def _register(notes: Notes, onsets: _Onsets) -> dict[str, float]:
    pitch = notes.pitch.astype(float)
    weight = notes.length_s / notes.length_s.sum()
    centred = (pitch - pitch.mean()) / max(pitch.std(), 1e-9)
    shares = np.histogram(notes.pitch, REGISTERS)[0] / len(notes)
    return {
        **_spread(pitch, "pitch", (5, 25, 50, 75, 95)),
        "pitch range": float(np.ptp(pitch)),
        "pitch skewness": float((centred**3).mean()),
        "pitch mean by duration": float(weight @ pitch),
        **_spread(onsets.top.astype(float), "melody"),
        **_spread(onsets.bottom.astype(float), "bass"),
        "melody above bass": float((onsets.top - onsets.bottom).mean()),
        **{f"share of register {k}": float(v) for k, v in enumerate(shares)},
        "rise over the clip": _correlation(notes.start_s, pitch),
    }


def _intervals(notes: Notes, onsets: _Onsets) -> dict[str, float]:
    melody = np.diff(onsets.top).astype(float)
    size = np.abs(melody)
    # Pairs of neighbours in pitch within a chord, and of those two apart.
    order = np.lexsort((notes.pitch, onsets.chord_of_note))
    pitch, chord = notes.pitch[order], onsets.chord_of_note[order]
    pairs = np.concatenate(
        [(pitch[k:] - pitch[:-k])[chord[k:] == chord[:-k]] for k in (1, 2)] or [np.empty(0, int)]
    )
    classes = _CLASS_OF_INTERVAL[np.minimum(pairs % 12, 12 - pairs % 12)]
    shares = np.bincount(classes, minlength=len(INTERVAL_CLASSES)) / max(len(pairs), 1)
    return {
        **_spread(size, "melodic"),
        "melodic repeated": _share(size == 0),
        "melodic steps": _share((size > 0) & (size <= 2)),
        "melodic leaps": _share(size >= 7),
        "melodic upwards": _share(melody[size > 0] > 0),
        **{f"harmonic {name}": float(v) for name, v in zip(INTERVAL_CLASSES, shares, strict=True)},
        "harmonic semitones": _share(np.minimum(pairs % 12, 12 - pairs % 12) == 1),
        "bass repeated": _share(np.diff(onsets.bottom) == 0),
    }


def _velocity(notes: Notes, onsets: _Onsets) -> dict[str, float]:
    velocity = notes.velocity.astype(float)
    is_top = notes.pitch == onsets.top[onsets.chord_of_note]
    return {
        **_spread(velocity, "", (5, 25, 50, 75, 95)),
        "of the melody": float(velocity[is_top].mean()),
        "melody minus others": float(
            velocity[is_top].mean()
            - (velocity[~is_top].mean() if (~is_top).any() else velocity.mean())
        ),
        "with pitch": _correlation(notes.pitch.astype(float), velocity),
        "rise over the clip": _correlation(notes.start_s, velocity),
        "change between chords": float(np.abs(np.diff(onsets.velocity)).mean())
        if len(onsets.velocity) > 1
        else 0.0,
    }


def _density(notes: Notes, onsets: _Onsets) -> dict[str, float]:
    seconds = max(notes.end_s - notes.start_s[0], 1.0)
    per_second = np.bincount((notes.start_s - notes.start_s[0]).astype(int)).astype(float)
    return {
        "notes per second": len(notes) / seconds,
        "chords per second": len(onsets.time_s) / seconds,
        "of seconds sd": float(per_second.std()),
        "of seconds 95 %": float(np.percentile(per_second, 95)),
        "log notes per second": float(np.log(len(notes) / seconds)),
        "chord size mean": float(onsets.size.mean()),
        "single notes": _share(onsets.size == 1),
        "chords of three or more": _share(onsets.size >= 3),
        "low notes per second": float((notes.pitch < 55).sum() / seconds),
    }


def _durations(notes: Notes, onsets: _Onsets) -> dict[str, float]:
    between = onsets.intervals_s
    log = np.log(notes.length_s.clip(0.01))
    log_between = np.log(between.clip(0.01)) if len(between) else np.zeros(1)
    pairs = np.abs(np.diff(between)) / np.maximum((between[1:] + between[:-1]) / 2, 1e-9)
    histogram = np.histogram(log_between, np.linspace(np.log(0.03), np.log(4), 25))[0]
    return {
        **_spread(log, "log length", (10, 50, 90)),
        "short notes": _share(notes.length_s < 0.15),
        "long notes": _share(notes.length_s > 1.0),
        **_spread(log_between, "log interval between chords", (10, 50, 90)),
        "interval variability (nPVI)": float(pairs.mean()) if len(pairs) else 0.0,
        "interval entropy": _entropy(histogram),
        "legato": float(log.mean() - log_between.mean()),
    }


def _polyphony(notes: Notes) -> dict[str, float]:
    end = notes.start_s + notes.length_s
    grid = np.arange(notes.start_s[0], end.max(), STEP_S)
    sounding = np.searchsorted(notes.start_s, grid, "right") - np.searchsorted(
        np.sort(end), grid, "right"
    )
    return {**_spread(sounding.astype(float), "", (50, 95)), "silence": _share(sounding == 0)}


def _pulse(onsets: _Onsets) -> dict[str, float]:
    """Strength and period of the pulse, and how alike the rhythms of windows are."""
    steps = ((onsets.time_s - onsets.time_s[0]) / STEP_S).round().astype(int)
    per_window = int(WINDOW_S / STEP_S)
    count = max(steps[-1] + 1, 2 * per_window)
    grid = np.zeros(-(-count // per_window) * per_window)
    np.add.at(grid, steps, onsets.velocity / 64)
    low, high = round(FASTEST_PULSE_S / STEP_S), round(SLOWEST_PULSE_S / STEP_S)
    smooth = np.convolve(grid, (0.25, 0.5, 0.25), "same")
    smooth = smooth - smooth.mean()
    energy = max(float(smooth @ smooth), 1e-9)
    lags = np.arange(low, high + 1)
    strength = np.array([smooth[k:] @ smooth[:-k] for k in lags]) / energy
    # A log-normal weight around 120 beats per minute, as listeners prefer (Parncutt 1994).
    preferred = strength * np.exp(-0.5 * (np.log2(lags * STEP_S / 0.5) / 0.9) ** 2)
    best = int(preferred.argmax())
    present = grid.reshape(-1, per_window) > 0
    alike = [
        1 - np.mean(a ^ b) for i, a in enumerate(present) for b in present[i + 1 : i + 4]
    ]  # windows up to three apart
    return {
        "log beats per minute": float(np.log2(60 / (lags[best] * STEP_S))),
        "strength": float(strength[best]),
        "strongest": float(strength.max()),
        "sd of strengths": float(strength.std()),
        "grooving similarity": float(np.mean(alike)),
    }


def _pedal(notes: Notes) -> dict[str, float]:
    seconds = max(notes.end_s - notes.start_s[0], 1.0)
    down = notes.pedals_s[:, 1] - notes.pedals_s[:, 0]
    return {"share down": min(float(down.sum() / seconds), 1.0), "per second": len(down) / seconds}

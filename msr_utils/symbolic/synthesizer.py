"""Notes as sound: a small model of a piano, without any recording or system package.

A note is a sum of decaying partials. It is a string's: stiffness stretches the partials, the place
that the hammer strikes leaves some out, a hard stroke brings out the high ones, and high partials
decay first. Each partial decays fast at first and slowly later, slightly out of tune, as those of
two strings do. A few short modes of the soundboard give the stroke a body. A damper ends the note.

All partials of a note in a block of samples are one product of two small matrices, which is why
the model is fast: a decaying partial at sample 64 a + b is a power of a plus a power of b.

Blocks lie on a fixed grid and notes are added in a fixed order, so that a stream gives the samples
of a file, whatever the sizes of its parts.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from msr_utils.notes import Notes

SAMPLE_RATE = 44_100

PlayedNote = tuple[float, float, int, int]
"""Start and length in seconds, pitch and velocity."""

SAMPLE_RATES = (8_000, 192_000)
"""Lowest and highest sample rate."""

ROWS, COLUMNS = 64, 64
BLOCK = ROWS * COLUMNS
"""Samples of a block."""

MAX_VOICES = 128
"""Notes that sound at once. With one more, the oldest ends at the next block."""

MAX_PARTIALS = 36
HIGHEST_PARTIAL_HZ = 9_000.0
N_SLOW = 14
"""Partials whose slow part is heard. That of higher ones is too quiet."""

STRIKE_POINT = 0.12
"""Place of the hammer, as a share of the string."""

RADIATED_FROM_HZ = 200.0
"""The soundboard radiates little of what is lower."""

SLOW_SHARE = 0.2
SLOW_DETUNING = 0.0004
"""Amplitude and detuning of the slow part, as shares of those of the fast part."""

BODY_HZ = (88.0, 131.0, 187.0, 263.0, 371.0, 554.0)
BODY_DECAY = 38.0
BODY_LEVEL = 0.06
"""Modes of the soundboard: their decay in 1/s, and amplitude as a share of the loudest stroke."""

SILENCE = 1e-4
"""A note ends when its loudest partial is this share of the level of the softest notes' start."""

FIRST_WITHOUT_DAMPER = 89
"""The highest strings of a piano have no dampers."""

LEVEL = 0.32
"""Amplitude of the loudest single note."""

LINEAR_UP_TO = 0.6
"""Samples above this level are bent towards 1, so that nothing is clipped."""


@dataclass(frozen=True, eq=False)
class _String:
    """What all strokes of one key share; terms are ordered from the slowest decay to the fastest.

    Parameters
    ----------
    exponents : np.ndarray [shape=(P,), dtype=complex128]
        Logarithm of what each term is multiplied by from one sample to the next.
    shape : np.ndarray [shape=(P,), dtype=complex128]
        Amplitudes and phases at full brightness, without the soundboard's.
    frequencies : np.ndarray [shape=(P,)]
    body : np.ndarray [shape=(P,), dtype=complex128]
        Amplitudes and phases of the soundboard's terms.
    rows, columns : np.ndarray [shape=(ROWS, P), dtype=complex64], [shape=(2 P, COLUMNS)]
        Conjugate powers of the terms, for the product of a block.
    """

    exponents: np.ndarray
    shape: np.ndarray
    frequencies: np.ndarray
    body: np.ndarray
    rows: np.ndarray
    columns: np.ndarray


@lru_cache(maxsize=256)
def _string(pitch: int, sample_rate: int) -> _String:
    """Terms of a key. 0.1 MB each.

    The stiffness is that of Rigaud, David and Daudet (2011), "A parametric model of piano tuning".
    """
    fundamental = 440.0 * 2.0 ** ((pitch - 69) / 12)
    stiffness = np.exp(0.0926 * pitch - 13.64) + np.exp(-0.0847 * pitch - 5.82)
    numbers = np.arange(1, MAX_PARTIALS + 1)
    hz = numbers * fundamental * np.sqrt((1 + stiffness * numbers**2) / (1 + stiffness))
    audible = hz < min(HIGHEST_PARTIAL_HZ, 0.45 * sample_rate)
    audible[0] = fundamental < 0.45 * sample_rate
    amplitude = np.abs(np.sin(np.pi * STRIKE_POINT * numbers)) / numbers**0.8
    amplitude *= hz**2 / (hz**2 + RADIATED_FROM_HZ**2)
    amplitude = (amplitude / np.linalg.norm(amplitude))[audible]
    numbers, hz = numbers[audible], hz[audible]
    phase = np.exp(2j * np.pi * 0.618 * numbers**2)  # spread, so that the peaks do not meet
    decay = 0.9 * 2.0 ** ((pitch - 60) / 15) + 1.6e-8 * (2 * np.pi * hz) ** 2
    slow = slice(0, N_SLOW)
    body_hz = np.array(BODY_HZ)
    frequencies = np.concatenate([hz, hz[slow] * (1 + SLOW_DETUNING), body_hz])
    decays = np.concatenate(
        [
            2.4 * decay + 0.5,
            (0.4 * decay[slow]).clip(0.5),
            np.full(len(body_hz), BODY_DECAY),
        ]
    )
    string = np.concatenate(
        [amplitude * phase, SLOW_SHARE * (amplitude * phase)[slow], np.zeros(len(body_hz))]
    )
    body = np.concatenate(
        [
            np.zeros(len(frequencies) - len(body_hz)),
            np.exp(2j * np.pi * 0.618 * np.arange(len(body_hz))),
        ]
    )
    order = np.argsort(decays, kind="stable")
    exponents = ((2j * np.pi * frequencies - decays) / sample_rate)[order]
    rows = np.exp(exponents.conj() * COLUMNS * np.arange(ROWS)[:, None])
    columns = np.exp(exponents[:, None] * np.arange(COLUMNS))
    return _String(
        exponents,
        string[order],
        frequencies[order],
        body[order],
        rows.astype(np.complex64),
        np.stack([columns.real, columns.imag], axis=1).reshape(-1, COLUMNS).astype(np.float32),
    )


@dataclass(eq=False)
class _Voice:
    """One note that sounds.

    Parameters
    ----------
    string : _String
    amplitudes : np.ndarray [shape=(P,), dtype=complex128]
    start, release, end : int
        Samples: of the stroke, of the damper, and after the last one that is heard.
    attack : int
        Samples until the stroke is at its full level.
    damping : float
        Decay by the damper, per sample.
    """

    string: _String
    amplitudes: np.ndarray
    start: int
    release: int
    end: int
    attack: int
    damping: float

    @classmethod
    def of(cls, start: int, length: int, pitch: int, velocity: int, sample_rate: int) -> _Voice:
        string = _string(pitch, sample_rate)
        strength = velocity / 127
        # A hard hammer is stiff, so that its stroke has more of the high partials.
        fundamental = 440.0 * 2.0 ** ((pitch - 69) / 12)
        cutoff = 120 + 2600 * strength**2 + 0.7 * fundamental
        dull = np.exp(-(string.frequencies - fundamental).clip(0) / cutoff)
        level = LEVEL * strength**1.6 * 2.0 ** (-max(pitch - 60, 0) / 40)
        amplitudes = level * string.shape * dull + LEVEL * BODY_LEVEL * strength**2 * string.body
        # When each term falls below silence; the last one ends the note.
        size = np.abs(amplitudes) / SILENCE / LEVEL
        end = (np.log(size.clip(1e-9)) / -string.exponents.real).max()
        release = length
        damping = 1 / (sample_rate * (0.045 + 0.06 * 2.0 ** ((40 - pitch) / 12) / 2))
        if pitch >= FIRST_WITHOUT_DAMPER:
            release, damping = 0, 0.0
        else:
            end = min(end, length + np.log(max(size.sum(), 1.0)) / damping)
        attack = max(int(sample_rate * (0.004 - 0.003 * strength)), 1)
        return cls(
            string,
            amplitudes,
            start,
            start + release,
            start + max(int(end), attack),
            attack,
            damping,
        )

    def add_to(self, mix: np.ndarray, first: int) -> None:
        """Add the block that begins at sample `first`."""
        string, offset = self.string, first - self.start
        scaled = self.amplitudes * np.exp(string.exponents * offset)
        # Terms are ordered by decay: those at the end are over first.
        heard = np.abs(scaled) > LEVEL * SILENCE / 8
        count = len(heard) - int(heard[::-1].argmax()) if heard.any() else 0
        if not count:
            return
        weighted = scaled[:count].conj().astype(np.complex64) * string.rows[:, :count]
        sound = (weighted.view(np.float32) @ string.columns[: 2 * count]).reshape(-1)
        if offset < self.attack:
            ramp = np.arange(offset, offset + BLOCK).clip(0, self.attack) / self.attack
            sound *= (0.5 - 0.5 * np.cos(np.pi * ramp)).astype(np.float32)
        since = first + BLOCK - self.release
        if self.damping and since > 0:
            part = min(since, BLOCK)
            time = np.arange(since - part, since)
            sound[BLOCK - part :] *= np.exp(-self.damping * time).astype(np.float32)
        mix += sound


class Synthesizer:
    """Turns notes into sound while they come.

    Parameters
    ----------
    sample_rate : int
        In Hz, see `SAMPLE_RATES`.

    Raises
    ------
    ValueError
        If the sample rate is out of range.

    Examples
    --------
    >>> synthesizer = Synthesizer()
    >>> first = synthesizer.push([(0.0, 0.5, 60, 80)], until_s=0.25)
    >>> len(first)
    11025
    >>> rest = synthesizer.finish()
    """

    def __init__(self, sample_rate: int = SAMPLE_RATE) -> None:
        low, high = SAMPLE_RATES
        if not low <= sample_rate <= high:
            raise ValueError(f"sample_rate: must be from {low} to {high} Hz, not {sample_rate}")
        self.sample_rate = sample_rate
        self._waiting: list[tuple[int, int, int, int]] = []
        self._voices: list[_Voice] = []
        self._mix = np.zeros(BLOCK, np.float32)
        self._returned = 0

    def push(self, notes: Sequence[PlayedNote], until_s: float) -> np.ndarray:
        """Take more notes and return the sound up to a time.

        Parameters
        ----------
        notes : sequence of PlayedNote
            None starts before the sound that has been returned.
        until_s : float
            In seconds from the beginning. No note that comes later may start before it.

        Returns
        -------
        np.ndarray [shape=(samples,), dtype=float32]
            Within (-1, 1); what follows the sound that was returned before.

        Raises
        ------
        ValueError
            If a note starts too early, or has a pitch, velocity or time out of range.
        """
        until = self._sample(until_s, "until_s")
        for start_s, length_s, pitch, velocity in notes:
            start = self._sample(start_s, "start_s")
            if start < self._returned:
                raise ValueError(
                    f"start_s: a note starts at {start_s:g} s, but the sound up to "
                    f"{self._returned / self.sample_rate:g} s has been returned"
                )
            length = self._sample(length_s, "length_s")
            if not 0 <= pitch <= 127 or not 1 <= velocity <= 127:
                raise ValueError(
                    f"pitch must be from 0 to 127 and velocity from 1 to 127, not {pitch} and "
                    f"{velocity}"
                )
            self._waiting.append((start, int(pitch), int(velocity), length))
        # In one order, whatever the order in which they came.
        self._waiting.sort()
        return self._until(until)

    def finish(self) -> np.ndarray:
        """The rest of the sound, until the last note has died away."""
        parts = []
        while self._waiting or self._voices:
            block_end = (self._returned // BLOCK + 1) * BLOCK
            last = max((voice.end for voice in self._voices), default=block_end)
            parts.append(self._until(block_end if self._waiting else min(block_end, last)))
            self._voices = [voice for voice in self._voices if voice.end > self._returned]
        return np.concatenate([np.empty(0, np.float32), *parts])

    def _sample(self, seconds: float, field: str) -> int:
        if not (np.isfinite(seconds) and seconds >= 0):
            raise ValueError(f"{field}: must be 0 or more seconds, not {seconds}")
        return round(float(seconds) * self.sample_rate)

    def _until(self, until: int) -> np.ndarray:
        """Sound up to a sample."""
        parts = [np.empty(0, np.float32)]
        while self._returned < until:
            first = self._returned // BLOCK * BLOCK
            end = min(until, first + BLOCK)
            self._strike(end, first)
            parts.append(_bent(self._mix[self._returned - first : end - first]))
            self._returned = end
            if end == first + BLOCK:
                self._next_block(end)
        return np.concatenate(parts)

    def _strike(self, end: int, first: int) -> None:
        """Begin the notes that start before sample `end` of the block at `first`."""
        count = 0
        for start, pitch, velocity, length in self._waiting:
            if start >= end:
                break
            voice = _Voice.of(start, length, pitch, velocity, self.sample_rate)
            voice.add_to(self._mix, first)
            self._voices.append(voice)
            count += 1
        del self._waiting[:count]

    def _next_block(self, first: int) -> None:
        self._voices = [voice for voice in self._voices if voice.end > first][-MAX_VOICES:]
        self._mix[:] = 0
        for voice in self._voices:
            voice.add_to(self._mix, first)


def _bent(samples: np.ndarray) -> np.ndarray:
    """Samples as they are up to `LINEAR_UP_TO`, and smoothly below 1 above it."""
    size = np.abs(samples)
    room = np.float32(1 - LINEAR_UP_TO)
    above = (size - np.float32(LINEAR_UP_TO)).clip(0)
    # The slope is 1 where the bend begins; the bound is never reached.
    bent = np.float32(LINEAR_UP_TO) + np.float32(0.99) * room * above / (above + room)
    return np.where(above > 0, np.copysign(bent, samples), samples)


def render(notes: Notes, sample_rate: int = SAMPLE_RATE) -> np.ndarray:
    """The sound of a piece, with its sustain pedal.

    Parameters
    ----------
    notes : Notes
    sample_rate : int
        In Hz.

    Returns
    -------
    np.ndarray [shape=(samples,), dtype=float32]
        Mono, within (-1, 1). It ends when the last note has died away.

    Raises
    ------
    ValueError
        If the sample rate is out of range.
    """
    held = sustained(notes)
    synthesizer = Synthesizer(sample_rate)
    rows = zip(
        held.start_s.tolist(),
        held.length_s.tolist(),
        held.pitch.tolist(),
        held.velocity.tolist(),
        strict=True,
    )
    first = synthesizer.push(list(rows), 0.0)
    return np.concatenate([first, synthesizer.finish()])


def sustained(notes: Notes) -> Notes:
    """The notes as long as they sound: the pedal holds a note that ends while it is down.

    A note that is struck again ends there.
    """
    end_s = notes.start_s + notes.length_s
    downs, ups = _merged(notes.pedals_s)
    if len(downs):
        place = np.searchsorted(downs, end_s, side="right") - 1
        lifted = np.where(place >= 0, ups[place.clip(0)], -np.inf)
        again = _struck_again_s(notes)
        end_s = np.maximum(end_s, np.minimum(lifted, again))
    return Notes(notes.start_s, end_s - notes.start_s, notes.pitch, notes.velocity)


def _merged(pedals_s: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Starts and ends of the times that the pedal is down, without overlaps."""
    if not len(pedals_s):
        return np.empty(0), np.empty(0)
    ordered = pedals_s[np.argsort(pedals_s[:, 0], kind="stable")]
    latest = np.maximum.accumulate(ordered[:, 1])
    new = np.concatenate([[True], ordered[1:, 0] > latest[:-1]])
    return ordered[new, 0], latest[np.append(np.flatnonzero(new)[1:] - 1, len(ordered) - 1)]


def _struck_again_s(notes: Notes) -> np.ndarray:
    """When the key of each note is struck next; infinity if never."""
    order = np.lexsort((notes.start_s, notes.pitch))
    pitch, start_s = notes.pitch[order], notes.start_s[order]
    following = np.full(len(order), np.inf)
    same = pitch[1:] == pitch[:-1]
    following[:-1][same] = start_s[1:][same]
    found = np.empty(len(order))
    found[order] = following
    return found

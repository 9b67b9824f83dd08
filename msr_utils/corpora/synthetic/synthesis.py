"""Sound of a score: wavetable notes, percussion and background noise."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from msr_utils.constants import FRAME_SAMPLES, SAMPLE_RATE
from msr_utils.corpora.synthetic.composition import (
    N_HARMONICS,
    Composer,
    Hit,
    Note,
)

TABLE_SIZE = 4096
HARMONIC_NUMBERS = np.arange(1, N_HARMONICS + 1)
HARMONIC_TABLE = np.sin(2 * np.pi * HARMONIC_NUMBERS[:, None] * np.arange(TABLE_SIZE) / TABLE_SIZE)
RELEASE_S = 0.04
FADE_S = 0.02
PEAK = 0.89


def decibels(level_db: float) -> float:
    """Convert a level in dB to an amplitude factor."""
    return 10 ** (level_db / 20)


def sound_note(note: Note, composer: Composer) -> np.ndarray:
    """Synthesise one note by wavetable; brightness sets how fast its harmonics fall off."""
    frequency = 440 * 2 ** ((note.pitch - 69) / 12)
    weights = composer.harmonics * HARMONIC_NUMBERS ** (0.2 - 2.2 * (1 - note.brightness))
    weights = np.where(HARMONIC_NUMBERS * frequency < 0.45 * SAMPLE_RATE, weights, 0)
    weights *= np.sqrt(2) / np.linalg.norm(weights)  # equal power: brightness is not loudness
    n_attack, n_release = int(note.attack_s * SAMPLE_RATE) + 1, int(RELEASE_S * SAMPLE_RATE)
    n_samples = max(int(note.length_s * SAMPLE_RATE), n_attack) + n_release
    seconds = np.arange(n_samples) / SAMPLE_RATE
    phase = (seconds * frequency * TABLE_SIZE).astype(np.int64) % TABLE_SIZE
    wave = (weights @ HARMONIC_TABLE)[phase] * np.exp(-seconds / composer.decay_s)
    return decibels(note.level_db) * fade(wave, n_attack, n_release)


def sound_drums(rng: np.random.Generator) -> dict[str, np.ndarray]:
    """Synthesise one stroke of each drum."""
    seconds = np.arange(int(0.2 * SAMPLE_RATE)) / SAMPLE_RATE
    hiss = np.diff(rng.normal(0, 1, len(seconds) + 1))  # the difference removes low frequencies
    thump = np.sin(2 * np.pi * (48 * seconds + 3 * (1 - np.exp(-seconds / 0.03))))
    n_attack, n_release = 20, 400
    return {
        "hat": fade(hiss * np.exp(-seconds / 0.02), n_attack, n_release),
        "kick": fade(thump * np.exp(-seconds / 0.07), n_attack, n_release),
    }


def fade(wave: np.ndarray, n_in: int, n_out: int) -> np.ndarray:
    """Fade both ends of `wave` to zero in place, so that it starts and stops without a click."""
    wave[:n_in] *= np.linspace(0, 1, n_in) ** 2
    wave[-n_out:] *= np.linspace(1, 0, n_out) ** 2
    return wave


def synthesise(
    notes: Sequence[Note],
    hits: Sequence[Hit],
    composer: Composer,
    n_frames: int,
    rng: np.random.Generator,
) -> np.ndarray:
    """Sound a score of `msr_utils.corpora.synthetic.composition.compose`.

    Returns mono float32 audio at `SAMPLE_RATE`, shape (n_frames * FRAME_SAMPLES,), within `PEAK`.
    """
    drums = sound_drums(rng)
    events = [(note.start_s, sound_note(note, composer)) for note in notes]
    events += [(start_s, decibels(level_db) * drums[drum]) for start_s, drum, level_db in hits]
    audio = decibels(rng.uniform(-66, -50)) * rng.normal(0, 1, n_frames * FRAME_SAMPLES)
    for start_s, wave in events:
        start = int(start_s * SAMPLE_RATE)
        part = audio[start : start + len(wave)]
        part += wave[: len(part)]
    audio *= decibels(rng.uniform(-3, 3))  # recorded level: unrelated to emotion
    n_fade = int(FADE_S * SAMPLE_RATE)
    # tanh bends the rare loud peak instead of clipping it.
    return fade(PEAK * np.tanh(audio / PEAK), n_fade, n_fade).astype(np.float32)

"""The rule-based composer: cues of valence and arousal, and the score that follows them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from scipy.interpolate import PchipInterpolator

from msr_utils.affect import QUADRANTS
from msr_utils.constants import FRAME_SECONDS, TARGETS
from msr_utils.corpora.synthetic.config import COMPOSER_STREAM, SyntheticConfig, frame_centres

# Arcs.
KNOT_SECONDS = 6.0
WANDER_SD = 0.4
ARC_LIMIT = 0.95

# Harmony, in semitones above the tonic. Harmonic minor keeps the dominant chord major.
MAJOR = (0, 2, 4, 5, 7, 9, 11)
MINOR = (0, 2, 3, 5, 7, 8, 11)
PROGRESSIONS = ((0, 3, 4, 0), (0, 5, 3, 4), (0, 3, 0, 4), (0, 4, 5, 3))
RELATED_KEYS = (0, 5, 7)
KEY_NAMES = ("C", "C#", "D", "Eb", "E", "F", "F#", "G", "Ab", "A", "Bb", "B")
STEPS_PER_BEAT = 2
STEPS_PER_CHORD = 4

# Pitch (MIDI, at neutral register) and level (dB below full scale) of each layer.
MELODY_PITCH, CHORD_PITCH, BASS_PITCH = 74, 61, 43
MELODY_DB, CHORD_DB, BASS_DB, CLASH_DB, HAT_DB, KICK_DB = -21, -28, -23, -31, -32, -22
HUMAN_DB, HUMAN_SECONDS = 1.5, 0.006

N_HARMONICS = 16
"""Harmonics of an instrument."""


@dataclass(frozen=True, eq=False)
class Composer:
    """Habits shared by the tracks of one group; none of them depends on emotion."""

    key: int  # pitch class
    progression: tuple[int, ...]  # scale degrees
    harmonics: np.ndarray  # (N_HARMONICS,) recipe of the instrument
    attack_s: float
    decay_s: float
    level_db: float
    register: float  # semitones
    tempo_factor: float
    percussion_db: float


class Cues(NamedTuple):
    """Musical cues of one moment."""

    major: float  # probability of the major scale for a chord
    dissonance: float  # probability of an added semitone in a chord
    tempo_bpm: float
    level_db: float
    density: float  # probability that a melody step sounds
    legato: float  # share of the time to the next note during which a note sounds
    register: float  # semitones
    brightness: float  # 0 dull, 1 bright
    attack: float  # factor on the attack of the instrument


class Note(NamedTuple):
    """One note of a pitched layer."""

    start_s: float
    pitch: float  # MIDI number
    length_s: float
    level_db: float
    brightness: float
    attack_s: float


Hit = tuple[float, str, float]
"""One stroke of percussion: start in s, "hat" or "kick", level in dB."""


def cues_at(valence: float, arousal: float) -> Cues:
    """Musical cues of a point in the valence-arousal plane; see `msr_utils.corpora.synthetic`."""
    return Cues(
        major=np.clip(0.5 + 0.9 * valence, 0, 1),
        dissonance=np.clip(0.2 - 0.5 * valence, 0, 1),
        tempo_bpm=100 * 2 ** (0.65 * arousal),
        level_db=6.0 * arousal,
        density=np.clip(0.52 + 0.36 * arousal, 0.1, 1),
        legato=np.clip(0.8 - 0.25 * arousal - 0.15 * valence, 0.35, 1.1),
        register=5.0 * valence + 1.5 * arousal,
        brightness=np.clip(0.5 + 0.3 * arousal + 0.1 * valence, 0, 1),
        attack=2 ** (-0.8 * arousal),
    )


def draw_composer(config: SyntheticConfig, group: int) -> Composer:
    """Draw the habits of composer number `group`."""
    rng = np.random.default_rng([config.seed, group, COMPOSER_STREAM])
    harmonics = rng.uniform(0.15, 1.0, N_HARMONICS)
    harmonics[1::2] *= rng.uniform(0.1, 1.0)  # weak even harmonics make a reed-like sound
    harmonics[0] = 1.0
    return Composer(
        key=int(rng.integers(12)),
        progression=PROGRESSIONS[rng.integers(len(PROGRESSIONS))],
        harmonics=harmonics,
        attack_s=rng.uniform(0.006, 0.04),
        decay_s=rng.uniform(0.3, 1.2),
        level_db=rng.uniform(-3, 3),
        register=rng.uniform(-4, 4),
        tempo_factor=rng.uniform(0.85, 1.18),
        percussion_db=rng.uniform(-6, 3),
    )


def draw_arcs(config: SyntheticConfig, index: int, rng: np.random.Generator) -> np.ndarray:
    """Draw smooth arcs that wander around a home point, shape (T, 2).

    The home quadrant rotates over the tracks of each composer, so that the corpus covers the
    plane and the composer does not reveal the emotion.
    """
    turn, group = divmod(index, config.n_groups)
    signs = np.array(QUADRANTS[(turn + group) % len(QUADRANTS)].signs)
    home = signs * rng.uniform(0.1, 0.7, len(TARGETS))
    n_knots = max(2, round(config.duration_s / KNOT_SECONDS) + 1)
    knots = home + rng.normal(0, WANDER_SD, (n_knots, len(TARGETS)))
    curve = PchipInterpolator(
        np.linspace(0, config.duration_s, n_knots), knots.clip(-ARC_LIMIT, ARC_LIMIT)
    )
    return curve(frame_centres(config.n_frames))


def nearest_pitch(target: float, pitch_classes: np.ndarray | int) -> float:
    """Return the pitch nearest to `target` (MIDI) that belongs to one of `pitch_classes`."""
    distances = (np.atleast_1d(pitch_classes) - target + 6) % 12 - 6
    return target + distances[np.abs(distances).argmin()]


def compose(
    truth: np.ndarray, composer: Composer, key: int, rng: np.random.Generator
) -> tuple[list[Note], list[Hit]]:
    """Write the score for valence and arousal arcs.

    Parameters
    ----------
    truth : np.ndarray [shape=(T, 2)]
    composer : Composer
    key : int
        Pitch class of the tonic.
    rng : np.random.Generator

    Returns
    -------
    notes : list of Note
    hits : list of Hit
    """
    centres = frame_centres(len(truth))
    duration_s = len(truth) * FRAME_SECONDS
    writer = _ScoreWriter(composer, key, rng)
    now, step = 0.0, 0
    while now < duration_s:
        cues = cues_at(*(np.interp(now, centres, arc) for arc in truth.T))
        now += writer.write_step(now, step, cues)
        step += 1
    return writer.notes, writer.hits


class _ScoreWriter:
    """Writes a score step by step. A step is an eighth note; its length follows the tempo cue.

    The order of the random draws is part of the format: another order gives other music.
    """

    def __init__(self, composer: Composer, key: int, rng: np.random.Generator) -> None:
        self.notes: list[Note] = []
        self.hits: list[Hit] = []
        self._composer, self._key, self._rng = composer, key, rng
        self._melody = float(MELODY_PITCH)
        self._scale = self._chord = np.empty(0, int)
        self._clash = False

    def write_step(self, now: float, step: int, cues: Cues) -> float:
        """Write the step that starts at `now` seconds, and return its length in seconds."""
        step_s = 60 / (cues.tempo_bpm * self._composer.tempo_factor) / STEPS_PER_BEAT
        on_beat = step % STEPS_PER_BEAT == 0
        new_chord = step % STEPS_PER_CHORD == 0
        register = self._composer.register + cues.register
        if new_chord:
            self._choose_chord(step, cues)
        # Pitch, length in s, and level of the layer in dB.
        tones: list[tuple[float, float, float]] = []
        # Calm music holds its chords; lively music strikes them again on the beat.
        restrike = max(0, 2 * cues.density - 1)
        if new_chord or (on_beat and self._rng.random() < restrike):
            length_s = cues.legato * step_s * STEPS_PER_CHORD / (1 + restrike)
            tones += self._chord_tones(register, length_s)
        if self._rng.random() < cues.density * (1.15 if on_beat else 0.85):
            self._move_melody(register, on_beat)
            length_s = cues.legato * step_s / max(cues.density, 0.3)
            tones.append((self._melody, length_s, MELODY_DB))
        for pitch, length_s, layer_db in tones:
            self._add_note(now, pitch, length_s, layer_db, cues)
        self._add_percussion(now, on_beat, cues)
        return step_s

    def _choose_chord(self, step: int, cues: Cues) -> None:
        """Next chord of the progression, from the major or the minor scale."""
        progression = self._composer.progression
        degree = progression[step // STEPS_PER_CHORD % len(progression)]
        mode = MAJOR if self._rng.random() < cues.major else MINOR
        self._scale = np.array(mode) + self._key
        self._chord = self._scale[(degree + np.array((0, 2, 4))) % len(self._scale)]
        self._clash = bool(self._rng.random() < cues.dissonance)

    def _chord_tones(self, register: float, length_s: float) -> list[tuple[float, float, float]]:
        """Tones of the chord, perhaps with a dissonant one, and the bass."""
        centre = CHORD_PITCH + register
        tones = [(nearest_pitch(centre, tone), length_s, CHORD_DB) for tone in self._chord]
        if self._clash:
            tones.append((nearest_pitch(centre, self._chord[0] + 1), length_s, CLASH_DB))
        bass = nearest_pitch(BASS_PITCH + register / 2, self._chord[0])
        return [*tones, (bass, length_s, BASS_DB)]

    def _move_melody(self, register: float, on_beat: bool) -> None:
        """Random step, drawn towards the register: to a chord tone on the beat, else the scale."""
        pull = 0.3 * (MELODY_PITCH + register - self._melody)
        target = self._melody + pull + self._rng.normal(0, 2.5)
        self._melody = nearest_pitch(target, self._chord if on_beat else self._scale)

    def _add_note(
        self, now: float, pitch: float, length_s: float, layer_db: float, cues: Cues
    ) -> None:
        """Add a note with small random deviations of time and level."""
        start_s = now + self._rng.uniform(0, HUMAN_SECONDS)
        level_db = self._composer.level_db + cues.level_db + layer_db
        level_db += self._rng.normal(0, HUMAN_DB)
        attack_s = self._composer.attack_s * cues.attack
        self.notes.append(Note(start_s, pitch, length_s, level_db, cues.brightness, attack_s))

    def _add_percussion(self, now: float, on_beat: bool, cues: Cues) -> None:
        """Add strokes of hat and kick."""
        level_db = self._composer.level_db + cues.level_db + self._composer.percussion_db
        level_db += self._rng.normal(0, HUMAN_DB)
        if self._rng.random() < cues.density:
            self.hits.append((now, "hat", level_db + HAT_DB))
        if on_beat and self._rng.random() < 1.2 * cues.density:
            self.hits.append((now, "kick", level_db + KICK_DB))

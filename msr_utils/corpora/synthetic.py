"""The embedded *synthetic* corpus: music made by code from known valence and arousal arcs.

It lets the whole study run without a download. Nothing here is real music and nobody listened to
it: the "raters" are simulated, and a score reached on this corpus says how well a model recovers
the rules below, **not** how well it recognises emotion in real music.

A small composer writes chords, bass, melody and light percussion. Its cues follow the arcs by
rules that music psychology reports; `cues_at` holds them all:

- mode: major for positive, minor for negative valence, a mixture in between [1]_ [2]_ [3]_ [4]_;
- tempo and loudness: faster and louder as arousal grows [1]_ [2]_ [3]_ [5]_;
- articulation: staccato when happy or angry, legato when sad or tender [1]_ [3]_ [4]_;
- register: higher for happiness, lower for sadness [1]_ [2]_ [4]_;
- timbre: bright sounds and fast attacks for high activity [1]_ [2]_;
- dissonance: consonant for positive, dissonant for negative valence [1]_ [2]_;
- note density: grows with arousal, which is our own choice.

What should not matter varies too: key, timbre, recorded level and background noise. Tracks are
grouped by "composer", each with habits of timbre, level, tempo, register and key; split by group,
or a model can learn the habits. Simulated raters follow the arcs 1 to 3 s late [5]_.

References
----------
.. [1] Juslin & Laukka (2004). Expression, perception, and induction of musical emotions: a review
   and a questionnaire study of everyday listening. J. New Music Research 33(3), 217-238.
.. [2] Gabrielsson & Lindström (2010). The role of structure in the musical expression of
   emotions. In Juslin & Sloboda (eds), Handbook of Music and Emotion. Oxford University Press.
.. [3] Livingstone, Muhlberger, Brown & Thompson (2010). Changing musical emotion: a computational
   rule system for modifying score and performance. Computer Music Journal 34(1), 41-65.
.. [4] Eerola, Friberg & Bresin (2013). Emotional expression in music: contribution, linearity,
   and additivity of primary musical cues. Frontiers in Psychology 4:487.
.. [5] Schubert (2004). Modeling perceived emotion with continuous musical features. Music
   Perception 21(4), 561-585.
"""

import hashlib
import json
import tempfile
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
import soundfile as sf
from scipy.interpolate import PchipInterpolator
from scipy.signal import lfilter
from tqdm import tqdm

from msr_utils.affect import QUADRANTS
from msr_utils.constants import (
    FRAME_RATE_HZ,
    FRAME_SAMPLES,
    FRAME_SECONDS,
    SAMPLE_RATE,
    SCALE,
    TARGETS,
)

RENDERER_VERSION = 1
"""Raise it whenever the same config would give other bytes: caches depend on it."""

MANIFEST = "corpus.json"
"""Its presence marks a complete corpus; it holds the config and the renderer version."""

MIN_DURATION_S = 5.0

# Third word of the random seed, so that no two kinds of draw share a stream. It is not 0 because
# numpy pads the [seed, index] of the tracks with zeros.
COMPOSER_STREAM, RATER_STREAM = 1, 2

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

# Where each layer plays (MIDI pitch at neutral register) and how loud (dB below full scale).
MELODY_PITCH, CHORD_PITCH, BASS_PITCH = 74, 61, 43
MELODY_DB, CHORD_DB, BASS_DB, CLASH_DB, HAT_DB, KICK_DB = -21, -28, -23, -31, -32, -22
HUMAN_DB, HUMAN_SECONDS = 1.5, 0.006

# Synthesis.
N_HARMONICS = 16
TABLE_SIZE = 4096
HARMONIC_NUMBERS = np.arange(1, N_HARMONICS + 1)
HARMONIC_TABLE = np.sin(2 * np.pi * HARMONIC_NUMBERS[:, None] * np.arange(TABLE_SIZE) / TABLE_SIZE)
RELEASE_S = 0.04
FADE_S = 0.02
PEAK = 0.89

# Simulated raters.
RATER_LAG_S = (1.0, 3.0)
RATER_NOISE_TAU_S = 5.0
DECIMALS = 4


@dataclass(frozen=True)
class SyntheticConfig:
    """What to render.

    Parameters
    ----------
    n_tracks : int
        Number of tracks, at least 2.
    duration_s : float
        Length of every track in seconds: a multiple of 0.5 s, at least 5 s.
    n_groups : int
        Number of composers, from 2 to `n_tracks`; they take turns.
    n_raters : int
        Number of simulated raters, at least 2; each rates every track.
    seed : int
        Seed of every random draw, at least 0.
    """

    n_tracks: int = 64
    duration_s: float = 45.0
    n_groups: int = 16
    n_raters: int = 12
    seed: int = 7

    def __post_init__(self) -> None:
        duration_s = self.duration_s
        rules = {
            "n_tracks must be at least 2": self.n_tracks >= 2,
            "n_groups must be from 2 to n_tracks": 2 <= self.n_groups <= self.n_tracks,
            "n_raters must be at least 2": self.n_raters >= 2,
            "seed must be at least 0": self.seed >= 0,
            # Neither comparison holds for NaN, nor the second for infinity.
            "duration_s must be a multiple of 0.5 s and at least 5 s": (
                duration_s >= MIN_DURATION_S and duration_s * FRAME_RATE_HZ % 1 == 0
            ),
        }
        for rule, holds in rules.items():
            if not holds:
                raise ValueError(f"{rule}, not as in {self}")
        object.__setattr__(self, "duration_s", float(self.duration_s))  # 45 is 45.0 in the hash

    @property
    def n_frames(self) -> int:
        """Labels per track."""
        return int(self.duration_s * FRAME_RATE_HZ)


@dataclass(frozen=True, eq=False)
class Composer:
    """Habits shared by the tracks of one group; none of them says anything about emotion."""

    key: int  # pitch class
    progression: tuple[int, ...]  # scale degrees
    harmonics: np.ndarray  # (N_HARMONICS,) recipe of the instrument
    attack_s: float
    decay_s: float
    level_db: float
    register: float  # semitones
    tempo_factor: float
    percussion_db: float


class Rater(NamedTuple):
    """One simulated rater: how late, how strongly, how shifted and how noisily it answers."""

    lag_s: float
    gain: float
    bias_valence: float
    bias_arousal: float
    noise_sd: float


class Cues(NamedTuple):
    """Musical cues of one moment."""

    major: float  # probability that a chord is taken from the major scale
    dissonance: float  # probability that a chord carries a semitone clash
    tempo_bpm: float
    level_db: float
    density: float  # probability that a melody step sounds
    legato: float  # sounding share of the time to the next note
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


@dataclass(frozen=True, eq=False)
class SyntheticTrack:
    """One rendered track with ``T`` frames and ``R`` simulated raters.

    Target axes follow `msr_utils.constants.TARGETS`; row ``k`` describes the window that ends at
    ``(k + 1) / 2`` seconds.
    """

    track_id: str
    group: str
    title: str
    truth: np.ndarray  # (T, 2) arcs that the music was made from
    audio: np.ndarray  # (T * FRAME_SAMPLES,) float32
    ratings: np.ndarray  # (R, T, 2)


def cues_at(valence: float, arousal: float) -> Cues:
    """Translate a point of the valence-arousal plane to musical cues (see the module docstring)."""
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


def draw_rater(config: SyntheticConfig, number: int) -> Rater:
    """Draw the answering habits of simulated rater `number`, the same for every track."""
    rng = np.random.default_rng([config.seed, number, RATER_STREAM])
    return Rater(
        lag_s=rng.uniform(*RATER_LAG_S),
        gain=rng.uniform(0.6, 1.1),
        bias_valence=rng.normal(0, 0.1),
        bias_arousal=rng.normal(0, 0.1),
        noise_sd=rng.uniform(0.25, 0.5),
    )


def draw_arcs(config: SyntheticConfig, index: int, rng: np.random.Generator) -> np.ndarray:
    """Draw smooth arcs that wander around a home point, shape (T, 2).

    The home quadrant rotates over the tracks of each composer, so the corpus covers the plane
    and the composer does not give the emotion away.
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


def frame_ends(n_frames: int) -> np.ndarray:
    """Times in seconds that name the frames: 0.5, 1.0, ..., shape (T,)."""
    return np.arange(1, n_frames + 1) * FRAME_SECONDS


def frame_centres(n_frames: int) -> np.ndarray:
    """Centres in seconds of the windows that the labels describe, shape (T,)."""
    return frame_ends(n_frames) - FRAME_SECONDS / 2


def nearest_pitch(target: float, pitch_classes: np.ndarray | int) -> float:
    """Return the pitch nearest to `target` (MIDI) that belongs to one of `pitch_classes`."""
    distances = (np.atleast_1d(pitch_classes) - target + 6) % 12 - 6
    return target + distances[np.abs(distances).argmin()]


def compose(
    truth: np.ndarray, composer: Composer, key: int, rng: np.random.Generator
) -> tuple[list[Note], list[Hit]]:
    """Write the score for the arcs `truth`, shape (T, 2), with pitch class `key` as its tonic.

    One pass over eighth notes, whose length follows the tempo cue.
    """
    centres = frame_centres(len(truth))
    duration_s = len(truth) * FRAME_SECONDS
    notes: list[Note] = []
    hits: list[Hit] = []
    melody = float(MELODY_PITCH)
    now, step = 0.0, 0
    while now < duration_s:
        cue = cues_at(*(np.interp(now, centres, arc) for arc in truth.T))
        step_s = 60 / (cue.tempo_bpm * composer.tempo_factor) / STEPS_PER_BEAT
        on_beat = step % STEPS_PER_BEAT == 0
        register = composer.register + cue.register
        level_db = composer.level_db + cue.level_db

        if step % STEPS_PER_CHORD == 0:
            degree = composer.progression[step // STEPS_PER_CHORD % len(composer.progression)]
            scale = np.array(MAJOR if rng.random() < cue.major else MINOR) + key
            chord = scale[(degree + np.array((0, 2, 4))) % len(scale)]
            clash = rng.random() < cue.dissonance

        sounding: list[tuple[float, float, float]] = []  # pitch, length in s, layer level in dB
        # Calm music holds its chords; lively music strikes them again on the beat.
        restrike = max(0, 2 * cue.density - 1)
        if step % STEPS_PER_CHORD == 0 or (on_beat and rng.random() < restrike):
            length_s = cue.legato * step_s * STEPS_PER_CHORD / (1 + restrike)
            centre = CHORD_PITCH + register
            sounding += [(nearest_pitch(centre, tone), length_s, CHORD_DB) for tone in chord]
            if clash:
                sounding.append((nearest_pitch(centre, chord[0] + 1), length_s, CLASH_DB))
            bass = nearest_pitch(BASS_PITCH + register / 2, chord[0])
            sounding.append((bass, length_s, BASS_DB))
        if rng.random() < cue.density * (1.15 if on_beat else 0.85):
            pull = 0.3 * (MELODY_PITCH + register - melody)
            melody = nearest_pitch(melody + pull + rng.normal(0, 2.5), chord if on_beat else scale)
            sounding.append((melody, cue.legato * step_s / max(cue.density, 0.3), MELODY_DB))
        for pitch, length_s, layer_db in sounding:
            start_s = now + rng.uniform(0, HUMAN_SECONDS)
            note_db = level_db + layer_db + rng.normal(0, HUMAN_DB)
            attack_s = composer.attack_s * cue.attack
            notes.append(Note(start_s, pitch, length_s, note_db, cue.brightness, attack_s))

        drum_db = level_db + composer.percussion_db + rng.normal(0, HUMAN_DB)
        if rng.random() < cue.density:
            hits.append((now, "hat", drum_db + HAT_DB))
        if on_beat and rng.random() < 1.2 * cue.density:
            hits.append((now, "kick", drum_db + KICK_DB))

        now += step_s
        step += 1
    return notes, hits


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
    truth: np.ndarray, composer: Composer, key: int, rng: np.random.Generator
) -> np.ndarray:
    """Compose music for the arcs `truth`, shape (T, 2), and sound it.

    Returns mono float32 audio at `SAMPLE_RATE`, shape (T * FRAME_SAMPLES,), within `PEAK`.
    """
    notes, hits = compose(truth, composer, key, rng)
    drums = sound_drums(rng)
    events = [(note.start_s, sound_note(note, composer)) for note in notes]
    events += [(start_s, decibels(level_db) * drums[drum]) for start_s, drum, level_db in hits]
    audio = decibels(rng.uniform(-66, -50)) * rng.normal(0, 1, len(truth) * FRAME_SAMPLES)
    for start_s, wave in events:
        start = int(start_s * SAMPLE_RATE)
        room = audio[start : start + len(wave)]
        room += wave[: len(room)]
    audio *= decibels(rng.uniform(-3, 3))  # recorded level, which means nothing
    n_fade = int(FADE_S * SAMPLE_RATE)
    # tanh bends the rare loud peak instead of clipping it.
    return fade(PEAK * np.tanh(audio / PEAK), n_fade, n_fade).astype(np.float32)


def rate(truth: np.ndarray, raters: list[Rater], rng: np.random.Generator) -> np.ndarray:
    """Simulate continuous ratings of the arcs, shape (R, T, 2), clipped to `SCALE`."""
    ends = frame_ends(len(truth))
    pole = np.exp(-FRAME_SECONDS / RATER_NOISE_TAU_S)
    ratings = np.empty((len(raters), *truth.shape))
    for answer, rater in zip(ratings, raters, strict=True):
        white = rng.normal(0, 1, truth.shape)
        white[1:] *= np.sqrt(1 - pole**2)  # the slow noise has unit variance from the first frame
        noise = lfilter([1], [1, -pole], white, axis=0)
        heard = [np.interp(ends - rater.lag_s, ends, arc) for arc in truth.T]
        bias = (rater.bias_valence, rater.bias_arousal)
        answer[:] = rater.gain * np.stack(heard, axis=1) + bias + rater.noise_sd * noise
    return ratings.clip(*SCALE).round(DECIMALS)


def render_track(config: SyntheticConfig, index: int) -> SyntheticTrack:
    """Render track number `index`, from 0; the result depends on nothing else."""
    if not 0 <= index < config.n_tracks:
        raise IndexError(f"index must be from 0 to {config.n_tracks - 1}, not {index}")
    rng = np.random.default_rng([config.seed, index])
    group = index % config.n_groups
    composer = draw_composer(config, group)
    key = (composer.key + int(rng.choice(RELATED_KEYS))) % 12
    truth = draw_arcs(config, index, rng)
    audio = synthesise(truth, composer, key, rng)
    raters = [draw_rater(config, number) for number in range(config.n_raters)]
    ratings = rate(truth, raters, rng)
    return SyntheticTrack(
        track_id=f"syn{index + 1:03d}",
        group=f"composer{group + 1:02d}",
        title=f"Synthetic piece {index + 1} in {KEY_NAMES[key]} (rendered by code)",
        truth=truth.round(DECIMALS),
        audio=audio,
        ratings=ratings,
    )


def render_corpus(config: SyntheticConfig, destination: Path, progress: bool = True) -> Path:
    """Render the synthetic corpus as a folder at `destination`, or return at once if it is there.

    The folder appears complete or not at all, also when several processes render it at once. It
    holds ``tracks.csv``, ``annotations.csv`` (mean of the simulated raters), ``ratings.csv`` (each
    simulated rater), ``raters.csv`` (their profiles, repeated for every track they rated),
    ``truth.csv`` (the arcs, without lag or noise), ``audio/*.flac`` and ``corpus.json``. Every
    ``time_s`` is the end in seconds of the 500 ms window that the row describes.

    Raises
    ------
    FileExistsError
        If `destination` holds anything else than this corpus.
    """
    destination = Path(destination)
    if destination.exists():
        if not _is_complete(config, destination):
            raise FileExistsError(f"{destination} exists and is not this synthetic corpus")
        return destination
    parent = destination.parent
    parent.mkdir(parents=True, exist_ok=True)
    # A sibling, because a rename is atomic only within one file system.
    with tempfile.TemporaryDirectory(prefix=f".{destination.name}-", dir=parent) as scratch:
        built = Path(scratch) / "corpus"
        _write_corpus(config, built, progress)
        try:
            built.rename(destination)
        except OSError:
            if not _is_complete(config, destination):  # else another process was faster
                raise
    return destination


def cached_corpus(config: SyntheticConfig, cache_dir: Path) -> Path:
    """Return the corpus of `config` below `cache_dir`, rendering it the first time."""
    identity = json.dumps(_manifest(config), sort_keys=True).encode()
    name = f"synthetic-{hashlib.sha256(identity).hexdigest()[:12]}"
    return render_corpus(config, Path(cache_dir) / name)


def _manifest(config: SyntheticConfig) -> dict:
    return {
        "name": "synthetic",
        "note": "Computer-rendered music with simulated raters; not real music.",
        "renderer_version": RENDERER_VERSION,
        "config": asdict(config),
    }


def _is_complete(config: SyntheticConfig, folder: Path) -> bool:
    manifest = folder / MANIFEST
    return manifest.is_file() and json.loads(manifest.read_text()) == _manifest(config)


def _write_corpus(config: SyntheticConfig, folder: Path, progress: bool) -> None:
    (folder / "audio").mkdir(parents=True)
    raters = pd.DataFrame([draw_rater(config, number) for number in range(config.n_raters)])
    raters.insert(0, "rater", [f"rater{number + 1:02d}" for number in range(config.n_raters)])
    tracks, truth, annotations, ratings = [], [], [], []
    for index in tqdm(range(config.n_tracks), "synthetic corpus", disable=not progress):
        track = render_track(config, index)
        file = f"audio/{track.track_id}.flac"
        sf.write(folder / file, track.audio, SAMPLE_RATE, subtype="PCM_16")
        tracks.append((track.track_id, file, track.group, track.title, config.duration_s))
        truth.append(_long_table(track.truth, track_id=track.track_id))
        annotations.append(_long_table(track.ratings.mean(axis=0), track_id=track.track_id))
        ratings += [
            _long_table(rating, track_id=track.track_id, rater=rater)
            for rater, rating in zip(raters["rater"], track.ratings, strict=True)
        ]
    tables = {"truth": pd.concat(truth), "annotations": pd.concat(annotations)}
    tables["ratings"] = pd.concat(ratings)
    columns = ["track_id", "file", "group", "title", "duration_s"]
    tables["tracks"] = pd.DataFrame(tracks, columns=columns)
    tables["raters"] = raters.merge(tables["tracks"][["track_id"]], how="cross")
    tables["raters"].insert(1, "track_id", tables["raters"].pop("track_id"))
    for name, table in tables.items():
        table.round(DECIMALS).to_csv(folder / f"{name}.csv", index=False)
    (folder / MANIFEST).write_text(json.dumps(_manifest(config), indent=2) + "\n")


def _long_table(affect: np.ndarray, **identity: str) -> pd.DataFrame:
    """Long table of one array of shape (T, 2)."""
    columns = dict(zip(TARGETS, affect.T, strict=True))
    order = {"arousal": columns["arousal"], "valence": columns["valence"]}
    return pd.DataFrame(identity | {"time_s": frame_ends(len(affect))} | order)

"""Train networks that write notes, resumably: first without labels, then with.

Trainings are kept as in `msr_utils.training.note_training`, whose parts are used here.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from msr_utils.generation.attributes import (
    PITCH_ATTRIBUTE,
    AttributeModel,
    local_attributes,
)
from msr_utils.generation.codes import ATTRIBUTES, PITCH, START, encode
from msr_utils.generation.condition import (
    CONDITION_SIZE,
    EMOTION,
    KEY,
    MUSIC,
    condition,
    without,
)
from msr_utils.generation.graph import GeneratorConfig
from msr_utils.io import atomic_path, read_json
from msr_utils.models.backend import keras
from msr_utils.models.generators import generator_network
from msr_utils.notes import Notes
from msr_utils.provenance.cache_keys import computed_by
from msr_utils.symbolic.augmentation import MAX_SEMITONES, MAX_TEMPO_CHANGE
from msr_utils.symbolic.words import N_SPECIAL
from msr_utils.training.loop import set_seed
from msr_utils.training.note_training import (
    Batch,
    _folder,
    _hash,
    _load,
    _optimizer,
    _rounds,
)

DROPPED = {"both": 0.15, "emotion": 0.1, "attributes": 0.15}
"""Shares of excerpts whose emotion, attributes or both are not told, so that a network also learns
what comes without them. Guidance needs this."""

KEY_DROPPED = 0.1
"""Share of excerpts whose key is not told."""

FROM_START = 0.1
"""Share of excerpts that begin with the piece; the others begin anywhere."""


@dataclass(frozen=True, eq=False)
class EmotionalPiece:
    """A piece, and what is known of its emotion.

    Parameters
    ----------
    notes : Notes
        At least two.
    style : int
        Place in `msr_utils.generation.condition.STYLES`.
    times_s, valence, arousal : np.ndarray [shape=(P,)]
        Labels; none where nothing is known, one for a constant label.
    """

    notes: Notes
    style: int
    times_s: np.ndarray
    valence: np.ndarray
    arousal: np.ndarray

    def emotion_at(self, times_s: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Valence and arousal at some times (T,) each; NaN where unknown."""
        if not len(self.times_s):
            unknown = np.full(len(times_s), np.nan)
            return unknown, unknown
        return (
            np.interp(times_s, self.times_s, self.valence),
            np.interp(times_s, self.times_s, self.arousal),
        )

    def first(self, seconds: float) -> EmotionalPiece:
        """Its first seconds, without pedals."""
        notes = self.notes.between(0, seconds)
        return replace(self, notes=notes.part(0, len(notes)))

    def faster(self, tempo: float) -> EmotionalPiece:
        """A copy that is played `tempo` times as fast."""
        return replace(self, notes=self.notes.altered(0, tempo), times_s=self.times_s / tempo)


@dataclass(frozen=True)
class GeneratorTraining:
    """How a generator is trained.

    Parameters
    ----------
    steps : int > 0
        Batches.
    batch_size : int > 0
        Excerpts of a batch.
    length : int > 0
        Notes of an excerpt.
    learning_rate : float > 0
        The highest.
    dropout : float in [0, 1)
    copies : int > 0
        Versions of each piece at slightly different tempi. The first is the piece itself.
    round_steps : int > 0
        Steps after which the state is written and the validation loss taken.
    seed : int
    """

    steps: int = 1200
    batch_size: int = 32
    length: int = 128
    learning_rate: float = 2e-3
    dropout: float = 0.1
    copies: int = 1
    round_steps: int = 50
    seed: int = 7


@dataclass(frozen=True, eq=False)
class Trained:
    """A trained generator.

    Parameters
    ----------
    state : Path
        File of the weights.
    history : list of dict
        ``round, loss`` and, with validation pieces, ``validation_loss``, in nats a note.
    """

    state: Path
    history: list[dict[str, float]]


@dataclass(frozen=True, eq=False)
class _Sequence:
    """A piece as a network is trained on it; rows are notes."""

    codes: np.ndarray
    attributes: np.ndarray
    keys: np.ndarray
    valence: np.ndarray
    arousal: np.ndarray
    style: int


def attribute_moments(pieces: Sequence[EmotionalPiece]) -> tuple[np.ndarray, np.ndarray]:
    """Mean and standard deviation (A,) each of the local attributes of pieces, over their notes."""
    values = np.concatenate([local_attributes(p.notes, _told_at(p.notes)).values for p in pieces])
    return values.mean(axis=0), np.maximum(values.std(axis=0), 1e-3)


def _told_at(notes: Notes) -> np.ndarray:
    """Time at which each note is decided: the start of the one before."""
    return np.concatenate([notes.start_s[:1], notes.start_s[:-1]])


def _sequence(piece: EmotionalPiece, model: AttributeModel) -> _Sequence:
    times = _told_at(piece.notes)
    local = local_attributes(piece.notes, times)
    valence, arousal = piece.emotion_at(times)
    return _Sequence(
        encode(piece.notes),
        model.standardised(local.values).astype(np.float32).clip(-5, 5),
        local.keys,
        valence,
        arousal,
        piece.style,
    )


def _sequences(
    pieces: Sequence[EmotionalPiece], model: AttributeModel, settings: GeneratorTraining
) -> list[_Sequence]:
    """Every piece, and copies at other tempi."""
    rng = np.random.default_rng([settings.seed, 1])
    limit = np.log1p(MAX_TEMPO_CHANGE)
    found = []
    for piece in pieces:
        tempi = [1.0, *np.exp(rng.uniform(-limit, limit, settings.copies - 1))]
        found += [_sequence(piece.faster(tempo), model) for tempo in tempi]
    return found


def train_generator(
    pieces: Sequence[EmotionalPiece],
    validation: Sequence[EmotionalPiece],
    model: AttributeModel,
    config: GeneratorConfig,
    settings: GeneratorTraining,
    start: Path | None = None,
    weights: np.ndarray | None = None,
    progress: bool = True,
) -> Trained:
    """Train a generator; a killed training continues with the round that was interrupted.

    Parameters
    ----------
    pieces, validation : sequence of EmotionalPiece
        With validation pieces, the weights of the round with the lowest loss on them are kept.
    model : AttributeModel
        Standardises the attributes.
    config : GeneratorConfig
    settings : GeneratorTraining
    start : Path, optional
        State of another training of the same network, see `Trained`, to start from.
    weights : np.ndarray [shape=(pieces,)], optional
        How much oftener a piece is drawn than its length says.
    progress : bool

    Raises
    ------
    FloatingPointError
        If the training diverges.
    """
    weights = np.ones(len(pieces)) if weights is None else weights
    data = [_piece_hash(pieces), _piece_hash(validation), _hash([weights, model.mean, model.sd])]
    origin = start.parent.name if start else ""
    folder = _folder("generator", [config, settings, data, origin, computed_by(train_generator)])
    result = folder / "trained.npz"
    if not result.is_file():
        set_seed(settings.seed)
        network = _compiled(config, settings)
        if start:
            _load_weights(network, start)
        sequences = _sequences(pieces, model, settings)
        checked = _sequences(validation, model, replace(settings, copies=1))
        share = np.repeat(weights, settings.copies) * [len(s.codes) for s in sequences]
        share = share / share.sum()
        steps = min(settings.round_steps, settings.steps)
        pitch_sd = float(model.sd[PITCH_ATTRIBUTE])

        def batches(number: int) -> Iterable[Batch]:
            rng = np.random.default_rng([settings.seed, 2, number])
            for _ in range(steps):
                chosen = rng.choice(len(sequences), settings.batch_size, p=share)
                yield _batch([sequences[i] for i in chosen], settings.length, pitch_sd, rng)

        fixed = _validation_batches(checked, settings)
        loss = (lambda: _mean_loss(network, fixed)) if fixed else None
        rounds = max(settings.steps // steps, 1)
        _rounds(network, batches, rounds, steps, folder, loss, config.kind, progress)
        if fixed:
            _load(network, folder / "best.npz")
        _save_weights(network, result)
        for name in ("state.npz", "best.npz"):
            (folder / name).unlink(missing_ok=True)
    return Trained(result, read_json(folder / "history.json"))


def _piece_hash(pieces: Sequence[EmotionalPiece]) -> str:
    arrays = []
    for piece in pieces:
        notes = piece.notes
        arrays += [notes.start_s, notes.length_s, notes.pitch, notes.velocity]
        arrays += [piece.times_s, piece.valence, piece.arousal, np.array(piece.style)]
    return _hash(arrays)


def _compiled(config: GeneratorConfig, settings: GeneratorTraining) -> keras.Model:
    network = generator_network(config, settings.length, settings.dropout)
    network.compile(
        optimizer=_optimizer(settings.learning_rate, settings.steps),
        loss=[
            keras.losses.SparseCategoricalCrossentropy(
                from_logits=True, reduction="mean_with_sample_weight"
            )
            for _ in ATTRIBUTES
        ],
        jit_compile=False,
    )
    return network


def _batch(
    pieces: Sequence[_Sequence], length: int, pitch_sd: float, rng: np.random.Generator
) -> Batch:
    """Excerpts, each in a random key, with some of what is told left out."""
    before = np.full((len(pieces), length, len(ATTRIBUTES)), START, np.int32)
    notes, weights = before.copy(), np.zeros((len(pieces), length), np.float32)
    told = np.zeros((len(pieces), length, CONDITION_SIZE), np.float32)
    for row, piece in enumerate(pieces):
        last = max(len(piece.codes) - length, 0)
        first = 0 if rng.random() < FROM_START else int(rng.integers(last + 1))
        semitones = int(rng.integers(-MAX_SEMITONES, MAX_SEMITONES + 1))
        excerpt = _excerpt(piece, first, length, semitones, pitch_sd)
        count = len(excerpt.codes)
        notes[row, :count] = excerpt.codes
        before[row, 1:count] = excerpt.codes[:-1]
        if first:
            before[row, 0] = _transposed(piece.codes[first - 1], semitones)
        weights[row, :count] = 1
        told[row, :count] = _some_dropped(_told(excerpt), rng)
    columns = [notes[..., k] for k in range(len(ATTRIBUTES))]
    # Keras takes several inputs as a list.
    return [before, notes, told], columns, [weights] * len(ATTRIBUTES)  # type: ignore[return-value]


def _excerpt(
    piece: _Sequence, first: int, length: int, semitones: int, pitch_sd: float
) -> _Sequence:
    """Consecutive notes of a piece, transposed."""
    part = slice(first, first + length)
    attributes = piece.attributes[part].copy()
    attributes[:, PITCH_ATTRIBUTE] += semitones / pitch_sd
    keys = piece.keys[part]
    return _Sequence(
        _transposed(piece.codes[part], semitones),
        attributes,
        (keys + semitones) % 12 + 12 * (keys // 12),
        piece.valence[part],
        piece.arousal[part],
        piece.style,
    )


def _transposed(codes: np.ndarray, semitones: int) -> np.ndarray:
    """Codes (..., 4) in another key. Notes that leave the range of MIDI move by octaves."""
    pitch = codes[..., PITCH] - N_SPECIAL + semitones
    moved = codes.copy()
    moved[..., PITCH] = np.where(pitch > 127, pitch - 12, np.where(pitch < 0, pitch + 12, pitch))
    moved[..., PITCH] += N_SPECIAL
    return moved


def _told(piece: _Sequence) -> np.ndarray:
    return condition(piece.valence, piece.arousal, piece.attributes, piece.keys, piece.style)


def _some_dropped(rows: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Conditions of an excerpt, some of which are unknown throughout."""
    chance, shares = rng.random(), np.cumsum(list(DROPPED.values()))
    parts = [[EMOTION, MUSIC], [EMOTION], [MUSIC], []][int(np.searchsorted(shares, chance))]
    if rng.random() < KEY_DROPPED:
        parts = [*parts, KEY]
    return without(rows, *parts)


def _validation_batches(sequences: Sequence[_Sequence], settings: GeneratorTraining) -> list[Batch]:
    """Excerpts that cover the validation pieces once, with all that can be told."""
    length, size = settings.length, settings.batch_size
    excerpts = [
        _excerpt(sequence, first, length, 0, 1.0)
        for sequence in sequences
        for first in range(0, len(sequence.codes), length)
    ]
    batches = []
    for start in range(0, len(excerpts), size):
        part = excerpts[start : start + size]
        # All batches have one shape: another one would compile the graph again.
        notes = np.full((size, length, len(ATTRIBUTES)), START, np.int32)
        before, weights = notes.copy(), np.zeros((size, length), np.float32)
        told = np.zeros((size, length, CONDITION_SIZE), np.float32)
        for row, excerpt in enumerate(part):
            count = len(excerpt.codes)
            notes[row, :count], before[row, 1:count] = excerpt.codes, excerpt.codes[:-1]
            # The note before an excerpt is not known to it.
            weights[row, 1:count] = 1
            told[row, :count] = _told(excerpt)
        columns = [notes[..., k] for k in range(len(ATTRIBUTES))]
        batches.append(([before, notes, told], columns, weights))
    return batches  # type: ignore[return-value]


def _mean_loss(network: keras.Model, batches: Sequence[Batch]) -> float:
    """Mean loss in nats a note, over all attributes."""
    total = count = 0.0
    for inputs, targets, weights in batches:
        for logits, codes in zip(network.predict_on_batch(inputs), targets, strict=True):
            shifted = np.asarray(logits) - np.max(logits, axis=-1, keepdims=True)
            normal = shifted - np.log(np.exp(shifted).sum(axis=-1, keepdims=True))
            right = np.take_along_axis(normal, codes[..., None], axis=-1)[..., 0]
            total -= float((right * weights).sum())
        count += float(weights.sum())
    return total / count


def _save_weights(network: keras.Model, path: Path) -> None:
    with atomic_path(path) as temporary:
        np.savez(temporary, *network.get_weights())


def _load_weights(network: keras.Model, path: Path) -> None:
    with np.load(path) as stored:
        network.set_weights([stored[f"arr_{k}"] for k in range(len(network.weights))])


def trained_network(trained: Path, config: GeneratorConfig, length: int) -> keras.Model:
    """The network whose training left a state."""
    network = generator_network(config, length)
    _load_weights(network, trained)
    return network

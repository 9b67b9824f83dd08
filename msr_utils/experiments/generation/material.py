"""What a generator is trained on, and what its judges are trained on: two halves of labelled music.

No song of EMOPIA and no game series of VGMIDI lies in both halves.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from msr_utils.affect import QUADRANT_NAMES, SIGNS, quadrant
from msr_utils.corpora.base import Corpus, Track
from msr_utils.corpora.midi import read_midi
from msr_utils.generation.condition import STYLES
from msr_utils.notes import Notes
from msr_utils.training.generator_training import EmotionalPiece

QUADRANT_PLACE = 0.5
"""Valence and arousal, up to the sign, at which a clip with only a quadrant is placed."""

CLIPS, CURVES, UNLABELLED = range(len(STYLES))

MIN_NOTES = 16
"""Pieces with fewer notes are left out."""

VALIDATION_SHARE = 0.12
"""Share of the generator's groups that choose when training stops and how notes are drawn."""


@dataclass(frozen=True, eq=False)
class Labelled:
    """A piece with its labels.

    Parameters
    ----------
    id, group : str
    piece : EmotionalPiece
    label : int
        0 to 3, for Q1 to Q4; for a piece with curves, that of their means.
    """

    id: str
    group: str
    piece: EmotionalPiece
    label: int


@dataclass(frozen=True, eq=False)
class Material:
    """Music by what it is for.

    Parameters
    ----------
    train, validation : tuple of Labelled
        The generator's half.
    judging : tuple of Labelled
        The judges' half.
    unlabelled : tuple of EmotionalPiece
        For pretraining.
    left_out : int
        Pieces with too few notes.
    """

    train: tuple[Labelled, ...]
    validation: tuple[Labelled, ...]
    judging: tuple[Labelled, ...]
    unlabelled: tuple[EmotionalPiece, ...]
    left_out: int


def divide(corpora: Sequence[Corpus], unlabelled: Corpus | None, seed: int) -> Material:
    """Read the notes of corpora and divide them.

    Parameters
    ----------
    corpora : sequence of Corpus
        With quadrants or curves.
    unlabelled : Corpus, optional
    seed : int
        Of the division.
    """
    train: list[Labelled] = []
    validation: list[Labelled] = []
    judging: list[Labelled] = []
    left_out = 0
    for corpus in corpora:
        pieces, skipped = _labelled(corpus)
        left_out += skipped
        ours, theirs = _halves(pieces, seed)
        chosen = _some_groups(ours, VALIDATION_SHARE, seed)
        train += [p for p in ours if p.group not in chosen]
        validation += [p for p in ours if p.group in chosen]
        judging += theirs
    songs, skipped = _unlabelled(unlabelled)
    return Material(
        tuple(train), tuple(validation), tuple(judging), tuple(songs), left_out + skipped
    )


def _labelled(corpus: Corpus) -> tuple[list[Labelled], int]:
    found, left_out = [], 0
    for track in corpus.tracks:
        if track.midi_path is None:
            left_out += 1
            continue
        notes = read_midi(track.midi_path)
        if len(notes) < MIN_NOTES:
            left_out += 1
            continue
        found.append(_labelled_piece(track, notes))
    return found, left_out


def _labelled_piece(track: Track, notes: Notes) -> Labelled:
    if track.quadrant:
        place = QUADRANT_PLACE * np.array(SIGNS[track.quadrant], float)
        piece = EmotionalPiece(notes, CLIPS, np.zeros(1), place[:1], place[1:])
        name = track.quadrant
    else:
        known = np.asarray(track.mask, bool)
        # A label describes the half second that ends at its time.
        times, valence, arousal = (
            np.asarray(values, float)[known]
            for values in (track.times_s - 0.25, track.valence, track.arousal)
        )
        piece = EmotionalPiece(notes, CURVES, times, valence, arousal)
        name = quadrant(float(valence.mean()), float(arousal.mean())).name
    return Labelled(track.id, track.group, piece, QUADRANT_NAMES.index(name))


def _unlabelled(corpus: Corpus | None) -> tuple[list[EmotionalPiece], int]:
    if corpus is None:
        return [], 0
    none = np.empty(0)
    notes = [read_midi(track.midi_path) for track in corpus.tracks if track.midi_path]
    kept = [n for n in notes if len(n) >= MIN_NOTES]
    pieces = [EmotionalPiece(n, UNLABELLED, none, none, none) for n in kept]
    return pieces, len(notes) - len(kept)


def _halves(pieces: Sequence[Labelled], seed: int) -> tuple[list[Labelled], list[Labelled]]:
    """Divide groups so that each quadrant has about as many pieces on both sides."""
    first: set[str] = set()
    counts = np.zeros((2, len(QUADRANT_NAMES)))
    of_group = _counts(pieces)
    for group in _shuffled(of_group, seed):
        sides = [counts.copy(), counts.copy()]
        for side in (0, 1):
            sides[side][side] += of_group[group]
        uneven = [float(np.abs(s[0] - s[1]).sum()) for s in sides]
        side = int(uneven[1] < uneven[0])
        counts = sides[side]
        if side == 0:
            first.add(group)
    return [p for p in pieces if p.group in first], [p for p in pieces if p.group not in first]


def _some_groups(pieces: Sequence[Labelled], share: float, seed: int) -> set[str]:
    """Groups that together have at most about a share of the pieces; none of a single group."""
    of_group, chosen, count = _counts(pieces), set(), 0.0
    for group in _shuffled(of_group, seed + 1)[1:]:
        size = float(of_group[group].sum())
        if count + size <= share * len(pieces) * 1.1 + 1:
            chosen.add(group)
            count += size
        if count >= share * len(pieces):
            break
    return chosen


def _counts(pieces: Iterable[Labelled]) -> dict[str, np.ndarray]:
    """Group -> pieces of each quadrant."""
    found: dict[str, np.ndarray] = {}
    for piece in pieces:
        found.setdefault(piece.group, np.zeros(len(QUADRANT_NAMES)))[piece.label] += 1
    return found


def _shuffled(groups: Iterable[str], seed: int) -> list[str]:
    """Groups in random order, those with most pieces first where sizes differ much."""
    names = sorted(groups)
    np.random.default_rng([seed, len(names)]).shuffle(names)
    return names

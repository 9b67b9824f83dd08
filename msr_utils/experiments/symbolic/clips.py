"""Clips of notes with one quadrant each, and the three parts of their split."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

import numpy as np
import pandas as pd

from msr_utils.affect import QUADRANT_NAMES, quadrant
from msr_utils.corpora.base import Corpus, CorpusError, Track
from msr_utils.corpora.midi import read_midi
from msr_utils.dataset.splits import splits_of
from msr_utils.notes import Notes
from msr_utils.training.note_training import Parts

EXCERPT_S = 15.0
"""Length in seconds of the clips into which a piece with curves is cut."""

MIN_NOTES = 8
"""Excerpts with fewer notes are left out."""


@dataclass(frozen=True, eq=False)
class NoteClips:
    """Clips with their labels.

    Parameters
    ----------
    notes : tuple of Notes
    labels : np.ndarray [shape=(N,), dtype=int]
        0 to 3, for Q1 to Q4.
    groups : np.ndarray [shape=(N,)]
        Song or composer.
    parts : Parts
        No group lies in two of them.
    left_out : int
        Excerpts with too few notes or without a label.
    """

    notes: tuple[Notes, ...]
    labels: np.ndarray
    groups: np.ndarray
    parts: Parts
    left_out: int = 0

    def __len__(self) -> int:
        return len(self.notes)


def clips_of(corpus: Corpus, seed: int = 7) -> NoteClips:
    """Clips of a corpus with notes.

    A track with a quadrant is a clip. A track with curves is cut into excerpts of `EXCERPT_S`, and
    the means of its curves give the quadrant of each.

    Parameters
    ----------
    corpus : Corpus
    seed : int
        Of the split, where there is no official one with a validation part.

    Raises
    ------
    CorpusError
        If a track has no notes, or a MIDI file cannot be read.
    """
    part_of = _parts(corpus, seed)
    notes: list[Notes] = []
    rows: list[tuple[int, str, str]] = []
    left_out = 0
    for track in corpus.tracks:
        if track.midi_path is None:
            raise CorpusError(f"track {track.id!r}: has no notes; give a corpus with MIDI files")
        found, skipped = _clips_of_track(track)
        left_out += skipped
        notes += [clip for clip, _ in found]
        rows += [(label, track.group, part_of.get(track.id, "")) for _, label in found]
    labels, groups, parts = (np.array(column) for column in zip(*rows, strict=True))
    train, validation, test = (
        np.flatnonzero(parts == name) for name in ("train", "validation", "test")
    )
    return NoteClips(tuple(notes), labels, groups, Parts(train, validation, test), left_out)


def _parts(corpus: Corpus, seed: int) -> dict[str, str]:
    """Track id -> part: the official split, or one by group."""
    official = {track.id: track.split for track in corpus.tracks}
    if "validation" in official.values():
        return official
    split = splits_of(corpus, 1, seed)[0]
    return {
        track_id: name
        for name in ("train", "validation", "test")
        for track_id in getattr(split, name)
    }


def _clips_of_track(track: Track) -> tuple[list[tuple[Notes, int]], int]:
    """Clips of a track with their labels, and how many were left out."""
    assert track.midi_path is not None
    notes = read_midi(track.midi_path)
    if track.quadrant:
        return [(notes, QUADRANT_NAMES.index(track.quadrant))], 0
    found, left_out = [], 0
    end_s = float(track.times_s[-1]) if len(track.times_s) else 0.0
    for start_s in np.arange(0, end_s - EXCERPT_S / 2, EXCERPT_S):
        clip = notes.between(start_s, start_s + EXCERPT_S)
        inside = (track.times_s > start_s) & (track.times_s <= start_s + EXCERPT_S) & track.mask
        if len(clip) < MIN_NOTES or not inside.any():
            left_out += 1
            continue
        name = quadrant(float(track.valence[inside].mean()), float(track.arousal[inside].mean()))
        found.append((clip, QUADRANT_NAMES.index(name.name)))
    return found, left_out


def clip_table(clips: NoteClips) -> pd.DataFrame:
    """Clips of each quadrant, groups and notes in each part, for display."""
    rows = {}
    for name in ("train", "validation", "test"):
        part = getattr(clips.parts, name)
        count = Counter(clips.labels[part].tolist())
        rows[name] = {
            **{quadrant_name: count[k] for k, quadrant_name in enumerate(QUADRANT_NAMES)},
            "clips": len(part),
            "songs": len(set(clips.groups[part])),
            "median notes": int(np.median([len(clips.notes[i]) for i in part])),
        }
    return pd.DataFrame(rows).T.rename_axis("part")

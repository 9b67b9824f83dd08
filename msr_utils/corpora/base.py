"""Data types that every corpus loader returns: tracks, a card and the corpus itself."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pandas as pd

from msr_utils.io import sha256_file

LABELS = ("curves", "quadrants", "gems")
"""Kinds of labels: valence and arousal over time, one quadrant per clip, nine felt emotions."""

UNLABELLED = "none"
"""In the place of a kind: a corpus without labels, for pretraining."""

NOTES = "notes"
"""Kind of data of a corpus whose tracks have MIDI files."""


class CorpusError(ValueError):
    """A corpus with files that are missing, unreadable or contradictory.

    Parameters
    ----------
    message : str
    file : str
        Name of the file concerned; empty where it is not about one file.
    field : str
        Column, key or parameter concerned; empty where it is not about one.
    """

    def __init__(self, message: str = "", file: str = "", field: str = "") -> None:
        super().__init__(message)
        self.file = file
        self.field = field


@dataclass(frozen=True)
class Track:
    """One audio file and its labels: curves, a quadrant or emotions.

    Parameters
    ----------
    id : str
        Unique in the corpus.
    audio_path : Path
    times_s : np.ndarray [shape=(T,)]
        Ends of the annotated 500 ms windows, rising multiples of 0.5 s.
    valence, arousal : np.ndarray [shape=(T,), dtype=float32]
        In [-1, 1]; NaN where missing.
    group : str
        Artist or game series. All tracks of one group lie on the same side of a split.
    split : str
        ``"train"``, ``"validation"`` or ``"test"`` where the corpus has an official split, else
        ``""``. One without a part for validation is common.
    text : dict of str to str
        Title, artist and genre, as far as known.
    ratings : np.ndarray [shape=(raters, T, 2), dtype=float32], optional
        Each rater's (valence, arousal) on ``times_s``; NaN where missing.
    raters : tuple of str
        Names of the raters, in the order of `ratings` or `gems_ratings`: rows of
        `Corpus.raters`.
    quadrant : str
        ``"Q1"`` (+V +A), ``"Q2"`` (-V +A), ``"Q3"`` (-V -A), ``"Q4"`` (+V -A), or empty.
    gems : np.ndarray [shape=(9,), dtype=float32], optional
        Share of listeners who felt each of the nine GEMS emotions.
    gems_ratings : np.ndarray [shape=(listeners, 9), dtype=float32], optional
        Each listener's answers, 0 or 1.
    static : np.ndarray [shape=(2,), dtype=float32], optional
        (valence, arousal) of the track rated once as a whole, in [-1, 1].
    duration_s : float, optional
        Length of the audio in seconds as the corpus states it.
    shared_with : dict of str to str
        Other corpora that contain the same recording, and its id there. Never train on one
        and test on the other.
    midi_path : Path, optional
        Its notes. `audio_path` may then name a file that is not there.
    """

    id: str
    audio_path: Path
    times_s: np.ndarray
    valence: np.ndarray
    arousal: np.ndarray
    group: str
    split: str = ""
    text: dict[str, str] = field(default_factory=dict)
    ratings: np.ndarray | None = None
    raters: tuple[str, ...] = ()
    quadrant: str = ""
    gems: np.ndarray | None = None
    gems_ratings: np.ndarray | None = None
    static: np.ndarray | None = None
    duration_s: float | None = None
    shared_with: dict[str, str] = field(default_factory=dict)
    midi_path: Path | None = None

    @property
    def mask(self) -> np.ndarray:
        """True where both valence and arousal are known, (T,)."""
        return np.isfinite(self.valence) & np.isfinite(self.arousal)


@dataclass(frozen=True)
class Card:
    """Source of a corpus and its terms of use."""

    title: str
    source: str
    licence: str
    citation: str
    notes: tuple[str, ...] = ()

    def to_markdown(self) -> str:
        """The card as a Markdown list."""
        terms = [("source", self.source), ("licence", self.licence), ("cite", self.citation)]
        lines = [f"**{self.title}**", ""]
        lines += [f"- {name}: {text}" for name, text in terms if text]
        lines += [f"- {note}" for note in self.notes]
        return "\n".join(lines) + "\n"


@dataclass(frozen=True)
class Corpus:
    """Tracks of one data set.

    Parameters
    ----------
    name : str
        Short name, used for run folders.
    tracks : sequence of Track
    card : Card
    index_files : sequence of Path
        Annotation and metadata files, hashed into `content_hash`. Where notes are all that there
        is, they are among them.
    without_audio : int
        Number of annotated tracks that have no audio here.
    labels : str
        Kind of labels: one of `LABELS`, or `UNLABELLED`.
    raters : pandas.DataFrame, optional
        Profiles of the raters: one row each, indexed by rater.
    has_audio : bool
        False: the corpus is published as notes.
    """

    name: str
    tracks: Sequence[Track]
    card: Card
    index_files: Sequence[Path]
    without_audio: int = 0
    labels: str = "curves"
    raters: pd.DataFrame | None = None
    has_audio: bool = True

    @property
    def kinds(self) -> set[str]:
        """Kinds of data: `labels` of audio, ``static``, ``profiles`` of raters, ``notes``."""
        kinds = {self.labels} if self.has_audio else set()
        kinds |= {"static" for t in self.tracks if t.static is not None}
        kinds |= {NOTES for t in self.tracks if t.midi_path is not None}
        return kinds | ({"profiles"} if self.raters is not None else set())

    def content_hash(self) -> str:
        """SHA-256 over annotation files and available audio: changes when any of them does.

        Notes beside audio do not count: see `notes_hash`.
        """
        digest = hashlib.sha256()
        audio = sorted(t.audio_path for t in self.tracks if t.audio_path.is_file())
        for path in [*sorted(self.index_files), *audio]:
            digest.update(f"{path.name} {sha256_file(path)}\n".encode())
        return digest.hexdigest()

    def notes_hash(self) -> str:
        """SHA-256 over the MIDI files of the tracks."""
        digest = hashlib.sha256()
        for track in self.tracks:
            if track.midi_path is not None:
                digest.update(f"{track.id} {sha256_file(track.midi_path)}\n".encode())
        return digest.hexdigest()

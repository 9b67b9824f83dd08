"""What every corpus gives: tracks with audio, annotations on the 2 Hz grid, and a card."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from msr_utils.constants import FRAME_RATE_HZ, FRAME_SECONDS, SCALE
from msr_utils.io import sha256_file

GRID_TOLERANCE_S = 0.01
"""How far an annotation time may lie from a multiple of 500 ms."""


class CorpusError(ValueError):
    """A corpus whose files are missing, unreadable or contradict one another."""


@dataclass(frozen=True)
class Track:
    """One piece of audio with the valence and arousal that people gave it.

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
        Artist or game series: tracks of one group never lie on two sides of a split.
    split : str
        ``"train"`` or ``"test"`` where the corpus has an official split, else ``""``.
    text : dict of str to str
        Title, artist, genre as far as known.
    ratings : np.ndarray [shape=(raters, T, 2), dtype=float32], optional
        Each rater's (valence, arousal) on ``times_s``; NaN where missing.
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

    @property
    def mask(self) -> np.ndarray:
        """True where both valence and arousal are known, (T,)."""
        return np.isfinite(self.valence) & np.isfinite(self.arousal)


@dataclass(frozen=True)
class Card:
    """Who made a corpus and on what terms it may be used."""

    title: str
    source: str
    licence: str
    citation: str
    notes: tuple[str, ...] = ()

    def to_markdown(self) -> str:
        """The card as a Markdown list."""
        facts = [("source", self.source), ("licence", self.licence), ("cite", self.citation)]
        lines = [f"**{self.title}**", ""]
        lines += [f"- {name}: {text}" for name, text in facts if text]
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
        Annotation and metadata files, hashed into `content_hash`.
    without_audio : int
        Annotated tracks left out because their audio is not at hand.
    """

    name: str
    tracks: Sequence[Track]
    card: Card
    index_files: Sequence[Path]
    without_audio: int = 0

    def content_hash(self) -> str:
        """SHA-256 over annotation files and audio: changes when any of the data does."""
        digest = hashlib.sha256()
        for path in [*sorted(self.index_files), *sorted(t.audio_path for t in self.tracks)]:
            digest.update(f"{path.name} {sha256_file(path)}\n".encode())
        return digest.hexdigest()


def frame_index(times_s: np.ndarray, where: str) -> np.ndarray:
    """Index of the frame that ends at each time: 0.5 s is frame 0.

    Parameters
    ----------
    times_s : np.ndarray [shape=(T,)]
    where : str
        File and track to name in errors.

    Raises
    ------
    CorpusError
        If a time is off the 500 ms grid, not positive, or the times do not rise.
    """
    times_s = np.asarray(times_s, float)
    index = np.rint(times_s * FRAME_RATE_HZ)
    off = ~(np.abs(times_s - index * FRAME_SECONDS) <= GRID_TOLERANCE_S)
    if off.any():
        raise CorpusError(
            f"{where}: time_s {times_s[off][0]:g} is not a multiple of {FRAME_SECONDS} s; "
            "give the end of each 500 ms window"
        )
    if (index < 1).any():
        raise CorpusError(f"{where}: time_s {times_s.min():g} is before the first window's end")
    if (np.diff(index) <= 0).any():
        bad = times_s[1:][np.diff(index) <= 0][0]
        raise CorpusError(f"{where}: time_s {bad:g} is repeated or out of order")
    return index.astype(int) - 1


def check_scale(values: np.ndarray, where: str) -> None:
    """Refuse values outside [-1, 1]; NaN passes.

    Raises
    ------
    CorpusError
        Naming the first value out of range.
    """
    low, high = SCALE
    bad = np.isfinite(values) & ((values < low) | (values > high))
    if bad.any() or np.isinf(values).any():
        value = values[bad | np.isinf(values)][0]
        raise CorpusError(
            f"{where}: {value:g} lies outside [{low:g}, {high:g}]; rescale it before loading"
        )

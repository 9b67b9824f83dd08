"""What every corpus gives: tracks with audio, annotations on the 2 Hz grid, and a card."""

from __future__ import annotations

import hashlib
import os
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pandas as pd

from msr_utils.constants import FRAME_RATE_HZ, FRAME_SECONDS, SCALE
from msr_utils.io import sha256_file

GRID_TOLERANCE_S = 0.01
"""How far an annotation time may lie from a multiple of 500 ms."""

MAX_TIME_S = 24 * 3600
"""Later times are not seconds of a piece of music: milliseconds, or damage."""

AUDIO_SUFFIXES = (".mp3", ".ogg", ".opus", ".flac", ".wav")
"""Audio that the loaders look for, the official archives' format first."""

RATING_SCALES = (
    (1, 9, "(x - 5) / 4"),
    (0, 10, "x / 5 - 1"),
    (0, 100, "x / 50 - 1"),
    (-100, 100, "x / 100"),
)
"""Lowest and highest value of scales in use, and how they become [-1, 1]."""

MIN_VALUES_TO_TELL = 30
"""Fewer values do not tell the scale of a column."""

LABELS = ("curves", "quadrants", "gems")
"""Valence and arousal over time; one quadrant of their plane; nine emotions felt."""


class CorpusError(ValueError):
    """A corpus whose files are missing, unreadable or contradict one another.

    Parameters
    ----------
    message : str
    file : str
        The file that is damaged as a whole, for findings that are not about one in particular.
    """

    def __init__(self, message: str = "", file: str = "") -> None:
        super().__init__(message)
        self.file = file


@dataclass(frozen=True)
class Finding:
    """One thing that a reader of the data should know.

    Parameters
    ----------
    level : str
        ``"error"``: the data are damaged or contradict one another. ``"note"``: they are as
        their makers left them, but not what one would expect.
    file : str
        Its name, or its path in the corpus' folder where the name alone is not clear.
    subject : str
        Track, line or column; may be empty.
    message : str
    """

    level: str
    file: str
    subject: str
    message: str


class Findings(list[Finding]):
    """What a loader notes on its way; it also decides what an error does.

    Parameters
    ----------
    collect : bool
        False: the first error is raised, so that no study runs on damaged data. True: errors
        are collected and what they concern is left out, so that one reading finds them all.
    """

    def __init__(self, collect: bool = False) -> None:
        super().__init__()
        self.collect = collect

    @contextmanager
    def about(self, file: str, subject: str = "") -> Iterator[None]:
        """Collect or pass on the `CorpusError` of a block: the reading of one track, say."""
        try:
            yield
        except CorpusError as error:
            if not self.collect:
                raise
            self.append(Finding("error", file or error.file, subject, str(error)))

    def note(self, file: str, subject: str, message: str) -> None:
        """Keep something that is no damage."""
        self.append(Finding("note", file, subject, message))

    @property
    def damaged(self) -> set[str]:
        """Subjects of the errors collected so far: what is left out."""
        return {finding.subject for finding in self if finding.level == "error"}


@contextmanager
def in_file(file: str) -> Iterator[None]:
    """Add the file to a `CorpusError` of a block that reads the whole of it."""
    try:
        yield
    except CorpusError as error:
        error.file = error.file or file
        raise


@dataclass(frozen=True)
class Track:
    """One piece of audio with what people said of it: curves, a quadrant or emotions.

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
    raters : tuple of str
        Who they are, in the order of `ratings` or `gems_ratings`: rows of `Corpus.raters`.
    quadrant : str
        ``"Q1"`` (+V +A), ``"Q2"`` (-V +A), ``"Q3"`` (-V -A), ``"Q4"`` (+V -A), or empty.
    gems : np.ndarray [shape=(9,), dtype=float32], optional
        Share of listeners who felt each of the nine GEMS emotions.
    gems_ratings : np.ndarray [shape=(listeners, 9), dtype=float32], optional
        Who felt what, 0 or 1.
    static : np.ndarray [shape=(2,), dtype=float32], optional
        (valence, arousal) of the whole track as rated once, in [-1, 1].
    duration_s : float, optional
        Length of the audio in seconds as the corpus states it.
    shared_with : dict of str to str
        Other corpora that hold the same recording, and its id there: never train on one
        and test on the other.
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
    labels : str
        What the tracks carry: one of `LABELS`.
    raters : pandas.DataFrame, optional
        Profiles of the people who rated: one row each, indexed by rater.
    """

    name: str
    tracks: Sequence[Track]
    card: Card
    index_files: Sequence[Path]
    without_audio: int = 0
    labels: str = "curves"
    raters: pd.DataFrame | None = None

    @property
    def kinds(self) -> set[str]:
        """What there is: `labels`, ``static`` beside curves, ``profiles`` of raters."""
        found = {self.labels} | {"static" for t in self.tracks if t.static is not None}
        return found | ({"profiles"} if self.raters is not None else set())

    def content_hash(self) -> str:
        """SHA-256 over annotation files and the audio at hand: changes when any of it does."""
        digest = hashlib.sha256()
        audio = sorted(t.audio_path for t in self.tracks if t.audio_path.is_file())
        for path in [*sorted(self.index_files), *audio]:
            digest.update(f"{path.name} {sha256_file(path)}\n".encode())
        return digest.hexdigest()


def walk(root: Path) -> list[Path]:
    """Files under a folder and the folders that links in it lead to, sorted.

    Every folder is entered once, by its own place before any link to it. Dot files and
    ``__MACOSX``, the litter of archivers, are left out.
    """
    found: list[Path] = []
    entered: set[str] = set()
    pending = [Path(root)]
    for start in pending:  # grows: links come after the tree that holds them
        for folder, folders, names in os.walk(start):
            here = os.path.realpath(folder)
            folders[:] = [f for f in folders if f != "__MACOSX" and not f.startswith(".")]
            if here in entered:
                folders.clear()
                continue
            entered.add(here)
            pending += sorted(p for f in folders if (p := Path(folder, f)).is_symlink())
            found += [Path(folder, name) for name in names if not name.startswith(".")]
    return sorted(path for path in found if path.is_file())


def find_audio(path: Path) -> Path | None:
    """The file as named, or one beside it with the same stem and another audio suffix.

    Re-encoded copies of a corpus keep its file names and change their suffix.
    """
    if path.is_file():
        return path
    stem = path.with_suffix("") if path.suffix.lower() in AUDIO_SUFFIXES else path
    suffixes = (written for suffix in AUDIO_SUFFIXES for written in (suffix, suffix.upper()))
    others = (stem.with_name(stem.name + suffix) for suffix in suffixes)
    return next((other for other in others if other.is_file()), None)


def note_same_audio(tracks: Sequence[Track], findings: Findings, file: str = "") -> list[Track]:
    """Refuse the same audio in two groups, which no split keeps apart; note it within one.

    Parameters
    ----------
    tracks : sequence of Track
        Those whose audio is not here pass.
    findings : Findings
    file : str
        Table to name in findings; by default the audio.

    Returns
    -------
    list of Track
        Without those refused, where errors are collected: the first of each audio stays.

    Raises
    ------
    CorpusError
        If two files of tracks in two groups hold the same bytes.
    """
    size = {t.id: t.audio_path.stat().st_size for t in tracks if t.audio_path.is_file()}
    alike = Counter(size.values())
    first: dict[str, Track] = {}
    kept = []
    for track in tracks:
        name, other = track.audio_path.name, track
        where = file or name
        with findings.about(where, track.id):
            # Only files of one size can be the same; empty ones are damaged in another way.
            if size.get(track.id) and alike[size[track.id]] > 1:
                try:
                    other = first.setdefault(sha256_file(track.audio_path), track)
                except OSError as error:
                    raise CorpusError(f"{name}: cannot be read ({error.strerror})") from error
            same = f"{name}: track {track.id!r} has the same audio as {other.id!r}"
            if other.group != track.group:
                raise CorpusError(
                    f"{same} in another group ({track.group!r}, {other.group!r}), so that it may "
                    "lie on both sides of a split; put the right file in place or leave one out"
                )
            if other is not track:
                findings.note(where, track.id, same)
            kept.append(track)
    return kept


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
        If a time is off the 500 ms grid, not positive, too late to be seconds, or the times do
        not rise.
    """
    times_s = np.asarray(times_s, float)
    if (np.abs(times_s) > MAX_TIME_S).any():
        raise CorpusError(
            f"{where}: time_s {times_s[np.abs(times_s) > MAX_TIME_S][0]:g} lies beyond "
            f"{MAX_TIME_S} s; give seconds from the start of the audio"
        )
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


def check_scale(values: np.ndarray, where: str, column: np.ndarray | None = None) -> None:
    """Refuse values outside [-1, 1]; NaN passes.

    Parameters
    ----------
    values : np.ndarray
    where : str
        File, track and column to name in errors.
    column : np.ndarray, optional
        All values of the column, from which the error guesses its scale; `values` by default.

    Raises
    ------
    CorpusError
        Naming the first value out of range and the scale that the column seems to have.
    """
    low, high = SCALE
    # NaN compares false with everything, infinity does not.
    bad = (values < low) | (values > high)
    if bad.any():
        raise CorpusError(
            f"{where}: {values[bad][0]:g} lies outside [{low:g}, {high:g}]; "
            f"{_rescaling(values if column is None else column)}"
        )


def note_scale(name: str, values: np.ndarray, file: str, findings: Findings) -> None:
    """Note a column of a whole corpus whose values all lie in [0, 1]: its scale may be another.

    Parameters
    ----------
    name : str
        Of the column.
    values : np.ndarray
        All of its values; NaN does not count.
    file : str
    findings : Findings
    """
    values = np.asarray(values)[np.isfinite(values)]
    if len(values) >= MIN_VALUES_TO_TELL and ((values >= 0) & (values <= 1)).all():
        findings.note(
            file, name, f"all values of {name} lie in [0, 1]: if the scale is 0..1, map it with "
            "2x - 1"
        )  # fmt: skip


def _rescaling(column: np.ndarray) -> str:
    """What to do with a column out of scale; a few bad values among good ones are no scale."""
    column = column[np.isfinite(column)]
    if np.sum(np.abs(column) > SCALE[1]) <= len(column) / 2:
        return "correct it or leave the cell empty"
    for low, high, formula in RATING_SCALES:
        if low <= column.min() and column.max() <= high:
            return f"the column looks like {low}..{high}: rescale it with {formula}"
    return "rescale the column before loading"

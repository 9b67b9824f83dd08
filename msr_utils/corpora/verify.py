"""Check a corpus: audio and notes can be read, lengths are as stated, labels belong to audio."""

from __future__ import annotations

import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from tqdm import tqdm

from msr_utils.audio.decode import AudioFacts, inspect
from msr_utils.audio.source import AudioError
from msr_utils.constants import FRAME_SECONDS
from msr_utils.corpora import load_corpus
from msr_utils.corpora.base import Corpus, CorpusError, Track
from msr_utils.corpora.findings import Finding, Findings
from msr_utils.corpora.midi import read_midi
from msr_utils.corpora.tables import reading

LENGTH_TOLERANCE_S = 0.5
"""Accepted difference of the audio's length from the stated one: encoders add or drop frames."""

SERIOUS = ("cut short", "damaged", "silent")
"""Kinds of defects that make a track's labels wrong. The others are notes."""

TYPICAL_FILES = {
    "folder": "tracks.csv",
    "emotify": "data.csv",
    "merp": "*annotations*.parquet",
    "deam": "*dynamic*/arousal.csv",
    "emopia": "midis/Q[1-4]_*.mid",
    "pop909": "001/001.mid",
    "pmemo": "static_annotations.csv",
}
"""File by which each corpus is recognised."""


@dataclass(frozen=True)
class Validation:
    """Result of `validate`.

    Parameters
    ----------
    corpus : str
    tracks : int
        Number of tracks with audio, or of a corpus of notes, whose labels could be read.
    without_audio : int
        Number of annotated tracks without audio, which is not an error.
    hours : float
        Hours of decoded audio.
    findings : tuple of Finding
    with_notes : int
        Number of tracks whose notes could be read.
    """

    corpus: str
    tracks: int
    without_audio: int
    hours: float
    findings: tuple[Finding, ...]
    with_notes: int = 0

    @property
    def ok(self) -> bool:
        """True if there are no errors; notes are accepted."""
        return not any(f.level == "error" for f in self.findings)

    def table(self) -> pd.DataFrame:
        """One row per finding: level, file, subject, message; errors first."""
        rows = pd.DataFrame(
            [asdict(f) for f in self.findings], columns=["level", "file", "subject", "message"]
        )
        return rows.sort_values(["level", "file", "subject"], kind="stable", ignore_index=True)


def validate(data_dir: str | Path, corpus: str = "", progress: bool = True) -> Validation:
    """Load a corpus as a study does, read all audio and notes, and collect errors and remarks.

    Parameters
    ----------
    data_dir : path
    corpus : str, optional
        Name of its loader. By default it is recognised from the files.
    progress : bool
        Show a progress bar.

    Raises
    ------
    CorpusError
        If there is no such folder, if it contains none of the known corpora or several, or if
        the corpus is rendered and has no folder.
    """
    if corpus == "synthetic":
        raise CorpusError("synthetic has no folder to verify", field="corpus")
    root = Path(data_dir).absolute()
    with reading(str(data_dir)):
        if not root.is_dir():
            raise CorpusError(f"no folder {data_dir}", field="data_dir")
        corpus = corpus or identify(root)
    findings = Findings(collect=True)
    loaded: Corpus | None = None
    with findings.about("", ""), reading():
        loaded = load_corpus(corpus, root, findings=findings)
    if loaded is None:
        return Validation(corpus, 0, 0, 0.0, tuple(findings))
    seconds = _check_audio(loaded, root, findings, progress) if loaded.has_audio else 0.0
    with_notes = _check_notes(loaded, root, findings)
    if loaded.without_audio:
        findings.note(
            "", "", f"{loaded.without_audio} annotated tracks have no audio here: they are left out"
        )
    return Validation(
        loaded.name,
        len(loaded.tracks),
        loaded.without_audio,
        seconds / 3600,
        tuple(findings),
        with_notes,
    )


def _check_audio(corpus: Corpus, root: Path, findings: Findings, progress: bool) -> float:
    """Decode all tracks, add findings, and return the seconds decoded."""
    seconds = 0.0
    # The decoders work without Python's global lock: threads are enough.
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        results = pool.map(_inspect, corpus.tracks)
        bar = tqdm(results, "decoding", len(corpus.tracks), unit="track", disable=not progress)
        for track, result in zip(corpus.tracks, bar, strict=True):
            file = os.path.relpath(track.audio_path, root)
            if isinstance(result, str):
                findings.append(Finding("error", file, track.id, result))
                continue
            seconds += result.seconds
            comparisons = (*_compare_length(track, result), *_check_labels(track))
            findings += [Finding(level, file, track.id, text) for level, text in comparisons]
    return seconds


def _check_notes(corpus: Corpus, root: Path, findings: Findings) -> int:
    """Read the notes of all tracks that have some, add findings, and count what could be read."""
    count = 0
    for track in corpus.tracks:
        if track.midi_path is None:
            continue
        file = os.path.relpath(track.midi_path, root)
        with findings.about(file, track.id):
            notes = read_midi(track.midi_path)
            count += 1
            if np.ptp(notes.velocity) == 0 and len(notes) > 1:
                findings.note(file, track.id, "all notes have one velocity: dynamics are not told")
            labelled_s = track.times_s[-1] if len(track.times_s) else 0.0
            if notes.end_s < labelled_s / 2:
                findings.note(
                    file,
                    track.id,
                    f"the notes end at {notes.end_s:.1f} s, the annotations at {labelled_s:.1f} s",
                )
    return count


def identify(root: Path) -> str:
    """Name of the corpus in a folder, by its files: at the root, else up to three levels down.

    Raises
    ------
    CorpusError
        If it is none of the known corpora, or if sub-folders contain several.
    OSError
        If the folder cannot be read.
    """
    os.listdir(root)  # A pattern finds nothing in a folder that cannot be read.
    for name, pattern in TYPICAL_FILES.items():
        if next(root.glob(pattern), None):
            return name
    matches = {
        (path.relative_to(root).parts[0], name)
        for name, pattern in TYPICAL_FILES.items()
        for level in ("*/", "*/*/", "*/*/*/")
        for path in root.glob(level + pattern)
    }
    names = {name for _, name in matches}
    folders = ", ".join(f"{folder} ({name})" for folder, name in sorted(matches))
    if len(names) > 1:
        raise CorpusError(
            f"{root.name} holds several corpora: verify one of {folders}", field="data_dir"
        )
    if names and names != {"folder"}:
        return names.pop()
    expected = "; ".join(f"{pattern} ({name})" for name, pattern in TYPICAL_FILES.items())
    below = f"; verify a folder inside it: {folders}" if matches else ""
    raise CorpusError(
        f"{root.name}: none of the known corpora; looked for {expected}{below}", field="data_dir"
    )


def _inspect(track: Track) -> AudioFacts | str:
    """Facts of a track's audio, or why there are none."""
    try:
        return inspect(track.audio_path)
    except AudioError as error:
        return str(error)
    except OSError as error:
        return f"cannot be read ({error.strerror or error})"
    except Exception as error:  # no file of a large corpus may stop the rest
        return f"{type(error).__name__}: {error}"


def _compare_length(track: Track, audio: AudioFacts) -> Iterator[tuple[str, str]]:
    """Level and message of each contradiction between audio, stated length and annotations."""
    lasts, stated_s = f"lasts {audio.seconds:.1f} s", track.duration_s
    for defect in audio.defects:
        yield "error" if defect.kind in SERIOUS else "note", f"{lasts}; {defect.message}"
    incomplete = any(defect.kind in ("cut short", "damaged") for defect in audio.defects)
    if stated_s and audio.seconds < stated_s - LENGTH_TOLERANCE_S and not incomplete:
        reason = "the file is cut short or another one"
        yield "error", f"{lasts}, the corpus states {stated_s:.1f} s: {reason}"
    elif stated_s and audio.seconds > stated_s + 2 * LENGTH_TOLERANCE_S:
        yield "note", f"{lasts}, the corpus states {stated_s:.1f} s"
    past = track.times_s > audio.seconds + LENGTH_TOLERANCE_S
    if past.any() and not incomplete:
        last = f"the last at {track.times_s[-1]:.1f} s"
        yield "error", f"{lasts}, but {past.sum()} annotations lie past its end, {last}"
    if len(track.times_s) and track.times_s[-1] < audio.seconds / 2:
        yield "note", f"{lasts}, but the last annotation is at {track.times_s[-1]:.1f} s"


def _check_labels(track: Track) -> Iterator[tuple[str, str]]:
    """Level and message of each oddity of a track's curve."""
    zero = (track.valence == 0) & (track.arousal == 0)
    ending = int(np.argmin(zero[::-1])) if len(zero) else 0
    if ending > 1:
        yield "note", f"its last {ending} frames are exactly 0 in both: a default, perhaps"
    missing = ~track.mask
    if missing.any():
        gap_s = _longest_run(missing) * FRAME_SECONDS
        yield (
            "note",
            f"{missing.sum()} of {len(missing)} annotated frames lack a value, the longest gap is "
            f"{gap_s:g} s: loss and metrics ignore them",
        )


def _longest_run(flags: np.ndarray) -> int:
    """Length of the longest run of True."""
    edges = np.flatnonzero(np.diff(np.concatenate([[0], flags.astype(int), [0]])))
    return int(np.max(edges[1::2] - edges[::2], initial=0))

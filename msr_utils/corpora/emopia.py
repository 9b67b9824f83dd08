"""EMOPIA: clips of pop piano music as notes, one quadrant each.

Hung, Ching, Doh, Kim, Nam and Yang (2021), "EMOPIA: a multi-modal pop piano dataset for emotion
recognition and emotion-based music generation", ISMIR.

``midis/Q1_<song>_<n>.mid``
    Clip ``n`` of a song, transcribed from a recording. The name begins with its quadrant.
``label.csv`` (optional)
    ``ID, 4Q``: name and quadrant again.
``split/{train,val,test}_clip.csv`` (optional)
    ``clip_name``: the authors' split by song.

The recordings are videos, of which the release has the addresses. There is no audio.
"""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path

import numpy as np

from msr_utils.affect import QUADRANT_NAMES
from msr_utils.corpora.base import Card, Corpus, CorpusError, Track
from msr_utils.corpora.checks import walk
from msr_utils.corpora.findings import Findings, in_file
from msr_utils.corpora.midi import MIDI_SUFFIXES
from msr_utils.corpora.tables import read_csv

CLIPS = {"Q1": 250, "Q2": 265, "Q3": 253, "Q4": 310}
"""Number of clips of each quadrant as published."""

SPLIT_FILES = {"train_clip.csv": "train", "val_clip.csv": "validation", "test_clip.csv": "test"}

CARD = Card(
    title="EMOPIA 1.0",
    source="https://zenodo.org/record/5090631",
    licence="CC BY-NC-SA 4.0: not for commercial use, share alike",
    citation="Hung, Ching, Doh, Kim, Nam and Yang (2021), EMOPIA: a multi-modal pop piano dataset "
    "for emotion recognition and emotion-based music generation, ISMIR",
    notes=(
        "1078 clips of 387 songs, transcribed from recordings of pop piano music; one quadrant a "
        "clip, from one of four annotators",
        "groups are songs; the authors' split has each song in one part",
        "notes only: the recordings are videos, of which the release has the addresses",
    ),
)


def load_emopia(data_dir: Path, findings: Findings | None = None) -> Corpus:
    """Load the clips of EMOPIA.

    Parameters
    ----------
    data_dir : Path
        Where the archive was unpacked, in any arrangement of its folders.
    findings : Findings, optional
        Where notes go. With ``collect``, errors go there too and their clips are left out.

    Raises
    ------
    CorpusError
        If there is no clip, or a table contradicts the files.
    """
    findings = Findings() if findings is None else findings
    root = Path(data_dir)
    files = walk(root)
    clips = {
        path.stem: path
        for path in files
        if path.suffix.lower() in MIDI_SUFFIXES and re.fullmatch(r"Q[1-4]_.+_\d+", path.stem)
    }
    if not clips:
        raise CorpusError(f"EMOPIA: no clip such as midis/Q1_0vLPYiPN7qY_0.mid found under {root}")
    tables = [path for path in files if path.name in ("label.csv", *SPLIT_FILES)]
    for path in tables:
        if path.name == "label.csv":
            _check_labels(path, clips, findings)
    splits = _read_splits([p for p in tables if p.name in SPLIT_FILES], clips, findings)
    tracks = [
        _track(name, path, root, splits.get(name, ""))
        for name, path in sorted(clips.items())
        if name not in findings.damaged
    ]
    _note_counts(tracks, findings)
    return Corpus(
        name="emopia",
        tracks=tracks,
        card=CARD,
        index_files=[*tables, *(track.midi_path for track in tracks if track.midi_path)],
        labels="quadrants",
        has_audio=False,
    )


def _track(name: str, path: Path, root: Path, split: str) -> Track:
    none = np.empty(0, np.float32)
    return Track(
        id=name,
        audio_path=root / "audio" / f"{name}.flac",
        times_s=np.empty(0),
        valence=none,
        arousal=none,
        group=song_of(name),
        split=split,
        quadrant=name[:2],
        midi_path=path,
    )


def song_of(clip: str) -> str:
    """The song that a clip comes from: ``Q1_0vLPYiPN7qY_2`` is of ``0vLPYiPN7qY``."""
    return clip[3:].rpartition("_")[0]


def _check_labels(path: Path, clips: dict[str, Path], findings: Findings) -> None:
    """Compare the table of quadrants with the names of the clips."""
    with in_file(path.name):
        table = read_csv(path, ("ID", "4Q"), findings=findings)
    for line, clip, label in zip(table.index, table["ID"], table["4Q"], strict=True):
        if f"Q{label}" not in QUADRANT_NAMES or not clip.startswith(f"Q{label}_"):
            with findings.about(path.name, clip):
                raise CorpusError(
                    f"{path.name}, line {line}: quadrant of {clip!r} is {label!r}, which its name "
                    "contradicts; unpack the archive again",
                    path.name,
                    "4Q",
                )
    if missing := sorted(set(table["ID"]) - set(clips)):
        findings.note(
            path.name, missing[0], f"{len(missing)} of {len(table)} labelled clips are not here"
        )


def _read_splits(paths: list[Path], clips: dict[str, Path], findings: Findings) -> dict[str, str]:
    """Clip -> part of the authors' split."""
    found: dict[str, str] = {}
    for path in paths:
        with in_file(path.name):
            table = read_csv(path, ("clip_name",), findings=findings)
        for name in table["clip_name"]:
            clip = Path(name).stem
            if found.setdefault(clip, SPLIT_FILES[path.name]) != SPLIT_FILES[path.name]:
                with findings.about(path.name, clip):
                    raise CorpusError(
                        f"{path.name}: {clip!r} is in the part {found[clip]!r} as well; "
                        "unpack the archive again",
                        path.name,
                        "clip_name",
                    )
    if not paths:
        findings.note("", "split", "no split files such as split/test_clip.csv: no official split")
    elif without := sorted(set(clips) - set(found)):
        with findings.about("split", without[0]):
            raise CorpusError(
                f"split: {len(without)} clips such as {without[0]!r} are in no part of the split; "
                f"give all of {', '.join(SPLIT_FILES)}",
                "split",
                "clip_name",
            )
    songs: dict[str, set[str]] = {}
    for clip, part in found.items():
        songs.setdefault(song_of(clip), set()).add(part)
    for song in sorted(song for song, parts in songs.items() if len(parts) > 1):
        findings.note("split", song, f"song {song!r} lies in several parts")
    return found


def _note_counts(tracks: list[Track], findings: Findings) -> None:
    """Note fewer or more clips than published."""
    count = Counter(track.quadrant for track in tracks)
    if dict(count) != CLIPS:
        parts = ", ".join(f"{count[q]} of {CLIPS[q]} of {q}" for q in CLIPS)
        findings.note(
            "midis", "", f"{len(tracks)} clips, {sum(CLIPS.values())} were published: {parts}"
        )

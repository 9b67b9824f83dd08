"""Put the tables of a folder corpus together."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pandas as pd

from msr_utils.constants import TARGETS
from msr_utils.corpora.base import (
    Card,
    Corpus,
    CorpusError,
    Track,
)
from msr_utils.corpora.checks import check_duplicate_audio, mean_of_known
from msr_utils.corpora.findings import Findings
from msr_utils.corpora.folder.card import read_card
from msr_utils.corpora.folder.labels import (
    LabelTable,
    TrackLabels,
    labels_from_annotations,
    labels_from_ratings,
    read_label_table,
    rows_of_track,
    with_ratings,
)
from msr_utils.corpora.folder.tracks import TrackRow, read_tracks
from msr_utils.corpora.tables import read_csv
from msr_utils.metrics.correlation import pearson

FILES = ("tracks.csv", "annotations.csv", "ratings.csv", "raters.csv", "card.yml")
"""Files of a folder corpus beside its audio and notes; other files in the folder are not read."""

NOTES_FILE = "midi.csv"
"""Table of MIDI files. It is no file of the index: a run that reads audio does not depend on it."""

MIN_AGREEMENT = 0.9
"""Lowest expected correlation between a curve and the mean of its raters."""


@dataclass(frozen=True)
class _Tables:
    """Tables of a folder; None where a file is absent or cannot be read."""

    rows: list[TrackRow]
    ids: set[str]
    annotations: LabelTable | None = None
    ratings: LabelTable | None = None
    raters: pd.DataFrame | None = None
    midi: dict[str, Path] = field(default_factory=dict)


def load_folder(
    data_dir: Path,
    name: str | None = None,
    card: Card | None = None,
    findings: Findings | None = None,
) -> Corpus:
    """Load a folder corpus.

    Parameters
    ----------
    data_dir : Path
        Folder with ``tracks.csv`` and annotations, ratings or quadrants, see
        `msr_utils.corpora.folder`.
    name : str, optional
        Short name; the folder's own name by default.
    card : Card, optional
        Source and terms. The default is ``card.yml``, or the known card of a public corpus.
    findings : Findings, optional
        Where notes go. With ``collect``, errors go there too and their tracks are left out.

    Raises
    ------
    CorpusError
        If a file, column or track is missing, repeated, off the grid or out of range, or if two
        groups share an audio file.
    """
    root = Path(data_dir)
    findings = Findings() if findings is None else findings
    tables = _read_tables(root, findings)
    kind = _kind_of_labels(root, tables.rows, findings)
    labels = {row.track_id: _labels_of(row, tables, kind, findings) for row in tables.rows}
    damaged = findings.damaged
    tracks = [
        _track(row, labels[row.track_id], tables.midi.get(row.track_id))
        for row in tables.rows
        if row.track_id not in damaged
    ]
    _note_oddities(tracks, tables.raters, findings)
    if tables.annotations is not None and tables.ratings is not None:
        _note_disagreement(tracks, findings)
    name = name or root.resolve().name
    if card is None:
        with findings.about("card.yml"):
            card = read_card(root, name, tables.ids, findings)
    return Corpus(
        name=name,
        tracks=check_duplicate_audio(tracks, findings, "tracks.csv"),
        card=card or Card(name, "", "", ""),
        index_files=sorted(root / file for file in FILES if (root / file).is_file()),
        labels=kind,
        raters=tables.raters,
    )


def _read_tables(root: Path, findings: Findings) -> _Tables:
    """Read all tables. A table that cannot be read at all is one finding."""
    rows: list[TrackRow] = []
    ids: set[str] = set()
    with findings.about("tracks.csv"):
        rows, ids = read_tracks(root, findings)
    if not rows:
        return _Tables(rows, ids)
    annotations = ratings = raters = None
    with findings.about("annotations.csv"):
        annotations = read_label_table(root / "annotations.csv", ("track_id",), ids, findings)
    with findings.about("ratings.csv"):
        ratings = read_label_table(root / "ratings.csv", ("track_id", "rater"), ids, findings)
    with findings.about("raters.csv"):
        raters = _read_raters(root / "raters.csv", findings)
    midi: dict[str, Path] = {}
    with findings.about(NOTES_FILE):
        midi = _read_midi_table(root, ids, findings)
    return _Tables(rows, ids, annotations, ratings, raters, midi)


def _kind_of_labels(root: Path, rows: list[TrackRow], findings: Findings) -> str:
    """``curves`` where there are annotations or ratings, else ``quadrants``."""
    if any((root / file).is_file() for file in ("annotations.csv", "ratings.csv")):
        return "curves"
    if any(row.quadrant is None for row in rows):
        with findings.about("annotations.csv"):
            raise CorpusError(
                f"annotations.csv not found in {root}; give annotations.csv, ratings.csv or a "
                "column quadrant in tracks.csv",
                file="annotations.csv",
                field="quadrant",
            )
    return "quadrants"


def _labels_of(row: TrackRow, tables: _Tables, kind: str, findings: Findings) -> TrackLabels:
    """Curve and ratings of one track."""
    labels = TrackLabels()
    track_id, annotations, ratings = row.track_id, tables.annotations, tables.ratings
    if annotations is not None:
        with findings.about("annotations.csv", track_id):
            rows = rows_of_track(track_id, annotations, "annotations.csv")
            labels = labels_from_annotations(rows, track_id)
    if ratings is not None and (annotations is None or track_id in ratings):
        with findings.about("ratings.csv", track_id):
            rows = rows_of_track(track_id, ratings, "ratings.csv")
            if annotations is None:
                labels = labels_from_ratings(rows, track_id)
            else:
                labels = with_ratings(labels, rows, track_id)
    if kind == "quadrants" and row.quadrant == "":
        with findings.about("tracks.csv", track_id):
            raise CorpusError(
                f"tracks.csv: quadrant of track_id {track_id!r} is empty", "tracks.csv", "quadrant"
            )
    return labels


def _track(row: TrackRow, labels: TrackLabels, midi_path: Path | None) -> Track:
    return Track(
        id=row.track_id,
        audio_path=row.audio_path,
        times_s=labels.times_s,
        valence=labels.valence,
        arousal=labels.arousal,
        group=row.group,
        split=row.split,
        text=row.text,
        ratings=labels.ratings,
        raters=labels.raters,
        quadrant=row.quadrant or "",
        duration_s=row.duration_s,
        midi_path=midi_path,
    )


def _read_midi_table(root: Path, ids: set[str], findings: Findings) -> dict[str, Path]:
    """Track id -> MIDI file; empty without the table."""
    path = root / NOTES_FILE
    if not path.is_file():
        return {}
    table = read_csv(path, ("track_id", "file"), filled=("track_id", "file"), findings=findings)
    found: dict[str, Path] = {}
    for line, track_id, file in zip(table.index, table["track_id"], table["file"], strict=True):
        with findings.about(NOTES_FILE, track_id):
            where = f"{NOTES_FILE}, line {line}: track_id {track_id!r}"
            if track_id not in ids or track_id in found:
                why = "is repeated" if track_id in found else "is not in tracks.csv"
                raise CorpusError(f"{where} {why}", NOTES_FILE, "track_id")
            inside = (root / file).resolve()
            if not inside.is_relative_to(root.resolve()) or not inside.is_file():
                raise CorpusError(f"{where}: no file {file!r} in the folder", NOTES_FILE, "file")
            found[track_id] = root / file
    return found


def _read_raters(path: Path, findings: Findings) -> pd.DataFrame | None:
    """Profiles, one row per rater. Columns that differ between a rater's tracks are left out."""
    if not path.is_file():
        return None
    table = read_csv(path, ("rater",), filled=("rater",), findings=findings)
    keys = [key for key in ("rater", "track_id") if key in table]
    repeated = table.duplicated(keys, keep=False)
    for rater in table["rater"][repeated].unique():
        with findings.about(path.name, f"rater {rater}"):
            raise CorpusError(f"{path.name}: rater {rater!r} is repeated", path.name, "rater")
    table = table[~repeated]
    values_per_rater = table.groupby("rater").nunique().max()
    differing = list(values_per_rater.index[values_per_rater > 1])
    if dropped := [column for column in differing if column != "track_id"]:
        findings.note(
            path.name, "", f"{', '.join(dropped)} differ between a rater's tracks: left out"
        )
    return table.drop(columns=differing).drop_duplicates("rater").set_index("rater")


def _note_oddities(tracks: list[Track], raters: pd.DataFrame | None, findings: Findings) -> None:
    """Note raters without a profile and groups on both sides of the official split."""
    if raters is not None:
        unknown = sorted({r for t in tracks for r in t.raters} - set(raters.index))
        if unknown:
            more = f" and {len(unknown) - 1} more" if len(unknown) > 1 else ""
            findings.note("raters.csv", "", f"no profile of {unknown[0]!r}{more}")
    sides = {s: {t.group for t in tracks if t.split == s} for s in ("train", "test")}
    for group in sorted(sides["train"] & sides["test"]):
        findings.note("tracks.csv", group, f"group {group!r} lies in both train and test")


def _note_disagreement(tracks: list[Track], findings: Findings) -> None:
    """Note raters whose mean does not follow the annotations, over the frames of all tracks."""
    rated = [(track, track.ratings) for track in tracks if track.ratings is not None]
    if not rated:
        return
    curves = np.concatenate([[getattr(t, target) for target in TARGETS] for t, _ in rated], axis=1)
    means = np.concatenate([mean_of_known(ratings, axis=0) for _, ratings in rated]).T
    known = np.isfinite(curves).all(axis=0) & np.isfinite(means).all(axis=0)
    curves, means = curves[:, known], means[:, known]
    if not known.any() or (np.ptp([*curves, *means], axis=1) == 0).any():
        return  # a constant has no correlation
    r = np.stack([pearson(curves, mean) for mean in means], axis=1)
    same_target, other_target = np.diag(r), np.diag(r[:, ::-1])
    if (same_target >= MIN_AGREEMENT).all() and (same_target >= other_target).all():
        return
    reason = "look for another scale, sign or time"
    if (other_target > same_target).all():
        reason = "the two columns seem to be exchanged in one file"
    elif (np.abs(same_target) >= MIN_AGREEMENT).all():
        reason = "a sign seems to be reversed in one file"
    values = ", ".join(f"{t} {value:.2f}" for t, value in zip(TARGETS, same_target, strict=True))
    findings.note(
        "ratings.csv", "", f"the raters' mean correlates with annotations.csv by {values}: {reason}"
    )

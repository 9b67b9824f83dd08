"""``annotations.csv`` and ``ratings.csv`` of a folder corpus, on the 2 Hz grid."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import pandas as pd

from msr_utils.constants import (
    FRAME_RATE_HZ,
    FRAME_SECONDS,
    SCALE,
    TARGETS,
)
from msr_utils.corpora.base import CorpusError
from msr_utils.corpora.checks import (
    MAX_TIME_S,
    check_scale,
    frame_index,
    mean_of_known,
    note_scale,
)
from msr_utils.corpora.findings import Findings
from msr_utils.corpora.tables import read_csv

MAX_LATE_RATING_S = 5.0
"""Longest time, beyond one interval, by which ratings may outlast the annotations."""

LabelTable = dict[str, pd.DataFrame]
"""Track id -> its rows."""


def _no_values() -> np.ndarray:
    return np.empty(0, np.float32)


@dataclass(frozen=True)
class TrackLabels:
    """Curve and ratings of one track; see `msr_utils.corpora.base.Track`."""

    times_s: np.ndarray = field(default_factory=lambda: np.empty(0))
    valence: np.ndarray = field(default_factory=_no_values)
    arousal: np.ndarray = field(default_factory=_no_values)
    ratings: np.ndarray | None = None
    raters: tuple[str, ...] = ()


def read_label_table(
    path: Path, keys: tuple[str, ...], ids: set[str], findings: Findings
) -> LabelTable | None:
    """Read annotations or ratings by track, with values in range; None without the file.

    Parameters
    ----------
    path : Path
    keys : tuple of str
        Columns beside ``time_s`` and the targets.
    ids : set of str
        Track ids of ``tracks.csv``.
    findings : Findings

    Raises
    ------
    CorpusError
        If the table cannot be read or, unless `findings` collects, a row is wrong.
    """
    if not path.is_file():
        return None
    table = read_csv(
        path,
        (*keys, "time_s", *TARGETS),
        numeric=("time_s", *TARGETS),
        filled=(*keys, "time_s"),
        key="track_id",
        findings=findings,
    )
    for track_id in sorted(set(table["track_id"]) - ids - findings.damaged):
        with findings.about(path.name, track_id):
            raise CorpusError(
                f"{path.name}: track_id {track_id!r} is not in tracks.csv", path.name, "track_id"
            )
    for target in TARGETS:
        with np.errstate(over="ignore"):  # becomes infinity, which is refused
            table[target] = table[target].astype(np.float32)
        _check_values(table, target, path.name, findings)
    return {str(track_id): rows for track_id, rows in table.groupby("track_id", sort=False)}


def _check_values(table: pd.DataFrame, target: str, file: str, findings: Findings) -> None:
    """Refuse values out of scale: one error per track, with its first line."""
    values = table[target]
    outside = table[(values < SCALE[0]) | (values > SCALE[1])].drop_duplicates("track_id")
    for line, track_id in zip(outside.index, outside["track_id"], strict=True):
        with findings.about(file, track_id):
            where = f"{file}, line {line}, track_id {track_id!r}, {target}"
            check_scale(values[[line]].to_numpy(), where, values.to_numpy(), file, target)
    note_scale(target, values.to_numpy(), file, findings)


def rows_of_track(track_id: str, tables: LabelTable, file: str) -> pd.DataFrame:
    """Rows of one track; raises `CorpusError` if there are none."""
    if track_id not in tables:
        raise CorpusError(f"{file}: no rows for track_id {track_id!r}", file, "track_id")
    return tables[track_id]


def labels_from_annotations(rows: pd.DataFrame, track_id: str) -> TrackLabels:
    """Labels of a track from its rows of ``annotations.csv``.

    Raises
    ------
    CorpusError
        If a time is off the grid or no frame has both targets.
    """
    file = "annotations.csv"
    where = f"{file}, track_id {track_id!r}"
    index = frame_index(rows["time_s"].to_numpy(), where, file)
    labels = TrackLabels(
        times_s=(index + 1) * FRAME_SECONDS,
        valence=rows["valence"].to_numpy(),
        arousal=rows["arousal"].to_numpy(),
    )
    _check_known(labels, where, file)
    return labels


def with_ratings(labels: TrackLabels, rows: pd.DataFrame, track_id: str) -> TrackLabels:
    """Labels of a track with its ratings, held over the frames of the curve.

    Raises
    ------
    CorpusError
        If a time is repeated, out of range or long after the end of the curve.
    """
    where = f"ratings.csv, track_id {track_id!r}"
    _check_rating_times(rows, where)
    _refuse_late_ratings(rows["time_s"].to_numpy(), labels.times_s, where)
    raters, ratings = _on_grid(rows, labels.times_s)
    return replace(labels, raters=raters, ratings=ratings)


def labels_from_ratings(rows: pd.DataFrame, track_id: str) -> TrackLabels:
    """Labels of a track without annotations: the curve is the mean over its raters.

    Raises
    ------
    CorpusError
        If a time is repeated or out of range, or no frame has both targets.
    """
    file = "ratings.csv"
    where = f"{file}, track_id {track_id!r}"
    _check_rating_times(rows, where)
    # Up to the last frame whose middle a rater rated.
    frames = int(rows["time_s"].max() * FRAME_RATE_HZ + 0.5)
    times_s = np.arange(1, frames + 1) * FRAME_SECONDS
    raters, ratings = _on_grid(rows, times_s)
    mean = mean_of_known(ratings, axis=0)
    labels = TrackLabels(
        times_s=times_s,
        valence=mean[:, TARGETS.index("valence")],
        arousal=mean[:, TARGETS.index("arousal")],
        ratings=ratings,
        raters=raters,
    )
    _check_known(labels, where, file)
    return labels


def _check_known(labels: TrackLabels, where: str, file: str) -> None:
    if not np.isfinite([labels.valence, labels.arousal]).all(axis=0).any():
        raise CorpusError(f"{where}: no frame has both valence and arousal", file)


def _check_rating_times(rows: pd.DataFrame, where: str) -> None:
    """Refuse times that are not positive, implausibly late, or repeated by a rater."""
    times_s = rows["time_s"]
    outside = times_s[~((times_s > 0) & (times_s <= MAX_TIME_S))]
    if len(outside):
        raise CorpusError(
            f"{where}, line {outside.index[0]}: time_s is {outside.iloc[0]:g}; a rating ends "
            f"after 0 and within {MAX_TIME_S} s",
            "ratings.csv",
            "time_s",
        )
    repeated = rows[rows.duplicated(["rater", "time_s"])]
    if len(repeated):
        row = repeated.iloc[0]
        raise CorpusError(
            f"{where}, rater {row['rater']!r}: time_s {row['time_s']:g} is repeated",
            "ratings.csv",
            "time_s",
        )


def _refuse_late_ratings(rated_s: np.ndarray, times_s: np.ndarray, where: str) -> None:
    """Refuse ratings long after the last annotation: another unit, or another track."""
    steps = np.diff(np.unique(rated_s))
    interval = float(np.median(steps)) if len(steps) else 0.0
    if len(times_s) and rated_s.max() > times_s[-1] + interval + MAX_LATE_RATING_S:
        raise CorpusError(
            f"{where}: the last rating ends at {rated_s.max():g}, the annotations at "
            f"{times_s[-1]:g} s; give time_s in seconds from the start of the audio in both files",
            "ratings.csv",
            "time_s",
        )


def _on_grid(rows: pd.DataFrame, times_s: np.ndarray) -> tuple[tuple[str, ...], np.ndarray]:
    """Raters, and their ratings held over the frames whose middle they cover, (raters, T, 2)."""
    middle_s = times_s - FRAME_SECONDS / 2
    rows = rows.sort_values(["rater", "time_s"])
    raters, starts = np.unique(rows["rater"].to_numpy(str), return_index=True)
    curves = []
    for rated_s, values in zip(
        np.split(rows["time_s"].to_numpy(), starts[1:]),
        np.split(rows[list(TARGETS)].to_numpy(np.float32), starts[1:]),
        strict=True,
    ):
        index = np.searchsorted(rated_s, middle_s)
        known = index < len(values)
        curve = np.full((len(times_s), len(TARGETS)), np.nan, np.float32)
        curve[known] = values[index[known]]
        curves.append(curve)
    return tuple(raters.tolist()), np.stack(curves)

"""Dynamic annotations of DEAM: valence and arousal over time."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from msr_utils.constants import TARGETS
from msr_utils.corpora.base import CorpusError
from msr_utils.corpora.checks import check_scale, frame_index, note_scale
from msr_utils.corpora.deam.songs import song_id
from msr_utils.corpora.findings import Findings, in_file
from msr_utils.corpora.tables import MISSING, read_rows

LENGTH_TOLERANCE = 2
"""Largest accepted difference in length of a song's two curves; 0 in the release."""


@dataclass(frozen=True)
class Curve:
    """One target of one song over time.

    Parameters
    ----------
    times_s, values : np.ndarray [shape=(T,)]
    """

    times_s: np.ndarray
    values: np.ndarray


Curves = dict[int, Curve]
"""Song -> curve."""


def read_dynamics(
    root: Path, files: list[Path], findings: Findings
) -> tuple[list[Path], dict[str, Curves]]:
    """Files and curves of both targets."""
    paths, curves = [], {}
    for target in TARGETS:
        named = [p for p in files if p.name == f"{target}.csv"]
        candidates = [p for p in named if "dynamic" in p.parent.name.lower()] or named
        if not candidates:
            raise CorpusError(
                f"DEAM: no dynamic annotations {target}.csv found under {root}; "
                "unpack DEAM_Annotations.zip there",
                file=f"{target}.csv",
            )
        path = candidates[0]
        if len(candidates) > 1:
            taken = path.relative_to(root).as_posix()
            findings.note(path.name, "", f"{len(candidates)} files of this name; took {taken}")
        paths.append(path)
        with in_file(path.name):
            curves[target] = _read_dynamic(path, findings)
    _check_pairs(curves, findings)
    return paths, curves


def _check_pairs(curves: dict[str, Curves], findings: Findings) -> None:
    """Refuse songs that show a file or a row cut short, with or without audio."""
    for present, absent in (TARGETS, TARGETS[::-1]):
        unpaired = [s for s in sorted(curves[present]) if s not in curves[absent]]
        # A song refused in the other file was there.
        unpaired = [s for s in unpaired if str(s) not in findings.damaged]
        if not unpaired:
            continue
        for song in unpaired:
            del curves[present][song]
        first, more = unpaired[0], len(unpaired) - 1
        songs = f"{first} and {more} more are" if more else f"{first} is"
        with findings.about(f"{absent}.csv", str(first)):
            raise CorpusError(
                f"DEAM: song {songs} only in {present}.csv, not in {absent}.csv; unpack the "
                "annotations again",
                file=f"{absent}.csv",
                field="song_id",
            )
    valence, arousal = (curves[target] for target in TARGETS)
    for song in sorted(set(valence) & set(arousal)):
        samples = [len(curves[target][song].values) for target in TARGETS]
        with findings.about("valence.csv, arousal.csv", str(song)):
            if abs(samples[0] - samples[1]) > LENGTH_TOLERANCE:
                raise CorpusError(
                    f"DEAM: song {song} has {samples[0]} samples of valence but {samples[1]} of "
                    "arousal: a row is cut"
                )


def _read_dynamic(path: Path, findings: Findings) -> Curves:
    """Read one dynamic file, without missing samples at the ends of rows."""
    table = read_rows(path, ("song_id",), "song_id", findings, ragged=True)
    columns = {i: c for i, c in enumerate(table.header) if c and c != "song_id"}
    if not columns:
        raise CorpusError(f"{path.name}: has no columns such as sample_15000ms", path.name)
    times_s = np.array([_sample_seconds(c, path.name) for c in columns.values()])
    frame_index(times_s, path.name, path.name)
    curves: Curves = {}
    for line, cells in table.rows.items():
        name = cells[table.header.index("song_id")]
        with findings.about(path.name, name or f"line {line}"):
            song = song_id(name, path.name, line)
            if song in curves:
                raise CorpusError(f"{path.name}: song_id {song} is repeated", path.name, "song_id")
            where = f"{path.name}, song {song}"
            try:  # most rows are numbers and empty cells
                numbers = [float(cells[i]) if cells[i] else np.nan for i in columns]
            except ValueError:
                numbers = [_number(cells[i], where, c) for i, c in columns.items()]
            with np.errstate(over="ignore"):  # becomes infinity, which is refused
                values = np.array(numbers).astype(np.float32)
            check_scale(values, where, file=path.name, field=path.stem)
            known = np.flatnonzero(np.isfinite(values))
            end = known[-1] + 1 if len(known) else 0
            curves[song] = Curve(times_s[:end], values[:end])
    if curves:
        values = np.concatenate([curve.values for curve in curves.values()])
        note_scale(path.stem, values, path.name, findings)
    return curves


def _sample_seconds(column: str, file: str) -> float:
    match = re.fullmatch(r"sample_(\d+)ms", column, re.ASCII)
    if not match:
        raise CorpusError(
            f"{file}: column {column!r} is not of the form sample_15000ms", file, column
        )
    return int(match[1]) / 1000


def _number(cell: str, where: str, column: str) -> float:
    if cell.lower() in MISSING:
        return np.nan
    try:
        return float(cell)
    except ValueError:
        raise CorpusError(f"{where}, {column}: {cell!r} is not a number", field=column) from None

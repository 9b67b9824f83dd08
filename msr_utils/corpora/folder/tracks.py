"""``tracks.csv`` of a folder corpus: audio files, groups, splits and quadrants."""

from __future__ import annotations

import os
import unicodedata
from dataclasses import dataclass, field
from pathlib import Path, PureWindowsPath

from msr_utils.affect import QUADRANT_NAMES
from msr_utils.corpora.base import CorpusError
from msr_utils.corpora.checks import find_audio
from msr_utils.corpora.findings import Findings
from msr_utils.corpora.tables import read_csv, reading

FILE = "tracks.csv"

SPLITS = ("train", "validation", "test")
"""Parts of an official split."""

TEXT_COLUMNS = ("title", "artist", "genre", "genres")


@dataclass(frozen=True)
class TrackRow:
    """One row of ``tracks.csv``. A cell with an error is as written in the table.

    Parameters
    ----------
    track_id : str
    audio_path : Path
    group : str
        The track's own id where the cell is empty.
    split : str
        One of `SPLITS`, or empty.
    quadrant : str, optional
        ``"Q1"`` to ``"Q4"``, or empty; None without such a column.
    duration_s : float, optional
    text : dict of str to str
        Filled columns of `TEXT_COLUMNS`.
    """

    track_id: str
    audio_path: Path
    group: str
    split: str = ""
    quadrant: str | None = None
    duration_s: float | None = None
    text: dict[str, str] = field(default_factory=dict)


def read_tracks(root: Path, findings: Findings) -> tuple[list[TrackRow], set[str]]:
    """Read and check ``tracks.csv``.

    Returns
    -------
    rows : list of TrackRow
        In the order of the table. Those with an error are among the subjects of `findings`.
    ids : set of str
        All track ids of the table.

    Raises
    ------
    CorpusError
        If the table cannot be read or, unless `findings` collects, a row is wrong.
    """
    table = read_csv(
        root / FILE,
        ("track_id", "file", "group"),
        numeric=("duration_s",),
        filled=("track_id", "file"),
        key="track_id",
        findings=findings,
    )
    ids = table["track_id"]
    for track_id in ids[ids.duplicated()].unique():
        with findings.about(FILE, track_id):
            raise CorpusError(f"{FILE}: track_id {track_id!r} is repeated", FILE, "track_id")
    spellings: dict[str, str] = {}
    rows = []
    for line, cells in zip(table.index, table.to_dict("records"), strict=True):
        rows.append(_read_row(root, f"{FILE}, line {line}", cells, spellings, findings))
    if without := int((table["group"] == "").sum()):
        one = "1 track has no group: its id becomes its group"
        many = f"{without} tracks have no group: their ids become their groups"
        findings.note(FILE, "group", one if without == 1 else many)
    with findings.about(FILE, "split"):
        _refuse_partial_split(rows)
    return rows, set(ids)


def _read_row(
    root: Path, where: str, cells: dict, spellings: dict[str, str], findings: Findings
) -> TrackRow:
    """Check the cells of one row; several of them may be wrong."""
    track_id = cells["track_id"]
    audio_path = root / cells["file"]
    split, quadrant = cells.get("split", ""), cells.get("quadrant")
    with findings.about(FILE, track_id):
        audio_path = _audio_path(root, track_id, cells["file"], findings)
    with findings.about(FILE, track_id):
        split = _split(split, where)
    if quadrant is not None:
        with findings.about(FILE, track_id):
            quadrant = _quadrant(quadrant, where)
    # One artist is one group, however the name is typed.
    written = " ".join(cells["group"].split()) or track_id
    group = spellings.setdefault(unicodedata.normalize("NFKC", written).casefold(), written)
    duration_s = cells.get("duration_s")
    if duration_s is not None:
        with findings.about(FILE, track_id):
            _check_duration(duration_s, where)
    if group != written:
        findings.note(FILE, track_id, f"group {written!r} is taken as {group!r}")
    return TrackRow(
        track_id=track_id,
        audio_path=audio_path,
        group=group,
        split=split,
        quadrant=quadrant,
        duration_s=duration_s if duration_s == duration_s else None,  # NaN: an empty cell
        text={column: cells[column] for column in TEXT_COLUMNS if cells.get(column)},
    )


def _audio_path(root: Path, track_id: str, file: str, findings: Findings) -> Path:
    """Find the audio of a track inside the folder, perhaps under another suffix."""
    name = f"{FILE}: {file!r} of track_id {track_id!r}"
    written = PureWindowsPath(file)  # accepts both kinds of slashes
    inside = os.path.normpath(written.as_posix())
    if written.drive or written.root or inside.split(os.sep)[0] in ("..", "."):
        raise CorpusError(
            f"{name} is not a path inside the folder; give a relative one", FILE, "file"
        )
    with reading(name):
        path = find_audio(root / inside)
    if path is None:
        raise CorpusError(f"{name} not found", FILE, "file")
    if path.name != written.name:
        findings.note(FILE, track_id, f"{file!r} is here as {path.name!r}")
    return path


def _split(text: str, where: str) -> str:
    split = text.casefold()
    if split not in (*SPLITS, ""):
        raise CorpusError(
            f"{where}: split is {text!r}; give train, validation, test or nothing", FILE, "split"
        )
    return split


def _quadrant(text: str, where: str) -> str:
    number = text.casefold().removeprefix("q")
    if number and f"Q{number}" not in QUADRANT_NAMES:
        raise CorpusError(f"{where}: quadrant is {text!r}; give Q1, Q2, Q3 or Q4", FILE, "quadrant")
    return f"Q{number}" if number else ""


def _check_duration(duration_s: float, where: str) -> None:
    if duration_s <= 0:
        raise CorpusError(
            f"{where}: duration_s is {duration_s:g}; give the length of the audio in seconds or "
            "leave the cell empty",
            FILE,
            "duration_s",
        )


def _refuse_partial_split(rows: list[TrackRow]) -> None:
    without = [row.track_id for row in rows if not row.split]
    if without and any(row.split in SPLITS for row in rows):
        raise CorpusError(
            f"{FILE}: track_id {without[0]!r} has no split ({len(without)} of {len(rows)} "
            "have none, others do); give every track one, or none",
            FILE,
            "split",
        )

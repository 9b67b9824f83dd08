"""The folder corpus: anyone's own audio and annotations, as CSV files.

``tracks.csv``
    ``track_id, file, group`` and optionally ``title, artist, genre, split, quadrant,
    duration_s``; ``file`` is relative to the folder, ``group`` the artist or series, ``split``
    ``train`` or ``test`` of every track or of none, ``quadrant`` ``Q1`` to ``Q4``.
``annotations.csv``
    ``track_id, time_s, arousal, valence``; a row describes the 500 ms that end at ``time_s``.
``ratings.csv`` (optional)
    ``track_id, rater, time_s, arousal, valence``; a rating holds from the rater's previous
    ``time_s``, or the start of the audio, up to its own. Empty values: nobody rated till then.
    Without ``annotations.csv`` the mean over raters is the curve.
``raters.csv`` (optional)
    ``rater`` and any columns that describe the person: a row each, or with a column
    ``track_id`` a row for each track that the person rated.
``card.yml`` (optional)
    ``title, source, licence, citation, notes``: who made the data and on what terms.

A folder with neither annotations nor ratings needs a quadrant for every track.
"""

from __future__ import annotations

import codecs
import csv
import io
import os
import re
import unicodedata
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import fields, replace
from pathlib import Path, PureWindowsPath
from typing import Any

import numpy as np
import pandas as pd
import yaml

from msr_utils.affect import QUADRANT_NAMES
from msr_utils.constants import (
    FRAME_RATE_HZ,
    FRAME_SECONDS,
    SCALE,
    TARGETS,
)
from msr_utils.corpora.base import (
    AUDIO_SUFFIXES,
    MAX_TIME_S,
    Card,
    Corpus,
    CorpusError,
    Findings,
    Track,
    check_scale,
    find_audio,
    frame_index,
    note_same_audio,
    note_scale,
)

KNOWN_CARDS = {
    "vgmidi": (
        r"vg\d{3}",
        Card(
            title="VGMIDI",
            source="https://github.com/lucasnfe/vgmidi",
            licence="for research",
            citation="Ferreira and Whitehead (2019), Learning to generate music with sentiment, "
            "ISMIR",
            notes=(
                "200 piano arrangements of game music in 13 series, rendered with a General MIDI "
                "piano; 28 to 32 raters each",
                "rated per measure by people who listened online; groups are game series",
                "28 pieces end in one or two seconds that are exactly 0 in both: not rated, perhaps",
            ),
        ),
    ),
    "quadrants": (
        r"q\d{3}",
        Card(
            title="4Q audio emotion dataset, half of its 900 clips",
            source="https://doi.org/10.1109/TAFFC.2018.2820691",
            licence="research previews: not to be played or shown in public",
            citation="Panda, Malheiro and Paiva, Novel audio features for music emotion "
            "recognition, IEEE Transactions on Affective Computing (online 2018, 11(4), 2020)",
            notes=(
                "469 thirty-second excerpts of commercial music with one quadrant each",
                "groups are artists",
            ),
        ),
    ),
}
"""Public data laid out as a folder corpus: folder name -> pattern of its track ids, card."""

FILES = ("tracks.csv", "annotations.csv", "ratings.csv", "raters.csv", "card.yml")
"""What a folder corpus consists of beside its audio; other files in the folder are not read."""

TEXT_COLUMNS = ("title", "artist", "genre", "genres")

NO_CURVE = {"times_s": np.empty(0), **{t: np.empty(0, np.float32) for t in TARGETS}}

LATE_RATING_S = 5.0
"""How far, beyond one interval, ratings may go on after the annotations made of them."""

AGREEMENT = 0.9
"""Correlation of a curve and the mean of its raters below which something is odd."""

MISSING = ("", "nan", "na", "n/a", "null", "none")
"""Cells of a numeric column that mean "not known", in lower case."""


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
        Folder with ``tracks.csv`` and annotations, ratings or quadrants, see the module.
    name : str, optional
        Short name; the folder's own name by default.
    card : Card, optional
        Source and terms; by default ``card.yml``, or what is known of public data.
    findings : Findings, optional
        Where to note oddities; with ``collect``, errors too, and their tracks are left out.

    Raises
    ------
    CorpusError
        If a file, column or track is missing, repeated, off the grid, out of range, or has its
        audio in two groups.
    """
    root = Path(data_dir)
    findings = Findings() if findings is None else findings
    rows, ids = [], set()
    with findings.about("tracks.csv"):
        rows, ids = _read_tracks(root, findings)
    # A table that cannot be read at all is one finding; the rest is read without it.
    curves = ratings = raters = None
    if rows:
        with findings.about("annotations.csv"):
            curves = _read_labels(root / "annotations.csv", ("track_id",), ids, findings)
        with findings.about("ratings.csv"):
            ratings = _read_labels(root / "ratings.csv", ("track_id", "rater"), ids, findings)
        with findings.about("raters.csv"):
            raters = _read_raters(root / "raters.csv", findings)
    rated = any((root / file).is_file() for file in ("annotations.csv", "ratings.csv"))
    labels = "curves" if rated else "quadrants"
    if labels == "quadrants" and not all("quadrant" in row for row in rows):
        with findings.about("annotations.csv"):
            raise CorpusError(
                f"annotations.csv not found in {root}; give annotations.csv, ratings.csv or a "
                "column quadrant in tracks.csv"
            )
    for row in rows:
        track_id = row["track_id"]
        found = row["labels"] = dict(NO_CURVE)
        if curves is not None:
            with findings.about("annotations.csv", track_id):
                found |= _curve(_rows_of(track_id, curves, "annotations.csv"), track_id)
        if ratings is not None and (curves is None or track_id in ratings):
            with findings.about("ratings.csv", track_id):
                own = _rows_of(track_id, ratings, "ratings.csv")
                found |= _rated(own, track_id, found["times_s"] if curves is not None else None)
        if labels == "quadrants" and not row.get("quadrant", "-"):
            with findings.about("tracks.csv", track_id):
                raise CorpusError(f"tracks.csv: quadrant of track_id {track_id!r} is empty")
    damaged = findings.damaged
    tracks = [
        Track(
            id=row["track_id"],
            audio_path=row["audio_path"],
            group=row["group"],
            split=row["split"],
            text={key: row[key] for key in TEXT_COLUMNS if row.get(key)},
            quadrant=row.get("quadrant", ""),
            duration_s=duration if (duration := row.get("duration_s")) == duration else None,
            **row["labels"],
        )
        for row in rows
        if row["track_id"] not in damaged
    ]
    _note_oddities(tracks, raters, findings)
    if curves is not None and ratings is not None:
        _note_disagreement(tracks, findings)
    name = name or root.resolve().name
    if card is None:
        with findings.about("card.yml"):
            card = _card(root, name, ids, findings)
    return Corpus(
        name=name,
        tracks=note_same_audio(tracks, findings, "tracks.csv"),
        card=card or Card(name, "", "", ""),
        index_files=sorted(root / file for file in FILES if (root / file).is_file()),
        labels=labels,
        raters=raters,
    )


# Tables


@contextmanager
def reading(name: str = "") -> Iterator[None]:
    """Turn what the system says of a file into a `CorpusError` that names it."""
    try:
        yield
    except OSError as error:
        name = name or os.path.basename(error.filename or "a file of the corpus")
        raise CorpusError(f"{name}: cannot be read ({error.strerror or error})") from error


def read_text(path: Path, findings: Findings) -> str:
    """Text of a file in UTF-8, UTF-16 with its mark, or else Windows-1252, with a note.

    Raises
    ------
    CorpusError
        If the file is missing or is no text.
    """
    with reading(path.name):
        if not path.is_file():
            raise CorpusError(f"{path.name} not found in {path.parent}")
        content = path.read_bytes()
    utf16 = content.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE))
    try:
        try:
            text = content.decode("utf-16" if utf16 else "utf-8-sig")
        except UnicodeDecodeError:
            text = content.decode("cp1252")
            findings.note(path.name, "", "not UTF-8, read as Windows-1252: check its accents")
    except UnicodeDecodeError:
        text = "\0"  # refused below
    if re.search(r"[\x00-\x08\x0e-\x1f]", text):
        raise CorpusError(f"{path.name}: not a text file; save the table as CSV in UTF-8")
    return text


def read_rows(
    path: Path,
    columns: tuple[str, ...] = (),
    key: str = "",
    findings: Findings | None = None,
    ragged: bool = False,
) -> tuple[list[str], dict[int, list[str]]]:
    """Read a table as stripped text: commas, or semicolons or tabs as spreadsheets write them.

    Parameters
    ----------
    path : Path
    columns : tuple of str
        Columns that must be there.
    key : str
        Column that names what a row is about, for findings.
    findings : Findings, optional
    ragged : bool
        Whether rows may be shorter than the header.

    Returns
    -------
    header : list of str
    rows : dict of int to list of str
        By line in the file. A row of another length than the header's is an error and left out.

    Raises
    ------
    CorpusError
        If the file is missing, empty, not a table, or lacks or repeats a column.
    """
    findings = Findings() if findings is None else findings
    text = read_text(path, findings)
    first_line = text.lstrip().partition("\n")[0]
    delimiter = next((d for d in ",;\t" if d in first_line), ",")
    reader = csv.reader(
        io.StringIO(text, newline=""), delimiter=delimiter, skipinitialspace=True, strict=True
    )
    rows = {}
    try:
        for cells in reader:
            if any(cells := [cell.strip() for cell in cells]):
                rows[reader.line_num] = cells
    except csv.Error as error:
        raise CorpusError(
            f"{path.name}, line {reader.line_num}: not a CSV table ({error})"
        ) from error
    if not rows:
        raise CorpusError(f"{path.name}: not a CSV table (it is empty)")
    header = rows.pop(min(rows))
    if missing := [c for c in columns if c not in header]:
        raise CorpusError(
            f"{path.name}: column {missing[0]!r} is missing; found {', '.join(header)[:200]}"
        )
    if repeated := [c for c, n in Counter(header).items() if c and n > 1]:
        raise CorpusError(f"{path.name}: column {repeated[0]!r} is there more than once")
    if not rows:
        raise CorpusError(f"{path.name}: holds no rows")
    for line, cells in list(rows.items()):
        if ragged:
            cells += [""] * (len(header) - len(cells))
        if len(cells) != len(header):
            known = dict(zip(header, rows.pop(line), strict=False))
            with findings.about(path.name, known.get(key) or f"line {line}"):
                raise CorpusError(
                    f"{path.name}, line {line}: {len(cells)} cells, the header has {len(header)}; "
                    "look for a comma too many, a cell without quotes or a cut line"
                )
        elif delimiter != ",":
            # Where semicolons part the cells, a comma is the decimal point.
            rows[line] = [re.sub(r"^(-?\d*),(\d+)$", r"\1.\2", cell) for cell in cells]
    return header, rows


def read_csv(
    path: Path,
    columns: tuple[str, ...],
    numeric: tuple[str, ...] = (),
    filled: tuple[str, ...] = (),
    key: str = "",
    findings: Findings | None = None,
) -> pd.DataFrame:
    """Read a table with every cell as stripped text, then convert the numeric columns.

    Parameters
    ----------
    path : Path
    columns : tuple of str
        Columns that must be there.
    numeric, filled : tuple of str
        Columns of numbers, NaN where empty, as far as they are there; columns without empty
        cells.
    key : str
        Column that names what a row is about, for findings.
    findings : Findings, optional

    Returns
    -------
    pandas.DataFrame
        Indexed by line in the file; rows with an error are left out.

    Raises
    ------
    CorpusError
        As `read_rows`, or if a cell is empty or holds text for a number.
    """
    findings = Findings() if findings is None else findings
    header, rows = read_rows(path, columns, key, findings)
    table = pd.DataFrame(list(rows.values()), index=list(rows), columns=header, dtype=str)
    table = table.loc[:, [bool(column) for column in header]]
    names = table[key] if key else None
    problems: dict[tuple[str, str], dict[int, str]] = {}

    def refuse(bad: pd.Series, column: str, problem: str) -> None:
        for line in bad.index[bad]:
            subject = (names is not None and names[line]) or f"line {line}"
            text = f"{column} is {problem.format(cell=raw[column][line])}"
            problems.setdefault((subject, column), {})[line] = text

    raw = {
        column: table[column] for column in dict.fromkeys((*numeric, *filled)) if column in table
    }
    for column in (c for c in numeric if c in table):
        missing = raw[column].str.lower().isin(MISSING)
        table[column] = pd.to_numeric(raw[column].mask(missing), errors="coerce")
        refuse(table[column].isna() & ~missing, column, "{cell!r}, not a number")
    for column in filled:
        empty = MISSING if column in numeric else ("",)
        refuse(raw[column].str.lower().isin(empty), column, "empty")
    # A whole column may be wrong: of each track, its first line.
    for (subject, _), lines in sorted(problems.items(), key=lambda problem: min(problem[1])):
        line, more = min(lines), len(lines) - 1
        with findings.about(path.name, subject):
            raise CorpusError(
                f"{path.name}, line {line}: {lines[line]}"
                + (f" (and {more} more lines of {subject!r})" if more else "")
            )
    return table.drop(index=sorted({line for lines in problems.values() for line in lines}))


# Tracks


def _read_tracks(root: Path, findings: Findings) -> tuple[list[dict], set[str]]:
    """Rows of ``tracks.csv`` with audio, group, split and quadrant checked; every id in it."""
    name = "tracks.csv"
    table = read_csv(
        root / name,
        ("track_id", "file", "group"),
        numeric=("duration_s",),
        filled=("track_id", "file"),
        key="track_id",
        findings=findings,
    )
    for track_id in table.track_id[table.track_id.duplicated()].unique():
        with findings.about(name, track_id):
            raise CorpusError(f"{name}: track_id {track_id!r} is repeated")
    spellings: dict[str, str] = {}
    rows = []
    for line, row in zip(table.index, table.to_dict("records"), strict=True):
        track_id = row["track_id"]
        where = f"{name}, line {line}"
        with findings.about(name, track_id):
            row["audio_path"] = _audio_path(root, row, findings)
        with findings.about(name, track_id):
            row["split"] = _split(row.get("split", ""), where)
        if "quadrant" in row:
            with findings.about(name, track_id):
                row["quadrant"] = _quadrant(row["quadrant"], where)
        # One artist is one group, however the name is typed.
        written = " ".join(row["group"].split()) or track_id
        row["group"] = spellings.setdefault(
            unicodedata.normalize("NFKC", written).casefold(), written
        )
        if "duration_s" in row:
            with findings.about(name, track_id):
                _refuse_no_duration(row["duration_s"], where)
        if row["group"] != written:
            findings.note(name, track_id, f"group {written!r} is taken as {row['group']!r}")
        rows.append(row)
    if own := int((table.group == "").sum()):
        text = "1 track has no group: it is its own" if own == 1 else ""
        findings.note(name, "group", text or f"{own} tracks have no group: each is its own")
    with findings.about(name, "split"):
        _refuse_partial_split(rows)
    return rows, set(table.track_id)


def _refuse_partial_split(rows: list[dict]) -> None:
    without = [row["track_id"] for row in rows if not row["split"]]
    if without and any(row["split"] in ("train", "test") for row in rows):
        raise CorpusError(
            f"tracks.csv: track_id {without[0]!r} has no split ({len(without)} of {len(rows)} "
            "have none, others train or test); give every track one, or none"
        )


def _audio_path(root: Path, row: dict, findings: Findings) -> Path:
    name = f"tracks.csv: {row['file']!r} of track_id {row['track_id']!r}"
    written = PureWindowsPath(row["file"])  # takes slashes of both kinds
    inside = os.path.normpath(written.as_posix())
    if written.drive or written.root or inside.split(os.sep)[0] in ("..", "."):
        raise CorpusError(f"{name} is not a path inside the folder; give a relative one")
    with reading(name):
        path = find_audio(root / inside) or _find_title_case(root / inside)
    if path is None:
        raise CorpusError(f"{name} not found")
    if path.name != written.name:
        findings.note("tracks.csv", row["track_id"], f"{row['file']!r} is here as {path.name!r}")
    return path


def _find_title_case(path: Path) -> Path | None:
    """`find_audio`'s last try: ``x.Ogg``, as some systems write it."""
    stem = path.with_suffix("") if path.suffix.lower() in AUDIO_SUFFIXES else path
    others = (stem.with_name(stem.name + suffix.title()) for suffix in AUDIO_SUFFIXES)
    return next((other for other in others if other.is_file()), None)


def _split(text: str, where: str) -> str:
    split = text.casefold()
    if split not in ("train", "test", ""):
        raise CorpusError(f"{where}: split is {text!r}; give train, test or nothing")
    return split


def _refuse_no_duration(duration_s: float, where: str) -> None:
    if duration_s <= 0:
        raise CorpusError(
            f"{where}: duration_s is {duration_s:g}; give the length of the audio in seconds or "
            "leave the cell empty"
        )


def _quadrant(text: str, where: str) -> str:
    number = text.casefold().removeprefix("q")
    if not number:
        return ""
    if f"Q{number}" not in QUADRANT_NAMES:
        raise CorpusError(f"{where}: quadrant is {text!r}; give Q1, Q2, Q3 or Q4")
    return f"Q{number}"


def _read_labels(
    path: Path, keys: tuple[str, ...], ids: set[str], findings: Findings
) -> dict[str, pd.DataFrame] | None:
    """Rows of annotations or ratings by track, their values in range; None without the file."""
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
    for track_id in sorted(set(table.track_id) - ids - findings.damaged):
        with findings.about(path.name, track_id):
            raise CorpusError(f"{path.name}: track_id {track_id!r} is not in tracks.csv")
    for target in TARGETS:
        with np.errstate(over="ignore"):  # infinity then, and refused
            table[target] = values = table[target].astype(np.float32)
        outside = table[(values < SCALE[0]) | (values > SCALE[1])].drop_duplicates("track_id")
        for line, track_id in outside.track_id.items():
            with findings.about(path.name, track_id):
                where = f"{path.name}, line {line}, track_id {track_id!r}, {target}"
                check_scale(values[[line]].to_numpy(), where, values.to_numpy())
        note_scale(target, values.to_numpy(), path.name, findings)
    return dict(list(table.groupby("track_id", sort=False)))


def _rows_of(track_id: str, tables: dict[str, pd.DataFrame], file: str) -> pd.DataFrame:
    if track_id not in tables:
        raise CorpusError(f"{file}: no rows for track_id {track_id!r}")
    return tables[track_id]


def _curve(rows: pd.DataFrame, track_id: str) -> dict[str, Any]:
    """Fields of a track from its rows of ``annotations.csv``."""
    where = f"annotations.csv, track_id {track_id!r}"
    times_s = (frame_index(rows.time_s.to_numpy(), where) + 1) * FRAME_SECONDS
    return _known_somewhere({"times_s": times_s, **{t: rows[t].to_numpy() for t in TARGETS}}, where)


def _rated(rows: pd.DataFrame, track_id: str, times_s: np.ndarray | None) -> dict[str, Any]:
    """Fields of a track from its rows of ``ratings.csv``; the curve too where it has none."""
    where = f"ratings.csv, track_id {track_id!r}"
    late = rows.time_s[~((rows.time_s > 0) & (rows.time_s <= MAX_TIME_S))]
    if len(late):
        raise CorpusError(
            f"{where}, line {late.index[0]}: time_s is {late.iloc[0]:g}; a rating ends after 0 "
            f"and within {MAX_TIME_S} s"
        )
    repeated = rows[rows.duplicated(["rater", "time_s"])]
    if len(repeated):
        row = repeated.iloc[0]
        raise CorpusError(f"{where}, rater {row.rater!r}: time_s {row.time_s:g} is repeated")
    if times_s is not None:
        _refuse_late_ratings(rows.time_s.to_numpy(), times_s, where)
        return _on_grid(rows, times_s)
    # The last frame whose middle somebody rated.
    frames = int(rows.time_s.max() * FRAME_RATE_HZ + 0.5)
    times_s = np.arange(1, frames + 1) * FRAME_SECONDS
    rated = _on_grid(rows, times_s)
    mean = _mean_of_raters(rated["ratings"])
    curve = {"times_s": times_s, **dict(zip(TARGETS, mean.T, strict=True))}
    return rated | _known_somewhere(curve, where)


def _refuse_late_ratings(rated_s: np.ndarray, times_s: np.ndarray, where: str) -> None:
    """Ratings long after the last annotation are in another unit, or of another track."""
    steps = np.diff(np.unique(rated_s))
    interval = float(np.median(steps)) if len(steps) else 0.0
    if len(times_s) and rated_s.max() > times_s[-1] + interval + LATE_RATING_S:
        raise CorpusError(
            f"{where}: the last rating ends at {rated_s.max():g}, the annotations at "
            f"{times_s[-1]:g} s; give time_s in seconds from the start of the audio in both files"
        )


def _mean_of_raters(ratings: np.ndarray) -> np.ndarray:
    """Mean over the raters of each frame and target, (T, 2); NaN where nobody rated."""
    known = np.isfinite(ratings)
    total = np.where(known, ratings, 0).sum(axis=0)
    count = known.sum(axis=0)
    return np.where(count, total / np.maximum(count, 1), np.nan).astype(np.float32)


def _known_somewhere(curve: dict[str, Any], where: str) -> dict[str, Any]:
    if not np.isfinite([curve[t] for t in TARGETS]).all(axis=0).any():
        raise CorpusError(f"{where}: no frame has both valence and arousal")
    return curve


def _on_grid(rows: pd.DataFrame, times_s: np.ndarray) -> dict[str, Any]:
    """Raters, and their ratings held over the frames whose middle they cover, (raters, T, 2)."""
    middle = times_s - FRAME_SECONDS / 2
    rows = rows.sort_values(["rater", "time_s"])
    raters, starts = np.unique(rows.rater.to_numpy(str), return_index=True)
    curves = []
    for own_times_s, own in zip(
        np.split(rows.time_s.to_numpy(), starts[1:]),
        np.split(rows[list(TARGETS)].to_numpy(np.float32), starts[1:]),
        strict=True,
    ):
        at = np.searchsorted(own_times_s, middle)
        known = at < len(own)
        held = np.full((len(times_s), len(TARGETS)), np.nan, np.float32)
        held[known] = own[at[known]]
        curves.append(held)
    return {"raters": tuple(raters.tolist()), "ratings": np.stack(curves)}


# The corpus as a whole


def _read_raters(path: Path, findings: Findings) -> pd.DataFrame | None:
    """Profiles, one row each: columns that differ between a rater's tracks are no profile."""
    if not path.is_file():
        return None
    table = read_csv(path, ("rater",), filled=("rater",), findings=findings)
    keys = [key for key in ("rater", "track_id") if key in table]
    repeated = table.duplicated(keys, keep=False)
    for rater in table.rater[repeated].unique():
        with findings.about(path.name, f"rater {rater}"):
            raise CorpusError(f"{path.name}: rater {rater!r} is repeated")
    table = table[~repeated]
    kinds = table.groupby("rater").nunique().max()
    differing = list(kinds.index[kinds > 1])
    if odd := [column for column in differing if column != "track_id"]:
        findings.note(path.name, "", f"{', '.join(odd)} differ between a rater's tracks: left out")
    return table.drop(columns=differing).drop_duplicates("rater").set_index("rater")


def _note_oddities(tracks: list[Track], raters: pd.DataFrame | None, findings: Findings) -> None:
    """Raters without a profile, groups on both sides of the official split."""
    if raters is not None:
        unknown = sorted({r for t in tracks for r in t.raters} - set(raters.index))
        if unknown:
            more = f" and {len(unknown) - 1} more" if len(unknown) > 1 else ""
            findings.note("raters.csv", "", f"no profile of {unknown[0]!r}{more}")
    sides = {s: {t.group for t in tracks if t.split == s} for s in ("train", "test")}
    for group in sorted(sides["train"] & sides["test"]):
        findings.note("tracks.csv", group, f"group {group!r} lies in both train and test")


def _note_disagreement(tracks: list[Track], findings: Findings) -> None:
    """Raters whose mean does not follow the annotations over the frames of all tracks."""
    rated = [track for track in tracks if track.ratings is not None]
    if not rated:
        return
    curves = np.concatenate([[getattr(t, target) for target in TARGETS] for t in rated], axis=1)
    means = np.concatenate([_mean_of_raters(t.ratings) for t in rated]).T
    known = np.isfinite(curves).all(axis=0) & np.isfinite(means).all(axis=0)
    curves, means = curves[:, known], means[:, known]
    if not known.any() or (np.ptp([*curves, *means], axis=1) == 0).any():
        return  # a constant has no correlation
    r = np.corrcoef(curves, means)[: len(TARGETS), len(TARGETS) :]
    own, other = np.diag(r), np.diag(r[:, ::-1])
    if (own >= AGREEMENT).all() and (own >= other).all():
        return
    why = "look for another scale, sign or time"
    if (other > own).all():
        why = "their headers seem to be exchanged in one file"
    elif (np.abs(own) >= AGREEMENT).all():
        why = "a sign seems to be turned round in one file"
    found = ", ".join(f"{target} {value:.2f}" for target, value in zip(TARGETS, own, strict=True))
    findings.note(
        "ratings.csv", "", f"the raters' mean correlates with annotations.csv by {found}: {why}"
    )


def _card(root: Path, name: str, ids: set[str], findings: Findings) -> Card:
    """From ``card.yml``, or of public data known by its name and ids, or a general one."""
    path = root / "card.yml"
    card = Card(name, "a folder corpus", "as its owner states", "")
    if not path.is_file():
        pattern, known = KNOWN_CARDS.get(name, ("", card))
        return known if all(re.fullmatch(pattern, i) for i in ids) else card
    known_keys = [field.name for field in fields(Card)]
    try:
        content = yaml.safe_load(read_text(path, findings))
    except yaml.YAMLError as error:
        raise CorpusError(f"card.yml: not YAML ({' '.join(str(error).split())})") from error
    if not isinstance(content, dict) or not set(content) <= set(known_keys):
        raise CorpusError(f"card.yml: give {', '.join(known_keys)} and nothing else")
    notes = content.pop("notes", None) or ()
    notes = tuple(map(str, notes)) if isinstance(notes, list) else (str(notes),) * bool(notes)
    return replace(card, notes=notes, **{k: str(text) for k, text in content.items() if text})

"""The folder corpus: anyone's own audio and annotations, as two CSV files, or three with single ratings.

``tracks.csv``
    ``track_id, file, group`` and optionally ``title, artist, genre, split``; ``file`` is
    relative to the folder, ``group`` the artist or series.
``annotations.csv``
    ``track_id, time_s, arousal, valence``; a row describes the 500 ms that end at ``time_s``.
``ratings.csv`` (optional)
    ``track_id, rater, time_s, arousal, valence``; a rating holds from the rater's previous
    ``time_s`` up to its own.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd

from msr_utils.constants import FRAME_SECONDS, TARGETS
from msr_utils.corpora.base import Card, Corpus, CorpusError, Track, check_scale, frame_index

KNOWN_CARDS = {
    "vgmidi": Card(
        title="VGMIDI",
        source="https://github.com/lucasnfe/vgmidi",
        licence="for research",
        citation="Ferreira and Whitehead (2019), Learning to generate music with sentiment, ISMIR",
        notes=(
            "piano arrangements of game music, rendered with a General MIDI piano",
            "rated per measure by people who listened online; groups are game series",
        ),
    )
}
"""Cards of public data that is laid out as a folder corpus, by the folder's name."""

TEXT_COLUMNS = ("title", "artist", "genre", "genres")


def load_folder(data_dir: Path, name: str | None = None, card: Card | None = None) -> Corpus:
    """Load a folder corpus.

    Parameters
    ----------
    data_dir : Path
        Folder with ``tracks.csv`` and ``annotations.csv``.
    name : str, optional
        Short name; the folder's own name by default.
    card : Card, optional
        Source and terms, where they are known.

    Raises
    ------
    CorpusError
        If a file, column or track is missing, repeated, off the grid or out of range.
    """
    root = Path(data_dir)
    tracks = read_csv(root / "tracks.csv", ("track_id", "file", "group"))
    annotations = read_csv(
        root / "annotations.csv", ("track_id", "time_s", *TARGETS), numeric=("time_s", *TARGETS)
    )
    repeated = tracks.track_id[tracks.track_id.duplicated()]
    if len(repeated):
        raise CorpusError(f"tracks.csv: track_id {repeated.iloc[0]!r} is repeated")
    unknown = set(annotations.track_id) - set(tracks.track_id)
    if unknown:
        raise CorpusError(f"annotations.csv: track_id {min(unknown)!r} is not in tracks.csv")
    ratings_file = root / "ratings.csv"
    ratings = (
        read_csv(
            ratings_file,
            ("track_id", "rater", "time_s", *TARGETS),
            numeric=("time_s", *TARGETS),
        )
        if ratings_file.is_file()
        else None
    )
    curves = dict(list(annotations.groupby("track_id", sort=False)))
    rated = dict(list(ratings.groupby("track_id", sort=False))) if ratings is not None else {}
    loaded = []
    for row in tracks.to_dict("records"):
        track_id = row["track_id"]
        if track_id not in curves:
            raise CorpusError(f"annotations.csv: no rows for track_id {track_id!r}")
        audio_path = root / row["file"]
        if not audio_path.is_file():
            raise CorpusError(f"tracks.csv: {row['file']!r} of track_id {track_id!r} not found")
        curve = curves[track_id]
        where = f"annotations.csv, track_id {track_id!r}"
        times_s = (frame_index(curve.time_s.to_numpy(), where) + 1) * FRAME_SECONDS
        values = {t: curve[t].to_numpy(np.float32) for t in TARGETS}
        for target in TARGETS:
            check_scale(values[target], f"{where}, {target}")
        loaded.append(
            Track(
                id=track_id,
                audio_path=audio_path,
                times_s=times_s,
                group=row["group"] or track_id,
                split=row.get("split", ""),
                text={key: row[key] for key in TEXT_COLUMNS if row.get(key)},
                ratings=_ratings_on_grid(rated[track_id], times_s) if track_id in rated else None,
                **values,
            )
        )
    name = name or root.resolve().name
    return Corpus(
        name=name,
        tracks=loaded,
        card=card
        or KNOWN_CARDS.get(name)
        or Card(name, "a folder corpus", "as its owner states", ""),
        index_files=[f for f in sorted(root.glob("*.csv"))],
    )


def read_csv(path: Path, columns: tuple[str, ...], numeric: tuple[str, ...] = ()) -> pd.DataFrame:
    """Read a CSV with every cell as text, then convert the numeric columns.

    Raises
    ------
    CorpusError
        If the file is missing, empty, not UTF-8, lacks a column or holds text for a number.
    """
    if not path.is_file():
        raise CorpusError(f"{path.name} not found in {path.parent}")
    try:
        table = pd.read_csv(path, dtype=str, keep_default_na=False, skipinitialspace=True)
    except UnicodeDecodeError as error:
        raise CorpusError(f"{path.name}: not UTF-8 text; save it as UTF-8") from error
    except (pd.errors.EmptyDataError, pd.errors.ParserError) as error:
        raise CorpusError(f"{path.name}: not a CSV table ({error})") from error
    table.columns = table.columns.str.strip()
    missing = [c for c in columns if c not in table.columns]
    if missing:
        raise CorpusError(
            f"{path.name}: column {missing[0]!r} is missing; found {', '.join(table.columns)}"
        )
    if not len(table):
        raise CorpusError(f"{path.name}: holds no rows")
    for column in numeric:
        text = table[column].str.strip()
        empty = text.str.lower().isin(["", "nan", "na"])
        values = pd.to_numeric(text.mask(empty), errors="coerce")
        bad = values.isna() & ~empty
        if bad.any():
            line = int(np.flatnonzero(bad)[0])
            raise CorpusError(
                f"{path.name}, line {line + 2}: {column} is {table[column].iloc[line]!r}, "
                "not a number"
            )
        table[column] = values
    return table


def _ratings_on_grid(rows: pd.DataFrame, times_s: np.ndarray) -> np.ndarray:
    """Hold each rating over the frames whose middle it covers, (raters, T, 2)."""
    middle = times_s - FRAME_SECONDS / 2
    curves = []
    for rater, own in rows.groupby("rater", sort=True):
        own = own.sort_values("time_s")
        where = f"ratings.csv, track_id {own.track_id.iloc[0]!r}, rater {rater!r}"
        at = np.searchsorted(own.time_s.to_numpy(), middle)
        held = np.full((len(times_s), len(TARGETS)), np.nan, np.float32)
        known = at < len(own)
        for column, target in enumerate(TARGETS):
            values = own[target].to_numpy(np.float32)
            check_scale(values, f"{where}, {target}")
            held[known, column] = values[at[known]]
        curves.append(held)
    return np.stack(curves)

"""MERP: 54 full songs, valence and arousal of every rater at 10 Hz, and who the raters are.

Koh, Cheuk, Heung, Agres and Herremans (2023), "MERP: A music dataset with emotion ratings and
raters' profile information", Sensors 23(1), https://doi.org/10.3390/s23010382

``audio/<song>.wav``
    Songs are named ``00_35`` (Free Music Archive) or ``deam_115`` (also in DEAM).
``annotations_filtered.parquet``
    One row per rater and song whose ratings passed the authors' seven checks: a song, a rater,
    a list of valence and one of arousal samples, and the rater's profile. The authors rescaled
    the values of each rater to [-1, 1] and smoothed them.
``annotations_raw.parquet``
    The same columns for every rating, unchanged.

This loader was written from the published description and the authors' code
(https://github.com/dorienh/MERP), without access to the files. Column names are therefore
matched loosely (`COLUMNS`), and an error names what does not fit.

A filtered rating ends where the audio ends, since the authors cut its beginning. A raw rating
starts where the audio starts. Lengths are checked against the audio, because according to a
report the filtered ratings of the published table last only a fifth of it. Such a rating is
replaced by the same rater's in ``annotations_raw.parquet``, or refused.
"""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pandas as pd
import soundfile as sf

from msr_utils.audio.formats import AUDIO_SUFFIXES
from msr_utils.constants import FRAME_RATE_HZ, FRAME_SECONDS, TARGETS
from msr_utils.corpora.base import (
    Card,
    Corpus,
    CorpusError,
    Track,
)
from msr_utils.corpora.checks import (
    check_duplicate_audio,
    check_scale,
    mean_of_known,
    note_scale,
    walk,
)
from msr_utils.corpora.findings import Findings, in_file

RATING_RATE_HZ = 10

SAMPLES_PER_FRAME = RATING_RATE_HZ // FRAME_RATE_HZ

LENGTH_TOLERANCE_S = 3.0
"""Largest accepted difference between the length of a rating and of its audio. The authors kept
ratings up to 2 s longer than their feature series, which are 1.2 s shorter than the audio."""

SONGS = 54

FILTERED, RAW = "annotations_filtered.parquet", "annotations_raw.parquet"

COLUMNS = {
    "song": ("songid", "songurl", "song", "trackid"),
    "rater": ("workerid", "raterid", "participantid", "userid", "rater", "worker"),
    "valence": ("valence", "valences"),
    "arousal": ("arousal", "arousals"),
}
"""Accepted names of each column, without regard to case, spaces and underscores."""

TEXT_COLUMNS = ("artist", "title")

CARD = Card(
    title="MERP, Music Emotion Recognition with Profile information",
    source="https://huggingface.co/datasets/amaai-lab/MERP",
    licence="annotations CC BY 4.0; songs under Creative Commons licences",
    citation="Koh, Cheuk, Heung, Agres and Herremans (2023), Sensors 23(1)",
    notes=(
        "54 full songs",
        "ratings at 10 Hz, averaged to 2 Hz: the frame that ends at t is the mean of a rater's "
        "samples in (t - 0.5 s, t], missing where fewer than half are there",
        "each rater's values were rescaled by the authors so that their extremes are -1 and 1",
        "the songs named deam_... are in DEAM too: never train on one and test on the other",
        "artists are not given: split by song",
    ),
)


def load_merp(data_dir: Path, findings: Findings | None = None) -> Corpus:
    """Load the songs of MERP whose audio is available.

    Parameters
    ----------
    data_dir : Path
        Where the Parquet tables and the audio lie, in any arrangement of folders.
    findings : Findings, optional
        Where notes go. With ``collect``, errors about single songs and ratings go there too.

    Returns
    -------
    Corpus
        Curves are means over raters, `Track.ratings` the raters' own; `Corpus.raters` holds
        their profiles.

    Raises
    ------
    CorpusError
        If a table is missing or damaged or lacks a column, if a rating is not a list of numbers
        in [-1, 1] or is not as long as its audio, or if no song has audio.
    """
    findings = Findings() if findings is None else findings
    root = Path(data_dir)
    files = walk(root)
    tables = _read_tables(root, files, findings)
    main = next(iter(tables))
    songs = {
        name: {str(song): rows for song, rows in table.groupby("song", sort=True)}
        for name, table in tables.items()
    }
    audio = {path.stem.lower(): path for path in files if path.suffix.lower() in AUDIO_SUFFIXES}
    tracks = []
    for song in songs[main]:
        if song not in audio:
            continue
        with findings.about(main, f"song {song}"):
            rows = {name: table[song] for name, table in songs.items() if song in table}
            tracks.append(_read_song(song, rows, audio[song], findings))
    tracks = check_duplicate_audio(tracks, findings)
    _note_scales(tracks, main, findings)
    without_audio = len(set(songs[main]) - set(audio))
    if without_audio == len(songs[main]):
        raise CorpusError(f"MERP: no audio such as audio/00_35.wav found under {root}")
    if len(songs[main]) != SONGS:
        findings.note(main, "", f"{len(songs[main])} songs; {SONGS} were published")
    return Corpus(
        name="merp",
        tracks=tracks,
        card=CARD,
        index_files=list(_table_files(files).values()),
        without_audio=without_audio,
        raters=_profiles(main, tables[main], findings),
    )


def _table_files(files: list[Path]) -> dict[str, Path]:
    """Name -> path of each table that is there; the filtered one first."""
    named = {name: [path for path in files if path.name == name] for name in (FILTERED, RAW)}
    return {name: paths[0] for name, paths in named.items() if paths}


def _read_tables(root: Path, files: list[Path], findings: Findings) -> dict[str, pd.DataFrame]:
    """Name -> table; the ratings of the first one are used where they fit the audio."""
    paths = _table_files(files)
    if not paths:
        raise CorpusError(f"MERP: neither {FILTERED} nor {RAW} found under {root}", FILTERED)
    tables: dict[str, pd.DataFrame] = {}
    for name, path in paths.items():
        # The raw table is only a substitute: an error in it does not stop the filtered one.
        with findings.about(name) if tables else in_file(name):
            tables[name] = _read_table(path, findings)
    if next(iter(tables)) == RAW:
        findings.note(
            RAW, "", f"{FILTERED} is not here: ratings that the authors refused are included"
        )
    return tables


def _note_scales(tracks: list[Track], file: str, findings: Findings) -> None:
    """Note targets whose ratings seem to have the scale 0..1."""
    ratings = [t.ratings for t in tracks if t.ratings is not None]
    if not ratings:
        return
    for column, target in enumerate(TARGETS):
        values = np.concatenate([r[:, :, column].ravel() for r in ratings])
        note_scale(target, values, file, findings)


def _read_table(path: Path, findings: Findings) -> pd.DataFrame:
    """A table with columns ``song, rater, valence, arousal`` and whatever else it holds."""
    try:
        table = pd.read_parquet(path)
    except (OSError, ValueError, NotImplementedError) as error:
        reason = str(error).splitlines()[0].rstrip(".")
        raise CorpusError(
            f"{path.name}: not a Parquet table that can be read ({reason}); download it again",
            path.name,
        ) from error
    simplified = {re.sub(r"[\s_-]", "", str(name).lower()): name for name in table.columns}
    names = {
        column: next(simplified[name] for name in accepted if name in simplified)
        for column, accepted in COLUMNS.items()
        if set(accepted) & set(simplified)
    }
    missing = [column for column in COLUMNS if column not in names]
    if missing:
        needed = "; ".join(f"{c} ({', '.join(COLUMNS[c])})" for c in missing)
        raise CorpusError(
            f"{path.name}: no column for {needed}; found {', '.join(map(str, table.columns))}",
            path.name,
            missing[0],
        )
    if not len(table):
        raise CorpusError(f"{path.name}: holds no rows", path.name)
    table = table.rename(columns={name: column for column, name in names.items()})
    for column in ("song", "rater"):
        empty = table[column].isna().to_numpy()
        if empty.any():
            with findings.about(path.name, column):
                row = int(np.flatnonzero(empty)[0])
                raise CorpusError(
                    f"{path.name}, row {row + 1}: {names[column]} is empty", path.name, column
                )
            table = table[~empty]
        table[column] = table[column].astype(str).str.strip()
    table["song"] = table["song"].str.lower()
    return table


def _read_song(
    song: str, rows: dict[str, pd.DataFrame], audio_path: Path, findings: Findings
) -> Track:
    """One song from its rows in each table."""
    file, main_rows = next(iter(rows.items()))
    try:
        seconds = sf.info(audio_path).duration
    except sf.LibsndfileError as error:
        raise CorpusError(
            f"{audio_path.name}: not audio that can be decoded", audio_path.name
        ) from error
    by_rater = _ratings(song, rows, seconds, findings)
    ratings = np.stack(list(by_rater.values()))
    mean = mean_of_known(ratings, axis=0)
    if not np.isfinite(mean).all(axis=1).any():
        raise CorpusError(f"{file}, song {song}: no frame has both valence and arousal", file)
    text = {
        column: str(main_rows[column].iloc[0])
        for column in TEXT_COLUMNS
        if column in main_rows and main_rows[column].notna().all()
    }
    in_deam = re.fullmatch(r"deam[_-]?(\d+)", song)
    if in_deam:
        message = f"the same recording as song {in_deam[1]} of DEAM: train on one of them only"
        findings.note(file, f"song {song}", message)
    return Track(
        id=song,
        audio_path=audio_path,
        times_s=np.arange(1, ratings.shape[1] + 1) * FRAME_SECONDS,
        valence=mean[:, TARGETS.index("valence")],
        arousal=mean[:, TARGETS.index("arousal")],
        group=text.get("artist", "").casefold() or song,
        text=text,
        ratings=ratings,
        raters=tuple(by_rater),
        shared_with={"deam": in_deam[1]} if in_deam else {},
    )


def _ratings(
    song: str, tables: dict[str, pd.DataFrame], seconds: float, findings: Findings
) -> dict[str, np.ndarray]:
    """Each rater's curve on the 2 Hz grid, (T, 2), from the first table that fits the audio."""
    frames = int(seconds * FRAME_RATE_HZ)
    samples = round(seconds * RATING_RATE_HZ)
    ratings: dict[str, np.ndarray] = {}
    misfits: dict[str, str] = {}  # table -> message
    missing: list[str] = []
    for file, rows in tables.items():
        if misfits:
            rows = rows[rows["rater"].isin(missing)]
        curves = _curves(file, rows, findings)
        missing = []
        for rater, curve in curves.items():
            if abs(len(curve) / RATING_RATE_HZ - seconds) > LENGTH_TOLERANCE_S:
                missing.append(rater)
            else:
                lead = max(0, samples - len(curve)) if file == FILTERED else 0
                ratings[rater] = _on_grid(curve, frames, lead)
        if not missing:
            break
        n = len(curves[missing[0]])
        misfits[file] = (
            f"{len(missing)} of {len(curves)} ratings do not last as long as the audio: "
            f"{n} samples are {n / RATING_RATE_HZ:g} s at {RATING_RATE_HZ} Hz, the audio "
            f"lasts {seconds:.1f} s"
        )
    if not ratings:
        file = next(iter(tables))
        reason = misfits.get(file, "no rating can be read")
        if misfits and RAW not in tables:
            reason += f"; put {RAW}, whose ratings cover whole songs, beside it"
        raise CorpusError(f"{file}, song {song}: {reason}", file)
    for file, message in misfits.items():
        replaced = file == FILTERED and RAW in tables
        action = f"replaced by those in {RAW}" if replaced else "left out"
        findings.note(file, f"song {song}", f"{message}; {action}")
    return dict(sorted(ratings.items()))


def _curves(file: str, rows: pd.DataFrame, findings: Findings) -> dict[str, np.ndarray]:
    """Samples of each rater of one song, (n, 2)."""
    curves: dict[str, np.ndarray] = {}
    for row in rows.to_dict("records"):
        rater, subject = row["rater"], f"song {row['song']}"
        where = f"{file}, {subject}, rater {rater}"
        with findings.about(file, f"{subject}, rater {rater}"):
            parts = [_samples(row[target], where, file, target) for target in TARGETS]
            if len(parts[0]) != len(parts[1]):
                raise CorpusError(
                    f"{where}: {len(parts[0])} samples of valence but {len(parts[1])} of arousal",
                    file,
                )
            curve = np.stack(parts, axis=1)
            if rater not in curves:
                curves[rater] = curve
            elif np.array_equal(curves[rater], curve, equal_nan=True):
                raise CorpusError(f"{where}: the row is repeated", file, "rater")
            else:
                findings.note(file, subject, f"rater {rater} rated it twice; the first is kept")
    return curves


def _samples(cell: object, where: str, file: str, column: str) -> np.ndarray:
    """Samples of one target as float32, (n,)."""
    try:
        values = np.asarray(cell, np.float32)
    except (TypeError, ValueError) as error:
        raise CorpusError(f"{where}, {column}: not a list of numbers", file, column) from error
    if values.ndim != 1 or not len(values):
        raise CorpusError(
            f"{where}, {column}: a list of samples is needed, one row per rater and song; "
            f"found {cell!r}",
            file,
            column,
        )
    check_scale(values, f"{where}, {column}", file=file, field=column)
    return values


def _on_grid(samples: np.ndarray, frames: int, lead: int) -> np.ndarray:
    """Means over 500 ms, (frames, 2), of samples that begin `lead` samples into the audio.

    Sample i, counted from 0, belongs to time (i + 1) / 10 s, so that five samples make a frame.
    """
    filled = np.full((frames * SAMPLES_PER_FRAME, len(TARGETS)), np.nan, np.float32)
    inside = samples[: max(0, len(filled) - lead)]
    filled[lead : lead + len(inside)] = inside
    in_frames = filled.reshape(frames, SAMPLES_PER_FRAME, len(TARGETS))
    return mean_of_known(in_frames, axis=1, at_least=SAMPLES_PER_FRAME / 2)


def _profiles(file: str, table: pd.DataFrame, findings: Findings) -> pd.DataFrame:
    """One row per rater, with the columns that are constant for most raters."""
    others = [c for c in table.columns if c not in (*COLUMNS, *TEXT_COLUMNS)]
    others = [c for c in others if not table[c].map(pd.api.types.is_list_like).any()]
    by_rater = table.groupby("rater", sort=True)
    profiles = by_rater[others].first() if others else pd.DataFrame(index=by_rater.size().index)
    for column in others:
        differ = int((by_rater[column].nunique() > 1).sum())
        if differ > len(profiles) / 2:
            profiles = profiles.drop(columns=column)
        elif differ:
            findings.note(file, column, f"differs between rows of {differ} raters; first kept")
    known = profiles.drop(columns=["batch", "master"], errors="ignore").notna().any(axis=1)
    if not known.all():
        findings.note(file, "", f"{(~known).sum()} of {len(known)} raters have no profile")
    return profiles

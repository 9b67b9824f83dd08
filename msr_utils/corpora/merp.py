"""MERP: 54 full songs, valence and arousal of every rater at 10 Hz, and who the raters are.

Koh, Cheuk, Heung, Agres and Herremans (2023), "MERP: A music dataset with emotion ratings and
raters' profile information", Sensors 23(1), https://doi.org/10.3390/s23010382

``audio/<song>.wav``
    Songs are named ``00_35`` (Free Music Archive) or ``deam_115`` (also in DEAM).
``annotations_filtered.parquet``
    One row per rater and song whose ratings passed the authors' seven checks: a song, a rater,
    a list of valence and one of arousal samples, and the rater's profile. Rescaled per rater
    to [-1, 1] and smoothed.
``annotations_raw.parquet``
    The same of every rating, as the raters gave it.

This loader was written from the published description and the authors' code
(https://github.com/dorienh/MERP), not from the files: column names are matched loosely
(`COLUMNS`), and what does not fit is refused by name.
"""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pandas as pd
import soundfile as sf

from msr_utils.constants import FRAME_RATE_HZ, FRAME_SECONDS, TARGETS
from msr_utils.corpora.base import (
    AUDIO_SUFFIXES,
    Card,
    Corpus,
    CorpusError,
    Findings,
    Track,
    check_scale,
    in_file,
    note_same_audio,
    note_scale,
    walk,
)

RATING_RATE_HZ = 10

SAMPLES_PER_FRAME = RATING_RATE_HZ // FRAME_RATE_HZ

LENGTH_TOLERANCE_S = 3.0
"""How far a rating's length may lie from its audio's. The authors kept ratings up to 2 s longer
than their feature series, which are 1.2 s shorter than the audio."""

SONGS = 54

FILTERED, RAW = "annotations_filtered.parquet", "annotations_raw.parquet"

COLUMNS = {
    "song": ("songid", "songurl", "song", "trackid"),
    "rater": ("workerid", "raterid", "participantid", "userid", "rater", "worker"),
    "valence": ("valence", "valences"),
    "arousal": ("arousal", "arousals"),
}
"""Accepted names of each column; case, spaces and underscores do not count."""

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
    """Load the songs of MERP whose audio is at hand.

    Parameters
    ----------
    data_dir : Path
        Where the Parquet tables and the audio lie, in any arrangement of folders.
    findings : Findings, optional
        Where errors about single songs and ratings, and notes, go; without it the first
        error is raised.

    Returns
    -------
    Corpus
        Curves are means over raters, `Track.ratings` the raters' own; `Corpus.raters` holds
        their profiles.

    Raises
    ------
    CorpusError
        If a table is missing or damaged, lacks a column, a rating is no list of numbers in
        [-1, 1] or does not last as long as its audio, or no song has audio here.

    Notes
    -----
    A filtered rating ends where the audio ends, since the authors cut what was too long from
    its front; a raw one starts where the audio starts. Lengths are checked against the audio,
    because a report has the filtered ratings of the published table last a fifth of it: such
    a rating is replaced by the same rater's in ``annotations_raw.parquet``, or refused.
    """
    findings = Findings() if findings is None else findings
    root = Path(data_dir)
    there = walk(root)
    named = {name: [path for path in there if path.name == name] for name in (FILTERED, RAW)}
    files = {name: found[0] for name, found in named.items() if found}
    if not files:
        raise CorpusError(f"MERP: neither {FILTERED} nor {RAW} found under {root}")
    tables = {}
    for name, path in files.items():
        # Beside the filtered table, the raw one only stands in.
        with findings.about(name) if tables else in_file(name):
            tables[name] = _read_table(path, findings)
    main = next(iter(tables))
    if main == RAW:
        findings.note(RAW, "", f"{FILTERED} is not here: ratings that the authors refused are in")
    songs = {name: dict(list(table.groupby("song", sort=True))) for name, table in tables.items()}
    audio = {path.stem.lower(): path for path in there if path.suffix.lower() in AUDIO_SUFFIXES}
    tracks = []
    for song in songs[main]:
        if song not in audio:
            continue
        with findings.about(main, f"song {song}"):
            rated = {name: table[song] for name, table in songs.items() if song in table}
            tracks.append(_read_song(song, rated, audio[song], findings))
    tracks = note_same_audio(tracks, findings)
    for column, target in enumerate(TARGETS if tracks else ()):
        every = np.concatenate([t.ratings[:, :, column].ravel() for t in tracks])
        note_scale(target, every, main, findings)
    without_audio = len(set(songs[main]) - set(audio))
    if without_audio == len(songs[main]):
        raise CorpusError(f"MERP: no audio such as audio/00_35.wav found under {root}")
    if len(songs[main]) != SONGS:
        findings.note(main, "", f"{len(songs[main])} songs; {SONGS} were published")
    return Corpus(
        name="merp",
        tracks=tracks,
        card=CARD,
        index_files=list(files.values()),
        without_audio=without_audio,
        raters=_profiles(main, tables[main], findings),
    )


def _read_table(path: Path, findings: Findings) -> pd.DataFrame:
    """A table with columns ``song, rater, valence, arousal`` and whatever else it holds."""
    try:
        table = pd.read_parquet(path)
    except (OSError, ValueError, NotImplementedError) as error:
        reason = str(error).splitlines()[0].rstrip(".")
        raise CorpusError(
            f"{path.name}: not a Parquet table that can be read ({reason}); download it again"
        ) from error
    plain = {re.sub(r"[\s_-]", "", str(name).lower()): name for name in table.columns}
    found = {
        column: next(plain[name] for name in names if name in plain)
        for column, names in COLUMNS.items()
        if set(names) & set(plain)
    }
    missing = [column for column in COLUMNS if column not in found]
    if missing:
        needed = "; ".join(f"{c} ({', '.join(COLUMNS[c])})" for c in missing)
        raise CorpusError(
            f"{path.name}: no column for {needed}; found {', '.join(map(str, table.columns))}"
        )
    if not len(table):
        raise CorpusError(f"{path.name}: holds no rows")
    table = table.rename(columns={name: column for column, name in found.items()})
    for column in ("song", "rater"):
        empty = table[column].isna().to_numpy()
        if empty.any():
            with findings.about(path.name, column):
                row = int(np.flatnonzero(empty)[0])
                raise CorpusError(f"{path.name}, row {row + 1}: {found[column]} is empty")
            table = table[~empty]
        table[column] = table[column].astype(str).str.strip()
    table["song"] = table["song"].str.lower()
    return table


def _read_song(
    song: str, rated: dict[str, pd.DataFrame], audio_path: Path, findings: Findings
) -> Track:
    """One song from its rows in each table; the first table says whose ratings count."""
    file, rows = next(iter(rated.items()))
    try:
        seconds = sf.info(audio_path).duration
    except sf.LibsndfileError as error:
        raise CorpusError(f"{audio_path.name}: not audio that can be decoded") from error
    by_rater = _ratings(song, rated, seconds, findings)
    ratings = np.stack(list(by_rater.values()))
    mean = _mean(ratings, axis=0, at_least=1)
    if not np.isfinite(mean).all(axis=1).any():
        raise CorpusError(f"{file}, song {song}: no frame has both valence and arousal")
    text = {c: str(rows[c].iloc[0]) for c in TEXT_COLUMNS if c in rows and rows[c].notna().all()}
    in_deam = re.fullmatch(r"deam[_-]?(\d+)", song)
    if in_deam:
        what = f"the same recording as song {in_deam[1]} of DEAM: train on one of them only"
        findings.note(file, f"song {song}", what)
    return Track(
        id=song,
        audio_path=audio_path,
        times_s=np.arange(1, ratings.shape[1] + 1) * FRAME_SECONDS,
        group=text.get("artist", "").casefold() or song,
        text=text,
        ratings=ratings,
        raters=tuple(by_rater),
        shared_with={"deam": in_deam[1]} if in_deam else {},
        **{target: mean[:, column] for column, target in enumerate(TARGETS)},
    )


def _ratings(
    song: str, rated: dict[str, pd.DataFrame], seconds: float, findings: Findings
) -> dict[str, np.ndarray]:
    """Each rater's curve on the 2 Hz grid, (T, 2), from the first table where it fits the audio."""
    frames = int(seconds * FRAME_RATE_HZ)
    samples = round(seconds * RATING_RATE_HZ)
    ratings: dict[str, np.ndarray] = {}
    misfits: dict[str, str] = {}
    missing: list[str] = []
    for file, rows in rated.items():
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
        file = next(iter(rated))
        what = misfits.get(file, "no rating can be read")
        if misfits and RAW not in rated:
            what += f"; put {RAW}, whose ratings cover whole songs, beside it"
        raise CorpusError(f"{file}, song {song}: {what}")
    for file, what in misfits.items():
        instead = f"those in {RAW} stand in" if file == FILTERED and RAW in rated else "left out"
        findings.note(file, f"song {song}", f"{what}; {instead}")
    return dict(sorted(ratings.items()))


def _curves(file: str, rows: pd.DataFrame, findings: Findings) -> dict[str, np.ndarray]:
    """Samples of each rater of one song, (n, 2)."""
    curves: dict[str, np.ndarray] = {}
    for row in rows.to_dict("records"):
        where = f"{file}, song {row['song']}, rater {row['rater']}"
        with findings.about(file, f"song {row['song']}, rater {row['rater']}"):
            parts = [_samples(row[target], f"{where}, {target}") for target in TARGETS]
            if len(parts[0]) != len(parts[1]):
                raise CorpusError(
                    f"{where}: {len(parts[0])} samples of valence but {len(parts[1])} of arousal"
                )
            curve = np.stack(parts, axis=1)
            if row["rater"] not in curves:
                curves[row["rater"]] = curve
            elif np.array_equal(curves[row["rater"]], curve, equal_nan=True):
                raise CorpusError(f"{where}: the row is repeated")
            else:
                findings.note(file, f"song {row['song']}", f"rater {row['rater']} rated it twice; "
                              "the first is kept")  # fmt: skip
    return curves


def _samples(cell: object, where: str) -> np.ndarray:
    try:
        values = np.asarray(cell, np.float32)
    except (TypeError, ValueError) as error:
        raise CorpusError(f"{where}: not a list of numbers") from error
    if values.ndim != 1 or not len(values):
        raise CorpusError(
            f"{where}: a list of samples is needed, one row per rater and song; found {cell!r}"
        )
    check_scale(values, where)
    return values


def _on_grid(samples: np.ndarray, frames: int, lead: int) -> np.ndarray:
    """Means over 500 ms, (frames, 2), of samples that begin `lead` samples into the audio.

    Sample i (from 0) stands for time (i + 1) / 10 s, so that five make a frame exactly.
    """
    filled = np.full((frames * SAMPLES_PER_FRAME, len(TARGETS)), np.nan, np.float32)
    fits = samples[: max(0, len(filled) - lead)]
    filled[lead : lead + len(fits)] = fits
    in_frames = filled.reshape(frames, SAMPLES_PER_FRAME, len(TARGETS))
    return _mean(in_frames, axis=1, at_least=SAMPLES_PER_FRAME / 2)


def _mean(values: np.ndarray, axis: int, at_least: float) -> np.ndarray:
    """Mean over `axis` of what is known; NaN where fewer than `at_least` values are."""
    known = np.isfinite(values)
    count = known.sum(axis=axis)
    total = np.where(known, values, 0).sum(axis=axis, dtype=np.float64)
    return np.where(count >= at_least, total / np.maximum(count, 1), np.nan).astype(np.float32)


def _profiles(file: str, table: pd.DataFrame, findings: Findings) -> pd.DataFrame:
    """One row per rater: every column of the table that says one thing of most raters."""
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

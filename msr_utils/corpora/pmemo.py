"""PMEmo without its audio: ratings of chart songs, released features and lyrics.

Zhang, Zhang, Li, Yang and Sun (2018), "The PMEmo dataset for music emotion recognition", ICMR.

``metadata.csv``
    ``musicId,title,artist`` and more: every song.
``static_annotations.csv``
    ``song_id,valence_mean,arousal_mean`` and deviations: ratings of the song as a whole, on a scale
    from 1 to 9.
``dynamic_annotations.csv`` (optional)
    ``musicId,frameTime,Arousal(mean),Valence(mean)``: curves at 2 Hz, on a scale from 0 to 1.
``features38.csv`` (optional)
    ``song_id`` and 38 columns: statistics of the audio of each song.
``lyrics.csv`` (optional)
    ``song_id,lyrics``: of the songs for which lyrics are at hand.
"""

from __future__ import annotations

import re
from collections.abc import Hashable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from msr_utils.constants import FRAME_RATE_HZ, TARGETS
from msr_utils.corpora.base import Card, Corpus, CorpusError, Track
from msr_utils.corpora.findings import Findings
from msr_utils.corpora.tables import read_csv

METADATA, STATIC, DYNAMIC = "metadata.csv", "static_annotations.csv", "dynamic_annotations.csv"
FEATURES, LYRICS = "features38.csv", "lyrics.csv"

SCALES = {STATIC: (1.0, 9.0), DYNAMIC: (0.0, 1.0)}
"""Lowest and highest rating of each table."""

GUESTS = re.compile(r"\s*(?:[,;/&]|\bfeat\b|\bft\b|\bfeaturing\b|\bwith\b|\bx\b).*", re.IGNORECASE)
"""What follows the first artist in a list of artists."""

CARD = Card(
    title="PMEmo",
    source="https://github.com/HuiZhangDB/PMEmo",
    licence="for research",
    citation="Zhang, Zhang, Li, Yang and Sun (2018), The PMEmo dataset for music emotion "
    "recognition, ICMR",
    notes=(
        "choruses of chart songs, rated as a whole and every 500 ms from 15 s on; most listeners "
        "were students in China",
        "groups are the first of the artists named",
        "no audio here: 38 statistics of it come from a thesis, lyrics of about half of the songs "
        "from another project. Lyrics are under copyright and never shown",
    ),
)


def load_pmemo(data_dir: Path, findings: Findings | None = None) -> Corpus:
    """Load the songs that have ratings.

    Parameters
    ----------
    data_dir : Path
    findings : Findings, optional
        Where notes go. With ``collect``, errors go there too and their songs are left out.

    Raises
    ------
    CorpusError
        If a table is missing or damaged, a song is repeated or unknown, or a rating is outside its
        scale.
    """
    findings = Findings() if findings is None else findings
    root = Path(data_dir)
    ratings = _by_song(root / STATIC, "song_id", tuple(f"{t}_mean" for t in TARGETS), findings)
    described = read_csv(
        root / METADATA,
        ("musicId", "title", "artist"),
        filled=("musicId", "artist"),
        key="musicId",
        findings=findings,
    )
    songs = {row["musicId"]: row for row in described.to_dict("records")}
    if (root / DYNAMIC).is_file():
        curves = _curves(root / DYNAMIC, findings)
    else:
        curves = {}
        findings.note(DYNAMIC, "", "not found: songs have no curves")
    words = _lyrics(root / LYRICS, findings)
    tracks = []
    for song, rating in ratings.to_dict("index").items():
        with findings.about(STATIC, str(song)):
            if song not in songs:
                raise CorpusError(
                    f"{STATIC}: song {song} is not in {METADATA}", STATIC, field="song_id"
                )
            tracks.append(_track(root, str(song), rating, songs[song], curves, words))
    present = [root / name for name in (METADATA, STATIC, DYNAMIC, LYRICS, FEATURES)]
    return Corpus(
        name="pmemo",
        tracks=tracks,
        card=CARD,
        index_files=[path for path in present if path.is_file()],
        has_audio=False,
    )


def _track(
    root: Path,
    song: str,
    rating: dict[Hashable, Any],
    described: dict[Hashable, Any],
    curves: dict[str, pd.DataFrame],
    words: dict[str, str],
) -> Track:
    """A song with its labels."""
    static = [_scaled(rating[f"{t}_mean"], STATIC, f"{t}_mean", song) for t in TARGETS]
    curve = curves.get(song)
    times_s = np.empty(0) if curve is None else curve.index.to_numpy(float)
    valence, arousal = (
        np.empty(0, np.float32) if curve is None else curve[t].to_numpy(np.float32) for t in TARGETS
    )
    text = {"title": described["title"], "artist": described["artist"]}
    return Track(
        id=song,
        audio_path=root / "chorus" / f"{song}.mp3",
        times_s=times_s,
        valence=valence,
        arousal=arousal,
        group=first_artist(described["artist"]),
        text=text | ({"lyrics": words[song]} if song in words else {}),
        static=np.array(static, np.float32),
    )


def first_artist(artists: str) -> str:
    """The first of the artists of a song, in lower case: groups must not depend on guests."""
    return GUESTS.sub("", artists.strip()).casefold() or artists.strip().casefold()


def _scaled(value: float, file: str, column: str, song: str) -> float:
    """A rating on the scale from -1 to 1."""
    low, high = SCALES[file]
    if not low <= value <= high:
        raise CorpusError(
            f"{file}: {column} of song {song} is {value:g}; ratings lie from {low:g} to {high:g}",
            file,
            column,
        )
    return 2 * (value - low) / (high - low) - 1


def _by_song(path: Path, key: str, columns: tuple[str, ...], findings: Findings) -> pd.DataFrame:
    """Rows of a numeric table by song."""
    table = read_csv(path, (key, *columns), columns, (key, *columns), key, findings)
    repeated = table[table[key].duplicated()]
    for line, song in zip(repeated.index, repeated[key], strict=True):
        with findings.about(path.name, song):
            raise CorpusError(
                f"{path.name}, line {line}: song {song} is repeated", path.name, field=key
            )
    return table[~table[key].duplicated()].set_index(key)


def _curves(path: Path, findings: Findings) -> dict[str, pd.DataFrame]:
    """Song to its curves in [-1, 1], with times as index."""
    columns = {f"{target.capitalize()}(mean)": target for target in TARGETS}
    numbers = ("frameTime", *columns)
    table = read_csv(path, ("musicId", *numbers), numbers, numbers, "musicId", findings)
    low, high = SCALES[path.name]
    scaled = (2 * (table[list(columns)] - low) / (high - low) - 1).rename(columns=columns)
    curves = {}
    for song, rows in table.groupby("musicId").groups.items():
        times = table.loc[rows, "frameTime"].to_numpy()
        with findings.about(path.name, str(song)):
            if (times * FRAME_RATE_HZ % 1).any() or (np.diff(times) <= 0).any():
                raise CorpusError(
                    f"{path.name}: times of song {song} must rise in steps of "
                    f"{1 / FRAME_RATE_HZ:g} s",
                    path.name,
                    "frameTime",
                )
            if (scaled.loc[rows].abs() > 1).to_numpy().any():
                for column in columns:
                    for value in table.loc[rows, column]:
                        _scaled(value, path.name, column, str(song))
            curves[str(song)] = scaled.loc[rows].set_axis(times)
    return curves


def _lyrics(path: Path, findings: Findings) -> dict[str, str]:
    """Song to its lyrics; none where the file is missing."""
    if not path.is_file():
        findings.note(path.name, "", "not found: songs have no lyrics")
        return {}
    table = read_csv(path, ("song_id", "lyrics"), key="song_id", findings=findings)
    words: dict[str, str] = {}
    for line, song, text in zip(table.index, table["song_id"], table["lyrics"], strict=True):
        with findings.about(path.name, song):
            if text and words.setdefault(song, text) != text:
                raise CorpusError(
                    f"{path.name}, line {line}: song {song} has other lyrics in an earlier line",
                    path.name,
                    "lyrics",
                )
    return words


def read_features(data_dir: Path, corpus: Corpus) -> np.ndarray:
    """The released statistics of the audio.

    Parameters
    ----------
    data_dir : Path
    corpus : Corpus
        From `load_pmemo`.

    Returns
    -------
    np.ndarray [shape=(songs, D), dtype=float64]

    Raises
    ------
    CorpusError
        If the table is missing or damaged, or lacks a song.
    """
    path = Path(data_dir) / FEATURES
    header = read_csv(path, ("song_id",)).columns
    columns = tuple(name for name in header if name != "song_id")
    table = _by_song(path, "song_id", columns, Findings())
    if missing := [track.id for track in corpus.tracks if track.id not in table.index]:
        raise CorpusError(
            f"{FEATURES}: has no row for song {missing[0]} ({len(missing)} songs are missing)",
            FEATURES,
            "song_id",
        )
    return table.loc[[track.id for track in corpus.tracks]].to_numpy(float)

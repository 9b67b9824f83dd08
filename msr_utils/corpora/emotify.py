"""Emotify: 400 one-minute excerpts and the GEMS emotions that listeners felt.

Aljanaki, Wiering and Veltkamp (2016), "Studying emotion induced by music through a
crowdsourcing game", Information Processing & Management 52(1),
https://doi.org/10.1016/j.ipm.2015.03.004. The nine emotions are those of the Geneva Emotional
Music Scales: Zentner, Grandjean and Scherer (2008), Emotion 8(4).

``data.csv``
    One row per listener and track: ``track id, genre``, the nine emotions (1: felt strongly),
    ``mood, liked, disliked, age, gender, mother tongue``. There is no listener id.
``emotifymusic/<genre>/<n>.mp3``
    ``n`` restarts at 1 in each genre; track ids continue through the genres.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from msr_utils.audio.formats import AUDIO_SUFFIXES
from msr_utils.corpora.base import (
    Card,
    Corpus,
    CorpusError,
    Track,
)
from msr_utils.corpora.checks import check_duplicate_audio, walk
from msr_utils.corpora.findings import Findings, in_file
from msr_utils.corpora.tables import read_csv
from msr_utils.metrics.reliability import rater_ceiling

EMOTIONS = (
    "amazement",
    "solemnity",
    "tenderness",
    "nostalgia",
    "calmness",
    "power",
    "joyful_activation",
    "tension",
    "sadness",
)
"""Columns of `Track.gems` and `Track.gems_ratings`."""

GENRES = ("classical", "rock", "electronic", "pop")
"""In the order of track ids: 1..100, 101..200, 201..300, 301..400."""

TRACKS_PER_GENRE = 100

EXCERPT_S = 60.0
"""Length of an excerpt in seconds; some classical pieces are shorter."""

PROFILE = ("mood", "liked", "disliked", "age", "gender", "mother tongue")

PLAUSIBLE = {"mood": (1, 5), "liked": (0, 1), "disliked": (0, 1), "age": (10, 90), "gender": (0, 1)}
"""Range of each numeric column. Values outside are kept; text becomes missing. Both are noted."""

MAX_FELT = 3
"""Number of emotions that the game allowed a listener to select."""

FEW_LISTENERS = 10
"""Tracks with fewer listeners than this are noted: their shares are coarse."""

CARD = Card(
    title="Emotify",
    source="http://www2.projects.science.uu.nl/memotion/emotifydata/",
    licence="for research",
    citation="Aljanaki, Wiering and Veltkamp (2016), Studying emotion induced by music through "
    "a crowdsourcing game, Information Processing & Management 52(1)",
    notes=(
        "400 excerpts of 60 s, 100 each of classical (five are shorter), rock, electronic and pop; "
        "8407 rows",
        "emotions that listeners felt, not those they thought the music expresses",
        "no listener id: rows of one person cannot be told from rows of several",
        "tracks have 11 to 59 listeners: 85 of them 47 on average, the other 315 14",
        "artists are unknown: split by track, one artist may lie on both sides",
        "140 of the 8407 rows repeat another row of their track in every cell; all are kept",
        "which gender 0 and 1 stand for is not documented",
    ),
)


def load_emotify(data_dir: Path, findings: Findings | None = None) -> Corpus:
    """Load the tracks of Emotify whose audio is available.

    Parameters
    ----------
    data_dir : Path
        Where ``data.csv`` and the genre folders were unpacked, in any arrangement.
    findings : Findings, optional
        Where notes go. With ``collect``, errors about single tracks go there too.

    Returns
    -------
    Corpus
        ``labels="gems"``. `Corpus.raters` has one row per row of ``data.csv``, named by its
        place there ("1", "2", ...), not one per person.

    Raises
    ------
    CorpusError
        If ``data.csv`` is missing or lacks a column, if an emotion is not 0 or 1, if a genre is
        unknown or contradicts its track id, or if no track has audio.
    """
    findings = Findings() if findings is None else findings
    root = Path(data_dir)
    path = _find_table(root)
    table = _read_table(path, findings)
    answers = table[list(EMOTIONS)].apply(pd.to_numeric, errors="coerce").to_numpy(np.float32)
    raters = _profiles(table)
    _note_oddities(path.name, table, answers, raters, findings)
    audio = _audio_files(root)
    tracks, without_audio = [], 0
    for name, index in table.groupby("track id", sort=False).indices.items():
        track_id, rows = str(name), np.asarray(index)
        with findings.about(path.name, f"track id {track_id}"):
            key = _genre_and_number(table, rows, path.name)
            track_answers = _checked_answers(table, answers, rows, path.name)
            if key not in audio:
                without_audio += 1
                continue
            tracks.append(_track(track_id, key, audio[key], track_answers, raters.index[rows]))
    if without_audio and not tracks:
        raise CorpusError(
            f"Emotify: no audio such as emotifymusic/classical/1.mp3 found under {root}"
        )
    return Corpus(
        name="emotify",
        tracks=check_duplicate_audio(sorted(tracks, key=lambda track: int(track.id)), findings),
        card=CARD,
        index_files=[path],
        without_audio=without_audio,
        labels="gems",
        raters=raters,
    )


def _read_table(path: Path, findings: Findings) -> pd.DataFrame:
    """``data.csv`` with ids of one spelling."""
    with in_file(path.name):
        table = read_csv(path, ("track id", "genre", *EMOTIONS), findings=findings)
    for column in PROFILE:
        with findings.about(path.name, column):
            if column not in table:
                raise CorpusError(
                    f"{path.name}: column {column!r} is missing; download the annotations again",
                    path.name,
                    column,
                )
    # "01" and "1" are one track.
    table["track id"] = table["track id"].str.strip().str.replace(r"^0+(?=.)", "", regex=True)
    return table


def reliability(tracks: Sequence[Track], n_splits: int = 100, seed: int = 7) -> pd.DataFrame:
    """Agreement of listeners on each emotion, and the score that a perfect model could reach.

    Parameters
    ----------
    tracks : sequence of Track
        With `Track.gems_ratings`.
    n_splits : int > 0
        Number of random halvings of each track's listeners, over which the result is averaged.
    seed : int

    Returns
    -------
    pandas.DataFrame
        One row per emotion. ``split_half``: correlation over tracks of the shares in two
        halves of the listeners. ``reliability``: of the share over all listeners, by the
        Spearman-Brown formula. ``ceiling``: its square root, the highest possible r with these
        shares. The last row is the mean of the nine.

    See Also
    --------
    msr_utils.metrics.reliability.rater_ceiling : the method and its sources.
    """
    answers = [t.gems_ratings for t in tracks if t.gems_ratings is not None]
    rows = {}
    for column, emotion in enumerate(EMOTIONS):
        whole = rater_ceiling([listeners[:, [column]] for listeners in answers], n_splits, seed)
        rows[emotion] = {
            # Spearman-Brown, solved for the half.
            "split_half": whole.reliability / (2 - whole.reliability),
            "reliability": whole.reliability,
            "ceiling": whole.r,
        }
    table = pd.DataFrame(rows)
    return table.assign(mean=table.mean(axis=1)).T


def _find_table(root: Path) -> Path:
    paths = [path for path in walk(root) if path.name == "data.csv"]
    if not paths:
        raise CorpusError(
            f"Emotify: no data.csv found under {root}; download the annotations", "data.csv"
        )
    return min(paths, key=lambda path: (len(path.parts), path))


def _audio_files(root: Path) -> dict[tuple[str, int], Path]:
    """Genre and number within the genre -> audio."""
    return {
        (path.parent.name.lower(), int(path.stem)): path
        for path in walk(root)
        if path.suffix.lower() in AUDIO_SUFFIXES and path.stem.isdecimal()
    }


def _profiles(table: pd.DataFrame) -> pd.DataFrame:
    """Profile of the listener of each row; NaN where a number is missing."""
    raters = table[["track id", *(c for c in PROFILE if c in table)]].copy()
    for column in (c for c in PLAUSIBLE if c in table):
        raters[column] = pd.to_numeric(raters[column], errors="coerce")
    raters.columns = raters.columns.str.replace(" ", "_")
    raters.index = pd.Index([str(row + 1) for row in range(len(raters))], name="rater")
    return raters


def _genre_and_number(table: pd.DataFrame, rows: np.ndarray, file: str) -> tuple[str, int]:
    """Genre of a track and the number of its file in that genre.

    A genre that contradicts the track id is refused.
    """
    text = table["track id"].iloc[rows[0]]
    tracks = len(GENRES) * TRACKS_PER_GENRE
    if not (text.isdecimal() and 1 <= int(text) <= tracks):
        raise CorpusError(
            f"{file}, line {table.index[rows[0]]}: track id is {text!r}, not a number from 1 to "
            f"{tracks}",
            file,
            "track id",
        )
    place, number = divmod(int(text) - 1, TRACKS_PER_GENRE)
    for row in rows:
        genre = table["genre"].iloc[row].strip().lower()
        where = f"{file}, line {table.index[row]}: genre {genre!r}"
        if genre not in GENRES:
            raise CorpusError(f"{where} is unknown; known: {', '.join(GENRES)}", file, "genre")
        if genre != GENRES[place]:
            raise CorpusError(
                f"{where} contradicts track id {text}, which is {GENRES[place]}", file, "genre"
            )
    return GENRES[place], number + 1


def _checked_answers(
    table: pd.DataFrame, answers: np.ndarray, rows: np.ndarray, file: str
) -> np.ndarray:
    """Emotions that each listener of one track felt, 0 or 1, (listeners, 9)."""
    track_answers = answers[rows]
    invalid = np.argwhere(~np.isin(track_answers, (0, 1)))
    if len(invalid):
        row, emotion = rows[invalid[0, 0]], EMOTIONS[invalid[0, 1]]
        text = table[emotion].iloc[row]
        raise CorpusError(
            f"{file}, line {table.index[row]}: {emotion} is {text!r}; it must be 0 or 1",
            file,
            emotion,
        )
    return track_answers


def _track(
    track_id: str, key: tuple[str, int], audio_path: Path, answers: np.ndarray, raters: pd.Index
) -> Track:
    no_curve = np.zeros(0, np.float32)
    return Track(
        id=track_id,
        audio_path=audio_path,
        times_s=np.zeros(0),
        valence=no_curve,
        arousal=no_curve,
        group=track_id,
        text={"genre": key[0]},
        raters=tuple(raters),
        gems=answers.mean(axis=0),
        gems_ratings=answers,
        duration_s=None if key[0] == "classical" else EXCERPT_S,
    )


def _note_oddities(
    file: str, table: pd.DataFrame, answers: np.ndarray, raters: pd.DataFrame, findings: Findings
) -> None:
    """Note unusual rows. They are no damage and all are kept."""
    felt = np.nansum(answers, axis=1)
    both = (raters.reindex(columns=["liked", "disliked"]) == 1).all(axis=1)
    counts = {
        "rows repeat another row of their track in every cell: one person twice or two alike, "
        "which nobody can tell without a listener id": table.duplicated().sum(),
        "rows mark no emotion": (felt == 0).sum(),
        f"rows mark more than the {MAX_FELT} emotions that the game allowed": (
            felt > MAX_FELT
        ).sum(),
        "rows both like and dislike the track": both.sum(),
    }
    for message, count in counts.items():
        if count:
            findings.note(file, "", f"{count} {message}")
    for column, (low, high) in PLAUSIBLE.items():
        if column not in table:
            continue
        unread = raters[column].isna()
        outside = ~raters[column].between(low, high) & ~unread
        groups = {
            f"outside {low}..{high}, kept": outside,
            "without a number, taken as missing": unread,
        }
        for message, which in groups.items():
            if which.any():
                values = ", ".join(sorted(set(table[column][which.to_numpy()]) - {""})[:5])
                findings.note(file, column, f"{which.sum()} rows {message}: {values}".rstrip(": "))
    listeners = table["track id"].value_counts()
    few = listeners[listeners < FEW_LISTENERS]
    if len(few):
        first = ", ".join(sorted(few.index)[:5])
        message = f"{len(few)} tracks have fewer than {FEW_LISTENERS} listeners"
        findings.note(file, "", f"{message}; the fewest is {few.min()}: {first}")
    missing = len(GENRES) * TRACKS_PER_GENRE - len(listeners)
    if missing > 0:
        findings.note(file, "", f"{missing} of the 400 tracks have no row")

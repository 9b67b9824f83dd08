"""DEAM: 1802 songs of the Free Music Archive with valence and arousal at 2 Hz.

Aljanaki, Yang and Soleymani (2017), "Developing a benchmark for emotional analysis of
music", PLoS ONE 12(3), https://doi.org/10.1371/journal.pone.0173392

Protocols (see `msr_utils.dataset.splits.splits_of`), with the audio in ``data/deam``:

``msr run --corpus deam --data data/deam``
    MediaEval 2015: trained on songs up to 2000, tested on the 58 whole songs 2001..2058; RMSE
    and r per song, mean and standard deviation (Aljanaki and others 2015, "Emotion in Music
    task at MediaEval 2015").
``msr run --corpus deam --data data/deam --edition local-dev -p folds 10``
    Ten-fold cross-validation by artist on songs up to 2000, frames pooled. MediaEval's own
    development set, 431 of these songs, is not marked in the release.

In the release, the song-level file has valence and arousal swapped for the songs of 2013. The
loader sees it from the data and puts it right, see `static_audit`.
"""

from __future__ import annotations

import csv
import io
import re
from pathlib import Path
from typing import Any

import numpy as np

from msr_utils.constants import TARGETS
from msr_utils.corpora.base import (
    AUDIO_SUFFIXES,
    Card,
    Corpus,
    CorpusError,
    Findings,
    Track,
    check_scale,
    frame_index,
    in_file,
    note_same_audio,
    note_scale,
    walk,
)
from msr_utils.corpora.folder import (
    MISSING,
    read_csv,
    read_rows,
    read_text,
)

RELEASES = {"2013": 1000, "2014": 2000, "2015": np.inf}
"""Last song id of each year's part; 2015 are the full songs of the MediaEval test set."""

SONGS = {"2013": 744, "2014": 1000, "2015": 58}
"""Annotated songs of each part as published."""

STATIC_FILES = (
    "static_annotations_averaged_songs_1_2000.csv",
    "static_annotations_averaged_songs_2000_2058.csv",
)

EXCERPT_S = 45.0
"""Length of the excerpts of 2013 and 2014; the songs of 2015 are whole."""

LENGTH_TOLERANCE = 2
"""Samples by which a song's two curves may differ in length; those of the release never do."""

STATIC_SCALE = (1, 9)
"""Scale of the song-level file."""

MIN_SONGS_TO_TELL = 10
"""Fewer songs with both kinds of labels do not tell whether a part is swapped."""

CARD = Card(
    title="DEAM, the MediaEval Database for Emotional Analysis of Music",
    source="https://cvml.unige.ch/databases/DEAM/",
    licence="audio under Creative Commons licences, annotations for research",
    citation="Aljanaki, Yang and Soleymani (2017), PLoS ONE 12(3)",
    notes=(
        "1802 songs: 744 (2013) and 1000 (2014) excerpts of 45 s, and 58 full songs (2015)",
        "annotations start at 15.0 s: the audio before is context without labels",
        "the song-level ratings of 2013 are released with valence and arousal exchanged; put "
        "right by the loader",
    ),
)

Curves = dict[int, tuple[np.ndarray, np.ndarray]]
"""Song -> (times_s, values)."""


def load_deam(
    data_dir: Path,
    findings: Findings | None = None,
    need_audio: bool = True,
    as_released: bool = False,
) -> Corpus:
    """Load the songs of DEAM.

    Parameters
    ----------
    data_dir : Path
        Where the official archives were unpacked, in any arrangement of their folders.
    findings : Findings, optional
        Where to note oddities; with ``collect``, errors too, and their songs are left out.
    need_audio : bool
        True: songs whose audio is at hand. False: every annotated song; `Track.audio_path` is
        then where the audio would lie.
    as_released : bool
        True: `Track.static` as in the files. False: parts whose columns are swapped put right.

    Raises
    ------
    CorpusError
        If annotations are missing or damaged, or audio is needed and no song has any.
    """
    root = Path(data_dir)
    findings = Findings() if findings is None else findings
    files = _files(root)
    dynamic, curves = _read_dynamics(root, files, findings)
    static_files, static = _read_static(files, findings)
    static = _in_order(static, curves, as_released, findings)
    metadata_files = [p for p in files if re.fullmatch(r"metadata_20\d\d\.csv", p.name)]
    metadata = _read_metadata(metadata_files, findings)
    audio = _audio_files(root, files, findings)
    songs = sorted(set(curves["valence"]) | set(curves["arousal"]))
    at_hand = [song for song in songs if song in audio]
    if need_audio and not at_hand:
        raise CorpusError(f"DEAM: no audio such as MEMD_audio/2.mp3 found under {root}")
    tracks = []
    for song in at_hand if need_audio else songs:
        if str(song) in findings.damaged:
            continue
        text = {**metadata.get(song, {}), "release": _release(song)}
        with findings.about("valence.csv, arousal.csv", str(song)):
            tracks.append(
                Track(
                    id=str(song),
                    audio_path=audio.get(song, root / "MEMD_audio" / f"{song}.mp3"),
                    group=" ".join(text.get("artist", "").split()).casefold() or f"song {song}",
                    split="test" if _release(song) == "2015" else "train",
                    text=text,
                    static=static.get(song),
                    duration_s=None if _release(song) == "2015" else EXCERPT_S,
                    **_joint(song, curves),
                )
            )
    tracks = note_same_audio(tracks, findings)
    _note_counts(songs, static, findings)
    alone = sum("artist" not in t.text for t in tracks)
    if alone:
        findings.note("metadata", "", f"{alone} songs have no artist: each is its own group")
    return Corpus(
        name="deam",
        tracks=tracks,
        card=CARD,
        index_files=[*dynamic, *static_files, *metadata_files],
        without_audio=len(songs) - len(at_hand),
    )


def static_audit(data_dir: Path, findings: Findings | None = None) -> list[dict[str, Any]]:
    """Whether the song-level columns agree with the songs' mean dynamic values, by release.

    A part is swapped where its columns correlate more with the other dimension than with their
    own: the sum of the two crossed correlations exceeds that of the two straight ones.

    Parameters
    ----------
    data_dir : Path
        As for `load_deam`; audio is not needed.
    findings : Findings, optional

    Returns
    -------
    list of dict
        For each release ``release``, ``songs``, ``swapped`` (None where fewer than
        `MIN_SONGS_TO_TELL` songs or no spread leave it open) and four Pearson correlations such
        as ``r_static_valence_dynamic_arousal``, columns named as released.

    Raises
    ------
    CorpusError
        If annotations are missing or damaged.
    """
    findings = Findings() if findings is None else findings
    files = _files(Path(data_dir))
    _, curves = _read_dynamics(Path(data_dir), files, findings)
    return _audit(_read_static(files, findings)[1], curves)


def _release(song: int) -> str:
    return next(release for release, last in RELEASES.items() if song <= last)


def _files(root: Path) -> list[Path]:
    """Files under a folder without the single raters'."""
    return [p for p in walk(root) if "per each rater" not in str(p.relative_to(root).parent)]


def _note_counts(songs: list[int], static: dict[int, np.ndarray], findings: Findings) -> None:
    """Fewer or more songs than published, and songs rated over time alone."""
    count = {part: sum(_release(s) == part for s in songs) for part in SONGS}
    if count != SONGS:
        parts = ", ".join(f"{count[part]} of {SONGS[part]} of {part}" for part in SONGS)
        findings.note(
            "valence.csv, arousal.csv", "",
            f"{len(songs)} annotated songs, {sum(SONGS.values())} were published: {parts}",
        )  # fmt: skip
    unrated = [s for s in songs if s not in static]
    if unrated:
        findings.note(
            "static annotations", "", f"{len(unrated)} of {len(songs)} songs have no rating"
        )


# Dynamic annotations


def _read_dynamics(
    root: Path, files: list[Path], findings: Findings
) -> tuple[list[Path], dict[str, Curves]]:
    paths, curves = [], {}
    for target in TARGETS:
        found = [p for p in files if p.name == f"{target}.csv"]
        found = [p for p in found if "dynamic" in p.parent.name.lower()] or found
        if not found:
            raise CorpusError(
                f"DEAM: no dynamic annotations {target}.csv found under {root}; "
                "unpack DEAM_Annotations.zip there",
                file=f"{target}.csv",
            )
        if len(found) > 1:
            taken = found[0].relative_to(root).as_posix()
            findings.note(found[0].name, "", f"{len(found)} files of this name; took {taken}")
        paths.append(found[0])
        with in_file(found[0].name):
            curves[target] = _read_dynamic(found[0], findings)
    _compare(curves, findings)
    return paths, curves


def _compare(curves: dict[str, Curves], findings: Findings) -> None:
    """Refuse what tells of a file or a row cut short, whether or not the song's audio is here."""
    for here, there in (TARGETS, TARGETS[::-1]):
        alone = [s for s in sorted(curves[here]) if s not in curves[there]]
        # A song refused in the other file is there.
        alone = [s for s in alone if str(s) not in findings.damaged]
        if not alone:
            continue
        for song in alone:
            del curves[here][song]
        what = f"{alone[0]} is" if len(alone) == 1 else f"{alone[0]} and {len(alone) - 1} more are"
        with findings.about(f"{there}.csv", str(alone[0])):
            raise CorpusError(
                f"DEAM: song {what} only in {here}.csv, not in {there}.csv; unpack the "
                "annotations again"
            )
    valence, arousal = (curves[target] for target in TARGETS)
    for song in sorted(set(valence) & set(arousal)):
        samples = [len(curves[target][song][1]) for target in TARGETS]
        with findings.about("valence.csv, arousal.csv", str(song)):
            if abs(samples[0] - samples[1]) > LENGTH_TOLERANCE:
                raise CorpusError(
                    f"DEAM: song {song} has {samples[0]} samples of valence but {samples[1]} of "
                    "arousal: a row is cut"
                )


def _read_dynamic(path: Path, findings: Findings) -> Curves:
    """Read one dynamic file, trailing gaps dropped."""
    header, rows = read_rows(path, ("song_id",), "song_id", findings, ragged=True)
    columns = {i: c for i, c in enumerate(header) if c and c != "song_id"}
    times_s = np.array([_sample_seconds(c, path) for c in columns.values()])
    if not columns:
        raise CorpusError(f"{path.name}: has no columns such as sample_15000ms")
    frame_index(times_s, path.name)
    curves: Curves = {}
    for line, cells in rows.items():
        name = cells[header.index("song_id")]
        with findings.about(path.name, name or f"line {line}"):
            song = _song_id(name, f"{path.name}, line {line}")
            if song in curves:
                raise CorpusError(f"{path.name}: song_id {song} is repeated")
            where = f"{path.name}, song {song}"
            numbers = [_number(cells[i], f"{where}, {c}") for i, c in columns.items()]
            with np.errstate(over="ignore"):  # infinity then, and refused
                values = np.array(numbers).astype(np.float32)
            check_scale(values, where)
            known = np.flatnonzero(np.isfinite(values))
            end = known[-1] + 1 if len(known) else 0
            curves[song] = (times_s[:end], values[:end])
    if curves:
        every = np.concatenate([values for _, values in curves.values()])
        note_scale(path.stem, every, path.name, findings)
    return curves


def _sample_seconds(column: str, path: Path) -> float:
    match = re.fullmatch(r"sample_(\d+)ms", column, re.ASCII)
    if not match:
        raise CorpusError(f"{path.name}: column {column!r} is not of the form sample_15000ms")
    return int(match[1]) / 1000


def _song_id(text: str, where: str) -> int:
    if not re.fullmatch(r"\d+", text, re.ASCII):
        raise CorpusError(f"{where}: song_id is {text!r}, not a whole number")
    return int(text)


def _number(cell: str, where: str) -> float:
    if cell.lower() in MISSING:
        return np.nan
    try:
        return float(cell)
    except ValueError:
        raise CorpusError(f"{where}: {cell!r} is not a number") from None


def _joint(song: int, curves: dict[str, Curves]) -> dict[str, np.ndarray]:
    """Times and values of one song in both dimensions."""
    joint = {t: dict(zip(*curves[t][song], strict=True)) for t in TARGETS}
    times_s = np.array(sorted(set(joint["valence"]) | set(joint["arousal"])))
    values = {t: np.array([joint[t].get(s, np.nan) for s in times_s], np.float32) for t in TARGETS}
    if not np.isfinite([values[t] for t in TARGETS]).all(axis=0).any():
        raise CorpusError(f"DEAM: song {song} has no frame with both valence and arousal")
    return {"times_s": times_s, **values}


# Song-level annotations


def _read_static(files: list[Path], findings: Findings) -> tuple[list[Path], dict[int, np.ndarray]]:
    """Song -> (valence, arousal) in [-1, 1] as released."""
    taken: dict[str, Path] = {}
    for path in files:
        if re.fullmatch(r"static_annotations_averaged_songs_\d+_\d+\.csv", path.name):
            taken.setdefault(path.name, path)
    for name in STATIC_FILES:
        if name not in taken:
            findings.note(name, "", "not found")
    static: dict[int, np.ndarray] = {}
    for path in taken.values():
        with findings.about(path.name):
            _read_static_file(path, static, findings)
    return list(taken.values()), static


def _read_static_file(path: Path, static: dict[int, np.ndarray], findings: Findings) -> None:
    """Add a file's songs to those read before."""
    columns = tuple(f"{target}_mean" for target in TARGETS)
    low, high = STATIC_SCALE
    names = ("song_id", *columns)
    table = read_csv(path, names, columns, names, key="song_id", findings=findings)
    for line, row in zip(table.index, table.to_dict("records"), strict=True):
        with findings.about(path.name, row["song_id"]):
            song = _song_id(row["song_id"], f"{path.name}, line {line}")
            if song in static:
                raise CorpusError(f"{path.name}: song_id {song} is repeated")
            for column in columns:
                if not low <= row[column] <= high:
                    raise CorpusError(
                        f"{path.name}, song {song}: {column} {row[column]:g} lies outside "
                        f"[{low}, {high}]"
                    )
            middle, half = (high + low) / 2, (high - low) / 2
            static[song] = np.array([(row[c] - middle) / half for c in columns], np.float32)


def _audit(static: dict[int, np.ndarray], curves: dict[str, Curves]) -> list[dict[str, Any]]:
    """Parts as `static_audit` returns them."""
    parts = []
    means = {
        t: {song: np.nanmean(values) for song, (_, values) in curves[t].items() if len(values)}
        for t in TARGETS
    }
    for release in RELEASES:
        songs = [
            s for s in static if _release(s) == release and all(s in means[t] for t in TARGETS)
        ]
        rows = [[*static[s], *(means[t][s] for t in TARGETS)] for s in songs]
        r = np.full((2, 2), np.nan)
        if len(songs) >= MIN_SONGS_TO_TELL:
            with np.errstate(invalid="ignore"):  # a column without spread: NaN
                r = np.corrcoef(np.array(rows, float).T)[:2, 2:]
        crossed = float(r[0, 1] + r[1, 0] - r[0, 0] - r[1, 1])
        parts.append(
            {
                "release": release,
                "songs": len(songs),
                **{
                    f"r_static_{column}_dynamic_{target}": float(r[i, j])
                    for i, column in enumerate(TARGETS)
                    for j, target in enumerate(TARGETS)
                },
                "swapped": None if np.isnan(crossed) else crossed > 0,
            }
        )
    return parts


def _in_order(
    static: dict[int, np.ndarray],
    curves: dict[str, Curves],
    as_released: bool,
    findings: Findings,
) -> dict[int, np.ndarray]:
    """Song-level values, swapped parts put right unless they are wanted as released."""
    swapped = set()
    for part in _audit(static, curves):
        about = f"release {part['release']}"
        if part["swapped"]:
            done = "kept as released" if as_released else "put right"
            findings.note("static annotations", about, f"valence and arousal are swapped: {done}")
            swapped.add(part["release"])
        elif part["swapped"] is None and any(_release(s) == part["release"] for s in static):
            findings.note(
                "static annotations", about, "too few songs to tell whether they are swapped"
            )
    if as_released:
        return static
    return {s: v[::-1].copy() if _release(s) in swapped else v for s, v in static.items()}


# Audio and metadata


def _audio_files(root: Path, files: list[Path], findings: Findings) -> dict[int, Path]:
    """Song -> audio; where there is a folder MEMD_audio, in it alone."""
    found = [
        path
        for path in files
        if path.suffix.lower() in AUDIO_SUFFIXES and re.fullmatch(r"\d+", path.stem, re.ASCII)
    ]
    found = [p for p in found if p.parent.name.lower() == "memd_audio"] or found
    audio: dict[int, Path] = {}
    for path in sorted(found, key=lambda p: (AUDIO_SUFFIXES.index(p.suffix.lower()), p)):
        song = int(path.stem)
        if audio.setdefault(song, path) != path:
            here, taken = (p.relative_to(root).as_posix() for p in (path, audio[song]))
            findings.note(here, str(song), f"{taken} is taken instead")
    return audio


def _read_metadata(paths: list[Path], findings: Findings) -> dict[int, dict[str, str]]:
    """Artist, title and genre by song; cells carry stray tabs, later columns are shifted."""
    found: dict[int, dict[str, str]] = {}
    for path in paths:
        with findings.about(path.name):
            rows = csv.reader(io.StringIO(read_text(path, findings), newline=""))
            try:
                header = [cell.strip().lower() for cell in next(rows, [])]
                for row in rows:
                    # Tags follow the named columns; where they have no name, "" takes them.
                    cells = dict(zip(header, (c.strip(' \t"') for c in row), strict=False))
                    if re.fullmatch(r"\d+", cells.get("song_id", ""), re.ASCII):
                        found[int(cells["song_id"])] = {
                            k: cells[k]
                            for k in ("artist", "title", "genre")
                            if cells.get(k, "").lower() not in ("", "n/a")
                        }
            except csv.Error as error:
                raise CorpusError(
                    f"{path.name}, line {rows.line_num}: not a CSV table ({error})"
                ) from error
    return found

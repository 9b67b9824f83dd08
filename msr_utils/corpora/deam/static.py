"""Song-level annotations of DEAM, and the swap of their columns."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from msr_utils.constants import TARGETS
from msr_utils.corpora.base import CorpusError
from msr_utils.corpora.deam.dynamic import Curves, read_dynamics
from msr_utils.corpora.deam.songs import (
    RELEASES,
    corpus_files,
    release_of,
    song_id,
)
from msr_utils.corpora.findings import Findings
from msr_utils.corpora.tables import read_csv
from msr_utils.metrics.correlation import pearson

STATIC_FILES = (
    "static_annotations_averaged_songs_1_2000.csv",
    "static_annotations_averaged_songs_2000_2058.csv",
)

STATIC_SCALE = (1, 9)
"""Scale of the song-level file."""

MIN_SONGS_FOR_SWAP = 10
"""Fewest songs with both kinds of labels from which a swap of columns can be detected."""


@dataclass(frozen=True)
class StaticAudit:
    """Agreement of the song-level columns of one release with the songs' mean curves.

    Parameters
    ----------
    release : str
    songs : int
        Number of songs with both kinds of labels.
    r_static_valence_dynamic_valence, ... : float
        Pearson correlation over songs of a song-level column, named as released, with the mean
        of a curve.
    swapped : bool, optional
        Whether the columns are exchanged. None if there are fewer than `MIN_SONGS_FOR_SWAP`
        songs or a column does not vary.
    """

    release: str
    songs: int
    r_static_valence_dynamic_valence: float
    r_static_valence_dynamic_arousal: float
    r_static_arousal_dynamic_valence: float
    r_static_arousal_dynamic_arousal: float
    swapped: bool | None


def static_audit(data_dir: Path, findings: Findings | None = None) -> list[StaticAudit]:
    """Check whether the song-level columns agree with the songs' mean curves, by release.

    A part is swapped if its columns correlate more with the other target than with their own:
    the sum of the two crossed correlations exceeds that of the two straight ones.

    Parameters
    ----------
    data_dir : Path
        As for `load_deam`; audio is not needed.
    findings : Findings, optional

    Returns
    -------
    list of StaticAudit
        One for each release.

    Raises
    ------
    CorpusError
        If annotations are missing or damaged.
    """
    findings = Findings() if findings is None else findings
    files = corpus_files(Path(data_dir))
    _, curves = read_dynamics(Path(data_dir), files, findings)
    return _audit(read_static(files, findings)[1], curves)


def read_static(files: list[Path], findings: Findings) -> tuple[list[Path], dict[int, np.ndarray]]:
    """Files, and song -> (valence, arousal) in [-1, 1] with the columns as released."""
    paths: dict[str, Path] = {}
    for path in files:
        if re.fullmatch(r"static_annotations_averaged_songs_\d+_\d+\.csv", path.name):
            paths.setdefault(path.name, path)
    for name in STATIC_FILES:
        if name not in paths:
            findings.note(name, "", "not found")
    static: dict[int, np.ndarray] = {}
    for path in paths.values():
        with findings.about(path.name):
            _read_static_file(path, static, findings)
    return list(paths.values()), static


def _read_static_file(path: Path, static: dict[int, np.ndarray], findings: Findings) -> None:
    """Add the songs of one file to `static`."""
    columns = tuple(f"{target}_mean" for target in TARGETS)
    low, high = STATIC_SCALE
    middle, half = (high + low) / 2, (high - low) / 2
    names = ("song_id", *columns)
    table = read_csv(path, names, columns, names, key="song_id", findings=findings)
    for line, row in zip(table.index, table.to_dict("records"), strict=True):
        with findings.about(path.name, row["song_id"]):
            song = song_id(row["song_id"], path.name, line)
            if song in static:
                raise CorpusError(f"{path.name}: song_id {song} is repeated", path.name, "song_id")
            for column in columns:
                if not low <= row[column] <= high:
                    raise CorpusError(
                        f"{path.name}, song {song}: {column} {row[column]:g} lies outside "
                        f"[{low}, {high}]",
                        path.name,
                        column,
                    )
            static[song] = np.array([(row[c] - middle) / half for c in columns], np.float32)


def _audit(static: dict[int, np.ndarray], curves: dict[str, Curves]) -> list[StaticAudit]:
    """Compute what `static_audit` returns."""
    means = {
        t: {song: np.nanmean(c.values) for song, c in curves[t].items() if len(c.values)}
        for t in TARGETS
    }
    audits = []
    for release in RELEASES:
        songs = [
            s for s in static if release_of(s) == release and all(s in means[t] for t in TARGETS)
        ]
        r = np.full((2, 2), np.nan)  # [column of the file, curve], both in the order of TARGETS
        if len(songs) >= MIN_SONGS_FOR_SWAP:
            columns = np.array([static[s] for s in songs], float).T
            dynamic = [np.array([means[t][s] for s in songs], float) for t in TARGETS]
            r = np.stack([pearson(columns, mean) for mean in dynamic], axis=1)
        crossed = float(r[0, 1] + r[1, 0] - r[0, 0] - r[1, 1])
        audits.append(
            StaticAudit(
                release=release,
                songs=len(songs),
                r_static_valence_dynamic_valence=float(r[0, 0]),
                r_static_valence_dynamic_arousal=float(r[0, 1]),
                r_static_arousal_dynamic_valence=float(r[1, 0]),
                r_static_arousal_dynamic_arousal=float(r[1, 1]),
                swapped=None if np.isnan(crossed) else crossed > 0,
            )
        )
    return audits


def correct_swaps(
    static: dict[int, np.ndarray],
    curves: dict[str, Curves],
    as_released: bool,
    findings: Findings,
) -> dict[int, np.ndarray]:
    """Song-level values with swapped parts corrected, unless they are wanted as released."""
    swapped = set()
    for audit in _audit(static, curves):
        subject = f"release {audit.release}"
        if audit.swapped:
            action = "kept as released" if as_released else "corrected"
            findings.note(
                "static annotations", subject, f"valence and arousal are swapped: {action}"
            )
            swapped.add(audit.release)
        elif audit.swapped is None and any(release_of(s) == audit.release for s in static):
            message = "too few songs to tell whether they are swapped"
            findings.note("static annotations", subject, message)
    if as_released:
        return static
    return {s: v[::-1].copy() if release_of(s) in swapped else v for s, v in static.items()}

"""DEAM: 1802 songs of the Free Music Archive with valence and arousal at 2 Hz.

Aljanaki, Yang and Soleymani (2017), "Developing a benchmark for emotional analysis of
music", PLoS ONE 12(3), https://doi.org/10.1371/journal.pone.0173392
"""

from __future__ import annotations

import csv
import re
from pathlib import Path

import numpy as np

from msr_utils.constants import FRAME_SECONDS, TARGETS
from msr_utils.corpora.base import Card, Corpus, CorpusError, Track, check_scale, frame_index
from msr_utils.corpora.folder import read_csv

AUDIO_SUFFIXES = (".mp3", ".ogg", ".opus", ".flac", ".wav")

FIRST_TEST_ID = 2001
"""Ids from here on are the full songs of the MediaEval 2015 test set."""

CARD = Card(
    title="DEAM, the MediaEval Database for Emotional Analysis of Music",
    source="https://cvml.unige.ch/databases/DEAM/",
    licence="audio under Creative Commons licences, annotations for research",
    citation="Aljanaki, Yang and Soleymani (2017), PLoS ONE 12(3)",
    notes=("annotations start at 15.0 s: the audio before is context without labels",),
)


def load_deam(data_dir: Path) -> Corpus:
    """Load the songs of DEAM whose audio is at hand.

    Parameters
    ----------
    data_dir : Path
        Where the official archives were unpacked, in any arrangement of their folders.

    Raises
    ------
    CorpusError
        If annotations are missing or damaged, or none of the songs has audio here.
    """
    root = Path(data_dir)
    files = {target: _find_dynamic(root, target) for target in TARGETS}
    curves = {target: _read_dynamic(path) for target, path in files.items()}
    if set(curves["valence"]) != set(curves["arousal"]):
        odd = min(set(curves["valence"]) ^ set(curves["arousal"]))
        raise CorpusError(f"DEAM: song {odd} is in only one of valence.csv and arousal.csv")
    audio = _audio_files(root)
    metadata_files = sorted(root.rglob("metadata_20*.csv"))
    metadata = _read_metadata(metadata_files)
    tracks = []
    for song in sorted(set(audio) & set(curves["valence"])):
        joint = {t: dict(zip(*curves[t][song], strict=True)) for t in TARGETS}
        times_s = np.array(sorted(set(joint["valence"]) | set(joint["arousal"])))
        frame_index(times_s, f"DEAM, song {song}")
        text = metadata.get(song, {})
        tracks.append(
            Track(
                id=str(song),
                audio_path=audio[song],
                times_s=times_s,
                group=text.get("artist", "").casefold() or f"song {song}",
                split="test" if song >= FIRST_TEST_ID else "train",
                text=text,
                **{
                    t: np.array([joint[t].get(s, np.nan) for s in times_s], np.float32)
                    for t in TARGETS
                },
            )
        )
    if not tracks:
        raise CorpusError(f"DEAM: no audio such as MEMD_audio/2.mp3 found under {root}")
    return Corpus(
        name="deam",
        tracks=tracks,
        card=CARD,
        index_files=[*files.values(), *metadata_files],
        without_audio=len(curves["valence"]) - len(tracks),
    )


def _find_dynamic(root: Path, target: str) -> Path:
    found = [p for p in root.rglob(f"{target}.csv") if "dynamic" in p.parent.name]
    if not found:
        raise CorpusError(
            f"DEAM: no dynamic annotations {target}.csv found under {root}; "
            "unpack DEAM_Annotations.zip there"
        )
    return min(found)


def _read_dynamic(path: Path) -> dict[int, tuple[np.ndarray, np.ndarray]]:
    """Read one dynamic file: song -> (times_s, values), trailing gaps dropped."""
    table = read_csv(path, ("song_id",))
    columns = [c for c in table.columns if c.startswith("sample_")]
    times_s = np.array([_sample_seconds(c, path) for c in columns])
    songs: dict[int, tuple[np.ndarray, np.ndarray]] = {}
    for row in table.itertuples(index=False):
        song, cells = int(row[0]), row[1 : 1 + len(columns)]
        values = np.array([float(c) if c.strip() else np.nan for c in cells], np.float32)
        check_scale(values, f"{path.name}, song {song}")
        known = np.flatnonzero(np.isfinite(values))
        if song in songs:
            raise CorpusError(f"{path.name}: song_id {song} is repeated")
        end = known[-1] + 1 if len(known) else 0
        songs[song] = (times_s[:end], values[:end])
    return songs


def _sample_seconds(column: str, path: Path) -> float:
    match = re.fullmatch(r"sample_(\d+)ms", column)
    if not match:
        raise CorpusError(f"{path.name}: column {column!r} is not of the form sample_15000ms")
    return round(int(match[1]) / 1000 / FRAME_SECONDS) * FRAME_SECONDS


def _audio_files(root: Path) -> dict[int, Path]:
    return {
        int(path.stem): path
        for path in sorted(root.rglob("*"))
        if path.suffix.lower() in AUDIO_SUFFIXES and path.stem.isdigit()
    }


def _read_metadata(paths: list[Path]) -> dict[int, dict[str, str]]:
    """Artist, title and genre by song; cells carry stray tabs, later columns are shifted."""
    found: dict[int, dict[str, str]] = {}
    for path in paths:
        with open(path, encoding="utf-8", errors="replace", newline="") as file:
            rows = csv.reader(file)
            header = [cell.strip().lower() for cell in next(rows, [])]
            for row in rows:
                cells = dict(zip(header, (c.strip().strip('"').strip() for c in row), strict=False))
                if re.fullmatch(r"\d+", next(iter(cells.values()), "")):
                    song = int(next(iter(cells.values())))
                    found[song] = {
                        k: cells[k] for k in ("artist", "title", "genre") if cells.get(k)
                    }
    return found

"""Put the files of DEAM together."""

from __future__ import annotations

import csv
import io
import re
from pathlib import Path

import numpy as np

from msr_utils.audio.formats import AUDIO_SUFFIXES
from msr_utils.constants import TARGETS
from msr_utils.corpora.base import Corpus, CorpusError, Track
from msr_utils.corpora.checks import check_duplicate_audio
from msr_utils.corpora.deam.dynamic import Curves, read_dynamics
from msr_utils.corpora.deam.songs import (
    CARD,
    EXCERPT_S,
    SONGS,
    corpus_files,
    release_of,
)
from msr_utils.corpora.deam.static import correct_swaps, read_static
from msr_utils.corpora.findings import Findings
from msr_utils.corpora.tables import read_text


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
        Where notes go. With ``collect``, errors go there too and their songs are left out.
    need_audio : bool
        True: songs whose audio is available. False: every annotated song; `Track.audio_path` is
        then where the audio would be.
    as_released : bool
        True: `Track.static` as in the files. False: swapped parts are corrected.

    Raises
    ------
    CorpusError
        If annotations are missing or damaged, or audio is needed and no song has any.
    """
    root = Path(data_dir)
    findings = Findings() if findings is None else findings
    files = corpus_files(root)
    dynamic_files, curves = read_dynamics(root, files, findings)
    static_files, static = read_static(files, findings)
    static = correct_swaps(static, curves, as_released, findings)
    metadata_files = [p for p in files if re.fullmatch(r"metadata_20\d\d\.csv", p.name)]
    metadata = _read_metadata(metadata_files, findings)
    audio = _audio_files(root, files, findings)
    songs = sorted(set(curves["valence"]) | set(curves["arousal"]))
    available = [song for song in songs if song in audio]
    if need_audio and not available:
        raise CorpusError(f"DEAM: no audio such as MEMD_audio/2.mp3 found under {root}")
    tracks = []
    for song in available if need_audio else songs:
        if str(song) in findings.damaged:
            continue
        audio_path = audio.get(song, root / "MEMD_audio" / f"{song}.mp3")
        with findings.about("valence.csv, arousal.csv", str(song)):
            tracks.append(_track(song, audio_path, curves, static, metadata.get(song, {})))
    tracks = check_duplicate_audio(tracks, findings)
    _note_counts(songs, static, findings)
    if without_artist := sum("artist" not in t.text for t in tracks):
        findings.note(
            "metadata", "", f"{without_artist} songs have no artist: each is its own group"
        )
    return Corpus(
        name="deam",
        tracks=tracks,
        card=CARD,
        index_files=[*dynamic_files, *static_files, *metadata_files],
        without_audio=len(songs) - len(available),
    )


def _track(
    song: int,
    audio_path: Path,
    curves: dict[str, Curves],
    static: dict[int, np.ndarray],
    metadata: dict[str, str],
) -> Track:
    """One song with the union of the times of its two curves."""
    by_time = {
        t: dict(zip(curves[t][song].times_s, curves[t][song].values, strict=True)) for t in TARGETS
    }
    times_s = np.array(sorted(set(by_time["valence"]) | set(by_time["arousal"])))
    values = {
        t: np.array([by_time[t].get(time_s, np.nan) for time_s in times_s], np.float32)
        for t in TARGETS
    }
    if not np.isfinite([values[t] for t in TARGETS]).all(axis=0).any():
        raise CorpusError(f"DEAM: song {song} has no frame with both valence and arousal")
    release = release_of(song)
    return Track(
        id=str(song),
        audio_path=audio_path,
        times_s=times_s,
        valence=values["valence"],
        arousal=values["arousal"],
        group=" ".join(metadata.get("artist", "").split()).casefold() or f"song {song}",
        split="test" if release == "2015" else "train",
        text={**metadata, "release": release},
        static=static.get(song),
        duration_s=None if release == "2015" else EXCERPT_S,
    )


def _note_counts(songs: list[int], static: dict[int, np.ndarray], findings: Findings) -> None:
    """Note fewer or more songs than published, and songs without a song-level rating."""
    count = {part: sum(release_of(s) == part for s in songs) for part in SONGS}
    if count != SONGS:
        parts = ", ".join(f"{count[part]} of {SONGS[part]} of {part}" for part in SONGS)
        published = sum(SONGS.values())
        message = f"{len(songs)} annotated songs, {published} were published: {parts}"
        findings.note("valence.csv, arousal.csv", "", message)
    unrated = [s for s in songs if s not in static]
    if unrated:
        findings.note(
            "static annotations", "", f"{len(unrated)} of {len(songs)} songs have no rating"
        )


def _audio_files(root: Path, files: list[Path], findings: Findings) -> dict[int, Path]:
    """Song -> audio. Where a folder MEMD_audio exists, only its files count."""
    numbered = [
        path
        for path in files
        if path.suffix.lower() in AUDIO_SUFFIXES and re.fullmatch(r"\d+", path.stem, re.ASCII)
    ]
    candidates = [p for p in numbered if p.parent.name.lower() == "memd_audio"] or numbered
    audio: dict[int, Path] = {}
    for path in sorted(candidates, key=lambda p: (AUDIO_SUFFIXES.index(p.suffix.lower()), p)):
        song = int(path.stem)
        if audio.setdefault(song, path) != path:
            other, taken = (p.relative_to(root).as_posix() for p in (path, audio[song]))
            findings.note(other, str(song), f"{taken} is taken instead")
    return audio


def _read_metadata(paths: list[Path], findings: Findings) -> dict[int, dict[str, str]]:
    """Song -> artist, title and genre. Cells carry stray tabs; later columns are shifted."""
    metadata: dict[int, dict[str, str]] = {}
    for path in paths:
        with findings.about(path.name):
            rows = csv.reader(io.StringIO(read_text(path, findings), newline=""))
            try:
                header = [cell.strip().lower() for cell in next(rows, [])]
                for row in rows:
                    # Unnamed columns of tags follow the named ones; they all share the key "".
                    cells = dict(zip(header, (c.strip(' \t"') for c in row), strict=False))
                    if re.fullmatch(r"\d+", cells.get("song_id", ""), re.ASCII):
                        metadata[int(cells["song_id"])] = {
                            k: cells[k]
                            for k in ("artist", "title", "genre")
                            if cells.get(k, "").lower() not in ("", "n/a")
                        }
            except csv.Error as error:
                raise CorpusError(
                    f"{path.name}, line {rows.line_num}: not a CSV table ({error})", path.name
                ) from error
    return metadata

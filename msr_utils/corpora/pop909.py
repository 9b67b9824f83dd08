"""POP909: 909 pop songs arranged for piano, as notes without labels.

Wang, Chen, Jiang, Zhang, Xu, Dai, Bin and Xia (2020), "POP909: a pop-song dataset for music
arrangement generation", ISMIR.

``POP909/001/001.mid``
    Tracks MELODY, BRIDGE (further melodies) and PIANO (accompaniment).
"""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np

from msr_utils.corpora.base import UNLABELLED, Card, Corpus, CorpusError, Track
from msr_utils.corpora.checks import walk
from msr_utils.corpora.findings import Findings

SONGS = 909
"""Number of songs as published."""

CARD = Card(
    title="POP909",
    source="https://github.com/music-x-lab/POP909-Dataset",
    licence="MIT",
    citation="Wang, Chen, Jiang, Zhang, Xu, Dai, Bin and Xia (2020), POP909: a pop-song dataset "
    "for music arrangement generation, ISMIR",
    notes=(
        "909 songs, each arranged for piano by professional musicians; no labels of emotion",
        "melody, further melodies and accompaniment are read together",
        "groups are songs: which of them are by one artist is not read",
    ),
)


def load_pop909(data_dir: Path, findings: Findings | None = None) -> Corpus:
    """Load the songs of POP909. Other versions of a song, in ``versions``, are left out.

    Parameters
    ----------
    data_dir : Path
        Where the archive was unpacked, in any arrangement of its folders.
    findings : Findings, optional
        Where notes go.

    Raises
    ------
    CorpusError
        If there is no song.
    """
    findings = Findings() if findings is None else findings
    root = Path(data_dir)
    songs = {
        path.stem: path
        for path in walk(root)
        if re.fullmatch(r"\d{3}\.mid", path.name) and path.parent.name == path.stem
    }
    if not songs:
        raise CorpusError(f"POP909: no song such as 001/001.mid found under {root}")
    if len(songs) != SONGS:
        findings.note("", "", f"{len(songs)} songs, {SONGS} were published")
    none = np.empty(0, np.float32)
    tracks = [
        Track(
            id=name,
            audio_path=root / "audio" / f"{name}.flac",
            times_s=np.empty(0),
            valence=none,
            arousal=none,
            group=name,
            midi_path=path,
        )
        for name, path in sorted(songs.items())
    ]
    return Corpus(
        name="pop909",
        tracks=tracks,
        card=CARD,
        index_files=[songs[track.id] for track in tracks],
        labels=UNLABELLED,
        has_audio=False,
    )

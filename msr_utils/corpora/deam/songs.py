"""Songs of DEAM: parts of the release, lengths, card, files."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np

from msr_utils.corpora.base import Card, CorpusError
from msr_utils.corpora.checks import walk

RELEASES = {"2013": 1000, "2014": 2000, "2015": np.inf}
"""Last song id of each part. 2015 contains the full songs of the MediaEval test set."""

SONGS = {"2013": 744, "2014": 1000, "2015": 58}
"""Number of annotated songs of each part as published."""

EXCERPT_S = 45.0
"""Length of the excerpts of 2013 and 2014; the songs of 2015 are whole."""

CARD = Card(
    title="DEAM, the MediaEval Database for Emotional Analysis of Music",
    source="https://cvml.unige.ch/databases/DEAM/",
    licence="audio under Creative Commons licences, annotations for research",
    citation="Aljanaki, Yang and Soleymani (2017), PLoS ONE 12(3)",
    notes=(
        "1802 songs: 744 (2013) and 1000 (2014) excerpts of 45 s, and 58 full songs (2015)",
        "annotations start at 15.0 s: the audio before is context without labels",
        "the song-level ratings of 2013 are released with valence and arousal exchanged; the "
        "loader corrects this",
    ),
)


def release_of(song: int) -> str:
    """Part of the release that a song belongs to."""
    return next(release for release, last in RELEASES.items() if song <= last)


def corpus_files(root: Path) -> list[Path]:
    """Files under a folder, without those of single raters."""
    return [p for p in walk(root) if "per each rater" not in str(p.relative_to(root).parent)]


def song_id(text: str, file: str, line: int) -> int:
    """Parse a cell of a column ``song_id``; raises `CorpusError`."""
    if not re.fullmatch(r"\d+", text, re.ASCII):
        raise CorpusError(
            f"{file}, line {line}: song_id is {text!r}, not a whole number", file, "song_id"
        )
    return int(text)

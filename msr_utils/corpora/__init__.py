"""Corpora: one loader each, all of which return a `Corpus` of `Track`."""

from __future__ import annotations

from pathlib import Path

from msr_utils.corpora.base import (
    Card,
    Corpus,
    CorpusError,
    Track,
)
from msr_utils.corpora.deam.loader import load_deam
from msr_utils.corpora.emopia import load_emopia
from msr_utils.corpora.emotify import load_emotify
from msr_utils.corpora.findings import Findings
from msr_utils.corpora.folder.loader import load_folder
from msr_utils.corpora.merp import load_merp
from msr_utils.corpora.pmemo import load_pmemo
from msr_utils.corpora.pop909 import load_pop909
from msr_utils.corpora.synthetic.config import SyntheticConfig
from msr_utils.corpora.synthetic.render import cached_corpus
from msr_utils.paths import CACHE_DIR, PROJECT_ROOT

CORPORA = ("synthetic", "deam", "emotify", "merp", "emopia", "pop909", "pmemo", "folder")
"""Names that `load_corpus` knows."""

SYNTHETIC_CARD = Card(
    title="Synthetic corpus",
    source="rendered by msr_utils.corpora.synthetic",
    licence="MIT, like this project",
    citation="this project",
    notes=(
        "neither the music nor the ratings come from people: scores show whether the study "
        "works, and nothing about real music",
    ),
)


def load_corpus(
    name: str,
    data_dir: str | Path = "",
    cache_dir: str | Path = CACHE_DIR,
    synthetic_tracks: int = SyntheticConfig.n_tracks,
    findings: Findings | None = None,
    need_audio: bool = True,
    as_released: bool = False,
) -> Corpus:
    """Load a corpus by name.

    Parameters
    ----------
    name : str
        One of `CORPORA`.
    data_dir : path
        Folder of the data; not used by ``synthetic``.
    cache_dir : path
        Folder in which ``synthetic`` keeps rendered audio.
    synthetic_tracks : int >= 6
        Number of tracks of the synthetic corpus; two or more per group.
    findings : Findings, optional
        Where notes go. With ``collect``, errors go there too.
    need_audio : bool
        False: annotated songs of DEAM without an audio file are included, to look at labels.
    as_released : bool
        True: song-level ratings of DEAM with their columns as in the files, swapped or not.

    Raises
    ------
    CorpusError
        If the name is unknown, no folder is given, or the files are damaged.
    """
    if name not in CORPORA:
        raise CorpusError(
            f"corpus: unknown name {name!r}; known: {', '.join(CORPORA)}", field="corpus"
        )
    if name == "synthetic":
        return _load_synthetic(synthetic_tracks, Path(cache_dir), findings)
    if not str(data_dir):
        raise CorpusError(
            f"data_dir: corpus {name!r} needs the folder of its data", field="data_dir"
        )
    # A relative path has the same meaning in a notebook, wherever its kernel runs.
    root = PROJECT_ROOT / data_dir
    if not root.is_dir():
        raise CorpusError(f"data_dir: no folder {data_dir}", field="data_dir")
    if name == "deam":
        return load_deam(root, findings, need_audio, as_released)
    if name == "emotify":
        return load_emotify(root, findings)
    if name == "merp":
        return load_merp(root, findings)
    if name == "emopia":
        return load_emopia(root, findings)
    if name == "pop909":
        return load_pop909(root, findings)
    if name == "pmemo":
        return load_pmemo(root, findings)
    return load_folder(root, findings=findings)


def _load_synthetic(tracks: int, cache_dir: Path, findings: Findings | None) -> Corpus:
    """Render the synthetic corpus, or take it from the cache."""
    if tracks < 6:
        raise CorpusError(
            f"synthetic_tracks: must be at least 6, not {tracks}", field="synthetic_tracks"
        )
    groups = min(SyntheticConfig.n_groups, tracks // 2)
    config = SyntheticConfig(n_tracks=tracks, n_groups=groups)
    folder = cached_corpus(config, cache_dir)
    return load_folder(folder, name="synthetic", card=SYNTHETIC_CARD, findings=findings)


__all__ = [
    "CACHE_DIR",
    "CORPORA",
    "Card",
    "Corpus",
    "CorpusError",
    "Findings",
    "Track",
    "load_corpus",
]

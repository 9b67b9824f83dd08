"""One module per corpus behind one `Corpus` and one `Track`."""

from __future__ import annotations

from pathlib import Path

from msr_utils.corpora.base import (
    Card,
    Corpus,
    CorpusError,
    Findings,
    Track,
)
from msr_utils.corpora.deam import load_deam
from msr_utils.corpora.emotify import load_emotify
from msr_utils.corpora.folder import load_folder
from msr_utils.corpora.merp import load_merp
from msr_utils.corpora.synthetic import SyntheticConfig, cached_corpus
from msr_utils.paths import CACHE_DIR, PROJECT_ROOT

CORPORA = ("synthetic", "deam", "emotify", "merp", "folder")
"""Names that `load_corpus` knows."""

SYNTHETIC_CARD = Card(
    title="Synthetic corpus",
    source="rendered by msr_utils.corpora.synthetic",
    licence="MIT, like this project",
    citation="this project",
    notes=(
        "not music that anyone composed, not ratings that anyone gave: scores here say "
        "whether the study works, nothing about real music",
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
        Where the corpus lies; not used by ``synthetic``.
    cache_dir : path
        Where ``synthetic`` keeps what it rendered.
    synthetic_tracks : int >= 6
        Tracks of the synthetic corpus; two or more to a group.
    findings : Findings, optional
        Where the loader notes oddities; with ``collect``, errors too.
    need_audio : bool
        False: songs of DEAM whose audio is not at hand are there, too, for a look at the
        labels.
    as_released : bool
        True: song-level ratings of DEAM with their columns as in the files, swapped or not.

    Raises
    ------
    CorpusError
        If the name is unknown, no folder is given, or the files are not right.
    """
    if name not in CORPORA:
        raise CorpusError(f"corpus: unknown name {name!r}; known: {', '.join(CORPORA)}")
    if name == "synthetic":
        if synthetic_tracks < 6:
            raise CorpusError(f"synthetic_tracks: must be at least 6, not {synthetic_tracks}")
        groups = min(SyntheticConfig.n_groups, synthetic_tracks // 2)
        config = SyntheticConfig(n_tracks=synthetic_tracks, n_groups=groups)
        folder = cached_corpus(config, Path(cache_dir))
        return load_folder(folder, name="synthetic", card=SYNTHETIC_CARD, findings=findings)
    if not str(data_dir):
        raise CorpusError(f"data_dir: corpus {name!r} needs the folder of its data")
    # A relative path means the same in a notebook, wherever its kernel runs.
    root = PROJECT_ROOT / data_dir
    if not root.is_dir():
        raise CorpusError(f"data_dir: no folder {data_dir}")
    loaders = {"emotify": load_emotify, "merp": load_merp, "folder": load_folder}
    if name == "deam":
        return load_deam(root, findings, need_audio, as_released)
    return loaders[name](root, findings=findings)


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

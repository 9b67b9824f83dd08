"""Check a corpus: every file present, decodable and as long as stated, every label joined and sane."""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from tqdm import tqdm

from msr_utils.audio.container import AudioFacts, inspect
from msr_utils.audio.source import AudioError
from msr_utils.constants import FRAME_SECONDS
from msr_utils.corpora import load_corpus
from msr_utils.corpora.base import (
    Corpus,
    CorpusError,
    Finding,
    Findings,
    Track,
)
from msr_utils.corpora.folder import reading

LENGTH_TOLERANCE_S = 0.5
"""How much shorter than stated audio may be: encoders drop or add up to a few frames."""

STATED_TOLERANCE = 0.02
"""Share of a file that its decoder may fall short of its header: MP3 headers are estimates."""

SILENCE = 1e-4
"""Peaks below are silence, -80 dB: lossy codecs make of zeros what is not quite zero."""

SIGNS = {
    "folder": "tracks.csv",
    "emotify": "data.csv",
    "merp": "*annotations*.parquet",
    "deam": "*dynamic*/arousal.csv",
}
"""Files by which a corpus is recognised, in the folder that holds them."""


@dataclass(frozen=True)
class Validation:
    """What `validate` found.

    Parameters
    ----------
    corpus : str
    tracks : int
        Tracks that could be read, with audio.
    without_audio : int
        Annotated tracks whose audio is not here, which is no damage.
    hours : float
        Of decoded audio.
    findings : tuple of Finding
    """

    corpus: str
    tracks: int
    without_audio: int
    hours: float
    findings: tuple[Finding, ...]

    @property
    def ok(self) -> bool:
        """True if nothing is damaged; notes do not count."""
        return not any(f.level == "error" for f in self.findings)

    def table(self) -> pd.DataFrame:
        """One row a finding: level, file, subject, message; errors first."""
        rows = pd.DataFrame(
            [asdict(f) for f in self.findings], columns=["level", "file", "subject", "message"]
        )
        return rows.sort_values(["level", "file", "subject"], kind="stable", ignore_index=True)


def validate(data_dir: str | Path, corpus: str = "", progress: bool = True) -> Validation:
    """Read a corpus as a study would, decode all its audio, and collect what is wrong.

    Parameters
    ----------
    data_dir : path
    corpus : str, optional
        Name of its loader; recognised from its files by default.
    progress : bool
        Show a bar.

    Raises
    ------
    CorpusError
        If there is no such folder, it holds none of the known corpora or several, or the corpus
        has no folder.
    """
    if corpus == "synthetic":
        raise CorpusError("synthetic has no folder to verify")
    root = Path(data_dir).absolute()
    with reading(str(data_dir)):
        if not root.is_dir():
            raise CorpusError(f"no folder {data_dir}")
        corpus = corpus or identify(root)
    findings = Findings(collect=True)
    loaded: Corpus | None = None
    with findings.about("", ""), reading():
        loaded = load_corpus(corpus, root, findings=findings)
    if loaded is None:
        return Validation(corpus, 0, 0, 0.0, tuple(findings))
    seconds = 0.0
    # libsndfile decodes outside Python's lock: threads are enough.
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        facts = pool.map(_inspect, loaded.tracks)
        bar = tqdm(facts, "decoding", len(loaded.tracks), unit="track", disable=not progress)
        for track, fact in zip(loaded.tracks, bar, strict=True):
            file = os.path.relpath(track.audio_path, root)
            if isinstance(fact, str):
                findings.append(Finding("error", file, track.id, fact))
                continue
            seconds += fact.seconds
            findings += [
                Finding(level, file, track.id, text) for level, text in _compare(track, fact)
            ]
    if loaded.without_audio:
        findings.note(
            "", "", f"{loaded.without_audio} annotated tracks have no audio here: they are left out"
        )
    return Validation(
        loaded.name, len(loaded.tracks), loaded.without_audio, seconds / 3600, tuple(findings)
    )


def identify(root: Path) -> str:
    """Tell by its files which corpus a folder holds: at its root, else up to three levels down.

    Raises
    ------
    CorpusError
        If it is none, or several in sub-folders; the message says what is looked for.
    """
    for name, pattern in SIGNS.items():
        if next(root.glob(pattern), None):
            return name
    found = {
        (path.relative_to(root).parts[0], name)
        for name, pattern in SIGNS.items()
        for level in ("*/", "*/*/", "*/*/*/")
        for path in root.glob(level + pattern)
    }
    names = {name for _, name in found}
    folders = ", ".join(f"{folder} ({name})" for folder, name in sorted(found))
    if len(names) > 1:
        raise CorpusError(f"{root.name} holds several corpora: verify one of {folders}")
    if names and names != {"folder"}:
        return names.pop()
    looked = "; ".join(f"{pattern} ({name})" for name, pattern in SIGNS.items())
    below = f"; verify what lies in it: {folders}" if found else ""
    raise CorpusError(f"{root.name}: none of the known corpora; looked for {looked}{below}")


def _inspect(track: Track) -> AudioFacts | str:
    try:
        return inspect(track.audio_path)
    except AudioError as error:
        return str(error)
    except OSError as error:
        return f"cannot be read ({error.strerror or error})"


def _compare(track: Track, audio: AudioFacts) -> list[tuple[str, str]]:
    """Level and message of everything in which a track's audio and labels disagree."""
    found = []
    lasts, stated = f"lasts {audio.seconds:.1f} s", track.duration_s
    cut_short = audio.seconds < audio.stated_seconds * (1 - STATED_TOLERANCE) - LENGTH_TOLERANCE_S
    if audio.damage:
        found.append(("error", f"{lasts}; {audio.damage}"))
    elif cut_short:
        whole = f"its header states {audio.stated_seconds:.1f} s"
        found.append(("error", f"{lasts}, {whole}: the file is cut short"))
    elif stated and audio.seconds < stated - LENGTH_TOLERANCE_S:
        why = "the file is cut short or another one"
        found.append(("error", f"{lasts}, the corpus states {stated:.1f} s: {why}"))
    elif stated and audio.seconds > stated + 2 * LENGTH_TOLERANCE_S:
        found.append(("note", f"{lasts}, the corpus states {stated:.1f} s"))
    if audio.peak < SILENCE:
        found.append(("error", "is silent from beginning to end"))
    past = track.times_s > audio.seconds + LENGTH_TOLERANCE_S
    if past.any() and not (cut_short or audio.damage):
        last = f"the last at {track.times_s[-1]:.1f} s"
        found.append(("error", f"{lasts}, but {past.sum()} annotations lie past its end, {last}"))
    if len(track.times_s) and track.times_s[-1] < audio.seconds / 2:
        found.append(("note", f"{lasts}, but the last annotation is at {track.times_s[-1]:.1f} s"))
    zero = (track.valence == 0) & (track.arousal == 0)
    ending = int(np.argmin(zero[::-1])) if len(zero) else 0
    if ending > 1:
        found.append(
            ("note", f"its last {ending} frames are exactly 0 in both: a default, perhaps")
        )
    missing = ~track.mask
    if missing.any():
        gap_s = _longest_run(missing) * FRAME_SECONDS
        found.append(
            ("note", f"{missing.sum()} of {len(missing)} annotated frames lack a value, the longest "
             f"gap is {gap_s:g} s: they count neither in the loss nor in a metric")
        )  # fmt: skip
    return found


def _longest_run(flags: np.ndarray) -> int:
    edges = np.flatnonzero(np.diff(np.concatenate([[0], flags.astype(int), [0]])))
    return int(np.max(edges[1::2] - edges[::2], initial=0))

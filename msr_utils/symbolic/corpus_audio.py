"""Turn a corpus of notes into a folder corpus with audio; its labels come along.

``audio/<track>.flac``
    The sound. A comment in the file says which notes and which renderer it is of, so that a second
    call renders only what is missing or has changed.
``midi/<track>.mid``, ``midi.csv``
    The notes.
``tracks.csv`` and, where the source has them, ``annotations.csv``, ``ratings.csv``, ``raters.csv``
    Groups, split, quadrants and curves, see `msr_utils.corpora.folder`.
``card.yml``
    Source and terms of the notes, and the renderer.
"""

from __future__ import annotations

import hashlib
import re
import shutil
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import asdict, dataclass
from functools import partial
from multiprocessing import get_context
from pathlib import Path

import numpy as np
import pandas as pd
import soundfile
import yaml
from threadpoolctl import threadpool_limits

from msr_utils.corpora import load_corpus
from msr_utils.corpora.base import UNLABELLED, Card, Corpus, CorpusError, Track
from msr_utils.corpora.midi import MIDI_SUFFIXES, read_midi
from msr_utils.corpora.verify import identify
from msr_utils.io import atomic_path, sha256_text, write_text
from msr_utils.symbolic.fluidsynth import FluidSynthError
from msr_utils.symbolic.rendering import AUTO, choose_renderer, render_notes, renderer_identity
from msr_utils.symbolic.synthesizer import SAMPLE_RATE

RENDERED, KEPT, FAILED, WITHOUT_NOTES = "rendered", "kept", "failed", "without notes"
STATES = (RENDERED, KEPT, FAILED, WITHOUT_NOTES)
"""What became of a track."""

MARK = "rendered by msr"
"""First words of the comment of our files, and of a note of the card."""

COPIED_TABLES = ("ratings.csv", "raters.csv")


@dataclass(frozen=True)
class Rendered:
    """What became of one track.

    Parameters
    ----------
    track_id : str
    state : str
        One of `STATES`.
    seconds : float
        Of audio; 0 where there is none.
    reason : str
        Why there is none.
    """

    track_id: str
    state: str
    seconds: float = 0.0
    reason: str = ""


def read_source(folder: Path, corpus: str = "") -> Corpus:
    """A corpus with notes, or a plain folder of MIDI files as one without labels.

    Parameters
    ----------
    folder : Path
    corpus : str
        Name of the loader; empty: it is recognised from the files.

    Raises
    ------
    CorpusError
        If the folder is missing, damaged or holds no notes.
    """
    root = Path(folder).absolute()
    if not root.is_dir():
        raise CorpusError(f"no folder {folder}", field="source")
    if not corpus:
        try:
            corpus = identify(root)
        except CorpusError:
            return _midi_folder(root)
    found = load_corpus(corpus, root)
    if all(track.midi_path is None for track in found.tracks):
        raise CorpusError(
            f"{root.name}: this corpus has no notes; give EMOPIA, POP909, a folder corpus with "
            "midi.csv, or a folder of MIDI files",
            field="source",
        )
    return found


def _midi_folder(root: Path) -> Corpus:
    """All MIDI files below a folder, in groups by their folders."""
    files = sorted(p for p in root.rglob("*") if p.suffix.lower() in MIDI_SUFFIXES and p.is_file())
    if not files:
        raise CorpusError(
            f"{root.name}: neither a known corpus nor a folder with .mid files", field="source"
        )
    none = np.empty(0, np.float32)
    tracks = []
    for path in files:
        name = path.relative_to(root).with_suffix("").as_posix()
        folder, _, _ = name.rpartition("/")
        tracks.append(
            Track(name, path, np.empty(0), none, none, group=folder or name, midi_path=path)
        )
    card = Card(root.name, "a folder of MIDI files", "as its owner states", "")
    return Corpus(root.name, tracks, card, files, labels=UNLABELLED, has_audio=False)


def render_corpus(
    corpus: Corpus,
    folder: Path,
    renderer: str = AUTO,
    jobs: int = 1,
    sample_rate: int = SAMPLE_RATE,
    progress: Callable[[Iterable[Rendered], int], Iterable[Rendered]] | None = None,
) -> list[Rendered]:
    """Render all notes of a corpus and write the tables.

    What is there already is not rendered again. Tracks that fail are left out of the tables.

    Parameters
    ----------
    corpus : Corpus
        From `read_source`.
    folder : Path
        New, or of an earlier call.
    renderer : str
        One of `msr_utils.symbolic.rendering.RENDERERS`, or "auto".
    jobs : int >= 1
        Processes.
    sample_rate : int
        In Hz.
    progress : function, optional
        Wraps the results as they come, given their number.

    Returns
    -------
    list of Rendered
        In the order of the tracks.

    Raises
    ------
    CorpusError
        If the folder holds other data.
    FluidSynthError
        If FluidSynth is asked for and not installed.
    ValueError
        If there is no such renderer, or the sample rate is out of range.
    """
    folder = Path(folder).absolute()
    _refuse_other_data(corpus, folder)
    renderer = choose_renderer(renderer)
    key = f"{renderer_identity(renderer)}, {sample_rate} Hz"
    names = file_names([track.id for track in corpus.tracks])
    tasks = [
        _Task(track.id, track.midi_path, folder, names[track.id], renderer, sample_rate, key)
        for track in corpus.tracks
        if track.midi_path is not None
    ]
    # First, so that an interrupted folder is known as ours.
    write_text(folder / "card.yml", _card(corpus.card, renderer_identity(renderer)))
    results = _run(tasks, jobs)
    done = {r.track_id: r for r in (progress(results, len(tasks)) if progress else results)}
    outcomes = [
        done.get(t.id, Rendered(t.id, WITHOUT_NOTES, reason="has no notes")) for t in corpus.tracks
    ]
    _write_tables(corpus, folder, names, {r.track_id: r for r in outcomes if r.seconds})
    return outcomes


def file_names(track_ids: Iterable[str]) -> dict[str, str]:
    """A file name without suffix for each track, different also where case does not count."""
    names: dict[str, str] = {}
    used: set[str] = set()
    for track_id in track_ids:
        name = re.sub(r"[^\w.-]+", "_", track_id).strip(".")[:80]
        if name != track_id or name.casefold() in used:
            name = f"{name}-{sha256_text(track_id)[:8]}"
        used.add(name.casefold())
        names[track_id] = name
    return names


@dataclass(frozen=True)
class _Task:
    """Notes to be rendered."""

    track_id: str
    midi: Path
    folder: Path
    name: str
    renderer: str
    sample_rate: int
    key: str


def _run(tasks: list[_Task], jobs: int) -> Iterator[Rendered]:
    if jobs == 1:
        yield from map(_render, tasks)
        return
    # Fresh processes: a fork would copy threads of libraries in an unknown state.
    with ProcessPoolExecutor(min(jobs, max(len(tasks), 1)), get_context("spawn")) as pool:
        waiting = [pool.submit(partial(_render, task)) for task in tasks]
        try:
            for done in as_completed(waiting):
                yield done.result()
        finally:
            for one in waiting:
                one.cancel()


def _render(task: _Task) -> Rendered:
    """Render one piece, unless its file is there."""
    try:
        content = task.midi.read_bytes()
        digest = hashlib.sha256(content).hexdigest()
        comment = f"{MARK}: notes {digest}; {task.key}"
        audio = task.folder / "audio" / f"{task.name}.flac"
        midi = task.folder / "midi" / f"{task.name}.mid"
        if not midi.is_file() or midi.read_bytes() != content:
            with atomic_path(midi) as temporary:
                temporary.write_bytes(content)
        if (seconds := _seconds_of(audio, comment)) is not None:
            return Rendered(task.track_id, KEPT, seconds)
        with threadpool_limits(1):
            sound = render_notes(read_midi(task.midi), task.renderer, task.sample_rate)
        with (
            atomic_path(audio) as temporary,
            soundfile.SoundFile(temporary, "w", task.sample_rate, 1, "PCM_16") as file,
        ):
            file.comment = comment
            file.write(sound)
    except (CorpusError, FluidSynthError) as error:
        return Rendered(task.track_id, FAILED, reason=str(error))
    return Rendered(task.track_id, RENDERED, len(sound) / task.sample_rate)


def _seconds_of(audio: Path, comment: str) -> float | None:
    """Length of a file that is what the comment says; None if it is not."""
    if not audio.is_file():
        return None
    try:
        with soundfile.SoundFile(audio) as file:
            return file.frames / file.samplerate if file.comment == comment else None
    except soundfile.SoundFileError:
        return None


def _refuse_other_data(corpus: Corpus, folder: Path) -> None:
    card = folder / "card.yml"
    ours = card.is_file() and MARK in card.read_text("utf-8", errors="replace")
    if folder.is_dir() and any(folder.iterdir()) and not ours:
        raise CorpusError(f"{folder.name}: holds other data; choose a new folder", field="out")
    for track in corpus.tracks:
        if track.midi_path is not None and track.midi_path.resolve().is_relative_to(
            folder.resolve()
        ):
            raise CorpusError(
                f"{folder.name}: the notes lie in this folder; choose a new one", field="out"
            )


def _card(card: Card, identity: str) -> str:
    content = asdict(card) | {"notes": [*card.notes, f"{MARK} from its notes; {identity}"]}
    return yaml.safe_dump(content, sort_keys=False, allow_unicode=True)


def _write_tables(
    corpus: Corpus, folder: Path, names: dict[str, str], rendered: dict[str, Rendered]
) -> None:
    tracks = [track for track in corpus.tracks if track.id in rendered]
    _write(
        folder / "tracks.csv",
        [
            {
                "track_id": track.id,
                "file": f"audio/{names[track.id]}.flac",
                "group": track.group,
                "split": track.split,
                **({"quadrant": track.quadrant} if corpus.labels == "quadrants" else {}),
                **{c: track.text.get(c, "") for c in ("title", "artist", "genre")},
                "duration_s": f"{rendered[track.id].seconds:.3f}",
            }
            for track in tracks
        ],
    )
    _write(
        folder / "midi.csv",
        [{"track_id": track.id, "file": f"midi/{names[track.id]}.mid"} for track in tracks],
    )
    if corpus.labels == "curves":
        _write(folder / "annotations.csv", [row for track in tracks for row in _curve(track)])
        kept = {track.id for track in tracks}
        for path in (p for p in corpus.index_files if p.name in COPIED_TABLES):
            _copy_rows(path, folder / path.name, kept)


def _curve(track: Track) -> Iterator[dict[str, object]]:
    for time_s, arousal, valence in zip(
        track.times_s.tolist(), track.arousal.tolist(), track.valence.tolist(), strict=True
    ):
        yield {"track_id": track.id, "time_s": time_s, "arousal": arousal, "valence": valence}


def _copy_rows(source: Path, target: Path, track_ids: set[str]) -> None:
    """Copy a table; rows of other tracks stay behind."""
    table = pd.read_csv(source, dtype=str, keep_default_na=False)
    if "track_id" not in table or set(table["track_id"]) <= track_ids:
        with atomic_path(target) as temporary:
            shutil.copyfile(source, temporary)
        return
    _write(target, table[table["track_id"].isin(track_ids)].to_dict("records"))


def _write(path: Path, rows: list[dict]) -> None:
    write_text(path, pd.DataFrame(rows).to_csv(index=False, lineterminator="\n"))

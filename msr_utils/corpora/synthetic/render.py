"""Render tracks of the synthetic corpus, and the corpus as a folder."""

from __future__ import annotations

import hashlib
import json
import tempfile
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import soundfile as sf
from tqdm import tqdm

from msr_utils.constants import SAMPLE_RATE, TARGETS
from msr_utils.corpora.synthetic.composition import (
    KEY_NAMES,
    RELATED_KEYS,
    Note,
    compose,
    draw_arcs,
    draw_composer,
)
from msr_utils.corpora.synthetic.config import SyntheticConfig, frame_ends
from msr_utils.corpora.synthetic.raters import DECIMALS, draw_rater, simulate_ratings
from msr_utils.corpora.synthetic.synthesis import synthesise
from msr_utils.notes import Notes, write_midi
from msr_utils.provenance.cache_keys import computed_by

FULL_VELOCITY_DB = -15.0
"""Level of a note that becomes velocity 127. Velocities follow the square law of General MIDI."""

MANIFEST = "corpus.json"
"""File of a complete corpus with its config and what rendered it."""


@dataclass(frozen=True, eq=False)
class SyntheticTrack:
    """One rendered track with ``T`` frames and ``R`` simulated raters.

    Target axes follow `msr_utils.constants.TARGETS`; row ``k`` describes the window that ends at
    ``(k + 1) / 2`` seconds.
    """

    track_id: str
    group: str
    title: str
    truth: np.ndarray  # (T, 2) arcs that the music was made from
    audio: np.ndarray  # (T * FRAME_SAMPLES,) float32
    ratings: np.ndarray  # (R, T, 2)
    notes: Notes


def render_track(config: SyntheticConfig, index: int) -> SyntheticTrack:
    """Render track number `index`, from 0; the result depends on nothing else."""
    if not 0 <= index < config.n_tracks:
        raise IndexError(f"index must be from 0 to {config.n_tracks - 1}, not {index}")
    rng = np.random.default_rng([config.seed, index])
    group = index % config.n_groups
    composer = draw_composer(config, group)
    key = (composer.key + int(rng.choice(RELATED_KEYS))) % 12
    truth = draw_arcs(config, index, rng)
    score, hits = compose(truth, composer, key, rng)
    audio = synthesise(score, hits, composer, len(truth), rng)
    raters = [draw_rater(config, number) for number in range(config.n_raters)]
    ratings = simulate_ratings(truth, raters, rng)
    return SyntheticTrack(
        track_id=f"syn{index + 1:03d}",
        group=f"composer{group + 1:02d}",
        title=f"Synthetic piece {index + 1} in {KEY_NAMES[key]} (rendered by code)",
        truth=truth.round(DECIMALS),
        audio=audio,
        ratings=ratings,
        notes=_as_midi(score),
    )


def _as_midi(score: list[Note]) -> Notes:
    """A score as MIDI has it: whole pitches, and velocities instead of levels."""
    start_s, pitch, length_s, level_db = (
        np.array([getattr(note, name) for note in score])
        for name in ("start_s", "pitch", "length_s", "level_db")
    )
    velocity = np.rint(127 * 10 ** ((level_db - FULL_VELOCITY_DB) / 40)).clip(1, 127)
    order = np.lexsort((pitch, start_s))
    return Notes(
        start_s[order],
        length_s[order],
        np.rint(pitch).astype(int)[order],
        velocity.astype(int)[order],
    )


def render_corpus(config: SyntheticConfig, destination: Path, progress: bool = True) -> Path:
    """Render the synthetic corpus as a folder at `destination`, or return at once if it is there.

    The folder appears complete or not at all, also when several processes render it at once. It
    holds ``tracks.csv``, ``annotations.csv`` (mean of the simulated raters), ``ratings.csv`` (each
    simulated rater), ``raters.csv`` (their profiles, repeated for every track they rated),
    ``truth.csv`` (the arcs, without lag or noise), ``audio/*.flac``, the notes without percussion
    (``midi/*.mid``, ``midi.csv``) and ``corpus.json``. Every
    ``time_s`` is the end in seconds of the 500 ms window that the row describes.

    Raises
    ------
    FileExistsError
        If `destination` holds anything else than this corpus.
    """
    destination = Path(destination)
    if destination.exists():
        if not _is_complete(config, destination):
            raise FileExistsError(f"{destination} exists and is not this synthetic corpus")
        return destination
    parent = destination.parent
    parent.mkdir(parents=True, exist_ok=True)
    # A sibling, because a rename is atomic only within one file system.
    with tempfile.TemporaryDirectory(prefix=f".{destination.name}-", dir=parent) as scratch:
        built = Path(scratch) / "corpus"
        _write_corpus(config, built, progress)
        try:
            built.rename(destination)
        except OSError:
            if not _is_complete(config, destination):  # else another process was faster
                raise
    return destination


def cached_corpus(config: SyntheticConfig, cache_dir: Path) -> Path:
    """Return the corpus of `config` below `cache_dir`, rendering it the first time."""
    identity = json.dumps(_manifest(config), sort_keys=True).encode()
    name = f"synthetic-{hashlib.sha256(identity).hexdigest()[:12]}"
    return render_corpus(config, Path(cache_dir) / name)


def _manifest(config: SyntheticConfig) -> dict:
    return {
        "name": "synthetic",
        "note": "Computer-rendered music with simulated raters; not real music.",
        "renderer": computed_by(_write_corpus),
        "config": asdict(config),
    }


def _is_complete(config: SyntheticConfig, folder: Path) -> bool:
    manifest = folder / MANIFEST
    return manifest.is_file() and json.loads(manifest.read_text()) == _manifest(config)


def _write_corpus(config: SyntheticConfig, folder: Path, progress: bool) -> None:
    for name in ("audio", "midi"):
        (folder / name).mkdir(parents=True)
    raters = pd.DataFrame([draw_rater(config, number) for number in range(config.n_raters)])
    raters.insert(0, "rater", [f"rater{number + 1:02d}" for number in range(config.n_raters)])
    tracks, truth, annotations, ratings = [], [], [], []
    for index in tqdm(range(config.n_tracks), "synthetic corpus", disable=not progress):
        track = render_track(config, index)
        file = f"audio/{track.track_id}.flac"
        sf.write(folder / file, track.audio, SAMPLE_RATE, subtype="PCM_16")
        write_midi(track.notes, folder / "midi" / f"{track.track_id}.mid")
        tracks.append((track.track_id, file, track.group, track.title, config.duration_s))
        truth.append(_long_table(track.truth, track_id=track.track_id))
        annotations.append(_long_table(track.ratings.mean(axis=0), track_id=track.track_id))
        ratings += [
            _long_table(rating, track_id=track.track_id, rater=rater)
            for rater, rating in zip(raters["rater"], track.ratings, strict=True)
        ]
    tables = {"truth": pd.concat(truth), "annotations": pd.concat(annotations)}
    tables["ratings"] = pd.concat(ratings)
    columns = ["track_id", "file", "group", "title", "duration_s"]
    tables["tracks"] = pd.DataFrame(tracks, columns=columns)
    names = tables["tracks"]["track_id"]
    tables["midi"] = pd.DataFrame({"track_id": names, "file": "midi/" + names + ".mid"})
    tables["raters"] = raters.merge(tables["tracks"][["track_id"]], how="cross")
    tables["raters"].insert(1, "track_id", tables["raters"].pop("track_id"))
    for name, table in tables.items():
        table.round(DECIMALS).to_csv(folder / f"{name}.csv", index=False)
    (folder / MANIFEST).write_text(json.dumps(_manifest(config), indent=2) + "\n")


def _long_table(affect: np.ndarray, **identity: str) -> pd.DataFrame:
    """Long table of one array of shape (T, 2)."""
    columns = dict(zip(TARGETS, affect.T, strict=True))
    order = {"arousal": columns["arousal"], "valence": columns["valence"]}
    return pd.DataFrame(identity | {"time_s": frame_ends(len(affect))} | order)

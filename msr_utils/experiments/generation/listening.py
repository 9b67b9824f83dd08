"""What is heard of pieces: they are rendered as sound, and only the sound goes on from here."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from tqdm import tqdm

from msr_utils.features.cache import with_running_stats
from msr_utils.features.extractor import FeatureExtractor
from msr_utils.inference.model import Model
from msr_utils.io import atomic_path, sha256_text
from msr_utils.notes import Notes
from msr_utils.paths import CACHE_DIR
from msr_utils.provenance.cache_keys import computed_by
from msr_utils.symbolic.rendering import OWN, render_notes, renderer_identity


@dataclass(frozen=True, eq=False)
class Heard:
    """Pieces as sound.

    Parameters
    ----------
    statistics : np.ndarray [shape=(N, 2 * D), dtype=float32]
        Mean and standard deviation of every feature over the frames of each piece.
    curves : list of np.ndarray [shape=(T, 2)]
        Valence and arousal every 500 ms, as a release model predicts them.
    """

    statistics: np.ndarray
    curves: list[np.ndarray]

    @property
    def mean_emotion(self) -> np.ndarray:
        """Mean valence and arousal of each piece, (N, 2)."""
        return np.stack([curve.mean(axis=0) for curve in self.curves])


def listen(pieces: Sequence[Notes], model: Model, progress: bool = True) -> Heard:
    """Render pieces with the project's own piano and hear them; kept, so a killed run goes on.

    Parameters
    ----------
    pieces : sequence of Notes
    model : Model
        A bundle: its features describe the sound, and it predicts the curves.
    progress : bool
    """
    code = computed_by(FeatureExtractor, with_running_stats)["code"]
    key = f"{model.features.hash} {model.card.model_sha256} {renderer_identity(OWN)} {code}"
    folder = CACHE_DIR / "heard" / sha256_text(key)[:16]
    rows, curves = [], []
    for notes in tqdm(pieces, "listening", disable=not progress):
        file = folder / f"{_name(notes)}.npz"
        if not file.is_file():
            row, curve = _hear(notes, model)
            with atomic_path(file) as temporary, open(temporary, "wb") as stream:
                np.savez(stream, row=row, curve=curve)
        with np.load(file) as stored:
            rows.append(stored["row"])
            curves.append(stored["curve"])
    return Heard(np.stack(rows), curves)


def _hear(notes: Notes, model: Model) -> tuple[np.ndarray, np.ndarray]:
    features = model.features
    samples = render_notes(notes, OWN, features.sample_rate)
    # What rings on after the last note says nothing.
    samples = samples[: max(int(notes.end_s * features.sample_rate), features.sample_rate)]
    frames = FeatureExtractor(features.without_running_stats()).push(samples)
    curve = model.run(with_running_stats(frames, features)[None])[0][0].clip(-1, 1)
    return np.concatenate([frames.mean(axis=0), frames.std(axis=0)]), curve


def _name(notes: Notes) -> str:
    digest = hashlib.sha256()
    for values in (notes.start_s, notes.length_s, notes.pitch, notes.velocity, notes.pedals_s):
        digest.update(np.ascontiguousarray(values, np.float64).tobytes())
    return digest.hexdigest()[:24]

"""Curves of the released models in cross-validation: no model was trained on a track's fold.

The folds, the loss weights and the models are those of `msr_utils.experiments.release`. A track's
interval comes from the other folds alone: each of them is predicted by a model that was trained
without it and without the track's fold.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from threadpoolctl import threadpool_limits

from msr_utils.constants import SCALE, TARGETS, TEMPO_BANDS
from msr_utils.corpora.base import Track
from msr_utils.dataset.sequences import align
from msr_utils.experiments.release.intervals import margin
from msr_utils.experiments.release.least_squares import LinearModel, LossWeights
from msr_utils.experiments.release.trainer import Trainer
from msr_utils.experiments.retrieval.index import IndexedTrack
from msr_utils.features.cache import cached_features, with_running_stats
from msr_utils.library.analysis import Embedding
from msr_utils.metrics.curves import Curve


@dataclass(frozen=True)
class HeldOutTrack:
    """A track and what a model that was not trained on its fold predicts.

    Parameters
    ----------
    track : Track
    fold : int
        That tests it.
    curve : np.ndarray [shape=(T, 2), dtype=float32]
        Predicted (valence, arousal) of each half second.
    half_widths : dict of str to float
        Half-width of the interval of each target.
    embedding : np.ndarray [shape=(D,), dtype=float16]
        As the library makes it.
    loudness : np.ndarray [shape=(T,), dtype=float32]
        Short-term loudness of each half second, LUFS.
    tempo_band : int
        The strongest band of the mean tempogram, 0 (slow) to `TEMPO_BANDS` - 1.
    """

    track: Track
    fold: int
    curve: np.ndarray
    half_widths: dict[str, float]
    embedding: np.ndarray
    loudness: np.ndarray
    tempo_band: int

    def indexed(self, curve: np.ndarray | None = None) -> IndexedTrack:
        """As the library indexes it, with its own curve or another one, (T, 2)."""
        track = self.track
        return IndexedTrack(
            artist_of(track),
            track.text.get("title", ""),
            self.curve if curve is None else curve,
            self.half_widths,
            self.embedding,
        )


def artist_of(track: Track) -> str:
    """Artist of a track, or what groups it otherwise."""
    return track.text.get("artist") or track.group


def held_out_tracks(trainer: Trainer) -> dict[str, list[HeldOutTrack]]:
    """Predict the tested tracks of all corpora, each without its fold.

    Returns
    -------
    dict of corpus to list of HeldOutTrack
    """
    folds = range(trainer.folds)
    losses = trainer.inner_losses()
    weights = [trainer.choose_weights(losses, (k,)) for k in folds]
    models = [trainer.fit(weights[k], (k,)) for k in folds]
    half_widths = [_half_widths(trainer, weights[k], k) for k in folds]
    with threadpool_limits(1, user_api="blas"):
        return {
            title: [
                _held_out(trainer, data.corpus.tracks[i], int(data.fold[i]), models, half_widths)
                for i in data.tested
            ]
            for title, data in trainer.data.items()
        }


def _half_widths(trainer: Trainer, weights: LossWeights, fold: int) -> dict[str, float]:
    """Half-widths that the other folds' curves give, without any model that has seen the fold."""
    curves: dict[str, list[Curve]] = {target: [] for target in TARGETS}
    for other in range(trainer.folds):
        if other == fold:
            continue
        model = trainer.fit(weights, (fold, other))
        for title in trainer.curve_corpora:
            data = trainer.data[title]
            for i in np.flatnonzero(data.fold == other):
                # Rows of training: labelled frames, 4 s apart.
                predicted = np.clip(model(data.rows[i]), *SCALE)
                for k, target in enumerate(TARGETS):
                    times = np.arange(len(predicted), dtype=float)
                    curves[target].append(Curve(times, data.labels[i][:, k], predicted[:, k]))
    return {target: margin(of_target) for target, of_target in curves.items()}


def _held_out(
    trainer: Trainer,
    track: Track,
    fold: int,
    models: Sequence[LinearModel],
    half_widths: Sequence[dict[str, float]],
) -> HeldOutTrack:
    config = trainer.features.without_running_stats()
    frames = cached_features(track.audio_path, config, trainer.cache_dir)
    features = with_running_stats(frames, trainer.features)
    embedding = Embedding(trainer.features)
    embedding.add(features)
    tempi = frames[:, config.columns(["tempogram"])[:TEMPO_BANDS]].mean(axis=0)
    return HeldOutTrack(
        track,
        fold,
        np.clip(models[fold](features), *SCALE).astype(np.float32),
        half_widths[fold],
        embedding.mean(),
        frames[:, config.columns(["loudness"])[-1]],
        int(tempi.argmax()),
    )


def rated_frames(track: Track, frames: int) -> tuple[np.ndarray, np.ndarray]:
    """Frames of a track that have a label, and the labels.

    Parameters
    ----------
    track : Track
    frames : int
        Of its audio.

    Returns
    -------
    index : np.ndarray [shape=(n,), dtype=int]
    labels : np.ndarray [shape=(n, 2)]
    """
    sequence = align(track, np.zeros((frames, 0), np.float32))
    index = np.flatnonzero(sequence.mask)
    return index, sequence.labels[index]

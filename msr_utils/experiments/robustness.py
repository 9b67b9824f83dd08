"""How a bundle's curves change when a recording is altered as recordings are."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pandas as pd

from msr_utils.constants import FRAME_SECONDS, TARGETS
from msr_utils.corpora.base import Corpus, CorpusError, Track
from msr_utils.dataset.augmentation import AugmentConfig, relabelled
from msr_utils.dataset.augmented import copies_of
from msr_utils.dataset.sequences import Sequence2Hz, align, build_sequences
from msr_utils.experiments.occlusion import compare_curves, predict_curve
from msr_utils.inference.model import Model
from msr_utils.metrics.bootstrap import N_BOOT, SEED, draw_units
from msr_utils.metrics.estimate import Estimate, Spread
from msr_utils.metrics.scores import score
from msr_utils.paths import CACHE_DIR

ALTERATIONS: dict[str, AugmentConfig] = {
    "level +12 dB": AugmentConfig("gain", gain_db=(12, 12)),
    "level -12 dB": AugmentConfig("gain", gain_db=(-12, -12)),
    "MP3 at 32 kbit/s": AugmentConfig("codec", codec_kbps=(32, 32)),
    "noise at 20 dB SNR": AugmentConfig("noise", noise_snr_db=(20, 20)),
    "2 semitones up": AugmentConfig("pitch", pitch_semitones=(2, 2)),
    "2 semitones down": AugmentConfig("pitch", pitch_semitones=(-2, -2)),
    "10 % faster": AugmentConfig("stretch", stretch_rate=(1.1, 1.1)),
    "10 % slower": AugmentConfig("stretch", stretch_rate=(0.9, 0.9)),
}
"""Alterations of a recording; only the noise is random. Level, coding and noise should change
nothing. Pitch and tempo are musical cues, and listeners too would respond a little differently."""


@dataclass(frozen=True)
class AlterationEffect:
    """How an alteration changes the curves of one target.

    Parameters
    ----------
    alteration, target : str
    songs : int
    change : float
        Mean absolute difference over frames.
    shift : float
        Mean difference over frames.
    r : float
        Between the curves, pooled over frames.
    within_r : float
        Mean of r over pieces.
    rmse_before, rmse_after : float
        To the labels.
    rmse_change : Estimate
    """

    alteration: str
    target: str
    songs: int
    change: float
    shift: float
    r: float
    within_r: float
    rmse_before: float
    rmse_after: float
    rmse_change: Estimate


@dataclass(frozen=True)
class _ErrorChange:
    """RMSE of one target before and after an alteration, see `AlterationEffect`."""

    rmse_before: float
    rmse_after: float
    rmse_change: Estimate


@dataclass(frozen=True)
class _AlteredTrack:
    """A track's curves before and after an alteration.

    Parameters
    ----------
    before, after : np.ndarray [shape=(T, 2)]
        At frames that come from the same place in the recording.
    error_sums : np.ndarray [shape=(5,)]
        Rated frames, then the sums of squared errors of both targets before and after.
    """

    before: np.ndarray
    after: np.ndarray
    error_sums: np.ndarray


def sample(corpus: Corpus, n_tracks: int, seed: int = SEED) -> Corpus:
    """The corpus with tracks drawn at random, in its order.

    Parameters
    ----------
    corpus : Corpus
    n_tracks : int >= 0
        0, or the number of tracks and more: all.
    seed : int

    Raises
    ------
    ValueError
        If `n_tracks` is negative.
    """
    if n_tracks < 0:
        raise ValueError(f"tracks: must be 0 (all) or more, not {n_tracks}")
    if not 0 < n_tracks < len(corpus.tracks):
        return corpus
    drawn = np.random.default_rng(seed).choice(len(corpus.tracks), n_tracks, replace=False)
    return replace(corpus, tracks=[corpus.tracks[k] for k in sorted(drawn)])


def robustness(
    model: Model,
    corpus: Corpus,
    alterations: Mapping[str, AugmentConfig] = ALTERATIONS,
    n_boot: int = N_BOOT,
    seed: int = SEED,
    cache_dir: Path = CACHE_DIR,
) -> list[AlterationEffect]:
    """Compare a bundle's curves of altered recordings with its curves of the original ones.

    Where the tempo changes, each new frame is compared with the old frame in which its middle
    lies. Features of altered audio are cached, so that a run continues after a kill.

    Parameters
    ----------
    model : Model
    corpus : Corpus
        With curves.
    alterations : mapping of str to AugmentConfig
    n_boot, seed : int
        Bootstrap samples of songs, for the 95 % intervals of the change of RMSE; 0: none.
    cache_dir : Path

    Raises
    ------
    CorpusError
        If the corpus has no curves, or a track cannot be used.
    """
    if corpus.labels != "curves":
        raise CorpusError(f"{corpus.name} has {corpus.labels}, no curves to compare with")
    originals = {
        s.id: predict_curve(model, s.features)
        for s in build_sequences(corpus, model.features, cache_dir)
    }
    # Original curves as labels: an alteration of tempo then moves them as it moves labels.
    predicted = [_with_labels(t, originals[t.id]) for t in corpus.tracks]
    rows = []
    for name, alteration in alterations.items():
        copies = copies_of(replace(corpus, tracks=predicted), model.features, alteration, cache_dir)
        altered = [_altered(model, t, alteration, copies[t.id][0]) for t in corpus.tracks]
        rows += _effects(name, altered, n_boot, seed)
    return rows


def _with_labels(track: Track, values: np.ndarray) -> Track:
    """The track with a curve (T, 2) of the whole audio as labels."""
    times_s = np.arange(1, len(values) + 1) * FRAME_SECONDS
    valence, arousal = values.T
    return replace(track, times_s=times_s, valence=valence, arousal=arousal, ratings=None)


def _altered(
    model: Model, track: Track, alteration: AugmentConfig, copy: Sequence2Hz
) -> _AlteredTrack:
    """Compare the curves of a track and of its altered copy, whose labels are the original curve.

    Both errors are over the same frames, because the original curve moves with the tempo.
    """
    after = predict_curve(model, copy.features)
    rated = align(relabelled(track, alteration, 1), copy.features)
    both = rated.mask & copy.mask
    labels = rated.labels[both]
    squares = [((curve[both] - labels) ** 2).sum(axis=0) for curve in (copy.labels, after)]
    error_sums = np.concatenate([[both.sum()], *squares])
    return _AlteredTrack(copy.labels[copy.mask], after[copy.mask], error_sums)


def _effects(
    name: str, altered: Sequence[_AlteredTrack], n_boot: int, seed: int
) -> list[AlterationEffect]:
    """The effect of one alteration on each target."""
    changes = compare_curves(
        np.concatenate([t.before for t in altered]), np.concatenate([t.after for t in altered])
    )
    errors = _error_changes(np.array([t.error_sums for t in altered]), n_boot, seed)
    effects = []
    for k, target in enumerate(TARGETS):
        song_r = [score(t.before[:, k], t.after[:, k])["r"] for t in altered]
        effects.append(
            AlterationEffect(
                alteration=name,
                target=target,
                songs=len(altered),
                within_r=Spread.of(song_r).mean,
                **vars(changes[target]),
                **vars(errors[target]),
            )
        )
    return effects


def _error_changes(sums: np.ndarray, n_boot: int, seed: int) -> dict[str, _ErrorChange]:
    """RMSE before and after, and its change, by target; from `_AlteredTrack.error_sums`."""

    def rmse(totals: np.ndarray) -> np.ndarray:
        return np.sqrt(totals[..., 1:] / totals[..., :1]).reshape(*totals.shape[:-1], 2, 2)

    before, after = rmse(sums.sum(axis=0))
    samples = sums[draw_units(len(sums), n_boot, seed)].sum(axis=1)
    change = np.diff(rmse(samples), axis=1)[:, 0]
    return {
        target: _ErrorChange(
            float(before[k]),
            float(after[k]),
            Estimate.from_samples(after[k] - before[k], change[:, k]),
        )
        for k, target in enumerate(TARGETS)
    }


def robustness_table(rows: Sequence[AlterationEffect]) -> pd.DataFrame:
    """The rows of `robustness`, for display."""
    table = pd.DataFrame(
        {
            "alteration": row.alteration,
            "target": row.target,
            "mean absolute change": f"{row.change:.3f}",
            "shift of the mean": f"{row.shift:+.3f}",
            "r": f"{row.r:.2f}",
            "r within pieces": f"{row.within_r:.2f}",
            "RMSE": f"{row.rmse_before:.3f} → {row.rmse_after:.3f}",
            "change of RMSE": f"{row.rmse_change:+.3f}",
        }
        for row in rows
    )
    order = list(dict.fromkeys(table.alteration))
    return table.set_index(["target", "alteration"]).loc[
        [(target, name) for target in TARGETS for name in order]
    ]

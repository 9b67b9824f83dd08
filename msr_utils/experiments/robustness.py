"""Does a bundle say the same of a recording that was changed as recordings are?"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd

from msr_utils.constants import FRAME_SECONDS, TARGETS
from msr_utils.corpora.base import Corpus, CorpusError, Track
from msr_utils.dataset.augmentation import AugmentConfig, relabelled
from msr_utils.dataset.augmented import copies_of
from msr_utils.dataset.sequences import Sequence2Hz, align, build_sequences
from msr_utils.experiments.occlusion import curve, difference
from msr_utils.inference.model import Model
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
"""What a recording goes through; nothing is drawn but the noise. Level, coding and noise should
change nothing. Pitch and tempo are musical cues: listeners too would answer a little otherwise."""


def sample(corpus: Corpus, n_tracks: int, seed: int = 7) -> Corpus:
    """The corpus with so many of its tracks, drawn at random, in its order; 0 keeps all."""
    if n_tracks < 0:
        raise ValueError(f"tracks: must be 0 (all) or more, not {n_tracks}")
    if not 0 < n_tracks < len(corpus.tracks):
        return corpus
    chosen = np.random.default_rng(seed).choice(len(corpus.tracks), n_tracks, replace=False)
    return replace(corpus, tracks=[corpus.tracks[k] for k in sorted(chosen)])


def robustness(
    model: Model,
    corpus: Corpus,
    alterations: Mapping[str, AugmentConfig] = ALTERATIONS,
    n_boot: int = 2000,
    seed: int = 7,
    cache_dir: Path = CACHE_DIR,
) -> list[dict]:
    """Compare a bundle's curves of altered recordings with those of the recordings as they are.

    Where the tempo changes, each new frame is compared with the old frame that its middle comes
    from. Features of altered audio are kept, so that a run goes on after a kill.

    Parameters
    ----------
    model : Model
    corpus : Corpus
        With curves.
    alterations : mapping of str to AugmentConfig
    n_boot : int >= 0
        Bootstrap samples of songs for the 95 % intervals of the change of RMSE.
    seed : int
    cache_dir : Path

    Returns
    -------
    list of dict
        ``alteration, target, songs``; ``change`` (mean absolute difference), ``shift`` (mean
        difference) and ``r``, pooled over frames; ``within_r`` (mean r over pieces);
        ``rmse_before, rmse_after`` (to the labels) and ``rmse_change``: ``value, low, high``.

    Raises
    ------
    CorpusError
        If the corpus has no curves, or a track is of no use.
    """
    if corpus.labels != "curves":
        raise CorpusError(f"{corpus.name} has {corpus.labels}, no curves to compare with")
    clean = {
        s.id: curve(model, s.features)
        for s in build_sequences(corpus, model.features, cache_dir)
    }  # fmt: skip
    # Clean curves as labels: an alteration of tempo then moves them as it moves labels.
    as_labels = [_labelled(t, clean[t.id]) for t in corpus.tracks]
    rows = []
    for name, alteration in alterations.items():
        copies = copies_of(replace(corpus, tracks=as_labels), model.features, alteration, cache_dir)
        before, after, rated = [], [], []
        for track in corpus.tracks:
            (copy,) = copies[track.id]
            said = curve(model, copy.features)
            rated.append(
                _squares(align(relabelled(track, alteration, 1), copy.features), copy, said)
            )
            before.append(copy.labels[copy.mask])
            after.append(said[copy.mask])
        found = difference(np.concatenate(before), np.concatenate(after))
        errors = _errors(np.array(rated), n_boot, seed)
        rows += [
            {
                "alteration": name,
                "target": target,
                "songs": len(corpus.tracks),
                **found[target],
                "within_r": _mean_r([(b[:, k], a[:, k]) for b, a in zip(before, after, strict=True)]),
                **errors[target],
            }
            for k, target in enumerate(TARGETS)
        ]  # fmt: skip
    return rows


def _labelled(track: Track, values: np.ndarray) -> Track:
    """The track with a curve (T, 2) of the whole audio for labels."""
    times_s = np.arange(1, len(values) + 1) * FRAME_SECONDS
    valence, arousal = values.T
    return replace(track, times_s=times_s, valence=valence, arousal=arousal, ratings=None)


def _squares(rated: Sequence2Hz, clean: Sequence2Hz, said: np.ndarray) -> np.ndarray:
    """Frames, and summed squared errors before and after, of both targets: (5,)."""
    # The clean curve moved with the tempo, so that both errors are over the same frames.
    both = rated.mask & clean.mask
    labels = rated.labels[both]
    before, after = (((v[both] - labels) ** 2).sum(axis=0) for v in (clean.labels, said))
    return np.concatenate([[both.sum()], before, after])


def _errors(sums: np.ndarray, n_boot: int, seed: int) -> dict[str, dict]:
    """RMSE before and after, and the change with its interval over songs, by target."""

    def rmse(totals: np.ndarray) -> np.ndarray:
        return np.sqrt(totals[..., 1:] / totals[..., :1]).reshape(*totals.shape[:-1], 2, 2)

    value = rmse(sums.sum(axis=0))
    draws = np.random.default_rng(seed).integers(len(sums), size=(n_boot, len(sums)))
    change = np.diff(rmse(sums[draws].sum(axis=1)), axis=1)[:, 0]
    low, high = np.quantile(change, [0.025, 0.975], axis=0) if n_boot else np.full((2, 2), np.nan)
    return {
        target: {
            "rmse_before": float(value[0, k]),
            "rmse_after": float(value[1, k]),
            "rmse_change": {
                "value": float(value[1, k] - value[0, k]),
                "low": float(low[k]),
                "high": float(high[k]),
            },
        }
        for k, target in enumerate(TARGETS)
    }


def _mean_r(pairs: Sequence[tuple[np.ndarray, np.ndarray]]) -> float:
    found = [r for a, b in pairs if np.isfinite(r := score(a, b)["r"])]
    return float(np.mean(found)) if found else float("nan")


def robustness_table(rows: Sequence[Mapping]) -> pd.DataFrame:
    """What `robustness` found, for display."""
    table = pd.DataFrame(
        {
            "alteration": row["alteration"],
            "target": row["target"],
            "change": f"{row['change']:.3f}",
            "shift of the mean": f"{row['shift']:+.3f}",
            "r": f"{row['r']:.2f}",
            "r in a piece": f"{row['within_r']:.2f}",
            "RMSE": f"{row['rmse_before']:.3f} → {row['rmse_after']:.3f}",
            "its change": f"{row['rmse_change']['value']:+.3f} "
            f"[{row['rmse_change']['low']:+.3f}, {row['rmse_change']['high']:+.3f}]",
        }
        for row in rows
    )
    order = list(dict.fromkeys(table.alteration))
    return table.set_index(["target", "alteration"]).loc[
        [(target, name) for target in TARGETS for name in order]
    ]

"""Accuracy of quadrants, arousal and valence, with intervals that resample songs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd

from msr_utils.affect import QUADRANTS
from msr_utils.metrics.estimate import Estimate, Spread

QUADRANT, AROUSAL, VALENCE = "quadrant", "arousal", "valence"
TARGETS = (QUADRANT, AROUSAL, VALENCE)
"""What is recognised: one of four quadrants, and high or low arousal and valence."""

HIGH = {
    AROUSAL: np.array([q.arousal_positive for q in QUADRANTS]),
    VALENCE: np.array([q.valence_positive for q in QUADRANTS]),
}
"""Of each quadrant, whether the dimension is high."""

PUBLISHED = {
    "logistic regression on statistics": (0.581, 0.849, 0.651),
    "LSTM with attention, MIDI-like tokens": (0.684, 0.882, 0.833),
    "LSTM with attention, REMI tokens": (0.615, 0.890, 0.746),
    "audio: logistic regression": (0.523, 0.919, 0.558),
    "audio: short-chunk ResNet": (0.677, 0.887, 0.704),
}
"""Test accuracy of quadrant, arousal and valence as Hung and others (2021) publish it."""

Accuracies = dict[str, Estimate]
"""Target to accuracy."""


def hits(probabilities: np.ndarray, labels: np.ndarray) -> dict[str, np.ndarray]:
    """Whether each clip is recognised.

    A dimension is high if the quadrants in which it is high are more probable together.

    Parameters
    ----------
    probabilities : np.ndarray [shape=(..., N, 4)]
    labels : np.ndarray [shape=(N,), dtype=int]

    Returns
    -------
    dict of target to np.ndarray [shape=(..., N), dtype=bool]
    """
    found = {QUADRANT: probabilities.argmax(axis=-1) == labels}
    for target, high in HIGH.items():
        found[target] = (probabilities[..., high].sum(axis=-1) > 0.5) == high[labels]
    return found


def accuracies(counts: np.ndarray, found: Mapping[str, np.ndarray]) -> Accuracies:
    """Mean accuracy over seeds, with a 95 % interval.

    Parameters
    ----------
    counts : np.ndarray [shape=(1 + n_boot, N)]
        How often each clip was drawn, see `msr_utils.metrics.bootstrap.draw_counts`.
    found : mapping of target to np.ndarray [shape=(seeds, N)]
    """
    samples = {target: _samples(counts, of_clip) for target, of_clip in found.items()}
    return {t: Estimate.from_samples(values[0], values[1:]) for t, values in samples.items()}


def differences(
    counts: np.ndarray, found: Mapping[str, np.ndarray], others: Mapping[str, np.ndarray]
) -> Accuracies:
    """Paired difference of two rows on the same resampled songs."""
    samples = {t: _samples(counts, found[t]) - _samples(counts, others[t]) for t in found}
    return {t: Estimate.from_samples(values[0], values[1:]) for t, values in samples.items()}


def _samples(counts: np.ndarray, found: np.ndarray) -> np.ndarray:
    return counts @ np.atleast_2d(found).mean(axis=0) / counts.sum(axis=1)


def spreads(found: Mapping[str, np.ndarray]) -> dict[str, Spread]:
    """Mean and standard deviation of the accuracy over seeds."""
    return {t: Spread.of(np.atleast_2d(values).mean(axis=1)) for t, values in found.items()}


def log_loss(probabilities: np.ndarray, labels: np.ndarray) -> float:
    """Mean negative log probability of the right quadrant, over clips and seeds."""
    right = np.take_along_axis(
        probabilities, np.broadcast_to(labels[:, None], (*probabilities.shape[:-1], 1)), axis=-1
    )
    return float(-np.log(right.clip(1e-6)).mean())


def score_table(
    scores: Mapping[str, Mapping[str, Estimate]],
    over_seeds: Mapping[str, Mapping[str, Spread]],
    published: Mapping[str, Sequence[float]] | None = None,
) -> pd.DataFrame:
    """Readable table of test accuracies, with the published rows below ours."""
    rows = []
    for name, row in scores.items():
        cells = {target: f"{estimate}" for target, estimate in row.items()}
        sd = over_seeds[name][QUADRANT].sd
        rows.append({"row": name, **cells, "sd over seeds": f"{sd:.3f}" if sd == sd else "–"})
    for name, values in (published or {}).items():
        cells = {t: f"{value:.3f}" for t, value in zip(TARGETS, values, strict=True)}
        rows.append({"row": f"published: {name}", **cells, "sd over seeds": "–"})
    return pd.DataFrame(rows).set_index("row")


def cross_validation_table(scores: Mapping[str, Mapping[str, Estimate]]) -> pd.DataFrame:
    """Readable table of cross-validated accuracies."""
    return pd.DataFrame(
        {name: {t: f"{estimate}" for t, estimate in row.items()} for name, row in scores.items()}
    ).T.rename_axis("row")


def gain_table(gains: Mapping[str, Mapping[str, Estimate]]) -> pd.DataFrame:
    """Readable table of paired differences."""
    return pd.DataFrame(
        {name: {t: f"{value:+.3f}" for t, value in row.items()} for name, row in gains.items()}
    ).T.rename_axis("difference")

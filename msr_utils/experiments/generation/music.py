"""Musical statistics of generated pieces beside those of real ones.

They are those by which Wu and Yang (2020), "The Jazz Transformer on the front line", ISMIR, and
Dong and others (2018), "MuseGAN", AAAI, compare generated with real music.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from msr_utils.metrics.estimate import Spread
from msr_utils.notes import Notes
from msr_utils.symbolic.statistics import statistics_table

COMPARED = {
    "pitch-class entropy": "key: entropy",
    "polyphony": "polyphony: mean",
    "notes per second": "density: notes per second",
    "grooving similarity": "pulse: grooving similarity",
    "share of silence": "polyphony: silence",
}
"""Name in tables -> name in `msr_utils.symbolic.statistics`."""


@dataclass(frozen=True)
class MusicComparison:
    """A statistic of generated and of real pieces.

    Parameters
    ----------
    generated, real : Spread
        Over pieces.
    difference : float
        Of the means, in standard deviations of real pieces.
    """

    generated: Spread
    real: Spread
    difference: float


def _columns(pieces: Sequence[Notes]) -> np.ndarray:
    values, names = statistics_table(pieces)
    return values[:, [names.index(name) for name in COMPARED.values()]]


def differences_from(real: Sequence[Notes], generated: Sequence[Notes]) -> list[float]:
    """Differences of the means of `COMPARED`, in standard deviations of real pieces."""
    ours, theirs = _columns(generated), _columns(real)
    sd = np.maximum(theirs.std(axis=0), 1e-3)
    return ((ours.mean(axis=0) - theirs.mean(axis=0)) / sd).tolist()


def compare(generated: Sequence[Notes], real: Sequence[Notes]) -> dict[str, MusicComparison]:
    """Compare generated with real pieces of about the same length."""
    ours, theirs = _columns(generated), _columns(real)
    differences = differences_from(real, generated)
    return {
        name: MusicComparison(Spread.of(ours[:, k]), Spread.of(theirs[:, k]), differences[k])
        for k, name in enumerate(COMPARED)
    }

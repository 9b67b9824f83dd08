"""Bootstrap samples: which units are drawn, and how often each row counts.

Intervals resample units that are independent of one another: songs, or groups of songs (artists,
series) whose errors are alike. `Estimate.from_samples` turns the scores of the samples into an
interval.

There are two functions because there are two ways to score a sample. Sums over a song's frames
are added up, so the drawn songs are needed (`draw_units`). A rank statistic or a matrix product
needs how often each row counts (`draw_counts`). Both sample from the same distribution, but they
use the random generator differently. One could be derived from the other, but every published
interval of the other kind would then change in its last digits.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from msr_utils.metrics.estimate import LEVEL, Estimate

N_BOOT = 2000
"""Bootstrap samples of every interval in the study, unless a caller asks for another number."""

SEED = 7
"""Seed of the samples, unless a caller gives another one."""


def draw_units(
    n_units: int, n_boot: int = N_BOOT, seed: int | np.random.Generator = SEED
) -> np.ndarray:
    """Draw units with replacement.

    Parameters
    ----------
    n_units : int > 0
        Independent units, such as songs.
    n_boot : int >= 0
        Samples.
    seed : int or np.random.Generator
        A generator continues its stream: several draws from it are independent.

    Returns
    -------
    np.ndarray [shape=(n_boot, n_units), dtype=int]
        Indices of the units of each sample.

    Notes
    -----
    Efron (1979), "Bootstrap methods: another look at the jackknife", Annals of Statistics 7(1).
    """
    return np.random.default_rng(seed).integers(n_units, size=(n_boot, n_units))


def draw_counts(
    units: Sequence[str] | np.ndarray,
    n_boot: int = N_BOOT,
    seed: int | np.random.Generator = SEED,
) -> np.ndarray:
    """Draw units with replacement, and count how often each row lies in each sample.

    Parameters
    ----------
    units : sequence [length N]
        The unit that each row belongs to. Rows of one unit are drawn together.
    n_boot : int >= 0
        Samples.
    seed : int or np.random.Generator

    Returns
    -------
    np.ndarray [shape=(1 + n_boot, N), dtype=float]
        The first line is the data as they are: every row counts once.
    """
    names, member = np.unique(np.asarray(units), return_inverse=True)
    drawn = np.random.default_rng(seed).multinomial(
        len(names), np.full(len(names), 1 / len(names)), size=n_boot
    )
    return np.concatenate([np.ones((1, len(names))), drawn])[:, member]


def counts_of(draws: np.ndarray) -> np.ndarray:
    """How often each unit lies in each sample of `draw_units`.

    Parameters
    ----------
    draws : np.ndarray [shape=(n_boot, n_units), dtype=int]

    Returns
    -------
    np.ndarray [shape=(n_boot, n_units), dtype=float]
    """
    counts = np.zeros(draws.shape)
    np.add.at(counts, (np.arange(len(draws))[:, None], draws), 1)
    return counts


def simultaneous_intervals(draws: np.ndarray) -> list[Estimate]:
    """Intervals that hold for several values at once.

    With many intervals of one value each, some miss by chance. These are wider: the largest
    standardised deviation among all values of a sample gives their width.

    Parameters
    ----------
    draws : np.ndarray [shape=(n_values, 1 + n_boot)]
        Each line has a value and then its samples. All values are of the same samples.

    Returns
    -------
    list of Estimate

    Notes
    -----
    Romano and Wolf (2005), "Exact and approximate stepdown methods for multiple hypothesis
    testing", Journal of the American Statistical Association 100(469), in one step.
    """
    values, samples = draws[:, 0], draws[:, 1:]
    if not samples.size:
        return [Estimate(float(value)) for value in values]
    sd = np.nanstd(samples, axis=1)
    with np.errstate(invalid="ignore", divide="ignore"):
        deviations = np.abs(samples - values[:, None]) / sd[:, None]
    # A value that does not vary among the samples deviates by nothing.
    largest = np.nanmax(np.where(sd[:, None] > 0, deviations, 0), axis=0)
    reach = float(np.quantile(largest, LEVEL)) * sd
    return [
        Estimate(float(v), float(v - w), float(v + w)) for v, w in zip(values, reach, strict=True)
    ]

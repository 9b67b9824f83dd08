"""What a model has to beat: predictions without audio, and ridge regression."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from msr_utils.dataset.sequences import Sequence2Hz, collect
from msr_utils.dataset.splits import Split, inner_parts
from msr_utils.metrics.curves import Curve
from msr_utils.models import ridge
from msr_utils.models.ridge import Curves

ORACLE = "song-mean oracle"


def baseline_predictions(
    sequences: Sequence[Sequence2Hz], splits: Sequence[Split], target: str, inner_folds: int = 1
) -> dict[str, dict[str, Curve]]:
    """Predict the test tracks of every split with each baseline.

    Returns
    -------
    dict of str to dict of str to Curve
        Baseline name to predictions: "constant", "mean trajectory", "ridge" and the oracle.
    """
    by_id = {s.id: s for s in sequences}
    results: dict[str, dict[str, Curve]] = {"constant": {}, "mean trajectory": {}}
    results["ridge"] = ridge_predictions(sequences, splits, target, inner_folds)
    results[ORACLE] = {}
    for split in splits:
        known = [by_id[i] for i in split.train + split.validation]
        test = [by_id[i] for i in split.test]
        curves = {
            "constant": constant(known, test, target),
            "mean trajectory": mean_trajectory(known, test, target),
            ORACLE: song_mean_oracle(test, target),
        }
        for name, predicted in curves.items():
            results[name].update(collect(test, predicted, target))
    return results


def ridge_predictions(
    sequences: Sequence[Sequence2Hz], splits: Sequence[Split], target: str, inner_folds: int = 1
) -> dict[str, Curve]:
    """Predict the test tracks of every split with ridge regression.

    Its penalty is chosen on the parts that stop the training of networks, see `inner_parts`.
    """
    by_id = {s.id: s for s in sequences}
    group = {s.id: s.group for s in sequences}
    curves: dict[str, Curve] = {}
    for split in splits:
        parts = [
            ([by_id[i] for i in train], [by_id[i] for i in held])
            for train, held in inner_parts(split, group, inner_folds)
        ]
        test = [by_id[i] for i in split.test]
        curves |= collect(test, ridge.ridge(parts, test, target), target)
    return curves


def constant(train: Sequence[Sequence2Hz], test: Sequence[Sequence2Hz], target: str) -> Curves:
    """The mean of all training labels, everywhere."""
    mean = np.concatenate([s.target(target)[s.mask] for s in train]).mean()
    return {s.id: np.full(len(s.mask), mean) for s in test}


def mean_trajectory(
    train: Sequence[Sequence2Hz], test: Sequence[Sequence2Hz], target: str
) -> Curves:
    """The training tracks' mean at each time since the start.

    After the end of the longest training track the last mean is repeated.
    """
    longest = max(len(s.mask) for s in [*train, *test])
    total, count = np.zeros(longest), np.zeros(longest)
    for s in train:
        total[: len(s.mask)] += np.where(s.mask, s.target(target), 0)
        count[: len(s.mask)] += s.mask
    known = np.flatnonzero(count)
    mean = np.interp(np.arange(longest), known, total[known] / count[known])
    return {s.id: mean[: len(s.mask)] for s in test}


def song_mean_oracle(test: Sequence[Sequence2Hz], target: str) -> Curves:
    """The true mean of each test track: the error that remains is that of the dynamics."""
    return {s.id: np.full(len(s.mask), s.target(target)[s.mask].mean()) for s in test}

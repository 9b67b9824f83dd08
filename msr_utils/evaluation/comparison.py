"""Models, baselines and the raters' ceiling scored on the same frames."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from msr_utils.constants import TARGETS
from msr_utils.corpora.base import Corpus
from msr_utils.evaluation.baselines import ORACLE
from msr_utils.evaluation.ceiling import ceiling
from msr_utils.metrics.bootstrap import N_BOOT, SEED
from msr_utils.metrics.curves import Predictions
from msr_utils.metrics.reliability import Reliability
from msr_utils.metrics.scores import Scores, evaluate


@dataclass(frozen=True)
class Comparison:
    """Scores of models and baselines on the same frames.

    Parameters
    ----------
    rows : mapping of target to name to Scores
        Baselines first, then models, the oracle last.
    ceiling : mapping of target to Reliability
        The best that the raters' disagreement allows.
    """

    rows: Mapping[str, Mapping[str, Scores]]
    ceiling: Mapping[str, Reliability]


def compare(
    corpus: Corpus,
    models: Mapping[str, Mapping[str, Predictions]],
    baseline: Mapping[str, Mapping[str, Predictions]],
    n_boot: int = N_BOOT,
    seed: int = SEED,
) -> Comparison:
    """Score everything on the same frames, models beside baselines and the ceiling.

    Parameters
    ----------
    corpus : Corpus
        For the ceiling.
    models : mapping of target to name to predictions
        One target or both.
    baseline : mapping of target to name to predictions
        From `baseline_predictions`, of the same targets.
    n_boot, seed : int
        As in `evaluate`.

    Returns
    -------
    Comparison

    Raises
    ------
    ValueError
        If two rows are not about the same tracks and frames.
    """
    rows: dict[str, dict[str, Scores]] = {}
    targets = [target for target in TARGETS if target in models]
    for target in targets:
        oracle = {ORACLE: baseline[target][ORACLE]}
        first = {k: v for k, v in baseline[target].items() if k != ORACLE}
        ordered = {**first, **models[target], **oracle}
        frames = _frame_counts(next(iter(ordered.values())))
        for name, predictions in ordered.items():
            if _frame_counts(predictions) != frames:
                raise ValueError(
                    f"{name}, {target}: predicts other tracks or frames than the baselines; "
                    "run it again with the same corpus, folds and seed"
                )
        rows[target] = {n: evaluate(p, n_boot, seed) for n, p in ordered.items()}
    return Comparison(rows, {t: ceiling(corpus, t) for t in targets})


def _frame_counts(predictions: Predictions) -> dict[str, int]:
    """Frames of each track."""
    return {i: len(c.true) for i, c in predictions.items()}

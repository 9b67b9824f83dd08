"""Models, baselines and the raters' ceiling scored on the same frames."""

from __future__ import annotations

from collections.abc import Mapping

from msr_utils.constants import TARGETS
from msr_utils.corpora.base import Corpus
from msr_utils.evaluation.baselines import ORACLE
from msr_utils.evaluation.ceiling import ceiling
from msr_utils.metrics.curves import Predictions
from msr_utils.metrics.scores import evaluate

CEILING = "raters' ceiling"


def compare(
    corpus: Corpus,
    models: Mapping[str, Mapping[str, Predictions]],
    baseline: Mapping[str, Mapping[str, Predictions]],
    n_boot: int = 2000,
    seed: int = 7,
) -> dict:
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
    dict
        ``rows[target][name]`` as `evaluate` gives, ``ceiling[target]``.

    Raises
    ------
    ValueError
        If two rows are not about the same tracks and frames.
    """
    rows: dict[str, dict] = {}
    targets = [target for target in TARGETS if target in models]
    for target in targets:
        oracle = {ORACLE: baseline[target][ORACLE]}
        first = {k: v for k, v in baseline[target].items() if k != ORACLE}
        ordered = {**first, **models[target], **oracle}
        reference = next(iter(ordered.values()))
        for name, predictions in ordered.items():
            if {k: len(c.true) for k, c in predictions.items()} != {
                k: len(c.true) for k, c in reference.items()
            }:
                raise ValueError(
                    f"{name}, {target}: predicts other tracks or frames than the baselines; "
                    "run it again with the same corpus, folds and seed"
                )
        rows[target] = {n: evaluate(p, n_boot, seed) for n, p in ordered.items()}
    return {"rows": rows, "ceiling": {t: ceiling(corpus, t) for t in targets}}

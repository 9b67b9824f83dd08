"""Trained runs of a corpus: finding, loading and comparing them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from msr_utils.constants import TARGETS
from msr_utils.corpora.base import Track
from msr_utils.evaluation.comparison import Comparison
from msr_utils.metrics.curves import (
    Predictions,
    load_predictions,
    mean_curves,
)
from msr_utils.metrics.estimate import Estimate
from msr_utils.metrics.scores import paired_difference, score

MODEL_RUNS = {
    "LSTM (paper)": "lstm",
    "LSTM (tonal)": "lstm-tonal",
    "Transformer (paper)": "transformer",
    "Transformer (scratch)": "transformer-scratch",
    "Transformer (BERT, frozen)": "transformer-frozen",
    "Transformer (BERT, top layers)": "transformer-part",
    "Transformer (BERT, tuned)": "transformer-tuned",
    "LSTM (tonal, MusiCNN)": "lstm-ear",
    "linear (running stats)": "linear",
    "linear (running stats, MusiCNN)": "linear-ear",
}
"""Name in tables to prefix of the run folders, which end in ``-valence`` and ``-arousal``."""

MEANS = {
    "LSTM and linear": ("LSTM (tonal)", "linear (running stats)"),
    "LSTM and linear (MusiCNN)": ("LSTM (tonal, MusiCNN)", "linear (running stats, MusiCNN)"),
}
"""Means of the curves of two models: name in tables to the names of the two."""


TargetPredictions = dict[str, dict[str, Predictions]]
"""Target to model to its predictions."""

TargetDifferences = dict[str, dict[str, dict[str, Estimate]]]
"""Target to model to metric to its difference."""


def find_runs(corpus_dir: Path) -> dict[str, str]:
    """Trained models of a corpus: name in tables to prefix of the run folders.

    Raises
    ------
    FileNotFoundError
        If no model has been trained on both targets.
    """
    runs = {
        name: prefix
        for name, prefix in MODEL_RUNS.items()
        if all((Path(corpus_dir) / f"{prefix}-{t}" / "metrics.json").is_file() for t in TARGETS)
    }
    if not runs:
        raise FileNotFoundError(
            f"{Path(corpus_dir).name}: no model is trained on both targets; "
            "run 03_lstm.ipynb with target valence and with target arousal first"
        )
    return runs


def load_runs(corpus_dir: Path, runs: Mapping[str, str]) -> TargetPredictions:
    """Load the test predictions of trained runs.

    Parameters
    ----------
    corpus_dir : Path
        ``reports/<edition>/<corpus>``.
    runs : mapping of str to str
        From `find_runs`.

    Returns
    -------
    dict of target to model to predictions
        With the `MEANS` of models that are both there.
    """
    loaded: TargetPredictions = {
        target: {
            name: load_predictions(Path(corpus_dir) / f"{prefix}-{target}" / "predictions.npz")
            for name, prefix in runs.items()
        }
        for target in TARGETS
    }
    for models in loaded.values():
        for name, members in MEANS.items():
            if set(members) <= set(models):
                models[name] = mean_curves([models[member] for member in members])
    return loaded


def load_histories(corpus_dir: Path, runs: Mapping[str, str]) -> pd.DataFrame:
    """Every epoch of every training behind the scores.

    Parameters
    ----------
    corpus_dir : Path
        ``reports/<edition>/<corpus>``.
    runs : mapping of str to str
        From `find_runs`. Linear models are solved, so they have no epochs.

    Returns
    -------
    pandas.DataFrame
        ``model, target, fold, network, epoch, loss, val_loss``.
    """
    columns = ["fold", "network", "epoch", "loss", "val_loss"]
    tables = []
    for name, prefix in runs.items():
        for target in TARGETS:
            history = pd.read_csv(Path(corpus_dir) / f"{prefix}-{target}" / "history.csv")
            if "epoch" in history:
                tested = history.loc[history.fold > 0, columns]
                tables.append(tested.assign(model=name, target=target))
    return pd.concat(tables, ignore_index=True)


def differences(
    models: Mapping[str, Mapping[str, Predictions]],
    baseline: Mapping[str, Mapping[str, Predictions]],
    reference: str,
    n_boot: int = 2000,
    seed: int = 7,
) -> TargetDifferences:
    """Paired differences of every other row's pooled scores from those of one model.

    Parameters
    ----------
    models, baseline : mapping of target to name to predictions
    reference : str
        Name of a model.
    n_boot, seed : int
        As in `evaluate`.

    Returns
    -------
    dict of target to model to metric to Estimate
    """
    return {
        target: {
            name: paired_difference(curves, of_target[reference], n_boot, seed)
            for name, curves in {**baseline[target], **of_target}.items()
            if name != reference
        }
        for target, of_target in models.items()
    }


def first_and_best(
    models: Mapping[str, Mapping[str, Predictions]], comparison: Comparison
) -> TargetPredictions:
    """Of each target, the first model and the one whose pooled RMSE is lowest."""
    shown = {}
    for target, of_target in models.items():
        rows = comparison.rows[target]
        best = min(of_target, key=lambda name: rows[name].pooled["rmse"].value)
        names = dict.fromkeys([next(iter(of_target)), best])
        shown[target] = {name: of_target[name] for name in names}
    return shown


def examples(tracks: Sequence[Track], predictions: Predictions, n: int = 4) -> list[Track]:
    """Tracks at evenly spaced ranks of their RMSE, from the best to the worst.

    The rule is fixed, so that examples are not picked by how they look.
    """
    errors = {i: score(c.true, c.predicted)["rmse"] for i, c in predictions.items()}
    ranked = sorted((t for t in tracks if t.id in errors), key=lambda t: (errors[t.id], t.id))
    return [ranked[round(k)] for k in np.linspace(0, len(ranked) - 1, min(n, len(ranked)))]

"""Features before training: alignment, correlations, ridge on each choice of blocks."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pandas as pd
from tqdm import tqdm

from msr_utils.constants import TARGETS
from msr_utils.corpora.base import Corpus
from msr_utils.dataset.sequences import Sequence2Hz, build_sequences, select_columns
from msr_utils.dataset.splits import Split
from msr_utils.evaluation.baselines import ridge_predictions
from msr_utils.features.config import FeatureConfig
from msr_utils.metrics.bootstrap import N_BOOT, SEED
from msr_utils.metrics.estimate import Estimate
from msr_utils.metrics.scores import evaluate
from msr_utils.paths import CACHE_DIR


def alignment_counts(corpus: Corpus, sequences: Sequence[Sequence2Hz]) -> dict[str, int]:
    """Frames of audio and annotated frames, and how many of these are used; for display."""
    annotated = sum(len(t.times_s) for t in corpus.tracks)
    complete = sum(int(t.mask.sum()) for t in corpus.tracks)
    used = sum(int(s.mask.sum()) for s in sequences)
    return {
        "frames of audio": sum(len(s.mask) for s in sequences),
        "annotated frames": annotated,
        "removed: a value is missing": annotated - complete,
        "removed: past the end of the audio": complete - used,
        "used": used,
    }


def feature_correlations(
    sequences: Sequence[Sequence2Hz], n_features: int
) -> dict[str, np.ndarray]:
    """Pearson's r of each of the first features with each target, over all labelled frames.

    Returns
    -------
    dict of target to np.ndarray [shape=(n_features,)]
        0 where a feature does not vary.

    Notes
    -----
    `msr_utils.metrics.correlation.pearson` gives the same to six digits. This order of single
    precision sums stays because published values rest on it.
    """
    features = np.concatenate([s.features[s.mask, :n_features] for s in sequences])
    features = (features - features.mean(axis=0)) / np.maximum(features.std(axis=0), 1e-9)
    correlations = {}
    for target in TARGETS:
        labels = np.concatenate([s.target(target)[s.mask] for s in sequences])
        labels = (labels - labels.mean()) / max(labels.std(), 1e-9)
        correlations[target] = features.T @ labels / len(labels)
    return correlations


def block_scores(
    corpus: Corpus,
    combinations: Sequence[str],
    splits: Sequence[Split],
    inner_folds: int = 1,
    n_boot: int = N_BOOT,
    seed: int = SEED,
    cache_dir: Path = CACHE_DIR,
) -> pd.DataFrame:
    """Score ridge regression on each choice of feature blocks.

    Parameters
    ----------
    corpus : Corpus
    combinations : sequence of str
        Names of blocks, separated by commas.
    splits : sequence of Split
    inner_folds : int >= 1
        As in `ridge_predictions`.
    n_boot, seed : int
        As in `evaluate`.
    cache_dir : Path

    Returns
    -------
    pandas.DataFrame
        Pooled scores as rows: ``target, model`` (the blocks), ``dim, metric, value, low, high``.
    """
    choices = {text: FeatureConfig(text).blocks for text in combinations}
    # Features of all blocks are computed once, and each choice takes its columns.
    everything = FeatureConfig(
        tuple(dict.fromkeys(name for names in choices.values() for name in names))
    )
    all_sequences = build_sequences(corpus, everything, cache_dir)
    rows = []
    for text, names in tqdm(choices.items(), desc="ridge on blocks", unit="choice"):
        columns = everything.columns(names)
        sequences = select_columns(all_sequences, columns)
        for target in TARGETS:
            curves = ridge_predictions(sequences, splits, target, inner_folds)
            pooled = evaluate(curves, n_boot, seed).pooled
            rows += [
                {"target": target, "model": text, "dim": len(columns), "metric": m}
                | asdict(pooled[m])
                for m in ("r", "rmse")
            ]
    return pd.DataFrame(rows)


def block_score_table(scores: pd.DataFrame) -> pd.DataFrame:
    """Pearson's r from `block_scores` with its interval, by target, for display."""
    r = scores[scores.metric == "r"]
    cells = [f"{Estimate(*row)}" for row in r[["value", "low", "high"]].itertuples(index=False)]
    table = pd.DataFrame({"blocks": r.model, "features": r.dim, "target": r.target, "r": cells})
    order = list(dict.fromkeys(r.model))
    return table.pivot(index=["blocks", "features"], columns="target", values="r").loc[order]

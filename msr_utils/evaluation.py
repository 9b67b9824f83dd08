"""Look at features before training, and at all trained runs of a corpus side by side."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
from tqdm import tqdm

from msr_utils.comparison import ridge_predictions, score_table, with_interval
from msr_utils.constants import TARGETS
from msr_utils.corpora.base import Corpus, Track
from msr_utils.dataset import (
    CACHE_DIR,
    Sequence2Hz,
    Split,
    build_sequences,
)
from msr_utils.features import FeatureConfig
from msr_utils.io import read_json
from msr_utils.metrics import (
    Curve,
    Predictions,
    evaluate,
    load_predictions,
    mean_curves,
    paired_difference,
    score,
)

MODEL_RUNS = {
    "LSTM (paper)": "lstm",
    "LSTM (tonal)": "lstm-tonal",
    "Transformer (paper)": "transformer",
    "Transformer (scratch)": "transformer-scratch",
    "Transformer (BERT, frozen)": "transformer-frozen",
    "Transformer (BERT, top layers)": "transformer-part",
    "Transformer (BERT, tuned)": "transformer-tuned",
    "LSTM (tonal, ear)": "lstm-ear",
    "linear (memory)": "linear",
    "linear (memory, ear)": "linear-ear",
}
"""Name in tables to prefix of the run folders, which end in ``-valence`` and ``-arousal``."""

MEANS = {
    "LSTM and linear": ("LSTM (tonal)", "linear (memory)"),
    "LSTM and linear (ear)": ("LSTM (tonal, ear)", "linear (memory, ear)"),
}
"""Plain means of two models' curves: name in tables to their names."""


def alignment_facts(corpus: Corpus, sequences: Sequence[Sequence2Hz]) -> dict[str, int]:
    """How many frames and annotations met."""
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
    """Pearson correlation of each of the first features with each target, over all frames.

    Returns
    -------
    dict of str to np.ndarray [shape=(n_features,)]
    """
    features = np.concatenate([s.features[s.mask, :n_features] for s in sequences])
    features = (features - features.mean(axis=0)) / np.maximum(features.std(axis=0), 1e-9)
    found = {}
    for target in TARGETS:
        labels = np.concatenate([s.target(target)[s.mask] for s in sequences])
        labels = (labels - labels.mean()) / max(labels.std(), 1e-9)
        found[target] = features.T @ labels / len(labels)
    return found


def block_scores(
    corpus: Corpus,
    combinations: Sequence[str],
    splits: Sequence[Split],
    inner_folds: int = 1,
    n_boot: int = 2000,
    seed: int = 7,
    cache_dir: Path = CACHE_DIR,
) -> pd.DataFrame:
    """What ridge regression hears of valence and arousal through each choice of feature blocks.

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
    # Every file is heard once: the choices take their columns from all blocks.
    used = FeatureConfig(tuple(dict.fromkeys(name for names in choices.values() for name in names)))
    whole = build_sequences(corpus, used, cache_dir)
    rows = []
    for text, names in tqdm(choices.items(), desc="ridge on blocks", unit="choice"):
        columns = used.columns(names)
        sequences = [replace(s, features=s.features[:, columns]) for s in whole]
        for target in TARGETS:
            curves = ridge_predictions(sequences, splits, target, inner_folds)
            pooled = evaluate(curves, n_boot, seed)["pooled"]
            rows += [
                {"target": target, "model": text, "dim": len(columns), "metric": m, **pooled[m]}
                for m in ("r", "rmse")
            ]
    return pd.DataFrame(rows)


def block_score_table(scores: pd.DataFrame) -> pd.DataFrame:
    """What `block_scores` found, for display: Pearson r with its interval, by target."""
    r = scores[scores.metric == "r"]
    cells = r.apply(with_interval, axis=1)
    table = pd.DataFrame({"blocks": r.model, "features": r.dim, "target": r.target, "r": cells})
    order = list(dict.fromkeys(r.model))
    return table.pivot(index=["blocks", "features"], columns="target", values="r").loc[order]


def find_runs(corpus_dir: Path) -> dict[str, str]:
    """Trained models of a corpus: name in tables to prefix of the run folders.

    Raises
    ------
    FileNotFoundError
        If no model has been trained on both targets.
    """
    found = {
        name: prefix
        for name, prefix in MODEL_RUNS.items()
        if all((Path(corpus_dir) / f"{prefix}-{t}" / "metrics.json").is_file() for t in TARGETS)
    }
    if not found:
        raise FileNotFoundError(
            f"{Path(corpus_dir).name}: no model is trained on both targets; "
            "run 03_lstm.ipynb with target valence and with target arousal first"
        )
    return found


def load_runs(corpus_dir: Path, runs: Mapping[str, str]) -> dict[str, dict[str, dict[str, Curve]]]:
    """Load the test predictions of trained runs.

    Parameters
    ----------
    corpus_dir : Path
        ``reports/<edition>/<corpus>``.
    runs : mapping of str to str
        From `find_runs`.

    Returns
    -------
    dict
        target -> name -> predictions; with them the `MEANS` of those that are there.
    """
    loaded = {
        target: {
            name: load_predictions(Path(corpus_dir) / f"{prefix}-{target}" / "predictions.npz")
            for name, prefix in runs.items()
        }
        for target in TARGETS
    }
    for own in loaded.values():
        for name, members in MEANS.items():
            if set(members) <= set(own):
                own[name] = mean_curves([own[member] for member in members])
    return loaded


def load_histories(corpus_dir: Path, runs: Mapping[str, str]) -> pd.DataFrame:
    """Every epoch of every training that the scores rest on.

    Parameters
    ----------
    corpus_dir : Path
        ``reports/<edition>/<corpus>``.
    runs : mapping of str to str
        From `find_runs`. What is solved and not trained has no epochs.

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


def load_ablations(corpus_dir: Path) -> list[dict]:
    """What the ablations of a corpus found (`msr_utils.ablation.run`), those that were run."""
    paths = [Path(corpus_dir) / f"ablation-{target}" / "metrics.json" for target in TARGETS]
    return [read_json(path) for path in paths if path.is_file()]


def differences(
    models: Mapping[str, Mapping[str, Predictions]],
    baseline: Mapping[str, Mapping[str, Predictions]],
    reference: str,
    n_boot: int = 2000,
    seed: int = 7,
) -> dict[str, dict[str, dict]]:
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
    dict
        target -> name -> metric -> ``value, low, high``.
    """
    return {
        target: {
            name: paired_difference(curves, own[reference], n_boot, seed)
            for name, curves in {**baseline[target], **own}.items()
            if name != reference
        }
        for target, own in models.items()
    }


def difference_table(found: Mapping[str, Mapping[str, Mapping]], reference: str) -> pd.DataFrame:
    """What `differences` found, to display."""
    rows = [
        {
            "target": target,
            "model": name,
            f"RMSE - {reference}": with_interval(d["rmse"], "+"),
            f"r - {reference}": with_interval(d["r"], "+"),
        }
        for target, others in found.items()
        for name, d in others.items()
    ]
    return pd.DataFrame(rows).set_index(["target", "model"])


def seed_table(corpus_dir: Path, runs: Mapping[str, str]) -> pd.DataFrame:
    """How far single networks scatter: r and RMSE of each alone, mean ± sd over seeds."""
    rows = []
    for name, prefix in runs.items():
        for target in TARGETS:
            singles = read_json(Path(corpus_dir) / f"{prefix}-{target}" / "metrics.json")["singles"]
            if len(singles["r"]) > 1:
                spread = {
                    k: f"{np.mean(singles[m]):.3f} ± {np.std(singles[m], ddof=1):.3f}"
                    for k, m in (("RMSE of one", "rmse"), ("r of one", "r"))
                }
                rows.append(
                    {"model": name, "target": target, "networks": len(singles["r"]), **spread}
                )
    return pd.DataFrame(rows)


def headline_table(comparison: dict, corpus_dir: Path, runs: Mapping[str, str]) -> pd.DataFrame:
    """`score_table`, with what each trained model was given: networks, and epochs at most."""
    table = score_table(comparison)
    given = {"networks": {}, "epochs at most": {}}
    for name, prefix in runs.items():
        for target in TARGETS:
            metrics = read_json(Path(corpus_dir) / f"{prefix}-{target}" / "metrics.json")
            epochs = metrics["training"]["epochs"] if "epochs" in metrics["cost"] else "solved"
            given["networks"][target, name] = metrics["seeds"]
            given["epochs at most"][target, name] = epochs
    for column, known in reversed(given.items()):
        table.insert(0, column, [known.get(row, "–") for row in table.index])
    return table


def cost_table(corpus_dir: Path, runs: Mapping[str, str]) -> pd.DataFrame:
    """Parameters, training and inference time of trained runs, one row a model and target."""
    rows = []
    for name, prefix in runs.items():
        for target in TARGETS:
            metrics = read_json(Path(corpus_dir) / f"{prefix}-{target}" / "metrics.json")
            cost = {key.replace("_", " "): value for key, value in metrics["cost"].items()}
            rows.append({"model": name, "target": target, "networks": metrics["seeds"], **cost})
    return pd.DataFrame(rows).set_index(["model", "target"])


def first_and_best(
    models: Mapping[str, Mapping[str, Predictions]], comparison: Mapping
) -> dict[str, dict[str, Predictions]]:
    """Of each target, the first model and the one whose pooled RMSE is lowest."""
    shown = {}
    for target, own in models.items():
        rows = comparison["rows"][target]
        best = min(own, key=lambda name: rows[name]["pooled"]["rmse"]["value"])
        shown[target] = {name: own[name] for name in dict.fromkeys([next(iter(own)), best])}
    return shown


def examples(tracks: Sequence[Track], predictions: Predictions, n: int = 4) -> list[Track]:
    """Tracks at evenly spaced ranks of their RMSE, from the best to the worst.

    A stated rule, so that nobody picks the pretty ones.
    """
    errors = {i: score(c.true, c.predicted)["rmse"] for i, c in predictions.items()}
    ranked = sorted((t for t in tracks if t.id in errors), key=lambda t: (errors[t.id], t.id))
    return [ranked[round(k)] for k in np.linspace(0, len(ranked) - 1, min(n, len(ranked)))]

"""Train one family on one target over the splits of a corpus, resumable fold by fold."""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from msr_utils.training import (  # sets the backend before keras loads
    FitConfig,
    compile_model,
    fit,
    keras,
    predict_sequences,
    sequence_predictor,
    set_seed,
)

import numpy as np
import pandas as pd

from msr_utils.corpora.base import Corpus
from msr_utils.dataset import (
    Sequence2Hz,
    Split,
    make_splits,
    make_windows,
    normalisation,
)
from msr_utils.evaluation import collect
from msr_utils.features import FeatureConfig
from msr_utils.io import atomic_path, plain, read_json, sha256_text, write_json, write_text
from msr_utils.metrics import Curve, load_predictions, save_predictions
from msr_utils.models import FAMILIES
from msr_utils.provenance import code_hash


@dataclass(frozen=True)
class Trained:
    """What training over all splits gives.

    Parameters
    ----------
    predictions : dict of str to Curve
        Every test track, predicted by the model of the split that held it out.
    history : pandas.DataFrame
        ``fold, epoch, loss, mae, val_loss, val_mae``.
    cost : dict of str to float
        ``parameters, seconds_per_epoch, epochs, inference_ms_per_minute``.
    model : keras.Model
        To export: of the only split, or trained for export (`cross_validate`).
    features : FeatureConfig
        What the model reads.
    folds : int
    """

    predictions: dict[str, Curve]
    history: pd.DataFrame
    cost: dict[str, float]
    model: keras.Model
    features: FeatureConfig
    folds: int


def cross_validate(
    family: str,
    config: Any,
    fit_config: FitConfig,
    sequences: Sequence[Sequence2Hz],
    splits: Sequence[Split],
    target: str,
    window_frames: int,
    work_dir: Path,
    progress: bool = True,
) -> Trained:
    """Train and test on every split; with several, also train the model to export.

    Each split's training goes on after a kill. With one split its own model is exported,
    and its scores are that model's. With several, one more model is trained on all groups
    but a validation part: the scores then estimate it from models trained on less.

    Parameters
    ----------
    family : str
        Key of `FAMILIES`.
    config : LSTMConfig or TransformerConfig
    fit_config : FitConfig
    sequences : sequence of Sequence2Hz
    splits : sequence of Split
    target : str
        "valence" or "arousal".
    window_frames : int > 0
        Length of training excerpts.
    work_dir : Path
        For what is unfinished; `save_results` removes it.
    """
    by_id = {s.id: s for s in sequences}
    # Unfinished work of other data, parameters or code must not be taken up.
    key = sha256_text(
        json.dumps(
            plain(
                [family, asdict(config), asdict(fit_config), target, window_frames, code_hash()]
                + [[asdict(s) for s in splits], _data_hash(sequences)]
            )
        )
    )[:16]
    work = Path(work_dir) / f"{family}-{target}-{key}"
    predictions: dict[str, Curve] = {}
    histories = []
    plans = list(enumerate(splits, 1))
    if len(splits) > 1:
        plans.append((0, _export_split(sequences, fit_config.seed)))
    for fold, split in plans:
        folder = work / f"fold-{fold}"
        what = (
            f"{family} {target}, fold {fold} of {len(splits)}"
            if fold
            else f"{family} {target}, to export"
        )
        model, history, fold_predictions = _train_split(
            family, config, fit_config, by_id, split, target, window_frames, folder, what, progress
        )
        histories.append(pd.DataFrame(history).assign(fold=fold))
        predictions |= fold_predictions
    history = pd.concat(histories, ignore_index=True)
    cost = {
        "parameters": int(sum(np.prod(v.shape) for v in model.trainable_variables)),
        "seconds_per_epoch": float(history.seconds.median()),
        "epochs": float(history.groupby("fold").epoch.max().mean()),
        "inference_ms_per_minute": _inference_ms(model, sequences[0]),
    }
    features = FeatureConfig(blocks=FAMILIES[family].features)
    return Trained(predictions, history, cost, model, features, len(splits))


def _train_split(
    family: str,
    config: Any,
    fit_config: FitConfig,
    by_id: dict[str, Sequence2Hz],
    split: Split,
    target: str,
    window_frames: int,
    folder: Path,
    description: str,
    progress: bool,
) -> tuple[keras.Model, list[dict], dict[str, Curve]]:
    train, validation, test = (
        [by_id[i] for i in part] for part in (split.train, split.validation, split.test)
    )
    keras.backend.clear_session()
    set_seed(fit_config.seed)
    model = compile_model(
        FAMILIES[family].build(config, *normalisation(train)), config.learning_rate
    )
    done = folder / "done.json"
    if done.is_file():
        with np.load(folder / "best.npz") as best:
            for i, variable in enumerate(model.weights):
                variable.assign(best[f"w{i}"])
        history = read_json(done)
        return model, history, load_predictions(folder / "predictions.npz") if test else {}
    history = fit(
        model,
        make_windows(train, target, window_frames),
        make_windows(validation, target, window_frames),
        fit_config,
        folder,
        description,
        progress,
    )
    predictions = collect(
        test, predict_sequences(model, test, getattr(config, "max_frames", None)), target
    )
    if test:
        save_predictions(folder / "predictions.npz", predictions)
    write_json(done, history)
    return model, history, predictions


def _export_split(sequences: Sequence[Sequence2Hz], seed: int) -> Split:
    """All groups for training but one balanced part for early stopping, nothing for test."""
    groups = len({s.group for s in sequences})
    parts = make_splits(sequences, min(5, groups - 1), seed=seed)
    chosen = parts[seed % len(parts)]
    return Split(chosen.train + chosen.validation, chosen.test, ())


def _data_hash(sequences: Sequence[Sequence2Hz]) -> str:
    return sha256_text(
        "".join(
            f"{s.id} {s.group} {s.features.shape} {float(s.features.sum(dtype=np.float64))!r} "
            f"{float((s.labels * s.mask[:, None]).sum(dtype=np.float64))!r} {s.mask.sum()}\n"
            for s in sequences
        )
    )


def _inference_ms(model: keras.Model, sequence: Sequence2Hz, repeats: int = 5) -> float:
    """Milliseconds for one minute of features, best of some repeats, in Keras."""
    minute = np.resize(sequence.features, (120, sequence.features.shape[1])).astype(np.float32)
    predict = sequence_predictor(model)
    predict(minute)  # the first call builds the graph
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        predict(minute)
        times.append(time.perf_counter() - start)
    return 1000 * min(times)


def save_results(
    folder: Path,
    trained: Trained,
    corpus: Corpus,
    config: Any,
    fit_config: FitConfig,
    target: str,
    test: dict,
) -> None:
    """Write what a training run leaves: model, predictions, history, then ``metrics.json``.

    The work needed to resume is removed last, when everything else is there.
    """
    folder = Path(folder)
    save_model(trained.model, folder / "models" / "model.keras")
    save_predictions(folder / "predictions.npz", trained.predictions)
    write_text(folder / "history.csv", trained.history.to_csv(index=False))
    write_json(
        folder / "metrics.json",
        {
            "corpus": corpus.name,
            "data_hash": corpus.content_hash(),
            "target": target,
            "folds": trained.folds,
            "model": asdict(config),
            "training": asdict(fit_config),
            "features": trained.features.to_json(),
            "test": test,
            "cost": trained.cost,
        },
    )
    shutil.rmtree(folder / "work", ignore_errors=True)


def save_model(model: keras.Model, path: Path) -> None:
    """Save a trained model with its architecture, atomically."""
    with atomic_path(path) as temporary:
        model.save(temporary)


def load_model(path: Path) -> keras.Model:
    """Load what `save_model` wrote.

    Raises
    ------
    FileNotFoundError
        If the run that trains it has not finished.
    """
    if not Path(path).is_file():
        raise FileNotFoundError(f"no trained model {path}: run its training notebook first")
    return keras.models.load_model(path, compile=False)

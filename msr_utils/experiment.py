"""Train one family on one target over the splits of a corpus, resumable fold by fold."""

from __future__ import annotations

import hashlib
import json
import shutil
import time
from collections.abc import Mapping, Sequence
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

from msr_utils.augmentation import AugmentConfig
from msr_utils.corpora.base import Corpus
from msr_utils.dataset import (
    Sequence2Hz,
    Split,
    Windows,
    inner_parts,
    make_splits,
    make_windows,
    normalisation,
)
from msr_utils.evaluation import collect
from msr_utils.features import FeatureConfig
from msr_utils.io import atomic_path, plain, read_json, sha256_text, write_json, write_text
from msr_utils.metrics import Curve, load_predictions, save_predictions
from msr_utils.models import FAMILIES
from msr_utils.models.ensemble import average
from msr_utils.provenance import code_hash


@dataclass(frozen=True)
class Trained:
    """What training over all splits gives.

    Parameters
    ----------
    predictions : dict of str to Curve
        Every test track, predicted by the model of the split that held it out.
    history : pandas.DataFrame
        ``fold, part, epoch, loss, mae, val_loss, val_mae, seconds``; fold 0 is the training
        for export.
    cost : dict of str to float
        ``parameters, seconds_per_epoch, epochs, inference_ms_per_minute``.
    model : keras.Model
        To export: of the only split, or trained for export (`cross_validate`).
    features : FeatureConfig
        What the model reads.
    folds, inner_folds : int
    """

    predictions: dict[str, Curve]
    history: pd.DataFrame
    cost: dict[str, float]
    model: keras.Model
    features: FeatureConfig
    folds: int
    inner_folds: int


def cross_validate(
    family: str,
    config: Any,
    fit_config: FitConfig,
    sequences: Sequence[Sequence2Hz],
    features: FeatureConfig,
    splits: Sequence[Split],
    target: str,
    window_frames: int,
    work_dir: Path,
    inner_folds: int = 1,
    to_export: bool = True,
    copies: Mapping[str, Sequence[Sequence2Hz]] | None = None,
    progress: bool = True,
) -> Trained:
    """Train and test on every split; with several, also train the model to export.

    With one inner fold the split's validation part stops the training, as in the paper. With
    more, training and validation tracks are divided by group into so many parts; a network is
    trained without each of them, stopped by it, and the model is the networks' mean. Where
    groups are few, one part says little and one network varies much [1]_.

    With one split its own model is exported, and its scores are that model's. With several,
    one more model is trained on all groups: the scores then estimate it from models that
    were trained on less. Without `to_export` that one is left out, and the last split's model
    is given. Every training goes on after a kill.

    Parameters
    ----------
    family : str
        Key of `FAMILIES`.
    config : LSTMConfig or TransformerConfig
    fit_config : FitConfig
    sequences : sequence of Sequence2Hz
    features : FeatureConfig
        What they hold.
    splits : sequence of Split
    target : str
        "valence" or "arousal".
    window_frames : int > 0
        Length of training excerpts.
    work_dir : Path
        For what is unfinished; `save_results` removes it.
    inner_folds : int >= 1
    to_export : bool
    copies : mapping of str to sequence of Sequence2Hz, optional
        Altered copies by track id (see `msr_utils.dataset.copies_of`), trained on beside the
        tracks of a training part. Validation and test tracks are never altered.

    References
    ----------
    .. [1] Krogh and Vedelsby (1995), "Neural network ensembles, cross validation, and active
       learning", NIPS 7.
    """
    longest = getattr(config, "max_frames", None)
    if longest and longest > window_frames:
        raise ValueError(
            f"max_frames: {longest} positions, but windows of {window_frames} frames train only "
            "the first of them; make window_frames as long"
        )
    # Unfinished work of other data, parameters or code must not be taken up.
    key = sha256_text(
        json.dumps(
            plain(
                [family, asdict(config), asdict(fit_config), target, window_frames, inner_folds]
                + [[asdict(s) for s in splits], _data_hash(sequences), code_hash()]
                + [_data_hash([c for own in (copies or {}).values() for c in own])]
            )
        )
    )[:16]
    work = Path(work_dir) / f"{family}-{target}-{key}"
    one = _Training(
        family, config, fit_config, {s.id: s for s in sequences}, target, window_frames,
        inner_folds, copies or {}, progress,
    )  # fmt: skip
    plans = [(fold, split, f"fold {fold} of {len(splits)}") for fold, split in enumerate(splits, 1)]
    if len(splits) > 1 and to_export:
        plans.append((0, _export_split(sequences, fit_config.seed), "to export"))
    predictions: dict[str, Curve] = {}
    histories = []
    for fold, split, what in plans:
        model, history, curves = one.split(split, work / f"fold-{fold}", what)
        histories.append(history.assign(fold=fold))
        predictions |= curves
    history = pd.concat(histories, ignore_index=True)
    cost = {
        "parameters": int(sum(np.prod(v.shape) for v in model.trainable_variables)),
        "seconds_per_epoch": float(history.seconds.median()),
        "epochs": float(history.groupby(["fold", "part"]).epoch.max().mean()),
        "inference_ms_per_minute": _inference_ms(model, sequences[0], longest),
    }
    return Trained(
        predictions=predictions,
        history=history,
        cost=cost,
        model=model,
        features=features,
        folds=len(splits),
        inner_folds=inner_folds,
    )


@dataclass(frozen=True)
class _Training:
    """What all trainings of one cross-validation have in common."""

    family: str
    config: Any
    fit_config: FitConfig
    by_id: dict[str, Sequence2Hz]
    target: str
    window_frames: int
    inner_folds: int
    copies: Mapping[str, Sequence[Sequence2Hz]]
    progress: bool

    def split(
        self, split: Split, folder: Path, what: str
    ) -> tuple[keras.Model, pd.DataFrame, dict[str, Curve]]:
        """Train on one split and predict its test tracks, or load what was done before."""
        group = {i: s.group for i, s in self.by_id.items()}
        parts = inner_parts(split, group, self.inner_folds)
        done = folder / "done.json"
        if done.is_file():
            model = average([self._build(train) for train, _ in parts])
            with np.load(folder / "weights.npz") as stored:
                model.set_weights([stored[f"w{i}"] for i in range(len(model.weights))])
            curves = load_predictions(folder / "predictions.npz") if split.test else {}
            return model, pd.DataFrame(read_json(done)["history"]), curves
        networks, rows = [], []
        for number, (train, held) in enumerate(parts, 1):
            name = what if len(parts) == 1 else f"{what}, part {number} of {len(parts)}"
            network, history = self._fit(train, held, folder / f"part-{number}", name)
            networks.append(network)
            rows += [{**row, "part": number} for row in history]
        model = average(networks)
        curves = self._predict(model, split.test)
        folder.mkdir(parents=True, exist_ok=True)
        with atomic_path(folder / "weights.npz") as temporary:
            np.savez(temporary, **{f"w{i}": w for i, w in enumerate(model.get_weights())})
        if split.test:
            save_predictions(folder / "predictions.npz", curves)
        write_json(done, {"history": rows})
        return model, pd.DataFrame(rows), curves

    def _build(self, train: Sequence[str]) -> keras.Model:
        keras.backend.clear_session()
        set_seed(self.fit_config.seed)
        scale = normalisation([self.by_id[i] for i in train])
        model = FAMILIES[self.family](self.config, *scale)
        return compile_model(model, self.config.learning_rate, self.fit_config.averaging)

    def _fit(
        self, train: Sequence[str], held: Sequence[str], folder: Path, what: str
    ) -> tuple[keras.Model, list[dict]]:
        def windows(sequences: list[Sequence2Hz]) -> Windows:
            return make_windows(sequences, self.target, self.window_frames)

        altered = [copy for i in train for copy in self.copies.get(i, ())]
        trained_on = windows([self.by_id[i] for i in train] + altered)
        stopped_by = windows([self.by_id[i] for i in held])
        model = self._build(train)
        what = f"{self.family} {self.target}, {what}"
        history = fit(model, trained_on, stopped_by, self.fit_config, folder, what, self.progress)
        return model, history

    def _predict(self, model: keras.Model, test: Sequence[str]) -> dict[str, Curve]:
        tracks = [self.by_id[i] for i in test]
        longest = getattr(self.config, "max_frames", None)
        return collect(tracks, predict_sequences(model, tracks, longest), self.target)


def _export_split(sequences: Sequence[Sequence2Hz], seed: int) -> Split:
    """All groups for training but one balanced part for early stopping, nothing for test."""
    groups = len({s.group for s in sequences})
    parts = make_splits(sequences, min(5, groups - 1), seed=seed)
    held = parts[seed % len(parts)]
    return Split(train=held.train + held.validation, validation=held.test, test=())


def _data_hash(sequences: Sequence[Sequence2Hz]) -> str:
    return sha256_text(
        "".join(
            f"{s.id} {s.group} {s.features.shape} "
            + hashlib.sha256(
                s.features.tobytes() + s.labels.tobytes() + s.mask.tobytes()
            ).hexdigest()
            for s in sequences
        )
    )


def _inference_ms(
    model: keras.Model, sequence: Sequence2Hz, longest: int | None, repeats: int = 5
) -> float:
    """Milliseconds for one minute of features, best of some repeats, in Keras."""
    minute = np.resize(sequence.features, (120, sequence.features.shape[1])).astype(np.float32)
    predict = sequence_predictor(model, longest)
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
    augment: AugmentConfig | None = None,
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
            "inner_folds": trained.inner_folds,
            "model": asdict(config),
            "training": asdict(fit_config),
            "features": trained.features.to_json(),
            "augmentation": asdict(augment) if augment and augment.names else None,
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

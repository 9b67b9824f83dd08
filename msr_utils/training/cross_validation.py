"""Train one family on one target over the splits of a corpus, resumable fold by fold."""

from __future__ import annotations

import hashlib
import json
import shutil
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np
import pandas as pd

from msr_utils.dataset.sequences import Sequence2Hz, collect, normalisation
from msr_utils.dataset.splits import InnerParts, Split, inner_parts, make_splits
from msr_utils.dataset.windows import Windows, make_windows
from msr_utils.io import (
    atomic_path,
    plain,
    read_json,
    sha256_text,
    write_json,
)
from msr_utils.metrics.curves import (
    Curve,
    load_predictions,
    mean_curves,
    save_predictions,
)
from msr_utils.models.backend import keras
from msr_utils.models.checkpoints import checkpoint_hash
from msr_utils.models.ensemble import average
from msr_utils.models.families import FAMILIES, FAMILY_TABLES, ModelConfig, family_of
from msr_utils.models.linear import LinearConfig
from msr_utils.models.lstm import LSTMConfig
from msr_utils.models.ridge import solve_ridge
from msr_utils.models.transformer import TransformerConfig
from msr_utils.paths import TRAININGS
from msr_utils.provenance.cache_keys import computed_by, computed_on
from msr_utils.training.cost import TrainingCost
from msr_utils.training.loop import (
    FitConfig,
    compile_model,
    fit,
    predict_sequences,
    sequence_predictor,
    set_seed,
)
from msr_utils.training.settings import CrossValidation, longest_input


@dataclass(frozen=True)
class Trained:
    """What training over all splits gives.

    Parameters
    ----------
    predictions : dict of str to Curve
        Every test track, predicted by the model of the split that held it out.
    singles : list of dict of str to Curve
        The same by each network of the mean alone.
    history : pandas.DataFrame
        ``fold, network, epoch, loss, mae, val_loss, val_mae, seconds``; fold 0 is the training
        for export. Of a linear model ``fold, network, alpha, val_loss``.
    cost : TrainingCost
    model : keras.Model
        To export: of the only split, or trained for export (`CrossValidation.to_export`).
    config : LSTMConfig, TransformerConfig or LinearConfig
    fit_config : FitConfig
    settings : CrossValidation
    """

    predictions: dict[str, Curve]
    singles: list[dict[str, Curve]]
    history: pd.DataFrame
    cost: TrainingCost
    model: keras.Model
    config: ModelConfig
    fit_config: FitConfig
    settings: CrossValidation


def cross_validate(
    config: ModelConfig,
    fit_config: FitConfig,
    sequences: Sequence[Sequence2Hz],
    settings: CrossValidation,
    copies: Mapping[str, Sequence[Sequence2Hz]] | None = None,
    progress: bool = True,
    trainings: Path = TRAININGS,
    label: str = "",
) -> Trained:
    """Train and test on every split; with several, also train the model to export.

    Every training is kept and continues after a kill. A linear model is solved, not trained: one
    a split, its penalty chosen on the same inner folds.

    Parameters
    ----------
    config : LSTMConfig, TransformerConfig or LinearConfig
    fit_config : FitConfig
        Network k is seeded with its seed + k.
    sequences : sequence of Sequence2Hz
    settings : CrossValidation
    copies : mapping of str to sequence of Sequence2Hz, optional
        Altered copies by track id (see `msr_utils.dataset.augmented.copies_of`). They are trained
        on beside the training tracks. Validation and test tracks are never altered.
    progress : bool
        Show a bar for each training.
    trainings : Path
        Where finished and unfinished trainings are kept.
    label : str
        Before the names in the progress bar; the family's name by default.

    Raises
    ------
    FloatingPointError
        If a loss stops being finite.
    ValueError
        See `CrossValidation.check`.
    """
    settings.check(config)
    copies = copies or {}
    key = _cache_key(config, fit_config, sequences, settings, copies)
    work = Path(trainings) / f"{family_of(config)}-{settings.target}-{key}"
    by_id = {s.id: s for s in sequences}
    training = _Training(config, fit_config, settings, by_id, copies, progress, label)
    model, history, singles = training.train_all(_plan(settings, sequences, fit_config.seed), work)
    inference_ms = _inference_ms(model, sequences[0], longest_input(config))
    return Trained(
        predictions=mean_curves(singles),
        singles=singles,
        history=history,
        cost=_cost(model, history, inference_ms),
        model=model,
        config=config,
        fit_config=fit_config,
        settings=settings,
    )


def _plan(
    settings: CrossValidation, sequences: Sequence[Sequence2Hz], seed: int
) -> Iterator[tuple[int, Split, str]]:
    """Number, tracks and name of each training; 0 is the one for export."""
    for fold, split in enumerate(settings.splits, 1):
        yield fold, split, f"fold {fold} of {len(settings.splits)}"
    if len(settings.splits) > 1 and settings.to_export:
        yield 0, _export_split(sequences, seed), "to export"


def _cache_key(
    config: ModelConfig,
    fit_config: FitConfig,
    sequences: Sequence[Sequence2Hz],
    settings: CrossValidation,
    copies: Mapping[str, Sequence[Sequence2Hz]],
) -> str:
    """Name of everything that trainings depend on.

    Finished or unfinished work of other data, parameters, code, packages or instructions must
    not be taken up.
    """
    family, splits = family_of(config), settings.splits
    target, window_frames, inner_folds = (
        settings.target, settings.window_frames, settings.inner_folds,
    )  # fmt: skip
    key = sha256_text(
        json.dumps(
            plain(
                [family, asdict(config), asdict(fit_config), target, window_frames, inner_folds]
                + [[asdict(s) for s in splits], _data_hash(sequences)]
                + [_data_hash([c for altered in copies.values() for c in altered])]
                + [training_code(family), checkpoint_hash(getattr(config, "pretrained", ""))]
                + [computed_on()]
            )
        )
    )
    return key[:16]


def validation_losses(
    config: LSTMConfig | TransformerConfig,
    fit_config: FitConfig,
    sequences: Sequence[Sequence2Hz],
    settings: CrossValidation,
    folder: Path,
    progress: bool = True,
    label: str = "",
) -> Iterator[float]:
    """Train a network for each inner fold of each split, test tracks left aside.

    Parameters
    ----------
    config, fit_config, sequences, progress, label
        As in `cross_validate`.
    settings : CrossValidation
        Test tracks of its splits are not read; `seeds` and `to_export` are ignored.
    folder : Path
        Of this configuration on these data alone. Finished trainings in it are read, unfinished
        ones continue.

    Yields
    ------
    float
        After each network, its lowest mean squared error on the inner fold that it holds out.
    """
    splits, inner_folds = settings.splits, settings.inner_folds
    known = {i for split in splits for i in split.train + split.validation}
    by_id = {s.id: s for s in sequences if s.id in known}
    training = _Training(config, fit_config, settings, by_id, {}, progress, label)
    for fold, split in enumerate(splits, 1):
        parts = inner_parts(split, {i: s.group for i, s in by_id.items()}, inner_folds)
        for number in range(len(parts)):
            network_folder = Path(folder) / f"fold-{fold}" / f"network-{number + 1}"
            description = f"fold {fold} of {len(splits)}, part {number + 1} of {len(parts)}"
            _, history, _ = training.train_network(number, parts, (), network_folder, description)
            yield min(row["val_loss"] for row in history)


@dataclass(frozen=True)
class _Training:
    """What all trainings of one cross-validation have in common."""

    config: ModelConfig
    fit_config: FitConfig
    settings: CrossValidation
    by_id: dict[str, Sequence2Hz]
    copies: Mapping[str, Sequence[Sequence2Hz]]
    progress: bool
    label: str

    @property
    def networks(self) -> int:
        """Networks on each split."""
        return 1 if isinstance(self.config, LinearConfig) else self.settings.seeds

    def train_all(
        self, plan: Iterable[tuple[int, Split, str]], work: Path
    ) -> tuple[keras.Model, pd.DataFrame, list[dict[str, Curve]]]:
        """Train on every split of a plan.

        Returns
        -------
        model : keras.Model
            Of the last split.
        history : pandas.DataFrame
        singles : list of dict of str to Curve
            Predictions of all test tracks, by each network alone.
        """
        singles: list[dict[str, Curve]] = [{} for _ in range(self.networks)]
        histories = []
        for fold, split, description in plan:
            try:
                model, history, curves = self.train_split(split, work / f"fold-{fold}", description)
            except FloatingPointError:
                for unfinished in work.glob("fold-*/network-*/unfinished"):
                    shutil.rmtree(unfinished)  # continued, it would diverge again
                raise
            histories.append(history.assign(fold=fold))
            for single, of_split in zip(singles, curves, strict=True):
                single |= of_split
        return model, pd.concat(histories, ignore_index=True), singles

    def train_split(
        self, split: Split, folder: Path, description: str
    ) -> tuple[keras.Model, pd.DataFrame, list[dict[str, Curve]]]:
        """Train on one split and predict its test tracks, or load what was done before."""
        group = {i: s.group for i, s in self.by_id.items()}
        parts = inner_parts(split, group, self.settings.inner_folds)
        networks, rows, curves = [], [], []
        for number in range(self.networks):
            network, history, predicted = self.train_network(
                number,
                parts,
                split.test,
                folder / f"network-{number + 1}",
                f"{description}, network {number + 1} of {self.networks}",
            )
            networks.append(network)
            curves.append(predicted)
            rows += [{**row, "network": number + 1} for row in history]
        return average(networks), pd.DataFrame(rows), curves

    def train_network(
        self, number: int, parts: InnerParts, test: Sequence[str], folder: Path, description: str
    ) -> tuple[keras.Model, list[dict], dict[str, Curve]]:
        """Train the network with this number and predict tracks, or load what was done before."""
        train, held_out = parts[number % len(parts)]
        solved = isinstance(self.config, LinearConfig)
        seed = self.fit_config.seed + number
        model = self._build(train + held_out if solved else train, seed)
        done = folder / "done.json"
        if done.is_file():
            with np.load(folder / "weights.npz") as stored:
                model.set_weights([stored[f"w{i}"] for i in range(len(model.weights))])
            curves = load_predictions(folder / "predictions.npz") if test else {}
            return model, read_json(done)["history"], curves
        if solved:
            history = self._solve(model, parts)
        else:
            unfinished = folder / "unfinished"
            history = self._fit(model, train, held_out, seed, unfinished, description)
        curves = self._predict(model, test)
        folder.mkdir(parents=True, exist_ok=True)
        with atomic_path(folder / "weights.npz") as temporary:
            np.savez(temporary, **{f"w{i}": w for i, w in enumerate(model.get_weights())})
        if test:
            save_predictions(folder / "predictions.npz", curves)
        write_json(done, {"history": history})
        shutil.rmtree(folder / "unfinished", ignore_errors=True)
        return model, history, curves

    def _build(self, train: Sequence[str], seed: int) -> keras.Model:
        keras.backend.clear_session()
        set_seed(seed)
        scale = normalisation([self.by_id[i] for i in train])
        model = FAMILIES[family_of(self.config)](self.config, *scale)
        if isinstance(self.config, LinearConfig):
            return model
        return compile_model(model, self.config.learning_rate, self.fit_config.averaging)

    def _fit(
        self,
        model: keras.Model,
        train: Sequence[str],
        held_out: Sequence[str],
        seed: int,
        folder: Path,
        description: str,
    ) -> list[dict]:
        target, length = self.settings.target, self.settings.window_frames
        joint = getattr(self.config, "joint", False)

        def windows(sequences: list[Sequence2Hz]) -> Windows:
            return make_windows(sequences, target, length, joint=joint)

        return fit(
            model,
            windows([self.by_id[i] for i in train] + self._altered(train)),
            windows([self.by_id[i] for i in held_out]),
            replace(self.fit_config, seed=seed),
            folder,
            f"{self.label or family_of(self.config)} {target}, {description}",
            self.progress,
        )

    def _solve(self, model: keras.Model, parts: InnerParts) -> list[dict]:
        """Put the weights of ridge regression into a linear network."""
        assert isinstance(self.config, LinearConfig)
        tracks = [
            (
                [self.by_id[i] for i in train] + self._altered(train),
                [self.by_id[i] for i in held_out],
            )
            for train, held_out in parts
        ]
        fit = solve_ridge(tracks, self.settings.target, self.config.alphas)
        norm = model.get_layer("normalisation")
        sd = 1 / np.asarray(norm.scale, np.float64)
        mean = -np.asarray(norm.offset, np.float64) * sd
        model.get_layer("curve").set_weights(
            [
                (fit.slope * sd)[:, None].astype(np.float32),
                np.array([fit.level + mean @ fit.slope], np.float32),
            ]
        )
        return fit.tried

    def _altered(self, train: Sequence[str]) -> list[Sequence2Hz]:
        return [copy for i in train for copy in self.copies.get(i, ())]

    def _predict(self, model: keras.Model, test: Sequence[str]) -> dict[str, Curve]:
        tracks = [self.by_id[i] for i in test]
        curves = predict_sequences(model, tracks, longest_input(self.config))
        return collect(tracks, curves, self.settings.target)


def _cost(model: keras.Model, history: pd.DataFrame, inference_ms: float) -> TrainingCost:
    parameters = int(sum(np.prod(v.shape) for v in model.trainable_variables))
    if "epoch" not in history:
        return TrainingCost(parameters, inference_ms)
    return TrainingCost(
        parameters,
        inference_ms,
        training_s=float(history.seconds.sum()),
        seconds_per_epoch=float(history.seconds.median()),
        epochs=float(history.groupby(["fold", "network"]).epoch.max().mean()),
    )


def training_code(family: str) -> dict[str, str]:
    """What turns sequences into a trained model of one family; see `computed_by`."""
    return computed_by(_Training, _export_split, FAMILIES[family], tables=FAMILY_TABLES)


def _export_split(sequences: Sequence[Sequence2Hz], seed: int) -> Split:
    """All groups but one balanced part for early stopping are trained on; nothing is tested."""
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

"""Train one family on one target over the splits of a corpus, resumable fold by fold."""

from __future__ import annotations

import hashlib
import json
import shutil
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from msr_utils.dataset.sequences import Sequence2Hz, collect, normalisation
from msr_utils.dataset.splits import Split, inner_parts, make_splits
from msr_utils.dataset.windows import Windows, make_windows
from msr_utils.features.config import FeatureConfig
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
from msr_utils.models.families import FAMILIES
from msr_utils.models.ridge import solve_ridge
from msr_utils.paths import TRAININGS
from msr_utils.provenance.cache_keys import computed_by, computed_on
from msr_utils.training.loop import (
    FitConfig,
    compile_model,
    fit,
    predict_sequences,
    sequence_predictor,
    set_seed,
)


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
    cost : dict of str to float
        ``parameters`` (trainable) and ``inference_ms_per_minute`` of the mean of all networks; of
        what is trained also ``training_s`` (all networks, whenever they were trained) and
        ``seconds_per_epoch, epochs`` of one.
    model : keras.Model
        To export: of the only split, or trained for export (`cross_validate`).
    features : FeatureConfig
        What the model reads.
    folds, inner_folds, seeds : int
    """

    predictions: dict[str, Curve]
    singles: list[dict[str, Curve]]
    history: pd.DataFrame
    cost: dict[str, float]
    model: keras.Model
    features: FeatureConfig
    folds: int
    inner_folds: int
    seeds: int


def cross_validate(
    family: str,
    config: Any,
    fit_config: FitConfig,
    sequences: Sequence[Sequence2Hz],
    features: FeatureConfig,
    splits: Sequence[Split],
    target: str,
    window_frames: int,
    inner_folds: int = 1,
    seeds: int = 1,
    to_export: bool = True,
    copies: Mapping[str, Sequence[Sequence2Hz]] | None = None,
    progress: bool = True,
    trainings: Path = TRAININGS,
    label: str = "",
) -> Trained:
    """Train and test on every split; with several, also train the model to export.

    On each split as many networks are trained as there are `seeds`, and the model is their
    mean. With one inner fold the split's validation part stops each training, as in the paper.
    With more, training and validation tracks are divided by group into so many parts, and the
    networks take turns: one is trained without a part and stopped by it, the next without the
    next. Where groups are few, one part says little and one network varies much [1]_.

    With one split its own model is exported, and its scores are that model's. With several,
    one more model is trained on all groups: the scores then estimate it from models that
    were trained on less. Without `to_export` that one is left out, and the last split's model
    is given. Every training goes on after a kill.

    The family "linear" is solved, not trained: one model a split, its penalty chosen on the
    same validation parts.

    Parameters
    ----------
    family : str
        Key of `FAMILIES`.
    config : LSTMConfig, TransformerConfig or LinearConfig
    fit_config : FitConfig
        Its seed is the first network's, the next one's is one more.
    sequences : sequence of Sequence2Hz
    features : FeatureConfig
        What they hold.
    splits : sequence of Split
    target : str
        "valence" or "arousal".
    window_frames : int > 0
        Length of training excerpts.
    inner_folds : int >= 1
    seeds : int >= 1
    to_export : bool
    copies : mapping of str to sequence of Sequence2Hz, optional
        Altered copies by track id (see `msr_utils.dataset.augmented.copies_of`), trained on beside the
        tracks of a training part. Validation and test tracks are never altered.
    progress : bool
    trainings : Path
        Where finished and unfinished trainings are kept.
    label : str
        Before the names in the progress bar.

    References
    ----------
    .. [1] Krogh and Vedelsby (1995), "Neural network ensembles, cross validation, and active
       learning", NIPS 7.
    """
    if seeds < 1:
        raise ValueError(f"seeds: must be at least 1, not {seeds}")
    longest = getattr(config, "max_frames", None)
    if longest and longest > window_frames:
        raise ValueError(
            f"max_frames: {longest} positions, but windows of {window_frames} frames train only "
            "the first of them; make window_frames as long"
        )
    # Finished or unfinished work of other data, parameters, code, packages or instructions must
    # not be taken up.
    key = sha256_text(
        json.dumps(
            plain(
                [family, asdict(config), asdict(fit_config), target, window_frames, inner_folds]
                + [[asdict(s) for s in splits], _data_hash(sequences)]
                + [_data_hash([c for own in (copies or {}).values() for c in own])]
                + [training_code(family), checkpoint_hash(getattr(config, "pretrained", ""))]
                + [computed_on()]
            )
        )
    )[:16]
    work = Path(trainings) / f"{family}-{target}-{key}"
    one = _Training(
        family, config, fit_config, {s.id: s for s in sequences}, target, window_frames,
        inner_folds, seeds if family != "linear" else 1, copies or {}, progress, label,
    )  # fmt: skip
    plans = [(fold, split, f"fold {fold} of {len(splits)}") for fold, split in enumerate(splits, 1)]
    if len(splits) > 1 and to_export:
        plans.append((0, _export_split(sequences, fit_config.seed), "to export"))
    singles: list[dict[str, Curve]] = [{} for _ in range(one.networks)]
    histories = []
    for fold, split, what in plans:
        try:
            model, history, curves = one.split(split, work / f"fold-{fold}", what)
        except FloatingPointError:
            for unfinished in work.glob("fold-*/network-*/unfinished"):
                shutil.rmtree(unfinished)  # what diverged would not go on, but diverge again
            raise
        histories.append(history.assign(fold=fold))
        for mine, own in zip(singles, curves, strict=True):
            mine |= own
    history = pd.concat(histories, ignore_index=True)
    cost = {
        "parameters": int(sum(np.prod(v.shape) for v in model.trainable_variables)),
        "inference_ms_per_minute": _inference_ms(model, sequences[0], longest),
    }
    if "epoch" in history:
        cost["training_s"] = float(history.seconds.sum())
        cost["seconds_per_epoch"] = float(history.seconds.median())
        cost["epochs"] = float(history.groupby(["fold", "network"]).epoch.max().mean())
    return Trained(
        predictions=mean_curves(singles),
        singles=singles,
        history=history,
        cost=cost,
        model=model,
        features=features,
        folds=len(splits),
        inner_folds=inner_folds,
        seeds=one.networks,
    )


def validation_losses(
    family: str,
    config: Any,
    fit_config: FitConfig,
    sequences: Sequence[Sequence2Hz],
    splits: Sequence[Split],
    target: str,
    window_frames: int,
    folder: Path,
    inner_folds: int = 1,
    progress: bool = True,
    label: str = "",
) -> Iterator[float]:
    """Train a network for each inner part of each split, test tracks left aside.

    Parameters
    ----------
    family, config, fit_config, sequences, target, window_frames, inner_folds, progress, label
        As in `cross_validate`; the family is one that is trained, not solved.
    splits : sequence of Split
        Their test tracks are not read.
    folder : Path
        Of this configuration on these data alone: trainings in it are read or go on.

    Yields
    ------
    float
        Lowest mean squared error of the part that stopped the training, after each network.
    """
    known = {i for split in splits for i in split.train + split.validation}
    by_id = {s.id: s for s in sequences if s.id in known}
    one = _Training(
        family, config, fit_config, by_id, target, window_frames, inner_folds, inner_folds, {},
        progress, label,
    )  # fmt: skip
    for fold, split in enumerate(splits, 1):
        parts = inner_parts(split, {i: s.group for i, s in by_id.items()}, inner_folds)
        for number in range(len(parts)):
            where = Path(folder) / f"fold-{fold}" / f"network-{number + 1}"
            what = f"fold {fold} of {len(splits)}, part {number + 1} of {len(parts)}"
            _, history, _ = one._network(number, parts, (), where, what)
            yield min(row["val_loss"] for row in history)


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
    networks: int
    copies: Mapping[str, Sequence[Sequence2Hz]]
    progress: bool
    label: str

    def split(
        self, split: Split, folder: Path, what: str
    ) -> tuple[keras.Model, pd.DataFrame, list[dict[str, Curve]]]:
        """Train on one split and predict its test tracks, or load what was done before."""
        group = {i: s.group for i, s in self.by_id.items()}
        parts = inner_parts(split, group, self.inner_folds)
        if self.networks < len(parts) and self.family != "linear":
            raise ValueError(
                f"seeds: {self.networks} networks for {len(parts)} validation parts; "
                "make seeds at least inner_folds"
            )
        networks, rows, curves = [], [], []
        for number in range(self.networks):
            name = f"{what}, network {number + 1} of {self.networks}"
            network, history, own = self._network(
                number, parts, split.test, folder / f"network-{number + 1}", name
            )
            networks.append(network)
            curves.append(own)
            rows += [{**row, "network": number + 1} for row in history]
        return average(networks), pd.DataFrame(rows), curves

    def _network(
        self, number: int, parts: list, test: Sequence[str], folder: Path, what: str
    ) -> tuple[keras.Model, list[dict], dict[str, Curve]]:
        train, held = parts[number % len(parts)]
        if self.family == "linear":
            train = train + held  # all that is not tested
        seed = self.fit_config.seed + number
        model, done = self._build(train, seed), folder / "done.json"
        if done.is_file():
            with np.load(folder / "weights.npz") as stored:
                model.set_weights([stored[f"w{i}"] for i in range(len(model.weights))])
            curves = load_predictions(folder / "predictions.npz") if test else {}
            return model, read_json(done)["history"], curves
        if self.family == "linear":
            history = self._solve(model, parts)
        else:
            history = self._fit(model, train, held, seed, folder / "unfinished", what)
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
        model = FAMILIES[self.family](self.config, *scale)
        if self.family == "linear":
            return model
        return compile_model(model, self.config.learning_rate, self.fit_config.averaging)

    def _fit(
        self,
        model: keras.Model,
        train: Sequence[str],
        held: Sequence[str],
        seed: int,
        folder: Path,
        what: str,
    ) -> list[dict]:
        def windows(sequences: list[Sequence2Hz]) -> Windows:
            joint = getattr(self.config, "joint", False)
            return make_windows(sequences, self.target, self.window_frames, joint=joint)

        fit_config = replace(self.fit_config, seed=seed)
        trained_on = windows([self.by_id[i] for i in train] + self._altered(train))
        stopped_by = windows([self.by_id[i] for i in held])
        what = f"{self.label or self.family} {self.target}, {what}"
        return fit(model, trained_on, stopped_by, fit_config, folder, what, self.progress)

    def _solve(self, model: keras.Model, parts: list) -> list[dict]:
        tracks = [
            ([self.by_id[i] for i in train] + self._altered(train), [self.by_id[i] for i in held])
            for train, held in parts
        ]
        slope, level, tried = solve_ridge(tracks, self.target, self.config.alphas)
        norm = model.get_layer("normalisation")
        sd = 1 / np.asarray(norm.scale, np.float64)
        mean = -np.asarray(norm.offset, np.float64) * sd
        model.get_layer("curve").set_weights(
            [(slope * sd)[:, None].astype(np.float32), np.array([level + mean @ slope], np.float32)]
        )
        return tried

    def _altered(self, train: Sequence[str]) -> list[Sequence2Hz]:
        return [copy for i in train for copy in self.copies.get(i, ())]

    def _predict(self, model: keras.Model, test: Sequence[str]) -> dict[str, Curve]:
        tracks = [self.by_id[i] for i in test]
        longest = getattr(self.config, "max_frames", None)
        return collect(tracks, predict_sequences(model, tracks, longest), self.target)


def training_code(family: str) -> dict[str, str]:
    """What turns sequences into a trained model of one family; see `computed_by`."""
    return computed_by(_Training, _export_split, FAMILIES[family], tables=("FAMILIES",))


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

"""Train a Keras model on windows: seeded, stopped early by validation, resumable by epoch."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from msr_utils.dataset.sequences import Sequence2Hz
from msr_utils.dataset.windows import Windows
from msr_utils.io import atomic_path, read_json, write_json
from msr_utils.models.backend import keras, tf


@dataclass(frozen=True)
class FitConfig:
    """How a model is trained.

    Parameters
    ----------
    epochs : int > 0
        Most passes over the training windows.
    batch_size : int > 0
        Windows in a batch.
    patience : int > 0
        Epochs without a lower validation loss before training stops.
    averaging : float in [0, 1)
        Momentum of the exponential average of the weights over steps. The averaged weights
        are validated and kept; with 0, those of the last step. On small corpora single steps are
        noisy (Polyak and Juditsky 1992, SIAM J. Control and Optimization 30(4)).
    seed : int
    """

    epochs: int = 40
    batch_size: int = 8
    patience: int = 8
    averaging: float = 0.99
    seed: int = 7

    def __post_init__(self) -> None:
        for name in ("epochs", "batch_size", "patience"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name}: must be at least 1, not {getattr(self, name)}")
        if not 0 <= self.averaging < 1:
            raise ValueError(f"averaging: must be in [0, 1), not {self.averaging}")


def set_seed(seed: int) -> None:
    """Make everything after this deterministic on one machine: call before building a model.

    Notes
    -----
    Bit-identical results are claimed for the same machine, thread count and lock only.
    """
    random.seed(seed)
    keras.utils.set_random_seed(seed)
    tf.config.experimental.enable_op_determinism()


def compile_model(
    model: keras.Model, learning_rate: float, averaging: float = FitConfig.averaging
) -> keras.Model:
    """Adam, mean squared error over the frames that count, mean absolute error as metric."""
    model.compile(
        optimizer=keras.optimizers.Adam(
            learning_rate, use_ema=averaging > 0, ema_momentum=averaging
        ),
        # Divide by the sum of weights: padding and unlabelled frames must not dilute the loss.
        loss=keras.losses.MeanSquaredError(reduction="mean_with_sample_weight"),
        weighted_metrics=[keras.metrics.MeanAbsoluteError(name="mae")],
        jit_compile=False,
    )
    return model


def fit(
    model: keras.Model,
    train: Windows,
    validation: Windows | None,
    config: FitConfig,
    work_dir: Path,
    description: str = "training",
    progress: bool = True,
) -> list[dict[str, float]]:
    """Train a model; after a kill, continue with the epoch that was interrupted.

    With `validation`, training stops when its loss has not fallen for `patience` epochs, and
    the weights of the best epoch are kept. Without, it runs for all epochs. Weights, state of the
    optimiser and history are written to `work_dir` after every epoch. A continued training ends
    with the same weights as an uninterrupted one.

    Parameters
    ----------
    model : keras.Model
        Compiled by `compile_model`, input (N, L, D), output (N, L, K).
    train : Windows
    validation : Windows or None
    config : FitConfig
    work_dir : Path
        Folder of this training alone.
    description : str
        Shown by the progress bar.
    progress : bool

    Returns
    -------
    list of dict
        One per epoch: ``epoch, loss, mae, seconds`` and, with `validation`, ``val_loss,
        val_mae``.

    Raises
    ------
    FloatingPointError
        If the loss stops being finite.
    ValueError
        If `work_dir` holds a training with other parameters.
    """
    work_dir = Path(work_dir)
    work_dir.mkdir(parents=True, exist_ok=True)
    model.optimizer.build(model.trainable_variables)
    state_file, best_file = work_dir / "state.npz", work_dir / "best.npz"
    history: list[dict[str, float]] = []
    if state_file.is_file():
        history = _load_state(model, state_file, asdict(config))
    with _bar(config.epochs, len(history), description, progress) as bar:
        while not _finished(history, config):
            row = _epoch(model, train, validation, config, history, best_file, description)
            history.append(row)
            _save_state(model, state_file, asdict(config), history)
            bar.update()
            bar.set_postfix(loss=f"{row['loss']:.4f}", val=f"{row.get('val_loss', np.nan):.4f}")
    _keep_best(model, best_file if validation is not None else None)
    return history


@contextmanager
def _bar(epochs: int, done: int, description: str, progress: bool) -> Iterator[tqdm]:
    """A progress bar over epochs; a training that stops early ends with a full one."""
    with tqdm(
        total=epochs, initial=done, desc=description, unit="epoch", disable=not progress
    ) as bar:
        yield bar
        bar.total = bar.n


def _epoch(
    model: keras.Model,
    train: Windows,
    validation: Windows | None,
    config: FitConfig,
    history: list[dict[str, float]],
    best_file: Path,
    description: str,
) -> dict[str, float]:
    """Train for one epoch and validate; write the weights if no earlier epoch was better."""
    epoch = len(history) + 1
    started = time.perf_counter()
    row = {"epoch": epoch, **_train_epoch(model, train, config, epoch)}
    if not np.isfinite(row["loss"]):
        raise FloatingPointError(
            f"{description}: the loss is {row['loss']} in epoch {epoch}; "
            "lower learning_rate or use activation 'tanh'"
        )
    if validation is not None:
        with _averaged(model):
            row |= _validate(model, validation, config.batch_size)
            if row["val_loss"] <= min((h["val_loss"] for h in history), default=np.inf):
                _save_arrays(best_file, {f"w{i}": w for i, w in enumerate(model.get_weights())})
    row["seconds"] = time.perf_counter() - started
    return row


def _keep_best(model: keras.Model, best_file: Path | None) -> None:
    """Load the weights of the best epoch; without one, keep the average of the last steps."""
    if best_file is not None:
        with np.load(best_file) as best:
            model.set_weights([best[f"w{i}"] for i in range(len(model.weights))])
    elif model.optimizer.use_ema:
        model.optimizer.finalize_variable_values(model.trainable_variables)


@contextmanager
def _averaged(model: keras.Model) -> Iterator[None]:
    """Use the averaged weights inside the block, and those of the last step after it."""
    last_step = [np.array(v) for v in model.trainable_variables]
    if model.optimizer.use_ema:
        model.optimizer.finalize_variable_values(model.trainable_variables)
    yield
    for variable, value in zip(model.trainable_variables, last_step, strict=True):
        variable.assign(value)


def _train_epoch(
    model: keras.Model, train: Windows, config: FitConfig, epoch: int
) -> dict[str, float]:
    # The order follows from the seed and the epoch alone, also after a kill.
    order = np.random.default_rng([config.seed, epoch]).permutation(len(train))
    logs, frames = [], []
    for start in range(0, len(order), config.batch_size):
        batch, counts = _full(order[start : start + config.batch_size], config.batch_size)
        weights = train.weights[batch] * counts[:, None]
        # Keras resets its metrics before each batch, so the mean of the epoch is taken here.
        step = model.train_on_batch(
            train.features[batch], train.labels[batch], sample_weight=weights, return_dict=True
        )
        logs.append([float(step["loss"]), float(step["mae"])])
        frames.append(weights.sum())
    loss, mae = np.average(logs, axis=0, weights=frames)
    return {"loss": float(loss), "mae": float(mae)}


def _full(batch: np.ndarray, size: int) -> tuple[np.ndarray, np.ndarray]:
    """Fill a batch up to `size` by repeating its windows; 1 for those that count, else 0.

    All batches have one shape, since TensorFlow compiles the graph again for another one.
    """
    counts = (np.arange(size) < len(batch)).astype(np.float32)
    return np.resize(batch, size), counts


def _finished(history: list[dict[str, float]], config: FitConfig) -> bool:
    if len(history) >= config.epochs:
        return True
    if not history or "val_loss" not in history[0]:
        return False
    best = min(range(len(history)), key=lambda i: history[i]["val_loss"])
    return len(history) - 1 - best >= config.patience


def _validate(model: keras.Model, windows: Windows, batch_size: int) -> dict[str, float]:
    squared = absolute = weight = 0.0
    for start in range(0, len(windows), batch_size):
        batch, counts = _full(np.arange(start, min(start + batch_size, len(windows))), batch_size)
        weights = windows.weights[batch] * counts[:, None]
        # The first curve only: the second one of a joint model does not decide when to stop.
        curve = np.asarray(model.predict_on_batch(windows.features[batch]))[..., 0]
        error = curve - windows.labels[batch, :, 0]
        squared += float((error**2 * weights).sum(dtype=np.float64))
        absolute += float((np.abs(error) * weights).sum(dtype=np.float64))
        weight += float(weights.sum())
    return {"val_loss": squared / weight, "val_mae": absolute / weight}


def _variables(model: keras.Model) -> dict[str, keras.Variable]:
    """Everything that training changes: weights, random states of dropout, moments of Adam."""
    layers = {v.path: v for layer in model._flatten_layers() for v in layer.variables}
    optimizer = {f"optimizer/{i}": v for i, v in enumerate(model.optimizer.variables)}
    return layers | optimizer


def _save_state(
    model: keras.Model, path: Path, config: dict, history: list[dict[str, float]]
) -> None:
    arrays = {f"v{i}": np.array(v) for i, v in enumerate(_variables(model).values())}
    # The history is written first and the arrays, with their epoch, last.
    write_json(path.with_suffix(".json"), {"config": config, "history": history})
    _save_arrays(path, arrays | {"epoch": np.array(len(history))})


def _load_state(model: keras.Model, path: Path, config: dict) -> list[dict[str, float]]:
    stored = read_json(path.with_suffix(".json"))
    if stored["config"] != config:
        raise ValueError(f"{path.parent}: holds a training with other parameters; remove it")
    with np.load(path) as arrays:
        for i, variable in enumerate(_variables(model).values()):
            variable.assign(arrays[f"v{i}"])
        # A kill between the two files leaves the history one epoch ahead of the arrays.
        return stored["history"][: int(arrays["epoch"])]


def _save_arrays(path: Path, arrays: dict[str, Any]) -> None:
    with atomic_path(path) as temporary:
        np.savez(temporary, **arrays)


def sequence_predictor(
    model: keras.Model, max_frames: int | None = None
) -> Callable[[np.ndarray], np.ndarray]:
    """Compile a model into a function from features (T, D) to a curve (T,), for any T.

    Parameters
    ----------
    model : keras.Model
    max_frames : int, optional
        Longest input the model takes: more is predicted in consecutive windows.
    """

    # One graph for every length: a retrace per track would cost more than the prediction.
    @tf.function(input_signature=[tf.TensorSpec((1, None, model.input_shape[-1]), tf.float32)])
    def call(features: tf.Tensor) -> tf.Tensor:
        return model(features, training=False)

    def predict(features: np.ndarray) -> np.ndarray:
        step = max_frames or len(features)
        parts = [
            call(features[None, i : i + step])[0, :, 0].numpy()
            for i in range(0, len(features), step)
        ]
        return np.concatenate(parts)

    return predict


def predict_sequences(
    model: keras.Model, sequences: list[Sequence2Hz], max_frames: int | None = None
) -> dict[str, np.ndarray]:
    """Predict whole tracks, one curve (T,) each; see `sequence_predictor`."""
    predict = sequence_predictor(model, max_frames)
    return {sequence.id: predict(sequence.features) for sequence in sequences}

"""Pretrain networks on notes without labels, and train classifiers of clips; both resumable.

A training is kept in a folder named by the hash of all that it depends on: notes, labels, settings,
code, packages and processor. A finished one is read; one that was killed continues after its last
round.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from msr_utils.io import atomic_path, plain, read_json, sha256_text, write_json
from msr_utils.models.backend import keras
from msr_utils.models.note_networks import (
    NoteLSTMConfig,
    NoteTransformerConfig,
    lstm_classifier,
    pretraining_model,
    transformer_backbone,
    transformer_classifier,
)
from msr_utils.notes import Notes
from msr_utils.paths import TRAININGS
from msr_utils.provenance.cache_keys import computed_by, computed_on
from msr_utils.symbolic.augmentation import altered_copy
from msr_utils.symbolic.words import MASK, N_SPECIAL, PADDING, SIZES, random_window, windows, words
from msr_utils.training.loop import set_seed

# Of each clip the sequence of codes, (N,) or (N, 4), and then those of altered copies.
ClipSequences = Sequence[Sequence[np.ndarray]]

# Inputs, targets and weights, as keras.Model.train_on_batch takes them.
Batch = tuple[np.ndarray, Any, Any]

MASKED_SHARE = 0.15
"""Share of notes that BERT has to find, as in Devlin and others (2019)."""

KEPT_SHARE, RANDOM_SHARE = 0.1, 0.1
"""Of these, the shares that are shown as they are, and that are replaced by another note."""

WARM_UP = 0.1
"""Share of the steps during which the learning rate rises; after them it falls as a cosine."""

LABEL_SMOOTHING = 0.1
"""Share of each label that is spread over all classes (Szegedy and others 2016)."""

ROUND = 100
"""Steps of pretraining after which the state is written."""


@dataclass(frozen=True)
class Pretraining:
    """How a Transformer is pretrained.

    Parameters
    ----------
    steps : int > 0
        Batches.
    batch_size : int > 0
    learning_rate : float > 0
        The highest.
    seed : int
    """

    steps: int = 800
    batch_size: int = 32
    learning_rate: float = 1e-3
    seed: int = 7


@dataclass(frozen=True)
class ClassifierTraining:
    """How a classifier of clips is trained.

    Parameters
    ----------
    epochs : int > 0
        The weights of the epoch with the lowest validation loss are kept.
    batch_size : int > 0
    learning_rate : float > 0
        The highest.
    seed : int
    """

    epochs: int = 8
    batch_size: int = 32
    learning_rate: float = 5e-4
    seed: int = 7


@dataclass(frozen=True)
class Parts:
    """Places of the clips in three parts, [shape=(n,), dtype=int] each."""

    train: np.ndarray
    validation: np.ndarray
    test: np.ndarray


@dataclass(frozen=True)
class TrainedClassifier:
    """What training a classifier gives.

    Parameters
    ----------
    validation, test : np.ndarray [shape=(n, 4)]
        Probabilities of the quadrants of the clips of both parts.
    history : list of dict
        One per epoch: ``round, loss, validation_loss``.
    """

    validation: np.ndarray
    test: np.ndarray
    history: list[dict[str, float]]


def pretrain(
    notes: Sequence[Notes],
    network: NoteTransformerConfig,
    settings: Pretraining,
    progress: bool = True,
) -> tuple[Path, list[dict[str, float]]]:
    """Pretrain a Transformer on pieces without labels.

    Parameters
    ----------
    notes : sequence of Notes
    network : NoteTransformerConfig
        "bert" learns to find masked notes, "gpt" the next note.
    settings : Pretraining
    progress : bool

    Returns
    -------
    weights : Path
        Of the backbone.
    history : list of dict
        ``round, loss`` after every `ROUND` steps. The loss is in nats a note, over all attributes.
    """
    pieces = [piece for piece in notes if len(piece) > 1]
    data = _hash([a for p in pieces for a in (p.start_s, p.length_s, p.pitch, p.velocity)])
    folder = _folder("pretraining", [network, settings, data, computed_by(pretrain)])
    weights = folder / "backbone.weights.h5"
    if not weights.is_file():
        set_seed(settings.seed)
        backbone = transformer_backbone(network)
        model = pretraining_model(backbone)
        _compile_pretraining(model, settings)
        sizes = np.array([len(piece) for piece in pieces], float)
        round_steps = min(ROUND, settings.steps)

        def batches(number: int) -> Iterable[Batch]:
            rng = np.random.default_rng([settings.seed, number])
            for _ in range(round_steps):
                chosen = rng.choice(len(pieces), settings.batch_size, p=sizes / sizes.sum())
                parts = [_random_part(pieces[i], network.length + 1, rng) for i in chosen]
                altered = [words(altered_copy(part, rng)) for part in parts]
                yield _pretraining_batch(altered, network, rng)

        rounds = max(settings.steps // round_steps, 1)
        label = f"pretraining {network.kind}"
        _rounds(model, batches, rounds, round_steps, folder, None, label, progress)
        with _weights_path(weights) as temporary:
            backbone.save_weights(temporary)
        (folder / "state.npz").unlink(missing_ok=True)
    return weights, read_json(folder / "history.json")


def _random_part(piece: Notes, count: int, rng: np.random.Generator) -> Notes:
    """So many consecutive notes from a random place, or all of a shorter piece."""
    return piece.part(int(rng.integers(max(len(piece) - count, 0) + 1)), count)


def _pretraining_batch(
    pieces: Sequence[np.ndarray], network: NoteTransformerConfig, rng: np.random.Generator
) -> Batch:
    """Inputs, what is to be found, and where."""
    if network.kind == "gpt":
        found = np.stack([random_window(piece, network.length + 1, rng) for piece in pieces])
        inputs, targets = found[:, :-1], found[:, 1:]
        weights = (targets[..., 0] != PADDING).astype(np.float32)
    else:
        targets = np.stack([random_window(piece, network.length, rng) for piece in pieces])
        real = targets[..., 0] != PADDING
        asked = real & (rng.random(real.shape) < MASKED_SHARE)
        asked[:, 0] |= ~asked.any(axis=1)  # at least one a window
        chance = rng.random(real.shape)
        replaced = asked & (chance > KEPT_SHARE) & (chance < KEPT_SHARE + RANDOM_SHARE)
        inputs = np.where((asked & (chance >= KEPT_SHARE + RANDOM_SHARE))[..., None], MASK, targets)
        others = np.stack([rng.integers(N_SPECIAL, size, real.shape) for size in SIZES], axis=-1)
        inputs = np.where(replaced[..., None], others, inputs)
        weights = asked.astype(np.float32)
    columns = [targets[..., k] for k in range(len(SIZES))]
    return inputs.astype(np.int32), columns, [weights] * len(SIZES)


def _compile_pretraining(model: keras.Model, settings: Pretraining) -> None:
    model.compile(
        optimizer=_optimizer(settings.learning_rate, settings.steps),
        loss=[
            keras.losses.SparseCategoricalCrossentropy(
                from_logits=True, reduction="mean_with_sample_weight"
            )
            for _ in SIZES
        ],
        jit_compile=False,
    )


def train_classifier(
    clips: ClipSequences,
    labels: np.ndarray,
    parts: Parts,
    network: NoteTransformerConfig | NoteLSTMConfig,
    settings: ClassifierTraining,
    pretrained: Path | None = None,
    progress: bool = True,
) -> TrainedClassifier:
    """Train a classifier on the training part, stopped by the validation part.

    Parameters
    ----------
    clips : ClipSequences
    labels : np.ndarray [shape=(clips,), dtype=int]
        0 to 3, for Q1 to Q4.
    parts : Parts
    network : NoteTransformerConfig or NoteLSTMConfig
    settings : ClassifierTraining
    pretrained : Path, optional
        Weights of the backbone, from `pretrain`; else they are random.
    progress : bool
    """
    data = [_hash([sequence for clip in clips for sequence in clip]), _hash([labels])]
    data += [_hash([parts.train]), _hash([parts.validation])]
    origin = pretrained.parent.name if pretrained else ""
    folder = _folder("classifier", [network, settings, data, origin, computed_by(train_classifier)])
    result = folder / "result.npz"
    if not result.is_file():
        steps = -(-len(parts.train) // settings.batch_size)
        model = _compiled(network, replace(settings, seed=0), steps)
        _initialise(model, network, settings.seed, pretrained)

        def batches(epoch: int) -> Iterable[Batch]:
            rng = np.random.default_rng([settings.seed, epoch])
            order = rng.permutation(parts.train)
            for start in range(0, len(order), settings.batch_size):
                batch = np.resize(order[start : start + settings.batch_size], settings.batch_size)
                counts = np.arange(settings.batch_size) < len(order) - start
                copies = [clips[i][int(rng.integers(len(clips[i])))] for i in batch.tolist()]
                inputs = np.stack([random_window(c, network.length, rng) for c in copies])
                yield inputs, np.eye(4, dtype=np.float32)[labels[batch]], counts.astype(np.float32)

        def validation_loss() -> float:
            found = predict(model, clips, parts.validation, network.length, settings.batch_size)
            true = found[np.arange(len(found)), labels[parts.validation]]
            return float(-np.log(true.clip(1e-6)).mean())

        label = f"{type(network).__name__} {getattr(network, 'kind', '')} {settings.seed}"
        _rounds(model, batches, settings.epochs, steps, folder, validation_loss, label, progress)
        _load(model, folder / "best.npz")
        validation, test = (
            predict(model, clips, part, network.length, settings.batch_size)
            for part in (parts.validation, parts.test)
        )
        with atomic_path(result) as temporary:
            np.savez(temporary, validation=validation, test=test)
        for name in ("state.npz", "best.npz"):
            (folder / name).unlink(missing_ok=True)
    with np.load(result) as stored:
        history = read_json(folder / "history.json")
        return TrainedClassifier(stored["validation"], stored["test"], history)


def _build(
    network: NoteTransformerConfig | NoteLSTMConfig, pretrained: Path | None = None
) -> keras.Model:
    if isinstance(network, NoteLSTMConfig):
        return lstm_classifier(network)
    backbone = transformer_backbone(network)
    if pretrained:
        backbone.load_weights(pretrained)
    return transformer_classifier(backbone)


def _initialise(
    model: keras.Model,
    network: NoteTransformerConfig | NoteLSTMConfig,
    seed: int,
    pretrained: Path | None,
) -> None:
    """Give a model the state that a new one of this seed has."""
    set_seed(seed)
    fresh = _build(network, pretrained)
    for old, new in zip(model._flatten_layers(), fresh._flatten_layers(), strict=True):
        for variable, value in zip(old.variables, new.variables, strict=True):
            variable.assign(value)
    for variable in model.optimizer.variables:
        variable.assign(np.zeros(variable.shape))


@lru_cache(maxsize=2)
def _compiled(
    network: NoteTransformerConfig | NoteLSTMConfig, settings: ClassifierTraining, steps: int
) -> keras.Model:
    """A compiled model. Networks of all seeds use its graph, which takes longest to make."""
    model = _build(network)
    model.compile(
        optimizer=_optimizer(settings.learning_rate, steps * settings.epochs),
        loss=keras.losses.CategoricalCrossentropy(
            from_logits=True,
            label_smoothing=LABEL_SMOOTHING,
            reduction="mean_with_sample_weight",
        ),
        jit_compile=False,
    )
    model.optimizer.build(model.trainable_variables)
    return model


def predict(
    model: keras.Model, clips: ClipSequences, chosen: np.ndarray, length: int, batch_size: int
) -> np.ndarray:
    """Probabilities of the quadrants, averaged over windows that cover each clip, (n, 4)."""
    cut = [windows(clips[i][0], length) for i in chosen.tolist()]
    logits = _in_batches(model, np.concatenate(cut), batch_size)
    shifted = np.exp(logits - logits.max(axis=1, keepdims=True))
    return _means(shifted / shifted.sum(axis=1, keepdims=True), [len(part) for part in cut])


def embed(
    weights: Path, network: NoteTransformerConfig, clips: ClipSequences, batch_size: int = 32
) -> np.ndarray:
    """Mean hidden state of a pretrained backbone over each clip, (clips, hidden)."""
    backbone = transformer_backbone(network)
    backbone.load_weights(weights)
    cut = [windows(clip[0], network.length) for clip in clips]
    inputs = np.concatenate(cut)
    hidden = _in_batches(backbone, inputs, batch_size)
    real = (inputs[..., 0] != PADDING)[..., None]
    pooled = (hidden * real).sum(axis=1) / np.maximum(real.sum(axis=1), 1)
    return _means(pooled, [len(part) for part in cut])


def _in_batches(model: keras.Model, inputs: np.ndarray, batch_size: int) -> np.ndarray:
    """Outputs of a model in batches of one shape: another one would compile the graph again."""
    found = []
    for start in range(0, len(inputs), batch_size):
        batch = inputs[start : start + batch_size]
        full = np.resize(batch, (batch_size, *inputs.shape[1:]))
        found.append(np.asarray(model.predict_on_batch(full))[: len(batch)])
    return np.concatenate(found)


def _means(rows: np.ndarray, counts: Sequence[int]) -> np.ndarray:
    """Mean of so many consecutive rows each."""
    first = np.cumsum([0, *counts[:-1]])
    return np.add.reduceat(rows, first, axis=0) / np.array(counts)[:, None]


def _optimizer(learning_rate: float, steps: int) -> keras.optimizers.Optimizer:
    warm_up = max(int(WARM_UP * steps), 1)
    schedule = keras.optimizers.schedules.CosineDecay(
        0.0, max(steps - warm_up, 1), warmup_target=learning_rate, warmup_steps=warm_up
    )
    return keras.optimizers.Adam(schedule, clipnorm=1.0)


def _rounds(
    model: keras.Model,
    batches: Callable[[int], Iterable[Batch]],
    rounds: int,
    steps: int,
    folder: Path,
    validation_loss: Callable[[], float] | None,
    description: str,
    progress: bool,
) -> None:
    """Train for some rounds of `steps` batches; after a kill, continue with the next round."""
    model.optimizer.build(model.trainable_variables)
    state, best = folder / "state.npz", folder / "best.npz"
    history: list[dict[str, float]] = []
    if state.is_file():
        _load(model, state)
        # A kill may have left the history a round ahead of the weights.
        history = read_json(folder / "history.json")[: int(model.optimizer.iterations) // steps]
    bar = tqdm(total=rounds, initial=len(history), desc=description, disable=not progress)
    while len(history) < rounds:
        number = len(history) + 1
        losses = [
            float(model.train_on_batch(x, y, sample_weight=w, return_dict=True)["loss"])
            for x, y, w in batches(number)
        ]
        row = {"round": number, "loss": float(np.mean(losses))}
        if not np.isfinite(row["loss"]):
            raise FloatingPointError(f"{description}: the loss is {row['loss']} in round {number}")
        if validation_loss:
            row["validation_loss"] = validation_loss()
            lowest = min((h["validation_loss"] for h in history), default=np.inf)
            if row["validation_loss"] <= lowest:
                _save(model, best)
        history.append(row)
        write_json(folder / "history.json", history)
        _save(model, state)
        bar.update()
        bar.set_postfix({name: f"{value:.3f}" for name, value in row.items() if name != "round"})
    bar.close()


def _variables(model: keras.Model) -> list[keras.Variable]:
    """Everything that training changes: weights, random states of dropout, moments of Adam.

    `keras.Model.save_weights` leaves out the random states.
    """
    layers = {v.path: v for layer in model._flatten_layers() for v in layer.variables}
    return [*layers.values(), *model.optimizer.variables]


def _save(model: keras.Model, path: Path) -> None:
    """Write the state of a training, atomically."""
    with atomic_path(path) as temporary:
        np.savez(temporary, *(np.array(variable) for variable in _variables(model)))


def _load(model: keras.Model, path: Path) -> None:
    """Read what `_save` wrote."""
    with np.load(path) as stored:
        for k, variable in enumerate(_variables(model)):
            variable.assign(stored[f"arr_{k}"])


@contextmanager
def _weights_path(path: Path) -> Iterator[Path]:
    """As `atomic_path`, with a temporary name that has the ending on which Keras insists."""
    temporary = path.with_name(f".tmp-{path.name}")
    try:
        yield temporary
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def _folder(kind: str, inputs: Sequence[Any]) -> Path:
    """Folder of a training, named by all that it depends on."""
    key = sha256_text(json.dumps(plain([*inputs, computed_on()]), sort_keys=True))[:16]
    folder = TRAININGS / "notes" / f"{kind}-{key}"
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def _hash(arrays: Sequence[np.ndarray]) -> str:
    digest = hashlib.sha256()
    for array in arrays:
        digest.update(f"{array.dtype} {array.shape}\n".encode())
        digest.update(np.ascontiguousarray(array).tobytes())
    return digest.hexdigest()

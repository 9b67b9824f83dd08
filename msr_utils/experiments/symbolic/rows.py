"""All rows of the experiment."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import combinations
from pathlib import Path

import numpy as np
from tqdm import tqdm

from msr_utils.corpora.base import Corpus
from msr_utils.corpora.midi import Notes, read_midi
from msr_utils.experiments.symbolic import sound, sound_rows
from msr_utils.experiments.symbolic.clips import NoteClips
from msr_utils.experiments.symbolic.scores import (
    TARGETS,
    Accuracies,
    accuracies,
    differences,
    hits,
    log_loss,
    spreads,
)
from msr_utils.experiments.symbolic.statistics_models import (
    BOOSTED,
    LOGISTIC,
    SVM,
    TREES,
    constant,
    cross_validate,
    kept_fit_predict,
)
from msr_utils.metrics.bootstrap import N_BOOT, SEED, draw_counts
from msr_utils.metrics.estimate import Spread
from msr_utils.models.note_networks import NoteLSTMConfig, NoteTransformerConfig
from msr_utils.symbolic.augmentation import altered_copy
from msr_utils.symbolic.rendering import OWN
from msr_utils.symbolic.statistics import statistics_table
from msr_utils.symbolic.tokens import tokens, vocabulary_size
from msr_utils.symbolic.words import words
from msr_utils.training.note_training import (
    ClassifierTraining,
    ClipSequences,
    Pretraining,
    embed,
    pretrain,
    train_classifier,
)

CONSTANT = "most frequent quadrant"
EMBEDDED = "SVM on pretrained BERT, not fine-tuned"
ENSEMBLE = "ensemble chosen on validation"
AVERAGE = "mean of the four on statistics"
AVERAGE_EMBEDDED = "mean of all five"

STATISTICS_ROWS = {f"{name} on statistics": name for name in (LOGISTIC, SVM, TREES, BOOSTED)}
"""Rows on musical statistics -> their models."""

LSTM_ROWS = {
    "LSTM, MIDI-like tokens": NoteLSTMConfig("midi-like"),
    "LSTM with attention, MIDI-like tokens": NoteLSTMConfig(
        "midi-like", units=(64,), attention=True
    ),
    "LSTM with attention, REMI tokens": NoteLSTMConfig("remi", units=(64,), attention=True),
}
"""Rows on tokens. The first has the shape of the paper's network: two layers of 64 units."""

TRANSFORMERS = {"BERT": "bert", "GPT": "gpt"}

RANDOM, PRETRAINED = "random weights", "pretrained"

MAX_MEMBERS = 4
"""Most rows of an ensemble: with more, the few clips of the validation part choose by chance."""

N_COPIES = 7
"""Altered copies of each clip for the Transformers."""

N_TOKEN_COPIES = 3
"""Altered copies of each clip for the LSTMs: tokenisers are slow."""

COPY_STREAM = 3
"""Second word of the seed of the altered copies."""


@dataclass(frozen=True)
class Settings:
    """How much is trained.

    Parameters
    ----------
    seeds : int > 0
        Networks of each row.
    epochs, lstm_epochs : int > 0
        Of a Transformer and of an LSTM.
    pretrain_steps : int > 0
        Batches of pretraining.
    folds : int >= 2
        Of the cross-validation by song over all clips.
    bootstrap : int >= 0
        Samples of songs for the intervals.
    seed : int
        The first one.
    sound : str
        Renderer of the rows on the sound of the clips, see `msr_utils.symbolic.rendering`; empty:
        there are no such rows.
    """

    seeds: int = 5
    epochs: int = 4
    lstm_epochs: int = 10
    pretrain_steps: int = 600
    folds: int = 10
    bootstrap: int = N_BOOT
    seed: int = SEED
    sound: str = OWN

    def classifier(self, number: int, lstm: bool) -> ClassifierTraining:
        """Training of network `number` of a row."""
        if lstm:
            return ClassifierTraining(self.lstm_epochs, 64, 3e-3, self.seed + number)
        return ClassifierTraining(self.epochs, 32, 1e-3, self.seed + number)


@dataclass(frozen=True)
class SymbolicResults:
    """Scores of every row.

    Parameters
    ----------
    scores : dict of row to target to Estimate
        Accuracy on the test part: the mean over seeds.
    over_seeds : dict of row to target to Spread
        Of the same accuracy.
    validation : dict of row to target to float
        Accuracy on the validation part, which chose.
    cross_validated : dict of row to target to Estimate
        Of all clips, by models that were fitted on no clip of the same song.
    above_logistic : dict of row to target to Estimate
        Paired difference on the test part to logistic regression on statistics.
    pretraining_gain : dict of name to target to Estimate
        Paired difference on the test part: pretrained minus random weights.
    pretraining_loss : dict of kind to list of float
        In nats a note, over all attributes; after every hundred steps.
    ensemble : list of str
        Rows of the ensemble. It reads notes only.
    sound_gain : dict of name to target to Estimate
        Paired difference of two rows of the cross-validation: what sound adds to notes.
    missing : dict of network to str
        Pretrained networks that are not installed, and what to do.
    """

    scores: dict[str, Accuracies]
    over_seeds: dict[str, dict[str, Spread]]
    validation: dict[str, dict[str, float]]
    cross_validated: dict[str, Accuracies]
    above_logistic: dict[str, Accuracies]
    pretraining_gain: dict[str, Accuracies]
    pretraining_loss: dict[str, list[float]]
    ensemble: list[str]
    sound_gain: dict[str, Accuracies]
    missing: dict[str, str]

    def remark(self) -> str:
        """Which pretrained networks are missing, if any."""
        found = "; ".join(f"`{name}`: {what}" for name, what in self.missing.items())
        return found and f"These rows are missing, because weights are not installed. {found}"


Predicted = dict[str, tuple[np.ndarray, np.ndarray]]
"""Row -> probabilities of the validation and of the test part, (seeds, n, 4) each."""


def run(
    clips: NoteClips,
    pretraining_notes: Sequence[Notes],
    settings: Settings,
    progress: bool = True,
) -> SymbolicResults:
    """Train and score every row.

    Parameters
    ----------
    clips : NoteClips
    pretraining_notes : sequence of Notes
        Pieces without labels. They must share no song with the validation or test part.
    settings : Settings
    progress : bool

    Raises
    ------
    FloatingPointError
        If a training diverges.
    """
    # Every row is a graph of its own, of which TensorFlow warns as if one was made again and again.
    logging.getLogger("tensorflow").setLevel(logging.ERROR)
    parts, labels = clips.parts, clips.labels
    x, _ = statistics_table(clips.notes)
    predicted: Predicted = {CONSTANT: _constant(clips)}
    for row, name in STATISTICS_ROWS.items():
        predicted[row] = _vector_row(name, x, clips, settings)
    predicted |= _lstm_rows(clips, settings, progress)
    transformers, losses, embedded = _transformer_rows(clips, pretraining_notes, settings, progress)
    predicted |= transformers
    predicted[EMBEDDED] = _vector_row(SVM, embedded, clips, settings)
    left_out = {CONSTANT, *(f"{name}, {RANDOM}" for name in TRANSFORMERS)}
    members = {row: of_row[0] for row, of_row in predicted.items() if row not in left_out}
    chosen = choose_ensemble(members, labels[parts.validation])
    predicted[ENSEMBLE] = tuple(
        np.mean([predicted[m][part] for m in chosen], axis=0) for part in (0, 1)
    )
    counts = draw_counts(clips.groups[parts.test], settings.bootstrap, settings.seed)
    sets, missing = {}, {}
    if settings.sound:
        vectors = sound.clip_vectors(clips.notes, settings.sound, progress=progress)
        missing = sound.missing_networks()
        sets = sound_rows.row_sets(vectors, x)
        predicted |= sound_rows.held_out_rows(sets, clips, settings.seed)
    found = {row: hits(test, labels[parts.test]) for row, (_, test) in predicted.items()}
    base = found[next(iter(STATISTICS_ROWS))]
    cross_validated, sound_gain = _cross_validated(x, embedded, sets, clips, settings)
    return SymbolicResults(
        scores={row: accuracies(counts, rows) for row, rows in found.items()},
        over_seeds={row: spreads(rows) for row, rows in found.items()},
        validation={
            row: {t: float(h.mean()) for t, h in hits(val, labels[parts.validation]).items()}
            for row, (val, _) in predicted.items()
        },
        cross_validated=cross_validated,
        above_logistic={
            row: differences(counts, rows, base) for row, rows in found.items() if rows is not base
        },
        pretraining_gain={
            name: differences(counts, found[f"{name}, {PRETRAINED}"], found[f"{name}, {RANDOM}"])
            for name in TRANSFORMERS
        },
        pretraining_loss=losses,
        ensemble=chosen,
        sound_gain=sound_gain,
        missing=missing,
    )


def pretraining_notes(corpus: Corpus | None, clips: NoteClips) -> list[Notes]:
    """Pieces for pretraining: those of a corpus, or else the clips of the training part."""
    if corpus is None:
        return [clips.notes[i] for i in clips.parts.train]
    return [read_midi(track.midi_path) for track in corpus.tracks if track.midi_path is not None]


def _constant(clips: NoteClips) -> tuple[np.ndarray, np.ndarray]:
    parts = clips.parts
    shares = [
        constant(clips.labels[parts.train], len(part))[None]
        for part in (parts.validation, parts.test)
    ]
    return shares[0], shares[1]


def _vector_row(
    name: str, x: np.ndarray, clips: NoteClips, settings: Settings
) -> tuple[np.ndarray, np.ndarray]:
    """Validation part: from a model of the training part; test part: from both parts."""
    parts, labels, groups = clips.parts, clips.labels, clips.groups
    both = np.concatenate([parts.train, parts.validation])
    # Only trees draw at random.
    seeds = range(settings.seeds if name in (TREES, BOOSTED) else 1)
    found = [
        np.stack(
            [
                kept_fit_predict(
                    name, x[known], labels[known], groups[known], x[asked], settings.seed + number
                )
                for number in seeds
            ]
        )
        for known, asked in ((parts.train, parts.validation), (both, parts.test))
    ]
    validation, test = (np.broadcast_to(p, (settings.seeds, *p.shape[1:])) for p in found)
    return validation, test


def _copies(clips: NoteClips, count: int, settings: Settings) -> list[list[Notes]]:
    """Every clip, followed by altered copies where it is in the training part."""
    rng = np.random.default_rng([settings.seed, COPY_STREAM])
    train = set(clips.parts.train.tolist())
    return [
        [notes, *(altered_copy(notes, rng) for _ in range(count if i in train else 0))]
        for i, notes in enumerate(clips.notes)
    ]


def _lstm_rows(clips: NoteClips, settings: Settings, progress: bool) -> Predicted:
    """LSTMs on tokens."""
    copies = _copies(clips, N_TOKEN_COPIES, settings)
    sequences: dict[str, ClipSequences] = {}
    found: Predicted = {}
    for row, network in LSTM_ROWS.items():
        name = network.tokens
        if name not in sequences:
            bar = tqdm(copies, f"{name} tokens", disable=not progress)
            sequences[name] = [[tokens(copy, name) for copy in clip] for clip in bar]
        network = replace(network, vocabulary=vocabulary_size(name))
        found[row] = _networks(sequences[name], clips, network, settings, None, progress)
    return found


def _transformer_rows(
    clips: NoteClips, notes: Sequence[Notes], settings: Settings, progress: bool
) -> tuple[Predicted, dict[str, list[float]], np.ndarray]:
    """BERT and GPT with and without pretraining; losses; embeddings of the pretrained BERT."""
    sequences = [[words(c) for c in clip] for clip in _copies(clips, N_COPIES, settings)]
    found: Predicted = {}
    losses: dict[str, list[float]] = {}
    embedded = np.empty(0)
    for name, kind in TRANSFORMERS.items():
        network = NoteTransformerConfig(kind)
        training = Pretraining(settings.pretrain_steps, seed=settings.seed)
        weights, history = pretrain(notes, network, training, progress)
        losses[name] = [row["loss"] for row in history]
        if kind == "bert":
            embedded = embed(weights, network, sequences)
        for label, start in ((RANDOM, None), (PRETRAINED, weights)):
            found[f"{name}, {label}"] = _networks(
                sequences, clips, network, settings, start, progress
            )
    return found, losses, embedded


def _networks(
    sequences: ClipSequences,
    clips: NoteClips,
    network: NoteTransformerConfig | NoteLSTMConfig,
    settings: Settings,
    pretrained: Path | None,
    progress: bool,
) -> tuple[np.ndarray, np.ndarray]:
    """One network a seed: probabilities of the validation and of the test part."""
    trained = [
        train_classifier(
            sequences,
            clips.labels,
            clips.parts,
            network,
            settings.classifier(number, isinstance(network, NoteLSTMConfig)),
            pretrained,
            progress,
        )
        for number in range(settings.seeds)
    ]
    return (
        np.stack([one.validation for one in trained]),
        np.stack([one.test for one in trained]),
    )


def choose_ensemble(validation: Mapping[str, np.ndarray], labels: np.ndarray) -> list[str]:
    """Rows whose mean probabilities have the lowest log loss on the validation part.

    Parameters
    ----------
    validation : mapping of row to np.ndarray [shape=(seeds, n, 4)]
    labels : np.ndarray [shape=(n,), dtype=int]

    Returns
    -------
    list of str
        From two rows to `MAX_MEMBERS`.
    """
    sets = [
        list(chosen)
        for size in range(2, min(len(validation), MAX_MEMBERS) + 1)
        for chosen in combinations(validation, size)
    ]
    losses = [
        log_loss(np.mean([validation[row] for row in chosen], axis=0), labels) for chosen in sets
    ]
    return sets[int(np.argmin(losses))]


def _cross_validated(
    x: np.ndarray,
    embedded: np.ndarray,
    sets: Mapping[str, sound_rows.Parts],
    clips: NoteClips,
    settings: Settings,
) -> tuple[dict[str, Accuracies], dict[str, Accuracies]]:
    """Rows that are cheap enough for folds by song over all clips, and what sound adds."""
    labels, groups = clips.labels, clips.groups
    of_model = cross_validate(
        tuple(STATISTICS_ROWS.values()), x, labels, groups, settings.folds, settings.seed
    )
    rows = {row: of_model[name] for row, name in STATISTICS_ROWS.items()}
    rows[AVERAGE] = np.mean(list(rows.values()), axis=0)
    rows[EMBEDDED] = cross_validate(
        (SVM,), embedded, labels, groups, settings.folds, settings.seed
    )[SVM]
    rows[AVERAGE_EMBEDDED] = np.mean(
        [*(of_model[name] for name in STATISTICS_ROWS.values()), rows[EMBEDDED]], axis=0
    )
    rows |= sound_rows.cross_validated_rows(sets, clips, settings.folds)
    counts = draw_counts(groups, settings.bootstrap, settings.seed)
    found = {row: hits(p[None], labels) for row, p in rows.items()}
    pairs = [(a, b) for a, b in sound_rows.COMPARED if a in found and b in found]
    gain = {f"{a} – {b}": differences(counts, found[a], found[b]) for a, b in pairs}
    return {row: accuracies(counts, values) for row, values in found.items()}, gain


__all__ = ["TARGETS", "Settings", "SymbolicResults", "choose_ensemble", "pretraining_notes", "run"]

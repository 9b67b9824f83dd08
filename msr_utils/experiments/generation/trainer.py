"""Train a generator: without labels first, then on labelled music."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from msr_utils.experiments.generation.material import CLIPS, Labelled, Material
from msr_utils.generation.attributes import AttributeModel, local_attributes
from msr_utils.generation.graph import GeneratorConfig
from msr_utils.training.generator_training import (
    EmotionalPiece,
    GeneratorTraining,
    attribute_moments,
    train_generator,
)

LABEL_STEP_S = 1.0
"""Distance of the windows on which the regression of attributes is fitted."""

UNLABELLED_SHARE = 0.2
"""Share of excerpts without labels while the network is tuned, so that it does not forget them."""

TUNING_COPIES = 4
"""Versions at other tempi of each labelled piece."""


@dataclass(frozen=True)
class Plan:
    """What is trained.

    Parameters
    ----------
    config : GeneratorConfig
    pretraining, tuning : GeneratorTraining
    """

    config: GeneratorConfig = field(default_factory=GeneratorConfig)
    pretraining: GeneratorTraining = field(default_factory=GeneratorTraining)
    tuning: GeneratorTraining = field(default_factory=GeneratorTraining)


@dataclass(frozen=True, eq=False)
class TrainedGenerator:
    """A generator that was trained.

    Parameters
    ----------
    plan : Plan
    state : Path
        Weights of the network.
    attributes : AttributeModel
    pretraining, tuning : list of dict
        Losses by round; pretraining has none without pieces for it.
    """

    plan: Plan
    state: Path
    attributes: AttributeModel
    pretraining: list[dict[str, float]]
    tuning: list[dict[str, float]]


def train(material: Material, plan: Plan, progress: bool = True) -> TrainedGenerator:
    """Pretrain and tune.

    Parameters
    ----------
    material : Material
    plan : Plan
    progress : bool

    Raises
    ------
    FloatingPointError
        If a training diverges.
    """
    labelled = [one.piece for one in material.train]
    validation = [one.piece for one in material.validation]
    moments = attribute_moments([*labelled, *material.unlabelled])
    attributes = fit_attributes(material.train, *moments)
    start, history = None, []
    if material.unlabelled:
        pretrained = train_generator(
            material.unlabelled, [], attributes, plan.config, plan.pretraining, progress=progress
        )
        start, history = pretrained.state, pretrained.history
    pieces: list[EmotionalPiece] = [*labelled, *material.unlabelled]
    tuned = train_generator(
        pieces,
        validation,
        attributes,
        plan.config,
        replace(plan.tuning, copies=TUNING_COPIES),
        start,
        _weights(labelled, material.unlabelled),
        progress,
    )
    return TrainedGenerator(plan, tuned.state, attributes, history, tuned.history)


def fit_attributes(pieces: Sequence[Labelled], mean: np.ndarray, sd: np.ndarray) -> AttributeModel:
    """Regression of attributes on valence and arousal."""
    values, valence, arousal, other = [], [], [], []
    for one in pieces:
        times = np.arange(0, max(one.piece.notes.start_s[-1], LABEL_STEP_S), LABEL_STEP_S)
        values.append(local_attributes(one.piece.notes, times).values)
        places = one.piece.emotion_at(times)
        valence.append(places[0])
        arousal.append(places[1])
        other.append(np.full(len(times), one.piece.style != CLIPS))
    columns = (np.concatenate(part) for part in (values, valence, arousal, other))
    return AttributeModel.fit(mean, sd, *columns)


def _weights(
    labelled: Sequence[EmotionalPiece], unlabelled: Sequence[EmotionalPiece]
) -> np.ndarray:
    """How often pieces are drawn, so that those without labels have their share of the notes."""
    ours = sum(len(p.notes) for p in labelled)
    others = sum(len(p.notes) for p in unlabelled)
    share = UNLABELLED_SHARE / (1 - UNLABELLED_SHARE) * ours / others if others else 0.0
    return np.concatenate([np.ones(len(labelled)), np.full(len(unlabelled), share)])

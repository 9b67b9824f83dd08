"""Train networks, export them, and choose how they draw notes and which of them is judged."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from msr_utils.experiments.generation.choice import Trial, choose_decoding
from msr_utils.experiments.generation.evaluation import Size
from msr_utils.experiments.generation.judges import clips_only
from msr_utils.experiments.generation.material import Material
from msr_utils.experiments.generation.trainer import Plan, TrainedGenerator, train
from msr_utils.export.generator import export_generator
from msr_utils.generation.card import GeneratorCard
from msr_utils.generation.generator import Generator
from msr_utils.generation.graph import GeneratorConfig
from msr_utils.training.generator_training import GeneratorTraining, trained_network

NETWORKS = {
    "lstm": GeneratorConfig("lstm", 2, 192, 128),
    "gpt": GeneratorConfig("gpt", 4, 128, 128, 96, 4, 192),
    "small-lstm": GeneratorConfig("lstm", 2, 48, 48, 48),
}
"""Name of a network -> its shape. The LSTM is the paper's idea: two layers. The small one is for
trials."""

STORED = "models"
"""Folder of the bundles of all networks within that of the run."""

LENGTH = 192
"""Notes of an excerpt."""


LICENCE = (
    "weights for use that is not commercial, share alike (CC BY-NC-SA 4.0), because EMOPIA, on "
    "which they were trained, has these terms; POP909: MIT; VGMIDI: for research"
)


@dataclass(frozen=True)
class Settings:
    """How much is trained and judged.

    Parameters
    ----------
    pretrain_steps, tune_steps : int > 0
        Batches of training without and with labels.
    choice_pieces : int > 0
        Pieces of each quadrant by which a way to draw notes is tried.
    size : Size
    seed : int
    """

    pretrain_steps: int = 350
    tune_steps: int = 350
    choice_pieces: int = 8
    size: Size = Size()
    seed: int = 7


@dataclass(frozen=True, eq=False)
class GeneratorStudy:
    """What was found of one network.

    Parameters
    ----------
    trained : TrainedGenerator
    trials : list of Trial
        Ways to draw notes.
    generator : Generator
        It draws notes in the chosen way.
    """

    trained: TrainedGenerator
    trials: list[Trial]
    generator: Generator


def plan_of(network: str, settings: Settings) -> Plan:
    """What is trained of a network, one of `NETWORKS`."""
    batch = 8 if network == "gpt" else 24
    pretraining = GeneratorTraining(
        settings.pretrain_steps, batch, LENGTH, learning_rate=3e-3, seed=settings.seed
    )
    tuning = GeneratorTraining(
        settings.tune_steps, batch, LENGTH, learning_rate=1.5e-3, dropout=0.2, seed=settings.seed
    )
    if network == "gpt":  # dropout takes a third of its time
        pretraining, tuning = replace(pretraining, dropout=0.0), replace(tuning, dropout=0.1)
    return Plan(NETWORKS[network], pretraining, tuning)


def study(
    network: str,
    material: Material,
    settings: Settings,
    folder: Path,
    progress: bool = True,
) -> GeneratorStudy:
    """Train one network, export it, and choose how it draws notes.

    Parameters
    ----------
    network : str
        One of `NETWORKS`.
    material : Material
    settings : Settings
    folder : Path
        Of the run; the bundle goes to its folder `STORED`.
    progress : bool
    """
    trained = train(material, plan_of(network, settings), progress)
    config = trained.plan.config
    name = f"piano-{network}"
    bundle = folder / STORED / name
    card = GeneratorCard(name, config.kind, "", (1, 1), trained.attributes, licence=LICENCE)
    export_generator(trained_network(trained.state, config, LENGTH), config, card, bundle)
    generator = Generator(bundle)
    clips = clips_only([*material.train, *material.validation], settings.size.seconds)
    decoding, trials = choose_decoding(
        generator, clips, settings.choice_pieces, settings.size.seconds, settings.seed, progress
    )
    return GeneratorStudy(trained, trials, generator.with_decoding(decoding))


def best_network(studies: Sequence[GeneratorStudy]) -> GeneratorStudy:
    """The network whose best trial has the highest score: no judge that is reported chooses."""
    return max(studies, key=lambda one: max(trial.score for trial in one.trials))

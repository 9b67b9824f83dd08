"""Search an LSTM's hyperparameters with Optuna, on validation parts only.

A trial trains one network for each inner part of each split (see
`msr_utils.training.cross_validation.validation_losses`). Its value is the mean of their
validation losses. The test parts of the splits are not read, so the search cannot flatter any
score on them.

TPE [1]_ proposes the trials. After each network a trial is pruned if its mean loss so far is above
the median of the completed trials (see `RunningMedianPruner`). A trial that diverges or runs out of
memory is pruned as well, and its ``message`` says why. An interrupted or killed trial is repeated
with the same parameters and keeps its trained networks: after an interruption by the next call,
after a kill once its heartbeat is missed.

Any number of processes may search in one database at the same time. Each may exceed the budget by
one trial.

References
----------
.. [1] Bergstra and others (2011), "Algorithms for hyper-parameter optimization", NIPS 24.
"""

from __future__ import annotations

import hashlib
import json
import shutil
import warnings
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import optuna
from optuna.distributions import BaseDistribution
from optuna.samplers import BaseSampler, TPESampler
from optuna.storages import RDBStorage, RetryHeartbeatStaleTrialCallback
from optuna.trial import FrozenTrial, TrialState
from tqdm import tqdm

from msr_utils.dataset.sequences import Sequence2Hz
from msr_utils.dataset.splits import Split
from msr_utils.features.config import FeatureConfig
from msr_utils.io import plain, sha256_text
from msr_utils.models.backend import tf
from msr_utils.models.families import FAMILY_TABLES
from msr_utils.models.lstm import NORMS, LSTMConfig, build_lstm
from msr_utils.paths import SEARCHES
from msr_utils.provenance.cache_keys import computed_by, computed_on
from msr_utils.training import cross_validation
from msr_utils.training.loop import FitConfig
from msr_utils.training.settings import CrossValidation

HEARTBEAT_S = 10
"""Seconds between heartbeats of a running trial. After three missed ones it counts as killed."""

DONE = (TrialState.COMPLETE, TrialState.PRUNED)
"""States of trials that count towards the budget."""

PARAMETERS = (
    "features", "units", "depth", "dropout", "norm", "learning_rate", "batch_size", "window_frames",
)  # fmt: skip
"""What is searched, in the order of tables and figures."""


@dataclass(frozen=True)
class SearchTask:
    """What a search optimises: networks of one target on the splits of one corpus.

    Parameters
    ----------
    sequences : mapping of FeatureConfig to sequence of Sequence2Hz
        The choices of features, and the corpus in each of them.
    splits : sequence of Split
        Their test tracks are not read.
    target : str
        "valence" or "arousal".
    fit_config : FitConfig
        Its batch size is ignored, because it is searched. Its seed also seeds the sampler.
    inner_folds : int >= 1
        As in `msr_utils.training.settings.CrossValidation`.

    Raises
    ------
    ValueError
        If there is no choice of features or no split.
    """

    sequences: Mapping[FeatureConfig, Sequence[Sequence2Hz]]
    splits: Sequence[Split]
    target: str
    fit_config: FitConfig
    inner_folds: int = 1

    def __post_init__(self) -> None:
        if not self.sequences or not self.splits:
            raise ValueError("search: needs at least one choice of features and one split")

    @property
    def networks_per_trial(self) -> int:
        """Networks that a trial trains when it is not pruned."""
        return len(self.splits) * self.inner_folds

    def facts(self) -> dict:
        """What the value of a trial depends on, apart from its parameters."""
        known = sorted({i for split in self.splits for i in split.train + split.validation})
        labels = (_labels_hash(sequences, known) for sequences in self.sequences.values())
        training = asdict(self.fit_config)
        del training["batch_size"]
        return plain(
            {
                "target": self.target,
                "features": {choice_name(f): f.hash for f in self.sequences},
                "tracks": sha256_text(json.dumps([[s.train, s.validation] for s in self.splits])),
                "data": sha256_text("".join(labels)),
                "splits": len(self.splits),
                "inner_folds": self.inner_folds,
                "training": training,
                **computed_by(*COMPUTED_BY, tables=FAMILY_TABLES),
            }
        )


def search(
    task: SearchTask,
    trials: int,
    storage: str = "",
    name: str = "lstm",
    folder: Path = SEARCHES,
    progress: bool = True,
) -> optuna.Study:
    """Run trials until the budget is used up; see the module's description.

    Parameters
    ----------
    task : SearchTask
    trials : int >= 1
        The budget: completed and pruned trials together. Trials of earlier calls count.
    storage : str
        Database URL that several machines share, such as ``postgresql://...`` (its driver must be
        installed). Empty: an SQLite file under `folder`.
    name : str
        The study's name in the database is this and the target.
    folder : Path
        For trained networks. Each machine has its own.
    progress : bool

    Returns
    -------
    optuna.Study

    Raises
    ------
    ValueError
        If `trials` is below 1, or `storage` holds a search of this name with other data,
        parameters or code.
    """
    if trials < 1:
        raise ValueError(f"trials: must be at least 1, not {trials}")
    facts = task.facts()
    # Machines that share a database need not be alike; trainings stay on theirs.
    key = sha256_text(json.dumps([facts, computed_on()]))[:16]
    work = Path(folder) / f"{name}-{task.target}-{key}"
    work.mkdir(parents=True, exist_ok=True)
    study = _open(storage or f"sqlite:///{work / 'study.db'}", f"{name}-{task.target}", facts)
    study.sampler, study.pruner = _ReproducibleTPE(task.fit_config.seed), RunningMedianPruner()
    bar = tqdm(total=trials, desc=f"search, {task.target}", unit="trial", disable=not progress)
    objective = _Objective(task, work, bar)
    _retry_interrupted(study)
    while (done := len(study.get_trials(deepcopy=False, states=DONE))) < trials:
        bar.update(done - bar.n)
        study.optimize(objective, n_trials=1, callbacks=[objective.remove_networks])
    bar.update(min(done, trials) - bar.n)
    bar.close()
    return study


@dataclass(frozen=True)
class _Objective:
    """Trains the networks of a trial and gives their mean validation loss.

    Parameters
    ----------
    task : SearchTask
    folder : Path
        Of this search.
    bar : tqdm
    """

    task: SearchTask
    folder: Path
    bar: tqdm

    def __call__(self, trial: optuna.Trial) -> float:
        config = suggest(trial, [choice_name(f) for f in self.task.sequences])
        # Named by its parameters, so that a repeated trial finds its trained networks.
        digest = sha256_text(json.dumps(asdict(config), sort_keys=True))[:16]
        trial.set_user_attr("folder", f"trial-{digest}")
        losses: list[float] = []
        try:
            for loss in self._validation_losses(trial, config):
                losses.append(loss)
                self._report(trial, losses)
        except (ArithmeticError, MemoryError, tf.errors.OpError) as error:
            trial.set_user_attr("message", str(error)[:500])
            raise optuna.TrialPruned(str(error)) from error
        finally:
            trial.set_user_attr("losses", losses)
        return float(np.mean(losses))

    def _validation_losses(self, trial: optuna.Trial, config: TrialConfig) -> Iterator[float]:
        task = self.task
        (sequences,) = (s for f, s in task.sequences.items() if choice_name(f) == config.features)
        settings = CrossValidation(
            tuple(task.splits), task.target, config.window_frames, task.inner_folds
        )
        return cross_validation.validation_losses(
            config.config, replace(task.fit_config, batch_size=config.batch_size), sequences,
            settings, self.folder / trial.user_attrs["folder"], progress=False,
            label=f"trial {trial.number}",
        )  # fmt: skip

    def _report(self, trial: optuna.Trial, losses: Sequence[float]) -> None:
        """Tell Optuna the mean so far, and stop the trial if it asks for that."""
        trial.report(float(np.mean(losses)), step=len(losses))
        networks = self.task.networks_per_trial
        self.bar.set_postfix(networks=f"{len(losses)}/{networks}")
        if len(losses) < networks and trial.should_prune():
            raise optuna.TrialPruned("above the median")

    def remove_networks(self, _: optuna.Study, trial: FrozenTrial) -> None:
        """Remove the networks of a finished trial. The database has its losses."""
        if trial.state in DONE:
            shutil.rmtree(self.folder / trial.user_attrs["folder"], ignore_errors=True)


def select_folds(splits: Sequence[Split], numbers: Sequence[int]) -> list[Split]:
    """Select splits by number, from 1.

    Raises
    ------
    ValueError
        If there is no number, a number occurs twice, or there is no such split.
    """
    if (
        not numbers
        or len({*numbers}) < len(numbers)
        or not {*numbers} <= {*range(1, len(splits) + 1)}
    ):
        raise ValueError(f"searched: needs different numbers of 1 to {len(splits)}, not {numbers}")
    return [splits[number - 1] for number in numbers]


@dataclass(frozen=True)
class TrialConfig:
    """One point of the search space.

    Parameters
    ----------
    features : str
        Name of a choice of features, see `choice_name`.
    config : LSTMConfig
    batch_size : int
    window_frames : int
        Length of training excerpts.
    """

    features: str
    config: LSTMConfig
    batch_size: int
    window_frames: int


def suggest(trial: optuna.trial.BaseTrial, features: Sequence[str]) -> TrialConfig:
    """Draw a point of the search space.

    Parameters
    ----------
    trial : optuna.trial.BaseTrial
    features : sequence of str
        Names of the choices of features.
    """
    units = trial.suggest_categorical("units", [32, 64, 128])
    depth = trial.suggest_int("depth", 1, 3)
    return TrialConfig(
        features=trial.suggest_categorical("features", features),
        config=LSTMConfig(
            units=(units,) * depth,
            dropout=trial.suggest_float("dropout", 0, 0.5),
            norm=trial.suggest_categorical("norm", list(NORMS)),
            learning_rate=trial.suggest_float("learning_rate", 1e-4, 1e-2, log=True),
        ),
        batch_size=trial.suggest_categorical("batch_size", [16, 32, 64]),
        window_frames=trial.suggest_categorical("window_frames", [60, 90, 180]),
    )


class RunningMedianPruner(optuna.pruners.BasePruner):
    """Prune a trial whose latest report is above the median of the completed trials at that step.

    Optuna's own median pruner compares the lowest report of a trial. Here a report is the mean
    over the networks so far, so one easy first part would protect a trial from every later
    comparison.

    Parameters
    ----------
    n_startup_trials : int
        No trial is pruned before this number of trials is completed.
    """

    def __init__(self, n_startup_trials: int = 5) -> None:
        self.n_startup_trials = n_startup_trials

    def prune(self, study: optuna.Study, trial: FrozenTrial) -> bool:
        """Decide after the latest report."""
        step = trial.last_step
        if step is None:
            return False
        others = [
            other.intermediate_values[step]
            for other in study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))
            if step in other.intermediate_values
        ]
        if len(others) < max(1, self.n_startup_trials):
            return False
        return bool(trial.intermediate_values[step] > np.median(others))


class _ReproducibleTPE(BaseSampler):
    """TPE that is seeded anew for each trial, with the seed and the trial's rank.

    With one generator for all trials, a resumed search and every further machine would start at
    the generator's beginning and draw the first trials again. Failed trials do not count in the
    rank, because other trials repeat them.
    """

    def __init__(self, seed: int) -> None:
        self._seed = seed
        self._tpe = TPESampler(seed=seed)

    def before_trial(self, study: optuna.Study, trial: FrozenTrial) -> None:
        rank = sum(
            t.number < trial.number and t.state != TrialState.FAIL
            for t in study.get_trials(deepcopy=False)
        )
        (seed,) = np.random.SeedSequence([self._seed, rank]).generate_state(1)
        self._tpe = TPESampler(seed=int(seed))

    def infer_relative_search_space(
        self, study: optuna.Study, trial: FrozenTrial
    ) -> dict[str, BaseDistribution]:
        return self._tpe.infer_relative_search_space(study, trial)

    def sample_relative(
        self, study: optuna.Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        return self._tpe.sample_relative(study, trial, search_space)

    def sample_independent(
        self,
        study: optuna.Study,
        trial: FrozenTrial,
        param_name: str,
        param_distribution: BaseDistribution,
    ) -> Any:
        return self._tpe.sample_independent(study, trial, param_name, param_distribution)


COMPUTED_BY = (
    suggest,
    RunningMedianPruner,
    _ReproducibleTPE,
    cross_validation.validation_losses,
    build_lstm,
)
"""Code that the value of a trial depends on, with all that it reaches."""


def choice_name(features: FeatureConfig) -> str:
    """Name of a choice of features in tables and in the database."""
    text = ",".join(features.blocks)
    for name, seconds in (("mean", features.memory_s), ("sd", features.memory_sd_s)):
        text += f" {name} {'/'.join(f'{s:g}' for s in seconds)} s" if seconds else ""
    return text


def _labels_hash(sequences: Sequence[Sequence2Hz], known: Sequence[str]) -> str:
    """Hash of groups, labels and the shapes of the features.

    The features themselves are not hashed, because their last bits may differ between machines.
    The hash of their configuration stands for them.
    """
    by_id = {s.id: s for s in sequences}
    digest = hashlib.sha256()
    for i in known:
        s = by_id[i]
        digest.update(f"{s.id} {s.group} {s.features.shape}".encode())
        digest.update(s.labels.tobytes() + s.mask.tobytes())
    return digest.hexdigest()


def _open(url: str, name: str, facts: dict) -> optuna.Study:
    """Open or create a study, and refuse one that depends on something else."""
    optuna.logging.set_verbosity(optuna.logging.ERROR)  # the progress bar shows the trials
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        storage = RDBStorage(
            url,
            # Several processes may wait for one SQLite file.
            engine_kwargs={"connect_args": {"timeout": 60}} if url.startswith("sqlite") else None,
            heartbeat_interval=HEARTBEAT_S,
            grace_period=3 * HEARTBEAT_S,
            heartbeat_stale_trial_callback=RetryHeartbeatStaleTrialCallback(),
        )
    study = optuna.create_study(
        storage=storage, study_name=name, direction="minimize", load_if_exists=True
    )
    stored = study.user_attrs.get("facts")
    if stored is None and not study.get_trials(deepcopy=False):
        study.set_user_attr("facts", facts)
    elif stored != facts:
        differing = [key for key in facts if (stored or {}).get(key) != facts[key]]
        raise ValueError(
            f"storage: holds a search {name!r} with other {', '.join(differing)}; name another "
            "database or another search"
        )
    return study


def _retry_interrupted(study: optuna.Study) -> None:
    """Queue the interrupted trials again, with their parameters."""
    trials = study.get_trials(deepcopy=False)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        retry = RetryHeartbeatStaleTrialCallback()
        retried = {number for t in trials for number in retry.retry_history(t)}
    for trial in trials:
        if trial.state == TrialState.FAIL and trial.number not in retried:
            retry(study, trial)

"""Search an LSTM's hyperparameters with Optuna, on validation parts only; resumable, shareable."""

from __future__ import annotations

import hashlib
import json
import shutil
import warnings
from collections.abc import Mapping, Sequence
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
from msr_utils.models.lstm import NORMS, LSTMConfig
from msr_utils.paths import SEARCHES
from msr_utils.provenance.identity import source_hash
from msr_utils.training import cross_validation
from msr_utils.training.loop import FitConfig

HEARTBEAT_S = 10
"""A running trial says so this often; silent for three times as long, it counts as killed."""

DONE = (TrialState.COMPLETE, TrialState.PRUNED)

PARAMETERS = (
    "features", "units", "depth", "dropout", "norm", "learning_rate", "batch_size", "window_frames",
)  # fmt: skip
"""What is searched, in the order of tables and figures."""


def search(
    sequences: Mapping[FeatureConfig, Sequence[Sequence2Hz]],
    splits: Sequence[Split],
    target: str,
    fit_config: FitConfig,
    trials: int,
    inner_folds: int = 1,
    storage: str = "",
    name: str = "lstm",
    folder: Path = SEARCHES,
    progress: bool = True,
) -> optuna.Study:
    """Search until so many trials are done, counting those of earlier calls.

    A trial trains one network for each inner part of each split (see
    `experiment.validation_losses`); its value is their mean validation loss. The test parts of
    the splits are not read, so that no score on them is flattered by the search.

    Trials are drawn by TPE [1]_. After each network, a trial whose mean loss so far is above the
    median of the completed ones' is given up (see `MedianSoFar`). One that diverges or exceeds
    memory is given up as well, with its ``message``. A killed or interrupted one is taken up
    again with its parameters and its trained networks: on interruption at once, after a kill
    when its heartbeat has been missed.

    Any number of processes may search in one database at the same time; each may go one trial
    beyond `trials`.

    Parameters
    ----------
    sequences : mapping of FeatureConfig to sequence of Sequence2Hz
        The choices of features, and the corpus heard through each.
    splits : sequence of Split
    target : str
        "valence" or "arousal".
    fit_config : FitConfig
        All but the batch size, which is searched. Its seed also draws the trials.
    trials : int >= 1
        Completed and pruned ones together.
    inner_folds : int >= 1
        As in `msr_utils.training.cross_validation.CrossValidation`.
    storage : str
        Database URL for several machines, such as ``postgresql://...`` (its driver is needed);
        empty: an SQLite file under `folder`.
    name : str
        Of the search in its database, before the target.
    folder : Path
        For trainings; on each machine its own.
    progress : bool

    Returns
    -------
    optuna.Study

    Raises
    ------
    ValueError
        If `storage` holds a search of this name with other data, parameters or code, or a
        parameter is out of range.

    References
    ----------
    .. [1] Bergstra and others (2011), "Algorithms for hyper-parameter optimization", NIPS 24.
    """
    if trials < 1:
        raise ValueError(f"trials: must be at least 1, not {trials}")
    if not sequences or not splits:
        raise ValueError("search: needs at least one choice of features and one split")
    facts = _facts(sequences, splits, target, fit_config, inner_folds)
    work = Path(folder) / f"{name}-{target}-{sha256_text(json.dumps(facts))[:16]}"
    work.mkdir(parents=True, exist_ok=True)
    study = _open(storage or f"sqlite:///{work / 'study.db'}", f"{name}-{target}", facts)
    study.sampler, study.pruner = _ByRank(fit_config.seed), RunningMedianPruner()
    heard = {_choice(features): own for features, own in sequences.items()}
    bar = tqdm(total=trials, desc=f"search, {target}", unit="trial", disable=not progress)

    def objective(trial: optuna.Trial) -> float:
        drawn = suggest(trial, list(heard))
        # Named by its parameters: a trial that was killed finds its trained networks.
        own = work / f"trial-{sha256_text(json.dumps(asdict(drawn), sort_keys=True))[:16]}"
        trial.set_user_attr("folder", own.name)
        losses: list[float] = []
        try:
            for loss in cross_validation.validation_losses(
                drawn.config, replace(fit_config, batch_size=drawn.batch_size),
                heard[drawn.features],
                cross_validation.CrossValidation(splits, target, drawn.window_frames, inner_folds),
                own, progress=False, label=f"trial {trial.number}",
            ):  # fmt: skip
                losses.append(loss)
                trial.report(float(np.mean(losses)), step=len(losses))
                bar.set_postfix(networks=f"{len(losses)}/{len(splits) * inner_folds}")
                if len(losses) < len(splits) * inner_folds and trial.should_prune():
                    raise optuna.TrialPruned("above the median")
        except (ArithmeticError, MemoryError, tf.errors.OpError) as error:
            trial.set_user_attr("message", str(error)[:500])
            raise optuna.TrialPruned(str(error)) from error
        finally:
            trial.set_user_attr("losses", losses)
        return float(np.mean(losses))

    def clear(_: optuna.Study, trial: FrozenTrial) -> None:
        # The database holds the losses of what is done: its networks may go.
        if trial.state in DONE:
            shutil.rmtree(work / trial.user_attrs["folder"], ignore_errors=True)

    _retry_interrupted(study)
    while (done := len(study.get_trials(deepcopy=False, states=DONE))) < trials:
        bar.update(done - bar.n)
        study.optimize(objective, n_trials=1, callbacks=[clear])
    bar.update(min(done, trials) - bar.n)
    bar.close()
    return study


def select_folds(splits: Sequence[Split], numbers: Sequence[int]) -> list[Split]:
    """Splits by number, from 1.

    Raises
    ------
    ValueError
        If a number is none of theirs, or there is none or one twice.
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
    """One point of the space."""

    features: str
    config: LSTMConfig
    batch_size: int
    window_frames: int


def suggest(trial: optuna.trial.BaseTrial, features: Sequence[str]) -> TrialConfig:
    """Draw a point of the space that is searched.

    Parameters
    ----------
    trial : optuna.trial.BaseTrial
    features : sequence of str
        The choices.
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
    """Give up a trial whose latest report is above the median of the completed ones' there.

    Optuna's own median pruner compares a trial's lowest report. Here a report is the mean over
    the parts so far: an easy first part would shield a trial from every later comparison.

    Parameters
    ----------
    n_startup_trials : int
        Completed trials before any is given up.
    """

    def __init__(self, n_startup_trials: int = 5) -> None:
        self.n_startup_trials = n_startup_trials

    def prune(self, study: optuna.Study, trial: FrozenTrial) -> bool:
        """Decide after the latest report."""
        step = trial.last_step
        others = [
            other.intermediate_values[step]
            for other in study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))
            if step in other.intermediate_values
        ]
        return len(others) >= max(1, self.n_startup_trials) and trial.intermediate_values[
            step
        ] > np.median(others)


class _ByRank(BaseSampler):
    """TPE whose draws follow from the seed, the trial's rank and the trials before.

    One generator for all trials would begin again after a kill and draw the first trials twice,
    as would that of every further machine. Failed trials do not count: others repeat them.
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


def _choice(features: FeatureConfig) -> str:
    """Name of a choice of features in tables."""
    text = ",".join(features.blocks)
    for name, seconds in (("mean", features.memory_s), ("sd", features.memory_sd_s)):
        text += f" {name} {'/'.join(f'{s:g}' for s in seconds)} s" if seconds else ""
    return text


def _facts(
    sequences: Mapping[FeatureConfig, Sequence[Sequence2Hz]],
    splits: Sequence[Split],
    target: str,
    fit_config: FitConfig,
    inner_folds: int,
) -> dict:
    """All that a trial's value depends on beside its parameters."""
    known = sorted({i for split in splits for i in split.train + split.validation})
    training = asdict(fit_config)
    del training["batch_size"]
    return plain(
        {
            "target": target,
            "features": {_choice(f): f.hash for f in sequences},
            "tracks": sha256_text(json.dumps([[s.train, s.validation] for s in splits])),
            "data": sha256_text("".join(_labels_hash(own, known) for own in sequences.values())),
            "splits": len(splits),
            "inner_folds": inner_folds,
            "training": training,
            "code": source_hash(suggest, cross_validation.validation_losses)
            + cross_validation._training_code("lstm"),
        }
    )


def _labels_hash(sequences: Sequence[Sequence2Hz], known: Sequence[str]) -> str:
    """Of groups, frames and labels; features count by their hash, as their last bits may differ
    from machine to machine."""
    by_id = {s.id: s for s in sequences}
    digest = hashlib.sha256()
    for i in known:
        s = by_id[i]
        digest.update(f"{s.id} {s.group} {s.features.shape}".encode())
        digest.update(s.labels.tobytes() + s.mask.tobytes())
    return digest.hexdigest()


def _open(url: str, name: str, facts: dict) -> optuna.Study:
    optuna.logging.set_verbosity(optuna.logging.ERROR)  # the bar and the table say it all
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
    held = study.user_attrs.get("facts")
    if held is None and not study.get_trials(deepcopy=False):
        study.set_user_attr("facts", facts)
    elif held != facts:
        others = [key for key in facts if (held or {}).get(key) != facts[key]]
        raise ValueError(
            f"storage: holds a search {name!r} with other {', '.join(others)}; name another "
            "database, or another search in it"
        )
    return study


def _retry_interrupted(study: optuna.Study) -> None:
    """Queue trials that an interruption ended, with their parameters."""
    trials = study.get_trials(deepcopy=False)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        retry = RetryHeartbeatStaleTrialCallback()
        retried = {number for t in trials for number in retry.retry_history(t)}
    for trial in trials:
        if trial.state == TrialState.FAIL and trial.number not in retried:
            retry(study, trial)

"""Results of a hyperparameter search."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import optuna
import pandas as pd
from optuna.trial import FrozenTrial, TrialState

from msr_utils.experiments.search import DONE


@dataclass(frozen=True)
class BestTrial:
    """The completed trial with the lowest validation loss.

    Parameters
    ----------
    trial : int
        Its number.
    loss : float
    parameters : dict
        As ``03_lstm.ipynb`` takes them.
    """

    trial: int
    loss: float
    parameters: dict[str, Any]


@dataclass(frozen=True)
class TrialResult:
    """A completed or pruned trial.

    Parameters
    ----------
    trial : int
        Its number.
    state : str
        "complete" or "pruned".
    loss : float
        Of a pruned trial the mean over the networks that it trained; NaN where it trained none.
    networks : int
        Networks that it trained.
    minutes : float
    features, units, depth, dropout, norm, learning_rate, batch_size, window_frames
        See `msr_utils.experiments.search.suggest`.
    message : str
        Why it was pruned, where it diverged or ran out of memory.
    losses : list of float
        Of each network.
    """

    trial: int
    state: str
    loss: float
    networks: int
    minutes: float
    features: str
    units: int
    depth: int
    dropout: float
    norm: str
    learning_rate: float
    batch_size: int
    window_frames: int
    message: str
    losses: list[float]

    @classmethod
    def of(cls, trial: FrozenTrial) -> TrialResult:
        """The result of an Optuna trial."""
        losses = trial.user_attrs.get("losses", [])
        duration = trial.duration
        return cls(
            trial=trial.number,
            state=trial.state.name.lower(),
            loss=math.nan if trial.value is None else trial.value,
            networks=len(losses),
            minutes=math.nan if duration is None else duration.total_seconds() / 60,
            message=trial.user_attrs.get("message", ""),
            losses=losses,
            **trial.params,
        )


@dataclass(frozen=True)
class SearchResults:
    """Results of a search, as ``metrics.json`` has them.

    Parameters
    ----------
    best : BestTrial
    importances : dict of str to float
        See `importances`.
    completed, pruned : int
        Trials.
    trials : list of TrialResult
        The completed ones first, by loss.
    facts : dict
        What the search depends on, see `msr_utils.experiments.search.SearchTask.facts`.
    """

    best: BestTrial
    importances: dict[str, float]
    completed: int
    pruned: int
    trials: list[TrialResult]
    facts: dict[str, Any]


def best_trial(study: optuna.Study) -> FrozenTrial:
    """The completed trial with the lowest validation loss.

    Raises
    ------
    ValueError
        If no trial was completed. The message says why the last one was pruned.
    """
    trials = study.get_trials(deepcopy=False)
    completed = [t for t in trials if t.state == TrialState.COMPLETE]
    if not completed:
        messages = [t.user_attrs["message"] for t in trials if "message" in t.user_attrs]
        raise ValueError(
            f"search: none of {len(trials)} trials was completed"
            + (f"; message of the last one: {messages[-1]}" if messages else "; raise trials")
        )
    return min(completed, key=lambda t: (_value(t), t.number))


def _value(trial: FrozenTrial) -> float:
    """The loss of a completed trial."""
    assert trial.value is not None
    return trial.value


def notebook_parameters(params: Mapping[str, Any]) -> dict[str, Any]:
    """A trial's parameters as ``03_lstm.ipynb`` takes them."""
    values = {key: value for key, value in params.items() if key != "depth"}
    return {**values, "units": [params["units"]] * params["depth"]}


def importances(study: optuna.Study, seed: int = 7) -> dict[str, float]:
    """Share of each parameter in the variance of the log loss over completed trials, largest first.

    Empty with fewer than two completed trials.

    Notes
    -----
    Functional ANOVA: Hutter, Hoos and Leyton-Brown (2014), "An efficient approach for assessing
    hyperparameter importance", ICML.
    """
    if len(study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))) < 2:
        return {}
    evaluator = optuna.importance.FanovaImportanceEvaluator(seed=seed)
    # Of the logarithm, because one very bad trial would be most of the variance.
    return optuna.importance.get_param_importances(
        study, evaluator=evaluator, target=lambda trial: math.log(_value(trial))
    )


def trial_results(study: optuna.Study) -> list[TrialResult]:
    """Completed and pruned trials, the completed ones first, by loss."""
    trials = [TrialResult.of(t) for t in study.get_trials(deepcopy=False, states=DONE)]

    def key(t: TrialResult) -> tuple:
        return t.state, math.inf if math.isnan(t.loss) else t.loss, t.trial

    return sorted(trials, key=key)


def trial_table(study: optuna.Study) -> pd.DataFrame:
    """The trials of `trial_results` as rows.

    Returns
    -------
    pandas.DataFrame
        Index ``trial``; columns as in `TrialResult`, without ``losses``.
    """
    table = pd.DataFrame(asdict(t) for t in trial_results(study))
    return table.drop(columns="losses").set_index("trial")


def results(study: optuna.Study, seed: int = 7) -> SearchResults:
    """Results of a search, for ``metrics.json``.

    Raises
    ------
    ValueError
        If no trial was completed.
    """
    best, trials = best_trial(study), trial_results(study)
    return SearchResults(
        best=BestTrial(best.number, _value(best), notebook_parameters(best.params)),
        importances=importances(study, seed),
        completed=sum(t.state == "complete" for t in trials),
        pruned=sum(t.state == "pruned" for t in trials),
        trials=trials,
        facts=study.user_attrs["facts"],
    )

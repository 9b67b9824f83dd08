"""What a hyperparameter search found."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import optuna
import pandas as pd
from optuna.trial import FrozenTrial, TrialState

from msr_utils.experiments.search import DONE, PARAMETERS


def best_trial(study: optuna.Study) -> FrozenTrial:
    """The completed trial of the lowest validation loss.

    Raises
    ------
    ValueError
        If none is completed; the message says why the last one was given up.
    """
    trials = study.get_trials(deepcopy=False)
    completed = [t for t in trials if t.state == TrialState.COMPLETE]
    if not completed:
        why = [t.user_attrs["message"] for t in trials if "message" in t.user_attrs]
        raise ValueError(
            f"search: none of {len(trials)} trials was completed"
            + (f"; the last one said: {why[-1]}" if why else "; raise trials")
        )
    return min(completed, key=lambda t: (t.value, t.number))


def notebook_parameters(params: Mapping[str, Any]) -> dict[str, Any]:
    """A trial's parameters as ``03_lstm.ipynb`` takes them."""
    values = {key: value for key, value in params.items() if key != "depth"}
    return {**values, "units": [params["units"]] * params["depth"]}


def importances(study: optuna.Study, seed: int = 7) -> dict[str, float]:
    """Share of each parameter in the variance of the log loss over completed trials, largest first.

    By functional ANOVA (Hutter, Hoos and Leyton-Brown 2014, ICML). Empty with fewer than two
    completed trials.
    """
    if len(study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))) < 2:
        return {}
    evaluator = optuna.importance.FanovaImportanceEvaluator(seed=seed)
    # The logarithm: else one trial that went wrong is most of the variance.
    return optuna.importance.get_param_importances(
        study, evaluator=evaluator, target=lambda trial: math.log(trial.value)
    )


def trial_table(study: optuna.Study) -> pd.DataFrame:
    """Completed and pruned trials as rows, the completed first, by loss.

    Returns
    -------
    pandas.DataFrame
        Index ``trial``; ``state, loss, networks, minutes, *PARAMETERS, message``. The loss of a
        pruned trial is the mean of the networks it trained.
    """
    rows = [
        {
            "trial": t.number,
            "state": t.state.name.lower(),
            "loss": np.nan if t.value is None else t.value,
            "networks": len(t.user_attrs.get("losses", [])),
            "minutes": t.duration.total_seconds() / 60,
            **{name: t.params.get(name) for name in PARAMETERS},
            "message": t.user_attrs.get("message", ""),
        }
        for t in study.get_trials(deepcopy=False, states=DONE)
    ]
    return pd.DataFrame(rows).sort_values(["state", "loss", "trial"]).set_index("trial")


def results(study: optuna.Study, seed: int = 7) -> dict:
    """What a search found, for ``metrics.json``.

    Returns
    -------
    dict
        ``best`` (``trial, loss, parameters`` as the notebook takes them), ``importances``,
        ``completed``, ``pruned``, ``trials`` (rows of `trial_table` with each network's
        ``losses``), ``facts`` (what the search rests on).
    """
    best = best_trial(study)
    table = trial_table(study)
    losses = {t.number: t.user_attrs.get("losses", []) for t in study.get_trials(deepcopy=False)}
    return {
        "best": {
            "trial": best.number,
            "loss": best.value,
            "parameters": notebook_parameters(best.params),
        },
        "importances": importances(study, seed),
        "completed": int((table.state == "complete").sum()),
        "pruned": int((table.state == "pruned").sum()),
        "trials": [
            {**row, "losses": losses[row["trial"]]}
            for row in table.reset_index().to_dict("records")
        ],
        "facts": study.user_attrs["facts"],
    }

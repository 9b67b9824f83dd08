"""Classifiers of vectors: logistic regression, a support vector machine, and two kinds of trees.

Their settings are chosen by cross-validation over the groups of the clips that they are fitted on.
"""

from __future__ import annotations

import hashlib
import json
from typing import Any

import numpy as np
from sklearn.base import BaseEstimator
from sklearn.calibration import CalibratedClassifierCV
from sklearn.ensemble import ExtraTreesClassifier, HistGradientBoostingClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV, GroupKFold
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVC
from threadpoolctl import threadpool_limits

from msr_utils.affect import QUADRANTS
from msr_utils.io import atomic_path, plain, sha256_text
from msr_utils.paths import TRAININGS
from msr_utils.provenance.cache_keys import computed_by, computed_on

LOGISTIC, SVM, TREES, BOOSTED = "logistic regression", "SVM", "extra trees", "boosted trees"
"""Names of the models in tables."""

INNER_FOLDS = 5
"""Folds by group that choose the settings."""

LOGISTIC_C = (0.003, 0.01, 0.03, 0.1, 0.3)
SVM_C = (1.0, 3.0)
SVM_GAMMA = (0.3, 1.0)
"""Strengths that are tried; the widths of the Gaussian kernel are divided by the inputs."""

EXTRA_TREES = {"n_estimators": 300, "min_samples_leaf": 2, "max_features": 0.3}
BOOSTED_TREES = {
    "max_iter": 120,
    "learning_rate": 0.06,
    "max_leaf_nodes": 8,
    "l2_regularization": 5.0,
    "max_features": 0.3,
}
"""Fixed settings of the trees. They were set on folds by song of the training and validation parts
of EMOPIA."""


def _candidate(name: str, n_inputs: int, seed: int) -> tuple[BaseEstimator, dict[str, list[Any]]]:
    """A model and the settings that are tried."""
    if name == LOGISTIC:
        model = make_pipeline(StandardScaler(), LogisticRegression(max_iter=3000))
        return model, {"logisticregression__C": list(LOGISTIC_C)}
    if name == SVM:
        grid = {"svc__C": list(SVM_C), "svc__gamma": [gamma / n_inputs for gamma in SVM_GAMMA]}
        return make_pipeline(StandardScaler(), SVC()), grid
    if name == TREES:
        return ExtraTreesClassifier(**EXTRA_TREES, random_state=seed), {}
    return HistGradientBoostingClassifier(**BOOSTED_TREES, random_state=seed), {}


def fit_predict(
    name: str,
    x: np.ndarray,
    labels: np.ndarray,
    groups: np.ndarray,
    x_new: np.ndarray,
    seed: int,
) -> np.ndarray:
    """Fit a model and predict other clips.

    Parameters
    ----------
    name : str
        `LOGISTIC`, `SVM`, `TREES` or `BOOSTED`.
    x : np.ndarray [shape=(n, D)]
    labels : np.ndarray [shape=(n,), dtype=int]
    groups : np.ndarray [shape=(n,)]
        Songs. Clips of one song are not on both sides when settings are chosen.
    x_new : np.ndarray [shape=(m, D)]
    seed : int
        Of the trees.

    Returns
    -------
    np.ndarray [shape=(m, 4)]
        Probabilities of the quadrants. Those of the machine are calibrated on held-out groups
        (Platt 1999).
    """
    folds = min(INNER_FOLDS, len(set(groups)))
    inner = list(GroupKFold(folds).split(x, groups=groups))
    # With one thread, the last digits do not depend on the number of cores.
    with threadpool_limits(1):
        model, grid = _candidate(name, x.shape[1], seed)
        if grid:
            search = GridSearchCV(model, grid, cv=inner, refit=False)
            model.set_params(**search.fit(x, labels).best_params_)
        if name == SVM:
            model = CalibratedClassifierCV(model, cv=inner, ensemble=False)
        model.fit(x, labels)
        found = np.zeros((len(x_new), len(QUADRANTS)))
        found[:, model.classes_] = model.predict_proba(x_new)
    return found


def kept_fit_predict(
    name: str,
    x: np.ndarray,
    labels: np.ndarray,
    groups: np.ndarray,
    x_new: np.ndarray,
    seed: int,
) -> np.ndarray:
    """As `fit_predict`; what has been computed once is read, so that a killed run goes on."""
    digest = hashlib.sha256()
    for array in (x, labels, groups.astype(str), x_new):
        digest.update(f"{array.dtype} {array.shape}\n".encode())
        digest.update(np.ascontiguousarray(array).tobytes())
    inputs = [name, seed, digest.hexdigest(), computed_by(fit_predict), computed_on()]
    key = sha256_text(json.dumps(plain(inputs), sort_keys=True))[:16]
    file = TRAININGS / "notes" / f"vectors-{key}.npz"
    if not file.is_file():
        found = fit_predict(name, x, labels, groups, x_new, seed)
        with atomic_path(file) as temporary:
            np.savez(temporary, probabilities=found)
    with np.load(file) as stored:
        return np.array(stored["probabilities"])


def cross_validate(
    names: tuple[str, ...],
    x: np.ndarray,
    labels: np.ndarray,
    groups: np.ndarray,
    folds: int,
    seed: int,
) -> dict[str, np.ndarray]:
    """Probabilities of every clip from models that were fitted on no clip of its group.

    Returns
    -------
    dict of name to np.ndarray [shape=(N, 4)]
    """
    found = {name: np.zeros((len(x), len(QUADRANTS))) for name in names}
    for train, test in GroupKFold(min(folds, len(set(groups)))).split(x, groups=groups):
        for name in names:
            found[name][test] = kept_fit_predict(
                name, x[train], labels[train], groups[train], x[test], seed
            )
    return found


def constant(labels: np.ndarray, count: int) -> np.ndarray:
    """The shares of the quadrants among some labels, for every clip, (count, 4)."""
    shares = np.bincount(labels, minlength=len(QUADRANTS)) / len(labels)
    return np.tile(shares, (count, 1))

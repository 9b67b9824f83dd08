"""Least squares with a quadratic penalty: ridge regression and its relatives."""

from __future__ import annotations

import numpy as np


def solve_normal_equations(
    gram: np.ndarray, moment: np.ndarray, penalty: float | np.ndarray
) -> np.ndarray:
    """Solve least squares with a quadratic penalty from its normal equations.

    Parameters
    ----------
    gram : np.ndarray [shape=(D, D)]
        Products of the features, summed or averaged over rows.
    moment : np.ndarray [shape=(D,) or (D, K)]
        Products of the features with each target.
    penalty : float or np.ndarray [shape=(D,) or (D, D)]
        Of the weights: the same for all (ridge regression), one each, or a matrix (Tikhonov).

    Returns
    -------
    np.ndarray [shape=(D,) or (D, K)]
        Weights.

    Notes
    -----
    Hoerl and Kennard (1970), "Ridge regression", Technometrics 12(1).
    """
    penalty = np.asarray(penalty)
    if penalty.ndim < 2:
        penalty = np.diag(np.broadcast_to(penalty, len(gram)))
    return np.linalg.solve(gram + penalty, moment)

"""A linear map of each frame, solved in closed form: ridge regression as a network."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from msr_utils.models.backend import keras
from msr_utils.models.lstm import normalise
from msr_utils.models.ridge import RIDGE_ALPHAS


@dataclass(frozen=True)
class LinearConfig:
    """Ridge regression.

    Parameters
    ----------
    alphas : tuple of float > 0
        Penalties that are tried on the validation parts.
    """

    alphas: tuple[float, ...] = RIDGE_ALPHAS

    def __post_init__(self) -> None:
        object.__setattr__(self, "alphas", tuple(float(a) for a in self.alphas))
        if not self.alphas or min(self.alphas) <= 0:
            raise ValueError(f"alphas: need one or more positive penalties, not {self.alphas}")


def build_linear(config: LinearConfig, mean: np.ndarray, sd: np.ndarray) -> keras.Model:
    """The network: normalisation, mean and sd (D,), and one linear unit.

    Returns
    -------
    keras.Model
        Features (N, T, D) -> curve (N, T, 1).
    """
    features = keras.Input((None, len(mean)), name="features")
    curve = keras.layers.Dense(1, name="curve")(normalise(mean, sd)(features))
    return keras.Model(features, curve, name="linear")

"""A linear map and a Gaussian kernel machine, together as a network for each target."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from msr_utils.models.backend import keras
from msr_utils.models.lstm import normalise

KERNEL_NETWORK = "kernel"
"""Name of a network of `build_kernel`."""


@dataclass(frozen=True)
class KernelWeights:
    """``x @ slope + waves @ kernel_slope + intercept``, with x standardised.

    Parameters
    ----------
    mean, sd : np.ndarray [shape=(D,)]
        Of the features.
    slope : np.ndarray [shape=(D, K)]
        Of the linear map.
    projection, origin : np.ndarray [shape=(D, d)], [shape=(d,)]
        Coordinates of a frame are ``x @ projection + origin``.
    frequencies : np.ndarray [shape=(d, m)]
        The phases, whose cosines and sines are taken, are ``coordinates @ frequencies``.
    kernel_slope : np.ndarray [shape=(2 m, K)]
        Of the cosines, then of the sines.
    intercept : np.ndarray [shape=(K,)]
    """

    mean: np.ndarray
    sd: np.ndarray
    slope: np.ndarray
    projection: np.ndarray
    origin: np.ndarray
    frequencies: np.ndarray
    kernel_slope: np.ndarray
    intercept: np.ndarray


def build_kernel(weights: KernelWeights) -> list[keras.Model]:
    """One network for each of the K targets. They share all layers but the last.

    Returns
    -------
    list of keras.Model
        Features (N, T, D) -> curve (N, T, 1).
    """
    features = keras.Input((None, len(weights.mean)), name="features")
    standardised = normalise(weights.mean, weights.sd)(features)
    coordinates = _dense(weights.projection, weights.origin, "coordinates")(standardised)
    n_phases = weights.frequencies.shape[1]
    phases = _dense(weights.frequencies, np.zeros(n_phases), "phases")(coordinates)
    waves = [keras.ops.cos(phases), keras.ops.sin(phases)]
    inputs = keras.layers.Concatenate(name="all")([standardised, *waves])
    last = np.concatenate([weights.slope, weights.kernel_slope])
    curves = [
        _dense(last[:, [k]], weights.intercept[[k]], f"curve_{k}")(inputs)
        for k in range(last.shape[1])
    ]
    return [keras.Model(features, curve, name=KERNEL_NETWORK) for curve in curves]


def _dense(kernel: np.ndarray, bias: np.ndarray, name: str) -> keras.layers.Layer:
    """A layer that computes ``x @ kernel + bias``."""
    layer = keras.layers.Dense(len(bias), name=name)
    layer.build((None, None, len(kernel)))
    layer.set_weights([np.asarray(kernel, np.float32), np.asarray(bias, np.float32)])
    return layer

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
    """``x @ slope + kernel(x) @ dual + intercept``, with x standardised.

    Parameters
    ----------
    mean, sd : np.ndarray [shape=(D,)]
        Of the features.
    slope : np.ndarray [shape=(D, K)]
        Of the linear map.
    projection, origin : np.ndarray [shape=(D, d)], [shape=(d,)]
        Coordinates of a frame are ``x @ projection + origin``.
    landmarks : np.ndarray [shape=(m, d)]
        The kernel of a frame and a landmark is ``exp(-squared distance)`` of their coordinates.
    dual : np.ndarray [shape=(m, K)]
    intercept : np.ndarray [shape=(K,)]
    """

    mean: np.ndarray
    sd: np.ndarray
    slope: np.ndarray
    projection: np.ndarray
    origin: np.ndarray
    landmarks: np.ndarray
    dual: np.ndarray
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
    # The squared distance is a square, a product and a square: nothing of the size of all
    # differences is made.
    products = _dense(2 * weights.landmarks.T, -(weights.landmarks**2).sum(axis=1), "landmarks")(
        coordinates
    )
    square = keras.ops.sum(keras.ops.square(coordinates), axis=-1, keepdims=True)
    kernel = keras.ops.exp(keras.ops.minimum(products - square, 0.0))
    inputs = keras.layers.Concatenate(name="both")([standardised, kernel])
    last = np.concatenate([weights.slope, weights.dual])
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

"""The mean of several networks as one network."""

from __future__ import annotations

from collections.abc import Sequence

from msr_utils.models.backend import keras


def average(networks: Sequence[keras.Model]) -> keras.Model:
    """Join networks of one shape into one whose curve is the mean of theirs.

    Parameters
    ----------
    networks : sequence of keras.Model
        Features (N, T, D) -> curve (N, T, 1). A single network is returned as it is.
    """
    if len(networks) == 1:
        return networks[0]
    features = keras.Input(networks[0].input_shape[1:], name="features")
    # Renamed: a network may not hold two networks of the same name.
    named = [keras.Model(n.input, n.output, name=f"part_{i}") for i, n in enumerate(networks, 1)]
    curve = keras.layers.Average(name="curve")([network(features) for network in named])
    return keras.Model(features, curve, name=networks[0].name)


def parts(model: keras.Model) -> list[keras.Model]:
    """The networks that `average` joined, or the model itself."""
    return [layer for layer in model.layers if isinstance(layer, keras.Model)] or [model]

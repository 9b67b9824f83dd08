"""The paper's recurrent model: stacked LSTMs and a linear unit per frame."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

import numpy as np

from msr_utils.models.backend import keras
from msr_utils.models.ensemble import parts

NORMS = {
    "none": None,
    # Keras' momentum of .99 needs more steps than a small corpus has.
    "batch": partial(keras.layers.BatchNormalization, momentum=0.9),
    "layer": keras.layers.LayerNormalization,
}
"""What may follow an LSTM layer."""


@dataclass(frozen=True)
class LSTMConfig:
    """Shape of the network.

    Parameters
    ----------
    units : tuple of int
        Width of each LSTM layer; the paper has (64, 64).
    activation : str
        Of the cell's input and output. "tanh" is the default of Keras. The paper writes "default
        (linear)", but linear is not the default and can diverge.
    dropout : float in [0, 1)
        On the inputs of each LSTM layer.
    learning_rate : float > 0
        Of Adam.
    norm : str
        After each LSTM layer: "none", "batch" or "layer" normalisation.
    bidirectional : bool
        Also read the track backwards. Such a model is not causal and is not exported.
    joint : bool
        Also learn the other target from the same layers. Its curve is the second output.
    """

    units: tuple[int, ...] = (64, 64)
    activation: str = "tanh"
    dropout: float = 0.0
    learning_rate: float = 1e-3
    norm: str = "none"
    bidirectional: bool = False
    joint: bool = False

    def __post_init__(self) -> None:
        object.__setattr__(self, "units", tuple(self.units))
        if not self.units or min(self.units) < 1:
            raise ValueError(f"units: need one or more positive widths, not {self.units}")
        if not 0 <= self.dropout < 1:
            raise ValueError(f"dropout: must be in [0, 1), not {self.dropout}")
        if self.learning_rate <= 0:
            raise ValueError(f"learning_rate: must be positive, not {self.learning_rate}")
        if self.norm not in NORMS:
            raise ValueError(f"norm: must be one of {', '.join(NORMS)}, not {self.norm!r}")


def build_lstm(config: LSTMConfig, mean: np.ndarray, sd: np.ndarray) -> keras.Model:
    """Build the network for one target.

    Parameters
    ----------
    config : LSTMConfig
    mean, sd : np.ndarray [shape=(D,)]
        Normalisation fitted on training tracks; it becomes part of the network.

    Returns
    -------
    keras.Model
        Features (N, T, D) -> curve (N, T, 1), or (N, T, 2) if joint. `Dense` on a sequence
        applies to each step: it is the paper's TimeDistributed(Dense(1)).
    """
    features = keras.Input((None, len(mean)), name="features")
    hidden = normalise(mean, sd)(features)
    for i, units in enumerate(config.units, 1):
        layer = keras.layers.LSTM(
            units,
            activation=config.activation,
            dropout=config.dropout,
            return_sequences=True,
            return_state=not config.bidirectional,
            name=f"lstm_{i}",
        )
        if config.bidirectional:
            hidden = keras.layers.Bidirectional(layer, name=f"both_ways_{i}")(hidden)
        else:
            hidden = layer(hidden)[0]
        if NORMS[config.norm]:
            hidden = NORMS[config.norm](name=f"norm_{i}")(hidden)
    curve = keras.layers.Dense(2 if config.joint else 1, name="curve")(hidden)
    return keras.Model(features, curve, name="lstm")


def normalise(mean: np.ndarray, sd: np.ndarray) -> keras.layers.Layer:
    """Layer that scales features to zero mean and unit variance; mean and sd have shape (D,).

    It is a `Rescaling` layer: `Normalization` would turn its constants into additional inputs of
    an ONNX export.
    """
    return keras.layers.Rescaling(1 / sd, -mean / sd, name="normalisation")


def state_shape(model: keras.Model) -> tuple[int, int]:
    """Rows and width of the state that the streaming form of `model` carries."""
    layers = [layer for network in parts(model) for layer in _lstm_layers(network)]
    if not layers or any(n.output_shape[-1] > 1 or _extras(n) for n in parts(model)):
        raise ValueError(
            "streaming needs LSTM layers that read forwards, one curve, and no normalisation "
            "between them"
        )
    widths = {layer.units for layer in layers}
    if len(widths) > 1:
        raise ValueError(f"streaming needs LSTM layers of one width, not {sorted(widths)}")
    return 2 * len(layers), widths.pop()


def streaming_form(models: list[keras.Model]) -> keras.Model:
    """Join models of one shape each into one network that carries its state.

    Parameters
    ----------
    models : list of keras.Model
        One a target, built by `build_lstm` on the same features, or `average` of such models.

    Returns
    -------
    keras.Model
        Features (N, T, D) and state (N, S, units) -> curves (N, T, targets) and next state.
        A state of zeros starts a track. So a file and a stream go through the same graph.
    """
    rows, width = state_shape(models[0])
    features = keras.Input((None, models[0].input_shape[-1]), name="features")
    state = keras.Input((rows * len(models), width), name="state")
    curves: list[keras.KerasTensor] = []
    states: list[keras.KerasTensor] = []
    row = 0
    for model in models:
        if state_shape(model) != (rows, width):
            raise ValueError("models of one bundle must have the same LSTM layers")
        members = []
        for network in parts(model):
            # Wrapped one by one: a network may not hold two layers of the same name.
            stateful, n_rows = _with_state(network, f"member_{len(states) + 1}")
            curve, after = stateful([features, state[:, row : row + n_rows]])
            members.append(curve)
            states.append(after)
            row += n_rows
        curves.append(keras.layers.Average()(members) if len(members) > 1 else members[0])
    curve = keras.layers.Concatenate(name="curves")(curves) if len(curves) > 1 else curves[0]
    after = keras.layers.Concatenate(axis=1)(states) if len(states) > 1 else states[0]
    return keras.Model([features, state], [curve, after])


def _with_state(model: keras.Model, name: str) -> tuple[keras.Model, int]:
    """One network's layers, with the LSTMs' states as input and output; rows of that state."""
    rows, width = state_shape(model)
    features = keras.Input((None, model.input_shape[-1]))
    state = keras.Input((rows, width))
    hidden, states = model.get_layer("normalisation")(features), []
    for i, layer in enumerate(_lstm_layers(model)):
        hidden, h, c = layer(hidden, initial_state=[state[:, 2 * i], state[:, 2 * i + 1]])
        states += [h, c]
    curve = model.get_layer("curve")(hidden)
    after = keras.ops.stack(states, axis=1)
    return keras.Model([features, state], [curve, after], name=name), rows


def _extras(model: keras.Model) -> bool:
    """True if the network has layers that `_with_state` would leave out."""
    known = keras.layers.InputLayer | keras.layers.Rescaling | keras.layers.LSTM
    return any(not isinstance(layer, known | keras.layers.Dense) for layer in model.layers)


def _lstm_layers(model: keras.Model) -> list[keras.layers.LSTM]:
    return [layer for layer in model.layers if isinstance(layer, keras.layers.LSTM)]

"""The FCN of MTG-Jamendo as a causal ONNX graph.

FCN (Choi, Fazekas and Sandler 2016) is a convolutional network of five blocks. Won and others
(2020) trained it to tag the recordings of MTG-Jamendo with genres, instruments and moods. Each
block is a convolution over 3 hops and 3 bands, a batch normalisation, a ReLU and a maximum over
neighbours.

The network was trained with 29 s of audio at once. Here it follows a stream. A call takes the next
`CHUNK_HOPS` hops. The first three blocks continue from the calls before. They give a column of maps
for `CHUNK_HOPS` hops, `LAG_HOPS` hops after its end. The last two blocks see the last
`WINDOW_COLUMNS` columns, 20 s, as if the audio ended there.

References
----------
Choi, Fazekas and Sandler (2016), Automatic tagging using deep convolutional neural networks, ISMIR.
Won, Ferraro, Bogdanov and Serra (2020), Evaluation of CNN-based automatic music tagging models,
SMC.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from msr_utils.features.onnx_graph import GraphBuilder

JAMENDO_NAME = "Jamendo_FCN"
"""Name of the network here."""

JAMENDO_SHA256 = "4c6b9b5b6ce1bea71d2279fc531f5d5ec1f39134b2697273c796c12b52bf2a16"
"""SHA-256 of the ONNX graph that `build_graph` makes. It is part of the hash of features that
use the network."""

JAMENDO_FILE_SHA256 = "7bce08a66dbc70d096b0a330f44b4cacd9aa25519b83489fbb98f2164a194e2b"
"""SHA-256 of the file of weights."""

JAMENDO_URL = "https://github.com/minzwon/sota-music-tagging-models/raw/master/models/jamendo/fcn/best_model.pth"
"""Address of the weights."""

JAMENDO_TERMS = "weights of the FCN of MTG-Jamendo, Minz Won, MIT licence"
"""Name, author and licence of the weights."""

JAMENDO_MELS = 96
"""Mel bands of its input."""

POOLS = ((2, 4), (2, 4), (2, 4), (3, 5), (4, 4))
"""Neighbours over which each block takes the maximum: bands, then hops."""

MAPS = (64, 128, 128, 128, 64)
"""Maps of each block."""

CHUNK_HOPS = 64
"""Hops of a column: the product of the first three pools."""

LAG_HOPS = 21
"""Hops after a column that the first three blocks need: 1 + 4 + 16."""

WINDOW_COLUMNS = 20
"""Columns that the last two blocks see: the product of their pools. They are 20.5 s."""

EMBEDDING_DIM = MAPS[2] + MAPS[3] + MAPS[4]
"""Length of the embedding: the third block's last column (1 s), the fourth's (5 s), and the
fifth's maps (20 s)."""

BATCH_NORM_EPSILON = 1e-5
"""PyTorch's default."""

STATE_PREFIX = "jamendo_"
"""Prefix of the state's names in the graph."""

Weights = Mapping[str, np.ndarray]
"""Tensors of the checkpoint by name."""


def _scale_shift(weights: Weights, name: str) -> tuple[np.ndarray, np.ndarray]:
    """Scale and shift of a batch normalisation."""
    gamma, beta, mean, variance = (
        weights[f"{name}.{part}"].astype(np.float64)
        for part in ("weight", "bias", "running_mean", "running_var")
    )
    scale = gamma / np.sqrt(variance + BATCH_NORM_EPSILON)
    return scale, beta - mean * scale


def _block_weights(weights: Weights, number: int) -> tuple[np.ndarray, np.ndarray]:
    """Kernel (out, in, band, hop) and bias of a block, with its batch normalisation."""
    scale, shift = _scale_shift(weights, f"layer{number}.bn")
    kernel = weights[f"layer{number}.conv.weight"].astype(np.float64)
    bias = weights[f"layer{number}.conv.bias"].astype(np.float64)
    return kernel * scale[:, None, None, None], bias * scale + shift


def build_graph(weights: Weights) -> bytes:
    """The network without its tags as an ONNX graph.

    Inputs are ``mel``, (CHUNK_HOPS, JAMENDO_MELS) in dB, ``live``, (1, 1, 1, CHUNK_HOPS), and the
    states. ``live`` is 0 for hops before the start and 1 for others. The first output is
    ``embedding``, (EMBEDDING_DIM,). What lies before the start is zero in each block, as in the
    padding around the network's own input.

    Parameters
    ----------
    weights : dict of str to np.ndarray
        Tensors of the checkpoint.

    Returns
    -------
    bytes
        A serialised ONNX model.
    """
    graph = GraphBuilder(JAMENDO_NAME, JAMENDO_TERMS, STATE_PREFIX)
    scale, shift = _scale_shift(weights, "spec_bn")
    x = graph.add("Transpose", "mel", perm=[1, 0])
    x = graph.add("Unsqueeze", x, graph.integers(0, 1))
    x = graph.add("Add", graph.add("Mul", x, graph.constant(scale)), graph.constant(shift))
    x = graph.add("Mul", x, "live")
    live, bands, maps = "live", JAMENDO_MELS, 1
    for number, (over_bands, over_hops) in enumerate(POOLS[:3], 1):
        x = graph.with_past(x, f"block{number}", (1, maps, bands, 2), 3)
        x = _convolve(graph, weights, number, x, (1, 0, 1, 0))
        x = graph.add(
            "MaxPool", x, kernel_shape=[over_bands, over_hops], strides=[over_bands, over_hops]
        )
        every = [graph.integers(value) for value in (0, 2**31, 3, over_hops)]
        live = graph.add("Slice", live, *every)
        x = graph.add("Mul", x, live)
        bands, maps = bands // over_bands, MAPS[number - 1]
    last = [_mean(graph, x)]
    x = graph.with_past(x, "block4", (1, maps, bands, 2), 3)
    # The next column is not known yet. The one before is computed again, now with this one.
    x = _convolve(graph, weights, 4, x, (1, 0, 1, 1))
    both_live = graph.with_past(live, "live_columns", (1, 1, 1, 1), 3)
    x = graph.add("Mul", x, both_live)
    over_bands, over_hops = POOLS[3]
    x = graph.add("MaxPool", x, kernel_shape=[over_bands, 1], strides=[over_bands, 1])
    bands = bands // over_bands
    known = STATE_PREFIX + "window"
    graph.states[known] = (1, MAPS[3], bands, WINDOW_COLUMNS - 1)
    before = graph.slice(known, 3, 1)
    window = graph.add("Concat", before, x, axis=3)
    following = graph.add("Concat", before, graph.slice(x, 3, 0, 1), axis=3)
    graph.add("Identity", following, output=f"{known}_next")
    x = graph.add("MaxPool", window, kernel_shape=[1, over_hops], strides=[1, over_hops])
    last.append(_mean(graph, graph.slice(x, 3, -1)))
    x = _convolve(graph, weights, 5, x, (1, 1, 1, 1))
    x = graph.add("MaxPool", x, kernel_shape=list(POOLS[4]))
    last.append(graph.add("Reshape", x, graph.integers(MAPS[4])))
    x = graph.add("Concat", *last, axis=0)
    graph.add("Mul", x, graph.add("Reshape", live, graph.integers(1)), output="embedding")
    inputs = {"mel": (CHUNK_HOPS, JAMENDO_MELS), "live": (1, 1, 1, CHUNK_HOPS)}
    return graph.serialise(inputs, {"embedding": (EMBEDDING_DIM,)})


def _convolve(
    graph: GraphBuilder, weights: Weights, number: int, x: str, pads: tuple[int, int, int, int]
) -> str:
    """A block's convolution, batch normalisation and ReLU; `pads` as in ONNX."""
    kernel, bias = map(graph.constant, _block_weights(weights, number))
    return graph.add("Relu", graph.add("Conv", x, kernel, bias, pads=list(pads)))


def _mean(graph: GraphBuilder, x: str) -> str:
    """Mean over bands and columns, (maps,)."""
    return graph.add("ReduceMean", x, axes=[0, 2, 3], keepdims=0)

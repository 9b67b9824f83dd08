"""MusiCNN as a causal ONNX graph.

MusiCNN (Pons and Serra 2019) is a convolutional network that was trained to tag music. It has a
front end of timbral filters (7 hops long) and temporal filters (32, 64 and 128 hops long), a
middle part of three convolutions, and a back end that pools over 3 s and gives an embedding.

Centred convolutions need future audio. To stay causal, outputs are delayed by 3 to 73 hops.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from msr_utils.features.onnx_graph import GraphBuilder

MUSICNN_NAME = "MSD_musicnn"
"""Name of the network in its package."""

MUSICNN_SHA256 = "f27e8f5cf87794848ff4286025f55926f59edc7b55a0ace458cd15be36dc5ae1"
"""SHA-256 of the ONNX graph that `build_graph` makes. It is part of the hash of features that
use the network."""

MUSICNN_PACKAGE = "musicnn==0.1.0"
"""Package that carries the weights."""

MUSICNN_WHEEL_SHA256 = "f38a4890c648c1ddbb141c5d96d2b0a8cfcd36746002d896989f7b88beb65cfa"
"""SHA-256 of the package's wheel."""

MUSICNN_TERMS = f"weights of {MUSICNN_PACKAGE} ({MUSICNN_NAME}), Jordi Pons, ISC licence"
"""Name, author and licence of the weights."""

EMBEDDING_DIM = 200
"""Length of the embedding: the output of the last layer before the tags."""

MUSICNN_MELS = 96
"""Mel bands of MusiCNN's input."""

POOL_FRAMES = 6
"""Frames over which the feature maps are pooled: 187 or 188 hops. MusiCNN's own input has 187."""

MAX_FILTER_HOPS = 128
"""Length of the longest filter in hops."""

LOOKAHEAD_HOPS = 64
"""Hops after its centre that the longest filter covers."""

TIMBRAL_LOOKAHEAD_HOPS = 3
"""Hops after its centre that a filter of 7 hops covers."""

MAX_DEAD_WEIGHT = 1e-8
"""Largest weight of a dead filter. Training drove the weights of most filters to zero; their
feature maps are constants."""

STATE_PREFIX = "ear_"
"""Prefix of the state's names in the graph, from an earlier name of the block. Another prefix
would change the file's SHA-256, so everyone would have to fetch the weights again."""

Weights = dict[str, np.ndarray]
"""Tensors of the checkpoint by name."""


def _batch_norm(weights: Weights, index: int) -> tuple[np.ndarray, np.ndarray]:
    """Scale and shift of a batch normalisation."""
    gamma, beta, mean, variance = (
        weights[f"batch_normalization{f'_{index}' if index else ''}/{name}"]
        for name in ("gamma", "beta", "moving_mean", "moving_variance")
    )
    scale = gamma / np.sqrt(variance + 1e-3)
    return scale, beta - mean * scale


def _convolution(weights: Weights, index: int) -> tuple[np.ndarray, np.ndarray]:
    """Kernel (out, in, time, frequency) and bias."""
    name = f"conv2d{f'_{index}' if index else ''}"
    return weights[f"{name}/kernel"].transpose(3, 2, 0, 1), weights[f"{name}/bias"]


@dataclass(frozen=True)
class _FrontEnd:
    """Feature maps of the front end.

    Parameters
    ----------
    timbral, temporal : str
        Outputs with the maps of live filters, (1, maps, hops).
    n_timbral, n_temporal : int
        Number of these maps.
    alive : np.ndarray [shape=(filters,), dtype=bool]
        False for dead filters.
    constants : np.ndarray [shape=(filters,)]
        Constant value of each dead filter's map; 0 for live filters.
    """

    timbral: str
    temporal: str
    n_timbral: int
    n_temporal: int
    alive: np.ndarray
    constants: np.ndarray


def build_graph(weights: Weights) -> bytes:
    """MusiCNN without its tags as an ONNX graph.

    The graph takes new hops and a state, and gives an embedding and the next state. It computes
    the same as MusiCNN in fewer steps:

    - Dead filters of the front end give constants. These are added to the biases of later layers.
    - The maximum over frequency is taken before bias, ReLU and normalisation, which keep the
      order of values. A negative scale reverses the order: these filters change their sign.

    Parameters
    ----------
    weights : dict of str to np.ndarray
        Tensors of the checkpoint.

    Returns
    -------
    bytes
        A serialised ONNX model.
    """
    graph = GraphBuilder(MUSICNN_NAME, MUSICNN_TERMS, STATE_PREFIX)
    scale, shift = _batch_norm(weights, 0)
    mel = graph.add("Mul", "mel", graph.constant(scale))
    mel = graph.add("Add", mel, graph.constant(shift))
    mel = graph.with_past(mel, "mel", (MAX_FILTER_HOPS - 1, MUSICNN_MELS), 0)
    mel = graph.add("Unsqueeze", mel, graph.integers(0, 1))
    front = _add_front_end(graph, weights, mel)
    layers, maps_per_layer = _add_middle(graph, weights, front)
    x = graph.add("Concat", front.timbral, front.temporal, *layers, axis=1)
    width = front.n_timbral + front.n_temporal + len(layers) * maps_per_layer
    _add_back_end(graph, weights, front, x, width)
    inputs = {"mel": ("hops", MUSICNN_MELS), "pooled": (1,)}
    return graph.serialise(inputs, {"embedding": (EMBEDDING_DIM,)})


def _add_front_end(graph: GraphBuilder, weights: Weights, mel: str) -> _FrontEnd:
    """Timbral filters, which cover 7 hops and many bands, then temporal filters."""
    timbral, timbral_alive, timbral_constants = _add_filters(graph, weights, mel, (0, 1), False)
    temporal, temporal_alive, temporal_constants = _add_filters(
        graph, weights, mel, (2, 3, 4), True
    )
    return _FrontEnd(
        timbral,
        temporal,
        int(timbral_alive.sum()),
        int(temporal_alive.sum()),
        np.concatenate([timbral_alive, temporal_alive]),
        np.concatenate([timbral_constants, temporal_constants]),
    )


def _add_filters(
    graph: GraphBuilder, weights: Weights, mel: str, indices: Sequence[int], aligned: bool
) -> tuple[str, np.ndarray, np.ndarray]:
    """Filters of one kind with their maximum over frequency.

    Parameters
    ----------
    graph : GraphBuilder
    weights : dict of str to np.ndarray
    mel : str
        (1, 1, hops, bands), with the past that the longest filter covers.
    indices : sequence of int
        Convolutions in the checkpoint.
    aligned : bool
        True delays shorter filters, so that all outputs belong to the same time as those of the
        longest filter.

    Returns
    -------
    maps : str
        Maps of live filters, (1, maps, hops).
    alive : np.ndarray [shape=(filters,), dtype=bool]
    constants : np.ndarray [shape=(filters,)]
        As in `_FrontEnd`.
    """
    peaks: list[str] = []
    all_alive, constants, signs, biases, scales, shifts = ([] for _ in range(6))
    for index in indices:
        kernel, bias = _convolution(weights, index)
        scale, shift = _batch_norm(weights, 1 + index)
        alive = abs(kernel).max(axis=(1, 2, 3)) > MAX_DEAD_WEIGHT
        constants.append(np.where(alive, 0, np.maximum(bias, 0) * scale + shift))
        all_alive.append(alive)
        hops = kernel.shape[2]
        delay = LOOKAHEAD_HOPS - hops // 2 if aligned else 0
        covered = graph.slice(mel, 2, MAX_FILTER_HOPS - hops - delay, -delay or 2**31)
        sign = np.where(scale[alive] < 0, -1, 1)
        kernel = kernel[alive] * sign[:, None, None, None]
        peaks.append(graph.pool(graph.add("Conv", covered, graph.constant(kernel)), 3, "Max"))
        signs.append(sign)
        biases.append(bias[alive])
        scales.append(scale[alive])
        shifts.append(shift[alive])
    joined = graph.add("Concat", *peaks, axis=1)
    x = graph.add("Mul", joined, graph.column(np.concatenate(signs)))
    maps = graph.activate(x, *map(np.concatenate, (biases, scales, shifts)))
    return maps, np.concatenate(all_alive), np.concatenate(constants)


def _add_middle(graph: GraphBuilder, weights: Weights, front: _FrontEnd) -> tuple[list[str], int]:
    """Three convolutions over 7 hops, the last two with residual connections.

    The first takes timbral and temporal maps. Timbral maps are available earlier, so their part
    of the sum is delayed.

    Returns
    -------
    layers : list of str
        Outputs, (1, maps, hops) each.
    maps : int
        Maps in each.
    """
    kernel, bias = _convolution(weights, 5)
    kernel = kernel[:, 0].transpose(0, 2, 1)  # (out, in, time)
    bias = bias + kernel.sum(axis=2) @ front.constants
    kernel = kernel[:, front.alive]
    maps, past = len(kernel), kernel.shape[2] - 1
    timbral = graph.with_past(front.timbral, "timbral", (1, front.n_timbral, past), 2)
    part = graph.add("Conv", timbral, graph.constant(kernel[:, : front.n_timbral]))
    delay = LOOKAHEAD_HOPS - TIMBRAL_LOOKAHEAD_HOPS
    part = graph.slice(graph.with_past(part, "share", (1, maps, delay), 2), 2, 0, -delay)
    temporal = graph.with_past(front.temporal, "temporal", (1, front.n_temporal, past), 2)
    other = graph.add("Conv", temporal, graph.constant(kernel[:, front.n_timbral :]))
    x = graph.activate(graph.add("Add", part, other), bias, *_batch_norm(weights, 6))
    layers = [x]
    for index in (6, 7):
        kernel, bias = _convolution(weights, index)
        joined = graph.with_past(x, f"layer{index - 5}", (1, maps, past), 2)
        x = graph.add("Conv", joined, graph.constant(kernel[:, 0].transpose(0, 2, 1)))
        x = graph.activate(x, bias, *_batch_norm(weights, index + 1))
        x = graph.add("Add", x, graph.slice(joined, 2, past // 2, -past // 2))
        layers.append(x)
    return layers, maps


def _add_back_end(
    graph: GraphBuilder, weights: Weights, front: _FrontEnd, x: str, width: int
) -> None:
    """Maximum and mean over the last POOL_FRAMES, then a dense layer that gives the embedding.

    Parameters
    ----------
    graph : GraphBuilder
    weights : dict of str to np.ndarray
    front : _FrontEnd
    x : str
        All maps that are not constant, (1, width, hops).
    width : int
    """
    kinds: tuple[tuple[str, Literal["Max", "Sum"]], ...] = (("peaks", "Max"), ("sums", "Sum"))
    shape = (POOL_FRAMES - 1, width)
    pools = [
        graph.pool(graph.with_past(graph.pool(x, 2, kind), name, shape, 0), 0, kind)
        for name, kind in kinds
    ]
    pools[1] = graph.add("Div", pools[1], "pooled")
    scale, shift = _batch_norm(weights, 9)
    kernel, bias = weights["dense/kernel"], weights["dense/bias"]
    bias = bias + shift @ kernel
    # (map, maximum or mean, embedding)
    kernel = (kernel * scale[:, None]).reshape(-1, 2, EMBEDDING_DIM)
    filters = len(front.constants)
    bias = bias + front.constants @ kernel[:filters].sum(axis=1)
    kernel = np.concatenate([kernel[:filters][front.alive], kernel[filters:]])
    parts = [graph.add("MatMul", p, graph.constant(kernel[:, k])) for k, p in enumerate(pools)]
    x = graph.add("Add", graph.add("Add", *parts), graph.constant(bias))
    scale, shift = _batch_norm(weights, 10)
    x = graph.add("Mul", graph.add("Relu", x), graph.constant(scale))
    x = graph.add("Add", x, graph.constant(shift))
    graph.add("Reshape", x, graph.integers(EMBEDDING_DIM), output="embedding")

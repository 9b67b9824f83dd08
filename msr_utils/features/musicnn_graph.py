"""MusiCNN as a causal ONNX graph."""

from __future__ import annotations

import numpy as np

MUSICNN_NAME = "MSD_musicnn"
"""The network, as its package calls it."""

MUSICNN_SHA256 = "f27e8f5cf87794848ff4286025f55926f59edc7b55a0ace458cd15be36dc5ae1"
"""SHA-256 of the ONNX graph that `fetch` makes: part of the hash of features that use it."""

MUSICNN_PACKAGE = "musicnn==0.1.0"

MUSICNN_WHEEL_SHA256 = "f38a4890c648c1ddbb141c5d96d2b0a8cfcd36746002d896989f7b88beb65cfa"
"""The package that carries the weights, and SHA-256 of its wheel."""

MUSICNN_TERMS = f"weights of {MUSICNN_PACKAGE} ({MUSICNN_NAME}), Jordi Pons, ISC licence"
"""What it is called, whose it is, and on which terms."""

EMBEDDING_DIM = 200
"""Length of the embedding: the output of the last layer but the tags."""

MUSICNN_MELS = 96
"""What MusiCNN was trained on: Hz, samples, samples, bands up to half the rate."""

POOL_FRAMES = 6
"""Frames over which maps are averaged: 187 or 188 hops; a patch of MusiCNN has 187."""

MAX_FILTER_HOPS = 128
"""Hops of the longest filter."""

LOOKAHEAD_HOPS = 64
"""Hops after its own time that the longest filter covers."""

TIMBRAL_LOOKAHEAD_HOPS = 3
"""Hops before and after its own time that every filter of 7 hops covers."""

MAX_DEAD_WEIGHT = 1e-8
"""Largest weight of a filter whose map is one constant: training left most of them so."""


def _batch_norm(weights: dict[str, np.ndarray], index: int) -> tuple[np.ndarray, np.ndarray]:
    """Scale and shift of a batch normalisation."""
    gamma, beta, mean, variance = (
        weights[f"batch_normalization{f'_{index}' if index else ''}/{name}"]
        for name in ("gamma", "beta", "moving_mean", "moving_variance")
    )
    scale = gamma / np.sqrt(variance + 1e-3)
    return scale, beta - mean * scale


def _convolution(weights: dict[str, np.ndarray], index: int) -> tuple[np.ndarray, np.ndarray]:
    """Kernel (out, in, time, frequency) and bias."""
    name = f"conv2d{f'_{index}' if index else ''}"
    return weights[f"{name}/kernel"].transpose(3, 2, 0, 1), weights[f"{name}/bias"]


def build_graph(weights: dict[str, np.ndarray]) -> bytes:
    """MusiCNN without its tags as an ONNX graph: new hops and a state in, embedding and state out.

    It computes what MusiCNN computes, in fewer steps. Of the front end's filters, those whose
    weights training left at zero give constants, which go into the biases of what follows.
    Maxima over frequency come before bias, ReLU and normalisation, which keep the order, or,
    where a scale is negative, reverse it: these filters' signs are turned.
    """
    import onnx
    from onnx import TensorProto, helper

    nodes, constants = [], []

    def constant(value: np.ndarray, kind: int = TensorProto.FLOAT) -> str:
        value = np.ascontiguousarray(value, np.float32 if kind == TensorProto.FLOAT else np.int64)
        name = f"c{len(constants)}"
        constants.append(helper.make_tensor(name, kind, value.shape, value.tobytes(), raw=True))
        return name

    def add(operator: str, *inputs: str, output: str = "", **attributes: object) -> str:
        output = output or f"n{len(nodes)}"
        nodes.append(helper.make_node(operator, inputs, [output], **attributes))
        return output

    def cut(x: str, axis: int, first: int, last: int = 2**31, output: str = "") -> str:
        bounds = [constant([bound], TensorProto.INT64) for bound in (first, last, axis)]
        return add("Slice", x, *bounds, output=output)

    states = {}

    def continued(x: str, name: str, shape: tuple[int, ...], axis: int) -> str:
        """What was kept of `x` and, after it, the new; as much is kept again."""
        states[f"ear_{name}"] = shape
        known = add("Concat", f"ear_{name}", x, axis=axis)
        cut(known, axis, -shape[axis], output=f"ear_{name}_next")
        return known

    def pooled(x: str, axis: int, kind: str) -> str:
        """Maximum or sum along an axis; of one axis that is left, a row."""
        if kind == "Max":
            return add("ReduceMax", x, axes=[axis], keepdims=int(axis == 0))
        return add("ReduceSum", x, constant([axis], TensorProto.INT64), keepdims=int(axis == 0))

    def column(values: np.ndarray) -> str:
        return constant(values.reshape(1, -1, 1))

    def normalised(x: str, bias: np.ndarray, scale: np.ndarray, shift: np.ndarray) -> str:
        x = add("Relu", add("Add", x, column(bias)))
        return add("Add", add("Mul", x, column(scale)), column(shift))

    scale, shift = _batch_norm(weights, 0)
    x = add("Add", add("Mul", "mel", constant(scale)), constant(shift))
    x = continued(x, "mel", (MAX_FILTER_HOPS - 1, MUSICNN_MELS), 0)
    x = add("Unsqueeze", x, constant([0, 1], TensorProto.INT64))

    # Front end. What is left of each filter bank after those that are silent.
    fixed, heard_filters, maps = [], [], []
    for kind, indices in (("timbral", (0, 1)), ("temporal", (2, 3, 4))):
        peaks, signs, biases, scales, shifts = [], [], [], [], []
        for index in indices:
            kernel, bias = _convolution(weights, index)
            scale, shift = _batch_norm(weights, 1 + index)
            alive = abs(kernel).max(axis=(1, 2, 3)) > MAX_DEAD_WEIGHT
            fixed.append(np.where(alive, 0, np.maximum(bias, 0) * scale + shift))
            heard_filters.append(alive)
            hops = kernel.shape[2]
            if kind == "timbral":
                hears = cut(x, 2, MAX_FILTER_HOPS - hops)
            else:  # the time of its newest value is that of the longest filter's
                late = LOOKAHEAD_HOPS - hops // 2
                hears = cut(x, 2, MAX_FILTER_HOPS - hops - late, -late or 2**31)
            sign = np.where(scale[alive] < 0, -1, 1)
            turned = add("Conv", hears, constant(kernel[alive] * sign[:, None, None, None]))
            peaks.append(pooled(turned, 3, "Max"))
            signs, biases = [*signs, *sign], [*biases, *bias[alive]]
            scales, shifts = [*scales, *scale[alive]], [*shifts, *shift[alive]]
        x_of_kind = add("Mul", add("Concat", *peaks, axis=1), column(np.array(signs)))
        maps.append(normalised(x_of_kind, *map(np.array, (biases, scales, shifts))))
    fixed, alive = np.concatenate(fixed), np.concatenate(heard_filters)
    n_timbral = int(np.concatenate(heard_filters[:2]).sum())
    n_temporal = int(alive.sum()) - n_timbral

    # Middle: three layers of 7 hops. The timbral maps' share of the first waits for the others.
    kernel, bias = _convolution(weights, 5)
    kernel = kernel[:, 0].transpose(0, 2, 1)  # (out, in, time)
    bias = bias + kernel.sum(axis=2) @ fixed
    kernel = kernel[:, alive]
    span = kernel.shape[2] - 1
    timbral = continued(maps[0], "timbral", (1, n_timbral, span), 2)
    share = add("Conv", timbral, constant(kernel[:, :n_timbral]))
    wait = LOOKAHEAD_HOPS - TIMBRAL_LOOKAHEAD_HOPS
    share = cut(continued(share, "share", (1, len(kernel), wait), 2), 2, 0, -wait)
    temporal = continued(maps[1], "temporal", (1, n_temporal, span), 2)
    x = add("Add", share, add("Conv", temporal, constant(kernel[:, n_timbral:])))
    x = normalised(x, bias, *_batch_norm(weights, 6))
    maps.append(x)
    for index in (6, 7):
        kernel, bias = _convolution(weights, index)
        before = continued(x, f"layer{index - 5}", (1, len(kernel), span), 2)
        x = add("Conv", before, constant(kernel[:, 0].transpose(0, 2, 1)))
        x = normalised(x, bias, *_batch_norm(weights, index + 1))
        x = add("Add", x, cut(before, 2, span // 2, -span // 2))
        maps.append(x)

    # Back end: maximum and mean over the last POOL_FRAMES.
    x = add("Concat", *maps, axis=1)
    width = n_timbral + n_temporal + 3 * len(kernel)
    pools = [
        pooled(continued(pooled(x, 2, kind), name, (POOL_FRAMES - 1, width), 0), 0, kind)
        for name, kind in (("peaks", "Max"), ("sums", "Sum"))
    ]
    pools[1] = add("Div", pools[1], "pooled")
    scale, shift = _batch_norm(weights, 9)
    kernel, bias = weights["dense/kernel"], weights["dense/bias"]
    bias = bias + shift @ kernel
    kernel = (kernel * scale[:, None]).reshape(
        -1, 2, EMBEDDING_DIM
    )  # of each map its maximum, its mean
    bias = bias + fixed @ kernel[: len(fixed)].sum(axis=1)
    kernel = np.concatenate([kernel[: len(fixed)][alive], kernel[len(fixed) :]])
    parts = [add("MatMul", pool, constant(kernel[:, k])) for k, pool in enumerate(pools)]
    x = add("Relu", add("Add", add("Add", *parts), constant(bias)))
    scale, shift = _batch_norm(weights, 10)
    x = add("Add", add("Mul", x, constant(scale)), constant(shift))
    add("Reshape", x, constant([EMBEDDING_DIM], TensorProto.INT64), output="embedding")

    def described(name: str, shape: tuple[int | str, ...]) -> object:
        return helper.make_tensor_value_info(name, TensorProto.FLOAT, shape)

    graph = helper.make_graph(
        nodes,
        MUSICNN_NAME,
        [described("mel", ("hops", MUSICNN_MELS)), described("pooled", (1,))]
        + [described(name, shape) for name, shape in states.items()],
        [described("embedding", (EMBEDDING_DIM,))]
        + [described(f"{name}_next", shape) for name, shape in states.items()],
        constants,
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    model.doc_string = MUSICNN_TERMS
    onnx.checker.check_model(model)
    return model.SerializeToString(deterministic=True)

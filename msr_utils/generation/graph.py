"""The ONNX graph of a generator: one note in, logits of the next note and the new state out.

It is built from named weights and not exported by a framework, so that a state can be carried from
note to note. `msr_utils.export.generator` compares it with the trained network step by step.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from msr_utils.features.onnx_graph import GraphBuilder, Shape
from msr_utils.generation.codes import ATTRIBUTES, PITCH, SIZES
from msr_utils.generation.condition import CONDITION_SIZE
from msr_utils.symbolic.words import N_SPECIAL

Weights = Mapping[str, np.ndarray]
"""Weights by name; see `weight_shapes`."""

NORM_EPSILON = 1e-5
"""Added to variances by layer normalisation."""


@dataclass(frozen=True)
class GeneratorConfig:
    """Shape of a generator's network.

    Parameters
    ----------
    kind : str
        "lstm" or "gpt".
    layers, hidden : int > 0
        Depth and width.
    embedding : int > 0
        Width of a note and of the condition; a GPT has its hidden width here.
    head : int > 0
        Width of the layer before the logits of each attribute.
    heads : int > 0
        Attention heads of a GPT.
    context : int >= 0
        Notes that a GPT sees at most.
    """

    kind: str = "lstm"
    layers: int = 2
    hidden: int = 256
    embedding: int = 128
    head: int = 96
    heads: int = 4
    context: int = 0

    def __post_init__(self) -> None:
        if self.kind not in ("lstm", "gpt"):
            raise ValueError(f"kind: must be lstm or gpt, not {self.kind!r}")
        if self.kind == "gpt" and (self.embedding != self.hidden or self.context < 2):
            raise ValueError("embedding: a GPT needs its hidden width, and a context")


def weight_shapes(config: GeneratorConfig) -> dict[str, tuple[int, ...]]:
    """Name of every weight -> its shape, in the order in which data meet them."""
    e, h, d = config.embedding, config.hidden, config.head
    shapes: dict[str, tuple[int, ...]] = {
        f"note/{name}": (size, e) for name, size in zip(ATTRIBUTES, SIZES, strict=True)
    }
    shapes |= {"note/pitch_class": (N_SPECIAL + 12, e)}
    shapes |= {"condition/kernel": (CONDITION_SIZE, e), "condition/bias": (e,)}
    for i in range(config.layers):
        if config.kind == "lstm":
            width = e if i == 0 else h
            shapes |= {f"{i}/kernel": (width, 4 * h), f"{i}/recurrent": (h, 4 * h)}
            shapes |= {f"{i}/bias": (4 * h,)}
        else:
            shapes |= {f"{i}/norm_{k}/{p}": (h,) for k in (1, 2) for p in ("scale", "offset")}
            for part in ("query", "key", "value", "output"):
                shapes |= {f"{i}/{part}/kernel": (h, h), f"{i}/{part}/bias": (h,)}
            shapes |= {f"{i}/up/kernel": (h, 4 * h), f"{i}/up/bias": (4 * h,)}
            shapes |= {f"{i}/down/kernel": (4 * h, h), f"{i}/down/bias": (h,)}
    if config.kind == "gpt":
        shapes |= {"positions": (config.context, h)}
        shapes |= {"norm/scale": (h,), "norm/offset": (h,)}
    for k, (name, size) in enumerate(zip(ATTRIBUTES, SIZES, strict=True)):
        shapes |= {f"{name}/base/kernel": (h + e, d), f"{name}/base/bias": (d,)}
        shapes |= {f"{name}/after_{ATTRIBUTES[j]}": (SIZES[j], d) for j in range(k)}
        shapes |= {f"{name}/logits/kernel": (d, size), f"{name}/logits/bias": (size,)}
    return shapes


def random_weights(config: GeneratorConfig, seed: int = 0) -> dict[str, np.ndarray]:
    """Untrained weights, for tests."""
    rng = np.random.default_rng(seed)
    return {
        name: rng.normal(0, 0.3 / np.sqrt(shape[0]), shape).astype(np.float32)
        for name, shape in weight_shapes(config).items()
    }


def state_shape(config: GeneratorConfig, batch: int) -> tuple[int, ...]:
    """Shape of the state before the first note.

    An LSTM carries hidden and cell state of each layer, (2 * layers, batch, hidden). A GPT carries
    keys and values of each layer, (2 * layers, batch, notes so far, hidden).
    """
    if config.kind == "lstm":
        return 2 * config.layers, batch, config.hidden
    return 2 * config.layers, batch, 0, config.hidden


def step_graph(config: GeneratorConfig, weights: Weights, terms: str) -> bytes:
    """Build the graph of one step.

    Inputs are ``note`` (B, 4), codes of the note before; ``drawn`` (B, 4), codes of this note that
    were drawn already; ``condition`` (B, C); and ``state``. Outputs are the logits of each
    attribute, given those before it in ``drawn``, and ``state_next``. All are float32.

    Parameters
    ----------
    config : GeneratorConfig
    weights : mapping of str to np.ndarray
    terms : str
        Terms of use, kept in the file.

    Raises
    ------
    ValueError
        If a weight is missing or has another shape.
    """
    for name, shape in weight_shapes(config).items():
        if name not in weights or weights[name].shape != shape:
            raise ValueError(f"weights: {name!r} must have the shape {shape}")
    step = _Step(config, weights, GraphBuilder("generator", terms, ""))
    return step.build()


class _Step:
    def __init__(self, config: GeneratorConfig, weights: Weights, graph: GraphBuilder) -> None:
        self.config, self.weights, self.graph = config, weights, graph

    def build(self) -> bytes:
        graph, config = self.graph, self.config
        condition = graph.add("Relu", self.dense("condition", "condition"))
        x = graph.add("Add", self.note(), condition)
        hidden, states = (self.lstm if config.kind == "lstm" else self.gpt)(x)
        graph.add("Concat", *states, output="state_next", axis=0)
        self.heads(graph.add("Concat", hidden, condition, axis=-1))
        shape: Shape = [
            "batch" if i == 1 else "notes" if i == 2 and config.kind == "gpt" else n
            for i, n in enumerate(state_shape(config, 0))
        ]
        following: Shape = ["following" if n == "notes" else n for n in shape]
        codes: Shape = ("batch", len(ATTRIBUTES))
        return graph.serialise(
            {
                "note": codes,
                "drawn": codes,
                "condition": ("batch", CONDITION_SIZE),
                "state": shape,
            },
            {
                **{n: ("batch", s) for n, s in zip(ATTRIBUTES, SIZES, strict=True)},
                "state_next": following,
            },
        )

    def dense(self, x: str, name: str) -> str:
        kernel = self.graph.constant(self.weights[f"{name}/kernel"])
        bias = self.graph.constant(self.weights[f"{name}/bias"])
        return self.graph.add("Add", self.graph.add("MatMul", x, kernel), bias)

    def columns(self, codes: str) -> list[str]:
        """Each column (B,) of an input of codes, as integers."""
        whole = self.graph.add("Cast", codes, to=7)
        return [
            self.graph.add("Squeeze", self.graph.slice(whole, 1, k, k + 1), self.graph.integers(1))
            for k in range(len(ATTRIBUTES))
        ]

    def note(self) -> str:
        """Embedding of the note before, (B, embedding)."""
        total = ""
        for k, (name, codes) in enumerate(zip(ATTRIBUTES, self.columns("note"), strict=True)):
            table = self.weights[f"note/{name}"]
            if k == PITCH:
                table = table + self.weights["note/pitch_class"][pitch_classes()]
            row = self.graph.add("Gather", self.graph.constant(table), codes)
            total = self.graph.add("Add", total, row) if total else row
        return total

    def part_of_state(self, number: int) -> str:
        return self.graph.add(
            "Squeeze",
            self.graph.slice("state", 0, number, number + 1),
            self.graph.integers(0),
        )

    def unsqueezed(self, x: str, axis: int = 0) -> str:
        return self.graph.add("Unsqueeze", x, self.graph.integers(axis))

    def lstm(self, x: str) -> tuple[str, list[str]]:
        """The cells of Keras: gates are input, forget, cell and output."""
        graph, h, states = self.graph, self.config.hidden, []
        for i in range(self.config.layers):
            before, cell = self.part_of_state(2 * i), self.part_of_state(2 * i + 1)
            recurrent = graph.constant(self.weights[f"{i}/recurrent"])
            gates = graph.add("Add", self.dense(x, str(i)), graph.add("MatMul", before, recurrent))
            parts = [graph.slice(gates, 1, k * h, (k + 1) * h) for k in range(4)]
            enter, forget, leave = (graph.add("Sigmoid", parts[k]) for k in (0, 1, 3))
            cell = graph.add(
                "Add",
                graph.add("Mul", forget, cell),
                graph.add("Mul", enter, graph.add("Tanh", parts[2])),
            )
            x = graph.add("Mul", leave, graph.add("Tanh", cell))
            states += [self.unsqueezed(x), self.unsqueezed(cell)]
        return x, states

    def gpt(self, x: str) -> tuple[str, list[str]]:
        """GPT-2's decoder for one position; keys and values of those before come as state."""
        graph, states = self.graph, []
        size = graph.add("Shape", "state")
        place = graph.slice(size, 0, 2, 3)
        position = graph.add("Gather", graph.constant(self.weights["positions"]), place)
        x = graph.add("Add", x, position)
        for i in range(self.config.layers):
            normal = self.norm(x, f"{i}/norm_1")
            query = self.split(self.unsqueezed(self.dense(normal, f"{i}/query"), 1))
            pair = []
            for part, number in (("key", 2 * i), ("value", 2 * i + 1)):
                new = self.unsqueezed(self.dense(normal, f"{i}/{part}"), 1)
                joined = graph.add("Concat", self.part_of_state(number), new, axis=1)
                states.append(self.unsqueezed(joined))
                pair.append(self.split(joined))
            x = graph.add("Add", x, self.dense(self.attend(query, *pair), f"{i}/output"))
            wide = self.gelu(self.dense(self.norm(x, f"{i}/norm_2"), f"{i}/up"))
            x = graph.add("Add", x, self.dense(wide, f"{i}/down"))
        return self.norm(x, "norm"), states

    def split(self, x: str) -> str:
        """(B, T, hidden) -> (B, heads, T, hidden / heads)."""
        heads = self.config.heads
        shape = self.graph.integers(0, 0, heads, self.config.hidden // heads)
        return self.graph.add("Transpose", self.graph.add("Reshape", x, shape), perm=[0, 2, 1, 3])

    def attend(self, query: str, key: str, value: str) -> str:
        """Attention of one position to all so far, (B, hidden)."""
        graph = self.graph
        width = self.config.hidden // self.config.heads
        turned = graph.add("Transpose", key, perm=[0, 1, 3, 2])
        scores = graph.add("MatMul", query, turned)
        scaled = graph.add("Mul", scores, graph.constant(1 / np.sqrt(width)))
        mixed = graph.add("MatMul", graph.add("Softmax", scaled, axis=-1), value)
        return graph.add("Reshape", mixed, graph.integers(0, self.config.hidden))

    def norm(self, x: str, name: str) -> str:
        scale = self.graph.constant(self.weights[f"{name}/scale"])
        offset = self.graph.constant(self.weights[f"{name}/offset"])
        return self.graph.add("LayerNormalization", x, scale, offset, axis=-1, epsilon=NORM_EPSILON)

    def gelu(self, x: str) -> str:
        """The approximation by tanh."""
        graph = self.graph
        cube = graph.add("Mul", graph.add("Mul", x, x), x)
        inner = graph.add("Add", x, graph.add("Mul", cube, graph.constant(0.044715)))
        curve = graph.add("Tanh", graph.add("Mul", inner, graph.constant(np.sqrt(2 / np.pi))))
        half = graph.add("Mul", x, graph.constant(0.5))
        return graph.add("Mul", half, graph.add("Add", curve, graph.constant(1.0)))

    def heads(self, context: str) -> None:
        """Logits of every attribute, given those before it."""
        drawn = self.columns("drawn")
        for k, name in enumerate(ATTRIBUTES):
            x = self.dense(context, f"{name}/base")
            for j in range(k):
                table = self.graph.constant(self.weights[f"{name}/after_{ATTRIBUTES[j]}"])
                x = self.graph.add("Add", x, self.graph.add("Gather", table, drawn[j]))
            logits = self.graph.add("MatMul", self.graph.add("Relu", x), self._kernel(name))
            bias = self.graph.constant(self.weights[f"{name}/logits/bias"])
            self.graph.add("Add", logits, bias, output=name)

    def _kernel(self, name: str) -> str:
        return self.graph.constant(self.weights[f"{name}/logits/kernel"])


def pitch_classes() -> np.ndarray:
    """Code of the pitch class of each code of a pitch. Octaves share a part of their embedding."""
    codes = np.arange(SIZES[PITCH])
    return np.where(codes < N_SPECIAL, codes, (codes - N_SPECIAL) % 12 + N_SPECIAL)

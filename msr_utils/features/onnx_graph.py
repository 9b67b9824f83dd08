"""Build ONNX graphs that carry a state from call to call."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import ArrayLike

if TYPE_CHECKING:
    from onnx import NodeProto, TensorProto, ValueInfoProto

Shape = Sequence[int | str]
"""Lengths of an array's axes; a name stands for a length that may vary."""


class GraphBuilder:
    """Collects the nodes, constants and carried states of an ONNX graph.

    Methods that add a node return the name of its output.

    Parameters
    ----------
    name : str
    terms : str
        Author and licence of the weights, kept in the file.
    state_prefix : str
        Prefix of the names of states.
    """

    def __init__(self, name: str, terms: str, state_prefix: str) -> None:
        self._name, self._terms, self._prefix = name, terms, state_prefix
        self.nodes: list[NodeProto] = []
        self.constants: list[TensorProto] = []
        self.states: dict[str, tuple[int, ...]] = {}

    def _constant(self, value: np.ndarray, kind: int) -> str:
        from onnx import helper

        name = f"c{len(self.constants)}"
        self.constants.append(
            helper.make_tensor(name, kind, value.shape, value.tobytes(), raw=True)
        )
        return name

    def constant(self, value: ArrayLike) -> str:
        """Add a float32 constant."""
        from onnx import TensorProto

        return self._constant(np.ascontiguousarray(value, np.float32), TensorProto.FLOAT)

    def integers(self, *values: int) -> str:
        """Add a constant of integers, such as axes and bounds."""
        from onnx import TensorProto

        return self._constant(np.ascontiguousarray(values, np.int64), TensorProto.INT64)

    def column(self, values: ArrayLike) -> str:
        """Add a constant with one value for each map, (1, maps, 1)."""
        return self.constant(np.asarray(values).reshape(1, -1, 1))

    def add(self, operator: str, *inputs: str, output: str = "", **attributes: Any) -> str:
        """Add a node."""
        from onnx import helper

        output = output or f"n{len(self.nodes)}"
        self.nodes.append(helper.make_node(operator, inputs, [output], **attributes))
        return output

    def slice(self, x: str, axis: int, first: int, last: int = 2**31, output: str = "") -> str:
        """Take a range along an axis."""
        bounds = [self.integers(bound) for bound in (first, last, axis)]
        return self.add("Slice", x, *bounds, output=output)

    def with_past(self, x: str, name: str, shape: tuple[int, ...], axis: int) -> str:
        """Put the carried past of `x` before it; as much of the result is carried on.

        Parameters
        ----------
        x : str
        name : str
            Name of the state, without its prefix.
        shape : tuple of int
            Shape of the state.
        axis : int
            Time axis.
        """
        name = self._prefix + name
        self.states[name] = shape
        joined = self.add("Concat", name, x, axis=axis)
        self.slice(joined, axis, -shape[axis], output=f"{name}_next")
        return joined

    def pool(self, x: str, axis: int, kind: Literal["Max", "Sum"]) -> str:
        """Maximum or sum along an axis, which is kept if it is the first."""
        if kind == "Max":
            return self.add("ReduceMax", x, axes=[axis], keepdims=int(axis == 0))
        return self.add("ReduceSum", x, self.integers(axis), keepdims=int(axis == 0))

    def activate(self, x: str, bias: ArrayLike, scale: ArrayLike, shift: ArrayLike) -> str:
        """Add the bias, apply ReLU, then batch normalisation as scale and shift."""
        x = self.add("Relu", self.add("Add", x, self.column(bias)))
        return self.add("Add", self.add("Mul", x, self.column(scale)), self.column(shift))

    def serialise(self, inputs: Mapping[str, Shape], outputs: Mapping[str, Shape]) -> bytes:
        """The finished graph.

        Parameters
        ----------
        inputs, outputs : dict of str to shape
            Without the states, which follow them.
        """
        import onnx
        from onnx import helper

        def floats(shapes: Mapping[str, Shape]) -> list[ValueInfoProto]:
            kind = onnx.TensorProto.FLOAT
            return [helper.make_tensor_value_info(n, kind, s) for n, s in shapes.items()]

        following = {f"{name}_next": shape for name, shape in self.states.items()}
        graph = helper.make_graph(
            self.nodes,
            self._name,
            floats({**inputs, **self.states}),
            floats({**outputs, **following}),
            self.constants,
        )
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
        model.doc_string = self._terms
        onnx.checker.check_model(model)
        content: bytes = model.SerializeToString(deterministic=True)
        return content

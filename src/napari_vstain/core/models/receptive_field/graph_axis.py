"""One axis of the image on its way through an ONNX graph: where it is in each value, and which steps led there."""

from collections.abc import Sequence
from fractions import Fraction
from functools import cached_property
from typing import Any

import numpy as np

from napari_vstain.core.models.receptive_field.field import UnknownLayer
from napari_vstain.core.models.receptive_field.graph_run import GraphValues
from napari_vstain.core.models.receptive_field.layer_axes import Layer, Pointwise
from napari_vstain.core.models.receptive_field.reach import LayerStep


class AxisWalk:
    """One axis of an image on its way through a graph.

    Parameters
    ----------
    values : mapping
        Every value of the graph, as it was for an image of one size.
    source : str
        The graph's input.
    at : int
        Which axis of the input is followed.
    opset : int
        The version of the operators.
    """

    def __init__(self, values: GraphValues, source: str, at: int, opset: int) -> None:
        self.opset = opset
        self.source, self.length = source, values[source].shape[at]
        self.steps: list[LayerStep] = []
        self.across = False
        """True once something looks at the whole image."""
        self._values = values
        self.at: dict[str, int | None] = {source: at}
        """Where the axis is in each value that is made of the image; None in those that have no place in it."""
        self._pixels = {source: Fraction(1)}

    def pixels(self, name: str) -> Fraction:
        """Return how many input pixels a pixel of a value is."""
        return self._pixels[name]

    def place(self, name: str) -> int:
        """Return where the axis is in a value that has it."""
        at = self.at[name]
        assert at is not None
        return at

    def make(self, node: "GraphNode", read: Sequence[str], at: int | None, layer: Layer | None = None) -> None:
        """Note what a node makes, and of what; `at` None: something that has no place in the image."""
        if at is None:
            self.across = True
            self.at |= dict.fromkeys(node.outputs)
            return
        layer = layer or Pointwise()
        before = {self._pixels[name] for name in read}
        if len(before) > 1:
            raise UnknownLayer(f"{node.kind} joins images of different sizes")
        pixels = before.pop() * layer.scale
        for name in node.outputs:
            surplus = self.shape(name)[at] - self.length / pixels
            self._pixels[name], self.at[name] = pixels, at
            self.steps.append(LayerStep(name, tuple(read), layer, surplus))

    def shape(self, name: str) -> tuple[int, ...]:
        """Return the shape of a value."""
        return tuple(self._values[name].shape)

    def constant(self, node: "GraphNode", index: int) -> Any | None:
        """Return the value of an input that does not depend on the image's pixels; None where there is none."""
        if index >= len(node.inputs) or not node.inputs[index]:
            return None
        if node.inputs[index] in self.at:
            raise UnknownLayer(f"{node.kind} by an image")
        return self._values[node.inputs[index]]

    def lengths(self, node: "GraphNode", at: int) -> tuple[int, int]:
        """Return the lengths of the axis in a node's first input and output."""
        return self.shape(node.inputs[0])[at], self.shape(node.outputs[0])[at]

    def alone(self, node: "GraphNode", placed: Sequence[str]) -> int:
        """Return where the axis is in a node's first input, which must be the only one that has it."""
        if list(placed) != [node.inputs[0]]:
            raise UnknownLayer(f"{node.kind} of several images")
        return self.place(node.inputs[0])

    def same_everywhere(self, node: "GraphNode", name: str, at: int) -> None:
        """Refuse a constant that differs from place to place: it belongs to one size of the image."""
        value = self._values[name]
        if (
            at >= 0
            and value.shape[at] > 1
            and not np.array_equal(value, np.broadcast_to(value.take([0], at), value.shape))
        ):
            raise UnknownLayer(f"{node.kind} by what differs from place to place")


class GraphNode:
    """A node's parts as plain values."""

    def __init__(self, node: Any) -> None:
        self._node = node
        self.kind, self.domain = str(node.op_type), str(node.domain)
        self.inputs = list(node.input)
        self.outputs = [name for name in node.output if name]

    @property
    def has_graphs(self) -> bool:
        """True of a branch or a loop."""
        return any(attribute.type in (5, 10) for attribute in self._node.attribute)

    @cached_property
    def attributes(self) -> dict[str, Any]:
        """By name."""
        from onnx import helper

        return {attribute.name: helper.get_attribute_value(attribute) for attribute in self._node.attribute}

"""Follow one axis of the image through an ONNX graph: what every node reads of it, or that it looks across."""

from collections.abc import Callable, Iterable, Sequence
from fractions import Fraction
from functools import cached_property
from math import prod
from typing import Any

import numpy as np

from napari_vstain.core.models.axes import Layer, Pointwise, Transposed, Window
from napari_vstain.core.models.graph_geometry import interpolation, kernel_of, transposed, window
from napari_vstain.core.models.graph_run import Values
from napari_vstain.core.models.reach import Step
from napari_vstain.core.models.receptive_field import UnknownLayer

ELEMENTWISE = frozenset({
    "Abs", "Add", "And", "BitShift", "Cast", "CastLike", "Ceil", "Celu", "Clip", "Cos", "Cosh", "DequantizeLinear",
    "Div", "Dropout", "Elu", "Equal", "Erf", "Exp", "Floor", "Gelu", "Greater", "GreaterOrEqual", "HardSigmoid",
    "HardSwish", "Identity", "IsInf", "IsNaN", "LRN", "LeakyRelu", "Less", "LessOrEqual", "Log", "Max", "Mean", "Min",
    "Mish", "Mod", "Mul", "Neg", "Not", "Or", "PRelu", "Pow", "QuantizeLinear", "Reciprocal", "Relu", "Round", "Selu",
    "Shrink", "Sigmoid", "Sign", "Sin", "Sinh", "Softplus", "Softsign", "Sqrt", "Sub", "Sum", "Swish", "Tan", "Tanh",
    "ThresholdedRelu", "Where", "Xor",
})  # fmt: skip
"""What makes a pixel of the same pixel of each of its inputs (and of its channels)."""
_ACROSS = frozenset({"GlobalAveragePool", "GlobalMaxPool", "GlobalLpPool"})
_NORMS = frozenset({"InstanceNormalization", "GroupNormalization", "MeanVarianceNormalization"})
_ALONG = frozenset({"LayerNormalization", "RMSNormalization", "Softmax", "LogSoftmax", "Hardmax", "LpNormalization"})
_WEIGHTS = {"Conv": 1, "ConvTranspose": 1, "ConvInteger": 1, "QLinearConv": 3}
_POOLS = frozenset({"MaxPool", "AveragePool", "LpPool"})
_REDUCTIONS = frozenset({
    "ReduceMean", "ReduceSum", "ReduceMax", "ReduceMin", "ReduceProd", "ReduceL1", "ReduceL2", "ReduceLogSum",
    "ReduceLogSumExp", "ReduceSumSquare", "ArgMax", "ArgMin",
})  # fmt: skip


class AxisWalk:
    """One axis of an image on its way through a graph.

    Parameters
    ----------
    graph : onnx.GraphProto
        In the order in which it runs; no functions of its own.
    values : mapping
        Every value of it, as it was for an image of one size.
    source : str
        Its input.
    at : int
        Which axis of the input is followed.
    opset : int
        The version of the operators.

    Raises
    ------
    UnknownLayer
        When a node does not tell what it reads.
    """

    def __init__(self, graph: Any, values: Values, source: str, at: int, opset: int) -> None:
        self.opset = opset
        self.source, self.length = source, values[source].shape[at]
        self.steps: list[Step] = []
        self.across = False
        """True once something looks at the whole image."""
        self._values = values
        self.at: dict[str, int | None] = {source: at}
        """Where the axis is in each value that is made of the image; None in those that have no place in it."""
        self._pixels = {source: Fraction(1)}
        for node in graph.node:
            self._follow(_Node(node))

    def _follow(self, node: "_Node") -> None:
        if node.has_graphs:  # what is in it may read anything
            raise UnknownLayer(node.kind)
        images = [name for name in node.inputs if name in self.at]
        if not images or node.kind in ("Shape", "Size"):
            if node.kind.startswith(("Random", "Bernoulli", "Multinomial")):
                raise UnknownLayer(node.kind)
            return
        if node.domain not in ("", "ai.onnx"):
            raise UnknownLayer(f"{node.domain}.{node.kind}")
        placed = [name for name in images if self.at[name] is not None]
        if not placed:
            self.at |= dict.fromkeys(node.outputs)
            return
        self.across = self.across or len(placed) < len(images)
        if node.kind in ELEMENTWISE:
            self._elementwise(node, placed)
        elif node.kind in _HANDLERS:
            _HANDLERS[node.kind](self, node, placed)
        else:
            raise UnknownLayer(node.kind)

    def pixels(self, name: str) -> Fraction:
        """Return how many input pixels a pixel of a value is."""
        return self._pixels[name]

    def place(self, name: str) -> int:
        """Return where the axis is in a value that has it."""
        at = self.at[name]
        assert at is not None
        return at

    def make(self, node: "_Node", read: Sequence[str], at: int | None, layer: Layer | None = None) -> None:
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
            self.steps.append(Step(name, tuple(read), layer, surplus))

    def shape(self, name: str) -> tuple[int, ...]:
        """Return the shape of a value."""
        return tuple(self._values[name].shape)

    def constant(self, node: "_Node", index: int) -> Any | None:
        """Return the value of an input that does not depend on the image's pixels; None where there is none."""
        if index >= len(node.inputs) or not node.inputs[index]:
            return None
        if node.inputs[index] in self.at:
            raise UnknownLayer(f"{node.kind} by an image")
        return self._values[node.inputs[index]]

    def lengths(self, node: "_Node", at: int) -> tuple[int, int]:
        """Return the lengths of the axis in a node's first input and output."""
        return self.shape(node.inputs[0])[at], self.shape(node.outputs[0])[at]

    def alone(self, node: "_Node", placed: Sequence[str]) -> int:
        """Return where the axis is in a node's first input, which must be the only one that has it."""
        if list(placed) != [node.inputs[0]]:
            raise UnknownLayer(f"{node.kind} of several images")
        return self.place(node.inputs[0])

    def _elementwise(self, node: "_Node", placed: Sequence[str]) -> None:
        rank = len(self.shape(node.outputs[0]))
        places = {self.place(name) + rank - len(self.shape(name)) for name in placed}
        if len(places) > 1:
            raise UnknownLayer(f"{node.kind} of images whose axes differ")
        (at,) = places
        for name in node.inputs:
            if name and name not in self.at:
                self.same_everywhere(node, name, at - rank + len(self.shape(name)))
        self.make(node, placed, at)

    def same_everywhere(self, node: "_Node", name: str, at: int) -> None:
        """Refuse a constant that differs from place to place: it belongs to one size of the image."""
        value = self._values[name]
        if (
            at >= 0
            and value.shape[at] > 1
            and not np.array_equal(value, np.broadcast_to(value.take([0], at), value.shape))
        ):
            raise UnknownLayer(f"{node.kind} by what differs from place to place")


class _Node:
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


def _window(walk: AxisWalk, node: _Node, placed: Sequence[str]) -> None:
    at = walk.alone(node, placed)
    if at < 2:
        raise UnknownLayer(f"{node.kind} along an axis that is no image's")
    weights = walk.constant(node, _WEIGHTS[node.kind]) if node.kind in _WEIGHTS else None
    if len(node.outputs) > 1:
        raise UnknownLayer(f"{node.kind} with places")
    make = transposed if node.kind == "ConvTranspose" else window
    layer = make(node.attributes, kernel_of(node.attributes, weights), at - 2, *walk.lengths(node, at))
    walk.make(node, placed, at, layer)


def _interpolated(walk: AxisWalk, node: _Node, placed: Sequence[str]) -> None:
    at = walk.alone(node, placed)
    attributes, index = dict(node.attributes), 2
    if node.kind == "Upsample":
        attributes |= {"coordinate_transformation_mode": "asymmetric", "nearest_mode": "floor"}
        index = 1
    scales = walk.constant(node, index)
    scales = attributes.get("scales") if scales is None or not scales.size else scales
    axes = [axis % len(walk.shape(node.inputs[0])) for axis in attributes.get("axes", range(at + 1))]
    if at not in axes:
        walk.make(node, placed, at)
        return
    scale = None if scales is None else float(scales[axes.index(at)])
    walk.make(node, placed, at, interpolation(attributes, scale, *walk.lengths(node, at)))


def _normalized(walk: AxisWalk, node: _Node, placed: Sequence[str]) -> None:
    at = walk.alone(node, placed)
    if node.kind == "MeanVarianceNormalization" and at not in node.attributes.get("axes", (0, 2, 3)):
        walk.make(node, placed, at)
        return
    walk.across = walk.across or at >= 1
    walk.make(node, placed, at)


def _batch_norm(walk: AxisWalk, node: _Node, placed: Sequence[str]) -> None:
    at = walk.alone(node, placed)
    if at == 1 or node.attributes.get("training_mode"):
        walk.across = True
    node.outputs = node.outputs[:1]
    walk.make(node, placed, at)


def _along(walk: AxisWalk, node: _Node, placed: Sequence[str]) -> None:
    """Follow what normalizes along one axis, or along all from one on."""
    at, rank = walk.alone(node, placed), len(walk.shape(node.inputs[0]))
    old = walk.opset < 13 and "Norm" not in node.kind
    axis = int(node.attributes.get("axis", 1 if old else -1)) % rank
    alone = not old and node.kind not in ("LayerNormalization", "RMSNormalization")
    if at == axis or (at > axis and not alone):
        walk.across = True
    node.outputs = node.outputs[:1]
    walk.make(node, placed, at)


def _reduced(walk: AxisWalk, node: _Node, placed: Sequence[str]) -> None:
    at, rank = walk.alone(node, placed), len(walk.shape(node.inputs[0]))
    if node.kind in ("ArgMax", "ArgMin"):
        axes = [int(node.attributes.get("axis", 0))]
    else:
        given = walk.constant(node, 1)
        axes = list(node.attributes.get("axes", [])) if given is None else given.ravel().tolist()
        if not axes and node.attributes.get("noop_with_empty_axes"):
            walk.make(node, placed, at)
            return
    reduced = {axis % rank for axis in axes} or set(range(rank))
    if at in reduced:
        walk.make(node, placed, None)
        return
    gone = 0 if node.attributes.get("keepdims", 1) else sum(axis < at for axis in reduced)
    walk.make(node, placed, at - gone)


def _joined(walk: AxisWalk, node: _Node, placed: Sequence[str]) -> None:
    rank = len(walk.shape(node.outputs[0]))
    places = {walk.place(name) for name in placed}
    axis = int(node.attributes["axis"]) % rank
    if len(places) > 1 or axis in places:
        raise UnknownLayer("Concat along an axis of the image")
    (at,) = places
    for name in node.inputs:
        if name not in walk.at:
            walk.same_everywhere(node, name, at)
    walk.make(node, placed, at)


def _parted(walk: AxisWalk, node: _Node, placed: Sequence[str]) -> None:
    at = walk.alone(node, placed)
    if int(node.attributes.get("axis", 0)) % len(walk.shape(node.inputs[0])) == at:
        raise UnknownLayer("Split along an axis of the image")
    walk.make(node, placed, at)


def _padded(walk: AxisWalk, node: _Node, placed: Sequence[str]) -> None:
    at, rank = walk.alone(node, placed), len(walk.shape(node.inputs[0]))
    mode = node.attributes.get("mode", b"constant")
    given, axes = walk.constant(node, 1), walk.constant(node, 3)
    pads = list(node.attributes["pads"]) if given is None else given.ravel().tolist()
    places = list(range(rank)) if axes is None else [int(axis) % rank for axis in axes.ravel()]
    if at not in places:
        walk.make(node, placed, at)
        return
    before, after = (int(pads[places.index(at) + offset]) for offset in (0, len(places)))
    if mode == b"wrap" and (before or after):
        raise UnknownLayer("Pad with the other end of the image")
    walk.make(node, placed, at, Pointwise(before))


def _sliced(walk: AxisWalk, node: _Node, placed: Sequence[str]) -> None:
    at, rank = walk.alone(node, placed), len(walk.shape(node.inputs[0]))
    attributes = node.attributes
    starts = list(attributes["starts"]) if "starts" in attributes else walk.constant(node, 1).ravel().tolist()  # type: ignore[union-attr]
    axes, steps = walk.constant(node, 3), walk.constant(node, 4)
    given = attributes.get("axes", range(len(starts))) if axes is None else axes.ravel().tolist()
    places = [int(axis) % rank for axis in given]
    if at not in places:
        walk.make(node, placed, at)
        return
    index = places.index(at)
    start, step = int(starts[index]), 1 if steps is None else int(steps.ravel()[index])
    if step < 1:
        raise UnknownLayer("Slice backwards")
    before, _ = walk.lengths(node, at)
    start = min(max(start + before if start < 0 else start, 0), before)
    walk.make(node, placed, at, Window(1, step, -start) if step > 1 else Pointwise(-start))


def _transposed_axes(walk: AxisWalk, node: _Node, placed: Sequence[str]) -> None:
    at, rank = walk.alone(node, placed), len(walk.shape(node.inputs[0]))
    walk.make(node, placed, list(node.attributes.get("perm", reversed(range(rank)))).index(at))


def _reshaped(walk: AxisWalk, node: _Node, placed: Sequence[str]) -> None:
    """Follow the axis where it stays as it is, takes another in behind it, or is parted in two."""
    at = walk.alone(node, placed)
    before, after = walk.shape(node.inputs[0]), walk.shape(node.outputs[0])
    length, ahead = before[at], prod(before[:at])
    for place, size in enumerate(after):
        if prod(after[:place]) != ahead or size == 1 != length:
            continue
        if size == length:
            walk.make(node, placed, place)
            return
        behind = prod(before[at + 1 :])
        if size > length and size % length == 0 and behind % (size // length) == 0:
            walk.make(node, placed, place, Transposed(size // length, size // length, 0))
            return
        if length % size == 0 and place + 1 < len(after) and after[place + 1] == length // size:
            walk.make(node, placed, place, Window(length // size, length // size, 0))
            return
    raise UnknownLayer("Reshape of an axis of the image")


def _repeated(walk: AxisWalk, node: _Node, placed: Sequence[str]) -> None:
    at = walk.alone(node, placed) + len(walk.shape(node.outputs[0])) - len(walk.shape(node.inputs[0]))
    if walk.shape(node.outputs[0])[at] != walk.shape(node.inputs[0])[walk.place(node.inputs[0])]:
        raise UnknownLayer(f"{node.kind} along an axis of the image")
    walk.make(node, placed, at)


def _blocks(walk: AxisWalk, node: _Node, placed: Sequence[str]) -> None:
    at, size = walk.alone(node, placed), int(node.attributes["blocksize"])
    if at < 2:
        raise UnknownLayer(node.kind)
    walk.make(node, placed, at, Transposed(size, size, 0) if node.kind == "DepthToSpace" else Window(size, size, 0))


def _multiplied(walk: AxisWalk, node: _Node, placed: Sequence[str]) -> None:
    """Follow a product of matrices: channels are mixed at every pixel, or pixels with each other."""
    if len(placed) > 1 or node.kind == "Gemm" or min(len(walk.shape(name)) for name in node.inputs) < 2:
        raise UnknownLayer(f"{node.kind} of pixels")
    (name,) = placed
    rank, out = len(walk.shape(name)), len(walk.shape(node.outputs[0]))
    at = walk.place(name) - rank + out
    kept = out - 2 if name == node.inputs[0] else out - 1
    contracted = out - 1 if name == node.inputs[0] else out - 2
    if at == contracted or at > max(kept, contracted):
        raise UnknownLayer(f"{node.kind} along an axis of the image")
    for other in node.inputs:
        if other != name and other not in walk.at and at < out - 2:
            walk.same_everywhere(node, other, at - out + len(walk.shape(other)))
    walk.make(node, placed, at)


def _gathered(walk: AxisWalk, node: _Node, placed: Sequence[str]) -> None:
    at, rank = walk.alone(node, placed), len(walk.shape(node.inputs[0]))
    axis = int(node.attributes.get("axis", 0)) % rank
    if axis == at:
        raise UnknownLayer("Gather along an axis of the image")
    walk.make(node, placed, at + (len(walk.shape(node.inputs[1])) - 1 if axis < at else 0))


def _pooled(walk: AxisWalk, node: _Node, placed: Sequence[str]) -> None:
    walk.make(node, placed, None if walk.alone(node, placed) >= 2 else walk.place(placed[0]))


_Handler = Callable[[AxisWalk, _Node, Sequence[str]], None]


def _for(names: Iterable[str], handler: _Handler) -> dict[str, _Handler]:
    return dict.fromkeys(names, handler)


_HANDLERS: dict[str, _Handler] = {
    **_for((*_WEIGHTS, *_POOLS), _window),
    **_for(("Resize", "Upsample"), _interpolated),
    **_for(_NORMS, _normalized),
    **_for(("BatchNormalization",), _batch_norm),
    **_for(_ALONG, _along),
    **_for(_REDUCTIONS, _reduced),
    **_for(("Concat",), _joined),
    **_for(("Split",), _parted),
    **_for(("Pad",), _padded),
    **_for(("Slice",), _sliced),
    **_for(("Transpose",), _transposed_axes),
    **_for(("Reshape", "Flatten", "Squeeze", "Unsqueeze"), _reshaped),
    **_for(("Expand", "Tile"), _repeated),
    **_for(("DepthToSpace", "SpaceToDepth"), _blocks),
    **_for(("MatMul", "Gemm"), _multiplied),
    **_for(("Gather",), _gathered),
    **_for(_ACROSS, _pooled),
}

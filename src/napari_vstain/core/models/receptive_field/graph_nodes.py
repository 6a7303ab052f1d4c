"""What every kind of ONNX node reads of one axis of the image: pixels near by, all of it, or it does not tell."""

from collections.abc import Callable, Iterable, Sequence
from math import prod
from typing import Any

from napari_vstain.core.models.receptive_field.field import UnknownLayer
from napari_vstain.core.models.receptive_field.graph_axis import AxisWalk, GraphNode
from napari_vstain.core.models.receptive_field.graph_geometry import interpolation, kernel_of, transposed, window
from napari_vstain.core.models.receptive_field.layer_axes import Pointwise, Transposed, Window

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
_RANDOM = ("Random", "Bernoulli", "Multinomial")
_REDUCTIONS = frozenset({
    "ReduceMean", "ReduceSum", "ReduceMax", "ReduceMin", "ReduceProd", "ReduceL1", "ReduceL2", "ReduceLogSum",
    "ReduceLogSumExp", "ReduceSumSquare", "ArgMax", "ArgMin",
})  # fmt: skip


def follow_axis(graph: Any, walk: AxisWalk) -> AxisWalk:
    """Follow an axis through all nodes of a graph, in the order in which they run; return the walk.

    Raises
    ------
    UnknownLayer
        When a node does not tell what it reads.
    """
    for proto in graph.node:
        node = GraphNode(proto)
        if node.has_graphs:  # what is in it may read anything
            raise UnknownLayer(node.kind)
        images = [name for name in node.inputs if name in walk.at]
        if node.kind.startswith(_RANDOM):
            raise UnknownLayer(node.kind)
        if not images or node.kind in ("Shape", "Size"):
            continue
        if node.domain not in ("", "ai.onnx"):
            raise UnknownLayer(f"{node.domain}.{node.kind}")
        placed = [name for name in images if walk.at[name] is not None]
        if not placed:
            walk.at |= dict.fromkeys(node.outputs)
            continue
        walk.across = walk.across or len(placed) < len(images)
        if node.kind in ELEMENTWISE:
            _elementwise(walk, node, placed)
        elif node.kind in _HANDLERS:
            _HANDLERS[node.kind](walk, node, placed)
        else:
            raise UnknownLayer(node.kind)
    return walk


def _elementwise(walk: AxisWalk, node: GraphNode, placed: Sequence[str]) -> None:
    rank = len(walk.shape(node.outputs[0]))
    places = {walk.place(name) + rank - len(walk.shape(name)) for name in placed}
    if len(places) > 1:
        raise UnknownLayer(f"{node.kind} of images whose axes differ")
    (at,) = places
    for name in node.inputs:
        if name and name not in walk.at:
            walk.same_everywhere(node, name, at - rank + len(walk.shape(name)))
    walk.make(node, placed, at)


def _window(walk: AxisWalk, node: GraphNode, placed: Sequence[str]) -> None:
    at = walk.alone(node, placed)
    if at < 2:
        raise UnknownLayer(f"{node.kind} along an axis that is no image's")
    weights = walk.constant(node, _WEIGHTS[node.kind]) if node.kind in _WEIGHTS else None
    if len(node.outputs) > 1:
        raise UnknownLayer(f"{node.kind} with places")
    make = transposed if node.kind == "ConvTranspose" else window
    layer = make(node.attributes, kernel_of(node.attributes, weights), at - 2, *walk.lengths(node, at))
    walk.make(node, placed, at, layer)


def _interpolated(walk: AxisWalk, node: GraphNode, placed: Sequence[str]) -> None:
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


def _normalized(walk: AxisWalk, node: GraphNode, placed: Sequence[str]) -> None:
    at = walk.alone(node, placed)
    if node.kind == "MeanVarianceNormalization" and at not in node.attributes.get("axes", (0, 2, 3)):
        walk.make(node, placed, at)
        return
    walk.across = walk.across or at >= 1
    walk.make(node, placed, at)


def _batch_norm(walk: AxisWalk, node: GraphNode, placed: Sequence[str]) -> None:
    at = walk.alone(node, placed)
    if at == 1 or node.attributes.get("training_mode"):
        walk.across = True
    node.outputs = node.outputs[:1]
    walk.make(node, placed, at)


def _along(walk: AxisWalk, node: GraphNode, placed: Sequence[str]) -> None:
    """Follow what normalizes along one axis, or along all from one on."""
    at, rank = walk.alone(node, placed), len(walk.shape(node.inputs[0]))
    old = walk.opset < 13 and "Norm" not in node.kind
    axis = int(node.attributes.get("axis", 1 if old else -1)) % rank
    alone = not old and node.kind not in ("LayerNormalization", "RMSNormalization")
    if at == axis or (at > axis and not alone):
        walk.across = True
    node.outputs = node.outputs[:1]
    walk.make(node, placed, at)


def _reduced(walk: AxisWalk, node: GraphNode, placed: Sequence[str]) -> None:
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


def _joined(walk: AxisWalk, node: GraphNode, placed: Sequence[str]) -> None:
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


def _parted(walk: AxisWalk, node: GraphNode, placed: Sequence[str]) -> None:
    at = walk.alone(node, placed)
    if int(node.attributes.get("axis", 0)) % len(walk.shape(node.inputs[0])) == at:
        raise UnknownLayer("Split along an axis of the image")
    walk.make(node, placed, at)


def _padded(walk: AxisWalk, node: GraphNode, placed: Sequence[str]) -> None:
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


def _sliced(walk: AxisWalk, node: GraphNode, placed: Sequence[str]) -> None:
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


def _transposed_axes(walk: AxisWalk, node: GraphNode, placed: Sequence[str]) -> None:
    at, rank = walk.alone(node, placed), len(walk.shape(node.inputs[0]))
    walk.make(node, placed, list(node.attributes.get("perm", reversed(range(rank)))).index(at))


def _reshaped(walk: AxisWalk, node: GraphNode, placed: Sequence[str]) -> None:
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


def _repeated(walk: AxisWalk, node: GraphNode, placed: Sequence[str]) -> None:
    at = walk.alone(node, placed) + len(walk.shape(node.outputs[0])) - len(walk.shape(node.inputs[0]))
    if walk.shape(node.outputs[0])[at] != walk.shape(node.inputs[0])[walk.place(node.inputs[0])]:
        raise UnknownLayer(f"{node.kind} along an axis of the image")
    walk.make(node, placed, at)


def _blocks(walk: AxisWalk, node: GraphNode, placed: Sequence[str]) -> None:
    at, size = walk.alone(node, placed), int(node.attributes["blocksize"])
    if at < 2:
        raise UnknownLayer(node.kind)
    walk.make(node, placed, at, Transposed(size, size, 0) if node.kind == "DepthToSpace" else Window(size, size, 0))


def _multiplied(walk: AxisWalk, node: GraphNode, placed: Sequence[str]) -> None:
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


def _gathered(walk: AxisWalk, node: GraphNode, placed: Sequence[str]) -> None:
    at, rank = walk.alone(node, placed), len(walk.shape(node.inputs[0]))
    axis = int(node.attributes.get("axis", 0)) % rank
    if axis == at:
        raise UnknownLayer("Gather along an axis of the image")
    walk.make(node, placed, at + (len(walk.shape(node.inputs[1])) - 1 if axis < at else 0))


def _pooled(walk: AxisWalk, node: GraphNode, placed: Sequence[str]) -> None:
    walk.make(node, placed, None if walk.alone(node, placed) >= 2 else walk.place(placed[0]))


_Handler = Callable[[AxisWalk, GraphNode, Sequence[str]], None]


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

"""What the nodes of an ONNX graph read along Y and X, for the kinds whose borders may be cut."""

from collections.abc import Mapping, Sequence
from math import prod
from typing import Any, NamedTuple

from napari_vstain.core.models.receptive_field.layer_axes import Layer, Linear, Nearest, Pointwise, Transposed, Window

Axes = tuple[Layer, Layer]
"""Y and X of a layer."""
Constants = Mapping[str, Any]
"""By name, the tensor of every value that does not depend on the image's pixels; None where it is computed."""
Shapes = Mapping[str, tuple[int | None, ...]]
"""By name, the lengths of a value's axes; None for those that depend on the image's."""

POINTWISE = frozenset({
    "Add", "Sub", "Mul", "Div", "Relu", "LeakyRelu", "PRelu", "Elu", "Selu", "Gelu", "Sigmoid", "HardSigmoid",
    "HardSwish", "Tanh", "Softplus", "Clip", "Identity", "Cast", "Dropout", "Neg", "Exp", "Sqrt", "Erf", "Pow", "Min",
    "Max",
})  # fmt: skip


def constants_of(graph: Any) -> dict[str, Any]:
    """Return the values of a graph that do not depend on the image's pixels."""
    constants: dict[str, Any] = {tensor.name: tensor for tensor in graph.initializer}
    for node in graph.node:
        if node.op_type == "Shape" or not image_inputs(node, constants):
            constants |= dict.fromkeys(node.output)
    return constants


def image_inputs(node: Any, constants: Constants) -> list[str]:
    """Return the inputs of a node that depend on the image."""
    return [name for name in node.input if name and name not in constants]


def shapes_of(model: Any) -> dict[str, tuple[int | None, ...]]:
    """Return the shapes of a model's values, as far as they can be inferred."""
    from onnx import shape_inference

    graph = shape_inference.infer_shapes(model, data_prop=True).graph
    return {
        value.name: tuple(dim.dim_value or None for dim in value.type.tensor_type.shape.dim)
        for value in (*graph.input, *graph.value_info, *graph.output)
    }


def planes_before(node: Any, shapes: Shapes) -> list[int] | None:
    """Return the lengths of the axes between batch and Y of a reshaped image; None unless its planes stay planes.

    Such a node joins slices and channels, or parts them again.
    """
    before, after = (shapes.get(name, ())[1:-2] for name in (node.input[0], node.output[0]))
    lengths = [[length for length in axes if length is not None] for axes in (before, after)]
    known = before and after and [*map(len, lengths)] == [len(before), len(after)]
    return lengths[1] if known and prod(lengths[0]) == prod(lengths[1]) else None


def node_axes(node: Any, constants: Constants, shapes: Shapes) -> Axes | None:
    """Return what a node reads along Y and X, its borders padded alike; None for any other node."""
    attributes = {attribute.name: attribute for attribute in node.attribute}
    kind = node.op_type
    if kind == "Reshape":
        return (Pointwise(), Pointwise()) if planes_before(node, shapes) else None
    if kind == "Concat":
        joins_images = attributes["axis"].i == 1 and len(image_inputs(node, constants)) == len(node.input)
        return (Pointwise(), Pointwise()) if joins_images else None
    if kind == "BatchNormalization":
        return Pointwise(), Pointwise()
    if kind in POINTWISE:
        flat = all(_is_flat(constants[name]) for name in node.input if name in constants)
        return (Pointwise(), Pointwise()) if flat else None
    if kind in ("Conv", "MaxPool", "AveragePool", "ConvTranspose"):
        return _window(node)
    return _interpolation(node, attributes, constants) if kind == "Resize" else None


class Geometry(NamedTuple):
    """How a convolution or pooling lies on its input, by axis: Z, Y, X or Y, X."""

    kernel: tuple[int, ...]
    strides: tuple[int, ...]
    pads: tuple[int, ...]
    """Of each of the two borders."""
    dilations: tuple[int, ...]
    groups: int


def geometry_of(node: Any, kernel: Sequence[int] | None = None) -> Geometry | None:
    """Return how a node lies on its input; None when its borders are padded differently, or by a rule.

    `kernel` is the size where the node itself may leave it out.
    """
    attributes = {attribute.name: attribute for attribute in node.attribute}
    kernel = kernel or _values(attributes, "kernel_shape", [])
    n = len(kernel)
    strides, dilations = (_values(attributes, name, [1] * n) for name in ("strides", "dilations"))
    pads = _values(attributes, "pads", [0] * 2 * n)
    rule = attributes["auto_pad"].s if "auto_pad" in attributes else b"NOTSET"
    ceil = "ceil_mode" in attributes and attributes["ceil_mode"].i
    sized = "output_shape" in attributes or any(_values(attributes, "output_padding", []))
    if not n or rule != b"NOTSET" or ceil or sized or pads[:n] != pads[n:]:
        return None
    groups = attributes["group"].i if "group" in attributes else 1
    return Geometry(tuple(kernel), tuple(strides), tuple(pads[:n]), tuple(dilations), groups)


def _window(node: Any) -> Axes | None:
    geometry = geometry_of(node)
    if geometry is None:
        return None
    transposed = node.op_type == "ConvTranspose"
    layer = Transposed if transposed else Window
    y, x = (layer(*axis) for axis in list(zip(*geometry[:4], strict=True))[-2:])
    whole = all(axis.reach + 1 - 2 * axis.padding == axis.stride for axis in (y, x))
    return (y, x) if whole or not transposed else None


def _interpolation(node: Any, attributes: Mapping[str, Any], constants: Constants) -> Axes | None:
    from onnx import numpy_helper

    tensor = constants.get(node.input[2]) if len(node.input) == 3 else None
    factors = [] if tensor is None else numpy_helper.to_array(tensor).tolist()
    if len(factors) < 4 or any(factor != int(factor) for factor in factors) or factors[:2] != [1, 1]:
        return None
    text = {name: attribute.s.decode() for name, attribute in attributes.items() if attribute.s}
    mode, centres = text.get("mode", "nearest"), text.get("coordinate_transformation_mode", "half_pixel")
    y, x = int(factors[-2]), int(factors[-1])
    if mode == "nearest" and centres == "asymmetric" and text.get("nearest_mode") == "floor":
        return Nearest(y), Nearest(x)
    if mode == "linear" and centres in ("half_pixel", "pytorch_half_pixel"):
        return Linear(y), Linear(x)
    return None


def _values(attributes: Mapping[str, Any], name: str, default: list[int]) -> list[int]:
    return list(attributes[name].ints) if name in attributes else default


def _is_flat(tensor: Any) -> bool:
    """Return True for a constant that is the same at every pixel."""
    return tensor is not None and all(size == 1 for size in tensor.dims[-2:])

"""Cut the halo away inside an ONNX graph, as soon as nothing that is owned depends on it: the same numbers, sooner.

A tile is read with the halo that the deepest layers need; the layers behind them need less and less of it. So the
graph drops, where an image is enlarged or joined with another, what no owned pixel can see any more. Every length
here is (Y, X), in pixels of the value itself, cut at each of the two borders.
"""

from collections.abc import Iterable, Mapping
from fractions import Fraction
from typing import Any, Protocol

import numpy as np

Cut = tuple[int, int]

POINTWISE = frozenset({
    "Add", "Sub", "Mul", "Div", "Relu", "LeakyRelu", "PRelu", "Elu", "Selu", "Gelu", "Sigmoid", "HardSigmoid",
    "HardSwish", "Tanh", "Softplus", "Clip", "Identity", "Cast", "Dropout", "BatchNormalization", "Neg", "Exp", "Sqrt",
    "Erf", "Pow", "Min", "Max",
})  # fmt: skip
NOTHING: Cut = (0, 0)
_END = np.iinfo(np.int64).max


class Layer(Protocol):
    """One axis of a layer that commutes with cutting both borders."""

    scale: Fraction
    """Pixels of the output for a pixel of the input."""
    step: int
    """Its input may be cut by multiples of this."""

    def before(self, cut: int) -> int:
        """Return how much of the input may go when `cut` pixels of the output are not needed."""
        ...


class Pointwise:
    """A layer that reads the pixel it writes."""

    scale, step = Fraction(1), 1

    def before(self, cut: int) -> int:
        return cut


class Window:
    """A convolution or a pooling that pads both borders alike."""

    def __init__(self, stride: int, padding: int) -> None:
        self.scale, self.step, self.padding = Fraction(1, stride), stride, padding

    def before(self, cut: int) -> int:
        return max(cut * self.step - self.padding, 0) // self.step * self.step


class Enlarging:
    """A transposed convolution or an interpolation by a factor s: output i reads none before (i - reach) / s."""

    step = 1

    def __init__(self, factor: int, reach: int) -> None:
        self.scale, self.factor, self.reach = Fraction(factor), factor, reach

    def before(self, cut: int) -> int:
        return max(-((self.reach - cut) // self.factor), 0)


def trimmed_content(content: bytes, halo: Cut) -> bytes | None:
    """Return `trimmed` of a serialized graph, serialized."""
    import onnx

    made = trimmed(onnx.load_model_from_string(content), halo)
    return None if made is None else bytes(made.SerializeToString())


def trimmed(model: Any, halo: Cut) -> Any | None:
    """Return a copy of `model` whose outputs lack the halo at the borders of Y and X; None when that gains nothing.

    Parameters
    ----------
    model : onnx.ModelProto
        One input (B, C, Y, X) or (B, C, Z, Y, X); outputs of any whole or unit-fraction scale.
    halo : (Y, X)
        In pixels of the input, at each border.
    """
    graph = model.graph
    constants = _constants(graph)
    layers = [_layers(node, graph, constants) for node in graph.node]
    scales = _scales(graph, layers, constants)
    wanted = {value.name: _scaled(halo, scales.get(value.name)) for value in graph.output}
    if not any(halo) or None in wanted.values() or _has_branches(graph):
        return None
    known = {name: cut for name, cut in wanted.items() if cut is not None}
    return _rebuilt(model, layers, constants, _needed(graph, layers, constants, known), known)


def _constants(graph: Any) -> dict[str, tuple[int, ...] | None]:
    """Return the shape of every value that does not depend on the image; None where it is not written down."""
    constants: dict[str, tuple[int, ...] | None] = {one.name: tuple(one.dims) for one in graph.initializer}
    for node in graph.node:
        if not _data(node, constants):
            constants |= dict.fromkeys(node.output)
    return constants


def _has_branches(graph: Any) -> bool:
    return any(attribute.HasField("g") for node in graph.node for attribute in node.attribute)


def _layers(node: Any, graph: Any, constants: Mapping[str, tuple[int, ...] | None]) -> tuple[Layer, Layer] | None:
    """Return a node's two axes; None for one whose inputs must stay whole."""
    attributes = {attribute.name: attribute for attribute in node.attribute}
    kind = node.op_type
    if kind in POINTWISE or (kind == "Concat" and attributes["axis"].i == 1):
        flat = kind == "BatchNormalization" or all(_is_flat(constants[one]) for one in node.input if one in constants)
        return (Pointwise(), Pointwise()) if flat else None
    if kind in ("Conv", "MaxPool", "AveragePool", "ConvTranspose") and "kernel_shape" in attributes:
        return _transposed(attributes) if kind == "ConvTranspose" else _window(attributes)
    if kind == "Resize":
        return _interpolation(node, graph, attributes)
    return None


def _window(attributes: Mapping[str, Any]) -> tuple[Layer, Layer] | None:
    kernel = list(attributes["kernel_shape"].ints)
    pads, strides = _values(attributes, "pads", [0, 0] * len(kernel)), _values(attributes, "strides", [1] * len(kernel))
    if _is_odd(attributes, pads) or ("ceil_mode" in attributes and attributes["ceil_mode"].i):
        return None
    return Window(strides[-2], pads[len(kernel) - 2]), Window(strides[-1], pads[len(kernel) - 1])


def _transposed(attributes: Mapping[str, Any]) -> tuple[Layer, Layer] | None:
    kernel = list(attributes["kernel_shape"].ints)
    pads, strides = _values(attributes, "pads", [0, 0] * len(kernel)), _values(attributes, "strides", [1] * len(kernel))
    more = _values(attributes, "output_padding", [0])
    dilations = _values(attributes, "dilations", [1])
    if _is_odd(attributes, pads) or any(more) or set(dilations) != {1}:
        return None
    n = len(kernel)
    y, x = (Enlarging(strides[axis], kernel[axis] - 1 - pads[axis]) for axis in (n - 2, n - 1))
    return (y, x) if all(strides[axis] == kernel[axis] - 2 * pads[axis] for axis in (n - 2, n - 1)) else None


def _interpolation(node: Any, graph: Any, attributes: Mapping[str, Any]) -> tuple[Layer, Layer] | None:
    from onnx import numpy_helper

    if len(node.input) != 3:
        return None
    tensor = next((one for one in graph.initializer if one.name == node.input[2]), None)
    factors = [] if tensor is None else numpy_helper.to_array(tensor).tolist()
    if len(factors) < 4 or any(factor != int(factor) for factor in factors) or factors[:2] != [1, 1]:
        return None
    text = {name: attribute.s.decode() for name, attribute in attributes.items() if attribute.s}
    mode, centres = text.get("mode", "nearest"), text.get("coordinate_transformation_mode", "half_pixel")
    y, x = int(factors[-2]), int(factors[-1])
    if mode == "nearest" and centres == "asymmetric" and text.get("nearest_mode") == "floor":
        return Enlarging(y, y - 1), Enlarging(x, x - 1)
    if mode == "linear" and centres in ("half_pixel", "pytorch_half_pixel"):
        return Enlarging(y, y + y // 2), Enlarging(x, x + x // 2)
    return None


def _is_odd(attributes: Mapping[str, Any], pads: list[int]) -> bool:
    """Return True when the two borders are padded differently, or by a rule."""
    rule = attributes["auto_pad"].s if "auto_pad" in attributes else b"NOTSET"
    half = len(pads) // 2
    return rule != b"NOTSET" or pads[:half] != pads[half:]


def _values(attributes: Mapping[str, Any], name: str, default: list[int]) -> list[int]:
    return list(attributes[name].ints) if name in attributes else default


def _is_flat(dims: tuple[int, ...] | None) -> bool:
    """Return True for a constant that is the same at every pixel."""
    return dims is not None and all(size == 1 for size in dims[-2:])


def _scales(graph: Any, layers: Any, constants: Any) -> dict[str, tuple[Fraction, Fraction]]:
    """Return each value's pixels for a pixel of the input, as far as they are known."""
    scales = {_source(graph, constants): (Fraction(1), Fraction(1))}
    for node, pair in zip(graph.node, layers, strict=True):
        before = {scales.get(name) for name in _data(node, constants)}
        if pair is not None and len(before) == 1 and (known := before.pop()) is not None:
            y, x = known
            scales |= dict.fromkeys(node.output, (y * pair[0].scale, x * pair[1].scale))
    return scales


def _source(graph: Any, constants: Mapping[str, Any]) -> str:
    return str(next(value.name for value in graph.input if value.name not in constants))


def _scaled(halo: Cut, scale: tuple[Fraction, Fraction] | None) -> Cut | None:
    if scale is None:
        return None
    y, x = (size * factor for size, factor in zip(halo, scale, strict=True))
    return (int(y), int(x)) if y.denominator == x.denominator == 1 else None


def _needed(graph: Any, layers: Any, constants: Any, wanted: dict[str, Cut]) -> dict[str, Cut]:
    """Return how much of each value may go, for all that reads it."""
    needed = dict(wanted)
    for node, pair in reversed(list(zip(graph.node, layers, strict=True))):
        cut = _before(pair, _least(needed.get(name) for name in node.output))
        for name in _data(node, constants):
            needed[name] = _least([needed.get(name), cut])
    return needed


def _before(pair: tuple[Layer, Layer] | None, cut: Cut | None) -> Cut | None:
    if cut is None:
        return None
    return NOTHING if pair is None else (pair[0].before(cut[0]), pair[1].before(cut[1]))


def _least(cuts: Any) -> Any:
    known = [cut for cut in cuts if cut is not None]
    return tuple(min(axis) for axis in zip(*known, strict=True)) if known else None


def _data(node: Any, constants: Mapping[str, Any]) -> list[str]:
    return [name for name in node.input if name and name not in constants]


def _rebuilt(model: Any, layers: Any, constants: Any, needed: dict[str, Cut], wanted: Mapping[str, Any]) -> Any | None:
    """Return the model with the cuts in it, made where an image is joined, enlarged or given out."""
    made = type(model)()
    made.CopyFrom(model)
    cutter = _Cutter(made.graph, {name: f"{name}.whole" for name in wanted})
    have: dict[str, Cut] = {_source(model.graph, constants): NOTHING}
    for node, pair in zip(model.graph.node, layers, strict=True):
        data = _data(node, constants)
        cut = _most(have[name] for name in data)
        if pair is not None and (len(data) > 1 or isinstance(pair[0], Enlarging)):
            cut = _before(pair, _least(needed.get(name) for name in node.output)) or cut
        cut = _on_grid(cut, pair)
        cutter.add(node, {name: cutter.cut(name, have[name], cut) for name in data})
        have |= dict.fromkeys(node.output, _after(pair, cut))
    inside = len(cutter.nodes) > len(model.graph.node)
    for name, cut in wanted.items():
        cutter.give(name, have[name], cut)
    del made.graph.node[:]
    made.graph.node.extend(cutter.nodes)
    made.graph.ClearField("value_info")
    return made if inside else None


def _most(cuts: Iterable[Cut]) -> Cut:
    y, x = (max(axis, default=0) for axis in zip(*(list(cuts) or [NOTHING]), strict=True))
    return y, x


def _on_grid(cut: Cut, pair: tuple[Layer, Layer] | None) -> Cut:
    if pair is None:
        return cut
    y, x = (-(-size // axis.step) * axis.step for size, axis in zip(cut, pair, strict=True))
    return y, x


def _after(pair: tuple[Layer, Layer] | None, cut: Cut) -> Cut:
    return NOTHING if pair is None else (int(cut[0] * pair[0].scale), int(cut[1] * pair[1].scale))


class _Cutter:
    """Writes the nodes of a graph anew, with cuts between them."""

    def __init__(self, graph: Any, renamed: Mapping[str, str]) -> None:
        self.nodes: list[Any] = []
        self._graph, self._renamed = graph, renamed
        self._made: dict[tuple[str, Cut], str] = {}

    def cut(self, name: str, have: Cut, want: Cut) -> str:
        """Return the name of a value that lacks `want` at its borders, of which it lacks `have` already."""
        key = (name, want)
        if key not in self._made:
            source, target = self._renamed.get(name, name), f"{name}.cut{want[0]}x{want[1]}"
            self._made[key] = source if have == want else self._slice(source, target, have, want)
        return self._made[key]

    def add(self, node: Any, inputs: Mapping[str, str]) -> None:
        """Write a node that reads other values."""
        made = type(node)()
        made.CopyFrom(node)
        made.input[:] = [inputs.get(name, name) for name in node.input]
        made.output[:] = [self._renamed.get(name, name) for name in node.output]
        self.nodes.append(made)

    def give(self, name: str, have: Cut, want: Cut) -> None:
        """Write an output of the graph."""
        self._slice(self._renamed[name], name, have, want)

    def _slice(self, source: str, target: str, have: Cut, want: Cut) -> str:
        from onnx import helper

        y, x = (there - here for here, there in zip(have, want, strict=True))
        values = {"starts": [y, x], "ends": [-y or _END, -x or _END], "axes": [-2, -1]}
        names = [self._constant(f"{target}.{part}", numbers) for part, numbers in values.items()]
        self.nodes.append(helper.make_node("Slice", [source, *names], [target], f"{target}.slice"))
        return target

    def _constant(self, name: str, numbers: list[int]) -> str:
        from onnx import numpy_helper

        self._graph.initializer.append(numpy_helper.from_array(np.asarray(numbers, np.int64), name))
        return name

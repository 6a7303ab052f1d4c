"""Cut the halo away inside an ONNX graph, as soon as nothing that is owned depends on it: the same numbers, sooner.

A tile is read with the halo that the deepest layers need; the layers behind them need less and less of it. So the
graph drops, where an image is enlarged or joined with another, what no owned pixel can see any more. Every length
here is (Y, X), in pixels of the value itself, cut at each of the two borders.
"""

from collections.abc import Iterable, Mapping, Sequence
from fractions import Fraction
from typing import Any

import numpy as np

from napari_vstain.core.models.onnx.onnx_nodes import (
    Axes,
    Shapes,
    constants_of,
    image_inputs,
    node_axes,
    planes_before,
    shapes_of,
)
from napari_vstain.core.models.receptive_field.layer_axes import Layer

Cut = tuple[int, int]
NodeStep = tuple[Any, list[str], Axes]
"""A node, the images that it reads, and how."""
NOTHING: Cut = (0, 0)
_END = np.iinfo(np.int64).max


def trimmed_content(content: bytes, halo: Cut) -> bytes | None:
    """Return `trimmed` of a serialized graph, serialized."""
    import onnx

    made = trimmed(onnx.load_model_from_string(content), halo)
    return None if made is None else bytes(made.SerializeToString())


def trimmed(model: Any, halo: Cut) -> Any | None:
    """Return a copy of `model` whose outputs lack the halo at the borders of Y and X.

    None when that gains nothing, or when the graph has a layer that is not known to commute with cutting.

    Parameters
    ----------
    model : onnx.ModelProto
        One input (B, C, Y, X) or (B, C, Z, Y, X); outputs of any whole or unit-fraction scale.
    halo : (Y, X)
        In pixels of the input, at each border.
    """
    graph = model.graph
    weights = {tensor.name for tensor in graph.initializer}
    source = next(value.name for value in graph.input if value.name not in weights)
    shapes = shapes_of(model)
    steps = _steps(graph, shapes)
    scales = _scales(source, steps or [])
    wanted = {value.name: _scaled(halo, scales.get(value.name)) for value in graph.output}
    known = {name: cut for name, cut in wanted.items() if cut is not None}
    if steps is None or not any(halo) or len(known) < len(wanted):
        return None
    return _rebuilt(model, source, shapes, steps, _spared(steps, known), known)


def _steps(graph: Any, shapes: Shapes) -> list[NodeStep] | None:
    """Return the nodes that read images, with their axes; None when one is of a kind that may not be cut."""
    constants = constants_of(graph)
    steps = []
    for node in graph.node:
        images = [] if node.op_type == "Shape" else image_inputs(node, constants)
        axes = node_axes(node, constants, shapes) if images else None
        if images and axes is None:
            return None
        if axes is not None:
            steps.append((node, images, axes))
    return steps


def _scales(source: str, steps: Sequence[NodeStep]) -> dict[str, tuple[Fraction, Fraction]]:
    """Return how many input pixels a pixel of each value is, unless it joins images of different scales."""
    scales = {source: (Fraction(1), Fraction(1))}
    for node, images, axes in steps:
        before = {scales.get(name) for name in images}
        if len(before) == 1 and (known := before.pop()) is not None:
            scales |= dict.fromkeys(node.output, (known[0] * axes[0].scale, known[1] * axes[1].scale))
    return scales


def _scaled(halo: Cut, scale: tuple[Fraction, Fraction] | None) -> Cut | None:
    if scale is None:
        return None
    y, x = (size / pixels for size, pixels in zip(halo, scale, strict=True))
    return (int(y), int(x)) if y.denominator == x.denominator == 1 else None


def _spared(steps: Sequence[NodeStep], wanted: Mapping[str, Cut]) -> dict[str, Cut]:
    """Return how much of each value nothing reads that a wanted pixel depends on."""
    spared = dict(wanted)
    for node, images, axes in reversed(steps):
        cuts = [spared[name] for name in node.output if name in spared]
        if cuts:
            cut = _before(axes, _least(cuts))
            spared |= {name: _least([cut, spared.get(name, cut)]) for name in images}
    return spared


def _before(axes: Axes, cut: Cut) -> Cut:
    """Return how much of a layer's input may go when `cut` of its output is not needed."""
    y, x = (max(axis.first(size), 0) // _grid(axis) * _grid(axis) for axis, size in zip(axes, cut, strict=True))
    return y, x


def _grid(axis: Layer) -> int:
    """Return of what the cut of a layer's input is a multiple: its stride."""
    return axis.scale.numerator


def _least(cuts: Iterable[Cut]) -> Cut:
    y, x = (min(axis) for axis in zip(*cuts, strict=True))
    return y, x


def _rebuilt(
    model: Any,
    source: str,
    shapes: Shapes,
    steps: Sequence[NodeStep],
    spared: Mapping[str, Cut],
    wanted: Mapping[str, Cut],
) -> Any | None:
    """Return the model with the cuts in it, made where an image is joined, enlarged or given out."""
    made = type(model)()
    made.CopyFrom(model)
    cutter = _Cutter(made.graph, shapes, {name: f"{name}.whole" for name in wanted})
    have: dict[str, Cut] = {source: NOTHING}
    for node, images, axes in steps:
        cut = _most(have[name] for name in images)
        if (len(images) > 1 or axes[0].scale < 1) and node.output[0] in spared:
            cut = _before(axes, spared[node.output[0]])
        y, x = (-(-size // _grid(axis)) * _grid(axis) for size, axis in zip(cut, axes, strict=True))
        cutter.add(node, {name: cutter.cut(name, have[name], (y, x)) for name in images})
        have |= dict.fromkeys(node.output, (int(y / axes[0].scale), int(x / axes[1].scale)))
    if not cutter.cuts:
        return None
    for name, cut in wanted.items():
        cutter.give(name, have[name], cut)
    others = [node for node in made.graph.node if not any(name in have for name in node.output)]
    del made.graph.node[:]
    made.graph.node.extend([*others, *cutter.nodes])
    made.graph.ClearField("value_info")
    return made


def _most(cuts: Iterable[Cut]) -> Cut:
    y, x = (max(axis) for axis in zip(*cuts, strict=True))
    return y, x


class _Cutter:
    """Writes the nodes of a graph anew, with cuts between them."""

    def __init__(self, graph: Any, shapes: Shapes, renamed: Mapping[str, str]) -> None:
        self.nodes: list[Any] = []
        self.cuts = 0
        self._graph, self._shapes, self._renamed = graph, shapes, renamed
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
        if node.op_type == "Reshape":
            self._reshape(made, planes_before(node, self._shapes) or [])
        self.nodes.append(made)

    def give(self, name: str, have: Cut, want: Cut) -> None:
        """Write an output of the graph."""
        self._slice(self._renamed[name], name, have, want)

    def _reshape(self, made: Any, planes: list[int]) -> None:
        """Let a node that joins or parts slices and channels ask the cut image, not the whole, for Y and X."""
        from onnx import helper

        label = made.output[0]
        leading = self._constant(f"{label}.leading", [0, *planes])  # 0: as many as came in
        self.nodes.append(helper.make_node("Shape", [made.input[0]], [f"{label}.plane"], f"{label}.shape", start=-2))
        parts = [leading, f"{label}.plane"]
        self.nodes.append(helper.make_node("Concat", parts, [f"{label}.size"], f"{label}.join", axis=0))
        made.input[1] = f"{label}.size"
        del made.attribute[:]

    def _slice(self, source: str, target: str, have: Cut, want: Cut) -> str:
        from onnx import helper

        self.cuts += 1
        y, x = (there - here for here, there in zip(have, want, strict=True))
        values = {"starts": [y, x], "ends": [-y or _END, -x or _END], "axes": [-2, -1]}
        names = [self._constant(f"{target}.{part}", numbers) for part, numbers in values.items()]
        self.nodes.append(helper.make_node("Slice", [source, *names], [target], f"{target}.slice"))
        return target

    def _constant(self, name: str, numbers: list[int]) -> str:
        from onnx import numpy_helper

        self._graph.initializer.append(numpy_helper.from_array(np.asarray(numbers, np.int64), name))
        return name

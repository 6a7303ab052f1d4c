"""Put a model's normalization into its ONNX graph, and take it out again, bit for bit."""

from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt

from napari_vstain.core.models.spec import ModelSpec, OutputKind

SOURCE = "source"
CONSTANTS = ("source_offset", "source_divisor", "target_offset", "target_divisor")
"""Each of shape (C,), float32: ``(source - source_offset) / source_divisor`` goes into the network, and
``output * target_divisor + target_offset`` comes out. The targets of all outputs follow each other."""
_MARK = "vstain."
"""What the names of our own nodes and values begin with."""


Vectors = dict[str, npt.NDArray[np.float32]]


def source_constants(spec: ModelSpec) -> Vectors:
    """Return the training dataset's offset and divisor of every source channel, each of shape (C,)."""
    pairs = [spec.source_offset_and_divisor(channel) for channel in spec.sources]
    return _columns(CONSTANTS[:2], pairs)


def target_constants(spec: ModelSpec) -> Vectors:
    """Return the training dataset's offset and divisor of every target channel, each of shape (C,).

    Outputs that are no intensities (masks, distances) pass unchanged: 0 and 1.
    """
    pairs = [
        spec.target_offset_and_divisor(channel) if output.kind is OutputKind.FLUORESCENCE else (0.0, 1.0)
        for output in spec.outputs
        for channel in output.channels
    ]
    return _columns(CONSTANTS[2:], pairs)


def normalize(model: Any, spec: ModelSpec) -> Any:
    """Return the traced `model` with the normalization in front of the network and behind it.

    With level ``dataset`` the four constants are initializers that are graph inputs too, so that a caller may
    override them. With the other levels the source's two are inputs that must be given, since they are of the
    image: the model knows only the targets'.
    """
    from onnx import TensorProto, helper, numpy_helper

    graph = model.graph
    rank = len(graph.input[0].type.tensor_type.shape.dim)
    _rename(graph, {SOURCE: f"{_MARK}{SOURCE}", **{value.name: f"{_MARK}{value.name}" for value in graph.output}})
    graph.input[0].name = SOURCE
    nodes = list(_before()) + list(graph.node) + list(_behind(spec))
    del graph.node[:]
    graph.node.extend(nodes)
    graph.initializer.append(_integers("axes", [0, *range(2, rank)]))
    graph.initializer.append(_integers("split", [len(output.channels) for output in spec.outputs]))
    known = _known(spec)
    for name, channels in _lengths(spec).items():
        graph.input.append(helper.make_tensor_value_info(name, TensorProto.FLOAT, [channels]))
        if name in known:
            graph.initializer.append(numpy_helper.from_array(known[name], name))
    return model


def neutralise(model: Any) -> Any:
    """Return a copy of a model of ours without its normalization: the network alone.

    The four constants are as good as 0 and 1, and no inputs any more. A model that has none is copied as it is.
    """
    bare = type(model)()
    bare.CopyFrom(model)
    graph = bare.graph
    _keep(graph.node, lambda node: not node.name.startswith(_MARK))
    _keep(graph.initializer, lambda tensor: tensor.name not in CONSTANTS and not tensor.name.startswith(_MARK))
    _keep(graph.input, lambda value: value.name not in CONSTANTS)
    _rename(graph, {f"{_MARK}{value.name}": value.name for value in (*graph.input, *graph.output)})
    return bare


def open_axes(model: Any) -> Any:
    """Return the model, changed: every axis but the channels' may have any size, as far as its layers allow it."""
    graph = model.graph
    graph.ClearField("value_info")
    for value in (*graph.input, *graph.output):
        for axis, dimension in enumerate(value.type.tensor_type.shape.dim):
            if axis != 1:
                dimension.dim_param = dimension.dim_param or f"{value.name}_{axis}"
    return model


def channels_first(model: Any, sources: int) -> Any:
    """Return the model, changed where it takes and gives images of axes (B, …, C), as TensorFlow writes them.

    It is one when its last axis, and not its second, has as many entries as there are sources, or is the one that it
    brings forward before anything else.
    """
    graph = model.graph
    weights = {tensor.name for tensor in graph.initializer}
    inputs = [value for value in graph.input if value.name not in weights]
    if len(inputs) != 1 or len(graph.output) != 1 or not _channels_last(graph, inputs[0], sources):
        return model
    rank = len(inputs[0].type.tensor_type.shape.dim)
    to_last, to_first = [0, *range(2, rank), 1], [0, rank - 1, *range(1, rank - 1)]
    ends = (inputs[0], graph.output[0])
    _rename(graph, {value.name: f"{_MARK}last.{value.name}" for value in ends})
    before = _transposition(ends[0].name, to_last, into=True)
    nodes = [before, *graph.node, _transposition(ends[1].name, to_first, into=False)]
    del graph.node[:]
    graph.node.extend(nodes)
    for value in ends:
        lengths = value.type.tensor_type.shape.dim
        copies = [type(length).FromString(length.SerializeToString()) for length in lengths]
        del lengths[:]
        lengths.extend([*copies[:1], *copies[-1:], *copies[1:-1]])
    return model


def _channels_last(graph: Any, value: Any, sources: int) -> bool:
    lengths = [dimension.dim_value for dimension in value.type.tensor_type.shape.dim]
    if len(lengths) not in (4, 5) or lengths[1] == sources:
        return False
    if lengths[-1] == sources:
        return True
    readers = [node for node in graph.node if value.name in node.input]
    forward = [0, len(lengths) - 1, *range(1, len(lengths) - 1)]
    return lengths[-1] == 0 and all(
        node.op_type == "Transpose" and [list(a.ints) for a in node.attribute if a.name == "perm"] == [forward]
        for node in readers
    )


def _transposition(name: str, order: list[int], into: bool) -> Any:
    from onnx import helper

    inner = f"{_MARK}last.{name}"
    source, target = (name, inner) if into else (inner, name)
    return helper.make_node("Transpose", [source], [target], f"{target}.transpose", perm=order)


def _known(spec: ModelSpec) -> Vectors:
    of_the_image = spec.source_normalization.level != "dataset"
    return target_constants(spec) if of_the_image else {**source_constants(spec), **target_constants(spec)}


def _columns(names: tuple[str, ...], pairs: list[tuple[float, float]]) -> Vectors:
    return {name: np.asarray(column, np.float32) for name, column in zip(names, zip(*pairs, strict=True), strict=True)}


def _lengths(spec: ModelSpec) -> dict[str, int]:
    sources, targets = len(spec.sources), len(spec.targets)
    return dict(zip(CONSTANTS, (sources, sources, targets, targets), strict=True))


def _before() -> Iterator[Any]:
    yield _node("Unsqueeze", ["source_offset", f"{_MARK}axes"], "source.offset")
    yield _node("Unsqueeze", ["source_divisor", f"{_MARK}axes"], "source.divisor")
    yield _node("Sub", [SOURCE, f"{_MARK}source.offset"], "source.centred")
    yield _node("Div", [f"{_MARK}source.centred", f"{_MARK}source.divisor"], SOURCE)


def _behind(spec: ModelSpec) -> Iterator[Any]:
    from onnx import helper

    tasks = [output.task for output in spec.outputs]
    for part in ("offset", "divisor"):
        parts = [f"{_MARK}{task}.{part}" for task in tasks]
        flat = [f"{name}.flat" for name in parts]
        yield helper.make_node("Split", [f"target_{part}", f"{_MARK}split"], flat, f"{_MARK}split.{part}", axis=0)
        for name, source in zip(parts, flat, strict=True):
            yield _node("Unsqueeze", [source, f"{_MARK}axes"], name.removeprefix(_MARK))
    for task in tasks:
        yield _node("Mul", [f"{_MARK}{task}", f"{_MARK}{task}.divisor"], f"{task}.scaled")
        yield helper.make_node("Add", [f"{_MARK}{task}.scaled", f"{_MARK}{task}.offset"], [task], f"{_MARK}{task}.add")


def _node(kind: str, inputs: list[str], output: str) -> Any:
    from onnx import helper

    return helper.make_node(kind, inputs, [f"{_MARK}{output}"], f"{_MARK}{output}.{kind.lower()}")


def _integers(name: str, values: list[int]) -> Any:
    from onnx import numpy_helper

    return numpy_helper.from_array(np.asarray(values, np.int64), f"{_MARK}{name}")


def _keep(things: Any, wanted: Any) -> None:
    kept = [thing for thing in things if wanted(thing)]
    del things[:]
    things.extend(kept)


def _rename(graph: Any, names: dict[str, str]) -> None:
    """Rename values in the graph's nodes; its declared inputs and outputs keep their names."""
    for node in graph.node:
        for values in (node.input, node.output):
            values[:] = [names.get(value, value) for value in values]

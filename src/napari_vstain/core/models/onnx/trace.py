"""Trace a torch network to an ONNX graph whose batch and spatial axes are free; the graph holds nothing else."""

import math
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn

from napari_vstain.core.errors import ModelError
from napari_vstain.core.models.spec import Dimensions, ModelSpec
from napari_vstain.core.process_tweaks import quiet_export

_SOURCE = "source"
"""The name of the graph's input."""
_LEAST_PX = 32


class _InOrder(nn.Module):
    """A network whose outputs are a tuple in the order of the spec, whatever it returns itself."""

    def __init__(self, network: nn.Module, tasks: tuple[str, ...]) -> None:
        super().__init__()
        self.network = network
        self.tasks = tasks

    def forward(self, source: torch.Tensor) -> tuple[torch.Tensor, ...]:
        made = self.network(source)
        return tuple(made[task] for task in self.tasks) if isinstance(made, dict) else (made,)


def trace(network: nn.Module, spec: ModelSpec, opset: int) -> Any:
    """Return the network as an `onnx.ModelProto`: input ``source``, outputs named by task, nothing else in it.

    The network is traced on the device it is on, in inference mode, and given back in the mode it had.

    Raises
    ------
    ModelError
        When the network cannot be traced with free axes.
    """
    tasks = tuple(output.task for output in spec.outputs)
    sample = torch.zeros(sample_shape(spec), device=_device(network))
    with _inference_mode_of(network), quiet_export(), torch.no_grad():
        try:
            program = torch.onnx.export(
                _InOrder(network, tasks),
                (sample,),
                dynamo=True,
                opset_version=opset,
                input_names=[_SOURCE],
                output_names=list(tasks),
                dynamic_shapes=(dict.fromkeys(free_axes(spec), torch.export.Dim.DYNAMIC),),
                verbose=False,
            )
        except (torch.onnx.OnnxExporterError, RuntimeError, ValueError) as error:
            raise ModelError("network", type(network).__name__, *_why(error)) from error
    assert program is not None
    return _bare(program.model_proto, spec)


def free_axes(spec: ModelSpec) -> dict[int, str]:
    """Return the axes of the input that may have any size, and their names."""
    if spec.dimensions is Dimensions.TWO:
        return {0: "batch", 2: "y", 3: "x"}
    depth = {2: "z"} if spec.dimensions is Dimensions.THREE else {}
    return {0: "batch", **depth, 3: "y", 4: "x"}


def sample_shape(spec: ModelSpec) -> tuple[int, ...]:
    """Return a small input's shape, (B, C, [Z,] Y, X): on the stride grid, every free axis of its own size."""
    _, y, x = spec.stride
    plane = (_at_least(_LEAST_PX, y), _at_least(_LEAST_PX, x) + x)
    if spec.dimensions is Dimensions.TWO:
        return (2, len(spec.sources), *plane)
    deep = spec.dimensions is Dimensions.THREE
    depth = _at_least(max(spec.z_window, 2), spec.stride[0]) if deep else spec.z_window
    return (2, len(spec.sources), depth, *plane)


def _at_least(pixels: int, stride: int) -> int:
    return math.ceil(pixels / stride) * stride


def _device(network: nn.Module) -> torch.device:
    return next((parameter.device for parameter in network.parameters()), torch.device("cpu"))


@contextmanager
def _inference_mode_of(network: nn.Module) -> Iterator[None]:
    modes = [(module, module.training) for module in network.modules()]
    network.eval()
    try:
        yield
    finally:
        for module, training in modes:
            module.training = training


def _why(error: Exception) -> tuple[str, str]:
    first = next((line.strip() for line in str(error).splitlines() if line.strip()), type(error).__name__)
    return f"cannot be exported to ONNX ({first})", "predict with the torch engine"


def _bare(model: Any, spec: ModelSpec) -> Any:
    """Return the model without the exporter's notes (they hold paths of this machine) and with named axes."""
    graph = model.graph
    for thing in (*graph.node, *graph.input, *graph.output, *graph.initializer, graph, model):
        thing.ClearField("metadata_props")
        thing.ClearField("doc_string")
    graph.ClearField("value_info")
    names = free_axes(spec)
    _name_axes(graph.input[0], names)
    for value, output in zip(graph.output, spec.outputs, strict=True):
        same = output.scale == (1, 1, 1)
        axes = {axis: name if same or axis == 0 else f"{output.task}_{name}" for axis, name in names.items()}
        _name_axes(value, axes)
    return model


def _name_axes(value: Any, names: dict[int, str]) -> None:
    for axis, dimension in enumerate(value.type.tensor_type.shape.dim):
        if axis in names:
            dimension.dim_param = names[axis]

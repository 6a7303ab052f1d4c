"""The reach of a torch network whose code cannot be read layer by layer: from its graph, as it is traced at two sizes.

Both are multiples of the stride, as all images are that such a network is given here; and both must be the same
layers, so that what its code decides by the size of an image is seen to be decided alike.
"""

import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from napari_vstain.core.arrays import round_up
from napari_vstain.core.models.receptive_field.field import UnknownLayer
from napari_vstain.core.models.receptive_field.graph_axis import AxisWalk
from napari_vstain.core.models.receptive_field.graph_nodes import follow_axis
from napari_vstain.core.models.receptive_field.graph_run import GraphRunner, Refused
from napari_vstain.core.models.receptive_field.reach import LayerStep, radius_and_stride
from napari_vstain.core.process_tweaks import no_prints, quiet_export
from napari_vstain.core.progress import CancelToken

_TRACING = (RuntimeError, ValueError, TypeError, AttributeError, KeyError, IndexError, NotImplementedError, ImportError)
"""What a network, or torch's exporter, raises where it cannot be traced."""
_SOURCE = "source"


class _AsTuple(nn.Module):
    """A network that returns a tuple of its outputs, whatever it returns itself."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, source: Tensor) -> tuple[Tensor, ...]:
        made = self.network(source)
        if isinstance(made, Tensor):
            return (made,)
        return tuple(made.values() if isinstance(made, dict) else made)


def traced_reach(network: nn.Module, shape: Sequence[int], stride: Sequence[int]) -> tuple[tuple[int, ...], bool]:
    """Return the radius along every free axis, in pixels, and whether the network looks across the image.

    Parameters
    ----------
    shape : sequence of int
        Of an input: batch, channels and, in front of the free axes, whatever is fixed; the free axes last.
    stride : sequence of int
        The total stride along the free axes, as it was measured.

    Raises
    ------
    UnknownLayer
        When it cannot be traced, its graph does not tell, or has another stride.
    """
    free = len(stride)
    fixed = tuple(shape[:-free])
    sizes = [round_up(max(length, 2 * step), step) for length, step in zip(shape[-free:], stride, strict=True)]
    larger = [length + step for length, step in zip(sizes, stride, strict=True)]
    walks = [_walks(network, (*fixed, *lengths), free) for lengths in (sizes, larger)]
    radius, across = [], False
    for axis, (small, large) in enumerate(zip(*walks, strict=True)):
        if _unnamed(small) != _unnamed(large):
            raise UnknownLayer("layers that depend on the size of the image")
        reach, step = radius_and_stride(_SOURCE, small.steps, small.outputs)
        if step != stride[axis]:
            raise UnknownLayer(f"a stride of {step} px")
        radius.append(reach)
        across = across or small.across
    return tuple(radius), across


class _Walk(AxisWalk):
    """One axis followed to the outputs of a graph."""

    outputs: list[str]


def _walks(network: nn.Module, shape: tuple[int, ...], free: int) -> list[_Walk]:
    """Return every free axis of a network, followed through its graph at one size."""
    from onnx import numpy_helper

    model = _traced(network, shape)
    if any(attribute.type in (5, 10) for node in model.graph.node for attribute in node.attribute):
        raise UnknownLayer("a branch or a loop")
    image = np.random.default_rng(0).standard_normal(shape, dtype=np.float32)
    try:
        made = GraphRunner(model, Path(type(network).__name__), CancelToken(), every=True).values(image)
    except Refused as error:
        raise UnknownLayer(str(error)) from error
    constants = {tensor.name: numpy_helper.to_array(tensor) for tensor in model.graph.initializer}
    opset = next((entry.version for entry in model.opset_import if entry.domain in ("", "ai.onnx")), 18)
    walks = []
    for at in range(len(shape) - free, len(shape)):
        walk = _Walk({**constants, _SOURCE: image, **made}, _SOURCE, at, opset)
        follow_axis(model.graph, walk)
        walk.outputs = [value.name for value in model.graph.output]
        if any(walk.at.get(name) != at for name in walk.outputs):
            raise UnknownLayer("outputs that are no images")
        walks.append(walk)
    return walks


def _traced(network: nn.Module, shape: tuple[int, ...]) -> Any:
    """Return the ONNX graph of a network at one size."""
    import onnx
    from google.protobuf.message import DecodeError

    content = io.BytesIO()
    try:
        with quiet_export(), no_prints(), torch.no_grad():
            # The exporter that traces: it takes a second where the one that analyses the code takes a minute.
            torch.onnx.export(
                _AsTuple(network), (torch.zeros(shape),), content, dynamo=False, input_names=[_SOURCE], opset_version=17
            )
        return onnx.load_from_string(content.getvalue())
    except (*_TRACING, DecodeError) as error:
        raise UnknownLayer(f"{type(network).__name__} cannot be traced") from error


def _unnamed(walk: _Walk) -> list[LayerStep]:
    """Return the steps of a walk with their values counted, not named."""
    names = {_SOURCE: _SOURCE}
    for step in walk.steps:
        names[step.made] = str(len(names))
    return [
        LayerStep(names[step.made], tuple(names[name] for name in step.read), step.layer, step.surplus)
        for step in walk.steps
    ]

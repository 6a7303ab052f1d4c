"""An exported file computes what the network computes: on two shapes it was not traced with, and on real pixels."""

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import numpy.typing as npt

from napari_vstain.core.arrays import Array, round_up
from napari_vstain.core.data import Dataset, Position
from napari_vstain.core.errors import DatasetError, ModelError
from napari_vstain.core.inference.normalize import Scaling, source_scaling, target_scaling
from napari_vstain.core.models import Dimensions, ModelSpec
from napari_vstain.core.models.split import Split
from napari_vstain.core.preprocessing import statistics_of
from napari_vstain.core.sentences import third_party
from napari_vstain.core.tiling.padding import reflect_pad

if TYPE_CHECKING:
    from torch import nn

LIMIT = 1e-4
"""Largest difference that a file may make, over the standard deviation of the output."""
_REAL_PX = 512


class Sample(NamedTuple):
    """An input to compare on."""

    name: str
    source: Array
    """(B, C, Y, X) or (B, C, Z, Y, X), in the sources' own units, on the stride grid."""
    scaling: Scaling


class Difference(NamedTuple):
    """How far a file is from its network on one sample."""

    name: str
    shape: tuple[int, ...]
    relative: float
    """Largest absolute difference, less a unit in the last place, over the output's deviation; of the worst target."""


def compare(path: Path, network: "nn.Module", sample: Sample, spec: ModelSpec) -> Difference:
    """Return the difference between a file, in ONNX Runtime, and its network, in torch, both float32 on the CPU.

    Raises
    ------
    ModelError
        When ONNX Runtime cannot run the file, or gives another shape.
    """
    expected, given = _torch_outputs(network, sample, spec), _onnx_outputs(path, sample, spec)
    worst = 0.0
    for output in spec.outputs:
        if given[output.task].shape != expected[output.task].shape:
            rule = f"gives {given[output.task].shape} where the network gives {expected[output.task].shape}"
            raise ModelError("ONNX file", output.task, rule, "predict with the checkpoint instead")
        for channel in range(len(output.channels)):
            worst = max(worst, _relative(given[output.task][:, channel], expected[output.task][:, channel]))
    return Difference(sample.name, sample.source.shape, worst)


def check(difference: Difference) -> None:
    """Raise ModelError when a difference is larger than `LIMIT`."""
    if not difference.relative <= LIMIT:
        rule = f"differs from the network by {difference.relative:.2g} of the output's deviation, not at most {LIMIT:g}"
        raise ModelError("ONNX file", f"on {difference.name}", rule, "predict with the checkpoint, and report this")


def generated_samples(spec: ModelSpec) -> Iterator[Sample]:
    """Yield noise with the training data's mean and standard deviation, of two shapes that tracing did not see."""
    generator = np.random.default_rng(0)
    scaling = source_scaling(spec)
    _, y, x = spec.stride
    for batch, height, width in ((1, round_up(64, y), round_up(160, x)), (3, round_up(96, y) + y, round_up(64, x))):
        depth = _depth(spec, batch)
        noise = generator.standard_normal((batch, len(spec.sources), *depth, height, width)).astype(np.float32)
        column = (1, -1, *(1,) * (noise.ndim - 2))
        pixels = (noise * scaling.divisor.reshape(column) + scaling.offset.reshape(column)).astype(np.float32)
        yield Sample(f"generated pixels, {' x '.join(map(str, pixels.shape))}", pixels, scaling)


def real_sample(spec: ModelSpec, dataset: Dataset, split: Split) -> Sample:
    """Return pixels of a position that was not trained on, if there is one; of its centre, and its own statistics.

    Raises
    ------
    DatasetError, ChannelError
        When the dataset has no such position, or lacks a source.
    """
    keys = [key for key in (*split.validate, *split.test, *split.train) if key in dataset.positions]
    if not keys:
        raise DatasetError("dataset", dataset.name, "has none of the model's positions", "import it again")
    position = dataset.position(keys[0])
    block = _centre(position, spec).astype(np.float32)
    block = reflect_pad(
        block, [(0, -size % stride) for size, stride in zip(block.shape[1:], _strides(spec), strict=True)]
    )
    block = block[:, 0] if spec.dimensions is Dimensions.TWO else block
    return Sample(f"real pixels of {position.key}", np.ascontiguousarray(block[None]), _scaling(spec, position))


def _centre(position: Position, spec: ModelSpec) -> npt.NDArray[np.generic]:
    """Return the middle of a position, (C, Z, Y, X): at most `_REAL_PX` wide, as many slices as the model takes."""
    _, _, depth, height, width = position.shape
    slices = {Dimensions.TWO: 1, Dimensions.WINDOW: spec.z_window, Dimensions.THREE: depth}[spec.dimensions]
    z, y, x = (_middle(n, most) for n, most in ((depth, slices), (height, _REAL_PX), (width, _REAL_PX)))
    block = position.read(list(spec.sources), 0, z, y, x)
    return reflect_pad(block, [(0, max(slices - depth, 0)), (0, 0), (0, 0)])


def _strides(spec: ModelSpec) -> tuple[int, int, int]:
    return (spec.stride[0] if spec.dimensions is Dimensions.THREE else 1, *spec.stride[1:])


def _scaling(spec: ModelSpec, position: Position) -> Scaling:
    level = spec.source_normalization.level
    if level == "dataset":
        return source_scaling(spec)
    return source_scaling(spec, {name: statistics_of(position, name, level, 0) for name in spec.sources})


def _torch_outputs(network: "nn.Module", sample: Sample, spec: ModelSpec) -> dict[str, Array]:
    import torch

    batch = np.stack([sample.scaling.normalized(one) for one in sample.source])
    with torch.inference_mode():
        made = network(torch.from_numpy(batch))
    made = made if isinstance(made, dict) else {spec.outputs[0].task: made}
    return {
        output.task: np.stack([target_scaling(spec, output).restored(one) for one in made[output.task].numpy()])
        for output in spec.outputs
    }


def _onnx_outputs(path: Path, sample: Sample, spec: ModelSpec) -> dict[str, Array]:
    import onnxruntime as ort

    feeds = {"source": sample.source}
    if spec.source_normalization.level != "dataset":
        offset, divisor = sample.scaling.offset.astype(np.float32), sample.scaling.divisor.astype(np.float32)
        feeds |= {"source_offset": offset, "source_divisor": divisor}
    options = ort.SessionOptions()
    options.log_severity_level = 3
    remedy = "predict with the checkpoint instead"
    with third_party("ONNX file", None, "ONNX Runtime cannot run it", remedy, kind=ModelError):
        session = ort.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
        return dict(zip([one.name for one in session.get_outputs()], session.run(None, feeds), strict=True))


def _relative(given: Array, expected: Array) -> float:
    """Return the largest difference over the standard deviation, beyond one unit in the last place of float32.

    That unit is what adding a target's offset costs: thousands of times the deviation in dim images.
    """
    largest = float(np.abs(given.astype(np.float64) - expected).max())
    beyond = max(largest - float(np.spacing(np.abs(expected).max())), 0.0)
    spread = float(expected.std(dtype=np.float64))
    return beyond / spread if spread > 0 else (0.0 if beyond == 0 else float("inf"))


def _depth(spec: ModelSpec, more: int) -> tuple[int, ...]:
    if spec.dimensions is Dimensions.TWO:
        return ()
    if spec.dimensions is Dimensions.WINDOW:
        return (spec.z_window,)
    return (round_up(max(spec.z_window, 2), spec.stride[0]) + more * spec.stride[0],)


def _middle(n: int, most: int) -> slice:
    start = max((n - most) // 2, 0)
    return slice(start, min(start + most, n))

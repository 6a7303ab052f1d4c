"""What an ONNX file from elsewhere takes and gives: its sizes read from the graph, its halo and stride measured."""

import hashlib
import itertools
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from napari_vstain.core.errors import ModelError
from napari_vstain.core.models.onnx import load_model
from napari_vstain.core.models.onnx_graph import open_axes
from napari_vstain.core.models.spec import Dimensions, ModelSpec, Normalization, OutputSpec, Statistics

Array = npt.NDArray[np.float32]
Run = Callable[[Array], Array]
IDENTITY = Statistics(mean=0, std=1, median=0, iqr=1, min=0, p1=0, p5=0, p95_p5=1, p99_p1=1)
"""Statistics that change nothing: of a channel that the model takes or gives in its own units."""
_STRIDES = (1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 48, 64)
_LENGTHS = (256, 512, 1024, 2048)
_EXACT, _FAINT, _NOTICEABLE = 0.0, 1e-6, 1e-3
"""How much of the output's standard deviation a change may reach beyond the halo."""


def foreign_spec(
    path: Path | str,
    sources: Sequence[str],
    targets: Sequence[str],
    *,
    source_normalization: Normalization | None = None,
    target_normalization: Normalization | None = None,
    statistics: Mapping[str, Statistics] | None = None,
    spacing_um: tuple[float | None, float, float] | None = None,
) -> ModelSpec:
    """Return a ModelSpec for an ONNX file of one image input and one image output that carries none.

    Halo and stride are measured: half of a random image is changed, and how far that reaches is seen; the stride is
    the least shift that the prediction follows. ``training["measured"]`` says so. Takes a few seconds.

    Parameters
    ----------
    sources, targets : sequence of str
        Names of its channels, in order.
    source_normalization, target_normalization : Normalization, optional
        How intensities become what the network sees and back; by default mean and standard deviation.
    statistics : mapping, optional
        By channel; a channel that is left out passes unchanged.
    spacing_um : tuple, optional
        The voxel size that it was trained for, (Z, Y, X).

    Raises
    ------
    ModelError
        When the file is no such model, or not for these channels, or cannot be run on images of any size.
    """
    model = load_model(path)
    shape = _checked(model, Path(path), sources)
    probe = _Probe(_runner(model, Path(path)), shape, Path(path))
    scale = probe.scale(len(targets))
    stride, halo, exact = probe.field()
    given = dict(statistics or {})
    return ModelSpec(
        name=Path(path).stem,
        weights=hashlib.sha256(Path(path).read_bytes()).hexdigest()[:16],
        sources=tuple(sources),
        outputs=(OutputSpec(channels=tuple(targets), scale=scale),),
        dimensions=shape.dimensions,
        z_window=shape.slices or 1,
        stride=stride,
        halo=halo,
        tile_exact=exact,
        border="network",
        source_normalization=source_normalization or Normalization(),
        target_normalization=target_normalization or Normalization(),
        statistics={channel: given.get(channel, IDENTITY) for channel in (*sources, *targets)},
        spacing_um=spacing_um,
        training={"measured": "halo and stride were measured on random images, not computed from the layers"},
    )


@dataclass(frozen=True)
class _Shape:
    """What the graph says of its input."""

    channels: int
    dimensions: Dimensions
    slices: int
    """Of the window in 2.5D, else 0."""


def _checked(model: Any, path: Path, sources: Sequence[str]) -> _Shape:
    constants = {tensor.name for tensor in model.graph.initializer}
    inputs = [value for value in model.graph.input if value.name not in constants]
    for kind, values in (("inputs", inputs), ("outputs", list(model.graph.output))):
        if len(values) != 1:
            names = ", ".join(value.name for value in values)
            raise ModelError("model", path, f"has {len(values)} {kind} ({names})", "use one with one image in and out")
    tensor = inputs[0].type.tensor_type
    sizes = [dimension.dim_value for dimension in tensor.shape.dim]
    if tensor.elem_type != 1 or len(sizes) not in (4, 5):
        rule = f"takes no float32 image of axes (B, C, Y, X) or (B, C, Z, Y, X) but {len(sizes)} axes"
        raise ModelError("model", path, rule, "export it again")
    if sizes[1] not in (0, len(sources)):
        rule = f"takes {sizes[1]} channels, and {len(sources)} are named"
        raise ModelError("source channels", ", ".join(sources), rule, "name as many as it takes")
    window = sizes[2] if len(sizes) == 5 and sizes[2] > 1 else 0
    flat = Dimensions.TWO if len(sizes) == 4 else Dimensions.WINDOW if window else Dimensions.THREE
    return _Shape(len(sources), flat, window)


def _runner(model: Any, path: Path) -> Run:
    import onnxruntime as ort
    from onnxruntime.capi import onnxruntime_pybind11_state as states

    failures = (
        states.Fail,
        states.RuntimeException,
        states.InvalidArgument,
        states.InvalidGraph,
        states.NotImplemented,
    )
    options = ort.SessionOptions()
    options.log_severity_level = 4
    try:
        content = open_axes(model).SerializeToString()
        session = ort.InferenceSession(content, options, providers=["CPUExecutionProvider"])
    except failures as error:
        rule = f"ONNX Runtime cannot run it ({str(error).splitlines()[0]})"
        raise ModelError("model", path, rule, "export it again") from error
    name = session.get_inputs()[0].name

    def run(batch: Array) -> Array:
        try:
            made: Array = session.run(None, {name: batch})[0]
        except failures as error:
            raise _Refused(str(error).splitlines()[0]) from error
        return made

    return run


class _Refused(Exception):
    """A size that the network does not take."""


class _Probe:
    """Measures how far a network looks along each axis, and which shifts it follows."""

    def __init__(self, run: Run, shape: _Shape, path: Path) -> None:
        self._run, self._shape, self._path = run, shape, path
        self._volume = shape.dimensions is Dimensions.THREE
        self._axes = (2, 3) if shape.dimensions is Dimensions.TWO else (2, 3, 4) if self._volume else (3, 4)

    def field(self) -> tuple[tuple[int, int, int], tuple[int, int, int], bool]:
        """Return stride, halo and whether tiles can be exact; lengths are (Z, Y, X)."""
        strides, halos, exact = [1, 1, 1], [0, 0, 0], True
        for axis in self._axes:
            place = axis - len(self._base()) + 3
            radius, contained = self._radius(axis)
            strides[place] = self._stride(axis, radius, contained)
            halos[place] = -(-radius // strides[place]) * strides[place]
            exact = exact and contained
        return (strides[0], strides[1], strides[2]), (halos[0], halos[1], halos[2]), exact

    def scale(self, targets: int) -> tuple[float, float, float]:
        """Return output pixels per input pixel, (Z, Y, X); 0 in Z for a window that gives one slice."""
        base = self._base()
        made = self._outputs(self._noise(base))
        if made.ndim != len(base) or made.shape[1] != targets:
            rule = f"gives an image of shape {made.shape}, and {targets} target channels are named"
            raise ModelError("model", self._path, rule, "name as many as it gives")
        ratios = [out / size for out, size in zip(made.shape[2:], base[2:], strict=True)]
        depth = ratios[0] if len(ratios) == 3 else 1.0
        if self._shape.slices and made.shape[2] == 1:
            depth = 0.0
        doubled = self._outputs(self._noise([*base[:-1], 2 * base[-1]]))
        if doubled.shape[-1] != 2 * made.shape[-1]:
            rule = "gives an image that is smaller than its input by a fixed margin"
            raise ModelError("model", self._path, rule, "export it with padded convolutions")
        return (depth, ratios[-2], ratios[-1])

    def _base(self) -> list[int]:
        across = 32 if self._volume else 64
        depth = [] if self._shape.dimensions is Dimensions.TWO else [self._shape.slices or 16]
        return [1, self._shape.channels, *depth, across, across]

    def _noise(self, shape: Iterable[int], seed: int = 0) -> Array:
        return np.random.default_rng(seed).standard_normal(tuple(shape), dtype=np.float32)

    def _outputs(self, batch: Array) -> Array:
        try:
            return self._run(batch)
        except _Refused as error:
            rule = f"cannot be run on an image of {' × '.join(map(str, batch.shape[2:]))} px"
            raise ModelError("model", self._path, rule, "export it with free image sizes") from error

    def _radius(self, axis: int) -> tuple[int, bool]:
        """Return how far a change reaches, in pixels, and whether it ends there."""
        lengths = _LENGTHS[:2] if self._volume else _LENGTHS
        for length in lengths:
            changes = self._changes(axis, length)
            if (radius := _reach(changes, length, _EXACT)) is not None:
                return radius, True
        if (radius := _reach(changes, length, _FAINT)) is not None:
            return radius, True
        return _reach(changes, length, _NOTICEABLE) or 64, False

    def _changes(self, axis: int, length: int) -> list[tuple[int, bool, Array]]:
        """Return for places along an axis, and both sides, how much a change there changes each output place."""
        shape = self._base()
        shape[axis] = length
        found = []
        offsets, seeds = ((0, 1, 3), (0,)) if self._volume else ((0, 1, 2, 3, 5, 7, 13, 31), (0, 1))
        for seed in seeds:
            image, other = self._noise(shape, seed), self._noise(shape, seed + 10)
            before = self._outputs(image)
            for offset, after in itertools.product(offsets, (True, False)):
                place = length // 2 + offset
                beyond = np.arange(length) >= place
                mask = (beyond if after else ~beyond).reshape([-1 if a == axis else 1 for a in range(len(shape))])
                difference = np.abs(self._outputs(np.where(mask, other, image)) - before) / before.std()
                found.append((place, after, difference.max(axis=tuple(a for a in range(before.ndim) if a != axis))))
        return found

    def _stride(self, axis: int, radius: int, exact: bool) -> int:
        shape = self._base()
        length = max(shape[axis], 192, -(-(2 * radius + 192) // 192) * 192)
        for stride in _STRIDES:
            if self._follows(axis, stride, radius, length, 1e-5 if exact else 0.05):
                return stride
        rule = "follows no shift of up to 64 px, or takes no image of such sizes"
        raise ModelError("model", self._path, rule, "use another model")

    def _follows(self, axis: int, stride: int, radius: int, length: int, tolerance: float) -> bool:
        """Return True if a shift of the input by `stride` shifts the output, and sizes may be off by it."""
        shape = self._base()
        shape[axis] = length + stride
        image = np.moveaxis(self._noise(shape), axis, -1)
        try:
            longer = np.moveaxis(self._run(_back(image, axis)), axis, -1)
            still = np.moveaxis(self._run(_back(image[..., :length], axis)), axis, -1)
            moved = np.moveaxis(self._run(_back(image[..., stride:], axis)), axis, -1)
        except _Refused:
            return False
        step = stride * still.shape[-1] / length
        if step != int(step) or longer.shape[-1] - still.shape[-1] != step:
            return False
        first, last = (int(n * still.shape[-1] / length) for n in (radius + 1, length - stride - radius - 1))
        difference = still[..., first + int(step) : last + int(step)] - moved[..., first:last]
        return bool(np.abs(difference).max() <= tolerance * still.std())


def _back(image: Array, axis: int) -> Array:
    return np.ascontiguousarray(np.moveaxis(image, -1, axis))


def _reach(changes: list[tuple[int, bool, Array]], length: int, tolerance: float) -> int | None:
    """Return how far beyond the changed half outputs change by more than `tolerance`; None if up to the border."""
    reach = 0
    for place, after, change in changes:
        touched = np.flatnonzero(change > tolerance) * length / len(change)
        apart = touched[touched < place] if after else touched[touched >= place]
        if apart.size == 0:
            continue
        nearest = apart.min() if after else apart.max()
        if nearest < 1 or nearest >= length - 1 - length / len(change):
            return None
        reach = max(reach, int(np.ceil(place - nearest if after else nearest - place + length / len(change))))
    return reach

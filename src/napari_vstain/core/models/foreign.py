"""What an ONNX file from elsewhere takes and gives: its sizes read from the graph, its halo and stride measured."""

import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from napari_vstain.core.errors import ModelError
from napari_vstain.core.models.onnx import load_model
from napari_vstain.core.models.onnx_graph import open_axes
from napari_vstain.core.models.shift_probe import Array, InputShape, Refused, Run, ShiftProbe
from napari_vstain.core.models.spec import Dimensions, ModelSpec, Normalization, OutputSpec, Statistics

IDENTITY = Statistics(mean=0, std=1, median=0, iqr=1, min=0, p1=0, p5=0, p95_p5=1, p99_p1=1)
"""Statistics that change nothing: of a channel that the model takes or gives in its own units."""


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
    probe = ShiftProbe(_runner(model, Path(path)), shape, Path(path))
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


def _checked(model: Any, path: Path, sources: Sequence[str]) -> InputShape:
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
    return InputShape(len(sources), flat, window)


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
            raise Refused(str(error).splitlines()[0]) from error
        return made

    return run

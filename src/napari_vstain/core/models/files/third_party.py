"""What a third-party ONNX file takes and gives, and how far it looks: read from its graph, else measured."""

import hashlib
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from napari_vstain.core.arrays import ZYX, round_up
from napari_vstain.core.errors import ModelError
from napari_vstain.core.files import reading
from napari_vstain.core.models.files.onnx_file import load_model
from napari_vstain.core.models.files.onnx_integrity import check_graph
from napari_vstain.core.models.onnx.normalization import channels_first, open_axes
from napari_vstain.core.models.provenance import Training
from napari_vstain.core.models.receptive_field.field import UnknownLayer
from napari_vstain.core.models.receptive_field.graph_reach import GraphFollower, GraphReach
from napari_vstain.core.models.receptive_field.graph_run import GraphRunner
from napari_vstain.core.models.receptive_field.shift_probe import InputShape, ShiftProbe
from napari_vstain.core.models.spec import Dimensions, ModelSpec, Normalization, OutputSpec, Statistics
from napari_vstain.core.progress import CancelToken

_log = logging.getLogger(__name__)
IDENTITY = Statistics(mean=0, std=1, median=0, iqr=1, min=0, p1=0, p5=0, p95_p5=1, p99_p1=1)
"""Statistics that change nothing: of a channel that the model takes or gives in its own units."""


def third_party_spec(
    path: Path | str,
    sources: Sequence[str],
    targets: Sequence[str],
    *,
    source_normalization: Normalization | None = None,
    target_normalization: Normalization | None = None,
    statistics: Mapping[str, Statistics] | None = None,
    spacing_um: tuple[float | None, float, float] | None = None,
    token: CancelToken | None = None,
) -> ModelSpec:
    """Return a ModelSpec for an ONNX file of one image input and one image output that carries none.

    How far it looks, and on which grid, is read from its graph. Where that does not tell (a loop, a product of
    pixels), it is measured: half of a random image is changed, and how far that reaches is seen. Such a model is
    never called exact. ``training`` says under ``reach`` which it was. Takes a few seconds.

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
    token : CancelToken, optional
        Asked while it is run.

    Raises
    ------
    ModelError
        When the file is no such model, or not for these channels, or cannot be run on images of any size.
    """
    token = token or CancelToken()
    model = load_model(path)
    check_graph(model, Path(path))
    with reading("model", Path(path), "has a graph that cannot be read", "export it again", kind=ModelError):
        model = channels_first(_plain(model), len(sources))
    shape = _checked(model, Path(path), sources)
    model = open_axes(model)
    looks = _followed(model, shape, Path(path), token) or _measured(model, shape, Path(path), token)
    scale = _scale(*looks.shapes, shape, len(targets), Path(path))
    given = dict(statistics or {})
    return ModelSpec(
        name=Path(path).stem,
        weights=hashlib.sha256(Path(path).read_bytes()).hexdigest()[:16],
        sources=tuple(sources),
        outputs=(OutputSpec(channels=tuple(targets), scale=scale),),
        dimensions=shape.dimensions,
        z_window=shape.slices or 1,
        stride=looks.stride,
        halo=looks.halo,
        tile_exact=looks.exact,
        border="network",
        size_step=looks.size_step,
        exact_step=looks.exact_step,
        source_normalization=source_normalization or Normalization(),
        target_normalization=target_normalization or Normalization(),
        statistics={channel: given.get(channel, IDENTITY) for channel in (*sources, *targets)},
        spacing_um=spacing_um,
        training=Training(reach=looks.known_from),
    )


@dataclass(frozen=True)
class _Looks:
    """How far a network looks; lengths are (Z, Y, X), in pixels."""

    stride: ZYX
    halo: ZYX
    exact: bool
    size_step: ZYX
    exact_step: ZYX
    shapes: tuple[tuple[int, ...], tuple[int, ...]]
    """Of an image, and of what it becomes."""
    known_from: str


def _followed(model: Any, shape: InputShape, path: Path, token: CancelToken) -> _Looks | None:
    """Return what the graph tells; None when it does not."""
    window = shape.dimensions is Dimensions.WINDOW
    free = 3 if shape.dimensions is Dimensions.THREE else 2
    try:
        follower = GraphFollower(model, (1, shape.channels, *([shape.slices] if window else [])), free, path, token)
        found: GraphReach = follower.reach()
    except UnknownLayer as unknown:
        _log.info("%s does not tell how far it looks (%s); it is measured", path, unknown)
        return None
    halo = tuple(round_up(radius, stride) for radius, stride in zip(found.radius, found.stride, strict=True))
    return _Looks(
        _zyx(found.stride, 1),
        _zyx(halo, 0),
        not found.across,
        _zyx(found.step, 1),
        _zyx(found.exact_step, 1),
        found.shapes,
        "computed from the graph",
    )


def _measured(model: Any, shape: InputShape, path: Path, token: CancelToken) -> _Looks:
    """Return what shifts and changes of a random image tell."""
    probe = ShiftProbe(GraphRunner(model, path, token).run, shape, path)
    shapes = probe.shapes()
    stride, halo = probe.field()
    step = []
    for axis, length in zip((-3, -2, -1), stride, strict=True):
        fixed = axis == -3 and shape.dimensions is not Dimensions.THREE
        steps = [n for n in range(1, length + 1) if length % n == 0]
        step.append(1 if fixed else next(n for n in steps if n == length or probe.takes(axis, _off_grid(length, n))))
    sizes = (step[0], step[1], step[2])
    return _Looks(stride, halo, False, sizes, sizes, shapes, "measured on random images: the graph does not tell")


def _scale(
    given: tuple[int, ...], made: tuple[int, ...], shape: InputShape, targets: int, path: Path
) -> tuple[float, float, float]:
    """Return output pixels per input pixel, (Z, Y, X); 0 in Z for a window that gives one slice."""
    if len(made) != len(given) or made[1] != targets:
        rule = f"gives an image of shape {made}, and {targets} target channels are named"
        raise ModelError("model", path, rule, "name as many as it gives")
    ratios = [out / size for out, size in zip(made[2:], given[2:], strict=True)]
    depth = ratios[0] if len(ratios) == 3 else 1.0
    return (0.0 if shape.slices and made[2] == 1 else depth), ratios[-2], ratios[-1]


def _off_grid(stride: int, step: int) -> int:
    """Return a length, in pixels, that is a multiple of `step` and of no more of the stride."""
    return round_up(64, stride) + step


def _zyx(lengths: Sequence[int], without: int) -> ZYX:
    z, y, x = ((without,) * (3 - len(lengths)) + tuple(lengths))[:3]
    return z, y, x


def _plain(model: Any) -> Any:
    """Return the model without functions of its own: their nodes stand where they are called."""
    if not model.functions:
        return model
    from onnx import inliner

    return inliner.inline_local_functions(model)


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

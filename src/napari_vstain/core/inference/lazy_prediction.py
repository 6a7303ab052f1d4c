"""A prediction as a dask array: nothing is computed before it is asked for, and each chunk is one tile."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from napari_vstain.core.arrays import CZYX, ZYX, Array, Region
from napari_vstain.core.errors import ModelError
from napari_vstain.core.inference.image_source import ArraySource, shown
from napari_vstain.core.inference.normalize import Scaling
from napari_vstain.core.inference.predictor import Predictor
from napari_vstain.core.models.spec import OutputSpec, Statistics
from napari_vstain.core.tiling.blend import Blender
from napari_vstain.core.tiling.plan import Tile, TilePlan, shifted, size_of

if TYPE_CHECKING:
    import dask.array as da


def predict_lazy(
    array: Any,
    predictor: Predictor,
    *,
    task: str | None = None,
    tile_px: int | None = None,
    z: int | None = None,
    z_step: int = 1,
    statistics: Mapping[str, Statistics] | None = None,
) -> "da.Array":
    """Return the prediction of an image as a lazy array, float32, in the targets' units, with the axes of `array`.

    Its chunks along Z, Y and X are the owned regions of ``predictor.plan(shape, tile_px, z=z)``: the tiles that
    the window streams. A worker elsewhere loads the model from its file once.

    Parameters
    ----------
    array : (C, Y, X), (C, Z, Y, X) or (T, C, Z, Y, X), dask, zarr or numpy
        Source channels in the model's order, in raw units.
    task : str, optional
        Which output of a model that has several of different scales; else all of them, one after the other along C.
    statistics : mapping, optional
        Of the whole image by source channel; computed now, from all of it, when the model needs and lacks them.

    Raises
    ------
    ChannelError, DatasetError
        When the channels, or the axes, are not what the model takes.
    ModelError
        When `task` is no output, or outputs of several scales cannot be one array.
    """
    import dask.array as da

    outputs = _outputs(predictor, task)
    lazy = array if isinstance(array, da.Array) else da.from_array(array)
    sources = [predictor.source(lazy, t) for t in range(array.shape[0] if array.ndim == 5 else 1)]
    by_time = predictor.spec.source_normalization.level == "timepoint"
    whole = None if by_time else predictor.scaling(statistics, *sources)
    _, *sizes = sources[0].shape
    plan = predictor.plan((sizes[0], sizes[1], sizes[2]), tile_px, z=z, z_step=z_step)
    volumes = [
        _volume(source, predictor, plan, outputs, whole or predictor.scaling(statistics, source)) for source in sources
    ]
    if array.ndim == 5:
        return da.stack(volumes)
    return volumes[0] if array.ndim == 4 else volumes[0][:, 0]


def _volume(
    source: ArraySource, predictor: Predictor, plan: TilePlan, outputs: tuple[OutputSpec, ...], scaling: Scaling
) -> "da.Array":
    """Return the prediction of one timepoint, (C, Z, Y, X)."""
    import dask
    import dask.array as da

    model = dask.delayed(predictor, pure=False)
    predict, put_together = dask.delayed(_predict_tile, pure=False), dask.delayed(_put_together, pure=False)
    predicted = {tile.index: predict(model, plan, tile, _pixels(source, tile), scaling) for tile in plan}
    channels = sum(len(output.channels) for output in outputs)
    tasks = tuple(output.task for output in outputs)

    def chunk(index: ZYX) -> "da.Array":
        tile = plan.tile(index)
        parts = [predicted[place] for place in plan.neighbours(tile)]
        shape = (channels, *size_of(tile.outputs[tasks[0]]))
        return da.from_delayed(put_together(plan, tile, tasks, parts), shape, np.float32)

    depth, rows, columns = plan.grid
    return da.block([[[chunk((z, y, x)) for x in range(columns)] for y in range(rows)] for z in range(depth)])


@dataclass(frozen=True)
class _Part:
    """The part of an image, (C, Z, Y, X), that one tile shows."""

    array: Any
    region: Region
    shape: CZYX

    def read(self, region: Region) -> npt.NDArray[Any]:
        return np.asarray(self.array[(slice(None), *shifted(region, self.region))])


def _pixels(source: ArraySource, tile: Tile) -> tuple[Any, Region, CZYX]:
    region = shown(source.shape, tile.read)
    return source.lazily(region), region, source.shape


def _predict_tile(
    predictor: Predictor, plan: TilePlan, tile: Tile, pixels: tuple[Any, Region, CZYX], scaling: Scaling
) -> tuple[Tile, dict[str, Array]]:
    return tile, predictor.compute(plan, predictor.block(_Part(*pixels), scaling, tile))


def _put_together(
    plan: TilePlan, owner: Tile, tasks: tuple[str, ...], parts: list[tuple[Tile, dict[str, Array]]]
) -> Array:
    """Return what a tile owns, its outputs one after the other along C."""
    blender = Blender(plan)
    finished = [item for tile, outputs in parts for item in blender.add(tile, outputs)]
    outputs = next(outputs for tile, outputs in finished if tile.index == owner.index)
    return np.concatenate([outputs[task] for task in tasks])


def _outputs(predictor: Predictor, task: str | None) -> tuple[OutputSpec, ...]:
    outputs = predictor.spec.outputs
    names = ", ".join(output.task for output in outputs)
    if task is not None:
        outputs = tuple(output for output in outputs if output.task == task)
        if not outputs:
            raise ModelError("task", task, f"the model has {names}", "choose one of these")
    if len({output.scale for output in outputs}) > 1:
        raise ModelError("outputs", names, "have different scales and cannot be one array", "choose one as `task`")
    return outputs

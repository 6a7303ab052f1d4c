"""Run the network on one tile: one slice at a time, a sliding window of slices, or the whole stack."""

import math
from collections.abc import Iterator

import numpy as np

from napari_vstain.core.arrays import Array, Region
from napari_vstain.core.engines.base import Engine
from napari_vstain.core.errors import ModelError
from napari_vstain.core.models.spec import Dimensions, OutputSpec
from napari_vstain.core.progress import CancelToken
from napari_vstain.core.tiling.plan import Tile, TilePlan, shifted


def run_tile(
    engine: Engine, plan: TilePlan, tile: Tile, block: Array, token: CancelToken | None, trimmed: bool = False
) -> dict[str, Array]:
    """Return the normalized prediction of ``tile.support``, by task, (C, Z, Y, X).

    Parameters
    ----------
    block : float32 array, (C, Z, Y, X)
        Normalized pixels of ``tile.read``.
    trimmed : bool
        The engine cuts the plan's halo along Y and X away itself.
    """
    if plan.spec.dimensions is Dimensions.TWO:
        outputs = _run(engine, np.ascontiguousarray(block.swapaxes(0, 1)), plan, token)
        outputs = {task: output.swapaxes(0, 1) for task, output in outputs.items()}
    elif plan.spec.dimensions is Dimensions.THREE:
        outputs = {task: _stack(output[0]) for task, output in _run(engine, block[None], plan, token).items()}
    else:
        outputs = _mean_over_windows(engine, plan, tile, block, token)
    given = plan.within_halo(tile.read) if trimmed else tile.read
    return {output.task: _cropped(outputs[output.task], plan, tile, output, given) for output in plan.spec.outputs}


def halves(plan: TilePlan, tile: Tile) -> list[Tile]:
    """Return two tiles that own the halves of what a tile owns, cut along its longest axis; one if none can be cut."""
    strides = plan.spec.stride
    z_cut = 1 if plan.spec.dimensions is not Dimensions.THREE else math.inf
    sizes = [part.stop - part.start for part in tile.owned]
    can = [sizes[0] > z_cut, sizes[1] > strides[1], sizes[2] > strides[2]]
    if not any(can):
        return [tile]
    axis = 0 if can[0] else max((1, 2), key=lambda axis: sizes[axis] if can[axis] else 0)
    step = 1 if axis == 0 else strides[axis]
    part = tile.owned[axis]
    middle = part.start + math.ceil(sizes[axis] / step / 2) * step
    return [
        plan.tile_over(_replaced(tile.owned, axis, piece))
        for piece in (slice(part.start, middle), slice(middle, part.stop))
    ]


def _run(engine: Engine, batch: Array, plan: TilePlan, token: CancelToken | None) -> dict[str, Array]:
    outputs = engine.run(batch, token)
    for output in plan.spec.outputs:
        given = outputs[output.task].shape[1] if output.task in outputs else 0
        if given != len(output.channels):
            rule = f"the network gives {given} channels, the model names {', '.join(output.channels)}"
            raise ModelError("output", output.task, rule, "choose another model")
    return outputs


def _mean_over_windows(
    engine: Engine, plan: TilePlan, tile: Tile, block: Array, token: CancelToken | None
) -> dict[str, Array]:
    owned, window = tile.owned[0], plan.spec.z_window
    totals: dict[str, Array] = {}
    counts = np.zeros(owned.stop - owned.start, np.float32)
    for start, batch in _windows(plan, tile, block):
        first = start + window // 2 if plan.projects else start
        outputs = {task: _stack(output[0]) for task, output in _run(engine, batch, plan, token).items()}
        stop = first + next(iter(outputs.values())).shape[1]
        into, of = _overlap(first, stop, owned)
        counts[into] += 1
        for task, output in outputs.items():
            if task not in totals:
                totals[task] = np.zeros((len(output), len(counts), *output.shape[2:]), np.float32)
            totals[task][:, into] += output[:, of]
    for total in totals.values():
        total /= counts[:, None, None]
    return totals


def _windows(plan: TilePlan, tile: Tile, block: Array) -> Iterator[tuple[int, Array]]:
    for start in plan.windows(tile.owned[0]):
        first = start - tile.read[0].start
        yield start, np.ascontiguousarray(block[None, :, first : first + plan.spec.z_window])


def _overlap(first: int, stop: int, owned: slice) -> tuple[slice, slice]:
    """Return where the slices ``first … stop - 1`` fall in `owned`, and which of them do."""
    low, high = max(first, owned.start), min(stop, owned.stop)
    return slice(low - owned.start, high - owned.start), slice(low - first, high - first)


def _stack(output: Array) -> Array:
    return output if output.ndim == 4 else output[:, None]


def _cropped(output: Array, plan: TilePlan, tile: Tile, spec: OutputSpec, given: Region) -> Array:
    """Return the part of a network's output, which shows the region `given`, that shows ``tile.support``."""
    origin = plan.output_region(given, spec)
    wanted = shifted(plan.output_region(tile.support, spec), origin)
    z = wanted[0] if plan.spec.dimensions is Dimensions.THREE and spec.scale[0] else slice(None)
    return output[:, z, wanted[1], wanted[2]]


def _replaced(region: Region, axis: int, part: slice) -> Region:
    z, y, x = (part if other == axis else old for other, old in enumerate(region))
    return z, y, x

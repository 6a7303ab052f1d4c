"""Neighbouring tiles share their borders: linear weights that sum to one everywhere.

For networks that look across the whole image, no halo is exact; a blend hides the seams, and the error stays.
"""

from collections.abc import Iterable

import numpy as np

from napari_vstain.core.arrays import ZYX, Array, Region
from napari_vstain.core.models.spec import OutputSpec
from napari_vstain.core.tiling.plan import Tile, TilePlan

Finished = tuple[Tile, dict[str, Array]]
"""A tile, and by task what it owns, (C, Z, Y, X)."""


class Blender:
    """Holds back what tiles share until every neighbour has come; exact plans pass straight through."""

    def __init__(self, plan: TilePlan) -> None:
        self._plan = plan
        self._partial: dict[ZYX, dict[str, Array]] = {}
        self._come: dict[ZYX, set[ZYX]] = {}

    def add(self, tile: Tile, outputs: dict[str, Array]) -> list[Finished]:
        """Take a tile's prediction of its support; return the tiles whose owned pixels are final now."""
        if not self._plan.margin:
            return [(tile, outputs)]
        finished = (self._add_to(self._plan.tile(index), tile, outputs) for index in self._plan.neighbours(tile))
        return [item for item in finished if item is not None]

    def _add_to(self, owner: Tile, tile: Tile, outputs: dict[str, Array]) -> Finished | None:
        come = self._come.setdefault(owner.index, set())
        partial = self._partial.setdefault(owner.index, {})
        come.add(tile.index)
        for output in self._plan.spec.outputs:
            share = _share(self._plan, owner, tile, output, outputs[output.task])
            partial[output.task] = partial[output.task] + share if output.task in partial else share
        if len(come) < len(self._plan.neighbours(owner)):
            return None
        del self._come[owner.index]
        return owner, self._partial.pop(owner.index)


def with_neighbours(plan: TilePlan, tiles: Iterable[Tile]) -> list[Tile]:
    """Return the tiles that must be computed so that `tiles` can be written: themselves in an exact plan."""
    chosen = list(tiles)
    if not plan.margin:
        return chosen
    places = {index for tile in chosen for index in plan.neighbours(tile)}
    return [plan.tile(index) for index in sorted(places)]


def _share(plan: TilePlan, owner: Tile, tile: Tile, output: OutputSpec, values: Array) -> Array:
    """Return a tile's weighted part of what `owner` owns, zero elsewhere."""
    owned, support = plan.output_region(owner.owned, output), plan.output_region(tile.support, output)
    share = np.zeros((len(values), *(part.stop - part.start for part in owned)), np.float32)
    y, x = (_both(owned[axis], support[axis]) for axis in (1, 2))
    weights = _weights(plan, tile, output, 1)[y[1], None] * _weights(plan, tile, output, 2)[None, x[1]]
    share[:, :, y[0], x[0]] = values[:, :, y[1], x[1]] * weights
    return share


def _both(owned: slice, support: slice) -> tuple[slice, slice]:
    low, high = max(owned.start, support.start), min(owned.stop, support.stop)
    return slice(low - owned.start, high - owned.start), slice(low - support.start, high - support.start)


def _weights(plan: TilePlan, tile: Tile, output: OutputSpec, axis: int) -> Array:
    """Return a tile's weights along Y or X of its support, in pixels of an output."""
    support: Region = plan.output_region(tile.support, output)
    at = (np.arange(support[axis].start, support[axis].stop) + 0.5) / output.scale[axis]
    owned, margin = tile.owned[axis], plan.margin
    weights = np.ones(len(at))
    if owned.start > 0:
        weights = np.minimum(weights, (at - (owned.start - margin)) / (2 * margin))
    if owned.stop < plan.shape[axis]:
        weights = np.minimum(weights, (owned.stop + margin - at) / (2 * margin))
    return np.clip(weights, 0, 1).astype(np.float32)

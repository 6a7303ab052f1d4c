"""Tiles as large as memory allows, smaller after one did not fit; and what was measured to know that."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

from napari_vstain.core.arrays import ZYX, round_up
from napari_vstain.core.engines.base import Engine, OutOfMemory
from napari_vstain.core.engines.choice import probe
from napari_vstain.core.errors import TilingError
from napari_vstain.core.inference.approximation import measured_halo
from napari_vstain.core.inference.tile_budget import BYTES_PER_PIXEL, tile_size
from napari_vstain.core.models.spec import Dimensions, ModelSpec
from napari_vstain.core.tiling.plan import Tile, TilePlan, exact_on, plan_tiles, size_of

T = TypeVar("T")
SPARE = 3.0
"""What layers need for themselves, and what an allocator rounds up, over what a network is seen to hold."""


@dataclass
class Measured:
    """What running a network has shown on this computer: the next tiles are cut by it. None: not measured yet."""

    speed: float | None = None
    """Pixels that are computed in a second, as last seen."""
    budget_px: int | None = None
    """Pixels that memory allows at once."""
    most_px: int | None = None
    """Pixels that may be computed at once, since a tile did not fit in memory."""
    halo: ZYX | None = None
    """A halo that is smaller than the exact one, and costs little on a test pattern."""
    bytes_per_px: float | None = None
    """Memory that the network needs for a pixel."""


@dataclass(frozen=True)
class Planner:
    """Cuts images into tiles for one network; `measured` is filled as it asks, and shared with what runs the tiles.

    The largest tiles are the best ones: a halo is computed for each tile again. But three things stand against them:
    memory; networks whose tiles are no exact parts of the whole, which are best run on the whole image where that
    fits; and halos so wide that a tile would be mostly halo.
    """

    engine: Engine
    spec: ModelSpec
    measured: Measured

    def plan(self, shape: ZYX, pixels: int, tile_px: int | None, z: int | None, z_step: int) -> TilePlan:
        """Return the tiles of an image of `shape`, (Z, Y, X), that compute at most `pixels` pixels each.

        See `TileRunner.plan` for the others.

        Raises
        ------
        TilingError
            When the image is empty, or nothing that is asked for fits in memory.
        """
        size = self._size(shape, pixels, tile_px, z)
        plan = plan_tiles(shape, self.spec, size, z_step=z_step)
        if len(plan) == 1 or (plan.exact and not self._looks_too_far(pixels)):
            return plan
        # From here on tiles cost exactness, by blending or by a smaller halo: the whole image is better, in as few
        # slices as it takes. After a tile did not fit, the whole would not either.
        y, x = (round_up(n, stride) for n, stride in zip(shape[1:], self.spec.stride[1:], strict=True))
        slices = size[0]
        while self.measured.most_px is None and slices:
            entire = plan_tiles(shape, self.spec, (slices, y, x), z_step=z_step)
            if self._fits(entire, pixels):
                return entire
            slices //= 2
        if plan.exact:
            return plan_tiles(shape, self.spec, size, z_step=z_step, halo=self._smaller_halo(pixels))
        # A quarter of a tile on each side is shared with the neighbours: wide enough for seams to fade, and every
        # pixel is computed at most four times.
        strides = max(self.spec.stride[1:])
        return plan_tiles(shape, self.spec, size, margin=min(size[1:]) // 4 // strides * strides, z_step=z_step)

    def can_shrink(self, plan: TilePlan, pixels: int) -> bool:
        """Return True when the next plan of this image, for `pixels` pixels at once, will have smaller tiles."""
        sizes = zip(plan.size, tile_size(plan.shape, self.spec, pixels), strict=True)
        smaller = [size > least for size, least in sizes]
        return any(smaller if self.spec.dimensions is Dimensions.TWO else smaller[1:])

    def _size(self, shape: ZYX, pixels: int, tile_px: int | None, z: int | None) -> ZYX:
        """Return the owned region of a tile: what is asked for, else as much as memory allows."""
        slices, *largest = tile_size(shape, self.spec, pixels)
        y, x = largest
        if tile_px is not None:
            # Exact tiles that do not fit are halved when they are run. Others cannot be, so the plan itself shrinks.
            shrunk = self.measured.most_px is not None and not exact_on(self.spec, shape)
            asked = [round_up(tile_px, stride) for stride in self.spec.stride[1:]]
            slices, (y, x) = 1, [min(pair) if shrunk else pair[0] for pair in zip(asked, largest, strict=True)]
        return (slices if z is None else z), y, x

    def _looks_too_far(self, pixels: int) -> bool:
        """Return True when the halo is larger than the largest tile that memory allows with it."""
        halo, slices = max(self.spec.halo[1:]), max(self.spec.z_window, 1) + 2 * self.spec.halo[0]
        return (3 * halo) ** 2 * slices > pixels

    def _fits(self, entire: TilePlan, pixels: int) -> bool:
        """Return True when the whole image fits in memory: by a common guess, or by what this network needs."""
        cost = entire.cost(entire.tile((0, 0, 0)))
        return cost <= pixels or cost * self._bytes_per_px() <= pixels * BYTES_PER_PIXEL

    def _bytes_per_px(self) -> float:
        """Return how much memory the network needs for a pixel, as far as its engine can tell."""
        if self.measured.bytes_per_px is None:
            found = _in_memory(lambda: self.engine.footprint(probe(self.spec).shape))
            self.measured.bytes_per_px = BYTES_PER_PIXEL if found is None else min(SPARE * found, BYTES_PER_PIXEL)
        return self.measured.bytes_per_px

    def _smaller_halo(self, pixels: int) -> ZYX:
        if self.measured.halo is None:
            self.measured.halo, _ = _in_memory(lambda: measured_halo(self.engine, self.spec, pixels))
        return self.measured.halo


def retried_smaller(attempt: Callable[[], T], again: Callable[[], None] = lambda: None) -> T:
    """Return what `attempt` returns; while it raises OutOfMemory, call `again` and try once more.

    The runner remembers what did not fit, so the next attempt, if it plans anew, has smaller tiles; once there are
    none it raises TilingError, which passes.
    """
    while True:
        try:
            return attempt()
        except OutOfMemory:
            again()


def too_large(tile: Tile | None) -> TilingError:
    """Return the error of a tile that cannot be made smaller."""
    rule = "one tile of the least size does not fit in memory"
    remedy = "free some memory, or choose another device"
    return TilingError("tile size", None if tile is None else size_of(tile.owned), rule, remedy)


def _in_memory(measure: Callable[[], T]) -> T:
    try:
        return measure()
    except OutOfMemory:
        raise too_large(None) from None

"""Tiles as large as memory allows, smaller after one did not fit, and what that costs in exactness."""

import time
from collections.abc import Callable
from math import prod
from typing import Any, TypeVar, cast

import numpy as np

from napari_vstain.core.arrays import ZYX, Array, Region, round_up
from napari_vstain.core.engines.base import Engine, OutOfMemory
from napari_vstain.core.engines.choice import probe
from napari_vstain.core.errors import TilingError
from napari_vstain.core.inference.approximation import measured_halo
from napari_vstain.core.inference.compute import halves, run_tile
from napari_vstain.core.inference.tile_budget import BYTES_PER_PIXEL, pixels_at_once, tile_size
from napari_vstain.core.models.spec import Dimensions, ModelSpec, OutputSpec
from napari_vstain.core.progress import CancelToken
from napari_vstain.core.tiling.plan import Tile, TilePlan, exact_on, plan_tiles, shifted, size_of
from napari_vstain.core.tiling.regions import put

T = TypeVar("T")
TRIMMED_FROM = 1.15
"""A tile that reads so many times what it owns is faster when its halo is cut away inside the network."""

SPARE = 3.0
"""What layers need for themselves, and what an allocator rounds up, over what a network is seen to hold."""


class TileRunner:
    """An engine that runs tiles within the memory there is, and plans them so that they fit.

    Parameters
    ----------
    engine : Engine
        The network, on normalized intensities.
    spec : ModelSpec
        Stride, halo and outputs.
    """

    def __init__(self, engine: Engine, spec: ModelSpec) -> None:
        self.engine = engine
        self.spec = spec
        self.speed: float | None = None
        """Pixels that the network computes in a second, as last seen; None before the first tile."""
        self.budget_px: int | None = None
        """Pixels that memory allows at once; found out when it is first asked for."""
        self.most_px: int | None = None
        """Pixels that may be computed at once, once a tile did not fit in memory."""
        self._measurements: dict[str, Any] = {}
        self._trimmers: dict[tuple[int, ...], Engine | None] = {}

    def plan(self, shape: ZYX, tile_px: int | None = None, *, z: int | None = None, z_step: int = 1) -> TilePlan:
        """Return the tiles of an image of `shape`, (Z, Y, X).

        Parameters
        ----------
        tile_px : int, optional
            Side of the owned region, rounded up to the stride; by default the largest that memory allows.
        z : int, optional
            Slices of the owned region, by default as many as memory allows; 3D networks take all.
        z_step : int
            2.5D: slices from one window to the next.
        """
        pixels = self.pixels_at_once
        slices, *largest = tile_size(shape, self.spec, pixels)
        y, x = largest
        if tile_px is not None:
            shrunk = self.most_px is not None and not exact_on(self.spec, shape)
            asked = [round_up(tile_px, stride) for stride in self.spec.stride[1:]]
            slices, (y, x) = 1, [min(pair) if shrunk else pair[0] for pair in zip(asked, largest, strict=True)]
        size = (slices if z is None else z, y, x)
        plan = plan_tiles(shape, self.spec, size, z_step=z_step)
        if len(plan) == 1 or (plan.exact and not self._looks_too_far(pixels)):
            return plan
        y, x = (round_up(n, stride) for n, stride in zip(shape[1:], self.spec.stride[1:], strict=True))
        slices = size[0]
        while self.most_px is None and slices:
            entire = plan_tiles(shape, self.spec, (slices, y, x), z_step=z_step)
            if self._fits(entire, pixels):
                return entire
            slices //= 2
        if plan.exact:
            return plan_tiles(shape, self.spec, size, z_step=z_step, halo=self._measured_halo(pixels)[0])
        strides = max(self.spec.stride[1:])
        return plan_tiles(shape, self.spec, size, margin=min(size[1:]) // 4 // strides * strides, z_step=z_step)

    @property
    def pixels_at_once(self) -> int:
        """How many pixels the network may compute at once: what fits in memory, as far as is known."""
        if self.budget_px is None:
            free = getattr(self.engine, "free_memory_bytes", None)
            self.budget_px = pixels_at_once(None if free is None else int(free))
        return self.most_px or self.budget_px

    @property
    def network_pixels(self) -> int:
        """How many of its own pixels the network may compute at once."""
        return self.pixels_at_once

    def take_at_once(self, pixels: int) -> None:
        """Cut tiles for so many pixels at once, as in another run, unless memory allows less than half of them."""
        if self.pixels_at_once >= pixels / 2:
            self.budget_px = pixels

    def _fits(self, entire: TilePlan, pixels: int) -> bool:
        """Return True when the whole image fits in memory: by a common guess, or by what this network needs."""
        cost = entire.cost(entire.tile((0, 0, 0)))
        return cost <= pixels or cost * self._bytes_per_pixel() <= pixels * BYTES_PER_PIXEL

    def _bytes_per_pixel(self) -> float:
        """Return how much memory the network needs for a pixel, as far as its engine can tell."""
        ask = getattr(self.engine, "footprint", None)
        found = None if ask is None else self._measured("footprint", lambda: ask(probe(self.spec).shape))
        return BYTES_PER_PIXEL if found is None else min(SPARE * found, BYTES_PER_PIXEL)

    def _looks_too_far(self, pixels: int) -> bool:
        """Return True when the halo is larger than the largest tile that memory allows with it."""
        halo, slices = max(self.spec.halo[1:]), max(self.spec.z_window, 1) + 2 * self.spec.halo[0]
        return (3 * halo) ** 2 * slices > pixels

    def _measured_halo(self, pixels: int) -> tuple[ZYX, float]:
        return self._measured("halo", lambda: measured_halo(self.engine, self.spec, pixels))

    def _measured(self, what: str, measure: Callable[[], T]) -> T:
        """Measure once."""
        if what not in self._measurements:
            try:
                self._measurements[what] = measure()
            except OutOfMemory:
                raise too_large(None) from None
        return cast(T, self._measurements[what])

    def run(self, plan: TilePlan, tile: Tile, values: Array, token: CancelToken | None) -> dict[str, Array]:
        """Run a tile; when it does not fit in memory, its halves, and remember how much fits.

        Tiles that are no exact parts of the whole cannot be halved: OutOfMemory then asks for another plan.
        """
        if self.most_px is None or plan.cost(tile) <= self.most_px or not plan.exact:
            engine = self._trimmed(plan, tile)
            began = time.perf_counter()
            try:
                outputs = run_tile(engine or self.engine, plan, tile, values, token, trimmed=engine is not None)
            except OutOfMemory:
                self.most_px = max(plan.cost(tile) // 2, 1)
                if not plan.exact:
                    raise OutOfMemory if self._can_shrink(plan) else too_large(tile) from None
            else:
                self.speed = plan.cost(tile) / max(time.perf_counter() - began, 1e-6)
                return outputs
        parts = halves(plan, tile)
        if len(parts) == 1:
            raise too_large(tile)
        return self._joined(plan, tile, parts, values, token)

    def _trimmed(self, plan: TilePlan, tile: Tile) -> Engine | None:
        """Return the engine that cuts the halo away inside, where there is one and it gains."""
        if plan.spec.border != "reflect" or plan.margin or not plan.exact:
            return None
        kept = prod(size_of(plan.within_halo(tile.read))[1:])
        if prod(size_of(tile.read)[1:]) < TRIMMED_FROM * kept:
            return None
        halo = plan.halo[1:]
        if halo not in self._trimmers:
            ask = getattr(self.engine, "trimmed", None)
            self._trimmers[halo] = None if ask is None else ask(halo)
        return self._trimmers[halo]

    def _can_shrink(self, plan: TilePlan) -> bool:
        """Return True when the next plan of this image will have smaller tiles."""
        sizes = zip(plan.size, tile_size(plan.shape, self.spec, self.pixels_at_once), strict=True)
        smaller = [size > least for size, least in sizes]
        return any(smaller if self.spec.dimensions is Dimensions.TWO else smaller[1:])

    def _joined(
        self, plan: TilePlan, tile: Tile, parts: list[Tile], values: Array, token: CancelToken | None
    ) -> dict[str, Array]:
        joined = {output.task: empty(plan, output, tile.support) for output in self.spec.outputs}
        for part in parts:
            if token is not None:
                token.check()
            piece = np.ascontiguousarray(values[(slice(None), *shifted(part.read, tile.read))])
            outputs = self.run(plan, part, piece, token)
            for output in self.spec.outputs:
                put(joined[output.task], plan, output, tile.support, part, outputs[output.task])
        return joined


def empty(plan: TilePlan, output: OutputSpec, region: Region) -> Array:
    """Return an array for an output of a region, (C, Z, Y, X), still to be filled."""
    size = size_of(plan.output_region(region, output))
    return np.empty((len(output.channels), *size), np.float32)


def too_large(tile: Tile | None) -> TilingError:
    """Return the error of a tile that cannot be made smaller."""
    rule = "one tile of the least size does not fit in memory"
    remedy = "free some memory, or choose another device"
    return TilingError("tile size", None if tile is None else size_of(tile.owned), rule, remedy)

"""Run tiles within the memory that there is: what a predictor asks of a network, whatever stands between."""

import time
from math import prod
from typing import Protocol

import numpy as np

from napari_vstain.core.arrays import ZYX, Array, Region
from napari_vstain.core.engines.base import Engine, OutOfMemory
from napari_vstain.core.inference.compute import halves, run_tile
from napari_vstain.core.inference.planner import Measured, Planner, too_large
from napari_vstain.core.inference.tile_budget import pixels_at_once
from napari_vstain.core.models.spec import ModelSpec, OutputSpec
from napari_vstain.core.progress import CancelToken
from napari_vstain.core.tiling.plan import Tile, TilePlan, shifted, size_of
from napari_vstain.core.tiling.regions import put

TRIMMED_FROM = 1.15
"""A tile that reads so many times what it owns is faster when its halo is cut away inside the network."""


class Runner(Protocol):
    """Plans the tiles of an image and runs them: a network, or a step around another runner."""

    spec: ModelSpec
    """Stride, halo and outputs, in pixels of the image."""
    measured: Measured
    """What running it has shown, in pixels of the image."""

    def plan(self, shape: ZYX, tile_px: int | None = None, *, z: int | None = None, z_step: int = 1) -> TilePlan:
        """Return the tiles of an image of `shape`, (Z, Y, X); see `TileRunner.plan`."""
        ...

    def run(self, plan: TilePlan, tile: Tile, values: Array, token: CancelToken | None) -> dict[str, Array]:
        """Return the normalized prediction of a tile's support, by task, (C, Z, Y, X).

        Parameters
        ----------
        values : float32 array, (C, Z, Y, X)
            Normalized pixels of ``tile.read``.

        Raises
        ------
        OutOfMemory
            When a tile that cannot be halved does not fit: the next plan has smaller ones.
        TilingError
            When none is small enough.
        """
        ...

    @property
    def pixels_at_once(self) -> int:
        """How many pixels of the image may be computed at once: what fits in memory, as far as is known."""
        ...

    @property
    def network_pixels(self) -> int:
        """How many of its own pixels the network may compute at once."""
        ...

    def take_at_once(self, pixels: int) -> None:
        """Cut tiles for so many of the network's pixels, as in another run, unless memory allows less than half."""
        ...


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
        self.engine, self.spec, self.measured = engine, spec, Measured()
        self.trimmers: dict[tuple[int, ...], Engine | None] = {}
        """By halo, the engine that cuts it away inside the network; None where that gains nothing."""

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
        return self._planner.plan(shape, self.pixels_at_once, tile_px, z, z_step)

    @property
    def pixels_at_once(self) -> int:
        """How many pixels the network may compute at once: what fits in memory, as far as is known."""
        if self.measured.budget_px is None:
            self.measured.budget_px = pixels_at_once(self.engine.free_memory_bytes)
        return self.measured.most_px or self.measured.budget_px

    @property
    def network_pixels(self) -> int:
        """How many of its own pixels the network may compute at once: here those of the image."""
        return self.pixels_at_once

    def take_at_once(self, pixels: int) -> None:
        """Cut tiles for so many pixels at once, as in another run, unless memory allows less than half of them."""
        if self.pixels_at_once >= pixels / 2:
            self.measured.budget_px = pixels

    def run(self, plan: TilePlan, tile: Tile, values: Array, token: CancelToken | None) -> dict[str, Array]:
        """Run a tile; when it does not fit in memory, its halves, and remember how much fits.

        Tiles that are no exact parts of the whole cannot be halved: OutOfMemory then asks for another plan.
        """
        # Once a tile did not fit, those that cost as much are halved without trying again. The plan of an exact image
        # stays as it is: its tiles keep their places, in a store too, and only run in parts.
        most = self.measured.most_px
        if most is None or plan.cost(tile) <= most or not plan.exact:
            engine = self._trimmer(plan, tile)
            began = time.perf_counter()
            try:
                outputs = run_tile(engine or self.engine, plan, tile, values, token, trimmed=engine is not None)
            except OutOfMemory:
                self.measured.most_px = max(plan.cost(tile) // 2, 1)
                if not plan.exact:
                    shrinks = self._planner.can_shrink(plan, self.pixels_at_once)
                    raise OutOfMemory if shrinks else too_large(tile) from None
            else:
                self.measured.speed = plan.cost(tile) / max(time.perf_counter() - began, 1e-6)
                return outputs
        parts = halves(plan, tile)
        if len(parts) == 1:
            raise too_large(tile)
        return self._joined(plan, tile, parts, values, token)

    @property
    def _planner(self) -> Planner:
        return Planner(self.engine, self.spec, self.measured)

    def _trimmer(self, plan: TilePlan, tile: Tile) -> Engine | None:
        """Return the engine that cuts the halo away inside, where there is one and it gains."""
        if plan.spec.border != "reflect" or plan.margin or not plan.exact:
            return None
        kept = prod(size_of(plan.within_halo(tile.read))[1:])
        if prod(size_of(tile.read)[1:]) < TRIMMED_FROM * kept:
            return None
        _, y, x = plan.halo
        if (y, x) not in self.trimmers:
            self.trimmers[y, x] = self.engine.trimmed((y, x))
        return self.trimmers[y, x]

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

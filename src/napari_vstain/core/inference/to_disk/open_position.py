"""A position that is being predicted: its plan, what is left of it, how it is normalized, and where it is written."""

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass
from functools import partial

import numpy as np

from napari_vstain.core.arrays import ZYX, Mask
from napari_vstain.core.data import Position
from napari_vstain.core.data.identity import content_of, identify
from napari_vstain.core.inference.image_source import PositionSource
from napari_vstain.core.inference.normalize import Scaling, target_scaling
from napari_vstain.core.inference.predictor import Block, Predictor
from napari_vstain.core.inference.recipe import Existing, Input, Step
from napari_vstain.core.inference.tile_budget import BLOCK_PX, tile_size
from napari_vstain.core.inference.to_disk.position_store import PositionStore
from napari_vstain.core.inference.to_disk.store import PredictionStore
from napari_vstain.core.models.spec import Dimensions
from napari_vstain.core.tiling.blend import Blender
from napari_vstain.core.tiling.plan import Tile, TilePlan, exact_on
from napari_vstain.core.tiling.tile_queue import EVERYTHING, Area, TileQueue, in_area

SHARED_TILE_PX = 1024
"""Side of a tile where many workers share a batch, so that there are enough tiles for all of them."""
_LEVELS = 3
"""The largest tile is ``2**3`` blocks of 512 px wide."""


@dataclass(frozen=True)
class PredictionBatch:
    """What is to be predicted."""

    predictor: Predictor
    store: PredictionStore
    positions: Sequence[Position]
    channels: tuple[str, ...]
    """Source channels of the dataset, in the model's order."""
    area: Area = EVERYTHING
    existing: Existing = Existing.RESUME
    tile_px: int | None = None
    z_step: int = 1
    strict: bool = False
    """A position that turns out to be damaged ends the batch, in place of being left out."""


class OpenPosition:
    """A position with its plan, what is left of it, and where it is written; `store` holds its lock until it is closed.

    Parameters
    ----------
    reading : Executor
        Reads the bytes of the pixels beside the work.
    check : callable
        Raises Cancelled when the work is to stop.
    wait : bool
        Wait for another process that is predicting the position.

    Raises
    ------
    BusyError
        When another process is predicting it, and nobody said to wait.
    """

    def __init__(
        self,
        batch: PredictionBatch,
        position: Position,
        reading: Executor,
        check: Callable[[], None],
        *,
        wait: bool = False,
    ) -> None:
        self.position = position
        self.batch = batch
        times, _, z, y, x = position.shape
        self.plan = batch_plan(batch, (z, y, x))
        self.note = ""
        """What is to be said of the position."""
        self.given_up = False
        """True once its pixels turned out to be damaged: nothing more of it is predicted."""
        self._scalings: dict[int, Scaling] = {}
        self.store: PositionStore = batch.store.position(position, self.plan, check if wait else None)
        try:
            asked = in_area(self.plan, times, batch.area)
            read = partial(content_of, position, batch.channels, check)
            step, why = self.store.begin(times, self.plan, asked, batch.existing, self._input(asked), read)
            self.wanted = step is not Step.LEAVE
            self.note = f"{position.key} {why}" if why else ""
            self.queue = TileQueue(self.plan, self.store.missing(self.plan, asked & self.wanted))
            if self.wanted and self.store.lacks_content and self.queue.pixels:
                self.store.note_content(reading.submit(read))
        except BaseException:
            self.store.close()
            raise
        self.blenders = [Blender(self.plan) for _ in range(times)]

    def pieces(self) -> Iterator[tuple[int, Tile]]:
        """Yield what is left, as timepoints and tiles that fit in memory."""
        most = _level(self.plan, self.batch)
        while (piece := self.queue.take(most())) is not None:
            yield piece

    def block(self, t: int, tile: Tile) -> Block:
        """Read and normalize a tile."""
        source = PositionSource(self.position, self.batch.channels, t)
        return self.batch.predictor.block(source, self.scaling(t), tile)

    def scaling(self, t: int) -> Scaling:
        """Return how the sources are normalized: by numbers of the dataset, the position or the timepoint."""
        key = t if self._by_time else 0
        if key not in self._scalings:
            self._scalings[key] = position_scaling(self.batch.predictor, self.position, self.batch.channels, t)
        return self._scalings[key]

    @property
    def _by_time(self) -> bool:
        return self.batch.predictor.spec.source_normalization.level == "timepoint"

    def _input(self, asked: Mask) -> Input:
        """Return what the position is predicted from: its pixels, and the numbers for the times that are asked for."""
        times = [int(t) for t in np.flatnonzero(asked.any(axis=(1, 2, 3)))] if self._by_time else [0]
        sources = {str(t) if self._by_time else "all": _numbers(self.scaling(t)) for t in times}
        model = self.batch.predictor.model
        targets = {output.task: _numbers(target_scaling(model, output)) for output in model.outputs}
        return Input(identify(self.position, self.batch.channels), {"sources": sources, "targets": targets})


def batch_plan(batch: PredictionBatch, shape: ZYX) -> TilePlan:
    """Return the plan whose tiles are the least that is written at once: one block, in as many slices as fit."""
    predictor, slices = batch.predictor, _slices(batch, shape)
    if not exact_on(predictor.spec, shape):
        return predictor.plan(shape, z=slices, z_step=batch.z_step)
    return predictor.plan(shape, BLOCK_PX, z=slices, z_step=batch.z_step)


def position_scaling(predictor: Predictor, position: Position, channels: Sequence[str], t: int) -> Scaling:
    """Return how a position's sources are normalized, from stored statistics or, failing these, the whole image."""
    level = predictor.spec.source_normalization.level
    if level == "dataset":
        return predictor.scaling()
    from napari_vstain.core.preprocessing import statistics_of

    names = zip(predictor.spec.sources, channels, strict=True)
    return predictor.scaling({source: statistics_of(position, channel, level, t) for source, channel in names})


def _level(plan: TilePlan, batch: PredictionBatch) -> Callable[[], int]:
    """Return a function that says how often a block may be doubled; after an out-of-memory it says less."""
    if not plan.exact:
        return lambda: 0
    if batch.tile_px is not None:
        fixed = min((batch.tile_px // BLOCK_PX).bit_length() - 1, _LEVELS)
        return lambda: fixed
    z, y, x = plan.size
    tiles = [plan.tile_over((slice(0, z), slice(0, y << k), slice(0, x << k))) for k in range(_LEVELS + 1)]
    costs = [plan.cost(tile) for tile in tiles]

    def level() -> int:
        fitting = [k for k, cost in enumerate(costs) if cost <= batch.predictor.runner.pixels_at_once]
        return max(fitting, default=0)

    return level


def _slices(batch: PredictionBatch, shape: ZYX) -> int:
    """Return the slices of a tile: as many as fit, but one where tile size or slices were chosen."""
    spec = batch.predictor.spec
    if batch.area.z != slice(None) or (batch.tile_px is not None and spec.dimensions is Dimensions.TWO):
        return 1
    if spec.dimensions is Dimensions.WINDOW:
        return min(shape[0], 16 * spec.z_window)
    return tile_size(shape, spec, batch.predictor.runner.pixels_at_once)[0]


def asked_of(batch: PredictionBatch, position: Position) -> TileQueue:
    """Return the tiles of a position that are asked for, done or not."""
    plan = batch_plan(batch, zyx_of(position))
    return TileQueue(plan, in_area(plan, position.shape[0], batch.area))


def zyx_of(position: Position) -> ZYX:
    """Return slices, rows and columns of a position."""
    _, _, z, y, x = position.shape
    return z, y, x


def _numbers(scaling: Scaling) -> list[list[float]]:
    """Return offset and divisor of each channel, as they are stored."""
    return [list(pair) for pair in zip(scaling.offset.tolist(), scaling.divisor.tolist(), strict=True)]

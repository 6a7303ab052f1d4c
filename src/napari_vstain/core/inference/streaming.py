"""Predict what the user looks at first, and go on outward, while every finished tile shows at once.

::

    stream = Stream(StreamRequest(array, view=Area(y=slice(0, 512), x=slice(0, 512))), predictor)
    layer = viewer.add_image(stream.outputs["stain"])     # NaN where nothing is predicted yet
    job = Job(stream, "predict")                          # a Stream is a function of a Progress
    queue = job.subscribe()                               # hears a TileDone whenever a tile was written
    job.start()
    stream.look_at(Area(z=slice(3, 4), y=…, x=…))         # at any time, from any thread: re-orders what is left

Several layers of one channel each become one array with `image_source.ChannelStack`. ``stream.outputs`` has the
axes of the array, by task.
Tiles grow while they take less than `tile_s` seconds each, so that the first one is there soon and Stop is
quick; with `tile_px` they are exactly the tiles of ``predictor.plan`` and the chunks of `predict_lazy`.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from time import perf_counter
from typing import Any

import numpy as np

from napari_vstain.core.arrays import ZYX, Array, Region
from napari_vstain.core.inference.image_source import SourceImage
from napari_vstain.core.inference.normalize import Scaling
from napari_vstain.core.inference.planner import retried_smaller
from napari_vstain.core.inference.predictor import Predictor
from napari_vstain.core.models.spec import Dimensions, Statistics
from napari_vstain.core.progress import Cancelled, Progress
from napari_vstain.core.tiling.blend import Blender
from napari_vstain.core.tiling.plan import Tile, TilePlan, exact_on, size_of
from napari_vstain.core.tiling.tile_queue import EVERYTHING, Area, TileQueue, in_area

CELL_PX = 128
"""Owned region of the smallest tile; larger ones are two, four, eight or sixteen times that."""
_LEVELS = 4
TILE_S = 0.4
"""Seconds that a tile may take, so that Stop ends within half a second."""


@dataclass(frozen=True)
class TileDone:
    """A tile that was just written into the stream's outputs."""

    area: Area
    """What it owns, in pixels of the input."""
    outputs: dict[str, Region]
    """By task, (Z, Y, X) in pixels of that output."""
    seconds: float
    """What it took to compute."""
    done: int
    """Pixels predicted so far."""
    total: int
    """Pixels to predict in all."""


@dataclass(frozen=True)
class Unlike:
    """The image looks unlike what the model was trained on; announced after the first tile of a time point."""

    warnings: tuple[str, ...]


@dataclass(frozen=True, eq=False)
class StreamRequest:
    """What to predict of an image that is open, and where to begin: one value from the window down to the stream."""

    array: Any
    """Sources in the model's order, in raw units: (C, Y, X), (C, Z, Y, X) or (T, C, Z, Y, X); numpy, zarr or dask."""
    view: Area = EVERYTHING
    """What the user sees when it begins."""
    scope: Area = EVERYTHING
    """What to predict: all of the array by default. Tiles that it only touches are predicted whole."""
    outputs: Mapping[str, Array] | None = None
    """By task, what to write into, float32, the axes of `array`; made, and filled with NaN, when not given."""
    tile_px: int | None = None
    """Fixed side of the owned region, in place of tiles that grow with the measured speed."""
    tile_s: float = TILE_S
    """Seconds that a growing tile may take."""
    statistics: Mapping[str, Statistics] | None = None
    """Of the whole image by source channel, when the model normalizes by them and they are known."""
    spacing_um: Sequence[float | None] | None = None
    """Voxel size of the image, (Z, Y, X), in micrometres, compared with the model's; None where it is not known."""
    resample: bool = False
    """Wanted of whoever chooses the predictor: one for the model's voxel size, brought back onto the image's pixels."""


class Stream:
    """The prediction of one image, in an order that may change while it runs. Call it once, with a Progress."""

    def __init__(self, request: StreamRequest, predictor: Predictor) -> None:
        self.request = request
        self.predictor = predictor
        self.warnings: tuple[str, ...] | None = None
        """In which ways the image looks unlike the training data; None before the first tile is there."""
        self._judged: set[int] = set()
        array = request.array
        _, *sizes = predictor.source(array).shape
        shape: ZYX = (sizes[0], sizes[1], sizes[2])
        self._times = array.shape[0] if array.ndim == 5 else 1
        self._scalings: dict[int, Scaling] = {}
        self.plan = _plan(predictor, shape, request.tile_px)
        self._grows = request.tile_px is None and self.plan.exact
        self.outputs = dict(request.outputs) if request.outputs is not None else self._made()
        self._shape, self._view = shape, request.view
        self._queue = self._new_queue()

    @property
    def caveat(self) -> str:
        """One sentence on what the tiles cost in exactness, or "": see `Predictor.caveat`. It may take seconds."""
        if self.plan.halo == self.predictor.spec.halo and not self.plan.margin:
            return ""
        return self.predictor.caveat(self.plan, self.predictor.source(self.request.array, 0), self._scaling(0))

    def look_at(self, view: Area) -> None:
        """Go on with what is left from the centre of `view` outward; from any thread, returns at once."""
        self._view = view
        self._queue.look_at(view)

    def __call__(self, progress: Progress) -> dict[str, Array]:
        """Predict until all is done; return the outputs.

        Raises
        ------
        Cancelled
            When it was stopped; `kept` holds the outputs as far as they got.
        """
        try:
            retried_smaller(partial(self._run, progress), self._plan_again)
        except Cancelled as stopped:
            raise Cancelled(kept=self.outputs) from stopped
        return self.outputs

    def _plan_again(self) -> None:
        """Begin again with smaller tiles: those that are no exact parts of the whole cannot be halved."""
        self.plan = _plan(self.predictor, self._shape, self.request.tile_px)
        self._queue = self._new_queue()

    def _new_queue(self) -> TileQueue:
        return TileQueue(self.plan, in_area(self.plan, self._times, self.request.scope), self._view)

    def _run(self, progress: Progress) -> None:
        total, done = self._queue.pixels, 0
        progress.phase("Predicting", total / 1e6, "Mpx")
        blenders = [Blender(self.plan) for _ in range(self._times)]
        for t, tile in self._tiles():
            progress.check()
            began = perf_counter()
            source = self.predictor.source(self.request.array, t)
            block = self.predictor.block(source, self._scaling(t), tile)
            outputs = self.predictor.compute(self.plan, block, progress.token)
            seconds = perf_counter() - began
            for owner, values in blenders[t].add(tile, outputs):
                self._write(t, owner, values)
                pixels = int(np.prod(size_of(owner.owned)))
                done += pixels
                area = Area(slice(t, t + 1), *owner.owned)
                progress.produce(TileDone(area, owner.outputs, seconds, done, total))
                progress.advance(pixels / 1e6)
            if t not in self._judged:
                self._judged.add(t)
                self._check(t, progress)

    def _check(self, t: int, progress: Progress) -> None:
        image = SourceImage(self.predictor.source(self.request.array, t))
        found = tuple(self.predictor.check({t: image}, self.request.spacing_um))
        new = tuple(sentence for sentence in found if sentence not in (self.warnings or ()))
        self.warnings = (*(self.warnings or ()), *new)
        if new:
            progress.produce(Unlike(new))

    def _tiles(self) -> Iterator[tuple[int, Tile]]:
        level = 0
        while (item := self._queue.take(level)) is not None:
            yield item
            level = self._level() if self._grows else 0

    def _level(self) -> int:
        """Return how often the smallest tile may be doubled and still take less than `tile_s`."""
        speed = self.predictor.runner.measured.speed
        for level in range(_LEVELS, 0, -1):
            z, y, x = self.plan.size
            tile = self.plan.tile_over((slice(0, z), slice(0, y << level), slice(0, x << level)))
            if speed is not None and self.plan.cost(tile) <= speed * self.request.tile_s:
                return level
        return 0

    def _scaling(self, t: int) -> Scaling:
        by_time = self.predictor.spec.source_normalization.level == "timepoint"
        key = t if by_time else 0
        if key not in self._scalings:
            times = [t] if by_time else range(self._times)
            sources = [self.predictor.source(self.request.array, time) for time in times]
            self._scalings[key] = self.predictor.scaling(self.request.statistics, *sources)
        return self._scalings[key]

    def _made(self) -> dict[str, Array]:
        made = {}
        for output in self.predictor.spec.outputs:
            sizes = (len(output.channels), *self.plan.output_shape(output))
            array = np.full((self._times, *sizes), np.nan, np.float32)
            made[output.task] = {5: array, 4: array[0], 3: array[0, :, 0]}[self.request.array.ndim]
        return made

    def _write(self, t: int, tile: Tile, values: dict[str, Array]) -> None:
        for task, array in self.outputs.items():
            z, y, x = tile.outputs[task]
            if array.ndim == 3:
                array[:, y, x] = values[task][:, 0]
            else:
                (array[t] if array.ndim == 5 else array)[:, z, y, x] = values[task]


def predict_stream(
    array: Any,
    predictor: Predictor,
    view: Area = EVERYTHING,
    progress: Progress | None = None,
) -> dict[str, Array]:
    """Return the prediction of an image; every tile is announced, from the centre of `view` outward."""
    return Stream(StreamRequest(array, view), predictor)(progress or Progress())


def _plan(predictor: Predictor, shape: ZYX, tile_px: int | None) -> TilePlan:
    spec = predictor.spec
    slices = spec.z_window if spec.dimensions is Dimensions.WINDOW else 1
    if tile_px is None and exact_on(spec, shape):
        tile_px = CELL_PX
    return predictor.plan(shape, tile_px, z=slices)

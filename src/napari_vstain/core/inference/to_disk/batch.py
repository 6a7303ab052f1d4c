"""Predict many positions from store to store in bounded memory, reading, computing and writing at the same time."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Executor, ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Protocol

import numpy as np

from napari_vstain.core.arrays import ZYX, Mask
from napari_vstain.core.data import Position
from napari_vstain.core.data.identity import content_of, identify
from napari_vstain.core.errors import BusyError
from napari_vstain.core.inference.image_source import PositionSource
from napari_vstain.core.inference.normalize import Scaling, target_scaling
from napari_vstain.core.inference.planner import retried_smaller
from napari_vstain.core.inference.predictor import Block, Predictor
from napari_vstain.core.inference.recipe import Existing, Input, Step
from napari_vstain.core.inference.tile_budget import BLOCK_PX, tile_size
from napari_vstain.core.inference.to_disk.pipeline import read_ahead, writing_behind
from napari_vstain.core.inference.to_disk.position_store import PositionStore
from napari_vstain.core.inference.to_disk.store import PredictionStore
from napari_vstain.core.left_out import LeftOut, leaving_out
from napari_vstain.core.models.spec import Dimensions
from napari_vstain.core.novelty import PositionImage
from napari_vstain.core.progress import Progress
from napari_vstain.core.tiling.blend import Blender
from napari_vstain.core.tiling.plan import Tile, TilePlan, exact_on, size_of
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


@dataclass
class Outcome:
    """What was predicted so far."""

    positions: list[str] = field(default_factory=list)
    """Those that are complete as far as they were asked for."""
    megapixels: float = 0
    warnings: list[str] = field(default_factory=list)
    left_out: list[LeftOut] = field(default_factory=list)


@dataclass(frozen=True)
class PositionPredicted:
    """Announced when a position is complete on disk."""

    key: str
    warnings: tuple[str, ...]


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


class BatchRunner(Protocol):
    """Computes and writes what is left of positions: here, or on a cluster."""

    def __call__(
        self, batch: PredictionBatch, opened: Iterable[OpenPosition | None], outcome: Outcome, progress: Progress
    ) -> None: ...


def prepare(batch: PredictionBatch, progress: Progress) -> None:
    """Make the store with the batch's positions, as far as they are not there; see `PredictionStore.prepare`."""
    plans = [(position, batch_plan(batch, _zyx(position))) for position in batch.positions]
    batch.store.prepare(plans, progress.check)


def predict_batch(batch: PredictionBatch, outcome: Outcome, progress: Progress, run: BatchRunner | None = None) -> None:
    """Predict a batch that is prepared; `outcome` says at any moment, also after an error, what was done.

    Raises
    ------
    Cancelled, StorageError
        What was finished is on disk, and the same batch goes on from there.
    """
    total = sum(_asked(batch, position).pixels for position in batch.positions) / 1e6
    progress.phase("Predicting", total, "Mpx")

    def attempt() -> None:
        with closing(_Positions(batch, progress)) as opened:
            (run or run_here)(batch, opened, outcome, progress)

    def again() -> None:  # tiles that are no exact parts of the whole did not fit: go on with smaller ones
        nonlocal batch
        batch = replace(batch, existing=Existing.RESUME)
        outcome.positions.clear()
        outcome.warnings.clear()
        outcome.left_out.clear()
        progress.phase("Predicting", total, "Mpx")

    retried_smaller(attempt, again)


class _Positions:
    """The positions of a batch as they are opened: first those that are free, then those that others predicted.

    So that processes which were all told to predict everything share the work. Iterate from one thread.
    """

    def __init__(self, batch: PredictionBatch, progress: Progress) -> None:
        self._batch, self._progress = batch, progress
        self._reading = ThreadPoolExecutor(1, "vstain-content")
        self._open: list[OpenPosition] = []

    def __iter__(self) -> Iterator[OpenPosition | None]:
        """Yield the positions, and None before it waits for another process: end first what is held."""
        busy = []
        for position in self._batch.positions:
            try:
                yield self._opened(position, wait=False)
            except BusyError as error:
                self._progress.note(f"{position.key}: {error.rule}")
                busy.append(position)
        for position in busy:
            yield None
            yield self._opened(position, wait=True)

    def close(self) -> None:
        """Give all locks back."""
        self._reading.shutdown(cancel_futures=True)
        for one in self._open:
            one.store.close()

    def _opened(self, position: Position, *, wait: bool) -> OpenPosition:
        opened = OpenPosition(self._batch, position, self._reading, self._progress.check, wait=wait)
        self._open.append(opened)
        return opened


@dataclass(frozen=True)
class Begun:
    """A position is open: what of it was done before counts as done."""

    work: OpenPosition


@dataclass(frozen=True)
class TileRead:
    """A tile of a position at a timepoint was read and normalized."""

    work: OpenPosition
    t: int
    block: Block


@dataclass(frozen=True)
class Ended:
    """Nothing is left to read of a position, none of whose pixels are damaged."""

    work: OpenPosition


def run_here(
    batch: PredictionBatch, opened: Iterable[OpenPosition | None], outcome: Outcome, progress: Progress
) -> None:
    """Predict on this machine: one thread reads, this one computes, one writes."""
    with writing_behind() as writer, closing(read_ahead(_read(opened, outcome))) as items:
        for item in items:
            progress.check()
            match item:
                case Begun(work):
                    report_done_before(work, progress)
                case Ended(work):
                    writer.submit(partial(finish, work, outcome, progress))
                case TileRead(work, t, block):
                    outputs = batch.predictor.compute(work.plan, block, progress.token)
                    bad = block.owned_bad
                    for tile, values in work.blenders[t].add(block.tile, outputs):
                        writer.submit(partial(work.store.write, t, tile, values, bad))
                        bad = 0
                    megapixels = np.prod(size_of(block.tile.owned)) / 1e6
                    outcome.megapixels += megapixels
                    progress.advance(megapixels)


def report_done_before(work: OpenPosition, progress: Progress) -> None:
    """Advance by what of a position was done before."""
    done_before = _asked(work.batch, work.position).pixels - work.queue.pixels
    progress.advance(max(done_before, 0) / 1e6, work.position.key)


def finish(work: OpenPosition, outcome: Outcome, progress: Progress) -> None:
    """Note that all that was asked of a position is on disk."""
    key, count = work.position.key, work.store.bad_pixels
    caveat = _caveat(work)
    work.store.warnings = [f"{key}: {said}" for said in (*_unlike(work), caveat) if said]
    if count:
        said = f"{key}: {count} pixels are NaN or infinite in a source; they are NaN in the prediction"
        work.store.warnings.append(said)
    if work.wanted:
        work.store.finish()
    work.store.close()
    outcome.positions.append(key)
    outcome.warnings += [*work.store.warnings, *([work.note] if work.note else [])]
    progress.produce(PositionPredicted(key, tuple(work.store.warnings)))


def _caveat(work: OpenPosition) -> str:
    """Return what a position's tiles cost in exactness, at the first timepoint that is predicted."""
    times = range(*work.batch.area.t.indices(work.position.shape[0]))
    if not times or (work.plan.halo == work.batch.predictor.spec.halo and not work.plan.margin):
        return ""
    source = PositionSource(work.position, work.batch.channels, times[0])
    return work.batch.predictor.caveat(work.plan, source, work.scaling(times[0]))


def _unlike(work: OpenPosition) -> list[str]:
    """Return what is unlike the model's training data in a position, at the worst of the time points predicted."""
    times = range(*work.batch.area.t.indices(work.position.shape[0]))
    images = {t: PositionImage(work.position, work.batch.channels, t) for t in times}
    return work.batch.predictor.check(images, work.position.spacing_um)


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


def _read(opened: Iterable[OpenPosition | None], outcome: Outcome) -> Iterator[Begun | TileRead | Ended]:
    """Yield the beginning of each position, what is read of it, and its end, unless its pixels are damaged."""
    for work in opened:
        if work is None:  # what was read is on its way, and ends while this thread waits
            continue
        yield Begun(work)
        for t, tile in work.pieces():
            block = None
            with leaving_out(work.position.key, outcome.left_out, work.batch.strict):
                block = work.block(t, tile)
            if block is None:
                work.given_up = True
                break
            yield TileRead(work, t, block)
        if not work.given_up:
            yield Ended(work)


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


def _asked(batch: PredictionBatch, position: Position) -> TileQueue:
    plan = batch_plan(batch, _zyx(position))
    return TileQueue(plan, in_area(plan, position.shape[0], batch.area))


def _zyx(position: Position) -> ZYX:
    _, _, z, y, x = position.shape
    return z, y, x


def _numbers(scaling: Scaling) -> list[list[float]]:
    """Return offset and divisor of each channel, as they are stored."""
    return [list(pair) for pair in zip(scaling.offset.tolist(), scaling.divisor.tolist(), strict=True)]

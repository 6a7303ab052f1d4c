"""Predict many positions from store to store in bounded memory, reading, computing and writing at the same time."""

from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Protocol

import numpy as np

from napari_vstain.core.data import Position
from napari_vstain.core.errors import BusyError
from napari_vstain.core.inference.image_source import PositionSource
from napari_vstain.core.inference.planner import retried_smaller
from napari_vstain.core.inference.predictor import Block
from napari_vstain.core.inference.recipe import Existing
from napari_vstain.core.inference.to_disk.open_position import (
    OpenPosition,
    PredictionBatch,
    asked_of,
    batch_plan,
    zyx_of,
)
from napari_vstain.core.inference.to_disk.pipeline import read_ahead, writing_behind
from napari_vstain.core.left_out import LeftOut, leaving_out
from napari_vstain.core.novelty import PositionImage
from napari_vstain.core.progress import Progress
from napari_vstain.core.tiling.plan import size_of


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


class BatchRunner(Protocol):
    """Computes and writes what is left of positions: here, or on a cluster."""

    def __call__(
        self, batch: PredictionBatch, opened: Iterable[OpenPosition | None], outcome: Outcome, progress: Progress
    ) -> None: ...


def prepare(batch: PredictionBatch, progress: Progress) -> None:
    """Make the store with the batch's positions, as far as they are not there; see `PredictionStore.prepare`."""
    plans = [(position, batch_plan(batch, zyx_of(position))) for position in batch.positions]
    batch.store.prepare(plans, progress.check)


def predict_batch(batch: PredictionBatch, outcome: Outcome, progress: Progress, run: BatchRunner | None = None) -> None:
    """Predict a batch that is prepared; `outcome` says at any moment, also after an error, what was done.

    Raises
    ------
    Cancelled, StorageError
        What was finished is on disk, and the same batch goes on from there.
    """
    total = sum(asked_of(batch, position).pixels for position in batch.positions) / 1e6
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
    done_before = asked_of(work.batch, work.position).pixels - work.queue.pixels
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

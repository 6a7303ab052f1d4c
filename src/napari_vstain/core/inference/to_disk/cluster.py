"""A batch on dask.distributed: every worker reads, predicts and writes tiles of its own; this process keeps count.

Workers must see the same paths as this process: the dataset, the model file and the store.
"""

from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from napari_vstain.core.arrays import Array
from napari_vstain.core.data import Position, open_dataset
from napari_vstain.core.errors import DependencyError, SettingsError
from napari_vstain.core.files import writing
from napari_vstain.core.inference.image_source import PositionSource
from napari_vstain.core.inference.normalize import Scaling
from napari_vstain.core.inference.predictor import Predictor
from napari_vstain.core.inference.to_disk.batch import (
    Begun,
    Ended,
    Outcome,
    finish,
    report_done_before,
)
from napari_vstain.core.inference.to_disk.open_position import OpenPosition, PredictionBatch
from napari_vstain.core.inference.to_disk.position_store import put_tile
from napari_vstain.core.left_out import leaving_out
from napari_vstain.core.progress import Progress
from napari_vstain.core.tiling.plan import Tile, TilePlan, size_of

ANSWER_S = 10
"""How long a scheduler may take to answer."""
_AHEAD = 2
"""Tiles that wait for each thread of the cluster."""


@dataclass(frozen=True)
class Cluster:
    """Runs a batch on the workers of a dask.distributed scheduler."""

    scheduler: str
    """Its address, like ``tcp://10.0.0.1:8786``."""

    def __call__(
        self, batch: PredictionBatch, opened: Iterable[OpenPosition | None], outcome: Outcome, progress: Progress
    ) -> None:
        """Predict what is left of the positions.

        Raises
        ------
        DependencyError
            When dask.distributed is not installed.
        SettingsError
            When no scheduler answers at the address, or it has no worker.
        """
        with _client(self.scheduler) as client:
            threads = sum(client.nthreads().values())
            if not threads:
                raise SettingsError("scheduler", self.scheduler, "has no worker", "start some: dask worker <address>")
            predictor = batch.predictor.shared(max(min(client.nthreads().values()), 1))
            waiting: deque[tuple[Begun | TileLeft | Ended, Any]] = deque()
            try:
                for item in _pieces(opened):
                    progress.check()
                    if item is None:
                        while waiting:
                            _settle(*waiting.popleft(), outcome, progress)
                        continue
                    future = None
                    if isinstance(item, TileLeft):
                        future = client.submit(_predict_tile, _task(item, predictor), pure=False)
                    waiting.append((item, future))
                    while len(waiting) > _AHEAD * threads:
                        _settle(*waiting.popleft(), outcome, progress)
                while waiting:
                    _settle(*waiting.popleft(), outcome, progress)
            finally:
                client.cancel([future for _, future in waiting if future is not None], force=True)


@dataclass(frozen=True)
class TileLeft:
    """A tile of a position at a timepoint that a worker is to read, predict and write."""

    work: OpenPosition
    t: int
    tile: Tile


def _pieces(opened: Iterable[OpenPosition | None]) -> Iterator[Begun | TileLeft | Ended | None]:
    """Yield the tiles of all positions, so that no worker waits where one ends and the next begins.

    None says that the next position is another process's: what is held has to end first.
    """
    for work in opened:
        if work is None:
            yield None
            continue
        yield Begun(work)
        for t, tile in work.pieces():
            if work.given_up:
                break
            yield TileLeft(work, t, tile)
        yield Ended(work)


def _settle(item: Begun | TileLeft | Ended, future: Any, outcome: Outcome, progress: Progress) -> None:
    """Wait for what was submitted longest ago, and note it."""
    if item.work.given_up:
        return
    match item:
        case Begun(work):
            report_done_before(work, progress)
        case Ended(work):
            finish(work, outcome, progress)
        case TileLeft(work, t, tile):
            already = len(outcome.left_out)
            with leaving_out(work.position.key, outcome.left_out, work.batch.strict):
                _count(work, t, tile, future, outcome, progress)
            work.given_up = len(outcome.left_out) > already


@dataclass(frozen=True)
class _Task:
    """All that a worker needs to predict one tile."""

    predictor: Predictor
    position: Path
    channels: tuple[str, ...]
    t: int
    plan: TilePlan
    tile: Tile
    scaling: Scaling
    array: Path


def _task(left: TileLeft, predictor: Predictor) -> _Task:
    work, t, tile = left.work, left.t, left.tile
    position = work.position
    array = Path(work.batch.store.path) / position.key / "0"
    return _Task(predictor, position.folder, work.batch.channels, t, work.plan, tile, work.scaling(t), array)


@lru_cache(maxsize=64)
def _opened(folder: Path) -> Position:
    (position,) = open_dataset(folder).positions.values()
    return position


def _predict_tile(task: _Task) -> tuple[int, dict[str, Array] | None]:
    """Predict and write a tile, on a worker; return its bad pixels, and what has to be blended instead of written."""
    import zarr

    source = PositionSource(_opened(task.position), task.channels, task.t)
    block = task.predictor.block(source, task.scaling, task.tile)
    outputs = task.predictor.compute(task.plan, block)
    if task.plan.margin:
        return block.owned_bad, outputs
    with writing(task.array):
        put_tile(zarr.open_array(task.array, mode="r+"), task.plan.spec.outputs, task.t, task.tile, outputs)
    return block.owned_bad, None


def _count(work: OpenPosition, t: int, tile: Tile, future: Any, outcome: Outcome, progress: Progress) -> None:
    """Wait for a tile, and say in the store that it is done."""
    while not future.done():
        progress.check()
        _wait(future)
    bad, outputs = future.result()
    if outputs is None:
        work.store.count(t, tile, bad)
    else:
        for owner, values in work.blenders[t].add(tile, outputs):
            work.store.write(t, owner, values, bad)
            bad = 0
    megapixels = float(np.prod(size_of(tile.owned))) / 1e6
    outcome.megapixels += megapixels
    progress.advance(megapixels)


def _wait(future: Any) -> None:
    from distributed import TimeoutError, wait

    try:
        wait([future], timeout=0.2)
    except TimeoutError:
        return


def _client(address: str) -> Any:
    try:
        from distributed import Client
    except ImportError as error:
        remedy = "install it: pip install 'napari-vstain[cluster]'"
        raise DependencyError("scheduler", address, "needs dask.distributed, which is not installed", remedy) from error
    try:
        return Client(address, timeout=ANSWER_S)
    except (OSError, ValueError) as error:
        raise SettingsError("scheduler", address, "does not answer", "start one, or correct the address") from error

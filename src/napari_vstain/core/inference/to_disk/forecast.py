"""What predicting a position will take, from one tile that is computed and thrown away."""

from dataclasses import dataclass

import numpy as np

from napari_vstain.core.inference.image_source import PositionSource
from napari_vstain.core.inference.tile_budget import BYTES_PER_PIXEL
from napari_vstain.core.inference.to_disk.open_position import PredictionBatch, batch_plan
from napari_vstain.core.progress import Progress
from napari_vstain.core.tiling.plan import size_of
from napari_vstain.core.tiling.tile_queue import TileQueue, in_area


@dataclass(frozen=True)
class Forecast:
    """What a position will take, as far as can be told before."""

    position: str
    megapixels: float
    """What is asked for of it, of the input's pixels."""
    memory_bytes: int
    seconds: float
    """On this computer, if nothing else keeps it busy; loading the model comes on top."""


def forecast(batch: PredictionBatch, progress: Progress) -> list[Forecast]:
    """Return what each position of a batch will take; the network is timed on the first tile of the first one."""
    progress.phase("Timing the network", len(batch.positions), "positions")
    speed = _pixels_per_s(batch, progress)
    found = []
    for position in batch.positions:
        times, _, z, y, x = position.shape
        plan = batch_plan(batch, (z, y, x))
        asked = in_area(plan, times, batch.area)
        cost = plan.cost(plan.tile((0, 0, 0)))
        at_once = min(max(cost, batch.predictor.runner.pixels_at_once), cost * int(asked.sum()))
        seconds = cost * int(asked.sum()) / speed
        found.append(Forecast(position.key, TileQueue(plan, asked).pixels / 1e6, at_once * BYTES_PER_PIXEL, seconds))
        progress.advance()
    return found


def _pixels_per_s(batch: PredictionBatch, progress: Progress) -> float:
    """Return how many pixels the network computes in a second, reads included."""
    position = batch.positions[0]
    _, _, z, y, x = position.shape
    plan = batch_plan(batch, (z, y, x))
    tile = plan.tile((0, 0, 0))
    source = PositionSource(position, batch.channels, 0)
    block = batch.predictor.block(source, batch.predictor.scaling(None, source), tile)
    for _ in range(2):  # the first time, memory and threads are set up
        batch.predictor.compute(plan, block, progress.token)
    return batch.predictor.runner.measured.speed or float(np.prod(size_of(tile.owned)))

"""Batches are made ahead on threads, so that a network never waits for an image that fits the memory."""

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

import numpy as np

from napari_vstain.core.arrays import Array
from napari_vstain.core.training.patch_index import PatchIndex, Place, grid_places
from napari_vstain.core.training.patches import PatchReader
from napari_vstain.core.training.tensors import Batch

T = TypeVar("T")


class TrainingBatches:
    """Iterates over one epoch of random batches; the same seed and epoch give the same ones.

    Parameters
    ----------
    index : PatchIndex
        Draws the places of each batch.
    to_batch : callable
        Of patches, (B, C, Z, Y, X).
    epoch : callable
        Returns the number of the epoch that begins.
    learned : callable
        Returns how many batches of that epoch are behind it, when a training goes on in its middle.
    """

    def __init__(
        self,
        reader: PatchReader,
        index: PatchIndex,
        to_batch: Callable[[Array], Batch],
        count: int,
        seed: int,
        epoch: Callable[[], int],
        learned: Callable[[], int] = lambda: 0,
    ) -> None:
        self.reader, self.index, self.to_batch, self.count, self.seed = reader, index, to_batch, count, seed
        self.epoch, self.learned = epoch, learned

    def __len__(self) -> int:
        return self.count

    def __iter__(self) -> Iterator[Batch]:
        # Asked for the first batch: Lightning makes its iterator before it resumes a checkpoint.
        epoch, first = self.epoch(), self.learned()
        makers = (lambda index=index: self._make(epoch, index) for index in range(first, self.count))
        yield from made_ahead(makers, self.reader.settings.prefetch, self.reader.settings.workers)

    def _make(self, epoch: int, index: int) -> Batch:
        random = np.random.default_rng([self.seed, epoch, index])
        places = self.index.draw(self.reader.settings.batch_size, random)
        return self.to_batch(self.reader.batch(places, random))


class ValidationBatches:
    """Iterates over the same patches each time."""

    def __init__(self, reader: PatchReader, to_batch: Callable[[Array], Batch]) -> None:
        self.reader, self.to_batch = reader, to_batch
        settings = reader.settings
        places, size = grid_places(reader.stacks, settings, settings.validation_patches), settings.batch_size
        self.places: list[list[Place]] = [places[start : start + size] for start in range(0, len(places), size)]

    def __len__(self) -> int:
        return len(self.places)

    def __iter__(self) -> Iterator[Batch]:
        makers = (lambda places=places: self.to_batch(self.reader.batch(places)) for places in self.places)
        return made_ahead(makers, self.reader.settings.prefetch, self.reader.settings.workers)


def made_ahead(makers: Iterable[Callable[[], T]], ahead: int, workers: int = 1) -> Iterator[T]:
    """Yield what each maker returns, in order, calling `ahead` of them in advance on `workers` threads; 0 uses none."""
    if ahead == 0:
        yield from (make() for make in makers)
        return
    pool = ThreadPoolExecutor(workers, thread_name_prefix="vstain-patches")
    try:
        waiting: deque[Any] = deque()
        for make in makers:
            waiting.append(pool.submit(make))
            if len(waiting) > ahead:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
    finally:
        pool.shutdown(wait=False, cancel_futures=True)

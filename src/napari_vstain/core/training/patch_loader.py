"""Batches are made ahead on a thread, so that a network never waits for an image that fits the memory."""

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

import numpy as np
import torch
from torch import Tensor

from napari_vstain.core.arrays import Array
from napari_vstain.core.training.patches import PatchReader, Place

T = TypeVar("T")
Batch = dict[str, Tensor]
"""``source`` and ``target``, (B, C, Y, X) or (B, C, Z, Y, X), float32, normalized; ``valid``, bool, shaped as the
target, only when a pixel of the batch is not a number."""


class TrainingBatches:
    """Iterates over one epoch of random batches; the same seed and epoch give the same ones.

    Parameters
    ----------
    epoch : callable
        Returns the number of the epoch that begins.
    learned : callable
        Returns how many batches of that epoch are behind it, when a training goes on in its middle.
    """

    def __init__(
        self,
        reader: PatchReader,
        sources: int,
        count: int,
        seed: int,
        epoch: Callable[[], int],
        learned: Callable[[], int] = lambda: 0,
    ) -> None:
        self.reader, self.sources, self.count, self.seed = reader, sources, count, seed
        self.epoch, self.learned = epoch, learned

    def __len__(self) -> int:
        return self.count

    def __iter__(self) -> Iterator[Batch]:
        # Asked for the first batch: Lightning makes its iterator before it resumes a checkpoint.
        epoch, first = self.epoch(), self.learned()
        makers = (lambda index=index: self._make(epoch, index) for index in range(first, self.count))
        yield from made_ahead(makers, self.reader.settings.prefetch)

    def _make(self, epoch: int, index: int) -> Batch:
        random = np.random.default_rng([self.seed, epoch, index])
        places = self.reader.random_places(self.reader.settings.batch_size, random)
        return to_batch(self.reader.batch(places, random), self.sources)


class ValidationBatches:
    """Iterates over the same patches each time."""

    def __init__(self, reader: PatchReader, sources: int) -> None:
        self.reader, self.sources = reader, sources
        places, size = reader.grid_places(reader.settings.validation_patches), reader.settings.batch_size
        self.places: list[list[Place]] = [places[start : start + size] for start in range(0, len(places), size)]

    def __len__(self) -> int:
        return len(self.places)

    def __iter__(self) -> Iterator[Batch]:
        makers = (lambda places=places: to_batch(self.reader.batch(places), self.sources) for places in self.places)
        return made_ahead(makers, self.reader.settings.prefetch)


def made_ahead(makers: Iterable[Callable[[], T]], ahead: int) -> Iterator[T]:
    """Yield what each maker returns, in order, calling `ahead` of them in advance on one thread; 0 uses none."""
    if ahead == 0:
        yield from (make() for make in makers)
        return
    pool = ThreadPoolExecutor(1, thread_name_prefix="vstain-patches")
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


def to_batch(patches: Array, sources: int) -> Batch:
    """Return patches (B, C, Z, Y, X) as tensors; a stack of one slice loses its Z, NaN becomes 0 and not valid."""
    if patches.shape[2] == 1:
        patches = patches[:, :, 0]
    batch = {}
    finite = np.isfinite(patches)
    if not finite.all():
        known = finite[:, :sources].all(1, keepdims=True) & finite[:, sources:]
        patches = np.where(finite, patches, np.float32(0))
        batch["valid"] = torch.from_numpy(known)
    values = torch.from_numpy(patches)
    return {"source": values[:, :sources], "target": values[:, sources:], **batch}

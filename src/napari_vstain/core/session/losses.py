"""The losses of a training as it goes on, kept for whoever looks at them, also from the middle of it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    import numpy.typing as npt

_SMALLEST = 256


class Series:
    """Points that grow without being copied at every one; one thread adds them, others may look."""

    def __init__(self) -> None:
        self._points = np.empty((2, _SMALLEST))
        self._count = 0

    def add(self, x: float, y: float) -> None:
        """Append a point; one that is not finite is left out."""
        if not np.isfinite(y):
            return
        if self._count == self._points.shape[1]:
            self._points = np.concatenate([self._points, np.empty_like(self._points)], axis=1)
        self._points[:, self._count] = x, y
        self._count += 1

    @property
    def xy(self) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
        """The points, as two views."""
        count = self._count  # before the points: those of a larger array begin alike
        return self._points[0, :count], self._points[1, :count]

    def __len__(self) -> int:
        return self._count


class Losses:
    """Batch, training and validation loss against the epoch; a job's `Record`."""

    def __init__(self) -> None:
        self.series = {name: Series() for name in ("batch", "training", "validation")}

    def take(self, item: Any) -> None:
        """Keep what a training produced: the loss of a batch, or the losses of an epoch."""
        if hasattr(item, "train_loss"):
            self.series["training"].add(item.epoch + 1, item.train_loss)
            if item.validation_loss is not None:
                self.series["validation"].add(item.epoch + 1, item.validation_loss)
        elif hasattr(item, "loss") and item.epoch is not None:
            self.series["batch"].add(item.epoch, item.loss)

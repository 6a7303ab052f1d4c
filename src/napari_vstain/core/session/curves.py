"""The scalars of a training as it goes on, kept for whoever looks at them, also from the middle of it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from napari_vstain.core.training.results import Scalars

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


class Curves:
    """Every scalar of a training against the epoch, by name; a job's `Record`."""

    def __init__(self) -> None:
        self._series: dict[str, Series] = {}

    @property
    def series(self) -> dict[str, Series]:
        """The curves that there are by now, in the order in which they began."""
        return dict(self._series)  # the thread of the training may begin another one meanwhile

    def take(self, item: Any) -> None:
        """Keep the scalars that a training produced; where no epoch is known there is nothing to draw them against."""
        if isinstance(item, Scalars) and item.epoch is not None:
            for name, value in item.values.items():
                self._series.setdefault(name, Series()).add(item.epoch, value)

"""What is left to predict, cell by cell: nearest to what is seen first, neighbours together where none is done."""

from threading import Lock
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from napari_vstain.core.arrays import Mask
from napari_vstain.core.tiling.plan import Tile, TilePlan


class Area(NamedTuple):
    """A part of an array, as slices in pixels: what is seen, or what is to be predicted. All of it by default."""

    t: slice = slice(None)
    z: slice = slice(None)
    y: slice = slice(None)
    x: slice = slice(None)


EVERYTHING = Area()


class TileQueue:
    """The tiles of a plan that are still to be computed, at one or several timepoints. Safe to share between threads.

    Parameters
    ----------
    plan : TilePlan
        Its tiles are the cells.
    wanted : bool array, (T, Z, Y, X) in cells
        Which of them are to be predicted; a blended plan adds their neighbours.
    view : Area
        What the user sees now.
    """

    def __init__(self, plan: TilePlan, wanted: Mask, view: Area = EVERYTHING) -> None:
        self._plan = plan
        self._lock = Lock()
        self._left = _with_neighbours(wanted) if plan.margin else wanted.copy()
        self._order: npt.NDArray[np.intp] | None = None
        self._at = 0
        self._view = view
        self.pixels = self._count()
        """Pixels that are to be predicted in all."""

    def look_at(self, view: Area) -> None:
        """Take what is left from the centre of `view` outward from now on."""
        with self._lock:
            self._view, self._order = view, None

    def take(self, level: int) -> tuple[int, Tile] | None:
        """Return the next timepoint and tile: at most ``2**level`` cells along Y and X, none of them taken before."""
        with self._lock:
            place = self._next()
            if place is None:
                return None
            t, z, y, x = place
            # A larger tile only where all of its cells are left, and only at places that are multiples of its size:
            # so tiles of all levels nest, and no cell is computed twice or left alone between two larger ones.
            while level and not self._whole(t, z, y, x, level):
                level -= 1
            rows, columns = _group(y, level), _group(x, level)
            self._left[t, z, rows, columns] = False
            first = self._plan.tile((z, rows.start, columns.start))
            if level == 0:
                return t, first
            ends = (min(part.stop, n) - 1 for part, n in zip((rows, columns), self._plan.grid[1:], strict=True))
            last = self._plan.tile((z, *ends))
            owned = [slice(a.start, b.stop) for a, b in zip(first.owned, last.owned, strict=True)]
            return t, self._plan.tile_over((owned[0], owned[1], owned[2]), first.index)

    def _whole(self, t: int, z: int, y: int, x: int, level: int) -> bool:
        return bool(self._left[t, z, _group(y, level), _group(x, level)].all())

    def _next(self) -> tuple[int, int, int, int] | None:
        if self._order is None:
            self._order, self._at = self._sorted(), 0
        # Sorted once a view; cells that larger tiles took meanwhile are passed over.
        flat = self._left.reshape(-1)
        while self._at < len(self._order):
            cell = self._order[self._at]
            if flat[cell]:
                t, z, y, x = (int(i) for i in np.unravel_index(cell, self._left.shape))
                return t, z, y, x
            self._at += 1
        return None

    def _sorted(self) -> npt.NDArray[np.intp]:
        """Return the cells left: those seen first, from their centre outward; then other slices, then other times."""
        # lexsort takes the last key first: how far a timepoint is out of view, then a slice, then whether the cell is
        # out of view in the plane. So the slice that is seen is done, from the view outward, before the next begins.
        cells = np.flatnonzero(self._left)
        places = np.unravel_index(cells, self._left.shape)
        distances, hidden = [], []
        for part, place, size, n in zip(
            self._view, places, (1, *self._plan.size), (self._left.shape[0], *self._plan.shape), strict=True
        ):
            start, stop, _ = part.indices(n)
            low, high = place * size, np.minimum((place + 1) * size, n)
            hidden.append(np.maximum(np.maximum(start - high + 1, low - stop + 1), 0))
            distances.append(np.abs((low + high) / 2 - (start + stop) / 2))
        seen = (hidden[2] > 0) | (hidden[3] > 0)
        keys = (distances[2] ** 2 + distances[3] ** 2, distances[1], seen, hidden[1], hidden[0])
        return cells[np.lexsort(keys)]

    def _count(self) -> int:
        """Return the pixels that the cells left own."""
        sizes = [
            np.minimum(size, n - np.arange(count) * size)
            for count, size, n in zip(self._plan.grid, self._plan.size, self._plan.shape, strict=True)
        ]
        volume = sizes[0][:, None, None] * sizes[1][:, None] * sizes[2]
        return int((self._left * volume).sum())


def in_area(plan: TilePlan, times: int, area: Area) -> Mask:
    """Return which cells of a plan, (T, Z, Y, X), an area touches."""
    wanted = np.zeros((times, *plan.grid), bool)
    limits = zip(area, (times, *plan.shape), (1, *plan.size), strict=True)
    wanted[tuple(_touched(part, n, size) for part, n, size in limits)] = True
    return wanted


def _touched(part: slice, n: int, size: int) -> slice:
    start, stop, _ = part.indices(n)
    return slice(start // size, -(-stop // size)) if stop > start else slice(0, 0)


def _with_neighbours(wanted: Mask) -> Mask:
    reached = wanted.copy()
    for axis in (2, 3):
        middle = np.moveaxis(reached.copy(), axis, 0)
        into = np.moveaxis(reached, axis, 0)
        into[1:] |= middle[:-1]
        into[:-1] |= middle[1:]
    return reached


def _group(index: int, level: int) -> slice:
    first = index >> level << level
    return slice(first, first + (1 << level))

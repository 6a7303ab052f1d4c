"""How far tiles are from the whole image that does not fit in memory: an upper estimate, on the image at hand.

The whole cannot be computed, so two things stand in for it, at the places that matter: the darkest, the brightest and
the most textured tile, and the brightest speck. A window as large as memory allows shows what a tile misses near by.
A mosaic, which is the place itself among blocks from all over the image, shows what it misses of the image at large:
a network that looks across an image sees in it what it sees of the whole. A second mosaic has the extremes more than
once, so that the truth lies between the two. The worst place counts.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from math import ceil, isqrt, lcm
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from napari_vstain.core.arrays import CZYX, Array, Region, round_up
from napari_vstain.core.inference.image_source import Source
from napari_vstain.core.models.spec import Dimensions
from napari_vstain.core.tiling.plan import Tile, TilePlan, plan_tiles

Predict = Callable[[TilePlan, Tile, Source], dict[str, Array]]
"""Returns the normalized prediction of a tile's support of a source, by task, (C, Z, Y, X)."""
_Place = tuple[int, int]
"""Y, X, in pixels of the image."""
_LARGEST_PX = 1024
"""Side of the largest window or mosaic: estimating takes seconds, not minutes."""
LEAST_PX = 64 * 64
"""Pixels that must fit in memory at once."""
_SAFETY = 1.5
"""A few places, a few blocks: how much more the error may be."""
_BLOCKS = range(6, 2, -1)
"""Blocks along a side of a mosaic: as many as hold the network's near sight."""


@dataclass(frozen=True)
class Mosaic:
    """Blocks of a source side by side, seen as a source: (C, Z, Y, X)."""

    source: Source
    side: int
    """Of a block, in pixels."""
    places: Sequence[Sequence[_Place]]
    """Where in the source each row's blocks are from."""

    @property
    def shape(self) -> CZYX:
        """Size, (C, Z, Y, X)."""
        channels, depth, _, _ = self.source.shape
        return channels, depth, len(self.places) * self.side, len(self.places[0]) * self.side

    def read(self, region: Region) -> npt.NDArray[Any]:
        """Return the pixels of a region that lies in the mosaic, (C, Z, Y, X)."""
        z, y, x = region
        rows = [self._row(row, z) for row in range(y.start // self.side, -(-y.stop // self.side))]
        first = y.start // self.side * self.side
        whole = np.concatenate(rows, axis=2)
        return whole[:, :, y.start - first : y.stop - first, x]

    def _row(self, row: int, z: slice) -> npt.NDArray[Any]:
        blocks = [self.source.read((z, slice(y, y + self.side), slice(x, x + self.side))) for y, x in self.places[row]]
        return np.concatenate(blocks, axis=3)


class Spot(NamedTuple):
    """Where tiles are compared."""

    origin: _Place
    """First pixel of the block around it."""
    core: Region
    """What is compared."""
    tile: Tile
    """The tile of the plan that predicts it."""


def estimated_error(predict: Predict, plan: TilePlan, source: Source, pixels: int) -> float:
    """Return about the largest relative RMS by which tiles of a plan differ from the whole image.

    Parameters
    ----------
    predict : callable
        As the plan's tiles are predicted.
    pixels : int
        That fit in memory at once.
    """
    lengths = _Lengths.of(plan, source, pixels)
    spots, extremes = _spots(plan, source, lengths)
    tiles = [_cut(predict(plan, spot.tile, source), plan, spot.tile, spot.core) for spot in spots]
    reach = max((lengths.side - lengths.block) // 2 // lengths.stride * lengths.stride, lengths.stride)
    wide = replace(plan, margin=0, halo=(plan.halo[0], reach, reach))
    windows = []
    for spot in spots:
        tile = wide.tile_over(spot.core)
        windows.append(_cut(predict(wide, tile, source), wide, tile, spot.core))
    if plan.exact:  # nothing looks further than the halo that the model asks for: a mosaic would add nothing
        everything = np.concatenate([window.reshape(len(window), -1) for window in windows], axis=1)
        return _SAFETY * _worst(tiles, windows, everything.std(axis=1))
    error, spread = 0.0, None
    for mosaic, slots in _mosaics(source, plan, spots, extremes, lengths):
        shape = (mosaic.shape[1], mosaic.shape[2], mosaic.shape[3])
        y, x = (round_up(n, stride) for n, stride in zip(shape[1:], plan.spec.stride[1:], strict=True))
        once = plan_tiles(shape, plan.spec, (1, y, x), z_step=plan.z_step, halo=plan.halo)
        tile = once.tile_over((lengths.z, slice(0, shape[1]), slice(0, shape[2])))
        made = predict(once, tile, mosaic)
        seen = [
            _cut(made, once, tile, _moved(spot, slot, lengths.block)) for spot, slot in zip(spots, slots, strict=True)
        ]
        spread = _cut(made, once, tile, tile.owned).std(axis=(1, 2, 3)) if spread is None else spread
        error = max(error, _worst(tiles, seen, spread))
    assert spread is not None
    return _SAFETY * max(error, _worst(tiles, windows, spread))


class _Lengths(NamedTuple):
    """How large what is looked at is, in pixels."""

    z: slice
    """The slices that are predicted: the middle one, or the whole stack."""
    stride: int
    side: int
    """Of a window, halo included."""
    block: int
    """Side of a block of a mosaic."""
    blocks: int
    """Blocks along a side of a mosaic."""
    margin: int
    """Of a block, what sees other blocks."""

    @classmethod
    def of(cls, plan: TilePlan, source: Source, pixels: int) -> "_Lengths":
        _, depth, *sizes = source.shape
        stack = plan.spec.dimensions is Dimensions.THREE
        slices = depth + 2 * plan.halo[0] if stack else plan.spec.z_window
        stride, halo = lcm(*plan.spec.stride[1:]), max(plan.spec.halo[1:])
        side = max(min(isqrt(max(pixels // slices, 1)), _LARGEST_PX), 4 * stride)
        inner = max(side - 2 * max(plan.halo[1:]), 3 * stride)
        count = next((n for n in _BLOCKS if inner // n >= 2 * halo + 32), _BLOCKS[-1])
        block = max(min(inner // count, *sizes) // stride * stride, stride)
        margin = min(halo, block // 3)
        return cls(slice(0, depth) if stack else slice(depth // 2, depth // 2 + 1), stride, side, block, count, margin)

    def origin(self, centre: _Place, plan: TilePlan) -> _Place:
        """Return the first pixel of the block around a place: on the stride grid, in the image."""
        y, x = (
            max(min(at - self.block // 2, n - self.block), 0) // self.stride * self.stride
            for at, n in zip(centre, plan.shape[1:], strict=True)
        )
        return y, x


def _spots(plan: TilePlan, source: Source, lengths: _Lengths) -> tuple[list[Spot], list[_Place]]:
    """Return where tiles are compared, and the places of the brightest speck, the brightest and the roughest tile."""
    middle = slice(source.shape[1] // 2, source.shape[1] // 2 + 1)
    seen: list[tuple[float, float, _Place]] = []
    speck, height = (0, 0), -1.0
    for row, column in np.ndindex(plan.grid[1], plan.grid[2]):
        _, y, x = plan.tile((0, row, column)).owned
        values = np.asarray(source.read((middle, y, x)), np.float64)
        values[~np.isfinite(values)] = 0
        centre = ((y.start + y.stop) // 2, (x.start + x.stop) // 2)
        seen.append((float(values.mean()), float(values.std()), centre))
        away = np.abs(values - np.median(values[..., ::8, ::8])).max(axis=(0, 1))
        if away.max() > height:
            height, at = float(away.max()), np.unravel_index(int(away.argmax()), away.shape)
            speck = (y.start + int(at[0]), x.start + int(at[1]))
    lightest, darkest = max(seen)[2], min(seen)[2]
    roughest = max(seen, key=lambda tile: tile[1])[2]
    centres = [speck, lightest, darkest, roughest]
    if plan.exact:
        centres += _beside(speck, plan, lengths.block)
    return [_spot(centre, plan, lengths) for centre in dict.fromkeys(centres)], [speck, lightest, roughest]


def _beside(place: _Place, plan: TilePlan, block: int) -> list[_Place]:
    """Return places at the edges of the neighbouring tiles: they see least of what is at `place`."""
    found = []
    for axis in (0, 1):
        size, n = plan.size[axis + 1], plan.shape[axis + 1]
        first = place[axis] // size * size
        edges = [edge for edge in (first - block // 2, first + size + block // 2) if 0 <= edge < n]
        found += [(edge, place[1]) if axis == 0 else (place[0], edge) for edge in edges]
    return found


def _spot(centre: _Place, plan: TilePlan, lengths: _Lengths) -> Spot:
    origin = lengths.origin(centre, plan)
    row, column = (at // size for at, size in zip(centre, plan.size[1:], strict=True))
    _, y, x = plan.tile((0, row, column)).owned
    tile = plan.tile_over((lengths.z, y, x), (0, row, column))
    inner = []
    for at, part in zip(origin, tile.support[1:], strict=True):
        start, stop = max(at + lengths.margin, part.start), min(at + lengths.block - lengths.margin, part.stop)
        if start >= stop:  # a narrow last tile, of which the middle of the block shows nothing
            start, stop = max(at, part.start), min(at + lengths.block, part.stop)
        inner.append(slice(start, stop))
    return Spot(origin, (lengths.z, inner[0], inner[1]), tile)


def _mosaics(
    source: Source, plan: TilePlan, spots: Sequence[Spot], extremes: Sequence[_Place], lengths: _Lengths
) -> list[tuple[Mosaic, list[_Place]]]:
    """Return two mosaics, and which of their blocks, by row and column, are those of the spots."""
    n, last = lengths.blocks, lengths.blocks - 1
    slots = [(row, column) for row in (n // 4, last - n // 4) for column in (n // 4, last - n // 4)][: len(spots)]
    parts = [
        [((row + 0.5) / n * plan.shape[1], (column + 0.5) / n * plan.shape[2]) for column in range(n)]
        for row in range(n)
    ]
    made = []
    for exaggerated in (False, True):
        places = [[lengths.origin((int(y), int(x)), plan) for y, x in row] for row in parts]
        if exaggerated:
            for index in range(0, n * n, 3):
                places[index // n][index % n] = lengths.origin(extremes[index // 3 % len(extremes)], plan)
        for (row, column), spot in zip(slots, spots, strict=True):
            places[row][column] = spot.origin
        made.append((Mosaic(source, lengths.block, places), slots))
    return made


def _moved(spot: Spot, slot: _Place, block: int) -> Region:
    """Return a spot's core where it is in a mosaic."""
    y, x = (
        slice(part.start - at + index * block, part.stop - at + index * block)
        for part, at, index in zip(spot.core[1:], spot.origin, slot, strict=True)
    )
    return spot.core[0], y, x


def _cut(made: dict[str, Array], plan: TilePlan, tile: Tile, core: Region) -> Array:
    """Return what is predicted of a core, (C, Z, Y, X): of the first output, all slices of the tile."""
    output = plan.spec.outputs[0]
    y, x = (
        slice(ceil(part.start * scale) - ceil(whole.start * scale), ceil(part.stop * scale) - ceil(whole.start * scale))
        for part, whole, scale in zip(core[1:], tile.support[1:], output.scale[1:], strict=True)
    )
    return made[output.task][:, :, y, x]


def _worst(tiles: Sequence[Array], others: Sequence[Array], spread: npt.NDArray[Any]) -> float:
    """Return the largest RMS difference of a spot and channel, over the spread of that channel."""
    differences = [np.sqrt(((a - b) ** 2).mean(axis=(1, 2, 3))) for a, b in zip(tiles, others, strict=True)]
    return float((np.max(differences, axis=0) / np.maximum(spread, 1e-12)).max())

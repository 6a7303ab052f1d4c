"""Cut an image into tiles: each pixel is owned once, and read with a halo, on the network's stride grid.

All lengths are (Z, Y, X), in pixels of the image. A read region may leave the image: what lies beyond is
`tiling.padding`'s reflection, or zeros. Because every tile is read from the stride grid of the whole image,
with its whole halo, a prediction does not depend on how it was tiled, and a region's is the crop of the whole one.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import product

from napari_vstain.core.arrays import ZYX, Region, round_up
from napari_vstain.core.errors import TilingError
from napari_vstain.core.models.spec import Dimensions, ModelSpec, OutputSpec
from napari_vstain.core.tiling.z_windows import centred_starts, covering, window_starts


@dataclass(frozen=True)
class Tile:
    """One unit of inference."""

    index: ZYX
    """Where it is in the plan's grid."""
    read: Region
    """What the network sees: `support` plus the halo; beyond the image it is reflected, or ends there."""
    owned: Region
    """The part of the image whose prediction this tile writes."""
    outputs: dict[str, Region] = field(hash=False)
    """By task, `owned` in pixels of that output."""
    support: Region
    """Where its prediction counts: `owned`, and in a blended plan a margin beyond it."""


@dataclass(frozen=True)
class TilePlan:
    """A grid of tiles over an image; build it with `plan_tiles`."""

    shape: ZYX
    size: ZYX
    """Owned region of a tile; at the far borders it ends with the image."""
    spec: ModelSpec
    margin: int = 0
    """In Y and X, how far neighbours share pixels (a blended plan), else 0."""
    z_step: int = 1
    """Slices from one window to the next (2.5D)."""
    halo: ZYX = (0, 0, 0)

    @property
    def exact(self) -> bool:
        """True when its tiles are exact parts of the whole, given the halo that the model asks for."""
        return exact_on(self.spec, self.shape)

    @property
    def grid(self) -> ZYX:
        """Number of tiles."""
        z, y, x = (math.ceil(n / step) for n, step in zip(self.shape, self.size, strict=True))
        return z, y, x

    def __len__(self) -> int:
        z, y, x = self.grid
        return z * y * x

    def __iter__(self) -> Iterator[Tile]:
        return (self.tile((z, y, x)) for z, y, x in product(*map(range, self.grid)))

    def tile(self, index: ZYX) -> Tile:
        """Return the tile at a place of the grid."""
        z, y, x = (
            slice(i * step, min((i + 1) * step, n)) for i, step, n in zip(index, self.size, self.shape, strict=True)
        )
        return self.tile_over((z, y, x), index)

    def tile_over(self, owned: Region, index: ZYX = (0, 0, 0)) -> Tile:
        """Return the tile that owns any region that begins on the stride grid and ends on it, or with the image."""
        support = (owned[0], self._supported(owned[1], 1), self._supported(owned[2], 2))
        read = (self._read_slices(owned[0]), self._read(support[1], 1), self._read(support[2], 2))
        outputs = {output.task: self.output_region(owned, output) for output in self.spec.outputs}
        return Tile(index, read, owned, outputs, support)

    def intersecting(self, region: Region) -> list[Tile]:
        """Return the tiles that own any pixel of a region, X fastest."""
        ranges = (
            range(max(part.start, 0) // step, math.ceil(min(part.stop, n) / step))
            for part, step, n in zip(region, self.size, self.shape, strict=True)
        )
        return [self.tile((z, y, x)) for z, y, x in product(*ranges)]

    def neighbours(self, tile: Tile) -> list[ZYX]:
        """Return the grid places, its own included, of the tiles whose support reaches into what `tile` owns."""
        reach = 1 if self.margin else 0
        _, rows, columns = self.grid
        z, y, x = tile.index
        return [
            (z, row, column)
            for row in range(max(y - reach, 0), min(y + reach + 1, rows))
            for column in range(max(x - reach, 0), min(x + reach + 1, columns))
        ]

    def windows(self, owned: slice) -> list[int]:
        """Return the first slices of the windows that predict the slices `owned` (2.5D), ascending."""
        window = self.spec.z_window
        if self.projects:
            return centred_starts(owned.start, owned.stop, window)
        starts = window_starts(self.shape[0], window, self.z_step)
        return covering(starts, window, owned.start, owned.stop)

    @property
    def projects(self) -> bool:
        """True when a window of slices gives one slice: the one at its centre."""
        return self.spec.dimensions is Dimensions.WINDOW and self.spec.outputs[0].scale[0] == 0

    def output_shape(self, output: OutputSpec) -> ZYX:
        """Return the whole size of an output, in its own pixels."""
        z, y, x = (part.stop for part in self.output_region(_whole(self.shape), output))
        return z, y, x

    def output_region(self, region: Region, output: OutputSpec) -> Region:
        """Return a region in pixels of an output."""
        scale = output.scale
        z = slice(0, 1) if self._flat(output) else _scaled(region[0], 1 if self.projects else scale[0])
        return z, _scaled(region[1], scale[1]), _scaled(region[2], scale[2])

    def chunks(self, output: OutputSpec) -> tuple[tuple[int, ...], ...]:
        """Return the sizes of the owned regions along each axis, in pixels of an output, as dask wants them."""
        sizes = []
        for axis, count in enumerate(self.grid):
            places = [tuple(i if other == axis else 0 for other in range(3)) for i in range(count)]
            parts = [self.tile((z, y, x)).outputs[output.task][axis] for z, y, x in places]
            sizes.append(tuple(part.stop - part.start for part in parts))
        return tuple(sizes)

    def within_halo(self, read: Region) -> Region:
        """Return a read region without its halo along Y and X."""
        y, x = (slice(part.start + h, part.stop - h) for part, h in zip(read[1:], self.halo[1:], strict=True))
        return read[0], y, x

    def cost(self, tile: Tile) -> int:
        """Return how many pixels the network computes for a tile."""
        z, y, x = size_of(tile.read)
        if self._slides:
            z = len(self.windows(tile.owned[0])) * self.spec.z_window
        return z * y * x

    @property
    def _slides(self) -> bool:
        return self.spec.dimensions is Dimensions.WINDOW

    def _flat(self, output: OutputSpec) -> bool:
        return output.scale[0] == 0 and not self.projects

    def _supported(self, owned: slice, axis: int) -> slice:
        margin, n = self.margin, self.shape[axis]
        return slice(max(owned.start - margin, 0), min(owned.stop + margin, n))

    def _read(self, part: slice, axis: int) -> slice:
        """Return what is read for a part: with its halo, from the grid to the grid, or as far off it as the image."""
        # Poolings start counting where the input starts: a tile that began off the grid of the whole image would pool
        # other pixels together. The far end is kept as far off the grid as the whole image's is, since networks that
        # pad by themselves pad by that rest.
        halo, stride = self.halo[axis], self.spec.stride[axis]
        origin, end = frame(self.shape, self.spec, axis)
        rest = (end - origin) % stride
        start = origin + (part.start - halo - origin) // stride * stride
        stop = origin + rest + round_up(part.stop + halo - origin - rest, stride)
        return slice(start, stop) if self.spec.border == "reflect" else slice(max(start, origin), min(stop, end))

    def _read_slices(self, owned: slice) -> slice:
        if self.spec.dimensions is Dimensions.TWO:
            return owned
        if self._slides:
            starts = self.windows(owned)
            return slice(starts[0], starts[-1] + self.spec.z_window)
        start, stop = frame(self.shape, self.spec, 0)
        return slice(start - self.halo[0], stop + self.halo[0]) if self.spec.border == "reflect" else slice(start, stop)


def plan_tiles(
    shape: ZYX, spec: ModelSpec, size: ZYX, *, margin: int = 0, z_step: int = 1, halo: ZYX | None = None
) -> TilePlan:
    """Return the tiles that cover an image of `shape`, Z, Y, X in pixels.

    Parameters
    ----------
    size : (Z, Y, X)
        Owned region of a tile; Y and X multiples of the stride. A 3D network takes all of Z whatever is asked.
    margin : int
        For networks that are not tile-exact: neighbours are blended over ``2 * margin`` pixels around their
        common border (`blend`); a multiple of the stride, at most half of the tile.
    z_step : int
        2.5D: slices from one window to the next; every slice is the mean over the windows that cover it.
    halo : (Z, Y, X), optional
        Another halo than the model's exact one: a measured, smaller one.

    Raises
    ------
    TilingError
        When the image is empty, or a size is off the stride grid.
    """
    halo = spec.halo if halo is None else halo
    depth, *_ = shape
    if min(shape) < 1:
        raise TilingError("image", shape, "has no pixels", "choose another image")
    for axis, length, stride in zip("YX", size[1:], spec.stride[1:], strict=True):
        if length < 1 or length % stride or margin % stride or 2 * margin > length:
            rule = f"{axis} must be a multiple of the model's stride {stride} px and hold two margins of {margin} px"
            raise TilingError("tile size", length, rule, "choose another tile size")
    if spec.dimensions is Dimensions.WINDOW and len({output.scale[0] == 0 for output in spec.outputs}) > 1:
        raise TilingError("outputs", None, "some keep the slices of a window and some project them", "split the model")
    if spec.dimensions is Dimensions.WINDOW:
        window_starts(depth, spec.z_window, z_step)
    slices = depth if spec.dimensions is Dimensions.THREE else min(max(size[0], 1), depth)
    return TilePlan(shape, (slices, size[1], size[2]), spec, margin, z_step, halo)


def frame(shape: ZYX, spec: ModelSpec, axis: int) -> tuple[int, int]:
    """Return where an image that is predicted whole begins and ends along an axis, in its pixels; without the halo.

    It is longer than the image where a network takes certain sizes only. The stride grid begins where it begins.
    """
    n, stride = shape[axis], spec.stride[axis]
    n = max(n, spec.z_window) if axis == 0 else n
    if spec.border == "zeros":
        before = (round_up(n, stride) - n) // 2
        return -before, round_up(n, stride) - before
    if spec.border == "network" and spec.size_step is not None and n >= stride:
        return 0, round_up(n, spec.size_step[axis])
    return 0, round_up(n, stride)


def exact_on(spec: ModelSpec, shape: ZYX) -> bool:
    """Return True when tiles of an image of this shape can be exact parts of the whole."""
    if spec.border != "network" or spec.exact_step is None:
        return spec.tile_exact
    axes = (0, 1, 2) if spec.dimensions is Dimensions.THREE else (1, 2)
    return spec.tile_exact and all(frame(shape, spec, axis)[1] % spec.exact_step[axis] == 0 for axis in axes)


def size_of(region: Region) -> ZYX:
    """Return a region's size, in pixels."""
    z, y, x = (part.stop - part.start for part in region)
    return z, y, x


def shifted(region: Region, origin: Region) -> Region:
    """Return a region seen from the first pixel of another one."""
    z, y, x = (
        slice(part.start - first.start, part.stop - first.start) for part, first in zip(region, origin, strict=True)
    )
    return z, y, x


def _whole(shape: ZYX) -> Region:
    z, y, x = (slice(0, n) for n in shape)
    return z, y, x


def _scaled(part: slice, scale: float) -> slice:
    return slice(math.ceil(part.start * scale), math.ceil(part.stop * scale))

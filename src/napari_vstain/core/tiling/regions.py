"""Parts of arrays: where a tile's pixels go, and which of them were never measured."""

from typing import Any

import numpy as np
import numpy.typing as npt

from napari_vstain.core.arrays import ZYX, Array, Region
from napari_vstain.core.errors import TilingError
from napari_vstain.core.models.spec import OutputSpec
from napari_vstain.core.tiling.plan import Tile, TilePlan, shifted, size_of


def region_inside(region: tuple[slice, ...] | None, shape: ZYX) -> Region:
    """Return a region, (Y, X) or (Z, Y, X), with its ends spelled out and kept inside the image.

    Raises
    ------
    TilingError
        When it has no pixel of the image.
    """
    parts = (slice(None),) * (3 - len(region or ())) + tuple(region or ())
    z, y, x = (slice(*part.indices(n)[:2]) for part, n in zip(parts, shape, strict=True))
    if min(size_of((z, y, x))) < 1:
        raise TilingError("region", region, f"has no pixel in the image of {shape} px", "draw it inside the image")
    return z, y, x


def put(into: Array, plan: TilePlan, output: OutputSpec, region: Region, tile: Tile, values: Array) -> None:
    """Copy what a tile owns, (C, Z, Y, X), into an array that shows `region` of the image, as far as they meet."""
    frame, owned = plan.output_region(region, output), plan.output_region(tile.owned, output)
    meets = [slice(max(a.start, b.start), min(a.stop, b.stop)) for a, b in zip(frame, owned, strict=True)]
    target = tuple(slice(m.start - a.start, m.stop - a.start) for m, a in zip(meets, frame, strict=True))
    origin = tuple(slice(m.start - b.start, m.stop - b.start) for m, b in zip(meets, owned, strict=True))
    into[(slice(None), *target)] = values[(slice(None), *origin)]


def bad_in_output(plan: TilePlan, tile: Tile, bad: npt.NDArray[np.bool_], output: OutputSpec) -> npt.NDArray[Any]:
    """Return where an output of a tile's support, (Z, Y, X) in its own pixels, shows bad pixels of what it reads.

    A projection is bad where all its slices are.
    """
    frame = plan.output_region(tile.support, output)
    scale = [1 if size_of(frame)[0] == size_of(tile.support)[0] else output.scale[0], *output.scale[1:]]
    if scale[0] == 0:
        slices = shifted(tile.support, tile.read)[0]
        bad, scale = np.asarray(bad[slices].all(axis=0, keepdims=True)), [0, *scale[1:]]
    nearest = [
        ((np.arange(part.start, part.stop) + 0.5) / factor).astype(int) - read.start if factor else np.zeros(1, int)
        for part, factor, read in zip(frame, scale, tile.read, strict=True)
    ]
    return np.asarray(bad[np.ix_(*nearest)])

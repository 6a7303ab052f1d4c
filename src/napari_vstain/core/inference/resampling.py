"""Predict an image of another voxel size at the model's own, in tiles, and bring the prediction back onto its grid.

A tile is read with all that the network needs, brought onto the model's grid, which begins with the image and not
with the tile, predicted, and brought back: so a prediction does not depend on how it was tiled here either.
"""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from napari_vstain.core.arrays import ZYX, Array, Region, round_up
from napari_vstain.core.engines.base import OutOfMemory
from napari_vstain.core.errors import ModelError, SettingsError
from napari_vstain.core.inference.planner import Measured, Planner, too_large
from napari_vstain.core.inference.runner import TileRunner
from napari_vstain.core.models.spec import ModelSpec
from napari_vstain.core.progress import CancelToken
from napari_vstain.core.tiling.plan import Tile, TilePlan, plan_tiles

Factors = tuple[float, float]
"""Pixels of the image in a pixel of the model, along Y and X."""
SAME_SIZE: Factors = (1, 1)


def factors_of(spec: ModelSpec, spacing_um: Sequence[float | None] | None) -> Factors:
    """Return how many pixels of an image of a voxel size, (Z, Y, X), a pixel of the model takes, (Y, X).

    Raises
    ------
    SettingsError
        When the image or the model does not know its voxel size.
    """
    for what, known in (("the dataset's", spacing_um), ("the model's", spec.spacing_um)):
        if known is None:
            rule = f"needs {what} voxel size, which is not known"
            raise SettingsError("resample", True, rule, "give it when you import the images, or leave resample out")
    assert spacing_um is not None
    assert spec.spacing_um is not None
    y, x = (there / here for here, there in zip(spacing_um[1:], spec.spacing_um[1:], strict=True) if here and there)
    return y, x


class ResampledRunner:
    """A step around a runner: it takes images of another voxel size along Y and X, slices as they are.

    Parameters
    ----------
    inner : TileRunner
        At the model's own voxel size.
    factors : (Y, X)
        Pixels of the image in a pixel of the model.

    Raises
    ------
    ModelError
        When an output has other pixels than the model's sources.
    """

    def __init__(self, inner: TileRunner, factors: Factors) -> None:
        if any(output.scale[1:] != (1, 1) for output in inner.spec.outputs):
            rule = "has other pixels than the sources, and cannot be brought back onto the image's"
            raise ModelError("output", inner.spec.name, rule, "leave resample out")
        self.inner, self.factors, self.measured = inner, factors, Measured()
        y, x = (
            math.ceil((halo + 2 * stride + 2) * factor + 2 * max(factor, 1) + 2)
            for halo, stride, factor in zip(inner.spec.halo[1:], inner.spec.stride[1:], factors, strict=True)
        )
        changed: dict[str, Any] = {
            "stride": (inner.spec.stride[0], 1, 1),
            "halo": (inner.spec.halo[0], y, x),
            "border": "reflect",
        }
        if inner.spec.exact_step not in (None, inner.spec.size_step):  # which sizes the model sees is not known here
            changed["tile_exact"] = False
        self.spec = inner.spec.model_copy(update=changed)

    def plan(self, shape: ZYX, tile_px: int | None = None, *, z: int | None = None, z_step: int = 1) -> TilePlan:
        """Return the tiles of an image of `shape`, (Z, Y, X); see `TileRunner.plan`."""
        return self._planner.plan(shape, self.pixels_at_once, tile_px, z, z_step)

    def run(self, plan: TilePlan, tile: Tile, values: Array, token: CancelToken | None) -> dict[str, Array]:
        """Return the normalized prediction of a tile's support, by task, (C, Z, Y, X), on the image's grid."""
        there = self._model_plan(plan)
        rows, columns = (self._owned(tile.support, there, axis) for axis in (1, 2))
        piece = there.tile_over((tile.owned[0], rows, columns), tile.index)
        try:
            made = self.inner.run(there, piece, self._onto_model(values, tile.read, piece.read), token)
        except OutOfMemory:  # of tiles that are no exact parts of the whole: the next plan is smaller
            self.measured.most_px = self._pixels(self.inner.pixels_at_once)
            shrinks = self._planner.can_shrink(plan, self.pixels_at_once)
            raise OutOfMemory if shrinks else too_large(tile) from None
        speed = self.inner.measured.speed
        self.measured.speed = None if speed is None else self._pixels(speed)
        return {task: self._back(output, piece.support, tile.support) for task, output in made.items()}

    @property
    def pixels_at_once(self) -> int:
        """How many pixels of the image may be predicted at once."""
        return self.measured.most_px or self._pixels(self.inner.pixels_at_once)

    @property
    def network_pixels(self) -> int:
        """How many of its own pixels the network may compute at once."""
        return self.inner.network_pixels

    def take_at_once(self, pixels: int) -> None:
        """Cut tiles for so many pixels of the network at once, unless memory allows less than half of them."""
        self.inner.take_at_once(pixels)

    @property
    def _planner(self) -> Planner:
        return Planner(self.inner.engine, self.spec, self.measured)

    def _pixels(self, there: float) -> int:
        """Return how many pixels of the image are as large as some of the model."""
        return max(int(there * self.factors[0] * self.factors[1]), 1)

    def _model_plan(self, plan: TilePlan) -> TilePlan:
        _, *strides = self.inner.spec.stride
        y, x = (max(math.ceil(n / factor), 1) for n, factor in zip(plan.shape[1:], self.factors, strict=True))
        shape: ZYX = (plan.shape[0], y, x)
        size: ZYX = (plan.size[0], round_up(y, strides[0]), round_up(x, strides[1]))
        return plan_tiles(shape, self.inner.spec, size, z_step=plan.z_step)

    def _owned(self, support: Region, there: TilePlan, axis: int) -> slice:
        """Return the pixels of the model that the image's pixels in `support` are between, on the stride grid."""
        factor, stride, n = self.factors[axis - 1], self.inner.spec.stride[axis], there.shape[axis]
        reach = max(1 / factor, 1)
        first = math.floor((support[axis].start + 0.5) / factor - 0.5 - reach)
        last = math.ceil((support[axis].stop - 0.5) / factor - 0.5 + reach)
        start = min(max(first, 0), n - 1) // stride * stride
        return slice(start, min(round_up(max(last + 1, start + 1), stride), n))

    def _onto_model(self, values: Array, read: Region, wanted: Region) -> Array:
        rows, columns = (
            weights(read[axis], wanted[axis], self.factors[axis - 1]).astype(np.float32) for axis in (1, 2)
        )
        return np.ascontiguousarray(rows @ values @ columns.T)

    def _back(self, values: Array, support: Region, wanted: Region) -> Array:
        rows, columns = (
            weights(support[axis], wanted[axis], 1 / self.factors[axis - 1]).astype(np.float32) for axis in (1, 2)
        )
        return np.ascontiguousarray(rows @ values @ columns.T)


def at_model_size(
    images: Mapping[int, Any], spacing_um: Sequence[float | None] | None, factors: Factors, model: ModelSpec
) -> tuple[dict[int, "ResampledImage"], Sequence[float | None] | None]:
    """Return time points, (C, Y, X) or (C, Z, Y, X), and their voxel size, as the model sees them: at its own size."""
    stacks = {t: image if image.ndim == 4 else image[:, None] for t, image in images.items()}
    trained = model.spacing_um
    depth = None if spacing_um is None or trained is None else (spacing_um[0], *trained[1:])
    return {t: ResampledImage(stack, factors) for t, stack in stacks.items()}, depth


class ResampledImage:
    """An image, (C, Z, Y, X), on a grid whose pixels take `factors` of its own; only what is asked for is read."""

    ndim = 4

    def __init__(self, array: Any, factors: Factors) -> None:
        self._array, self._factors = array, factors
        y, x = (max(math.ceil(n / factor), 1) for n, factor in zip(array.shape[2:], factors, strict=True))
        self.shape = (array.shape[0], array.shape[1], y, x)

    def __getitem__(self, place: tuple[int, int, slice, slice]) -> npt.NDArray[Any]:
        channel, z, *region = place
        wanted = [slice(*part.indices(n)[:2]) for part, n in zip(region, self.shape[2:], strict=True)]
        read = [
            _needed(part, factor, n)
            for part, factor, n in zip(wanted, self._factors, self._array.shape[2:], strict=True)
        ]
        pixels = np.asarray(self._array[channel, z, read[0], read[1]], np.float64)
        rows, columns = (weights(a, b, f) for a, b, f in zip(read, wanted, self._factors, strict=True))
        return np.asarray(rows @ pixels @ columns.T)


def weights(given: slice, wanted: slice, factor: float) -> npt.NDArray[np.float64]:
    """Return what each given pixel adds to each wanted one, (wanted, given), where a wanted pixel takes `factor` given.

    Linear interpolation; towards larger pixels, a mean that falls off linearly, so that nothing is aliased. Beyond
    what is given, the nearest that is.
    """
    centres = (np.arange(wanted.start, wanted.stop) + 0.5) * factor - 0.5
    centres = np.clip(centres, given.start, given.stop - 1)
    distances = np.abs(np.arange(given.start, given.stop) - centres[:, None])
    shares = np.maximum(1 - distances / max(factor, 1), 0)
    return np.asarray(shares / shares.sum(axis=1, keepdims=True))


def _needed(wanted: slice, factor: float, n: int) -> slice:
    reach = max(factor, 1)
    first = math.floor((wanted.start + 0.5) * factor - 0.5 - reach)
    last = math.ceil((wanted.stop - 0.5) * factor - 0.5 + reach)
    start = min(max(first, 0), n - 1)
    return slice(start, max(min(last + 1, n), start + 1))

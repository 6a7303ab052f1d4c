"""A network that only runs is measured: how far a change reaches, and which shifts its prediction follows.

What noise does not open is not seen, so that what is measured here is an estimate, and never called exact.
"""

import itertools
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from napari_vstain.core.arrays import Array, round_up
from napari_vstain.core.errors import ModelError
from napari_vstain.core.models.receptive_field.graph_run import Refused
from napari_vstain.core.models.spec import Dimensions

NetworkRun = Callable[[Array], Array]
_LARGEST_STRIDE = 64
_LENGTHS = (256, 512)
_EXACT, _FAINT, _NOTICEABLE = 0.0, 1e-6, 1e-3
"""How much of the output's standard deviation a change may reach beyond the halo."""


@dataclass(frozen=True)
class InputShape:
    """What the graph says of its input."""

    channels: int
    dimensions: Dimensions
    slices: int
    """Of the window in 2.5D, else 0."""


class ShiftProbe:
    """Measures how far a network looks along each axis, and which shifts it follows."""

    def __init__(self, run: NetworkRun, shape: InputShape, path: Path) -> None:
        self._run, self._shape, self._path = run, shape, path
        self._volume = shape.dimensions is Dimensions.THREE
        self._axes = (2, 3) if shape.dimensions is Dimensions.TWO else (2, 3, 4) if self._volume else (3, 4)
        self._across = self._least_side()

    def field(self) -> tuple[tuple[int, int, int], tuple[int, int, int]]:
        """Return stride and halo; lengths are (Z, Y, X)."""
        strides, halos = [1, 1, 1], [0, 0, 0]
        for axis in self._axes:
            place = axis - len(self._base()) + 3
            radius, contained = self._radius(axis)
            strides[place] = self._stride(axis, radius, contained)
            halos[place] = round_up(radius, strides[place])
        return (strides[0], strides[1], strides[2]), (halos[0], halos[1], halos[2])

    def takes(self, axis: int, length: int) -> bool:
        """Return True if an image of this length along an axis, -3 to -1, is taken, and comes back as long."""
        shape = self._base()
        base, shape[axis] = shape[axis], length
        try:
            made = self._run(self._noise(shape)).shape[axis] * base
        except Refused:
            return False
        return bool(made == length * self._outputs(self._noise(self._base())).shape[axis])

    def shapes(self) -> tuple[tuple[int, ...], tuple[int, ...]]:
        """Return the shape of a small image, and of what it becomes.

        Raises
        ------
        ModelError
            When the network takes none, or one twice as large does not become twice as large.
        """
        base = self._base()
        made = self._outputs(self._noise(base))
        doubled = self._outputs(self._noise([*base[:-1], 2 * base[-1]]))
        if doubled.shape[-1] != 2 * made.shape[-1]:
            rule = "gives an image that is smaller than its input by a fixed margin"
            raise ModelError("model", self._path, rule, "export it with padded convolutions")
        return tuple(base), tuple(made.shape)

    def _base(self) -> list[int]:
        depth = [] if self._shape.dimensions is Dimensions.TWO else [self._shape.slices or max(self._across // 2, 16)]
        return [1, self._shape.channels, *depth, self._across, self._across]

    def _least_side(self) -> int:
        """Return the side of a small image that is on the stride grid: of twice the side it makes twice as much."""
        least = 32 if self._volume else 64
        taken = None
        for side in range(least, least + _LARGEST_STRIDE + 1):
            self._across = side
            base = self._base()
            try:
                made = self._run(self._noise(base))
                taken = taken or side
                if self._run(self._noise([*base[:-1], 2 * side])).shape[-1] == 2 * made.shape[-1]:
                    return side
            except Refused:
                continue
        return taken or least

    def _noise(self, shape: Iterable[int], seed: int = 0) -> Array:
        return np.random.default_rng(seed).standard_normal(tuple(shape), dtype=np.float32)

    def _outputs(self, batch: Array) -> Array:
        try:
            return self._run(batch)
        except Refused as error:
            rule = f"cannot be run on an image of {' × '.join(map(str, batch.shape[2:]))} px"
            raise ModelError("model", self._path, rule, "export it with free image sizes") from error

    def _radius(self, axis: int) -> tuple[int, bool]:
        """Return how far a change reaches, in pixels, and whether it ends there."""
        lengths = [round_up(length, self._across) for length in _LENGTHS]
        for length in lengths:
            changes = self._changes(axis, length)
            if (radius := _reach(changes, length, _EXACT)) is not None:
                return radius, True
        if (radius := _reach(changes, length, _FAINT)) is not None:
            return radius, True
        return _reach(changes, length, _NOTICEABLE) or 64, False

    def _changes(self, axis: int, length: int) -> list[tuple[int, bool, Array]]:
        """Return for places along an axis, and both sides, how much a change there changes each output place."""
        shape = self._base()
        shape[axis] = length
        found = []
        # The reach of a network with strides depends on where in its grid a change lies: so at several places. A
        # volume costs much more a run, and is looked at from fewer.
        offsets, seeds = ((0, 1, 3), (0,)) if self._volume else ((0, 1, 2, 3, 5, 7, 13, 31), (0, 1))
        for seed in seeds:
            image, other = self._noise(shape, seed), self._noise(shape, seed + 10)
            before = self._outputs(image)
            for offset, after in itertools.product(offsets, (True, False)):
                place = length // 2 + offset
                # Not one pixel but all on one side becomes another image: what each of them does far away adds up,
                # and the edge of the change still says where the reach begins.
                beyond = np.arange(length) >= place
                mask = (beyond if after else ~beyond).reshape([-1 if a == axis else 1 for a in range(len(shape))])
                difference = np.abs(self._outputs(np.where(mask, other, image)) - before) / before.std()
                found.append((place, after, difference.max(axis=tuple(a for a in range(before.ndim) if a != axis))))
        return found

    def _stride(self, axis: int, radius: int, exact: bool) -> int:
        least = max(self._base()[axis], 2 * radius + 192)
        for stride in range(1, _LARGEST_STRIDE + 1):
            if self._follows(axis, stride, radius, round_up(least, stride), 1e-5 if exact else 0.05):
                return stride
        rule = f"follows no shift of up to {_LARGEST_STRIDE} px, or takes no image of such sizes"
        raise ModelError("model", self._path, rule, "use another model")

    def _follows(self, axis: int, stride: int, radius: int, length: int, tolerance: float) -> bool:
        """Return True if a shift of the input by `stride` shifts the output, and sizes may be off by it."""
        shape = self._base()
        shape[axis] = length + stride
        image = np.moveaxis(self._noise(shape), axis, -1)
        try:
            longer = np.moveaxis(self._run(_back(image, axis)), axis, -1)
            still = np.moveaxis(self._run(_back(image[..., :length], axis)), axis, -1)
            moved = np.moveaxis(self._run(_back(image[..., stride:], axis)), axis, -1)
        except Refused:
            return False
        step = stride * still.shape[-1] / length
        if step != int(step) or longer.shape[-1] - still.shape[-1] != step:
            return False
        first, last = (int(n * still.shape[-1] / length) for n in (radius + 1, length - stride - radius - 1))
        difference = still[..., first + int(step) : last + int(step)] - moved[..., first:last]
        return bool(np.abs(difference).max() <= tolerance * still.std())


def _back(image: Array, axis: int) -> Array:
    return np.ascontiguousarray(np.moveaxis(image, -1, axis))


def _reach(changes: list[tuple[int, bool, Array]], length: int, tolerance: float) -> int | None:
    """Return how far beyond the changed half outputs change by more than `tolerance`; None if up to the border."""
    reach = 0
    for place, after, change in changes:
        touched = np.flatnonzero(change > tolerance) * length / len(change)
        apart = touched[touched < place] if after else touched[touched >= place]
        if apart.size == 0:
            continue
        nearest = apart.min() if after else apart.max()
        if nearest < 1 or nearest >= length - 1 - length / len(change):
            return None
        reach = max(reach, int(np.ceil(place - nearest if after else nearest - place + length / len(change))))
    return reach

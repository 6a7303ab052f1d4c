"""Where tiles are read from: an array or a position, block by block, reflected beyond its borders."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from napari_vstain.core.arrays import CZYX, ZYX, Region
from napari_vstain.core.errors import DatasetError
from napari_vstain.core.tiling.padding import reflected_indices


class Source(Protocol):
    """The source channels of one image, (C, Z, Y, X), in raw units."""

    @property
    def shape(self) -> CZYX: ...

    def read(self, region: Region) -> npt.NDArray[Any]:
        """Return the pixels of a region that lies in the image, (C, Z, Y, X)."""
        ...


@dataclass(frozen=True)
class ArraySource:
    """Anything that slices like a numpy array: numpy, zarr, dask, a memory map; (C, Y, X), (C, Z, Y, X), (T, …)."""

    array: Any
    t: int = 0
    """The timepoint, of an array (T, C, Z, Y, X)."""

    @property
    def shape(self) -> CZYX:
        """Size, (C, Z, Y, X)."""
        c, *sizes = self.array.shape[1:] if self.array.ndim == 5 else self.array.shape
        z, y, x = (1, *sizes) if len(sizes) == 2 else sizes
        return c, z, y, x

    def read(self, region: Region) -> npt.NDArray[Any]:
        """Return the pixels of a region that lies in the image, (C, Z, Y, X)."""
        return np.asarray(self.lazily(region))

    def lazily(self, region: Region) -> Any:
        """Return a region, (C, Z, Y, X), as whatever slicing the array gives."""
        if self.array.ndim == 3:
            return self.array[(slice(None), *region[1:])][:, None]
        key = (slice(None), *region)
        return self.array[(self.t, *key) if self.array.ndim == 5 else key]


class ChannelStack:
    """Arrays of one channel each, seen as one array (T, C, Z, Y, X) of which nothing is copied before it is read.

    Parameters
    ----------
    arrays : sequence
        One for each source channel, all of the same shape; numpy, zarr or dask.
    axes : str
        What their axes are: ``YX``, ``ZYX``, ``TYX`` or ``TZYX``.

    Raises
    ------
    DatasetError
        When the shapes differ, or there are more or fewer axes than named.
    """

    ndim = 5

    def __init__(self, arrays: Sequence[Any], axes: str = "YX") -> None:
        sizes = arrays[0].shape
        for array in arrays:
            if array.shape != sizes or array.ndim != len(axes):
                rule = f"all source channels must have the axes {axes} and the shape {sizes}"
                raise DatasetError("image", array.shape, rule, "choose channels of the same field of view")
        self._arrays, self._axes = tuple(arrays), axes
        t, z, y, x = (sizes[axes.index(axis)] if axis in axes else 1 for axis in "TZYX")
        self.shape = (t, len(arrays), z, y, x)
        self.dtype = np.result_type(*(array.dtype for array in arrays))

    def __getitem__(self, key: tuple[Any, ...]) -> npt.NDArray[Any]:
        t, channels, *region = key
        part = dict(zip("TZYX", (t if isinstance(t, slice) else slice(t, t + 1), *region), strict=True))
        wanted = tuple(part[axis] for axis in self._axes)
        missing = tuple(place for place, axis in enumerate("TZ") if axis not in self._axes)
        pixels = [np.expand_dims(np.asarray(array[wanted]), missing) for array in self._arrays[channels]]
        stack = np.stack(pixels, axis=1)
        return stack if isinstance(t, slice) else stack[0]


@dataclass(frozen=True)
class SourceImage:
    """A source as an array, (C, Z, Y, X), of which one slice of one channel at a time is read, in parts."""

    source: Source
    ndim = 4

    @property
    def shape(self) -> CZYX:
        """Size, (C, Z, Y, X)."""
        return self.source.shape

    def __getitem__(self, place: tuple[int, int, slice, slice]) -> npt.NDArray[Any]:
        channel, z, y, x = place
        return np.asarray(self.source.read((slice(z, z + 1), y, x))[channel, 0])


class PositionReader(Protocol):
    """What is asked of a position of a dataset."""

    @property
    def shape(self) -> tuple[int, int, int, int, int]: ...

    def read(
        self, channels: Sequence[str], t: int = 0, z: slice = ..., y: slice = ..., x: slice = ...
    ) -> npt.NDArray[Any]: ...


@dataclass(frozen=True)
class PositionSource:
    """Some channels of one timepoint of a position, read straight from its store."""

    position: PositionReader
    channels: tuple[str, ...]
    t: int = 0

    @property
    def shape(self) -> CZYX:
        """Size, (C, Z, Y, X)."""
        _, _, z, y, x = self.position.shape
        return len(self.channels), z, y, x

    def read(self, region: Region) -> npt.NDArray[Any]:
        """Return the pixels of a region that lies in the image, (C, Z, Y, X)."""
        z, y, x = region
        return self.position.read(self.channels, t=self.t, z=z, y=y, x=x)


def shown(shape: CZYX, region: Region) -> Region:
    """Return the part of an image, (C, Z, Y, X), that a region shows which may leave it."""
    mirrors = (reflected_indices(part.start, part.stop, n) for part, n in zip(region, shape[1:], strict=True))
    z, y, x = (slice(int(mirror.min()), int(mirror.max()) + 1) for mirror in mirrors)
    return z, y, x


def read_reflected(source: Source, region: Region) -> npt.NDArray[Any]:
    """Return a region, (C, Z, Y, X), that may leave the image; only what it shows of the image is read."""
    inside = shown(source.shape, region)
    block = source.read(inside)
    for axis, (wanted, got, n) in enumerate(zip(region, inside, source.shape[1:], strict=True), 1):
        if wanted != got:
            block = np.take(block, reflected_indices(wanted.start, wanted.stop, n) - got.start, axis)
    return block


def whole(shape: ZYX) -> Region:
    """Return the region of a whole image."""
    z, y, x = (slice(0, n) for n in shape)
    return z, y, x

"""Planes one after the other, however many a file holds: one is in memory at a time where the file's layout allows."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import lru_cache
from itertools import product
from math import prod
from typing import TYPE_CHECKING, cast

import numpy as np

from napari_vstain.core.arrays import Image
from napari_vstain.core.data.readers.tiff.header import TiffHeader, pixel_type
from napari_vstain.core.data.readers.tiff.open_tiff import opened, understood
from napari_vstain.core.data.readers.tiff.tiff_axes import names_of, sizes_of
from napari_vstain.core.errors import DatasetError

if TYPE_CHECKING:
    from tifffile import FileHandle, TiffPageSeries

Index = tuple[int | slice, ...]


def read_planes(header: TiffHeader, channel: int) -> Iterator[tuple[int, int, Image]]:
    """Yield (t, z, plane) of a channel, T slowest; a plane is (Y, X).

    Raises
    ------
    DatasetError
        When the file is damaged, or is not as its header was.
    """
    with _image(header) as read:
        for t, z in product(range(header.shape[0]), range(header.shape[2])):
            yield t, z, read(t, channel, z)


def read_plane(header: TiffHeader, t: int, channel: int, z: int) -> Image:
    """Return one plane, (Y, X); raises as `read_planes` does."""
    with _image(header) as read:
        return read(t, channel, z)


@contextmanager
def _image(header: TiffHeader) -> Iterator[Callable[[int, int, int], Image]]:
    """Yield a function of t, c and z that reads a plane."""
    with opened(header.path, header.stated) as images:
        series = images[header.image] if header.image < len(images) else images[0]
        if sizes_of(series, header.path, header.stated) != header.shape or series.dtype is None:
            raise _changed(header)
        if pixel_type(series, header.path) != header.dtype:
            raise _changed(header)
        names = names_of(series, header.path, header.stated)
        array = _array(series, names)

        def read(t: int, c: int, z: int) -> Image:
            place = {"T": t, "C": c, "Z": z, "": 0}
            with understood(header.path):
                plane = array(tuple(place.get(name, slice(None)) for name in names))
            upright = plane if names.index("Y") < names.index("X") else plane.T
            return np.ascontiguousarray(upright, header.dtype.newbyteorder("="))

        yield read


def _changed(header: TiffHeader) -> DatasetError:
    return DatasetError("file", header.path, "changed while it was imported", "import it again")


def _array(series: "TiffPageSeries", names: tuple[str, ...]) -> Callable[[Index], Image]:
    """Return a function that reads part of a series: a stretch of the file, or decoded page by page."""
    if series.dataoffset is not None and names[-2:] == ("Y", "X"):
        return _by_stretch(series, series.dataoffset)
    for split in range(series.ndim):
        across, within = series.shape[:split], series.shape[split:]
        if set(names[:split]) & {"Y", "X"}:  # a page holds no whole plane
            break
        if prod(across) == len(series.pages) and prod(within) == series.keyframe.size:
            return _by_page(series, split)
    if series.dataoffset is not None:
        dtype = np.dtype(series.dtype).newbyteorder(series.parent.byteorder)
        mapped = series.parent.filehandle.memmap_array(dtype, series.shape, series.dataoffset)
        return lambda index: np.asarray(mapped[index])
    whole = series.asarray()
    return lambda index: np.asarray(whole[index])


def _by_stretch(series: "TiffPageSeries", start: int) -> Callable[[Index], Image]:
    """Return a function that reads a plane of a series whose planes follow each other in the file as they are."""
    dtype = np.dtype(series.dtype).newbyteorder(series.parent.byteorder)
    count = prod(series.shape[-2:])

    def read(index: Index) -> Image:
        offset = start + _number(index[:-2], series.shape[:-2]) * count * dtype.itemsize
        return np.reshape(series.parent.filehandle.read_array(dtype, count, offset), series.shape[-2:])

    return read


def _by_page(series: "TiffPageSeries", split: int) -> Callable[[Index], Image]:
    """Return a function that reads part of a series whose first `split` axes count the pages."""

    @lru_cache(1)  # planes that follow each other may lie in one page
    def page(number: int) -> Image:
        there = series.pages[number]
        assert there is not None  # it was opened as a whole
        with _open(there.parent.filehandle):
            return np.reshape(there.asarray(), series.shape[split:])

    def read(index: Index) -> Image:
        return np.asarray(page(_number(index[:split], series.shape[:split]))[index[split:]])

    return read


def _number(index: Index, sizes: tuple[int, ...]) -> int:
    """Return the number of a place among all, the last axis fastest."""
    return sum(cast(int, at) * prod(sizes[axis + 1 :]) for axis, at in enumerate(index))


@contextmanager
def _open(handle: "FileHandle") -> Iterator[None]:
    """Have a file open; those of a series that is spread over several are closed between two planes."""
    closed = handle.closed
    if closed:
        handle.open()
    try:
        yield
    finally:
        if closed:
            handle.close()

"""The pixels of one resolution level: any stored axes read as TCZYX, straight from zarr."""

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from functools import cached_property
from itertools import product
from math import prod
from pathlib import Path
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import numpy as np

from napari_vstain.core.arrays import TCZYX, Image
from napari_vstain.core.data.ngff_axes import AXES
from napari_vstain.core.data.zarr_groups import check_codecs
from napari_vstain.core.errors import DatasetError
from napari_vstain.core.files import reading

if TYPE_CHECKING:
    import zarr

PixelWriter = Callable[[Image, Sequence[int]], None]
"""Writes pixels, (T, C, Z, Y, X), from a start on."""
PENDING = 16
"""Chunks that wait to be written while the next are made."""
MOST_BYTES = 2**50
"""No image is larger: one that says so was written over."""


class Pixels:
    """An array on disk that looks as if it had all five axes.

    Parameters
    ----------
    path : Path
        The zarr array.
    axes : str
        The axes that are stored, in their order: a subset of ``tczyx``.
    """

    def __init__(self, path: Path, axes: str) -> None:
        self.path = path
        self.axes = axes

    @cached_property
    def array(self) -> "zarr.Array[Any]":
        """The zarr array itself, read-only."""
        import zarr

        with reading("image", self.path, "cannot be opened"):
            if not self.path.is_dir():
                raise DatasetError("image", self.path, "is not there", "restore it from a copy")
            check_codecs(self.path)
            array = zarr.open_array(self.path, mode="r")
            _check_array(array, self.path, self.axes)
        return array

    @property
    def shape(self) -> TCZYX:
        """Sizes in pixels, (T, C, Z, Y, X)."""
        return self._filled(self.array.shape)

    @property
    def chunks(self) -> TCZYX:
        """Sizes of a chunk, (T, C, Z, Y, X)."""
        return self._filled(self.array.chunks)

    @property
    def dtype(self) -> np.dtype[Any]:
        """The type of a pixel, in this machine's order of bytes; 0 and 1 where the store has False and True."""
        dtype: np.dtype[Any] = np.dtype(self.array.dtype).newbyteorder("=")
        return np.dtype(np.uint8) if dtype.kind == "b" else dtype

    @property
    def ndim(self) -> int:
        """Always 5."""
        return len(AXES)

    def __getitem__(self, place: Sequence[slice | int]) -> Image:
        """Return the pixels in a region of five slices, with all five axes; a number, as dask fuses it, drops its own.

        Raises
        ------
        DatasetError
            When a chunk is damaged. A chunk that is not there reads as the fill value.
        """
        region = [part if isinstance(part, slice) else slice(part, part + 1) for part in place]
        by_axis = dict(zip(AXES, region, strict=True))
        array = self.array
        with reading("image", self.path, "has pixels that cannot be read"):
            stored = np.asarray(array[tuple(by_axis[axis] for axis in self.axes)], self.dtype)
        whole = self._canonical(stored, region)
        return whole[tuple(slice(None) if isinstance(part, slice) else 0 for part in place)]

    def __dask_tokenize__(self) -> str:
        """Never equal to another's: what is on disk may have changed since."""
        return uuid4().hex

    def _canonical(self, stored: Image, region: Sequence[slice]) -> Image:
        if self.axes == AXES:
            return stored
        order = sorted(range(len(self.axes)), key=lambda axis: AXES.index(self.axes[axis]))
        missing = [index for index, axis in enumerate(AXES) if axis not in self.axes]
        whole = np.expand_dims(stored.transpose(order), missing)
        return whole[tuple(part if index in missing else slice(None) for index, part in enumerate(region))]

    def _filled(self, values: Sequence[int]) -> TCZYX:
        by_axis = dict(zip(self.axes, values, strict=True))
        t, c, z, y, x = (int(by_axis.get(axis, 1)) for axis in AXES)
        return t, c, z, y, x


def write_pixels(array: "zarr.Array[Any]", pixels: Image, start: Sequence[int] = (0, 0, 0, 0, 0)) -> None:
    """Write pixels, (T, C, Z, Y, X), from `start` on; see `writing_pixels`."""
    with writing_pixels(array) as write:
        write(pixels, start)


@contextmanager
def writing_pixels(array: "zarr.Array[Any]") -> Iterator[PixelWriter]:
    """Yield a function that writes while its caller makes the next pixels; no two calls may share a chunk.

    When the block ends, well or not, nothing is being written any more. (Assigned at once, zarr 3 goes on writing the
    other chunks after one has failed, and brings a folder back that was deleted meanwhile.) An error is raised by a
    later call, or at the end.

    Parameters
    ----------
    array : zarr.Array
        A position's array, (T, C, Z, Y, X).
    """
    with ThreadPoolExecutor(thread_name_prefix="vstain-write") as pool:
        pending: deque[Future[None]] = deque()

        def write(pixels: Image, start: Sequence[int]) -> None:
            for place in _by_chunk(start, pixels.shape, array.chunks):
                part = pixels[tuple(slice(s.start - n, s.stop - n) for s, n in zip(place, start, strict=True))]
                if len(pending) == PENDING:
                    pending.popleft().result()
                pending.append(pool.submit(array.__setitem__, place, part))

        try:
            yield write
            for one in pending:
                one.result()
        finally:
            for one in pending:
                one.cancel()


def _by_chunk(start: Sequence[int], sizes: Sequence[int], chunks: Sequence[int]) -> Iterator[tuple[slice, ...]]:
    """Yield the parts of a region that lie in one chunk each."""

    def along(first: int, size: int, chunk: int) -> list[slice]:
        stop = first + size
        edges = [first, *range(first - first % chunk + chunk, stop, chunk), stop]
        return list(map(slice, edges, edges[1:]))

    yield from product(*map(along, start, sizes, chunks))


def _check_array(array: "zarr.Array[Any]", path: Path, axes: str) -> None:
    """Raise DatasetError for an array that is no image of grey values with these axes."""
    if array.ndim != len(axes):
        rule = f"has {array.ndim} axes, but the metadata names {', '.join(axes)}"
        raise DatasetError("image", path, rule, "correct the metadata")
    dtype = np.dtype(array.dtype)
    if dtype.kind not in "buif":
        raise DatasetError("image", path, f"has pixels of type {dtype}, which are no grey values", "convert it")
    if not all(array.shape):
        raise DatasetError("image", path, f"is empty: its sizes are {_sizes(array.shape)}", "choose another one")
    if prod(array.shape) * dtype.itemsize > MOST_BYTES:
        rule = f"says that it has {_sizes(array.shape)} pixels, which cannot be"
        raise DatasetError("image", path, rule, "restore its metadata from a copy")


def _sizes(shape: Sequence[int]) -> str:
    return " × ".join(map(str, shape))

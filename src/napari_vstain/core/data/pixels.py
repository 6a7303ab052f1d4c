"""The pixels of one resolution level: any stored axes read as TCZYX, straight from zarr."""

import zlib
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from functools import cached_property
from itertools import product
from pathlib import Path
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import numpy as np
import numpy.typing as npt

from napari_vstain.core.data.ngff import AXES
from napari_vstain.core.errors import DatasetError

if TYPE_CHECKING:
    import zarr

TCZYX = tuple[int, int, int, int, int]
Image = npt.NDArray[Any]
PixelWriter = Callable[[Image, Sequence[int]], None]
"""Writes pixels, (T, C, Z, Y, X), from a start on."""
PENDING = 16
"""Chunks that wait to be written while the next are made."""
_DAMAGED = (OSError, RuntimeError, ValueError, EOFError, TypeError, KeyError, zlib.error)
"""What zarr and its codecs raise for metadata or a chunk that is cut short or overwritten."""


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

        if not self.path.is_dir():
            raise DatasetError("image", self.path, "is not there", "restore it from a copy")
        try:
            array = zarr.open_array(self.path, mode="r")
        except _DAMAGED as error:
            raise DatasetError("image", self.path, f"cannot be opened ({_short(error)})", "restore it") from error
        if array.ndim != len(self.axes):
            rule = f"has {array.ndim} axes, but the metadata names {', '.join(self.axes)}"
            raise DatasetError("image", self.path, rule, "correct the metadata")
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
        """The type of a pixel."""
        dtype: np.dtype[Any] = np.dtype(self.array.dtype)
        return dtype

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
        try:
            stored = np.asarray(self.array[tuple(by_axis[axis] for axis in self.axes)])
        except _DAMAGED as error:
            rule = f"has pixels that cannot be read ({_short(error)})"
            raise DatasetError("image", self.path, rule, "restore it from a copy") from error
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


def _short(error: BaseException) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0]

"""TIFF files of any writer, seen as (T, C, Z, Y, X): the header first, the pixels when they are asked for."""

import struct
import xml.etree.ElementTree as ElementTree
import zlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_vstain.core.data.ngff import METRES, ZYX
from napari_vstain.core.data.pixels import TCZYX, Image
from napari_vstain.core.errors import DatasetError, DependencyError

if TYPE_CHECKING:
    from tifffile import TiffFile, TiffPageSeries

_AXES = "TCZYX"
_DAMAGED = (OSError, ValueError, RuntimeError, TypeError, IndexError, KeyError, EOFError, struct.error, zlib.error)
"""What tifffile and its codecs raise for a file that is no TIFF, or is cut short."""


@dataclass(frozen=True)
class TiffHeader:
    """What a TIFF says of its first image series."""

    path: Path
    shape: TCZYX
    """Sizes in pixels, (T, C, Z, Y, X)."""
    dtype: np.dtype[Any]
    channels: tuple[str, ...]
    """Channel names, when the file gives all of them."""
    spacing_um: ZYX | None
    """Size of a voxel, (Z, Y, X), when the file gives it in a unit of length."""


def read_header(path: Path) -> TiffHeader:
    """Return the header.

    Raises
    ------
    DatasetError
        When the file is no TIFF, is damaged, or is a colour image.
    """
    with _opened(path) as file:
        series = file.series[0]
        shape = tuple(_sizes(series, path).get(axis, 1) for axis in _AXES)
        if series.dtype is None or series.dtype.kind not in "uifb":
            raise DatasetError("file", path, f"has pixels of type {series.dtype}", "convert it to grey values")
        channels, spacing = _names_and_spacing(file, shape[1])
        t, c, z, y, x = shape
        return TiffHeader(path, (t, c, z, y, x), series.dtype, channels, spacing)


def read_pixels(path: Path) -> Image:
    """Return the first image series, (T, C, Z, Y, X).

    Raises
    ------
    DatasetError
        When the file is no TIFF, or is damaged.
    """
    with _opened(path) as file:
        series = file.series[0]
        sizes = _sizes(series, path)
        stored = series.asarray().reshape(tuple(sizes.values()))
        order = sorted(range(len(sizes)), key=lambda index: _AXES.index(list(sizes)[index]))
        missing = [index for index, axis in enumerate(_AXES) if axis not in sizes]
        return np.expand_dims(stored.transpose(order), missing)


@contextmanager
def _opened(path: Path) -> "Iterator[TiffFile]":
    from tifffile import TiffFile

    try:
        with TiffFile(path) as file:
            if not file.series:
                raise ValueError("it holds no image")
            yield file
    except DatasetError:
        raise
    except _DAMAGED as error:
        text = (str(error).splitlines() or [type(error).__name__])[0]
        if "imagecodecs" in text:
            rule = "is compressed in a way that needs the package imagecodecs"
            raise DependencyError("file", path, rule, "run `pip install imagecodecs`") from error
        rule = f"is no TIFF that can be read ({text.removeprefix('<tifffile.TiffFile> ')})"
        raise DatasetError(
            "file", path, rule, "check the file, or narrow the pattern so that it is left out"
        ) from error


def _sizes(series: "TiffPageSeries", path: Path) -> dict[str, int]:
    """Return the stored axes in their order, named by TCZYX, with their sizes; unnamed ones of size 1 are dropped."""
    axes = dict(zip(series.axes, series.shape, strict=True))
    if axes.get("S", 1) > 1 and series.keyframe.photometric.name in ("RGB", "YCBCR", "PALETTE"):
        raise DatasetError("file", path, "is a colour image", "split its channels into grey images")
    sizes: dict[str, int] = {}
    for axis, size in axes.items():
        name = _known(axis, axes)
        if name in sizes:
            raise DatasetError("file", path, f"has the axes {series.axes}, which is unclear", "save it as OME-TIFF")
        if name:
            sizes[name] = size
        elif size > 1:
            raise DatasetError("file", path, f"has an unknown axis {axis} of {size}", "save it as OME-TIFF")
    return sizes


def _known(axis: str, axes: Mapping[str, int]) -> str:
    if axis in _AXES:
        return axis
    if axes[axis] == 1:
        return ""
    if axis == "S" and "C" not in axes:
        return "C"
    return "Z" if axis in "IQ" and "Z" not in axes else ""


def _names_and_spacing(file: "TiffFile", channels: int) -> tuple[tuple[str, ...], ZYX | None]:
    if file.is_ome and file.ome_metadata:
        names, spacing = _of_ome(file.ome_metadata)
        return (names if len(names) == channels and all(names) else ()), spacing
    if file.is_imagej:
        return (), _of_imagej(file)
    return (), None


def _of_ome(text: str) -> tuple[tuple[str, ...], ZYX | None]:
    try:
        pixels = ElementTree.fromstring(text).find(".//{*}Pixels")
    except ElementTree.ParseError:
        return (), None
    if pixels is None:
        return (), None
    names = tuple(channel.get("Name", "") for channel in pixels.findall("{*}Channel"))
    z, y, x = (
        _length(pixels.get(f"PhysicalSize{axis}"), pixels.get(f"PhysicalSize{axis}Unit", "µm")) for axis in "ZYX"
    )
    return names, None if y is None or x is None else (z or 1.0, y, x)


def _of_imagej(file: "TiffFile") -> ZYX | None:
    known = file.imagej_metadata or {}
    unit = str(known.get("unit", "")).replace("\\u00B5", "µ")
    tags = file.pages[0].tags
    if unit not in METRES or not {"XResolution", "YResolution"} <= {tag.name for tag in tags}:
        return None
    y, x = (_inverse(tags[f"{axis}Resolution"].value) for axis in "YX")
    if y is None or x is None:
        return None
    return float(known.get("spacing", 1.0 / METRES[unit])) * METRES[unit], y * METRES[unit], x * METRES[unit]


def _inverse(ratio: tuple[int, int]) -> float | None:
    return ratio[1] / ratio[0] if ratio[0] > 0 and ratio[1] > 0 else None


def _length(value: str | None, unit: str) -> float | None:
    try:
        length = float(value or 0) * METRES[unit]
    except (KeyError, ValueError):
        return None
    return length if length > 0 else None

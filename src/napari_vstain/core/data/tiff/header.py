"""What a TIFF says of its first image series: sizes, channel names, and the size of a voxel."""

import xml.etree.ElementTree as ElementTree
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_vstain.core.data.lengths import Spacing, length
from napari_vstain.core.data.pixels import TCZYX
from napari_vstain.core.data.tiff.axes import sizes_of
from napari_vstain.core.data.tiff.opening import opened
from napari_vstain.core.errors import DatasetError

if TYPE_CHECKING:
    from tifffile import TiffFile


@dataclass(frozen=True)
class TiffHeader:
    """What a TIFF says of its first image series."""

    path: Path
    shape: TCZYX
    """Sizes in pixels, (T, C, Z, Y, X)."""
    dtype: np.dtype[Any]
    channels: tuple[str, ...]
    """Channel names, when the file gives all of them, each another."""
    spacing_um: Spacing | None
    """Size of a voxel, (Z, Y, X), when the file gives it in a unit of length."""


def read_header(path: Path) -> TiffHeader:
    """Return the header.

    Raises
    ------
    DatasetError
        When the file is no TIFF, is damaged or cut short, or is a colour image.
    """
    with opened(path) as series:
        t, c, z, y, x = sizes_of(series, path)
        if series.dtype is None or series.dtype.kind not in "uifb":
            raise DatasetError("file", path, f"has pixels of type {series.dtype}", "convert it to grey values")
        channels, spacing = _names_and_spacing(series.parent, c)
        return TiffHeader(path, (t, c, z, y, x), series.dtype, channels, spacing)


def _names_and_spacing(file: "TiffFile", channels: int) -> tuple[tuple[str, ...], Spacing | None]:
    if file.is_ome and file.ome_metadata:
        names, spacing = _of_ome(file.ome_metadata)
        tell_apart = all(names) and len(set(names)) == channels == len(names)
        return (names if tell_apart else ()), spacing
    if file.is_imagej:
        return (), _of_imagej(file)
    return (), None


def _of_ome(text: str) -> tuple[tuple[str, ...], Spacing | None]:
    try:
        pixels = ElementTree.fromstring(text).find(".//{*}Pixels")
    except ElementTree.ParseError:
        return (), None
    if pixels is None:
        return (), None
    names = tuple(channel.get("Name", "") for channel in pixels.findall("{*}Channel"))
    z, y, x = (length(pixels.get(f"PhysicalSize{axis}"), pixels.get(f"PhysicalSize{axis}Unit", "µm")) for axis in "ZYX")
    return names, None if y is None or x is None else (z, y, x)


def _of_imagej(file: "TiffFile") -> Spacing | None:
    """Return the voxel size: each axis may have a unit of its own, and X's counts where it has none."""
    known = file.imagej_metadata or {}
    tags = {tag.name: tag.value for tag in file.pages[0].tags}
    y, x = (
        length(_inverse(tags.get(f"{axis}Resolution")), known.get(f"{axis.lower()}unit", known.get("unit")))
        for axis in "YX"
    )
    if y is None or x is None:
        return None
    return length(known.get("spacing"), known.get("zunit", known.get("unit"))), y, x


def _inverse(ratio: object) -> float | None:
    """Return the length of a pixel from the pixels in a length, a fraction."""
    above, below = ratio if isinstance(ratio, tuple) and len(ratio) == 2 else (0, 0)
    return below / above if above > 0 and below > 0 else None

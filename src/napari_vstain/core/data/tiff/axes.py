"""The axes of a TIFF series, named by TCZYX."""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from napari_vstain.core.data.pixels import TCZYX
from napari_vstain.core.errors import DatasetError

if TYPE_CHECKING:
    from tifffile import TiffPageSeries

_AXES = "TCZYX"


def sizes_of(series: "TiffPageSeries", path: Path) -> TCZYX:
    """Return the sizes of a series in pixels, (T, C, Z, Y, X).

    Raises
    ------
    DatasetError
        When it is a colour image, or an axis is unclear.
    """
    sizes = dict(zip(names_of(series, path), series.shape, strict=True))
    t, c, z, y, x = (sizes.get(axis, 1) for axis in _AXES)
    return t, c, z, y, x


def names_of(series: "TiffPageSeries", path: Path) -> tuple[str, ...]:
    """Return the stored axes in their order, each one of TCZYX; "" for one of size 1 that is none of these."""
    axes = dict(zip(series.axes, series.shape, strict=True))
    if axes.get("S", 1) > 1 and series.keyframe.photometric.name in ("RGB", "YCBCR", "PALETTE"):
        raise DatasetError("file", path, "is a colour image", "split its channels into grey images")
    names: list[str] = []
    for axis, size in zip(series.axes, series.shape, strict=True):
        name = _known(axis, axes)
        if name and name in names:
            raise DatasetError("file", path, f"has the axes {series.axes}, which is unclear", "save it as OME-TIFF")
        if not name and size > 1:
            raise DatasetError("file", path, f"has an unknown axis {axis} of {size}", "save it as OME-TIFF")
        names.append(name)
    return tuple(names)


def _known(axis: str, axes: Mapping[str, int]) -> str:
    if axis in _AXES:
        return axis
    if axes[axis] == 1:
        return ""
    if axis == "S" and "C" not in axes:
        return "C"
    return "Z" if axis in "IQ" and "Z" not in axes else ""

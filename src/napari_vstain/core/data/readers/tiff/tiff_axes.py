"""The axes of a TIFF series, named by TCZYX: as the file says, or as a person states."""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from napari_vstain.core.arrays import TCZYX
from napari_vstain.core.data.readers.stated import Stated
from napari_vstain.core.errors import DatasetError

if TYPE_CHECKING:
    from tifffile import TiffPageSeries

_AXES = "TCZYX"
_COLOURS = ("RGB", "YCBCR", "CIELAB", "ICCLAB", "ITULAB", "SEPARATED")
NARROW_PX = 4
"""Pages that are no wider than this and much higher hold channels last, more likely than an image."""


def sizes_of(series: "TiffPageSeries", path: Path, stated: Stated) -> TCZYX:
    """Return the sizes of a series in pixels, (T, C, Z, Y, X).

    Raises
    ------
    DatasetError
        When it is a colour image, or an axis is unclear.
    """
    sizes = dict(zip(names_of(series, path, stated), series.shape, strict=True))
    t, c, z, y, x = (sizes.get(axis, 1) for axis in _AXES)
    return t, c, z, y, x


def names_of(series: "TiffPageSeries", path: Path, stated: Stated) -> tuple[str, ...]:
    """Return the stored axes in their order, each one of TCZYX; "" for one of size 1 that is none of these."""
    if stated.axes:
        return _as_stated(series, path, stated.axes)
    axes = dict(zip(series.axes, series.shape, strict=True))
    if not stated.grey and axes.get("S", 1) > 1 and series.keyframe.photometric.name in _COLOURS:
        remedy = "split its channels into grey images, or import it with `grey_channels` if they are grey"
        raise DatasetError("file", path, "is a colour image", remedy)
    remedy = "state its axes at import (`axes`), or save it as OME-TIFF"
    names: list[str] = []
    for axis, size in zip(series.axes, series.shape, strict=True):
        name = _known(axis, axes)
        if name and name in names:
            raise DatasetError("file", path, f"has the axes {series.axes}, which is unclear", remedy)
        if not name and size > 1:
            raise DatasetError("file", path, f"has an unknown axis {axis} of {size}", remedy)
        names.append(name)
    if not {"Y", "X"} <= set(names):
        raise DatasetError("file", path, f"has the axes {series.axes}, which are no image", remedy)
    if axes["X"] <= NARROW_PX < axes["Y"] and any(axes.get(axis, 1) > NARROW_PX for axis in "IQ"):
        pages = max(axes.get(axis, 1) for axis in "IQ")
        rule = f"holds {pages} pages of {axes['Y']} × {axes['X']} px, which is unlikely: its channels may come last"
        raise DatasetError("file", path, rule, "state the axes (`axes`): YXC if they do, ZYX if it is a stack")
    return tuple(names)


def _as_stated(series: "TiffPageSeries", path: Path, axes: str) -> tuple[str, ...]:
    """Return the axes that a person states; those of size 1 may be left out."""
    if len(axes) == series.ndim:
        return tuple(axes)
    longer = [size for size in series.shape if size > 1]
    if len(axes) != len(longer):
        sizes = " × ".join(map(str, longer))
        rule = f"has {len(longer)} axes longer than 1 ({sizes}), and {axes} names {len(axes)}"
        raise DatasetError("file", path, rule, "correct the axes")
    left = iter(axes)
    return tuple(next(left) if size > 1 else "" for size in series.shape)


def _known(axis: str, axes: Mapping[str, int]) -> str:
    if axis in _AXES:
        return axis
    if axes[axis] == 1:
        return ""
    if axis == "S" and axes.get("C", 1) == 1:
        return "C"
    return "Z" if axis in "IQ" and axes.get("Z", 1) == 1 else ""

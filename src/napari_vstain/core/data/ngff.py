"""What OME-NGFF says of an image: read as writers really write it (0.1 to 0.5), written as the standard asks."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from napari_vstain.core.arrays import Limits, Spacing
from napari_vstain.core.data.lengths import as_number, drawn, micrometres_in
from napari_vstain.core.data.ngff_axes import AXES, axes_of
from napari_vstain.core.errors import DatasetError

ScaleZYX = tuple[float, float, float]

_COLOURS = {
    "0000FF": ("dapi", "hoechst", "bfp", "cfp", "nucle"),
    "00FF00": ("gfp", "fitc", "neon", "alexa488"),
    "FF00FF": ("membrane", "rfp", "cherry", "txr", "scarlet", "tritc"),
    "FFFF00": ("cy3", "yfp"),
    "FFA500": ("cy5",),
}


@dataclass(frozen=True)
class ImageMetadata:
    """One multiscale image as its metadata describes it."""

    axes: str
    """The axes that are stored, in their order: a subset of ``tczyx``."""
    levels: tuple[Any, ...]
    """Paths of the resolution levels as they are written, finest first: to be followed by `inside` only."""
    channels: tuple[str | None, ...]
    """Names by channel; None, or too few of them, where the store gives none."""
    limits: tuple[Limits | None, ...]
    """Contrast limits by channel."""
    colours: tuple[str | None, ...]
    """Colours by channel, RRGGBB."""
    spacing_um: Spacing | None
    """Size of a voxel of the finest level, (Z, Y, X); an axis that is not stored counts 1 um, one that is stored
    without a unit is not known; None when Y or X is not known."""
    translation_um: ScaleZYX
    """Where the first voxel lies, (Z, Y, X)."""


def parse_image(attributes: Mapping[str, Any], where: object) -> ImageMetadata:
    """Return what the OME attributes of an image say; `where` is named in errors.

    Only what says which array is read, and what its axes are, must be there. What is said of lengths, names, contrast
    and colours is optional: whatever part of it cannot be understood counts as not said.

    Raises
    ------
    DatasetError
        When there is no image, or no telling what its axes are.
    """
    scales = _first(attributes.get("multiscales"), where, "lists no image in its metadata (multiscales)")
    first = _first(scales.get("datasets"), where, "lists no resolution level in its metadata (datasets)")
    axes = axes_of(scales, where)
    scale, offset = _transform(axes, [*_transforms(first), *_transforms(scales)])
    factors = _micrometres(scales, axes)
    channels = _omero_channels(attributes)
    return ImageMetadata(
        axes=axes,
        levels=tuple(level.get("path") for level in scales["datasets"] if isinstance(level, Mapping)),
        channels=tuple(None if c.get("label") is None else str(c["label"]) for c in channels),
        limits=tuple(map(_limits, channels)),
        colours=tuple(map(_colour, channels)),
        spacing_um=_spacing(axes, scale, factors),
        translation_um=_translation(offset, factors),
    )


def image_attributes(
    channels: Sequence[str],
    spacing_um: Spacing | None,
    translation_um: ScaleZYX,
    dtype: npt.DTypeLike,
    version: str,
    name: str,
    limits: Mapping[str, Limits] | None = None,
) -> dict[str, Any]:
    """Return the OME attributes of an image with axes TCZYX and one level, ``0``."""
    transforms: list[dict[str, Any]] = [{"type": "scale", "scale": [1.0, 1.0, *drawn(spacing_um)]}]
    if any(translation_um):
        transforms.append({"type": "translation", "translation": [0.0, 0.0, *map(float, translation_um)]})
    scales = {
        "axes": [_axis(axis, spacing_um) for axis in AXES],
        "datasets": [{"path": "0", "coordinateTransformations": transforms}],
        "name": name,
    }
    shown = limits or {}
    omero = {
        "channels": [_channel(c, shown.get(c), dtype) for c in channels],
        "rdefs": {"model": "color", "defaultT": 0, "defaultZ": 0},
    }
    return _versioned({"multiscales": [scales], "omero": omero}, version, "multiscales")


def plate_attributes(keys: Sequence[str], name: str, version: str) -> dict[str, Any]:
    """Return the OME attributes of a plate that holds the positions `keys`, each ``row/column/field``."""
    wells = list(dict.fromkeys(tuple(key.split("/")[:2]) for key in keys))
    rows = list(dict.fromkeys(row for row, _ in wells))
    columns = list(dict.fromkeys(column for _, column in wells))
    fields = Counter(tuple(key.split("/")[:2]) for key in keys)
    row_index, column_index = ({name: i for i, name in enumerate(names)} for names in (rows, columns))
    plate = {
        "name": name,
        "rows": [{"name": row} for row in rows],
        "columns": [{"name": column} for column in columns],
        "wells": [
            {"path": f"{row}/{column}", "rowIndex": row_index[row], "columnIndex": column_index[column]}
            for row, column in wells
        ],
        "field_count": max(fields.values(), default=1),
    }
    return _versioned({"plate": plate}, version, "plate")


def well_attributes(fields: Sequence[str], version: str) -> dict[str, Any]:
    """Return the OME attributes of a well that holds `fields`."""
    return _versioned({"well": {"images": [{"path": field} for field in fields]}}, version, "well")


def _versioned(ome: dict[str, Any], version: str, holder: str) -> dict[str, Any]:
    if version != "0.4":
        return {"ome": {"version": version, **ome}}
    for part in ome[holder] if isinstance(ome[holder], list) else [ome[holder]]:
        part["version"] = version
    return ome


def _axis(axis: str, spacing_um: Spacing | None) -> dict[str, str]:
    if axis in "tc":
        return {"name": axis, "type": "time" if axis == "t" else "channel"}
    known = spacing_um is not None and spacing_um["zyx".index(axis)] is not None
    return {"name": axis, "type": "space"} | ({"unit": "micrometer"} if known else {})


def _channel(name: str, limits: Limits | None, dtype: npt.DTypeLike) -> dict[str, Any]:
    lowest, highest = _range(dtype)
    start, end = limits or (lowest, highest)
    window = {"start": float(start), "end": float(end), "min": min(lowest, start), "max": max(highest, end)}
    return {"label": name, "color": _usual_colour(name), "active": True, "window": window}


def _range(dtype: npt.DTypeLike) -> Limits:
    kind = np.dtype(dtype)
    if kind.kind in "ui":
        return float(np.iinfo(kind).min), float(np.iinfo(kind).max)
    return 0.0, 1.0


def _usual_colour(name: str) -> str:
    plain = name.lower()
    return next((colour for colour, words in _COLOURS.items() if any(word in plain for word in words)), "FFFFFF")


def _first(values: object, where: object, rule: str) -> Mapping[str, Any]:
    if isinstance(values, list) and values and isinstance(values[0], Mapping):
        return values[0]
    raise DatasetError("image", where, rule, "restore its metadata, or convert the original again")


def _transforms(part: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    found = part.get("coordinateTransformations")
    return [one for one in found if isinstance(one, Mapping)] if isinstance(found, list) else []


def _transform(axes: str, transforms: Sequence[Mapping[str, Any]]) -> tuple[dict[str, float | None], dict[str, float]]:
    """Return scale and offset by axis; the scale is None where none is given, or one that cannot be understood."""
    scale: dict[str, float | None] = dict.fromkeys(axes)
    offset, understood = dict.fromkeys(axes, 0.0), True
    for transform in transforms:
        factors, steps = (_numbers(transform.get(key), len(axes)) for key in ("scale", "translation"))
        for index, axis in enumerate(axes):
            if factors:
                before = scale[axis]
                scale[axis] = factors[index] if before is None else before * factors[index]
                offset[axis] *= factors[index]
            if steps:
                offset[axis] += steps[index]
        understood &= bool(factors or steps) or transform.get("type") == "identity"  # too few numbers mean any axes
    return (scale if understood else dict.fromkeys(axes)), offset


def _numbers(value: object, count: int) -> list[float] | None:
    numbers = [as_number(one) for one in value] if isinstance(value, list) else []
    known = [number for number in numbers if number is not None]
    return known if len(known) == len(numbers) == count else None


def _micrometres(scales: Mapping[str, Any], axes: str) -> dict[str, float]:
    written = scales.get("axes") or ()
    units = {axis: one.get("unit") for axis, one in zip(axes, written, strict=False) if isinstance(one, Mapping)}
    return {axis: factor for axis, unit in units.items() if (factor := micrometres_in(unit)) is not None}


def _spacing(axes: str, scale: Mapping[str, float | None], factors: Mapping[str, float]) -> Spacing | None:
    def size(axis: str) -> float | None:
        step = scale[axis]
        return step * factors[axis] if step is not None and step > 0 and axis in factors else None

    y, x = size("y"), size("x")
    if y is None or x is None:
        return None
    return size("z") if "z" in axes else 1.0, y, x


def _translation(offset: Mapping[str, float], factors: Mapping[str, float]) -> ScaleZYX:
    z, y, x = (offset[axis] * factors[axis] if axis in factors else 0.0 for axis in "zyx")
    return z, y, x


def _omero_channels(attributes: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    omero = attributes.get("omero")
    channels = omero.get("channels") if isinstance(omero, dict) else None
    listed = channels if isinstance(channels, list) else []
    return [channel if isinstance(channel, dict) else {} for channel in listed]


def _limits(channel: Mapping[str, Any]) -> Limits | None:
    window = channel.get("window")
    if not isinstance(window, Mapping):
        return None
    start, end = as_number(window.get("start")), as_number(window.get("end"))
    return (start, end) if start is not None and end is not None and start < end else None


def _colour(channel: Mapping[str, Any]) -> str | None:
    colour = str(channel.get("color", "")).removeprefix("#").upper()
    return colour if len(colour) == 6 and all(digit in "0123456789ABCDEF" for digit in colour) else None

"""What OME-NGFF says of an image: read as writers really write it (0.1 to 0.5), written as the standard asks."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from napari_vstain.core.errors import DatasetError

AXES = "tczyx"
ZYX = tuple[float, float, float]
Limits = tuple[float, float]

METRES = {
    "meter": 1e6, "m": 1e6, "decimeter": 1e5, "centimeter": 1e4, "cm": 1e4, "millimeter": 1e3, "mm": 1e3,
    "micrometer": 1.0, "micron": 1.0, "um": 1.0, "µm": 1.0, "μm": 1.0, "nanometer": 1e-3, "nm": 1e-3,
    "angstrom": 1e-4, "picometer": 1e-6, "pm": 1e-6, "inch": 25400.0, "foot": 304800.0, "kilometer": 1e9,
}  # fmt: skip
"""Micrometres in a unit of length, by its name in OME-NGFF and by its usual signs."""
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
    levels: tuple[str, ...]
    """Paths of the resolution levels, finest first."""
    channels: tuple[str | None, ...]
    """Names by channel; None, or too few of them, where the store gives none."""
    limits: tuple[Limits | None, ...]
    """Contrast limits by channel."""
    colours: tuple[str | None, ...]
    """Colours by channel, RRGGBB."""
    spacing_um: ZYX | None
    """Size of a voxel of the finest level, (Z, Y, X); an axis that is not stored counts 1 um."""
    translation_um: ZYX
    """Where the first voxel lies, (Z, Y, X)."""


def parse_image(attributes: Mapping[str, Any], where: object) -> ImageMetadata:
    """Return what the OME attributes of an image say; `where` is named in errors.

    Raises
    ------
    DatasetError
        When they describe no image, or break the standard beyond what can be guessed.
    """
    try:
        scales = attributes["multiscales"][0]
        axes = _axes(scales)
        levels = tuple(str(level["path"]) for level in scales["datasets"])
        first = scales["datasets"][0]
        scale, offset = _transform(axes, [*_transforms(first), *_transforms(scales)])
        factors = _micrometres(scales, axes)
        channels = _omero_channels(attributes)
        return ImageMetadata(
            axes=axes,
            levels=levels,
            channels=tuple(None if c.get("label") is None else str(c["label"]) for c in channels),
            limits=tuple(map(_limits, channels)),
            colours=tuple(map(_colour, channels)),
            spacing_um=_spacing(scale, factors),
            translation_um=_lengths(offset, factors, 0.0),
        )
    except (LookupError, TypeError, ValueError, AttributeError) as error:
        rule = "has no OME-NGFF image metadata that can be read"
        raise DatasetError("image", where, rule, "open an OME-Zarr of version 0.4 or 0.5") from error


def image_attributes(
    channels: Sequence[str],
    spacing_um: ZYX | None,
    translation_um: ZYX,
    dtype: npt.DTypeLike,
    version: str,
    name: str,
    limits: Mapping[str, Limits] | None = None,
) -> dict[str, Any]:
    """Return the OME attributes of an image with axes TCZYX and one level, ``0``."""
    transforms: list[dict[str, Any]] = [{"type": "scale", "scale": [1.0, 1.0, *map(float, spacing_um or (1, 1, 1))]}]
    if any(translation_um):
        transforms.append({"type": "translation", "translation": [0.0, 0.0, *map(float, translation_um)]})
    scales = {
        "axes": [_axis(axis, known=spacing_um is not None) for axis in AXES],
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
    fields = [len(fields_of(keys, f"{row}/{column}")) for row, column in wells]
    plate = {
        "name": name,
        "rows": [{"name": row} for row in rows],
        "columns": [{"name": column} for column in columns],
        "wells": [
            {"path": f"{row}/{column}", "rowIndex": rows.index(row), "columnIndex": columns.index(column)}
            for row, column in wells
        ],
        "field_count": max(fields, default=1),
    }
    return _versioned({"plate": plate}, version, "plate")


def well_attributes(fields: Sequence[str], version: str) -> dict[str, Any]:
    """Return the OME attributes of a well that holds `fields`."""
    return _versioned({"well": {"images": [{"path": field} for field in fields]}}, version, "well")


def fields_of(keys: Sequence[str], well: str) -> list[str]:
    """Return the fields of ``row/column`` among positions, in their order."""
    return [key.split("/")[2] for key in keys if key.startswith(f"{well}/")]


def _versioned(ome: dict[str, Any], version: str, holder: str) -> dict[str, Any]:
    if version != "0.4":
        return {"ome": {"version": version, **ome}}
    for part in ome[holder] if isinstance(ome[holder], list) else [ome[holder]]:
        part["version"] = version
    return ome


def _axis(axis: str, *, known: bool) -> dict[str, str]:
    kind = {"t": "time", "c": "channel"}.get(axis, "space")
    return {"name": axis, "type": kind} | ({"unit": "micrometer"} if known and kind == "space" else {})


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


def _axes(scales: Mapping[str, Any]) -> str:
    axes = scales.get("axes", AXES)  # versions 0.1 and 0.2 have none: always TCZYX
    names = "".join(str(axis["name"] if isinstance(axis, dict) else axis).lower() for axis in axes)
    if len(set(names)) != len(names) or not {"y", "x"} <= set(names) <= set(AXES):
        raise ValueError(names)
    return names


def _transforms(part: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    return list(part.get("coordinateTransformations") or ())


def _transform(axes: str, transforms: Sequence[Mapping[str, Any]]) -> tuple[dict[str, float], dict[str, float]]:
    scale, offset = dict.fromkeys(axes, 1.0), dict.fromkeys(axes, 0.0)
    for transform in transforms:
        factors = transform.get("scale", [1.0] * len(axes))
        steps = transform.get("translation", [0.0] * len(axes))
        for axis, factor, step in zip(axes, factors, steps, strict=True):
            scale[axis] *= float(factor)
            offset[axis] = offset[axis] * float(factor) + float(step)
    return scale, offset


def _micrometres(scales: Mapping[str, Any], axes: str) -> dict[str, float]:
    units = [axis.get("unit") if isinstance(axis, dict) else None for axis in scales.get("axes", AXES)]
    return {axis: METRES[unit] for axis, unit in zip(axes, units, strict=True) if unit in METRES}


def _spacing(scale: Mapping[str, float], factors: Mapping[str, float]) -> ZYX | None:
    if not {"y", "x"} <= set(factors) or not all(scale[axis] > 0 for axis in "yx"):
        return None
    return _lengths(scale, factors, 1.0)


def _lengths(values: Mapping[str, float], factors: Mapping[str, float], missing: float) -> ZYX:
    z, y, x = (values[axis] * factors[axis] if axis in factors else missing for axis in "zyx")
    return z, y, x


def _omero_channels(attributes: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    omero = attributes.get("omero")
    channels = omero.get("channels") if isinstance(omero, dict) else None
    return [channel if isinstance(channel, dict) else {} for channel in channels or ()]


def _limits(channel: Mapping[str, Any]) -> Limits | None:
    window = channel.get("window")
    if not isinstance(window, dict) or not {"start", "end"} <= set(window):
        return None
    start, end = float(window["start"]), float(window["end"])
    return (start, end) if start < end else None


def _colour(channel: Mapping[str, Any]) -> str | None:
    colour = str(channel.get("color", "")).removeprefix("#").upper()
    return colour if len(colour) == 6 and all(digit in "0123456789ABCDEF" for digit in colour) else None

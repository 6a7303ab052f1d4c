"""Where an image is in the world: what a prediction takes over from the image it was made of."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from napari_vstain.core.arrays import Spacing
from napari_vstain.core.data.lengths import drawn

_CARRIED = ("scale", "translate", "rotate", "shear", "affine", "units", "axis_labels")


def carried(layer: Any, factors: Sequence[float] = ()) -> dict[str, Any]:
    """Return the arguments that put a new layer exactly over `layer`.

    Parameters
    ----------
    factors : sequence of float
        Pixels of the new layer per pixel of `layer` along its last axes, when they differ.
    """
    found = {name: getattr(layer, name) for name in _CARRIED if hasattr(layer, name)}
    if "affine" in found:
        found["affine"] = found["affine"].affine_matrix
    if any(factor != 1 for factor in factors):
        whole = [1.0] * (layer.ndim - len(factors)) + [factor or 1.0 for factor in factors]
        scale = [step / factor for step, factor in zip(layer.scale, whole, strict=True)]
        found["translate"] = [
            at + (fine - coarse) / 2 for at, fine, coarse in zip(layer.translate, scale, layer.scale, strict=True)
        ]
        found["scale"] = scale
    return found


def spacing_um(layer: Any, axes: str) -> tuple[float | None, float | None, float | None] | None:
    """Return the voxel size of an image, (Z, Y, X), in micrometres; None where its units are no lengths.

    Parameters
    ----------
    axes : str
        The image's, a part of ``TZYX``.
    """
    known: dict[str, float | None] = {}
    for axis, step, unit in zip(axes, layer.scale, getattr(layer, "units", ()), strict=False):
        if unit.dimensionality == {"[length]": 1}:  # a pixel is none
            known[axis] = float(step * (1 * unit).to("um").magnitude)
    found = known.get("Z"), known.get("Y"), known.get("X")
    return found if found[1] and found[2] else None


@dataclass(frozen=True)
class Placement:
    """Where an array with the axes ``labels`` lies, one entry an axis."""

    labels: tuple[str, ...]
    scale: tuple[float, ...]
    translate: tuple[float, ...]
    units: tuple[str, ...]

    def arguments(self) -> Mapping[str, Any]:
        """Return the arguments of a napari layer."""
        return {
            "scale": self.scale,
            "translate": self.translate,
            "units": self.units,
            "axis_labels": self.labels,
        }


def placement(labels: str, spacing_um: Spacing | None, origin_um: tuple[float, ...]) -> Placement:
    """Return where an image with some of the axes T, Z, Y, X lies.

    Parameters
    ----------
    labels : str
        Its axes in order: ``yx``, ``zyx``, ``tyx`` or ``tzyx``.
    spacing_um, origin_um : (Z, Y, X)
        Voxel size and translation in micrometres; along an axis without one the unit is the pixel.
    """
    known = {axis for axis, size in zip("zyx", spacing_um or (None,) * 3, strict=True) if size}
    spacing = dict(zip("zyx", drawn(spacing_um), strict=True))
    origin = dict(zip("zyx", origin_um if known else (0.0, 0.0, 0.0), strict=True))
    return Placement(
        labels=tuple(labels),
        scale=tuple(spacing.get(axis, 1.0) for axis in labels),
        translate=tuple(origin.get(axis, 0.0) for axis in labels),
        units=tuple("um" if axis in known else "pixel" for axis in labels),
    )

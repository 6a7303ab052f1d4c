"""Where the voxel size of an image differs from the one a model was trained at. Importing this loads nothing heavy."""

from collections.abc import Sequence
from math import log, log1p

from napari_vstain.core.models.spec import Dimensions, ModelSpec

_TOLERANCE = 0.1
"""Relative difference of a voxel size that a model does not mind."""


def voxels_apart(spec: ModelSpec, spacing_um: Sequence[float | None] | None) -> list[tuple[str, float, float]]:
    """Return ``(axis, the image's, the model's)`` in micrometres for each axis along which they differ.

    Parameters
    ----------
    spacing_um : (Z, Y, X), optional
        Of the image; what is not known, there or in the model, does not differ.
    """
    if spec.spacing_um is None or spacing_um is None:
        return []
    axes = "YX" if spec.dimensions is Dimensions.TWO else "ZYX"
    pairs = list(zip("ZYX", spacing_um, spec.spacing_um, strict=True))[-len(axes) :]
    return [(axis, here, there) for axis, here, there in pairs if here and there and _differ(here, there)]


def _differ(here: float, there: float) -> bool:
    return abs(log(here / there)) > log1p(_TOLERANCE)

"""The types of arrays, shapes and regions that every room shares, and how a length is rounded to a grid."""

from typing import Any

import numpy as np
import numpy.typing as npt

Image = npt.NDArray[Any]
"""Pixels as they are stored, of any kind of number."""
Array = npt.NDArray[np.float32]
"""Pixels as networks take and give them."""
Float = npt.NDArray[np.float64]
"""What is computed in double precision: sums, statistics, coefficients."""
Mask = npt.NDArray[np.bool_]

ZYX = tuple[int, int, int]
"""Lengths in pixels, along the axes of space."""
CZYX = tuple[int, int, int, int]
TCZYX = tuple[int, int, int, int, int]
"""The shape of a position on disk."""
Spacing = tuple[float | None, float, float]
"""The voxel size (Z, Y, X) in micrometres; Z is None where an image has one slice and says nothing of it."""
Limits = tuple[float, float]
"""The intensities that are shown as black and as full colour."""

Region = tuple[slice, slice, slice]
"""Slices (Z, Y, X) with a start and a stop."""


def round_up(length: int, multiple: int) -> int:
    """Return the least multiple of `multiple` that is no less than `length`, in pixels."""
    return -(-length // multiple) * multiple

"""Images go on beyond their borders as in a mirror: one rule, for training and for prediction, at any size."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt


def reflected_indices(start: int, stop: int, size: int) -> npt.NDArray[np.intp]:
    """Return, for the coordinates ``start … stop - 1`` of an axis, the pixel that a mirror shows there.

    The mirror stands on the border pixel, which is not repeated (numpy's ``reflect``): ``d c b [a b c d] c b a``.
    It reflects as often as it must, with period ``2 * (size - 1)``; a single pixel repeats.

    Raises
    ------
    ValueError
        When the axis is empty.
    """
    if size < 1:
        raise ValueError("an empty axis has no reflection")
    if size == 1:
        return np.zeros(max(stop - start, 0), np.intp)
    within = np.arange(start, stop, dtype=np.intp) % (2 * (size - 1))
    return np.where(within < size, within, 2 * (size - 1) - within)


def reflect_pad(array: npt.NDArray[Any], widths: Sequence[tuple[int, int]]) -> npt.NDArray[Any]:
    """Return `array` with its last axes padded by ``(before, after)`` pixels each; axes before them stay."""
    first = array.ndim - len(widths)
    for axis, (before, after) in enumerate(widths, first):
        if before or after:
            size = array.shape[axis]
            array = np.take(array, reflected_indices(-before, size + after, size), axis)
    return array

"""The range of a target's intensities is what is left of it without its most extreme pixels: no hot one decides."""

from typing import Any

import numpy as np
import numpy.typing as npt

from napari_vstain.core.evaluation.strips import finite

TRIMMED = 1e-4
"""Share of the pixels that are left out at each end: hot and dead ones are fewer, cells are more."""


def data_range(target: npt.NDArray[Any], prediction: npt.NDArray[Any]) -> float:
    """Return the range of a target, in its unit, that SSIM and PSNR are taken relative to.

    The highest and the lowest 0.01 % of the pixels, at least one of each, are left out, unless nothing is left then.
    Pixels where either image is not finite do not count; NaN without pixels.
    """
    valid = finite(target, prediction)
    values = target.ravel() if valid is None else target[valid]
    if not values.size:
        return float("nan")
    least = min(max(1, int(TRIMMED * values.size)), (values.size - 1) // 2)
    ordered = np.partition(values, (least, values.size - 1 - least))
    low, high = float(ordered[least]), float(ordered[-1 - least])
    return high - low if high > low else float(values.max()) - float(values.min())

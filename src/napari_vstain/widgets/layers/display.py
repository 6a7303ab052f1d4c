"""How intensities are shown: a colour for each stain, and contrast that holds from the first tile to the last."""

import re
from typing import Any

from napari_vstain.core.models.spec import Statistics

_STAINS = (
    (re.compile(r"nucl|dapi|hoechst|h2b|dna|draq", re.I), "bop blue"),
    (re.compile(r"membr|actin|caax|phalloidin|wga|cell.?mask", re.I), "bop orange"),
    (re.compile(r"gfp|fitc|488|tubulin", re.I), "green"),
    (re.compile(r"rfp|mcherry|tritc|cy3|561|mito|tom", re.I), "magenta"),
    (re.compile(r"cfp|405", re.I), "cyan"),
    (re.compile(r"yfp|lyso", re.I), "yellow"),
    (re.compile(r"cy5|640|far.?red", re.I), "red"),
)
_OTHERS = ("green", "magenta", "cyan", "yellow", "bop purple", "red")


def colormap(channel: str, place: int = 0) -> str:
    """Return the colour of a stain: by its name, else the one at its place among the targets."""
    for pattern, colour in _STAINS:
        if pattern.search(channel):
            return colour
    return _OTHERS[place % len(_OTHERS)]


def is_known(stain: str) -> bool:
    """Return True if the name of a stain tells its colour."""
    return any(pattern.search(stain) for pattern, _ in _STAINS)


def training_limits(statistics: Statistics) -> tuple[float, float]:
    """Return ``(low, high)`` in the channel's units, from the training data's range: most background black."""
    low = statistics.p5 if statistics.p5 is not None else statistics.mean - statistics.std
    high = statistics.mean + 4 * statistics.std
    if statistics.p99 is not None:
        high = max(statistics.p99, statistics.mean + 2 * statistics.std)
    return ordered(low, high)


def ordered(low: float, high: float) -> tuple[float, float]:
    """Return limits that napari takes: high above low."""
    return (float(low), float(high)) if high > low else (float(low), float(low) + 1.0)


def sampled_limits(image: Any) -> tuple[float, float]:
    """Return ``(low, high)`` from at most about a million pixels of an array (…, Y, X); not for the main thread."""
    import numpy as np

    step = max(int((image.shape[-1] * image.shape[-2] / 2**20) ** 0.5), 1)
    middle = tuple(n // 2 for n in image.shape[:-2])
    plane = np.asarray(image[(*middle, slice(None, None, step), slice(None, None, step))], dtype="float64")
    plane = plane[np.isfinite(plane)]
    if not plane.size:
        return 0.0, 1.0
    low, high = np.percentile(plane, (0.5, 99.8))
    return ordered(low, high)

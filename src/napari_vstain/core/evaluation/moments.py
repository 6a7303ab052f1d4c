"""One pass over target and prediction gives the sums that every metric without a window shares."""

from collections.abc import Iterable
from functools import reduce
from typing import NamedTuple

import numpy as np

from napari_vstain.core.arrays import Image, Mask
from napari_vstain.core.evaluation.strips import Strips, finite

_NAN = float("nan")


class Pair(NamedTuple):
    """A number for the target and one for the prediction."""

    target: float
    prediction: float


class Moments(NamedTuple):
    """Sums over n pixels, in double precision, of target and prediction less their shift."""

    pixels: int = 0
    low: Pair = Pair(np.inf, np.inf)
    high: Pair = Pair(-np.inf, -np.inf)
    total: Pair = Pair(0, 0)
    squares: Pair = Pair(0, 0)
    product: float = 0
    squared_error: float = 0
    absolute_error: float = 0

    def __or__(self, other: "Moments") -> "Moments":
        """Return the moments of both sets of pixels; they must have been taken with the same shift."""
        return Moments(
            self.pixels + other.pixels,
            Pair(*map(min, self.low, other.low)),
            Pair(*map(max, self.high, other.high)),
            Pair(*map(sum, zip(self.total, other.total, strict=True))),
            Pair(*map(sum, zip(self.squares, other.squares, strict=True))),
            self.product + other.product,
            self.squared_error + other.squared_error,
            self.absolute_error + other.absolute_error,
        )

    @property
    def deviation(self) -> Pair:
        """Population standard deviations, exactly 0 for a constant; NaN without pixels."""
        return Pair(self._deviation(0), self._deviation(1))

    @property
    def covariance(self) -> float:
        """Population covariance of target and prediction; NaN without pixels."""
        n = self.pixels
        return (self.product - self.total.target * self.total.prediction / n) / n if n else _NAN

    @property
    def mean_squared_error(self) -> float:
        """Mean of (t - p)²; NaN without pixels."""
        return self.squared_error / self.pixels if self.pixels else _NAN

    @property
    def mean_absolute_error(self) -> float:
        """Mean of |t - p|; NaN without pixels."""
        return self.absolute_error / self.pixels if self.pixels else _NAN

    def target_root_mean_square(self, shift: Pair) -> float:
        """Return the square root of the mean of t²; NaN without pixels."""
        if not self.pixels:
            return _NAN
        mean = self.total.target / self.pixels
        return float(np.sqrt(self.squares.target / self.pixels + 2 * mean * shift.target + shift.target**2))

    def _deviation(self, index: int) -> float:
        if not self.pixels:
            return _NAN
        if self.low[index] == self.high[index]:
            return 0.0
        variance = self.squares[index] / self.pixels - (self.total[index] / self.pixels) ** 2
        return float(np.sqrt(max(variance, 0.0)))


def typical_pair(target: Image, prediction: Image) -> Pair:
    """Return a value near the middle of each image: sums taken from there lose no digits to a large offset."""
    return Pair(_typical(target), _typical(prediction))


def moments(
    target: Image, prediction: Image, masks: Iterable[Mask | None], shift: Pair, strips: Strips
) -> list[Moments]:
    """Return one Moments a mask, over the pixels where both images are finite.

    Parameters
    ----------
    target, prediction : array, (Y, X), any dtype
    masks : iterable of bool array, (Y, X), or None for every pixel
    shift : Pair
        What is subtracted before the sums: see `typical`.
    """
    wanted = tuple(masks)

    def of_rows(rows: slice) -> list[Moments]:
        t, p = target[rows], prediction[rows]
        valid = finite(t, p)
        return [_moments(t, p, _both(valid, mask, rows), shift) for mask in wanted]

    parts = zip(*strips.map(of_rows, strips.rows(target.shape)), strict=True)
    return [reduce(Moments.__or__, column, Moments()) for column in parts]


def _moments(target: Image, prediction: Image, selected: Mask | None, shift: Pair) -> Moments:
    if selected is not None:
        target, prediction = target[selected], prediction[selected]
    if not target.size:
        return Moments()
    t, p = target.astype(np.float64).ravel(), prediction.astype(np.float64).ravel()
    error = t - p
    extremes = Pair(float(t.min()), float(p.min())), Pair(float(t.max()), float(p.max()))
    t -= shift.target
    p -= shift.prediction
    return Moments(
        t.size,
        *extremes,
        Pair(float(t.sum()), float(p.sum())),
        Pair(float(t @ t), float(p @ p)),
        float(t @ p),
        float(error @ error),
        float(np.abs(error, out=error).sum()),
    )


def _both(valid: Mask | None, mask: Mask | None, rows: slice) -> Mask | None:
    if mask is None:
        return valid
    return mask[rows] if valid is None else mask[rows] & valid


def _typical(image: Image) -> float:
    sample = image[tuple(slice(None, None, max(1, size // 64)) for size in image.shape)].astype(np.float64)
    kept = sample[np.isfinite(sample)]
    return float(kept.mean()) if kept.size else 0.0

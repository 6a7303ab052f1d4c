"""Structural similarity (Wang et al. 2004) of two slices, computed in strips and exact to rounding."""

import threading
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from napari_vstain.core.arrays import Float, Image, Mask
from napari_vstain.core.evaluation.strips import Strips, finite

_COLUMNS = 2048
_LEAST_ROWS = 32


class Similarity(NamedTuple):
    """Sums of the SSIM map over `pixels` pixels, one for each data range."""

    pixels: int
    sums: tuple[float, ...]

    def __or__(self, other: "Similarity") -> "Similarity":
        """Return the sums over both sets of pixels."""
        return Similarity(self.pixels + other.pixels, tuple(map(sum, zip(self.sums, other.sums, strict=True))))

    def mean(self, index: int) -> float:
        """Return the mean SSIM for the data range `index`; NaN without pixels."""
        return self.sums[index] / self.pixels if self.pixels else float("nan")


def kernel(window: str) -> Float:
    """Return the weights of a window along one axis, symmetric, of sum 1."""
    if window == "uniform":
        return np.full(7, 1 / 7)
    weights = np.exp(-0.5 * (np.arange(-5, 6) / 1.5) ** 2)
    return np.asarray(weights / weights.sum(), np.float64)


def similarity(
    target: Image,
    prediction: Image,
    ranges: Sequence[float],
    masks: Sequence[Mask | None],
    weights: Float,
    strips: Strips,
) -> list[Similarity]:
    """Return one Similarity a mask, over the pixels whose whole window is inside the image and finite.

    Parameters
    ----------
    target, prediction : array, (Y, X), any dtype
    ranges : sequence of float
        The data range L, in the target's unit; the map is computed once for each.
    masks : sequence of bool array, (Y, X), or None for every pixel
    weights : float64 array
        Of the window along one axis: see `kernel`.
    """
    radius = len(weights) // 2
    inner = tuple(size - 2 * radius for size in target.shape)
    buffers = threading.local()

    def of_block(block: tuple[slice, slice]) -> list[Similarity]:
        window = tuple(slice(part.start, part.stop + 2 * radius) for part in block)
        t, p = target[window], prediction[window]
        valid = finite(t, p)
        if valid is not None:
            t, p, valid = np.where(valid, t, 0), np.where(valid, p, 0), _whole_windows(valid, radius)
        maps = _Workspace.reuse(buffers, t.shape, radius).similarity(t, p, ranges, weights)
        centre = tuple(slice(part.start + radius, part.stop + radius) for part in block)
        return [_sum(maps, valid if mask is None else _and(mask[centre], valid)) for mask in masks]

    empty = Similarity(0, (0.0,) * len(ranges))
    if min(inner) < 1:
        return [empty for _ in masks]
    totals = [empty for _ in masks]
    for part in strips.map(of_block, _blocks(inner, strips)):
        totals = [total | new for total, new in zip(totals, part, strict=True)]
    return totals


class _Workspace:
    """One thread's buffers: allocating them anew for every strip costs more than the sums."""

    def __init__(self, shape: tuple[int, ...], radius: int) -> None:
        height, width = shape
        inner = height - 2 * radius, width - 2 * radius
        self.shape = shape
        self.images = np.empty((4, height, width))
        self.columns = np.empty((2, 4, inner[0], width))
        self.local = np.empty((2, 4, *inner))
        self.parts = np.empty((5, *inner))

    @classmethod
    def reuse(cls, buffers: threading.local, shape: tuple[int, ...], radius: int) -> "_Workspace":
        """Return this thread's workspace for blocks of `shape`."""
        kept: _Workspace | None = getattr(buffers, "workspace", None)
        if kept is None or kept.shape != shape:
            kept = buffers.workspace = cls(shape, radius)
        return kept

    def similarity(self, target: Image, prediction: Image, ranges: Sequence[float], weights: Float) -> list[Float]:
        """Return the SSIM map for each range, (Y - 2 radius, X - 2 radius)."""
        mean_product, mean_squares, covariance, variances = self._local_moments(target, prediction, weights)
        maps = []
        for data_range in ranges:
            c1, c2 = (0.01 * data_range) ** 2, (0.03 * data_range) ** 2
            ratio, below = np.empty_like(mean_product), self.parts[4]
            np.multiply(mean_product, 2, out=ratio)
            ratio += c1
            np.multiply(covariance, 2, out=below)
            below += c2
            ratio *= below
            np.add(mean_squares, c1, out=below)
            np.add(variances, c2, out=self.parts[3])
            below *= self.parts[3]
            with np.errstate(invalid="ignore", divide="ignore"):
                maps.append(np.divide(ratio, below, out=ratio))
        return maps

    def _local_moments(self, target: Image, prediction: Image, weights: Float) -> tuple[Float, ...]:
        """Return m_t m_p, m_t² + m_p², the covariance, and the sum of the variances, under the window."""
        images = self.images
        images[0], images[1] = target, prediction
        np.multiply(images[0], images[0], out=images[3])
        images[3] += np.multiply(images[1], images[1], out=images[2])
        np.multiply(images[0], images[1], out=images[2])
        target_mean, prediction_mean, product, squares = self._blurred(weights)
        mean_product, mean_squares, square = self.parts[:3]
        np.multiply(target_mean, prediction_mean, out=mean_product)
        np.multiply(target_mean, target_mean, out=mean_squares)
        mean_squares += np.multiply(prediction_mean, prediction_mean, out=square)
        product -= mean_product
        squares -= mean_squares
        return mean_product, mean_squares, product, squares

    def _blurred(self, weights: Float) -> Float:
        """Return the four images under the window, first along Y, then along X; symmetric taps share a product."""
        radius = len(weights) // 2
        height, width = self.local.shape[2:]
        images, (columns, pair), (local, local_pair) = self.images, self.columns, self.local
        np.multiply(images[:, radius : radius + height], weights[radius], out=columns)
        for step in range(1, radius + 1):
            up, down = radius - step, radius + step
            np.add(images[:, up : up + height], images[:, down : down + height], out=pair)
            columns += np.multiply(pair, weights[down], out=pair)
        np.multiply(columns[:, :, radius : radius + width], weights[radius], out=local)
        for step in range(1, radius + 1):
            left, right = radius - step, radius + step
            np.add(columns[:, :, left : left + width], columns[:, :, right : right + width], out=local_pair)
            local += np.multiply(local_pair, weights[right], out=local_pair)
        return local


def _blocks(inner: tuple[int, ...], strips: Strips) -> list[tuple[slice, slice]]:
    columns = [slice(start, min(start + _COLUMNS, inner[1])) for start in range(0, inner[1], _COLUMNS)]
    rows = strips.rows((inner[0], min(inner[1], _COLUMNS)), _LEAST_ROWS)
    return [(row, column) for row in rows for column in columns]


def _whole_windows(valid: Mask, radius: int) -> Mask:
    from scipy.ndimage import minimum_filter

    inner = slice(radius, -radius)
    return np.asarray(minimum_filter(valid, 2 * radius + 1, mode="nearest")[inner, inner], bool)


def _and(mask: Mask, valid: Mask | None) -> Mask:
    return mask if valid is None else mask & valid


def _sum(maps: list[Float], selected: Mask | None) -> Similarity:
    if selected is None:
        return Similarity(maps[0].size, tuple(float(one.sum()) for one in maps))
    return Similarity(int(selected.sum()), tuple(float(one[selected].sum()) for one in maps))

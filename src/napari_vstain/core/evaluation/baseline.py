"""The trivial baseline: what least squares makes of the source and its local standard deviation, and no more.

A model has learnt something only when it beats this.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from napari_vstain.core.arrays import Float, Image
from napari_vstain.core.errors import DatasetError
from napari_vstain.core.evaluation.strips import Strips, strips

SIGMAS_PX = (2.0, 4.0, 8.0)
_TRUNCATE = 4.0
_HALO_PX = int(_TRUNCATE * max(SIGMAS_PX) + 0.5)
_LEAST_ROWS = 4 * _HALO_PX


@dataclass(frozen=True)
class Baseline:
    """Coefficients of a linear function of `features`, and of 1."""

    coefficients: Float
    """(1 + C (1 + S), targets): the constant, then for each of C sources itself and its S standard deviations."""

    def predict(self, source: Image, threads: int | None = None) -> npt.NDArray[np.float32]:
        """Return the prediction in the targets' units, (targets, Z, Y, X), from the sources, (C, Z, Y, X).

        Pixels whose features are not finite are NaN.
        """
        targets = self.coefficients.shape[1]
        prediction = np.empty((targets, *source.shape[1:]), np.float32)

        def fill(place: tuple[int, slice]) -> None:
            z, rows = place
            values = self.coefficients[1:].T @ features(source[:, z], rows) + self.coefficients[0][:, None]
            prediction[:, z, rows] = values.reshape(targets, -1, source.shape[-1])

        with strips(threads) as pool:
            pool.map(fill, _places(source.shape, pool))
        return prediction


def fit_baseline(pairs: Iterable[tuple[Image, Image]], threads: int | None = None) -> Baseline:
    """Return the least squares of the targets on the sources' features, over all pairs, in bounded memory.

    Parameters
    ----------
    pairs : iterable of (source, target)
        Arrays (C, Z, Y, X) and (targets, Z, Y, X), any real dtype; one pair is held at a time. Pixels where a feature
        or a target is not finite are left out.

    Raises
    ------
    DatasetError
        When there is no pair, no finite pixel, or source and target of a pair differ in shape.
    """
    sums: _Sums | None = None
    with strips(threads) as pool:
        for source, target in pairs:
            if source.shape[1:] != target.shape[1:]:
                rule = f"has {source.shape[1:]} px and its target {target.shape[1:]} px (Z, Y, X)"
                raise DatasetError("source", None, rule, "train on positions where they are the same")
            sums = sums or _Sums(_origin(source, target))
            for part in pool.map(lambda place: _rows(source, target, place), _places(source.shape, pool)):  # noqa: B023
                sums.add(*part)
    if sums is None or not sums.pixels:
        raise DatasetError("training positions", None, "hold no finite pixel", "train on other positions")
    return Baseline(sums.solution())


def features(source: Image, rows: slice = slice(None)) -> Float:
    """Return the features of a slice, (C (1 + S), pixels): each source, then its local standard deviations.

    Parameters
    ----------
    source : array, (C, Y, X)
    rows : slice
        The rows of pixels to return features for; equal to those rows of the whole.
    """
    start, stop, _ = rows.indices(source.shape[1])
    first = max(0, start - _HALO_PX)
    inner = slice(start - first, stop - first)
    block = source[:, first : stop + _HALO_PX].astype(np.float64)
    return np.stack([one.ravel() for channel in block for one in _channel_features(channel, inner)])


def _channel_features(channel: Float, rows: slice) -> Iterator[Float]:
    from scipy.ndimage import gaussian_filter

    yield channel[rows]
    centred = channel - np.nan_to_num(channel[rows].mean(), posinf=0, neginf=0)  # or small deviations lose their digits
    squares = centred**2
    for sigma in SIGMAS_PX:
        mean = gaussian_filter(centred, sigma, truncate=_TRUNCATE)[rows]
        variance = gaussian_filter(squares, sigma, truncate=_TRUNCATE)[rows] - mean**2
        yield np.sqrt(np.maximum(variance, 0, out=variance), out=variance)


class _Sums:
    """The normal equations of what `add` was given, less an origin that keeps them well conditioned."""

    def __init__(self, origin: tuple[Float, Float]) -> None:
        self._origin = origin
        inputs, targets = origin[0].size, origin[1].size
        self.pixels = 0
        self._inputs, self._targets = np.zeros(inputs), np.zeros(targets)
        self._squares, self._products = np.zeros((inputs, inputs)), np.zeros((inputs, targets))

    def add(self, inputs: Float, targets: Float) -> None:
        """Take pixels, (features, pixels) and (targets, pixels)."""
        x, y = inputs - self._origin[0][:, None], targets - self._origin[1][:, None]
        self.pixels += x.shape[1]
        self._inputs += x.sum(1)
        self._targets += y.sum(1)
        self._squares += x @ x.T
        self._products += x @ y.T

    def solution(self) -> Float:
        """Return the coefficients, the constant first; the smallest ones where features depend on each other."""
        mean_x, mean_y = self._inputs / self.pixels, self._targets / self.pixels
        squares = self._squares / self.pixels - np.outer(mean_x, mean_x)
        products = self._products / self.pixels - np.outer(mean_x, mean_y)
        scale = np.sqrt(np.maximum(np.diag(squares), 0))
        scale = np.where(scale > 0, scale, 1)
        slopes = np.linalg.lstsq(squares / np.outer(scale, scale), products / scale[:, None], rcond=1e-10)[0]
        slopes = slopes / scale[:, None]
        constant = self._origin[1] + mean_y - (self._origin[0] + mean_x) @ slopes
        return np.concatenate([constant[None], slopes])


def _rows(source: Image, target: Image, place: tuple[int, slice]) -> tuple[Float, Float]:
    z, rows = place
    inputs = features(source[:, z], rows)
    targets = target[:, z, rows].reshape(len(target), -1).astype(np.float64)
    kept = np.isfinite(inputs).all(0) & np.isfinite(targets).all(0)
    return (inputs, targets) if kept.all() else (inputs[:, kept], targets[:, kept])


def _origin(source: Image, target: Image) -> tuple[Float, Float]:
    inputs, targets = _rows(source, target, (source.shape[1] // 2, slice(0, 2 * _HALO_PX)))
    if not inputs.shape[1]:
        return np.zeros(len(inputs)), np.zeros(len(targets))
    return inputs.mean(1), targets.mean(1)


def _places(shape: tuple[int, ...], pool: Strips) -> list[tuple[int, slice]]:
    return [(z, rows) for z in range(shape[1]) for rows in pool.rows(shape[2:], _LEAST_ROWS)]

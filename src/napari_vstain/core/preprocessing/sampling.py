"""Intensities are sampled on a regular grid, frame by frame; what no statistic may see is left out and counted."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from napari_vstain.core.arrays import Image
from napari_vstain.core.data import Position

Values = npt.NDArray[np.floating[Any]]
"""Single precision where it holds an image's values exactly, else double."""

GRID_SPACING_PX = 8
LEAST_POINTS = 16
"""Points along an axis that a small frame is sampled at, where it has them."""


@dataclass(frozen=True)
class FrameSample:
    """What the grid saw of one frame, one slice (Y, X) of one channel at one time."""

    values: Values
    """Finite intensities; none when the frame is empty or constant."""
    not_finite: int = 0
    """NaN and infinite pixels in the whole frame."""
    constant: float | None = None
    """The one value of all finite pixels, if that is all there is."""

    @property
    def usable(self) -> bool:
        """False when the frame is empty or constant."""
        return self.values.size > 0


def grid(shape: tuple[int, ...], spacing_px: int = GRID_SPACING_PX) -> tuple[slice, slice]:
    """Return the rows and columns of the grid on a frame (Y, X): every `spacing_px`, from half of it on.

    A frame of fewer than 16 grid points along an axis is sampled more densely there.
    """
    steps = [max(1, min(spacing_px, size // LEAST_POINTS)) for size in shape[-2:]]
    rows, columns = (slice(step // 2, None, step) for step in steps)
    return rows, columns


def sample_frame(frame: Image, spacing_px: int = GRID_SPACING_PX) -> FrameSample:
    """Return the sample of a frame (Y, X); one that looks constant on the grid is read whole."""
    not_finite = _count_not_finite(frame)
    exact: np.dtype[Any] = np.dtype(np.float32 if np.can_cast(frame.dtype, np.float32) else np.float64)
    values: Values = np.empty(0, exact)
    for pixels in (frame[grid(frame.shape, spacing_px)], frame):
        values = pixels.astype(exact).ravel()
        values = values[np.isfinite(values)] if not_finite else values
        if values.size and values.min() < values.max():
            return FrameSample(values, not_finite)
    return FrameSample(np.empty(0, exact), not_finite, float(values[0]) if values.size else None)


def frames(position: Position, channel: str, t: int) -> Iterator[Image]:
    """Yield the slices (Y, X) of a channel at one time, reading as many at once as a chunk holds."""
    depth = position.pixels.chunks[2]
    for start in range(0, position.shape[2], depth):
        yield from position.read([channel], t, z=slice(start, start + depth))[0]


@dataclass(frozen=True)
class SampleMoments:
    """Count, mean, summed squared distances from it, and extremes of values, in double precision."""

    count: int = 0
    mean: float = 0.0
    squares: float = 0.0
    min: float = np.inf
    max: float = -np.inf

    @classmethod
    def of(cls, values: Values) -> "SampleMoments":
        """Return the moments of values (N,), at least one."""
        exact = values.astype(np.float64)
        mean = float(exact.mean())
        exact -= mean
        with np.errstate(over="ignore"):  # infinite for the largest doubles: such an image cannot be normalized
            return cls(values.size, mean, float(exact @ exact), float(values.min()), float(values.max()))

    def __or__(self, other: "SampleMoments") -> "SampleMoments":
        """Return the moments of both (Chan, Golub and LeVeque 1983): no digits go with an offset."""
        count, step = self.count + other.count, other.mean - self.mean
        share = other.count / max(count, 1)
        squares = self.squares + other.squares + step * step * self.count * share
        return SampleMoments(
            count, self.mean + step * share, squares, min(self.min, other.min), max(self.max, other.max)
        )

    @property
    def std(self) -> float:
        """The population standard deviation."""
        return float(np.sqrt(self.squares / self.count))


class PixelSample:
    """A stream of values in bounded memory: its moments are exact, its quantiles nearly.

    Up to `limit` values all are kept. Above it every second is dropped, and of what comes later as many, so that all
    that is kept counts alike. They are dropped in order of size, so that what is left has the quantiles of the whole
    in whatever order the values came.
    """

    def __init__(self, limit: int = 1 << 21) -> None:
        self._limit = limit
        self._every = 1
        self._kept = 0
        self._parts: list[Values] = []
        self.moments = SampleMoments()

    def add(self, values: Values, moments: SampleMoments | None = None) -> None:
        """Take in values, whose moments may be known."""
        if not values.size:
            return
        ordered = np.sort(values) if self._every > 1 else values
        kept = ordered[-self.moments.count % self._every :: self._every]
        self.moments |= moments or SampleMoments.of(values)
        self._parts.append(kept)
        self._kept += kept.size
        while self._kept > self._limit:
            self._parts = [np.sort(self.values)[::2]]
            self._kept = self._parts[0].size
            self._every *= 2

    @property
    def values(self) -> Values:
        """What was kept."""
        return np.concatenate(self._parts) if self._parts else np.empty(0, np.float32)


def _count_not_finite(frame: Image) -> int:
    if frame.dtype.kind not in "fc":
        return 0
    return int(frame.size - np.count_nonzero(np.isfinite(frame)))

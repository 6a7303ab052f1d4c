"""Intensities are sampled on a regular grid, frame by frame; what no statistic may see is left out and counted."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from napari_vstain.core.data import Position

Values = npt.NDArray[np.float32]
Frame = npt.NDArray[Any]

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


def sample_frame(frame: Frame, spacing_px: int = GRID_SPACING_PX) -> FrameSample:
    """Return the sample of a frame (Y, X); one that looks constant on the grid is read whole."""
    not_finite = _count_not_finite(frame)
    for pixels in (frame[grid(frame.shape, spacing_px)], frame):
        values = np.asarray(pixels, np.float32).ravel()
        values = values[np.isfinite(values)] if not_finite else values
        if values.size and values.min() < values.max():
            return FrameSample(values, not_finite)
    return FrameSample(np.empty(0, np.float32), not_finite)


def frames(position: Position, channel: str, t: int) -> Iterator[Frame]:
    """Yield the slices (Y, X) of a channel at one time, reading as many at once as a chunk holds."""
    depth = position.pixels.chunks[2]
    for start in range(0, position.shape[2], depth):
        yield from position.read([channel], t, z=slice(start, start + depth))[0]


class Sample:
    """A stream of values in bounded memory: above `limit` every second is dropped, evenly along the stream."""

    def __init__(self, limit: int = 1 << 21) -> None:
        self._limit = limit
        self._every = 1
        self._seen = 0
        self._parts: list[Values] = []

    def add(self, values: Values) -> None:
        """Take in values."""
        self._parts.append(values[(-self._seen) % self._every :: self._every])
        self._seen += values.size
        while sum(part.size for part in self._parts) > self._limit:
            self._parts = [self.values[::2]]
            self._every *= 2

    @property
    def values(self) -> Values:
        """What was kept, in the stream's order."""
        return np.concatenate(self._parts) if self._parts else np.empty(0, np.float32)


def _count_not_finite(frame: Frame) -> int:
    if frame.dtype.kind not in "fc":
        return 0
    return int(frame.size - np.count_nonzero(np.isfinite(frame)))

"""A stack is one position at one time, as it is learned from: on disk, or normalized in memory."""

from dataclasses import dataclass

from napari_vstain.core.arrays import Array
from napari_vstain.core.data import Position
from napari_vstain.core.inference.normalize import Scaling


@dataclass
class Stack:
    """One position at one time."""

    position: Position
    t: int
    scaling: Scaling
    pixels: Array | None = None
    """Normalized, (C, Z, Y + 2 margins, X + 2 margins), reflected beyond the borders; None when it is not cached."""

    @property
    def shape(self) -> tuple[int, int, int]:
        """Slices, rows and columns, without margins."""
        return self.position.shape[2:]

    def windows(self, slices: int) -> int:
        """Return at how many heights a window of so many slices fits in."""
        return self.shape[0] - slices + 1

    def learnable(self, slices: int) -> int:
        """Return the pixels that there are to learn from, each height of a window counted as a slice."""
        return self.windows(slices) * self.shape[1] * self.shape[2]

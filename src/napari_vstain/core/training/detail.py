"""Where the targets have something to learn from: patches are drawn there more often than on the background."""

from collections.abc import Mapping

import numpy as np

from napari_vstain.core.arrays import Array
from napari_vstain.core.training.patch_settings import PatchSettings


class DetailMap:
    """Where cached targets stand out: draws pixels from blocks in proportion to their distance from the median.

    Parameters
    ----------
    targets : mapping of int to array, (C, Z, Y, X)
        Normalized target channels of each cached stack, margins included, by the stack's index.
    settings : PatchSettings
        A block is a quarter of a patch.
    """

    def __init__(self, targets: Mapping[int, Array], settings: PatchSettings) -> None:
        self.block, self.margin = max(settings.size_px // 4, 4), settings.margin_px
        maps = {index: self._variation(pixels) for index, pixels in targets.items()}
        self.indices, self.shapes = list(maps), [variation.shape for variation in maps.values()]
        self.ends = np.cumsum([variation.size for variation in maps.values()])
        values = np.concatenate([variation.ravel() for variation in maps.values()])
        self.cumulative = np.cumsum(values + max(float(values.mean()), 1e-6) * 1e-3, dtype=np.float64)

    def draw(self, random: np.random.Generator) -> tuple[int, int, tuple[int, int]]:
        """Return a stack's index, a slice, and a pixel (Y, X)."""
        cell = int(np.searchsorted(self.cumulative, random.random() * self.cumulative[-1]))
        which = int(np.searchsorted(self.ends, cell, "right"))
        start = int(self.ends[which - 1]) if which else 0
        z, row, column = np.unravel_index(cell - start, self.shapes[which])
        y, x = (int(index * self.block + random.integers(self.block)) for index in (row, column))
        return self.indices[which], int(z), (y, x)

    def _variation(self, targets: Array) -> Array:
        """Return the RMS distance from the background in each block, (Z, blocks along Y and X), of all targets."""
        inner = slice(self.margin, -self.margin or None)
        plane = np.nan_to_num(targets[..., inner, inner], nan=0, posinf=0, neginf=0)
        rows, columns = (length // self.block for length in plane.shape[-2:])
        whole = plane[..., : rows * self.block, : columns * self.block]
        blocks = whole.reshape(*whole.shape[:2], rows, self.block, columns, self.block)
        background = np.median(plane[..., ::8, ::8], axis=(1, 2, 3))[:, None, None, None, None, None]
        variation: Array = np.sqrt(np.square(blocks - background).mean((3, 5))).sum(0)
        return variation

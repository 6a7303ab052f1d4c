"""What the network sees of a tile: its pixels, normalized, and where they are no numbers."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from napari_vstain.core.arrays import Array
from napari_vstain.core.inference.image_source import Source, read_reflected
from napari_vstain.core.inference.normalize import Scaling, not_finite
from napari_vstain.core.models.spec import ModelSpec, Statistics
from napari_vstain.core.tiling.plan import Tile, shifted


@dataclass(frozen=True)
class Block:
    """A tile's pixels, ready for the network."""

    tile: Tile
    values: Array
    """(C, Z, Y, X) of ``tile.read``, normalized; 0 where the image is NaN or infinite."""
    bad: npt.NDArray[np.bool_] | None
    """(Z, Y, X) of ``tile.read``: where any source is NaN or infinite; None when nowhere."""

    @property
    def owned_bad(self) -> int:
        """How many of the pixels that the tile owns are NaN or infinite."""
        return 0 if self.bad is None else int(self.bad[shifted(self.tile.owned, self.tile.read)].sum())


def read_block(source: Source, scaling: Scaling, tile: Tile, zeros: bool = False) -> Block:
    """Return a tile's pixels, ready for the network; beyond the image along Y and X its reflection, or `zeros`."""
    raw = read_reflected(source, tile.read)
    bad = not_finite(raw)
    values = scaling.normalized(raw)
    if bad is not None:
        values[:, bad] = 0
    if zeros:
        for axis, (read, n) in enumerate(zip(tile.read[1:], source.shape[2:], strict=True), 2):
            beyond = np.arange(read.start, read.stop)
            values[(slice(None),) * axis + ((beyond < 0) | (beyond >= n),)] = 0
    return Block(tile, values, bad)


def statistics_of_sources(sources: Sequence[Source], spec: ModelSpec) -> dict[str, Statistics]:
    """Return the statistics of every source channel over all of some timepoints, one slice at a time."""
    from napari_vstain.core.preprocessing import image_statistics

    channels = enumerate(spec.sources)
    return {name: image_statistics(_Channel(sources, index), name=name) for index, name in channels}


class _Channel:
    """One channel of some timepoints, (T, Z, Y, X), of which one slice at a time is read."""

    def __init__(self, sources: Sequence[Source], index: int) -> None:
        self._sources, self._index = sources, index
        self.shape = (len(sources), *sources[0].shape[1:])

    def __getitem__(self, key: tuple[int, int]) -> npt.NDArray[Any]:
        t, z = key
        _, _, rows, columns = self.shape
        return np.asarray(self._sources[t].read((slice(z, z + 1), slice(0, rows), slice(0, columns)))[self._index, 0])

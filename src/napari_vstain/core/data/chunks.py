"""Which chunks of an image are on disk: zarr reads one that is not there as the fill value, without a word.

A writer may leave out chunks that hold nothing but the fill value, so a chunk that is missing may be right. Where a
store says that it was written with all its chunks, as what we import is, a missing one was lost on the way.
"""

import os
from collections.abc import Sequence
from itertools import product

from napari_vstain.core.data.pixels import Pixels

WHOLE = "all"
"""What ``vstain.import.chunks`` says of a position that was written with every chunk."""


def count_missing(pixels: Pixels, channel: int, t: int | None = None) -> tuple[int, int]:
    """Return how many chunks of a channel, or of one of its frames, are not on disk, and how many there should be.

    Those of a sharded array are counted by shard: that is what a copy loses.
    """
    array = pixels.array
    wanted = {"c": channel} | ({} if t is None else {"t": t})
    steps = zip(pixels.axes, array.shape, array.shards or array.chunks, strict=True)
    places = [_along(n, size, wanted.get(axis)) for axis, n, size in steps]
    keys = [array.metadata.encode_chunk_key(place) for place in product(*places)]
    return sum(not os.path.exists(os.path.join(pixels.path, key)) for key in keys), len(keys)


def _along(n: int, size: int, wanted: int | None) -> Sequence[int]:
    return range(-(-n // size)) if wanted is None else [wanted // size]

"""Which chunks of an image are on disk: zarr reads one that is not there as the fill value, without a word.

A writer may leave out chunks that hold nothing but the fill value, so a chunk that is missing may be right. Where a
store says that it was written with all its chunks, as what we import is, a missing one was lost on the way.
"""

import os
import re
from collections.abc import Iterator
from itertools import product
from math import prod

from napari_vstain.core.data.pixels import Pixels

WHOLE = "all"
"""What ``vstain.import.chunks`` says of a position that was written with every chunk."""

_MOST_LOOKED_UP = 100_000
"""Chunks that are looked up one by one: less than a second."""


def count_missing(pixels: Pixels, channel: int, t: int | None = None) -> tuple[int, int]:
    """Return how many chunks of a channel, or of one of its frames, are not on disk, and how many there should be.

    Those of a sharded array are counted by shard: that is what a copy loses.
    """
    array = pixels.array
    wanted = {"c": channel} | ({} if t is None else {"t": t})
    spans = [
        (wanted[axis] // size, wanted[axis] // size + 1) if axis in wanted else (0, -(-n // size))
        for axis, n, size in zip(pixels.axes, array.shape, array.shards or array.chunks, strict=True)
    ]
    total = prod(high - low for low, high in spans)
    if total <= _MOST_LOOKED_UP:
        places = product(*(range(low, high) for low, high in spans))
        keys = (array.metadata.encode_chunk_key(place) for place in places)
        return sum(not os.path.exists(os.path.join(pixels.path, key)) for key in keys), total
    # Metadata may speak of more chunks than any disk holds: then it is the files that are counted. Not always, since
    # one frame of a movie is asked for at a time, and its few chunks lie among those of all others.
    found = {
        place
        for place in _on_disk(pixels.path)
        if len(place) == len(spans) and all(low <= at < high for at, (low, high) in zip(place, spans, strict=True))
    }
    return total - len(found), total


def _on_disk(path: str | os.PathLike[str]) -> Iterator[tuple[int, ...]]:
    """Yield the places of the chunks that are there; a key holds them as numbers, whatever parts these (``c/0/1``)."""
    for folder, _, files in os.walk(path):
        for name in files:
            key = os.path.relpath(os.path.join(folder, name), path)
            if re.fullmatch(r"(c[./\\])?\d+([./\\]\d+)*", key):
                yield tuple(int(digits) for digits in re.findall(r"\d+", key))

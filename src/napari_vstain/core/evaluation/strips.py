"""Images are worked on in strips that fit the processor's cache, on a few threads."""

import os
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt

T = TypeVar("T")
S = TypeVar("S")
_PIXELS = 2**16
"""Of a strip: four of them in double precision fit a usual second-level cache."""


class Strips:
    """A few threads that share the strips of one image after another; make one with `strips`."""

    def __init__(self, pool: ThreadPoolExecutor) -> None:
        self._pool = pool

    def map(self, function: Callable[[S], T], items: Iterable[S]) -> list[T]:
        """Return `function` of each item, in order."""
        return list(self._pool.map(function, items))

    def rows(self, shape: tuple[int, ...], at_least: int = 1) -> list[slice]:
        """Return slices of rows that cover an image of `shape`, (Y, X)."""
        height = max(at_least, _PIXELS // max(shape[1], 1))
        return [slice(start, min(start + height, shape[0])) for start in range(0, shape[0], height)]


@contextmanager
def strips(threads: int | None = None) -> Iterator[Strips]:
    """Yield `threads` threads: by default one a core that this process may use."""
    with ThreadPoolExecutor(threads or available_cores(), "vstain-strips") as pool:
        yield Strips(pool)


def available_cores() -> int:
    """Return how many cores this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def finite(*images: npt.NDArray[Any]) -> npt.NDArray[np.bool_] | None:
    """Return where all images are finite, or None when they are everywhere."""
    doubtful = [image for image in images if image.dtype.kind == "f" and not _all_finite(image)]
    if not doubtful:
        return None
    return np.asarray(np.logical_and.reduce([np.isfinite(image) for image in doubtful]), bool)


def _all_finite(image: npt.NDArray[Any]) -> bool:
    with np.errstate(over="ignore", invalid="ignore"):
        return bool(np.isfinite(image.sum(dtype=np.float64)))

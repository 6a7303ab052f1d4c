"""How much of an image fits in memory at once."""

import os
from pathlib import Path

from napari_vstain.core.arrays import ZYX, round_up
from napari_vstain.core.models.spec import Dimensions, ModelSpec

BYTES_PER_PIXEL = 2048
"""What a network needs for each pixel that it computes: about 16 maps of 32 float32 features."""
SHARE = 0.5
"""Of the memory that is free, what a tile may take."""
_LARGEST_PX = 2048
"""A larger owned region gains little: its halo already costs less than a quarter."""
BLOCK_PX = 512
"""Tiles are whole blocks of this size where they can be, as predictions are stored."""


def free_bytes() -> int:
    """Return the memory that this process may still take; 4 GiB where the system does not say."""
    found = [value for value in (_system_free(), _group_free()) if value is not None]
    return min(found, default=4 << 30)


def pixels_at_once(free: int | None = None) -> int:
    """Return how many pixels a network may compute at once, reads included."""
    return max(int((free_bytes() if free is None else free) * SHARE / BYTES_PER_PIXEL), 1)


def tile_size(shape: ZYX, spec: ModelSpec, pixels: int, *, block_px: int = BLOCK_PX) -> ZYX:
    """Return the owned region, (Z, Y, X), of the largest tile that computes at most `pixels` pixels.

    Y and X are multiples of `block_px` rounded up to the stride; one block is the least, whatever `pixels` says.
    """
    least = [round_up(block_px, stride) for stride in spec.stride[1:]]
    slices = shape[0] + 2 * spec.halo[0] if spec.dimensions is Dimensions.THREE else spec.z_window
    count = 1
    while count * block_px < _LARGEST_PX and slices * _area(least, spec, count + 1) <= pixels:
        count += 1
    y, x = (_evenly(n, count * step, step) for n, step in zip(shape[1:], least, strict=True))
    per_slice = max(_plane((y, x), shape, spec), 1) * spec.z_window
    return max(min(shape[0], pixels // per_slice), 1), y, x


def _area(least: list[int], spec: ModelSpec, count: int) -> int:
    y, x = (count * step + 2 * halo for step, halo in zip(least, spec.halo[1:], strict=True))
    return y * x


def _plane(size: tuple[int, int], shape: ZYX, spec: ModelSpec) -> int:
    y, x = (min(s, n) + 2 * h for s, n, h in zip(size, shape[1:], spec.halo[1:], strict=True))
    return y * x


def _evenly(length: int, largest: int, step: int) -> int:
    """Return the least multiple of `step` that cuts `length` into as few tiles as `largest` would."""
    tiles = -(-length // largest)
    return round_up(-(-length // tiles), step)


def _system_free() -> int | None:
    try:
        lines = Path("/proc/meminfo").read_text(encoding="ascii").splitlines()
        return next(int(line.split()[1]) << 10 for line in lines if line.startswith("MemAvailable"))
    except (OSError, StopIteration, ValueError):
        pass
    try:
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") // 2
    except (AttributeError, OSError, ValueError):
        return None


def _group_free() -> int | None:
    """Return what a container's limit leaves; files that are only cached do not count."""
    group = Path("/sys/fs/cgroup")
    try:
        limit, used = ((group / name).read_text(encoding="ascii").strip() for name in ("memory.max", "memory.current"))
        lines = (group / "memory.stat").read_text(encoding="ascii").splitlines()
        cached = sum(int(line.split()[1]) for line in lines if line.startswith("inactive_file "))
        return None if limit == "max" else max(int(limit) - int(used) + cached, 0)
    except (OSError, ValueError):
        return None

"""A halo that is smaller than the exact one, where that does not fit: as small as an error on a test pattern allows."""

from math import isqrt

import numpy as np

from napari_vstain.core.arrays import ZYX, Array, round_up
from napari_vstain.core.engines.base import Engine
from napari_vstain.core.inference.compute import run_tile
from napari_vstain.core.inference.image_source import ArraySource, read_reflected
from napari_vstain.core.models.spec import ModelSpec
from napari_vstain.core.tiling.plan import plan_tiles

TOLERANCE = 1e-3
"""Relative RMS that a measured halo may cost."""
CORE_PX = 64
"""Side of the region that is compared."""
_LARGEST_PX = 1024
"""Side of the largest test pattern: measuring takes seconds, not minutes."""


def _pattern(spec: ModelSpec, side: int) -> Array:
    """Return a square image of noise, rough and smooth, as a normalized source looks: (C, Z, Y, X)."""
    generator = np.random.default_rng(0)
    shape = (len(spec.sources), max(spec.z_window, 1), side, side)
    rough = generator.standard_normal(shape, np.float32)
    coarse = generator.standard_normal((*shape[:2], -(-side // 16), -(-side // 16)), np.float32)
    smooth = coarse.repeat(16, axis=2).repeat(16, axis=3)[..., :side, :side]
    pattern: Array = (rough + smooth) * np.float32(0.5**0.5)
    return pattern


def measured_halo(engine: Engine, spec: ModelSpec, pixels: int) -> tuple[ZYX, float]:
    """Return a smaller halo than the exact one, and the relative RMS that it costs on a test pattern.

    The smallest of the stride's doublings whose error is at most `TOLERANCE`, against the largest halo that
    `pixels` pixels allow; or half of that one, if none is as good.
    """
    stride, slices = max(spec.stride[1:]), max(spec.z_window, 1) + 2 * spec.halo[0]
    core = round_up(CORE_PX, stride)
    side = min(isqrt(max(pixels // slices, 1)), _LARGEST_PX)
    largest = max(min(max(spec.halo[1:]), (side - core) // 2) // stride * stride, stride)
    pattern = ArraySource(_pattern(spec, core + 2 * largest))
    reference = _core(engine, spec, pattern, core, largest, largest)
    halo, error = stride, 0.0
    while True:
        error = _relative_rms(_core(engine, spec, pattern, core, largest, halo), reference)
        if error <= TOLERANCE or 2 * halo > largest // 2:
            return (spec.halo[0], halo, halo), error
        halo *= 2


def _core(engine: Engine, spec: ModelSpec, pattern: ArraySource, core: int, start: int, halo: int) -> Array:
    shape = pattern.shape[1:]
    plan = plan_tiles(shape, spec, (shape[0], core, core), halo=(spec.halo[0], halo, halo))
    side = slice(start, start + core)
    tile = plan.tile_over((slice(0, shape[0]), side, side))
    outputs = run_tile(engine, plan, tile, np.ascontiguousarray(read_reflected(pattern, tile.read)), None)
    return np.concatenate([outputs[output.task].ravel() for output in spec.outputs])


def _relative_rms(values: Array, reference: Array) -> float:
    return float(np.sqrt(np.mean((values - reference) ** 2)) / max(float(reference.std()), 1e-12))

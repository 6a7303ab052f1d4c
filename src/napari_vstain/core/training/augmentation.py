"""Patches are mirrored, turned, and their sources made brighter or darker, at random."""

import numpy as np

from napari_vstain.core.arrays import Array
from napari_vstain.core.training.patch_settings import PatchSettings


def flip_and_rotate(patch: Array, settings: PatchSettings, random: np.random.Generator) -> Array:
    """Return a patch, (C, Z, Y, X), mirrored and turned by quarters at random; a view."""
    down, right, quarters = random.random() < 0.5, random.random() < 0.5, int(random.integers(4))
    if settings.flip:
        patch = patch[..., :: -1 if down else 1, :: -1 if right else 1]
    return np.rot90(patch, quarters, (-2, -1)) if settings.rotate else patch


def relight(sources: Array, settings: PatchSettings, random: np.random.Generator) -> None:
    """Change brightness and contrast of each source, (C, Z, Y, X), in place."""
    for channel in sources:
        brighter, stretched = random.uniform(-1, 1, 2)
        channel *= np.float32(1 + settings.contrast * stretched)
        channel += np.float32(settings.brightness * brighter)

"""Patches are cut from normalized images as fast as memory or zarr gives them."""

from collections.abc import Sequence

import numpy as np

from napari_vstain.core.arrays import Array
from napari_vstain.core.errors import SettingsError
from napari_vstain.core.training.augmentation import Transform, transforms_of
from napari_vstain.core.training.patch_index import Place
from napari_vstain.core.training.patch_settings import USUAL_STRIDE, PatchSettings
from napari_vstain.core.training.stacks import Stack


class PatchReader:
    """Cuts patches out of stacks that are in memory, or reads them from disk.

    Parameters
    ----------
    stacks : sequence of Stack
        All of the same channels.
    channels : sequence of str
        Sources, then targets.
    settings : PatchSettings
        Raises SettingsError when a patch does not fit an image.
    targets : int
        How many of the channels, the last ones, are targets.
    transforms : sequence of Transform, optional
        What is done to the patches of a training, in order; by default what the settings say.
    """

    def __init__(
        self,
        stacks: Sequence[Stack],
        channels: Sequence[str],
        settings: PatchSettings,
        targets: int = 1,
        transforms: Sequence[Transform] | None = None,
    ) -> None:
        self.stacks, self.channels, self.settings, self.targets = list(stacks), tuple(channels), settings, targets
        self.transforms = transforms_of(settings) if transforms is None else tuple(transforms)
        for stack in self.stacks:
            _check_fit(stack, settings)

    @property
    def pixels(self) -> int:
        """Pixels that there are to learn from, slices counted as windows."""
        return sum(stack.learnable(self.settings.z_window) for stack in self.stacks)

    def fill_cache(self, budget_bytes: int) -> int:
        """Read stacks into memory until `budget_bytes` is spent; return what is left of it."""
        for stack in self.stacks:
            budget_bytes = self.cache(stack, budget_bytes)
        return budget_bytes

    def cache(self, stack: Stack, budget_bytes: int) -> int:
        """Read one stack into memory if it fits `budget_bytes`; return what is left."""
        depth, height, width = stack.shape
        margin = self.settings.margin_px
        needed = 4 * len(self.channels) * depth * (height + 2 * margin) * (width + 2 * margin)
        if stack.pixels is None and needed <= budget_bytes:
            stack.pixels = self._read(stack, slice(None), (-margin, height + margin), (-margin, width + margin))
            budget_bytes -= needed
        return budget_bytes

    def cut(self, place: Place) -> Array:
        """Return the normalized patch at a place, (C, Z, Y, X); a view when the stack is cached."""
        stack, size, margin = self.stacks[place.stack], self.settings.size_px, self.settings.margin_px
        z = slice(place.z, place.z + self.settings.z_window)
        if stack.pixels is None:
            return self._read(stack, z, (place.y, place.y + size), (place.x, place.x + size))
        y, x = place.y + margin, place.x + margin
        return stack.pixels[:, z, y : y + size, x : x + size]

    def batch(self, places: Sequence[Place], random: np.random.Generator | None = None) -> Array:
        """Return the patches at places, (B, C, Z, Y, X), transformed if `random` is given.

        Raises
        ------
        SettingsError
            When a transform returns another shape.
        """
        size = self.settings.size_px
        made = np.empty((len(places), len(self.channels), self.settings.z_window, size, size), np.float32)
        for target, place in zip(made, places, strict=True):
            patch = self.cut(place)
            target[...] = patch if random is None else self._transformed(patch, random)
        return made

    def _transformed(self, patch: Array, random: np.random.Generator) -> Array:
        shape, sources = patch.shape, len(self.channels) - self.targets
        for transform in self.transforms:
            patch = transform(patch, sources, random)
            if patch.shape != shape:
                rule = f"made {patch.shape} of a patch of {shape}"
                raise SettingsError("transform", type(transform).__name__, rule, "keep the shape (C, Z, Y, X)")
        return patch

    def _read(self, stack: Stack, z: slice, rows: tuple[int, int], columns: tuple[int, int]) -> Array:
        _, height, width = stack.shape
        (top, bottom), (left, right) = rows, columns
        y, x = slice(max(top, 0), min(bottom, height)), slice(max(left, 0), min(right, width))
        pixels = stack.scaling.normalized(stack.position.read(self.channels, stack.t, z, y, x))
        missing = ((y.start - top, bottom - y.stop), (x.start - left, right - x.stop))
        return np.pad(pixels, ((0, 0), (0, 0), *missing), "reflect") if any(map(any, missing)) else pixels


def _check_fit(stack: Stack, settings: PatchSettings) -> None:
    depth, *plane = stack.shape
    margin, inner = settings.margin_px, settings.size_px - 2 * settings.margin_px
    if inner < 1:
        raise SettingsError(
            "margin", f"{margin} px", "leaves nothing of the patch to learn from", "choose a smaller one"
        )
    if inner > min(plane) or margin >= min(plane):
        rule = f"is larger than position {stack.position.key} of {plane[0]} × {plane[1]} px"
        fits = min(plane) // USUAL_STRIDE * USUAL_STRIDE or min(plane)
        raise SettingsError("patch size", f"{settings.size_px} px", rule, f"choose {fits} px or less")
    if settings.z_window > depth:
        rule = f"position {stack.position.key} has {depth}"
        raise SettingsError("slices of a patch", settings.z_window, rule, f"choose at most {depth}")

"""Patches are changed at random, so that a network sees more than was recorded: mirrored, turned, brighter, darker."""

from abc import ABC, abstractmethod
from collections.abc import Sequence

import numpy as np

from napari_vstain.core.arrays import Array
from napari_vstain.core.errors import SettingsError
from napari_vstain.core.training.patch_settings import PatchSettings

_IN_PATCHES = ("flip", "rotate", "brightness", "contrast")
"""The settings of patches that name the usual transforms."""


class Transform(ABC):
    """A change at random of one patch, called on several threads at once."""

    @abstractmethod
    def __call__(self, patch: Array, sources: int, random: np.random.Generator) -> Array:
        """Return a patch changed, of the same shape.

        Parameters
        ----------
        patch : (C, Z, Y, X)
            Normalized, float32. It may be a view of the image itself: nothing may be written into it.
        sources : int
            How many of its channels are sources, the first ones; the others are targets.
        random : Generator
            The only chance there is: the same state gives the same patch.
        """


class FlipAndRotate(Transform):
    """Mirror along Y and X, each in half of the patches, and turn by quarters; sources and targets alike."""

    def __init__(self, flip: bool = True, rotate: bool = True) -> None:
        self.flip, self.rotate = flip, rotate

    def __call__(self, patch: Array, _sources: int, random: np.random.Generator) -> Array:
        """Return a view; as many numbers are drawn whatever is switched off."""
        down, right, quarters = random.random() < 0.5, random.random() < 0.5, int(random.integers(4))
        if self.flip:
            patch = patch[..., :: -1 if down else 1, :: -1 if right else 1]
        return np.rot90(patch, quarters, (-2, -1)) if self.rotate else patch


class JitterIntensity(Transform):
    """Make each source brighter or darker, and stretch it; targets stay.

    Parameters
    ----------
    brightness : float
        The most that is added or taken away, in standard deviations.
    contrast : float
        The most by which it is stretched or squeezed, as a share.
    """

    def __init__(self, brightness: float = 1.0, contrast: float = 0.2) -> None:
        self.brightness, self.contrast = brightness, contrast

    def __call__(self, patch: Array, sources: int, random: np.random.Generator) -> Array:
        """Return a copy."""
        patch = patch.copy()
        for channel in patch[:sources]:
            brighter, stretched = random.uniform(-1, 1, 2)
            channel *= np.float32(1 + self.contrast * stretched)
            channel += np.float32(self.brightness * brighter)
        return patch


def transforms_of(settings: PatchSettings, listed: Sequence[Transform] | None = None) -> tuple[Transform, ...]:
    """Return the transforms of a training, in their order: those that its file lists, else those of its patches.

    Raises
    ------
    SettingsError
        When both say something: one of the two would be passed over without a word.
    """
    if listed is None:
        turned = FlipAndRotate(settings.flip, settings.rotate)
        return turned, JitterIntensity(settings.brightness, settings.contrast)
    for name in _IN_PATCHES:
        if (value := getattr(settings, name)) != PatchSettings.model_fields[name].default:
            remedy = "give it to a transform, or list none"
            raise SettingsError(f"patches.{name}", value, "is not looked at where transforms are listed", remedy)
    return tuple(listed)

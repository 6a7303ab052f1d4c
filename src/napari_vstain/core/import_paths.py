"""A class that a file names is found wherever it lives by now: files hold the paths of `napari_vstain.nn` alone."""

from collections.abc import Mapping
from typing import Any, Final

STABLE: Final = "napari_vstain.nn"
"""The module whose names are written into files, and stay."""

NAMES: Final = {
    "FlipAndRotate": "core.training.augmentation",
    "JitterIntensity": "core.training.augmentation",
    "PatchDataModule": "core.training.data",
    "RandomPlaces": "core.training.random_places",
    "StainingModule": "core.training.module",
    "UNet": "core.models.unet",
    "VisCyUNet2D": "core.models.viscy_unet",
    "WarmupCosine": "core.training.schedules",
}
"""Each name of `napari_vstain.nn`, and the module below napari_vstain that defines it today."""

BEFORE: Final = {
    "napari_vstain.core.models.unet.UNet": "UNet",
    "napari_vstain.core.models.viscy_unet.VisCyUNet2D": "VisCyUNet2D",
    "napari_vstain.core.training.data.PatchDataModule": "PatchDataModule",
    "napari_vstain.core.training.module.StainingModule": "StainingModule",
    "napari_vstain.core.training.schedules.WarmupCosine": "WarmupCosine",
}
"""What files of schema version 1 called them. A line stays for ever, wherever the class moves and whatever it is
called: files with the old path are out there."""

_ALIASES = {path: f"{STABLE}.{name}" for path, name in BEFORE.items()} | {
    f"napari_vstain.{module}.{name}": f"{STABLE}.{name}" for name, module in NAMES.items()
}

FIRST: Final = {f"{STABLE}.{name}": path for path, name in reversed(BEFORE.items())}
"""What a stable path was called first, as far as it had another name before."""


def stable_path(path: str) -> str:
    """Return the path that files hold of a class, from any that it has or had; another class's path stays."""
    return _ALIASES.get(path, path)


def stable_paths(value: Any) -> Any:
    """Return what a file says with every path of ours in it as a stable one.

    A path is looked for in every text, not only under ``class_path``: a training file may give a class by it alone.
    """
    return replaced(value, _ALIASES)


def replaced(value: Any, paths: Mapping[str, str]) -> Any:
    """Return a value of mappings, lists and plain values, with each text that is a path of `paths` replaced by its."""
    if isinstance(value, Mapping):
        return {key: replaced(item, paths) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [replaced(item, paths) for item in value]
    return paths.get(value, value) if isinstance(value, str) else value

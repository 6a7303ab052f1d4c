"""What checkpoints, ONNX files and training files name by import path: these paths stay when the code moves.

Importing this module imports neither torch nor Lightning; a name does, when it is asked for.
"""

from typing import TYPE_CHECKING

from napari_vstain.core.import_paths import NAMES
from napari_vstain.core.lazy import lazily

if TYPE_CHECKING:
    from napari_vstain.core.models.unet import UNet
    from napari_vstain.core.models.viscy_unet import VisCyUNet2D
    from napari_vstain.core.training.augmentation import FlipAndRotate, JitterIntensity
    from napari_vstain.core.training.data import PatchDataModule
    from napari_vstain.core.training.module import StainingModule
    from napari_vstain.core.training.random_places import RandomPlaces
    from napari_vstain.core.training.schedules import WarmupCosine

__all__ = [
    "FlipAndRotate",
    "JitterIntensity",
    "PatchDataModule",
    "RandomPlaces",
    "StainingModule",
    "UNet",
    "VisCyUNet2D",
    "WarmupCosine",
]

__getattr__ = lazily(__name__, NAMES)


def __dir__() -> list[str]:
    return sorted({*globals(), *NAMES})

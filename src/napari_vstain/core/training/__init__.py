"""Training of networks with Lightning. Importing this loads neither torch nor Lightning."""

from typing import TYPE_CHECKING

from napari_vstain.core.lazy import lazily
from napari_vstain.core.training.results import Scalars, TrainResult
from napari_vstain.core.training.settings import TrainSettings
from napari_vstain.core.training.train_form import TrainForm

if TYPE_CHECKING:
    from napari_vstain.core.training.stage import run

__all__ = ["Scalars", "TrainForm", "TrainResult", "TrainSettings", "run"]

__getattr__ = lazily(__name__, {"run": "core.training.stage"})

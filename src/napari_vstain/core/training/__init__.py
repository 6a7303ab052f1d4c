"""Training of networks with Lightning. Importing this loads neither torch nor Lightning."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from napari_vstain.core.training.results import BatchLoss, EpochLosses, TrainResult
from napari_vstain.core.training.settings import TrainSettings

if TYPE_CHECKING:
    from napari_vstain.core.training.stage import run

__all__ = ["BatchLoss", "EpochLosses", "TrainResult", "TrainSettings", "run"]


def __getattr__(name: str) -> Any:
    if name != "run":
        raise AttributeError(name)
    return import_module(f"{__name__}.stage").run

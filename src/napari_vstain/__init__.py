"""Predict fluorescence from label-free microscopy: train, predict, evaluate and export.

::

    from napari_vstain import Workspace, open_dataset, predict_lazy

The public names are imported when they are first used.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

_PUBLIC = {
    "ModelSpec": ("napari_vstain.core.models", "ModelSpec"),
    "Session": ("napari_vstain.core.session", "Session"),
    "Workspace": ("napari_vstain.core.workspace", "Workspace"),
    "evaluate": ("napari_vstain.api", "evaluate"),
    "export": ("napari_vstain.api", "export"),
    "open_dataset": ("napari_vstain.core.data", "open_dataset"),
    "predict": ("napari_vstain.api", "predict"),
    "predict_lazy": ("napari_vstain.core.inference", "predict_lazy"),
    "preprocess": ("napari_vstain.api", "preprocess"),
    "train": ("napari_vstain.api", "train"),
}

if TYPE_CHECKING:
    from napari_vstain.api import evaluate, export, predict, preprocess, train
    from napari_vstain.core.data import open_dataset
    from napari_vstain.core.inference import predict_lazy
    from napari_vstain.core.models import ModelSpec
    from napari_vstain.core.session import Session
    from napari_vstain.core.workspace import Workspace

__all__ = [
    "ModelSpec",
    "Session",
    "Workspace",
    "__version__",
    "evaluate",
    "export",
    "open_dataset",
    "predict",
    "predict_lazy",
    "preprocess",
    "train",
]


def __getattr__(name: str) -> Any:
    if name not in _PUBLIC:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    module, attribute = _PUBLIC[name]
    return getattr(import_module(module), attribute)


def __dir__() -> list[str]:
    return sorted({*globals(), *_PUBLIC})

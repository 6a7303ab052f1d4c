"""Predict fluorescence from label-free microscopy: train, predict, evaluate and export.

::

    from napari_vstain import Workspace, open_dataset, predict_lazy

The public names are imported when they are first used.
"""

from typing import TYPE_CHECKING

from napari_vstain.core.lazy import lazily

__version__ = "0.1.0"

_PUBLIC = {
    "ModelSpec": "core.models",
    "Session": "core.session",
    "Workspace": "core.workspace",
    "evaluate": "api",
    "export": "api",
    "open_dataset": "core.data",
    "predict": "api",
    "predict_lazy": "core.inference",
    "preprocess": "api",
    "train": "api",
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


__getattr__ = lazily(__name__, _PUBLIC)


def __dir__() -> list[str]:
    return sorted({*globals(), *_PUBLIC})

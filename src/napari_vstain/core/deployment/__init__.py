"""A trained model as one ONNX file that predicts anywhere, checked against the original, with its model card.

Importing this loads neither torch nor onnx.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from napari_vstain.core.deployment.stage import ExportResult, ExportSettings, run

_LAZY = {"ExportResult": "stage", "ExportSettings": "stage", "run": "stage"}

__all__ = ["ExportResult", "ExportSettings", "run"]


def __getattr__(name: str) -> Any:
    if name not in _LAZY:
        raise AttributeError(name)
    return getattr(import_module(f"{__name__}.{_LAZY[name]}"), name)
